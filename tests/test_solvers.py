"""The steps of the adaptive loop, several outputs, another loss, and the training."""

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import bumps, known_optimum, problem
from reference import all_patterns, cone_programme
from scipy.optimize import minimize
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning

from sklearn_convexrelu.adaptive.loop import AdaptiveSolver
from sklearn_convexrelu.adaptive.slide import _WeightObjective, slide
from sklearn_convexrelu.data.statement import state_problem
from sklearn_convexrelu.model.losses import (
    Huber,
    Logistic,
    Poisson,
    Softmax,
    SquaredError,
    SquaredHinge,
)
from sklearn_convexrelu.model.neurons import Network
from sklearn_convexrelu.model.problem import Problem
from sklearn_convexrelu.model.solution import Status
from sklearn_convexrelu.programmes.amplitudes import (
    _TAIL,
    Features,
    _drawn_derivatives,
    _second_derivatives,
    best_amplitudes,
)
from sklearn_convexrelu.training import Training, largest_alpha, train


def several_targets(n_samples, n_features, n_outputs):
    X, y = bumps(n_samples, n_features)
    shifts = np.arange(n_outputs)
    return X, np.abs(y[:, None] - shifts) + 0.3 * X[:, :1] * shifts


def unit(A, axis):
    return A / np.linalg.norm(A, axis=axis, keepdims=True)


def directions(n_inputs, n_neurons, n_outputs, seed=0):
    rng = np.random.default_rng(seed)
    U = unit(rng.standard_normal((n_inputs, n_neurons)), 0)
    return U, unit(rng.standard_normal((n_neurons, n_outputs)), 1)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_amplitudes_are_the_optimum_of_the_convex_programme(n_outputs, fit_intercept):
    X, Y = several_targets(50, 3, n_outputs)
    stated = problem(X, Y, alpha=0.05, fit_intercept=fit_intercept)
    U, A = directions(4, 30, n_outputs)
    Phi = np.maximum(stated.X @ U, 0)
    c, b = best_amplitudes(
        stated,
        Features.given(stated, Phi),
        A,
        np.zeros(30),
        np.zeros(n_outputs),
        tol=1e-14,
    )
    assert (c >= 0).all() and (c == 0).any() and b.any() == fit_intercept

    free_c, free_b = cp.Variable(30, nonneg=True), cp.Variable((1, n_outputs))
    F = Phi @ cp.diag(free_c) @ A + np.ones((50, 1)) @ free_b * fit_intercept
    loss = cp.sum_squares(F - stated.Y) / 100
    reference = cp.Problem(cp.Minimize(loss + 0.05 * cp.sum(free_c)))
    reference.solve(solver=cp.CLARABEL)
    network = Network.from_directions(U, A, c, b)
    assert_allclose(stated.objective(network), reference.value, rtol=1e-6)


@pytest.mark.parametrize("start", ["zero", "far"])
@pytest.mark.parametrize("loss", [Logistic(), SquaredHinge(), Softmax(), Huber(0.3)])
def test_amplitudes_of_other_losses(loss, start):
    # Where the first step happens to drop as promised it is not the last for that.
    n_outputs, alpha = 1 if isinstance(loss, Logistic) else 3, 1e-3
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X = np.c_[rng.standard_normal((20, 4)), np.ones(20)]
        U, A = directions(5, 40, n_outputs, seed)
        Phi = np.maximum(X @ U, 0)
        Y = {
            Logistic: rng.integers(0, 2, (20, 1)),
            SquaredHinge: rng.choice([-1, 1], (20, 3)),
            Softmax: np.eye(3)[np.r_[:3, rng.integers(0, 3, 17)]],
            Huber: rng.standard_normal((20, 3)),
        }[type(loss)].astype(float)
        stated = Problem(X, Y, np.full(20, 1 / 20), loss, alpha, fit_intercept=True)

        def objective(z, stated=stated, Phi=Phi, A=A):
            F = Phi @ (z[:40, None] * A) + z[40:]
            value, N = stated.loss.value_and_gradient(F, stated.Y, stated.weights)
            slopes = ((Phi.T @ N) * A).sum(axis=1) + alpha
            return value + alpha * z[:40].sum(), np.r_[slopes, N.sum(axis=0)]

        first = np.zeros(40) if start == "zero" else 5 * rng.random(40)
        c, b = best_amplitudes(
            stated,
            Features.given(stated, Phi),
            A,
            first,
            np.zeros(n_outputs),
            tol=1e-12,
        )
        assert (c >= 0).all()
        found = minimize(
            objective,
            np.r_[c, b],
            jac=True,
            bounds=[(0, None)] * 40 + [(None, None)] * n_outputs,
            options={"maxiter": 3000, "maxfun": 10000, "ftol": 1e-15, "gtol": 1e-12},
        )
        assert objective(np.r_[c, b])[0] <= found.fun + 1e-7


