"""What a convex loss of the output layer must say, and what follows from that.

Every method takes predictions or dual points of shape (n_samples, n_outputs), the
targets ``Y`` of the same shape, and positive ``weights`` of shape (n_samples,). A loss
is ``sum_i weights_i l(F_i, Y_i)``; weights that sum to one make it an average.
"""

from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, minimize_scalar

__all__ = [
    "IDLE_CURVATURE",
    "ROUNDED",
    "ROUNDING",
    "Loss",
    "TargetUnits",
    "balancing_shift",
    "best_on_parabola",
    "is_balanced_slope",
    "newton_intercept",
    "by_output",
    "ratio",
    "room",
]

ROUNDED = 1e-13  # times the targets: residuals of a constant that are rounding
ROUNDING = 1e-12  # how far outside its domain a conjugate takes a point for rounding
IDLE_CURVATURE = 0.01  # where a loss is linear, as a part of what it is elsewhere
_LARGEST_SCALING = 1e6  # of a dual point; it is near one where it matters
_BALANCED = 1e-6  # a slope in the intercept, for the gradients, that counts as zero
_SWEEPS = 20  # over outputs that are not separate
_EVEN = 1e-13  # difference of the sums of both signs of a gradient that is rounding
_FLAT = 1e-14  # a slope, for the largest there can be, that is rounding


@dataclass(frozen=True)
class TargetUnits:
    """Units in which targets, predictions and loss are of order one.

    With ``Y' = (Y - shift) / divisor`` and ``f = size * f' + offset`` the loss of f is
    ``factor`` times that of f', for the loss ``in_units(size)``.

    Attributes
    ----------
    shift : ndarray of shape (n_outputs,)
        Taken from the targets.
    divisor : float
        What they are divided by.
    size : float
        Unit of the predictions.
    offset : ndarray of shape (n_outputs,)
        The prediction that is zero in these units.
    factor : float
        Unit of the loss.
    """

    shift: np.ndarray
    divisor: float
    size: float
    offset: np.ndarray
    factor: float

    def scaled(self, Y):
        """Return targets in these units."""
        Y = Y - self.shift
        Y /= self.divisor
        return Y


