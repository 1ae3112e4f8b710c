"""Convex losses of the output layer: value, gradient, curvature, conjugate.

Every method takes predictions or dual points of shape (n_samples, n_outputs), the
targets ``Y`` of the same shape, and positive ``weights`` of shape (n_samples,). A loss
is ``sum_i weights_i l(F_i, Y_i)``; weights that sum to one make it an average.
"""

from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import expit, log_softmax, logsumexp, softmax, xlog1py, xlogy

from sklearn_convexrelu.model.neurons import power_of_two

__all__ = [
    "CLASSIFICATION_LOSSES",
    "REGRESSION_LOSSES",
    "Huber",
    "Logistic",
    "Loss",
    "Poisson",
    "Softmax",
    "SquaredError",
    "SquaredHinge",
    "TargetUnits",
    "classification_loss",
    "regression_loss",
]

ROUNDED = 1e-13  # times the targets: residuals of a constant that are rounding
_LEAST_THRESHOLD = 1e-100  # of Huber, for the residuals: a loss has its squares
# of Huber, for the typical residual: from where on fits were seen to take over 100
# rounds; there 96 of 100 samples or so lie beyond it.
_SMALL_THRESHOLD = 0.1
_ROUNDING = 1e-12  # how far outside its domain a conjugate takes a point for rounding
_LARGEST_SCALING = 1e6  # of a dual point; it is near one where it matters
_IDLE_CURVATURE = 0.01  # where a loss is linear, as a part of what it is elsewhere
_LARGEST_LOG = 700.0  # of a Poisson mean: beyond, exponentials overflow
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
    """A smooth convex loss ``L(F) = sum_i weights_i l(F_i, Y_i)``.

    A subclass states the loss, its gradient, curvature and conjugate, and for
    ``solver="cvxpy"`` its expression. Refitting the intercept, balancing and scaling a
    dual point follow from those, and may be overridden where a formula is known. With
    its name in ``REGRESSION_LOSSES`` or ``CLASSIFICATION_LOSSES`` estimators take it.
    """

    #: Whether the curvature is the same for all predictions.
    is_quadratic = False

    #: Whether the second derivative jumps, which Newton's method can stall on.
    is_piecewise_quadratic = False

    #: Largest eigenvalue of a sample's Hessian, over all predictions.
    smoothness = np.inf

    #: Whether predictions are logarithms of means, for targets that are not negative.
    has_log_link = False

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
        b, N = self._newton_intercept(F, Y, weights)
        if _is_balanced(N):
            return b
        for _ in range(_SWEEPS):
            for k in range(len(b)):
                b[k] += self._bracketed_step(F + b, Y, weights, k)
            if _is_balanced(self.gradient(F + b, Y, weights)):
                break
        return b

    def _newton_intercept(self, F, Y, weights, max_iter=100):
        """Return where Newton's method ends, and the gradient before the last step."""
        b = np.zeros(Y.shape[1])
        value, N = self.value_and_gradient(F, Y, weights)
        for _ in range(max_iter):
            h, q = self.curvature(F + b, Y, weights)
            H = np.diag(h.sum(axis=0)) - (0 if q is None else q.T @ q)
            slope = N.sum(axis=0)
            direction = -np.linalg.pinv(H, rcond=1e-12, hermitian=True) @ slope
            if -slope @ direction <= 1e-14 * abs(value):
                # Too little to see in the value, but not in N: not if it goes far.
                return b + (direction if np.abs(direction).max() < 1.0 else 0.0), N
            step = 1.0
            while step > 1e-10:
                trial = b + step * direction
                new_value, new_N = self.value_and_gradient(F + trial, Y, weights)
                if new_value < value:
                    break
                step *= 0.5
            else:
                break  # no decrease left in floating point
            b, value, N = trial, new_value, new_N
        return b, N

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
        is_up = N > 0.0
        up = np.sum(N, axis=0, where=is_up)
        down = -np.sum(N, axis=0, where=~is_up)
        if (np.abs(up - down) <= _EVEN * (up + down)).all():
            return N
        least, out = np.minimum(up, down), N.copy()
        np.multiply(N, _ratio(least, up), out=out, where=is_up)
        np.multiply(N, _ratio(least, down), out=out, where=~is_up)
        return out

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


