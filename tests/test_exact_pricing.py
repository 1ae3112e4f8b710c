"""Exact pricing against enumeration of sign vectors, sampling, and invariances."""

import math
from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import nnls

from sklearn_convexrelu.pricing.exact import (
    ExactPricing,
    effective_rank,
    exact_price,
    max_rows,
    supports,
)


def price_of(X, N, U):
    """Prices of the columns of U by the definition."""
    return np.linalg.norm(N.reshape(len(X), -1).T @ np.maximum(X @ U, 0.0), axis=0)


def brute_force(X, N):
    """Maximum over all closed cones of constant signs, by non-negative least squares.

    On such a cone the function is g^T u, and its maximum over the cone and the unit
    ball is the norm of the projection of g, the distance to the polar cone.
    """
    norms = np.linalg.norm(X, axis=1)
    X, N, norms = X[norms > 0], N[norms > 0], norms[norms > 0]
    best = 0.0
    for signs in product([1.0, -1.0], repeat=len(X)):
        signs = np.array(signs)
        walls = (signs / norms * X.T).copy()
        gradient = X.T @ (N * (signs > 0))
        for g in (gradient, -gradient):
            if np.linalg.norm(g) > best:
                best = max(best, nnls(walls, -g)[1])
    return best


def brute_force_outputs(X, N):
    """Maximum for several outputs and two columns, over a superset of maximisers.

    These are the directions orthogonal to a row and, for every set of active rows,
    the singular vectors of the linear map which that set gives.
    """
    directions = [np.eye(2), X[:, ::-1].T * [[1.0], [-1.0]]]
    for active in product([False, True], repeat=len(X)):
        A = X.T @ (N * np.array(active)[:, None])
        directions.append(np.linalg.svd(A)[0])
    U = np.concatenate(directions, axis=1)
    U = U[:, np.linalg.norm(U, axis=0) > 0]
    U = U / np.linalg.norm(U, axis=0)
    return price_of(X, N, np.concatenate([U, -U], axis=1)).max()


def generic(rng, n, d):
    return rng.normal(size=(n, d))


def ones_column(rng, n, d):
    return np.c_[rng.normal(size=(n, d - 1)), np.ones(n)]


def integer_grid(rng, n, d):
    return np.c_[rng.integers(-1, 2, size=(n, d - 1)), np.ones(n)].astype(float)