class Loss(ABC):
    """A convex loss ``L(F) = sum_i weights_i l(F_i, Y_i)``.

    A subclass states the loss, its gradient, curvature and conjugate, and for
    ``solver="cvxpy"`` its expression. Refitting the intercept, balancing and scaling a
    dual point follow from those, and may be overridden where a formula is known. With
    its name in ``REGRESSION_LOSSES`` or ``CLASSIFICATION_LOSSES`` estimators take it.
    """

    #: Whether the curvature is the same for all predictions.
    is_quadratic = False

    #: Whether the second derivative jumps, which Newton's method can stall on.
    is_piecewise_quadratic = False

    #: Whether there is a gradient everywhere. Losses without are ``smoothed``.
    is_smooth = True

    #: Largest slope of one output, over all predictions.
    largest_slope = np.inf

    #: Largest eigenvalue of a sample's Hessian, over all predictions.
    smoothness = np.inf

    #: Whether the loss ties the outputs of a sample together.
    is_joint = False

    #: Whether predictions are logarithms of means, for targets that are not negative.
    has_log_link = False

    @property
    def exact(self):
        """The loss itself; of a smoothed one that which it stands for."""
        return self

    def in_units(self, size):
        """Return the loss where predictions are in units of ``size``."""
        return self

    def target_units(self, Y, constant):
        """Return the TargetUnits for targets ``Y``; by default nothing is changed.

        ``constant`` is the best constant prediction, (n_outputs,), None where the
        problem has no intercept that could take it in.
        """
        zero = np.zeros(Y.shape[1])
        return TargetUnits(zero, 1.0, 1.0, zero, 1.0)

    def advice(self, F, Y):
        """Return what to tell a user whose fit to ``Y`` ended at ``F``, or nothing."""
        return ""

    @abstractmethod
    def value_and_gradient(self, F, Y, weights):
        """Return ``L(F)`` and its gradient with respect to ``F``, shaped like ``F``."""

    @abstractmethod
    def curvature(self, F, Y, weights):
        """Return ``(h, q)``: the Hessian of sample i is ``diag(h_i) - q_i q_i^T``.

        Where the second derivative is zero, h is a small positive part of the weight.

        ``h`` has the shape of ``F``; ``q`` too, or is None where it is zero.
        """

    @abstractmethod
    def conjugate(self, G, Y, weights):
        """Return ``L*(G) = sup_F <G, F> - L(F)``, infinite outside its domain."""

    @abstractmethod
    def largest_scaling(self, N, Y, weights):
        """Return the largest ``s`` for which ``s * N`` is in the conjugate's domain."""

    def cvxpy_value(self, F, Y, weights):
        """Return ``L(F)`` for a CVXPY expression ``F`` of predictions.

        Only ``solver="cvxpy"`` and the fallback of stalled programmes need it, so a
        loss without it can still be trained.
        """
        name = type(self).__name__
        raise NotImplementedError(f"The loss {name} is not stated in CVXPY.")

    def value(self, F, Y, weights):
        """Return ``L(F)``."""
        return self.value_and_gradient(F, Y, weights)[0]

    def gradient(self, F, Y, weights):
        """Return the gradient of ``L`` at ``F``, shaped like ``F``."""
        return self.value_and_gradient(F, Y, weights)[1]

    def best_intercept(self, F, Y, weights):
        """Return the vector b, (n_outputs,), that minimises ``L(F + b)``.

        Newton's method with halved steps: there are few unknowns, and the certificate
        wants the columns of the gradient to sum to zero exactly. Where it gets stuck,
        on predictions so large that curvatures vanish, the slope of one output after
        another is bracketed and brought to zero. That is sure where outputs are
        separate. Softmax may be left with slopes, which ``balanced`` takes out of the
        certificate at the price of a weaker bound.
        """

        def at(b):
            value, N = self.value_and_gradient(F + b, Y, weights)
            return value, N.sum(axis=0), np.abs(N).sum()

        def second(b):
            h, q = self.curvature(F + b, Y, weights)
            return np.diag(h.sum(axis=0)) - (0 if q is None else q.T @ q)

        b, is_balanced = newton_intercept(at, second, Y.shape[1])
        if is_balanced:
            return b
        for _ in range(_SWEEPS):
            for k in range(len(b)):
                b[k] += self._bracketed_step(F + b, Y, weights, k)
            if is_balanced_slope(*at(b)[1:]):
                break
        return b

    def _bracketed_step(self, F, Y, weights, k):
        """Return the step of output k's intercept at which its slope is zero."""

        def slope(step):
            shifted = F.copy()
            shifted[:, k] += step
            return self.gradient(shifted, Y, weights)[:, k].sum()

        first = slope(0.0)
        step = -np.sign(first)
        while first * slope(step) > 0.0 and np.isfinite(2.0 * step):
            step *= 2.0
        return brentq(slope, 0.0, step) if first * slope(step) < 0.0 else step

    def balanced(self, N, Y, weights):
        """Return a point next to ``N`` in the conjugate's domain, columns summing to 0.

        That is dual feasibility with an unpenalised intercept. Shrinking the heavier
        sign of a column stays in the domain where outputs are separate, since zero is
        in it.
        """
        return self.rebalanced(N, Y, weights, *self.imbalance(N, Y, weights))

    def imbalance(self, N, Y, weights):
        """Return the sums over rows that ``rebalanced`` needs, those of each sign."""
        is_up = N > 0.0
        up = np.sum(N, axis=0, where=is_up)
        return up, -np.sum(N, axis=0, where=~is_up)

    def rebalanced(self, N, Y, weights, up, down):
        """Return ``balanced`` of some rows, given the sums over all."""
        if (np.abs(up - down) <= _EVEN * (up + down)).all():
            return N
        is_up, least, out = N > 0.0, np.minimum(up, down), N.copy()
        np.multiply(N, ratio(least, up), out=out, where=is_up)
        np.multiply(N, ratio(least, down), out=out, where=~is_up)
        return out

    def leeway(self, N, Y, weights):
        """Return ``(h, q)``: how freely entries of a dual point move in its domain.

        As of ``curvature``, but to be told from N. By default entries move by a part of
        themselves, which keeps their signs: zero is in the domain, and where outputs
        are separate so is what is between it and N.
        """
        return np.abs(N), None

    def kept_in_domain(self, N, moved, weights, Y):
        """Return what N was moved to, put back where that left the domain.

        It may need to be scaled down after that, see ``largest_scaling``.
        """
        return np.where(N * moved < 0.0, 0.0, moved)

    def best_dual_value(self, N, Y, weights, limit):
        """Return ``max_{0 <= s <= limit} -L*(s N)``, the best bound along ``N``.

        Every ``s`` up to ``limit`` (alpha over the price of ``N``) is dual feasible,
        so the maximum, concave in ``s``, is a lower bound of the optimum.
        """
        limit = min(limit, self.largest_scaling(N, Y, weights), _LARGEST_SCALING)
        at_limit = self.conjugate(limit * N, Y, weights)
        if at_limit <= self.conjugate((1.0 - 1e-6) * limit * N, Y, weights):
            return -at_limit  # concave and rising to the end
        found = minimize_scalar(
            lambda s: self.conjugate(s * N, Y, weights),
            bounds=(0.0, limit),
            method="bounded",
            options={"xatol": 1e-5 * max(limit, 1e-300)},
        )
        return -min(found.fun, self.conjugate(0.0 * N, Y, weights))


