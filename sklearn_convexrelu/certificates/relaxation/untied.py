"""Untied: the relaxed training problem where no ties bind one row to another.

Without pairs of rows and without regions moments leave every ``E[|x^T u|]`` between two
ends of its own, so every prediction is between two ends, and the best one is found row
by row. What is left to descend on are moments and intercept alone: some thousand
numbers whatever the rows are, with gradients at the ends that rows rest on (envelope
theorem), and no multipliers to wait for. Rows come in parts, so that memory grows with
the columns alone, and a sample of them gets close. Every bound of neurons starts here,
and that of many rows ends here.
"""

from dataclasses import replace

import numpy as np

from sklearn_convexrelu.certificates.certificate import dual_point
from sklearn_convexrelu.certificates.relaxation.descent import (
    Scaled,
    descended,
    finite_constant,
)
from sklearn_convexrelu.certificates.relaxation.proof import untied_prices
from sklearn_convexrelu.certificates.relaxation.regions import Region
from sklearn_convexrelu.certificates.relaxation.semidefinite import (
    Moments,
    Relaxation,
    State,
    unit_factors,
)

__all__ = ["Untied", "best_between"]

# Values of rows and factors that a part has, of one block: they stay in a cache.
_PART = 1 << 16
# Steps of the search for the best predictions: Newton's, halved where they leave the
# interval, take three to eight; projected gradients of a joint loss go on from the last
# ones, and what they lack only weakens a bound.
_NEWTON, _PROJECTED = 60, 30
_SETTLED = 1e-9  # change of predictions, for their size, that ends either


