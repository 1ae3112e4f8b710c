"""The linear system of a Newton step, ``A^T diag(h) A + B``, and its blocks B.

A maps the unknowns of units to predictions, h is the curvature of the loss, and B has a
block for each unit, from its norms and its cones.
"""

import numpy as np
from scipy.linalg import cho_factor, cho_solve

__all__ = ["DenseBlocks", "DiagonalBlocks", "NewtonSystem", "PlainBlocks"]

# Least eigenvalue of B, times the curvature of the loss: below it Woodbury's identity
# cancels. On eight programmes of losses that bend (gaps of 1e-6) half and double took
# 401 and 399 steps, a tenth and ten times 400 and 398, against 398.
_REGULARISED = 1e-11


class PlainBlocks:
    """B without cones: a multiple of the identity and one direction, for each part."""

    def __init__(self, scaling, shape):
        self.scaling, self.shape = scaling, shape
        length = np.linalg.norm(scaling.p, axis=1)
        self.direction = scaling.p / np.maximum(length, 1e-300)[:, None]
        across = 1.0 / scaling.square
        self.across = across
        self.along = across / (2.0 * scaling.p0**2 - 1.0)

    def applied(self, z):
        """Return ``B z``."""
        return self.scaling.applied(z.reshape(self.scaling.p.shape)).reshape(self.shape)

    def function(self, z, across, along):
        """Return a function of B at ``z``, from its values at the eigenvalues."""
        v = z.reshape(self.scaling.p.shape)
        inner = (along - across) * np.einsum("pi,pi->p", self.direction, v)
        result = across[:, None] * v + inner[:, None] * self.direction
        return result.reshape(self.shape)

    def inverse(self, z, floor):
        """Return ``(B + floor)^-1 z``."""
        return self.function(z, 1 / (self.across + floor), 1 / (self.along + floor))

    def dual_gram(self, operator, floor):
        """Return ``A (B + floor)^-1 A^T``, (n_samples, n_samples).

        The part across the directions is ``(X X^T) * (M^T D M)``, entry by entry, with
        D the inverse eigenvalues: it does not cost more for more features.
        """
        n_parts, size = self.scaling.p.shape
        X, n = operator.X, operator.n_samples
        masks = operator.masks.reshape(n_parts, -1, n).astype(float, copy=False)
        across, along = 1.0 / (self.across + floor), 1.0 / (self.along + floor)
        values = self.direction.reshape(*masks.shape[:2], -1) @ X.T
        values = (masks * values).sum(axis=1) * np.sqrt(along - across)[:, None]
        weighted = masks * np.sqrt(across)[:, None, None]
        linear, apart = operator.linear_unit, 0.0
        if linear is not None:  # it has inputs of its own
            part = linear * (n_parts // operator.n_units)
            weighted[part, 0] = 0.0
            apart = across[part] * operator.linear_products
        weighted = weighted.reshape(-1, n)
        S = operator.inner_products * (weighted.T @ weighted)
        S += values.T @ values
        S += apart
        return S

    def add_to(self, H):
        """Add B to the diagonal blocks of ``H``."""
        n_parts, size = self.scaling.p.shape
        view, at = H.reshape(n_parts, size, n_parts, size), np.arange(n_parts)
        view[at, :, at, :] += self.scaling.matrices()


class DiagonalBlocks:
    """B without cones where every weight has a norm of its own: numbers."""

    def __init__(self, diagonal):
        self.diagonal = diagonal

    def applied(self, z):
        """Return ``B z``."""
        return self.diagonal * z

    def inverse(self, z, floor):
        """Return ``(B + floor)^-1 z``."""
        return z / (self.diagonal + floor)

    def dual_gram(self, operator, floor):
        """Return ``A (B + floor)^-1 A^T``, (n_samples, n_samples)."""
        roots = np.sqrt(1.0 / (self.diagonal.ravel() + floor))[:, None]
        weighted = np.empty((len(roots), operator.n_samples))
        for rows in operator.chunks():
            np.multiply(operator.rows(rows), roots, out=weighted[:, rows])
        return weighted.T @ weighted

    def add_to(self, H):
        """Add B to the diagonal of ``H``."""
        H[np.diag_indices_from(H)] += self.diagonal.ravel()


class DenseBlocks:
    """B with cones: a matrix for each unit."""

    def __init__(self, B):
        self.B, self.root = B, None

    def applied(self, z):
        """Return ``B z``."""
        return np.matmul(self.B, z[:, :, None])[:, :, 0]

    def inverse_root(self, floor):
        """Return R with ``R^T R = (B + floor)^-1`` for every unit."""
        if self.root is None:
            try:
                factors = np.linalg.cholesky(self.B + floor * np.eye(self.B.shape[1]))
                self.root = np.linalg.inv(factors)
            except np.linalg.LinAlgError:
                # Rounding made the least of widely spread eigenvalues negative.
                values, Q = np.linalg.eigh(self.B)
                least = np.maximum(1e-15 * values[:, -1:], 0.0)
                root = np.sqrt(np.maximum(values, least) + floor)
                self.root = (Q / root[:, None, :]).transpose(0, 2, 1)
        return self.root

    def inverse(self, z, floor):
        """Return ``(B + floor)^-1 z``."""
        R = self.inverse_root(floor)
        return np.matmul(R.transpose(0, 2, 1), np.matmul(R, z[:, :, None]))[:, :, 0]

    def dual_gram(self, operator, floor):
        """Return ``A (B + floor)^-1 A^T``, (n_samples, n_samples)."""
        n_units, size = self.B.shape[:2]
        R = self.inverse_root(floor)
        transformed = np.empty((n_units, size, len(operator.X)))
        for rows in operator.chunks():
            A = operator.rows(rows).reshape(n_units, size, -1)
            np.matmul(R, A, out=transformed[:, :, rows])
        transformed = transformed.reshape(n_units * size, -1)
        return transformed.T @ transformed

    def add_to(self, H):
        """Add B to the diagonal blocks of ``H``."""
        n_units, size = self.B.shape[:2]
        view, at = H.reshape(n_units, size, n_units, size), np.arange(n_units)
        view[at, :, at, :] += self.B


class NewtonSystem:
    """The Newton system ``A^T diag(h) A + B``, with the columns of an intercept, say.

    With few unknowns it is factored as it stands; with more unknowns than samples by
    Woodbury's identity, as a matrix of the size of the samples. B is nearly singular
    there where a unit is active, so a floor is put under it, and what that costs is
    refined away.
    """

    def __init__(self, operator, h, B, columns):
        self.operator, self.h, self.B = operator, h, B
        self.is_small = operator.n_unknowns <= operator.n_samples
        if self.is_small:
            H = operator.gram(h)
            B.add_to(H)
            self.factor = cho_factor(H, overwrite_a=True, check_finite=False)
        else:
            row = np.mean(np.sum(operator.X**2, axis=1))
            self.floor = _REGULARISED * h.sum() * row
            self.root = np.sqrt(h)
            self.factor = self.dual_factor()
        # What is not penalised is eliminated by the system's solutions for it.
        self.n_columns = columns.shape[1]
        if self.n_columns:
            weighted = h[:, None] * columns
            mixed = operator.adjoint(weighted)
            self.mixed = np.moveaxis(mixed, -1, 0)
            self.solved = np.array([self.refined(column) for column in self.mixed])
            S = columns.T @ weighted
            self.left = S - np.einsum("ius,jus->ij", self.mixed, self.solved)
            self.left[np.diag_indices_from(self.left)] += 1e-300

    def dual_factor(self):
        """Return the factor of ``I + sqrt(h) A (B + floor)^-1 A^T sqrt(h)``."""
        S = self.B.dual_gram(self.operator, self.floor)
        S *= self.root[:, None] * self.root
        S[np.diag_indices_from(S)] += 1.0
        return cho_factor(S, overwrite_a=True, check_finite=False)

    def solve(self, rhs, columns_rhs, rough):
        """Return the changes of the unknowns and of what is not penalised."""
        z = self.rough(rhs) if rough else self.refined(rhs)
        if not self.n_columns:
            return z, columns_rhs
        wanted = columns_rhs - np.einsum("jus,us->j", self.mixed, z)
        change = np.linalg.solve(self.left, wanted)
        return z - np.einsum("j,jus->us", change, self.solved), change

    def refined(self, rhs):
        """Solve without the intercept, and refine once where that helps.

        On seven programmes of five losses, to gaps of 1e-8, once took 165 steps, as did
        two and four times; without, two programmes stalled.
        """
        z = self.rough(rhs)
        residual = rhs - self.applied(z)
        again = z + self.rough(residual)
        left = rhs - self.applied(again)
        return again if np.linalg.norm(left) < np.linalg.norm(residual) else z

    def applied(self, z):
        """Return the system's matrix times ``z``."""
        curved = self.operator.adjoint(self.h * self.operator.values(z))
        return curved + self.B.applied(z)

    def rough(self, rhs):
        """Solve by the factor."""
        if self.is_small:
            z = cho_solve(self.factor, rhs.ravel(), check_finite=False)
            return z.reshape(rhs.shape)
        first = self.B.inverse(rhs, self.floor)
        v = self.root * cho_solve(
            self.factor, self.root * self.operator.values(first), check_finite=False
        )
        return first - self.B.inverse(self.operator.adjoint(v), self.floor)
