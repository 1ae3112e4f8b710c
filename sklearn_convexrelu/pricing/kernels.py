"""Prices of directions and their gradients at a dual point, and directions priced."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sklearn_convexrelu.model.neurons import row_blocks
from sklearn_convexrelu.patterns.geometry import positive, unit

__all__ = ["Candidates", "Prices"]

_COMPARED = 96  # directions compared with all others at a time
_MOST_WEIGHTED = 4_000_000  # entries of X up to which a weighted copy is kept


@dataclass(frozen=True)
class Candidates:
    """Priced directions, most expensive first.

    Attributes
    ----------
    directions : ndarray of shape (n_inputs, n_candidates)
        Unit columns u.
    outputs : ndarray of shape (n_candidates, n_outputs)
        Unit rows: the output weights that lower the loss fastest.
    prices : ndarray of shape (n_candidates,)
        ``||N^T relu(X u)||_2``, decreasing.
    """

    directions: np.ndarray
    outputs: np.ndarray
    prices: np.ndarray

    @classmethod
    def sorted(cls, directions, totals):
        """Return candidates from directions and their ``N^T relu(X u)``, (K, C)."""
        prices = np.linalg.norm(totals, axis=1)
        order = np.argsort(-prices, kind="stable")
        outputs = -totals[order] / positive(prices[order])[:, None]
        return cls(directions[:, order], outputs, prices[order])

    def joined(self, directions, totals):
        """Return these candidates and others, from directions and their totals."""
        return Candidates.sorted(
            np.hstack([self.directions, directions]), np.vstack([self.totals, totals])
        )

    @property
    def totals(self):
        """What they were made from, ``N^T relu(X u)``."""
        return -self.outputs * self.prices[:, None]

    @property
    def best(self):
        """Largest price, zero when there is no candidate."""
        return float(self.prices.max(initial=0.0))

    def distinct(self, count, cosine, signature, above=-np.inf):
        """Keep the best ``count`` that differ, with prices over ``above``.

        Two candidates are the same when what a pricer's ``signature`` makes of their
        directions has a cosine above ``cosine`` and their outputs point to the same
        side.
        """
        n_above = int(np.count_nonzero(self.prices > above))
        U, A = self.directions[:, :n_above], self.outputs[:n_above]
        V, left, kept = unit(signature(U)), np.arange(n_above), []
        while len(left) and len(kept) < count:
            head = left[:_COMPARED]
            same = (V[:, head].T @ V[:, left] >= cosine) & (A[head] @ A[left].T >= 0.5)
            free = np.ones(len(left), dtype=bool)
            for k in range(len(head)):
                if free[k] and len(kept) < count:
                    kept.append(head[k])
                    free &= ~same[k]
            free[: len(head)] = False
            left = left[free]
        return Candidates(U[:, kept], A[kept], self.prices[kept])


class Prices:
    """Prices and their gradients at one dual point ``N``, by blocks of rows.

    The products with all rows are done in the precision of ``X`` and ``N``.
    """

    def __init__(self, X, N):
        self.X, self.N = X, N
        # One output: the price is linear in the pattern, so one product gives both the
        # price and its gradient, and the activations themselves are never needed.
        self._is_linear = N.shape[1] == 1
        self._weighted = None
        if self._is_linear and X.size <= _MOST_WEIGHTED:
            self._weighted = X * N

    @cached_property
    def _half_sum(self):
        """Half of the pattern sum with all units on; only blurred sums need it."""
        return 0.5 * (self.X.T @ self.N)

    def totals(self, U):
        """Return ``N^T relu(X u)`` for every column of ``U``, (n_directions, C)."""
        return self.totals_and_gradients(U, None)[0]

    def totals_and_ascents(self, U, outputs=None, widths=None):
        """Return totals and the gradients of the prices themselves, (n_inputs, K).

        With several outputs a gradient needs those of its price, which only a first
        pass over the rows can tell; ``outputs`` (K, C), unit rows from directions close
        by, save that pass. With ``widths`` (K,) an activation rises linearly from zero
        to one while ``x u`` goes from ``-width / 2`` to ``width / 2``: the gradient is
        a mean over directions close by. With one output totals are then rough.
        """
        if self._is_linear:
            G = self._pattern_sums(U, widths)
            totals = np.einsum("ij,ij->j", G, U)
            return totals[:, None], G * np.sign(totals)
        if outputs is None:
            outputs = unit(self.totals(U).T).T
        return self.totals_and_gradients(U, outputs, widths)

    def totals_and_gradients(self, U, A, widths=None):
        """Return totals and the gradients of ``a^T N^T relu(X u)``, (n_inputs, K).

        ``A`` (K, C) holds the unit vectors a; None skips the gradients. ``widths`` are
        as in ``totals_and_ascents``.
        """
        if self._is_linear:
            G = self._pattern_sums(U, widths)
            totals = np.einsum("ij,ij->j", G, U)[:, None]
            return totals, None if A is None else G * A[:, 0]
        dtype = self.X.dtype
        totals = np.zeros((U.shape[1], self.N.shape[1]), dtype)
        G = None if A is None else np.zeros(U.shape, dtype)
        U = U.astype(dtype, copy=False)
        A = None if A is None else A.T.astype(dtype)
        for rows in row_blocks(len(self.X), U.shape[1]):
            H = self.X[rows] @ U
            if A is not None:
                E = self.N[rows] @ A
                if widths is None:
                    E *= H > 0.0
                else:
                    E *= np.clip(H / widths + 0.5, 0.0, 1.0)
                G += self.X[rows].T @ E
            totals += np.maximum(H, 0.0, out=H).T @ self.N[rows]
        return totals, G

    def _pattern_sums(self, U, widths=None):
        """Return ``sum_i 1[x_i u > 0] N_i x_i`` for every column u, maybe blurred."""
        U = U.astype(self.X.dtype, copy=False)
        G = np.zeros(U.shape, U.dtype)
        if widths is not None:
            # Activations are clipped to +-1/2; the other half is that of all rows.
            U = U / widths
            G += self._half_sum
        for rows in row_blocks(len(self.X), U.shape[1]):
            H = self.X[rows] @ U
            if widths is None:
                np.greater(H, 0.0, out=H)
            else:
                np.clip(H, -0.5, 0.5, out=H)
            if self._weighted is None:
                G += (self.X[rows] * self.N[rows]).T @ H
            else:
                G += self._weighted[rows].T @ H
        return G