def multiples(rng, n, d):
    X = rng.normal(size=(n, d))
    X[n // 2 :] = X[: n - n // 2] * rng.choice([-3.0, -1.0, 1.0, 0.1], (n - n // 2, 1))
    return X


def zero_rows(rng, n, d):
    X = rng.normal(size=(n, d))
    X[rng.choice(n, 2, replace=False)] = 0.0
    return X


def common_line(rng, n, d):
    """All but one row in a hyperplane: many planes meet in one point."""
    X = rng.normal(size=(n, d))
    X[1:, -1] = X[1:, :-1].sum(axis=1)
    return X


def collinear(rng, n, d):
    X = np.ones((n, d))
    X[:, 0] = np.arange(n) - 2.0
    X[:, 1:-1] = X[:, :1] * 0.5
    return X


def scaled_columns(rng, n, d):
    return rng.normal(size=(n, d)) * [1e3, 1.0, 1e-3][:d]


def axes(rng, n, d):
    """Signed unit vectors, with negative zeros."""
    return np.eye(d)[rng.integers(0, d, n)] * rng.choice([-1.0, 1.0], (n, 1))


DATA = [
    generic,
    ones_column,
    integer_grid,
    multiples,
    zero_rows,
    common_line,
    collinear,
    scaled_columns,
    axes,
]


def gradient(rng, n, kind):
    N = rng.normal(size=n)
    return {
        "any": N,
        "positive": np.abs(N),
        "negative": -np.abs(N),
        "centred": N - N.mean(),
        "sparse": N * (rng.random(n) < 0.5),
    }[kind]


@pytest.mark.parametrize("make", DATA)
@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("kind", ["any", "positive", "negative", "centred", "sparse"])
def test_matches_enumeration_of_all_cones(make, d, kind):
    rng = np.random.default_rng([DATA.index(make), d, len(kind)])
    n = int(rng.integers(4, 8))
    X, N = make(rng, n, d), gradient(rng, n, kind)
    found = exact_price(X, N)
    assert_allclose(found.prices[0], brute_force(X, N), rtol=1e-9, atol=1e-14)
    attained = price_of(X, N, found.directions.T)
    assert_allclose(attained, found.prices, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_rank_below_the_number_of_columns(rank):
    rng = np.random.default_rng(rank)
    Z, N = rng.normal(size=(7, rank)), rng.normal(size=7)
    rotation = np.linalg.qr(rng.normal(size=(20, 20)))[0][:rank]
    found = ExactPricing(Z @ rotation)
    assert found.rank == rank
    result = found.price(N)
    assert_allclose(result.prices[0], brute_force(Z, N), rtol=1e-9)
    assert result.directions.shape == (1, 20)
    assert_allclose(np.linalg.norm(result.directions, axis=1), 1.0, rtol=1e-12)


@pytest.mark.parametrize("make", DATA)
@pytest.mark.parametrize("n_outputs", [1, 2, 3])
def test_several_outputs_match_enumeration(make, n_outputs):
    rng = np.random.default_rng([DATA.index(make), n_outputs])
    for _ in range(3):
        X = make(rng, 7, 2)
        N = rng.normal(size=(7, n_outputs))
        found = exact_price(X, N)
        assert_allclose(found.prices[0], brute_force_outputs(X, N), rtol=1e-10)
        assert found.values.shape == (1, n_outputs)
        assert_allclose(np.linalg.norm(found.values[0]), found.prices[0], rtol=1e-12)


def test_several_outputs_of_rank_one():
    rng = np.random.default_rng(0)
    x, N = rng.normal(size=(9, 1)), rng.normal(size=(9, 3))
    expected = price_of(x, N, np.array([[1.0, -1.0]])).max()
    assert_allclose(exact_price(x, N).prices[0], expected, rtol=1e-13)


def residual(rng, X):
    """Residual of a fit on random neurons: the price is small against the gradient."""
    H = np.maximum(X @ rng.normal(size=(X.shape[1], 15)), 0.0)
    y = np.sin(2 * X[:, 0]) + rng.normal(size=len(X))
    return H @ np.linalg.lstsq(H, y, rcond=None)[0] - y


@pytest.mark.parametrize("make", [generic, ones_column, multiples, integer_grid])
@pytest.mark.parametrize(("n", "d"), [(3000, 2), (160, 3), (300, 3)])
def test_no_sample_and_no_local_search_does_better(make, n, d):
    rng = np.random.default_rng([n, DATA.index(make)])
    X = make(rng, n, d)
    N = residual(rng, X) + 0.01 * rng.normal(size=n)
    found = exact_price(X, N)
    U = rng.normal(size=(d, 3000))
    U /= np.linalg.norm(U, axis=0)
    for _ in range(10):
        prices = price_of(X, N, U)
        assert prices.max() <= found.prices[0] * (1 + 1e-10)
        # Around the best points, ever closer.
        best = U[:, np.argsort(-prices)[:30]]
        U = np.repeat(best, 40, axis=1)
        U = U + rng.normal(size=U.shape) * 10.0 ** rng.uniform(-6, -1, U.shape[1])
        U = np.concatenate([best, U / np.linalg.norm(U, axis=0)], axis=1)
    assert prices.max() >= found.prices[0] * (1 - 1e-2)


def test_integer_grid_matches_merged_cells():
    """Many tied crossing points: the grid's own ties and a jittered copy agree."""
    rng = np.random.default_rng(5)
    X = np.c_[rng.integers(-4, 5, size=(120, 2)), np.ones(120)].astype(float)
    N = rng.normal(size=120)
    exact = exact_price(X, N).prices[0]
    size = np.abs(N) @ np.linalg.norm(X, axis=1)
    for scale in (1e-4, 1e-7, 1e-10, 1e-12):
        jittered = exact_price(X + scale * rng.normal(size=X.shape), N).prices[0]
        # Each row moves by about 2 * scale, and the price by no more in total.
        assert abs(jittered - exact) <= 5 * scale * size


@pytest.mark.parametrize("d", [2, 3])
def test_invariances(d):
    rng = np.random.default_rng(d)
    X, N = rng.normal(size=(90, d)), rng.normal(size=90)
    price = exact_price(X, N).prices[0]
    permuted = rng.permutation(90)
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    doubled = np.repeat(X, 2, axis=0), np.repeat(N / 2, 2)
    stretch = rng.uniform(0.1, 10.0, size=90)
    cases = [
        (X[permuted], N[permuted], 1.0),
        (X @ rotation, N, 1.0),
        (*doubled, 1.0),
        (X * stretch[:, None], N / stretch, 1.0),
        (X, -3.0 * N, 3.0),
        (X * 1e-150, N * 1e160, 1e10),
        (X * 1e150, N * 1e-160, 1e-10),
    ]
    for X_case, N_case, factor in cases:
        found = exact_price(X_case, N_case).prices[0]
        assert_allclose(found, factor * price, rtol=1e-11)


def test_opposite_rows_that_cancel():
    """relu(t) - relu(-t) = t: only the linear term is left."""
    rng = np.random.default_rng(1)
    for d in (1, 2, 3):
        X, N = rng.normal(size=(8, d)), rng.normal(size=8)
        found = exact_price(np.r_[X, -X], np.r_[N, -N])
        assert_allclose(found.prices[0], np.linalg.norm(X.T @ N), rtol=1e-12)


@pytest.mark.parametrize("d", [2, 3])
def test_nearly_parallel_rows(d):
    rng = np.random.default_rng(d)
    for angle, n_planes in ((1e-5, 8), (1e-7, 8), (1e-10, 8), (1e-15, 4)):
        X = np.repeat(rng.normal(size=(4, d)), 2, axis=0)
        X[1::2] += angle * rng.normal(size=(4, d))
        X[1::2] *= rng.choice([-7.0, 0.3], size=(4, 1))
        N = rng.normal(size=8)
        pricing = ExactPricing(X)
        assert pricing.n_planes == n_planes
        assert_allclose(pricing.price(N).prices[0], brute_force(X, N), rtol=1e-9)


def test_multiples_of_a_row_share_its_plane():
    rng = np.random.default_rng(2)
    for d in (1, 2, 3):
        X = np.outer(rng.normal(size=300), rng.normal(size=d))
        X[:20] = rng.normal(size=(20, d))
        assert ExactPricing(X).n_planes == (21 if d > 1 else 1)


def test_negative_zeros():
    X = np.array([[-0.0, 1.0], [1.0, -0.0], [1.0, 1.0], [1.0, -1.0], [2.0, 1.0]])
    for N in np.eye(5) - 0.3:
        assert_allclose(exact_price(X, N).prices[0], brute_force(X, N), rtol=1e-12)


def test_blocks_without_a_cache_give_the_same(monkeypatch):
    rng = np.random.default_rng(3)
    X, N = rng.normal(size=(80, 3)), rng.normal(size=80)
    flat, N_flat = rng.normal(size=(80, 2)), rng.normal(size=(80, 2))
    expected = exact_price(X, N), exact_price(flat, N_flat)
    module = "sklearn_convexrelu.pricing.sweeps."
    monkeypatch.setattr(module + "_BLOCK_ITEMS", 30)
    monkeypatch.setattr(module + "_CACHE_BYTES", 0)
    for one, (data, vector) in zip(expected, ((X, N), (flat, N_flat)), strict=True):
        pricing = ExactPricing(data)
        for _ in range(2):
            again = pricing.price(vector)
            assert_allclose(again.prices, one.prices, rtol=1e-12)


def test_one_object_serves_many_gradients():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(7, 3))
    pricing = ExactPricing(X)
    for _ in range(5):
        N = rng.normal(size=7)
        assert_allclose(pricing.price(N).prices[0], brute_force(X, N), rtol=1e-9)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_further_directions_are_sorted_signed_and_apart(d):
    rng = np.random.default_rng(d)
    X, N = ones_column(rng, 200, d + 1)[:, 1:], rng.normal(size=200)
    N -= 0.5 * N.mean()
    found = ExactPricing(X).price(N, n_best=6)
    prices, values, U = found
    assert 1 <= len(prices) <= 6
    assert len(prices) > 1 or d == 1
    assert np.all(np.diff(prices) <= 0)
    assert_allclose(values, np.maximum(X @ U.T, 0).T @ N, rtol=1e-12)
    assert_allclose(np.abs(values), prices, rtol=1e-14)
    assert prices[-1] >= 0.5 * prices[0]
    cosines = U @ U.T - 2 * np.eye(len(U))
    assert cosines.max() < math.cos(0.019)
    assert_allclose(ExactPricing(X).price(N).prices[0], prices[0], rtol=1e-12)


@pytest.mark.parametrize(
    ("X", "N", "expected"),
    [
        (np.array([[2.0]]), np.array([-3.0]), 6.0),
        (np.array([[3.0, 4.0]]), np.array([2.0]), 10.0),
        (np.array([[0.0, 0.0, 1.0]]), np.array([1.0]), 1.0),
        (np.zeros((3, 2)), np.ones(3), 0.0),
        (np.eye(3), np.zeros(3), 0.0),
        (np.eye(3), np.ones(3), math.sqrt(3)),
        (np.eye(2), np.array([1.0, -1.0]), 1.0),
        (-np.eye(3), np.array([3.0, 4.0, -1.0]), 5.0),
    ],
)
def test_known_values(X, N, expected):
    found = exact_price(X, N)
    assert_allclose(found.prices, [expected], atol=1e-15, rtol=1e-13)
    assert_allclose(np.linalg.norm(found.directions, axis=1), 1.0)


def test_slack_covers_a_dropped_singular_value():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(7, 3)) * [1.0, 1.0, 1e-11]
    N = rng.normal(size=7)
    N -= X[:, :2] @ np.linalg.lstsq(X[:, :2], N, rcond=None)[0]
    pricing = ExactPricing(X)
    assert pricing.rank == 2
    missed = brute_force(X, N) - pricing.price(N).prices[0]
    assert missed <= pricing.slack(N) <= 1e-9
    assert pricing.slack(N) > 1e-12  # the column left out shows
    assert ExactPricing(X[:, :2]).slack(N) < 1e-12


