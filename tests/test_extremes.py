"""Data as people have them: what is right for them, or refused with the reason.

Constant columns of any size, targets far from zero or tiny, far rows, columns in other
units, strengths beyond double precision. References are fits without what is extreme,
formulas, and networks whose objectives are recomputed here.
"""

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from problems import bumps
from reference import network_objective
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import scale

from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    convex_relu_path,
)
from sklearn_convexrelu.adaptive import loop
from sklearn_convexrelu.model.solution import Status
from sklearn_convexrelu.pricing import subnetworks


def table(n=50, seed=1):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4))
    noise = 0.1 * rng.standard_normal(n)
    return X, np.maximum(X[:, 0], 0) - np.abs(X[:, 1]) + noise


def with_constants(X, *values):
    return np.c_[X, np.tile(np.asarray(values, dtype=float), (len(X), 1))]


# Constant columns


@pytest.mark.parametrize("values", [(1e8,), (1e15,), (-1e300,), (1e15, -1e12, 3.0)])
def test_constant_columns_are_a_free_bias(values):
    X, y = table()
    reference = ConvexReLURegressor(0.1, random_state=0).fit(with_constants(X, 1e4), y)
    Z = with_constants(X, *values)
    model = ConvexReLURegressor(0.1, random_state=0).fit(Z, y)
    assert_allclose(model.alpha_max_, reference.alpha_max_, rtol=1e-5)
    assert model.status_ is Status.CONVERGED
    assert abs(model.objective_ - reference.objective_) <= model.tolerance_
    objective = network_objective(model, Z, y)
    assert_allclose(model.objective_, objective, rtol=1e-9)
    # A network of the other columns is one of these, too.
    alone = ConvexReLURegressor(model.alpha_, relative_alpha=False, random_state=0)
    assert model.lower_bound_ <= alone.fit(X, y).objective_
    assert_allclose(
        model.predict(Z), reference.predict(with_constants(X, 1e4)), atol=0.1
    )


