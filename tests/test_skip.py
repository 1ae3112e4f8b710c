"""A linear part beside the units: ``skip_connection`` True and "free"."""

import pickle
import warnings

import cvxpy as cp
import numpy as np
import pytest
from reference import all_patterns, units
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import xlogy
from sklearn.base import clone
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
)

from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    convex_relu_path,
)
from sklearn_convexrelu.adaptive.slide import _WeightObjective
from sklearn_convexrelu.certificates.certificate import dual_point
from sklearn_convexrelu.data.rows import Rows
from sklearn_convexrelu.data.statement import state_problem
from sklearn_convexrelu.model.losses import Huber, Logistic, Poisson, SquaredError
from sklearn_convexrelu.model.neurons import Network, NeuronShape
from sklearn_convexrelu.model.norms import EUCLIDEAN, ONE_NORM

KINDS = (True, "free")


def data(n=9, d=2, seed=1, n_outputs=1):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    Y = X @ rng.standard_normal((d, n_outputs)) + 2 * np.maximum(X[:, :1], 0)
    Y = Y + 0.5 * rng.standard_normal((n, n_outputs))
    return X, Y[:, 0] if n_outputs == 1 else Y


# What each loss is in CVXPY, of predictions f, targets y and weights w.
LOSSES = {
    "squared_error": lambda f, y, w: w @ cp.square(f - y) / 2,
    "huber": lambda f, y, w: w @ cp.huber(f - y, 1.35) / 2,
    "absolute_error": lambda f, y, w: w @ cp.abs(f - y),
    "quantile": lambda f, y, w: w @ cp.maximum(0.3 * (y - f), 0.7 * (f - y)),
    "poisson": lambda f, y, w: w @ (cp.exp(f) - cp.multiply(y, f) + xlogy(y, y) - y),
    "log_loss": lambda f, y, w: w @ (cp.logistic(f) - cp.multiply(y, f)),
    "squared_hinge": lambda f, y, w: (
        w @ cp.square(cp.pos(1 - cp.multiply(2 * y - 1, f))) / 2
    ),
    "hinge": lambda f, y, w: w @ cp.pos(1 - cp.multiply(2 * y - 1, f)),
}
CLASSIFICATION = ("log_loss", "squared_hinge", "hinge")


def case(loss, n=9):
    """Return features, targets and an estimator of a loss."""
    X, y = data(n)
    if loss in CLASSIFICATION:
        y = (X[:, 0] * X[:, 1] > 0).astype(int)  # which no line separates
        return X, y, ConvexReLUClassifier(loss=loss, random_state=0)
    if loss == "poisson":
        y = np.round(np.exp(y / 3))
    return X, y, ConvexReLURegressor(loss=loss, quantile=0.3, random_state=0)


def optimum(X, y, model, weights=None, patterns=None):
    """Optimum of the programme over all patterns with a linear part, in CVXPY."""
    n, d = X.shape
    w = np.ones(n) if weights is None else weights
    w, inputs = w / w.sum(), np.c_[X, np.ones((n, int(model.hidden_bias)))]
    p = 2 if model.norm == "l2" else 1
    theta = cp.Variable(d)
    f = X @ theta + (cp.Variable() if model.fit_intercept else 0)
    penalty = 0 if model.skip_connection == "free" else cp.norm(theta, p)
    patterns = all_patterns(inputs) if patterns is None else patterns
    V, signs, values, sides = units(inputs, patterns)
    f, penalty = f + values @ signs, penalty + cp.sum(cp.norm(V, p, axis=0))
    value = LOSSES[model.loss](f, y, w) + model.alpha_ * penalty
    constraints = [sides >= 0] if model.activation == "relu" else []
    programme = cp.Problem(cp.Minimize(value), constraints)
    names = ("tol_gap_abs", "tol_gap_rel", "tol_feas")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        for tol in (1e-10, 1e-9):  # exponential cones stall now and then
            try:
                return programme.solve(solver=cp.CLARABEL, **dict.fromkeys(names, tol))
            except cp.SolverError:
                pass
    return programme.solve(solver=cp.CLARABEL)


