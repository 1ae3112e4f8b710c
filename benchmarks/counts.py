"""Counts: the work that fits do, in units that do not depend on the machine.

Rounds, pricing passes, slide evaluations, amplitude solves, Newton steps of the
interior point and the multiplications of the products with all rows, over a few cases
and seeds. They are compared with the committed figures (results/counts.json); the exit
status is 1 where one has grown by more than a quarter. ``--update`` writes new figures.
``--floors`` sets the seconds of every case of the adaptive loop beside two floors: its
multiplications at the speed of a large product in single precision, and one reading of
the data for each of its products at the speed of a plain sum, both measured here; it
writes results/floors.md.
"""

import argparse
import json
from contextlib import ExitStack
from statistics import median
from time import perf_counter
from unittest.mock import patch

import numpy as np
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    make_friedman1,
)
from sklearn.preprocessing import scale

from benchmarks.report import RESULTS, markdown, publish
from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLURegressor,
    convex_relu_path,
)
from sklearn_convexrelu.adaptive import loop as adaptive
from sklearn_convexrelu.adaptive import steps
from sklearn_convexrelu.adaptive.slide import _WeightObjective
from sklearn_convexrelu.pricing.kernels import Prices
from sklearn_convexrelu.pricing.search import Pricer
from sklearn_convexrelu.pricing.subnetworks import TreePricer, _TreePrices
from sklearn_convexrelu.programmes.central_path import CentralPath

FIGURES = RESULTS / "counts.json"
MOST = 1.25  # times the committed figure: other BLAS libraries round otherwise
SEEDS = range(3)


def diabetes():
    """Return features and target, standardised."""
    X, y = load_diabetes(return_X_y=True)
    return scale(X), scale(y)


def friedman(n):
    """Return features and target of Friedman's first problem, standardised."""
    X, y = make_friedman1(n, noise=1.0, random_state=0)
    return scale(X), scale(y)


def cancer():
    """Return standardised features, and classes."""
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), y


def digits():
    """Return standardised features, and ten classes."""
    X, y = load_digits(return_X_y=True)
    return scale(X), y


CASES = {
    "diabetes 0.1": (diabetes, ConvexReLURegressor(0.1)),
    "diabetes 0.03": (diabetes, ConvexReLURegressor(0.03)),
    "friedman1 0.01, tol 1e-2": (
        lambda: friedman(1000),
        ConvexReLURegressor(0.01, tol=1e-2),
    ),
    "friedman1 n=20000 0.1": (lambda: friedman(20_000), ConvexReLURegressor(0.1)),
    "breast cancer 0.01": (cancer, ConvexReLUClassifier(0.01)),
    "diabetes three layers 0.1": (
        diabetes,
        ConvexReLURegressor(0.1, subnetwork_widths=(2,), tol=1e-2),
    ),
    "diabetes path": (diabetes, None),
    "digits 0.03, tol 1e-2": (digits, ConvexReLUClassifier(0.03, tol=1e-2)),
    "diabetes gated 0.01": (
        diabetes,
        ConvexReLURegressor(0.01, patterns="random", activation="gated_relu", tol=1e-6),
    ),
    "diabetes 30 patterns 0.01": (
        diabetes,
        ConvexReLURegressor(0.01, patterns="random", n_patterns=30, tol=1e-6),
    ),
}


class Counter:
    """Counts calls of the package's inner functions while it is entered."""

    def __init__(self):
        self.totals = dict.fromkeys(
            (
                "rounds",
                "pricing passes",
                "slide steps",
                "solves",
                "Newton steps",
                "Mflop",
                "MB",
            ),
            0.0,
        )

    def __enter__(self):
        self.stack = ExitStack()
        self.count(Pricer, "search", "pricing passes", nothing)
        self.count(TreePricer, "price", "pricing passes", nothing)
        self.count(Prices, "_pattern_sums", None, pricing_work)
        self.count(Prices, "totals_and_gradients", None, several_outputs_work)
        self.count(_TreePrices, "totals_and_gradients", None, tree_pricing_work)
        self.count(_WeightObjective, "__call__", "slide steps", slide_work)
        self.count(steps, "rebalanced", "solves", solve_work)
        self.count(adaptive._Run, "improve", "rounds", nothing)
        self.count(CentralPath, "block_matrices", "Newton steps", nothing)
        return self

    def __exit__(self, *error):
        self.stack.close()

    def count(self, owner, name, unit, work):
        """Have every call of ``owner.name`` counted."""
        function, totals = getattr(owner, name), self.totals

        def counted(*args, **kwargs):
            if unit is not None:
                totals[unit] += 1
            flops, read = work(*args, **kwargs)
            totals["Mflop"] += 1e-6 * flops
            totals["MB"] += 1e-6 * read
            return function(*args, **kwargs)

        self.stack.enter_context(patch.object(owner, name, counted))


