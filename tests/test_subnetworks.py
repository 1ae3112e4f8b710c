"""Deeper sub-networks: known optima, inequalities, every combination of options."""

import pickle
from itertools import pairwise

import cvxpy as cp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import bumps, diabetes, known_optimum
from scipy.optimize import OptimizeResult, minimize
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    convex_relu_path,
)
from sklearn_convexrelu.model.subnetworks import TreeShape
from sklearn_convexrelu.patterns import subnetworks as tree_arrangements
from sklearn_convexrelu.patterns.subnetworks import (
    TreeCells,
    enumerate_trees,
    sample_trees,
)
from sklearn_convexrelu.pricing.exact import exact_price
from sklearn_convexrelu.pricing.search import FAIR, FIRST
from sklearn_convexrelu.pricing.subnetworks import TreePricer

CASES = {
    "three_layer_path_n6_a002": ((2,), "path"),
    "three_layer_wd_n6_a002": ((2,), "weight_decay"),
    "four_layer_path_n5_s33": ((2, 2), "path"),
}


def stored(case):
    loaded = known_optimum(case)
    widths, penalty = CASES[case]
    options = {
        "alpha": float(loaded["alpha"]),
        "relative_alpha": False,
        "fit_intercept": False,
        "hidden_bias": False,
        "subnetwork_widths": widths,
        "penalty": penalty,
        "random_state": 0,
    }
    return loaded["X"], loaded["y"].ravel(), float(loaded["optimum"]), options


def objective_of(model, X, y):
    """Objective of a three-layer network, from coefs_ alone."""
    W1, w2, w3 = model.coefs_
    W1 = np.vstack([W1, model.intercepts_[0]])
    m = W1.shape[1] // w2.shape[1]
    H = np.maximum(X @ W1[:-1] + W1[-1], 0) @ w2 + model.intercepts_[1]
    f = (np.maximum(H, 0) @ w3 + model.intercepts_[2])[:, 0]
    penalty = 0.0
    for k in range(w2.shape[1]):
        at = slice(k * m, (k + 1) * m)
        inner, edge, out = W1[:, at], w2[at, k], abs(w3[k, 0])
        if model.penalty == "path":
            lengths = np.linalg.norm(inner, axis=0)
            penalty += out * np.linalg.norm(lengths * edge)
        else:
            penalty += np.linalg.norm(inner) * np.linalg.norm(edge) * out
    return np.mean((f - y) ** 2) / 2 + model.alpha_ * penalty


@pytest.mark.parametrize("case", ["three_layer_path_n6_a002", "three_layer_wd_n6_a002"])
def test_complete_programmes_reach_the_known_optimum(case):
    X, y, optimum, options = stored(case)
    model = ConvexReLURegressor(patterns="exact", tol=1e-7, **options).fit(X, y)
    assert model.certificate_.kind == "exact"
    assert_allclose(model.objective_, optimum, rtol=1e-6)
    assert_allclose(objective_of(model, X, y), optimum, rtol=1e-6)
    assert model.lower_bound_ <= optimum * (1 + 1e-7)
    assert model.dual_gap_ <= 1e-6 * optimum


@pytest.mark.parametrize("case", ["three_layer_path_n6_a002", "three_layer_wd_n6_a002"])
def test_adaptive_training_proves_the_known_optimum(case):
    X, y, optimum, options = stored(case)
    model = ConvexReLURegressor(tol=1e-5, **options).fit(X, y)
    assert model.certificate_.kind == "exact"
    assert model.lower_bound_ <= optimum * (1 + 1e-9)
    assert optimum * (1 - 1e-7) <= model.objective_
    assert model.objective_ <= optimum + model.tolerance_


