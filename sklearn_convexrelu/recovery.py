"""Weight recovery: from points of a convex programme to networks, and to smaller ones.

A block that keeps the cones of its pattern is a neuron: on the data ``relu(X v)`` is
its masked value, so predictions and penalty are the same (Pilanci & Ergen, ICML 2020,
section 3.2; Ergen & Pilanci, ICML 2021, Proposition 1).
"""

import numpy as np

from sklearn_convexrelu.networks import GatedNetwork, Network, row_blocks

__all__ = ["gated_network", "merge_compatible", "relu_network"]

_ROUNDING = 1e-13  # times its largest: a smaller value of a unit is on its hyperplane
_SAME_OUTPUT = 1e-12  # below one, the cosine of equal output directions


def relu_network(blocks, signs):
    """Return the ReLU network of a point of the programme with cones.

    Parameters
    ----------
    blocks : Blocks
        Feasible point.
    signs : ndarray of shape (n_units,)
        Output sign of each unit, ``GroupLasso.output_signs``.

    Returns
    -------
    Network
        One neuron for each block that is not zero, balanced.
    """
    active = blocks.active
    V = blocks.V[active, 0, :, 0]
    lengths = np.linalg.norm(V, axis=1)
    outputs = signs[active, None].astype(float)
    directions = (V / lengths[:, None]).T
    return Network.from_directions(directions, outputs, lengths, blocks.intercept)


def gated_network(blocks, gates):
    """Return the gated network of a point of the programme without cones.

    Parameters
    ----------
    blocks : Blocks
        The point.
    gates : ndarray of shape (n_patterns, n_inputs)
        Gates of the patterns.

    Returns
    -------
    GatedNetwork
        One gate for each block that is not zero.
    """
    active = blocks.active
    return GatedNetwork(gates[active], blocks.V[active, 0], blocks.intercept)


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
    X : ndarray of shape (n_samples, n_inputs)
        The data, with the column of ones of a hidden bias.

    Returns
    -------
    Network
        The network itself where there is nothing to merge; else a balanced one.
    """
    if network.n_neurons < 2:
        return network
    U, A, c = network.directions()
    free = A @ A.T > 1.0 - _SAME_OUTPUT
    free &= ~_opposed(X, U)
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
    lengths = np.linalg.norm(sums, axis=0)
    outputs = A[[group[0] for group in groups]]
    return Network.from_directions(sums / lengths, outputs, lengths, network.intercept)


def _opposed(X, U):
    """Tell which pairs of units have a sample strictly on opposite sides."""
    count = np.zeros((U.shape[1], U.shape[1]))
    least = _ROUNDING * np.sqrt(np.einsum("ij,ij->i", X, X))
    for rows in row_blocks(len(X), 2 * U.shape[1]):
        H = X[rows] @ U
        above = (H > least[rows, None]).astype(np.float32)
        below = (H < -least[rows, None]).astype(np.float32)
        count += above.T @ below
    return count + count.T > 0.0
