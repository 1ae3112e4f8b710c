"""Command line, timing and tables: what the benchmarks share."""

import argparse
import os
import platform
import warnings
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

from sklearn.exceptions import ConvergenceWarning

__all__ = ["markdown", "parse", "publish", "timed_fit"]

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("numpy", "scipy", "scikit-learn", "sklearn-convexrelu")


def parse(description, names, quick, **flags):
    """Return the command's options, with ``names`` cut down to what was asked for.

    Parameters
    ----------
    description : str
        First lines of ``--help``.
    names : iterable of str
        What ``--only`` may choose from.
    quick : iterable of str
        What ``--quick`` runs.
    **flags : dict
        More options: name and arguments of ``ArgumentParser.add_argument``.

    Returns
    -------
    argparse.Namespace
        ``names`` to run, ``partial`` when they are not all, and the flags.
    """
    parser = argparse.ArgumentParser(
        description=description, epilog="Names: " + "; ".join(names) + "."
    )
    parser.add_argument("--quick", action="store_true", help="the small cases only")
    parser.add_argument("--only", nargs="+", choices=list(names), metavar="NAME")
    for flag, arguments in flags.items():
        parser.add_argument(f"--{flag}", **arguments)
    options = parser.parse_args()
    options.names = options.only or list(quick if options.quick else names)
    options.partial = bool(options.quick or options.only)
    return options


def timed_fit(model, X, y):
    """Fit; return seconds, and how many fits did not converge (pipelines have many)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        begin = perf_counter()
        model.fit(X, y)
        seconds = perf_counter() - begin
    return seconds, sum(issubclass(w.category, ConvergenceWarning) for w in caught)


def markdown(rows):
    """Return a Markdown table of rows, dictionaries with the columns as keys."""
    if not rows:
        return "(not run)"
    header = list(rows[0])
    lines = [header, ["---"] * len(header)]
    lines += [[_cell(row.get(column, "")) for column in header] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def publish(name, title, text, partial):
    """Print a report; write it to results/ too, unless it is partial."""
    report = f"# {title}\n\n{text}\n\n{machine()}\n"
    print("\n" + report)
    if partial:
        print("Part of the benchmark only: nothing written.")
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(report)


def machine():
    """Describe the machine, without its name."""
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, one thread "
        f"a fit. Python {platform.python_version()}, {versions}."
    )


def _cell(value):
    return f"{value:.3g}" if isinstance(value, float) else str(value)
