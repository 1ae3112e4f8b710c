"""Losses against their definitions: derivatives, conjugates, bounds, closed forms."""

from typing import NamedTuple

import cvxpy as cp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize, minimize_scalar

from sklearn_convexrelu.certificates.certificate import dual_point, lower_bound
from sklearn_convexrelu.model.loss import Loss
from sklearn_convexrelu.model.losses import (
    CLASSIFICATION_LOSSES,
    REGRESSION_LOSSES,
    Huber,
    Logistic,
    Poisson,
    Softmax,
    SquaredError,
    SquaredHinge,
    classification_loss,
    regression_loss,
)
from sklearn_convexrelu.model.piecewise import PiecewiseLinear, Smoothed
from sklearn_convexrelu.model.problem import Problem
from sklearn_convexrelu.programmes.amplitudes import Features, best_amplitudes


class Case(NamedTuple):
    loss: Loss
    targets: str
    n_outputs: int
    formula: object  # the same loss for CVXPY, summed over the row of outputs


CASES = [
    Case(SquaredError(), "real", 2, lambda f, y: cp.sum_squares(f - y) / 2),
    Case(Huber(0.7), "real", 2, lambda f, y: cp.sum(cp.huber(f - y, 0.7)) / 2),
    Case(Poisson(), "count", 1, lambda f, y: cp.sum(cp.exp(f) - cp.multiply(y, f))),
    Case(Poisson(), "count", 2, lambda f, y: cp.sum(cp.exp(f) - cp.multiply(y, f))),
    Case(Logistic(), "binary", 1, lambda f, y: cp.sum(cp.logistic(f) - y @ f)),
    Case(
        Logistic(), "binary", 3, lambda f, y: cp.sum(cp.logistic(f) - cp.multiply(y, f))
    ),
    Case(Softmax(), "one-hot", 3, lambda f, y: cp.log_sum_exp(f) - y @ f),
    Case(
        SquaredHinge(),
        "sign",
        2,
        lambda f, y: cp.sum_squares(cp.pos(1 - cp.multiply(y, f))) / 2,
    ),
]


@pytest.fixture(params=CASES, ids=lambda c: f"{type(c.loss).__name__}-{c.n_outputs}")
def case(request):
    return request.param


def draw(case, n_samples=9, seed=0):
    """Return predictions, targets and weights that sum to one."""
    rng = np.random.default_rng(seed)
    shape = n_samples, case.n_outputs
    weights = rng.uniform(0.5, 2, n_samples)
    draws = {
        "real": rng.standard_normal(shape),
        "count": rng.poisson(2.0, shape).astype(float),
        "binary": rng.integers(0, 2, shape).astype(float),
        "sign": rng.choice([-1.0, 1.0], shape),
        "one-hot": np.eye(case.n_outputs)[np.arange(n_samples) % case.n_outputs],
    }
    F = 0.8 * rng.standard_normal(shape)
    return F, draws[case.targets], weights / weights.sum()


def derivative(function, F, i, k, step=1e-5):
    """Central difference of ``function`` in entry (i, k) of ``F``."""
    up, down = F.copy(), F.copy()
    up[i, k] += step
    down[i, k] -= step
    return (function(up) - function(down)) / (2 * step)


def test_value_is_the_loss_of_cvxpy(case):
    F, Y, weights = draw(case)
    rows = [w * case.formula(f, y) for f, y, w in zip(F, Y, weights, strict=True)]
    expected = sum(row.value for row in rows)
    if case.targets == "count":  # the deviance is zero at a perfect fit
        logs = np.log(np.maximum(Y, 1))
        expected += weights @ (Y * logs - Y).sum(axis=1)
    assert_allclose(case.loss.value(F, Y, weights), expected)


def test_its_own_form_for_cvxpy_has_the_value(case):
    F, Y, weights = draw(case)
    expression = case.loss.cvxpy_value(cp.Constant(F), Y, weights)
    assert expression.is_convex()
    assert_allclose(expression.value, case.loss.value(F, Y, weights))


def test_a_loss_may_have_no_form_for_cvxpy():
    with pytest.raises(NotImplementedError, match="WithoutForm is not stated in CVXPY"):
        WithoutForm().cvxpy_value(cp.Variable((3, 1)), np.ones((3, 1)), np.ones(3) / 3)


class WithoutForm(SquaredError):  # noqa: N818
    cvxpy_value = Loss.cvxpy_value


