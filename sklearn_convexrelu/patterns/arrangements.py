"""Activation patterns of data: sampled, enumerated completely, counted.

The pattern of a gate g is ``1[X g > 0]``. Patterns of full dimension are the cells of
the arrangement of the hyperplanes ``x_i^T g = 0``; only those are ever needed. Each
comes with a gate strictly inside its cell.
"""

from __future__ import annotations

from math import comb
from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_scalar

from sklearn_convexrelu.model.chunks import ENTRIES, chunks
from sklearn_convexrelu.model.neurons import power_of_two
from sklearn_convexrelu.patterns.geometry import second_moment_roots
from sklearn_convexrelu.patterns.planes import merge_parallel, row_space

__all__ = [
    "count_patterns",
    "enumerate_patterns",
    "middle",
    "patterns_of",
    "sample_patterns",
]

# By default. To list 68560 patterns (60 rows of rank four) takes 3 s, so this is some
# 10 s, and half or double that; more is likelier to be a mistake than a wish.
_MOST_PATTERNS = 200_000
# Batches without a new pattern before sampling ends: what is left are thin cells. Asked
# for all patterns of four tables that have 664, samples find 632; with half 627, with
# double 635.
_FRUITLESS = 50


def sample_patterns(
    X: ArrayLike,
    n_patterns: int = 200,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[NDArray, NDArray]:
    """Sample distinct activation patterns from Gaussian gates.

    Gates are drawn in the metric of the data, ``X g`` having about equal variance in
    all directions, so that features of very different scale do not hide each other
    (Pilanci & Ergen, ICML 2020, section 3: sampling the arrangement).

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Data; with a column of ones where hidden units have a bias.
    n_patterns : int, default=200
        How many patterns.
    random_state : int, RandomState instance or None, default=None
        Seed. The first patterns of a larger sample are those of a smaller one.

    Returns
    -------
    patterns : ndarray of shape (n_found, n_samples), bool
        Distinct patterns, none of them empty; fewer than ``n_patterns`` where the data
        seem to have no more.
    gates : ndarray of shape (n_found, n_features)
        Gates that make them: ``patterns[k]`` is ``X @ gates[k] > 0``.

    Raises
    ------
    ValueError
        If X is not finite or ``n_patterns`` is not a positive integer.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_convexrelu import sample_patterns
    >>> X = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 1.0]])
    >>> patterns, gates = sample_patterns(X, 5, random_state=0)
    >>> bool((patterns == (gates @ X.T > 0)).all()), len(patterns)
    (True, 5)
    """
    X = check_array(X, dtype=np.float64)
    check_scalar(n_patterns, "n_patterns", Integral, min_val=1)
    rng = check_random_state(random_state)
    X = X / power_of_two(np.abs(X).max(initial=0.0))  # squares must not overflow
    inverse_root = second_moment_roots(X)[1]
    batch = max(min(ENTRIES // len(X), 1000), 1)
    found, seen, fruitless = [], set(), 0
    # In batches, one product each; patterns are kept in the order of the draws, so that
    # a larger sample begins with a smaller one.
    while len(found) < n_patterns and fruitless < _FRUITLESS:
        gates = rng.standard_normal((batch, X.shape[1])) @ inverse_root.T
        patterns = _patterns(X, gates)
        before = len(found)
        for key, gate, some in zip(
            np.packbits(patterns, axis=1), gates, patterns.any(axis=1), strict=True
        ):
            code = key.tobytes()
            if some and code not in seen:
                seen.add(code)
                found.append(gate)
        fruitless = fruitless + 1 if len(found) == before else 0
    gates = np.array(found[:n_patterns]).reshape(-1, X.shape[1])
    return _patterns(X, gates), gates


def enumerate_patterns(
    X: ArrayLike, max_patterns: int = _MOST_PATTERNS
) -> tuple[NDArray, NDArray]:
    """Enumerate all activation patterns of full dimension, but the empty one.

    Parallel rows are merged and zero rows are inactive; directions in which the data
    vary by less than about 1e-10 of the largest are taken for rounding. In two
    dimensions the cells are the arcs between sorted angles. In more, every cell has a
    facet: the cells of the other rows within the hyperplane of each row are enumerated
    recursively, and each touches one cell on either side.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Data; with a column of ones where hidden units have a bias.
    max_patterns : int, default=200000
        Refuse data that may have more patterns.

    Returns
    -------
    patterns : ndarray of shape (n_patterns, n_samples), bool
        The patterns, in an order that depends on the data alone.
    gates : ndarray of shape (n_patterns, n_features)
        A gate strictly inside the cell of each.

    Raises
    ------
    ValueError
        If X is not finite, or if its number of distinct rows and its rank allow more
        than ``max_patterns``.

    References
    ----------
    .. [1] Edelsbrunner, O'Rourke & Seidel (1986), "Constructing Arrangements of Lines
       and Hyperplanes with Applications", SIAM Journal on Computing 15(2).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_convexrelu import enumerate_patterns
    >>> patterns, gates = enumerate_patterns(np.array([[1.0, 0.0], [0.0, 1.0]]))
    >>> sorted(patterns.astype(int).tolist())
    [[0, 1], [1, 0], [1, 1]]
    """
    X = check_array(X, dtype=np.float64)
    check_scalar(max_patterns, "max_patterns", Integral, min_val=1)
    if not X.any():
        return np.zeros((0, len(X)), dtype=bool), np.zeros((0, X.shape[1]))
    basis, _ = row_space(X)
    rank = basis.shape[1]
    Z = X / np.abs(X).max() @ basis
    planes, plane_of, sides = _planes(Z)
    count = count_patterns(len(planes), rank)
    if count > max_patterns:
        raise ValueError(
            f"{len(planes)} distinct rows of rank {rank} may have {count} activation "
            f"patterns, more than {max_patterns}. Use patterns='adaptive', which needs "
            "no list, or data of lower rank."
        )
    cells, gates = _cells(planes)
    patterns = np.zeros((len(cells), len(X)), dtype=bool)
    live = plane_of >= 0
    patterns[:, live] = cells[:, plane_of[live]] == (sides[live] > 0)
    gates = gates @ basis.T
    some = patterns.any(axis=1)
    return _with_true_gates(X, patterns[some], gates[some])


def count_patterns(n: int, rank: int) -> int:
    """Count the activation patterns of rows in general position.

    Parameters
    ----------
    n : int
        Number of rows, none of them parallel.
    rank : int
        Their rank.

    Returns
    -------
    int
        ``2 * sum_{k < rank} C(n - 1, k)``, the number of cells of the arrangement
        (Cover 1965). Where all rows lie in one half-space the empty pattern, which
        enumeration leaves out, is among them. Other rows of that rank have no more.

    Raises
    ------
    ValueError
        If ``n`` or ``rank`` is negative, or the rank is larger than n.

    Examples
    --------
    >>> from sklearn_convexrelu import count_patterns
    >>> count_patterns(10, 3)
    92
    """
    check_scalar(n, "n", Integral, min_val=0)
    check_scalar(rank, "rank", Integral, min_val=0, max_val=n)
    if rank == 0:
        return 1
    return 2 * sum(comb(int(n) - 1, k) for k in range(int(rank)))


def patterns_of(gates, X):
    """Return the distinct patterns that given gates make on data.

    Parameters
    ----------
    gates : array-like of shape (n_gates, n_features)
        The gates.
    X : ndarray of shape (n_samples, n_features)
        The data.

    Returns
    -------
    patterns : ndarray of shape (n_patterns, n_samples), bool
        Distinct patterns that are not empty, in the order of the gates.
    gates : ndarray of shape (n_patterns, n_features)
        The gates that made them.

    Raises
    ------
    ValueError
        If the gates have another number of features than X, are not finite or activate
        no sample.
    """
    gates = check_array(gates, dtype=np.float64, input_name="patterns")
    if gates.shape[1] != X.shape[1]:
        raise ValueError(
            f"patterns holds gates of {gates.shape[1]} weights, shape {gates.shape}, "
            f"but hidden units have {X.shape[1]}: one a feature, and one for the bias "
            "where hidden_bias=True."
        )
    sizes = np.abs(gates).max(axis=1, keepdims=True, initial=0.0)
    extreme = (sizes > 0.0) & ((sizes > 1e50) | (sizes < 1e-50))
    gates = np.where(extreme, gates / np.where(extreme, sizes, 1.0), gates)
    patterns = _patterns(X, gates)
    _, first = np.unique(np.packbits(patterns, axis=1), axis=0, return_index=True)
    first = np.sort(first[patterns[first].any(axis=1)])
    if not len(first):
        raise ValueError("No gate in patterns activates any sample.")
    return patterns[first], gates[first]


def _patterns(X, gates):
    """Return ``1[X g > 0]`` of every gate, (n_gates, n_samples)."""
    patterns = np.empty((len(gates), len(X)), dtype=bool)
    for chunk in chunks(len(gates), len(X)):
        patterns[chunk] = gates[chunk] @ X.T > 0.0
    return patterns


def _planes(Z):
    """Return unit normals, and for each row its plane (-1: none) and its side."""
    planes, plane_of, norms = merge_parallel(Z)
    sides = np.einsum("ij,ij->i", Z, planes[plane_of])
    return planes, np.where(norms > 0.0, plane_of, -1), sides


def _cells(planes):
    """Return the cells (n_cells, n_planes) and a gate inside each, in full rank."""
    n, rank = planes.shape
    if rank == 1:
        return np.array([[True], [False]]) == (planes[:, 0] > 0), np.array(
            [[1.0], [-1.0]]
        )
    if rank == 2:
        return _arcs(planes)
    # Every cell has a facet on some plane, so the cells of one dimension less, plane by
    # plane, reach all of them: arithmetic alone, where reverse search (Avis & Fukuda,
    # Discrete Applied Mathematics 1996) solves a linear programme a neighbour. Each
    # cell is found once a facet, which costs memory and is merged at the end.
    found, inside = [], []
    for i in range(n):
        # An orthonormal basis of the hyperplane, by a reflection of the i-th normal.
        Q = np.linalg.qr(planes[i][:, None], mode="complete")[0][:, 1:]
        others = np.delete(np.arange(n), i)
        walls, wall_of, sides = _planes(planes[others] @ Q)
        # Other planes may cut this one alike. They are merged, or between them there
        # would be cells of no width, whose signs are those of rounding.
        cells, gates = _cells(walls)
        full = np.zeros((len(cells), n), dtype=bool)
        full[:, others] = cells[:, wall_of] == (sides > 0)
        gates = gates @ Q.T
        # Leave the hyperplane on either side, half as far as the next one.
        values = np.abs(gates @ planes[others].T)
        speeds = np.abs(planes[others] @ planes[i])
        with np.errstate(divide="ignore"):
            reach = np.min(values / speeds, axis=1, initial=1.0)
        for side in (True, False):
            full[:, i] = side
            found.append(np.packbits(full, axis=1))
            inside.append(gates + (0.5 if side else -0.5) * reach[:, None] * planes[i])
    return _merged_cells(np.concatenate(found), np.concatenate(inside), n)


def _arcs(planes):
    """Return the cells of lines through the origin of the plane."""
    angles = np.sort(np.mod(np.arctan2(planes[:, 1], planes[:, 0]) + np.pi / 2, np.pi))
    corners = np.concatenate([angles, angles + np.pi, angles[:1] + 2 * np.pi])
    # Sorted angles: O(n log n), where the recursion down to rank one would take O(n^2).
    middles = (corners[1:] + corners[:-1]) / 2
    gates = np.column_stack([np.cos(middles), np.sin(middles)])
    return _patterns(planes, gates), gates


def _merged_cells(packed, gates, n):
    """Merge cells that were found from several facets; their gates' mean is inside."""
    packed, cell_of = np.unique(packed, axis=0, return_inverse=True)
    cell_of = cell_of.reshape(-1)
    sums = np.zeros((len(packed), gates.shape[1]))
    np.add.at(sums, cell_of, gates / np.linalg.norm(gates, axis=1)[:, None])
    sums /= np.linalg.norm(sums, axis=1)[:, None]
    return np.unpackbits(packed, axis=1, count=n).astype(bool), sums


def _with_true_gates(X, patterns, gates):
    """Return the patterns with gates that make them in floating point.

    Where rounding spoils a gate a linear programme looks for the middle of the cell:
    for all of 8180 cells (30 rows of rank 4) that would take 50 times as long as to
    list them. A cell too thin for that is dropped: a ball that few hyperplanes cut has
    a piece of about its size, so what such cells hold is next to a cell that is kept.
    """
    made = np.empty(len(patterns), dtype=bool)
    for chunk in chunks(len(patterns), len(X)):
        made[chunk] = (_patterns(X, gates[chunk]) == patterns[chunk]).all(axis=1)
    for k in np.flatnonzero(~made):
        gate = middle(X, patterns[k])
        if gate is not None:
            gates[k], made[k] = gate, True
    return patterns[made], gates[made]


def middle(X, pattern):
    """Return a gate of a pattern far from all hyperplanes, None where there is none.

    It is looked for in units in which the data vary alike in all directions.

    Raises
    ------
    ValueError
        If the linear programme fails: a gate of zero is feasible, so that says nothing
        of the cell.
    """
    live = X.any(axis=1)
    X = X / power_of_two(np.abs(X).max())  # squares must not overflow
    inverse_root = second_moment_roots(X)[1]
    rows = X[live] @ inverse_root
    rows /= np.linalg.norm(rows, axis=1)[:, None]
    signed = np.where(pattern[live], 1.0, -1.0)[:, None] * rows
    n_features = X.shape[1]
    answer = linprog(
        np.r_[np.zeros(n_features), -1.0],
        A_ub=np.column_stack([-signed, np.ones(len(signed))]),
        b_ub=np.zeros(len(signed)),
        bounds=[(-1.0, 1.0)] * (n_features + 1),
    )
    if answer.status != 0:
        raise ValueError(
            "The activation patterns could not be listed on these data: a linear "
            f"programme ended with {answer.message!r}; use patterns='adaptive'."
        )
    gate = inverse_root @ answer.x[:-1]
    return gate if ((X @ gate > 0.0) == pattern).all() else None
