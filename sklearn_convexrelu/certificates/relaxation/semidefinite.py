"""Semidefinite relaxation of the price: moments, their ties, the multipliers of these.

A price is the maximum over unit vectors u of sums of ``relu(x^T u) = (x^T u + |x^T u|)
/ 2``. Over the moments ``M = E[(u, 1) (u, 1)^T]`` of any distribution of u it becomes
linear, with ``a`` in place of ``E[|x^T u|]`` between bounds that M implies:

* ``|x^T u| <= (x^T u)^2 / (2 tau) + tau / 2`` for all ``tau > 0``,
* ``|x^T u| >= (x^T u) (theta + w^T u)`` wherever ``|theta| + ||w|| <= 1``, and
* ``|x^T u| <= |c z^T u| + |(x - c z)^T u|`` for any other row z: a tie of the two.

This is Shor's relaxation (Shor, Sov. J. Comput. Syst. Sci. 1987) with products of
linear and conic inequalities (Sturm & Zhang, Math. Oper. Res. 2003): those of a region,
``p^T u >= c``, with ``1 + v^T u >= 0`` for ``||v|| <= 1``. M is kept as a product of
factors (Burer & Monteiro, Math. Program. 2003), and the ties get an augmented
Lagrangian (Hestenes, J. Optim. Theory Appl. 1969; Powell 1969). At any multipliers the
sum is below a quadratic function of u, from which ``proof`` bounds the price.
"""

from dataclasses import dataclass, fields, replace

import numpy as np

from sklearn_convexrelu.certificates.relaxation.regions import TINY

__all__ = [
    "SMOOTHING",
    "Moments",
    "Multipliers",
    "Quadratic",
    "Relaxation",
    "State",
    "in_cone",
    "spread_factors",
    "unit_factors",
]

# Compared on the three problems of ``descent``.
# Relative violation of ties at multipliers of common size. Half gives
# 33.139, 24.750 and 64.867, double 33.702, 24.675 and 64.935 (61, 76 and 79 proofs).
SMOOTHING = 0.03
# Width of kinks relative to that. Half gives 33.338, 24.731 and 64.875, double 33.371,
# 24.682 and 64.706.
_KINK = 0.3
# Columns of a factor: moments at an optimum have low rank. Half gives
# 33.362, 24.717 and 64.846, double the same as 16.
_MAX_FACTORS = 16


@dataclass(frozen=True)
class Moments:
    """Moments of a distribution over u of mass one; leading axes: those of blocks.

    ``E[u u^T] = V V^T`` and ``E[u] = V[:, 0]`` for a factor V of norm one: all moments
    of distributions on the sphere are of that form, and more.
    """

    factors: np.ndarray  # V, (..., rank, n_factors)
    mean: np.ndarray  # of u, (..., rank)
    values: np.ndarray  # z^T V, (..., n_samples, n_factors)
    linear: np.ndarray  # of z^T u, (..., n_samples)
    square: np.ndarray  # of (z^T u)^2
    gram: np.ndarray  # V^T V
    length: np.ndarray  # of the vectors of (z^T u) u
    across: np.ndarray  # differences of pairs times V, (..., n_pairs, n_factors)
    apart: np.ndarray  # of ((z_i - z_j)^T u)^2, (..., n_pairs)

    @classmethod
    def of(cls, rows, V):
        """Return the moments of factors V."""
        G = rows.Z @ V
        across, gram = rows.differences @ V, np.swapaxes(V, -1, -2) @ V
        squares = np.einsum("...ik,...ik->...i", G @ gram, G)
        return cls(
            factors=V,
            mean=V[..., 0],
            values=G,
            linear=G[..., 0],
            square=np.einsum("...ik,...ik->...i", G, G),
            gram=gram,
            length=np.sqrt(np.maximum(squares, 0.0)),
            across=across,
            apart=np.einsum("...ik,...ik->...i", across, across),
        )

    def vector(self):
        """Return the means of (z^T u) u, (..., n_samples, rank)."""
        return self.values @ np.swapaxes(self.factors, -1, -2)


