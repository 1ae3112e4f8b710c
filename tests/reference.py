"""Independent restatements: what the package must agree with, written another way."""

from itertools import combinations, product

import cvxpy as cp
import numpy as np
from scipy.optimize import minimize


def network_objective(model, X, y, sample_weight=None):
    """Objective of a fitted regressor, from coefs_ and intercepts_ alone."""
    w = np.ones(len(X)) if sample_weight is None else sample_weight
    (W, a), (b, b2) = model.coefs_, model.intercepts_
    residual = np.maximum(X @ W + b, 0) @ a[:, 0] + b2[0] - y
    penalty = sum(
        np.sqrt((W[:, j] ** 2).sum() + b[j] ** 2) * abs(a[j, 0]) for j in range(len(a))
    )
    return (w * residual**2).sum() / (2 * w.sum()) + model.alpha_ * penalty


def all_patterns(X):
    """Every activation pattern of rows in general position, rank two or three.

    Each cell touches a direction orthogonal to ``rank - 1`` rows; there the bits of
    those rows are free and all others are known.
    """
    found = set()
    for rows in combinations(range(len(X)), X.shape[1] - 1):
        walls = X[list(rows)]
        u = np.linalg.svd(walls)[2][-1]
        for side in (u, -u):
            pattern = X @ side > 0
            for bits in product([False, True], repeat=len(rows)):
                pattern[list(rows)] = bits
                found.add(tuple(pattern))
    return np.array(sorted(found))


def half_squares(f, y):
    return cp.sum_squares(f - y) / 2


def units(Z, patterns):
    """Return units of both signs on patterns, one a column, in CVXPY.

    They are their weights, their signs, their values where they are gated by the
    patterns, and their values on the sides of the patterns, which cones want positive.
    CVXPY compiles one matrix in a tenth of the time of as many vectors.
    """
    gates, signs = np.tile(patterns, (2, 1)).T, np.repeat([1.0, -1.0], len(patterns))
    V = cp.Variable((Z.shape[1], len(signs)))
    return V, signs, cp.multiply(gates, Z @ V), cp.multiply(2.0 * gates - 1, Z @ V)


def cone_programme(X, y, patterns, alpha, fit_intercept, loss=half_squares):
    """Optimum of the convex programme over ``patterns`` (Pilanci & Ergen 2020)."""
    V, signs, values, sides = units(X, patterns)
    f = values @ signs + (cp.Variable() if fit_intercept else 0)
    value = loss(f, y) / len(X) + alpha * cp.sum(cp.norm(V, 2, axis=0))
    programme = cp.Problem(cp.Minimize(value), [sides >= 0])
    return programme.solve(solver=cp.CLARABEL)


def wide_network(X, y, alpha, n_neurons, seed, fit_intercept, max_iter):
    """Best objective of L-BFGS on a wide network with weight decay, from one start."""
    n, d = X.shape
    rng = np.random.default_rng(seed)
    X = np.c_[X, np.ones(n)]
    size = (d + 1) * n_neurons

    def objective(z):
        W, a, b = z[:size].reshape(d + 1, -1), z[size:-1], z[-1] * fit_intercept
        H = np.maximum(X @ W, 0)
        r = (H @ a + b - y) / n
        to_W = X.T @ (np.outer(r, a) * (H > 0)) + alpha * W
        gradient = np.r_[to_W.ravel(), H.T @ r + alpha * a, r.sum() * fit_intercept]
        return n * r @ r / 2 + alpha / 2 * (z[:-1] @ z[:-1]), gradient

    start = rng.standard_normal(size + n_neurons + 1) * 0.3
    options = {"maxiter": max_iter, "maxfun": 2 * max_iter, "ftol": 1e-12}
    return minimize(objective, start, jac=True, method="L-BFGS-B", options=options).fun
