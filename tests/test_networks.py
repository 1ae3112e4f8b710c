"""Networks: forward, penalty, merging and pruning."""

import numpy as np
from numpy.testing import assert_allclose

from sklearn_convexrelu.networks import Network, row_blocks


def network(seed=0, n_inputs=3, n_neurons=4, n_outputs=2):
    rng = np.random.default_rng(seed)
    return Network(
        rng.standard_normal((n_inputs, n_neurons)),
        rng.standard_normal((n_neurons, n_outputs)),
        rng.standard_normal(n_outputs),
    )


def test_forward_is_the_formula_with_and_without_the_ones_column():
    net = network()
    X = np.random.default_rng(1).standard_normal((50, 2))
    expected = np.maximum(X @ net.hidden[:2] + net.hidden[2], 0) @ net.output
    assert_allclose(net.forward(X), expected + net.intercept)
    assert_allclose(net.forward(np.c_[X, np.ones(50)]), expected + net.intercept)


def test_forward_does_not_depend_on_the_blocks():
    net = network(n_neurons=100)
    X = np.random.default_rng(1).standard_normal((3000, 3))
    assert len(list(row_blocks(3000, 100))) > 1
    expected = np.maximum(X @ net.hidden, 0) @ net.output + net.intercept
    assert_allclose(net.forward(X), expected)


def test_balancing_keeps_the_function_and_makes_the_penalty_weight_decay():
    net = network()
    X = np.random.default_rng(1).standard_normal((20, 3))
    balanced = net.pruned()
    assert_allclose(balanced.forward(X), net.forward(X))
    assert_allclose(balanced.penalty(), net.penalty())
    squares = (balanced.hidden**2).sum() + (balanced.output**2).sum()
    assert_allclose(squares / 2, net.penalty())


def test_pruning_drops_vanished_neurons_only():
    net = network()
    output = net.output.copy()
    output[1] = 0.0
    pruned = Network(net.hidden, output, net.intercept).pruned()
    assert pruned.n_neurons == 3
    assert np.isfinite(pruned.hidden).all()
    assert Network.empty(3, [0.0]).pruned().n_neurons == 0


def test_merging_neurons_of_equal_pattern_keeps_predictions_and_lowers_the_penalty():
    X = np.random.default_rng(1).uniform(1, 2, (30, 2))  # every neuron is active
    hidden = np.array([[1.0, 1.001, 1.0], [1.0, 0.999, 1.0]])
    output = np.array([[1.0], [2.0], [-1.0]])
    net = Network(hidden, output, np.zeros(1))
    eigenvalues, Q = np.linalg.eigh(X.T @ X / len(X))
    root = (Q * np.sqrt(eigenvalues)) @ Q.T
    merged = net.merged(0.999, lambda directions: root @ directions)
    assert merged.n_neurons == 2  # the opposite output stays apart
    assert_allclose(merged.forward(X), net.forward(X), rtol=1e-12)
    assert merged.penalty() <= net.penalty()
    assert merged.penalty() < net.penalty() - 1e-8


def test_rescaling_scales_function_and_penalty():
    net, X = network(), np.random.default_rng(1).standard_normal((10, 3))
    scaled = net.rescaled(path_norm=6.0, targets=6.0, offset=1.0)
    assert_allclose(scaled.forward(X), 6 * net.forward(X) + 1.0)
    assert_allclose(scaled.penalty(), 6 * net.penalty())
