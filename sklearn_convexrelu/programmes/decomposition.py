"""Cone decomposition: a gated unit as the difference of two ReLU neurons.

A gated block v with the pattern D acts as ``D X v``. The cell ``K = {a : (2D - I) X a
>= 0}`` of its gate has an interior, so ``v = a - b`` with a and b in K, and on the data
``relu(X a) - relu(X b) = D X v``. Of all such pairs the one of least total norm is
taken (Mishkin, Sahiner & Pilanci, "Fast Convex Optimization for Two-Layer ReLU
Networks", ICML 2022, section 4: "Approximating the ReLU by Cone Decompositions").
"""

import warnings
from dataclasses import replace

import numpy as np

from sklearn_convexrelu.model.neurons import Network
from sklearn_convexrelu.patterns.planes import on_planes

__all__ = ["cone_decomposition"]

# Norms, times the block's, that are zero. Three networks of 61 gates become 130
# neurons, with half, double and up to 1e-6 the same; with zero 166, by rounding.
_SMALLEST = 1e-10


def cone_decomposition(network, X):
    """Return a ReLU network with the predictions of a gated one at the data.

    For every block v it solves ``min ||a|| + ||b||`` over ``v = a - b``, a and b in
    the closed cell of the gate: the least penalty for one output. A block of several
    outputs is split along its singular vectors first, or for the 1-norm into its rows,
    which is no more than feasible: the least norm there is a copositive problem
    (Sahiner, Ergen, Pauly & Pilanci, ICLR 2021).

    Parameters
    ----------
    network : GatedNetwork
        The gated network.
    X : ndarray of shape (n_samples, n_inputs)
        Training data, with the column of ones of a hidden bias.

    Returns
    -------
    Network
        Balanced ReLU network with one neuron for each part that is not zero.

    Raises
    ------
    ValueError
        If a gate is orthogonal to a sample: its cell may have no interior. If the
        solver fails, as it may on features of very different scale.
    """
    X = X[X.any(axis=1)]
    norm, hidden, outputs = network.norm, [], []
    for gate, block in zip(network.gates, network.blocks, strict=True):
        rows = _sides(gate, X)
        vectors, rights = _terms(block, norm)
        size = np.abs(vectors).max()
        for v, output in zip(vectors, rights, strict=True):
            parts = _split(v, rows, gate, norm)
            for part, sign in zip(parts, (1.0, -1.0), strict=True):
                if np.abs(part).max() > _SMALLEST * size:
                    hidden.append(part)
                    outputs.append(sign * output)
    if not hidden:
        none = Network.empty(len(X.T), network.intercept, norm)
        return replace(none, linear=network.linear)
    hidden = np.array(hidden).T
    lengths = norm.lengths(hidden)
    rest = network.intercept, norm, network.linear
    return Network.from_directions(hidden / lengths, np.array(outputs), lengths, *rest)


def _terms(block, norm):
    """Return vectors and unit outputs whose products are a block, at its norm."""
    if block.shape[1] == 1:
        return block.T, np.ones((1, 1))
    if norm.is_euclidean:
        left, values, right = np.linalg.svd(block, full_matrices=False)
        return (left * values).T, right
    lengths = np.linalg.norm(block, axis=1)
    rows = np.flatnonzero(lengths)
    return np.diag(lengths)[rows], block[rows] / lengths[rows, None]


def _sides(gate, X):
    """Return the samples with signs such that the cell is ``rows @ a >= 0``."""
    if on_planes(gate[None], X)[0]:
        raise ValueError(
            "A gate is orthogonal to a sample, so its cell may have an empty interior "
            "and its block no cone decomposition; move the gate off."
        )
    return np.where(X @ gate > 0.0, 1.0, -1.0)[:, None] * X


def _split(v, rows, gate, norm):
    """Return a and b of least total norm in the cell with ``a - b = v``."""
    values = rows @ v
    if values.min() >= 0.0 or values.max() <= 0.0:  # v or -v is in the cell
        return (v, 0.0 * v) if values.min() >= 0.0 else (0.0 * v, -v)
    size = np.linalg.norm(v)
    a = size * _least_total_norm(v / size, rows, norm)
    # Into the cell, both alike, so that the difference stays: the solver is inexact.
    margins = rows @ gate
    lacks = np.maximum(-(rows @ a), -(rows @ (a - v)))
    a = a + max(np.max(lacks / margins), 0.0) * (1.0 + 1e-9) * gate
    return a, a - v


def _least_total_norm(v, rows, norm):
    """Minimise ``||a|| + ||a - v||`` subject to ``rows a >= max(rows v, 0)``."""
    import cvxpy as cp

    a = cp.Variable(len(v))
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows, p = rows / lengths, 2 if norm.is_euclidean else 1
    problem = cp.Problem(
        cp.Minimize(cp.norm(a, p) + cp.norm(a - v, p)),
        [rows @ a >= np.maximum(rows @ v, 0)],
    )
    with warnings.catch_warnings():
        # What is inexact is moved into the cell by the caller.
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        try:
            problem.solve(solver=cp.CLARABEL)
        except cp.SolverError:
            pass
    if a.value is None:
        raise ValueError(
            "The solver of the cone decomposition failed, though there is one; "
            "standardise the features."
        )
    return a.value
