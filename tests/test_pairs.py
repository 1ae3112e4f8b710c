"""Exact pricing of pairs of leaves against enumeration, descent and invariances."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import bumps, problem
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sklearn_convexrelu import ConvexReLUClassifier, ConvexReLURegressor
from sklearn_convexrelu.certificates.certificate import lower_bound, price_bound
from sklearn_convexrelu.model.norms import EUCLIDEAN, ONE_NORM
from sklearn_convexrelu.model.subnetworks import TreeShape
from sklearn_convexrelu.patterns.subnetworks import TreeCells, enumerate_trees
from sklearn_convexrelu.pricing.exact import exact_price
from sklearn_convexrelu.pricing.pairs import PairPricing, serves_pairs
from sklearn_convexrelu.pricing.search import FAIR, HARD
from sklearn_convexrelu.pricing.subnetworks import TreePricer
from sklearn_convexrelu.pricing.tree_polish import polished
from sklearn_convexrelu.programmes import fixed_patterns
from sklearn_convexrelu.programmes.group_lasso import GroupLasso

SHAPES = {"path": TreeShape((2,)), "weight_decay": TreeShape((2,), decays=True)}


def values(X, V):
    """Values of the sub-networks ``relu(relu(X v) - relu(X w))`` of pairs, (n, K)."""
    H = np.maximum(np.einsum("nd,kpd->nkp", X, V), 0.0)
    return np.maximum(H[..., 0] - H[..., 1], 0.0)


def cost(V, penalty):
    """Cost of pairs by the definition."""
    lengths = np.linalg.norm(V, axis=2)
    return (
        lengths.sum(1) if penalty == "weight_decay" else np.linalg.norm(lengths, axis=1)
    )


def deep(X, rng):
    """A dual point along which pairs of leaves are worth more than neurons.

    That of a good two-layer network for values that go up and down.
    """
    y = np.sin(6.0 * np.arctan2(*X[:, :2].T)) if X.shape[1] > 1 else X[:, 0]
    y = y * np.linalg.norm(X, axis=1)
    model = ConvexReLURegressor(
        alpha=0.01, fit_intercept=False, hidden_bias=False, random_state=0
    )
    N = model.fit(X, y).predict(X) - y
    return N + 1e-3 * np.abs(N).max() * rng.standard_normal(len(X))


DATA = {
    "bias": lambda rng, n: np.c_[rng.standard_normal(n), np.ones(n)],
    "plane": lambda rng, n: rng.standard_normal((n, 2)),
    "one column": lambda rng, n: rng.standard_normal((n, 1)),
    "grid": lambda rng, n: np.c_[rng.integers(-1, 2, n), np.ones(n)].astype(float),
    "zero rows": lambda rng, n: (
        rng.standard_normal((n, 2)) * (np.arange(n) > 1)[:, None]
    ),
    "far and near": lambda rng, n: np.c_[10.0 ** rng.integers(-3, 3, n), np.ones(n)],
    "rank two of three": lambda rng, n: rng.standard_normal((n, 2)) @ np.eye(2, 3, 1),
}


@pytest.mark.parametrize("penalty", SHAPES)
@pytest.mark.parametrize("kind", DATA)
def test_prices_are_those_of_all_cells(kind, penalty):
    rng = np.random.default_rng(sorted(DATA).index(kind))
    X, shape = DATA[kind](rng, 5 if kind in ("bias", "plane") else 4), SHAPES[penalty]
    stated = problem(X, X[:, 0], fit_intercept=False, hidden_bias=False)
    cells = enumerate_trees(X, shape)
    programme = GroupLasso.trees(_with_shape(stated, X, shape), cells, gated=False)
    for N in (deep(X, rng), -deep(X, rng), rng.standard_normal(len(X))):
        pricing = PairPricing(X, shape)
        found = pricing.price(N, 5)
        reference = programme.priced(N[:, None])[0]
        assert_allclose(found.prices[0], reference, rtol=2e-7)
        assert pricing.slack(N) <= 1e-8 * found.prices[0]
        W, signs = shape.unpacked(found.directions.T)
        assert_allclose(shape.costs(W), 1.0, rtol=1e-12)
        phi = shape.values(shape.leaves(W), signs, X)
        assert_allclose(N @ phi, found.values[:, 0], rtol=1e-10, atol=1e-14)


def _with_shape(stated, X, shape):
    N = np.zeros((len(X), 1))
    weights = np.full(len(X), 1.0 / len(X))
    return replace(stated, rows=X, Y=N, weights=weights, shape=shape)


@pytest.mark.parametrize("penalty", SHAPES)
def test_no_descent_finds_a_larger_price(penalty):
    rng = np.random.default_rng(4)
    X = np.c_[rng.standard_normal(40), np.ones(40)]
    N = deep(X, rng)
    best = PairPricing(X, SHAPES[penalty]).price(N).prices[0]
    neuron = exact_price(X, N).prices[0]
    assert best > 1.3 * neuron * (np.sqrt(2.0) if penalty == "path" else 1.0)

    def minus(z):
        V = z.reshape(1, 2, 2)
        return -abs(N @ values(X, V)[:, 0]) / max(cost(V, penalty)[0], 1e-12)

    starts = rng.standard_normal((20, 4))
    found = [-minimize(minus, z, method="Nelder-Mead").fun for z in starts]
    assert max(found) <= best * (1.0 + 1e-12)
    assert max(found) >= 0.95 * best


@pytest.mark.parametrize("penalty", SHAPES)
def test_prices_follow_rotations_units_and_repeated_rows(penalty):
    rng = np.random.default_rng(1)
    X, shape = rng.standard_normal((12, 2)), SHAPES[penalty]
    N = deep(X, rng)
    price = PairPricing(X, shape).price(N).prices[0]
    turn = np.linalg.qr(rng.standard_normal((2, 2)))[0]
    assert_allclose(PairPricing(X @ turn, shape).price(N).prices[0], price, rtol=1e-9)
    assert_allclose(PairPricing(1e6 * X, shape).price(N).prices[0], 1e6 * price)
    assert_allclose(PairPricing(X, shape).price(-1e-9 * N).prices[0], 1e-9 * price)
    twice, halves = np.vstack([X, 2.0 * X]), np.concatenate([0.5 * N, 0.25 * N])
    assert_allclose(PairPricing(twice, shape).price(halves).prices[0], price, rtol=1e-9)


def test_a_known_price_is_a_floor_and_keeps_the_bound():
    rng = np.random.default_rng(2)
    X, shape = np.c_[rng.standard_normal(15), np.ones(15)], SHAPES["path"]
    N, pricing = deep(X, rng), PairPricing(X, SHAPES["path"])
    price = pricing.price(N).prices[0]
    for known in (0.5 * price, price, price * (1.0 - 1e-9)):
        found = pricing.price(N, 1, known)
        bound = max(found.prices[0], known) + pricing.slack(N)
        assert price <= bound <= price * (1.0 + 1e-7)
    assert pricing.price(0.0 * N).prices[0] == 0.0
    nothing = PairPricing(np.zeros((3, 2)), shape)
    assert nothing.price(np.ones(3)).prices[0] == nothing.slack(np.ones(3)) == 0.0


def test_slack_has_what_the_rank_leaves_out_and_what_merging_moves():
    shape, N = SHAPES["path"], np.array([1.0, -2.0, 0.5])
    X = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 1e-11]])
    dropped = PairPricing(X, shape).slack_of_rows(N)
    assert dropped >= np.sqrt(2.0) * 0.5 * np.linalg.svd(X)[1][2]
    # Rows that differ by less than planes are told apart are merged.
    X = np.array([[1.0, 0.0], [1.0, 1e-13], [0.0, 1.0]])
    merged = PairPricing(X, shape).slack_of_rows(N)
    exact = np.sqrt(2.0) * 2.0 * 1e-13
    assert merged >= exact > 10.0 * PairPricing(X[[0, 0, 2]], shape).slack_of_rows(N)


def test_slack_is_the_excess_and_that_of_the_rows():
    rng = np.random.default_rng(2)
    X, shape = np.c_[rng.standard_normal(15), np.ones(15)], SHAPES["path"]
    N, pricing = deep(X, rng), PairPricing(X, shape)
    price = pricing.price(N).prices[0]
    rows = pricing.slack_of_rows(N)
    assert 1e-16 * price < rows < 1e-12 * price
    # Bounds of cells are taken for those of the price up to a relative 1e-11.
    assert_allclose(pricing.slack(N) - rows, 1e-11 * price, rtol=1e-3)
    pricing.price(np.zeros(15))
    assert pricing.slack(N) == rows


def test_what_is_not_served_is_refused_or_searched():
    X, y = bumps(20, 2)
    stated = problem(X[:, :1], y)
    pair = replace(stated, shape=SHAPES["path"])
    assert serves_pairs(pair)
    assert not serves_pairs(stated)
    assert not serves_pairs(replace(pair, shape=TreeShape((3,))))
    assert not serves_pairs(replace(pair, shape=TreeShape((2, 2))))
    assert not serves_pairs(replace(pair, shape=TreeShape((2,), False, ONE_NORM)))
    assert not serves_pairs(replace(pair, Y=np.c_[y, y]))
    assert not serves_pairs(replace(problem(X, y), shape=SHAPES["path"]))
    many = problem(*(a[:, :1] if a.ndim > 1 else a for a in bumps(200, 1)))
    assert not serves_pairs(replace(many, shape=SHAPES["path"]))
    with pytest.raises(ValueError, match="pairs of leaves"):
        PairPricing(X, TreeShape((3,)))
    with pytest.raises(ValueError, match="rank 2 or less"):
        PairPricing(np.c_[X, np.ones(20)], SHAPES["path"])
    with pytest.raises(ValueError, match="one output"):
        PairPricing(X, SHAPES["path"]).price(np.ones((20, 2)))


LOSSES = [
    {"loss": "squared_error"},
    {"loss": "huber"},
    {"loss": "poisson"},
    {"loss": "quantile", "tol": 1e-3},
]


@pytest.mark.parametrize("options", LOSSES, ids=lambda o: o["loss"])
@pytest.mark.parametrize("penalty", SHAPES)
def test_fits_on_one_feature_carry_a_proof(options, penalty):
    X, y = bumps(16, 1)
    y = np.exp(y) if options["loss"] == "poisson" else y
    weights = np.random.default_rng(0).integers(0, 3, 16)
    model = ConvexReLURegressor(
        alpha=0.05,
        subnetwork_widths=(2,),
        penalty=penalty,
        random_state=0,
        **{"tol": 1e-4} | options,
    ).fit(X, y, sample_weight=weights)
    certificate = model.certificate_
    assert certificate.kind == "exact"
    assert model.dual_gap_ <= model.tolerance_
    assert certificate.lower_bound == certificate.proven_lower_bound
    harder = ConvexReLURegressor(**model.get_params()).set_params(random_state=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        other = harder.set_params(tol=1e-5).fit(X, y, sample_weight=weights)
    assert certificate.lower_bound <= other.objective_ * (1.0 + 1e-9)
    assert other.certificate_.lower_bound <= model.objective_ * (1.0 + 1e-9)


def test_the_bound_is_the_dual_value_at_the_exact_price():
    X, y = bumps(12, 1)
    model = ConvexReLURegressor(
        alpha=0.1, subnetwork_widths=(2,), tol=1e-5, random_state=0
    ).fit(X, y)
    stated = problem(X, y, alpha=model.alpha_)
    inputs = stated.rows.array()
    N = (model.predict(inputs[:, :1])[:, None] - stated.Y) / len(X)
    N -= N.mean()
    price = PairPricing(inputs, SHAPES["path"]).price(N).prices[0]
    assert_allclose(model.lower_bound_, lower_bound(stated, N, price), rtol=1e-9)
    assert_allclose(model.certificate_.price, price, rtol=1e-9)


def test_classes_on_one_feature_carry_a_proof():
    rng = np.random.default_rng(3)
    X = rng.standard_normal((30, 1))
    y = (np.abs(X[:, 0]) + 0.3 * rng.standard_normal(30) > 0.7).astype(int)
    options = {"alpha": 0.1, "subnetwork_widths": (2,), "random_state": 0}
    for loss in ("log_loss", "hinge"):
        model = ConvexReLUClassifier(loss=loss, **options).fit(X, y)
        assert model.certificate_.kind == "exact"
        assert model.dual_gap_ <= model.tolerance_


@pytest.mark.parametrize("penalty", SHAPES)
def test_generated_cells_reach_the_optimum_over_all_listed(penalty, monkeypatch):
    X, y = bumps(5, 1)
    model = ConvexReLURegressor(
        alpha=0.05, subnetwork_widths=(2,), penalty=penalty, patterns="exact", tol=1e-6
    )
    generated = clone(model).fit(X, y)
    monkeypatch.setattr(fixed_patterns, "serves_pairs", lambda problem: False)
    listed = model.fit(X, y)
    assert generated.certificate_.kind == listed.certificate_.kind == "exact"
    assert_allclose(generated.alpha_max_, listed.alpha_max_, rtol=1e-9)
    assert abs(generated.objective_ - listed.objective_) <= listed.tolerance_
    assert generated.lower_bound_ <= listed.objective_ * (1.0 + 1e-12)
    assert generated.dual_gap_ <= generated.tolerance_


def test_generated_cells_where_no_list_could_be():
    X, y = bumps(30, 1)
    options = {"alpha": 0.05, "subnetwork_widths": (2,), "random_state": 0}
    model = ConvexReLURegressor(patterns="exact", tol=1e-5, **options).fit(X, y)
    assert model.certificate_.kind == "exact"
    assert model.dual_gap_ <= model.tolerance_
    adaptive = ConvexReLURegressor(tol=1e-4, **options).fit(X, y)
    assert adaptive.lower_bound_ <= model.objective_ * (1.0 + 1e-12)
    assert model.lower_bound_ <= adaptive.objective_
    bounds = [r["objective"] - r["dual_gap"] for r in model.history_]
    assert max(bounds) <= adaptive.objective_


@pytest.mark.parametrize("penalty", SHAPES)
def test_searches_find_what_exact_pricing_finds(penalty):
    shape, lacks = SHAPES[penalty], []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        X = np.c_[rng.standard_normal(20), np.ones(20)] if seed % 2 else None
        X = rng.standard_normal((20, 2)) if X is None else X
        N = deep(X, rng)
        known = np.zeros((6, 0))
        found = TreePricer(X, 1, shape).search(N[:, None], known, rng, HARD)
        pricing = PairPricing(X, shape)
        price = pricing.price(N).prices[0]
        assert found.best <= price + pricing.slack(N) <= (1.0 + 1e-8) * price
        lacks.append(1.0 - found.best / price)
    assert max(lacks) <= 1e-2
    assert np.median(lacks) <= 1e-4


@pytest.mark.parametrize("shape", [*SHAPES.values(), TreeShape((2, 2))], ids=repr)
def test_polished_subnetworks_are_the_best_of_their_cells(shape):
    rng = np.random.default_rng(0)
    X, N = rng.standard_normal((12, 3)), rng.standard_normal((12, 1))
    V = rng.standard_normal((30, shape.n_leaves, 3))
    signs = rng.choice([-1.0, 1.0], (30, shape.n_signs))

    def prices(V, signs):
        totals = np.abs(shape.values(V, signs, X).T @ N[:, 0])
        return totals / np.maximum(shape.costs(shape.coordinates(V)), 1e-300)

    before = prices(V, signs).max()
    for _ in range(30):  # shares of weight decay converge in rounds
        V, signs = polished(X, N, shape, V, signs, rng)
    moved = V + 1e-6 * rng.standard_normal(V.shape)
    cells = TreeCells.of(shape, moved, signs, X)
    stated = replace(problem(X, X[:, 0]), rows=X, Y=N, shape=shape)
    programme = GroupLasso.trees(stated, cells, gated=False)
    after, best = prices(V, signs).max(), programme.priced(N)[0]
    assert after >= before
    assert after >= best * (1.0 - 1e-4)


@pytest.mark.parametrize("norm", [EUCLIDEAN, ONE_NORM], ids=repr)
@pytest.mark.parametrize("shape", [*SHAPES.values(), TreeShape((3, 2))], ids=repr)
def test_no_price_of_subnetworks_exceeds_what_bounds_them_all(shape, norm):
    shape = replace(shape, norm=norm)
    for seed in range(2):
        rng = np.random.default_rng(seed)
        X = np.c_[rng.standard_normal((15, 1 + seed)), np.ones(15)]
        N = np.column_stack([rng.standard_normal(15), rng.standard_normal(15) > 0.3])
        N = N[:, : 1 + seed % 2]
        # Of one sign a sub-network is worth as much as copies of one leaf are.
        for dual, part in ((N, 0.0), (np.abs(N[:, :1]), 0.7)):
            stated = replace(problem(X, X[:, 0]), rows=X, Y=dual, shape=shape)
            bound = price_bound(stated, dual)
            known = stated.null_network().directions()[0]
            pricer = TreePricer(X, dual.shape[1], shape)
            found = pricer.search(dual, known, rng, FAIR)
            assert part * bound <= found.best <= bound * (1.0 + 1e-12)
