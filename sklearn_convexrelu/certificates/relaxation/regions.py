"""Data and parts of the sphere: what a relaxation is over, and how it is split.

``relu(X u)`` depends on the part of u in the row space of X alone, so u is a unit
vector there. The sphere is covered by regions, each the unit vectors with some linear
inequalities ``p^T u >= c``. Up to rank four they are simplicial cones, bisected across
their longest edge, which shrink to points (Horst, Math. Program. 1976); above, slices
between planes.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from sklearn_convexrelu.patterns.planes import row_space

__all__ = ["TINY", "Region", "RowSpace", "fan"]

# Keeps denominators from being zero: the least number whose square is one, too.
TINY = np.sqrt(np.finfo(float).tiny)
# Rows up to which neighbours are looked for, in seconds of ten features. Beyond that of
# many features the search would take longer than all else.
_MOST_NEAR = 20_000
# How far a row may cross its side of a region by rounding, for its length: the rays of
# a region come of some ten bisections, each a few roundings of up to four coordinates.
_SIDE_RTOL = 512 * np.finfo(float).eps


@dataclass(frozen=True)
class RowSpace:
    """Data in coordinates of its row space, scaled to rows of order one, with pairs."""

    Z: np.ndarray  # (n_samples, rank)
    lengths: np.ndarray  # of the rows of Z, (n_samples,)
    basis: np.ndarray  # of the row space, (n_inputs, rank)
    scale: float
    dropped: float  # singular value left out of the row space
    pairs: np.ndarray  # of rows, (2, n_pairs)
    shares: np.ndarray  # of the second row that is taken from the first
    differences: np.ndarray  # first row less the share of the second, (n_pairs, rank)
    distances: np.ndarray
    incidence: sparse.csr_array  # (n_samples, n_pairs)

    @classmethod
    def of(cls, X, n_neighbors):
        """Reduce X: relu(X u) depends on the part of u in the row space alone."""
        basis, dropped = row_space(X)
        Z = X @ basis
        scale = float(np.sqrt(np.mean(np.sum(Z * Z, axis=1)))) if Z.size else 1.0
        Z = Z / scale
        lengths, none = np.linalg.norm(Z, axis=1), np.zeros((2, 0), dtype=int)
        own = _paired(Z, none, np.zeros(0))
        return cls(Z, lengths, basis, scale, dropped, **own).tied(n_neighbors)

    def with_pairs(self, pairs, shares):
        """Return the same rows, row i of a pair tied to a share of row j."""
        return replace(self, **_paired(self.Z, pairs, shares))

    def part(self, own):
        """Return some of the rows, a slice or an index of them, without pairs."""
        part = replace(self, Z=self.Z[own], lengths=self.lengths[own])
        return part.with_pairs(np.zeros((2, 0), dtype=int), np.zeros(0))

    def tied(self, n_neighbors):
        """Return the rows with pairs of near ones."""
        pairs = _near_pairs(self.Z, n_neighbors)
        products = np.einsum("ij,ij->j", self.Z[pairs[0]].T, self.Z[pairs[1]].T)
        return self.with_pairs(pairs, np.where(products < 0.0, -1.0, 1.0))

    @property
    def rank(self):
        """Rank of the data."""
        return self.Z.shape[1]

    def net(self, flows):
        """Return what pairs carry out of every row, (..., n_samples)."""
        flat = flows.reshape(int(np.prod(flows.shape[:-1])), flows.shape[-1])
        return (self.incidence @ flat.T).T.reshape(*flows.shape[:-1], len(self.Z))


def _paired(Z, pairs, shares):
    """Return the attributes of RowSpace that belong to pairs."""
    n_pairs = len(shares)
    incidence = sparse.csr_array(
        (
            np.append(np.ones(n_pairs), -np.abs(shares)),
            (pairs.ravel(), np.tile(np.arange(n_pairs), 2)),
        ),
        shape=(len(Z), n_pairs),
    )
    differences = Z[pairs[0]] - shares[:, None] * Z[pairs[1]]
    return {
        "pairs": pairs,
        "shares": shares,
        "differences": differences,
        "distances": np.linalg.norm(differences, axis=1),
        "incidence": incidence,
    }


def _near_pairs(Z, n_neighbors):
    """Return the pairs of every row and its nearest, up to sign, (2, n_pairs)."""
    n = len(Z)
    n_neighbors = min(n_neighbors, n - 1)
    if n_neighbors < 1 or not Z.shape[1] or n > _MOST_NEAR:
        return np.zeros((2, 0), dtype=int)
    search = NearestNeighbors(n_neighbors=n_neighbors).fit(np.vstack([Z, -Z]))
    near = search.kneighbors(Z, n_neighbors=n_neighbors + 1)[1] % n
    first = np.repeat(np.arange(n), near.shape[1])
    pairs = np.sort(np.array([first, near.ravel()]), axis=0)
    return np.unique(pairs[:, pairs[0] != pairs[1]], axis=1)


@dataclass(frozen=True)
class Region:
    """The unit vectors u with ``normals u >= offsets``, a part of the sphere.

    ``sides`` holds one for a row of X with ``x^T u >= 0`` throughout, minus one for
    ``<= 0`` and zero where it may be either. ``rays``, in columns, span the region if
    it is a simplicial cone.
    """

    normals: np.ndarray  # (n_inequalities, rank)
    offsets: np.ndarray
    sides: np.ndarray
    rays: np.ndarray | None = None

    @classmethod
    def sphere(cls, rows):
        """Return the whole sphere."""
        n, rank = rows.Z.shape
        return cls(np.zeros((0, rank)), np.zeros(0), np.zeros(n))

    @classmethod
    def simplex(cls, rows, rays):
        """Return the cone of unit ``rays`` with its facets and the cap around it.

        A unit vector in it is ``rays c`` with ``1 <= sum(c)`` and, by norms, at most
        ``sqrt(rank) ||rays^-1||``.
        """
        inverse = np.linalg.inv(rays)
        largest = np.sqrt(len(rays)) * np.linalg.norm(inverse, 2)
        centre = rays.sum(axis=1)
        normals = np.vstack([centre[None], inverse])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        offsets = (normals @ rays).min(axis=1)
        offsets = np.where(offsets < 0.0, largest * offsets, offsets) - 1e-15
        offsets[1:] = np.minimum(offsets[1:], 0.0)
        values = rows.Z @ rays
        slack = _SIDE_RTOL / largest * rows.lengths
        sides = 1.0 * (values.min(axis=1) >= -slack)
        sides -= (values.max(axis=1) <= slack) & (sides == 0.0)
        return cls(normals, offsets, sides, rays)

    def halves(self, rows, u, covariance):
        """Split at the mean ``u`` across the widest direction of the covariance."""
        p = np.linalg.eigh(covariance)[1][:, -1]
        c = float(np.clip(p @ u, -0.9, 0.9))
        return [self._cut(rows, sign * p, sign * c) for sign in (1.0, -1.0)]

    def _cut(self, rows, p, c):
        """Return the part with ``p^T u >= c``."""
        sides = np.where(self.sides == 0.0, _sides_on_cap(rows, p, c), self.sides)
        return Region(
            np.vstack([self.normals, p]), np.append(self.offsets, c - 1e-15), sides
        )

    def bisected(self, rows, looseness):
        """Split a simplicial cone across its longest edge, at a row's plane."""
        rank = len(self.rays)
        if rank == 1:
            return [self]
        angles = np.triu(1.0 - self.rays.T @ self.rays, 1)
        a, b = np.unravel_index(np.argmax(angles), angles.shape)
        before, after = rows.Z @ self.rays[:, a], rows.Z @ self.rays[:, b]
        crossing = (self.sides == 0.0) & (before * after < 0.0)
        share = 0.5
        if crossing.any():
            before, after = np.abs(before[crossing]), np.abs(after[crossing])
            share = _weighted_median(before / (before + after), looseness[crossing])
        if rank > 2:
            share = np.clip(share, 0.25, 0.75)  # long thin cones are loose
        middle = (1.0 - share) * self.rays[:, a] + share * self.rays[:, b]
        middle /= np.linalg.norm(middle)
        parts = []
        for replaced in (a, b):
            rays = self.rays.copy()
            rays[:, replaced] = middle
            parts.append(Region.simplex(rows, rays))
        return parts


