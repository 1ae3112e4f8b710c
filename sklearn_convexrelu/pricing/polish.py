"""Polish local maxima of the price by the convex-concave procedure.

Along ``v = N a`` the price of a direction is ``v^T relu(X u)``: convex in u where v is
positive, concave where it is negative. Gradient steps end at the kinks of the concave
part. The convex-concave procedure (Yuille & Rangarajan, "The concave-convex procedure",
2003) does not: it replaces the convex part by its tangent, a lower bound, and maximises
the rest over the unit ball outright.
"""

import numpy as np

from sklearn_convexrelu.data.rows import Rows
from sklearn_convexrelu.model.norms import column_norms

__all__ = ["polish"]

# Tangents. One takes half the time of a finish and lost nothing on four small fits;
# three stay, since who asks for such tolerances asks for the bound.
_ROUNDS = 3
_MOST_ENTRIES = 2_000_000  # activations at a time, 16 MB: fewer directions on many rows


def polish(X, N, directions, outputs, n_steps, monotone=None):
    """Return unit directions of higher price than ``directions``, or as high.

    Parameters
    ----------
    X : Rows or ndarray of shape (n_samples, n_inputs)
        Inputs of the units.
    N : ndarray of shape (n_samples, n_outputs)
        Dual point.
    directions : ndarray of shape (n_inputs, n_directions)
        Unit columns, best first; only as many are polished as memory is meant for.
    outputs : ndarray of shape (n_directions, n_outputs)
        Their unit output weights, ``-N^T relu(X u)`` normalised.
    n_steps : int
        Accelerated gradient steps for each tangent.
    monotone : Monotone, default=None
        Of one output: the signs that weights are to have.

    Returns
    -------
    ndarray of shape (n_inputs, n_polished)
        Unit directions; their prices are for the caller to compute.
    """
    X = Rows.of(X)
    count = max(_MOST_ENTRIES // len(X), 1)
    U, A = directions[:, :count], outputs[:count]

    def within(residual):
        if monotone is None:
            return residual
        return monotone.within(residual, np.sign(A[:, 0]))

    for _ in range(_ROUNDS):
        V = -N @ A.T
        U = _best_of_tangent(X, V, U, n_steps, within)
        if N.shape[1] > 1:  # one output keeps its sign
            totals = N.T @ np.maximum(X.values(U), 0.0)
            A = -(totals / np.maximum(column_norms(totals), 1e-300)).T
    return U


def _best_of_tangent(X, V, U, n_steps, within):
    """Maximise the minorant of ``v^T relu(X u)`` at every column of U and V.

    With c the tangent of the convex part and m = max(-v, 0) it is the maximum over the
    ball of ``c^T u - m^T relu(X u)``, by duality the least length of
    ``c - X^T (m * t)`` over 0 <= t <= 1, and u is that vector normalised. Over the part
    of the ball in a cone it is that of the vector's projection on it, ``within``, whose
    half square has as smooth a gradient.
    """
    active = X.values(U) > 0.0
    C = X.sums(np.maximum(V, 0.0) * active)
    M = np.maximum(-V, 0.0)
    step = 1.0 / np.maximum(_curvatures(X, M), 1e-300)
    T = active.astype(float)
    Y, momentum = T, np.ones(U.shape[1])
    for _ in range(n_steps):
        residual = within(C - X.sums(M * Y))
        new = np.clip(Y + step * M * X.values(residual), 0.0, 1.0)
        # Accelerated, and restarted where the step turns back (O'Donoghue & Candes).
        turned = np.einsum("ij,ij->j", Y - new, new - T) > 0.0
        following = np.where(turned, 1.0, 0.5 + np.sqrt(0.25 + momentum**2))
        beta = np.where(turned, 0.0, (momentum - 1.0) / following)
        Y, T, momentum = new + beta * (new - T), new, following
    residual = within(C - X.sums(M * T))
    lengths = column_norms(residual)
    return np.where(lengths > 0.0, residual / np.maximum(lengths, 1e-300), U)


def _curvatures(X, M):
    """Return about the largest eigenvalue of ``X^T diag(m^2) X`` for every column m."""
    Z = np.ones((X.n_inputs, M.shape[1]))
    for _ in range(10):
        Z = X.sums(M * M * X.values(Z / np.maximum(column_norms(Z), 1e-300)))
    return 1.2 * column_norms(Z)
