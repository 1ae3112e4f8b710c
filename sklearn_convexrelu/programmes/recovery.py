"""Weight recovery: from points of a convex programme to networks.

A block that keeps the cones of its pattern is a neuron: on the data ``relu(X v)`` is
its masked value, so predictions and penalty are the same (Pilanci & Ergen, ICML 2020,
section 3.2; Ergen & Pilanci, ICML 2021, Proposition 1).
"""

from dataclasses import replace

import numpy as np

from sklearn_convexrelu.model.neurons import GatedNetwork, Network
from sklearn_convexrelu.model.norms import EUCLIDEAN
from sklearn_convexrelu.model.subnetworks import GatedTreeNetwork
from sklearn_convexrelu.programmes.amplitudes import Features, rebalanced

__all__ = [
    "gated_network",
    "gated_trees",
    "relu_network",
    "tree_network",
    "with_few_units",
    "without_dust",
]

# Times the largest weight of a unit: weights below are tried at zero, largest first.
_DUST = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-9)
_FIRST_LAYERS = ("hidden", "coordinates", "blocks")


def relu_network(blocks, signs, norm=EUCLIDEAN, monotone=None):
    """Return the ReLU network of a point of the programme with cones.

    Parameters
    ----------
    blocks : Blocks
        Feasible point.
    signs : ndarray of shape (n_units,)
        Output sign of each unit, ``GroupLasso.output_signs``.
    norm : Norm, default=EUCLIDEAN
        What measures the blocks.
    monotone : Monotone, default=None
        Signs that weights have, where the point does but for rounding.

    Returns
    -------
    Network
        One neuron for each block that is not zero, balanced.
    """
    active = blocks.active
    V = blocks.V[active, 0, :, 0]
    if monotone is not None:
        V = monotone.within(V.T, signs[active]).T
        some = V.any(axis=1)
        V, active = V[some], active[some]
    lengths = norm.lengths(V.T)
    outputs = signs[active, None].astype(float)
    directions = (V / lengths[:, None]).T
    return Network.from_directions(directions, outputs, lengths, blocks.intercept, norm)


def gated_network(blocks, gates, norm=EUCLIDEAN):
    """Return the gated network of a point of the programme without cones.

    Parameters
    ----------
    blocks : Blocks
        The point.
    gates : ndarray of shape (n_patterns, n_inputs)
        Gates of the patterns.
    norm : Norm, default=EUCLIDEAN
        What measures the blocks.

    Returns
    -------
    GatedNetwork
        One gate for each block that is not zero.
    """
    active = blocks.active
    return GatedNetwork(gates[active], blocks.V[active, 0], blocks.intercept, norm)


def tree_network(blocks, cells, shape):
    """Return the network of sub-networks of a point of the programme with cones.

    On their cell blocks are leaf vectors, so predictions and penalty are the same
    (Ergen & Pilanci, ICML 2021, Proposition 1; NeurIPS 2023, Theorem 1).

    Parameters
    ----------
    blocks : Blocks
        Feasible point.
    cells : TreeCells
        The cells, with output signs.
    shape : TreeShape
        Widths and penalty.

    Returns
    -------
    TreeNetwork
        One sub-network for each unit that is not zero, balanced.
    """
    active = blocks.active
    W, signs = shape.coordinates(blocks.V[active, ..., 0]), cells.signs[active]
    outputs = cells.outputs[active]
    if shape.monotone is not None:
        W = shape.within(W, signs, outputs)
    flat = W.reshape(len(W), W.shape[1] * W.shape[2])
    costs = shape.costs(W)
    unit = flat / costs[:, None] ** (1.0 / shape.degree)
    directions = np.vstack([unit.T, signs.T])
    return shape.network(directions, outputs[:, None], costs, blocks.intercept)


def gated_trees(blocks, cells, shape):
    """Return the gated network of a point of the programme over cells without cones.

    Parameters
    ----------
    blocks : Blocks
        The point.
    cells : TreeCells
        The cells.
    shape : TreeShape
        Widths and penalty.

    Returns
    -------
    GatedTreeNetwork
        One gate for each unit that is not zero.
    """
    active = blocks.active
    return GatedTreeNetwork(
        cells.gates[active],
        cells.signs[active],
        blocks.V[active],
        blocks.intercept,
        shape,
    )


def with_few_units(problem, network):
    """Return the network of the best amplitudes for its units, of which few are needed.

    An interior point has all the units that do no harm.

    Parameters
    ----------
    problem : Problem
        What is minimised.
    network : Network
        A recovered network, of one output or as it is.

    Returns
    -------
    Network
        Of no higher objective.
    """
    if problem.n_outputs > 1 or network.n_neurons < 2:
        return network
    if network.is_gated:
        c, A = network.penalties(), np.ones((network.n_neurons, 1))
        values = network.unit_values(problem.X)[:, :, 0] / c
        units = Features.given(problem, values)
    else:
        units, A, c = network.directions()
    before = problem.objective(network)
    better, best = rebalanced(problem, network, units, A, c, 1e-14 * before)
    factors = np.where(best > 1e-8 * best.max(initial=0.0), best / c, 0.0)
    if network.is_gated:
        few = better.scaled(factors)
    else:
        kept, rest = factors > 0.0, (better.intercept, better.linear)
        few = problem.shape.network(units[:, kept], A[kept], best[kept], *rest)
    return few if problem.objective(few) <= before else network


def without_dust(problem, network, slack, bound=-np.inf):
    """Return the network with weights at zero that are next to it, of some norms.

    A norm with kinks has optima with weights that are zero, where interior points have
    small ones.

    Parameters
    ----------
    problem : Problem
        What is minimised.
    network : Network, TreeNetwork, GatedNetwork or GatedTreeNetwork
        The network.
    slack : float
        By how much the objective may rise.
    bound : float, default=-inf
        Lower bound of the programme over the patterns that units have: they left their
        cells where the objective is below it.

    Returns
    -------
    Network, TreeNetwork, GatedNetwork or GatedTreeNetwork
        Of the same kind, with its intercept.
    """
    if not problem.shape.norm.has_kinks or not network.n_neurons:
        return network
    name = next(name for name in _FIRST_LAYERS if hasattr(network, name))
    weights = getattr(network, name)
    # Neurons are columns of ``hidden``, and come first elsewhere.
    axes = 0 if name == "hidden" else tuple(range(1, weights.ndim))
    sizes = np.abs(weights).max(axis=axes, keepdims=True)
    most = problem.objective(network) + slack
    for part in _DUST:
        swept = np.where(np.abs(weights) > part * sizes, weights, 0.0)
        few = replace(network, **{name: swept})
        if bound <= problem.objective(few) <= most:
            return few
    return network