class SquaredError(Loss):
    """Half the squared residual norm, ``l(f, y) = ||f - y||^2 / 2``.

    Its conjugate is ``L*(G) = sum_i ||G_i||^2 / (2 weights_i) + <G_i, Y_i>``, finite
    everywhere for positive weights.
    """

    is_quadratic = True
    smoothness = 1.0

    def target_units(self, Y, constant):
        """Return the TargetUnits for ``Y``: those of the residuals of a constant."""
        return _residual_units(Y, constant)

    def value_and_gradient(self, F, Y, weights):
        """Return ``L(F)`` and its gradient with respect to ``F``, shaped like ``F``."""
        residual = F - Y
        N = residual * weights[:, None]
        return 0.5 * np.vdot(N, residual), N

    def cvxpy_value(self, F, Y, weights):
        """Return ``L(F)`` for a CVXPY expression ``F``."""
        import cvxpy as cp

        roots = np.sqrt(_by_output(weights, Y))
        return cp.sum_squares(cp.multiply(roots, F - Y)) / 2

    def curvature(self, F, Y, weights):
        """Return ``(h, None)`` with ``h_i = weights_i`` for every output."""
        return np.broadcast_to(weights[:, None], Y.shape), None

    def conjugate(self, G, Y, weights):
        """Return ``L*(G)``."""
        return 0.5 * np.sum(G * G / weights[:, None]) + np.vdot(G, Y)

    def largest_scaling(self, N, Y, weights):
        """Return infinity: the conjugate is finite everywhere."""
        return np.inf

    def best_intercept(self, F, Y, weights):
        """Return the weighted mean residual, (n_outputs,)."""
        return weights @ (Y - F)

    def best_dual_value(self, N, Y, weights, limit):
        """Return ``max_{0 <= s <= limit} -L*(s N)``, a parabola in ``s``."""
        return _best_on_parabola(N, Y, weights, limit)


class Huber(Loss):
    """Squared error up to a threshold t, linear beyond (Huber 1964).

    ``l(r) = r^2 / 2`` where ``|r| <= t`` and ``t |r| - t^2 / 2`` elsewhere, r the
    residual of one output. Its conjugate is that of the squared error, on the domain
    ``|G_i| <= t weights_i``.

    Parameters
    ----------
    threshold : float
        t, in the unit of the targets.
    """

    is_piecewise_quadratic = True
    smoothness = 1.0

    def __init__(self, threshold):
        self.threshold = threshold

    def in_units(self, size):
        """Return the loss with its threshold in units of ``size``."""
        return Huber(self.threshold / size)

    def target_units(self, Y, constant):
        """Return the TargetUnits for ``Y``: those of the residuals of a constant.

        Raises
        ------
        ValueError
            If the threshold is so far below the residuals that the loss, which goes
            with it, is lost in rounding.
        """
        units = _residual_units(Y, constant)
        if self.threshold < _LEAST_THRESHOLD * units.size:
            raise ValueError(
                f"huber_threshold={self.threshold:.0e} is nothing beside residuals of "
                f"size {units.size:.0e}; increase it."
            )
        return units

    def advice(self, F, Y):
        """Return that the threshold is small, where most residuals are beyond it."""
        typical = np.median(np.abs(F - Y))
        if self.threshold > _SMALL_THRESHOLD * typical:
            return ""
        return (
            f" huber_threshold={self.threshold:.3g} is far below the residuals, "
            f"typically {typical:.3g}: the loss is all but linear, which converges "
            "slowly; a larger one helps."
        )

    def value_and_gradient(self, F, Y, weights):
        """Return ``L(F)`` and its gradient with respect to ``F``, shaped like ``F``."""
        residual = F - Y
        clipped = np.clip(residual, -self.threshold, self.threshold)
        N = clipped * weights[:, None]
        return np.vdot(N, residual - 0.5 * clipped), N

    def cvxpy_value(self, F, Y, weights):
        """Return ``L(F)`` for a CVXPY expression ``F``."""
        import cvxpy as cp

        terms = cp.huber(F - Y, self.threshold)
        return cp.sum(cp.multiply(_by_output(weights, Y), terms)) / 2

    def curvature(self, F, Y, weights):
        """Return ``(h, None)``: the weights where residuals are small, else 1%.

        The second derivative is zero beyond the threshold, which could leave Newton
        steps without a minimiser.
        """
        small = np.abs(F - Y) <= self.threshold
        return weights[:, None] * np.where(small, 1.0, _IDLE_CURVATURE), None

    def best_intercept(self, F, Y, weights):
        """Return the vector b, (n_outputs,), that minimises ``L(F + b)``, exactly."""
        residual = F - Y
        # Beyond all residuals that b could leave the threshold changes nothing.
        largest = 2.0 * np.ptp(residual, axis=0).max() + np.finfo(float).tiny
        t = min(self.threshold, largest)
        return np.array([_balancing_shift(r, -t, t, weights) for r in residual.T])

    def conjugate(self, G, Y, weights):
        """Return ``L*(G)``."""
        slopes = np.abs(G) / weights[:, None]
        if slopes.max(initial=0.0) > self.threshold * (1.0 + _ROUNDING):
            return np.inf
        return 0.5 * np.vdot(slopes, np.abs(G)) + np.vdot(G, Y)

    def largest_scaling(self, N, Y, weights):
        """Return the scaling at which a slope reaches the threshold."""
        return _ratio(self.threshold, np.max(np.abs(N) / weights[:, None], initial=0.0))


