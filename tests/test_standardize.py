"""Standardised features: the same problem as on scaled ones, and a warning without."""

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.base import clone

from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    convex_relu_path,
)
from sklearn_convexrelu.data.rows import Rows
from sklearn_convexrelu.data.statement import standard_scales

SCALES, SHIFTS = np.array([1.0, 50.0, 0.02, 3.0]), np.array([0.0, 10.0, 0.0, 5.0])


def data(n=80):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 4)) * SCALES + SHIFTS
    Z = X / X.std(axis=0)
    return X, Z, np.abs(Z[:, 0]) - Z[:, 1] + Z[:, 2] + 0.2 * rng.standard_normal(n)


def fit(X, y, **params):
    params = {"alpha": 0.1, "random_state": 0} | params
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Feature .* varies", UserWarning)
        return ConvexReLURegressor(**params).fit(X, y)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"hidden_bias": False},
        {"subnetwork_widths": (2,), "tol": 3e-3},
        {"patterns": "random", "n_patterns": 20},
        {"patterns": "random", "n_patterns": 20, "activation": "gated_relu"},
        {"rank": 3},
        {"pruning": True},
        {"loss": "absolute_error"},
    ],
    ids=str,
)
def test_it_is_the_fit_of_scaled_features(params):
    X, Z, y = data()
    ours, scaled = fit(X, y, standardize=True, **params), fit(Z, y, **params)
    assert_allclose(ours.alpha_max_, scaled.alpha_max_, rtol=1e-9)
    assert abs(ours.objective_ - scaled.objective_) <= scaled.tolerance_
    # The objective by hand, of the scaled problem, from predictions in the user's units
    # and a network that is mapped back.
    F = ours.predict(X)
    loss = np.abs(F - y).mean() if "loss" in params else ((F - y) ** 2).mean() / 2
    assert loss < ours.objective_
    if not params.get("subnetwork_widths") and not params.get("activation"):
        (W, A), (b, _) = ours.coefs_, ours.intercepts_
        into = np.sqrt(((X.std(axis=0)[:, None] * W) ** 2).sum(axis=0) + b**2)
        by_hand = loss + ours.alpha_ * into @ np.abs(A[:, 0])
        assert_allclose(ours.objective_, by_hand, rtol=1e-9)


def test_given_gates_are_those_of_the_features():
    X, Z, y = data()
    gates = np.random.default_rng(1).standard_normal((15, 5))
    on_scaled = gates * np.append(X.std(axis=0), 1.0)
    given = {"activation": "gated_relu"}
    ours = fit(X, y, standardize=True, patterns=gates, **given)
    scaled = fit(Z, y, patterns=on_scaled, **given)
    assert_allclose(ours.predict(X), scaled.predict(Z), rtol=1e-9)
    used = [np.abs(gates - gate).max(axis=1).min() for gate in ours.gates_]
    assert_allclose(used, 0.0, atol=1e-9)
    relu = ours.to_relu(X, y)
    assert_allclose(relu.predict(X), ours.predict(X), rtol=1e-6)


@pytest.mark.parametrize("form", [sparse.csr_array, sparse.csc_matrix, np.float32])
def test_scales_are_weighted_deviations_of_any_table(form):
    X = data()[0]
    X[np.abs(X - SHIFTS) < SCALES] = 0.0
    X = np.c_[X, np.full(80, 7.0)].astype(np.float32).astype(np.float64)
    weights = np.random.default_rng(0).integers(0, 3, 80).astype(float)
    expected = np.append(np.repeat(X, weights.astype(int), axis=0).std(axis=0)[:4], 1.0)
    table = X.astype(form) if form is np.float32 else form(X)
    assert_allclose(standard_scales(table, weights), expected, rtol=1e-6)


def test_deviations_far_from_zero():
    x = 1e8 + np.arange(10.0)[:, None]
    assert_allclose(Rows.of(x).deviations(np.ones(10)), x.std(), rtol=1e-6)


@pytest.mark.parametrize("as_sparse", [False, True])
def test_rows_of_scaled_columns_answer_as_their_array_does(as_sparse):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 4)) * (rng.random((30, 4)) < 0.7)
    scales, U, E = SCALES, rng.standard_normal((5, 3)), rng.standard_normal((30, 2))
    Z = np.c_[X / scales / 4.0, np.full(30, 0.25)]
    table = sparse.csr_array(X) if as_sparse else X
    rows = Rows(table, constant=1.0, scales=scales).divided(4.0)
    assert not rows.is_plain
    assert_allclose(rows.array(), Z)
    assert_allclose(rows.values(U), Z @ U)
    assert_allclose(rows.sums(E), Z.T @ E)
    assert_allclose(rows.bounds, [Z.min(axis=0), Z.max(axis=0)])
    assert_allclose(rows.column_squares(), (Z**2).sum(axis=0))
    assert_allclose(rows.squared_lengths(), (Z**2).sum(axis=1))
    assert_allclose(rows.moments(np.ones(30)), Z.T @ Z, atol=1e-12)
    assert_allclose(rows.take(np.arange(7)).array(), Z[:7])
    axes = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    assert_allclose(rows.along(axes, np.float64).values(U), Z @ axes @ U)
    kept = rows.with_constant(np.array([True, False, True, False]), 0.5)
    assert_allclose(kept.array(), np.c_[Z[:, [0, 2]], np.full(30, 0.5)])


