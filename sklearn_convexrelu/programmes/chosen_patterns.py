"""The choice of patterns of a programme: sampled, listed completely, or given."""

import numpy as np

from sklearn_convexrelu.patterns.arrangements import (
    enumerate_patterns,
    patterns_of,
    sample_patterns,
)
from sklearn_convexrelu.patterns.monotone import monotone_patterns
from sklearn_convexrelu.patterns.planes import on_planes
from sklearn_convexrelu.patterns.subnetworks import (
    enumerate_trees,
    sample_trees,
    trees_of,
)

__all__ = ["chosen_patterns"]


def chosen_patterns(problem, given, n_patterns, seed, *, gated):
    """Return patterns (n_patterns, n_samples), gates and output signs, or TreeCells.

    Parameters
    ----------
    problem : Problem
        What is trained: its inputs, and the shape of its units.
    given : {"random", "exact"} or ndarray of shape (n_gates, n_inputs)
        Which patterns.
    n_patterns : int
        How many to sample.
    seed : int
        Seed of the sample, and of the signs of given sub-networks.
    gated : bool
        Whether there are no cones, whose interior gates would have to be in.

    Returns
    -------
    tuple of ndarray, or TreeCells
        The patterns; output signs are None where each is to come with both.
    """
    if problem.shape.is_tree:
        cells = _trees(problem, given, n_patterns, seed)
        return cells if gated else cells.with_outputs()
    X, monotone = problem.X, problem.shape.monotone
    if monotone is not None:
        return monotone_patterns(X, monotone, given, n_patterns, seed)
    if isinstance(given, str):
        if given == "exact":
            return *enumerate_patterns(X), None
        return *sample_patterns(X, n_patterns, seed), None
    patterns, gates = patterns_of(given, X)
    if not gated:
        _check_interiors(gates, X)
    return patterns, gates, None


def _trees(problem, given, n_patterns, seed):
    X, shape = problem.X, problem.shape
    if isinstance(given, str):
        # Features that are all zero have no cells to list: as few as a sample.
        if given == "exact" and X.any():
            return enumerate_trees(X, shape)
        return sample_trees(X, shape, n_patterns, seed)
    return trees_of(given, shape, X, seed)


def _check_interiors(gates, X):
    """Refuse gates on the boundary of their cell: the cones have no interior there."""
    on_boundary = np.flatnonzero(on_planes(gates, X))
    if len(on_boundary):
        raise ValueError(
            f"Gate {on_boundary[0]} of the distinct ones in patterns is orthogonal to "
            "a sample, so its pattern's cell may have an empty interior; move it off."
        )
