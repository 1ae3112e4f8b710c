"""Data sets of the tests, small and with their purpose in the name."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler

from sklearn_convexrelu.data.statement import state_problem
from sklearn_convexrelu.model.losses import SquaredError

THEORY = Path(__file__).parent / "data" / "theory"


def known_optimum(name):
    """Return a problem with its optimum, as ``tests/data/README.md`` says."""
    with np.load(THEORY / f"{name}.npz") as case:
        return dict(case)


def diabetes():
    """Return standardised features and target, as in the published comparisons."""
    X, y = load_diabetes(return_X_y=True)
    return StandardScaler().fit_transform(X), (y - y.mean()) / y.std()


def bumps(n_samples, n_features, seed=0):
    """Return a regression problem that needs several neurons."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_features))
    y = np.abs(X[:, 0]) - np.maximum(X[:, -1] - 0.5, 0) + X.sum(axis=1) / 3
    return X, y + 0.1 * rng.standard_normal(n_samples)


def problem(X, y, *, alpha=None, weights=None, fit_intercept=True, hidden_bias=True):
    """State a regression problem; ``alpha`` is absolute."""
    weights = np.ones(len(X)) if weights is None else weights
    stated = state_problem(
        X,
        y.reshape(len(X), -1),
        weights,
        SquaredError(),
        fit_intercept=fit_intercept,
        hidden_bias=hidden_bias,
    )
    return stated if alpha is None else stated.with_alpha(alpha)
