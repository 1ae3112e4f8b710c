"""ConvexReLURegressor: optimality, certificates, scikit-learn's rules, hard data."""

import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import bumps, diabetes, known_optimum, problem
from reference import all_patterns, cone_programme, network_objective, wide_network
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_convexrelu import ConvexReLURegressor
from sklearn_convexrelu.adaptive import loop as adaptive
from sklearn_convexrelu.adaptive import start
from sklearn_convexrelu.pricing.exact import exact_price


def fit(X, y, alpha=0.1, sample_weight=None, **options):
    options = {"random_state": 0} | options
    model = ConvexReLURegressor(alpha, **options).fit(X, y, sample_weight)
    assert model.dual_gap_ >= -1e-12 * abs(model.objective_)
    return model


# Optimality


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "alpha, without, with_intercept",
    [(0.3, 0.38881, 0.38540), (0.1, 0.29378, 0.29316), (0.03, 0.24003, 0.23970)],
)
def test_diabetes_reaches_the_known_objectives(alpha, without, with_intercept, seed):
    """Figures of independent long runs; a lower bound must stay below them."""
    X, y = diabetes()
    for best, options in [(without, {"fit_intercept": False}), (with_intercept, {})]:
        model = fit(X, y, alpha, random_state=seed, **options)
        assert network_objective(model, X, y) <= best + 5e-4
        assert model.lower_bound_ <= best
        assert model.dual_gap_ <= 1e-3 * 0.5


@pytest.mark.parametrize("alpha", [0.3, 0.03])
@pytest.mark.parametrize("n_samples, n_features", [(25, 1), (11, 2)])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_global_optimum_by_complete_enumeration(
    alpha, n_samples, n_features, fit_intercept
):
    X, y = bumps(n_samples, n_features, seed=1)
    model = fit(X, y, alpha, fit_intercept=fit_intercept, tol=1e-5)
    inputs = np.c_[X, np.ones(n_samples)]
    optimum = cone_programme(
        inputs, y, all_patterns(inputs), model.alpha_, fit_intercept
    )
    assert model.certificate_.kind == "exact"
    assert model.lower_bound_ <= optimum + 1e-7
    objective = network_objective(model, X, y)
    assert optimum - 1e-7 <= objective <= model.lower_bound_ + 1e-5 * y.var()


@pytest.mark.parametrize("case", ["two_layer_n15_a03", "two_layer_n25_a01"])
def test_certified_optima_of_the_reference_data(case):
    data = known_optimum(case)
    model = fit(
        data["X"],
        data["y"],
        float(data["alpha"]),
        relative_alpha=False,
        fit_intercept=False,
        hidden_bias=False,
        tol=1e-6,
    )
    assert model.certificate_.kind == "exact"
    assert_allclose(model.alpha_max_, data["alpha_max"], rtol=1e-9)
    assert model.lower_bound_ <= data["optimum"] + 1e-9
    assert_allclose(model.objective_, data["optimum"], rtol=1e-5)
    assert_allclose(model.predict(data["X"]), data["predictions"], atol=1e-2)


def test_never_above_a_wide_network_by_more_than_the_gap():
    X, y = diabetes()
    model = fit(X, y, 0.1)
    restarts = [
        wide_network(X, y, model.alpha_, 100, seed, True, max_iter=300)
        for seed in (0, 1)
    ]
    assert network_objective(model, X, y) <= min(restarts) + model.dual_gap_
    assert model.lower_bound_ <= min(restarts)


@pytest.mark.filterwarnings("ignore:alpha=.* is alpha_max_:UserWarning")
def test_alpha_max_is_where_the_network_becomes_a_constant():
    X, y = bumps(60, 4)
    above, below = fit(X, y, 1.0001), fit(X, y, 0.97, tol=1e-6)
    assert above.n_neurons_ == 0 and above.dual_gap_ <= 1e-12
    assert_allclose(above.predict(X), y.mean())
    assert below.n_neurons_ > 0
    assert below.objective_ < y.var() / 2
    assert above.alpha_max_ == below.alpha_max_  # whatever the seed and alpha
    assert fit(X, y, 0.5, random_state=7).alpha_max_ == above.alpha_max_


# The certificate and the fitted attributes


