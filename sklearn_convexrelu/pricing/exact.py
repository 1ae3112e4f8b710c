"""Exact pricing of ReLU neurons on data of rank at most three.

The price of a neuron is ``|N^T relu(X u)|`` for a unit vector u, where N is the
gradient of the loss at the current predictions. Its maximum over all u is what a
duality certificate needs, and here it is found without listing the activation
patterns.

Write z_j for the distinct directions (up to sign) of the rows of X. Because
``relu(t) = (t + |t|) / 2``, there are a vector l and weights c_j, linear in N, with ::

    N^T relu(X u) = l^T u + sum_j c_j |z_j^T u|.

The first term is odd in u and the second even, so half of the circle or sphere is
enough. The function is linear on each cell of the arrangement of the planes
``z_j^T u = 0``, hence on the unit sphere a maximum is either the normalised gradient
of a cell that contains it, or the normalised projected gradient of an arc (a piece of
a plane's great circle) that contains it, or a vertex. Sweeping the great circle of
each plane, with the crossing points sorted and the gradient kept as a running sum,
visits every arc, every vertex, and both cells next to each arc: O(n^2 log n) work for
rank three, O(n log n) for rank two.

Rounding: every sweep maximises, up to rounding of the order of
``eps * sum_i |N_i| ||x_i||``, the very same function, and ties between crossing
points only reorder terms which vanish at the tie. Values are evaluated again at the
returned directions, hence attained; `ExactPricing.slack` bounds what may be missed.
"""

import math
from typing import NamedTuple

import numpy as np

__all__ = [
    "ExactPrices",
    "ExactPricing",
    "affordable",
    "are_affordable",
    "effective_rank",
    "exact_price",
    "keeps_all",
    "max_rows",
    "supports",
]

_RANK_RTOL = 1e-10
_FEW_ROWS = 512  # whose rank is looked at first
# Rows closer than this (in angle) to parallel share one plane. It must lie well above
# the rounding of a unit vector, below which the side of a plane is noise.
_MERGE_TOL = 2e-13
# Slack of the local optimality tests relative to the size of the function; a test that
# is too lenient only costs one more evaluation.
_TEST_TOL = 1e-12
_CACHE_BYTES = 80_000_000  # sweep geometry kept between calls
_BLOCK_ITEMS = 60_000  # entries of one work array: a block's arrays stay in cache
_KEPT = 32  # candidates, well spread, which a sweep hands over


class ExactPrices(NamedTuple):
    """Result of exact pricing, sorted by decreasing price.

    Parameters
    ----------
    prices : ndarray of shape (k,)
        ``||N^T relu(X u)||_2`` of each direction. The first is the maximum.
    values : ndarray of shape (k,) or (k, n_outputs)
        ``N^T relu(X u)`` with its sign; one-dimensional when `N` is.
    directions : ndarray of shape (k, n_features)
        The unit vectors u.
    """

    prices: np.ndarray
    values: np.ndarray
    directions: np.ndarray


def effective_rank(X, rtol=_RANK_RTOL):
    """Return the numerical rank of a matrix.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The data.
    rtol : float, default=1e-10
        Singular values up to `rtol` times the largest count as zero.

    Returns
    -------
    int
        The number of singular values above the threshold; 0 for a zero matrix.
    """
    X = _checked_matrix(X)
    return row_space(X, rtol)[0].shape[1]


def max_rows(rank):
    """Return up to how many rows exact pricing takes at most about two seconds.

    Parameters
    ----------
    rank : int
        Rank of the data.

    Returns
    -------
    float
        The number of rows: infinite up to rank two (the cost is that of a sort), 0
        where there is no exact pricing.
    """
    if rank <= 2:
        return math.inf
    return 2000 if rank == 3 else 0


def supports(rank, n_samples, n_outputs=1):
    """Tell whether exact pricing is available and affordable.

    Parameters
    ----------
    rank : int
        Rank of the data.
    n_samples : int
        Number of rows.
    n_outputs : int, default=1
        Number of columns of the gradient.

    Returns
    -------
    bool
        True up to rank two, and for rank three with one output and no more than
        ``max_rows(3)`` rows.
    """
    if n_outputs > 1 and rank > 2:
        return False
    return n_samples <= max_rows(rank)


def affordable(problem):
    """Tell whether :class:`ExactPricing` serves the networks of a Problem."""
    if problem.shape.is_tree:
        return False
    return are_affordable(problem.rows, problem.n_outputs)


