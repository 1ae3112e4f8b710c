"""Losses against their definitions: derivatives, conjugates, closed forms."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize

from sklearn_convexrelu.losses import Loss, SquaredError


class Logistic(Loss):
    """``log(1 + exp(f)) - y f`` with y in [0, 1]: checks what Loss itself provides."""

    def value_and_gradient(self, F, Y, weights):
        w = weights[:, None]
        P = 1 / (1 + np.exp(-F))
        return np.sum(w * (np.logaddexp(0, F) - Y * F)), w * (P - Y)

    def curvature(self, F, Y, weights):
        P = 1 / (1 + np.exp(-F))
        return weights[:, None] * P * (1 - P), None

    def conjugate(self, G, Y, weights):
        P = G / weights[:, None] + Y
        if P.min() < 0 or P.max() > 1:
            return np.inf
        entropy = [p * np.log(p) if p > 0 else 0.0 for p in np.r_[P, 1 - P].ravel()]
        return np.sum(np.tile(weights, 2) * entropy)

    def largest_scaling(self, N, Y, weights):
        step = N / weights[:, None]
        room = np.where(step > 0, 1 - Y, Y)[step != 0]
        return np.min(room / np.abs(step[step != 0]))


LOSSES = [SquaredError(), Logistic()]


@pytest.fixture(params=LOSSES, ids=lambda loss: type(loss).__name__)
def loss(request):
    return request.param


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.5, 2, 7)
    F, Y = rng.standard_normal((7, 1)), rng.integers(0, 2, (7, 1)).astype(float)
    return F, Y, weights / weights.sum()


def test_gradient_and_curvature_are_derivatives(loss, data):
    F, Y, weights = data
    gradient, (h, q) = loss.gradient(F, Y, weights), loss.curvature(F, Y, weights)
    assert q is None
    for i in range(len(F)):
        step = np.zeros_like(F)
        step[i] = 1e-5
        up, down = F + step, F - step
        slope = (loss.value(up, Y, weights) - loss.value(down, Y, weights)) / 2e-5
        assert_allclose(gradient[i, 0], slope, rtol=1e-6, atol=1e-9)
        change = loss.gradient(up, Y, weights) - loss.gradient(down, Y, weights)
        assert_allclose(h[i, 0], change[i, 0] / 2e-5, rtol=1e-6, atol=1e-9)


def test_conjugate_is_the_supremum(loss, data):
    F, Y, weights = data
    G = loss.gradient(F, Y, weights)
    # Fenchel's equality at a gradient, his inequality elsewhere.
    attained = np.vdot(G, F) - loss.value(F, Y, weights)
    assert_allclose(loss.conjugate(G, Y, weights), attained, rtol=1e-10)
    other = F + np.linspace(-1, 1, len(F))[:, None]
    lower = np.vdot(G, other) - loss.value(other, Y, weights)
    assert loss.conjugate(G, Y, weights) > lower + 1e-4


def test_best_intercept_minimises(loss, data):
    F, Y, weights = data
    b = loss.best_intercept(F, Y, weights)
    found = minimize(lambda b: loss.value(F + b, Y, weights), np.zeros(1)).fun
    assert loss.value(F + b, Y, weights) <= found + 1e-12
    assert abs(loss.gradient(F + b, Y, weights).sum()) < 1e-12


@pytest.mark.parametrize("limit", [0.1, 0.9, 1.5, np.inf])
def test_best_dual_value_beats_every_scaling(loss, data, limit):
    F, Y, weights = data
    N = loss.gradient(F, Y, weights)
    best = loss.best_dual_value(N, Y, weights, limit)
    top = min(limit, loss.largest_scaling(N, Y, weights), 2.0)
    values = [-loss.conjugate(s * N, Y, weights) for s in np.linspace(0, top, 5001)]
    assert max(values) - 1e-12 <= best <= max(values) + 1e-5


def test_squared_error_of_several_outputs_adds_up(data):
    F, Y, weights = data
    loss, F2, Y2 = SquaredError(), np.c_[F, -2 * F], np.c_[Y, 3 + Y]
    parts = [loss.value(F2[:, [k]], Y2[:, [k]], weights) for k in (0, 1)]
    assert_allclose(loss.value(F2, Y2, weights), sum(parts))
    G = loss.gradient(F2, Y2, weights)
    duals = [loss.conjugate(G[:, [k]], Y2[:, [k]], weights) for k in (0, 1)]
    assert_allclose(loss.conjugate(G, Y2, weights), sum(duals))
