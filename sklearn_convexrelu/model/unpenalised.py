"""What is not penalised: the intercept, and the linear part where that is free.

Both are columns beside the units: a column of ones, and those of the inputs. A dual
point must be orthogonal to all of them, and training eliminates their weights. Here
they are one block of columns B. Those of the inputs are centred and made orthonormal,
weighted by samples, so that ``B^T diag(w) B = I``: then the squared loss has the unit
matrix for its Hessian, and no loss a worse one than its curvatures make.
"""

from dataclasses import replace

import numpy as np
from scipy.linalg import cho_factor, cho_solve

__all__ = ["MOST_FREE", "Unpenalised", "refuse_free"]

# Unknowns whose Hessian is one matrix: 134 MB, factored in some two seconds.
MOST_FREE = 4096
# Times the largest singular value of columns of equal length: less is rounding, by
# which columns that are sums of others come out of a QR decomposition.
_DEPENDENT = 1e-11
_ROUNDED = 100.0  # times the precision of the columns: the same of single precision
_CLOSED = 1e-12  # of a dual point, what its sums with orthonormal columns may be
_MOST_STEPS = 100  # of Newton's method; the losses at hand take up to some 20
_PROJECTIONS = 8  # of a dual point, each the square of the last one's error
# Of the loss of predictions that are given: nothing less is worth following, where a
# linear fit separates classes and has no optimum.
_SETTLED = 1e-12
_LIFT = 1e-13  # of the largest diagonal entry, to be definite
_SLAB = 1024  # rows of a sparse block that are made dense at a time
_MORE_THAN_PROMISED = 1.1  # decrease at which a step is too short, as in amplitudes.py


def refuse_free(n_columns, n_outputs, is_joint):
    """Raise where a free linear part has too many columns.

    Parameters
    ----------
    n_columns : int
        Inputs that have a part in it.
    n_outputs : int
        Number of outputs.
    is_joint : bool
        Whether the loss ties outputs together.
    """
    size = (n_columns + 1) * (n_outputs if is_joint else 1)
    if size > MOST_FREE:
        raise ValueError(
            f"skip_connection='free' solves for {size} weights at once, more than "
            f"{MOST_FREE}; use skip_connection=True, or fewer features."
        )


