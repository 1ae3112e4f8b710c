"""Losses with kinks: definitions, duals, fits against linear and conic programmes."""

import pickle

import cvxpy as cp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from reference import units
from scipy import sparse
from scipy.optimize import linprog, minimize_scalar
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import QuantileRegressor
from sklearn.metrics import d2_pinball_score

from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    convex_relu_path,
    enumerate_patterns,
)
from sklearn_convexrelu.certificates.kinks import (
    constant_dual_point,
    least_price_of_constant,
)
from sklearn_convexrelu.data.statement import state_problem
from sklearn_convexrelu.model.losses import AbsoluteError, Hinge, Quantile
from sklearn_convexrelu.model.piecewise import Smoothed
from sklearn_convexrelu.programmes.fixed_patterns import FixedPatterns

LOSSES = [
    (AbsoluteError(), lambda f, y: abs(f - y)),
    (Quantile(0.3), lambda f, y: max(0.3 * (y - f), 0.7 * (f - y))),
    (Hinge(), lambda f, y: max(0.0, 1.0 - y * f)),
]


@pytest.fixture(params=LOSSES, ids=lambda case: type(case[0]).__name__)
def case(request):
    return request.param


def draw(loss, n=9, n_outputs=2, seed=0):
    rng = np.random.default_rng(seed)
    Y, F = rng.standard_normal((2, n, n_outputs))
    if isinstance(loss, Hinge):
        Y = np.where(Y > 0, 1.0, -1.0)
    return F, Y, rng.dirichlet(np.ones(n))


