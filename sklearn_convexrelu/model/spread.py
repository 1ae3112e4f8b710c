"""What losses do with all samples at once, where the samples are on workers.

A loss is stated for arrays (``loss.py``), and most of what it does is a sum over rows
or has one row a sample, which workers do part by part. What is left is searches over a
few numbers, the intercept and the scale of a dual point. Each trial costs a round trip,
whatever the number of rows, so several are made in one.
"""

from functools import partial

import numpy as np

from sklearn_convexrelu.data.cluster import added
from sklearn_convexrelu.model.loss import is_balanced_slope, newton_intercept

__all__ = ["best_dual_value", "best_intercept", "sums_over_rows"]

_TRIALS = 17  # of a scale or an intercept in one round trip
# Round trips that close in on the best scale, eight times each: the bound is then off
# by about the square of 1/500, and a bound all the same.
_DUAL_TRIPS = 3
# The same on an intercept whose slope is zero, sixteen times each: to all digits.
_SLOPE_TRIPS = 14
_LARGEST_SCALING = 1e6  # of a dual point, as of ``Loss.best_dual_value``
_ROWS = 16384  # that a worker takes at a time, as ``Problem`` does


def sums_over_rows(problem, function, samples):
    """Return the sums over workers of what a function makes of their rows.

    Parameters
    ----------
    problem : Problem
        Whose targets and weights the function takes after the samples.
    function : callable
        A method of the loss, as ``value``.
    samples : Spread of shape (n_samples, n_outputs)
        Predictions or dual points.
    """
    args = samples, problem.Y, problem.weights
    return samples.cluster.reduce(_summed, function, *args)


def _summed(function, samples, Y, weights):
    """Task: sum what a function makes of some rows after others, but on a device.

    Temporaries of a whole part would come from memory, and not from the cache.
    """
    step = _ROWS if isinstance(samples, np.ndarray) else max(len(samples), 1)
    total = None
    for first in range(0, len(samples), step):
        rows = slice(first, first + step)
        total = added(total, function(samples[rows], Y[rows], weights[rows]))
    return total


def best_intercept(problem, F):
    """Return what ``Loss.best_intercept`` does, for predictions on workers.

    By Newton's method, and where that gets stuck by bracketing the slope of one output
    after another; never by a formula that sorts residuals.
    """
    trials = {}

    def at_trial(b):
        key = b.tobytes()
        if key not in trials:
            derivatives = partial(_derivatives, problem.loss, b)
            trials[key] = sums_over_rows(problem, derivatives, F)
        return trials[key]

    def at(b):
        return at_trial(b)[:3]

    n_outputs = problem.n_outputs
    if problem.loss.is_quadratic:  # one step is exact
        zero = np.zeros(n_outputs)
        return -np.linalg.solve(at_trial(zero)[3], at_trial(zero)[1])
    b, is_balanced = newton_intercept(at, lambda b: at_trial(b)[3], n_outputs)
    for k in () if is_balanced else range(n_outputs):
        b = _bracketed(problem, F, b, k)
        if is_balanced_slope(*at(b)[1:]):
            break
    return b


def _derivatives(loss, b, F, Y, weights):
    """Return the loss at ``F + b``, its slopes in b and their sizes, and curvature."""
    F = F + b
    value, N = loss.value_and_gradient(F, Y, weights)
    h, q = loss.curvature(F, Y, weights)
    H = np.diag(h.sum(axis=0)) - (0 if q is None else q.T @ q)
    return value, N.sum(axis=0), np.abs(N).sum(), H


def _bracketed(problem, F, b, k):
    """Return an intercept whose entry k has a slope of zero, or next to it."""

    def slopes(entries):
        return sums_over_rows(problem, partial(_slopes, problem.loss, b, k, entries), F)

    width = 1.0
    while True:
        ends = b[k] + width * np.array([-1.0, 1.0])
        low, high = slopes(ends)
        if low <= 0.0 <= high or width > 1e300:
            break
        width *= 1e3
    for _ in range(_SLOPE_TRIPS):
        entries = np.linspace(*ends, _TRIALS)
        first = np.searchsorted(slopes(entries[1:-1]), 0.0)
        ends = entries[first : first + 2]
    b = b.copy()
    b[k] = ends.mean()
    return b


def _slopes(loss, b, k, entries, F, Y, weights):
    """Return the slopes of a loss in entry k of an intercept, at several values."""
    found = []
    for entry in entries:
        shift = b.copy()
        shift[k] = entry
        found.append(loss.gradient(F + shift, Y, weights)[:, k].sum())
    return np.array(found)


def best_dual_value(problem, N, limit):
    """Return what ``Loss.best_dual_value`` does, for a dual point on workers.

    Values are concave in the scale: the best lies next to the best of some trials.
    """
    loss, Y, weights = problem.loss, problem.Y, problem.weights
    largest = min(N.cluster.run(loss.largest_scaling, N, Y, weights))
    limit = min(limit, largest, _LARGEST_SCALING)

    def values_at(scales):
        return -sums_over_rows(problem, partial(_conjugates, loss, scales), N)

    before, best = values_at(limit * np.array([1.0 - 1e-6, 1.0]))
    if best >= before:
        return best  # concave and rising to the end
    low, high = 0.0, limit
    for _ in range(_DUAL_TRIPS):
        scales = np.linspace(low, high, _TRIALS)
        values = values_at(scales)
        k = int(values.argmax())
        best = max(best, float(values[k]))
        low, high = scales[max(k - 1, 0)], scales[min(k + 1, len(scales) - 1)]
    return best


def _conjugates(loss, scales, N, Y, weights):
    """Return conjugates of the loss at a dual point scaled in several ways."""
    return np.array([loss.conjugate(scale * N, Y, weights) for scale in scales])