def test_a_constant_but_for_rounding_is_one():
    X, y = table()
    jitter = 1 + 2e-16 * np.random.default_rng(0).integers(-2, 3, len(X))
    exact = ConvexReLURegressor(0.1, random_state=0).fit(with_constants(X, 1e4), y)
    model = ConvexReLURegressor(0.1, random_state=0).fit(np.c_[X, 1e4 * jitter], y)
    assert abs(model.objective_ - exact.objective_) <= model.tolerance_
    assert_allclose(model.alpha_max_, exact.alpha_max_, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_what_varies_by_a_few_units_in_the_last_place_is_no_constant(dtype):
    """Integers of 1e16 are exact: a step of eight is one that a neuron can take."""
    X, y = table()
    step = np.random.default_rng(0).integers(0, 2, len(X))
    stamps = (10**16 + 8 * step).astype(dtype)
    with pytest.raises(ValueError, match="Feature 0 varies by .* standardise it"):
        ConvexReLURegressor().fit(stamps[:, None], step + 0.1 * y)
    with pytest.raises(ValueError, match="Feature 4 varies by .* standardise it"):
        ConvexReLURegressor().fit(np.c_[X, stamps.astype(float)], step + 0.1 * y)


@pytest.mark.parametrize("size", [1e5, 1e9, 1e15])
def test_tight_tolerances_beside_a_constant_column(size):
    X, y = table(40)
    Z = with_constants(X[:, :3], size)
    model = ConvexReLURegressor(0.05, tol=1e-5, random_state=0).fit(Z, y)
    assert model.status_ is Status.CONVERGED


@pytest.mark.parametrize("widths", [(), (2,)])
def test_a_warm_start_that_is_worse_than_nothing_is_dropped(widths):
    X, y = table(40)
    model = ConvexReLURegressor(
        subnetwork_widths=widths, tol=1e-2, warm_start=True, random_state=0
    )
    model.fit(X, y)
    Z = with_constants(X[:, :3], 1e15)
    cold = ConvexReLURegressor(subnetwork_widths=widths, tol=1e-2, random_state=0)
    cold.fit(Z, y)
    for _ in range(2):
        model.fit(Z, y)
        assert model.status_ is Status.CONVERGED
        assert abs(model.objective_ - cold.objective_) <= 1.5 * model.tolerance_


OPTIONS = {
    "deep": {"subnetwork_widths": (2,), "tol": 1e-2},
    "weight decay": {"subnetwork_widths": (2,), "penalty": "weight_decay", "tol": 1e-2},
    "huber": {"loss": "huber"},
    "poisson": {"loss": "poisson"},
    "rank": {"rank": 4},
    "no bias": {"hidden_bias": False},
    "pruning": {"pruning": True},
    "random": {"patterns": "random", "n_patterns": 400, "tol": 1e-2},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_constant_columns_with_every_option(name, dtype):
    X, y = table(40)
    y = np.exp(y) if name == "poisson" else y
    weights = np.random.default_rng(2).integers(0, 3, len(X))

    def fitted(value):
        Z = with_constants(X, value).astype(dtype)
        model = ConvexReLURegressor(0.1, random_state=0, **OPTIONS[name])
        return model.fit(Z, y, weights)

    model, reference = fitted(1e15), fitted(1e4)
    # Other gates are drawn, and other directions of the features kept.
    rough = name in ("random", "rank")
    assert_allclose(model.alpha_max_, reference.alpha_max_, rtol=0.1 if rough else 1e-3)
    slack = 10 * model.tolerance_ if rough else 1.1 * model.tolerance_
    assert abs(model.objective_ - reference.objective_) <= slack
    certificate = model.certificate_.over_all or model.certificate_
    assert certificate.lower_bound <= reference.objective_ + 1e-3 * model.tolerance_


def test_constant_columns_beside_gates_that_were_given():
    X, y = table()
    gates = np.random.default_rng(0).standard_normal((30, 6))
    gates[:, 4] *= 1e-15  # the constant column
    Z = with_constants(X, 1e15)
    model = ConvexReLURegressor(0.1, patterns=gates, activation="gated_relu").fit(Z, y)
    active = np.c_[Z, np.ones(len(Z))] @ gates.T > 0
    inside = np.c_[Z, np.ones(len(Z))] @ model.gates_.T > 0
    known = {tuple(column) for column in active.T}
    assert {tuple(column) for column in inside.T} <= known
    values = np.einsum(
        "ng,nd,gdc->nc", inside, np.c_[Z, np.ones(len(Z))], model.blocks_
    )
    assert_allclose(values[:, 0] + model.intercept_, model.predict(Z), atol=1e-8)
    with pytest.raises(ValueError, match="gate"):
        ConvexReLURegressor(patterns=gates[:, :3]).fit(Z, y)


def test_classes_and_cross_validation_beside_a_constant_column():
    X, y = table(60)
    labels = np.digitize(y, [-1.0, 0.0])
    for value in (1e4, 1e15):
        model = ConvexReLUClassifier(0.1, random_state=0)
        model.fit(with_constants(X, value), labels)
        path = convex_relu_path(with_constants(X, value), y, n_alphas=5, tol=1e-2)
        chosen = ConvexReLURegressorCV(n_alphas=5, cv=3, random_state=0)
        chosen.fit(with_constants(X, value), y)
        scores = chosen.cv_scores_[:3].ravel()  # of paths that have not ended
        found = [model.alpha_max_, path.alpha_max, model.objective_, *scores]
        if value == 1e4:
            first = found
    assert_allclose(found[:3], first[:3], rtol=3e-3)
    assert_allclose(found[3:], first[3:], atol=0.05)


@pytest.mark.filterwarnings("ignore:Feature .* varies:UserWarning")
@pytest.mark.parametrize("size", [1e5, 1e10, 1e20])
def test_a_column_that_outweighs_the_others_has_bounds_that_hold(size):
    """It is nearly free, and what is left of the others is below every bound."""
    X, y = table()
    noise = np.random.default_rng(7).standard_normal((len(X), 1))
    models = [
        ConvexReLURegressor(0.1, random_state=seed).fit(np.c_[X, size * noise], y)
        for seed in range(3)
    ]
    alpha = models[0].alpha_
    alone = ConvexReLURegressor(
        alpha / size, relative_alpha=False, hidden_bias=False, tol=1e-6, random_state=0
    ).fit(noise, y)  # the same problem, all but the rest
    for model in models:
        assert model.lower_bound_ <= alone.objective_ * (1 + 1e-9)
        assert_allclose(model.objective_, alone.objective_, rtol=1e-2)


def test_columns_that_double_precision_cannot_tell_are_named():
    X, y = table()
    frame = pd.DataFrame(X, columns=list("abcd"))
    far = frame.assign(stamp=1e15 + np.arange(50.0) * 1e3)
    with pytest.raises(ValueError, match="Feature 'stamp' varies by .* standardise it"):
        ConvexReLURegressor().fit(far, y)
    with pytest.raises(ValueError, match="Feature 4 varies by .* standardise it"):
        ConvexReLURegressor().fit(far.to_numpy(), y)
    large = frame.assign(count=1e40 * X[:, 0])
    with pytest.raises(ValueError, match="Feature 'count', of size .* standardise it"):
        ConvexReLURegressor().fit(large, y)


# The scale of the targets


@pytest.mark.parametrize("factor", [1e-165, 1e-12, 1e155, 1e250])
def test_a_factor_of_poisson_targets_shifts_the_intercept(factor):
    X, y = table()
    y = np.exp(y)
    one = ConvexReLURegressor(0.1, loss="poisson", random_state=0).fit(X, y)
    model = ConvexReLURegressor(0.1, loss="poisson", random_state=0).fit(X, factor * y)
    assert_allclose(model.objective_ / factor, one.objective_, rtol=1e-6)
    assert_allclose(model.tolerance_ / factor, one.tolerance_, rtol=1e-6)
    assert_allclose(model.alpha_max_ / factor, one.alpha_max_, rtol=1e-6)
    shift = model.intercepts_[-1] - one.intercepts_[-1]
    assert_allclose(shift, np.log(factor), rtol=1e-6)
    assert_allclose(model.predict(X) / factor, one.predict(X), rtol=1e-6)


def test_poisson_targets_of_very_different_size():
    X, y = table()
    Y = np.exp(np.c_[y, y])
    one = ConvexReLURegressor(0.1, loss="poisson", random_state=0).fit(X, Y[:, 0])
    both = ConvexReLURegressor(0.1, loss="poisson", random_state=0)
    both.fit(X, Y * [1.0, 1e-9])
    assert_allclose(both.objective_, one.objective_, rtol=3e-3)
    assert_allclose(both.predict(X)[:, 0], one.predict(X), rtol=0.05)


def test_poisson_counts_that_hardly_vary():
    X, y = table()
    model = ConvexReLURegressor(0.1, loss="poisson", random_state=0)
    model.fit(X, 1e8 * (1 + 1e-6 * y))
    # To second order it is the squared error of y, times 1e8 and 1e-12.
    squared = ConvexReLURegressor(0.1, random_state=0).fit(X, y)
    assert_allclose(model.objective_ * 1e4, squared.objective_, rtol=3e-3)
    assert_allclose(model.tolerance_ * 1e4, squared.tolerance_, rtol=1e-3)


@pytest.mark.parametrize("shift, size", [(1e7, 1.0), (100.0, 1e-4), (-1e3, 1e-7)])
def test_targets_far_from_zero(shift, size):
    X, y = table()
    model = ConvexReLURegressor(0.1, random_state=0).fit(X, shift + size * y)
    plain = ConvexReLURegressor(0.1, random_state=0).fit(X, y)
    assert_allclose(model.objective_ / size**2, plain.objective_, rtol=2e-3)
    # Without an intercept the tolerance is beyond reach, and that is said.
    model.set_params(fit_intercept=False, max_iter=30)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, shift + size * y)
    assert model.status_ is not Status.CONVERGED
    assert_allclose(model.tolerance_, 1e-3 * size**2 * y.var() / 2, rtol=1e-5)


@pytest.mark.parametrize("factor", [1e-300, 1e300])
def test_targets_beyond_double_precision_are_refused(factor):
    X, y = table()
    for loss in ("squared_error", "poisson"):
        with pytest.raises(ValueError, match="rescale them"):
            ConvexReLURegressor(loss=loss).fit(X, factor * np.exp(y))


def test_huber_thresholds_far_from_the_residuals():
    X, y = table()
    squared = ConvexReLURegressor(0.1, random_state=0).fit(X, y)
    model = ConvexReLURegressor(0.1, loss="huber", huber_threshold=1e200)
    assert_allclose(model.fit(X, y).objective_, squared.objective_, rtol=3e-3)
    with pytest.raises(ValueError, match="huber_threshold=1e-300 is nothing"):
        model.set_params(huber_threshold=1e-300).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="huber_threshold=1e-50 is far below"):
        model.set_params(huber_threshold=1e-50).fit(X, y)


