"""Low-rank training: the guarantee, the certificates, every combination."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import bumps, diabetes
from sklearn.model_selection import KFold

from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    convex_relu_path,
)
from sklearn_convexrelu.model.gain import Gain
from sklearn_convexrelu.pricing.exact import ExactPricing
from sklearn_convexrelu.pricing.search import Pricer

LOSSES = ["squared_error", "huber", "poisson", "log_loss", "squared_hinge"]


def nearly_flat(seed, loss, noise):
    """Two features, nearly on a line, so that rank one is nearly all there is."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(8, 40))
    way = rng.standard_normal(2)
    X = np.outer(rng.standard_normal(n), way) + noise * rng.standard_normal((n, 2))
    f = np.abs(X[:, 0]) - 0.5 * X[:, 1] + 0.3 * rng.standard_normal(n)
    if loss == "poisson":
        return X, rng.poisson(np.exp(np.clip(f, -2, 2))).astype(float) + (
            np.arange(n) == 0
        )
    if loss in ("log_loss", "squared_hinge"):
        y = f > np.median(f)
        y[:2] = True, False
        return X, y
    return X, f


def model_of(loss, **params):
    kind = ConvexReLURegressor
    if loss in ("log_loss", "squared_hinge"):
        kind = ConvexReLUClassifier
    return kind(loss=loss, random_state=0, **params)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("seed", range(4))
def test_guarantee_holds_for_known_optima(loss, seed):
    rng = np.random.default_rng(100 + seed)
    X, y = nearly_flat(seed, loss, noise=10.0 ** rng.uniform(-3, 0))
    weights = rng.integers(1, 4, len(X)).astype(float)
    params = {
        "tol": 1e-6,
        "hidden_bias": bool(seed % 2),
        "fit_intercept": seed < 2 or loss == "poisson",
    }
    reduced = model_of(loss, alpha=0.2, rank=1, **params).fit(X, y, weights)
    params |= {"alpha": reduced.alpha_, "relative_alpha": False}
    full = model_of(loss, **params).fit(X, y, weights)
    guarantee, certificate = reduced.low_rank_, reduced.certificate_
    assert full.certificate_.kind == guarantee.certificate.kind == "exact"
    optimum, slack = full.objective_, 1e-5 * full.objective_
    # All features can but help, and how much is bounded.
    assert reduced.objective_ >= full.lower_bound_
    assert reduced.objective_ <= optimum * guarantee.factor_after + slack
    assert reduced.objective_ <= optimum * guarantee.factor_before + slack
    assert certificate.proven_lower_bound <= optimum + slack
    factor_bound = guarantee.certificate.lower_bound / guarantee.factor_after
    if certificate.kind != "exact":
        assert certificate.proven_lower_bound >= factor_bound - slack


def test_residual_norm_is_that_of_the_truncated_decomposition():
    X, y = diabetes()
    model = ConvexReLURegressor(alpha=0.1, rank=4, random_state=0).fit(X, y)
    singular_values = np.linalg.svd(X, compute_uv=False)
    expected = singular_values[4] / np.sqrt(len(X))
    assert_allclose(model.low_rank_.residual_norm, expected)
    # The weights are for all features, and lie in the kept directions.
    kept = np.linalg.svd(X)[2][:4]
    W = model.coefs_[0]
    assert_allclose(kept.T @ (kept @ W), W, atol=1e-10)
    factor = 1 + expected * np.sqrt(2 * y.var() / 2) / model.alpha_
    assert_allclose(model.low_rank_.factor_before, factor)


def test_full_rank_is_no_approximation():
    X, y = bumps(60, 3)
    full = ConvexReLURegressor(alpha=0.1, tol=1e-5, random_state=0).fit(X, y)
    same = ConvexReLURegressor(alpha=0.1, tol=1e-5, rank=3, random_state=0).fit(X, y)
    assert same.low_rank_.residual_norm == 0.0
    assert same.low_rank_.factor_before == same.low_rank_.factor_after == 1.0
    assert_allclose(same.objective_, full.objective_, rtol=1e-4)
    assert not hasattr(full, "low_rank_")
    full.set_params(rank=2).fit(X, y).set_params(rank=None).fit(X, y)
    assert not hasattr(full, "low_rank_")