def are_affordable(rows, n_outputs):
    """Tell whether :class:`ExactPricing` serves neurons on these rows.

    A few rows show that of most data, whose rank is no less.
    """
    if not rows.has_array:
        return False
    few = rows.take(slice(None, None, max(len(rows) // _FEW_ROWS, 1)))
    if not supports(effective_rank(few.array()), len(rows), n_outputs):
        return False
    return supports(effective_rank(rows.array()), len(rows), n_outputs)


def exact_price(X, N, n_best=1):
    """Maximise ``||N^T relu(X u)||_2`` over the unit ball exactly.

    Use `ExactPricing` instead when the same data meet several gradients.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The data, of rank at most three.
    N : array-like of shape (n_samples,) or (n_samples, n_outputs)
        The gradient. More than one output needs rank two or less.
    n_best : int, default=1
        Upper bound on the number of directions returned.

    Returns
    -------
    ExactPrices
        See `ExactPricing.price`.

    Raises
    ------
    ValueError
        If the rank, the shapes or `n_best` are not supported.
    """
    return ExactPricing(X).price(N, n_best)


class ExactPricing:
    """Exact maximiser of ``||N^T relu(X u)||_2`` over ``||u||_2 <= 1``.

    What depends on the data alone (row space, planes, sort orders as far as they fit
    a fixed amount of memory) is computed once and serves every gradient N.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The data, of rank at most three.

    Attributes
    ----------
    rank : int
        Numerical rank of the data, as `effective_rank` gives it.
    n_planes : int
        Number of distinct hyperplanes ``x_i^T u = 0``. It sets the cost; parallel
        rows count once.

    Raises
    ------
    ValueError
        If `X` is not a finite matrix or has a rank above three.
    """

    def __init__(self, X):
        self._X = _checked_matrix(X)
        self._basis, self._dropped = row_space(self._X, _RANK_RTOL)
        self.rank = self._basis.shape[1]
        self.n_planes = 0
        self._merge_error = np.zeros(len(self._X))
        if self.rank > 3:
            raise ValueError(f"exact pricing needs rank 3 or less, got {self.rank}")
        if self.rank > 0:
            self._prepare()

    def _prepare(self):
        """Compute the planes, and what the sweep keeps between gradients."""
        scale = np.abs(self._X).max()
        Z = (self._X / scale) @ self._basis
        planes, plane_of, norms = merge_parallel(Z)
        errors = _distance_to_planes(Z, planes[plane_of], norms)
        self._rows, self._plane_of, self._norms = Z, plane_of, norms
        self._merge_error = scale * errors
        self.n_planes = len(planes)
        sweeps = {1: _Points, 2: _CircleSweep, 3: _SphereSweep}
        self._sweep = sweeps[self.rank](planes)

    def price(self, N, n_best=1):
        """Return the maximum and further good directions for one gradient.

        Parameters
        ----------
        N : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The gradient. More than one output needs rank two or less.
        n_best : int, default=1
            Upper bound on the number of directions returned. Those after the first
            are the best candidates of the sweep (local maxima, or maxima along a
            plane) that are well apart from better ones and have at least half the
            maximal price; there may be fewer of them.

        Returns
        -------
        ExactPrices
            Prices, signed values and directions by decreasing price. The first price
            is the maximum over the unit ball; `slack` says how nearly.

        Raises
        ------
        ValueError
            If `N` does not fit, or `n_best` is below 1.
        """
        N, one_output = self._checked_gradient(N)
        if n_best < 1:
            raise ValueError(f"n_best must be at least 1, got {n_best}")
        U = self._candidates(N, n_best)
        values = np.maximum(self._X @ U.T, 0.0).T @ N
        prices = _row_norms(values)
        # The largest price decides, not the order of the estimates of the sweep.
        chosen = _distinct(U, prices, n_best)
        values = values[:, 0] if one_output else values
        return ExactPrices(prices[chosen], values[chosen], U[chosen])

    def slack(self, N):
        """Bound how far the true maximum may exceed the returned price.

        Parameters
        ----------
        N : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The gradient.

        Returns
        -------
        float
            A bound on the effect of the singular values which the rank leaves out,
            plus an estimate of the effect of rounding and of merged rows.

        Raises
        ------
        ValueError
            If `N` does not fit.
        """
        N, _ = self._checked_gradient(N)
        norms = _row_norms(N)
        rounding = 4 * np.finfo(float).eps * math.sqrt(len(N)) * _row_norms(self._X)
        left_out = self._dropped * np.linalg.norm(N)
        return float(left_out + norms @ (rounding + self._merge_error))

    def _checked_gradient(self, N):
        N = np.asarray(N, dtype=float)
        if N.ndim not in (1, 2) or len(N) != len(self._X) or N.shape[-1] == 0:
            raise ValueError(
                f"the gradient must have {len(self._X)} rows, got shape {N.shape}"
            )
        if not np.isfinite(N).all():
            raise ValueError("the gradient must be finite")
        columns = N.reshape(len(N), -1)
        if self.rank == 3 and columns.shape[1] > 1:
            raise ValueError("several outputs need data of rank two or less")
        return columns, N.ndim == 1

    def _candidates(self, N, n_best):
        """Directions (k, d) among which the maximiser is; always at least one."""
        size = np.abs(N).max()
        if self.rank == 0 or size == 0:
            return np.eye(1, self._X.shape[1])  # every direction has price 0
        N = N / size
        linear = self._rows.T @ N / 2
        weighted = self._norms[:, None] * N / 2
        kinks = np.stack(
            [np.bincount(self._plane_of, w, self.n_planes) for w in weighted.T], 1
        )
        U = self._sweep.candidates(linear, kinks, n_best) @ self._basis.T
        return U / _row_norms(U)[:, None]


def _checked_matrix(X):
    X = np.asarray(X, dtype=float)
    if X.ndim != 2 or 0 in X.shape:
        raise ValueError(f"the data must be a non-empty matrix, got shape {X.shape}")
    if not np.isfinite(X).all():
        raise ValueError("the data must be finite")
    return X


def _row_norms(A):
    """Euclidean norms of the rows, safe from overflow and underflow."""
    size = np.abs(A).max(initial=0.0)
    return np.zeros(len(A)) if size == 0 else size * np.sqrt(((A / size) ** 2).sum(1))


def row_space(X, rtol=_RANK_RTOL):
    """Orthonormal basis (d, rank) of the row space, and the first value left out."""
    size = np.abs(X).max()
    if size == 0:
        return np.zeros((X.shape[1], 0)), 0.0
    A = X / size
    if A.shape[0] > 2 * A.shape[1]:
        eigenvalues = np.linalg.eigvalsh(A.T @ A)
        # The Gram matrix only resolves singular values above sqrt(eps), which settles
        # full rank; any other case needs the triangular factor.
        if eigenvalues[0] > max(1e-10, 4 * rtol**2) * eigenvalues[-1]:
            return np.eye(X.shape[1]), 0.0
        A = np.linalg.qr(A, mode="r")
    _, values, Vt = np.linalg.svd(A, full_matrices=False)
    rank = int((values > rtol * values[0]).sum())
    dropped = values[rank] * size if rank < len(values) else 0.0
    return Vt[:rank].T, float(dropped)


def keeps_all(X):
    """Tell whether the singular values that the rank leaves out are rounding."""
    rounding = 4 * max(X.shape) * np.finfo(float).eps
    return row_space(X)[1] <= rounding * np.linalg.norm(X)


def merge_parallel(Z):
    """Group parallel rows: unit normals (m, r), plane of each row, its weight.

    The weight is the norm of the row, since its sign does not matter for ``|z^T u|``.
    Zero rows get weight 0 and the plane 0.
    """
    norms = _row_norms(Z)
    nonzero = np.flatnonzero(norms > 0)
    units = Z[nonzero] / norms[nonzero, None]
    labels = np.zeros(len(units), dtype=np.intp)
    # Projectors z z^T do not see the sign; entry by entry, groups are split where the
    # sorted entries have a gap.
    for a in range(Z.shape[1]):
        for b in range(a + 1):
            labels = _split_at_gaps(labels, units[:, a] * units[:, b])
    first = np.full(labels.max(initial=-1) + 1, len(units))
    np.minimum.at(first, labels, np.arange(len(units)))
    plane_of = np.zeros(len(Z), dtype=np.intp)
    plane_of[nonzero] = labels
    return units[first], plane_of, norms


def _distance_to_planes(Z, planes, norms):
    """Distance from each row to the multiple of its plane's normal put in its place."""
    sign = np.where((Z * planes).sum(axis=1) < 0, -1.0, 1.0)
    return _row_norms(Z - (sign * norms)[:, None] * planes)


def _split_at_gaps(labels, key):
    """Refine groups so that sorted keys within a group have no gap."""
    order = np.lexsort((key, labels))
    breaks = (np.diff(labels[order]) != 0) | (np.diff(key[order]) > _MERGE_TOL)
    refined = np.empty_like(labels)
    refined[order[:1]] = 0
    refined[order[1:]] = np.cumsum(breaks)
    return refined


def _distinct(U, prices, n_best):
    """Choose the best directions, each well apart from the better ones."""
    order = np.argsort(-prices, kind="stable")
    chosen = [order[0]]
    for i in order[1:]:
        if len(chosen) == n_best or prices[i] < 0.5 * prices[order[0]]:
            break
        if (U[chosen] @ U[i]).max() < math.cos(0.02):
            chosen.append(i)
    return np.array(chosen)


def _spread(U, prices):
    """Keep the best direction of each box of a coarse grid, and of those the best."""
    order = np.argsort(-prices)
    boxes = np.floor(4 * (U[order] + 1)) @ 9.0 ** np.arange(U.shape[1])
    first = np.sort(np.unique(boxes, return_index=True)[1])[:_KEPT]
    return U[order[first]], prices[order[first]]


class _Points:
    """Rank one: the unit sphere is two points."""

    def __init__(self, planes):
        pass

    def candidates(self, linear, kinks, n_best):
        return np.array([[1.0], [-1.0]])


class _CircleSweep:
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


class _SphereSweep:
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
