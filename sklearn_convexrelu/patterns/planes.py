"""Planes of the rows: the space they span, and the distinct ones among them.

What a unit does on data depends on its part in the row space, and where it is active on
the sides of the planes ``x_i^T u = 0``. Exact pricing, the enumeration of patterns and
the regions of the relaxation start from these.
"""

import numpy as np

__all__ = [
    "RANK_RTOL",
    "keeps_all",
    "merge_parallel",
    "on_planes",
    "row_norms",
    "row_space",
]

# Singular values, times the largest, that count as zero. In 300 products of factors of
# rank one and two, up to 2000 x 11, rounding left no more than 7e-16; columns of data
# that are combinations of others but for their printed digits leave far more. What is
# dropped enters `ExactPricing.slack`, so half or double cannot make a proof wrong.
RANK_RTOL = 1e-10
# Rows closer than this (in angle) to parallel share one plane. It must lie well above
# the rounding of a unit vector, below which the side of a plane is noise: multiples of
# one row were up to 8e-16 apart in 12000 trials. Half and double merge the same rows
# there, and none of 2000 Gaussian rows, nor would 1e-8.
_MERGE_TOL = 2e-13
# Cosine of a gate and a row up to which the gate is on the row's plane. Rounding makes
# some 1e-16 of it, and the nearest of 61 sampled gates on tables of up to 60 rows was
# at 7e-5: half and double refuse the same.
_BOUNDARY = 1e-12


def row_space(X, rtol=RANK_RTOL):
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


def on_planes(gates, X):
    """Tell for each gate whether it is orthogonal to a row, up to rounding.

    The cell of its pattern may then have an empty interior. Zero rows have no plane.
    """
    X = X[X.any(axis=1)]
    lengths = np.linalg.norm(gates, axis=1)[:, None] * np.linalg.norm(X, axis=1)
    return (np.abs(gates @ X.T) <= _BOUNDARY * lengths).any(axis=1)


def merge_parallel(Z):
    """Group parallel rows: unit normals (m, r), plane of each row, its weight.

    The weight is the norm of the row, since its sign does not matter for ``|z^T u|``.
    Zero rows get weight 0 and the plane 0.
    """
    norms = row_norms(Z)
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


def _split_at_gaps(labels, key):
    """Refine groups so that sorted keys within a group have no gap."""
    order = np.lexsort((key, labels))
    breaks = (np.diff(labels[order]) != 0) | (np.diff(key[order]) > _MERGE_TOL)
    refined = np.empty_like(labels)
    refined[order[:1]] = 0
    refined[order[1:]] = np.cumsum(breaks)
    return refined


def row_norms(A):
    """Euclidean norms of the rows, safe from overflow and underflow."""
    size = np.abs(A).max(initial=0.0)
    return np.zeros(len(A)) if size == 0 else size * np.sqrt(((A / size) ** 2).sum(1))