def test_certificate_is_recomputed_from_the_returned_network():
    X, y = bumps(80, 2)
    weights = np.random.default_rng(0).uniform(0.5, 2, 80)
    model = fit(X, y, 0.05, sample_weight=weights)
    assert_allclose(model.objective_, network_objective(model, X, y, weights))
    assert_allclose(model.dual_gap_, model.objective_ - model.lower_bound_)
    # The lower bound by hand, from the predictions alone.
    w = weights / weights.sum()
    N = w * (model.predict(X) - y)
    assert abs(N.sum()) < 1e-12
    price = exact_price(np.c_[X, np.ones(80)], N).prices[0]
    s = np.linspace(0, model.alpha_ / price, 200001)
    values = -(s**2) * (N @ (N / w)) / 2 - s * (N @ y)
    assert_allclose(model.lower_bound_, values.max(), rtol=1e-6)
    assert model.certificate_.kind == "exact"
    assert model.certificate_.proven_lower_bound == model.lower_bound_


def test_layout_and_balance_of_the_weights():
    X, y = bumps(100, 5)
    for options in ({}, {"hidden_bias": False}, {"fit_intercept": False}):
        model = fit(X, y, 0.05, **options)
        (W, a), (b, b2) = model.coefs_, model.intercepts_
        m = model.n_neurons_
        shapes = [W.shape, a.shape, b.shape, b2.shape]
        assert shapes == [(5, m), (m, 1), (m,), (1,)]
        assert_allclose(np.maximum(X @ W + b, 0) @ a[:, 0] + b2, model.predict(X))
        penalty = model.alpha_ / 2 * ((W**2).sum() + (b**2).sum() + (a**2).sum())
        loss = ((model.predict(X) - y) ** 2).mean() / 2
        assert_allclose(loss + penalty, model.objective_)
        assert b.any() == model.hidden_bias and b2.any() == model.fit_intercept
        assert model.n_outputs_ == 1 and model.n_features_in_ == 5


def test_history_tells_what_happened():
    X, y = bumps(100, 5)
    model = fit(X, y, 0.02)
    assert {"time", "objective", "dual_gap", "n_neurons", "price"} == set(
        model.history_[0]
    )
    objectives = [record["objective"] for record in model.history_]
    assert all(np.diff(objectives) <= 1e-12)
    assert model.history_[0]["objective"] < y.var() / 2  # random neurons have slid
    assert_allclose(objectives[-1], model.objective_)
    assert_allclose(model.history_[-1]["dual_gap"], model.dual_gap_, rtol=1e-3)
    assert model.n_iter_ <= len(model.history_)
    assert model.status_.name == "CONVERGED"


# Parameters


def test_absolute_and_relative_alpha_are_the_same_problem():
    X, y = bumps(60, 3)
    relative = fit(X, y, 0.1)
    absolute = fit(X, y, relative.alpha_, relative_alpha=False)
    assert_array_equal(relative.predict(X), absolute.predict(X))
    assert_allclose(relative.alpha_, 0.1 * relative.alpha_max_)