class Unpenalised:
    """Columns B, (n_samples, n_columns), of the intercept and a free linear part.

    Parameters
    ----------
    problem : Problem
        Whose rows, weights and linear part.
    """

    def __init__(self, problem):
        # Without a deadline: these are kept, and needed when it has passed.
        self.rows, self.weights = problem.rows.until(None), problem.weights
        self.has_intercept, part = bool(problem.fit_intercept), problem.linear
        self.is_free = part is not None and part.is_free
        self.index = part.indices if self.is_free else np.zeros(0, dtype=int)
        self.n_inputs = problem.rows.n_inputs
        self.means = np.zeros(len(self.index))
        self.scaling = self.inverse = np.zeros((0, 0))
        if len(self.index):
            if self.has_intercept:
                self.means = self.rows.sums(self.weights[:, None])[self.index, 0]
            self.scaling, self.inverse = self._orthonormal()

    @property
    def n_columns(self):
        """Number of columns."""
        return self.has_intercept + self.scaling.shape[1]

    def _orthonormal(self):
        """Return W with ``(X - means) W`` orthonormal, and its inverse on the left.

        By a QR decomposition of all rows, block by block: a matrix of second moments
        would lose half of the digits.
        """
        n = len(self.index)
        R = np.zeros((0, n))
        for at, block in self.rows.blocks(4 * self.rows.n_inputs):
            for part, X in self._centred(block):
                root = np.sqrt(self.weights[at][part])[:, None]
                R = np.linalg.qr(np.vstack([R, root * X]), mode="r")
        lengths = np.linalg.norm(R, axis=0)
        lengths = np.where(lengths > 0.0, lengths, 1.0)
        _, sizes, right = np.linalg.svd(R / lengths, full_matrices=False)
        # Columns that are sums of others are so to the precision that they came in,
        # of which those far from zero have lost digits to their means.
        precision = _ROUNDED * np.finfo(self.rows.dtype).eps
        rounding = precision * (1.0 + np.abs(self.means) / lengths)
        least = np.maximum(_DEPENDENT, np.linalg.norm(right * rounding, axis=1))
        sizes, right = _independent(sizes, right, least)
        return right.T / sizes / lengths[:, None], sizes[:, None] * right * lengths

    def _centred(self, block):
        """Yield parts of a block and the inputs of the linear part there, centred."""
        step = _SLAB if block.rows.is_sparse else len(block)
        for first in range(0, len(block), max(step, 1)):
            part = slice(first, first + step)
            own = (
                block
                if step >= len(block)
                else type(block)(block.table[part], block.rows)
            )
            X = own.dense()[:, self.index].astype(np.float64, copy=False)
            yield part, X - self.means

    def of_block(self, block):
        """Return the columns at the rows of a block, (n, n_columns)."""
        B = np.empty((len(block), self.n_columns))
        B[:, : self.has_intercept] = 1.0
        if len(self.index):
            for part, X in self._centred(block):
                B[part, self.has_intercept :] = X @ self.scaling
        return B

    def values_at(self, block, z):
        """Return ``B z`` at the rows of a block, or one row that is all of them."""
        return self.of_block(block) @ z if self.is_free else self.values(z)

    def sums_at(self, block, N):
        """Return ``B^T N`` of the rows of a block."""
        if self.is_free:
            return self.of_block(block).T @ N
        return N.sum(axis=0)[None][: self.has_intercept]

    def at(self, index):
        """Return the columns at some of the rows."""
        rows = self.rows.take(index)
        if not len(self.index):
            return np.ones((len(rows), self.n_columns))
        B = np.empty((len(rows), self.n_columns))
        for at, block in rows.blocks(4 * rows.n_inputs):
            B[at] = self.of_block(block)
        return B

    def array(self):
        """Return the columns as an array."""
        return self.at(slice(None))

    def sums(self, N):
        """Return ``B^T N``, (n_columns, n_outputs)."""
        if not len(self.index):
            return N.sum(axis=0)[None][: self.has_intercept]
        # Of the columns as they are elsewhere: sums of inputs, combined afterwards, are
        # not these where inputs almost depend on one another.
        return self.rows.reduce(_column_sums, 2 * self.n_inputs, self, N)[0]

    def coordinates(self, intercept, linear):
        """Return z for which ``B z`` is what an intercept and a Linear contribute."""
        z = np.zeros((self.n_columns, len(intercept)))
        if self.is_free and linear is not None:
            theta = linear.weights[self.index]
            z[self.has_intercept :] = self.inverse @ theta
            intercept = intercept + self.means @ theta
        z[: self.has_intercept] = intercept
        return z

    def affine(self, z):
        """Return the intercept and the weights of inputs of coordinates z.

        The weights are None where the linear part is not free.
        """
        intercept = np.zeros(z.shape[1])
        if self.has_intercept:
            intercept = z[0]
        if not self.is_free:
            return intercept, None
        weights = np.zeros((self.n_inputs, z.shape[1]))
        weights[self.index] = self.scaling @ z[self.has_intercept :]
        if self.has_intercept:
            intercept = intercept - self.means @ weights[self.index]
        return intercept, weights

    def values(self, z):
        """Return ``B z``, (n_samples, n_outputs), or one row that is all of them."""
        if not len(self.index):
            return z[0] if self.has_intercept else np.zeros(z.shape[1])
        out = np.empty((len(self.rows), z.shape[1]))
        width = 2 * self.n_inputs
        return self.rows.map(_values, width, out, self, z)

    def moved(self, network, z):
        """Return a network with ``B z`` added to its predictions."""
        step, weights = self.affine(z)
        changes = {"intercept": network.intercept + step}
        if weights is not None:
            linear = network.linear
            changes["linear"] = linear.with_weights(linear.weights + weights)
        return replace(network, **changes)

    def best_step(self, problem, F):
        """Return z that minimises the loss at ``F + B z``."""
        loss, Y, weights = problem.loss, problem.Y, problem.weights
        if not self.n_columns:
            return np.zeros((0, Y.shape[1]))
        if not self.is_free:
            return problem.best_intercept(F)[None]
        if not loss.is_smooth:  # which way a free part moves, smooth losses tell
            z = np.zeros((self.n_columns, Y.shape[1]))
            if self.has_intercept:
                z[0] = loss.best_intercept(F, Y, weights)
            return z
        return self._newton(problem, F)

    def _newton(self, problem, F):
        """Return the same by Newton's method, with steps halved or doubled.

        The last steps are judged by the gradient, which a dual point is: decreases of
        the loss are lost in rounding long before.
        """
        z = np.zeros((self.n_columns, problem.n_outputs))
        value, G = self._value_and_sums(problem, F)
        least = _SETTLED * value
        for _ in range(_MOST_STEPS):
            if value <= least or not np.isfinite(G).all():  # it has overflowed
                break
            direction = self._direction(problem, F, G)
            promised = -0.5 * np.vdot(G, direction)
            found = self._searched(problem, F, direction, value, promised)
            if found is None:
                break
            step, new, new_G = found
            if new >= value and np.abs(new_G).max() >= 0.5 * np.abs(G).max():
                break
            z, F = z + step, F + self.values(step)
            value, G = new, new_G
        return z

    def _direction(self, problem, F, G):
        if problem.loss.is_quadratic:
            return -G
        h, q = problem.loss.curvature(F, problem.Y, problem.weights)
        return -self.solved(h, q, G)

    def _searched(self, problem, F, direction, value, promised):
        """Return a step along a direction, and the loss and gradient there; or None."""
        rounding, length, found = 1e-13 * abs(value), 1.0, None
        while length > 1e-10:
            step = length * direction
            there = self._value_and_sums(problem, F + self.values(step))
            lower = value - there[0]
            if found is not None and not there[0] < found[1]:
                return found
            if lower >= 1e-4 * length * promised - rounding:
                found = step, *there
                if length < 1.0 or lower <= _MORE_THAN_PROMISED * promised:
                    return found
                length *= 2.0
            elif found is not None:
                return found
            else:
                length *= 0.5
        return None

    def _value_and_sums(self, problem, F):
        return problem.loss_at(F), self.sums(problem.gradient_at(F))

    def solved(self, h, q, G):
        """Return ``(B^T H B)^-1 G`` for samples' Hessians ``diag(h_i) - q_i q_i^T``."""
        if q is not None:
            shape, size = G.T.shape, G.size
            (S,) = self.rows.reduce(_joint_moments, 4 * size, self, h, q)
            return _solved(S, G.T.ravel()).reshape(shape).T
        width = 4 * self.n_columns * h.shape[1]
        (moments,) = self.rows.reduce(_moments, width, self, h)
        return np.column_stack(
            [_solved(S, g) for S, g in zip(moments, G.T, strict=True)]
        )

    def balanced(self, problem, N):
        """Return a point next to N in the conjugate's domain, orthogonal to B.

        That is dual feasibility. N is changed by ``H B c``, with H of ``loss.leeway``:
        entries change by a part of themselves, so that what is within the domain stays
        there. Where that does not get to the end zero is returned, which is feasible
        too. Of the intercept alone losses know a formula.
        """
        loss, Y, weights = problem.loss, problem.Y, problem.weights
        given = N
        for _ in range(_PROJECTIONS):
            G = self.sums(N)
            size = np.sqrt(np.sum(N * N / weights[:, None]))
            if np.abs(G).max(initial=0.0) <= _CLOSED * size:
                return N
            if not np.isfinite(G).all():
                break
            h, q = loss.leeway(N, Y, weights)
            step = self.values(self.solved(h, q, G))
            change = h * step
            if q is not None:
                change = change - q * np.einsum("ic,ic->i", q, step)[:, None]
            N = loss.kept_in_domain(N, N - change, weights, Y)
        return np.zeros_like(given)


