"""Second-order cones ``||v|| <= t``: their algebra, scaling and steps to the boundary.

Every norm of the programme is the last coordinate of such a cone. Nesterov-Todd scaling
(Nesterov & Todd, SIAM Journal on Optimization 1998) maps a point and its dual to one
and the same vector; formulas as in Andersen, Dahl & Vandenberghe, "The CVXOPT linear
and quadratic cone program solvers" (2010). All parts are dealt with at once: scalars
are arrays (n_parts,), vectors (n_parts, size).
"""

import numpy as np

__all__ = ["Scaling", "jordan_divide", "jordan_product", "longest_step"]


class Scaling:
    """Nesterov-Todd scaling of ``(t, v)`` and its dual ``(alpha, w)``, for each part.

    The scaling point has the hyperbolic norm ``size`` and the unit form ``(p0, p)``
    with ``p0^2 - ||p||^2 = 1``. Eliminating t from the scaled Newton equations leaves
    ``B = (I - kappa p p^T) / size^2`` with ``kappa = 2 / (2 p0^2 - 1)``.
    """

    def __init__(self, t, v, alpha, w):
        lengths, duals = np.linalg.norm(v, axis=1), np.linalg.norm(w, axis=1)
        # As products: the squares would cancel near the boundary.
        x = np.sqrt(np.maximum((t - lengths) * (t + lengths), 1e-300))
        y = np.sqrt(np.maximum((alpha - duals) * (alpha + duals), 1e-300))
        t, v, a, w = t / x, v / x[:, None], alpha / y, w / y[:, None]
        norm = np.sqrt(0.5 * (1.0 + t * a + np.einsum("pi,pi->p", v, w)))
        self.p0 = (t + a) / (2.0 * norm)
        self.p = (v - w) / (2.0 * norm)[:, None]
        self.square = x / y
        self.size = np.sqrt(self.square)
        self.kappa = 2.0 / (2.0 * self.p0**2 - 1.0)
        self.scaled = self.shrink(t * x, v * x[:, None])

    def stretch(self, a0, a):
        """Apply the scaling."""
        inner = np.einsum("pi,pi->p", self.p, a)
        along = a0 + inner / (1.0 + self.p0)
        return self.size * (self.p0 * a0 + inner), self.size[:, None] * (
            a + self.p * along[:, None]
        )

    def shrink(self, a0, a):
        """Apply the inverse of the scaling."""
        inner = -np.einsum("pi,pi->p", self.p, a)
        along = a0 + inner / (1.0 + self.p0)
        return (self.p0 * a0 + inner) / self.size, (
            a - self.p * along[:, None]
        ) / self.size[:, None]

    def matrices(self):
        """Return the matrices B of the parts."""
        outer = self.p[:, :, None] * self.p[:, None, :]
        unit = np.eye(self.p.shape[1])
        return (unit - self.kappa[:, None, None] * outer) / self.square[:, None, None]

    def applied(self, v):
        """Return ``B v`` for every part."""
        inner = self.kappa * np.einsum("pi,pi->p", self.p, v)
        return (v - self.p * inner[:, None]) / self.square[:, None]

    def eliminated(self, f0, f):
        """Return what the right-hand side ``(f0, f)`` is once t is eliminated."""
        share = 2.0 * self.p0 * f0 / (2.0 * self.p0**2 - 1.0)
        return f + self.p * share[:, None]

    def completed(self, v, f0, constant):
        """Return the changes of t and w that belong to the change ``v``."""
        inner = np.einsum("pi,pi->p", self.p, v)
        t = (f0 * self.square + 2.0 * self.p0 * inner) / (2.0 * self.p0**2 - 1.0)
        return t, constant - self.applied(v)


def jordan_product(a, b):
    """Return the Jordan product of second-order cone vectors, part by part."""
    inner = np.einsum("pi,pi->p", a[1], b[1])
    return a[0] * b[0] + inner, a[0][:, None] * b[1] + b[0][:, None] * a[1]


def jordan_divide(a, b):
    """Return x with ``a o x = b``."""
    length = np.linalg.norm(a[1], axis=1)
    determinant = np.maximum((a[0] - length) * (a[0] + length), 1e-300)
    x0 = (a[0] * b[0] - np.einsum("pi,pi->p", a[1], b[1])) / determinant
    return x0, (b[1] - x0[:, None] * a[1]) / a[0][:, None]


def longest_step(t, v, dt, dv):
    """Return the largest s with ``||v + s dv|| <= t + s dt`` in every part."""
    length = np.linalg.norm(v, axis=1)
    c = np.maximum((t - length) * (t + length), 0.0)
    b = t * dt - np.einsum("pi,pi->p", v, dv)
    a = dt**2 - np.einsum("pi,pi->p", dv, dv)
    # The first root of c + 2 b s + a s^2, written so that nothing cancels.
    root = -b + np.sqrt(np.maximum(b**2 - a * c, 0.0))
    meets = (root > 0.0) & ((a < 0.0) | (b < 0.0)) & (b**2 >= a * c)
    return float(np.min(c[meets] / root[meets], initial=np.inf))