@pytest.mark.parametrize(("alpha", "tol"), [(0.7, 1e-4), (0.5, 1e-3), (0.3, 1e-4)])
def test_bounds_stay_below_the_objective_of_few_neurons(alpha, tol):
    """The price is at least that of the network's own neurons."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((60, 5))
        y = X @ rng.standard_normal(5) + 0.3 * rng.standard_normal(60)
        model = ConvexReLURegressor(alpha=alpha, tol=tol, random_state=0).fit(X, y)
        assert model.status_.name == "CONVERGED"
        assert model.lower_bound_ <= network_objective(model, X, y) + 1e-9 * y.var()


def test_smaller_tolerance_gives_a_smaller_gap():
    X, y = bumps(100, 4)
    for tol in (1e-1, 1e-2, 1e-3, 1e-4):
        assert fit(X, y, 0.03, tol=tol).dual_gap_ <= tol * y.var() / 2


def test_limits_keep_the_best_network_and_warn():
    X, y = bumps(200, 6)
    with pytest.warns(ConvergenceWarning, match="max_neurons"):
        capped = fit(X, y, 0.003, max_neurons=3)
    assert capped.n_neurons_ <= 3 and capped.status_.name == "NEURON_LIMIT"
    with pytest.warns(ConvergenceWarning, match=r"gap of .*tolerance .*max_iter"):
        early = fit(X, y, 0.003, max_iter=2)
    with pytest.warns(ConvergenceWarning):
        assert fit(X, y, 0.003, max_iter=1).n_neurons_ > 0
    assert early.n_iter_ == 2 and early.status_.name == "ITERATION_LIMIT"
    full = fit(X, y, 0.003)
    for model in (capped, early):
        assert model.dual_gap_ > full.dual_gap_
        assert full.lower_bound_ <= model.objective_ < y.var() / 2
        assert model.lower_bound_ <= full.objective_


def test_warm_start_starts_from_the_last_network():
    X, y = bumps(300, 6)
    model = fit(X, y, 0.02, warm_start=True)
    cold = model.n_iter_
    model.fit(X, y)
    assert model.history_[0]["n_neurons"] > 0 and model.n_iter_ < cold
    model.set_params(alpha=0.015).fit(X, y)
    assert model.history_[0]["n_neurons"] > 0
    assert_allclose(model.objective_, fit(X, y, 0.015).objective_, atol=1e-3)
    for other, options in [(X[:, :3], {}), (np.c_[X, y], {"hidden_bias": False})]:
        with pytest.raises(ValueError, match="warm_start"):
            clone(model).fit(X, y).set_params(**options).fit(other, y)


def test_warm_start_keeps_to_changed_options():
    X, y = bumps(200, 5)
    model = fit(X, y + 5, 0.02, warm_start=True)
    model.set_params(fit_intercept=False).fit(X, y + 5)
    assert model.intercepts_[1] == 0.0 and model.dual_gap_ >= 0.0
    cold = fit(X, y + 5, 0.02, fit_intercept=False)
    assert_allclose(model.objective_, cold.objective_, atol=cold.dual_gap_ * 2)
    with pytest.warns(ConvergenceWarning, match="max_neurons"):
        model.set_params(max_neurons=2).fit(X, y + 5)
    assert model.n_neurons_ <= 2


def test_verbose_prints_rounds_and_steps(capsys):
    X, y = bumps(50, 3)
    fit(X, y, verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert all("gap" in line and "neurons" in line for line in lines)
    fit(X, y, verbose=2)
    assert "slide" in capsys.readouterr().out
    fit(X, y)
    assert capsys.readouterr().out == ""


def test_weights_are_repetitions_and_zero_weights_are_absent_rows():
    X, y = bumps(40, 3)
    weights = np.random.default_rng(0).integers(0, 4, 40)
    weighted = fit(X, y, sample_weight=weights)
    repeated = fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    assert_array_equal(weighted.predict(X), repeated.predict(X))
    scaled = fit(X, y, sample_weight=weights * 8.0)
    assert_allclose(scaled.predict(X), weighted.predict(X), rtol=1e-6)
    order = np.random.default_rng(1).permutation(40)
    shuffled = fit(X[order], y[order], sample_weight=weights[order])
    assert_array_equal(shuffled.predict(X), weighted.predict(X))


def test_grid_search_in_a_pipeline():
    X, y = bumps(120, 4)
    grid = {
        "convexreluregressor__alpha": [0.3, 0.03],
        "convexreluregressor__tol": [1e-2],
    }
    pipeline = make_pipeline(StandardScaler(), ConvexReLURegressor(random_state=0))
    search = GridSearchCV(pipeline, grid, cv=3).fit(X, y)
    assert search.best_params_["convexreluregressor__alpha"] == 0.03
    assert search.score(X, y) > 0.9


# Hard and degenerate data


@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_scaling_the_target_scales_the_prediction(shift):
    X, y = bumps(80, 4)
    y = np.round(y + shift, 3)
    model = fit(X, y)
    for scale in (2.0**-27, 2.0**27):  # exact in floating point: to the last bits
        scaled = fit(X, scale * y)
        # One prediction is the small difference of others.
        rounding = 1e-14 * scale * np.abs(y).max()
        expected = scale * model.predict(X)
        assert_allclose(scaled.predict(X), expected, rtol=1e-12, atol=rounding)
        assert_allclose(scaled.objective_, scale**2 * model.objective_, rtol=1e-9)
        assert scaled.n_iter_ == model.n_iter_
    for scale in (1e-8, 1e8):
        scaled = fit(X, scale * y)
        assert_allclose(scaled.alpha_, scale * model.alpha_, rtol=1e-6)
        difference = abs(scaled.objective_ / scale**2 - model.objective_)
        assert difference <= model.dual_gap_
        assert scaled.dual_gap_ <= 1e-3 * scale**2 * y.var() / 2
        assert_allclose(scaled.predict(X) / scale, model.predict(X), atol=0.1)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e8])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_constant_target(value, fit_intercept):
    X, _ = bumps(30, 3)
    model = fit(X, np.full(30, value), 1e-3, fit_intercept=fit_intercept)
    tolerance = 1e-12 if fit_intercept else 0.1
    assert_allclose(model.predict(X), value, rtol=tolerance, atol=1e-300)
    assert model.dual_gap_ <= 1e-3 * max(value**2 / 2, 1e-300)
    assert (model.n_neurons_ == 0) == (fit_intercept or value == 0.0)


@pytest.mark.parametrize("value", [3.0, 0.1, 1e5, -2.3])
@pytest.mark.parametrize("n_features", [1, 5])
def test_constant_targets_that_round_are_not_bounded_by_rounding(value, n_features):
    X, _ = bumps(49, n_features)
    model = fit(X, np.full(49, value))
    assert model.n_neurons_ == 0
    assert model.lower_bound_ <= model.objective_ <= 1e-20 * value**2
    assert model.certificate_.proven_lower_bound <= model.objective_


@pytest.mark.parametrize("shift", [1e2, 1e4, 1e5, 1e6])
def test_bounds_stay_below_objectives_far_from_zero(shift):
    X, y = bumps(30, 4)
    X = X + shift  # single precision would soon resolve nothing
    models = []
    for seed in range(4):
        with warnings.catch_warnings():
            if shift > 1e5:  # slow: it may stop short
                warnings.simplefilter("ignore", ConvergenceWarning)
            models.append(fit(X, y, 0.05, random_state=seed))
    objectives = np.array([network_objective(model, X, y) for model in models])
    assert_allclose(objectives, [model.objective_ for model in models], rtol=1e-6)
    limits = np.array([model.lower_bound_ - model.tolerance_ for model in models])
    # A search of narrow maxima may miss one in a fit out of some fifty.
    assert np.sum(objectives < 0.465 * y.var() / 2) >= 3
    assert np.sum(limits <= objectives.min()) >= 3


@pytest.mark.parametrize("sizes", [[9000, 1125], [40_000, 5000, 625]])
def test_many_rows_start_on_samples(sizes, monkeypatch):
    monkeypatch.setattr(start, "_SAMPLED_ROWS", 500)
    X, y = bumps(sizes[0], 3)
    starts = []
    sampled = adaptive._sampled_start

    def recording(solver, problem, callback=None):
        starts.append(len(problem.X))
        return sampled(solver, problem, callback)

    monkeypatch.setattr(adaptive, "_sampled_start", recording)
    model = fit(X, y)
    assert model.dual_gap_ <= model.tolerance_
    assert starts == sizes


def test_features_that_drown_beside_the_bias_or_their_offset_are_refused():
    X, y = bumps(30, 1)
    for drowned in (1e-13 * X, X + 1e10, 1e-200 * X, 1e60 * X):
        with pytest.raises(ValueError, match="standardise"):
            fit(drowned, y)
    assert fit(1e-13 * X, y, hidden_bias=False).n_neurons_ > 0
    assert fit(np.c_[X, np.full(30, 1e6)], y).n_neurons_ > 0


@pytest.mark.parametrize("scale", [1e-300, 1e300, 1e308])
def test_weights_of_any_size(scale):
    X, y = bumps(80, 2)
    model = fit(X, y, sample_weight=np.full(80, scale))
    assert_allclose(model.predict(X), fit(X, y).predict(X), rtol=1e-6)
    assert model.dual_gap_ <= 1e-3 * y.var() / 2


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_one_sample(fit_intercept):
    model = fit([[1.0, 2.0]], [3.0], 1e-3, fit_intercept=fit_intercept)
    assert_allclose(model.predict([[1.0, 2.0]]), 3.0, rtol=5e-2)
    assert model.certificate_.kind == "exact"


def degenerate_data():
    X, y = bumps(60, 3)
    rng = np.random.default_rng(0)
    grid = rng.integers(-1, 2, (60, 3)).astype(float)
    yield "duplicate rows", np.r_[X, X[:30]], np.r_[y, y[:30]]
    yield "duplicate rows, other targets", np.r_[X, X], np.r_[y, y + 1]
    yield "zero rows", np.r_[X, np.zeros((20, 3))], np.r_[y, np.ones(20)]
    yield "zero column", np.c_[X, np.zeros(60)], y
    yield "constant column", np.c_[X, np.full(60, 7.0)], y
    yield "duplicate columns", np.c_[X, X], y
    yield "integer grid", grid, y
    yield "one feature", X[:, :1], y
    yield "binary feature", (X[:, :1] > 0).astype(float), y
    yield "more features than samples", rng.standard_normal((15, 40)), y[:15]
    yield "two samples", X[:2], y[:2]
    yield "far from the origin", X + 100.0, y
    yield "collinear samples", np.outer(X[:, 0], [1.0, 2.0, 3.0]), y


@pytest.mark.parametrize(
    "X, y", [pytest.param(X, y, id=name) for name, X, y in degenerate_data()]
)
@pytest.mark.parametrize("alpha", [0.3, 0.01])
def test_degenerate_data(X, y, alpha):
    model = fit(X, y, alpha)
    assert np.isfinite(model.predict(X)).all()
    assert_allclose(model.objective_, network_objective(model, X, y), rtol=1e-9)
    assert model.dual_gap_ <= 1e-3 * y.var() / 2 * (1 + 1e-9)
    assert model.lower_bound_ <= model.objective_


@pytest.mark.parametrize("X", [np.zeros((10, 2)), np.ones((10, 1))])
@pytest.mark.parametrize("hidden_bias", [True, False])
def test_features_that_tell_nothing(X, hidden_bias):
    y = np.arange(10.0)
    model = fit(X, y, hidden_bias=hidden_bias)
    assert_allclose(model.predict(X), 4.5)
    assert model.dual_gap_ <= 1e-3 * y.var() / 2


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_columns_of_very_different_scale_end_well_or_warn(scale):
    X, y = bumps(100, 3)
    X = X * [1.0, scale, 1.0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = fit(X, y, 0.1)
    assert np.isfinite(model.predict(X)).all()
    assert_allclose(model.objective_, network_objective(model, X, y), rtol=1e-8)
    converged = model.dual_gap_ <= 1e-3 * y.var() / 2
    assert converged or [w.category for w in caught] == [ConvergenceWarning]


def test_all_scales_of_the_features_at_once():
    X, y = bumps(80, 4)
    model = fit(X, y, hidden_bias=False)
    for scale in (2.0**-40, 2.0**40):
        scaled = fit(scale * X, y, hidden_bias=False)
        assert_allclose(scaled.predict(scale * X), model.predict(X), rtol=1e-10)


def test_precision_and_memory_layout_of_the_input():
    X, y = bumps(80, 4)
    X = X.astype(np.float32).astype(np.float64)
    model = fit(X, y)
    single = fit(X.astype(np.float32), y)
    assert single.coefs_[0].dtype == single.predict(X.astype("f4")).dtype == np.float32
    assert_allclose(single.predict(X), model.predict(X), rtol=1e-4, atol=1e-5)
    assert_allclose(single.objective_, network_objective(single, X, y), rtol=1e-6)
    read_only = X.copy(order="F")
    read_only.setflags(write=False)
    assert_array_equal(fit(read_only, y).predict(X), model.predict(X))
    before = X.copy(), y.copy()
    fit(X, y)
    assert_array_equal(X, before[0])
    assert_array_equal(y, before[1])


@pytest.mark.parametrize(
    "X, y, weight, message",
    [
        ([[np.nan], [1.0]], [0.0, 1.0], None, "NaN"),
        ([[np.inf], [1.0]], [0.0, 1.0], None, "infinity"),
        ([[0.0], [1.0]], [0.0, np.nan], None, "NaN"),
        ([[0.0], [1.0]], [0.0], None, "inconsistent numbers"),
        ([0.0, 1.0], [0.0, 1.0], None, "Expected 2D array"),
        ([[0.0], [1.0]], [0.0, 1.0], [-1.0, 1.0], "[Nn]egative"),
        ([[0.0], [1.0]], [0.0, 1.0], [0.0, 0.0], "zero"),
        ([[0.0], [1.0]], [0.0, 1.0], [1.0], "shape"),
    ],
)
def test_bad_data_is_refused(X, y, weight, message):
    with pytest.raises(ValueError, match=message):
        ConvexReLURegressor().fit(X, y, sample_weight=weight)


@pytest.mark.parametrize(
    "parameter, value",
    [
        ("alpha", 0.0),
        ("alpha", -1.0),
        ("alpha", "small"),
        ("tol", 0.0),
        ("max_iter", 0),
        ("max_neurons", 0),
        ("max_neurons", 1.5),
        ("fit_intercept", "yes"),
        ("hidden_bias", None),
        ("relative_alpha", 3),
        ("warm_start", "no"),
        ("random_state", -1),
        ("verbose", -1),
    ],
)
def test_wrong_parameters_are_named(parameter, value):
    X, y = bumps(10, 2)
    with pytest.raises(ValueError, match=f"'{parameter}' parameter"):
        ConvexReLURegressor(**{parameter: value}).fit(X, y)


# Determinism


def test_same_seed_same_bits_and_other_seeds_within_the_gap():
    X, y = bumps(150, 5)
    first, again = fit(X, y, 0.02), fit(X, y, 0.02)
    for ours, theirs in zip(first.coefs_, again.coefs_, strict=True):
        assert_array_equal(ours, theirs)
    other = fit(X, y, 0.02, random_state=1)
    assert not np.array_equal(first.predict(X), other.predict(X))
    difference = abs(first.objective_ - other.objective_)
    assert difference <= max(first.dual_gap_, other.dual_gap_)


def test_pickle_joblib_and_clone(tmp_path):
    X, y = bumps(50, 3)
    model = fit(X, y)
    joblib.dump(model, tmp_path / "model")
    for copy in (pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "model")):
        assert_array_equal(copy.predict(X), model.predict(X))
        assert copy.certificate_ == model.certificate_
        assert copy.status_ is model.status_
    fresh = clone(model).fit(X, y)
    assert_array_equal(fresh.predict(X), model.predict(X))


def test_threads_do_not_disturb_each_other():
    problems = [bumps(100, 4, seed) for seed in range(4)]
    alone = [fit(X, y, 0.05).predict(X) for X, y in problems]
    with ThreadPoolExecutor(4) as pool:
        fits = pool.map(lambda data: fit(*data, 0.05), problems)
    for (X, _), expected, model in zip(problems, alone, fits, strict=True):
        assert_array_equal(model.predict(X), expected)


def test_problem_is_the_same_whatever_the_order_and_repetition_of_rows():
    X, y = bumps(30, 3)
    order = np.random.default_rng(0).permutation(30)
    twice = problem(np.r_[X[order], X], np.r_[y[order], y])
    once = problem(X, y)
    assert_array_equal(once.X, twice.X)
    assert_array_equal(once.Y, twice.Y)
    assert_allclose(once.weights, twice.weights)


# Other losses and several targets


def counts(n_samples=80):
    """Return counts whose mean is a network of the features, zeros among them."""
    X, f = bumps(n_samples, 3)
    return X, np.random.default_rng(1).poisson(np.exp(f / 2)).astype(float)


def huber(residual, t):
    """Huber's loss as an integral: the slope is the clipped residual."""
    size = np.abs(residual)
    return np.where(size <= t, size**2 / 2, t * size - t**2 / 2)


