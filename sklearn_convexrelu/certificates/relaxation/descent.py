"""Descent: L-BFGS on the relaxed training problem, and on the price of one dual point.

The dual of "no price exceeds alpha, in the relaxation" is a training problem again,

    minimise L(F) + alpha * sum_k M_k[1, 1]   over positive semidefinite M_k, k = +, -,

where F is the sum over k of ``k (E[X u] + a_k) / 2`` with the moments M_k and the a_k
of ``semidefinite``. So the dual point N, the gradient of the loss at F, and the
multipliers that bound its price are found together. Several outputs have moments each;
their masses are taken together by their norm. Sub-networks have moments for their
leaves, and their F is in ``composition``.
"""

import time
from dataclasses import replace

import numpy as np
from scipy.optimize import minimize

from sklearn_convexrelu.certificates.certificate import dual_point, price_bound
from sklearn_convexrelu.certificates.relaxation.composition import Neurons
from sklearn_convexrelu.certificates.relaxation.proof import region_prices
from sklearn_convexrelu.certificates.relaxation.regions import TINY, Region, RowSpace
from sklearn_convexrelu.certificates.relaxation.semidefinite import (
    SMOOTHING,
    Moments,
    Relaxation,
    State,
    spread_factors,
    unit_factors,
)

__all__ = [
    "MAX_ROUNDS",
    "PATIENCE",
    "VISIBLE",
    "Scaled",
    "Training",
    "bound_price",
    "descended",
    "finite_constant",
    "polished",
]

# The numbers of this folder were compared on three problems: 40 rows of rank 11 and one
# region, 25 of rank 4 and twelve, 30 of rank 6 with the log loss and two. Bounds are
# 33.364, 24.717 and 64.846 per cent of the loss of the best constant, after 28, 80 and
# 56 proofs; "the same" is to the last digit given.
# Updates of the multipliers in a stage: a guard. With half and double the same.
MAX_ROUNDS = 60
# Rounds without visible gain before a stage ends. With half 24, 52 and 39 proofs give
# 33.364, 24.709 and 64.750; with double 36, 136 and 99 give 33.364, 24.718 and 65.011.
PATIENCE = 8
# Relative gain. With half 28, 90 and 66 proofs give 33.364, 24.722 and 64.915; with
# double 28, 75 and 51 give 33.364, 24.719 and 64.848.
VISIBLE = 5e-4


def bound_price(problem, N, *, n_neighbors=10, max_iter=60):
    """Return a number that ``||N^T relu(X u)||_2`` exceeds for no unit vector u.

    Like ``certificates.certificate.price_bound``, with Shor's relaxation in place of
    Cauchy-Schwarz: dearer, and never much worse.

    Parameters
    ----------
    problem : Problem
        Its inputs X; a two-layer problem.
    N : ndarray of shape (n_samples, n_outputs)
        The dual point.
    n_neighbors : int, default=10
        Nearest rows that a row is tied to.
    max_iter : int, default=60
        Steps of L-BFGS between two updates of the multipliers.

    Returns
    -------
    float
        The bound, an allowance for rounding included.

    Raises
    ------
    ValueError
        If the problem is of sub-networks.
    """
    if problem.shape.is_tree:
        raise ValueError("Prices of sub-networks are bounded with their dual points.")
    rows = RowSpace.of(problem.X, n_neighbors)
    units = Neurons(problem)
    best = price_bound(problem, N) * (1.0 + 1e-12 * len(N))
    size = np.abs(N).sum()
    if rows.rank == 0 or size == 0.0:
        return best
    shape = (1, 2, N.shape[1])
    W, blocks = spread_factors(rows.rank, *shape), np.ones(shape, dtype=bool)
    relaxation = Relaxation(rows, [Region.sphere(rows)], size / len(N))
    a, E = relaxation.envelopes(Moments.of(rows, W)).upper, units.weights(None, None, N)
    state = State(W, a, relaxation.no_multipliers(units.n_columns))
    # Rounds come in blocks of PATIENCE, as a single one may well bring nothing.
    for _ in range(MAX_ROUNDS):
        before = best
        for _ in range(PATIENCE):
            state = polished(relaxation, state, blocks, E, np.inf, max_iter)
            state = state.updated(relaxation)
            best = min(best, units.price(region_prices(relaxation, state, E)))
        if best > (1.0 - VISIBLE) * before:
            break
    return float(best)


