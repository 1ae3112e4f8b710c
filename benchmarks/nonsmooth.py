"""Losses with kinks on 200 small random problems, against conic programmes in CVXPY.

Each has one or two features, with or without ties and weights; the programme is over
all activation patterns, stated with the loss as it is, and solved by Clarabel. The
network must be within the tolerance of its optimum, and the lower bound not above it.
"""

import cvxpy as cp
import numpy as np

from benchmarks.report import parse, publish
from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLURegressor,
    enumerate_patterns,
)

LOSSES = ("absolute_error", "quantile", "hinge")
N_PROBLEMS = 200
ROUNDING = 1e-6  # of Clarabel, for the optimum


def problem(seed):
    """Return the loss, features, targets, weights and level of a random problem."""
    rng = np.random.default_rng(seed)
    name, n, d = LOSSES[seed % 3], int(rng.integers(6, 13)), int(rng.integers(1, 3))
    X = rng.standard_normal((n, d))
    y = np.abs(X[:, 0]) + rng.standard_normal(n)
    y = np.round(y) if rng.random() < 0.5 else y
    if name == "hinge":
        y = np.where(y > np.median(y), 1.0, -1.0)
    weights = rng.integers(1, 4, n).astype(float)
    return name, X, y, weights, float(rng.choice([0.1, 0.5, 0.8]))


def optimum(name, X, y, weights, level, alpha):
    """Return the optimum of the convex programme over all patterns."""
    Z, weights = np.c_[X, np.ones(len(X))], weights / weights.sum()
    low, high = {
        "absolute_error": (-1.0, 1.0),
        "quantile": (-level, 1.0 - level),
        "hinge": (-(y > 0.0).astype(float), (y < 0.0).astype(float)),
    }[name]
    f, penalty, constraints = cp.Variable() * np.ones(len(y)), 0.0, []
    for pattern in enumerate_patterns(Z)[0]:
        for sign in (1.0, -1.0):
            v = cp.Variable(Z.shape[1])
            f = f + sign * cp.multiply(pattern.astype(float), Z @ v)
            constraints.append(cp.multiply(2.0 * pattern - 1.0, Z @ v) >= 0)
            penalty = penalty + cp.norm(v)
    sides = [cp.multiply(weights * slope, f - y) for slope in (low, high)]
    stated = cp.Minimize(cp.sum(cp.maximum(*sides)) + alpha * penalty)
    return cp.Problem(stated, constraints).solve(solver=cp.CLARABEL)


def judged(seed):
    """Return in tolerances: the gap, what is lacking, and how far the bound is over."""
    name, X, y, weights, level = problem(seed)
    if len(np.unique(y)) < 2:
        return None
    if name == "hinge":
        model = ConvexReLUClassifier(0.1, loss=name, random_state=0)
    else:
        model = ConvexReLURegressor(0.1, loss=name, quantile=level, random_state=0)
    model.fit(X, y, sample_weight=weights)
    best = optimum(name, X, y, weights, level, model.alpha_)
    slack = ROUNDING * best
    lacking, over = model.objective_ - best, model.lower_bound_ - best - slack
    return np.array([model.dual_gap_, lacking, over]) / model.tolerance_


def main():
    """Judge the problems and write the report."""
    options = parse(__doc__, ["all"], ["all"])
    count = N_PROBLEMS // 10 if options.quick else N_PROBLEMS
    found = [judged(seed) for seed in range(count)]
    gaps, lacking, over = np.array([row for row in found if row is not None]).T
    text = (
        f"{__doc__}\n{len(gaps)} problems. In tolerances (1e-3 of the loss of the best "
        f"constant): the largest gap reported is {gaps.max():.3f}, the most that an "
        f"objective lacks {lacking.max():.3f}, the bound farthest over an optimum "
        f"{over.max():.3g} (negative: none is over).\n\n"
        "`python -m benchmarks.nonsmooth`"
    )
    publish("nonsmooth", "Losses with kinks", text, options.partial)


if __name__ == "__main__":
    main()