def deviance(y, mean):
    """Half the Poisson deviance, with 0 log 0 = 0."""
    logs = np.log(np.where(y > 0, y, 1.0) / np.where(y > 0, mean, 1.0))
    return y * logs - y + mean


def path_norm(model):
    (W, A), (b, _) = model.coefs_, model.intercepts_
    return np.linalg.norm(np.vstack([W, b]), axis=0) @ np.linalg.norm(A, axis=1)


@pytest.mark.parametrize("loss", ["huber", "poisson"])
@pytest.mark.parametrize("n_targets", [1, 2])
def test_objective_of_other_losses_by_hand(loss, n_targets):
    X, y = counts()
    Y = y if n_targets == 1 else np.c_[y, y[::-1]]
    w = np.random.default_rng(0).uniform(0.5, 2, 80)
    model = fit(X, Y, sample_weight=w, loss=loss, huber_threshold=0.7, tol=1e-2)
    predicted = model.predict(X)
    assert predicted.shape == Y.shape and model.n_outputs_ == n_targets
    residual = huber(predicted - Y, 0.7) if loss == "huber" else deviance(Y, predicted)
    value = np.average(residual.reshape(80, -1).sum(axis=1), weights=w)
    assert_allclose(model.objective_, value + model.alpha_ * path_norm(model))
    assert model.n_neurons_ > 0 and model.status_.name == "CONVERGED"


