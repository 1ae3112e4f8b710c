"""Losses that are linear in pieces, and the smooth ones that training follows to them.

All of them are ``l(f, y) = max(low (f - y), high (f - y))`` for each output, with
slopes ``low <= 0 <= high`` that may depend on the target. The conjugate of their sum is
linear, ``L*(G) = <G, Y>`` where ``low <= G_i / weights_i <= high``. Taking
``mu / 2 sum_i G_i^2 / weights_i`` off the dual (Moreau's envelope) makes them smooth,
so the dual point of the smoothed problem is one of the exact problem too: its own
conjugate tells what it proves there (Nesterov, Mathematical Programming 103, 2005).
"""

from abc import abstractmethod

import numpy as np

from sklearn_convexrelu.model.loss import (
    IDLE_CURVATURE,
    ROUNDED,
    ROUNDING,
    Loss,
    TargetUnits,
    balancing_shift,
    best_on_parabola,
    by_output,
    ratio,
)
from sklearn_convexrelu.model.neurons import power_of_two

__all__ = ["AbsoluteError", "Hinge", "PiecewiseLinear", "Quantile", "Smoothed"]

_FLAT = 1e-13  # a slope, for the largest there can be, that is rounding


class PiecewiseLinear(Loss):
    """A loss that is linear on either side of the target, with a kink there.

    A subclass states the slopes. Its gradient is zero at the kink.
    """

    is_smooth = False

    @abstractmethod
    def slopes(self, Y):
        """Return the slopes below and above the targets, each like ``Y`` or a number.

        Parameters
        ----------
        Y : ndarray of shape (n_samples, n_outputs)
            The targets.
        """

    def smoothed(self, mu):
        """Return the smooth loss, below this one by ``mu / 2 slope^2`` at most."""
        return Smoothed(self, mu)

    def value_and_gradient(self, F, Y, weights):
        """Return ``L(F)`` and a subgradient of it, shaped like ``F``."""
        residual = F - Y
        low, high = self.slopes(Y)
        N = np.where(residual > 0.0, high, np.where(residual < 0.0, low, 0.0))
        N *= weights[:, None]
        return np.vdot(N, residual), N

    def cvxpy_value(self, F, Y, weights):
        """Return ``L(F)`` for a CVXPY expression ``F``."""
        import cvxpy as cp

        weights = by_output(weights, Y)
        low, high = (weights * slope for slope in self.slopes(Y))
        residual = F - Y
        return cp.sum(
            cp.maximum(cp.multiply(low, residual), cp.multiply(high, residual))
        )

    def curvature(self, F, Y, weights):
        """Return ``(h, None)``, the weights: a stand-in for what there is none of."""
        return np.broadcast_to(weights[:, None], Y.shape), None

    def best_intercept(self, F, Y, weights):
        """Return the vector b, (n_outputs,), that minimises ``L(F + b)``, exactly.

        A weighted quantile of the residuals, at a level that slopes give. Where a whole
        interval does, its middle is taken, and where that is infinite its end.
        """
        slopes = (np.broadcast_to(slope, Y.shape).T for slope in self.slopes(Y))
        columns = zip((Y - F).T, *slopes, strict=True)
        return np.array([_best_shift(*column, weights) for column in columns])

    def conjugate(self, G, Y, weights):
        """Return ``L*(G)``."""
        if not _is_within(G / weights[:, None], *self.slopes(Y)):
            return np.inf
        return np.vdot(G, Y)

    def largest_scaling(self, N, Y, weights):
        """Return the scaling at which a slope reaches its limit."""
        return _largest_scaling(N / weights[:, None], *self.slopes(Y))

    def best_dual_value(self, N, Y, weights, limit):
        """Return ``max_{0 <= s <= limit} -L*(s N)``, which is linear in ``s``."""
        rise = -np.vdot(N, Y)
        if rise <= 0.0:
            return 0.0
        return rise * min(limit, self.largest_scaling(N, Y, weights))


class Quantile(PiecewiseLinear):
    """Pinball loss, ``tau max(y - f, 0) + (1 - tau) max(f - y, 0)`` of each output.

    Its minimiser is the tau-quantile (Koenker & Bassett, Econometrica 46, 1978).

    Parameters
    ----------
    levels : float or array-like of shape (n_outputs,)
        tau, between zero and one, of all outputs or of each.
    """

    def __init__(self, levels):
        self.levels = np.asarray(levels, dtype=float)

    @property
    def largest_slope(self):
        """Largest norm of a sample's gradient; of several outputs their levels'."""
        return float(np.linalg.norm(np.maximum(self.levels, 1.0 - self.levels)))

    def slopes(self, Y):
        """Return minus tau and one minus tau."""
        return -self.levels, 1.0 - self.levels

    def target_units(self, Y, constant):
        """Return the TargetUnits for ``Y``: those of the residuals of a constant."""
        return _residual_units(Y, constant)


class AbsoluteError(PiecewiseLinear):
    """Absolute error ``|f - y|``, summed over outputs; its minimiser is the median."""

    largest_slope = 1.0

    def slopes(self, Y):
        """Return minus one and one."""
        return -1.0, 1.0

    def target_units(self, Y, constant):
        """Return the TargetUnits for ``Y``: those of the residuals of a constant."""
        return _residual_units(Y, constant)