def test_weights_are_repetitions_and_sparse_rows_are_rows():
    X, _, y = data()
    X[np.abs(X - SHIFTS) < SCALES] = 0.0
    weights = np.random.default_rng(0).integers(0, 3, 80)
    model = ConvexReLURegressor(0.1, standardize=True, random_state=0)
    weighted = clone(model).fit(X, y, sample_weight=weights)
    repeated = clone(model).fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    assert abs(weighted.objective_ - repeated.objective_) <= repeated.tolerance_
    assert_allclose(weighted.alpha_max_, repeated.alpha_max_, rtol=1e-9)
    dense, rows = clone(model).fit(X, y), clone(model).fit(sparse.csr_array(X), y)
    assert_allclose(dense.alpha_max_, rows.alpha_max_, rtol=1e-4)
    assert abs(dense.objective_ - rows.objective_) <= dense.tolerance_
    single = clone(model).fit(X.astype(np.float32), y)
    assert single.coefs_[0].dtype == np.float32
    assert abs(dense.objective_ - single.objective_) <= dense.tolerance_


def test_everything_after_the_fit_knows():
    X, Z, y = data()
    model = fit(X, y, standardize=True, warm_start=True)
    before = model.objective_
    lipschitz = np.linalg.norm(model.coefs_[0], axis=0) @ np.abs(model.coefs_[1][:, 0])
    assert_allclose(model.lipschitz_, lipschitz)
    assert model.fit(X, y).objective_ <= before + model.tolerance_
    predicted = model.predict(X)
    model.prune(X, y)
    assert_allclose(model.predict(X), predicted, atol=1e-8)
    model.certify(X, y, time_limit=0.5)
    assert model.certificate_.kind == "bound"
    with pytest.raises(ValueError, match="standardize changed since the fit"):
        model.set_params(standardize=False).prune(X, y)
    params = {"n_alphas": 4, "eps": 0.05, "random_state": 0, "standardize": True}
    path = convex_relu_path(X, y, **params)
    last = path.networks[-1].forward(X)[:, 0]
    assert np.mean((last - y) ** 2) < 0.5 * y.var()
    cv = ConvexReLURegressorCV(cv=3, **params).fit(X, y)
    assert cv.score(X, y) > 0.8


@pytest.mark.parametrize(
    "params",
    [
        {"norm": "l1"},
        {"skip_connection": True},
        {"skip_connection": "free"},
        {"subnetwork_widths": (2,), "tol": 3e-3},
        {"patterns": "random", "n_patterns": 20, "activation": "gated_relu"},
    ],
    ids=str,
)
def test_importances_are_of_the_weights_that_the_penalty_sees(params):
    X, Z, y = data()
    ours, scaled = fit(X, y, standardize=True, **params), fit(Z, y, **params)
    # Two fits of one problem agree within the tolerance, their weights a little less.
    assert_allclose(ours.feature_importances_, scaled.feature_importances_, atol=0.05)
    refitted = clone(ours).fit(X, y).set_params(standardize=False).fit(Z, y)
    assert_allclose(refitted.feature_importances_, scaled.feature_importances_)
    if params == {"norm": "l1"}:
        (W, A), scales = ours.coefs_, X.std(axis=0)
        parts = (scales[:, None] * np.abs(W)) @ np.abs(A[:, 0])
        assert_allclose(ours.feature_importances_, parts / parts.sum(), rtol=1e-9)
        path = convex_relu_path(
            X, y, alphas=[0.1], standardize=True, random_state=0, **params
        )
        assert_allclose(path.feature_importances[0], ours.feature_importances_)


def test_constant_features_are_left_alone():
    X, _, y = data()
    X[:, 1] = 4.0
    model = fit(X, y, standardize=True)
    assert model.dual_gap_ <= model.tolerance_
    c = ConvexReLUClassifier(0.1, standardize=True, random_state=0)
    assert c.fit(X, y > 0).score(X, y > 0) > 0.7


def test_unlike_scales_are_named_once():
    X, _, y = data()
    X[:, 3] *= 1e4
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    told = r"Feature 'd' varies .* as much as feature 'c'.*standardize=True"
    with pytest.warns(UserWarning, match=told) as caught:
        ConvexReLURegressor(0.5, random_state=0).fit(frame, y)
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="Feature 3 varies") as caught:
        ConvexReLURegressorCV(n_alphas=2, eps=0.3, cv=3, random_state=0).fit(X, y)
    assert sum("varies" in str(warning.message) for warning in caught) == 1
    ConvexReLURegressor(0.5, standardize=True, random_state=0).fit(frame, y)
    frame["d"] = 5.0  # constant features count for nothing
    ConvexReLURegressor(0.5, random_state=0).fit(frame[["a", "b", "d"]], y)


def test_sparse_columns_far_from_zero_have_the_same_scales():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 2))
    X[:, 0] += 1e7
    X[::2, 1] = 0.0
    y = np.maximum(X[:, 0] - 1e7, 0)
    options = {"standardize": True, "tol": 1e-1, "random_state": 0}
    dense = ConvexReLURegressor(0.3, **options).fit(X, y)
    found = ConvexReLURegressor(0.3, **options).fit(sparse.csr_array(X), y)
    assert_allclose(found.alpha_max_, dense.alpha_max_, rtol=1e-6)