def fan(rows):
    """Return the simplicial cones over the facets of a regular simplex.

    Parameters
    ----------
    rows : RowSpace
        The data.

    Returns
    -------
    list of Region
        They cover the sphere.
    """
    rank = rows.rank
    if rank == 1:
        return [Region.simplex(rows, np.array([[sign]])) for sign in (1.0, -1.0)]
    centred = np.eye(rank + 1) - 1.0 / (rank + 1)
    corners = np.linalg.svd(centred)[2][:rank] @ centred
    corners /= np.linalg.norm(corners, axis=0)
    return [
        Region.simplex(rows, np.delete(corners, left_out, axis=1))
        for left_out in range(rank + 1)
    ]


def _sides_on_cap(rows, p, c):
    """Return the sides of the rows on the cap ``p^T u >= c``: zero where it has both.

    The least ``z^T u`` is ``c z^T p - sqrt((1 - c^2) (||z||^2 - (z^T p)^2))`` for a row
    z with ``z^T p >= 0``.
    """
    along = rows.Z @ p
    across = np.sqrt(np.maximum(rows.lengths**2 - along**2, 0.0))
    clear = c * np.abs(along) >= np.sqrt(1.0 - c * c) * across
    return np.where(clear & (c > 0.0), np.sign(along), 0.0)


def _weighted_median(values, weights):
    """Return the value at which half of the weight is reached."""
    order = np.argsort(values)
    sums = np.cumsum(weights[order] + TINY)
    return values[order][np.searchsorted(sums, 0.5 * sums[-1])]
