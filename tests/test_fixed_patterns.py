"""Estimators over fixed patterns: recovery, certificates, gates, what is refused."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import problem
from reference import all_patterns, cone_programme
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import scale

from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    convex_relu_path,
    sample_patterns,
)
from sklearn_convexrelu.model.neurons import NEURONS
from sklearn_convexrelu.model.solution import Status
from sklearn_convexrelu.model.subnetworks import TreeShape
from sklearn_convexrelu.programmes import chosen_patterns as choice
from sklearn_convexrelu.programmes import fixed_patterns
from sklearn_convexrelu.programmes.cvxpy_backend import CvxpyBackend
from sklearn_convexrelu.programmes.fixed_patterns import FixedPatterns


def bumps(n_samples=60, n_features=3):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, n_features))
    y = np.abs(X[:, 0]) + np.sin(2 * X[:, -1]) + 0.2 * rng.standard_normal(n_samples)
    return X, y


def fit(X, y, alpha=0.1, kind=ConvexReLURegressor, **options):
    options = {"patterns": "random", "n_patterns": 30, "random_state": 0} | options
    return kind(alpha, **options).fit(X, y)


def gated_by_hand(model, X):
    """Predictions of a gated model, one sample and one gate at a time."""
    X = np.c_[X, np.ones(len(X))][:, : model.gates_.shape[1]]
    F = np.tile(model.intercept_, (len(X), 1)).astype(float)
    for gate, block in zip(model.gates_, model.blocks_, strict=True):
        F += (X @ gate > 0)[:, None] * (X @ block)
    return F


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("hidden_bias", [True, False])
def test_restricted_certificate_and_the_one_over_all(fit_intercept, hidden_bias):
    X, y = bumps()
    options = {"fit_intercept": fit_intercept, "hidden_bias": hidden_bias}
    model = fit(X, y, tol=1e-6, **options)
    (W, A), (b, b2) = model.coefs_, model.intercepts_
    residual = np.maximum(X @ W + b, 0) @ A[:, 0] + b2[0] - y
    squares = np.sum(W**2) + np.sum(A**2) + np.sum(b**2)
    objective = residual @ residual / 120 + model.alpha_ / 2 * squares
    assert_allclose(model.objective_, objective, rtol=1e-9)
    assert model.certificate_.kind == "restricted"
    assert model.dual_gap_ <= model.tolerance_ * (1 + 1e-3)
    over_all = model.certificate_.over_all
    assert over_all.objective == model.objective_
    best = ConvexReLURegressor(
        model.alpha_, relative_alpha=False, random_state=0, **options
    ).fit(X, y)
    assert over_all.lower_bound <= best.objective_ < model.objective_
    assert over_all.proven_lower_bound <= over_all.lower_bound + 1e-12
    assert model.lower_bound_ > best.objective_  # it speaks of these patterns alone


def test_the_complete_arrangement_is_the_global_optimum():
    X, y = bumps(12, 1)
    exact = fit(X, y, patterns="exact", tol=1e-7)
    adaptive = ConvexReLURegressor(0.1, tol=1e-6, random_state=0).fit(X, y)
    assert exact.certificate_.kind == adaptive.certificate_.kind == "exact"
    assert_allclose(exact.alpha_max_, adaptive.alpha_max_, rtol=1e-9)
    assert abs(exact.objective_ - adaptive.objective_) <= adaptive.tolerance_
    ones = np.c_[X, np.ones(12)]
    optimum = cone_programme(
        ones, y, all_patterns(ones), exact.alpha_, fit_intercept=True
    )
    assert_allclose(exact.objective_, optimum, rtol=1e-6)
    assert exact.lower_bound_ <= optimum * (1 + 1e-7)


@pytest.mark.parametrize("loss", ["squared_error", "huber", "poisson"])
@pytest.mark.parametrize("activation", ["relu", "gated_relu"])
def test_regression_losses(loss, activation):
    X, y = bumps()
    y = np.exp(y).round() if loss == "poisson" else y
    model = fit(X, y, loss=loss, activation=activation, tol=1e-4)
    assert model.dual_gap_ <= model.tolerance_ * (1 + 1e-3)
    assert model.score(X, y) > 0.5


@pytest.mark.parametrize("loss", ["log_loss", "squared_hinge", "squared_error"])
@pytest.mark.parametrize("activation", ["relu", "gated_relu"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_classification_losses(loss, activation, n_classes):
    X, y = bumps()
    labels = np.array(["a", "b", "c"])[np.digitize(y, [0.8, 1.5][: n_classes - 1])]
    options = {"loss": loss, "activation": activation, "tol": 1e-3}
    options["kind"] = ConvexReLUClassifier
    if n_classes == 3 and activation == "relu":
        with pytest.raises(ValueError, match="adaptive"):
            fit(X, labels, **options)
        return
    model = fit(X, labels, **options)
    assert model.dual_gap_ <= model.tolerance_ * (1 + 1e-3)
    assert model.score(X, labels) > 0.8


def test_gated_models():
    X, y = bumps()
    Y = np.c_[y, X[:, 0] ** 2]
    for target, shape in [(y, (60,)), (Y, (60, 2))]:
        model = fit(X, target, activation="gated_relu", tol=1e-4)
        F = gated_by_hand(model, X)
        assert_allclose(model.predict(X), F.reshape(shape), atol=1e-10)
        assert model.certificate_.kind == "restricted"
        assert model.certificate_.over_all is None
        norms = [np.linalg.norm(block, "nuc") for block in model.blocks_]
        loss = np.sum((F - target.reshape(60, -1)) ** 2) / 120
        assert_allclose(model.objective_, loss + model.alpha_ * sum(norms), rtol=1e-9)
        for name in ("coefs_", "intercepts_"):
            with pytest.raises(AttributeError, match="gated"):
                getattr(model, name)
        assert_array_equal(
            pickle.loads(pickle.dumps(model)).predict(X), model.predict(X)
        )


def test_gated_is_a_relaxation():
    X, y = bumps()
    relu = fit(X, y, tol=1e-6)
    alpha = relu.alpha_
    gated = fit(X, y, alpha, relative_alpha=False, activation="gated_relu", tol=1e-6)
    assert gated.objective_ <= relu.objective_ + 1e-9


@pytest.mark.parametrize(
    ("activation", "solvers"),
    [
        ("relu", ["interior_point", "cvxpy"]),
        ("gated_relu", ["interior_point", "fista", "cvxpy"]),
    ],
)
def test_solvers_agree(activation, solvers):
    X, y = bumps()
    models = [
        fit(X, y, activation=activation, solver=solver, tol=1e-4) for solver in solvers
    ]
    for model in models:
        assert model.dual_gap_ <= model.tolerance_ * (1 + 1e-3)
        assert abs(model.objective_ - models[0].objective_) <= model.tolerance_
        assert model.alpha_max_ == models[0].alpha_max_


def test_given_gates():
    X, y = bumps()
    gates = sample_patterns(np.c_[X, np.ones(60)], 30, random_state=3)[1]
    model = fit(X, y, patterns=gates, tol=1e-6)
    again = fit(X, y, patterns=[*gates, *gates[:5]], tol=1e-6)
    assert_allclose(model.objective_, again.objective_, rtol=1e-6)
    short = fit(X, y, patterns=gates[:, :3], hidden_bias=False)
    assert short.coefs_[0].shape[0] == 3


def test_weights_are_repetitions():
    X, y = bumps()
    weights = np.random.default_rng(0).integers(0, 3, 60)
    rows = np.repeat(np.arange(60), weights)
    weighted = ConvexReLURegressor(patterns="random", n_patterns=20, random_state=0)
    repeated = clone(weighted).fit(X[rows], y[rows])
    assert weighted.fit(X, y, weights).objective_ == repeated.objective_


def test_more_patterns_are_better():
    X, y = bumps()
    alpha = fit(X, y, n_patterns=200).alpha_
    objectives = [
        fit(X, y, alpha, relative_alpha=False, n_patterns=n, tol=1e-7).objective_
        for n in (10, 30, 100)
    ]
    best = ConvexReLURegressor(alpha, relative_alpha=False, random_state=0).fit(X, y)
    assert objectives[0] > objectives[1] > objectives[2] > best.lower_bound_


def test_searches_paths_and_callbacks(capsys):
    X, y = bumps()
    plain = ConvexReLURegressor(patterns="random", n_patterns=20, random_state=0)
    GridSearchCV(plain, {"alpha": [0.1, 0.01], "n_patterns": [5, 20]}, cv=2).fit(X, y)
    path = convex_relu_path(
        X, y, patterns="random", n_patterns=20, n_alphas=4, eps=0.01, random_state=0
    )
    assert path.n_neurons[0] == 0 < path.n_neurons[-1]
    assert (np.diff(path.objectives) < 0).all()
    model = ConvexReLURegressorCV(
        patterns="random", activation="gated_relu", cv=2, n_alphas=4, eps=0.01
    ).fit(X, y)
    assert model.cv_scores_.shape == (4, 2)
    fit(X, y, verbose=1)
    assert "gap" in capsys.readouterr().out


def test_scales_and_precision():
    X, y = bumps()
    model = fit(X, y)
    scaled = fit(X, 1e6 * y)
    assert_allclose(scaled.predict(X), 1e6 * model.predict(X), rtol=1e-3)
    single = fit(X.astype(np.float32), y)
    assert single.coefs_[0].dtype == np.float32
    constant = fit(X, np.ones(60))
    assert constant.n_neurons_ == 0
    assert_allclose(constant.predict(X), 1.0)


def test_unconverged_fits_warn():
    X, y = bumps()
    with pytest.warns(ConvergenceWarning, match="iteration limit"):
        model = fit(X, y, 0.01, max_iter=2, tol=1e-6)
    assert model.dual_gap_ > model.tolerance_


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patterns": "adaptive", "activation": "gated_relu"}, "fixed patterns"),
        ({"patterns": "adaptive", "solver": "fista"}, "own loop"),
        ({"patterns": "adaptive", "solver_options": {"first_units": 3}}, "own loop"),
        ({"solver": "fista"}, "cone"),
        ({"max_neurons": 3}, "max_neurons=3"),
        ({"warm_start": True}, "warm_start=True"),
        (
            {"solver": "interior_point", "solver_options": {"steps": 3}},
            "'steps'.*first_units",
        ),
        ({"solver_options": {"first_units": 3}}, "named solver"),
        (
            {"solver": "interior_point", "solver_options": {"first_units": 0}},
            "positive integer",
        ),
        ({"solver": "cvxpy", "max_iter": 3}, "solver_options"),
        ({"solver": "cvxpy", "solver_options": {"solver": "NONE"}}, "not installed"),
        ({"solver": "cvxpy", "solver_options": {"bad": 3}}, "refused"),
        ({"patterns": np.zeros((0, 4))}, "minimum of 1"),
        ({"patterns": np.ones((2, 3))}, r"\(2, 3\).*have 4"),
        ({"patterns": np.zeros((2, 4))}, "activates"),
        ({"patterns": [[1.0, np.nan, 0.0, 0.0]]}, "NaN"),
        ({"patterns": [[0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 3.0]]}, "orthogonal"),
        ({"patterns": "all"}, "patterns"),
        ({"n_patterns": 0}, "n_patterns"),
        ({"activation": "gelu"}, "activation"),
    ],
)
def test_refusals(options, message):
    X, y = bumps()
    X[0] = [-3.0, 0.0, 0.0]
    with pytest.raises(ValueError, match=message):
        fit(X, y, **options)


def test_refusals_of_shapes():
    X, y = bumps()
    with pytest.raises(ValueError, match="several outputs"):
        fit(X, np.c_[y, y])
    with pytest.raises(ValueError, match="one output"):
        fit(X, np.c_[y, y], activation="gated_relu", solver="interior_point")
    diabetes = load_diabetes(return_X_y=True)
    with pytest.raises(ValueError, match="rank 11 may have 1416.*adaptive"):
        fit(scale(diabetes[0]), diabetes[1], patterns="exact")
    gated = fit(X, y, activation="gated_relu")
    gated.set_params(activation="relu", patterns="adaptive", warm_start=True)
    with pytest.raises(ValueError, match="gated"):
        gated.fit(X, y)
    assert gated.set_params(warm_start=False).fit(X, y).coefs_
    assert not hasattr(gated, "gates_")


def small_features():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 3))
    return X, np.maximum(X[:, 0], 0) - np.abs(X[:, 1])


@pytest.mark.parametrize(("factor", "offset"), [(1e-4, 0.0), (1e4, 0.0), (1.0, 1e3)])
def test_features_far_from_the_size_of_the_bias(factor, offset):
    X, y = small_features()
    model = ConvexReLURegressor(
        alpha=0.01, patterns="random", n_patterns=60, random_state=0
    ).fit(X * factor + offset, y)
    assert model.status_.name == "CONVERGED"
    assert model.dual_gap_ <= model.tolerance_


@pytest.mark.parametrize("patterns", ["random", "exact"])
def test_features_that_tell_nothing(patterns):
    x = np.arange(6.0)[:, None]
    X, y = np.r_[x, x], np.r_[x, -x][:, 0]
    model = ConvexReLURegressor(patterns=patterns, random_state=0).fit(X, y)
    assert model.alpha_max_ == 0.0 and model.n_neurons_ == 0
    assert model.status_.name == "CONVERGED"
    zeros = ConvexReLURegressor(patterns=patterns, hidden_bias=False, random_state=0)
    assert_allclose(zeros.fit(np.zeros((5, 1)), np.arange(5.0)).predict([[1.0]]), 2.0)


@pytest.mark.parametrize("patterns", ["random", "exact"])
@pytest.mark.parametrize("activation", ["relu", "gated_relu"])
@pytest.mark.parametrize("widths", [(), (2,)])
@pytest.mark.parametrize("rank", [None, 1])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_features_that_are_all_zero(patterns, activation, widths, rank, fit_intercept):
    X, y = np.zeros((6, 2)), np.arange(6.0)
    options = {"hidden_bias": False, "relative_alpha": False, "patterns": patterns}
    options |= {"activation": activation, "subnetwork_widths": widths, "rank": rank}
    model = ConvexReLURegressor(0.1, fit_intercept=fit_intercept, **options).fit(X, y)
    assert model.alpha_ == 0.1 and model.alpha_max_ == 0.0 and model.n_neurons_ == 0
    best = y.mean() if fit_intercept else 0.0
    assert_allclose(model.predict(X + 1.0), best)
    loss = np.mean((y - best) ** 2) / 2
    assert_allclose([model.objective_, model.lower_bound_], loss)
    assert_allclose(model.history_[-1]["objective"], loss)
    assert_allclose(model.tolerance_, 1e-3 * y.var() / 2)
    assert model.status_ is Status.CONVERGED
    assert hasattr(model, "gates_") == (activation == "gated_relu")
    if rank is not None:
        assert model.low_rank_.factor_before == model.low_rank_.factor_after == 1.0


def test_a_path_where_all_features_are_zero():
    path = convex_relu_path(
        np.zeros((6, 2)),
        np.arange(6.0),
        alphas=[1.0, 0.1],
        relative_alpha=False,
        hidden_bias=False,
        patterns="random",
    )
    assert len(path.alphas) == 1  # a smaller one changes nothing
    assert_allclose(path.objectives, np.arange(6.0).var() / 2)
    assert_allclose(path.dual_gaps, 0.0, atol=1e-12)


def test_constant_targets_give_a_model_of_the_same_kind():
    X = np.random.default_rng(0).standard_normal((8, 6))
    gated = ConvexReLURegressor(patterns="random", activation="gated_relu")
    gated.fit(X, np.ones(8))
    assert gated.gates_.shape == (0, 7) and gated.blocks_.shape == (0, 7, 1)
    assert not hasattr(gated, "coefs_")
    assert_allclose(gated.predict(X), 1.0)
    relu = ConvexReLURegressor(patterns="random").fit(X, np.ones(8))
    assert relu.certificate_.kind == gated.certificate_.kind == "restricted"
    assert relu.certificate_.over_all is not None


def test_the_last_step_of_fista_counts():
    X, y = small_features()
    objectives = [
        ConvexReLURegressor(
            alpha=0.01,
            patterns="random",
            activation="gated_relu",
            solver="fista",
            solver_options={"check_every": 1000},
            max_iter=n,
            random_state=0,
        )
        for n in (5, 50)
    ]
    with pytest.warns(UserWarning, match="max_iter"):
        few, many = (model.fit(X, y).objective_ for model in objectives)
    assert many < few < y.var() / 2


def test_cvxpy_stopped_early_is_no_worse_than_a_constant():
    X, y = small_features()
    model = ConvexReLURegressor(
        alpha=0.05,
        patterns="random",
        n_patterns=15,
        solver="cvxpy",
        solver_options={"max_iter": 2},
        random_state=0,
    )
    with pytest.warns(UserWarning, match="solver_options"):
        model.fit(X, y)
    assert model.objective_ <= y.var() / 2 * (1 + 1e-12)


def test_networks_over_patterns_have_few_neurons():
    X, y = small_features()
    for activation in ("relu", "gated_relu"):
        model = ConvexReLURegressor(
            alpha=1e-4, patterns="random", activation=activation, random_state=0
        ).fit(X, y)
        assert model.n_neurons_ <= len(X) + 1


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_gates_of_extreme_size(size):
    X, y = small_features()
    gates = np.random.default_rng(1).standard_normal((20, 4))
    model = ConvexReLURegressor(alpha=0.1, patterns=gates).fit(X, y)
    same = ConvexReLURegressor(alpha=0.1, patterns=gates * size).fit(X, y)
    assert_allclose(same.objective_, model.objective_, rtol=1e-6)


@pytest.fixture
def stalling(monkeypatch):
    """Data and options on which the interior point method stalls, all cells listed."""
    monkeypatch.setattr(fixed_patterns, "serves_pairs", lambda problem: False)
    X = np.array([[-0.03], [0.65], [-0.65], [-1.83], [0.03]])
    y = np.array([0.48, -2.07, -1.06, -0.62, 0.34])
    options = {"loss": "huber", "huber_threshold": 0.4, "patterns": "exact"}
    options |= {"fit_intercept": False, "hidden_bias": False, "alpha": 0.0128}
    return X, y, options | {"subnetwork_widths": (2,)}


def test_where_the_interior_point_stalls_small_programmes_go_to_cvxpy(stalling, capsys):
    X, y, options = stalling
    named = ConvexReLURegressor(solver="interior_point", **options)
    with pytest.warns(UserWarning, match="no step"):
        named.fit(X, y)
    model = ConvexReLURegressor(verbose=1, **options).fit(X, y)
    assert model.dual_gap_ <= model.tolerance_
    assert model.objective_ < named.objective_
    # The history is that of both runs, one after the other.
    assert model.n_iter_ == named.n_iter_ + 1
    assert len(model.history_) == len(named.history_) + 1
    for record, same in zip(model.history_, named.history_, strict=False):
        assert record["objective"] == same["objective"]
    times = [record["time"] for record in model.history_]
    assert times == sorted(times)
    last = capsys.readouterr().out.splitlines()[-1]
    assert f"{times[-1]:8.3f} s" in last


@pytest.mark.parametrize("outcome", ["fails", "is no better", "is inaccurate"])
def test_what_stalled_stands_where_cvxpy_does_not_converge(
    outcome, stalling, monkeypatch
):
    X, y, options = stalling
    named = ConvexReLURegressor(solver="interior_point", **options)
    with pytest.warns(ConvergenceWarning, match="no step"):
        named.fit(X, y)
    original = CvxpyBackend.solve

    def solve(backend, programme, callback=None):
        if outcome == "fails":
            raise ValueError("The CVXPY solver ended with the status 'infeasible'.")
        solved = original(backend, programme, callback)
        bound = -np.inf if outcome == "is no better" else solved.lower_bound
        return replace(solved, lower_bound=bound, status=Status.INACCURATE)

    monkeypatch.setattr(CvxpyBackend, "solve", solve)
    model = ConvexReLURegressor(**options)
    with pytest.warns(ConvergenceWarning, match="no step"):
        model.fit(X, y)
    assert model.status_ is Status.STALLED
    further = outcome == "is inaccurate"
    assert len(model.history_) == len(named.history_) + further
    assert (model.objective_ < named.objective_) == further
    assert model.objective_ <= named.objective_


# Whether a solver meets its tolerance on such data hangs on rounding, so on versions.
@pytest.mark.filterwarnings("ignore:Stopped with a duality gap")
def test_patterns_that_a_rank_cut_may_miss_prove_nothing_for_all():
    x = np.random.default_rng(0).uniform(-1, 1, 12)
    y = np.abs(x)
    near = ConvexReLURegressor(1e-7, patterns="exact", tol=1e-4).fit(x[:, None], y)
    assert near.certificate_.kind == "exact"
    # So far from zero that the feature beside its bias counts as rounding.
    far = x[:, None] + 1e6
    model = ConvexReLURegressor(1e-7, patterns="exact", tol=1e-4).fit(far, y)
    # The kinked network of the near data, moved there by its biases.
    W, a = near.coefs_[0], near.coefs_[1].ravel()
    b = near.intercepts_[0] - 1e6 * W[0]
    predictions = np.maximum(far @ W + b, 0) @ a + near.intercepts_[1]
    penalty = np.hypot(W[0], b) @ np.abs(a)
    objective = np.mean((predictions - y) ** 2) / 2 + model.alpha_ * penalty
    assert objective < model.objective_
    assert model.certificate_.kind == "restricted"
    assert model.certificate_.over_all.proven_lower_bound <= objective


def lines(shape=NEURONS, seed=0):
    """Return a problem over fixed patterns with a bias and rows of rank three."""
    X, y = bumps(12, 2)
    return replace(problem(np.roll(X, seed, axis=1), y), shape=shape)


def gates_chosen(solver, stated):
    """Return the gates of what a solver chooses for a problem."""
    chosen = solver.over(stated).chosen
    return chosen.gates if stated.shape.is_tree else chosen[1]


RECORDS = {
    "patterns": np.eye(3) + 0.1,
    "n_patterns": 3,
    "seed": 1,
}


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("shape", [NEURONS, TreeShape((2,))])
def test_a_replaced_record_chooses_for_itself(name, shape):
    stated = lines(shape)
    options = {"patterns": "random", "n_patterns": 6}
    value = RECORDS[name]
    if name == "patterns" and shape.is_tree:
        value = np.random.default_rng(0).standard_normal((4, 2, 3))
    solver = FixedPatterns(**options)
    before = gates_chosen(solver, stated)
    replaced = gates_chosen(replace(solver, **{name: value}), stated)
    fresh = gates_chosen(FixedPatterns(**options | {name: value}), stated)
    assert_array_equal(replaced, fresh)
    assert before.shape != fresh.shape or not np.array_equal(before, fresh)
    assert_array_equal(gates_chosen(solver, stated), before)


def test_a_replaced_record_refuses_for_itself():
    stated = lines()
    on_a_sample = np.cross(stated.X[0], [1.0, 2.0, 3.0])[None]
    gated = FixedPatterns(on_a_sample, gated=True)
    assert len(gates_chosen(gated, stated)) == 1
    with pytest.raises(ValueError, match="orthogonal to a sample"):
        gates_chosen(replace(gated, gated=False), stated)


def test_one_record_chooses_anew_for_every_kind_of_network():
    solver = FixedPatterns("random", n_patterns=5)
    for shape in (NEURONS, TreeShape((2,)), TreeShape((3,)), NEURONS):
        fresh = FixedPatterns("random", n_patterns=5)
        assert_array_equal(
            gates_chosen(solver, lines(shape)), gates_chosen(fresh, lines(shape))
        )


@pytest.mark.parametrize("rank", [None, 1])
@pytest.mark.parametrize("call", ["fit", "path", "class_weight"])
def test_patterns_are_listed_once_a_fit(call, rank, monkeypatch):
    X, y = bumps(12, 2)
    calls, enumerate_ = [], choice.enumerate_patterns
    monkeypatch.setattr(
        choice,
        "enumerate_patterns",
        lambda X: calls.append(len(X)) or enumerate_(X),
    )
    options = {"patterns": "exact", "rank": rank, "tol": 1e-2}
    if call == "fit":
        ConvexReLURegressor(0.3, **options).fit(X, y)
    elif call == "path":
        convex_relu_path(X, y, n_alphas=3, eps=0.1, **options)
    else:
        options["class_weight"] = "balanced"
        ConvexReLUClassifier(0.3, **options).fit(X, y > 1.0)
    # The directions that are kept are those of the weights, and classes change these.
    assert len(calls) == (1 if rank is None or call != "class_weight" else 2)
