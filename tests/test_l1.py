"""``norm="l1"``: programmes, prices, proofs, sparsity against independent figures."""

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import bumps, problem
from reference import all_patterns
from scipy import sparse
from scipy.optimize import linprog
from sklearn.base import clone
from sklearn.datasets import make_friedman1
from sklearn.feature_selection import RFE, SelectFromModel

from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    convex_relu_path,
)
from sklearn_convexrelu.adaptive.loop import AdaptiveSolver
from sklearn_convexrelu.certificates.certificate import dual_point, price_bound
from sklearn_convexrelu.certificates.relaxation.one_norm import one_norm_bound
from sklearn_convexrelu.model.neurons import NeuronShape
from sklearn_convexrelu.model.norms import ONE_NORM
from sklearn_convexrelu.model.subnetworks import TreeShape
from sklearn_convexrelu.pricing.kernels import Prices
from sklearn_convexrelu.pricing.rays import RayPricing
from sklearn_convexrelu.pricing.search import HARD
from sklearn_convexrelu.pricing.subnetworks import TreePricer, pricer_of, totals_of
from sklearn_convexrelu.training import Training, train


def fit(X, y, alpha=0.1, kind=ConvexReLURegressor, **options):
    options = {"random_state": 0, "norm": "l1"} | options
    return kind(alpha, **options).fit(X, y)


def penalty_by_hand(model):
    """From coefs_ and intercepts_ alone; the hidden bias counts as a weight."""
    (W, A), (b, _) = model.coefs_, model.intercepts_
    return sum(
        (np.abs(W[:, j]).sum() + abs(b[j])) * np.linalg.norm(A[j])
        for j in range(len(A))
    )


def squares_by_hand(model, X, y):
    F = np.maximum(X @ model.coefs_[0] + model.intercepts_[0], 0) @ model.coefs_[1]
    F += model.intercepts_[1]
    return np.sum((F - y.reshape(F.shape)) ** 2) / (2 * len(X))


def stated(X, y, alpha=None):
    return replace(problem(X, y, alpha=alpha), shape=NeuronShape(ONE_NORM))


def optimum(X, y, alpha, loss=None, accuracy=1e-11):
    """Optimum over all cells by CVXPY, with bias and intercept."""
    A = np.c_[X, np.ones(len(X))]
    D = all_patterns(A).T
    V = [cp.Variable((A.shape[1], D.shape[1])) for _ in range(2)]
    parts = [cp.sum(cp.multiply(D, A @ part), axis=1) for part in V]
    F = parts[0] - parts[1] + cp.Variable()
    cones = [cp.multiply(2 * D - 1, A @ part) >= 0 for part in V]
    value = cp.sum_squares(F - y) / 2 if loss is None else loss(F)
    value = value / len(X) + alpha * sum(cp.sum(cp.abs(part)) for part in V)
    tight = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), accuracy)
    return cp.Problem(cp.Minimize(value), cones).solve(solver=cp.CLARABEL, **tight)


# Programmes


@pytest.mark.parametrize("n, d", [(12, 1), (9, 2)])
def test_full_programmes_meet_cvxpy(n, d):
    X, y = bumps(n, d)
    model = fit(X, y, patterns="exact", tol=1e-8)
    best = optimum(X, y, model.alpha_)
    assert model.certificate_.kind == "exact"
    assert_allclose(model.objective_, best, rtol=1e-6)
    assert best * (1 - 1e-6) <= model.lower_bound_ + model.tolerance_
    assert model.lower_bound_ <= best * (1 + 1e-9)
    by_hand = squares_by_hand(model, X, y) + model.alpha_ * penalty_by_hand(model)
    assert_allclose(model.objective_, by_hand)


def test_log_loss_meets_cvxpy():
    X, y = bumps(9, 2, seed=1)
    labels = (y > np.median(y)).astype(int)
    model = fit(X, labels, 0.2, ConvexReLUClassifier, patterns="exact", tol=1e-8)
    signs = 2.0 * labels - 1.0

    def loss(F):
        return cp.sum(cp.logistic(-cp.multiply(signs, F)))

    best = optimum(X, labels, model.alpha_, loss, accuracy=1e-8)
    assert_allclose(model.objective_, best, rtol=1e-6)
    assert model.lower_bound_ <= best * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_adaptive_fits_end_within_their_gap_and_below_the_optimum(seed):
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(6, 11)), int(rng.integers(1, 3))
    X, y = bumps(n, d, seed)
    X *= rng.lognormal(size=d)
    model = fit(X, y, rng.choice([0.3, 0.1, 0.03]), tol=1e-3, random_state=seed)
    best = optimum(X, y, model.alpha_)
    assert model.status_.name == "CONVERGED"
    assert model.lower_bound_ <= best * (1 + 1e-7)
    assert best * (1 - 1e-7) <= model.objective_ <= best + model.tolerance_
    assert model.certificate_.proven_lower_bound <= best * (1 + 1e-7)


