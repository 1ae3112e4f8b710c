"""The geometry of searches: all rows count alike, whatever units and shifts."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_convexrelu.patterns.geometry import STIFFNESS, Geometry, steepest


def rows(n=300, d=5, seed=0):
    X = np.random.default_rng(seed).standard_normal((n, d))
    return np.c_[X, np.ones(n)]


def sizes(geometry, directions):
    """What the geometry takes the values of directions at a typical row to be."""
    coordinates = geometry.axes.T @ directions
    return np.sqrt(geometry.squares @ coordinates**2)


def test_gaussian_rows_have_the_sizes_of_their_values():
    X = rows(2000)
    U = np.random.default_rng(1).standard_normal((6, 40))
    assert_allclose(
        sizes(Geometry.of(X), U), np.sqrt(np.mean((X @ U) ** 2, axis=0)), rtol=0.1
    )


@pytest.mark.parametrize("factor", [1e2, 1e4, 1e8])
def test_a_far_row_counts_as_one(factor):
    X, U = rows(), np.random.default_rng(1).standard_normal((6, 40))
    before = sizes(Geometry.of(X), U)
    X[7, :5] *= factor
    assert_allclose(sizes(Geometry.of(X), U), before, rtol=0.1)
    assert np.sqrt(np.mean((X @ U) ** 2, axis=0)).max() > 2 * before.max()


def test_units_shifts_and_rotations_change_nothing():
    """Values stay what they are where directions change with the columns."""
    X = rows()
    U = np.random.default_rng(1).standard_normal((6, 40))
    before = sizes(Geometry.of(X), U)
    units = np.diag([1e-3, 1e3, 1.0, 30.0, 1e2, 1.0])
    shift = np.eye(6)
    shift[5, :5] = [1e3, -5.0, 0.0, 1e5, 1.0]
    turn = np.linalg.qr(np.random.default_rng(2).standard_normal((6, 6)))[0]
    for A in (units, shift, turn, turn @ units):
        found = sizes(Geometry.of(X @ A), np.linalg.solve(A, U))
        assert_allclose(found, before, rtol=0.2)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e7])
def test_axes_are_orthonormal_and_their_squares_resolved(offset):
    X = rows()
    X[:, :5] += offset
    geometry = Geometry.of(X)
    assert_allclose(geometry.axes.T @ geometry.axes, np.eye(6), atol=1e-12)
    values = np.sqrt(np.median((X @ geometry.axes) ** 2, axis=0))
    resolved = geometry.squares > 1e-15 * geometry.squares.max()
    ratio = np.sqrt(geometry.squares[resolved]) / values[resolved]
    assert (0.3 < ratio).all() and (ratio < 5.0).all()


@pytest.mark.parametrize(
    "X",
    [
        np.zeros((5, 3)),
        np.ones((1, 2)),
        np.ones((40, 3)),
        np.eye(3),
        np.repeat(rows(4, 2), 20, axis=0),
        np.c_[rows(50, 2), rows(50, 2)],
        np.r_[rows(30, 2), np.zeros((40, 3))],
    ],
    ids=["zero", "a row", "equal", "few", "repeated", "collinear", "half zero"],
)
def test_degenerate_rows_have_a_geometry(X):
    geometry = Geometry.of(X)
    U = geometry.random_units(20, np.random.default_rng(0))
    near = geometry.near(U, 0.1, 0.5, np.random.default_rng(0))
    for V in (U, near):
        assert_allclose(np.linalg.norm(V, axis=0), 1.0)
    assert np.isfinite(geometry.squares).all() and (geometry.squares > 0).all()


def test_random_units_are_balanced_or_made_of_large_columns():
    """On a small column and a large one: either may decide where a unit is active."""
    X = rows(d=2) * [1e-3, 1e3, 1.0]
    geometry = Geometry.of(X)
    U = geometry.axes @ geometry.random_units(400, np.random.default_rng(0))
    share = (
        np.abs(U[1]) * 1e3 / (np.abs(U[0]) * 1e-3 + np.abs(U[2]) + np.abs(U[1]) * 1e3)
    )
    assert 0.1 < np.mean(share > 0.9) < 0.9


def test_ways_are_steepest_in_the_metric_of_turn_and_change():
    rng = np.random.default_rng(0)
    squares = rng.lognormal(sigma=4, size=(5, 1))
    V, G = rng.standard_normal((2, 5, 30))
    V /= np.linalg.norm(V, axis=0)
    slope = G - V * (G * V).sum(axis=0)
    ways, changes = steepest(squares, V, slope, np.zeros_like(V), 0.5)
    stiffness = 1 + STIFFNESS * squares / (squares * V**2).sum(axis=0)
    assert_allclose((stiffness * ways**2).sum(axis=0), 1.0)
    assert_allclose(changes, np.sqrt((squares * ways**2).sum(axis=0)), rtol=1e-6)
    gains = (slope * ways).sum(axis=0)
    for _ in range(200):  # nothing else of length one gains more
        other = rng.standard_normal(V.shape)
        other /= np.sqrt((stiffness * other**2).sum(axis=0))
        assert ((slope * other).sum(axis=0) <= gains * (1 + 1e-12)).all()


def test_rows_that_alone_have_a_column_are_not_far():
    """A hundred columns that are zero but at one row each, of a row's own size."""
    X = rows(500, 20)
    rare = np.zeros((500, 100))
    rare[np.arange(100), np.arange(100)] = 3.0
    assert not Geometry.of(np.c_[rare, X]).unlike
    assert not Geometry.of(np.c_[rare > 0.0, X] * 1e3).unlike
    X[7, :20] *= 100.0
    assert Geometry.of(np.c_[rare, X]).unlike
    assert Geometry.of(np.zeros((5, 3))).unlike is False
