"""Command line, timing and tables: what the benchmarks share."""

import argparse
import os
import platform
import subprocess
import warnings
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

from sklearn.exceptions import ConvergenceWarning

__all__ = ["figure", "markdown", "parse", "publish", "quietly", "timed_fit"]

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


def quietly(function, *args):
    """Call a function without warnings that fits did not converge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return function(*args)


def figure(n_panels, width=3):
    """Return a figure of panels, ``width`` a row, without the empty ones."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    n_rows, width = -(-n_panels // width), min(width, n_panels)
    fig, axes = plt.subplots(
        n_rows,
        width,
        figsize=(4.2 * width, 3.2 * n_rows),
        squeeze=False,
        layout="constrained",
    )
    for axis in axes.flat[n_panels:]:
        axis.remove()
    return fig, list(axes.flat[:n_panels])


def markdown(rows):
    """Return a Markdown table of rows, dictionaries with the columns as keys."""
    if not rows:
        return "(not run)"
    header = list(rows[0])
    lines = [header, ["---"] * len(header)]
    lines += [[_cell(row.get(column, "")) for column in header] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def publish(name, title, text, partial, draw=None):
    """Print a report; write it to results/ too, unless it is partial.

    ``draw`` returns a figure that is saved beside it, where matplotlib is installed.
    """
    report = f"# {title}\n\n{text}\n\n{machine()}\n"
    print("\n" + report)
    if partial:
        print("Part of the benchmark only: nothing written.")
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(report)
    if draw is not None:
        draw().savefig(RESULTS / f"{name}.png", dpi=110)


def machine():
    """Describe the machine, without its name."""
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, one thread "
        f"a fit. Python {platform.python_version()}, {versions}{revision()}."
    )


def revision():
    """Return which commit runs, to append to the version; nothing outside of git."""
    found = _git("rev-parse", "--short", "HEAD")
    if found is None:
        return ""
    changed = _git("status", "--porcelain", "--", "sklearn_convexrelu")
    return f" ({found}{', changed' if changed else ''})"


def _git(*arguments):
    """Return what git prints in the repository, None where it fails."""
    root = RESULTS.parent.parent
    try:
        found = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _cell(value):
    return f"{value:.3g}" if isinstance(value, float) else str(value)