def test_adaptive_training_comes_close_and_never_below():
    X, y, optimum, options = stored("four_layer_path_n5_s33")
    model = ConvexReLURegressor(tol=1e-4, **options)
    with pytest.warns(ConvergenceWarning, match="expected to miss more"):
        model.fit(X, y)
    assert optimum * (1 - 1e-7) <= model.objective_ <= optimum * (1 + 3e-3)
    assert model.certificate_.kind == "priced"
    assert model.lower_bound_ <= optimum
    assert model.certificate_.proven_lower_bound <= optimum


def lifted_objective(z, X, y, alpha, signs, K, penalty):
    """Non-convex objective of K sub-networks with leaf vectors z."""
    n, d = X.shape
    m = signs.shape[1]
    V = z.reshape(K, m, d)
    H = np.maximum(np.einsum("nd,kmd->nkm", X, V), 0)
    f = np.maximum(np.einsum("nkm,km->nk", H, signs), 0) @ (np.arange(K) % 2 * 2 - 1.0)
    lengths = np.linalg.norm(V, axis=2)
    cost = lengths.sum() if penalty == "weight_decay" else 0.0
    if penalty == "path":
        cost = np.linalg.norm(lengths, axis=1).sum()
    return np.mean((f - y) ** 2) / 2 + alpha * cost


@pytest.mark.parametrize("case", ["three_layer_path_n6_a002", "three_layer_wd_n6_a002"])
def test_descent_never_goes_below_the_certified_optimum(case):
    X, y, optimum, options = stored(case)
    rng, K = np.random.default_rng(0), 6
    for _ in range(5):
        signs = rng.choice([-1.0, 1.0], (K, 2))
        args = X, y, options["alpha"], signs, K, options["penalty"]
        start = rng.standard_normal(K * 2 * X.shape[1]) * 0.5
        found = minimize(
            lifted_objective, start, args, method="L-BFGS-B", options={"maxiter": 200}
        )
        assert found.fun >= optimum * (1 - 1e-6)


@pytest.mark.parametrize("penalty", ["path", "weight_decay"])
@pytest.mark.parametrize("gated", [False, True])
def test_programmes_against_cvxpy(penalty, gated):
    X, y = bumps(20, 2)
    options = {
        "alpha": 0.1,
        "subnetwork_widths": (2,),
        "penalty": penalty,
        "patterns": "random",
        "n_patterns": 12,
        "activation": "gated_relu" if gated else "relu",
        "tol": 1e-7,
        "random_state": 0,
    }
    ours = ConvexReLURegressor(**options).fit(X, y)
    options |= {"tol": 1e-5, "solver": "cvxpy"}
    theirs = ConvexReLURegressor(solver_options={"solver": cp.CLARABEL}, **options).fit(
        X, y
    )
    assert_allclose(ours.objective_, theirs.objective_, rtol=1e-6)
    assert ours.certificate_.kind == "restricted"
    if not gated:
        assert_allclose(objective_of(ours, X, y), ours.objective_, rtol=1e-9)
        assert ours.lower_bound_ >= ours.certificate_.over_all.lower_bound


def test_four_layers_by_complete_enumeration():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2, 2)), np.array([1.0, -0.5])
    options = {
        "alpha": 0.05,
        "relative_alpha": False,
        "fit_intercept": False,
        "hidden_bias": False,
        "subnetwork_widths": (2, 2),
        "random_state": 0,
    }
    exact = ConvexReLURegressor(patterns="exact", tol=1e-7, **options).fit(X, y)
    adaptive = ConvexReLURegressor(tol=1e-5, **options)
    with pytest.warns(ConvergenceWarning, match="expected to miss more"):
        adaptive.fit(X, y)
    assert exact.certificate_.kind == "exact"
    assert exact.lower_bound_ * (1 - 1e-6) <= adaptive.objective_
    assert_allclose(adaptive.objective_, exact.objective_, rtol=1e-4)
    # Collapsed sub-networks of four copies: two layers at half the strength.
    two = ConvexReLURegressor(**options | {"subnetwork_widths": (), "alpha": 0.025})
    assert exact.objective_ <= two.set_params(tol=1e-6).fit(X, y).objective_ + 1e-8


