"""Threads: the same fits with one thread of ours, with two, and with two of BLAS.

Training limits BLAS to one thread; the last column lifts the limit to show what that is
for. Means something on an idle machine only.
"""

from contextlib import nullcontext
from statistics import median
from unittest.mock import patch

import numpy as np
from sklearn.datasets import make_friedman1
from sklearn.preprocessing import scale
from threadpoolctl import threadpool_limits

from benchmarks.report import markdown, parse, publish, timed_fit
from sklearn_convexrelu import ConvexReLURegressor
from sklearn_convexrelu import _base as module

SIZES = {
    "1000": 1000,
    "10000": 10_000,
    "100000": 100_000,
    "300000": 300_000,
    "1000000": 1_000_000,
}
QUICK = ("1000", "10000")


def main():
    """Time the sizes asked for and publish their table."""
    options = parse(__doc__, SIZES, QUICK)
    rows = []
    for name in options.names:
        rows.append(compare(SIZES[name]))
        print(rows[-1])
    publish("threads", "Threads", markdown(rows) + "\n\n" + LEGEND, options.partial)


def compare(n):
    """Return the row of one size: friedman1 with 20 features, alpha 0.01, tol 1e-2."""
    X, y = make_friedman1(n, n_features=20, noise=1.0, random_state=0)
    X, y = scale(X), scale(y)
    runs = {"one": [], "two": [], "two of BLAS": []}
    for seed in range(3 if n < 200_000 else 1):
        for kind, seconds in runs.items():
            model = ConvexReLURegressor(0.01, tol=1e-2, random_state=seed)
            if kind == "two of BLAS":
                with (
                    patch.object(module, "training_threads", nullcontext),
                    threadpool_limits(2, user_api="blas"),
                ):
                    seconds.append(timed_fit(model, X, y)[0])
                continue
            model.set_params(n_jobs=1 if kind == "one" else 2)
            seconds.append(timed_fit(model, X, y)[0])
            if kind == "one":
                alone = model
            else:
                same = all(map(np.array_equal, alone.coefs_, model.coefs_))
    one, two, of_blas = (median(seconds) for seconds in runs.values())
    return {
        "n": n,
        "one, s": one,
        "two, s": two,
        "two of BLAS, s": of_blas,
        "one / two": f"{one / two:.2f}",
        "same bits": "yes" if same else "**no**",
    }


LEGEND = """friedman1 with 20 features, alpha 0.01, tol 1e-2. Medians of three seeds,
one from 300000 rows on. "one / two": how many times faster `n_jobs=2` is."""


if __name__ == "__main__":
    main()
