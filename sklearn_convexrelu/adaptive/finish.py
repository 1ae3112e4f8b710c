"""Finish: the convex programme over the cells of a network that is nearly optimal.

Descent on weights is slow at the end, since at the optimum hyperplanes pass through
samples and patterns flip. The programme with cones has no such kinks: over the cells
of the current neurons and of priced candidates, an interior point method gives the best
network to many digits.
"""

import numpy as np

from sklearn_convexrelu.model.neurons import column_norms
from sklearn_convexrelu.model.pruning import merge_compatible
from sklearn_convexrelu.programmes.group_lasso import GroupLasso
from sklearn_convexrelu.programmes.interior_point import InteriorPoint
from sklearn_convexrelu.programmes.recovery import relu_network

__all__ = ["best_over_cells", "is_affordable"]

_ON_HYPERPLANE = 1e-6  # times the length of a sample: such values have no sign yet
_INSIDE = 0.5  # part of the way to the next hyperplane that interiors are moved
_SMALLEST = 1e-5  # times the largest: blocks below are dust of the interior point
_MOST_ENTRIES = 20_000_000  # slacks, and factors of the cones


def is_affordable(problem, n_cells):
    """Tell whether the programme over so many cells fits its memory cap."""
    if problem.n_outputs > 1 or problem.shape.is_tree or not problem.rows.has_array:
        return False
    return n_cells * len(problem.rows) <= _MOST_ENTRIES


def best_over_cells(problem, directions, signs, tol, rng):
    """Return the best network whose neurons lie in the cells of given directions.

    Parameters
    ----------
    problem : Problem
        What is minimised; one output.
    directions : ndarray of shape (n_inputs, n_cells)
        Unit columns. Samples on the hyperplane of one take either side.
    signs : ndarray of shape (n_cells,)
        Signs of the output weights.
    tol : float
        Gap, times the loss of the best constant, to which the programme is solved.
    rng : numpy.random.Generator
        Chooses the sides of samples on hyperplanes.

    Returns
    -------
    Network
        Balanced, without neurons that are next to zero or can be merged.
    """
    gates = _interiors(problem.X, directions, rng)
    patterns = gates @ problem.X.T > 0.0
    keys = np.packbits(np.column_stack([signs > 0.0, patterns]), axis=1)
    kept = np.sort(np.unique(keys, axis=0, return_index=True)[1])
    kept = kept[patterns[kept].any(axis=1)]
    programme = GroupLasso.relu(problem, patterns[kept], gates[kept], signs[kept])
    blocks = InteriorPoint(tol=tol).solve(programme).blocks
    network = relu_network(blocks, programme.output_signs).pruned(_SMALLEST)
    return merge_compatible(network, problem.X)


def _interiors(X, U, rng):
    """Return points strictly inside cells that have the columns of U in their closure.

    Each is a column moved a little, along a random way.
    """
    ways = rng.standard_normal(U.shape)
    ways /= column_norms(ways)
    H, V = X @ U, X @ ways
    lengths = np.sqrt(np.einsum("ij,ij->i", X, X))[:, None]
    ahead = (np.abs(H) > _ON_HYPERPLANE * lengths) & (H * V < 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        distances = np.where(ahead, -H / V, np.inf).min(axis=0)
    return (U + _INSIDE * np.minimum(distances, 1.0) * ways).T