@dataclass(frozen=True)
class Envelopes:
    """Bounds on ``E[|z^T u|]`` and the multipliers that give them."""

    lower: np.ndarray
    upper: np.ndarray
    apart: np.ndarray  # upper bounds for the differences of paired rows
    theta: np.ndarray
    kappa: np.ndarray  # ||w||, w in the direction of the vector moment


@dataclass(frozen=True)
class Multipliers:
    """Of what ties moments and absolute values: none negative, but those of pairs."""

    lower: np.ndarray
    upper: np.ndarray
    pairs: np.ndarray
    cuts: np.ndarray  # (..., n_inequalities, 1 + rank), in the second-order cone

    def arrays(self):
        """Return all of them, each with the regions along its first axis."""
        return [getattr(self, field.name) for field in fields(self)]

    def of_regions(self, index):
        """Return those of some regions."""
        return Multipliers(*(array[index] for array in self.arrays()))


@dataclass(frozen=True)
class Quadratic:
    """``u^T A u + b^T u + c``, stacked; ``size`` bounds the terms that were added."""

    A: np.ndarray
    b: np.ndarray
    c: np.ndarray
    size: np.ndarray

    def negative(self):
        """Return the same with the other sign."""
        return Quadratic(-self.A, -self.b, -self.c, self.size)

    def plus(self, other):
        """Return the sum of two."""
        mine, theirs = ([q.A, q.b, q.c, q.size] for q in (self, other))
        return Quadratic(*(a + b for a, b in zip(mine, theirs, strict=True)))


