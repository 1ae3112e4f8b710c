"""Quadratics over non-negative numbers, held against conditions and other solvers."""

import numpy as np
import pytest
from scipy.optimize import nnls

from sklearn_convexrelu.programmes import pivoting
from sklearn_convexrelu.programmes.pivoting import nonnegative_quadratic


def stated(count, rank, seed):
    """Return a quadratic whose minimiser is zero at about half of the unknowns."""
    rng = np.random.default_rng(seed)
    Z = np.maximum(rng.standard_normal((rank, count)), 0.0)  # as values of units
    c = np.maximum(rng.standard_normal(count), 0.0)
    return Z.T @ Z, Z.T @ (Z @ c + rng.standard_normal(rank))


def value(S, g, c):
    return 0.5 * c @ S @ c - g @ c


@pytest.mark.parametrize("count", [1, 2, 7, 60, 300])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("is_cold", [True, False])
def test_minimiser_meets_its_conditions(count, seed, is_cold):
    S, g = stated(count, 2 * count + 3, seed)
    rng = np.random.default_rng(seed)
    start = np.zeros(count) if is_cold else np.maximum(rng.standard_normal(count), 0.0)
    c = nonnegative_quadratic(S, g, start)
    slopes, size = S @ c - g, np.abs(g).max()
    assert c.min() >= 0.0
    assert slopes.min() >= -1e-8 * size
    assert np.abs(slopes[c > 0.0]).max(initial=0.0) <= 1e-8 * size


def test_minimiser_is_that_of_nonnegative_least_squares():
    rng = np.random.default_rng(0)
    Z, y = np.maximum(rng.standard_normal((90, 40)), 0.0), rng.standard_normal(90)
    c = nonnegative_quadratic(Z.T @ Z, Z.T @ y, np.zeros(40))
    np.testing.assert_allclose(c, nnls(Z, y)[0], atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_updates_of_a_factor_solve_the_systems_of_other_sets(seed):
    S, g = stated(80, 200, seed)
    rng = np.random.default_rng(seed)
    free = rng.random(80) < 0.7
    factor = pivoting._Factor.of(S, g, free)
    for _ in range(6):  # one after the other: what comes may go again
        changed = rng.choice(80, 5, replace=False)
        free = free.copy()
        free[changed] = ~free[changed]
        c = factor.solution(free)
        index = np.flatnonzero(free)
        expected = np.linalg.solve(S[np.ix_(index, index)], g[index])
        np.testing.assert_allclose(c[index], expected, rtol=1e-8, atol=1e-10)
        assert not c[~free].any()


def test_a_good_guess_is_factorised_once(monkeypatch):
    S, g = stated(300, 900, 0)
    expected = nonnegative_quadratic(S, g, np.zeros(300))
    guess = expected.copy()
    guess[np.argsort(S @ expected - g)[-9:]] = 1e-9  # zeros, as sure as can be
    made, of = [], pivoting._Factor.of
    monkeypatch.setattr(
        pivoting._Factor, "of", lambda *args: made.append(1) or of(*args)
    )
    c = nonnegative_quadratic(S, g, guess)
    np.testing.assert_allclose(c, expected, rtol=1e-7, atol=1e-10)
    assert np.count_nonzero(c) > 100
    assert len(made) == 1


@pytest.mark.parametrize("error", [1e-6, np.nan])
def test_updates_that_lose_digits_are_made_anew(monkeypatch, error):
    S, g = stated(300, 900, 0)
    expected = nonnegative_quadratic(S, g, np.zeros(300))
    solution, off = pivoting._Factor.solution, []

    def inexact(self, free):
        c = solution(self, free)
        if self.is_updated:
            off.append(1)
            c[free] *= 1.0 + error
        return c

    monkeypatch.setattr(pivoting._Factor, "solution", inexact)
    c = nonnegative_quadratic(S, g, np.zeros(300))
    assert off
    np.testing.assert_allclose(c, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("rank", [0, 1, 5, 20])
def test_singular_quadratics_have_a_minimiser_too(rank):
    rng = np.random.default_rng(rank)
    Z, y = np.maximum(rng.standard_normal((rank, 30)), 0.0), rng.standard_normal(rank)
    S, g = Z.T @ Z, Z.T @ y
    c = nonnegative_quadratic(S, g, np.zeros(30))
    assert c.min() >= 0.0
    best = value(S, g, nnls(Z, y)[0]) if rank else 0.0
    assert value(S, g, c) <= best + 1e-8


def test_nothing_to_solve_for():
    assert nonnegative_quadratic(np.zeros((0, 0)), np.zeros(0), np.zeros(0)).size == 0