@pytest.mark.parametrize("seed", range(3))
def test_inequalities_between_penalties_and_depths(seed):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((5, 2)), rng.standard_normal(5)
    alpha, m = 0.03, 2

    def optimum(alpha, widths, penalty):
        return (
            ConvexReLURegressor(
                alpha,
                relative_alpha=False,
                fit_intercept=False,
                hidden_bias=False,
                subnetwork_widths=widths,
                penalty=penalty,
                patterns="exact",
                tol=1e-7,
            )
            .fit(X, y)
            .objective_
        )

    path, decay = (optimum(alpha, (m,), p) for p in ("path", "weight_decay"))
    two, slack = optimum(alpha, (), "path"), 1e-6
    path_above = optimum(np.sqrt(m) * alpha, (m,), "path")
    assert path <= decay + slack <= path_above + 2 * slack
    assert decay <= two + slack
    assert path_above <= two + slack
    one = optimum(alpha, (1,), "path")
    assert_allclose(one, two, atol=1e-6)


def test_cells_hold_where_their_gates_are():
    rng = np.random.default_rng(0)
    X, shape = rng.standard_normal((5, 2)), TreeShape((2,))
    cells = enumerate_trees(X, shape)
    again = TreeCells.of(shape, cells.gates, cells.signs, X)
    assert len(again) == len(cells)
    values = np.einsum("gmd,nd->gmn", cells.gates, X)
    cones = np.einsum("gkmn,gmn->gkn", cells.cones, values)
    assert cones[cells.cones.any(axis=2)].min() > 0
    outputs = np.einsum("gmn,gmn->ng", cells.masks, values)
    assert_allclose(outputs, shape.values(cells.gates, cells.signs, X), atol=1e-12)
    # Every sampled cell, its two leaves in either order, is among the listed ones.
    sampled = sample_trees(X, shape, 100_000, 0)

    def keys(cells, order):
        masks = cells.masks[:, order]
        cones = cells.cones[:, [*order, 2]][:, :, order]
        return {a.tobytes() + b.tobytes() for a, b in zip(masks, cones, strict=True)}

    listed = keys(cells, [0, 1]) | keys(cells, [1, 0])
    assert keys(sampled, [0, 1]) <= listed


def test_no_cell_is_lost_on_features_of_different_scale():
    """Cells are those of the other features, but they are thin in their units."""
    X, shape = np.random.default_rng(0).standard_normal((4, 3)), TreeShape((2,))
    n_cells = len(enumerate_trees(X, shape))
    for scale in (1e3, 1e6, 1e9):
        scales = np.array([1.0, scale, 1.0])
        cells = enumerate_trees(X * scales, shape)
        inside = TreeCells.of(shape, cells.gates * scales, cells.signs, X)
        assert len(inside) == len(cells) == n_cells


def test_a_programme_that_fails_is_not_an_empty_cell(monkeypatch):
    X = np.random.default_rng(0).standard_normal((4, 2))
    failed = OptimizeResult(status=1, x=np.zeros(5), message="too many iterations")
    monkeypatch.setattr(tree_arrangements, "linprog", lambda *args, **options: failed)
    with pytest.raises(ValueError, match="too many iterations"):
        enumerate_trees(X, TreeShape((2,)))


