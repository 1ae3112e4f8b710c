"""Polish of sub-networks: from near a local maximum of the price to that of a cell.

On the cell of a sub-network the price is linear in the leaves, and at a cost of one its
most is reached at the projection of the gradient on the cell's cone. Ascents stall
short of it where it lies on planes of rows, as maxima do. Under weight decay ``sum_p
||v_p||`` is the least ``sqrt(sum_p ||v_p||^2 / t_p)`` over shares t, so the projection
is one in the metric of the present shares, and rounds follow these.
"""

import numpy as np

from sklearn_convexrelu.patterns.geometry import cone_multipliers
from sklearn_convexrelu.patterns.subnetworks import TreeCells

__all__ = ["is_affordable", "polished"]

# Entries of the constraints of a cell: a millisecond. Tables of 100 rows and two inputs
# have 1200 with two leaves.
_MOST_ENTRIES = 5_000
# Of a sub-network, that it is moved along a random way first: into one of the cells
# that meet at it, since its own has no interior to speak of. 1e-2 was as good.
_MOVED = 1e-6
_LEAST_SHARE = 1e-3


def is_affordable(rows, n_outputs, shape):
    """Tell whether cells of sub-networks are small enough to project on."""
    n_neurons = shape.n_signs + 1
    entries = len(rows) * n_neurons * shape.n_leaves * rows.n_inputs
    if n_outputs > 1 or not rows.has_array or not shape.norm.is_euclidean:
        return False
    if shape.monotone is not None:  # cells are polished without signs of weights
        return False
    return entries <= _MOST_ENTRIES


def polished(X, N, shape, V, signs, rng):
    """Return the best sub-networks of cells next to given ones.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_inputs)
        Inputs.
    N : ndarray of shape (n_samples, 1)
        Dual point.
    shape : TreeShape
        Widths and penalty.
    V : ndarray of shape (n_subnetworks, n_leaves, n_inputs)
        Leaf vectors.
    signs : ndarray of shape (n_subnetworks, n_signs)
        Signs of the neurons.
    rng : numpy.random.Generator
        Chooses among cells that meet at a sub-network.

    Returns
    -------
    V, signs : ndarray
        Leaf vectors and signs, of fewer where some are in one cell or pass nothing.
    """
    sizes = np.linalg.norm(V, axis=(1, 2))[:, None, None]
    moved = V + _MOVED * sizes * rng.standard_normal(V.shape)
    cells = TreeCells.of(shape, moved, signs, X)
    totals = shape.values(cells.gates, cells.signs, X).T @ N[:, 0]
    G = np.where(totals < 0.0, -1.0, 1.0)[:, None, None] * ((cells.masks * N[:, 0]) @ X)
    best = [
        _best_of_cell(shape, *cell, X)
        for cell in zip(G, cells.gates, cells.cones, strict=True)
    ]
    return np.reshape(best, G.shape), cells.signs


def _best_of_cell(shape, gradient, gate, cones, X):
    """Return the leaves along which the price is largest in a cell."""
    roots = np.ones(len(gate))
    if shape.decays:
        lengths = np.linalg.norm(gate, axis=1)
        roots = np.sqrt(np.maximum(lengths / lengths.sum(), _LEAST_SHARE))
    rows = cones[:, :, :, None] * X * roots[:, None, None]
    rows = rows.transpose(0, 2, 1, 3).reshape(-1, gradient.size)
    rows = rows[rows.any(axis=1)]
    target = (roots[:, None] * gradient).ravel()
    best = target + rows.T @ cone_multipliers(-rows.T, target)
    return roots[:, None] * best.reshape(gradient.shape)