def finite_constant(problem):
    """Return the best constant prediction, cut to finite values; zero without one.

    Parameters
    ----------
    problem : Problem
        What is minimised.

    Returns
    -------
    ndarray of shape (n_outputs,)
        The constant.
    """
    if not problem.fit_intercept:
        return np.zeros(problem.n_outputs)
    return np.nan_to_num(problem.best_constant(), posinf=30.0, neginf=-30.0)


class Scaled:
    """Units for L-BFGS: in them a loss of a constant is one, and so is its bend.

    Parameters
    ----------
    problem : Problem
        What is minimised; its loss has a gradient.
    units : Composition
        What units are made of.
    alpha : float
        Of rows scaled to order one.
    """

    def __init__(self, problem, units, alpha):
        self.problem, self.units, self.alpha = problem, units, alpha
        self.loss_unit = problem.loss_scale()
        self.unit = np.sqrt(self.loss_unit / alpha)
        F = np.zeros_like(problem.Y) + finite_constant(problem)
        curvature = problem.loss.curvature(F, problem.Y, problem.weights)[0].sum()
        self.shift_unit = np.sqrt(self.loss_unit / max(curvature, TINY))
        if not 1e-100 < self.shift_unit < 1e100:
            self.shift_unit = 1.0

    def charged(self, W, loss, blocks, to_V):
        """Return losses and what moments cost, and the gradient in their factors.

        Parameters
        ----------
        W : ndarray of shape (n_regions, 2, n_columns, rank, n_factors)
            Factors.
        loss : float
            The loss.
        blocks, to_V : ndarray
            What a mass of one adds to it, and how that changes with factors of norm
            one.

        Returns
        -------
        value : float
            The objective.
        to_W : ndarray
            Its gradient.
        """
        V, t = unit_factors(W)
        charge, prices = self.units.charges(t)
        to_W = tangential(to_V, V) * np.sqrt(t)[..., None, None]
        to_W += 2.0 * (blocks + self.alpha * prices)[..., None, None] * W
        return loss + self.alpha * charge, to_W


class Training(Scaled):
    """The relaxed training problem: its objective for L-BFGS.

    The unknowns are factors W, whose squared norms are the masses, in units in which
    the loss of a constant is one; the a; and what is common to all blocks.
    """

    def __init__(self, problem, units, relaxation):
        super().__init__(problem, units, relaxation.alpha)
        self.relaxation = relaxation

    def dual_point(self, state, common):
        """Return the balanced gradient of the loss, and the weights that prove it."""
        totals = self.totals(state)
        N = dual_point(self.problem, self.units.predicted(totals, common))
        return N, self.units.weights(totals, common, N)

    def totals(self, state):
        """Return masses times means of ``relu(z_i^T u)``, over all regions."""
        V, t = unit_factors(state.W)
        moments = Moments.of(self.relaxation.rows, V)
        activations = moments.linear + self.relaxation.absolute(moments, state.a)
        return 0.5 * np.sum(t[..., None] * activations, axis=0)

    def value_and_gradient(self, W, a, common, multipliers):
        """Return the objective and its gradients in W, a, intercept and shares."""
        problem, relaxation = self.problem, self.relaxation
        V, t = unit_factors(W)
        moments = Moments.of(relaxation.rows, V)
        activations = 0.5 * (moments.linear + relaxation.absolute(moments, a))
        totals = np.sum(t[..., None] * activations, axis=0)
        F = self.units.predicted(totals, common)
        value, N = problem.loss.value_and_gradient(F, problem.Y, problem.weights)
        E, to_shares = self.units.pulled(totals, common, N)
        blocks, to_V, to_a, activations = relaxation.lagrangian(V, a, E, multipliers)
        ties = blocks - np.einsum("...i,...i->...", E, activations)
        value, to_W = self.charged(W, value + np.sum(t * ties), blocks, to_V)
        return value, to_W, t[..., None] * to_a, (N.sum(axis=0), to_shares)

    def solve(self, state, common, max_iter, deadline):
        """Return improved state and what is common."""
        shape, n_W, n_a = state.W.shape, state.W.size, state.a.size
        n_shift = len(common.shift) * self.problem.fit_intercept
        share_unit = np.sqrt(len(self.problem.Y))  # their curvature is that of a row
        # The curvature in a is the mass over the laxity of ties.
        mass = np.sum(state.W**2, axis=(-2, -1))[..., None] / self.unit**2
        a_unit = np.sqrt(SMOOTHING * len(self.problem.Y) / np.clip(mass, 1e-3, 1.0))

        def parts(x):
            W, a, b, shares = np.split(x, np.cumsum([n_W, n_a, n_shift]))
            shift = b * self.shift_unit if n_shift else common.shift
            a = a.reshape(state.a.shape) * a_unit
            shares = shares.reshape(common.shares.shape) * share_unit
            own = replace(common, shift=shift, shares=shares)
            return W.reshape(shape) * self.unit, a, own

        def objective(x):
            value, to_W, to_a, (to_shift, to_shares) = self.value_and_gradient(
                *parts(x), state.multipliers
            )
            gradient = [to_W.ravel() * self.unit, (to_a * a_unit).ravel()]
            gradient += [to_shift[:n_shift] * self.shift_unit]
            gradient += [to_shares.ravel() * share_unit]
            return value / self.loss_unit, np.concatenate(gradient) / self.loss_unit

        start = [state.W.ravel() / self.unit, (state.a / a_unit).ravel()]
        start += [common.shift[:n_shift] / self.shift_unit]
        start += [common.shares.ravel() / share_unit]
        bounds = [(None, None)] * (n_W + n_a + n_shift)
        bounds += [(0.0, 1.0 / share_unit)] * common.shares.size
        bounds = bounds if common.shares.size else None
        start = np.concatenate(start)
        found = descended(objective, start, max_iter, deadline, bounds)
        W, a, common = parts(found)
        return State(W, a, state.multipliers), common