class Poisson(Loss):
    """Half the Poisson deviance with a log link, ``exp(f) - y f + y log(y) - y``.

    Its conjugate is ``sum_i weights_i (m log m - m - y log y + y)`` in the means
    ``m_i = y_i + G_i / weights_i``, which must not be negative.
    """

    has_log_link = True

    def value_and_gradient(self, F, Y, weights):
        """Return ``L(F)`` and its gradient with respect to ``F``, shaped like ``F``."""
        means = np.exp(np.minimum(F, _LARGEST_LOG))
        counted = Y > 0.0
        logs = np.log(Y, where=counted, out=np.zeros_like(Y))
        t = np.minimum(F, _LARGEST_LOG) - logs
        # y (exp(t) - 1 - t) does not cancel where means are close to targets.
        close = counted & (np.abs(t) < 1.0)
        deviance = means - Y - Y * (F - logs)
        deviance[close] = Y[close] * (np.expm1(t[close]) - t[close])
        return weights @ deviance.sum(axis=1), weights[:, None] * (means - Y)

    def cvxpy_value(self, F, Y, weights):
        """Return ``L(F)`` for a CVXPY expression ``F``."""
        import cvxpy as cp

        constant = self.value(np.zeros_like(Y), Y, weights)
        terms = cp.exp(F) - 1 - cp.multiply(Y, F)
        return cp.sum(cp.multiply(_by_output(weights, Y), terms)) + constant

    def target_units(self, Y, constant):
        """Return the TargetUnits for ``Y``: the largest mean, whose log is a shift."""
        if constant is None:
            return super().target_units(Y, constant)
        zero, offset = np.zeros(Y.shape[1]), float(np.max(constant))
        mean = float(np.exp(offset))
        return TargetUnits(zero, mean, 1.0, zero + offset, mean)

    def curvature(self, F, Y, weights):
        """Return ``(h, None)`` with ``h`` the weighted means."""
        return weights[:, None] * np.exp(np.minimum(F, _LARGEST_LOG)), None

    def best_intercept(self, F, Y, weights):
        """Return the log ratio of observed and predicted means, (n_outputs,)."""
        return np.log(weights @ Y) - logsumexp(F, axis=0, b=weights[:, None])

    def conjugate(self, G, Y, weights):
        """Return ``L*(G)``."""
        means = Y + G / weights[:, None]
        if np.min(means, initial=0.0) < -_ROUNDING * Y.max(initial=1.0):
            return np.inf
        # In steps r = m / y - 1, for the same reason.
        counted, excess = Y > 0.0, np.maximum(means, 0.0) - Y
        r = np.divide(excess, Y, where=counted, out=np.zeros_like(Y))
        logs = np.log(Y, where=counted, out=np.zeros_like(Y))
        near = Y * (xlog1py(1.0 + r, r) - r) + excess * logs
        far = xlogy(excess, excess) - excess
        return weights @ np.where(counted, near, far).sum(axis=1)

    def largest_scaling(self, N, Y, weights):
        """Return the scaling at which a mean reaches zero."""
        return _room(Y, -N / weights[:, None])


