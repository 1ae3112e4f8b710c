"""The convex losses of the output layer, and the names that estimators know them by."""

import numpy as np
from scipy.special import expit, logsumexp, xlog1py, xlogy

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
    room,
)
from sklearn_convexrelu.model.neurons import power_of_two
from sklearn_convexrelu.model.piecewise import AbsoluteError, Hinge, Quantile

__all__ = [
    "CLASSIFICATION_LOSSES",
    "REGRESSION_LOSSES",
    "AbsoluteError",
    "Hinge",
    "Huber",
    "Logistic",
    "Poisson",
    "Quantile",
    "Softmax",
    "SquaredError",
    "SquaredHinge",
    "classification_loss",
    "regression_loss",
]

_LEAST_THRESHOLD = 1e-100  # of Huber, for the residuals: a loss has its squares
# of Huber, for the typical residual: from where on fits were seen to take over 100
# rounds; there 96 of 100 samples or so lie beyond it.
_SMALL_THRESHOLD = 0.1
_LARGEST_LOG = 700.0  # of a Poisson mean: beyond, exponentials overflow


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

        roots = np.sqrt(by_output(weights, Y))
        return cp.sum_squares(cp.multiply(roots, F - Y)) / 2

    def curvature(self, F, Y, weights):
        """Return ``(h, None)`` with ``h_i = weights_i`` for every output."""
        return np.broadcast_to(weights[:, None], Y.shape), None

    def leeway(self, N, Y, weights):
        """Return the weights: the domain has no end."""
        return np.broadcast_to(weights[:, None], N.shape), None

    def kept_in_domain(self, N, moved, weights, Y):
        """Return what N was moved to."""
        return moved

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
        return best_on_parabola(N, Y, weights, limit)


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

    @property
    def largest_slope(self):
        """Largest slope of one output, over all predictions."""
        return self.threshold

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
        return cp.sum(cp.multiply(by_output(weights, Y), terms)) / 2

    def curvature(self, F, Y, weights):
        """Return ``(h, None)``: the weights where residuals are small, else 1%.

        The second derivative is zero beyond the threshold, which could leave Newton
        steps without a minimiser.
        """
        small = np.abs(F - Y) <= self.threshold
        return weights[:, None] * np.where(small, 1.0, IDLE_CURVATURE), None

    def best_intercept(self, F, Y, weights):
        """Return the vector b, (n_outputs,), that minimises ``L(F + b)``, exactly."""
        residual = F - Y
        # Beyond all residuals that b could leave the threshold changes nothing.
        spread = np.ptp(residual, axis=0).max()
        if spread == 0.0:  # bisection would be off by the least number
            return -residual[0]
        t = min(self.threshold, 2.0 * spread + np.finfo(float).tiny)
        return np.array([balancing_shift(r, -t, t, weights) for r in residual.T])

    def conjugate(self, G, Y, weights):
        """Return ``L*(G)``."""
        slopes = np.abs(G) / weights[:, None]
        if slopes.max(initial=0.0) > self.threshold * (1.0 + ROUNDING):
            return np.inf
        return 0.5 * np.vdot(slopes, np.abs(G)) + np.vdot(G, Y)

    def largest_scaling(self, N, Y, weights):
        """Return the scaling at which a slope reaches the threshold."""
        return ratio(self.threshold, np.max(np.abs(N) / weights[:, None], initial=0.0))


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
        return cp.sum(cp.multiply(by_output(weights, Y), terms)) + constant

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
        if np.min(means, initial=0.0) < -ROUNDING * Y.max(initial=1.0):
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
        return room(Y, -N / weights[:, None])