def polished(relaxation, state, blocks, weights, deadline, max_iter):
    """Return a state whose multipliers bound the prices of some blocks better.

    Parameters
    ----------
    relaxation : Relaxation
        The row space and regions.
    state : State
        Where to start.
    blocks : ndarray of bool, (n_regions, 2, n_columns)
        Which blocks to improve.
    weights : ndarray of shape (2, n_columns, n_samples)
        Weights of the rows.
    deadline : float
        Time at which to stop, as ``time.perf_counter`` tells it.
    max_iter : int
        Steps of L-BFGS.

    Returns
    -------
    State
        Its masses are one.
    """
    scale = relaxation.alpha + TINY
    n_W, shape = state.W.size, state.W.shape
    a_unit = np.sqrt(SMOOTHING * len(relaxation.rows.Z))

    def objective(x):
        W = x[:n_W].reshape(shape)
        V, t = unit_factors(W)
        a = x[n_W:].reshape(state.a.shape) * a_unit
        values, to_V, to_a, _ = relaxation.lagrangian(V, a, weights, state.multipliers)
        to_W = tangential(to_V, V) / np.sqrt(t)[..., None, None]
        to_W, to_a = to_W * blocks[..., None, None], to_a * blocks[..., None] * a_unit
        return values[blocks].sum() / scale, np.append(to_W, to_a) / scale

    start = np.append(unit_factors(state.W)[0], state.a / a_unit)
    found = descended(objective, start, max_iter, deadline)
    W = unit_factors(found[:n_W].reshape(shape))[0]
    a = found[n_W:].reshape(state.a.shape) * a_unit
    return State(W, a, state.multipliers)


class _OutOfTimeError(Exception):
    """Raised to end a run of L-BFGS, whose last point is kept."""


def descended(objective, start, max_iter, deadline, bounds=None):
    """Return the point where L-BFGS ends, for its steps or for its time.

    Parameters
    ----------
    objective : callable
        Returns the value and the gradient at a point.
    start : ndarray of shape (n,)
        Where to start.
    max_iter : int
        Steps.
    deadline : float
        Time at which to stop, as ``time.perf_counter`` tells it.
    bounds : list of tuple, default=None
        The least and the most of every entry.

    Returns
    -------
    ndarray of shape (n,)
        The last point; the start where that is not finite.
    """
    point = start

    def checked(x):
        # SciPy 1.17 reads beyond a gradient that is too short, and the process aborts.
        value, gradient = objective(x)
        return value, gradient.reshape(start.shape)

    def keep(x):
        nonlocal point
        point = x.copy()
        if time.perf_counter() > deadline:
            raise _OutOfTimeError

    try:
        minimize(
            checked,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            callback=keep,
            options={
                "maxiter": max_iter,
                "maxfun": 2 * max_iter,
                "maxcor": 30,
                "ftol": 1e-9,
                "gtol": 1e-7,
            },
        )
    except _OutOfTimeError:
        pass
    return point if np.isfinite(point).all() else start


def tangential(gradient, V):
    """Return the part of a gradient that does not change the norm of V."""
    return gradient - np.sum(gradient * V, axis=(-2, -1), keepdims=True) * V