class Logistic(Loss):
    """Log loss of each output by itself, ``log(1 + exp(f)) - y f``, y zero or one.

    Its conjugate is ``sum_i weights_i (p log p + (1 - p) log(1 - p))`` in the
    probabilities ``p_i = y_i + G_i / weights_i``, which must be in [0, 1].
    """

    smoothness = 0.25

    def value_and_gradient(self, F, Y, weights):
        """Return ``L(F)`` and its gradient with respect to ``F``, shaped like ``F``."""
        losses = np.logaddexp(0.0, F) - Y * F
        return weights @ losses.sum(axis=1), weights[:, None] * (expit(F) - Y)

    def cvxpy_value(self, F, Y, weights):
        """Return ``L(F)`` for a CVXPY expression ``F``."""
        import cvxpy as cp

        terms = cp.logistic(F) - cp.multiply(Y, F)
        return cp.sum(cp.multiply(_by_output(weights, Y), terms))

    def curvature(self, F, Y, weights):
        """Return ``(h, None)`` with ``h = weights p (1 - p)``."""
        return weights[:, None] * expit(F) * expit(-F), None

    def conjugate(self, G, Y, weights):
        """Return ``L*(G)``."""
        P = Y + G / weights[:, None]
        if np.min(P) < -_ROUNDING or np.max(P) > 1.0 + _ROUNDING:
            return np.inf
        P = np.clip(P, 0.0, 1.0)
        return weights @ (xlogy(P, P) + xlogy(1.0 - P, 1.0 - P)).sum(axis=1)

    def largest_scaling(self, N, Y, weights):
        """Return the scaling at which a probability reaches zero or one."""
        steps = N / weights[:, None]
        return min(_room(Y, -steps), _room(1.0 - Y, steps))


class Softmax(Loss):
    """Log loss of one class out of several, ``logsumexp(f) - f_y``; rows of Y one-hot.

    Its conjugate is ``sum_i weights_i sum_c P_ic log P_ic`` in ``P = Y + G / weights``,
    whose rows must be probabilities.
    """

    smoothness = 0.5

    def value_and_gradient(self, F, Y, weights):
        """Return ``L(F)`` and its gradient with respect to ``F``, shaped like ``F``."""
        logs = log_softmax(F, axis=1)
        value = -weights @ np.einsum("ij,ij->i", Y, logs)
        return value, weights[:, None] * (np.exp(logs) - Y)

    def cvxpy_value(self, F, Y, weights):
        """Return ``L(F)`` for a CVXPY expression ``F``."""
        import cvxpy as cp

        chosen = cp.sum(cp.multiply(Y, F), axis=1)
        return weights @ (cp.log_sum_exp(F, axis=1) - chosen)

    def curvature(self, F, Y, weights):
        """Return ``(h, q)`` with ``h = weights P`` and ``q = sqrt(weights) P``."""
        P = softmax(F, axis=1)
        return weights[:, None] * P, np.sqrt(weights)[:, None] * P

    def conjugate(self, G, Y, weights):
        """Return ``L*(G)``."""
        P = Y + G / weights[:, None]
        if np.min(P) < -_ROUNDING or np.max(np.abs(P.sum(axis=1) - 1.0)) > 1e-9:
            return np.inf
        P = np.maximum(P, 0.0)
        return weights @ xlogy(P, P).sum(axis=1)

    def largest_scaling(self, N, Y, weights):
        """Return the scaling at which a probability reaches zero."""
        return _room(Y, -N / weights[:, None])

    def balanced(self, N, Y, weights):
        """Return a point next to ``N`` in the conjugate's domain, columns summing to 0.

        Classes with too much probability give it to those with too little, in
        proportion, so that rows stay probabilities.
        """
        P = weights[:, None] * Y + N
        excess, totals = N.sum(axis=0), P.sum(axis=0)
        given = P * _ratio(np.maximum(excess, 0.0), totals)
        lacking = np.maximum(-excess, 0.0)
        shares = _ratio(lacking, lacking.sum())
        return N - given + np.outer(given.sum(axis=1), shares)


