"""Growth: time and peak memory against samples, features and alpha, beside MLP.

Data are Friedman's first problem with noise, standardised; both models take turns with
everything else as it comes: ours to a certified gap of 1e-2 (1e-3 where it says so),
MLPRegressor to its own end. Every fit has a process of its own: its memory is the peak
resident size less the resident size just before the fit, when the data are there and a
small fit has warmed up the libraries.
"""

import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import make_friedman1
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import scale

from benchmarks.report import figure, markdown, parse, timed_fit
from sklearn_convexrelu import ConvexReLURegressor

# Series -> cases (n, d, alpha, tol).
SERIES = {
    "samples": [(10**k, 20, 0.1, 1e-2) for k in (3, 4, 5, 6)],
    "features": [(5000, d, 0.1, 1e-2) for d in (5, 20, 50, 150, 500)],
    "alpha": [(5000, 20, alpha, 1e-2) for alpha in (0.3, 0.1, 0.03, 0.01, 0.003)],
    "certified": [(100_000, 10, 0.1, 1e-3)],
}
AXIS = {"samples": 0, "features": 1, "alpha": 2}
QUICK = ("samples, small", "features, small", "alpha")
SMALL, MOST_ENTRIES = ", small", 300_000  # entries of X in quick runs
LIMIT_MB = {(100_000, 10): 500, (10**6, 20): 3000}


def main():
    """Measure the series asked for and print the tables."""
    if sys.argv[1:2] == ["--here"]:
        print(json.dumps(measure(sys.argv[2], *map(float, sys.argv[3:]))))
        return
    print(report(parse(__doc__, [*SERIES, *QUICK[:2]], QUICK).names)[0])


def report(names=None):
    """Return the Markdown, and the function that draws the picture."""
    tables, parts = {}, []
    for name in names or SERIES:
        series = name.removesuffix(SMALL)
        cases = [
            case
            for case in SERIES[series]
            if series == name or case[0] * case[1] <= MOST_ENTRIES
        ]
        tables[series] = [compared(*case) for case in cases]
        parts += [f"Against {series}:", markdown(tables[series])]
        print(parts[-1], flush=True)
    return "\n\n".join([verdict(tables), *parts, LEGEND]), lambda: picture(tables)


def compared(n, d, alpha, tol):
    """Return one row: both models on one case."""
    ours = in_fresh_process("ours", n, d, alpha, tol)
    mlp = in_fresh_process("MLP", n, d, alpha, tol)
    limit = LIMIT_MB.get((n, d))
    met = ours["seconds"] <= mlp["seconds"] and ours["MB"] <= (limit or np.inf)
    return {
        "n": n,
        "d": d,
        "alpha": alpha,
        "tol": tol,
        "ours s": ours["seconds"],
        "MLP s": mlp["seconds"],
        "ratio": f"{ours['seconds'] / mlp['seconds']:.2f}",
        "gap": f"{ours['gap']:.1e}",
        "neurons": ours["neurons"],
        "ours MB": ours["MB"],
        "MLP MB": mlp["MB"],
        "data MB": round(8e-6 * n * (d + 1)),
        "limit MB": limit or "",
        "met": "yes" if met else "**no**",
    }


def in_fresh_process(*case):
    """Return what ``measure`` says in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.growth", "--here", *map(str, case)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output)


def measure(name, n, d, alpha, tol):
    """Fit here; return seconds, memory and what was reached."""
    X, y = make_friedman1(int(n), int(d), noise=1.0, random_state=0)
    X, y = scale(X), scale(y)
    model = MLPRegressor(random_state=0)
    if name == "ours":
        model = ConvexReLURegressor(alpha=alpha, tol=tol, random_state=0)
    timed_fit(model, X[:200], y[:200])
    before = resident_megabytes()
    seconds, _ = timed_fit(model, X, y)
    result = {"seconds": seconds, "MB": round(peak_megabytes() - before)}
    if name == "ours":
        null_loss = float(y @ y) / (2 * len(y))
        result |= {"gap": model.dual_gap_ / null_loss, "neurons": model.n_neurons_}
    return result


def resident_megabytes():
    """Return the resident size of this process now, or its peak where unknown."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return peak_megabytes()
    return int(statm.read_text().split()[1]) * resource.getpagesize() / 1e6


def peak_megabytes():
    """Return the largest resident size this process has had."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def verdict(tables):
    """Say how seconds grow with n, and how often ours is within its limits."""
    rows = [row for table in tables.values() for row in table]
    met = sum(row["met"] == "yes" for row in rows)
    text = f"Ours takes no longer than MLPRegressor in {met} of {len(rows)} cases."
    rows = tables.get("samples", [])
    if len(rows) < 2:
        return text
    n, ours, mlp = (np.log([row[k] for row in rows]) for k in ("n", "ours s", "MLP s"))
    power, its_power = ((t[-1] - t[-2]) / (n[-1] - n[-2]) for t in (ours, mlp))
    grown, allowed = np.exp(ours[-1] - ours[0]), np.exp(n[-1] - n[0]) * n[-1] / n[0]
    return (
        f"{text} From n={rows[0]['n']} to n={rows[-1]['n']} our seconds grow "
        f"{grown:.0f} times (n log n: {allowed:.0f} times), over the last step as "
        f"n^{power:.2f} (MLP: n^{its_power:.2f})."
    )


def picture(tables):
    """Return the figure: seconds and megabytes against what grows."""
    drawn = [name for name in AXIS if name in tables]
    fig, panels = figure(2 * len(drawn), width=len(drawn))
    for k, name in enumerate(drawn):
        rows = tables[name]
        x = [row[("n", "d", "alpha")[AXIS[name]]] for row in rows]
        for panel, unit in ((panels[k], "s"), (panels[k + len(drawn)], "MB")):
            for model in ("ours", "MLP"):
                values = [max(row[f"{model} {unit}"], 0.1) for row in rows]
                panel.plot(x, values, "o-", label=model)
            label = {"s": "seconds", "MB": "peak above the data, MB"}[unit]
            panel.set(xscale="log", yscale="log", xlabel=name, ylabel=label)
    panels[0].legend()
    return fig


LEGEND = """Ours to a certified gap of tol (a fraction of the loss of the best
constant), MLP at its defaults (at most 200 epochs); one fit each. Met: no slower than
MLP, and within the memory limit where there is one."""


if __name__ == "__main__":
    main()
