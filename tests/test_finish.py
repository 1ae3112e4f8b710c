"""Tolerances below 1e-4: the programme over cells, polished pricing, tight optima."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import bumps, diabetes, known_optimum, problem
from reference import all_patterns, cone_programme, network_objective

from sklearn_convexrelu import ConvexReLUClassifier, ConvexReLURegressor
from sklearn_convexrelu.adaptive import finish
from sklearn_convexrelu.certificates.certificate import dual_point
from sklearn_convexrelu.pricing.exact import ExactPricing
from sklearn_convexrelu.pricing.kernels import Prices
from sklearn_convexrelu.pricing.polish import polish


@pytest.mark.parametrize(
    ("alpha", "loop_alone"), [(0.3, 0.388811), (0.1, 0.293785), (0.03, 0.240040)]
)
def test_diabetes_to_a_gap_of_1e_5(alpha, loop_alone):
    X, y = diabetes()
    model = ConvexReLURegressor(
        alpha=alpha, fit_intercept=False, tol=1e-5, random_state=0
    )
    model.fit(X, y)
    objective = network_objective(model, X, y)
    assert_allclose(objective, model.objective_, rtol=1e-9)
    assert objective - model.lower_bound_ <= 1e-5 * y.var() / 2
    assert objective < loop_alone  # what the loop reaches at 1e-4, rounded up


def test_loop_goes_on_where_programmes_would_be_too_large(monkeypatch):
    X, y = diabetes()
    # Enough for the first addition, but not for it beside the neurons.
    monkeypatch.setattr(finish, "_MOST_ENTRIES", 45 * len(X))
    model = ConvexReLURegressor(alpha=0.03, tol=5e-5, random_state=0)
    model.fit(X, y)
    objective = network_objective(model, X, y)
    assert objective - model.lower_bound_ <= 5e-5 * y.var() / 2
    assert model.n_neurons_ > 5  # with the 40 candidates: too many cells


@pytest.mark.parametrize("case", ["two_layer_n15_a03", "two_layer_n25_a01"])
def test_finished_enumerated_and_cvxpy_optima_agree(case):
    stored = known_optimum(case)
    X, y, alpha = stored["X"], stored["y"].ravel(), float(stored["alpha"])
    options = {
        "alpha": alpha,
        "relative_alpha": False,
        "fit_intercept": False,
        "hidden_bias": False,
        "random_state": 0,
    }
    finished = ConvexReLURegressor(tol=1e-7, **options).fit(X, y)
    listed = ConvexReLURegressor(tol=1e-7, patterns="exact", **options).fit(X, y)
    optimum = float(stored["optimum"])
    assert finished.certificate_.kind == listed.certificate_.kind == "exact"
    assert_allclose(finished.objective_, optimum, rtol=1e-6)
    assert_allclose(listed.objective_, optimum, rtol=1e-6)
    cvxpy = cone_programme(X, y, all_patterns(X), alpha, fit_intercept=False)
    assert_allclose(cvxpy, optimum, rtol=1e-6)


def test_finished_logistic_optimum():
    stored = known_optimum("two_layer_logistic_n20_a01")
    model = ConvexReLUClassifier(
        alpha=float(stored["alpha"]),
        relative_alpha=False,
        fit_intercept=False,
        hidden_bias=False,
        tol=1e-7,
        random_state=0,
    ).fit(stored["X"], stored["y"].ravel())
    assert_allclose(model.objective_, float(stored["optimum"]), rtol=1e-6)


@pytest.mark.parametrize("loss", ["squared_error", "huber", "poisson"])
def test_two_features_are_proven_to_a_millionth(loss):
    X, y = bumps(80, 2)
    y = np.exp(y / 2) if loss == "poisson" else y
    model = ConvexReLURegressor(alpha=0.05, loss=loss, tol=1e-6, random_state=0)
    model.fit(X, y)
    assert model.certificate_.kind == "exact"
    assert model.dual_gap_ <= model.tolerance_


def test_cap_on_neurons_is_kept_at_small_tolerances():
    X, y = bumps(100, 4)
    model = ConvexReLURegressor(alpha=0.01, tol=1e-6, max_neurons=5, random_state=0)
    with pytest.warns(UserWarning, match="max_neurons"):
        model.fit(X, y)
    assert model.n_neurons_ <= 5


@pytest.mark.parametrize("max_iter", [1, 3])
def test_a_limit_before_the_finish_is_told(max_iter):
    X, y = bumps(100, 4)
    model = ConvexReLURegressor(alpha=0.01, tol=1e-6, max_iter=max_iter, random_state=0)
    with pytest.warns(UserWarning, match="iteration limit"):
        model.fit(X, y)
    assert model.dual_gap_ > model.tolerance_
    assert_allclose(model.tolerance_, 1e-6 * y.var() / 2)


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_polished_prices_rise_and_stay_below_the_exact_maximum(n_outputs):
    X, y = bumps(60, 2)
    Y = np.column_stack([np.roll(y, k) for k in range(n_outputs)])
    stated = problem(X, Y, alpha=0.01)
    N = dual_point(stated, stated.null_network().forward(stated.X))
    rng = np.random.default_rng(0)
    U = rng.standard_normal((3, 40))
    U /= np.linalg.norm(U, axis=0)
    totals = Prices(stated.X, N).totals(U)
    before = np.linalg.norm(totals, axis=1)
    outputs = -totals / np.maximum(before, 1e-300)[:, None]
    polished = polish(stated.X, N, U, outputs, n_steps=150)
    after = np.linalg.norm(Prices(stated.X, N).totals(polished), axis=1)
    assert_allclose(np.linalg.norm(polished, axis=0), 1.0)
    assert (after >= before * (1 - 1e-4)).all()
    assert after.mean() > 1.2 * before.mean()
    if n_outputs == 1:
        best = ExactPricing(stated.X).price(N).prices[0]
        assert best * (1 - 1e-6) <= after.max() <= best * (1 + 1e-9)
