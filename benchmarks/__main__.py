"""The four questions that decide, each with a table and a picture, in one report.

Who is first to an objective level (race)? Who predicts best, tuning included (tabular)?
How do time and memory grow (growth)? How much depends on the seed (seeds)? Small cases
by default, into results/quick/; all with ``--full``, into results/full/. The index of
either is its report.md.
"""

import argparse
from time import perf_counter

from benchmarks import growth, race, seeds, tabular
from benchmarks.report import RESULTS, machine

QUESTIONS = {
    "race": ("(a) Objective against time", race),
    "tabular": ("(b) Held-out score against time, tuning included", tabular),
    "growth": ("(c) Growth", growth),
    "seeds": ("(d) Seed to seed", seeds),
}
PREFACE = """Every fit runs on one thread, in one run with its rivals, so that ratios
mean something where seconds do not. Objectives and gaps are recomputed from the weights
outside of the methods. Each section begins with what came out; its tables are behind
the link. What follows for users is in `docs/benchmarks.md`."""


RESTRICTED = """## (a') The restricted objective

Over given patterns the programme is convex, and the objective another: see
[programmes.md](../programmes.md) (`python -m benchmarks.programmes`) for our solvers
beside pyscnn, skglm and CVXPY with Clarabel, at equal data, patterns and penalty."""


def main():
    """Answer the questions asked for, and write the index of all that are answered."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="all cases")
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=QUESTIONS)
    options = parser.parse_args()
    folder = RESULTS / ("full" if options.full else "quick")
    folder.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        title, module = QUESTIONS[name]
        begin = perf_counter()
        text, draw = module.report(None if options.full else module.QUICK)
        minutes = (perf_counter() - begin) / 60
        command = f"python -m benchmarks{' --full' * options.full} --only {name}"
        footer = f"`{command}`, {minutes:.1f} minutes.\n\n{machine()}"
        (folder / f"{name}.md").write_text(f"# {title}\n\n{text}\n\n{footer}\n")
        draw().savefig(folder / f"{name}.png", dpi=110)
    (folder / "report.md").write_text(index(folder))
    print(index(folder))


def index(folder):
    """Return the report: of every section there is, the verdict and the picture."""
    parts = ["# Benchmarks", PREFACE]
    for name, (title, _) in QUESTIONS.items():
        section = folder / f"{name}.md"
        if section.exists():
            verdict = section.read_text().split("\n\n")[1]
            link = f"[Tables]({name}.md)"
            parts += [f"## {title}", verdict, f"![{title}]({name}.png)", link]
            parts += [RESTRICTED] if name == "race" else []
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
