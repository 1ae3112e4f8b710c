"""Memory: what a fit at n=100000, d=10 needs above the data.

Every fit has a process of its own: its peak resident size less the resident size just
before the fit, when the data are there and a small fit has warmed up the libraries.
"""

import json
import resource
import subprocess
import sys
from pathlib import Path

from sklearn.neural_network import MLPRegressor

from benchmarks.datasets import load, standardised
from benchmarks.report import markdown, parse, publish, timed_fit
from sklearn_convexrelu import ConvexReLURegressor

LIMIT = 500  # MB, for ours
DATA = "friedman1 n=100000"
MODELS = {
    "ours, alpha 0.1, tol 1e-3": ConvexReLURegressor(0.1, tol=1e-3, random_state=0),
    "ours, alpha 0.01, tol 1e-2": ConvexReLURegressor(0.01, tol=1e-2, random_state=0),
    # Memory does not depend on the number of epochs.
    "MLPRegressor, 3 epochs": MLPRegressor(max_iter=3, random_state=0),
}


def main():
    """Measure every model in a fresh process, or one of them here (``--here``)."""
    if sys.argv[1:2] == ["--here"]:
        print(json.dumps(measure(sys.argv[2])))
        return
    options = parse(__doc__, MODELS, list(MODELS)[:1])
    rows = [in_fresh_process(name) for name in options.names]
    publish("memory", f"Peak memory, {DATA}", markdown(rows), options.partial)


def in_fresh_process(name):
    """Return the row of one model."""
    command = [sys.executable, "-m", "benchmarks.memory", "--here", name]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output)


def measure(name):
    """Fit here; return the row."""
    model = MODELS[name]
    X, y = standardised(load(DATA))
    timed_fit(model, X[:200], y[:200])
    before = resident_megabytes()
    seconds, _ = timed_fit(model, X, y)
    above = peak_megabytes() - before
    ours = isinstance(model, ConvexReLURegressor)
    return {
        "model": name,
        "data MB": round((X.nbytes + y.nbytes) / 1e6),
        "peak above MB": round(above),
        "limit MB": LIMIT if ours else "",
        "met": ("yes" if above <= LIMIT else "**no**") if ours else "",
        "seconds": round(seconds, 1),
    }


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


if __name__ == "__main__":
    main()
