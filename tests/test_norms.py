"""Other norms of the first layer: the loop takes whatever keeps the contract."""

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import bumps, problem
from reference import all_patterns

from sklearn_convexrelu.adaptive.loop import AdaptiveSolver
from sklearn_convexrelu.certificates.certificate import dual_point, price_bound
from sklearn_convexrelu.model.neurons import NeuronShape
from sklearn_convexrelu.model.norms import EUCLIDEAN, Norm, column_norms
from sklearn_convexrelu.pricing.kernels import Prices
from sklearn_convexrelu.programmes.fixed_patterns import FixedPatterns
from sklearn_convexrelu.training import train


class Weighted(Norm):
    """``||D u||_2``: the 2-norm of inputs that are divided by D."""

    def __init__(self, sizes):
        self.sizes = np.asarray(sizes)[:, None]

    def lengths(self, U):
        return column_norms(self.sizes * U)

    def dual_lengths(self, G):
        return column_norms(G / self.sizes)

    def radius(self, n_inputs):
        return 1.0 / self.sizes.min()

    def coordinates(self, U):
        return self.sizes.astype(U.dtype) * U

    def vectors(self, P):
        return P / self.sizes.astype(P.dtype)

    def pull_back(self, P, G):
        return G / self.sizes.astype(G.dtype)

    def coordinate_squares(self, squares):
        return squares / self.sizes.astype(squares.dtype) ** 2


class Sum(Norm):
    """``||u||_1``, in coordinates a and b with ``u = 2 a b``."""

    degree = 2

    def lengths(self, U):
        return np.abs(U).sum(axis=0)

    def dual_lengths(self, G):
        return np.abs(G).max(axis=0, initial=0.0)

    def radius(self, n_inputs):
        return 1.0

    def coordinates(self, U):
        # Never zero, where both gradients would be: a little of everything.
        roots = np.sqrt(np.maximum(np.abs(U), 1e-3 * np.abs(U).max(axis=0)) / 2)
        return np.vstack([roots, np.where(U < 0, -roots, roots)])

    def vectors(self, P):
        a, b = np.split(P, 2)
        return 2 * a * b

    def pull_back(self, P, G):
        a, b = np.split(P, 2)
        return np.vstack([2 * b * G, 2 * a * G])

    def coordinate_squares(self, squares):
        return np.vstack([squares, squares]) / len(squares)


NORMS = {
    "2": EUCLIDEAN,
    "weighted": Weighted([1.0, 3.0, 0.5, 2.0]),
    "1": Sum(),
}


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
def test_the_contract(norm):
    rng = np.random.default_rng(0)
    U, V = rng.standard_normal((2, 4, 2000))
    assert_allclose(norm.lengths(norm.unit(U)), 1.0)
    assert_allclose(norm.lengths(3.0 * U), 3.0 * norm.lengths(U))
    assert (norm.lengths(U + V) <= norm.lengths(U) + norm.lengths(V) + 1e-12).all()
    # The dual is the largest product over the ball: random points come near it.
    duals, products = norm.dual_lengths(V[:, :5]), norm.unit(U).T @ V[:, :5]
    assert (products <= duals + 1e-12).all()
    assert (products.max(axis=0) >= 0.5 * duals).all()
    assert (column_norms(norm.unit(U)) <= norm.radius(4) + 1e-12).all()
    # Coordinates: of least length, and longer than the vectors elsewhere.
    P = norm.coordinates(U)
    assert_allclose(norm.vectors(P), U, atol=0.01 * np.abs(U).max())
    assert_allclose(column_norms(P) ** norm.degree, norm.lengths(U), rtol=0.01)
    Q = rng.standard_normal(P.shape)
    bound = column_norms(Q) ** norm.degree
    assert (norm.lengths(norm.vectors(Q)) <= bound * (1 + 1e-12)).all()
    # The gradient, by differences.
    G = rng.standard_normal(U.shape)
    slope = np.sum(G * (norm.vectors(P + 1e-6 * Q) - norm.vectors(P - 1e-6 * Q)))
    assert_allclose(np.vdot(norm.pull_back(P, G), Q), slope / 2e-6, rtol=1e-5)
    assert norm.coordinate_squares(np.ones((4, 1))).shape == (len(P), 1)


def stated_with(norm, X, y, alpha, **options):
    stated = problem(X, y, alpha=alpha, **options)
    return replace(stated, shape=NeuronShape(norm))


def test_a_weighted_norm_is_another_scale_of_the_inputs():
    X, y = bumps(150, 3)
    sizes = np.array([1.0, 3.0, 0.5, 1.0])
    norm = Weighted(sizes)
    found = train(stated_with(norm, X, y, 0.05), AdaptiveSolver())
    scaled = train(problem(X / sizes[:3], y, alpha=0.05), AdaptiveSolver())
    assert found.status.name == "CONVERGED"
    gap = found.certificate.objective - scaled.certificate.objective
    assert abs(gap) <= found.tolerance
    network = found.network
    penalty = column_norms(sizes[:, None] * network.hidden) @ column_norms(
        network.output.T
    )
    loss = np.mean((network.forward(X)[:, 0] - y) ** 2) / 2
    assert_allclose(found.certificate.objective, loss + 0.05 * penalty)


def test_the_1_norm_meets_its_convex_programme():
    """Over all cells of n = 12 points in the plane, both signs of the output."""
    X, y = bumps(12, 1)
    alpha = 0.03
    stated = stated_with(Sum(), X, y, alpha)
    found = train(stated, AdaptiveSolver(tol=1e-4, max_iter=30))
    A = np.c_[X, np.ones(12)]
    D = all_patterns(A)
    parts = [cp.Variable((2, len(D))) for _ in range(2)]
    F = sum(
        sign * cp.sum(cp.multiply(D.T, A @ V), axis=1)
        for sign, V in zip((1, -1), parts, strict=True)
    )
    cones = [cp.multiply(2 * D.T - 1, A @ V) >= 0 for V in parts]
    loss = cp.sum_squares(F + cp.Variable() - y) / 24
    penalty = sum(cp.sum(cp.abs(V)) for V in parts)
    best = cp.Problem(cp.Minimize(loss + alpha * penalty), cones)
    best.solve(solver=cp.CLARABEL)
    scale = y.var() / 2
    assert found.certificate.lower_bound <= best.value + 1e-3 * scale
    assert found.certificate.objective >= best.value - 1e-6 * scale
    assert found.certificate.objective <= best.value + 2e-2 * scale
    assert found.certificate.proven_lower_bound <= best.value


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
def test_no_price_exceeds_the_bound(norm):
    X, y = bumps(60, 3)
    stated = stated_with(norm, X, y, 0.1)
    N = dual_point(stated, stated.null_network().forward(stated.rows))
    bound, rng = price_bound(stated, N), np.random.default_rng(0)
    U = norm.unit(rng.standard_normal((4, 5000)) * rng.random((4, 5000)) ** 3)
    prices = np.linalg.norm(Prices(stated.rows, N).totals(U), axis=1)
    assert prices.max() <= bound


def test_programmes_over_patterns_refuse_other_norms():
    X, y = bumps(40, 3)
    with pytest.raises(ValueError, match="2-norm"):
        train(stated_with(Sum(), X, y, 0.1), FixedPatterns("random"))
