"""State the problem: check the features, merge equal rows."""

import numpy as np

from sklearn_convexrelu.model.neurons import NEURONS, power_of_two
from sklearn_convexrelu.model.problem import Problem

__all__ = ["are_constant", "state_problem"]

_LARGEST = 1e30  # feature beside the hidden bias
_SMALLEST = 1e-150  # feature without one
_LEAST_SPREAD = 1e-9  # of a feature, for its size, that double precision resolves
_ROUNDED = 8.0 * np.finfo(float).eps  # spread that is rounding: a constant
_LEAST_WEIGHT = 1e-150  # of a row, for the largest: less is none, losses divide by it


def state_problem(
    X, Y, sample_weight, loss, *, fit_intercept, hidden_bias, shape=NEURONS, names=None
):
    """Return the Problem of the data, its alpha still open.

    Rows of zero weight are dropped and identical rows merged, in an order that depends
    on the set of rows alone: weights, repetitions and any shuffling of the same data
    give the same problem (to the last bit for integer weights).
    """
    X = np.asarray(X, dtype=np.float64)
    _check_spread(X, hidden_bias, names)
    rows, weights = _distinct_rows(X, Y, sample_weight)
    inputs = np.ones((len(rows), X.shape[1] + hidden_bias))
    inputs[:, : X.shape[1]] = X[rows]
    weights = weights / weights.sum()
    return Problem(inputs, Y[rows], weights, loss, np.nan, fit_intercept, shape)


def are_constant(X):
    """Tell which columns are constant, but for rounding."""
    return np.ptp(X, axis=0) <= _ROUNDED * np.abs(X).max(axis=0)


def _check_spread(X, hidden_bias, names):
    """Refuse features whose variation would drown in rounding beside their size.

    Constant ones tell nothing, and are no harm whatever their size, nor are those whose
    variation is rounding, and next to nothing beside that of the others or the bias.
    """
    sizes, spreads = np.abs(X).max(axis=0), np.ptp(X, axis=0)
    others = max(spreads[~are_constant(X)].max(initial=0.0), float(hidden_bias))
    rounded = are_constant(X) & (spreads <= _LEAST_SPREAD * others)
    varying = np.flatnonzero((spreads > 0.0) & ~rounded)
    if not len(varying):
        return

    def named(column):
        return f"Feature {column if names is None else repr(str(names[column]))}"

    ratios = spreads[varying] / sizes[varying]
    worst = varying[ratios.argmin()]
    if ratios.min() < _LEAST_SPREAD:
        raise ValueError(
            f"{named(worst)} varies by {ratios.min():.0e} of its size, too little for "
            "double precision; standardise it."
        )
    largest = varying[sizes[varying].argmax()]
    size = sizes[largest]
    if hidden_bias and spreads[varying].max() < _LEAST_SPREAD:
        raise ValueError(
            f"The features vary by {spreads[varying].max():.0e} at most, beside the "
            "hidden bias, of size one, too little for double precision; standardise "
            "them."
        )
    if size < _SMALLEST:
        raise ValueError(
            f"Features of size {size:.0e} have squares beyond double precision; "
            "standardise them."
        )
    if hidden_bias and size > _LARGEST:
        raise ValueError(
            f"{named(largest)}, of size {size:.0e}, drowns the hidden bias, of size "
            "one; standardise it."
        )


def _distinct_rows(X, Y, sample_weight):
    """Return one index for each distinct row of positive weight, and their weights.

    Rows come sorted by target and then by features.
    """
    # A common factor means nothing; without it their sum could overflow.
    sample_weight = sample_weight / power_of_two(sample_weight.max())
    live = np.flatnonzero(sample_weight > _LEAST_WEIGHT)
    keys = [*Y[live].T, *X[live].T]
    # The first two keys tell most rows apart; the others sort those that they do not.
    order = np.lexsort(keys[1::-1])
    tied = np.ones(len(live) - 1, dtype=bool)
    for key in keys[:2]:
        tied &= key[order[1:]] == key[order[:-1]]
    among = np.concatenate([[False], tied]) | np.concatenate([tied, [False]])
    rest = order[among]
    order[among] = rest[np.lexsort([key[rest] for key in keys[::-1]])]
    pairs = np.flatnonzero(tied)
    for key in keys:
        pairs = pairs[key[order[pairs]] == key[order[pairs + 1]]]
    first = np.delete(np.arange(len(live)), pairs + 1)
    order = live[order]
    return order[first], np.add.reduceat(sample_weight[order], first)