class Relaxation:
    """What moments allow, region by region: smoothed, with multipliers.

    The unknowns of a block (region, sign, column: see ``composition``) are the factor V
    and ``a``, standing for ``E[|z^T u|]``. Their ties are dealt with by an augmented
    Lagrangian.

    Parameters
    ----------
    rows : RowSpace
        The data.
    regions : list of Region
        Their union is the sphere.
    alpha : float
        Size of the prices.
    smoothing : float, default=SMOOTHING
        Relative width over which kinks are rounded off, and relative violation of ties
        at multipliers of common size. Proofs hold whatever it is.
    n_cuts : int, default=0
        Least number of places for the inequalities of a region.
    """

    def __init__(self, rows, regions, alpha, smoothing=SMOOTHING, n_cuts=0):
        self.rows, self.regions, self.alpha = rows, regions, alpha
        self.smoothing = smoothing
        self.width = _KINK * smoothing * (rows.lengths + 1e-6)
        self.gap_width = _KINK * smoothing * (rows.distances + 1e-6)
        self.laxity = smoothing / max(alpha, TINY)
        floor = np.maximum(rows.lengths, 1e-3)
        self.row_laxity = self.laxity * len(rows.Z) * floor**2
        self.pair_laxity = self.laxity * len(rows.Z)
        n_cuts = max(n_cuts, *(len(region.offsets) for region in regions))
        shape = (len(regions), 1, 1, n_cuts)
        self.normals = np.zeros((*shape, rows.rank))
        self.offsets = np.zeros(shape)
        for i, region in enumerate(regions):  # the rest stays 0 >= 0
            self.normals[i, 0, 0, : len(region.offsets)] = region.normals
            self.offsets[i, 0, 0, : len(region.offsets)] = region.offsets
        self.sides = np.array([region.sides for region in regions])[:, None, None]
        self.free = self.sides == 0.0

    def of_regions(self, index):
        """Return the relaxation of some regions."""
        regions = [self.regions[i] for i in np.flatnonzero(index)]
        n_cuts = self.offsets.shape[-1]
        return Relaxation(self.rows, regions, self.alpha, self.smoothing, n_cuts)

    def no_multipliers(self, n_columns):
        """Return multipliers of zero."""
        shape = (len(self.regions), 2, n_columns)
        n, rank = self.rows.Z.shape
        return Multipliers(
            np.zeros((*shape, n)),
            np.zeros((*shape, n)),
            np.zeros((*shape, len(self.rows.distances))),
            np.zeros((*shape, self.normals.shape[-2], rank + 1)),
        )

    def at_rest(self, half):
        """Return multipliers of rows that rest on the end that their weights ask for.

        ``half`` are half the weights, (n_regions, 2, n_columns, n_samples). Nothing
        else binds: they are the best where there are no pairs and no cuts.
        """
        none = self.no_multipliers(half.shape[2])
        lower, upper = np.maximum(half, 0.0), np.maximum(-half, 0.0)
        return replace(none, lower=lower, upper=upper)

    def envelopes(self, moments):
        """Return bounds on the mean of ``|z^T u|`` that moments imply."""
        upper = np.sqrt(moments.square + self.width**2)
        apart = np.sqrt(moments.apart + self.gap_width**2)
        # The largest theta A + kappa B - width (theta^2 + kappa^2) / 2 over
        # theta + kappa <= 1 is at the projection of (A, B) / width.
        size = np.abs(moments.linear)
        a, b = size / self.width, moments.length / self.width
        full = a + b > 1.0
        theta = np.where(full, np.clip(0.5 + 0.5 * (a - b), 0.0, 1.0), a)
        kappa = np.where(full, 1.0 - theta, b)
        lower = theta * size + kappa * moments.length
        lower -= 0.5 * self.width * (theta**2 + kappa**2)
        return Envelopes(lower, upper, apart, theta * np.sign(moments.linear), kappa)

    def absolute(self, moments, a):
        """Return ``a``, or what it must be where the side of a row is known."""
        return np.where(self.free, a, self.sides * moments.linear)

    def updated(self, moments, envelopes, a, old):
        """Return the multipliers of the augmented Lagrangian at a point."""
        lower = old.lower + (envelopes.lower - a) / self.row_laxity
        upper = old.upper + (a - envelopes.upper) / self.row_laxity
        i, j = self.rows.pairs
        broken = a[..., i] - np.abs(self.rows.shares) * a[..., j]
        pairs = old.pairs + broken / self.pair_laxity
        room = envelopes.apart / self.pair_laxity
        pairs = np.sign(pairs) * np.maximum(np.abs(pairs) - room, 0.0)
        return Multipliers(
            np.where(self.free, np.maximum(lower, 0.0), 0.0),
            np.where(self.free, np.maximum(upper, 0.0), 0.0),
            pairs,
            in_cone(old.cuts - self._cuts(moments) / self.laxity),
        )

    def _cuts(self, moments):
        """Return the moments of ``(p^T u - c) (1, u)``, in the second-order cone.

        For u in the region ``(p^T u - c) (1 + v^T u) >= 0`` for all ``||v|| <= 1``.
        """
        P, c = self.normals, self.offsets
        first = np.einsum("...mr,...r->...m", P, moments.mean) - c
        V = moments.factors
        rest = (P @ V) @ np.swapaxes(V, -1, -2)
        rest = rest - c[..., None] * moments.mean[..., None, :]
        return np.concatenate([first[..., None], rest], axis=-1)

    def lagrangian(self, V, a, E, old):
        """Return ``sum_i E_i E[relu(z_i^T u)]`` plus what ties cost, with gradients.

        Returns
        -------
        values, to_V, to_a : ndarray
            Of every block, and the gradients with respect to V and a.
        activations : ndarray
            The means of ``relu(z_i^T u)``.
        """
        moments = Moments.of(self.rows, V)
        envelopes = self.envelopes(moments)
        a = self.absolute(moments, a)
        new = self.updated(moments, envelopes, a, old)
        activations = 0.5 * (moments.linear + a)
        values = np.einsum("...i,...i->...", E, activations)
        laxities = self.row_laxity, self.row_laxity, self.pair_laxity, self.laxity
        for laxity, after, before in zip(
            laxities, new.arrays(), old.arrays(), strict=True
        ):
            costs = (0.5 * laxity * (after**2 - before**2)).reshape(*V.shape[:-2], -1)
            values = values + costs.sum(axis=-1)
        to_a = 0.5 * E + self.rows.net(new.pairs) + new.upper - new.lower
        linear = 0.5 * E + np.where(self.free, 0.0, self.sides * to_a)
        to_V = 2.0 * self.curved(moments, envelopes, new)
        to_V[..., 0] += self.sloped(envelopes, linear, new)
        return values, to_V, np.where(self.free, to_a, 0.0), activations

    def sloped(self, envelopes, linear, multipliers):
        """Return b of ``quadratic``."""
        m, v = multipliers.cuts[..., 0], multipliers.cuts[..., 1:]
        b = (linear + multipliers.lower * envelopes.theta) @ self.rows.Z
        parts = m[..., None] * self.normals - self.offsets[..., None] * v
        return b - np.sum(parts, axis=-2)

    def curved(self, moments, envelopes, multipliers):
        """Return A of ``quadratic`` times the factors, without A.

        Products with A itself take the rank in the place of the number of factors:
        twelve times as long at rank 200.
        """
        V, G, rows = moments.factors, moments.values, self.rows
        pull = _pull(moments, envelopes, multipliers)
        pulled = pull * G
        weights = multipliers.upper / (2.0 * envelopes.upper)
        inner = 0.5 * pulled @ moments.gram - weights[..., None] * G
        AV = np.swapaxes(np.swapaxes(inner, -1, -2) @ rows.Z, -1, -2)
        AV = AV + 0.5 * V @ (np.swapaxes(G, -1, -2) @ pulled)
        gaps = np.abs(multipliers.pairs) / (2.0 * envelopes.apart)
        across = np.swapaxes(gaps[..., None] * moments.across, -1, -2)
        AV = AV - np.swapaxes(across @ rows.differences, -1, -2)
        v, P = multipliers.cuts[..., 1:], self.normals
        AV = AV - 0.5 * (np.swapaxes(v, -1, -2) @ (P @ V))
        return AV - 0.5 * (np.swapaxes(P, -1, -2) @ (v @ V))

    def quadratic(self, moments, envelopes, linear, multipliers):
        """Return a quadratic below a sum of linear terms and absolute values.

        ``linear^T Z u + lower^T |Z u| - upper^T |Z u| - sum_p |pairs_p| |d_p^T u|``,
        d_p the differences of paired rows, less the cuts: nonpositive in the region.
        """
        Z, rows = self.rows.Z, self.rows
        low, high = multipliers.lower, multipliers.upper
        gaps = np.abs(multipliers.pairs)
        A = -_weighted_gram(Z, high / (2.0 * envelopes.upper))
        A = A - _weighted_gram(rows.differences, gaps / (2.0 * envelopes.apart))
        pulled = moments.vector() * _pull(moments, envelopes, multipliers)
        A = A + _symmetric(np.swapaxes(pulled, -1, -2) @ Z)
        c = -0.5 * np.sum(high * envelopes.upper, axis=-1)
        c = c - 0.5 * np.sum(gaps * envelopes.apart, axis=-1)
        m, v = multipliers.cuts[..., 0], multipliers.cuts[..., 1:]
        P, offsets = self.normals, self.offsets
        A = A - _symmetric(np.swapaxes(v, -1, -2) @ P)
        b = self.sloped(envelopes, linear, multipliers)
        c = c + np.sum(m * offsets, axis=-1)
        lengths, distances = rows.lengths, rows.distances
        size = (np.abs(linear) + 2.0 * low) @ lengths + 4.0 * m.sum(axis=-1)
        upper, apart = envelopes.upper, envelopes.apart
        size = size + np.sum(high * (lengths**2 / upper + upper), axis=-1)
        size = size + np.sum(gaps * (distances**2 / apart + apart), axis=-1)
        return Quadratic(A, b, c, size)