def many_classes(n_classes, n_samples=120, n_units=40):
    """A problem of many classes, features, outputs, and a point that fits it well."""
    rng = np.random.default_rng(5)
    labels = np.r_[np.arange(n_classes), rng.integers(n_classes, size=n_samples)]
    X = rng.standard_normal((n_classes, 6))[labels]
    X += 0.5 * rng.standard_normal(X.shape)
    Y, weights = np.eye(n_classes)[labels], np.full(len(X), 1 / len(X))
    stated = Problem(X, Y, weights, Softmax(), 1e-3, fit_intercept=True)
    U, A = directions(6, n_units, n_classes)
    Phi = np.maximum(X @ U, 0)
    c, b = best_amplitudes(
        stated,
        Features.given(stated, Phi),
        A,
        np.zeros(n_units),
        np.zeros(n_classes),
        tol=1e-12,
    )
    return stated, Phi, A, c, b


@pytest.mark.parametrize("n_classes", [3, 12, 40])
def test_second_derivatives_of_many_classes_share_their_tails(n_classes):
    stated, Phi, A, c, b = many_classes(n_classes)
    F = Phi @ (c[:, None] * A) + b
    H, H_mixed, H_z = _second_derivatives(
        Phi, slice(0, len(F), 1), np.ones((len(F), 1)), F, A, stated, 0
    )
    found = np.block([[H, H_mixed], [H_mixed.T, H_z]])

    P = np.exp(F - logsumexp(F, axis=1, keepdims=True))
    units = np.concatenate(
        [
            Phi[:, :, None] * A,
            np.broadcast_to(np.eye(n_classes), (len(F), n_classes, n_classes)),
        ],
        axis=1,
    )
    diagonals = np.einsum("ikc,ic,ilc->kl", units, P, units) / len(F)
    means = np.einsum("ikc,ic->ik", units, P)
    true = diagonals - means.T @ means / len(F)
    if n_classes == 3:  # sharing would save nothing
        assert_allclose(found, true, atol=1e-12)
        return
    assert np.linalg.eigvalsh(found)[0] >= -1e-12
    # The part of all curvature that is shared moves, and what it had of covariances.
    differs = np.linalg.norm(found - true)
    assert 1e-6 < differs <= 3 * _TAIL * np.linalg.norm(diagonals)


def test_second_derivatives_are_means_over_drawn_classes():
    stated, Phi, A, c, b = many_classes(40)
    F, B = Phi @ (c[:, None] * A) + b, np.ones((len(Phi), 1))
    h, q = stated.loss.curvature(F, stated.Y, stated.weights)
    true = [np.zeros((len(A) + 40, len(A) + 40))]
    for i in range(len(F)):  # by the definition, a row at a time
        units = np.vstack([Phi[i][:, None] * A, np.eye(40)])
        true[0] += units @ (np.diag(h[i]) - np.outer(q[i], q[i])) @ units.T
    errors = []
    for n_draws in (2, 8, 32):
        rows = slice(0, len(F), 1)
        H, H_mixed, H_z = _drawn_derivatives(Phi, rows, B, A, h, n_draws)
        found = np.block([[H, H_mixed], [H_mixed.T, H_z]])
        assert np.linalg.eigvalsh(found)[0] >= -1e-12
        errors.append(np.linalg.norm(found - true[0]) / np.linalg.norm(true[0]))
    assert errors[0] <= 0.5
    assert errors[2] <= 0.5 * errors[1] <= 0.3 * errors[0]