def test_second_derivatives_jump_where_a_loss_says_so(case):
    far = np.arange(-40.0, 41.0)[:, None] / 10
    F = np.repeat(far, case.n_outputs, axis=1)
    Y = np.repeat(draw(case)[1][:1], len(F), axis=0)
    h = case.loss.curvature(F, Y, np.ones(len(F)))[0]
    jumps = np.abs(np.diff(h, axis=0)).max() > 0.9
    grows = case.loss.has_log_link  # a mean does without a jump
    assert case.loss.is_piecewise_quadratic == (jumps and not grows)


def test_names_of_losses():
    built = {regression_loss(name, 0.3, 0.6).__class__ for name in REGRESSION_LOSSES}
    built |= {
        classification_loss(name, is_exclusive=several).__class__
        for name in CLASSIFICATION_LOSSES
        for several in (False, True)
    }
    ours = {c for c in [*Loss.__subclasses__(), *PiecewiseLinear.__subclasses__()]}
    ours = {c for c in ours if c.__module__.startswith("sklearn_convexrelu")}
    assert built == ours - {PiecewiseLinear, Smoothed}
    assert regression_loss("huber", 0.3, 0.6).threshold == 0.3
    assert regression_loss("quantile", 0.3, 0.6).levels == 0.6
    assert isinstance(classification_loss("log_loss", is_exclusive=True), Softmax)
    assert isinstance(classification_loss("log_loss", is_exclusive=False), Logistic)


def test_gradient_is_the_derivative(case):
    F, Y, weights = draw(case)
    gradient = case.loss.gradient(F, Y, weights)
    for i, k in np.ndindex(F.shape):
        slope = derivative(lambda F: case.loss.value(F, Y, weights), F, i, k)
        assert_allclose(gradient[i, k], slope, rtol=1e-5, atol=1e-9)


def test_curvature_is_the_second_derivative_or_above(case):
    F, Y, weights = draw(case)
    h, q = case.loss.curvature(F, Y, weights)
    q = np.zeros_like(h) if q is None else q
    for i in range(len(F)):
        hessian = [
            derivative(lambda F: case.loss.gradient(F, Y, weights)[i], F, i, k)  # noqa: B023
            for k in range(case.n_outputs)
        ]
        above = np.diag(h[i]) - np.outer(q[i], q[i]) - hessian
        assert np.linalg.eigvalsh(above).min() > -1e-7
        if not isinstance(case.loss, Huber | SquaredHinge):
            assert_allclose(above, 0, atol=1e-7)


def test_no_gradient_or_change_of_one_exceeds_what_a_loss_says(case):
    """Low-rank guarantees and proofs of joint losses rest on both numbers."""
    F, Y, _ = draw(case, 4000)
    rng, ones = np.random.default_rng(1), np.ones(len(F))
    F *= 10.0 ** rng.uniform(-1, 1.5, (len(F), 1))
    step = 1e-4 * rng.standard_normal(F.shape)
    gradient = case.loss.gradient(F, Y, ones)
    change = case.loss.gradient(F + step, Y, ones) - gradient
    rates = np.linalg.norm(change, axis=1) / np.linalg.norm(step, axis=1)
    assert rates.max() <= case.loss.smoothness * (1 + 1e-6)
    if np.isfinite(case.loss.smoothness):  # and it is no more than that
        assert rates.max() >= 0.7 * case.loss.smoothness
    # That of a slope is of one output, and infinite only where slopes go on growing.
    slope, largest = np.abs(gradient).max(), case.loss.largest_slope
    assert slope <= largest * (1 + 1e-12)
    if np.isfinite(largest):
        assert slope >= 0.7 * largest
    else:
        assert np.abs(case.loss.gradient(2.0 * F, Y, ones)).max() > 1.5 * slope


def test_conjugate_is_the_supremum(case):
    F, Y, weights = draw(case)
    loss, G = case.loss, case.loss.gradient(F, Y, weights)
    # Fenchel's equality at a gradient, his inequality elsewhere.
    attained = np.vdot(G, F) - loss.value(F, Y, weights)
    assert_allclose(loss.conjugate(G, Y, weights), attained, rtol=1e-9)
    for seed in range(20):
        other = F + np.random.default_rng(seed).standard_normal(F.shape)
        lower = np.vdot(G, other) - loss.value(other, Y, weights)
        assert attained >= lower - 1e-12


def test_conjugate_is_infinite_outside_its_domain(case):
    F, Y, weights = draw(case)
    G = case.loss.gradient(F, Y, weights)
    edge = case.loss.largest_scaling(G, Y, weights)
    if np.isfinite(edge):
        assert np.isfinite(case.loss.conjugate(edge * (1 - 1e-9) * G, Y, weights))
        assert case.loss.conjugate(1.01 * edge * G, Y, weights) == np.inf
    else:
        assert np.isfinite(case.loss.conjugate(1e3 * G, Y, weights))