def data(n=40, d=2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = np.abs(X[:, 0]) + X[:, -1] / 2 + 0.5 * rng.standard_normal(n)
    return X, y


def pinball(F, y, levels, weights=None):
    """The mean over samples of the sum over levels, from the definition."""
    r = y[:, None] - F.reshape(len(y), -1)
    each = np.maximum(levels * r, (np.asarray(levels) - 1) * r).sum(axis=1)
    return np.average(each, weights=weights)


def penalty(model):
    (W, A), (b, _) = model.coefs_, model.intercepts_
    return np.sqrt((W**2).sum(axis=0) + b**2) @ np.linalg.norm(A, axis=1)


# Definitions.


def test_value_and_conjugate_are_those_of_the_definition(case):
    loss, formula = case
    F, Y, weights = draw(loss)
    expected = sum(
        weights[i] * formula(F[i, k], Y[i, k]) for i, k in np.ndindex(F.shape)
    )
    value, G = loss.value_and_gradient(F, Y, weights)
    assert_allclose(value, expected)
    assert_allclose(loss.cvxpy_value(cp.Constant(F), Y, weights).value, expected)
    assert_allclose(loss.conjugate(G, Y, weights), np.vdot(G, F) - value, atol=1e-15)
    for seed in range(20):
        other = np.random.default_rng(seed).standard_normal(F.shape)
        lower = np.vdot(G, other) - loss.value(other, Y, weights)
        assert loss.conjugate(G, Y, weights) >= lower - 1e-12
    assert loss.conjugate(1.1 * G, Y, weights) == np.inf
    assert_allclose(loss.largest_scaling(0.5 * G, Y, weights), 2.0)


def test_intercepts_minimise_as_brute_force_does(case):
    loss, _ = case
    for n in (1, 2, 7, 12):
        F, Y, weights = draw(loss, n, seed=n)
        b = loss.best_intercept(F, Y, weights)
        for k in range(2):
            f, y = F[:, [k]], Y[:, [k]]
            kinks = (y - f).ravel()  # a minimum is at one
            least = min(loss.value(f + kink, y, weights) for kink in kinks)
            assert_allclose(loss.value(f + b[k], y, weights), least, atol=1e-14)


def test_intercept_is_scikit_learns_weighted_quantile():
    y = np.array([3.0, 0.0, 0.0, 5.0, 1.0])
    weights = np.array([1.0, 2.0, 1.0, 1.0, 3.0])
    for q in (0.15, 0.45, 0.8):
        b = Quantile(q).best_intercept(0 * y[:, None], y[:, None], weights / 8)
        linear = QuantileRegressor(quantile=q, alpha=0).fit(
            np.zeros((5, 1)), y, sample_weight=weights
        )
        assert_allclose(b, linear.intercept_, atol=1e-9)


def test_flat_intercepts_are_in_the_middle_or_at_the_finite_end():
    y, half = np.array([[0.0], [4.0]]), np.full(2, 0.5)
    assert AbsoluteError().best_intercept(0 * y, y, half) == 2.0
    ones = np.ones((2, 1))
    assert Hinge().best_intercept(np.array([[-3.0], [2.0]]), ones, half) == 4.0
    assert Hinge().best_intercept(np.array([[-3.0], [2.0]]), -ones, half) == -3.0


@pytest.mark.parametrize("mu", [1e-3, 0.4, 3.0])
def test_smoothed_losses_are_envelopes(case, mu):
    loss, _ = case
    F, Y, weights = draw(loss)
    smooth = Smoothed(loss, mu)
    assert smooth.exact is loss and smooth.is_smooth and not loss.is_smooth
    # min over z of l(z) + (z - f)^2 / (2 mu), one entry at a time
    expected = 0.0
    for i, k in np.ndindex(F.shape):
        y, f, one = Y[[i]][:, [k]], F[i, k], np.ones(1)

        def total(z, y=y, f=f, one=one):
            return loss.value(np.array([[z]]), y, one) + (z - f) ** 2 / (2 * mu)

        found = minimize_scalar(total, (f - mu, f + mu), tol=1e-12)
        expected += weights[i] * found.fun
    value, G = smooth.value_and_gradient(F, Y, weights)
    assert_allclose(value, expected, rtol=1e-8)
    assert value <= loss.value(F, Y, weights) + 1e-15
    assert_allclose(smooth.conjugate(G, Y, weights), np.vdot(G, F) - value, atol=1e-12)
    step = 1e-6 * np.random.default_rng(0).standard_normal(F.shape)
    rise = smooth.value(F + step, Y, weights) - smooth.value(F - step, Y, weights)
    assert_allclose(rise, 2 * np.vdot(G, step), rtol=1e-3, atol=1e-11)
    b = smooth.best_intercept(F, Y, weights)
    sums = smooth.gradient(F + b, Y, weights).sum(axis=0)
    assert_allclose(sums, 0.0, atol=1e-12)


# alpha_max.


def least_price_by_cvxpy(problem, patterns):
    """The least over subgradients of the constant of the price over all cells."""
    X, Y, weights = problem.X, problem.Y[:, 0], problem.weights
    b = problem.best_constant()[0] if problem.fit_intercept else 0.0
    low, high = (
        np.broadcast_to(s, (len(Y), 1))[:, 0] for s in problem.loss.slopes(problem.Y)
    )
    tied = np.abs(Y - b) < 1e-12
    g = cp.Variable(len(Y))
    sides = np.where(Y < b, weights * high, weights * low)
    constraints = [g[~tied] == sides[~tied]]
    constraints += [g >= weights * low, g <= weights * high]
    if problem.fit_intercept:
        constraints.append(cp.sum(g) == 0)
    worst = cp.Variable()
    gates = np.vstack([1.0 * patterns, -1.0 * patterns]).T
    lam = cp.Variable(gates.shape, nonneg=True)
    G = X.T @ (cp.diag(g) @ gates)
    rays = X.T @ cp.multiply(2.0 * np.abs(gates) - 1, lam)
    constraints.append(cp.norm(G + rays, 2, axis=0) <= worst)
    return cp.Problem(cp.Minimize(worst), constraints).solve(solver=cp.CLARABEL)


@pytest.mark.filterwarnings("ignore:alpha=.* is alpha_max_:UserWarning")
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("loss", [AbsoluteError(), Quantile(0.7), Hinge()])
def test_largest_alpha_is_least_over_subgradients(loss, fit_intercept):
    """Targets are whole numbers, so that the constant meets many of them."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((12, 2))
    y = rng.integers(-1, 2, 12).astype(float)
    if isinstance(loss, Hinge):
        y = np.where(y > 0, 1.0, -1.0)
    stated = state_problem(
        X,
        y[:, None],
        np.ones(12),
        loss,
        fit_intercept=fit_intercept,
        hidden_bias=False,
    )
    patterns = enumerate_patterns(stated.X)[0]
    expected = least_price_by_cvxpy(stated, patterns)
    shared = constant_dual_point(stated)
    fit = FixedPatterns("exact").over(stated)
    found = fit.largest_alpha()
    assert_allclose(found, expected, rtol=2e-3)
    plain = fit.listed.programme.priced(shared)[0]
    assert plain >= found * (1 - 1e-12)
    kind = ConvexReLUClassifier if isinstance(loss, Hinge) else ConvexReLURegressor
    params = {"fit_intercept": fit_intercept, "hidden_bias": False, "random_state": 0}
    if isinstance(loss, Quantile):
        params |= {"loss": "quantile", "quantile": 0.7}
    else:
        params["loss"] = "hinge" if isinstance(loss, Hinge) else "absolute_error"
    for alpha, is_zero in ((1.0 + 1e-3, True), (0.97, False)):
        model = kind(alpha * expected, relative_alpha=False, **params)
        model.fit(X, y)
        assert_allclose(model.alpha_max_, expected, rtol=2e-3)
        assert (model.n_neurons_ == 0) == is_zero


def test_a_price_that_is_the_only_one_is_returned():
    X, y = data()
    stated = state_problem(
        X, y[:, None], np.ones(40), Quantile(0.33), fit_intercept=True, hidden_bias=True
    )
    prices = []

    def priced(N):
        prices.append(np.abs(stated.X.T @ N).max())
        return prices[-1], None

    price, N = least_price_of_constant(stated, priced)
    assert prices == [price]
    assert_allclose(N.sum(), 0.0, atol=1e-14)


# Fits.


def exact_optimum(X, y, patterns, alpha, slopes, weights=None):
    """Optimum of the programme over patterns with cones, stated afresh in CVXPY."""
    n, (low, high) = len(y), slopes
    weights = np.full(n, 1 / n) if weights is None else weights / weights.sum()
    V, signs, values, sides = units(X, patterns)
    total, r = cp.sum(cp.norm(V, 2, axis=0)), values @ signs + cp.Variable() - y
    loss = cp.sum(
        cp.maximum(cp.multiply(weights * low, r), cp.multiply(weights * high, r))
    )
    stated = cp.Problem(cp.Minimize(loss + alpha * total), [sides >= 0])
    return stated.solve(solver=cp.CLARABEL)


@pytest.mark.parametrize("seed", range(6))
def test_fits_meet_the_optimum_over_all_cells(seed):
    rng = np.random.default_rng(seed)
    X, y = data(n=12, d=1, seed=seed)
    y = np.round(y) if seed % 2 else y  # ties
    q = float(rng.choice([0.1, 0.5, 0.8]))
    weights = rng.integers(1, 4, 12).astype(float)
    model = ConvexReLURegressor(
        0.1, loss="quantile", quantile=q, tol=1e-4, random_state=0
    )
    model.fit(X, y, sample_weight=weights)
    Z = np.c_[X, np.ones(12)]
    patterns = enumerate_patterns(Z)[0]
    best = exact_optimum(Z, y, patterns, model.alpha_, (-q, 1 - q), weights)
    by_hand = pinball(model.predict(X), y, q, weights) + model.alpha_ * penalty(model)
    assert_allclose(model.objective_, by_hand, rtol=1e-9)
    slack = 1e-7 * best
    assert model.lower_bound_ <= best + slack
    assert best - slack <= model.objective_ <= best + model.tolerance_ + slack
    assert model.dual_gap_ <= model.tolerance_ * (1 + 1e-3)
    fixed = clone(model).set_params(patterns="exact").fit(X, y, sample_weight=weights)
    assert_allclose(fixed.alpha_max_, model.alpha_max_, rtol=2e-3)
    assert fixed.certificate_.kind == "exact"


@pytest.mark.parametrize("seed", range(4))
def test_hinge_meets_the_optimum_over_all_cells(seed):
    X, y = data(n=12, d=1, seed=seed)
    signs = np.where(y > 0.5, 1.0, -1.0)
    model = ConvexReLUClassifier(0.1, loss="hinge", tol=1e-4, random_state=0)
    model.fit(X, signs)
    Z = np.c_[X, np.ones(12)]
    slopes = -(signs > 0).astype(float), (signs < 0).astype(float)
    best = exact_optimum(Z, signs, enumerate_patterns(Z)[0], model.alpha_, slopes)
    margins = signs * model.decision_function(X)
    by_hand = np.maximum(0, 1 - margins).mean() + model.alpha_ * penalty(model)
    assert_allclose(model.objective_, by_hand, rtol=1e-9)
    assert model.lower_bound_ <= best * (1 + 1e-7)
    assert best * (1 - 1e-7) <= model.objective_ <= best + 1.01 * model.tolerance_


def test_given_units_are_a_linear_programme():
    """One input of one sign: the l1 norm and the 2-norm are one, and cones nothing."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0.5, 2.0, 30)
    y = 2 * x + rng.standard_normal(30)
    model = ConvexReLURegressor(
        0.2,
        loss="absolute_error",
        hidden_bias=False,
        patterns=[[1.0]],
        solver="cvxpy",
        tol=1e-6,
    ).fit(x[:, None], y)
    # min mean(t) + alpha (v + u), t >= |x (v - u) + b - y|, over v, u >= 0, b and t.
    ones = np.ones((30, 1))
    A = np.hstack([x[:, None], -x[:, None], ones, -np.eye(30)])
    B = np.hstack([-x[:, None], x[:, None], -ones, -np.eye(30)])
    cost = np.r_[[model.alpha_] * 2, 0, np.full(30, 1 / 30)]
    bounds = [(0, None)] * 2 + [(None, None)] + [(0, None)] * 30
    solved = linprog(cost, np.vstack([A, B]), np.r_[y, -y], bounds=bounds)
    assert_allclose(model.objective_, solved.fun, rtol=1e-6)
    assert model.lower_bound_ <= solved.fun * (1 + 1e-9)


@pytest.mark.parametrize(
    "params",
    [
        {"subnetwork_widths": (2,), "tol": 3e-3},
        {"subnetwork_widths": (2,), "penalty": "weight_decay", "tol": 3e-3},
        {"patterns": "random", "n_patterns": 20},
        {"patterns": "random", "n_patterns": 20, "solver": "cvxpy"},
        {"patterns": "random", "n_patterns": 20, "subnetwork_widths": (2,)},
        {"patterns": "random", "n_patterns": 20, "activation": "gated_relu"},
        {"rank": 1},
        {"fit_intercept": False},
        {"hidden_bias": False},
        {"pruning": True},
        {"standardize": True},
        {"tol": 1e-5, "alpha": 0.5},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["quantile", "hinge"])
def test_certificates_hold_in_every_kind_of_fit(name, params):
    X, y = data()
    params = {"random_state": 0, "alpha": 0.1} | params
    if name == "hinge":
        y = np.where(y > 0.7, "up", "down")
        model = ConvexReLUClassifier(loss="hinge", **params).fit(X, y)
        f = model.decision_function(X)
        loss = np.maximum(0, 1 - np.where(y == "up", f, -f)).mean()
    else:
        model = ConvexReLURegressor(loss="quantile", quantile=0.8, **params)
        model.fit(X, y)
        loss = pinball(model.predict(X), y, 0.8)
    own = model.certificate_ if "rank" not in params else model.low_rank_.certificate
    gap = model.objective_ - own.lower_bound
    assert 0 <= gap + 1e-12 and gap <= model.tolerance_ * (1 + 1e-3)
    assert loss < model.objective_
    if not params.get("subnetwork_widths") and not params.get("activation"):
        if "standardize" not in params:
            by_hand = loss + model.alpha_ * penalty(model)
            assert_allclose(model.objective_, by_hand, rtol=1e-9)


def test_several_levels_are_outputs_of_one_network():
    X, y = data(n=100)
    levels = [0.1, 0.5, 0.9]
    model = ConvexReLURegressor(
        0.1, loss="quantile", quantile=levels, random_state=0
    ).fit(X, y)
    F = model.predict(X)
    assert F.shape == (100, 3) and model.n_outputs_ == 3
    by_hand = pinball(F, y, levels) + model.alpha_ * penalty(model)
    assert_allclose(model.objective_, by_hand, rtol=1e-9)
    assert model.dual_gap_ <= model.tolerance_ * (1 + 1e-3)
    shares = (y[:, None] <= F + 1e-9).mean(axis=0)
    # At an optimum the intercepts are quantiles of what neurons leave.
    on = (np.abs(y[:, None] - F) <= 1e-6).mean(axis=0)
    assert (shares >= np.array(levels) - 1e-9).all()
    assert (shares - on <= np.array(levels) + 1e-9).all()
    scores = [d2_pinball_score(y, f, alpha=q) for f, q in zip(F.T, levels, strict=True)]
    assert_allclose(model.score(X, y), np.mean(scores))
    later = clone(model).fit(X, y).set_params(quantile=0.3)
    assert_allclose(later.score(X, y), model.score(X, y))  # of the levels of the fit
    cv = ConvexReLURegressorCV(
        n_alphas=3, eps=0.1, cv=3, loss="quantile", quantile=levels, random_state=0
    ).fit(X, y)
    assert cv.predict(X).shape == (100, 3) and np.isfinite(cv.cv_scores_).all()


def test_wrong_levels_are_refused():
    X, y = data()
    for quantile in (0.0, 1.0, [0.2, 1.2], [], [[0.2]], ["a"], [np.nan], True):
        with pytest.raises(ValueError, match="quantile"):
            ConvexReLURegressor(loss="quantile", quantile=quantile).fit(X, y)
    model = ConvexReLURegressor(loss="quantile", quantile=[0.2, 0.8])
    with pytest.raises(ValueError, match=r"2 levels, for one target, but y has 2"):
        model.fit(X, np.c_[y, y])
    with pytest.raises(ValueError, match="several outputs"):
        model.set_params(patterns="random").fit(X, y)
    # Other losses do not read it.
    ConvexReLURegressor(0.5, quantile=[0.2, 0.8]).fit(X, y)


def test_absolute_error_is_twice_the_median_s_pinball():
    X, y = data()
    one = ConvexReLURegressor(0.1, loss="absolute_error", random_state=0).fit(X, y)
    two = ConvexReLURegressor(0.1, loss="quantile", random_state=0).fit(X, y)
    assert_allclose(one.alpha_max_, 2 * two.alpha_max_, rtol=1e-9)
    assert abs(one.objective_ - 2 * two.objective_) <= one.tolerance_


@pytest.mark.parametrize("name", ["absolute_error", "quantile", "hinge"])
@pytest.mark.parametrize("constant", [0.0, 3.0])
def test_degenerate_data(name, constant):
    kind = ConvexReLUClassifier if name == "hinge" else ConvexReLURegressor
    X, y = data(n=10)
    y = np.arange(10) % 2 if name == "hinge" else np.full(10, constant)
    model = kind(0.1, loss=name, random_state=0).fit(np.zeros_like(X) + constant, y)
    assert model.n_neurons_ == 0 and model.dual_gap_ <= model.tolerance_
    if name != "hinge":
        assert_allclose(model.predict(X), constant)
        one = kind(0.1, loss=name, random_state=0).fit(X[:1], y[:1])
        assert_allclose(one.predict(X[:1]), constant)


@pytest.mark.parametrize("name", ["absolute_error", "hinge"])
def test_other_forms_of_the_data(name):
    """Weights are repetitions, sparse rows are rows, and units change nothing."""
    X, y = data(n=60, d=3)
    kind = ConvexReLUClassifier if name == "hinge" else ConvexReLURegressor
    t = y > 0.5 if name == "hinge" else y
    weights = np.random.default_rng(0).integers(0, 3, 60)
    model = kind(0.1, loss=name, random_state=0)
    weighted = clone(model).fit(X, t, sample_weight=weights)
    repeated = clone(model).fit(np.repeat(X, weights, axis=0), np.repeat(t, weights))
    assert_allclose(weighted.objective_, repeated.objective_, rtol=1e-9)
    plain = clone(model).fit(X, t)
    for other in (sparse.csr_array(X), X.astype(np.float32)):
        found = clone(model).fit(other, t)
        assert abs(found.objective_ - plain.objective_) <= plain.tolerance_
        assert found.dual_gap_ <= found.tolerance_ * (1 + 1e-3)
    if name != "hinge":
        scaled = clone(model).fit(X, 1e6 * t + 1e7)
        assert_allclose(scaled.objective_, 1e6 * plain.objective_, rtol=1e-3)
    again = pickle.loads(pickle.dumps(plain))
    assert_allclose(again.predict(X) == plain.predict(X), True)


def test_outliers_do_not_move_the_units():
    X, y = data(n=80)
    y[:3] = [1e6, -1e7, 1e8]
    model = ConvexReLURegressor(0.1, loss="absolute_error", random_state=0).fit(X, y)
    assert model.dual_gap_ <= model.tolerance_ * (1 + 1e-3)


def test_paths_folds_and_what_comes_after():
    X, y = data(n=60)
    c = np.digitize(y, [0.0, 1.0])
    path = convex_relu_path(
        X, y, loss="absolute_error", n_alphas=5, eps=0.03, tol=1e-2, random_state=0
    )
    assert path.n_neurons[0] == 0 and path.n_neurons[-1] > 0
    assert (np.diff(path.objectives) < 0).all()
    cv = ConvexReLUClassifierCV(
        n_alphas=3, eps=0.1, cv=3, loss="hinge", random_state=0
    ).fit(X, c)
    assert cv.score(X, c) > 0.5
    labels = np.c_[y > 0, y > 1]
    both = ConvexReLUClassifier(0.1, loss="hinge", random_state=0).fit(X, labels)
    assert both.predict(X).shape == (60, 2)
    model = ConvexReLURegressor(
        0.1, loss="quantile", quantile=0.7, random_state=0, warm_start=True
    ).fit(X[:, :1], y)
    bound = model.lower_bound_
    objective = model.objective_
    again = model.fit(X[:, :1], y).objective_
    assert abs(again - objective) <= model.tolerance_
    model.prune(X[:, :1], y)
    three = np.c_[X, X[:, 0] * X[:, 1], y]
    model = ConvexReLURegressor(0.3, loss="absolute_error", random_state=0)
    model.fit(three, y).certify(three, y, time_limit=1.0)
    assert model.certificate_.kind == "bound"
    assert 0.0 < model.lower_bound_ <= model.objective_
    assert bound > 0.0
    gated = ConvexReLURegressor(
        0.1,
        loss="absolute_error",
        activation="gated_relu",
        patterns="random",
        n_patterns=10,
        random_state=0,
    ).fit(X, y)
    relu = gated.to_relu(X, y)
    assert 0.0 < relu.certificate_.over_all.lower_bound <= relu.objective_


def test_a_limit_is_told():
    X, y = data(n=100, d=4)
    with pytest.warns(ConvergenceWarning, match="iteration limit"):
        model = ConvexReLURegressor(
            0.003, loss="absolute_error", max_iter=1, random_state=0
        ).fit(X, y)
    assert model.lower_bound_ <= model.objective_
    assert_allclose(model.history_[-1]["objective"], model.objective_, rtol=1e-12)