def test_small_tolerances_end_on_the_programme_over_cells():
    X, y = bumps(60, 4)
    model = fit(X, y, tol=1e-6)
    assert model.status_.name == "CONVERGED"
    loose = fit(X, y, tol=1e-3)
    assert loose.lower_bound_ <= model.objective_ <= loose.objective_ + 1e-9


@pytest.mark.parametrize("penalty", ["path", "weight_decay"])
@pytest.mark.parametrize("gated", [True, False])
def test_programmes_of_sub_networks_meet_cvxpy(gated, penalty):
    """Those of a sample of cells, their norms written down again."""
    X, y = bumps(15, 2)
    model = fit(
        X,
        y,
        0.05,
        patterns="random",
        n_patterns=8,
        subnetwork_widths=(2,),
        penalty=penalty,
        activation="gated_relu" if gated else "relu",
        tol=1e-6,
    )
    stated = model._checked(X, y, None).problem(**model._statement())
    programme = model._solver().over(stated.with_alpha(1.0)).listed.programme
    A, masks = programme.problem.X, programme.masks
    V = [[cp.Variable(A.shape[1]) for _ in unit] for unit in masks]
    F = cp.Variable() + sum(
        cp.multiply(mask, A @ v)
        for unit, blocks in zip(masks, V, strict=True)
        for mask, v in zip(unit, blocks, strict=True)
    )
    Y = programme.problem.Y[:, 0]
    if penalty == "path":
        cost = sum(cp.norm(cp.hstack([cp.norm1(v) for v in unit])) for unit in V)
    else:
        cost = sum(cp.norm1(v) for unit in V for v in unit)
    cones = []
    for unit, of_unit in zip(
        V, [] if gated else programme.cones, strict=gated is False
    ):
        for cone in of_unit:
            values = sum(
                cp.multiply(side, A @ v) for side, v in zip(cone, unit, strict=True)
            )
            cones.append(values >= 0)
    value = cp.sum_squares(F - Y) / (2 * len(X)) + model.alpha_ * cost
    best = cp.Problem(cp.Minimize(value), cones).solve(solver=cp.CLARABEL)
    assert_allclose(model.objective_, best, rtol=1e-4)
    assert model.lower_bound_ <= best * (1 + 1e-5)


@pytest.mark.parametrize("solver", ["interior_point", "fista", "cvxpy"])
def test_solvers_of_gated_programmes_agree(solver):
    X, y = bumps(40, 5)
    options = {"patterns": "random", "n_patterns": 20, "activation": "gated_relu"}
    model = fit(X, y, 0.05, solver=solver, tol=1e-4, **options)
    other = fit(X, y, 0.05, tol=1e-6, **options)
    assert abs(model.objective_ - other.objective_) <= 1.1 * model.tolerance_
    by_hand = np.abs(model.blocks_).sum()
    assert_allclose(model.network_.penalty(), by_hand)
    assert (model.blocks_ == 0.0).mean() > 0.2


def test_gated_outputs_have_the_sum_of_the_lengths_of_rows():
    X, y = bumps(40, 3)
    Y = np.c_[y, X[:, 0]]
    options = {"patterns": "random", "n_patterns": 10, "activation": "gated_relu"}
    models = [
        fit(X, Y, 0.1, solver=solver, tol=1e-4, **options)
        for solver in ("fista", "cvxpy")
    ]
    first, second = models
    assert abs(first.objective_ - second.objective_) <= 1.1 * first.tolerance_
    lengths = np.sqrt((first.blocks_**2).sum(axis=2)).sum()
    assert_allclose(first.network_.penalty(), lengths)
    relu = first.to_relu(X, Y)
    assert_allclose(relu.predict(X), first.predict(X), atol=1e-6)
    assert relu.norm_ratio_ >= 1.0 - 1e-6


# Prices