class Logistic(Loss):
    """Log loss of each output by itself, ``log(1 + exp(f)) - y f``, y zero or one.

    Its conjugate is ``sum_i weights_i (p log p + (1 - p) log(1 - p))`` in the
    probabilities ``p_i = y_i + G_i / weights_i``, which must be in [0, 1].
    """

    smoothness = 0.25
    largest_slope = 1.0

    def value_and_gradient(self, F, Y, weights):
        """Return ``L(F)`` and its gradient with respect to ``F``, shaped like ``F``."""
        losses = np.logaddexp(0.0, F) - Y * F
        return weights @ losses.sum(axis=1), weights[:, None] * (expit(F) - Y)

    def cvxpy_value(self, F, Y, weights):
        """Return ``L(F)`` for a CVXPY expression ``F``."""
        import cvxpy as cp

        terms = cp.logistic(F) - cp.multiply(Y, F)
        return cp.sum(cp.multiply(by_output(weights, Y), terms))

    def curvature(self, F, Y, weights):
        """Return ``(h, None)`` with ``h = weights p (1 - p)``."""
        return weights[:, None] * expit(F) * expit(-F), None

    def conjugate(self, G, Y, weights):
        """Return ``L*(G)``."""
        P = Y + G / weights[:, None]
        if np.min(P) < -ROUNDING or np.max(P) > 1.0 + ROUNDING:
            return np.inf
        P = np.clip(P, 0.0, 1.0)
        return weights @ (xlogy(P, P) + xlogy(1.0 - P, 1.0 - P)).sum(axis=1)

    def largest_scaling(self, N, Y, weights):
        """Return the scaling at which a probability reaches zero or one."""
        steps = N / weights[:, None]
        return min(room(Y, -steps), room(1.0 - Y, steps))


class Softmax(Loss):
    """Log loss of one class out of several, ``logsumexp(f) - f_y``; rows of Y one-hot.

    Its conjugate is ``sum_i weights_i sum_c P_ic log P_ic`` in ``P = Y + G / weights``,
    whose rows must be probabilities.
    """

    is_joint = True
    smoothness = 0.5
    largest_slope = 1.0

    def value_and_gradient(self, F, Y, weights):
        """Return ``L(F)`` and its gradient with respect to ``F``, shaped like ``F``."""
        logs = _log_softmax(F)
        value = -weights @ np.einsum("ij,ij->i", Y, logs)
        return value, weights[:, None] * (np.exp(logs) - Y)

    def cvxpy_value(self, F, Y, weights):
        """Return ``L(F)`` for a CVXPY expression ``F``."""
        import cvxpy as cp

        chosen = cp.sum(cp.multiply(Y, F), axis=1)
        return weights @ (cp.log_sum_exp(F, axis=1) - chosen)

    def curvature(self, F, Y, weights):
        """Return ``(h, q)`` with ``h = weights P`` and ``q = sqrt(weights) P``."""
        P = np.exp(_log_softmax(F))
        return weights[:, None] * P, np.sqrt(weights)[:, None] * P

    def conjugate(self, G, Y, weights):
        """Return ``L*(G)``."""
        P = Y + G / weights[:, None]
        if np.min(P) < -ROUNDING or np.max(np.abs(P.sum(axis=1) - 1.0)) > 1e-9:
            return np.inf
        P = np.maximum(P, 0.0)
        return weights @ xlogy(P, P).sum(axis=1)

    def largest_scaling(self, N, Y, weights):
        """Return the scaling at which a probability reaches zero."""
        return room(Y, -N / weights[:, None])

    def leeway(self, N, Y, weights):
        """Return the curvature at the probabilities that N is of."""
        P = np.maximum(Y + N / weights[:, None], 0.0)
        return weights[:, None] * P, np.sqrt(weights)[:, None] * P

    def kept_in_domain(self, N, moved, weights, Y):
        """Return what N was moved to, with rows that are probabilities."""
        P = Y + moved / weights[:, None]
        if np.min(P) >= 0.0:
            return moved
        P = np.maximum(P, 0.0)
        return weights[:, None] * (P / P.sum(axis=1, keepdims=True) - Y)

    def imbalance(self, N, Y, weights):
        """Return the sums over rows of the dual point, and of probabilities."""
        return N.sum(axis=0), (weights[:, None] * Y + N).sum(axis=0)

    def rebalanced(self, N, Y, weights, excess, totals):
        """Return ``balanced`` of some rows, given the sums over all.

        Classes with too much probability give it to those with too little, in
        proportion, so that rows stay probabilities.
        """
        P = weights[:, None] * Y + N
        given = P * ratio(np.maximum(excess, 0.0), totals)
        lacking = np.maximum(-excess, 0.0)
        shares = ratio(lacking, lacking.sum())
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
        return cp.sum(cp.multiply(by_output(weights, Y), terms)) / 2

    def curvature(self, F, Y, weights):
        """Return ``(h, None)``: the weights where the margin is short, else 1%.

        The second derivative is zero where it is not, which could leave Newton steps
        without a minimiser.
        """
        return weights[:, None] * np.where(Y * F < 1.0, 1.0, IDLE_CURVATURE), None

    def best_intercept(self, F, Y, weights):
        """Return the vector b, (n_outputs,), that minimises ``L(F + b)``, exactly."""
        low, high = np.where(Y > 0.0, -np.inf, 0.0), np.where(Y > 0.0, 0.0, np.inf)
        columns = zip((F - Y).T, low.T, high.T, strict=True)
        return np.array([balancing_shift(*column, weights) for column in columns])

    def conjugate(self, G, Y, weights):
        """Return ``L*(G)``."""
        if np.max(G * Y / weights[:, None]) > ROUNDING:
            return np.inf
        return np.vdot(G, Y) + 0.5 * np.sum(G * G / weights[:, None])

    def largest_scaling(self, N, Y, weights):
        """Return infinity: the domain is a cone."""
        return np.inf

    def best_dual_value(self, N, Y, weights, limit):
        """Return ``max_{0 <= s <= limit} -L*(s N)``, a parabola in ``s``."""
        return best_on_parabola(N, Y, weights, limit)


