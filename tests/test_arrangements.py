"""Sampled and enumerated activation patterns, against brute force."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.optimize import OptimizeResult, linprog

from sklearn_convexrelu import count_patterns, enumerate_patterns, sample_patterns
from sklearn_convexrelu.patterns import arrangements
from sklearn_convexrelu.patterns.arrangements import patterns_of


def as_set(patterns):
    found = {tuple(pattern) for pattern in patterns}
    assert len(found) == len(patterns)
    return found


def brute_force(X):
    """All sign vectors whose cell has an inner point, by a linear programme each."""
    live = X.any(axis=1)
    rows = X[live] / np.linalg.norm(X[live], axis=1)[:, None]
    found = set()
    for bits in product([False, True], repeat=len(rows)):
        signed = np.where(bits, 1.0, -1.0)[:, None] * rows
        answer = linprog(
            np.r_[np.zeros(X.shape[1]), -1.0],
            A_ub=np.c_[-signed, np.ones(len(rows))],
            b_ub=np.zeros(len(rows)),
            bounds=[(-1, 1)] * (X.shape[1] + 1),
        )
        if -answer.fun > 1e-7 and any(bits):
            pattern = np.zeros(len(X), dtype=bool)
            pattern[live] = bits
            found.add(tuple(pattern))
    return found


KINDS = {
    "normal": lambda rng, n, d: rng.standard_normal((n, d)),
    "integers": lambda rng, n, d: rng.integers(-1, 2, (n, d)).astype(float),
    "binary with ones": lambda rng, n, d: np.c_[rng.integers(0, 2, (n, d)), np.ones(n)],
    "grid with ones": lambda rng, n, d: np.c_[
        rng.integers(0, 3, (n, min(d, 2))), np.ones(n)
    ],
    "collinear": lambda rng, n, d: np.c_[np.arange(n), 2.0 * np.arange(n), np.ones(n)],
    "repeated": lambda rng, n, d: (
        np.repeat(rng.standard_normal((n, d)), [1] * (n - 1) + [2], axis=0)
        * np.r_[np.ones(n), -2.0][:, None]
    ),
    "with zeros": lambda rng, n, d: np.vstack(
        [rng.standard_normal((n, d)), np.zeros(d)]
    ),
    "low rank": lambda rng, n, d: (
        rng.standard_normal((n, 2)) @ rng.standard_normal((2, d + 1))
    ),
    "scaled": lambda rng, n, d: rng.standard_normal((n, d)) * 10.0 ** np.arange(d),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_enumeration_equals_brute_force(kind, seed):
    rng = np.random.default_rng(seed)
    X = KINDS[kind](rng, rng.integers(1, 7), rng.integers(1, 5))
    patterns, gates = enumerate_patterns(X)
    assert as_set(patterns) == brute_force(X)
    assert_array_equal(patterns, gates @ X.T > 0)


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e8])
def test_gates_that_rounding_spoils_are_found_again(scale):
    X = np.random.default_rng(0).standard_normal((8, 3)) * [1.0, scale, 1.0]
    patterns, gates = enumerate_patterns(X)
    again, found = arrangements._with_true_gates(X, patterns, 0 * gates)
    assert_array_equal(again, patterns)
    assert_array_equal(patterns, found @ X.T > 0)
    # A pattern that no gate has is no cell.
    others = set(product([False, True], repeat=8)) - as_set(patterns)
    none = np.array(sorted(others)[1:])  # all but the empty one
    assert not len(arrangements._with_true_gates(X, none, np.ones((len(none), 3)))[0])


def test_a_programme_that_fails_is_not_an_empty_cell(monkeypatch):
    X = np.random.default_rng(0).standard_normal((5, 3))
    patterns, gates = enumerate_patterns(X)
    failed = OptimizeResult(status=4, x=None, message="numerical trouble")
    monkeypatch.setattr(arrangements, "linprog", lambda *args, **options: failed)
    with pytest.raises(ValueError, match="numerical trouble"):
        arrangements._with_true_gates(X, patterns, -gates)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.integers(-2, 2)] * 3), min_size=1, max_size=5))
def test_enumeration_of_small_integers(rows):
    X = np.array(rows, dtype=float)
    if X.any():
        assert as_set(enumerate_patterns(X)[0]) == brute_force(X)
    else:
        assert enumerate_patterns(X)[0].shape == (0, len(X))


@pytest.mark.parametrize(("n", "rank"), [(300, 2), (40, 3), (14, 4), (9, 5)])
def test_counts_in_general_position(n, rank):
    X = np.random.default_rng(0).standard_normal((n, rank))
    patterns, gates = enumerate_patterns(X)
    assert len(as_set(patterns)) == count_patterns(n, rank)
    assert_array_equal(patterns, gates @ X.T > 0)
    X[:, 0] = np.abs(X[:, 0])  # now a gate leaves all samples inactive
    assert len(enumerate_patterns(X)[0]) == count_patterns(n, rank) - 1


@pytest.mark.parametrize(("n", "rank"), [(1, 1), (7, 2), (10, 3), (6, 6)])
def test_the_formula(n, rank):
    from math import comb

    assert count_patterns(n, rank) == 2 * sum(comb(n - 1, k) for k in range(rank))
    assert count_patterns(n, n) == 2**n
    assert count_patterns(n, 0) == 1


def test_samples_are_distinct_patterns_of_the_arrangement():
    X = np.c_[np.random.default_rng(0).standard_normal((12, 2)), np.ones(12)]
    complete = as_set(enumerate_patterns(X)[0])
    patterns, gates = sample_patterns(X, 60, random_state=3)
    assert len(patterns) == 60 and as_set(patterns) <= complete
    assert_array_equal(patterns, gates @ X.T > 0)
    assert patterns.any(axis=1).all()
    fewer = sample_patterns(X, 20, random_state=3)[1]
    assert_array_equal(fewer, gates[:20])
    assert not np.array_equal(sample_patterns(X, 20, random_state=4)[1], fewer)


def test_sampling_ends_where_there_are_no_more():
    X = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    patterns, _ = sample_patterns(X, 50, random_state=0)
    assert as_set(patterns) == as_set(enumerate_patterns(X)[0])


def test_features_of_any_scale_are_sampled():
    X = np.random.default_rng(0).standard_normal((50, 3)) * [1e-6, 1.0, 1e6]
    gates = sample_patterns(X, 100, random_state=0)[1] * [1e-6, 1.0, 1e6]
    spread = np.abs(gates).mean(axis=0)
    assert spread.max() < 3 * spread.min()


def test_gates_of_users():
    X = np.array([[1.0, 0.0], [0.0, 1.0]])
    gates = [[1, 1], [-1, -1], [2, 1], [1, -1]]
    patterns, kept = patterns_of(gates, X)
    assert_array_equal(patterns, [[True, True], [True, False]])
    assert_array_equal(kept, [[1, 1], [1, -1]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X: enumerate_patterns(X, max_patterns=100), "adaptive"),
        (lambda X: enumerate_patterns(X, max_patterns=100), "872 activation"),
        (lambda X: enumerate_patterns(np.nan * X), "NaN"),
        (lambda X: sample_patterns(X, 0), "n_patterns"),
        (lambda X: sample_patterns(np.where(X > 1, np.inf, X)), "infinity"),
        (lambda X: count_patterns(3, 4), "rank"),
        (lambda X: count_patterns(-1, 0), "n =="),
        (lambda X: patterns_of([], X), "Expected 2D"),
        (lambda X: patterns_of(np.zeros((0, 3)), X), "minimum of 1"),
        (lambda X: patterns_of([[1.0, 2.0]], X), r"\(1, 2\).*have 3"),
        (lambda X: patterns_of([[0.0, 0.0, 0.0]], X), "activates"),
        (lambda X: patterns_of([[0.0, np.nan, 0.0]], X), "NaN"),
    ],
)
def test_bad_input(call, message):
    X = np.random.default_rng(0).standard_normal((30, 3))
    with pytest.raises(ValueError, match=message):
        call(X)