def units(n_inputs, rng, count=20000):
    U = rng.standard_normal((n_inputs, count)) * rng.random((n_inputs, count)) ** 4
    U[rng.random(U.shape) < 0.4] = 0.0
    return ONE_NORM.unit(U)


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("n_inputs", [1, 2, 3])
def test_exact_prices_are_the_largest(n_inputs, n_outputs):
    rng = np.random.default_rng(n_inputs)
    X, N = rng.standard_normal((15, n_inputs)), rng.standard_normal((15, n_outputs))
    X[3], X[4] = 2 * X[2], 0.0
    exact = RayPricing(X)
    found = exact.price(N, 3)
    prices = np.linalg.norm(Prices(X, N).totals(units(n_inputs, rng)), axis=1)
    assert prices.max() <= found.prices[0] + exact.slack(N)
    assert prices.max() >= 0.9 * found.prices[0]
    assert_allclose(np.abs(found.directions).sum(axis=1), 1.0)
    totals = np.maximum(X @ found.directions.T, 0).T @ N
    assert_allclose(np.linalg.norm(totals, axis=1), found.prices)
    if n_outputs == 1 and n_inputs == 3:
        assert_allclose(found.prices[0], largest_over_cells(X, N[:, 0]), rtol=1e-8)


def largest_over_cells(X, v):
    """The largest price, by a linear programme a cell."""
    best, live = 0.0, X.any(axis=1)
    U = units(X.shape[1], np.random.default_rng(0))
    for pattern in np.unique(X @ U > 0, axis=1).T:
        for sign in (1.0, -1.0):
            c = sign * X.T @ (pattern * v)
            sides = np.where(pattern, 1.0, -1.0)[live, None] * X[live]
            A = np.vstack([-np.hstack([sides, -sides]), np.ones(2 * len(c))])
            b = np.append(np.zeros(live.sum()), 1.0)
            best = max(best, -linprog(np.append(-c, c), A_ub=A, b_ub=b).fun)
    return best


def test_two_features_are_certified_exactly():
    X, y = bumps(80, 2)
    model = fit(X, y, 0.05)
    assert model.certificate_.kind == "exact"
    assert model.certificate_.price_bound <= model.certificate_.price * (1 + 1e-9)
    Y = np.c_[y, X[:, 0]]
    assert fit(X, Y, 0.05).certificate_.kind == "exact"


def test_a_search_comes_near_many_random_starts():
    X, y = make_friedman1(150, n_features=12, noise=1.0, random_state=0)
    P = stated((X - X.mean(axis=0)) / X.std(axis=0), y / y.std(), alpha=0.05)
    solved = train(Training.of(P, AdaptiveSolver(tol=1e-2)))
    N = dual_point(P, solved.network.forward(P.rows))
    pricer, rng = pricer_of(P), np.random.default_rng(0)
    known = solved.network.directions()[0]
    best = pricer.search(N, known, HARD, rng)
    assert_allclose(np.abs(best.directions).sum(axis=0), 1.0)
    wide = replace(HARD, n_batches=20, n_hops=20)
    more = pricer.search(N, known, wide, np.random.default_rng(1))
    assert best.best >= 0.97 * more.best
    # All single inputs are among what is priced.
    totals = P.rows.input_totals(N)
    assert best.best >= np.abs(totals).max() * (1 - 1e-12)
    U = np.eye(13)
    assert_allclose(totals[0], Prices(P.rows, N).totals(U), atol=1e-12)
    assert_allclose(totals[1], Prices(P.rows, N).totals(-U), atol=1e-12)


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_no_price_exceeds_a_bound(n_outputs):
    X, y = bumps(60, 6)
    Y = np.column_stack([np.roll(y, k) for k in range(n_outputs)])
    P = stated(X, Y, 0.1)
    network = train(Training.of(P, AdaptiveSolver(tol=1e-2))).network
    rng = np.random.default_rng(0)
    for N in (dual_point(P, network.forward(P.rows)), rng.standard_normal(Y.shape)):
        prices = np.linalg.norm(Prices(P.rows, N).totals(units(7, rng)), axis=1)
        assert prices.max() <= price_bound(P, N)
    with_bound = one_norm_bound(P, network, max_regions=1, time_limit=0.0)
    assert with_bound.lower_bound <= P.objective(network)


@pytest.mark.parametrize("seed", range(3))
def test_linear_bounds_stay_below_the_optimum_and_rise_with_regions(seed):
    X, y = bumps(8, 2, seed)
    alpha = 0.1 * fit(X, y, 0.1).alpha_max_
    best = optimum(X, y, alpha)
    P = stated(X, y, alpha)
    network = train(Training.of(P, AdaptiveSolver())).network
    bounds = [
        one_norm_bound(P, network, max_regions=k, time_limit=20.0) for k in (1, 12)
    ]
    values = [bound.lower_bound for bound in bounds]
    assert values[0] <= values[1] <= best * (1 + 1e-8)
    assert values[1] > values[0] or values[0] > 0.999 * best


