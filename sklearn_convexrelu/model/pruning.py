"""Smaller networks that predict the same at the data, at no larger penalty.

Neurons that pass the same samples to the same output are one neuron. Beyond that, units
whose values at the data are linearly dependent can be traded for one another until they
no longer are (Mishkin & Pilanci, "Optimal Sets and Solution Paths of ReLU Networks",
ICML 2023, section 4 and Algorithm 1): Caratheodory's theorem at work.
"""

import numpy as np

from sklearn_convexrelu.data.rows import Rows
from sklearn_convexrelu.model.neurons import Network, NeuronShape
from sklearn_convexrelu.model.subnetworks import TreeNetwork

__all__ = ["merge_compatible", "prune"]

_ROUNDING = 1e-13  # times its largest: a smaller value of a unit is on its hyperplane
_SAME_OUTPUT = 1e-12  # below one, the cosine of equal output directions
_DEPENDENT = 1e-12  # times the largest: singular values that are zero
_ROWS = 1024  # values factored at a time, at least
_FEW_ROWS = 64  # samples that tell most neurons apart


def prune(network, X):
    """Return the network with linearly independent units, by equal predictions at X.

    With K units of amplitudes c_k > 0 and values h_k at the data it moves c along the
    null space of ``sum_k c_k h_k``, never raising ``sum_k c_k``, until amplitudes
    vanish and none is left. At most ``n_samples * n_outputs`` units remain, and no more
    than the rank of their values.

    Parameters
    ----------
    network : Network, TreeNetwork, GatedNetwork or GatedTreeNetwork
        The network.
    X : Rows or ndarray of shape (n_samples, n_inputs)
        The data, with the column of ones of a hidden bias.

    Returns
    -------
    Network, TreeNetwork, GatedNetwork or GatedTreeNetwork
        Of the same kind, with the same intercept.
    """
    X = Rows.of(X)
    while True:
        pruned = _pruned_once(network, X)
        # What was next to dependent before can be dependent now.
        if pruned.n_neurons == network.n_neurons:
            return pruned
        network = pruned


def _pruned_once(network, X):
    if not network.n_neurons:
        return network
    if isinstance(network, Network):
        network = merge_compatible(network, X)
    factors = _caratheodory(_values(network, X), network.penalties())
    kept = factors > 0.0
    if network.is_gated:
        return network.scaled(factors)
    U, A, c = network.directions()
    is_tree = isinstance(network, TreeNetwork)
    shape = network.shape if is_tree else NeuronShape(network.norm)
    rest = network.intercept, network.linear
    return shape.network(U[:, kept], A[kept], (c * factors)[kept], *rest)


def _values(network, X):
    """Yield the values of units at some samples and all outputs: (n_values, K)."""
    step = max(_ROWS, 4 * network.n_neurons)
    for start in range(0, len(X), step):
        rows = X.take(slice(start, start + step))
        if network.is_gated:
            yield from np.moveaxis(network.unit_values(rows.array()), 2, 0)
        else:
            H = _unit_values(network, rows)
            yield from (H * output for output in network.output.T)


def _unit_values(network, rows):
    """Return the values of neurons, or of sub-networks, (n_samples, K)."""
    if isinstance(network, TreeNetwork):
        return network.shape.values(network.leaves, network.signs, rows)
    return np.maximum(rows.values(network.hidden), 0.0)


def _caratheodory(chunks, penalties):
    """Return factors >= 0 of units with the same sum of values, few of them positive.

    ``chunks`` are the values of the units by rows; their ``penalties`` are those at the
    factors one, where it starts, and the total penalty never rises.
    """
    R = np.zeros((0, len(penalties)))
    for chunk in chunks:
        R = np.linalg.qr(np.vstack([R, chunk]), mode="r")
    sizes = np.linalg.norm(R, axis=0)
    live = np.flatnonzero(sizes > 0.0)
    factors = np.zeros(len(penalties))
    if not len(live):
        return factors
    # Amounts of units whose values have length one.
    amounts, prices = sizes[live].copy(), penalties[live] / sizes[live]
    null = _null_space(R[:, live] / sizes[live])
    while null.shape[1]:
        way = null[:, -1] * (1.0 if prices @ null[:, -1] <= 0.0 else -1.0)
        falls = np.flatnonzero(way < 0.0)
        steps = amounts[falls] / -way[falls]
        j = falls[np.argmin(steps)]
        amounts = np.maximum(amounts + steps.min() * way, 0.0)
        amounts[j] = 0.0
        null = _without(null, j)
    factors[live] = amounts / sizes[live]
    return factors