def objective(model, X, y, weights=None):
    """Objective of a fitted two-layer model, from its weights alone."""
    w = np.ones(len(X)) if weights is None else weights
    W, A = model.coefs_
    f = np.maximum(X @ W + model.intercepts_[0], 0) @ A
    f = f + X @ model.skip_coef_ + model.intercepts_[1]
    norm = {"l2": 2, "l1": 1}[model.norm]
    hidden = np.vstack([W, model.intercepts_[0]])
    penalty = np.linalg.norm(hidden, norm, axis=0) @ np.linalg.norm(A, axis=1)
    if model.skip_connection is True and norm == 2:
        penalty += np.linalg.norm(model.skip_coef_, "nuc")
    elif model.skip_connection is True:
        penalty += np.linalg.norm(model.skip_coef_, axis=1).sum()
    Y = y.reshape(f.shape)
    loss = sum(
        LOSSES[model.loss](f[:, c], Y[:, c], w / w.sum()).value
        for c in range(f.shape[1])
    )
    return loss + model.alpha_ * penalty


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_complete_patterns_meet_the_reference(loss, norm, kind):
    X, y, model = case(loss)
    model.set_params(norm=norm, skip_connection=kind, alpha=0.1)
    exact = clone(model).set_params(patterns="exact", tol=1e-6).fit(X, y)
    least = optimum(X, y, exact)
    unit = exact.tolerance_ / exact.tol
    assert abs(exact.objective_ - least) <= 1e-6 * unit
    assert abs(exact.lower_bound_ - least) <= 1e-6 * unit
    assert objective(exact, X, y) == pytest.approx(exact.objective_, rel=1e-9)
    found = clone(model).set_params(tol=1e-3, relative_alpha=False)
    found.set_params(alpha=exact.alpha_).fit(X, y)
    assert found.alpha_max_ == pytest.approx(exact.alpha_max_, rel=2e-3)
    assert found.lower_bound_ <= least + 1e-8 * unit
    assert least - 1e-8 * unit <= found.objective_ <= least + 1e-3 * unit


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [(False, True), (False, False), (True, False)])
@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_intercept_and_bias_are_no_part_of_it(kind, options, norm):
    X, y = data()
    X = X + 0.5
    model = ConvexReLURegressor(
        0.05,
        skip_connection=kind,
        fit_intercept=options[0],
        hidden_bias=options[1],
        norm=norm,
        patterns="exact",
        tol=1e-7,
        random_state=0,
    ).fit(X, y)
    least = optimum(X, y, model)
    assert model.objective_ == pytest.approx(least, abs=1e-7)
    assert model.lower_bound_ == pytest.approx(least, abs=1e-7)
    assert model.skip_coef_.shape == (2, 1)
    assert objective(model, X, y) == pytest.approx(least, abs=1e-7)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", ["relu", "gated_relu"])