def test_huber_with_a_large_threshold_is_the_squared_error():
    X, y = bumps(80, 3)
    squared = fit(X, y, tol=1e-5)
    model = fit(X, y, tol=1e-5, loss="huber", huber_threshold=1e3)
    assert_allclose(model.alpha_max_, squared.alpha_max_, rtol=1e-6)
    assert_allclose(model.objective_, squared.objective_, rtol=1e-4)
    assert_allclose(model.predict(X), squared.predict(X), atol=2e-2)


def test_huber_resists_an_outlier():
    X, y = bumps(80, 3)
    spoilt = y.copy()
    spoilt[0] += 1000.0
    others = slice(1, None)
    errors = []
    for loss in ("huber", "squared_error"):
        model = fit(X, spoilt, 0.05, loss=loss, tol=1e-2)
        errors.append(np.abs(model.predict(X) - y)[others].mean())
    assert errors[0] < 0.4 and errors[1] > 2 * errors[0]


@pytest.mark.parametrize("scale", [2.0**-20, 2.0**20, 1e6])
def test_huber_scales_with_target_and_threshold(scale):
    X, y = bumps(80, 3)
    model = fit(X, y, loss="huber", huber_threshold=0.3)
    scaled = fit(X, scale * y, loss="huber", huber_threshold=scale * 0.3)
    exact = np.log2(scale).is_integer()
    rtol, atol = (1e-10, 1e-12) if exact else (0.0, 0.1)
    assert_allclose(scaled.predict(X) / scale, model.predict(X), rtol=rtol, atol=atol)
    difference = abs(scaled.objective_ / scale**2 - model.objective_)
    assert difference <= model.dual_gap_


