"""State the problem: check the features, merge equal rows."""

from dataclasses import replace

import numpy as np

from sklearn_convexrelu.data.cluster import is_spread
from sklearn_convexrelu.data.rows import Rows
from sklearn_convexrelu.data.tables import of_rows
from sklearn_convexrelu.model.neurons import NEURONS, power_of_two
from sklearn_convexrelu.model.problem import Problem

__all__ = ["are_constant", "standard_scales", "state_problem", "unlike_scales"]

_LARGEST = 1e30  # feature beside the hidden bias
_SMALLEST = 1e-150  # feature without one
_LEAST_SPREAD = 1e-9  # of a feature, for its size, that double precision resolves
_ROUNDED = 8.0 * np.finfo(float).eps  # spread that is rounding: a constant
_LEAST_WEIGHT = 1e-150  # of a row, for the largest: less is none, losses divide by it


def state_problem(
    X,
    Y,
    sample_weight,
    loss,
    *,
    fit_intercept,
    hidden_bias,
    shape=NEURONS,
    names=None,
    scales=None,
):
    """Return the Problem of the data, its alpha still open.

    Rows of zero weight are dropped and identical rows merged, in an order that depends
    on the set of rows alone: weights, repetitions and any shuffling of the same data
    give the same problem (to the last bit for integer weights). With ``scales``
    (n_features,) it is that of the features divided by them.
    """
    rows = Rows.of(X)
    _check_spread(replace(rows, scales=scales), hidden_bias, names)
    # A common factor means nothing; without it their sum could overflow.
    sample_weight = sample_weight / power_of_two(sample_weight.max())
    if not (rows.is_mapped or rows.is_spread):
        index, weights = _distinct_rows(rows, Y, sample_weight)
        rows, Y = rows.take(index), Y[index]
    else:
        rows, Y, weights = _live_rows(rows, Y, sample_weight)
    rows = replace(rows, constant=float(hidden_bias), scales=scales)
    return Problem(rows, Y, _shares(weights), loss, np.nan, fit_intercept, shape)


def standard_scales(X, sample_weight):
    """Return the weighted standard deviation of every feature; one of constant ones.

    To 40 bits: weights and repetitions of rows, which round differently, then have the
    same scales to the last bit, and with them the same fits.

    Parameters
    ----------
    X : ndarray, memmap or sparse matrix of shape (n_samples, n_features)
        The features.
    sample_weight : ndarray of shape (n_samples,)
        Weights, which count like repetitions.
    """
    rows = Rows.of(X)
    weights = sample_weight / power_of_two(sample_weight.max())
    scales = rows.deviations(weights)
    varying = ~are_constant(rows) & (scales > 0.0) & np.isfinite(scales)
    parts, exponents = np.frexp(np.where(varying, scales, 1.0))
    return np.ldexp(np.round(parts * 2.0**40) / 2.0**40, exponents)


def unlike_scales(rows, ratio):
    """Return the features of the largest and the least spread, if so far apart.

    Constant features count for nothing.

    Parameters
    ----------
    rows : Rows
        The features, those of a Problem: it has asked for their bounds.
    ratio : float
        From which ratio of spreads on.

    Returns
    -------
    tuple of int and float or None
        Their indices, and the ratio; None where it is less.
    """
    varying = np.flatnonzero(~are_constant(rows))
    if not len(varying):
        return None
    spreads = rows.spreads[varying]
    largest, least = spreads.argmax(), spreads.argmin()
    with np.errstate(over="ignore"):
        found = float(spreads[largest] / spreads[least])
    return (varying[largest], varying[least], found) if found > ratio else None


def are_constant(rows):
    """Tell which inputs of Rows are constant, but for rounding."""
    return rows.spreads <= _ROUNDED * rows.sizes


def _check_spread(rows, hidden_bias, names):
    """Refuse features whose variation would drown in rounding beside their size.

    Constant ones tell nothing, and are no harm whatever their size, nor are those whose
    variation is rounding, and next to nothing beside that of the others or the bias.
    """
    sizes, spreads = rows.sizes, rows.spreads
    others = max(spreads[~are_constant(rows)].max(initial=0.0), float(hidden_bias))
    rounded = are_constant(rows) & (spreads <= _LEAST_SPREAD * others)
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


def _shares(weights):
    """Return weights that sum to one; equal ones take no memory."""
    if weights.min() == weights.max():
        equal = 1.0 / len(weights)
        if is_spread(weights):
            return weights.constant(equal)
        return np.broadcast_to(equal, len(weights))
    return weights / weights.sum()


def _live_rows(rows, Y, sample_weight):
    """Return the rows of a memory map or of workers, their targets and weights.

    They are not sorted and not merged, which would read rows one by one, or send all
    of them from worker to worker.
    """
    if rows.is_spread:
        return rows, Y, sample_weight
    of_rows(sample_weight > _LEAST_WEIGHT, rows.table)
    return rows, Y, sample_weight


def _distinct_rows(rows, Y, sample_weight):
    """Return one index for each distinct row of positive weight, and their weights.

    Rows come sorted by target and then by features; sparse ones by a random
    combination of features, since they have so many columns.
    """
    live = np.flatnonzero(sample_weight > _LEAST_WEIGHT)
    if rows.is_sparse:
        order, same = _sorted_sparse(rows, Y, live)
    else:
        order, same = _sorted(rows.table, Y, live)
    if not len(same):
        return order, sample_weight[order]
    first = np.delete(np.arange(len(live)), same)
    return order[first], np.add.reduceat(sample_weight[order], first)


def _sorted(X, Y, live):
    """Return the order of live rows, and the places of those like the one before."""
    X, Y = (A if len(live) == len(A) else A[live] for A in (X, Y))
    keys = [*Y.T, *X.T]
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
    return live[order], pairs + 1


def _sorted_sparse(rows, Y, live):
    """Return the same of sparse rows.

    Combinations are of columns whose spread is one, so that none outweighs the others;
    constant ones tell no rows apart. Rows of equal combinations that are not equal keep
    the order they came in, which chance all but rules out.
    """
    X, spreads = rows.table, rows.spreads
    factors = np.random.default_rng(0).standard_normal((2, X.shape[1]))
    none = np.zeros_like(factors)
    factors = np.divide(factors, spreads, out=none, where=spreads > 0.0)
    combined = X @ factors.T
    keys = [*Y.T, *combined.T]
    order = live[np.lexsort([key[live] for key in keys[::-1]])]
    pairs = np.arange(len(order) - 1)
    for key in keys:
        pairs = pairs[key[order[pairs]] == key[order[pairs + 1]]]
    if len(pairs):
        differences = abs(X[order[pairs]] - X[order[pairs + 1]])
        pairs = pairs[differences.max(axis=1).toarray().ravel() == 0.0]
    return order, pairs + 1