def by_output(weights, Y):
    """Return weights of entries, shaped like ``Y``: CVXPY does not broadcast."""
    return np.repeat(weights[:, None], Y.shape[1], axis=1)


def balancing_shift(r, low, high, weights):
    """Return b with ``sum_i weights_i clip(r_i + b, low_i, high_i)`` zero.

    The sum rises in b, linearly between the points at which an entry meets a limit.
    These are searched by bisection. Where the sum is zero over an interval, its middle
    is returned: where targets change sign, so does b.
    """
    points = np.concatenate([low - r, high - r])
    points = np.sort(points[~np.isinf(points)])
    if not len(points):
        return 0.0  # predictions have overflowed

    clipped = np.empty_like(r)

    def total(b):
        np.add(r, b, out=clipped)
        return weights @ np.clip(clipped, low, high, out=clipped)

    rounding = _FLAT * max(-total(points[0]), total(points[-1]))
    i = min(bisect_left(points, -rounding, key=total), len(points) - 1)
    above = total(points[i])
    if above > rounding:
        below = total(points[i - 1])
        return points[i - 1] + (points[i] - points[i - 1]) * below / (below - above)
    j = bisect_right(points, rounding, lo=i, key=total)
    return (points[i] + points[max(j - 1, i)]) / 2.0


def best_on_parabola(N, Y, weights, limit):
    """Return the best dual value where conjugates are ``N^2 / (2 weights) + N Y``."""
    quadratic = np.einsum("ij,ij,i->", N, N, 1.0 / weights)
    if quadratic == 0.0:
        return 0.0
    linear = np.vdot(N, Y)
    s = np.clip(-linear / quadratic, 0.0, limit)
    return -(0.5 * s * quadratic + linear) * s


def newton_intercept(at, second, n_outputs, max_iter=100):
    """Return where Newton's method for the intercept ends, and whether it is balanced.

    That is judged by the gradient before the last step.

    Parameters
    ----------
    at : callable
        Takes an intercept b, (n_outputs,); returns the loss there, the sums of the
        columns of its gradient, and of absolute values of all of it.
    second : callable
        Takes b; returns the second derivatives, (n_outputs, n_outputs).
    n_outputs : int
        Number of outputs.
    max_iter : int, default=100
        Largest number of steps.
    """
    b = np.zeros(n_outputs)
    value, slope, size = at(b)
    for _ in range(max_iter):
        direction = -np.linalg.pinv(second(b), rcond=1e-12, hermitian=True) @ slope
        if -slope @ direction <= 1e-14 * abs(value):
            # Too little to see in the value, but not in N: not if it goes far.
            b = b + (direction if np.abs(direction).max() < 1.0 else 0.0)
            break
        step = 1.0
        while step > 1e-10:
            trial = b + step * direction
            new = at(trial)
            if new[0] < value:
                break
            step *= 0.5
        else:
            break  # no decrease left in floating point
        b, (value, slope, size) = trial, new
    return b, is_balanced_slope(slope, size)


def is_balanced_slope(slope, size):
    """Tell whether columns of a gradient sum to next to nothing beside its size."""
    return np.abs(slope).max() <= _BALANCED * size


def ratio(a, b):
    """Return ``a / b``, where b is zero: one if a is zero too, else infinity."""
    a, b = np.broadcast_arrays(np.asarray(a, dtype=float), b)
    limit = np.where(a > 0.0, np.inf, 1.0)
    return np.divide(a, b, out=limit, where=b > 0.0)[()]


def room(room, steps):
    """Return the largest s with ``s * steps <= room`` everywhere."""
    tight = steps > 0.0
    return np.min(room[tight] / steps[tight], initial=np.inf)