@pytest.mark.filterwarnings("ignore:alpha=.* is alpha_max_:UserWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("scale", [1.0, 1e3, 1e4, 1e8])
@pytest.mark.parametrize("n_features", [1, 10])
def test_huber_certifies_nothing_false_of_targets_beyond_the_threshold(
    n_features, scale
):
    """A wrong constant once had a gap of zero, with a bound above the optimum."""
    X, y = diabetes()
    X, y = X[:, -n_features:], scale * (150 + 77 * y)
    weights = np.random.default_rng(0).uniform(0.5, 2, len(y))
    order = np.argsort(y)
    middle = np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)
    median = y[order][middle]
    constant = np.average(huber(median - y, 1.35), weights=weights)
    options = {"loss": "huber", "max_iter": 20, "sample_weight": weights}
    model = fit(X, y, **options)
    value = np.average(huber(model.predict(X) - y, 1.35), weights=weights)
    assert_allclose(model.objective_, value + model.alpha_ * path_norm(model))
    assert model.lower_bound_ <= model.objective_ < 0.95 * constant
    assert model.tolerance_ <= 1.01e-3 * constant
    # No neuron at all: the constant is the weighted median, but for the threshold.
    null = fit(X, y, 1.01, **options)
    assert null.n_neurons_ == 0 and null.status_.name == "CONVERGED"
    assert null.lower_bound_ <= constant
    assert_allclose(null.predict(X), median, atol=2 * 1.35)
    # What little of the loss is quadratic does not move alpha_max_.
    other = fit(X, 64 * y, 1.01, **options)
    assert_allclose(other.alpha_max_, model.alpha_max_, rtol=0.02)