def _null_space(A):
    """Return an orthonormal basis of the null space, one vector a column."""
    _, values, rows = np.linalg.svd(A)
    rank = int(np.sum(values > _DEPENDENT * values[0]))
    return rows[rank:].T


def _without(basis, j):
    """Return an orthonormal basis of the vectors of the span with a zero at j."""
    reflector = basis[j].copy()
    reflector[-1] += np.copysign(np.linalg.norm(reflector), reflector[-1])
    share = basis @ reflector * (2.0 / max(reflector @ reflector, 1e-300))
    rest = (basis - np.outer(share, reflector))[:, :-1]
    rest[j] = 0.0
    return rest


def merge_compatible(network, X):
    """Replace neurons of equal patterns and output directions by their sum.

    Patterns may differ in samples on the hyperplane of either neuron. So merged, the
    network predicts the same at the data, and by the triangle inequality its penalty is
    no larger (Mishkin & Pilanci, "Optimal Sets and Solution Paths of ReLU Networks",
    ICML 2023, section 4).

    Parameters
    ----------
    network : Network
        The network.
    X : Rows or ndarray of shape (n_samples, n_inputs)
        The data, with the column of ones of a hidden bias.

    Returns
    -------
    Network
        The network itself where there is nothing to merge; else a balanced one.
    """
    if network.n_neurons < 2:
        return network
    X = Rows.of(X)
    U, A, c = network.directions()
    free = _unopposed(X, U, A @ A.T > 1.0 - _SAME_OUTPUT)
    left, groups = np.ones(len(c), dtype=bool), []
    for j in np.argsort(-c, kind="stable"):
        if not left[j]:
            continue
        group, fitting = [], free[j] & left
        while fitting.any():
            k = j if fitting[j] else np.flatnonzero(fitting)[np.argmax(c[fitting])]
            group.append(k)
            left[k] = False
            fitting = fitting & free[k] & left
        groups.append(group)
    if len(groups) == len(c):
        return network
    sums = np.array([U[:, group] @ c[group] for group in groups]).T
    lengths = network.norm.lengths(sums)
    # Neurons that pass no sample may cancel.
    kept = lengths > _ROUNDING * c.max()
    outputs = A[[group[0] for group in groups]][kept]
    return Network.from_directions(
        sums[:, kept] / lengths[kept],
        outputs,
        lengths[kept],
        network.intercept,
        network.norm,
        network.linear,
    )


def _unopposed(X, U, pairs):
    """Tell which of the ``pairs`` of units have no sample strictly on opposite sides.

    A few samples show that of most units; the others are looked at in all.
    """
    step = max(len(X) // _FEW_ROWS, 1)
    pairs = pairs & ~_opposed(X.take(slice(None, None, step)), U)
    units = np.flatnonzero(pairs.sum(axis=0) > 1)  # all are paired with themselves
    pairs[np.ix_(units, units)] &= ~_opposed(X, U[:, units])
    return pairs


def _opposed(X, U):
    """Tell which pairs of units have a sample strictly on opposite sides."""
    (count,) = X.reduce(_n_opposed, 2 * U.shape[1], X.weights(U))
    return count + count.T > 0.0


def _n_opposed(block, rows, weights):
    """Kernel: how many rows each pair of units has strictly on opposite sides."""
    H, squares = block.values(weights), block.squared_lengths()
    least = _ROUNDING * np.sqrt(squares)[:, None]
    above = (H > least).astype(np.float32)
    below = (H < -least).astype(np.float32)
    return (np.asarray(above.T @ below, np.float64),)