def test_conjugate_refuses_points_off_the_domain():
    one, Y = np.ones(1), np.array([[0.0, 1.0]])
    assert Logistic().conjugate(np.array([[-0.1, 0.0]]), Y, one) == np.inf
    assert Softmax().conjugate(np.array([[0.2, 0.0]]), Y, one) == np.inf
    assert SquaredHinge().conjugate(np.array([[0.1, 0.0]]), 2 * Y - 1, one) < np.inf
    assert SquaredHinge().conjugate(np.array([[0.0, 0.1]]), 2 * Y - 1, one) == np.inf
    assert Poisson().conjugate(np.array([[-0.1, 0.0]]), Y, one) == np.inf
    assert Huber(1.0).conjugate(np.array([[1.1, 0.0]]), Y, one) == np.inf


def test_best_intercept_minimises(case):
    F, Y, weights = draw(case)
    b = case.loss.best_intercept(F, Y, weights)
    start = np.zeros(case.n_outputs)
    found = minimize(lambda b: case.loss.value(F + b, Y, weights), start, tol=1e-12)
    assert case.loss.value(F + b, Y, weights) <= found.fun + 1e-12
    sums = case.loss.gradient(F + b, Y, weights).sum(axis=0)
    assert_allclose(sums, 0, atol=1e-6)


@pytest.mark.parametrize("ratio", [1e-6, 1e-3, 1.0, 1e3])
def test_huber_intercept_at_any_threshold(ratio):
    """Targets are of size one, but their outputs are far from zero."""
    rng = np.random.default_rng(0)
    Y = rng.standard_normal((31, 3)) + [100.0, -7.0, 0.0]
    F, weights = rng.standard_normal((31, 3)), rng.dirichlet(np.ones(31))
    loss = Huber(ratio)
    b = loss.best_intercept(F, Y, weights)
    for k in range(3):
        f, y = F[:, [k]], Y[:, [k]]

        def value(b, f=f, y=y):
            return loss.value(f + b, y, weights)

        # By brute force: near the best of the means of neighbouring residuals.
        grid = np.sort((y - f).ravel())
        grid = (grid[:, None] + grid).ravel() / 2
        best = grid[np.argmin([value(b) for b in grid])]
        found = minimize_scalar(value, (best - ratio / 9, best + ratio / 9), tol=1e-12)
        least = min(found.fun, value(best))
        assert_allclose(value(b[k]), least, rtol=1e-4)
        assert value(b[k]) <= least * (1 + 1e-13)
    N = loss.gradient(F + b, Y, weights)
    assert (abs(N.sum(axis=0)) <= 1e-8 * abs(N).sum(axis=0)).all()


def test_ties_of_the_intercept_are_settled_in_the_middle():
    one = np.full(4, 0.25)
    Y = np.array([[0.0], [10.0], [1.0], [10.5]])
    for sign, order in [(1, [0, 1, 2, 3]), (-1, [0, 1, 2, 3]), (1, [3, 1, 0, 2])]:
        b = Huber(1.0).best_intercept(0 * Y, sign * Y[order], one)
        assert_allclose(b, sign * (2.0 + 9.0) / 2)  # flat from 1 + t to 10 - t
    # No margin is short from -3 to 9.
    F, signs = np.array([[-10.0], [4.0]]), np.array([[-1.0], [1.0]])
    assert_allclose(SquaredHinge().best_intercept(F, signs, one[:2]), 3.0)
    # One class alone has the least shift of no loss, however large the predictions.
    F = np.array([[-1e4], [2.0]])
    assert_allclose(SquaredHinge().best_intercept(F, 1 + 0 * F, one[:2]), 1e4 + 1)


@pytest.mark.parametrize("size", [1.0, 1e2, 1e4])
@pytest.mark.parametrize("loss", [Logistic(), Softmax(), SquaredHinge()])
def test_intercept_for_predictions_of_any_size(loss, size):
    """Far from zero curvatures vanish, and Newton's method has nowhere to go."""
    rng = np.random.default_rng(0)
    F, Y = size * rng.standard_normal((60, 3)), np.eye(3)[np.arange(60) % 3]
    Y = 2 * Y - 1 if isinstance(loss, SquaredHinge) else Y
    weights = rng.dirichlet(np.ones(60))
    b = loss.best_intercept(F, Y, weights)
    N = loss.gradient(F + b, Y, weights)
    assert abs(N.sum(axis=0)).max() <= 1e-6 * abs(N).sum()
    value = loss.value(F + b, Y, weights)
    for shift in size * rng.standard_normal((200, 3)):
        assert value <= loss.value(F + b + shift, Y, weights)