@pytest.mark.parametrize("n_classes", [12, 40])
def test_amplitudes_of_many_classes(n_classes):
    stated, Phi, A, c, b = many_classes(n_classes)
    free_c, free_b = cp.Variable(len(c), nonneg=True), cp.Variable((1, n_classes))
    F = Phi @ cp.diag(free_c) @ A + np.ones((len(Phi), 1)) @ free_b
    loss = cp.sum(cp.log_sum_exp(F, axis=1)) - cp.sum(cp.multiply(F, stated.Y))
    reference = cp.Problem(cp.Minimize(loss / len(Phi) + 1e-3 * cp.sum(free_c)))
    reference.solve(solver=cp.CLARABEL)
    value = stated.loss_at(Phi @ (c[:, None] * A) + b) + 1e-3 * c.sum()
    assert_allclose(value, reference.value, rtol=1e-6)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_amplitudes_from_a_saturated_start(fit_intercept):
    # All probabilities are zero or one there: no curvature to speak of.
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((6, 3)), np.eye(3)[[0, 1, 2, 0, 1, 2]]
    U, A = directions(3, 60, 3)
    stated = Problem(X, Y, np.full(6, 1 / 6), Softmax(), 0.07, fit_intercept)
    Phi, start = np.maximum(X @ U, 0), np.full(60, 300.0)
    c, b = best_amplitudes(
        stated, Features.given(stated, Phi), A, start, np.zeros(3), tol=1e-10
    )
    value = stated.loss.value(Phi @ (c[:, None] * A) + b, Y, stated.weights)
    assert value + 0.07 * c.sum() <= np.log(3)  # what no neuron at all would cost


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_slide_gradient_and_descent(n_outputs, fit_intercept):
    X, Y = several_targets(3000, 3, n_outputs)  # more than one block of rows
    stated = problem(X, Y, alpha=0.05, fit_intercept=fit_intercept)
    U, A = directions(4, 40, n_outputs)
    network = Network.from_directions(U, A, np.full(40, 0.1), np.zeros(n_outputs))
    weights = _WeightObjective(stated, network)
    flat = weights.start()
    value, gradient = weights(flat)
    assert_allclose(value, stated.objective(network))
    step = np.random.default_rng(1).standard_normal(len(flat)) * 1e-6
    slope = (weights(flat + step)[0] - weights(flat - step)[0]) / 2
    assert_allclose(slope, gradient @ step, rtol=1e-4, atol=1e-9)
    slid = slide(stated, network, tol=1e-9, max_iter=30)
    assert stated.objective(slid) < 0.9 * value
    assert slid.intercept.any() == fit_intercept


@pytest.mark.parametrize("loss", [SquaredError(), Logistic(), Softmax()])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_slide_steps_go_by_second_derivatives(loss, fit_intercept):
    rng = np.random.default_rng(0)
    X = rng.choice([-1.0, 1.0], (200, 3))  # all rows as large along every axis
    labels = rng.integers(3, size=200)
    Y = np.eye(3)[labels]
    if not isinstance(loss, Softmax):
        Y = np.where(labels > 0, 1.0, -1.0)[:, None]
    stated = problem(X, Y, alpha=0.05, fit_intercept=fit_intercept)
    stated = replace(stated, loss=loss, Y=Y)
    U, A = directions(4, 12, Y.shape[1])
    network = Network.from_directions(U, A, np.full(12, 0.4), np.zeros(Y.shape[1]))
    weights = _WeightObjective(stated, network)
    flat, step = weights.start(), 1e-5
    slopes = [
        weights(flat + step * e)[1] @ e - weights(flat - step * e)[1] @ e
        for e in np.eye(len(flat))
    ]
    sizes = weights.sizes(np.ones(4))
    assert_allclose(np.divide(slopes, 2.0 * step), sizes**-2.0, rtol=1e-4)