def coefs_as_gates(model):
    """Return the neurons as gates, moved off the samples that they pass through."""
    gates = np.vstack([model.coefs_[0], model.intercepts_[0]]).T
    gates = gates / np.linalg.norm(gates, axis=1)[:, None]
    return gates + 1e-7 * np.random.default_rng(0).standard_normal(gates.shape)


@pytest.mark.parametrize("activation", ["relu", "gated_relu"])
@pytest.mark.parametrize("patterns", ["random", "exact", "array"])
def test_fixed_patterns_of_reduced_data(patterns, activation):
    X, y = bumps(30, 4)
    if patterns == "array":
        patterns = np.random.default_rng(0).standard_normal((12, 5))
    model = ConvexReLURegressor(
        alpha=0.1,
        rank=1,
        patterns=patterns,
        activation=activation,
        tol=1e-6,
        random_state=0,
    ).fit(X, y)
    certificate = model.certificate_
    assert certificate.kind == "restricted"  # over the patterns of reduced data
    own = model.low_rank_.certificate
    assert own.objective - own.lower_bound <= model.tolerance_
    # The bound is one for all features over these patterns.
    gates = model.gates_ if activation == "gated_relu" else coefs_as_gates(model)
    all_features = ConvexReLURegressor(
        alpha=model.alpha_,
        relative_alpha=False,
        patterns=gates,
        activation=activation,
        tol=1e-6,
    ).fit(X, y)
    assert certificate.proven_lower_bound == certificate.lower_bound
    assert 0 < model.lower_bound_ <= all_features.objective_ < model.objective_
    if activation == "relu":
        over_all = certificate.over_all
        better = ConvexReLURegressor(
            alpha=model.alpha_, relative_alpha=False, random_state=0
        ).fit(X, y)
        assert over_all.proven_lower_bound <= better.objective_
        assert over_all.kind == "priced"
    else:
        assert certificate.over_all is None


def test_several_targets_paths_and_cross_validation():
    X, y = bumps(60, 4)
    model = ConvexReLURegressor(alpha=0.1, rank=2, random_state=0)
    model.fit(X, np.c_[y, -(y**2)])
    assert model.dual_gap_ >= 0
    path = convex_relu_path(X, y, n_alphas=4, eps=1e-2, rank=2, random_state=0)
    single = ConvexReLURegressor(
        alpha=path.alphas[2], relative_alpha=False, rank=2, random_state=0
    ).fit(X, y)
    assert abs(path.objectives[2] - single.objective_) <= 1e-3 * y.var() / 2
    cv = ConvexReLURegressorCV(n_alphas=4, rank=2, pruning=True, random_state=0)
    assert cv.fit(X, y).low_rank_.rank == 2


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("patterns", ["adaptive", "random"])
def test_folds_price_what_they_solve_and_prove_nothing(rank, patterns, monkeypatch):
    X, y = bumps(60, 4)
    widths, n_exact = [], [0]
    price, exact_price = Pricer.price, ExactPricing.price

    def counted(pricer, *args, **options):
        widths.append(pricer.rows.n_inputs)
        return price(pricer, *args, **options)

    def counted_exact(pricing, *args, **options):
        n_exact[0] += 1
        return exact_price(pricing, *args, **options)

    monkeypatch.setattr(Pricer, "price", counted)
    monkeypatch.setattr(ExactPricing, "price", counted_exact)
    model = ConvexReLURegressor(rank=rank, patterns=patterns, tol=1e-2, random_state=0)
    alphas = np.array([0.5, 0.1, 0.03])

    def follow(gain):
        widths.clear()
        n_exact[0] = 0
        path = model._follow(X, y, None, alphas, True, gain=gain)
        return list(path), set(widths), n_exact[0]

    proven, all_widths, proven_exact = follow(None)
    quick, quick_widths, quick_exact = follow(Gain(1e-2))
    assert 5 in all_widths
    if patterns == "random":
        assert not quick_widths and quick_exact == 0
    else:
        assert quick_widths == {5 if rank is None else 3}
        # The reduced data have rank three: their alpha_max_ is exact, and that is all.
        assert quick_exact == (rank == 2)
    assert proven_exact > quick_exact or rank is None
    for solution, same in zip(quick, proven, strict=True):
        certificate = solution.certificate
        assert certificate.over_all is None
        if patterns == "random":
            assert certificate.gap <= solution.tolerance * (1 + 1e-3)
        own = certificate if rank is None else solution.low_rank.certificate
        assert_allclose(certificate.lower_bound, own.lower_bound)
        slack = solution.tolerance
        assert abs(certificate.objective - same.certificate.objective) <= slack


