"""Other norms of the first layer: the loop takes whatever keeps the contract."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import bumps, problem
from sklearn.exceptions import ConvergenceWarning

from sklearn_convexrelu.adaptive.loop import AdaptiveSolver
from sklearn_convexrelu.certificates.certificate import dual_point, price_bound
from sklearn_convexrelu.model import norms
from sklearn_convexrelu.model.linear import LinearPart
from sklearn_convexrelu.model.neurons import NeuronShape
from sklearn_convexrelu.model.norms import (
    EUCLIDEAN,
    ONE_NORM,
    Euclidean,
    Norm,
    OneNorm,
    column_norms,
)
from sklearn_convexrelu.pricing.kernels import Prices
from sklearn_convexrelu.programmes.fixed_patterns import FixedPatterns
from sklearn_convexrelu.training import Training, proven, train


class Weighted(Norm):
    """``||D u||_2``: the 2-norm of inputs that are divided by D."""

    def __init__(self, sizes):
        self.sizes = np.asarray(sizes)[:, None]

    def lengths(self, U):
        return column_norms(self.sizes.astype(U.dtype) * U)

    def dual_lengths(self, G):
        return column_norms(G / self.sizes)

    def radius(self, n_inputs):
        return 1.0 / self.sizes.min()

    def gradients(self, U, signs=None):
        return self.sizes.astype(U.dtype) ** 2 * self.unit(U)

    def peaks(self, G):
        return G / self.sizes.astype(G.dtype) ** 2


NORMS = {
    "2": EUCLIDEAN,
    "weighted": Weighted([1.0, 3.0, 0.5, 2.0]),
    "1": ONE_NORM,
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
    peaks = norm.unit(norm.peaks(V))
    assert_allclose(np.einsum("ij,ij->j", peaks, V), norm.dual_lengths(V))
    # Zero columns have gradients of zero, and single precision stays.
    single = np.zeros((4, 1), np.float32)
    for found in (norm.unit(single), norm.gradients(single), norm.peaks(single)):
        assert found.dtype == np.float32 and not found.any()
    # Gradients, by differences, away from kinks.
    step = 1e-7 * V
    rise = (norm.lengths(U + step) - norm.lengths(U - step)) / 2e-7
    smooth = np.abs(U).min(axis=0) > 1e-5
    expected = np.einsum("ij,ij->j", norm.gradients(U), V)
    assert_allclose(rise[smooth], expected[smooth], rtol=1e-5, atol=1e-6)
    halves = np.einsum("ij,ij->j", norm.half_slopes(U), U)
    assert_allclose(halves, norm.lengths(U) ** 2)


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
def test_slopes_are_those_of_the_price_over_the_norm(norm):
    """Of a linear price, ``g^T u``; the 1-norm at vectors with zeros, to both sides."""
    rng = np.random.default_rng(1)
    U, G = rng.standard_normal((2, 4, 200))
    if norm.has_kinks:
        U[rng.random(U.shape) < 0.3] = 0.0
        U[0] = 1.0
    U /= column_norms(U)
    G *= np.sign(np.einsum("ij,ij->j", G, U))  # prices are positive
    slopes = norm.slopes(U, G)

    def ratio(U):
        return np.einsum("ij,ij->j", G, U) / norm.lengths(U)

    rise = (ratio(U + 1e-7 * slopes) - ratio(U)) / 1e-7 * norm.lengths(U)
    squares = np.einsum("ij,ij->j", slopes, slopes)
    assert_allclose(rise, squares, rtol=1e-4, atol=1e-5)
    for way in np.eye(4)[:, :, None]:  # where it is flat nothing rises
        flat = squares < 1e-20
        for sign in (1.0, -1.0):
            assert (ratio(U + 1e-6 * sign * way) <= ratio(U) + 1e-12)[flat].all()


def stated_with(norm, X, y, alpha, **options):
    stated = problem(X, y, alpha=alpha, **options)
    return replace(stated, shape=NeuronShape(norm))


def test_a_weighted_norm_is_another_scale_of_the_inputs():
    X, y = bumps(150, 3)
    sizes = np.array([1.0, 3.0, 0.5, 1.0])
    norm = Weighted(sizes)
    found = train(Training.of(stated_with(norm, X, y, 0.05), AdaptiveSolver()))
    scaled = train(Training.of(problem(X / sizes[:3], y, alpha=0.05), AdaptiveSolver()))
    assert found.status.name == "CONVERGED"
    gap = found.certificate.objective - scaled.certificate.objective
    assert abs(gap) <= found.tolerance
    network = found.network
    penalty = column_norms(sizes[:, None] * network.hidden) @ column_norms(
        network.output.T
    )
    loss = np.mean((network.forward(X)[:, 0] - y) ** 2) / 2
    assert_allclose(found.certificate.objective, loss + 0.05 * penalty)


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
def test_no_price_exceeds_the_bound(norm):
    X, y = bumps(60, 3)
    stated = stated_with(norm, X, y, 0.1)
    N = dual_point(stated, stated.null_network().forward(stated.rows))
    bound, rng = price_bound(stated, N), np.random.default_rng(0)
    U = norm.unit(rng.standard_normal((4, 5000)) * rng.random((4, 5000)) ** 3)
    prices = np.linalg.norm(Prices(stated.rows, N).totals(U), axis=1)
    assert prices.max() <= bound


@pytest.mark.parametrize("base", [Euclidean, OneNorm])
def test_what_derives_from_a_norm_is_another_one(base):
    """Proofs and prices are of the two norms themselves: of half the 1-norm a bound
    was "exact" at .013 where the optimum is .008."""

    class Derived(base):
        pass

    assert base() == base() and hash(base()) == hash(base())
    assert Derived() != base() and base() != Derived()
    assert not norms.is_written(Derived()) and not Derived().is_euclidean


@pytest.mark.parametrize("is_named", [False, True])
def test_what_is_written_for_two_norms_refuses_others(is_named, monkeypatch):
    """A name of its own makes a norm none of the two."""
    if is_named:
        monkeypatch.setitem(norms.NORMS, "weighted", NORMS["weighted"])
    X, y = bumps(40, 3)
    stated = stated_with(NORMS["weighted"], X, y, 0.1)
    with pytest.raises(ValueError, match="2-norm or the 1-norm"):
        train(Training.of(stated, FixedPatterns("random")))
    with pytest.raises(ValueError, match="2-norm or the 1-norm"):
        LinearPart(False, np.ones(4, dtype=bool), NORMS["weighted"])
    with warnings.catch_warnings():  # there is no programme to end on
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = train(Training.of(stated, AdaptiveSolver(tol=1e-7)))
    with pytest.raises(ValueError, match="2-norm or the 1-norm"):
        proven(stated, found.network, found.certificate, 1.0)