def wide_joint_network(stated, n_neurons, seed):
    """Best joint weight decay of a wide network with several outputs."""
    d, C = stated.X.shape[1], stated.n_outputs
    rng = np.random.default_rng(seed)
    start = Network(
        rng.standard_normal((d, n_neurons)) / 2,
        rng.standard_normal((n_neurons, C)) / 2,
        stated.best_constant(),
    )
    return stated.objective(slide(stated, start, tol=1e-12, max_iter=2000))


@pytest.mark.parametrize("n_features", [1, 4])
def test_several_outputs_share_neurons_and_are_certified(n_features):
    X, Y = several_targets(60, n_features, 3)
    stated = problem(X, Y)
    stated = stated.with_alpha(0.05 * largest_alpha(stated))
    solution = train(Training.of(stated, AdaptiveSolver(tol=1e-3)))
    assert solution.certificate.kind == ("exact" if n_features == 1 else "priced")
    wide = min(wide_joint_network(stated, 50, seed) for seed in range(3))
    assert solution.certificate.objective <= wide + solution.certificate.gap
    assert solution.certificate.lower_bound <= wide
    assert solution.certificate.gap <= 1e-3 * stated.loss_scale()


def test_another_loss_is_certified():
    X, y = bumps(60, 1)
    labels = (y > y.mean()).astype(float)[:, None]
    stated = state_problem(
        X, labels, np.ones(60), Logistic(), fit_intercept=True, hidden_bias=True
    )
    stated = stated.with_alpha(0.03 * largest_alpha(stated))
    solution = train(Training.of(stated, AdaptiveSolver(tol=1e-3)))
    wide = min(wide_joint_network(stated, 50, seed) for seed in range(3))
    assert solution.certificate.kind == "exact"
    assert solution.certificate.lower_bound <= wide
    assert solution.certificate.objective <= wide + solution.certificate.gap


class Stuck(Huber):
    """Huber's loss with an intercept that is far from the best."""

    def best_intercept(self, F, Y, weights):
        return np.full(Y.shape[1], 3.0)


def test_a_constant_is_certified_by_its_own_dual_value():
    """A zero alpha says that no neuron helps, not that the constant is the best."""
    X, y = bumps(40, 2)
    for loss, constant in [(Stuck(0.5), 3.0), (Huber(0.5), np.median(y + 90))]:
        stated = state_problem(
            X,
            y[:, None] + 90.0,
            np.ones(40),
            loss,
            fit_intercept=True,
            hidden_bias=True,
        ).with_alpha(0.0)
        if isinstance(loss, Stuck):
            with pytest.warns(ConvergenceWarning, match="gap"):
                solution = train(Training.of(stated, AdaptiveSolver()))
            assert solution.status is Status.PRECISION
        else:
            solution = train(Training.of(stated, AdaptiveSolver()))
            assert solution.status is Status.CONVERGED
        assert_allclose(solution.network.intercept, constant, atol=0.5)
        sizes = abs(np.median(y) - y)
        best = np.mean(np.where(sizes <= 0.5, sizes**2 / 2, 0.5 * sizes - 0.125))
        assert solution.certificate.lower_bound <= best
        assert solution.certificate.proven_lower_bound <= best


def test_many_rows_start_on_a_sample_and_end_on_all_of_them():
    X, y = bumps(10000, 3)
    stated = problem(X, y)
    stated = stated.with_alpha(0.05 * largest_alpha(stated))
    solution = train(Training.of(stated, AdaptiveSolver(tol=1e-3)))
    assert solution.history[0]["n_neurons"] > 0
    assert solution.certificate.gap <= 1e-3 * stated.loss_scale()
    assert_allclose(
        solution.certificate.objective, stated.objective(solution.network), rtol=1e-12
    )


def test_alpha_must_be_chosen_before_training():
    X, y = bumps(20, 2)
    with pytest.raises(ValueError, match="with_alpha"):
        train(Training.of(problem(X, y), AdaptiveSolver()))


def test_targets_beyond_double_precision_are_refused():
    X, y = bumps(20, 2)
    for scale in (1e200, 1e-200):
        with pytest.raises(ValueError, match="rescale"):
            largest_alpha(problem(X, scale * y))


