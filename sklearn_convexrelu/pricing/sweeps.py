"""Sweeps over the cells of planes, for exact prices of rows of rank one, two or three.

The price of u is ``|l^T u + sum_j c_j |z_j^T u||`` with planes z_j, the rows. Each
sweep is made for the planes and asked for candidates at any l and c; ``exact`` says why
the maximum is among them.
"""

from typing import NamedTuple

import numpy as np

__all__ = ["CircleSweep", "Points", "SphereSweep"]

# Chosen on Gaussian rows of rank three, 300, 600 and 1000 of them.
# Slack of the local optimality tests relative to the size of the function: too lenient
# a test costs one more evaluation, too strict a one the maximum. With half, double and
# a hundred times as much the same 6381 candidates are evaluated.
_TEST_TOL = 1e-12
# Of sweep geometry, kept between calls. At 1000 rows, which need 32 MB, later calls
# take 0.28 s where it is kept and 0.33 s where it is not; half and double keep it too.
_CACHE_BYTES = 80_000_000
# Entries of one work array, so that a block's arrays stay in cache. At 1000 rows a call
# takes 0.28 s; with half 0.27 s, with double 0.31 s.
_BLOCK_ITEMS = 60_000
# Candidates, well spread, that a sweep returns. Asked for 30 directions (a search asks
# for fewer) it has them; with 64 the same ones, with 16 only 14 or 16.
_KEPT = 32


class Points:
    """Rank one: the unit sphere is two points."""

    def __init__(self, planes):
        pass

    def candidates(self, linear, kinks, n_best):
        """Return unit vectors (k, rank) among which the maximiser is.

        ``linear`` (rank, n_outputs) is l, ``kinks`` (n_planes, n_outputs) are the c.
        """
        return np.array([[1.0], [-1.0]])


