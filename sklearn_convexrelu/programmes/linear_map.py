"""The linear map from the unknowns of a programme's units to predictions."""

from functools import cached_property

import numpy as np

from sklearn_convexrelu.model.chunks import ENTRIES, chunks

__all__ = ["Operator"]

# Floats of a matrix that is kept. Two programmes of 5.8 and 4.4 million take 3.1 and
# 2.3 s where it is, 3.7 and 2.8 s where it is made again; half and double keep it too.
_CACHED = 6 * ENTRIES


class Operator:
    """The linear map from unknowns of units to predictions.

    Values come by products of the size of the masks. The matrix itself, as many times
    larger as there are inputs, is made where it is asked for: by chunks of samples
    where it does not fit the memory cap.

    Parameters
    ----------
    programme : GroupLasso
        The programme, of few enough units that their unknowns can be listed.
    """

    def __init__(self, programme):
        self.X, masks = programme.problem.X, programme.masks
        self.n_units, self.size = len(masks), masks.shape[1] * self.X.shape[1]
        self.n_unknowns = self.n_units * self.size
        self.programme = programme
        self.masks = masks.reshape(-1, len(self.X))
        if self.masks.size <= ENTRIES:
            self.masks = self.masks.astype(float)
        self.last_gram = self.cached = None

    @cached_property
    def inner_products(self):
        """``X X^T``, (n_samples, n_samples)."""
        return self.X @ self.X.T

    @property
    def linear_unit(self):
        """Index of the unit that is a linear part, None without one."""
        found = np.flatnonzero(self.programme.are_linear)
        return int(found[0]) if len(found) else None

    @cached_property
    def linear_products(self):
        """The same of the inputs of the linear part."""
        X = self.X[:, self.programme.problem.linear.inputs]
        return X @ X.T

    @property
    def n_samples(self):
        """Number of samples."""
        return len(self.X)

    def rows(self, rows):
        """Return the matrix of some samples, transposed: (n_unknowns, n_rows)."""
        if len(self.X) * self.n_unknowns > _CACHED:
            return self._made(rows)
        if self.cached is None:
            self.cached = self._made(slice(None))
        return self.cached[:, rows]

    def _made(self, rows):
        masks = self.masks[:, None, rows].astype(float, copy=False)
        made = masks * self.X[rows].T
        if self.linear_unit is not None:  # its first block comes first
            first = self.linear_unit * (len(masks) // self.n_units)
            made[first, ~self.programme.problem.linear.inputs] = 0.0
        return made.reshape(self.n_unknowns, -1)

    def chunks(self, width=None):
        """Return slices of samples of which ``width`` floats each fit the memory cap.

        By default they are those of the matrix.
        """
        return chunks(len(self.X), width or self.n_unknowns)

    def values(self, z):
        """Return the values at the samples of unknowns (n_units, size, ...)."""
        outputs = z.shape[2:]
        z = z.reshape(len(self.masks), self.X.shape[1], -1)
        F = np.empty((len(self.X), z.shape[2]))
        for rows in self.chunks(len(self.masks)):
            for c in range(z.shape[2]):
                H = z[:, :, c] @ self.X[rows].T
                F[rows, c] = np.einsum("un,un->n", H, self.masks[:, rows])
        return F.reshape(len(self.X), *outputs)

    def adjoint(self, v):
        """Return the adjoint at values ``v``, (n_units, size, ...)."""
        N = v.reshape(len(self.X), -1)
        G = np.zeros((len(self.masks), self.X.shape[1], N.shape[1]))
        for rows in self.chunks(len(self.masks)):
            for c in range(N.shape[1]):
                G[:, :, c] += (self.masks[:, rows] * N[rows, c]) @ self.X[rows]
        d = self.X.shape[1]
        G = G.reshape(self.n_units, self.size // d, d, N.shape[1])
        G = self.programme.of_own_inputs(G)
        return G.reshape(self.n_units, self.size, *v.shape[1:])

    def moments(self, weights):
        """Return ``X^T diag(w) X`` for every row w of ``weights`` (K, n_samples)."""
        d = self.X.shape[1]
        first, second = np.triu_indices(d)
        pairs = np.zeros((len(weights), len(first)))
        for rows in self.chunks(len(first)):
            products = self.X[rows][:, first] * self.X[rows][:, second]
            pairs += weights[:, rows] @ products
        full = np.empty((len(weights), d, d))
        full[:, first, second] = full[:, second, first] = pairs
        return full

    def gram(self, h):
        """Return ``A^T diag(h) A``, kept for the next time with the same h."""
        if self.last_gram is not None and np.array_equal(h, self.last_gram[0]):
            return self.last_gram[1].copy()
        total = np.zeros((self.n_unknowns, self.n_unknowns))
        for rows in self.chunks():
            A = self.rows(rows) * np.sqrt(h[rows])
            total += A @ A.T
        self.last_gram = h.copy(), total
        return total.copy()