@dataclass
class State:
    """Where a search is: everything that regions have."""

    W: np.ndarray  # factors, the squared norm a block's mass
    a: np.ndarray  # standing for the means of |z^T u|
    multipliers: Multipliers

    def of_regions(self, index):
        """Return the state of some regions."""
        return State(self.W[index], self.a[index], self.multipliers.of_regions(index))

    def put(self, regions, blocks, other):
        """Set the state of some blocks of some regions, all but their masses."""
        V, t = unit_factors(self.W[regions])
        V[blocks] = unit_factors(other.W)[0][blocks]
        self.W[regions] = np.sqrt(t)[..., None, None] * V
        arrays = [self.a, *self.multipliers.arrays()]
        others = [other.a, *other.multipliers.arrays()]
        for mine, theirs in zip(arrays, others, strict=True):
            changed = mine[regions]
            changed[blocks] = theirs[blocks]
            mine[regions] = changed

    def updated(self, relaxation):
        """Return the state with the multipliers of the augmented Lagrangian."""
        moments = Moments.of(relaxation.rows, unit_factors(self.W)[0])
        new = relaxation.updated(
            moments,
            relaxation.envelopes(moments),
            relaxation.absolute(moments, self.a),
            self.multipliers,
        )
        return State(self.W, self.a, new)