@pytest.mark.parametrize("loss", ["squared_error", "huber", "poisson", "log_loss"])
@pytest.mark.parametrize("penalty", ["path", "weight_decay"])
def test_losses_weights_and_outputs(loss, penalty, brief):
    X, y = bumps(60, 2)
    kind = ConvexReLURegressor
    if loss == "poisson":
        y = np.exp(y / 2)
    if loss == "log_loss":
        kind, y = ConvexReLUClassifier, np.digitize(y, [0.0, 1.0])
    elif loss == "squared_error":
        y = np.c_[y, -y]
    model = kind(
        alpha=0.1,
        loss=loss,
        subnetwork_widths=(2,),
        penalty=penalty,
        tol=1e-2,
        random_state=0,
    )
    weights = np.random.default_rng(0).integers(0, 3, 60)
    model.fit(X, y, weights)
    repeated = np.repeat(np.arange(60), weights)
    same = kind(**model.get_params()).fit(X[repeated], y[repeated])
    assert_allclose(same.objective_, model.objective_, rtol=1e-9)
    assert model.dual_gap_ <= model.tolerance_
    assert len(model.coefs_) == 3
    loaded = pickle.loads(pickle.dumps(model))
    assert_allclose(loaded.predict(X), model.predict(X))


@pytest.mark.parametrize("widths", [(3,), (2, 2)])
def test_layers_predict_as_the_estimator(widths):
    X, y = bumps(60, 3)
    model = ConvexReLURegressor(
        alpha=0.05, subnetwork_widths=widths, tol=1e-2, random_state=0
    ).fit(X.astype(np.float32), y)
    assert all(W.dtype == np.float32 for W in model.coefs_)
    H = X
    for W, b in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        H = np.maximum(H @ W + b, 0)
    f = (H @ model.coefs_[-1] + model.intercepts_[-1])[:, 0]
    assert_allclose(f, model.predict(X.astype(np.float32)), rtol=1e-3, atol=1e-4)
    norms = [np.linalg.norm(W) for W in model.coefs_[1:-1]]
    assert_allclose(norms, norms[0], rtol=1e-4)


def test_gated_sub_networks_of_several_outputs():
    X, y = bumps(50, 2)
    for penalty in ("path", "weight_decay"):
        model = ConvexReLUClassifier(
            alpha=0.1,
            subnetwork_widths=(2,),
            penalty=penalty,
            patterns="random",
            n_patterns=30,
            activation="gated_relu",
            random_state=0,
        ).fit(X, np.digitize(y, [0.0, 1.0]))
        assert model.dual_gap_ <= model.tolerance_
        assert model.gates_.shape[1:] == (2, 3)
        assert model.predict_proba(X).shape == (50, 3)
        n = model.n_neurons_
        assert model.prune(X, np.digitize(y, [0.0, 1.0])).n_neurons_ <= n


def test_paths_cross_validation_rank_and_warm_starts(brief):
    X, y = bumps(60, 3)
    options = {"subnetwork_widths": (2,), "tol": 1e-2, "random_state": 0}
    path = convex_relu_path(X, y, n_alphas=4, eps=1e-2, **options)
    assert np.all(np.diff(path.objectives) < 0)
    cv = ConvexReLURegressorCV(n_alphas=3, eps=1e-2, cv=2, **options).fit(X, y)
    assert len(cv.coefs_) == 3
    low = ConvexReLURegressor(alpha=0.1, rank=1, **options).fit(X, y)
    assert low.low_rank_.rank == 1
    assert low.certificate_.proven_lower_bound <= low.objective_
    warm = ConvexReLURegressor(alpha=0.1, warm_start=True, **options).fit(X, y)
    assert warm.set_params(alpha=0.08).fit(X, y).dual_gap_ <= warm.tolerance_
    with pytest.raises(ValueError, match="sub-networks"):
        warm.set_params(subnetwork_widths=(3,)).fit(X, y)
    n = low.n_neurons_
    assert low.prune(X, y).n_neurons_ <= n


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subnetwork_widths": (0,)}, "positive integers"),
        ({"subnetwork_widths": (2.5,)}, "positive integers"),
        ({"subnetwork_widths": (True,)}, "positive integers"),
        ({"subnetwork_widths": (2, 2), "penalty": "weight_decay"}, "three"),
        ({"penalty": "l1"}, "penalty"),
        ({"patterns": np.ones((4, 3))}, "n_gates, 2, 4"),
        ({"patterns": np.ones((4, 3, 4))}, "n_gates, 2, 4"),
        ({"activation": "gated_relu"}, "fixed patterns"),
        ({"patterns": "random", "solver": "fista"}, "cone"),
    ],
)
def test_refusals(options, message):
    X, y = bumps(20, 3)
    options = {"subnetwork_widths": (2,)} | options
    with pytest.raises(ValueError, match=message):
        ConvexReLURegressor(**options).fit(X, y)