class Untied(Scaled):
    """The relaxed training problem of neurons over the whole sphere, without pairs.

    Parameters
    ----------
    problem : Problem
        What is minimised; its loss has a gradient.
    units : Neurons
        What units are.
    rows : RowSpace
        The rows of the problem, without pairs.
    alpha : float
        Of rows scaled to order one.
    """

    def __init__(self, problem, units, rows, alpha):
        super().__init__(problem, units, alpha)
        self.rows = rows
        size = max(_PART // min(rows.rank + 1, 16), 1)
        self.parts = []
        for begin in range(0, len(rows.Z), size):
            own = slice(begin, begin + size)
            part = rows.part(own)
            relaxation = Relaxation(part, [Region.sphere(part)], alpha)
            self.parts.append((own, relaxation))
        self.F = np.zeros_like(problem.Y) + finite_constant(problem)

    def solve(self, W, common, max_iter, deadline):
        """Return improved factors and what is common."""
        n_shift = len(common.shift) * self.problem.fit_intercept

        def parts(x):
            own = common
            if n_shift:
                own = replace(common, shift=x[W.size :] * self.shift_unit)
            return x[: W.size].reshape(W.shape) * self.unit, own

        def objective(x):
            value, to_W, to_shift = self.value_and_gradient(*parts(x))
            to_shift = to_shift[:n_shift] * self.shift_unit
            gradient = np.append(to_W * self.unit, to_shift)
            return value / self.loss_unit, gradient / self.loss_unit

        start = np.append(W / self.unit, common.shift[:n_shift] / self.shift_unit)
        return parts(descended(objective, start, max_iter, deadline))

    def value_and_gradient(self, W, common):
        """Return the objective and its gradients in factors and intercept."""
        V, t = unit_factors(W)
        value, blocks, to_V = 0.0, np.zeros(t.shape), np.zeros(V.shape)
        to_shift = np.zeros(self.problem.n_outputs)
        for own, relaxation, moments, envelopes in self._envelopes(V):
            ends = _ends(moments, envelopes, t)
            loss, N = self._loss(own, self._best(own, ends, common))
            half = 0.5 * self.units.weights(None, None, N)
            at_rest = relaxation.at_rest(half[None])
            bounds = np.where(half > 0.0, envelopes.lower, envelopes.upper)
            blocks += np.sum(half * (moments.linear + bounds), axis=-1)
            to_V += 2.0 * relaxation.curved(moments, envelopes, at_rest)
            to_V[..., 0] += relaxation.sloped(envelopes, half, at_rest)
            value, to_shift = value + loss, to_shift + N.sum(axis=0)
        return *self.charged(W, value, blocks, to_V), to_shift

    def proven(self, W, common):
        """Return a dual point and what none of its prices exceeds."""
        V, t = unit_factors(W)
        for own, _, moments, envelopes in self._envelopes(V):
            self._best(own, _ends(moments, envelopes, t), common)
        N = dual_point(self.problem, self.F)
        relaxations = [relaxation for _, relaxation in self.parts]
        weights = self.units.weights(None, None, N)
        prices = untied_prices(self.rows, relaxations, V, weights)
        return N, self.units.price(prices)

    def state(self, W, common, relaxation):
        """Return the State of a relaxation that begins where this has ended.

        Predictions tell how far every row is from one of its ends to the other, and the
        dual point which of them it rests on.
        """
        V, t = unit_factors(W)
        a, halves = [], []
        for own, _, moments, envelopes in self._envelopes(V):
            low, high = _ends(moments, envelopes, t)
            F = self._best(own, (low, high), common) - common.shift
            N = self._loss(own, self.F[own])[1]
            way = np.clip((F.T - low) / np.maximum(high - low, 1e-300), 0.0, 1.0)
            ways = np.stack([way, 1.0 - way])
            a.append(envelopes.lower + ways * (envelopes.upper - envelopes.lower))
            halves.append(0.5 * self.units.weights(None, None, N))
        half = np.concatenate(halves, axis=-1)[None]
        return State(W, np.concatenate(a, axis=-1), relaxation.at_rest(half))

    def _envelopes(self, V):
        """Yield rows, their relaxation, moments and ends, part by part."""
        for own, relaxation in self.parts:
            moments = Moments.of(relaxation.rows, V)
            yield own, relaxation, moments, relaxation.envelopes(moments)

    def _best(self, own, ends, common):
        """Return the best predictions of a part between their ends; note them."""
        problem, (low, high) = self.problem, ends
        low, high = low.T + common.shift, high.T + common.shift
        weights, Y = problem.weights[own], problem.Y[own]
        F = best_between(problem.loss, Y, weights, low, high, self.F[own])
        self.F[own] = F
        return F

    def _loss(self, own, F):
        """Return loss and gradient of a part."""
        problem = self.problem
        return problem.loss.value_and_gradient(F, problem.Y[own], problem.weights[own])


def _ends(moments, envelopes, t):
    """Return the least and the most of predictions, less the intercept, (C, n)."""
    half = 0.5 * t[0, ..., None]
    low = half * (moments.linear + envelopes.lower)[0]
    high = half * (moments.linear + envelopes.upper)[0]
    return low[0] - high[1], np.maximum(high[0] - low[1], low[0] - high[1])


def best_between(loss, Y, weights, low, high, start):
    """Return predictions of least loss between two ends, entry by entry.

    Parameters
    ----------
    loss : Loss
        With a gradient everywhere.
    Y : ndarray of shape (n_samples, n_outputs)
        Targets.
    weights : ndarray of shape (n_samples,)
        Positive weights.
    low, high : ndarray of shape (n_samples, n_outputs)
        The ends.
    start : ndarray of shape (n_samples, n_outputs)
        Where to start.

    Returns
    -------
    ndarray of shape (n_samples, n_outputs)
        Up to rounding; of a loss that ties outputs, as near as some steps come.
    """
    F = np.clip(start, low, high)
    if loss.is_joint:
        return _projected(loss, Y, weights, low, high, F)
    a, b = low.copy(), high.copy()
    a_known, b_known = np.zeros(F.shape, bool), np.zeros(F.shape, bool)
    for _ in range(_NEWTON):
        slope = loss.value_and_gradient(F, Y, weights)[1]
        up, down = slope <= 0.0, slope >= 0.0
        a, b = np.where(up, F, a), np.where(down, F, b)
        a_known, b_known = a_known | up, b_known | down
        bend = loss.curvature(F, Y, weights)[0]
        new, middle = F - slope / bend, 0.5 * (a + b)
        new = np.where(new > a, new, np.where(a_known, middle, a))
        new = np.where(new < b, new, np.where(b_known, middle, b))
        moved = np.abs(new - F) > _SETTLED * (1.0 + np.abs(F))
        F = np.clip(new, a, b)
        if not moved.any():
            break
    return F


def _projected(loss, Y, weights, low, high, F):
    """Return the same by accelerated projected gradients (Nesterov 1983)."""
    step, ahead, k = 1.0 / (loss.smoothness * weights[:, None]), F, 0
    for _ in range(_PROJECTED):
        slope = loss.value_and_gradient(ahead, Y, weights)[1]
        new = np.clip(ahead - step * slope, low, high)
        moved = np.abs(new - F).max(initial=0.0)
        k = 0 if np.vdot(slope, new - F) > 0.0 else k + 1
        ahead, F = new + k / (k + 3.0) * (new - F), new
        if moved <= _SETTLED * (1.0 + np.abs(F).max(initial=0.0)):
            break
    return F
