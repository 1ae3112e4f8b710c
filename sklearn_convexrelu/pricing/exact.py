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

from sklearn_convexrelu.patterns.planes import (
    RANK_RTOL,
    merge_parallel,
    row_norms,
    row_space,
)
from sklearn_convexrelu.pricing.sweeps import CircleSweep, Points, SphereSweep

__all__ = [
    "ExactPrices",
    "ExactPricing",
    "distance_to_planes",
    "serves_rows",
    "effective_rank",
    "exact_price",
    "max_rows",
    "supports",
]


_HANDFUL = 16  # rows that show the rank of most data, in no time


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


def effective_rank(X, rtol=RANK_RTOL):
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


def serves_rows(rows, n_outputs):
    """Tell whether :class:`ExactPricing` serves neurons on these rows.

    A few rows, and before that a handful, show that of most data, whose rank is no
    less.
    """
    if not rows.has_array:
        return False
    few = rows.few()
    handful = few.take(slice(None, None, max(len(few) // _HANDFUL, 1)))
    return all(
        supports(effective_rank(part.array()), len(rows), n_outputs)
        for part in (handful, few, rows)
    )


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
        self._basis, self._dropped = row_space(self._X, RANK_RTOL)
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
        errors = distance_to_planes(Z, planes[plane_of], norms)
        self._rows, self._plane_of, self._norms = Z, plane_of, norms
        self._merge_error = scale * errors
        self.n_planes = len(planes)
        sweeps = {1: Points, 2: CircleSweep, 3: SphereSweep}
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
        prices = row_norms(values)
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
        norms = row_norms(N)
        rounding = 4 * np.finfo(float).eps * math.sqrt(len(N)) * row_norms(self._X)
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
        return U / row_norms(U)[:, None]


def _checked_matrix(X):
    X = np.asarray(X, dtype=float)
    if X.ndim != 2 or 0 in X.shape:
        raise ValueError(f"the data must be a non-empty matrix, got shape {X.shape}")
    if not np.isfinite(X).all():
        raise ValueError("the data must be finite")
    return X


def distance_to_planes(Z, planes, norms):
    """Distance from each row to the multiple of its plane's normal put in its place."""
    sign = np.where((Z * planes).sum(axis=1) < 0, -1.0, 1.0)
    return row_norms(Z - (sign * norms)[:, None] * planes)


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