def test_certify_proves_three_quarters_of_friedman1():
    X, y = make_friedman1(200, n_features=10, noise=1.0, random_state=1)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    model = fit(X, y, 0.3)
    assert model.certificate_.proven_lower_bound < 0.75 * model.objective_
    model.certify(X, y, time_limit=0.0)
    assert model.certificate_.kind == "bound"
    assert 0.75 * model.objective_ <= model.lower_bound_ <= model.objective_


@pytest.mark.parametrize("decays", [False, True])
def test_prices_of_sub_networks_have_cost_one(decays):
    rng = np.random.default_rng(0)
    X, N = rng.standard_normal((40, 5)), rng.standard_normal((40, 1))
    shape = TreeShape((2,), decays, ONE_NORM)
    P = replace(problem(X, N[:, 0], hidden_bias=False), shape=shape)
    pricer = TreePricer(P.rows, 1, shape)
    found = pricer.price(N, np.zeros((2 * 5 + 2, 0)), rng, HARD)[0]
    W, _ = shape.unpacked(found.directions)
    sizes = np.abs(W).sum(axis=2)
    costs = sizes.sum(axis=1) if decays else np.sqrt((sizes**2).sum(axis=1))
    assert_allclose(costs, 1.0, rtol=1e-6)
    totals = totals_of(P, N, found.directions)
    assert_allclose(np.linalg.norm(totals, axis=1), found.prices, rtol=1e-9)
    # Two equal leaves are a neuron, at a cost of 1 / sqrt(2), or of 1.
    neurons = pricer.neurons.search(N, np.zeros((5, 0)), HARD, rng).best
    assert found.best >= neurons * (1.0 if decays else np.sqrt(2.0)) * (1 - 1e-2)


# Sparsity and importances


def friedman(d=15, n=200, seed=0):
    X, y = make_friedman1(n, n_features=d, noise=1.0, random_state=seed)
    return (X - X.mean(axis=0)) / X.std(axis=0), y


def test_weights_are_exactly_zero_and_the_right_features_lead():
    X, y = friedman()
    model = fit(X, y, 0.1)
    W = np.vstack([model.coefs_[0], model.intercepts_[0]])
    assert (W == 0.0).mean() > 0.5
    sizes = np.abs(W)[W != 0.0]
    assert sizes.min() > 1e-7 * sizes.max()  # no dust
    assert set(np.argsort(-model.feature_importances_)[:5]) == set(range(5))
    assert_allclose(model.feature_importances_.sum(), 1.0)
    # The features' own parts of the penalty, less the hidden bias.
    shares = np.abs(model.coefs_[0]) @ np.linalg.norm(model.coefs_[1], axis=1)
    assert_allclose(model.feature_importances_, shares / shares.sum())
    by_hand = squares_by_hand(model, X, y) + model.alpha_ * penalty_by_hand(model)
    assert_allclose(model.objective_, by_hand)


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("widths", [(), (2,), (2, 2)])
def test_importances_go_along_the_paths(widths, norm):
    X, y = bumps(40, 3)
    model = fit(X, y, 0.1, norm=norm, subnetwork_widths=widths, tol=1e-2)
    along = np.abs(model.coefs_[0])
    for W in model.coefs_[1:-1]:
        along = along @ np.abs(W)
    shares = along @ np.linalg.norm(model.coefs_[-1], axis=1)
    assert_allclose(model.feature_importances_, shares / shares.sum(), rtol=1e-6)


def test_importances_of_gated_and_constant_models():
    X, y = bumps(40, 3)
    options = {"patterns": "random", "n_patterns": 10, "activation": "gated_relu"}
    model = fit(X, y, 0.1, **options)
    shares = np.abs(model.blocks_[:, :3, 0]).sum(axis=0)
    assert_allclose(model.feature_importances_, shares / shares.sum())
    assert_array_equal(fit(X, np.ones(40)).feature_importances_, np.zeros(3))
    with pytest.raises(AttributeError):
        _ = ConvexReLURegressor().feature_importances_


def test_scikit_learn_selects_features():
    X, y = friedman(8, 100)
    model = ConvexReLURegressor(0.1, norm="l1", tol=1e-2, random_state=0)
    selected = SelectFromModel(clone(model), threshold=1e-3).fit(X, y)
    assert set(range(5)) <= set(np.flatnonzero(selected.get_support()))
    eliminated = RFE(clone(model), n_features_to_select=5).fit(X, y)
    assert_array_equal(np.flatnonzero(eliminated.get_support()), np.arange(5))


def test_several_outputs_share_features():
    X, y = bumps(60, 6)
    Y = np.c_[y, np.abs(X[:, 0])]
    model = fit(X, Y, 0.2)
    by_hand = squares_by_hand(model, X, Y) + model.alpha_ * penalty_by_hand(model)
    assert_allclose(model.objective_, by_hand)
    assert model.dual_gap_ <= model.tolerance_


