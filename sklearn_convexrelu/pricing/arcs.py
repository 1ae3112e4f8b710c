"""Exact pricing of monotone neurons under the 2-norm, for two inputs.

The planes ``x_i^T u = 0`` and those where a constrained weight is zero cut the circle
of unit vectors in arcs. On an arc the price is linear in u and the side is fixed, so
the largest is at one of its ends, or where the gradient points if that lies on it.
With more inputs there are faces where several weights are zero, which sweeps of
``exact.py`` do not visit; there prices are searched.
"""

import numpy as np

from sklearn_convexrelu.pricing.exact import ExactPrices

__all__ = ["ArcPricing", "has_few_arcs"]

# Rows times arcs are products: 2000 rows take some 0.3 s, twice as many four times.
_MOST_ROWS = 2000
_CHUNK = 4096  # directions at a time


def has_few_arcs(rows, n_outputs, monotone):
    """Tell whether monotone neurons on rows are priced by arcs."""
    fits = rows.n_inputs == 2 and len(rows) <= _MOST_ROWS and n_outputs == 1
    return monotone is not None and fits and rows.has_array


class ArcPricing:
    """Prices all arcs at one dual point after another, as ``ExactPricing`` does.

    Parameters
    ----------
    X : ndarray of shape (n_samples, 2)
        The inputs.
    monotone : Monotone
        Which signs weights must have.
    """

    def __init__(self, X, monotone):
        self.X, self.monotone = X, monotone
        live = X[X.any(axis=1)]
        turns = np.arctan2(live[:, 1], live[:, 0])[:, None] + [-np.pi / 2, np.pi / 2]
        axes = 0.5 * np.pi * np.arange(4)
        angles = np.unique(np.mod(np.concatenate([turns.ravel(), axes]), 2 * np.pi))
        widths = np.diff(angles, append=angles[0] + 2 * np.pi)
        middles = _directions(angles + 0.5 * widths)
        kept = self._are_sided(middles)
        self.angles, self.widths = angles[kept], widths[kept]
        self.middles = middles[:, kept]
        # Ends, with those on axes exact.
        ends = np.hstack([_directions(angles), np.eye(2), -np.eye(2)])
        ends = np.where(np.abs(ends) <= 4 * np.finfo(float).eps, 0.0, ends)
        self.ends = ends[:, self._are_sided(ends)]

    def _are_sided(self, U):
        """Tell which units have a side that all their constrained weights are on."""
        within = self.monotone.within(U, self.monotone.sides(U))
        return (within == U).all(axis=0)

    def price(self, N, n_best=1):
        """Return the largest prices; see ``ExactPricing.price``."""
        U = np.hstack([self.ends, self._peaks(N)])
        totals = self._totals(U, N)
        best = np.argsort(-np.abs(totals[:, 0]), kind="stable")[:n_best]
        return ExactPrices(np.abs(totals[best, 0]), totals[best], U[:, best].T)

    def _peaks(self, N):
        """Return the directions of gradients that lie on their arcs."""
        gradients = np.empty(self.middles.shape)
        for at in range(0, self.middles.shape[1], _CHUNK):
            part = slice(at, at + _CHUNK)
            passed = self.X @ self.middles[:, part] > 0.0
            gradients[:, part] = self.X.T @ (N * passed)
        gradients *= -self.monotone.sides(self.middles)
        turn = np.arctan2(gradients[1], gradients[0]) - self.angles
        on_arc = np.mod(turn, 2 * np.pi) <= self.widths
        peaks = gradients[:, on_arc & gradients.any(axis=0)]
        peaks = peaks / np.linalg.norm(peaks, axis=0)
        return peaks[:, self._are_sided(peaks)]

    def _totals(self, U, N):
        """Return ``N^T relu(X u)``, zero where the side of u gains nothing."""
        totals = np.empty((U.shape[1], 1))
        for at in range(0, len(totals), _CHUNK):
            part = slice(at, at + _CHUNK)
            totals[part] = np.maximum(self.X @ U[:, part], 0.0).T @ N
        return self.monotone.allowed(self.monotone.sides(U), totals)

    def slack(self, N):
        """Return what rounding may have missed of the largest price at ``N``.

        Ends are a few roundings of an angle off, and values of a sum of that many
        terms.
        """
        size = np.linalg.norm(self.X, axis=1) @ np.abs(N[:, 0])
        return np.finfo(float).eps * (len(N) + 32) * size


def _directions(angles):
    return np.stack([np.cos(angles), np.sin(angles)])