class Hinge(PiecewiseLinear):
    """``max(0, 1 - y f)`` of each output by itself, y minus or plus one."""

    largest_slope = 1.0

    def slopes(self, Y):
        """Return minus one and zero for the class of an output, else zero and one."""
        return -(Y > 0.0).astype(float), (Y < 0.0).astype(float)


class Smoothed(Loss):
    """Moreau's envelope of a loss that is linear in pieces, a generalised Huber loss.

    With residual r it is ``g r - mu / 2 g^2`` at ``g = clip(r / mu, low, high)``.

    Parameters
    ----------
    exact : PiecewiseLinear
        The loss.
    mu : float
        Width of the smoothing, positive, in the unit of the predictions: residuals up
        to ``mu`` times the slopes are in the curved part.
    """

    is_piecewise_quadratic = True

    def __init__(self, exact, mu):
        self._exact, self.mu = exact, mu

    @property
    def exact(self):
        """The loss that is smoothed."""
        return self._exact

    @property
    def smoothness(self):
        """Largest eigenvalue of a sample's Hessian."""
        return 1.0 / self.mu

    @property
    def largest_slope(self):
        """Largest norm of a sample's gradient, for each output."""
        return self._exact.largest_slope

    def value_and_gradient(self, F, Y, weights):
        """Return ``L(F)`` and its gradient with respect to ``F``, shaped like ``F``."""
        residual = F - Y
        slopes = np.clip(residual / self.mu, *self._exact.slopes(Y))
        N = slopes * weights[:, None]
        return np.vdot(N, residual - 0.5 * self.mu * slopes), N

    def curvature(self, F, Y, weights):
        """Return ``(h, None)``: weights over ``mu`` where it is curved, else 1%.

        The second derivative is zero where it is linear, which could leave Newton steps
        without a minimiser.
        """
        low, high = self._exact.slopes(Y)
        r = (F - Y) / self.mu
        curved = (low <= r) & (r <= high)
        return weights[:, None] * np.where(curved, 1.0, IDLE_CURVATURE) / self.mu, None

    def best_intercept(self, F, Y, weights):
        """Return the vector b, (n_outputs,), that minimises ``L(F + b)``, exactly."""
        residual = (F - Y).T
        low, high = (
            np.broadcast_to(self.mu * slope, Y.shape).T
            for slope in self._exact.slopes(Y)
        )
        columns = zip(residual, low, high, strict=True)
        return np.array([balancing_shift(*column, weights) for column in columns])

    def conjugate(self, G, Y, weights):
        """Return ``L*(G)``."""
        linear = self._exact.conjugate(G, Y, weights)
        return linear + 0.5 * self.mu * np.sum(G * G / weights[:, None])

    def largest_scaling(self, N, Y, weights):
        """Return the scaling at which a slope reaches its limit."""
        return self._exact.largest_scaling(N, Y, weights)

    def best_dual_value(self, N, Y, weights, limit):
        """Return ``max_{0 <= s <= limit} -L*(s N)``, a parabola in ``s``."""
        limit = min(limit, self.largest_scaling(N, Y, weights))
        return best_on_parabola(N, Y, weights / self.mu, limit)


def _residual_units(Y, constant):
    """Return the TargetUnits of a loss that grows in proportion to the residuals.

    Their mean size is the unit: these losses are for targets whose largest ones are
    beyond all measure.
    """
    offset = np.zeros(Y.shape[1]) if constant is None else constant
    typical, size = np.abs(Y - offset).mean(), np.abs(Y).max()
    unit = power_of_two(typical if typical > ROUNDED * size else size)
    return TargetUnits(offset, unit, unit, offset, unit)


def _best_shift(r, low, high, weights):
    """Return b of the least loss where targets less predictions are r.

    The slope in b rises by ``weights_i (high_i - low_i)`` at ``r_i``.
    """
    order = np.argsort(r, kind="stable")
    r, jumps = r[order], (weights * (high - low))[order]
    slope = weights @ low + np.cumsum(jumps)  # beyond each r
    rounding = _FLAT * jumps.sum()
    first = min(int(np.searchsorted(slope, -rounding)), len(r) - 1)
    last = min(int(np.searchsorted(slope, rounding, side="right")), len(r) - 1)
    return (r[first] + r[last]) / 2.0 if slope[last] > rounding else r[first]


def _is_within(slopes, low, high):
    """Tell whether slopes are within their limits, but for rounding."""
    over = np.maximum(low - slopes, slopes - high).max(initial=0.0)
    return over <= ROUNDING


def _largest_scaling(slopes, low, high):
    """Return the largest s for which ``s * slopes`` is between the limits."""
    limits = np.where(slopes > 0.0, high, -low)
    # Beside a limit of zero a slope is rounding: the conjugate allows for as much.
    real = np.abs(slopes) > ROUNDING
    limits = np.broadcast_to(limits, slopes.shape)
    return np.min(ratio(limits[real], np.abs(slopes[real])), initial=np.inf)