@pytest.mark.parametrize("solver", ["interior_point", "fista", "cvxpy"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_solvers_agree(kind, activation, solver, fit_intercept):
    X, y = data(20, 3)
    gates = np.random.default_rng(0).standard_normal((12, 4))
    model = ConvexReLURegressor(
        0.05,
        skip_connection=kind,
        activation=activation,
        patterns=gates,
        solver=solver,
        fit_intercept=fit_intercept,
        tol=1e-6,
    )
    if (solver, activation) == ("fista", "relu"):
        with pytest.raises(ValueError, match="cone constraints"):
            model.fit(X, y)
        return
    model.fit(X, y)
    patterns = np.unique(np.c_[X, np.ones(20)] @ gates.T > 0, axis=1).T
    least = optimum(X, y, model, patterns=patterns)
    unit = model.tolerance_ / model.tol
    assert abs(model.objective_ - least) <= 2e-6 * unit
    assert least - 2e-6 * unit <= model.lower_bound_ <= least + 1e-9


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", ["squared_error", "huber", "squared_hinge"])
def test_adaptive_bounds_hold_on_many_small_problems(kind, loss):
    rng = np.random.default_rng(0)
    for seed in range(5):
        X, y, model = case(loss, n=7)
        X = rng.standard_normal(X.shape) * [1, 3] + [0, seed]
        model.set_params(alpha=10.0 ** -(1 + seed % 3), skip_connection=kind)
        model.set_params(random_state=seed).fit(X, y)
        least, unit = optimum(X, y, model), model.tolerance_
        assert model.lower_bound_ <= least + 1e-5 * unit
        assert least - 1e-5 * unit <= model.objective_ <= least + 1.01 * unit


def descent(X, y, model, seed):
    """Objective of L-BFGS on sub-networks of two leaves and a linear part.

    Signs are drawn, leaves trained; the penalty is the path norm, made smooth.
    """
    rng, (n, d), K, m = np.random.default_rng(seed), X.shape, 6, 2
    Z, signs = np.c_[X, np.ones(n)], rng.choice([-1.0, 1.0], (K, m))
    outer, size = rng.choice([-1.0, 1.0], K), K * m * (d + 1)
    alpha = np.append(np.full(K, model.alpha_), model.alpha_ * model.penalised)

    def function(z):
        V, theta, b = z[:size].reshape(K, m, d + 1), z[size:-1], z[-1]
        H = np.einsum("nd,kmd->nkm", Z, V)
        S = (np.maximum(H, 0) * signs).sum(axis=2)
        r = np.maximum(S, 0) @ outer + X @ theta + b - y
        lengths = np.sqrt(np.append((V**2).sum(axis=(1, 2)), theta @ theta) + 1e-14)
        E = np.einsum("n,k,nk,nkm->nkm", r, outer, S > 0, (H > 0) * signs) / n
        to_V = np.einsum("nkm,nd->kmd", E, Z)
        to_V += (alpha / lengths)[:-1, None, None] * V
        to_theta = X.T @ r / n + alpha[-1] / lengths[-1] * theta
        gradient = np.r_[to_V.ravel(), to_theta, r.mean()]
        return r @ r / (2 * n) + alpha @ lengths, gradient

    start = 0.3 * rng.standard_normal(size + d + 1)
    return minimize(function, start, jac=True, method="L-BFGS-B").fun


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize(
    ("widths", "penalty"),
    [((2,), "path"), ((3,), "path"), ((2,), "weight_decay"), ((2, 2), "path")],
)
def test_subnetworks_are_certified(kind, widths, penalty, norm):
    X, y = data(30, 2, seed=4)
    model = ConvexReLURegressor(
        0.05,
        subnetwork_widths=widths,
        penalty=penalty,
        norm=norm,
        skip_connection=kind,
        tol=5e-3,
        random_state=0,
    ).fit(X, y)
    assert model.status_.name == "CONVERGED"
    F = model.network_.forward(X)
    loss = np.mean((F[:, 0] - y) ** 2) / 2
    penalty = model.network_.penalties().sum()
    if kind is True:
        penalty += np.linalg.norm(model.skip_coef_, {"l2": 2, "l1": 1}[norm], axis=0)[0]
    assert model.objective_ == pytest.approx(loss + model.alpha_ * penalty, rel=1e-9)
    H = X
    for W, b in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        H = np.maximum(H @ W + b, 0)
    F = H @ model.coefs_[-1] + model.intercepts_[-1] + X @ model.skip_coef_
    np.testing.assert_allclose(model.predict(X), F[:, 0], atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_descent_on_subnetworks_finds_nothing_below_the_bound(kind):
    X, y = data(12, 1, seed=2)
    model = ConvexReLURegressor(
        0.1, subnetwork_widths=(2,), skip_connection=kind, random_state=0
    ).fit(X, y)
    model.penalised = kind is True
    found = min(descent(X, y, model, seed) for seed in range(20))
    assert found >= model.lower_bound_ - 1e-6
    assert model.objective_ <= found + model.tolerance_


def test_linear_data_take_no_neurons():
    X = np.random.default_rng(0).standard_normal((50, 3))
    y = X @ [1, 2, 3]
    model = ConvexReLURegressor(skip_connection="free").fit(X, y)
    assert model.n_neurons_ == 0
    np.testing.assert_allclose(model.skip_coef_[:, 0], [1, 2, 3], atol=1e-12)
    assert model.alpha_max_ == 0.0
    assert ConvexReLURegressor().fit(X, y).n_neurons_ > 5
    assert ConvexReLURegressor(skip_connection=True).fit(X, y).n_neurons_ <= 1


LINEAR_MODELS = {
    "squared_error": LinearRegression(),
    "poisson": PoissonRegressor(alpha=0, tol=1e-12, max_iter=10_000),
    "quantile": QuantileRegressor(quantile=0.3, alpha=0),
    "absolute_error": QuantileRegressor(quantile=0.5, alpha=0),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", sorted(LINEAR_MODELS))
def test_large_alpha_is_the_linear_model(loss, weighted):
    X, y, model = case(loss, n=60)
    X = X * [1, 100] + [3, 0]
    weights = np.random.default_rng(0).integers(0, 3, 60) if weighted else np.ones(60)
    model.set_params(skip_connection="free", alpha=1.0, tol=1e-6)
    model.fit(X, y, sample_weight=weights)
    linear = clone(LINEAR_MODELS[loss]).fit(X, y, sample_weight=weights)
    assert model.n_neurons_ == 0
    if loss in ("quantile", "absolute_error"):  # the minimiser need not be unique
        q = {"quantile": 0.3, "absolute_error": 0.5}[loss]
        r, s = y - linear.predict(X), {0.3: 1.0, 0.5: 2.0}[q]
        losses = s * np.maximum(q * r, (q - 1) * r)
        assert model.objective_ <= np.average(losses, weights=weights) * (1 + 1e-6)
        return
    np.testing.assert_allclose(model.predict(X), linear.predict(X), rtol=1e-5)
    np.testing.assert_allclose(model.skip_coef_[:, 0], linear.coef_, rtol=1e-4)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_large_alpha_is_logistic_regression(n_classes):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 3))
    y = (X[:, 0] + 2 * rng.standard_normal(120) > 0).astype(int)
    if n_classes == 3:
        y += X[:, 1] + 2 * rng.standard_normal(120) > 0.5
    model = ConvexReLUClassifier(1.0, skip_connection="free").fit(X, y)
    linear = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(X, y)
    assert model.n_neurons_ == 0
    probabilities = linear.predict_proba(X)
    np.testing.assert_allclose(model.predict_proba(X), probabilities, atol=1e-6)


def test_alpha_max_is_where_units_begin():
    X, y = data(40, 2)
    for kind in KINDS:
        model = ConvexReLURegressor(skip_connection=kind, random_state=0, tol=1e-6)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            above = clone(model).set_params(alpha=1.001).fit(X, y)
            below = clone(model).set_params(alpha=0.9).fit(X, y)
        assert above.n_neurons_ == 0
        assert above.network_.penalty() == 0.0
        assert below.network_.penalty() > 0.0
    N = y - LinearRegression().fit(X, y).predict(X)
    rng = np.random.default_rng(0)
    U = rng.standard_normal((3, 20_000))
    U /= np.linalg.norm(U, axis=0)
    prices = np.abs(N @ np.maximum(np.c_[X, np.ones(40)] @ U, 0)) / 40
    assert prices.max() <= below.alpha_max_ <= 1.01 * prices.max()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_several_outputs(kind, norm):
    X, Y = data(60, 3, n_outputs=3)
    model = ConvexReLURegressor(0.02, skip_connection=kind, norm=norm, random_state=0)
    model.fit(X, Y)
    assert model.status_.name == "CONVERGED"
    assert model.skip_coef_.shape == (3, 3)
    assert objective(model, X, Y) == pytest.approx(model.objective_, rel=1e-9)
    N = (model.predict(X) - Y) / 60
    if kind == "free":
        np.testing.assert_allclose(X.T @ N, 0, atol=1e-8)
    else:
        G = X.T @ N
        dual = np.linalg.norm(G, 2 if norm == "l2" else None, axis=None)
        if norm == "l1":
            dual = np.linalg.norm(G, axis=1).max()
        assert dual <= 1.05 * model.alpha_


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_gated_units_of_several_outputs(kind, norm):
    X, Y = data(40, 3, n_outputs=2)
    options = {"activation": "gated_relu", "patterns": "random", "n_patterns": 8}
    model = ConvexReLURegressor(
        0.03, skip_connection=kind, norm=norm, random_state=0, tol=1e-5, **options
    )
    fits = [clone(model).set_params(solver=s).fit(X, Y) for s in ("fista", "cvxpy")]
    unit = fits[0].tolerance_
    assert abs(fits[0].objective_ - fits[1].objective_) <= unit
    for fit in fits:
        assert -1e-9 <= fit.dual_gap_ <= 1.01 * unit
        assert fit.lower_bound_ <= min(f.objective_ for f in fits) + 1e-9
    relu = fits[0].to_relu(X, Y)
    np.testing.assert_allclose(relu.predict(X), fits[0].predict(X), atol=1e-6)
    np.testing.assert_array_equal(relu.skip_coef_, fits[0].skip_coef_)


@pytest.mark.parametrize("kind", KINDS)
def test_multiclass(kind):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((90, 2))
    y = np.array(["a", "b", "c"])[
        (np.abs(X[:, 0]) > 1) + (X[:, 1] + rng.standard_normal(90) > 0).astype(int)
    ]
    model = ConvexReLUClassifier(0.05, skip_connection=kind, random_state=0).fit(X, y)
    assert model.status_.name == "CONVERGED"
    P = model.predict_proba(X)
    loss = -np.log(P[np.arange(90), model.classes_.searchsorted(y)]).mean()
    expected = loss + model.alpha_ * model.network_.penalty()
    assert model.objective_ == pytest.approx(expected, rel=1e-9)
    if kind == "free":  # the dual point is orthogonal to the features
        Y = np.eye(3)[model.classes_.searchsorted(y)]
        np.testing.assert_allclose(X.T @ (P - Y) / 90, 0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_repetitions(kind):
    X, y = data(30, 2)
    weights = np.arange(30) % 3
    model = ConvexReLURegressor(0.05, skip_connection=kind, random_state=0)
    weighted = clone(model).fit(X, y, sample_weight=weights)
    index = np.repeat(np.arange(30), weights)
    repeated = clone(model).fit(X[index], y[index])
    np.testing.assert_array_equal(weighted.skip_coef_, repeated.skip_coef_)
    np.testing.assert_array_equal(weighted.predict(X), repeated.predict(X))


@pytest.mark.parametrize("kind", KINDS)
def test_sparse_rows_float32_and_threads(kind):
    X, y = data(200, 4)
    X[np.abs(X) < 0.5] = 0.0
    model = ConvexReLURegressor(0.05, skip_connection=kind, random_state=0)
    dense = clone(model).fit(X, y)
    sparse_fit = clone(model).fit(sparse.csr_array(X), y)
    unit = dense.tolerance_
    assert abs(dense.objective_ - sparse_fit.objective_) <= unit
    single = clone(model).fit(X.astype(np.float32), y)
    assert single.skip_coef_.dtype == np.float32
    assert abs(dense.objective_ - single.objective_) <= unit
    assert single.dual_gap_ <= 1.01 * unit
    threads = clone(model).set_params(n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(threads.skip_coef_, dense.skip_coef_)


def test_memory_maps(tmp_path, monkeypatch):
    from sklearn_convexrelu.data import rows

    X, y = data(500, 3)
    monkeypatch.setattr(rows, "_MOST_ENTRIES", 100)
    mapped = np.memmap(tmp_path / "X", mode="w+", shape=X.shape)
    mapped = np.memmap(tmp_path / "X64", np.float64, mode="w+", shape=X.shape)
    mapped[:] = X
    for kind in KINDS:
        model = ConvexReLURegressor(0.05, skip_connection=kind, random_state=0)
        found, other = clone(model).fit(mapped, y), clone(model).fit(X, y)
        assert abs(found.objective_ - other.objective_) <= other.tolerance_
        assert found.dual_gap_ <= 1.01 * found.tolerance_


@pytest.mark.parametrize("kind", KINDS)
def test_rank(kind):
    X, y = data(60, 4)
    model = ConvexReLURegressor(0.1, skip_connection=kind, rank=2, random_state=0)
    if kind == "free":
        with pytest.raises(ValueError, match="no guarantee"):
            model.fit(X, y)
        return
    model.fit(X, y)
    whole = clone(model).set_params(rank=None, relative_alpha=False)
    whole.set_params(alpha=model.alpha_).fit(X, y)
    assert model.lower_bound_ <= whole.objective_ + 1e-9
    for factor in (model.low_rank_.factor_before, model.low_rank_.factor_after):
        assert model.objective_ <= factor * whole.objective_ + 2 * model.tolerance_


@pytest.mark.parametrize("kind", KINDS)
def test_standardised_features(kind):
    X, y = data(60, 3)
    scales = np.array([1.0, 100.0, 0.01])
    model = ConvexReLURegressor(0.05, skip_connection=kind, random_state=0)
    plain = clone(model).fit(X / X.std(axis=0), y)
    scaled = clone(model).set_params(standardize=True).fit(X * scales, y)
    assert scaled.objective_ == pytest.approx(plain.objective_, abs=plain.tolerance_)
    coef = scaled.skip_coef_[:, 0] * scales * X.std(axis=0)
    if kind == "free":
        return  # not unique to tolerance beside the units
    np.testing.assert_allclose(coef, plain.skip_coef_[:, 0], atol=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_constant_and_repeated_features(kind):
    X, y = data(40, 2)
    X = np.c_[X, np.full(40, 7.0), X[:, 0]]
    model = ConvexReLURegressor(0.05, skip_connection=kind, random_state=0).fit(X, y)
    assert model.status_.name == "CONVERGED"
    assert model.skip_coef_[2] == 0.0
    assert model.skip_coef_[0] == pytest.approx(model.skip_coef_[3], abs=1e-6)
    far = X * [1, 1, 1e6, 1]  # the constant outweighs the others
    other = clone(model).fit(far, y)
    assert other.status_.name == "CONVERGED"
    assert other.skip_coef_[2] == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_warm_start_and_path(kind):
    X, y = data(60, 3)
    path = convex_relu_path(
        X, y, skip_connection=kind, n_alphas=5, eps=0.01, random_state=0
    )
    assert path.networks[0].n_neurons == 0
    for alpha, found in zip(path.alphas, path.objectives, strict=True):
        model = ConvexReLURegressor(
            alpha, relative_alpha=False, skip_connection=kind, random_state=1
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            model.fit(X, y)
        assert abs(model.objective_ - found) <= model.tolerance_
    model.set_params(warm_start=True).fit(X, y)
    # From another kind, and from none.
    for other in (*KINDS, False):
        model.set_params(skip_connection=other).fit(X, y)
        assert model.dual_gap_ <= 1.01 * model.tolerance_
        assert hasattr(model, "skip_coef_") == (other is not False)


@pytest.mark.parametrize("kind", KINDS)
def test_cross_validation(kind):
    X, y = data(60, 3)
    model = ConvexReLURegressorCV(
        n_alphas=4, eps=0.01, cv=3, skip_connection=kind, random_state=0
    ).fit(X, y)
    assert model.skip_coef_.shape == (3, 1)
    classifier = ConvexReLUClassifierCV(
        n_alphas=3, eps=0.05, cv=3, skip_connection=kind, random_state=0
    ).fit(X, y > np.median(y))
    assert classifier.skip_coef_.shape == (3, 1)
    assert classifier.score(X, y > np.median(y)) > 0.7


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_fitted_model_is_asked(kind):
    X, y = data(60, 3)
    model = ConvexReLURegressor(0.05, skip_connection=kind, random_state=0).fit(X, y)
    before = model.predict(X)
    pruned = clone(model).fit(X, y).prune(X, y)
    np.testing.assert_allclose(pruned.predict(X), before, atol=1e-8)
    assert pruned.objective_ <= model.objective_ + 1e-10
    with pytest.raises(ValueError, match="without a skip connection"):
        model.certify(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), before)
    assert "skip_coef_" in model._repr_html_()
    rng = np.random.default_rng(0)
    for _ in range(50):
        x, e = rng.standard_normal((2, 1, 3)) * [[[3]], [[0.1]]]
        change = np.abs(model.predict(x + e) - model.predict(x))[0]
        assert change <= model.lipschitz_ * np.linalg.norm(e) + 1e-12
    W, A = model.coefs_
    shares = np.abs(W) @ np.abs(A[:, 0]) + np.abs(model.skip_coef_[:, 0])
    np.testing.assert_allclose(model.feature_importances_, shares / shares.sum())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("widths", [(), (2,), (2, 2)])
def test_export_to_mlp(kind, widths):
    X, Y = data(50, 3, n_outputs=2)
    model = ConvexReLURegressor(
        0.05, skip_connection=kind, subnetwork_widths=widths, tol=0.01, random_state=0
    ).fit(X, Y)
    np.testing.assert_allclose(model.to_mlp().predict(X), model.predict(X), atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_export_to_onnx_and_torch(kind):
    pytest.importorskip("skl2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    from skl2onnx import to_onnx

    import sklearn_convexrelu.onnx  # noqa: F401 - for what importing it does

    X, y = data(50, 3)
    X = X.astype(np.float32)
    gated = {"activation": "gated_relu", "patterns": "random", "n_patterns": 10}
    for options in ({}, {"subnetwork_widths": (2,)}, gated):
        model = ConvexReLURegressor(0.05, skip_connection=kind, tol=0.01, **options)
        model.fit(X, y)
        content = to_onnx(model, X[:1]).SerializeToString()
        (found,) = onnxruntime.InferenceSession(content).run(None, {"X": X})
        np.testing.assert_allclose(found[:, 0], model.predict(X), atol=1e-4)
    torch = pytest.importorskip("torch")
    model = ConvexReLURegressor(0.05, skip_connection=kind, tol=0.01).fit(X, y)
    found = model.to_torch()(torch.tensor(X)).detach().numpy()
    np.testing.assert_allclose(found[:, 0], model.predict(X), atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_skops(kind):
    skops = pytest.importorskip("skops.io")
    X, y = data(50, 3)
    model = ConvexReLURegressor(0.05, skip_connection=kind, tol=0.01).fit(X, y)
    content = skops.dumps(model)
    types = skops.get_untrusted_types(data=content)
    assert all(name.startswith("sklearn_convexrelu.") for name in types)
    again = skops.loads(content, trusted=types)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


@pytest.mark.parametrize("penalty", ["path", "weight_decay"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", ["relu", "gated_relu"])
def test_solvers_agree_on_subnetworks(kind, activation, penalty):
    X, y = data(15, 2)
    model = ConvexReLURegressor(
        0.05,
        skip_connection=kind,
        activation=activation,
        penalty=penalty,
        subnetwork_widths=(2,),
        patterns="random",
        n_patterns=8,
        fit_intercept=False,
        tol=1e-6,
        random_state=0,
    )
    solvers = ["interior_point", "cvxpy"] + ["fista"] * (activation != "relu")
    fits = [clone(model).set_params(solver=name).fit(X, y) for name in solvers]
    unit = fits[0].tolerance_
    objectives = [fit.objective_ for fit in fits]
    assert max(objectives) - min(objectives) <= unit
    assert max(fit.lower_bound_ for fit in fits) <= min(objectives) + 1e-9
    for fit in fits:
        loss = np.mean((fit.predict(X) - y) ** 2) / 2
        cost = 0 if kind == "free" else np.linalg.norm(fit.skip_coef_)
        cost += fit.network_.penalties().sum()
        assert fit.objective_ == pytest.approx(loss + fit.alpha_ * cost, rel=1e-9)


@pytest.mark.parametrize("skip", KINDS)
@pytest.mark.parametrize("norm", [EUCLIDEAN, ONE_NORM])
@pytest.mark.parametrize("axes", [False, True])
def test_gradient_of_the_slide(skip, norm, axes):
    if axes and norm is ONE_NORM:
        return  # which is not searched along others
    rng = np.random.default_rng(0)
    X, Y = data(30, 3, n_outputs=2)
    stated = state_problem(
        X,
        Y,
        np.ones(30),
        SquaredError(),
        fit_intercept=True,
        hidden_bias=True,
        shape=NeuronShape(norm),
        skip=skip,
    ).with_alpha(0.05)
    theta = np.vstack([rng.standard_normal((3, 2)), np.zeros((1, 2))])
    network = Network.from_directions(
        norm.unit(rng.standard_normal((4, 5))),
        np.full((5, 2), np.sqrt(0.5)),
        np.ones(5),
        np.ones(2),
        norm,
        stated.linear.of_weights(theta),
    )
    rows = turn = None
    value = stated.objective(network)
    if axes:
        turn = np.linalg.qr(rng.standard_normal((4, 4)))[0]
        rows, network = Rows(stated.X @ turn), network.mapped(turn.T)
    objective = _WeightObjective(stated, network, rows, turn)
    flat = objective.start()
    assert objective(flat)[0] == pytest.approx(value)
    way = rng.standard_normal(len(flat)) * 1e-6
    slope = (objective(flat + way)[0] - objective(flat - way)[0]) / 2
    assert slope == pytest.approx(objective(flat)[1] @ way, rel=1e-4)
    again = objective.network(flat)
    np.testing.assert_allclose(again.linear.weights, network.linear.weights, atol=1e-12)
    np.testing.assert_allclose(again.intercept, network.intercept)


@pytest.mark.parametrize("loss", [SquaredError(), Huber(0.5), Logistic(), Poisson()])
def test_dual_points_are_orthogonal_and_stay_in_the_domain(loss):
    rng = np.random.default_rng(0)
    X, weights = rng.standard_normal((40, 3)) + 5, rng.uniform(0.1, 3, 40)
    Y = rng.integers(0, 2, (40, 2)).astype(float)
    stated = state_problem(
        X, Y, weights, loss, fit_intercept=True, hidden_bias=True, skip="free"
    ).with_alpha(1.0)
    _, F = stated.refitted(stated.null_network(), np.zeros(Y.shape))
    N = dual_point(stated, F + 0.01 * rng.standard_normal(F.shape))
    assert N.any()
    A = np.c_[stated.X, np.ones(40)]
    assert np.abs(A.T @ N).max() <= 1e-10 * np.abs(N).sum()
    scale = min(1.0, loss.largest_scaling(N, stated.Y, stated.weights))
    assert np.isfinite(loss.conjugate(scale * N, stated.Y, stated.weights))
    assert scale > 0.5


def test_a_linear_fit_is_no_constant():
    X, y = data(40, 2)
    for kind in KINDS:
        model = ConvexReLURegressor(2.0, skip_connection=kind)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(X, y)
        assert bool(caught) == (kind is True)  # which is a constant there
    with pytest.raises(ValueError, match="skip_connection"):
        ConvexReLURegressor(skip_connection="linear").fit(X, y)


def test_too_many_free_columns_are_refused(monkeypatch):
    from sklearn_convexrelu.model import unpenalised

    X, Y = data(30, 3, n_outputs=2)
    monkeypatch.setattr(unpenalised, "MOST_FREE", 5)
    ConvexReLURegressor(skip_connection="free", tol=0.1).fit(X, Y)
    y = np.arange(30) % 3
    with pytest.raises(ValueError, match="12 weights at once"):
        ConvexReLUClassifier(skip_connection="free").fit(X, y)


def test_separable_classes_have_a_bound_too():
    X = np.random.default_rng(0).standard_normal((40, 2))
    y = X[:, 0] > 0.0
    model = ConvexReLUClassifier(0.1, skip_connection="free").fit(X, y)
    assert model.score(X, y) == 1.0
    assert model.lower_bound_ >= 0.0
    assert model.dual_gap_ <= model.tolerance_


def test_time_limit():
    X, y = data(300, 5)
    for kind in KINDS:
        model = ConvexReLURegressor(1e-4, skip_connection=kind, time_limit=1e-3)
        with pytest.warns(UserWarning, match="time limit"):
            model.fit(X, y)
        assert np.isfinite(model.dual_gap_)


def test_free_columns_that_are_sums_of_others_in_single_precision():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 3))
    X = np.column_stack([X, X @ [1.0, -2.0, 0.5], X[:, 0] + X[:, 1]])
    y = np.abs(X[:, 0]) + X[:, 1]
    single, double = (
        ConvexReLURegressor(0.1, skip_connection="free", random_state=0).fit(
            X.astype(dtype), y
        )
        for dtype in (np.float32, np.float64)
    )
    assert single.alpha_max_ == pytest.approx(double.alpha_max_, rel=1e-4)
    assert single.objective_ <= double.objective_ + single.tolerance_


@pytest.mark.parametrize("columns", [3, 20])
def test_free_columns_far_from_zero_that_are_more_than_rows(columns):
    # Centred, a row is a sum of others but for what their means left of their digits.
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4, columns)) + 10.0 ** rng.uniform(0, 6, columns)
    y = np.array([0.0, 1.0, -2.0, 3.0])
    model = ConvexReLURegressor(0.1, skip_connection="free", random_state=0).fit(X, y)
    Z = X - X.mean(axis=0)
    shortest = np.linalg.lstsq(Z, y - y.mean(), rcond=1e-8)[0]
    assert np.linalg.norm(model.skip_coef_) <= 1.01 * np.linalg.norm(shortest) * (
        np.linalg.norm(Z, axis=0).max() / np.linalg.norm(Z, axis=0).min()
    )
    assert model.predict(X) == pytest.approx(y, abs=1e-6)
    constant = np.column_stack([X, np.full(4, 1e6), np.full(4, 1e6 / 3)])
    refitted = clone(model).fit(constant, y)
    assert refitted.predict(constant) == pytest.approx(y, abs=1e-6)
