"""Where the loop starts: a given network, that of less data, or what random ones do."""

from dataclasses import replace

import numpy as np

from sklearn_convexrelu.adaptive.steps import (
    ENOUGH_CORRECTING,
    ENOUGH_SLIDING,
    Point,
)
from sklearn_convexrelu.data.rows import FEW_ROWS, MANY_INPUTS
from sklearn_convexrelu.patterns.geometry import positive
from sklearn_convexrelu.pricing.search import search_precision

__all__ = ["first_point", "is_learnt", "is_sampled", "on_leading_axes", "samples_of"]

# Drawn at random and slid before the first round. 25 and 100 did 0.98 and 0.92 times
# the work on the fits that ``BATCH`` was judged by, in 61 and 49 rounds for 56.
_FIRST_NEURONS = 50
# Norm of all their hidden weights; that of the outputs is about one. Half and double:
# 0.97 times the work.
_FIRST_SIZE = 3.0
_SAMPLED_ROWS = 2 * FEW_ROWS  # problems of four times as many start on so many ...
_SAMPLED_PART = 8  # ... or on one row in so many
_MOST_SAMPLED = 1 << 24  # entries of a sample of a memory map: 64 or 128 megabytes
# Of the second moments but for the largest, which offsets make, what the leading axes
# leave out that problems of many inputs start on, one after the other. With about the
# first of these alone a fit of 20 000 images took 135 s for 104.
_LEFT_OUT = 0.06, 0.01
_LEADING_PART = 0.6  # of the inputs: more axes save too little


def first_point(steps, start, scale):
    """Return the point that the loop starts from.

    Parameters
    ----------
    steps : Steps
        The steps on the problem.
    start : Network or None
        A network that was given. It may be one of other data, whose neurons are worse
        than none: then it counts for nothing.
    scale : float
        Loss of the best constant.

    Returns
    -------
    Point
        With the best amplitudes of its neurons.
    """
    problem = steps.problem
    none = Point.of(problem, problem.null_network())
    if problem.linear is not None and not problem.linear.is_free:
        none = _best(steps, none.network, scale)  # with a linear part to slide
    if start is not None:
        given = replace(start.pruned(), intercept=none.network.intercept)
        if problem.has_free_part:
            given = replace(given, linear=none.network.linear)
        # Of less data, neurons that differ there may act alike here.
        given = steps.compacted(_best(steps, given, scale))
        if given.objective <= none.objective:
            return given
    if problem.shape.is_tree:
        return _best(steps, none.network, scale)
    return _best(steps, _random(steps, none, scale), scale)


def _best(steps, network, scale):
    """Return the point of the best amplitudes of the neurons of a network."""
    enough = None
    if is_sampled(steps.problem):  # of few rows, to rounding costs little
        enough = max(ENOUGH_CORRECTING * scale, steps.least_decrease)
    network = steps.corrected(network, enough=enough)
    return Point.of(steps.problem, network)


def _random(steps, none, scale):
    """Return the network that random neurons slide to.

    A network so wide gets close by descent alone, in fewer passes over the rows than it
    takes to generate neurons one round after another.
    """
    problem, rng, count = steps.problem, steps.rng, _FIRST_NEURONS
    hidden = steps.pricer.random_units(count, rng) * _FIRST_SIZE
    output = rng.standard_normal((count, problem.n_outputs))
    if problem.shape.monotone is not None:
        sides = problem.shape.monotone.sides(hidden)[:, None]
        output = np.where(sides == 0.0, output, sides * np.abs(output))
    hidden, output = hidden / np.sqrt(count), output / np.sqrt(count)
    network = replace(none.network, hidden=hidden, output=output)
    decrease = max(ENOUGH_SLIDING * scale, steps.least_decrease)
    watch = None
    if steps.tell.listens:

        def watch(network):
            steps.tell("start", network)

    network = steps.slid(network, decrease, True, watch).pruned()
    better = problem.objective(network) < none.objective
    return network if better else none.network


def is_sampled(problem):
    """Tell whether a problem has so many rows that it starts on a sample."""
    return len(problem.rows) > 4 * _SAMPLED_ROWS


def samples_of(problem, seed):
    """Return the problem on a sample of many rows, and on a few others, or None twice.

    None is also for a sample that lacks a class, or a count, that the rows have: it may
    have no optimum.
    """
    if not is_sampled(problem):
        return None, None
    n_rows = len(problem.rows)
    rng = np.random.default_rng(seed)
    count = max(_SAMPLED_ROWS, n_rows // _SAMPLED_PART)
    if problem.rows.is_mapped:  # what is taken of a map is in memory
        count = min(count, max(_SAMPLED_ROWS, _MOST_SAMPLED // problem.rows.n_inputs))
    drawn = rng.choice(n_rows, count + _SAMPLED_ROWS, replace=False)
    sample = problem.subset(np.sort(drawn[:count]))
    if sample.has_constant_output():
        return None, None
    return sample, problem.subset(np.sort(drawn[count:]))


def is_learnt(others, certificate, network):
    """Tell whether a sample's network has less to gain there than it loses elsewhere.

    What is left to gain on the sample is its gap, and what it loses the difference of
    its objectives, on the sample and on ``others``, the problem on a few other rows.
    """
    return certificate.gap <= others.objective(network) - certificate.objective


def on_leading_axes(problem):
    """Yield a problem of many inputs on ever more leading axes of these.

    The 2-norm of hidden weights is the same along any axes, so what is optimal there is
    a network, for less: of images the axes are a quarter and half as many as pixels,
    and so long are passes over the rows.

    Yields
    ------
    problem : Problem
        With the coordinates of the rows along the axes for inputs.
    axes : ndarray of shape (n_inputs, n_axes)
        Orthonormal columns.
    """
    rows = problem.rows
    # A sample does not tell more axes than it has rows.
    if not MANY_INPUTS < rows.n_inputs <= FEW_ROWS or not _turns(problem):
        return
    few = rows.few()
    squares, axes = np.linalg.eigh(few.moments(np.ones(len(few))))
    squares, axes = squares[::-1], axes[:, ::-1]
    left = np.cumsum(squares[::-1])[::-1] - squares
    left /= positive(squares[1:].sum())
    for part in _LEFT_OUT:
        leading = axes[:, : np.searchsorted(-left, -part) + 1]
        if leading.shape[1] > _LEADING_PART * rows.n_inputs:
            return
        along = rows.along(leading, search_precision(rows))
        yield replace(problem, rows=along), leading


def _turns(problem):
    """Tell whether units of a problem may be of any axes, and its rows an array."""
    shape, rows = problem.shape, problem.rows
    is_bound = shape.monotone is not None or problem.linear is not None
    is_array = not (rows.is_mapped or rows.is_sparse)
    return shape.norm.is_euclidean and is_array and not is_bound
