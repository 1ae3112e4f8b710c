"""What proofs rest on, piece by piece: allowances, units, choices, what is kept."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import bumps, problem

from sklearn_convexrelu import ConvexReLURegressor, _callbacks
from sklearn_convexrelu._failures import undone_on_failure
from sklearn_convexrelu._folds import chosen_index
from sklearn_convexrelu.adaptive import loop
from sklearn_convexrelu.adaptive.start import samples_of
from sklearn_convexrelu.certificates.certificate import lower_bound
from sklearn_convexrelu.certificates.relaxation import regions
from sklearn_convexrelu.certificates.relaxation.proof import proven_value, region_prices
from sklearn_convexrelu.certificates.relaxation.semidefinite import Relaxation, State
from sklearn_convexrelu.model.losses import Logistic, Softmax
from sklearn_convexrelu.model.subnetworks import TreeShape
from sklearn_convexrelu.patterns import planes
from sklearn_convexrelu.pricing.exact import ExactPricing, exact_price
from sklearn_convexrelu.pricing.kernels import Candidates

EPS = np.finfo(float).eps


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_slack_allows_for_the_rounding_of_sums(rank):
    rng = np.random.default_rng(rank)
    X, N = rng.standard_normal((100, rank)), rng.standard_normal(100)
    sizes = np.abs(N) @ np.linalg.norm(X, axis=1)
    # A sum of 100 products is off by up to sqrt(100) roundings, in all likelihood.
    assert 10.0 * EPS * sizes <= ExactPricing(X).slack(N) <= 100.0 * EPS * sizes
    columns = np.column_stack([N, N])
    if rank < 3:
        both = np.sqrt(2.0) * ExactPricing(X).slack(N)
        assert_allclose(ExactPricing(X).slack(columns), both, rtol=1e-12)


def test_slack_allows_for_rows_that_are_merged():
    # Closer in angle than planes are told apart, and a thousand times as long.
    X = np.array([[1.0, 0.0], [1e3, 1.5e-10], [0.0, 1.0]])
    N = np.array([0.0, -2.0, 0.0])
    pricing = ExactPricing(X)
    assert pricing.n_planes == 2
    moved = 2.0 * 1.5e-10  # |N_i| times the distance to the multiple of the first row
    assert 0.99 * moved <= pricing.slack(N - [0.0, 0.0, 1e-3])
    apart = ExactPricing(X * [1.0, 0.0] + [0.0, 1e-300])
    assert apart.slack(N) < moved / 5.0
    # What the merged planes say and what the rows do differ by no more than that.
    u = np.array([-1e-13, 1.0])
    merged = np.maximum(1e3 * X[0] @ u, 0.0)
    assert abs(np.maximum(X[1] @ u, 0.0) - merged) <= pricing.slack(N)


def sphere_price(rows, N):
    """A proven price over the whole sphere, from arbitrary multipliers."""
    relaxation = Relaxation(rows, [regions.Region.sphere(rows)], 1.0, 0.1)
    W = np.random.default_rng(0).standard_normal((1, 2, 1, rows.rank, 2))
    a, none = np.ones((1, 2, 1, len(N))), relaxation.no_multipliers(1)
    weights = np.stack([N.T, -N.T])
    return region_prices(relaxation, State(W, a, none), weights).max()


def test_proofs_allow_for_the_singular_value_left_out(monkeypatch):
    rng = np.random.default_rng(0)
    X, N = rng.standard_normal((20, 2)) * [1.0, 0.3], rng.standard_normal((20, 1))
    monkeypatch.setattr(regions, "row_space", lambda A: planes.row_space(A, 0.5))
    rows = regions.RowSpace.of(X, 3)
    assert rows.rank == 1
    assert_allclose(rows.dropped, np.linalg.svd(X)[1][1], rtol=1e-12)
    bound = sphere_price(rows, N)
    rest = bound - sphere_price(replace(rows, dropped=0.0), N)
    assert_allclose(rest, rows.dropped * np.linalg.norm(N), rtol=1e-9)
    assert exact_price(X, N[:, 0]).prices[0] <= bound


@pytest.fixture
def points(monkeypatch):
    """Points that were priced, how hard, and whether to the end, as runs go on."""
    points, price = [], loop._Run.price_and_certify

    def noted(run, effort, enough=None):
        found = price(run, effort, enough)
        points.append((run.point, effort, enough is None))
        return found

    monkeypatch.setattr(loop._Run, "price_and_certify", noted)
    return points


def test_a_run_of_many_rounds_looks_twice_at_the_same_network(points, monkeypatch):
    X, y = bumps(120, 4)
    stated = problem(X, y / y.std(), alpha=0.05)
    for rounds, looks in ((1, 2), (1000, 1)):
        points.clear()
        monkeypatch.setattr(loop, "_MANY_ROUNDS", rounds)
        solver = loop.AdaptiveSolver(tol=1e-2)
        (solution,) = solver.over(stated).path([stated.alpha])
        assert solution.status.name == "CONVERGED"
        last = points[-1][0]
        careful = [whole for point, effort, whole in points if point is last and effort]
        hard = [e for p, e, _ in points if p is last and e is not loop.LIGHT]
        assert len(hard) == looks
        assert careful[-1] == (rounds == 1)  # the second runs to its end


def test_subnetworks_are_looked_at_twice(points):
    X, y = bumps(30, 2)
    shape = TreeShape((2,))
    stated = replace(problem(X, y / y.std(), alpha=0.3), shape=shape)
    (solution,) = loop.AdaptiveSolver(tol=1e-2).over(stated).path([stated.alpha])
    assert solution.certificate.kind == "priced"
    last = points[-1][0]
    hard = [
        whole for point, effort, whole in points if point is last and effort.certifies
    ]
    assert hard == [False, True]  # the second runs to its end


def test_a_proven_value_allows_for_its_rounding():
    X, y = bumps(40, 2)
    stated = problem(X, 1e3 * y, alpha=0.05)
    N = 0.5 * (stated.Y.mean(axis=0) - stated.Y)
    value, proven = lower_bound(stated, N, 0.0), proven_value(stated, N, 0.0)
    # A sum of 40 products is off by up to 40 roundings of their sizes.
    assert value - proven >= 40.0 * EPS * np.sum(np.abs(N * stated.Y))
    assert value - proven <= 1e-9 * value


@pytest.mark.parametrize("loss", [Logistic(), Softmax()])
def test_a_sample_that_lost_a_class_is_no_start(loss):
    rng = np.random.default_rng(0)
    X, rare = rng.standard_normal((40_000, 3)), np.arange(40_000) == 17
    labels = np.where(rare, 0, 1 + (X[:, 0] > 0.0))
    if isinstance(loss, Logistic):
        Y, common = 2.0 * rare[:, None] - 1.0, np.sign(X[:, :1])
    else:
        Y, common = np.eye(3)[labels], np.eye(3)[labels + (labels == 0)][:, 1:]
    stated = replace(problem(X, X[:, 0]), rows=X, Y=Y, loss=loss)
    stated = replace(stated, weights=np.full(40_000, 1.0 / 40_000))
    assert samples_of(stated, 1) == (None, None)  # seed 0 draws the row
    sample, others = samples_of(replace(stated, Y=common), 0)
    assert (np.ptp(sample.Y, axis=0) > 0.0).all() and len(sample.rows) < 40_000
    assert 0 < len(others.rows) <= len(sample.rows)


def test_prices_of_the_history_are_in_units_of_the_data():
    X, y = bumps(60, 1)
    for size, unit in ((1.0, 1.0), (1e-2, 1e3), (1e4, 1e-3)):
        # No bias: scales of X multiply prices.
        model = ConvexReLURegressor(
            alpha=0.1, hidden_bias=False, fit_intercept=False, random_state=0
        ).fit(size * X, unit * y)
        N = (model.predict(size * X) - unit * y) / len(X)
        price = exact_price(size * X, N).prices[0]
        assert_allclose(model.certificate_.price, price, rtol=1e-9)
        assert_allclose(model.history_[-1]["price"], price, rtol=1e-6)
        assert_allclose(model.history_[-1]["objective"], model.objective_, rtol=1e-6)


def test_one_standard_error_divides_by_one_fold_less():
    best = [0.0, 1.0, 2.0]
    means = np.array([0.3, 0.45, 1.0])  # the error is 0.577; 0.471 with n, 0.816 n - 2
    scores = np.column_stack([means[:2]] * 3)
    assert chosen_index(np.vstack([scores, best]), "1se") == 1
    assert chosen_index(np.array([[0.1, 0.1], [0.0, 2.0]]), "1se") == 0


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_joined_candidates_lower_the_loss_along_their_outputs(n_outputs):
    rng = np.random.default_rng(0)
    X, N = rng.standard_normal((30, 4)), rng.standard_normal((30, n_outputs))

    def totals(U):
        return np.maximum(X @ U, 0.0).T @ N

    U, V = rng.standard_normal((2, 4, 6))
    found = Candidates.sorted(U, totals(U)).joined(V, totals(V))
    assert len(found.prices) == 12
    expected = totals(found.directions)
    assert_allclose(found.prices, np.linalg.norm(expected, axis=1), rtol=1e-12)
    assert_allclose(found.outputs * found.prices[:, None], -expected, rtol=1e-9)
    assert_allclose(found.totals, expected, rtol=1e-9)
    assert (np.diff(found.prices) <= 0.0).all()


def test_a_failure_undoes_all_but_what_scikit_learn_notes():
    class Estimator:
        pass

    estimator = Estimator()
    estimator.coefs_, estimator.gone_ = 1, 2
    names = _callbacks.BOOKKEEPING
    with pytest.raises(KeyboardInterrupt), undone_on_failure(estimator):
        estimator.coefs_, estimator.new_ = 3, 4
        del estimator.gone_
        for name in names:
            setattr(estimator, name, name.upper())
        raise KeyboardInterrupt
    kept = {name: name.upper() for name in names}
    assert vars(estimator) == {"coefs_": 1, "gone_": 2} | kept
    assert len(kept) == 2
