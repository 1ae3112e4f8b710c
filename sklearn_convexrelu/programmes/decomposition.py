"""Cone decomposition: a gated unit as the difference of two ReLU neurons.

A gated block v with the pattern D acts as ``D X v``. The cell ``K = {a : (2D - I) X a
>= 0}`` of its gate has an interior, so ``v = a - b`` with a and b in K, and on the data
``relu(X a) - relu(X b) = D X v``. Of all such pairs the one of least total norm is
taken (Mishkin, Sahiner & Pilanci, "Fast Convex Optimization for Two-Layer ReLU
Networks", ICML 2022, section 4: "Approximating the ReLU by Cone Decompositions").

For sub-networks the cell is that of all neurons of the tree: the stacked leaf vectors
at which every one of them, leaves and those above, has the sides of the gate's. It has
the gate inside, and on it the value is the same linear function of the leaves as the
gated unit's. So a block is again the difference of two points of its cell, and the
gated model one of twice as many sub-networks, of any depth.
"""

import warnings
from dataclasses import replace

import numpy as np

from sklearn_convexrelu.model.neurons import Network
from sklearn_convexrelu.patterns.planes import on_planes

__all__ = ["cone_decomposition", "tree_decomposition"]

# Norms, times the block's, that are zero. Three networks of 61 gates become 130
# neurons, with half, double and up to 1e-6 the same; with zero 166, by rounding.
_SMALLEST = 1e-10
# As for planes, ``patterns/planes.py``: values that may be rounding.
_BOUNDARY = 1e-12


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
        vectors, rights = _terms(block, norm)
        terms, size = zip(vectors, rights, strict=True), np.abs(vectors).max()
        cell = _sides(gate, X), gate, lambda a: _length(a, norm)
        for part, output in _points(terms, size, *cell):
            hidden.append(part)
            outputs.append(output)
    if not hidden:
        none = Network.empty(len(X.T), network.intercept, norm)
        return replace(none, linear=network.linear)
    hidden = np.array(hidden).T
    lengths = norm.lengths(hidden)
    rest = network.intercept, norm, network.linear
    return Network.from_directions(hidden / lengths, np.array(outputs), lengths, *rest)


def tree_decomposition(network, X):
    """Return sub-networks with the predictions of gated ones at the data.

    As ``cone_decomposition``, the cost of a sub-network in the place of the norm. Under
    weight decay a block of several outputs is split leaf by leaf first.

    Parameters
    ----------
    network : GatedTreeNetwork
        The gated network.
    X : ndarray of shape (n_samples, n_inputs)
        Training data, with the column of ones of a hidden bias.

    Returns
    -------
    TreeNetwork
        With one sub-network for each part that is not zero.

    Raises
    ------
    ValueError
        As ``cone_decomposition``: where a gate has a neuron that is zero at a sample.
    """
    shape, X = network.shape, X[X.any(axis=1)]
    leaves, signs, outputs = [], [], []
    units = zip(network.gates, network.signs, network.blocks, strict=True)
    for gate, own, block in units:
        if not block.any():
            continue
        terms, size = _tree_terms(block, shape), np.abs(block).max()
        rows = _tree_sides(gate, own, shape, X)
        cell = rows, gate.ravel(), lambda a: _cost(a, shape)
        for part, output in _points(terms, size, *cell):
            leaves.append(part.reshape(gate.shape))
            signs.append(own)
            outputs.append(output)
    if not leaves:
        none = shape.empty(len(X.T), network.intercept)
        return replace(none, linear=network.linear)
    W = shape.coordinates(np.array(leaves))
    costs = shape.costs(W)
    W = W / costs[:, None, None] ** (1.0 / shape.degree)
    columns = np.vstack([W.reshape(len(W), -1).T, np.array(signs, dtype=float).T])
    rest = network.intercept, network.linear
    return shape.network(columns, np.array(outputs), costs, *rest)