def test_balanced_points_are_dual_feasible(case):
    F, Y, weights = draw(case)
    loss, N = case.loss, case.loss.gradient(F, Y, weights)
    balanced = loss.balanced(N, Y, weights)
    assert_allclose(balanced.sum(axis=0), 0, atol=1e-15)
    assert np.isfinite(loss.conjugate(balanced, Y, weights))
    assert_allclose(loss.balanced(balanced, Y, weights), balanced, atol=1e-15)


@pytest.mark.parametrize("limit", [0.1, 0.9, 1.5, np.inf])
def test_best_dual_value_beats_every_scaling(case, limit):
    F, Y, weights = draw(case)
    loss, N = case.loss, case.loss.gradient(F, Y, weights)
    best = loss.best_dual_value(N, Y, weights, limit)
    top = min(limit, loss.largest_scaling(N, Y, weights), 3.0)
    values = [-loss.conjugate(s * N, Y, weights) for s in np.linspace(0, top, 3001)]
    assert max(values) - 1e-9 <= best <= max(values) + 1e-4


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_bound_meets_the_optimum_of_cvxpy(case, fit_intercept):
    """Over fixed atoms ``relu(x u_j) a_j`` the problem is convex and small."""
    rng = np.random.default_rng(1)
    _, Y, weights = draw(case, 25, seed=1)
    X = np.c_[rng.standard_normal((25, 2)), np.ones(25)]
    U, A = rng.standard_normal((3, 12)), rng.standard_normal((12, case.n_outputs))
    U /= np.linalg.norm(U, axis=0)
    A /= np.linalg.norm(A, axis=1, keepdims=True)
    problem = Problem(X, Y, weights, case.loss, 0.02, fit_intercept)
    Phi = np.maximum(X @ U, 0)
    c, b = best_amplitudes(
        problem,
        Features(problem, U),
        A,
        np.zeros(12),
        np.zeros(case.n_outputs),
        1e-13,
        max_iter=500,
    )
    F = (Phi * c) @ A + b
    N = dual_point(problem, F)
    price = np.max(-np.einsum("ij,ik,jk->j", Phi, N, A))
    bound = lower_bound(problem, N, price)

    free_c, free_b = cp.Variable(12, nonneg=True), cp.Variable(case.n_outputs)
    predictions = Phi @ cp.diag(free_c) @ A
    rows = [
        w * case.formula(predictions[i] + free_b * fit_intercept, Y[i])
        for i, w in enumerate(weights)
    ]
    programme = cp.Problem(cp.Minimize(sum(rows) + 0.02 * cp.sum(free_c)))
    programme.solve(solver=cp.CLARABEL)
    shift = 0.0
    if case.targets == "count":
        shift = weights @ (Y * np.log(np.maximum(Y, 1)) - Y).sum(axis=1)
    optimum = programme.value + shift
    assert_allclose(case.loss.value(F, Y, weights) + 0.02 * c.sum(), optimum, rtol=1e-6)
    assert optimum * (1 - 1e-4) <= bound <= optimum + 1e-6


def test_squared_error_of_several_outputs_adds_up():
    F, Y, weights = draw(CASES[0])
    loss = SquaredError()
    parts = [loss.value(F[:, [k]], Y[:, [k]], weights) for k in (0, 1)]
    assert_allclose(loss.value(F, Y, weights), sum(parts))
    G = loss.gradient(F, Y, weights)
    duals = [loss.conjugate(G[:, [k]], Y[:, [k]], weights) for k in (0, 1)]
    assert_allclose(loss.conjugate(G, Y, weights), sum(duals))


def test_huber_in_other_units():
    F, Y, weights = draw(CASES[1])
    loss, scaled = Huber(0.7), Huber(0.7).in_units(4.0)
    assert_allclose(loss.value(4 * F, 4 * Y, weights), 16 * scaled.value(F, Y, weights))


def test_two_logits_are_one():
    """Softmax of (0, f) is the logistic loss of f."""
    F, Y, weights = draw(CASES[4])
    two = np.hstack([np.zeros_like(F), F]), np.hstack([1 - Y, Y])
    assert_allclose(
        Softmax().value(*two, weights), Logistic().value(F, Y, weights), rtol=1e-12
    )