def unit_factors(W):
    """Return factors of norm one, and their squared norms, the masses.

    Parameters
    ----------
    W : ndarray of shape (..., rank, n_factors)
        Factors.

    Returns
    -------
    V : ndarray of shape (..., rank, n_factors)
        Factors of norm one.
    t : ndarray of shape (...)
        Masses.
    """
    t = np.sum(W * W, axis=(-2, -1)) + TINY
    return W / np.sqrt(t)[..., None, None], t


def spread_factors(rank, *blocks):
    """Return the factors of a distribution all around the sphere, of unit mass.

    Parameters
    ----------
    rank : int
        Rank of the data.
    *blocks : int
        Shape of the blocks, which all get the same.

    Returns
    -------
    ndarray of shape (*blocks, rank, n_factors)
        Read only.
    """
    shape = rank, min(rank + 1, _MAX_FACTORS)
    W = np.random.default_rng(0).standard_normal(shape)
    return np.broadcast_to(W / np.linalg.norm(W), (*blocks, *shape))


def in_cone(z):
    """Project on the second-order cone of ``||z[1:]|| <= z[0]``.

    Parameters
    ----------
    z : ndarray of shape (..., 1 + rank)
        Points.

    Returns
    -------
    ndarray of shape (..., 1 + rank)
        The nearest points of the cone.
    """
    first, rest = z[..., :1], z[..., 1:]
    length = np.linalg.norm(rest, axis=-1, keepdims=True)
    inside, polar = length <= first, length <= -first
    middle = 0.5 * (first + length)
    scaled = middle / np.maximum(length, TINY) * rest
    edge = np.concatenate([middle, scaled], axis=-1)
    # The norm of what was scaled must not exceed the first entry by rounding.
    edge[..., 0] *= 1.0 + 1e-15
    return np.where(inside, z, np.where(polar, 0.0, edge))


def _pull(moments, envelopes, multipliers):
    """Return how much the vectors of rows weigh in a quadratic, (..., n_samples, 1)."""
    pull = multipliers.lower * envelopes.kappa / np.maximum(moments.length, TINY)
    return pull[..., None]


def _weighted_gram(Z, weights):
    """Return ``Z^T diag(weights) Z``, stacked."""
    return np.swapaxes(Z * weights[..., None], -1, -2) @ Z


def _symmetric(A):
    """Return the symmetric part of matrices."""
    return 0.5 * (A + np.swapaxes(A, -1, -2))