def test_several_outputs_with_cones_and_too_many_cells_are_refused():
    X, y = bumps(20, 2)
    model = ConvexReLURegressor(subnetwork_widths=(2,), patterns="random")
    with pytest.raises(ValueError, match="several outputs"):
        model.fit(X, np.c_[y, y])
    with pytest.raises(ValueError, match="20000"):
        model.set_params(patterns="exact").fit(X, y)


@pytest.mark.filterwarnings("ignore:alpha=.* is alpha_max_:UserWarning")
@pytest.mark.parametrize("penalty", ["path", "weight_decay"])
def test_largest_alpha_of_complete_programmes_is_that_of_training(penalty):
    X = np.array([[-1.0, 0], [1, -1], [1, 1], [-1, 1]])
    y = np.array([1.0, 1, -1, -1])
    options = {"subnetwork_widths": (2,), "penalty": penalty, "random_state": 0}
    listed = ConvexReLURegressor(patterns="exact", tol=1e-7, **options)
    trained = ConvexReLURegressor(**options).fit(X, y)
    # Just below it a sub-network helps, at it none does.
    for factor, n_neurons in ((0.99, 1), (1.0, 0)):
        listed.set_params(alpha=factor).fit(X, y)
        assert_allclose(listed.alpha_max_, trained.alpha_max_, rtol=1e-5)
        assert listed.n_neurons_ == n_neurons


def test_weights_have_the_precision_of_the_features():
    X, y = bumps(20, 3)
    model = ConvexReLURegressor(
        alpha=0.3, subnetwork_widths=(2,), penalty="weight_decay", tol=1e-2
    ).fit(X.astype(np.float32), y)
    assert {W.dtype for W in model.coefs_} == {np.dtype(np.float32)}


@pytest.mark.parametrize("widths", [(2, 2), ()])
@pytest.mark.parametrize("kind", [list, np.array])
def test_widths_and_gates_in_lists_and_arrays(widths, kind, brief):
    X, y = bumps(20, 2)
    given = kind(widths)
    model = ConvexReLURegressor(0.3, subnetwork_widths=given, tol=0.1, random_state=0)
    same = clone(model).set_params(subnetwork_widths=widths).fit(X, y)
    model.fit(X, y)
    assert model.objective_ == same.objective_
    assert model.prune(X, y).objective_ <= same.objective_ * (1 + 1e-9)
    model.set_params(subnetwork_widths=widths, warm_start=True).prune(X, y).fit(X, y)
    with pytest.raises(ValueError, match="subnetwork_widths changed"):
        model.set_params(subnetwork_widths=kind([3])).prune(X, y)
    # Patterns may be changed, whatever they are given as.
    gates = kind(np.random.default_rng(0).standard_normal((5, 3)).tolist())
    fixed = ConvexReLURegressor(0.3, patterns=gates, activation="gated_relu")
    fixed.fit(X, y)
    assert fixed.to_relu(X, y).prune(X, y).n_neurons_ > 0
    assert "patterns" in repr(fixed)


def test_widths_written_to_after_the_fit_are_noticed():
    X, y = bumps(20, 2)
    widths = np.array([2])
    model = ConvexReLURegressor(0.3, subnetwork_widths=widths, tol=0.1).fit(X, y)
    widths[0] = 3
    with pytest.raises(ValueError, match="subnetwork_widths changed"):
        model.prune(X, y)


