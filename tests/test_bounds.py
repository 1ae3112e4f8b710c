"""Semidefinite bounds: never above an optimum, proven without trust in the solver."""

import os
import warnings
from dataclasses import replace

import numpy as np
import pytest
from problems import bumps, diabetes, known_optimum, problem
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from sklearn_convexrelu.adaptive.loop import AdaptiveSolver
from sklearn_convexrelu.certificates import certificate
from sklearn_convexrelu.certificates.certificate import lower_bound, price_bound
from sklearn_convexrelu.certificates.relaxation import search
from sklearn_convexrelu.certificates.relaxation import untied as untied_module
from sklearn_convexrelu.certificates.relaxation.composition import Neurons
from sklearn_convexrelu.certificates.relaxation.descent import bound_price, descended
from sklearn_convexrelu.certificates.relaxation.proof import region_prices
from sklearn_convexrelu.certificates.relaxation.regions import Region, RowSpace, fan
from sklearn_convexrelu.certificates.relaxation.search import semidefinite_bound
from sklearn_convexrelu.certificates.relaxation.semidefinite import (
    Relaxation,
    State,
    in_cone,
)
from sklearn_convexrelu.certificates.relaxation.untied import Untied, best_between
from sklearn_convexrelu.data.statement import state_problem
from sklearn_convexrelu.model.losses import (
    Huber,
    Logistic,
    Poisson,
    Softmax,
    SquaredError,
    SquaredHinge,
)
from sklearn_convexrelu.model.subnetworks import TreeShape
from sklearn_convexrelu.pricing.exact import exact_price
from sklearn_convexrelu.pricing.kernels import Prices
from sklearn_convexrelu.training import Training, largest_alpha, train

# BOUNDS_SEEDS=84 makes 504 random problems of the default six.
N_SEEDS = int(os.environ.get("BOUNDS_SEEDS", "1"))
LOSSES = {
    "squared": SquaredError(),
    "huber": Huber(0.7),
    "poisson": Poisson(),
    "logistic": Logistic(),
    "softmax": Softmax(),
    "hinge": SquaredHinge(),
}


def random_problem(name, seed):
    """A random small problem of rank at most three, weights and intercept or not."""
    rng = np.random.default_rng([seed, *name.encode()])
    n, d = int(rng.integers(5, 16)), int(rng.integers(1, 3))
    X = rng.standard_normal((n, d)) * rng.uniform(0.2, 5)
    score = np.sin(2 * X[:, 0]) + 0.5 * X[:, -1] + 0.3 * rng.standard_normal(n)
    n_outputs = int(rng.integers(1, 3))
    Y = np.column_stack([score, np.abs(score) - 0.5])[:, :n_outputs]
    if name == "poisson":
        Y = rng.poisson(np.exp(np.clip(Y, -2, 2))) + 0.0
        Y[0] = 1.0
    elif name in ("logistic", "hinge"):
        Y[0], Y[1] = 1.0, -1.0
        Y = np.sign(Y) if name == "hinge" else (Y > 0) + 0.0
    elif name == "softmax":
        labels = np.append([0, 1, 2], rng.integers(0, 3, n - 3))
        Y = np.eye(3)[labels]
    weights = rng.uniform(0.2, 3, n) if rng.random() < 0.5 else np.ones(n)
    stated = state_problem(
        X,
        Y,
        weights,
        LOSSES[name],
        fit_intercept=bool(rng.random() < 0.5),
        hidden_bias=bool(rng.random() < 0.5),
    )
    return stated.with_alpha(10 ** rng.uniform(-2, -0.1) * largest_alpha(stated))


