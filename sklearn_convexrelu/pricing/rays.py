"""Exact pricing under the 1-norm, for two or three inputs.

On a cell of the planes ``x_i^T u = 0`` and ``u_j = 0`` the vector ``N^T relu(X u)`` is
linear in u, so its length is convex, and the part of the unit ball in a cell is a
simplex or a cut of one: the maximum is at a vertex of the arrangement on the ball, for
any number of outputs. With two inputs (one feature and the bias) the vertices are on
the planes; with three each is where two planes meet. All of them are priced. Signs of
weights only leave some of the cells out, whose vertices are among the others'.

A vertex is off by rounding, the more the smaller the angle of its planes. What the
price may change by that is added to it, so that the largest sum is a bound.
"""

import numpy as np

from sklearn_convexrelu.model.norms import ONE_NORM
from sklearn_convexrelu.patterns.planes import merge_parallel
from sklearn_convexrelu.pricing.exact import ExactPrices

__all__ = ["RayPricing", "has_few_rays"]

# Rows times rays that are priced: half a second. Rows are up to 460 for three inputs,
# 7000 for two; twice as many take twice as long, each time a network is to be accepted.
_MOST_PRODUCTS = 1e8
_CHUNK = 4096  # rays at a time
_SAME_PLANE = 1e-12  # of a ray: weights on the plane of another that was merged with it
_ROUNDING = 8.0 * np.finfo(float).eps  # of a vertex, over the sine of its planes


def has_few_rays(rows):
    """Tell whether the rays of rows are few enough to be priced."""
    n_inputs, n_planes = rows.n_inputs, len(rows) + rows.n_inputs
    if n_inputs > 3 or not rows.has_array:
        return False
    n_rays = 2.0 * (n_planes if n_inputs < 3 else n_planes * (n_planes - 1) / 2)
    return n_rays * len(rows) <= _MOST_PRODUCTS


class RayPricing:
    """Prices all vertices of the arrangement at one dual point after another.

    It does what ``ExactPricing`` does for the 2-norm.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_inputs)
        The inputs: one, two or three.
    monotone : Monotone, default=None
        Which signs weights must have.
    """

    def __init__(self, X, monotone=None):
        self.X, self.monotone = X, monotone
        planes = np.vstack([X, np.eye(X.shape[1])])
        self.rays, self.errors = _rays(merge_parallel(planes)[0])
        if monotone is not None:
            self._keep_sides()
        self.reach = np.abs(X).max(axis=1)  # most of ||x u|| for ||u||_1 <= 1

    def _keep_sides(self):
        """Leave out rays of neither side; weights next to zero are zero."""
        inputs = self.monotone.inputs
        weights = self.rays[:, inputs]
        small = np.abs(weights) <= _SAME_PLANE + self.errors[:, None]
        self.rays[:, inputs] = np.where(small, 0.0, weights)
        self.errors = self.errors + np.sum(np.abs(weights) * small, axis=1)
        sides = self.monotone.sides(self.rays.T)
        kept = (self.monotone.within(self.rays.T, sides).T == self.rays).all(axis=1)
        self.rays, self.errors = self.rays[kept], self.errors[kept]
        self.sides = sides[kept]

    def price(self, N, n_best=1):
        """Return the largest prices; see ``ExactPricing.price``."""
        prices = np.empty(len(self.rays))
        for at in range(0, len(self.rays), _CHUNK):
            part = slice(at, at + _CHUNK)
            prices[part] = np.linalg.norm(self._totals(part, N), axis=1)
        steepness = self.reach @ np.linalg.norm(N, axis=1)
        bound = np.max(prices + steepness * self.errors, initial=0.0)
        self._slack = bound - prices.max(initial=0.0)
        best = np.argsort(-prices, kind="stable")[:n_best]
        return ExactPrices(prices[best], self._totals(best, N), self.rays[best])

    def _totals(self, rays, N):
        """Return ``N^T relu(X u)`` of rays, zero where their side gains nothing."""
        totals = np.maximum(self.X @ self.rays[rays].T, 0.0).T @ N
        if self.monotone is None:
            return totals
        return self.monotone.allowed(self.sides[rays], totals)

    def slack(self, N):
        """Return what may be missed of the largest price at ``N``, priced last."""
        size = self.reach @ np.linalg.norm(N, axis=1)
        return self._slack + np.finfo(float).eps * (len(N) + 16) * size


def _rays(planes):
    """Return vertices of 1-norm one, both signs, and how far each may be off."""
    n_inputs = planes.shape[1]
    if n_inputs == 1:
        rays, sines = np.ones((1, 1)), np.ones(1)
    elif n_inputs == 2:
        rays, sines = (
            np.column_stack([-planes[:, 1], planes[:, 0]]),
            np.ones(len(planes)),
        )
    else:
        first, second = np.triu_indices(len(planes), 1)
        rays = np.cross(planes[first], planes[second])
        sines = np.linalg.norm(rays, axis=1)
    met = sines > 0.0
    rays = ONE_NORM.unit(rays[met].T).T
    errors = np.minimum(_ROUNDING / sines[met], 2.0)
    return np.vstack([rays, -rays]), np.tile(errors, 2)