class CircleSweep:
    """Rank two: one circle, any number of outputs.

    With the rows flipped to point into the half plane of positive first entry, all of
    them are positive at the angle 0, and each turns negative at its crossing point in
    (0, pi].
    """

    def __init__(self, planes):
        flip = np.where(planes[:, 0] < 0, -1.0, 1.0)
        # abs also turns -0.0 into 0.0, which arctan2 tells apart.
        a, b = np.abs(planes[:, 0]), flip * planes[:, 1]
        angles = np.arctan2(a, -b)
        self._order = np.argsort(angles)
        self._angles = angles[self._order]
        self._rows = np.stack([a, b], axis=1)[self._order]

    def candidates(self, linear, kinks, n_best):
        """Return unit vectors (k, rank) among which the maximiser is.

        ``linear`` (rank, n_outputs) is l, ``kinks`` (n_planes, n_outputs) are the c.
        """
        kinks = kinks[self._order]
        running = np.einsum("nc,nr->cr", kinks, self._rows)
        step = max(1, 4 * _BLOCK_ITEMS // kinks.shape[1])
        U, estimates = np.empty((0, 2)), np.empty(0)
        for start in range(0, len(kinks), step):
            block = slice(start, start + step)
            steps = kinks[block, :, None] * self._rows[block, None, :]
            even = running - 2 * np.cumsum(steps, axis=0)
            running = even[-1]
            for side in (1.0, -1.0):
                found = self._arc_maxima(even + side * linear.T, block)
                U = np.concatenate([U, side * found[0]])
                estimates = np.concatenate([estimates, found[1]])
            U, estimates = _spread(U, estimates)
        return U

    def _arc_maxima(self, gradients, block):
        """Best direction and price on each arc, given the gradients (k, C, 2) there."""
        start = self._angles[block]
        following = np.append(self._angles[1:], self._angles[0] + np.pi)
        width = following[block] - start
        g1, g2 = gradients[:, :, 0], gradients[:, :, 1]
        # The squared price is a quadratic form; its largest eigenvector has this angle.
        peak = 0.5 * np.arctan2(2 * (g1 * g2).sum(1), (g1**2 - g2**2).sum(1))
        offset = np.mod(peak - start, np.pi)
        ends = np.stack([np.zeros_like(width), width, offset])
        turn = start + ends
        cos, sin = np.cos(turn), np.sin(turn)
        squares = sum(
            (cos * g1[:, k] + sin * g2[:, k]) ** 2 for k in range(g1.shape[1])
        )
        squares[2, offset > width] = -1.0
        best = squares.argmax(axis=0)
        pick = best, np.arange(len(width))
        return np.stack([cos[pick], sin[pick]], axis=1), np.sqrt(squares[pick])


class _Circles(NamedTuple):
    """A block of great circles with their crossing points in order.

    For each plane i of the block, ``frame[:, 0]`` and ``frame[:, 1]`` span the plane
    and ``frame[:, 2]`` is its normal. The other planes' normals in that frame,
    flipped to be positive at the angle 0, are (a, b, w) in the order of their
    crossing points; `order` has their indices.
    """

    rows: slice
    frame: np.ndarray
    order: np.ndarray
    a: np.ndarray
    b: np.ndarray
    w: np.ndarray

    @classmethod
    def build(cls, planes, rows):
        """Sort the crossing points of the circles `rows`."""
        normals = planes[rows]
        axis = np.eye(3)[np.abs(normals).argmin(axis=1)]
        p = np.cross(normals, axis)
        p /= np.linalg.norm(p, axis=1, keepdims=True)
        frame = np.stack([p, np.cross(normals, p), normals], axis=1)
        a, b, w = np.moveaxis(frame, 1, 0) @ planes.T
        flip = np.where(a < 0, -1.0, 1.0)
        # Crossing angles ascend with b / a, from angle 0 (-inf) to pi (+inf).
        key = flip * b / np.maximum(np.abs(a), 1e-300)
        own = np.arange(len(planes))[rows]
        key[np.arange(len(own)), own] = np.inf
        order = np.argsort(key, axis=1)[:, :-1]
        sort = [np.take_along_axis(flip * x, order, axis=1) for x in (a, b, w)]
        return cls(rows, frame, order, *sort)


def _next_wall(x):
    """Shift to the next crossing point; after the last comes the first, flipped."""
    return np.concatenate([x[:, 1:], -x[:, :1]], axis=1)


class SphereSweep:
    """Rank three, one output: sweep the great circle of every plane."""

    def __init__(self, planes):
        self._planes = planes
        m = len(planes)
        step = max(1, _BLOCK_ITEMS // m)
        self._blocks = [slice(k, min(k + step, m)) for k in range(0, m, step)]
        self._cache = {}
        self._cacheable = 32 * m * m <= _CACHE_BYTES
        # Planes spread over the data, to refuse far away candidates cheaply.
        self._sample = planes[np.linspace(0, m - 1, min(m, 24)).astype(int)]

    def candidates(self, linear, kinks, n_best):
        """Return unit vectors (k, rank) among which the maximiser is.

        ``linear`` (rank, n_outputs) is l, ``kinks`` (n_planes, n_outputs) are the c.
        """
        linear, kinks = linear[:, 0], kinks[:, 0]
        ratio = 1.0 if n_best == 1 else 0.5
        U, prices = self._evaluate(self._probes(linear), linear, kinks)
        for k in range(len(self._blocks)):
            swept = _Sweep(self._circles(k), linear, kinks, self._sample)
            found = np.concatenate([U, swept.vertices()])
            U, prices = self._best(found, linear, kinks)
            floor = ratio * prices.max()
            found = np.concatenate([U, swept.arcs(floor), swept.cells(floor)])
            U, prices = self._best(found, linear, kinks)
        return U

    def _circles(self, k):
        if k in self._cache:
            return self._cache[k]
        circles = _Circles.build(self._planes, self._blocks[k])
        if self._cacheable:
            self._cache[k] = circles
        return circles

    def _probes(self, linear):
        norm = np.linalg.norm(linear)
        lead = linear / norm if norm > 0 else self._planes[0]
        return np.concatenate([[lead, -lead], self._sample, -self._sample])

    def _best(self, U, linear, kinks):
        return _spread(*self._evaluate(U, linear, kinks))

    def _evaluate(self, U, linear, kinks):
        """Return U and the prices of its rows, by blocks."""
        step = max(1, 4 * _BLOCK_ITEMS // len(self._planes))
        prices = [
            np.abs(V @ linear + np.abs(V @ self._planes.T) @ kinks)
            for V in (U[k : k + step] for k in range(0, len(U), step))
        ]
        return U, np.concatenate(prices)


class _Sweep:
    """Running gradients on a block of circles, and the candidates they give.

    On the arc after the m-th crossing point of the circle of plane i, `even` has the
    gradient of ``sum_{j != i} c_j |z_j^T u|`` in the frame of the plane. The opposite
    arc is handled by the reflected function, whose linear term has the other sign;
    its directions are reflected back in the end.
    """

    def __init__(self, circles, linear, kinks, sample):
        self._circles = circles
        self._sample = sample
        self._own = kinks[circles.rows, None]
        self._scale = np.abs(kinks).sum() + np.linalg.norm(linear)
        self._tol = _TEST_TOL * self._scale
        weights = kinks[circles.order]
        self._even = [self._running(weights * x) for x in circles[3:]]
        self._linear = np.moveaxis(circles.frame @ linear, 1, 0)[:, :, None]

    @staticmethod
    def _running(steps):
        sums = np.cumsum(steps, axis=1)
        return sums[:, -1:] - 2 * sums

    def _gradient(self, side):
        """Gradient (p, q, normal) of the function or its reflection on all arcs."""
        return [e + side * x for e, x in zip(self._even, self._linear, strict=True)]

    def _directions(self, side, i, p, q):
        """Turn frame coordinates on the circles i into unit vectors."""
        V = side * np.stack([p, q], axis=1)
        V = (V[:, None, :] @ self._circles.frame[i, :2])[:, 0, :]
        norms = np.linalg.norm(V, axis=1)
        return V[norms > 0] / norms[norms > 0, None]

    def vertices(self):
        """Best crossing point of each circle and its opposite."""
        a, b = self._circles.a, self._circles.b
        length = np.maximum(np.hypot(a, b), 1e-300)
        found = []
        for side in (1.0, -1.0):
            p, q, _ = self._gradient(side)
            price = np.abs(q * a - p * b) / length
            i = np.arange(len(price))
            m = price.argmax(axis=1)
            found.append(self._directions(side, i, -b[i, m], a[i, m]))
        return np.concatenate(found)

    def arcs(self, floor):
        """Arcs whose projected gradient lies inside and is a local maximum."""
        a, b = self._circles.a, self._circles.b
        found = []
        for side in (1.0, -1.0):
            p, q, normal = self._gradient(side)
            before = p * a + q * b
            after = p * _next_wall(a) + q * _next_wall(b)
            # Leaving the circle must not pay: the kink bounds the normal slope.
            keep = np.abs(normal) <= np.abs(self._own) + self._tol
            keep &= p * p + q * q >= self._square(floor)
            for sign in (1.0, -1.0):
                # No maximum sits on a convex kink, unless that is as good as flat.
                concave = sign * self._own <= 1e-9 * self._scale
                at = np.nonzero(keep & concave & self._between(sign > 0, before, after))
                found.append(self._directions(side, at[0], sign * p[at], sign * q[at]))
        return np.concatenate(found)

    def cells(self, floor):
        """Cells next to an arc which, by the walls tested, contain their gradient."""
        start = self._circles[3:]
        end = [_next_wall(x) for x in start]
        found = []
        for side in (1.0, -1.0):
            gradient = self._gradient(side)
            slopes = [
                sum(x * y for x, y in zip(gradient, wall, strict=True))
                for wall in (start, end)
            ]
            for facing in (1.0, -1.0):
                own = facing * self._own
                p, q, normal = *gradient[:2], gradient[2] + own
                before, after = slopes[0] + own * start[2], slopes[1] + own * end[2]
                long = p * p + q * q + normal * normal >= self._square(floor)
                # Only this multiple of the gradient points to this side of the circle.
                up = normal >= 0 if facing > 0 else normal < 0
                at = np.nonzero(long & self._between(up, before, after))
                sign = np.where(up[at], 1.0, -1.0)
                g = np.stack([sign * x[at] for x in (p, q, normal)], axis=1)
                found.append(self._near_arc(side, *at, g))
        return np.concatenate(found)

    def _square(self, floor):
        return max(floor - self._tol, 0.0) ** 2

    def _between(self, up, before, after):
        """Tell where the gradient, or minus it if not `up`, is between two walls.

        An arc lies on the negative side of the wall before it, and on the positive
        side of the wall after it.
        """
        tol = self._tol
        plus = (before <= tol) & (after >= -tol)
        minus = (before >= -tol) & (after <= tol)
        return np.where(up, plus, minus)

    def _near_arc(self, side, i, m, g):
        """Directions of g on the same side of the sampled planes as their arc."""
        frame = self._circles.frame[i]
        U = (g[:, None, :] @ frame)[:, 0, :]
        middle = (self._middles(i, m)[:, None, :] @ frame[:, :2])[:, 0, :]
        norms = np.linalg.norm(U, axis=1)
        U, middle = U[norms > 0] / norms[norms > 0, None], middle[norms > 0]
        for planes in np.split(self._sample, [3, 9]):
            near, far = middle @ planes.T, U @ planes.T
            apart = (far * near < 0) & (np.minimum(np.abs(far), np.abs(near)) > 1e-9)
            keep = ~apart.any(axis=1)
            U, middle = U[keep], middle[keep]
        return side * U

    def _middles(self, i, m):
        """In-plane coordinates of a point on the m-th arc of circle i."""
        a, b = self._circles.a, self._circles.b
        k = m + 1
        last = k == a.shape[1]
        k[last] = 0
        first = np.stack([-b[i, m], a[i, m]], axis=1)
        second = np.stack([-b[i, k], a[i, k]], axis=1)
        second[last] *= -1.0
        # Unit length up to underflow: a crossing point without a direction counts 0.
        return sum(
            v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-300)
            for v in (first, second)
        )


def _spread(U, prices):
    """Keep the best direction of each box of a coarse grid, and of those the best."""
    order = np.argsort(-prices)
    boxes = np.floor(4 * (U[order] + 1)) @ 9.0 ** np.arange(U.shape[1])
    first = np.sort(np.unique(boxes, return_index=True)[1])[:_KEPT]
    return U[order[first]], prices[order[first]]