# Strengths


@pytest.mark.filterwarnings("ignore:alpha=.* is alpha_max_:UserWarning")
@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("alpha", [1e308, 1e200])
def test_strengths_beyond_all_others_give_the_constant(alpha, relative):
    X, y = table()
    model = ConvexReLURegressor(alpha, relative_alpha=relative).fit(1e3 * X, 1e3 * y)
    assert model.n_neurons_ == 0 and np.isfinite(model.alpha_)
    assert_allclose(model.objective_, 1e6 * y.var() / 2)
    assert model.status_ is Status.CONVERGED
    path = convex_relu_path(1e3 * X, y, alphas=[alpha, 1.0], relative_alpha=relative)
    assert np.isfinite(path.alphas).all() and np.isfinite(path.objectives).all()
    labels = ConvexReLUClassifier(alpha, relative_alpha=relative).fit(1e3 * X, y > 0)
    assert np.isfinite(labels.objective_)


# Far rows and columns in other units: bounds that hold


def far_row(X, factor):
    X = X.copy()
    X[7] *= factor
    return scale(X)


def calendar(n=100):
    t = np.arange(n)
    return np.c_[t % 24, t % 7, t].astype(float)


KINDS = {
    "far row": lambda X: far_row(X, 1000.0),
    "far rows": lambda X: far_row(far_row(X, 100.0)[::-1], 1e4),
    "raw far row": lambda X: np.r_[X[:-1], 1e6 * X[-1:]],
    "units": lambda X: X * np.r_[30.0, 30.0, np.ones(X.shape[1] - 2)],
    "raw units": lambda X: X * np.logspace(-3, 3, X.shape[1]),
    "offset": lambda X: X + 100.0,
    "offsets": lambda X: X + np.logspace(0, 4, X.shape[1]),
    "year": lambda X: np.c_[np.round(2000 + 10 * X[:, 0]), X[:, 1:]],
    "heavy tails": lambda X: scale(np.sinh(3 * X)),
    "skewed": lambda X: scale(np.exp(2 * X)),
    "calendar": lambda X: calendar(len(X)),
    "pixels": lambda X: 1 / (1 + np.exp(-3 * X)),
}


