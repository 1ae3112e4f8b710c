"""Prices of directions and their gradients at a dual point, and directions priced."""

from dataclasses import dataclass, replace

import numpy as np

from sklearn_convexrelu.data.rows import Rows, kept
from sklearn_convexrelu.patterns.geometry import positive, unit

__all__ = ["BATCH", "DISTINCT", "Candidates", "Prices", "settled_sides"]

# Directions of a batch of starts. On four fits (diabetes, friedman1, breast cancer;
# three seeds) half and double as many did 0.74 and 1.5 times the work in as many
# rounds, but miss more prices (see ``search.py``).
BATCH = 80
# Cosine from which two directions, by what they do to the data, are the same. On those
# fits 0.9 and 0.975 did 1.03 and 0.97 times the work for what is added, 0.8 and 0.95
# the same for what is handed on.
DISTINCT = 0.95

_COMPARED = 96  # directions compared with all others at a time


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
    starts : Candidates or None
        Where the independent starts of the search ended, each of them and roughly.
    """

    directions: np.ndarray
    outputs: np.ndarray
    prices: np.ndarray
    starts: "Candidates | None" = None

    @classmethod
    def sorted(cls, directions, totals):
        """Return candidates from directions and their ``N^T relu(X u)``, (K, C)."""
        prices = np.linalg.norm(totals, axis=1)
        order = np.argsort(-prices, kind="stable")
        outputs = -totals[order] / positive(prices[order])[:, None]
        return cls(directions[:, order], outputs, prices[order])

    def first(self, count):
        """Return the most expensive of them."""
        best = slice(0, count)
        return Candidates(
            self.directions[:, best], self.outputs[best], self.prices[best]
        )

    def joined(self, directions, totals):
        """Return these candidates and others, from directions and their totals."""
        return Candidates.sorted(
            np.hstack([self.directions, directions]), np.vstack([self.totals, totals])
        )

    def joined_starts(self, others):
        """Return the ends of the starts of this search and of another."""
        if self.starts is None or others.starts is None:
            return others.starts if self.starts is None else self.starts
        return self.starts.joined(others.starts.directions, others.starts.totals)

    def started(self, starts):
        """Return these candidates, found from starts that ended at others."""
        return replace(self, starts=starts)

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
    """Prices and their gradients at one dual point ``N``.

    The products with all rows are done in the precision of the rows and of ``N``. Of
    ``monotone`` networks a unit has one side alone: where its output weight of that
    sign would not lower the loss its total is zero, and so is its price.
    """

    def __init__(self, X, N, monotone=None):
        self.rows, self.N, self.monotone = Rows.of(X), N, monotone
        self.dtype = np.result_type(self.rows.dtype, N.dtype)
        # One output: the price is linear in the pattern, so one product gives both the
        # price and its gradient, and the activations themselves are never needed.
        self._is_linear = N.shape[1] == 1
        self._weighted = self.rows.weighted(N) if self._is_linear else None

    def on(self, index, N):
        """Return the prices on some of the rows, at a dual point of these."""
        return Prices(self.rows.take(index), N, self.monotone)

    @kept
    def _half_sum(self):
        """Half of the pattern sum with all units on; only blurred sums need it."""
        return 0.5 * self.rows.sums(self.N)

    def totals(self, U):
        """Return ``N^T relu(X u)`` for every column of ``U``, (n_directions, C)."""
        totals = self.totals_and_gradients(U, None)[0]
        if self.monotone is None:
            return totals
        return self.monotone.allowed(self.monotone.sides(U), totals)

    def sides(self, U, totals):
        """Return the sides of units; those that may have either lower the loss."""
        return settled_sides(self.monotone.sides(U), totals)

    def within(self, U, totals, moved):
        """Return where steps from U end, that units stay on their sides.

        They stay where they are if nothing would be left of them.
        """
        if self.monotone is None:
            return moved
        within = self.monotone.within(moved, self.sides(U, totals))
        return np.where(within.any(axis=0), within, U)

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
            totals = np.einsum("ij,ij->j", G, U)[:, None]
            if self.monotone is None:
                return totals, G * np.sign(totals[:, 0])
            sides = self.sides(U, totals)
            ascents = self.monotone.tangent(U, -G * sides.astype(G.dtype), sides)
            return self.monotone.allowed(sides, totals), ascents
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
        weights = self.rows.weights(U.astype(self.dtype, copy=False))
        width = self._width(U)
        if A is None:
            return self.rows.reduce(_totals, width, weights, self.N)[0], None
        A = A.T.astype(self.dtype)
        return self.rows.reduce(_gradients, width, weights, self.N, A, widths)

    def _width(self, U):
        return U.shape[1] * self.dtype.itemsize / 8

    def _pattern_sums(self, U, widths=None):
        """Return ``sum_i 1[x_i u > 0] N_i x_i`` for every column u, maybe blurred."""
        U = U.astype(self.dtype, copy=False)
        if widths is not None:
            U = U / widths
        kernel = _passed_sums if widths is None else _blurred_sums
        weights = self.rows.weights(U)
        (G,) = self.rows.reduce(kernel, self._width(U), weights, self.N, self._weighted)
        # Activations are clipped to +-1/2; the other half is that of all rows.
        return G if widths is None else G + self._half_sum


def settled_sides(sides, totals):
    """Return sides of units with those that may be either chosen to lower the loss."""
    return np.where(sides == 0.0, -np.sign(totals[:, 0]), sides)


def _passed_sums(block, rows, weights, N, weighted):
    """Kernel: the sums of ``N_i x_i`` over rows that units pass; one output."""
    H = block.values(weights)
    np.greater(H, 0.0, out=H)
    return (_sums(block, rows, H, N, weighted),)


def _blurred_sums(block, rows, weights, N, weighted):
    """Kernel: the same with activations that rise linearly from -1/2 to 1/2."""
    H = block.values(weights)
    np.clip(H, -0.5, 0.5, out=H)
    return (_sums(block, rows, H, N, weighted),)


def _sums(block, rows, H, N, weighted):
    """Return ``(N * X)^T H``, from a weighted copy of the rows where there is one."""
    if weighted is None:
        return block.weighted_sums(N[rows], H)
    return weighted.sums_of(rows, H)


def _totals(block, rows, weights, N):
    """Kernel: ``N^T relu(X u)`` of directions, (K, C)."""
    H = block.values(weights)
    return (np.maximum(H, 0.0, out=H).T @ N[rows],)


def _gradients(block, rows, weights, N, A, widths):
    """Kernel: the same, and the gradients of ``a^T N^T relu(X u)``."""
    H = block.values(weights)
    E = N[rows] @ A
    if widths is None:
        E *= H > 0.0
    else:
        E *= np.clip(H / widths + 0.5, 0.0, 1.0)
    return np.maximum(H, 0.0, out=H).T @ N[rows], block.sums(E)
