"""Certificates by hand: dual feasibility, bounds, and a known optimum."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import bumps, problem
from reference import all_patterns, cone_programme

from sklearn_convexrelu.certificates.certificate import certify, dual_point, price_bound
from sklearn_convexrelu.model.losses import SquaredError
from sklearn_convexrelu.model.problem import Problem
from sklearn_convexrelu.pricing.exact import exact_price


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_lower_bound_of_any_network_is_below_the_optimum(fit_intercept):
    X, y = bumps(12, 1, seed=3)
    stated = problem(X, y, alpha=0.05, fit_intercept=fit_intercept)
    optimum = cone_programme(
        stated.X, stated.Y[:, 0], all_patterns(stated.X), 0.05, fit_intercept
    )
    network = stated.null_network()  # poor, yet its bound must hold
    N = dual_point(stated, network.forward(stated.X))
    price = exact_price(stated.X, N).prices[0]
    certificate = certify(stated, network, price, price)
    assert certificate.kind == "exact"
    assert 0 < certificate.lower_bound <= optimum + 1e-9
    assert certificate.objective >= optimum - 1e-9
    # The same bound by hand: a feasible scaling of N, in the dual objective.
    s = np.linspace(0, 0.05 / price, 100001)
    residual, n = N[:, 0] * len(X), len(X)
    values = -(s**2) * (residual @ residual) / (2 * n) - s * (N[:, 0] @ stated.Y[:, 0])
    assert_allclose(certificate.lower_bound, values.max(), rtol=1e-6)


def test_dual_point_is_balanced_with_an_intercept_only():
    X, y = bumps(30, 2)
    for fit_intercept in (True, False):
        stated = problem(X, y + 5, alpha=0.1, fit_intercept=fit_intercept)
        N = dual_point(stated, np.zeros_like(stated.Y))
        assert (abs(N.sum()) < 1e-12) == fit_intercept


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_price_bound_exceeds_every_price(n_outputs):
    rng = np.random.default_rng(0)

    def of(X):
        return Problem(X, np.zeros((15, n_outputs)), None, SquaredError(), 1.0, False)

    for _ in range(20):
        X = rng.standard_normal((15, 3)) * rng.uniform(0.1, 10, 3)
        N = rng.standard_normal((15, n_outputs))
        U = rng.standard_normal((3, 20000))
        U /= np.linalg.norm(U, axis=0)
        sampled = np.linalg.norm(N.T @ np.maximum(X @ U, 0).reshape(15, -1), axis=0)
        assert sampled.max() <= price_bound(of(X), N) < 20 * sampled.max()


def test_proven_bound_is_weaker_than_the_priced_one():
    X, y = bumps(40, 5)
    stated = problem(X, y, alpha=0.05)
    network = stated.null_network()
    N = dual_point(stated, network.forward(stated.X))
    U = np.random.default_rng(0).standard_normal((6, 5000))
    U /= np.linalg.norm(U, axis=0)
    price = np.abs(N.T @ np.maximum(stated.X @ U, 0)).max()
    certificate = certify(stated, network, price)
    assert certificate.kind == "priced" and certificate.price == price
    assert certificate.price_bound > price
    assert certificate.proven_lower_bound < certificate.lower_bound
    assert certificate.proven_gap > certificate.gap > 0