def _independent(sizes, right, least):
    """Return the singular values that are not rounding, and their vectors.

    ``least`` is what they are to be above, in parts of the largest.
    """
    kept = sizes > least * sizes.max(initial=0.0)
    return sizes[kept], right[kept]


def _solved(S, g):
    """Return ``S^-1 g`` of a matrix that is positive definite but for rounding."""
    largest = np.abs(np.diagonal(S)).max(initial=0.0)
    if largest == 0.0:
        return np.zeros_like(g)
    S = S / largest + _LIFT * np.eye(len(S))
    try:
        return cho_solve(cho_factor(S), g / largest)
    except np.linalg.LinAlgError:
        return np.linalg.lstsq(S, g / largest, rcond=None)[0]


def _column_sums(block, rows, columns, N):
    """Kernel: ``B^T N``."""
    return (columns.of_block(block).T @ N[rows],)


def _values(block, rows, columns, z):
    """Kernel: ``B z``."""
    return columns.of_block(block) @ z


def _moments(block, rows, columns, h):
    """Kernel: ``B^T diag(h_c) B`` of every output c."""
    B = columns.of_block(block)
    return (np.array([(B.T * column) @ B for column in h[rows].T]),)


def _joint_moments(block, rows, columns, h, q):
    """Kernel: the Hessian of all outputs at once, output by output."""
    B, h, q = columns.of_block(block), h[rows], q[rows]
    n_columns, n_outputs = B.shape[1], h.shape[1]
    S = np.zeros((n_outputs, n_columns, n_outputs, n_columns))
    for c in range(n_outputs):
        S[c, :, c] = (B.T * h[:, c]) @ B
    S = S.reshape(n_outputs * n_columns, -1)
    Q = (q[:, :, None] * B[:, None, :]).reshape(len(B), -1)
    return (S - Q.T @ Q,)
