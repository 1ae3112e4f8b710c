"""Networks: forward, penalty, merging and pruning."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from sklearn_convexrelu import convex_relu_path
from sklearn_convexrelu.data.rows import Rows
from sklearn_convexrelu.model.neurons import GatedNetwork, Network
from sklearn_convexrelu.model.subnetworks import (
    GatedTreeNetwork,
    TreeNetwork,
    TreeShape,
)


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
    assert len(list(Rows.of(X).blocks(100))) > 1
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


def of_kind(kind, n_units=5, n_inputs=3, n_outputs=2):
    """Return a network of one of the four kinds."""
    if kind is Network:
        return network(0, n_inputs, n_units, n_outputs)
    rng = np.random.default_rng(0)
    shape = TreeShape((2,))
    signs = rng.choice([-1.0, 1.0], (n_units, shape.n_signs))
    leaves = rng.standard_normal((n_units, 2, n_inputs))
    b = rng.standard_normal(n_outputs)
    if kind is TreeNetwork:
        output = rng.standard_normal((n_units, n_outputs))
        return TreeNetwork(leaves, signs, output, b, shape)
    if kind is GatedNetwork:
        blocks = rng.standard_normal((n_units, n_inputs, n_outputs))
        return GatedNetwork(leaves[:, 0], blocks, b)
    blocks = rng.standard_normal((n_units, 2, n_inputs, n_outputs))
    return GatedTreeNetwork(leaves, signs, blocks, b, shape)


KINDS = [Network, TreeNetwork, GatedNetwork, GatedTreeNetwork]
TABLES = {
    "frame": pd.DataFrame,
    "list": lambda X: X.tolist(),
    "integers": lambda X: X.astype(int),
    "frame of integers": lambda X: pd.DataFrame(X.astype(int), list("abcdef")),
    "objects": lambda X: X.astype(object),
    "nullable": lambda X: pd.DataFrame(X.astype(int)).astype("Int64"),
    "one column of each type": lambda X: pd.DataFrame(X).astype({0: "int64"}),
    "columns in memory": np.asfortranarray,
    "read only": lambda X: np.frombuffer(X.tobytes()).reshape(X.shape),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("n_columns", [2, 3])
def test_forward_takes_array_likes(kind, table, n_columns):
    X = np.arange(-9.0, 9.0).reshape(6, 3)[:, :n_columns].copy()
    net = of_kind(kind)
    found = net.forward(TABLES[table](X))
    assert_allclose(found, net.forward(X), rtol=1e-12)
    assert isinstance(found, np.ndarray)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "X, error, message",
    [
        (np.ones((4, 4)), ValueError, "4 columns, but the network takes 3"),
        (np.ones((4, 1)), ValueError, "1 columns, but the network takes 3"),
        (np.ones(3), ValueError, "2D array"),
        ([1.0, 2.0], ValueError, "2D array"),
        (3.0, ValueError, "2D array"),
        ([["a", "b"]], ValueError, "could not convert string"),
        (csr_array(np.ones((4, 4))), ValueError, "4 columns, but the network takes 3"),
    ],
)
def test_forward_refuses_what_is_no_table_of_its_inputs(kind, X, error, message):
    with pytest.raises(error, match=message):
        of_kind(kind).forward(X)


@pytest.mark.parametrize("kind", KINDS)
def test_forward_of_few_rows_and_units(kind):
    assert of_kind(kind).forward(np.ones((0, 3))).shape == (0, 2)
    if kind in (Network, TreeNetwork):
        none = of_kind(kind, n_units=0)
        expected = np.tile(none.intercept, (7, 1))
        assert_array_equal(none.forward(np.ones((7, 2))), expected)


def test_networks_of_a_path_take_frames():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.standard_normal((40, 2)), columns=["a", "b"])
    path = convex_relu_path(X, np.abs(X["a"]), n_alphas=3, eps=0.1, tol=1e-2)
    for net in path.networks:
        assert_array_equal(net.forward(X), net.forward(X.to_numpy()))


def peak_memory(function, *args):
    """Return what a call allocates at most, in bytes."""
    tracemalloc.start()
    try:
        function(*args)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_columns", [2, 3])
def test_forward_goes_by_blocks_of_rows(kind, dtype, n_columns):
    net = of_kind(kind, n_units=20).astype(dtype)
    X = np.random.default_rng(1).standard_normal((60_000, n_columns)).astype(dtype)
    few, many = (peak_memory(net.forward, X[:n]) for n in (20_000, 60_000))
    # What grows with the rows: the outputs, without and with the intercept. Units at
    # all rows, or a column of ones beside them, would be more.
    F = net.forward(X)
    assert many - few < 2.2 * (F.nbytes - F[:20_000].nbytes)
    assert F.dtype == dtype
    parts = [net.forward(X[i : i + 37]) for i in range(0, 370, 37)]
    assert_allclose(F[:370], np.vstack(parts), rtol=1e-4, atol=1e-4)
