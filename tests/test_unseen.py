"""What certificates say of prices not seen: chances that are right, and honest."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import diabetes, problem
from sklearn.exceptions import ConvergenceWarning

from sklearn_convexrelu import ConvexReLUClassifier, ConvexReLURegressor
from sklearn_convexrelu.certificates.certificate import (
    certificate_at,
    certify_at,
    lower_bound,
    with_chance,
)
from sklearn_convexrelu.model.solution import Status
from sklearn_convexrelu.model.subnetworks import TreeShape
from sklearn_convexrelu.pricing.kernels import BATCH, Candidates
from sklearn_convexrelu.pricing.search import FAIR, HARD, LIGHT, Effort, Pricer
from sklearn_convexrelu.pricing.subnetworks import TreePricer
from sklearn_convexrelu.pricing.unseen import chance_of_unseen


def ends_at(peaks, n_peaks):
    """Return Candidates that ended at peaks of given numbers, lower for larger ones."""
    directions = np.eye(n_peaks)[:, peaks]
    return Candidates.sorted(directions, 1.0 + n_peaks - peaks[:, None])


def unchanged(directions):
    return directions


def noise(n, d, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, np.abs(X[:, 0]) + X[:, 1] + rng.standard_normal(n)


def test_chances_are_those_of_a_known_distribution():
    rng, n_peaks, n_starts = np.random.default_rng(0), 60, 80
    shares = rng.dirichlet(np.full(n_peaks, 0.3))
    estimated, true = [], []
    for _ in range(200):
        peaks = rng.choice(n_peaks, n_starts, p=shares)
        estimated.append(chance_of_unseen(ends_at(peaks, n_peaks), unchanged))
        true.append(1.0 - shares[np.unique(peaks)].sum())
    # The half hit that is added is none of the frequencies.
    assert_allclose(np.mean(estimated) - 0.5 / n_starts, np.mean(true), rtol=0.1)


def test_hits_are_counted_by_peaks_and_sides():
    peaks = np.array([0, 0, 1, 2, 2, 2])
    ends = ends_at(peaks, 3)
    assert chance_of_unseen(ends, unchanged) == 1.5 / 6
    sides = np.array([1.0, -1.0, 1.0, 1.0, 1.0, 1.0])[:, None]
    both = Candidates.sorted(ends.directions, sides * ends.totals)
    assert chance_of_unseen(both, unchanged) == 3.5 / 6
    assert chance_of_unseen(None, unchanged) == 1.0
    one = Candidates.sorted(np.eye(3)[:, :1], np.ones((1, 1)))
    assert chance_of_unseen(one, unchanged) == 1.0


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_starts_that_count_are_independent_of_what_is_known(n_outputs):
    X, y = noise(100, 4)
    N = np.random.default_rng(1).standard_normal((100, n_outputs))
    pricer, known = Pricer(X, n_outputs), np.eye(4)[:, :2]
    for effort, expected in [(LIGHT, 1), (FAIR, 2), (HARD, 3), (Effort(1, 1, 6), 1)]:
        found = pricer.search(N, known, effort, np.random.default_rng(0))
        assert len(found.starts.prices) == expected * BATCH
    # All that is known is one direction: ends are as spread as they are without it.
    far = pricer.search(N, known[:, :1], HARD, np.random.default_rng(0)).starts
    chances = [chance_of_unseen(far, pricer.signature)]
    free = pricer.search(N, known[:, :0], FAIR, np.random.default_rng(0)).starts
    assert len(free.prices) == 4 * BATCH  # none near what is known
    chances.append(chance_of_unseen(free, pricer.signature))
    assert max(chances) < 0.1  # four dimensions have few maxima


@pytest.mark.parametrize("decays", [False, True])
def test_starts_of_sub_networks(decays):
    X, y = noise(40, 3)
    pricer = TreePricer(X, 1, TreeShape((2,), decays))
    N = np.random.default_rng(1).standard_normal((40, 1))
    known = np.zeros((2 * 3 + 2, 0))
    found = pricer.search(N, known, np.random.default_rng(0), FAIR)
    assert len(found.starts.prices) == 150  # the half that is not given up
    assert 0.0 < chance_of_unseen(found.starts, pricer.signature) <= 1.0
    assert pricer.search(N, known, np.random.default_rng(0), LIGHT).starts is None


def test_resolution_is_what_a_larger_price_would_cost():
    X, y = noise(60, 3)
    stated = problem(X, y, alpha=0.05)
    N = stated.balanced(stated.gradient_at(np.zeros((60, 1)) + y.mean()))
    own = with_chance(stated, N, certificate_at(stated, 1.0, N, 0.2), 0.5)
    assert own.unseen_chance == 0.5
    more = lower_bound(stated, N, 0.2) - lower_bound(stated, N, 0.2 * 1.011)
    assert_allclose(own.resolution, more, rtol=1e-9)
    assert certify_at(stated, 1.0, N, 0.2).unseen_chance == 1.0  # nothing known
    fine = with_chance(stated, N, certificate_at(stated, 1.0, N, 0.2), 0.5, True)
    assert 0.0 < fine.resolution < 0.1 * own.resolution
    exact = certificate_at(stated, 1.0, N, 0.2, exact_bound=0.2)
    assert with_chance(stated, N, exact, 0.5) == exact
    assert exact.unseen_chance == exact.resolution == 0.0


def test_resolution_is_in_the_units_of_the_objective():
    X, y = diabetes()
    options = {"alpha": 0.03, "random_state": 0}
    own = ConvexReLURegressor(**options).fit(X, y).certificate_
    scaled = ConvexReLURegressor(**options).fit(X, 1024.0 * y).certificate_
    assert own.kind == "priced" and 0.0 < own.unseen_chance < 1.0
    assert 0.0 < own.resolution < own.objective
    assert_allclose(scaled.unseen_chance, own.unseen_chance)
    assert_allclose(scaled.resolution, 2.0**20 * own.resolution, rtol=1e-9)


def test_proofs_have_none():
    X, y = noise(30, 2)
    exact = ConvexReLURegressor(0.1).fit(X[:, :1], y).certificate_
    assert exact.kind == "exact"
    assert exact.unseen_chance == exact.resolution == 0.0
    X, y = noise(40, 4)
    model = ConvexReLURegressor(0.1, random_state=0).fit(X, y)
    assert model.certificate_.unseen_chance > 0.0
    bound = model.certify(X, y, time_limit=0.5).certificate_
    assert bound.unseen_chance == bound.resolution == 0.0
    options = {"patterns": "random", "n_patterns": 20, "random_state": 0}
    fixed = ConvexReLURegressor(0.1, **options).fit(X, y).certificate_
    assert fixed.kind == "restricted"
    assert fixed.unseen_chance == fixed.resolution == 0.0
    assert fixed.over_all.unseen_chance > 0.0


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_a_tolerance_below_the_resolution_warns(norm):
    X, y = noise(150, 8)
    model = ConvexReLURegressor(0.02, tol=1e-4, norm=norm, random_state=0)
    with pytest.warns(ConvergenceWarning, match="expected to miss more"):
        model.fit(X, y)
    certificate = model.certificate_
    assert model.status_ is Status.UNRESOLVED
    assert model.dual_gap_ <= model.tolerance_ < certificate.resolution / 3.0
    model.set_params(alpha=0.3, tol=1e-3).fit(X, y)
    assert model.certificate_.resolution < model.tolerance_
    assert model.status_ is Status.CONVERGED


def test_every_loss_and_several_outputs_have_them():
    X, y = noise(60, 5)
    Y, labels = np.column_stack([y, -y]), np.digitize(y, [0.0, 1.5])
    for loss in ("squared_error", "huber", "absolute_error"):
        model = ConvexReLURegressor(0.2, loss=loss, tol=1e-2, random_state=0)
        own = model.fit(X, y).certificate_
        assert own.kind == "priced" and 0.0 < own.unseen_chance < 0.5
        assert 0.0 < own.resolution < model.tolerance_
    for kind, target in [(ConvexReLURegressor, Y), (ConvexReLUClassifier, labels)]:
        own = kind(0.2, tol=1e-2, random_state=0).fit(X, target).certificate_
        assert own.kind == "priced" and 0.0 < own.unseen_chance < 0.5