@pytest.mark.parametrize("offset", [1e5, 1e7])
def test_prices_of_features_far_from_zero(offset):
    """Equal leaves have the price of a neuron times the root of their number."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X = np.c_[rng.standard_normal((60, 2)) + offset, np.ones(60)]
        N = rng.standard_normal((60, 1))
        N -= N.mean()
        pricer = TreePricer(X, 1, TreeShape((2,)))
        found = pricer.price(N, np.zeros((8, 0)), rng, FIRST)[0].best
        assert found >= np.sqrt(2) * exact_price(X, N).prices[0] * (1 - 1e-6)


def test_a_hidden_bias_next_to_free_under_weight_decay():
    """Searches miss more there, and certificates claim less."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((16, 5)), rng.standard_normal(16)
    options = {"subnetwork_widths": (2,), "penalty": "weight_decay", "tol": 1e-2}
    for length, missed in ((1.0, 5e-4), (1e3, 5e-3)):
        table = np.column_stack([X, np.full(16, length)])
        fits = [
            ConvexReLURegressor(0.1, random_state=seed, **options).fit(table, y)
            for seed in range(3)
        ]
        best = min(model.objective_ for model in fits)
        assert max(model.lower_bound_ for model in fits) <= best
        for model in fits:
            assert model.dual_gap_ >= missed * y.var() / 2


def test_features_that_are_all_zero():
    model = ConvexReLURegressor(hidden_bias=False, subnetwork_widths=(2,))
    model.fit(np.zeros((20, 3)), np.arange(20.0))
    assert model.n_neurons_ == 0 and model.dual_gap_ == 0.0


def test_inequalities_hold_on_real_data_within_the_gaps():
    X, y = diabetes()
    alpha = 0.05

    def fit(alpha, widths, penalty):
        return ConvexReLURegressor(
            alpha,
            relative_alpha=False,
            subnetwork_widths=widths,
            penalty=penalty,
            tol=3e-3,
            random_state=0,
        ).fit(X[:200], y[:200])

    chain = [
        fit(alpha, (2,), "path"),
        fit(alpha, (2,), "weight_decay"),
        fit(np.sqrt(2) * alpha, (2,), "path"),
        fit(np.sqrt(2) * alpha, (), "path"),
    ]
    # p_path(a) <= p_wd(a) <= p_path(sqrt(2) a) <= p_two(sqrt(2) a)
    for low, high in pairwise(chain):
        assert low.lower_bound_ <= high.objective_
    assert chain[1].lower_bound_ <= fit(alpha, (), "path").objective_


def test_widths_that_are_no_list_are_refused_everywhere():
    X, y = bumps(30, 3)
    model = ConvexReLURegressor(tol=1e-2, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="must hold positive integers"):
        model.set_params(subnetwork_widths=3).prune(X, y)


def flagged(function):
    """Return a function that also raises the flags that BLAS may, at random."""

    def wrapped(*args, **kwargs):
        np.array([np.inf], np.float32) - np.float32(np.inf)
        np.array([1e38], np.float32) * np.float32(1e38)
        return function(*args, **kwargs)

    return wrapped


@pytest.mark.parametrize("name", ["up", "down", "values"])
def test_flags_of_the_processor_are_no_warnings_of_a_search(name, monkeypatch):
    X, y = bumps(60, 4)
    shape, rng = TreeShape((2,)), np.random.default_rng(0)
    N, none = -y[:, None] / 60, np.zeros((2 * 4 + shape.n_signs, 0))
    expected = TreePricer(X, 1, shape).price(N, none, rng, FAIR)[0]
    monkeypatch.setattr(TreeShape, name, flagged(getattr(TreeShape, name)))
    pricer, rng = TreePricer(X, 1, shape), np.random.default_rng(0)
    found = pricer.price(N, none, rng, FAIR)[0]
    assert found.best == expected.best
    values = pricer.signature(found.directions[:, :3])
    assert values.shape == (60, 3)