@pytest.mark.filterwarnings("ignore:alpha=.* is alpha_max_:UserWarning")
@pytest.mark.parametrize("n_targets", [1, 2])
def test_poisson_means(n_targets):
    X, y = counts()
    Y = y if n_targets == 1 else np.c_[y, 10 * y[::-1]]
    w = np.random.default_rng(0).uniform(0.5, 2, 80)
    model = fit(X, Y, sample_weight=w, loss="poisson", tol=1e-2)
    predicted = model.predict(X)
    assert predicted.shape == Y.shape and (predicted > 0).all()
    assert_allclose(w @ predicted, w @ Y, rtol=1e-9)
    constant = fit(X, Y, 1.001, sample_weight=w, loss="poisson")
    assert_allclose(constant.predict(X)[0], w @ Y / w.sum())


def test_poisson_refuses_what_has_no_mean():
    X, y = counts()
    two = np.c_[y, np.zeros(80)]
    for target, message in [(y - 3, "negative"), (0 * y, "zero"), (two, "zero")]:
        with pytest.raises(ValueError, match=message):
            fit(X, target, loss="poisson")
    with pytest.raises(ValueError, match="zero"):
        fit(X, y, loss="poisson", sample_weight=1.0 * (y == 0))


def test_rows_of_zero_weight_may_hold_anything_finite():
    X, y = counts()
    weights = np.r_[0.0, np.ones(79)]
    absent = fit(X[1:], y[1:], loss="poisson")
    y[0], X[0] = -1.0, 1e12
    present = fit(X, y, loss="poisson", sample_weight=weights)
    assert present.objective_ == absent.objective_


def test_predictions_keep_to_the_fitted_loss():
    X, y = bumps(60, 3)
    model = fit(X, y)
    before = model.predict(X)
    assert_allclose(model.set_params(loss="poisson").predict(X), before)