def test_gaps_of_folds_are_those_of_the_rank():
    X, y = bumps(60, 4)
    options = {"n_alphas": 4, "eps": 1e-2, "path_tol": 1e-4, "random_state": 2}
    cv = ConvexReLURegressorCV(rank=2, **options).fit(X, y)
    assert cv.low_rank_.rank == 2
    largest = max(y[train].var() / 2 for train, _ in KFold(5).split(X))
    assert np.nanmax(cv.cv_dual_gaps_) <= 1e-2 * largest * (1 + 1e-3)
    assert cv.dual_gap_ > cv.tolerance_  # that of the last fit is over all features


def test_rank_above_the_number_of_features_is_refused():
    X, y = bumps(20, 3)
    with pytest.raises(ValueError, match=r"rank=4.*features, 3"):
        ConvexReLURegressor(rank=4).fit(X, y)


FIXED = [
    {},
    {"patterns": "random"},
    {"patterns": "exact"},
    {"patterns": "exact", "activation": "gated_relu"},
    {"subnetwork_widths": (2,)},
]


@pytest.mark.parametrize("options", FIXED)
def test_constant_targets_have_a_guarantee(options):
    # Too many features for a complete arrangement of all of them.
    X = bumps(60, 9)[0]
    model = ConvexReLURegressor(rank=1, random_state=0, **options)
    model.fit(X, np.full(60, 3.5))
    assert model.alpha_max_ == 0.0 and model.n_neurons_ == 0
    assert_allclose(model.predict(X), 3.5)
    guarantee = model.low_rank_
    assert guarantee.rank == 1
    assert guarantee.factor_before == guarantee.factor_after == 1.0
    kept = np.linalg.svd(X, full_matrices=False)
    expected = kept[1][1] / np.sqrt(60)
    assert_allclose(guarantee.residual_norm, expected)
    assert guarantee.certificate.objective == model.objective_
    restricted = "patterns" in options
    assert (model.certificate_.kind == "restricted") == restricted
    assert model.dual_gap_ <= model.tolerance_


@pytest.mark.parametrize("options", FIXED)
def test_a_constant_that_only_the_kept_direction_is_content_with(options):
    # By itself the first feature, much the larger one, tells nothing.
    x = np.tile(np.arange(-5.0, 6.0), 2)
    side = np.repeat([1.0, -1.0], 11)
    X, y = np.c_[10.0 * x, side], side * x
    model = ConvexReLURegressor(rank=1, random_state=0, **options).fit(X, y)
    assert model.alpha_ == model.alpha_max_ == 0.0 and model.n_neurons_ == 0
    own = model.low_rank_.certificate
    assert own.objective == own.lower_bound == model.objective_
    assert model.low_rank_.factor_after == np.inf
    better = ConvexReLURegressor(1e-2, random_state=0).fit(X, y)
    assert better.objective_ < 0.1 * model.objective_
    loss = better.objective_ - better.alpha_ * better.network_.penalty()
    certificates = [model.certificate_, model.certificate_.over_all]
    if not (model.network_.is_gated or "subnetwork_widths" in options):
        certified = model.certify(X, y).certificate_
        certificates += [certified, certified.over_all]
    for certificate in certificates:
        if certificate is not None:  # at an alpha of zero the loss is an objective
            assert certificate.proven_lower_bound <= certificate.lower_bound <= loss
