"""certify(): bounds that are proofs, from the estimators."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import bumps, diabetes
from reference import wide_network

from sklearn_convexrelu import ConvexReLUClassifier, ConvexReLURegressor, training


def test_diabetes_is_proven_to_seventy_per_cent_and_more(monkeypatch):
    # How far it gets is a matter of the work done, whatever the time it takes.
    monkeypatch.setattr(training, "_MOST_REGIONS", 1)
    X, y = diabetes()
    model = ConvexReLURegressor(alpha=0.1, fit_intercept=False, random_state=0)
    model.fit(X, y)
    priced, weak = model.lower_bound_, model.certificate_.proven_lower_bound
    assert model.certify(X, y, time_limit=np.inf) is model
    certificate = model.certificate_
    assert certificate.kind == "bound"
    assert certificate.lower_bound == certificate.proven_lower_bound
    assert model.lower_bound_ == certificate.lower_bound
    assert model.lower_bound_ > max(0.7 * model.objective_, 1.5 * weak)
    assert model.lower_bound_ <= priced
    assert_allclose(model.dual_gap_, model.objective_ - model.lower_bound_)
    descended = wide_network(X, y, model.alpha_, 100, 0, False, 500)
    assert model.lower_bound_ < descended


def test_exact_certificates_stay():
    X, y = bumps(40, 2)
    model = ConvexReLURegressor(alpha=0.1, tol=1e-6, random_state=0).fit(X, y)
    before = model.certificate_
    assert model.certify(X, y).certificate_ == before
    assert before.kind == "exact"


def test_fixed_patterns_are_proven_beside_the_restricted_bound():
    X, y = bumps(40, 4)
    model = ConvexReLURegressor(alpha=0.1, patterns="random", random_state=0).fit(X, y)
    before = model.certificate_
    model.certify(X, y, time_limit=0.5)
    after = model.certificate_
    assert (after.kind, after.over_all.kind) == ("restricted", "bound")
    assert model.lower_bound_ == before.lower_bound
    assert after.over_all.lower_bound >= before.over_all.proven_lower_bound


def test_units_weights_and_classes():
    X, y = bumps(60, 4)
    weights = np.random.default_rng(0).integers(0, 3, 60)
    labels = np.digitize(y, [0.0, 1.0])
    model = ConvexReLUClassifier(alpha=0.1, class_weight="balanced", random_state=0)
    model.fit(X * 1e3, labels, weights).certify(X * 1e3, labels, weights, time_limit=1)
    assert 0 < model.lower_bound_ <= model.objective_
    small = ConvexReLURegressor(alpha=0.1, random_state=0).fit(X, y)
    large = ConvexReLURegressor(alpha=0.1, random_state=0).fit(X, y * 1024)
    ratio = (
        large.certify(X, y * 1024, time_limit=0).lower_bound_
        / small.certify(X, y, time_limit=0).lower_bound_
    )
    assert_allclose(ratio, 1024.0**2, rtol=1e-6)


def test_refusals():
    X, y = bumps(30, 4)
    gated = ConvexReLURegressor(patterns="random", activation="gated_relu")
    with pytest.raises(ValueError, match="bounds of ReLU networks"):
        gated.fit(X, y).certify(X, y)
    model = ConvexReLURegressor(alpha=0.3).fit(X, y)
    with pytest.raises(ValueError, match="last fit"):
        model.certify(X, -y)
    for seconds in (-1.0, np.nan):
        with pytest.raises(ValueError, match="time_limit"):
            model.certify(X, y, time_limit=seconds)
    model.set_params(fit_intercept=False)
    with pytest.raises(ValueError, match="fit_intercept changed"):
        model.certify(X, y)


def test_constant_targets_are_proven():
    X, y = bumps(30, 4)
    model = ConvexReLURegressor().fit(X, 0 * y + 3.1).certify(X, 0 * y + 3.1)
    assert model.certificate_.kind == "exact"  # nothing is below a loss of zero
    assert model.certificate_.proven_lower_bound == model.objective_ < 1e-25


def test_a_constant_for_given_patterns_is_not_proven_best_of_all():
    half = bumps(20, 4)[0]
    X = np.r_[half, -half]
    y = np.abs(X[:, 0])  # to the one gate, which passes everything, linear in nothing
    model = ConvexReLURegressor(patterns=[[0.0, 0.0, 0.0, 0.0, 1.0]]).fit(X, y)
    assert model.alpha_max_ == 0.0 and model.n_neurons_ == 0
    over_all = model.certify(X, y).certificate_.over_all
    best = ConvexReLURegressor(1e-3).fit(X, y)
    assert over_all.kind == "bound"
    assert over_all.lower_bound <= best.objective_ < 1e-2 * model.objective_