# The same data in other clothes


def test_kinds_of_tables_and_weights():
    X, y = bumps(60, 4)
    X[np.abs(X) < 0.5] = 0.0
    model = fit(X, y)
    other = fit(sparse.csr_array(X), y)
    assert abs(model.objective_ - other.objective_) <= model.tolerance_
    single = fit(X.astype(np.float32), y)
    assert single.coefs_[0].dtype == np.float32
    assert abs(model.objective_ - single.objective_) <= model.tolerance_
    weights = np.r_[np.zeros(20), np.full(40, 2.0)]
    weighted = ConvexReLURegressor(0.1, norm="l1", random_state=0).fit(X, y, weights)
    plain = fit(X[20:], y[20:])
    assert_array_equal(weighted.coefs_[0], plain.coefs_[0])


def test_pruning_keeps_predictions_and_the_penalty():
    X, y = friedman(5, 40)
    model = fit(X, y, 0.01, tol=1e-2)
    pruned = clone(model).fit(X, y).prune(X, y)
    assert pruned.n_neurons_ <= 40
    assert_allclose(pruned.predict(X), model.predict(X), atol=1e-6 * np.ptp(y))
    assert penalty_by_hand(pruned) <= penalty_by_hand(model) * (1 + 1e-9)
    by_hand = squares_by_hand(pruned, X, y) + model.alpha_ * penalty_by_hand(pruned)
    assert_allclose(pruned.objective_, by_hand)


def test_a_warm_start_stays_and_a_path_follows():
    X, y = bumps(60, 4)
    model = fit(X, y, warm_start=True)
    again = model.fit(X, y)
    assert again.n_iter_ <= 3
    with pytest.raises(ValueError, match="warm_start=True needs"):
        again.set_params(norm="l2").fit(X, y)
    path = convex_relu_path(X, y, norm="l1", alphas=[0.3, 0.1], random_state=0)
    alone = fit(X, y)
    assert abs(path.objectives[1] - alone.objective_) <= 1e-3 * y.var() / 2
    used = [(network.hidden[:4] != 0).any(axis=1).sum() for network in path.networks]
    assert used == sorted(used)


# What makes no sense


@pytest.mark.parametrize(
    "options, message",
    [
        ({"rank": 2}, "norm='l2'"),
        ({"patterns": "random", "solver": "fista"}, "cone constraints"),
        (
            {
                "patterns": "random",
                "solver": "interior_point",
                "subnetwork_widths": (2,),
            },
            "no steps for norm='l1'",
        ),
        (
            {
                "patterns": "random",
                "solver": "fista",
                "activation": "gated_relu",
                "subnetwork_widths": (2,),
            },
            "no steps for norm='l1'",
        ),
        ({"norm": "l3"}, "norm"),
    ],
)
def test_refusals_come_before_any_work(options, message):
    X, y = bumps(20, 3)
    with pytest.raises(ValueError, match=message):
        fit(X, y, **options)


def test_gated_sub_networks_of_several_outputs_have_no_path_norm():
    X, y = bumps(20, 3)
    options = {"patterns": "random", "activation": "gated_relu"}
    with pytest.raises(ValueError, match="spectral norm"):
        fit(X, np.c_[y, y**2], subnetwork_widths=(2,), **options)


def test_features_far_from_zero_are_named():
    X, y = bumps(60, 3)
    X[:, 1] += 1e4
    with pytest.warns(UserWarning, match="feature 1 is farther from zero"):
        fit(X, y)
    with pytest.warns(UserWarning, match="feature 1 is farther from zero"):
        ConvexReLURegressorCV(norm="l1", n_alphas=3, eps=0.1, cv=2, tol=1e-2).fit(X, y)


@pytest.mark.parametrize("widths", [(), (2,)])
@pytest.mark.parametrize("patterns", ["adaptive", "random"])
def test_losses_with_kinks(widths, patterns):
    X, y = bumps(40, 3)
    options = {"subnetwork_widths": widths, "patterns": patterns, "n_patterns": 15}
    model = fit(X, y, loss="absolute_error", tol=1e-2, **options)
    assert model.status_.name == "CONVERGED"
    loss = np.abs(y - model.predict(X)).mean()
    objective = loss + model.alpha_ * model.network_.penalty()
    assert_allclose(model.objective_, objective, rtol=1e-9)
    constant = np.abs(y - np.median(y)).mean()
    assert model.objective_ - model.lower_bound_ <= 1e-2 * constant * (1 + 1e-9)
    assert model.objective_ < constant
