"""Weight recovery: from points of a convex programme to networks.

A block that keeps the cones of its pattern is a neuron: on the data ``relu(X v)`` is
its masked value, so predictions and penalty are the same (Pilanci & Ergen, ICML 2020,
section 3.2; Ergen & Pilanci, ICML 2021, Proposition 1).
"""

import numpy as np

from sklearn_convexrelu.networks import GatedNetwork, Network

__all__ = ["gated_network", "relu_network"]


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