def objective_of_optimum(stated):
    """Objective of a trained network: at least the optimum, and hardly more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return train(
            Training.of(stated, AdaptiveSolver(tol=1e-7))
        ).certificate.objective


def check(stated, bound, objective):
    """A bound is below the objective, and every part of its proof holds."""
    N = bound.dual_point
    assert bound.lower_bound <= objective + 1e-9 * stated.loss_scale()
    assert bound.lower_bound <= lower_bound(stated, N, bound.price_bound) + 1e-12
    if stated.fit_intercept:
        assert np.abs(N.sum(axis=0)).max() <= 1e-12 * max(1.0, np.abs(N).sum())
    if stated.n_outputs == 1 or np.linalg.matrix_rank(stated.X) <= 2:
        assert bound.price_bound >= exact_price(stated.X, N).prices[0] * (1 - 1e-12)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("seed", range(N_SEEDS))
def test_no_bound_exceeds_the_optimum(name, seed):
    stated = random_problem(name, seed)
    objective = objective_of_optimum(stated)
    whole = semidefinite_bound(stated, n_neighbors=3)
    check(stated, whole, objective)
    split = semidefinite_bound(stated, max_regions=6, n_neighbors=3, time_limit=0.5)
    check(stated, split, objective)
    values = [value for _, _, value in split.history]
    assert values == sorted(values)
    assert whole.lower_bound > 0.3 * objective


@pytest.mark.parametrize("name", ["two_layer_n15_a03", "two_layer_n25_a01"])
def test_known_optimum_is_approached_from_below(name):
    case = known_optimum(name)
    X, y, alpha, optimum = (case[k] for k in ("X", "y", "alpha", "optimum"))
    stated = problem(X, y, alpha=float(alpha), fit_intercept=False, hidden_bias=False)
    bound = semidefinite_bound(stated, max_regions=4)
    assert 0.99 * optimum <= bound.lower_bound <= optimum + 1e-9


def test_several_outputs_stay_below_a_known_optimum():
    case = known_optimum("two_layer_vector_n6_C2")
    X, Y, alpha, optimum = (case[k] for k in ("X", "y", "alpha", "optimum"))
    stated = problem(X, Y, alpha=float(alpha), fit_intercept=False, hidden_bias=False)
    bound = semidefinite_bound(stated, max_regions=3)
    assert 0.6 * optimum <= bound.lower_bound <= optimum + 1e-9


def test_regions_reach_the_optimum_in_two_dimensions():
    X, y = bumps(10, 2, seed=1)
    stated = problem(X, y, hidden_bias=False, fit_intercept=False)
    stated = stated.with_alpha(0.1 * largest_alpha(stated))
    objective = objective_of_optimum(stated)
    found = [semidefinite_bound(stated, max_regions=m).lower_bound for m in (1, 6)]
    assert found == sorted(found)  # the same rounds, and more of them
    assert 0.995 * objective <= found[-1] <= objective + 1e-9


@pytest.mark.parametrize("name", LOSSES)
def test_crude_answers_still_give_proofs(name):
    stated, max_iter = random_problem(name, 12345), 1 + len(name) % 3
    bound = semidefinite_bound(stated, max_iter=max_iter, max_regions=4, time_limit=0.3)
    check(stated, bound, objective_of_optimum(stated))


def test_any_multipliers_bound_the_price_in_every_region():
    rng = np.random.default_rng(0)
    for trial in range(20):
        n, d, n_outputs = 12, 2 + trial % 4, 1 + trial % 2
        X = rng.standard_normal((n, d)) * rng.uniform(0.1, 10, d)
        N = rng.standard_normal((n, n_outputs))
        rows = RowSpace.of(X, 3)
        regions = [Region.sphere(rows)]
        if d <= 4:
            regions = fan(rows)
            regions += regions[0].bisected(rows, np.ones(n))
        u = np.eye(d)[0]
        for region in Region.sphere(rows).halves(rows, 0.3 * u, np.eye(d)):
            regions.append(region)
            regions += region.halves(rows, 0.3 * u, np.diag(rng.random(d)))
        relaxation = Relaxation(rows, regions, 1.0, rng.uniform(0.001, 0.3))
        shape = (len(regions), 2, n_outputs)
        none = relaxation.no_multipliers(n_outputs)
        cuts = in_cone(rng.standard_normal(none.cuts.shape))
        pairs = 0.2 * rng.standard_normal(none.pairs.shape)
        W = rng.standard_normal((*shape, d, d + 1))
        a = rng.uniform(0, 3, (*shape, n))
        state = State(W, a, replace(none, cuts=cuts, pairs=pairs))
        weights = np.stack([N.T, -N.T])
        prices = region_prices(relaxation, state, weights)
        prices = np.linalg.norm(prices.max(axis=1), axis=1)
        U = rng.standard_normal((d, 5000))
        U /= np.linalg.norm(U, axis=0)
        sampled = np.linalg.norm(N.T @ np.maximum(X @ U, 0).reshape(n, -1), axis=0)
        in_row_space = rows.basis.T @ U
        for region, price in zip(regions, prices, strict=True):
            offsets = region.offsets[:, None]
            inside = np.all(region.normals @ in_row_space >= offsets, axis=0)
            assert sampled[inside].max(initial=0.0) <= price
            values = (rows.Z @ in_row_space)[:, inside] * region.sides[:, None]
            assert values.min(initial=0.0) >= -1e-12


def test_fan_and_bisections_cover_the_sphere():
    rng = np.random.default_rng(0)
    for rank in (1, 2, 3, 4):
        rows = RowSpace.of(rng.standard_normal((9, rank)), 2)
        regions = fan(rows)
        for _ in range(3):
            regions = [part for r in regions for part in r.bisected(rows, np.ones(9))]
        U = rng.standard_normal((rank, 2000))
        U /= np.linalg.norm(U, axis=0)
        covered = np.zeros(2000, dtype=bool)
        for region in regions:
            covered |= np.all(region.normals @ U >= region.offsets[:, None], axis=0)
        assert covered.all()


def degenerate(name):
    rng = np.random.default_rng(3)
    X, y = bumps(10, 2)
    if name == "zero rows":
        X[:4] = 0.0
    elif name == "rank one":
        X[:, 1] = 2 * X[:, 0]
    elif name == "one sample":
        X, y = X[:1], y[:1]
    elif name == "constant targets":
        y = np.full(10, 2.0)
    elif name == "zero targets":
        y = np.zeros(10)
    elif name == "zero inputs":
        X = np.zeros_like(X)
    elif name == "same rows, other targets":
        X[5:] = X[:5]
    elif name == "opposite rows":
        X[5:] = -X[:5]
    elif name == "units":
        X, y = 1e6 * X, 1e-5 * y
    elif name == "wide":
        X = rng.standard_normal((4, 9))
        y = y[:4]
    return X, y


@pytest.mark.parametrize("constants", [True, False])
@pytest.mark.parametrize(
    "name",
    [
        "zero rows",
        "rank one",
        "one sample",
        "constant targets",
        "zero targets",
        "zero inputs",
        "same rows, other targets",
        "opposite rows",
        "units",
        "wide",
    ],
)
def test_degenerate_data(name, constants):
    X, y = degenerate(name)
    stated = problem(X, y, fit_intercept=constants, hidden_bias=constants)
    largest = largest_alpha(stated)
    stated = stated.with_alpha(0.1 * largest if largest > 0.0 else 0.01)
    bound = semidefinite_bound(stated, max_regions=3, time_limit=0.25)
    objective = stated.objective(stated.null_network())
    if largest > 0.0:
        objective = objective_of_optimum(stated)
    assert np.isfinite(bound.lower_bound)
    assert bound.lower_bound <= objective + 1e-9 * stated.loss_scale()


def test_start_target_and_time_limit():
    stated = problem(*bumps(30, 4), alpha=0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network = train(Training.of(stated, AdaptiveSolver(tol=1e-3))).network
    objective = stated.objective(network)
    warm = semidefinite_bound(stated, network)
    assert 0.7 * objective < warm.lower_bound <= objective
    early = semidefinite_bound(stated, network, target=0.5 * objective)
    assert early.lower_bound >= 0.5 * objective
    assert len(early.history) < len(warm.history)
    hasty = semidefinite_bound(stated, time_limit=0.0)
    assert 0.0 <= hasty.lower_bound <= objective
    with pytest.raises(ValueError, match="positive penalty"):
        semidefinite_bound(stated.with_alpha(0.0))


def test_null_network_is_proven_optimal_at_a_large_alpha():
    stated = problem(*bumps(30, 4))
    N = stated.loss.gradient(
        np.zeros_like(stated.Y) + stated.best_constant(), stated.Y, stated.weights
    )
    stated = stated.with_alpha(1.01 * bound_price(stated, N))
    bound = semidefinite_bound(stated)
    assert bound.lower_bound == pytest.approx(stated.loss_scale(), rel=1e-3)


def test_price_bound_is_proven_and_tighter_than_cauchy_schwarz():
    rng = np.random.default_rng(0)
    for d in (1, 2, 3):
        X, N = rng.standard_normal((20, d)), rng.standard_normal((20, 1))
        stated = problem(X, N, hidden_bias=False)
        price = exact_price(stated.X, N).prices[0]
        bound = bound_price(stated, N)
        assert price <= bound <= 1.3 * price
        assert bound < 0.9 * price_bound(stated, N)
    assert bound_price(stated, 0 * N) == 0.0


@pytest.mark.parametrize("kind", ["array", "sparse"])
def test_price_bounds_of_many_inputs_are_proven(kind, monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 300)) * 0.98 ** np.arange(300) + 0.5
    N = rng.standard_normal((400, 3)) / 400
    held = sparse.csr_array(X) if kind == "sparse" else X
    options = {"fit_intercept": True, "hidden_bias": True}
    stated = state_problem(held, N, np.ones(400), SquaredError(), **options)
    split = price_bound(stated, N)
    assert split >= best_known_price(np.c_[X, np.ones(400)], N)
    monkeypatch.setattr(certificate, "_N_AXES", 1)
    trace = price_bound(stated, N)
    monkeypatch.setattr(certificate, "_MOST_INPUTS", 400)
    of_eigenvalues = price_bound(stated, N)
    assert of_eigenvalues * (1 - 1e-9) <= split <= 1.1 * of_eigenvalues
    assert trace > 1.1 * split


def best_known_price(X, N):
    """The largest price that plain ascents from many random units find."""
    U = np.random.default_rng(1).standard_normal((X.shape[1], 50))
    for _ in range(50):
        U /= np.linalg.norm(U, axis=0)
        H = X @ U
        A = np.maximum(H, 0.0).T @ N
        G = X.T @ ((H > 0.0) * (N @ A.T))
        U = U + G / (np.linalg.norm(G, axis=0) + 1e-300)
    U /= np.linalg.norm(U, axis=0)
    return np.linalg.norm(np.maximum(X @ U, 0.0).T @ N, axis=1).max()


def test_prices_of_sub_networks_are_not_bounded_by_themselves():
    stated = replace(problem(*bumps(10, 2), alpha=0.1), shape=TreeShape((2,), False))
    with pytest.raises(ValueError, match="with their dual points"):
        bound_price(stated, stated.Y)


def test_diabetes_is_bounded_within_a_tenth():
    stated, optimum = problem(*diabetes()), 0.29316
    stated = stated.with_alpha(0.1 * largest_alpha(stated))
    bound = semidefinite_bound(stated, target=0.9 * optimum)
    assert 0.9 * optimum <= bound.lower_bound <= optimum


@pytest.mark.parametrize("name", LOSSES)
def test_best_predictions_between_two_ends_are_the_best(name):
    rng, loss, n = np.random.default_rng(0), LOSSES[name], 40
    C = 3 if name == "softmax" else 2
    Y = rng.integers(0, 4, (n, C)) + 0.0
    if name in ("logistic", "softmax"):
        Y = np.eye(C)[rng.integers(0, C, n)]
    elif name == "hinge":
        Y = rng.choice([-1.0, 1.0], (n, C))
    weights, middle = rng.uniform(0.2, 3.0, n), 3.0 * rng.standard_normal((n, C))
    width = rng.exponential(1.0, (n, C)) * (rng.random((n, C)) < 0.9)
    low, high = middle - width, middle + width
    F = best_between(loss, Y, weights, low, high, np.zeros((n, C)))
    for _ in range(40 if name == "softmax" else 0):  # some steps at a time
        F = best_between(loss, Y, weights, low, high, F)
    assert (low <= F).all() and (F <= high).all()
    slope = loss.value_and_gradient(F, Y, weights)[1] / weights[:, None]
    room = np.where(slope > 0.0, F - low, high - F)  # the way down
    worst = 1e-3 if name == "softmax" else 1e-7
    assert np.abs(np.minimum(np.abs(slope), room)).max() <= worst


def untied_of(stated):
    """Return the untied training problem, factors and what is common."""
    units = Neurons(stated)
    rows = RowSpace.of(stated.X, 0)
    untied = Untied(stated, units, rows, stated.alpha / rows.scale)
    W = np.random.default_rng(1).standard_normal((1, 2, stated.n_outputs, rows.rank, 3))
    common = units.common(np.full(stated.n_outputs, 0.1), np.zeros_like(stated.Y))
    return untied, 0.3 * W, common


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_without_ties_are_differences(name, monkeypatch):
    stated = random_problem(name, 3)
    untied, W, common = untied_of(stated)
    value, to_W, to_shift = untied.value_and_gradient(W, common)
    way = np.random.default_rng(2).standard_normal(W.shape)
    ends = [untied.value_and_gradient(W + s * way, common)[0] for s in (1e-5, -1e-5)]
    rtol = 1e-2 if name == "softmax" else 1e-4
    assert np.isclose((ends[0] - ends[1]) / 2e-5, np.vdot(way, to_W), rtol=rtol)
    shifted = [replace(common, shift=common.shift + s) for s in (1e-5, -1e-5)]
    ends = [untied.value_and_gradient(W, own)[0] for own in shifted]
    assert np.isclose((ends[0] - ends[1]) / 2e-5, to_shift.sum(), rtol=rtol, atol=1e-7)
    # In parts it is the same, and so are the prices that are proven.
    N, price = untied.proven(W, common)
    monkeypatch.setattr(untied_module, "_PART", 8)
    parts = untied_of(stated)[0]
    assert len(parts.parts) > 1
    if name != "softmax":  # whose steps end for all rows of a part at once
        assert np.isclose(parts.value_and_gradient(W, common)[0], value, rtol=1e-9)
    other, proven = parts.proven(W, common)
    if stated.n_outputs == 1 or np.linalg.matrix_rank(stated.X) <= 2:
        for point, bound in ((N, price), (other, proven)):
            assert bound >= exact_price(stated.X, point).prices[0] * (1 - 1e-12)


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_descent_without_ties_moves_factors_and_intercept(name, fit_intercept):
    stated = replace(random_problem(name, 3), fit_intercept=fit_intercept)
    untied, W, common = untied_of(stated)
    before = untied.value_and_gradient(W, common)
    W, found = untied.solve(W, common, 500, np.inf)
    value, to_W, to_shift = untied.value_and_gradient(W, found)
    assert value < before[0]
    left = 1e-2 if name == "softmax" else 1e-3  # of predictions that are found in steps
    assert np.abs(to_W).max() <= left * np.abs(before[1]).max()
    if fit_intercept:
        assert np.abs(to_shift).max() <= left * np.abs(before[1]).max()
    else:
        assert np.array_equal(found.shift, common.shift)


def test_gradient_of_another_size_is_refused():
    # SciPy would read beyond it, and the process be aborted.
    with pytest.raises(ValueError, match="reshape"):
        descended(lambda x: (0.0, np.zeros(2)), np.ones(3), 5, np.inf)


@pytest.mark.parametrize("name", LOSSES)
def test_many_rows_are_bounded_from_a_sample_on(name, monkeypatch):
    rng = np.random.default_rng(5)
    X = rng.standard_normal((300, 4))
    score = np.abs(X[:, 0]) + X[:, 1] + 0.3 * rng.standard_normal(300)
    Y = score[:, None]
    if name == "poisson":
        Y = rng.poisson(np.exp(0.5 * Y)) + 0.0
    elif name == "softmax":
        Y = np.eye(3)[np.digitize(score, [0.0, 1.0])]
    elif name != "squared":
        Y = np.where(Y > 0.5, 1.0, 0.0 if name == "logistic" else -1.0)
    options = {"fit_intercept": True, "hidden_bias": True}
    stated = state_problem(X, Y, np.ones(300), LOSSES[name], **options)
    stated = stated.with_alpha(0.3 * largest_alpha(stated))
    solution = train(Training.of(stated, AdaptiveSolver(tol=1e-2)))
    for module, number in [("_SAMPLED_ROWS", 60), ("_SAMPLED_RANKS", 2)]:
        monkeypatch.setattr(search, module, number)
    monkeypatch.setattr(search, "_MOST_TIED", 0)
    for network in (None, solution.network):
        bound = semidefinite_bound(stated, network)
        objective = solution.certificate.objective
        assert 0.6 * objective < bound.lower_bound <= objective
        assert bound.n_regions == 1
        U = solution.network.directions()[0]
        attained = np.linalg.norm(Prices(stated.X, bound.dual_point).totals(U), axis=1)
        assert bound.price_bound >= attained.max(initial=0.0)