def test_weights_are_double_where_single_precision_misses_the_gap():
    X, y = bumps(100, 3)
    stated = problem(X, y + 1e7)
    stated = stated.with_alpha(0.05 * largest_alpha(stated))
    double = train(Training.of(stated, AdaptiveSolver()))
    solution = train(Training.of(stated, AdaptiveSolver()), dtype=np.float32)
    assert solution.status is double.status is Status.CONVERGED
    assert solution.network.intercept.dtype == np.float64
    assert stated.objective(solution.network) == double.certificate.objective
    near = train(
        Training.of(problem(X, y, alpha=stated.alpha), AdaptiveSolver()),
        dtype=np.float32,
    )
    assert near.network.intercept.dtype == np.float32


def test_losses_of_problem_states():
    X, y = bumps(30, 2)
    stated = problem(X, y)
    assert isinstance(stated.loss, SquaredError)
    assert_allclose(stated.loss_scale(), y.var() / 2)
    assert_allclose(stated.best_constant(), y.mean())
    constant = problem(X, np.full(30, 3.0))
    assert_allclose(constant.loss_scale(), 4.5)  # of predicting zero
    half = stated.subset(np.arange(15))
    assert_allclose(half.weights.sum(), 1.0)
    assert len(half.X) == len(half.Y) == 15


ENUMERATED = {
    "logistic": (Logistic(), lambda f, y: cp.sum(cp.logistic(f)) - y @ f),
    "hinge": (
        SquaredHinge(),
        lambda f, y: cp.sum_squares(cp.pos(1 - cp.multiply(2 * y - 1, f))) / 2,
    ),
    "huber": (Huber(0.3), lambda f, y: cp.sum(cp.huber(f - y, 0.3)) / 2),
    "poisson": (Poisson(), lambda f, y: cp.sum(cp.exp(f)) - y @ f - y.sum()),
}


@pytest.mark.parametrize("name", ENUMERATED)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_every_loss_reaches_the_optimum_of_complete_enumeration(name, fit_intercept):
    loss, formula = ENUMERATED[name]
    X, y = bumps(12, 2, seed=3)
    labels = (y > np.median(y)).astype(float)  # counts too, with y log y = 0
    targets = 2 * labels - 1 if name == "hinge" else labels
    stated = state_problem(
        X,
        targets[:, None],
        np.ones(12),
        loss,
        fit_intercept=fit_intercept,
        hidden_bias=True,
    )
    stated = stated.with_alpha(0.05 * largest_alpha(stated))
    solution = train(Training.of(stated, AdaptiveSolver(tol=1e-4)))
    inputs = np.c_[X, np.ones(12)]
    optimum = cone_programme(
        inputs, labels, all_patterns(inputs), stated.alpha, fit_intercept, formula
    )
    assert solution.certificate.kind == "exact"
    assert solution.certificate.lower_bound <= optimum + 1e-6
    objective = stated.objective(solution.network)
    scale = stated.loss_scale()
    assert optimum - 1e-6 <= objective <= optimum + 2e-4 * scale


@pytest.mark.parametrize(
    "name, loss",
    [
        ("two_layer_logistic_n20_a01", Logistic()),
        ("two_layer_vector_n6_C2", SquaredError()),
    ],
)
def test_certified_optima_of_the_reference_data(name, loss):
    data = known_optimum(name)
    Y = data["y"].reshape(len(data["X"]), -1).astype(float)
    if isinstance(loss, Logistic):
        Y = (Y + 1) / 2
    stated = state_problem(
        data["X"], Y, np.ones(len(Y)), loss, fit_intercept=False, hidden_bias=False
    ).with_alpha(float(data["alpha"]))
    solution = train(Training.of(stated, AdaptiveSolver(tol=1e-5)))
    assert solution.certificate.kind == "exact"
    assert solution.certificate.lower_bound <= data["optimum"] + 1e-7
    assert_allclose(stated.objective(solution.network), data["optimum"], rtol=2e-5)
