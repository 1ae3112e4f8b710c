"""Convex losses of the output layer: value, gradient, curvature, conjugate.

Every method takes predictions or dual points of shape (n_samples, n_outputs), the
targets ``Y`` of the same shape, and positive ``weights`` of shape (n_samples,). A loss
is ``sum_i weights_i l(F_i, Y_i)``; weights that sum to one make it an average.
"""

from abc import ABC, abstractmethod

import numpy as np
from scipy.optimize import minimize_scalar

__all__ = ["Loss", "SquaredError"]


class Loss(ABC):
    """A smooth convex loss ``L(F) = sum_i weights_i l(F_i, Y_i)``.

    A subclass states the loss, its gradient, curvature and conjugate. Refitting the
    intercept and scaling a dual point follow from those, and may be overridden
    where a formula is known.
    """

    #: Whether scaling and shifting targets and predictions alike scales the loss by the
    #: square of the factor. Targets of such a loss can be brought to order one.
    is_homogeneous = False

    @abstractmethod
    def value_and_gradient(self, F, Y, weights):
        """Return ``L(F)`` and its gradient with respect to ``F``, shaped like ``F``."""

    @abstractmethod
    def curvature(self, F, Y, weights):
        """Return ``(h, q)``: the Hessian of sample i is ``diag(h_i) - q_i q_i^T``.

        ``h`` has the shape of ``F``; ``q`` too, or is None where it is zero.
        """

    @abstractmethod
    def conjugate(self, G, Y, weights):
        """Return ``L*(G) = sup_F <G, F> - L(F)``, infinite outside its domain."""

    @abstractmethod
    def largest_scaling(self, N, Y, weights):
        """Return the largest ``s`` for which ``s * N`` is in the conjugate's domain."""

    def value(self, F, Y, weights):
        """Return ``L(F)``."""
        return self.value_and_gradient(F, Y, weights)[0]

    def gradient(self, F, Y, weights):
        """Return the gradient of ``L`` at ``F``, shaped like ``F``."""
        return self.value_and_gradient(F, Y, weights)[1]

    def best_intercept(self, F, Y, weights, max_iter=100):
        """Return the vector b, (n_outputs,), that minimises ``L(F + b)``.

        Newton's method with halved steps: there are few unknowns, and the
        certificate wants the columns of the gradient to sum to zero exactly.
        """
        b = np.zeros(Y.shape[1])
        value, N = self.value_and_gradient(F, Y, weights)
        for _ in range(max_iter):
            h, q = self.curvature(F + b, Y, weights)
            H = np.diag(h.sum(axis=0)) - (0 if q is None else q.T @ q)
            direction = -np.linalg.pinv(H, rcond=1e-12, hermitian=True) @ N.sum(axis=0)
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
        return b

    def best_dual_value(self, N, Y, weights, limit):
        """Return ``max_{0 <= s <= limit} -L*(s N)``, the best bound along ``N``.

        Every ``s`` up to ``limit`` (alpha over the price of ``N``) is dual feasible,
        so the maximum, concave in ``s``, is a lower bound of the optimum.
        """
        limit = min(limit, self.largest_scaling(N, Y, weights))
        found = minimize_scalar(
            lambda s: self.conjugate(s * N, Y, weights),
            bounds=(0.0, limit),
            method="bounded",
            options={"xatol": 1e-10 * max(limit, 1e-300)},
        )
        ends = [self.conjugate(s * N, Y, weights) for s in (0.0, limit)]
        return -min(found.fun, *ends)


class SquaredError(Loss):
    """Half the squared residual norm, ``l(f, y) = ||f - y||^2 / 2``.

    Its conjugate is ``L*(G) = sum_i ||G_i||^2 / (2 weights_i) + <G_i, Y_i>``, finite
    everywhere for positive weights.
    """

    is_homogeneous = True

    def value_and_gradient(self, F, Y, weights):
        """Return ``L(F)`` and its gradient with respect to ``F``, shaped like ``F``."""
        residual = F - Y
        N = residual * weights[:, None]
        return 0.5 * np.vdot(N, residual), N

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
        quadratic = np.sum(N * N / weights[:, None])
        if quadratic == 0.0:
            return 0.0
        s = np.clip(-np.vdot(N, Y) / quadratic, 0.0, limit)
        return -self.conjugate(s * N, Y, weights)
