"""Merging, pruning and cone decomposition: equal predictions, no larger penalty."""

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from problems import bumps

from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
)
from sklearn_convexrelu.model.neurons import GatedNetwork, Network
from sklearn_convexrelu.model.pruning import merge_compatible, prune
from sklearn_convexrelu.model.subnetworks import GatedTreeNetwork, TreeShape
from sklearn_convexrelu.programmes.decomposition import (
    cone_decomposition,
    tree_decomposition,
)


def random_network(n_inputs, n_neurons, n_outputs, seed, kind):
    """A network; degenerate ones repeat neurons or pass along few directions."""
    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((n_inputs, n_neurons))
    output = rng.standard_normal((n_neurons, n_outputs))
    if kind == "repeated":
        hidden = hidden[:, rng.integers(0, max(n_neurons // 3, 1), n_neurons)]
    elif kind == "integers":
        hidden, output = np.round(hidden), np.round(output)
    elif kind == "tiny and huge":
        hidden *= 10.0 ** rng.integers(-6, 6, n_neurons)
    lengths = np.linalg.norm(hidden, axis=0), np.linalg.norm(output, axis=1)
    live = (lengths[0] > 0) & (lengths[1] > 0)
    return Network.from_directions(
        (hidden / np.maximum(lengths[0], 1e-300))[:, live],
        (output / np.maximum(lengths[1], 1e-300)[:, None])[live],
        (lengths[0] * lengths[1])[live],
        rng.standard_normal(n_outputs),
    )


def random_data(n_samples, n_inputs, seed, kind):
    rng = np.random.default_rng(seed + 1)
    X = rng.standard_normal((n_samples, n_inputs))
    if kind == "repeated":
        X = X[rng.integers(0, max(n_samples // 2, 1), n_samples)]
    elif kind == "integers":
        X = np.round(X)
    return X


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.integers(1, 25),
    st.integers(1, 5),
    st.integers(0, 60),
    st.integers(1, 3),
    st.integers(0, 10_000),
    st.sampled_from(["plain", "repeated", "integers", "tiny and huge"]),
    st.booleans(),
)
def test_pruned_networks_are_equal_smaller_and_no_dearer(
    n_samples, n_inputs, n_neurons, n_outputs, seed, kind, gated
):
    X = random_data(n_samples, n_inputs, seed, kind)
    network = random_network(n_inputs, n_neurons, n_outputs, seed, kind)
    if gated:
        blocks = network.hidden.T[:, :, None] * network.output[:, None]
        gates = random_network(n_inputs, network.n_neurons, 1, seed + 2, "plain").hidden
        network = GatedNetwork(gates.T[: network.n_neurons], blocks, network.intercept)
    pruned = prune(network, X)
    F = network.forward(X)
    size = max(network.penalty() * np.abs(X).max(), 1.0)
    assert_allclose(pruned.forward(X), F, rtol=0, atol=1e-9 * size)
    assert pruned.penalty() <= network.penalty() * (1 + 1e-12)
    assert pruned.n_neurons <= min(network.n_neurons, n_samples * n_outputs)
    again = prune(pruned, X)
    assert again.n_neurons == pruned.n_neurons


def test_neurons_of_one_pattern_are_merged():
    X = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    # Both pass the first two samples, the third only the first; the fourth likewise
    # weakly: it has the second on its hyperplane.
    hidden = np.array([[1.0, 2.0, 2.0, 1.0], [2.0, 1.0, -1.0, 0.0]])
    network = Network(hidden, np.ones((4, 1)), np.zeros(1))
    merged = merge_compatible(network, X)
    assert merged.n_neurons == 2
    assert_allclose(merged.forward(X), network.forward(X), atol=1e-14)
    assert merged.penalty() < network.penalty()
    opposite = Network(hidden[:, :2], np.array([[1.0], [-1.0]]), np.zeros(1))
    assert merge_compatible(opposite, X) is opposite


def test_fits_have_no_two_neurons_of_one_pattern_and_output():
    X, y = bumps(60, 3)
    model = ConvexReLURegressor(alpha=0.003, random_state=0).fit(X, y)
    patterns = X @ model.coefs_[0] + model.intercepts_[0] > 0
    keys = np.vstack([patterns, model.coefs_[1].T > 0])
    assert len(np.unique(keys, axis=1).T) == model.n_neurons_


def test_prune_of_an_estimator():
    X, y = bumps(30, 2)
    # A loose fit to several targets, with more neurons than it needs.
    Y = np.c_[y, -y]
    model = ConvexReLURegressor(alpha=1e-4, tol=1e-5, patterns="random")
    model.set_params(activation="gated_relu", n_patterns=40, random_state=0).fit(X, Y)
    before, n_before = model.predict(X), model.n_neurons_
    objective, bound = model.objective_, model.lower_bound_
    assert model.prune(X, Y) is model
    assert model.n_neurons_ == len(model.gates_) <= n_before
    assert_allclose(model.predict(X), before, atol=1e-9)
    assert model.objective_ <= objective * (1 + 1e-12)
    assert model.lower_bound_ == bound
    assert_allclose(model.dual_gap_, model.objective_ - bound)
    same = ConvexReLURegressor(**model.get_params()).set_params(pruning=True).fit(X, Y)
    assert same.n_neurons_ == model.n_neurons_
    with pytest.raises(ValueError, match="those of the last fit"):
        model.prune(X, Y + 1)
    with pytest.raises(ValueError, match="those of the last fit"):
        model.prune(X[:, :1], Y)


def test_pruning_knows_weights_and_classes():
    X, y = bumps(50, 2)
    labels = np.where(y > 0.5, "high", "low")
    weights = np.linspace(0, 2, 50)
    model = ConvexReLUClassifier(alpha=0.01, class_weight="balanced", random_state=0)
    model.fit(X, labels, sample_weight=weights)
    with pytest.raises(ValueError, match="those of the last fit"):
        model.prune(X, labels)
    model.prune(X, labels, sample_weight=weights)
    cv = ConvexReLURegressorCV(n_alphas=3, random_state=0).fit(X, y)
    assert cv.prune(X, y).alphas_ is cv.alphas_


@pytest.mark.parametrize("loss", ["squared_error", "huber", "poisson"])
def test_gated_models_become_relu_networks(loss):
    X, y = bumps(40, 3)
    y = np.exp(y / 2) if loss == "poisson" else y
    gated = ConvexReLURegressor(
        alpha=0.05,
        loss=loss,
        patterns="random",
        n_patterns=30,
        activation="gated_relu",
        tol=1e-6,
        random_state=0,
    ).fit(X, y)
    relu = gated.to_relu(X, y)
    assert_allclose(relu.predict(X), gated.predict(X), atol=1e-9)
    hidden = np.maximum(X @ relu.coefs_[0] + relu.intercepts_[0], 0)
    outputs = (hidden @ relu.coefs_[1] + relu.intercepts_[1])[:, 0]
    outputs = np.exp(outputs) if loss == "poisson" else outputs
    assert_allclose(outputs, gated.predict(X), atol=1e-9)
    ratio = relu.network_.penalty() / gated.network_.penalty()
    assert_allclose(relu.norm_ratio_, ratio)
    assert ratio >= 1 - 1e-9
    same = ConvexReLURegressor(
        alpha=gated.alpha_,
        relative_alpha=False,
        loss=loss,
        patterns=gated.gates_,
        tol=1e-6,
    ).fit(X, y)
    # The gated optimum bounds that of the same patterns with cones from below.
    assert relu.lower_bound_ <= same.objective_ + 1e-9 <= relu.objective_ + 1e-6
    assert relu.certificate_.kind == "restricted"
    assert not hasattr(relu, "gates_")
    # What is said of the gated run is not said of a network that was not trained.
    for name in ("gates_", "status_", "history_", "n_iter_", "tolerance_"):
        assert hasattr(gated, name) and not hasattr(relu, name)
    assert relu.alpha_ == gated.alpha_
    assert_allclose(relu.dual_gap_, relu.objective_ - gated.lower_bound_)
    with pytest.raises(ValueError, match="gated_relu"):
        relu.to_relu(X, y)


def test_several_outputs_are_decomposed():
    X, y = bumps(30, 2)
    model = ConvexReLUClassifier(
        alpha=0.05, patterns="random", activation="gated_relu", random_state=0
    ).fit(X, np.digitize(y, [0, 1]))
    relu = model.to_relu(X, np.digitize(y, [0, 1]))
    assert_allclose(relu.predict_proba(X), model.predict_proba(X), atol=1e-9)
    classes = np.digitize(y, [0, 1])
    n_neurons, before = relu.n_neurons_, relu.predict_proba(X)
    assert relu.prune(X, classes).n_neurons_ <= n_neurons
    assert_allclose(relu.predict_proba(X), before, atol=1e-9)
    relu.certify(X, classes, time_limit=0)
    assert relu.certificate_.over_all.kind == "bound"
    # Another fit starts over.
    relu.set_params(patterns="adaptive").fit(X, classes)
    assert relu.dual_gap_ <= relu.tolerance_ and relu.history_


@pytest.mark.parametrize("seed", range(5))
def test_decomposition_has_the_least_total_norm(seed):
    rng = np.random.default_rng(seed)
    X, gate = rng.standard_normal((12, 3)), rng.standard_normal(3)
    v = rng.standard_normal(3)
    network = GatedNetwork(gate[None], v[None, :, None], np.zeros(1))
    relu = cone_decomposition(network, X)
    a, b = cp.Variable(3), cp.Variable(3)
    rows = (2.0 * (X @ gate > 0) - 1)[:, None] * X
    least = cp.Problem(
        cp.Minimize(cp.norm(a) + cp.norm(b)),
        [a - b == v, rows @ a >= 0, rows @ b >= 0],
    ).solve(solver=cp.SCS, eps=1e-9, max_iters=100_000)
    assert_allclose(relu.penalty(), least, rtol=1e-5)
    passed = (X @ gate > 0) * (X @ v)
    assert_allclose(relu.forward(X)[:, 0], passed, atol=1e-9)


def test_blocks_in_their_cell_cost_nothing_more():
    X = np.random.default_rng(0).standard_normal((10, 2))
    gates = np.array([[1.0, 0.3], [0.2, -1.0]])
    blocks = np.array([[[2.0], [0.6]], [[-0.2], [1.0]]])  # in the cell, and opposite
    relu = cone_decomposition(GatedNetwork(gates, blocks, np.zeros(1)), X)
    assert relu.n_neurons == 2
    assert_allclose(relu.penalty(), np.linalg.norm(blocks, axis=1).sum())


def test_gates_on_a_hyperplane_are_refused():
    network = GatedNetwork(np.eye(2), np.ones((2, 2, 1)), np.zeros(1))
    with pytest.raises(ValueError, match="orthogonal to a sample"):
        cone_decomposition(network, np.array([[1.0, 0.0], [0.3, 0.4]]))


def test_a_solver_that_gives_up_is_said(monkeypatch):
    X, y = bumps(40, 4)
    gated = ConvexReLURegressor(
        0.1, activation="gated_relu", patterns="random", n_patterns=30, random_state=0
    ).fit(X, y)

    def give_up(*args, **kwargs):
        raise cp.SolverError("Solver 'CLARABEL' failed.")

    monkeypatch.setattr(cp.Problem, "solve", give_up)
    with pytest.raises(ValueError, match="standardise the features"):
        gated.to_relu(X, y)


def test_scales_that_defeat_the_decomposition_are_said(recwarn):
    X, y = bumps(40, 4)
    X = X * [1e-4, 1.0, 1e4, 1.0]
    failed = 0
    for seed in range(4):
        gated = ConvexReLURegressor(
            0.1,
            activation="gated_relu",
            patterns="random",
            n_patterns=30,
            hidden_bias=False,
            random_state=seed,
        ).fit(X, y)
        recwarn.clear()
        try:
            relu = gated.to_relu(X, y)
        except ValueError as error:
            assert "standardise the features" in str(error)
            failed += 1
        else:
            assert_allclose(relu.predict(X), gated.predict(X), rtol=1e-6, atol=1e-6)
        assert not [w for w in recwarn if "inaccurate" in str(w.message)]
    assert failed < 4


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize(
    ("widths", "penalty"), [((2,), "path"), ((2,), "weight_decay"), ((2, 2), "path")]
)
def test_gated_sub_networks_are_decomposed(widths, penalty, norm):
    X, y = bumps(20, 2)
    gated = ConvexReLURegressor(
        0.05,
        subnetwork_widths=widths,
        penalty=penalty,
        norm=norm,
        patterns="random",
        n_patterns=8,
        activation="gated_relu",
        tol=1e-4,
        random_state=0,
    ).fit(X, y)
    relu = gated.to_relu(X, y)
    assert_allclose(relu.predict(X), gated.predict(X), atol=1e-8)
    H = X @ relu.coefs_[0] + relu.intercepts_[0]
    for W, b in zip(relu.coefs_[1:], relu.intercepts_[1:], strict=True):
        H = np.maximum(H, 0.0) @ W + b
    assert_allclose(H[:, 0], gated.predict(X), atol=1e-8)
    ratio = relu.network_.penalty() / gated.network_.penalty()
    assert_allclose(relu.norm_ratio_, ratio)
    assert ratio >= 1.0 - 1e-9
    own = np.mean((relu.predict(X) - y) ** 2) / 2
    assert_allclose(
        relu.objective_, own + relu.alpha_ * relu.network_.penalty(), rtol=1e-9
    )
    # The gated optimum bounds the ReLU networks of the same patterns from below.
    assert gated.lower_bound_ == relu.lower_bound_ <= relu.objective_
    assert relu.certificate_.kind == "restricted"
    assert relu.certificate_.over_all.lower_bound <= relu.objective_
    assert not hasattr(relu, "status_")


def test_gated_sub_networks_of_several_outputs_are_decomposed():
    X, y = bumps(25, 2)
    labels = np.digitize(y, [0.0, 1.0])
    for penalty in ("path", "weight_decay"):
        model = ConvexReLUClassifier(
            0.05,
            subnetwork_widths=(2,),
            penalty=penalty,
            patterns="random",
            n_patterns=6,
            activation="gated_relu",
            random_state=0,
        ).fit(X, labels)
        relu = model.to_relu(X, labels)
        assert_allclose(relu.predict_proba(X), model.predict_proba(X), atol=1e-7)


def test_decompositions_of_trees_have_the_least_cost():
    # The same problem, stated from the network alone: every neuron keeps its sides.
    rng = np.random.default_rng(0)
    X, shape = rng.standard_normal((7, 2)), TreeShape((2,))
    gates, signs = rng.standard_normal((1, 2, 2)), np.array([[1.0, -1.0]])
    blocks = rng.standard_normal((1, 2, 2, 1))
    gated = GatedTreeNetwork(gates, signs, blocks, np.zeros(1), shape)
    network = tree_decomposition(gated, X)
    assert_allclose(network.forward(X), gated.forward(X), atol=1e-9)
    H = X @ gates[0].T
    root = np.maximum(H, 0.0) @ signs[0]
    a, b = cp.Variable((2, 2)), cp.Variable((2, 2))
    constraints = [a - b == blocks[0, :, :, 0]]
    for part in (a, b):
        values = X @ part.T
        constraints.append(cp.multiply(np.sign(H), values) >= 0)
        above = cp.multiply(H > 0.0, values) @ signs[0]
        constraints.append(cp.multiply(np.sign(root), above) >= 0)
    cost = cp.Problem(cp.Minimize(cp.norm(a, "fro") + cp.norm(b, "fro")), constraints)
    assert_allclose(network.penalty(), cost.solve(solver=cp.CLARABEL), rtol=1e-5)


def test_gates_of_trees_on_a_boundary_are_refused():
    gates, signs = np.array([[[1.0, 0.0], [1.0, 0.0]]]), np.array([[1.0, -1.0]])
    blocks = np.ones((1, 2, 2, 1))
    gated = GatedTreeNetwork(gates, signs, blocks, np.zeros(1), TreeShape((2,)))
    with pytest.raises(ValueError, match="zero at a sample"):
        tree_decomposition(gated, np.array([[1.0, 0.5]]))