class SquaredHinge(Loss):
    """``max(0, 1 - y f)^2 / 2`` of each output by itself, y minus or plus one.

    Its conjugate is ``sum_i G_i y_i + G_i^2 / (2 weights_i)`` where ``G_i y_i <= 0``.
    """

    is_piecewise_quadratic = True
    smoothness = 1.0

    def value_and_gradient(self, F, Y, weights):
        """Return ``L(F)`` and its gradient with respect to ``F``, shaped like ``F``."""
        short = np.maximum(1.0 - Y * F, 0.0)
        N = -weights[:, None] * Y * short
        return 0.5 * weights @ (short * short).sum(axis=1), N

    def cvxpy_value(self, F, Y, weights):
        """Return ``L(F)`` for a CVXPY expression ``F``."""
        import cvxpy as cp

        terms = cp.square(cp.pos(1 - cp.multiply(Y, F)))
        return cp.sum(cp.multiply(_by_output(weights, Y), terms)) / 2

    def curvature(self, F, Y, weights):
        """Return ``(h, None)``: the weights where the margin is short, else 1%.

        The second derivative is zero where it is not, which could leave Newton steps
        without a minimiser.
        """
        return weights[:, None] * np.where(Y * F < 1.0, 1.0, _IDLE_CURVATURE), None

    def best_intercept(self, F, Y, weights):
        """Return the vector b, (n_outputs,), that minimises ``L(F + b)``, exactly."""
        low, high = np.where(Y > 0.0, -np.inf, 0.0), np.where(Y > 0.0, 0.0, np.inf)
        columns = zip((F - Y).T, low.T, high.T, strict=True)
        return np.array([_balancing_shift(*column, weights) for column in columns])

    def conjugate(self, G, Y, weights):
        """Return ``L*(G)``."""
        if np.max(G * Y / weights[:, None]) > _ROUNDING:
            return np.inf
        return np.vdot(G, Y) + 0.5 * np.sum(G * G / weights[:, None])

    def largest_scaling(self, N, Y, weights):
        """Return infinity: the domain is a cone."""
        return np.inf

    def best_dual_value(self, N, Y, weights, limit):
        """Return ``max_{0 <= s <= limit} -L*(s N)``, a parabola in ``s``."""
        return _best_on_parabola(N, Y, weights, limit)


#: Losses by the names that estimators know them by. A class, not an instance: Huber
#: takes a threshold, and flags are asked of the class before there is a fit.
REGRESSION_LOSSES = {
    "squared_error": SquaredError,
    "huber": Huber,
    "poisson": Poisson,
}
CLASSIFICATION_LOSSES = {
    "log_loss": Logistic,
    "squared_hinge": SquaredHinge,
    "squared_error": SquaredError,
}


def regression_loss(name, huber_threshold):
    """Return the loss of that name in ``REGRESSION_LOSSES``."""
    loss = REGRESSION_LOSSES[name]
    return loss(huber_threshold) if loss is Huber else loss()


def classification_loss(name, *, is_exclusive):
    """Return the loss of that name in ``CLASSIFICATION_LOSSES``.

    Where a sample has exactly one of several classes (``is_exclusive``) the log loss
    is that of their joint probabilities.
    """
    loss = CLASSIFICATION_LOSSES[name]
    return Softmax() if loss is Logistic and is_exclusive else loss()


def _by_output(weights, Y):
    """Return weights of entries, shaped like ``Y``: CVXPY does not broadcast."""
    return np.repeat(weights[:, None], Y.shape[1], axis=1)


def _residual_units(Y, constant):
    """Return the TargetUnits of a loss that depends on residuals alone.

    It is quadratic near zero, and quadratic in the unit of the residuals.
    """
    offset = np.zeros(Y.shape[1]) if constant is None else constant
    largest, size = np.abs(Y - offset).max(), np.abs(Y).max()
    unit = power_of_two(largest if largest > ROUNDED * size else size)
    return TargetUnits(offset, unit, unit, offset, unit * unit)


def _is_balanced(N):
    """Tell whether the columns of a gradient sum to next to nothing."""
    return np.abs(N.sum(axis=0)).max() <= _BALANCED * np.abs(N).sum()


def _balancing_shift(r, low, high, weights):
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


def _best_on_parabola(N, Y, weights, limit):
    """Return the best dual value where conjugates are ``N^2 / (2 weights) + N Y``."""
    quadratic = np.einsum("ij,ij,i->", N, N, 1.0 / weights)
    if quadratic == 0.0:
        return 0.0
    linear = np.vdot(N, Y)
    s = np.clip(-linear / quadratic, 0.0, limit)
    return -(0.5 * s * quadratic + linear) * s


def _ratio(a, b):
    """Return ``a / b``, where b is zero: one if a is zero too, else infinity."""
    a, b = np.broadcast_arrays(np.asarray(a, dtype=float), b)
    limit = np.where(a > 0.0, np.inf, 1.0)
    return np.divide(a, b, out=limit, where=b > 0.0)[()]


def _room(room, steps):
    """Return the largest s with ``s * steps <= room`` everywhere."""
    tight = steps > 0.0
    return np.min(room[tight] / steps[tight], initial=np.inf)
