"""Networks of tree sub-networks: values, gradients, layers, penalties."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_convexrelu.data.rows import Block, Rows
from sklearn_convexrelu.model.subnetworks import TreeNetwork, TreeShape

SHAPES = [
    TreeShape((3,)),
    TreeShape((3,), decays=True),
    TreeShape((1,)),
    TreeShape((2, 3)),
    TreeShape((2, 2, 2)),
]


def network(shape, n_subnetworks=5, n_inputs=4, n_outputs=2):
    rng = np.random.default_rng(0)
    return TreeNetwork(
        rng.standard_normal((n_subnetworks, shape.n_leaves, n_inputs)),
        rng.choice([-1.0, 1.0], (n_subnetworks, shape.n_signs)),
        rng.standard_normal((n_subnetworks, n_outputs)),
        rng.standard_normal(n_outputs),
        shape,
    )


def by_hand(shape, V, signs, x):
    """Output of one sub-network at one sample, neuron by neuron."""
    values = [max(x @ v, 0.0) for v in V]
    signs = list(signs)
    for width in shape.widths:
        own, signs = signs[: len(values)], signs[len(values) :]
        signed = [s * h for s, h in zip(own, values, strict=True)]
        values = [
            max(sum(signed[i : i + width]), 0.0) for i in range(0, len(signed), width)
        ]
    return values[0]


@pytest.mark.parametrize("shape", SHAPES)
def test_forward_is_that_of_the_neurons_one_by_one(shape):
    net, X = network(shape), np.random.default_rng(1).standard_normal((30, 4))
    H = np.array(
        [
            [
                by_hand(shape, V, s, x)
                for V, s in zip(net.leaves, net.signs, strict=True)
            ]
            for x in X
        ]
    )
    assert_allclose(net.forward(X), H @ net.output + net.intercept)
    ones = np.c_[X[:, :3], np.ones(30)]
    assert_allclose(net.forward(X[:, :3]), net.forward(ones))


@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_by_differences(shape):
    net, rng = network(shape), np.random.default_rng(1)
    X, E = rng.standard_normal((40, 4)), rng.standard_normal((5, 40))

    def total(W):
        return np.sum(shape.values(shape.leaves(W), net.signs, X).T * E)

    W = net.coordinates
    Z, levels = shape.levels_at(shape.leaves(W), net.signs, X)
    G = shape.down(Z, levels, E, Block(X, Rows.of(X)))
    G = shape.pull_back(W, G)
    way = rng.standard_normal(W.shape)
    slope = (total(W + 1e-6 * way) - total(W - 1e-6 * way)) / 2e-6
    assert_allclose(np.vdot(G, way), slope, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_layers_are_an_ordinary_network_of_the_same_penalty(shape):
    net, X = network(shape), np.random.default_rng(1).standard_normal((30, 4))
    layers, H = net.layers(), X
    for W in layers[:-1]:
        H = np.maximum(H @ W, 0)
    assert_allclose(H @ layers[-1] + net.intercept, net.forward(X))
    if not shape.decays:
        paths = (layers[0] ** 2).sum(axis=0)
        for W in layers[1:-1]:
            paths = paths @ W**2
        path_norm = np.sqrt(paths) @ np.linalg.norm(layers[-1], axis=1)
        assert_allclose(path_norm, net.penalty())
    else:
        # (||w2||^2 + ||w3||^2) / 2 at the best scaling, with ||W1||_F = 1.
        m, total = shape.n_leaves, 0.0
        for k in range(net.n_neurons):
            W1 = layers[0][:, k * m : (k + 1) * m]
            w2, w3 = layers[1][k * m : (k + 1) * m, k], layers[2][k]
            total += np.linalg.norm(W1) * np.linalg.norm(w2) * np.linalg.norm(w3)
        assert_allclose(total, net.penalty())


@pytest.mark.parametrize("shape", SHAPES)
def test_directions_round_trip(shape):
    net, X = network(shape), np.random.default_rng(1).standard_normal((30, 4))
    directions, outputs, amplitudes = net.directions()
    again = shape.network(directions, outputs, amplitudes, net.intercept)
    assert_allclose(again.forward(X), net.forward(X))
    assert_allclose(amplitudes.sum(), net.penalty())
    assert_allclose(again.penalty(), net.penalty())
    values = shape.features(X, directions)
    assert_allclose((values * amplitudes) @ outputs + net.intercept, net.forward(X))
    basis = np.linalg.qr(np.random.default_rng(2).standard_normal((6, 4)))[0]
    X6 = np.random.default_rng(3).standard_normal((9, 6))
    assert_allclose(net.mapped(basis).forward(X6), net.forward(X6 @ basis))
    assert_allclose(net.mapped(basis).penalty(), net.penalty())
    assert shape.empty(4, [1.0]).forward(X).shape == (30, 1)