def nothing(*args, **kwargs):
    """Return the flops and bytes of what is counted inside."""
    return 0.0, 0.0


def entries(rows):
    """Return the entries of the inputs."""
    return len(rows) * rows.n_inputs


def read(rows):
    """Return the bytes of the inputs."""
    return entries(rows) * rows.dtype.itemsize


def pricing_work(prices, U, widths=None):
    """Return flops and bytes of prices and gradients of columns."""
    return 4 * entries(prices.rows) * U.shape[1], 2 * read(prices.rows)


def tree_pricing_work(prices, W, signs, outputs):
    """Return flops and bytes of prices and gradients of leaves."""
    return 4 * entries(prices.rows) * len(W) * W.shape[1], 2 * read(prices.rows)


def several_outputs_work(prices, U, A, widths=None):
    """Return flops and bytes of prices and gradients of columns, several outputs."""
    if prices.N.shape[1] == 1:
        return 0.0, 0.0  # counted as a pattern sum
    products = 2 * entries(prices.rows) + 2 * prices.N.size  # values, totals
    if A is not None:
        products *= 2  # output weights, gradients
    return products * U.shape[1], 2 * read(prices.rows)


def slide_work(objective, flat):
    """Return flops and bytes of one evaluation of objective and gradient."""
    return 6 * len(objective.rows) * len(flat), 2 * read(objective.rows)


def solve_work(problem, network, directions, *rest):
    """Return flops and bytes of the normal equations."""
    n_units = directions.shape[1]
    size = len(problem.rows) * n_units
    return 2 * size * n_units, 16 * size


def main():
    """Count every case, compare with the figures, fail where one has grown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="write new figures")
    parser.add_argument("--floors", action="store_true", help="seconds beside floors")
    options = parser.parse_args()
    if options.floors:
        publish("floors", "Floors", markdown(floors()) + "\n\n" + LEGEND, False)
        return
    found = {name: counted(*case) for name, case in CASES.items()}
    if options.update:
        FIGURES.write_text(json.dumps(found, indent=1) + "\n")
    committed = json.loads(FIGURES.read_text())
    rows, grown = compared(found, committed)
    print(markdown(rows))
    if grown:
        print("\nMore work than committed: " + "; ".join(grown) + ".")
    raise SystemExit(bool(grown))


def counted(data, model):
    """Return the mean counts of one case over seeds."""
    X, y = data()
    with Counter() as counter:
        for seed in SEEDS:
            fit(model, X, y, seed)
    return {
        unit: round(total / len(SEEDS), 1) for unit, total in counter.totals.items()
    }


def floors():
    """Return rows: the seconds of every case beside its arithmetic and its reading."""
    A, B = (np.ones((n, m), np.float32) for n, m in ((2000, 2000), (2000, 500)))
    rate = 2e-6 * A.size * B.shape[1] / least_seconds(lambda: A @ B)
    long = np.ones(20_000_000)
    speed = 1e-6 * long.nbytes / least_seconds(long.sum)
    rows = []
    for name, (data, model) in CASES.items():
        counts, (X, y) = counted(data, model), data()
        if counts["Newton steps"]:
            continue  # factorisations, which are not counted
        seconds = []
        for seed in SEEDS:
            begin = perf_counter()
            fit(model, X, y, seed)
            seconds.append(perf_counter() - begin)
        arithmetic, reading = counts["Mflop"] / rate, counts["MB"] / speed
        rows.append(
            {
                "case": name,
                "seconds": median(seconds),
                "arithmetic floor": arithmetic,
                "reading floor": reading,
                "seconds / larger floor": median(seconds) / max(arithmetic, reading),
            }
        )
    rows.append({"case": f"({rate / 1e3:.0f} Gflop/s, {speed / 1e3:.1f} GB/s)"})
    return rows


LEGEND = """Seconds: median of the seeds. The floors take the multiplications and
readings that the fits do as they are."""


def least_seconds(function, repeats=7):
    """Return the least time of a call."""
    times = []
    for _ in range(repeats):
        begin = perf_counter()
        function()
        times.append(perf_counter() - begin)
    return min(times)


def fit(model, X, y, seed):
    """Fit a case."""
    if model is None:
        convex_relu_path(X, y, n_alphas=10, eps=1e-2, random_state=seed)
    else:
        model.set_params(random_state=seed).fit(X, y)


def compared(found, committed):
    """Return the table, and what has grown."""
    rows, grown = [], []
    for name, counts in found.items():
        row = {"case": name}
        for unit, value in counts.items():
            before = committed.get(name, {}).get(unit, np.inf)
            row[unit] = f"{value:g} ({before:g})"
            if value > MOST * before + 2:  # a round or two are no regression
                grown.append(f"{name}, {unit}: {value:g} for {before:g}")
        rows.append(row)
    return rows, grown


if __name__ == "__main__":
    main()
