"""Exact pricing of sub-networks of two leaves on data of rank at most two.

A sub-network of widths (2,) with signs (+, -) is ``relu(relu(x v) - relu(x w))``, which
is ``max(0, min(x v, x u))`` with ``u = v - w``: on the side of the plane of w where
``x w <= 0`` it is ``relu(x v)``, on the other ``relu(x u)``. So a cell is an arc of w,
an arc of v among the planes of the rows on the one side, and an arc of u among those of
the other: with n planes some ``4 n^3 / 3`` cells, all of them in sums that go around
the circle. On a cell the price is linear, ``<G, (v, w)>``, and its most over the cell
at a cost of one is by duality the least over d in the polar cone of u's arc of ::

    path norm:      ||(P_v (G_v - d), P_w (G_w + d))||
    weight decay:   max(||P_v (G_v - d)||, ||P_w (G_w + d)||)

with the projections P on the arcs of v and of w (Ergen & Pilanci, ICML 2021, Theorem 1,
its cones in other words). Every d gives a bound. With ``d = 0`` it dismisses most cells
that cannot beat the best price known, and what is left is bisected along either edge of
the polar cone, where the least is attained unless u vanishes, and with u the value. So
the result is proven by itself: prices are evaluated at attained points, and `slack` is
what the cells' bounds are above the best of these.

Signs (+, +) are worth ``sqrt(2)`` times the best neuron under the path norm (two leaves
that are one) and that neuron under weight decay; signs (-, -) nothing. So is a cell
with all rows on one side of w.
"""

from typing import NamedTuple

import numpy as np

from sklearn_convexrelu.patterns.geometry import cone_multipliers
from sklearn_convexrelu.patterns.planes import (
    RANK_RTOL,
    merge_parallel,
    row_norms,
    row_space,
)
from sklearn_convexrelu.pricing.exact import (
    ExactPrices,
    ExactPricing,
    distance_to_planes,
    effective_rank,
)

__all__ = ["PairPricing", "serves_pairs"]

# Distinct rows that are priced: half a second a dual point, and in proportion to their
# cube. Half and double take 0.08 s and 4 s.
_MOST_ROWS = 64
_CHUNK = 20_000  # cells that are bounded at a time; with 5000 and 60 000 as fast
_HALVINGS = 60  # of the interval for the multiplier of an edge
_MOST_MULTIPLE = 0.999  # of the way to infinity that multipliers go
_EVALUATED = 500  # pairs at a time
_TINY = 1e-300
_ROUNDING = 8.0 * np.finfo(float).eps  # of a bound, for the sizes that enter it
_EQUAL = 1e-11  # relatively: bounds closer than this to the best price do not beat it


def serves_pairs(problem):
    """Tell whether :class:`PairPricing` serves the networks of a Problem."""
    shape, rows = problem.shape, problem.rows
    if not shape.is_tree or shape.widths != (2,) or not shape.norm.is_euclidean:
        return False
    if shape.monotone is not None:  # the maximum is one without signs of weights
        return False
    if problem.n_outputs > 1 or not rows.has_array or len(rows) > _MOST_ROWS:
        return False
    return effective_rank(rows.array()) <= 2


