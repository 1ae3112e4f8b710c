"""Proven bounds of sub-networks: never above an optimum, by the pieces and whole."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import bumps, diabetes, known_optimum, problem
from sklearn.exceptions import ConvergenceWarning

from sklearn_convexrelu import ConvexReLUClassifier, ConvexReLURegressor, training
from sklearn_convexrelu.adaptive.loop import AdaptiveSolver
from sklearn_convexrelu.certificates.certificate import price_bound
from sklearn_convexrelu.certificates.relaxation import composition, proof
from sklearn_convexrelu.certificates.relaxation.composition import Leaves, Pairs
from sklearn_convexrelu.certificates.relaxation.one_norm import one_norm_bound
from sklearn_convexrelu.certificates.relaxation.search import semidefinite_bound
from sklearn_convexrelu.certificates.relaxation.semidefinite import Quadratic
from sklearn_convexrelu.data.statement import state_problem
from sklearn_convexrelu.model.losses import (
    Huber,
    Logistic,
    Poisson,
    Softmax,
    SquaredHinge,
)
from sklearn_convexrelu.model.norms import ONE_NORM
from sklearn_convexrelu.model.piecewise import Quantile
from sklearn_convexrelu.model.subnetworks import TreeShape
from sklearn_convexrelu.pricing.pairs import PairPricing
from sklearn_convexrelu.training import Training, largest_alpha, train

EPS = np.finfo(float).eps
WIDTHS = [(2,), (3,), (2, 2), (3, 1), (1, 2, 2)]


def peaceful(function, *args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return function(*args, **options)


def of_trees(stated, widths=(2,), decays=False, share=None, **shape):
    """Return a problem of sub-networks, at a share of its largest alpha."""
    stated = replace(stated, shape=TreeShape(widths, decays, **shape))
    return stated if share is None else stated.with_alpha(share * largest_alpha(stated))


def values_by_hand(leaves, signs, widths, X):
    """The value of one sub-network, level by level; signs in the order of levels."""
    H, signs = np.maximum(X @ leaves.T, 0.0), list(signs)
    for width in widths:
        columns = []
        for first in range(0, H.shape[1], width):
            own = [signs.pop(0) for _ in range(width)]
            columns.append(np.maximum(H[:, first : first + width] @ own, 0.0))
        H = np.column_stack(columns)
    return H[:, 0]


def random_weights(rng, n, n_outputs, shape):
    """A dual point, and the weights of a proof for random sums of leaves."""
    stated = problem(rng.standard_normal((n, 3)), rng.standard_normal((n, n_outputs)))
    units = Leaves(replace(stated, shape=shape))
    N = rng.standard_normal((n, n_outputs))
    totals = rng.uniform(0.0, 0.1, (2, units.n_columns, n))
    common = replace(units.common(0.0, N), slopes=rng.random((1, 2, n_outputs, n)))
    return N, units, -units.weights(totals, common, N)


@pytest.mark.parametrize("widths", WIDTHS)
def test_leaves_bound_sub_networks_row_by_row(widths):
    rng = np.random.default_rng(len(widths))
    shape, broken = TreeShape(widths), 0
    for trial in range(200):
        n, n_outputs = 8, 1 + trial % 2
        N, units, E = random_weights(rng, n, n_outputs, shape)
        X = rng.standard_normal((n, 2))
        V = rng.standard_normal((shape.n_leaves, 2)) * rng.exponential(
            size=(shape.n_leaves, 1)
        )
        signs = np.where(rng.random(shape.n_signs) < 0.4, -1.0, 1.0)
        phi = values_by_hand(V, signs, widths, X)
        lengths = np.linalg.norm(V, axis=1)
        # What the leaves' own directions are worth is no more than what any are.
        priced = E @ np.maximum(X @ (V / lengths[:, None]).T, 0.0)
        worth = priced.max(axis=-1)[None]
        cost = np.linalg.norm(lengths)
        assert np.linalg.norm(N.T @ phi) <= units.price(worth) * cost * (1 + 1e-12)
        signed = np.array([-(N.T @ phi), N.T @ phi])
        by_role = units.by_output(worth)[0].max(axis=1)
        assert (signed <= by_role * lengths.sum() * (1 + 1e-12)).all()
        without = units.by_output(worth)[0][:, 0]  # leaves with a minus left out
        broken += (signed > without * lengths.sum() * (1 + 1e-12)).any()
    assert broken > 0 or widths == (1, 2, 2)


@pytest.mark.parametrize("decays", [False, True])
def test_exact_prices_of_pairs_are_below_those_composed_of_exact_ones(decays):
    rng = np.random.default_rng(0)
    shape, tight = TreeShape((2,), decays), []
    turns = np.linspace(0.0, 2.0 * np.pi, 4000)
    U = np.stack([np.cos(turns), np.sin(turns)])
    for _ in range(15):
        X = np.c_[rng.standard_normal(9), np.ones(9)]
        N, units, E = random_weights(rng, 9, 1, shape)
        blocks = (E @ np.maximum(X @ U, 0.0)).max(axis=-1)[None]
        composed = units.price(np.maximum(blocks, 0.0))
        exact = PairPricing(X, shape).price(N).prices[0]
        assert exact <= composed * (1 + 1e-5)  # of the grid
        tight.append(composed / exact)
    assert min(tight) < 1.5


@pytest.mark.parametrize(
    "name",
    ["three_layer_path_n6_a002", "three_layer_wd_n6_a002", "four_layer_path_n5_s33"],
)
def test_known_optima_are_not_exceeded(name):
    case = known_optimum(name)
    X, y, alpha, optimum = (case[k] for k in ("X", "y", "alpha", "optimum"))
    stated = problem(X, y, alpha=float(alpha), fit_intercept=False, hidden_bias=False)
    widths = tuple(int(m) for m in np.atleast_1d(case["widths"]))
    stated = of_trees(stated, widths, str(case["penalty"]) != "path")
    bound = semidefinite_bound(stated, max_regions=2, n_neighbors=3)
    assert 0.1 * optimum <= bound.lower_bound <= optimum * (1 + 1e-7)


@pytest.mark.parametrize("decays", [False, True])
@pytest.mark.parametrize("share", [0.5, 0.05])
def test_proven_optima_of_pairs_are_not_exceeded(decays, share):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((12, 1))
    y = np.sin(3.0 * x[:, 0]) + (x[:, 0] > 0.0)
    stated = of_trees(problem(x, y), (2,), decays, share)
    truth = peaceful(train, Training.of(stated, AdaptiveSolver(tol=1e-6))).certificate
    assert truth.kind == "exact"
    bound = semidefinite_bound(stated, n_neighbors=3)
    assert bound.lower_bound <= truth.objective
    N = bound.dual_point
    exact = PairPricing(stated.X, stated.shape).price(N)
    assert exact.prices[0] <= bound.price_bound
    assert bound.price_bound < price_bound(stated, N)


@pytest.mark.parametrize("widths", [(3,), (2, 2)])
def test_enumerated_optima_are_not_exceeded(widths):
    rng = np.random.default_rng(1)
    n = 3 if widths == (3,) else 2
    X, y = rng.standard_normal((n, 2)), rng.standard_normal(n)
    options = {"fit_intercept": False, "hidden_bias": False, "random_state": 0}
    model = ConvexReLURegressor(
        0.2, subnetwork_widths=widths, patterns="exact", tol=1e-7, **options
    ).fit(X, y)
    stated = problem(X, y, alpha=model.alpha_, fit_intercept=False, hidden_bias=False)
    bound = semidefinite_bound(of_trees(stated, widths), max_regions=3, n_neighbors=2)
    assert 0.2 * model.objective_ <= bound.lower_bound <= model.objective_ + 1e-9


def test_what_copies_of_a_leaf_are_worth_is_allowed_for():
    # Between the largest alpha of neurons and that of sub-networks a pair of copies
    # lowers the loss: a bound that took a cost of one for lengths of one would not
    # allow for it.
    stated = problem(*bumps(20, 4))
    alone, pairs = largest_alpha(stated), largest_alpha(of_trees(stated))
    stated = of_trees(stated).with_alpha(0.5 * (alone + pairs))
    objective = peaceful(
        train, Training.of(stated, AdaptiveSolver(tol=1e-5))
    ).certificate.objective
    assert objective < (1.0 - 1e-4) * stated.loss_scale()
    bound = semidefinite_bound(stated)
    assert 0.95 * objective < bound.lower_bound <= objective


LOSSES = {
    "huber": (Huber(0.7), lambda s: s),
    "quantile": (Quantile(0.7), lambda s: s),
    "poisson": (Poisson(), lambda s: np.round(np.exp(s / 2)) + 0.0),
    "logistic": (Logistic(), lambda s: (s > 0) + 0.0),
    "softmax": (Softmax(), lambda s: np.eye(3)[np.digitize(s[:, 0], [-0.5, 0.5])]),
    "hinge": (SquaredHinge(), lambda s: np.where(s > 0, 1.0, -1.0)),
}


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_has_bounds_below_what_is_attained(name, norm):
    rng = np.random.default_rng([*name.encode()])
    X = rng.standard_normal((14, 3))
    score = np.sin(2 * X[:, :1]) + 0.5 * X[:, 1:2] + 0.2 * rng.standard_normal((14, 1))
    loss, targets = LOSSES[name]
    weights = rng.uniform(0.2, 3.0, 14)
    stated = state_problem(
        X, targets(score), weights, loss, fit_intercept=True, hidden_bias=True
    )
    shape = {} if norm == "l2" else {"norm": ONE_NORM}
    widths = (2,) if name in ("huber", "logistic") else (3,)
    stated = of_trees(stated, widths, norm == "l1", 0.2, **shape)
    solution = peaceful(train, Training.of(stated, AdaptiveSolver(tol=1e-3)))
    certificate = solution.certificate
    if norm == "l1":
        bound = one_norm_bound(stated, solution.network, max_regions=8, time_limit=1)
    else:
        bound = semidefinite_bound(stated, solution.network, n_neighbors=3, max_iter=30)
    assert bound.lower_bound <= certificate.objective
    if loss.is_smooth:  # else the fit's own dual point may be better than any here
        assert bound.lower_bound >= certificate.proven_lower_bound - 1e-9


def test_linear_bounds_of_sub_networks_are_above_prices_that_are_found():
    rng = np.random.default_rng(0)
    for widths in ((2,), (2, 2)):
        X, Y = rng.standard_normal((10, 3)), rng.standard_normal((10, 2))
        stated = of_trees(problem(X, Y), widths, norm=ONE_NORM).with_alpha(0.1)
        empty = stated.null_network()
        bound = one_norm_bound(stated, empty, max_regions=8, time_limit=0.0)
        solution = peaceful(train, Training.of(stated, AdaptiveSolver(tol=1e-2)))
        assert bound.lower_bound <= solution.certificate.objective
        assert bound.n_regions == 1


def test_certify_of_an_estimator(monkeypatch):
    monkeypatch.setattr(training, "_MOST_REGIONS", 1)
    X, y = diabetes()
    X, y = X[:200], y[:200]
    model = ConvexReLURegressor(0.3, subnetwork_widths=(3,), random_state=0).fit(X, y)
    before, predictions = model.certificate_, model.predict(X)
    weak = before.proven_lower_bound
    assert weak < 0.7 * model.objective_
    assert model.certify(X, y, time_limit=np.inf) is model
    after = model.certificate_
    assert after.kind == "bound"
    assert 0.85 * model.objective_ < after.lower_bound < model.objective_
    assert after.lower_bound == after.proven_lower_bound == model.lower_bound_
    assert_allclose(model.predict(X), predictions, rtol=0.0)


@pytest.mark.parametrize("widths", [(3,), (2, 2)])
def test_certify_of_classifiers_weights_and_units(widths):
    X, y = bumps(40, 4)
    labels = np.digitize(y, [0.0, 1.0])
    weights = np.random.default_rng(0).integers(0, 3, 40)
    model = ConvexReLUClassifier(
        0.2, subnetwork_widths=widths, tol=0.05, random_state=0
    )
    peaceful(model.fit, X * 1e3, labels, weights)
    before = model.certificate_.proven_lower_bound
    model.certify(X * 1e3, labels, weights, time_limit=1)
    assert model.certificate_.kind == "bound"
    assert before <= model.lower_bound_ <= model.objective_
    model.certify(X * 1e3, labels, weights, time_limit=0)  # never worse
    assert before <= model.lower_bound_


def test_fixed_patterns_of_sub_networks_are_proven_beside_their_own_bound():
    X, y = bumps(20, 4)
    model = ConvexReLURegressor(
        0.3, subnetwork_widths=(2,), patterns="random", random_state=0
    )
    peaceful(model.fit, X, y)
    own = model.lower_bound_
    model.certify(X, y, time_limit=0.5)
    assert model.certificate_.over_all.kind == "bound"
    assert model.lower_bound_ == own
    assert model.certificate_.over_all.lower_bound <= model.objective_


def test_pairs_bound_their_values_row_by_row():
    rng, broken = np.random.default_rng(0), 0
    for trial in range(100):
        decays, n, n_outputs = bool(trial % 2), 8, 1 + trial % 3 // 2
        X = rng.standard_normal((n, 2))
        stated = problem(X, rng.standard_normal((n, n_outputs)))
        units = Pairs(of_trees(stated, (2,), decays))
        N = rng.standard_normal((n, n_outputs))
        slopes = rng.random((2, 2, n_outputs, n))
        totals = rng.uniform(0.0, 0.1, (2, units.n_columns, 3 * n))
        common = replace(units.common(0.0, N), slopes=slopes)
        E = -units.weights(totals, common, N)
        V = rng.standard_normal((2, 2))
        cost = np.linalg.norm(V, axis=1)
        cost = cost.sum() if decays else np.linalg.norm(cost)
        values = np.maximum(units.rows(X) @ V.ravel(), 0.0)
        priced = units.by_output(E @ values)
        for role, signs in enumerate([(1.0, -1.0), (1.0, 1.0)]):
            leaves = V * [[1.0], [0.0]] if decays and role else V
            phi = values_by_hand(leaves, signs, (2,), X)
            signed = np.array([-(N.T @ phi), N.T @ phi])
            assert (signed <= priced[:, role] + 1e-12).all()
        signed = np.array([-(N.T @ phi), N.T @ phi])
        broken += (signed > priced[:, 0] + 1e-12).any()
        assert np.linalg.norm(V) <= cost * (1 + 1e-12)
    assert broken > 0  # signs (+, +) have need of a block of their own


def test_rounding_of_quadratics_is_added():
    # Nothing but the sizes of what was added up: all of the maximum is an allowance.
    none = Quadratic(
        np.zeros((1, 2, 2)), np.zeros((1, 2)), np.zeros(1), np.full(1, 3.0)
    )
    for n_terms in (10, 100_000):
        allowed = proof._sphere_maximum(none, n_terms)[0]
        assert n_terms * EPS * 3.0 <= allowed <= max(100 * n_terms * EPS, 1e-11) * 3.0


def test_rounding_of_prices_is_added():
    units = Leaves(of_trees(problem(*bumps(10, 2))))
    prices = np.array([[[3.0, 1.0], [2.0, 5.0]]])
    # A root, a norm and a product are off by some roundings of 1e-16 each.
    assert units.price(prices) >= np.sqrt(2.0) * 5.0 * (1 + 5e-15)
    assert units.price(prices) <= np.sqrt(2.0) * 5.0 * (1 + 1e-12)
    two = Leaves(of_trees(problem(np.eye(3), np.eye(3)[:, :2])))
    prices = np.zeros((2, 2, 4))
    prices[0, 0, 0], prices[1, 1, 3] = 3.0, 4.0  # outputs in different regions
    assert_allclose(two.price(prices), np.sqrt(2.0) * 5.0)
    assert composition.Neurons(problem(np.eye(3), np.eye(3)[:, :2])).price(
        prices[..., :2]
    ) == pytest.approx(3.0)