def _tree_terms(block, shape):
    """Yield stacked leaf vectors and unit outputs whose products add up to a block."""
    m, d, n_outputs = block.shape
    if n_outputs == 1 or (shape.norm.is_euclidean and not shape.decays):
        yield from zip(
            *_terms(block.reshape(m * d, n_outputs), shape.norm), strict=True
        )
        return
    for p in range(m):
        for v, output in zip(*_terms(block[p], shape.norm), strict=True):
            leaves = np.zeros((m, d))
            leaves[p] = v
            yield leaves.ravel(), output


def _tree_sides(gate, signs, shape, X):
    """Return rows such that the cell of a gate is ``rows @ (stacked leaves) >= 0``."""
    (m, d), n = gate.shape, len(X)
    # The value of every neuron is linear in the leaves: factors (n_neurons, m, n).
    factors, all_rows = np.broadcast_to(np.eye(m)[:, :, None], (m, m, n)), []
    levels = [*(level[0] for level in shape.split(signs[None])), None]
    for level, width in zip(levels, (*shape.widths, None), strict=True):
        rows = (factors.transpose(0, 2, 1)[..., None] * X[:, None]).reshape(-1, m * d)
        values = rows @ gate.ravel()
        alive = rows.any(axis=1)
        lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(gate)
        if (np.abs(values) <= _BOUNDARY * lengths)[alive].any():
            raise ValueError(
                "A gate has a neuron that is zero at a sample, so its cell may have an "
                "empty interior and its block no cone decomposition; move the gate off."
            )
        sides = np.where(values > 0.0, 1.0, -1.0)
        all_rows.append((sides[:, None] * rows)[alive])
        if level is not None:
            passed = (values > 0.0).reshape(len(factors), 1, n)
            factors = factors * passed * level[:, None, None]
            factors = factors.reshape(-1, width, m, n).sum(axis=1)
    return np.vstack(all_rows)


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


def _length(a, norm):
    """Return the norm of a variable of CVXPY."""
    import cvxpy as cp

    return cp.norm(a, 2 if norm.is_euclidean else 1)


def _cost(a, shape):
    """Return the cost of a variable of CVXPY that is stacked leaf vectors."""
    import cvxpy as cp

    size = a.size // shape.n_leaves
    sizes = [
        _length(a[p * size : (p + 1) * size], shape.norm) for p in range(shape.n_leaves)
    ]
    return sum(sizes) if shape.decays else cp.norm(cp.hstack(sizes))


def _points(terms, size, *cell):
    """Yield the points of a cell, and outputs, that vectors and outputs are split into.

    Points next to zero for ``size`` are left out; ``cell`` is as ``_split`` takes it.
    """
    for v, output in terms:
        for point, sign in zip(_split(v, *cell), (1.0, -1.0), strict=True):
            if np.abs(point).max() > _SMALLEST * size:
                yield point, sign * output


def _split(v, rows, gate, measure):
    """Return a and b of least total cost in the cell with ``a - b = v``.

    ``measure`` is the cost, of a variable of CVXPY.
    """
    values = rows @ v
    if values.min() >= 0.0 or values.max() <= 0.0:  # v or -v is in the cell
        return (v, 0.0 * v) if values.min() >= 0.0 else (0.0 * v, -v)
    size = np.linalg.norm(v)
    a = size * _least_total_cost(v / size, rows, measure)
    # Into the cell, both alike, so that the difference stays: the solver is inexact.
    margins = rows @ gate
    lacks = np.maximum(-(rows @ a), -(rows @ (a - v)))
    a = a + max(np.max(lacks / margins), 0.0) * (1.0 + 1e-9) * gate
    return a, a - v


def _least_total_cost(v, rows, measure):
    """Minimise the costs of a and ``a - v`` subject to ``rows a >= max(rows v, 0)``."""
    import cvxpy as cp

    a = cp.Variable(len(v))
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / lengths
    problem = cp.Problem(
        cp.Minimize(measure(a) + measure(a - v)),
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