@pytest.mark.filterwarnings("ignore:Feature .* varies")
@pytest.mark.parametrize("kind", KINDS)
def test_bounds_hold_where_rows_and_columns_are_unlike(kind):
    rng = np.random.default_rng(0)
    bulk = rng.standard_normal((100, 6))
    y = np.maximum(bulk @ rng.standard_normal((6, 4)) + rng.standard_normal(4), 0)
    y = scale(y.sum(axis=1) + rng.standard_normal(100))
    X = KINDS[kind](bulk)
    models = [
        ConvexReLURegressor(0.02, random_state=seed).fit(X, y) for seed in range(4)
    ]
    best = min(network_objective(m, X, y) for m in models)
    tight = ConvexReLURegressor(0.02, tol=1e-4, random_state=9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        best = min(best, tight.fit(X, y).objective_)
    worst = max((m.lower_bound_ - best) / m.tolerance_ for m in models)
    assert worst <= 0.1


def test_sub_networks_on_a_table_with_a_far_row():
    X, y = bumps(60, 3)
    X = far_row(X, 1000.0)
    models = [
        ConvexReLURegressor(0.1, subnetwork_widths=(2,), tol=1e-2, random_state=s)
        for s in range(4)
    ]
    objectives = [model.fit(X, y).objective_ for model in models]
    worst = max((m.lower_bound_ - min(objectives)) / m.tolerance_ for m in models)
    assert worst <= 0.1


# Sub-networks: no claim below what their search resolves


@pytest.mark.parametrize("penalty", ["path", "weight_decay"])
@pytest.mark.parametrize("seed", range(3))
def test_bounds_of_searched_sub_networks_stay_below_the_proven_optimum(
    penalty, seed, monkeypatch
):
    rng = np.random.default_rng(seed + 50)
    X, y = rng.standard_normal((5, 1)), rng.standard_normal(5)
    options = {"subnetwork_widths": (2,), "penalty": penalty}
    exact = ConvexReLURegressor(0.1, patterns="exact", tol=1e-8, **options).fit(X, y)
    fixed = {"alpha": exact.alpha_, "relative_alpha": False}
    for module in (loop, subnetworks):  # search, where prices could be exact
        monkeypatch.setattr(module, "serves_pairs", lambda problem: False)
    for tol in (1e-3, 1e-5):
        model = ConvexReLURegressor(tol=tol, random_state=0, **fixed, **options)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(X, y)
        scale = model.tolerance_ / tol
        assert model.lower_bound_ <= exact.objective_ + 1e-8 * scale
        assert model.dual_gap_ >= 5e-4 * scale * (1 - 1e-9)
        assert bool(caught) == (tol < 5e-4) == (model.status_ is Status.UNRESOLVED)


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_four_layers_claim_no_more_than_their_searches_see(n_outputs):
    """Of several outputs they see less: six times as much is taken from the bound."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((6, 2)), rng.standard_normal((6, n_outputs)).squeeze()
    model = ConvexReLURegressor(
        0.1, subnetwork_widths=(2, 2), tol=2e-2, random_state=0
    ).fit(X, Y)
    scale = model.tolerance_ / model.tol
    assert model.status_ is Status.CONVERGED
    assert model.dual_gap_ >= (1 if n_outputs == 1 else 6) * 1e-3 * scale * (1 - 1e-9)
    model.set_params(tol=5e-3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, Y)
    assert bool(caught) == (n_outputs > 1) == (model.status_ is Status.UNRESOLVED)


@pytest.mark.parametrize("alpha", [5e-324, 1e-300])
@pytest.mark.parametrize("factor", [1.0, 1e-9])
def test_strengths_next_to_nothing_are_no_constants(alpha, factor):
    X, y = table(30)
    model = ConvexReLURegressor(alpha, tol=1e-2, random_state=0).fit(factor * X, y)
    assert model.n_neurons_ > 0 and model.objective_ < 0.05 * y.var() / 2
    assert model.alpha_ > 0.0


@pytest.mark.parametrize("factor", [1e40, 1e60, 1e-60])
def test_single_precision_that_cannot_hold_the_weights_goes_without_a_word(factor):
    X, y = table()
    single = ConvexReLURegressor(0.1, random_state=0)
    single.fit(X.astype(np.float32), factor * y)
    plain = ConvexReLURegressor(0.1, random_state=0).fit(X, y)
    assert_allclose(single.objective_ / factor**2, plain.objective_, rtol=3e-3)


@pytest.mark.parametrize("widths", [(), (2,)])
def test_single_precision_of_sums_far_from_zero(widths):
    """Each x w is 1e5 times what the network says; float32 would be off by a tenth."""
    X, y = table()
    X = (X[:40] + 1e4 * np.arange(1, X.shape[1] + 1)).astype(np.float32)
    y = X[:, 0] > np.median(X[:, 0])
    model = ConvexReLUClassifier(0.01, subnetwork_widths=widths, random_state=0)
    model.fit(X, y)
    H = X.astype(float)
    for W, b in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        H = np.maximum(H @ W.astype(float) + b, 0)
    F = (H @ model.coefs_[-1].astype(float) + model.intercepts_[-1])[:, 0]
    loss = np.logaddexp(0, np.where(y, -F, F)).mean()
    penalty = model.network_.astype(float).penalty()
    objective = loss + model.alpha_ * penalty
    assert_allclose(model.objective_, objective, rtol=1e-6)
    F = model.decision_function(X)
    loss = np.logaddexp(0, np.where(y, -F, F)).mean()
    assert abs(loss + model.alpha_ * penalty - objective) <= 0.11 * model.tolerance_


def test_poisson_means_beyond_single_precision_are_double():
    X, y = table()
    X, y = X.astype(np.float32), np.exp(y)
    model = ConvexReLURegressor(0.1, loss="poisson", random_state=0)
    assert model.fit(X, y).predict(X).dtype == np.float32
    far = model.fit(X, 1e39 * y).predict(X)
    assert np.isfinite(far).all() and 0.5 < np.median(far / y) / 1e39 < 2


def test_weights_next_to_nothing_are_none():
    X, y = table()
    weights = np.ones(len(X))
    weights[::2] = 5e-324
    model = ConvexReLURegressor(0.1, random_state=0).fit(X, y, sample_weight=weights)
    without = ConvexReLURegressor(0.1, random_state=0).fit(X[1::2], y[1::2])
    assert_allclose(model.objective_, without.objective_, rtol=1e-12)


def test_refusals_name_the_size_of_what_was_given():
    X, y = table()
    with pytest.raises(ValueError, match="Targets of size 1e\\+150 have"):
        ConvexReLURegressor().fit(X, np.full(len(X), 1e150))
    model = ConvexReLURegressor(warm_start=True, tol=0.1).fit(X, y)
    with pytest.raises(ValueError, match="neurons"):
        model.fit(X[:, :2], y)