def test_several_targets():
    X, y = bumps(60, 3)
    Y = np.c_[y, -y, np.abs(X[:, 1])]
    model = fit(X, Y, tol=1e-2)
    m = model.n_neurons_
    assert model.predict(X).shape == (60, 3) and model.coefs_[1].shape == (m, 3)
    assert_allclose(model.predict(X).mean(axis=0), Y.mean(axis=0))
    assert model.score(X, Y) > 0.8
    with pytest.warns(DataConversionWarning):
        column = fit(X, y[:, None])
    assert_array_equal(column.predict(X), fit(X, y).predict(X))
    assert column.predict(X).shape == (60,)


def test_one_target_given_twice_is_one_target_at_another_strength():
    X, y = bumps(60, 3)
    one = fit(X, y, tol=1e-4)
    # The output weights' norm is sqrt(2) and the loss 2 times that of one target.
    two = fit(X, np.c_[y, y], tol=1e-4)
    assert_allclose(two.alpha_max_, np.sqrt(2) * one.alpha_max_, rtol=1e-3)
    assert_allclose(two.objective_, 2 * one.objective_, rtol=2e-3)


def test_data_of_rank_two_with_several_targets_are_certified_exactly():
    X, y = bumps(40, 1)
    Y = np.c_[y, X[:, 0] ** 2]
    model = fit(X, Y, tol=1e-5)
    assert model.certificate_.kind == "exact"
    assert model.dual_gap_ <= 1e-5 * Y.var(axis=0).sum() / 2 * (1 + 1e-3)


def test_the_accepted_network_is_improved_once_more():
    X, y = bumps(80, 5)
    model = fit(X, y, 0.05, tol=1e-2)
    history = model.history_
    before, after = history[-2:]
    # What the accepting search found lowers the objective; its bound is kept.
    assert before["dual_gap"] <= model.tolerance_
    assert after["objective"] < before["objective"]
    bound = before["objective"] - before["dual_gap"]
    assert_allclose(after["objective"] - after["dual_gap"], bound)
    assert_allclose(model.lower_bound_, bound, rtol=1e-9)
    assert_allclose(network_objective(model, X, y), after["objective"])
    assert model.certificate_.kind == "priced"


def test_a_bound_that_the_better_network_refutes_is_not_believed(monkeypatch):
    X, y = bumps(80, 5)
    optimum = fit(X, y, 0.05, tol=1e-5).objective_
    certificate_at, seen = adaptive.certificate_at, []

    def optimistic(*args, **kwargs):
        seen.append(certificate_at(*args, **kwargs))
        if len(seen) > 2:  # a glance and the careful pass after it
            return seen[-1]
        return replace(seen[-1], lower_bound=seen[-1].objective)

    monkeypatch.setattr(adaptive, "certificate_at", optimistic)
    monkeypatch.setattr(adaptive, "_WORTH_CLOSING", 0.0)
    model = fit(X, y, 0.05, tol=1e-2)
    assert len(seen) > 2 and model.lower_bound_ <= optimum * (1 + 1e-9)
    assert model.dual_gap_ <= model.tolerance_


def test_a_round_that_is_the_last_is_not_followed_by_another():
    X, y = bumps(120, 5)
    n_iter = fit(X, y, 0.02, tol=1e-3).n_iter_
    model = fit(X, y, 0.02, tol=1e-3, max_iter=n_iter - 1)
    assert model.n_iter_ == n_iter - 1
    assert model.history_[-1]["dual_gap"] == pytest.approx(model.dual_gap_, rel=1e-6)


def test_features_whose_squares_underflow_are_refused():
    X, y = bumps(30, 4)
    with pytest.raises(ValueError, match="squares beyond double precision"):
        ConvexReLURegressor(hidden_bias=False).fit(1e-160 * X, y)
    small = ConvexReLURegressor(
        0.03, hidden_bias=False, fit_intercept=False, random_state=0
    ).fit(1e-140 * X, y)
    assert 0.0 <= small.dual_gap_ <= small.tolerance_


@pytest.mark.filterwarnings("ignore:alpha=.* is alpha_max_:UserWarning")
@pytest.mark.parametrize("loss", ["squared_error", "huber", "absolute_error"])
def test_targets_may_all_be_zero(loss):
    X = np.random.default_rng(0).standard_normal((20, 2))
    model = ConvexReLURegressor(loss=loss, random_state=0).fit(X, np.zeros(20))
    assert model.objective_ == 0.0 and not model.predict(X).any()