def test_effective_rank():
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(400, 3)), rng.normal(size=(3, 30))
    assert effective_rank(A @ B) == 3
    assert effective_rank((A @ B).T) == 3
    assert effective_rank(A * [1e3, 1.0, 1e-3]) == 3
    assert effective_rank(A * [1.0, 1.0, 1e-9]) == 3
    assert effective_rank(A * [1.0, 1.0, 1e-12]) == 2
    assert effective_rank(A * [1.0, 1.0, 1e-3], rtol=0.1) == 2
    assert effective_rank(rng.normal(size=(50, 40))) == 40
    assert effective_rank(np.zeros((4, 2))) == 0
    assert effective_rank(np.ones((4, 2))) == 1


def test_supports():
    assert supports(1, 10**7, 5)
    assert supports(2, 10**7, 5)
    assert supports(3, 442)
    assert supports(3, max_rows(3)) and not supports(3, max_rows(3) + 1)
    assert not supports(3, 10, 2)
    assert not supports(4, 10)
    assert max_rows(2) == math.inf


def test_rejected_input():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="rank 3 or less, got 4"):
        ExactPricing(rng.normal(size=(9, 4)))
    with pytest.raises(ValueError, match="several outputs"):
        exact_price(rng.normal(size=(9, 3)), np.ones((9, 2)))
    with pytest.raises(ValueError, match="must have 9 rows"):
        exact_price(rng.normal(size=(9, 3)), np.ones(8))
    with pytest.raises(ValueError, match="n_best must be at least 1"):
        exact_price(rng.normal(size=(9, 3)), np.ones(9), n_best=0)
    with pytest.raises(ValueError, match="gradient must be finite"):
        exact_price(np.eye(2), np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="data must be finite"):
        exact_price(np.array([[np.inf]]), np.ones(1))
    with pytest.raises(ValueError, match="non-empty matrix"):
        exact_price(np.ones(3), np.ones(3))