#: Losses by the names that estimators know them by. A class, not an instance: some
#: take a parameter, and flags are asked of the class before there is a fit.
REGRESSION_LOSSES = {
    "squared_error": SquaredError,
    "huber": Huber,
    "poisson": Poisson,
    "absolute_error": AbsoluteError,
    "quantile": Quantile,
}
CLASSIFICATION_LOSSES = {
    "log_loss": Logistic,
    "squared_hinge": SquaredHinge,
    "hinge": Hinge,
    "squared_error": SquaredError,
}


def regression_loss(name, huber_threshold, quantile):
    """Return the loss of that name in ``REGRESSION_LOSSES``, with its parameter."""
    loss = REGRESSION_LOSSES[name]
    parameter = {Huber: (huber_threshold,), Quantile: (quantile,)}
    return loss(*parameter.get(loss, ()))


def classification_loss(name, *, is_exclusive):
    """Return the loss of that name in ``CLASSIFICATION_LOSSES``.

    Where a sample has exactly one of several classes (``is_exclusive``) the log loss
    is that of their joint probabilities.
    """
    loss = CLASSIFICATION_LOSSES[name]
    return Softmax() if loss is Logistic and is_exclusive else loss()


def _log_softmax(F):
    """Return what SciPy's function does, which takes no arrays of a device."""
    F = F - F.max(axis=1, keepdims=True)
    return F - np.log(np.exp(F).sum(axis=1, keepdims=True))


def _residual_units(Y, constant):
    """Return the TargetUnits of a loss that depends on residuals alone.

    It is quadratic near zero, and quadratic in the unit of the residuals.
    """
    offset = np.zeros(Y.shape[1]) if constant is None else constant
    largest, size = np.abs(Y - offset).max(), np.abs(Y).max()
    unit = power_of_two(largest if largest > ROUNDED * size else size)
    return TargetUnits(offset, unit, unit, offset, unit * unit)
