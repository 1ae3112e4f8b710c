"""Mutants: tests must fail where a claim of the package is broken on purpose.

Each mutant takes away one thing that proofs, searches or bookkeeping rest on, in a copy
of the repository, and runs the tests that should notice. One that they do not notice
survives, and the command fails.
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree, ignore_patterns
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.report import markdown, parse, publish

ROOT = Path(__file__).parents[1]
PACKAGE = "sklearn_convexrelu"


@dataclass(frozen=True)
class Mutant:
    """A change of one place of the package.

    Attributes
    ----------
    path : str
        File, from the package on.
    old, new : str
        What stands there once, and what is put in its place.
    tests : str
        Files of tests, without ``test_``, that should notice.
    """

    path: str
    old: str
    new: str
    tests: str


MUTANTS = {
    "exact slack without rounding": Mutant(
        "pricing/exact.py",
        "norms @ (rounding + self._merge_error)",
        "norms @ (0.0 * rounding + self._merge_error)",
        "foundations exact_pricing",
    ),
    "exact slack without merged rows": Mutant(
        "pricing/exact.py",
        "norms @ (rounding + self._merge_error)",
        "norms @ rounding",
        "foundations exact_pricing",
    ),
    "exact slack without values left out": Mutant(
        "pricing/exact.py",
        "float(left_out + norms",
        "float(norms",
        "foundations exact_pricing",
    ),
    "slack of pairs without its excess": Mutant(
        "pricing/pairs.py",
        "float(self._excess + self.slack_of_rows(N))",
        "float(self.slack_of_rows(N))",
        "pairs subnetworks",
    ),
    "semidefinite proof without the value left out": Mutant(
        "certificates/relaxation/proof.py",
        "prices + rows.dropped * np.linalg.norm(weights, axis=-1)",
        "prices + 0.0 * np.linalg.norm(weights, axis=-1)",
        "foundations bounds certify",
    ),
    "proven value without rounding": Mutant(
        "certificates/relaxation/proof.py",
        "value - 4.0 * np.finfo(float).eps",
        "value - 0.0 * np.finfo(float).eps",
        "foundations",
    ),
    "untied descent that leaves the intercept": Mutant(
        "certificates/relaxation/untied.py",
        "to_shift = to_shift[:n_shift] * self.shift_unit",
        "to_shift = 0.0 * to_shift[:n_shift]",
        "bounds",
    ),
    "no second agreeing search on long runs": Mutant(
        "adaptive/loop.py",
        "is_often_missed = self.problem.shape.is_tree or is_long",
        "is_often_missed = self.problem.shape.is_tree",
        "foundations",
    ),
    "no second agreeing search of sub-networks": Mutant(
        "adaptive/loop.py",
        "is_often_missed = self.problem.shape.is_tree or is_long",
        "is_often_missed = is_long",
        "foundations",
    ),
    "a search that may have missed a price accepts": Mutant(
        "adaptive/loop.py",
        "is_doubtful=is_often_missed or self.is_unsure",
        "is_doubtful=is_often_missed",
        "policy",
    ),
    "a doubtful search accepts": Mutant(
        "adaptive/policy.py",
        "        required = Care.WHOLE\n",
        "        required = Care.FULL\n",
        "policy",
    ),
    "a sample that lost a class": Mutant(
        "adaptive/start.py",
        "return None if sample.has_constant_output() else sample",
        "return sample",
        "foundations solvers classifier losses extremes rows",
    ),
    "history's price in the wrong unit": Mutant(
        "data/units.py",
        '"price": self.alpha,',
        '"price": self.objective,',
        "foundations standardize solution certificates regressor extremes",
    ),
    "1se with another ddof": Mutant(
        "_folds.py",
        "std(ddof=1)",
        "std(ddof=0)",
        "foundations cv_folds path",
    ),
    "joined candidates of flipped outputs": Mutant(
        "pricing/kernels.py",
        "return -self.outputs * self.prices[:, None]",
        "return self.outputs * self.prices[:, None]",
        "foundations pricing monotone",
    ),
    "bookkeeping lost on failure": Mutant(
        "_failures.py",
        "now.update(before | running)",
        "now.update(before)",
        "foundations callbacks manners",
    ),
    "old attributes lost on failure": Mutant(
        "_failures.py",
        "now.update(before | running)",
        "now.update(running)",
        "manners extremes",
    ),
}


def main():
    """Make the table; fail where a mutant survives."""
    options = parse(__doc__, MUTANTS, list(MUTANTS)[:2])
    with ThreadPoolExecutor(2) as pool:
        rows = list(pool.map(judged, options.names))
    text = markdown(rows)
    publish("mutants", "Mutants", text, options.partial)
    raise SystemExit(any(row["noticed by"] == "nothing" for row in rows))


def judged(name):
    """Return the row of a mutant."""
    mutant, begin = MUTANTS[name], perf_counter()
    with TemporaryDirectory() as folder:
        here = Path(folder) / "repository"
        skipped = ignore_patterns(
            ".git", ".venv*", "results", "_build", "auto_examples"
        )
        copytree(ROOT, here, ignore=skipped)
        path = here / PACKAGE / mutant.path
        text = path.read_text()
        if text.count(mutant.old) != 1:
            raise ValueError(f"{name}: the place has changed.")
        path.write_text(text.replace(mutant.old, mutant.new))
        tests = [f"tests/test_{file}.py" for file in mutant.tests.split()]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, *tests], cwd=here, capture_output=True, text=True, check=False
        )
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    row = {"mutant": name, "place": mutant.path, "noticed by": "nothing"}
    if done.returncode == 1 and failed:
        row["noticed by"] = failed[0].split("::", 1)[1].split(" - ")[0]
    elif done.returncode:
        raise RuntimeError(f"{name}: {done.stdout[-2000:]}")
    row["s"] = perf_counter() - begin
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
