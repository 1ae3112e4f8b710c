"""Second moments of units, kept from one solve of amplitudes to the next."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import bumps, problem

from sklearn_convexrelu.model.neurons import Network
from sklearn_convexrelu.programmes.amplitudes import Features
from sklearn_convexrelu.programmes.moments import Moments

N_INPUTS = 4  # three columns and the constant one


def stated():
    X, y = bumps(60, N_INPUTS - 1)
    return problem(X, y[:, None], alpha=0.05, fit_intercept=True)


def units(count, seed=0):
    U = np.random.default_rng(seed).standard_normal((N_INPUTS, count))
    return U / np.linalg.norm(U, axis=0)


def by_definition(stated, U, V=None):
    X = stated.rows.array()
    values = np.maximum(X @ U, 0.0)
    if V is not None:
        values = np.hstack([values, X @ V])
    B = stated.unpenalised.of_block(X)
    W = stated.weights[:, None]
    return values.T @ (W * values), values.T @ (W * B), B.T @ (W * B)


def check(moments, stated, U, V=None):
    found = moments.sums(Features(stated, U, V), stated.weights, stated.unpenalised)
    for sums, expected in zip(found, by_definition(stated, U, V), strict=True):
        assert_allclose(sums, expected, rtol=1e-9, atol=1e-12)


def test_moments_are_right_whatever_was_known_before():
    problem, moments = stated(), Moments()
    U = units(12)
    check(moments, problem, U)
    check(moments, problem, np.hstack([U[:, 3:], units(2, 1)]))  # most are known
    check(moments, problem, units(12, 2))  # none is
    check(moments, problem, units(12, 2)[:, ::-1])  # all are, in another order
    check(moments, problem, np.repeat(units(12, 2)[:, :1], 3, axis=1))  # one thrice
    check(moments, problem, units(12, 2)[:, :0])
    check(moments, problem, U)


def test_a_linear_neuron_is_no_unit_of_its_direction():
    problem, moments = stated(), Moments()
    U = units(12)
    check(moments, problem, U, U[:, :2])
    check(moments, problem, U[:, :10], U[:, 1:3])
    check(moments, problem, U)


def test_moments_of_other_weights_are_forgotten():
    problem, moments = stated(), Moments()
    check(moments, problem, units(12))
    heavier = problem.weights * np.linspace(0.5, 1.5, len(problem.weights))
    features = Features(problem, units(12))
    squares = moments.sums(features, heavier, problem.unpenalised)[0]
    values = np.maximum(problem.rows.array() @ units(12), 0.0)
    assert_allclose(squares, values.T @ (heavier[:, None] * values), rtol=1e-9)


def test_moments_of_values_that_were_given_are_made_anew():
    problem, moments = stated(), Moments()
    check(moments, problem, units(12))
    values = np.maximum(problem.rows.array() @ units(12), 0.0)
    for scale in (1.0, 2.0):
        features = Features.given(problem, scale * values)
        squares = moments.sums(features, problem.weights, problem.unpenalised)[0]
        expected = scale**2 * by_definition(problem, units(12))[0]
        assert_allclose(squares, expected, rtol=1e-9)
    check(moments, problem, units(12))


def test_units_keep_their_names_through_a_network(monkeypatch):
    problem, moments = stated(), Moments()
    U, c = units(12), np.geomspace(1e-6, 1e3, 12)
    check(moments, problem, U)
    network = Network.from_directions(U, np.ones((12, 1)), c, np.zeros(1))
    again = network.directions()[0]
    assert (again != U).any()
    monkeypatch.setattr(
        "sklearn_convexrelu.programmes.moments._all_moments",
        lambda *_: pytest.fail("made anew"),
    )
    check(moments, problem, again)