class PairPricing:
    """Exact maximiser of ``|N^T phi(X)|`` over sub-networks phi of cost one.

    It does for widths (2,) what ``ExactPricing`` does for neurons. Vectors of the plane
    are complex numbers.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_inputs)
        The data, of rank at most two.
    shape : TreeShape
        Of widths (2,) and the 2-norm.

    Raises
    ------
    ValueError
        If the data or the shape are others.
    """

    def __init__(self, X, shape):
        if shape.widths != (2,) or not shape.norm.is_euclidean:
            raise ValueError(f"pairs of leaves are priced exactly, not {shape!r}")
        self._X, self._shape = np.asarray(X, dtype=float), shape
        self._basis, dropped = row_space(self._X, RANK_RTOL)
        self.rank = self._basis.shape[1]
        if self.rank > 2:
            raise ValueError(f"exact pricing needs rank 2 or less, got {self.rank}")
        self._neurons = ExactPricing(self._X)
        Z = self._X @ self._basis
        Z = np.column_stack([Z, np.zeros((len(Z), 2 - self.rank))])
        planes, plane_of, norms = merge_parallel(Z)
        errors = distance_to_planes(Z, planes[plane_of], norms) if self.rank else 0.0
        # What a merged row and a singular value left out may change, see `slack`.
        self._off = errors + dropped
        self._arcs = self._merged(planes, plane_of, norms, Z) if self.rank else None

    def _merged(self, planes, plane_of, norms, Z):
        """Return the arcs of the distinct rows, which are merged where parallel."""
        side = np.einsum("ij,ij->i", Z, planes[plane_of]) < 0.0
        key, self._row_of = np.unique(2 * plane_of + side, return_inverse=True)
        self._norms = norms
        units = planes[:, 0] + 1j * planes[:, 1]
        return _Arcs(units, key // 2, np.where(key % 2, -1.0, 1.0))

    def price(self, N, n_best=1, known=0.0):
        """Return the largest price, with further sub-networks of high prices.

        Parameters
        ----------
        N : ndarray of shape (n_samples,) or (n_samples, 1)
            The gradient.
        n_best : int, default=1
            Most sub-networks that are returned.
        known : float, default=0
            A price that is known to be attained: cells below it are passed over, and
            the largest price is returned only where it is above.

        Returns
        -------
        ExactPrices
            Prices, signed values and directions, as ``TreeShape`` has them, by
            decreasing price.
        """
        N = np.asarray(N, dtype=float).reshape(len(self._X), -1)
        if N.shape[1] != 1:
            raise ValueError("pairs of leaves are priced exactly for one output")
        V, signs = self._of_neurons(N)
        known = max(np.abs(self._values(V, signs, N)).max(), known)
        self._excess = 0.0
        if self._arcs is not None and N.any():
            weights = np.bincount(self._row_of, self._norms * N[:, 0])
            search = _Search(self._arcs, weights, self._shape.decays, known)
            pairs = search.run()
            self._excess = search.bound - search.best
            V = np.concatenate([V, self._leaves(pairs)])
            signs = np.concatenate([signs, np.tile([1.0, -1.0], (len(pairs), 1))])
        values = self._values(V, signs, N)
        best = np.argsort(-np.abs(values), kind="stable")[:n_best]
        W = self._shape.coordinates(V[best]).reshape(len(best), -1)
        directions = np.hstack([W, signs[best]])
        return ExactPrices(np.abs(values[best]), values[best, None], directions)

    def slack(self, N):
        """Return how far the true maximum may exceed what was priced last at ``N``.

        That is the larger of the price returned and the one that was known.
        """
        return float(self._excess + self.slack_of_rows(N))

    def slack_of_rows(self, N):
        """Return what of `slack` the data alone make: rounding, merged rows, rank."""
        N = np.abs(np.asarray(N, dtype=float).reshape(len(self._X)))
        eps = np.finfo(float).eps * (len(N) + 16)  # of sums around the circle
        return float(self._shape.reach * N @ (self._off + eps * row_norms(self._X)))

    def _of_neurons(self, N):
        """Return the best neuron as leaves and signs."""
        v = self._neurons.price(N).directions[:1]
        both = not self._shape.decays
        V = np.stack([v, v * both], axis=1) / np.sqrt(1 + both)
        return V, np.ones((1, 2))

    def _leaves(self, pairs):
        """Return the leaf vectors (K, 2, n_inputs) of pairs of complex numbers."""
        parts = np.stack([pairs.real, pairs.imag], axis=-1)[..., : self.rank]
        V = parts @ self._basis.T
        return V / self._shape.costs(self._shape.coordinates(V))[:, None, None]

    def _values(self, V, signs, N):
        """Return ``N^T phi(X)`` of sub-networks, (K,)."""
        H = np.maximum(V @ self._X.T, 0.0)
        phi = np.maximum(np.einsum("kpn,kp->kn", H, signs), 0.0)
        return phi @ N[:, 0]


class _Arcs:
    """Arcs of w around the circle, and for each those of v and of u.

    Parameters
    ----------
    planes : ndarray of shape (n_planes,), complex
        Unit normals.
    plane_of : ndarray of shape (n_rows,)
        Plane of each row.
    sides : ndarray of shape (n_rows,)
        Which of its normals a row is.
    """

    def __init__(self, planes, plane_of, sides):
        self.rows, self.plane_of = sides * planes[plane_of], plane_of
        rays = np.concatenate([1j * planes, -1j * planes])
        order = np.argsort(np.angle(rays), kind="stable")
        self.rays = rays[order]
        self.plane_of_ray = np.tile(np.arange(len(planes)), 2)[order]

    def __iter__(self):
        """Yield an arc of w, the rows on either side, and what v and u may pass."""
        low, high, middle = self._between(np.arange(len(self.rays)))
        for k in range(len(low)):
            behind = _dot(self.rows, middle[k]) <= 0.0
            if behind.all() or not behind.any():
                continue
            yield (low[k], high[k]), self._over(behind), self._over(~behind)

    def _over(self, chosen):
        """Return the arcs among the planes of some rows, and rows they pass."""
        among = np.zeros(self.plane_of.max() + 1, dtype=bool)
        among[self.plane_of[chosen]] = True
        low, high, middle = self._between(np.flatnonzero(among[self.plane_of_ray]))
        passed = _dot(self.rows[chosen], middle[:, None]) > 0.0
        return low, high, np.flatnonzero(chosen), passed

    def _between(self, index):
        """Return arcs between rays that follow one another: ends and middles."""
        low = self.rays[index]
        high = np.roll(low, -1)
        # Half of the turn, which is at most pi.
        turn = np.mod(np.angle(high / low), 2.0 * np.pi)
        return low, high, low * np.exp(0.5j * turn)


class _Cells(NamedTuple):
    """Cells of pairs (v, w), one an entry: gradients, and the ends of their arcs."""

    G_v: np.ndarray
    G_w: np.ndarray
    v_low: np.ndarray
    v_high: np.ndarray
    w_low: np.ndarray
    w_high: np.ndarray
    u_low: np.ndarray
    u_high: np.ndarray

    def taken(self, index):
        """Return some of the cells."""
        return _Cells(*(part[index] for part in self))

    def pairs(self, d):
        """Return the projections of the gradients, moved by ``d`` in either way."""
        v = _projected(self.G_v - d, self.v_low, self.v_high)
        return v, _projected(self.G_w + d, self.w_low, self.w_high)


class _Search:
    """The largest price over cells at one dual point.

    Parameters
    ----------
    arcs : _Arcs
        Cells.
    weights : ndarray of shape (n_rows,)
        The dual point, of rows of length one.
    decays : bool
        Whether the penalty is weight decay.
    known : float
        A price that is attained.

    Attributes
    ----------
    best : float
        Largest price that is attained.
    bound : float
        What no price exceeds.
    """

    def __init__(self, arcs, weights, decays, known):
        self.arcs, self.weights, self.decays = arcs, weights, decays
        self.moments = weights * arcs.rows
        self.best = self.bound = known

    def run(self):
        """Return pairs (v, w) that beat what was known before, (K, 2)."""
        found, left, count = [np.zeros((0, 2), complex)], [], 0
        for cells in self._promising():
            left.append(cells)
            count += len(cells.G_v)
            if count >= _CHUNK:
                found.append(self._settled(_joined(left)))
                left, count = [], 0
        if count:
            found.append(self._settled(_joined(left)))
        self.bound = max(self.bound, self.best * (1.0 + _EQUAL))
        return np.concatenate(found)

    def _promising(self):
        """Yield cells, for either sign of prices, whose gradients are long enough."""
        for (low, high), (v_low, v_high, *behind), (u_low, u_high, *ahead) in self.arcs:
            g, h = self._sums(*behind), self._sums(*ahead)
            G_v, G_w = g[:, None] + h, -h
            lengths = self._combined(np.abs(G_v), np.abs(G_w))
            i, j = np.nonzero(lengths > self.best * (1.0 + _EQUAL))
            w = (np.full(len(i), end) for end in (low, high))
            arcs = v_low[i], v_high[i], *w, u_low[j], u_high[j]
            for sign in (1.0, -1.0):
                yield _Cells(sign * G_v[i, j], sign * G_w[j], *arcs)

    def _sums(self, rows, passed):
        return passed @ self.moments[rows]

    def _combined(self, v, w):
        """Return what lengths of the two parts of a gradient are worth together."""
        return np.maximum(v, w) if self.decays else np.hypot(v, w)

    def _settled(self, cells):
        """Bound cells, and return the pairs of those that beat the best so far."""
        bounds = self._bounds(cells, np.zeros(len(cells.G_v)))
        cells, bounds = self._over(cells, bounds)
        kept = []
        for edge in (1j, -1j):
            normals = edge * (cells.u_low if edge.imag > 0.0 else cells.u_high)
            multipliers, along = self._bisected(cells, normals)
            bounds = np.minimum(bounds, along)
            pairs = self._pairs(cells, multipliers, normals)
            kept.append(self._taken_in(pairs, bounds))
            cells, bounds = self._over(cells, bounds)
        if len(bounds):
            bounds = np.minimum(bounds, _path_bounds(cells))
            self.bound = max(self.bound, bounds.max())
        return np.concatenate(kept)

    def _over(self, cells, bounds):
        """Return the cells whose bounds are over the best price, and these."""
        over = bounds > self.best * (1.0 + _EQUAL)
        return cells.taken(over), bounds[over]

    def _bounds(self, cells, d):
        """Return what no price of cells exceeds, by the multipliers in ``d``."""
        v, w = (np.abs(part) for part in cells.pairs(d))
        size = np.abs(cells.G_v) + np.abs(cells.G_w) + np.abs(d)
        return self._combined(v, w) + _ROUNDING * size

    def _falls(self, cells, d, normals):
        """Tell where bounds fall along ``-normals`` from d."""
        v, w = cells.pairs(d)
        if not self.decays:
            return _dot(normals, v - w) < 0.0
        rises = np.where(np.abs(v) >= np.abs(w), _dot(normals, v), -_dot(normals, w))
        return rises < 0.0

    def _bisected(self, cells, normals):
        """Return multipliers of normals with the least bounds, and these bounds.

        Cells that fall below the best price on the way are left there.
        """
        multipliers = np.zeros(len(normals))
        bounds = self._bounds(cells, multipliers)
        live = np.flatnonzero(self._falls(cells, multipliers, normals))
        low, high = np.zeros(len(live)), np.full(len(live), _MOST_MULTIPLE)
        size = np.abs(cells.G_v) + np.abs(cells.G_w)
        for _ in range(_HALVINGS):
            over = bounds[live] > self.best * (1.0 + _EQUAL)
            live, low, high = live[over], low[over], high[over]
            if not len(live):
                break
            middle = 0.5 * (low + high)
            tried = size[live] * middle / (1.0 - middle)
            some, at = cells.taken(live), -tried * normals[live]
            new = self._bounds(some, at)
            less = new < bounds[live]
            bounds[live[less]], multipliers[live[less]] = new[less], tried[less]
            falls = self._falls(some, at, normals[live])
            low, high = np.where(falls, middle, low), np.where(falls, high, middle)
        return multipliers, bounds

    def _pairs(self, cells, multipliers, normals):
        """Return the pairs that belong to multipliers, (K, 2)."""
        v, w = cells.pairs(-multipliers * normals)
        if self.decays:
            # Where both parts are worth the same, u is on the plane of the normal.
            v, w = _unit(v), _unit(w)
            a, b = _dot(normals, v), _dot(normals, w)
            with np.errstate(divide="ignore", invalid="ignore"):
                share = np.clip(np.nan_to_num(a / (a + b)), 0.0, 1.0)
            v, w = (1.0 - share) * v, share * w
        return np.column_stack([v, w])

    def _taken_in(self, pairs, bounds):
        """Evaluate pairs, best bounds first; return those that beat the best price."""
        over = np.flatnonzero(bounds > self.best * (1.0 + _EQUAL))
        order, kept = over[np.argsort(-bounds[over], kind="stable")], []
        for at in range(0, len(order), _EVALUATED):
            index = order[at : at + _EVALUATED]
            if bounds[index[0]] <= self.best * (1.0 + _EQUAL):
                break
            prices = self._prices(pairs[index])
            kept.append(index[prices > self.best])
            self.best = max(self.best, prices.max())
        return pairs[np.concatenate(kept)] if kept else pairs[:0]

    def _prices(self, pairs):
        """Return the prices of pairs over their costs."""
        v, w = pairs.T
        costs = np.abs(v) + np.abs(w) if self.decays else np.hypot(np.abs(v), np.abs(w))
        rows = self.arcs.rows[:, None]
        least = np.minimum(_dot(rows, v), _dot(rows, v - w))
        totals = self.weights @ np.maximum(least, 0.0)
        return np.abs(totals) / np.maximum(costs, _TINY)


def _path_bounds(cells):
    """Return what no path-norm price of cells exceeds, by all edges at once.

    These are few: cells where nothing is gained, and empty ones.
    """
    bounds = []
    for cell in zip(*cells, strict=True):
        G_v, G_w, *rays = cell
        v, v_, w, w_, u, u_ = np.array([1j, -1j] * 3) * rays
        edges = [[v, 0.0], [v_, 0.0], [0.0, w], [0.0, w_], [u, -u], [u_, -u_]]
        C, G = _real(np.array(edges).T), _real(np.array([G_v, G_w]))
        multipliers = cone_multipliers(C, -G)
        size = np.abs(G).sum() + np.abs(C).sum(axis=0) @ multipliers
        bounds.append(np.linalg.norm(G + C @ multipliers) + _ROUNDING * size)
    return np.array(bounds)


def _joined(cells):
    """Return several lots of cells as one."""
    return _Cells(*(np.concatenate(parts) for parts in zip(*cells, strict=True)))


def _real(a):
    """Return complex numbers as pairs of rows."""
    return np.stack([a.real, a.imag], axis=1).reshape(2 * len(a), *a.shape[1:])


def _dot(a, b):
    """Return the inner products of vectors of the plane."""
    return a.real * b.real + a.imag * b.imag


def _unit(a):
    """Return vectors of length one; zero stays zero."""
    return a / np.maximum(np.abs(a), _TINY)


def _projected(g, low, high):
    """Return the projections of vectors on the cones of arcs."""
    at_low, at_high = _dot(low, g), _dot(high, g)
    inside = ((low.conj() * g).imag >= 0.0) & ((g.conj() * high).imag >= 0.0)
    nearest = np.where(at_low >= at_high, at_low * low, at_high * high)
    outside = np.where(np.maximum(at_low, at_high) > 0.0, nearest, 0.0)
    return np.where(inside, g, outside)
