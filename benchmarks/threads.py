"""Threads: the same fits with one and with two BLAS threads.

Training limits BLAS to one thread; this lifts the limit to show what that is for. Means
something on an idle machine only.
"""

from contextlib import nullcontext
from statistics import median
from unittest.mock import patch

from sklearn.base import clone
from threadpoolctl import threadpool_limits

from benchmarks.datasets import available, load, standardised
from benchmarks.report import markdown, parse, publish, timed_fit
from sklearn_convexrelu import ConvexReLUClassifier, ConvexReLURegressor
from sklearn_convexrelu import _base as module

CASES = {
    "diabetes": ConvexReLURegressor(0.03),
    "friedman1": ConvexReLURegressor(0.01, tol=1e-2),
    "friedman1 n=10000": ConvexReLURegressor(0.01, tol=1e-2),
    "friedman1 n=100000": ConvexReLURegressor(0.1),
    "digits": ConvexReLUClassifier(0.03, tol=1e-2),
}
SEEDS = range(3)


def main():
    """Time the cases asked for and publish their table."""
    options = parse(__doc__, CASES, ("diabetes", "friedman1"))
    rows = []
    for data in available(options.names):
        X, y = standardised(data) if data.name != "digits" else pixels()
        seconds = {n: timed(CASES[data.name], X, y, n) for n in (1, 2)}
        row = {"data": data.name, "n": len(y), "d": X.shape[1]}
        row |= {f"{n} thread{'s' * (n > 1)}, s": seconds[n] for n in seconds}
        rows.append(row | {"ratio": f"{seconds[2] / seconds[1]:.1f}"})
    publish("threads", "Threads", markdown(rows) + "\n\n" + LEGEND, options.partial)


def pixels():
    """Return features and classes of the digits."""
    data = load("digits")
    return data.X.to_numpy() / 16, data.y


def timed(model, X, y, n_threads):
    """Return the median seconds of fits with so many threads."""
    with (
        patch.object(module, "one_blas_thread", nullcontext),
        threadpool_limits(n_threads, user_api="blas"),
    ):
        fits = [clone(model).set_params(random_state=seed) for seed in SEEDS]
        return median(timed_fit(fit, X, y)[0] for fit in fits)


LEGEND = "Median of three seeds. Ratio: seconds with two threads to those with one."


if __name__ == "__main__":
    main()
