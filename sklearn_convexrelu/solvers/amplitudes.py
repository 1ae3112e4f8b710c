"""Correct: the best amplitudes of neurons whose directions are fixed."""

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls

__all__ = ["best_amplitudes"]


def best_amplitudes(problem, U, A, amplitudes, intercept, tol, max_iter=30):
    """Minimise the objective over amplitudes and intercept, directions fixed.

    The convex problem is ``min_{c >= 0, b} L(sum_j c_j relu(X u_j) a_j + b) + alpha *
    sum_j c_j``. Each Newton step is a non-negative least squares problem on a factor
    of the small Hessian, the intercept eliminated; for the squared loss one step is
    exact. Coordinate descent, the usual choice, stalls here: neurons are correlated.

    Parameters
    ----------
    problem : Problem
        What is minimised.
    U : ndarray of shape (n_inputs, n_neurons)
        Unit directions.
    A : ndarray of shape (n_neurons, n_outputs)
        Unit output vectors.
    amplitudes, intercept : ndarray
        Where to start: (n_neurons,) and (n_outputs,).
    tol : float
        Stop when a Newton step promises less than this decrease.
    max_iter : int
        Largest number of Newton steps.

    Returns
    -------
    tuple of ndarray
        Amplitudes, with exact zeros, and intercept.
    """
    Phi = np.maximum(problem.X @ U, 0.0)
    c, b = amplitudes, intercept
    value, N = _objective(problem, Phi, A, c, b)
    for _ in range(max_iter):
        step_c, step_b, decrease = _newton_step(problem, Phi, A, c, b, N)
        if decrease <= tol:
            break
        step = 1.0
        while step > 1e-8:
            trial = c + step * step_c, b + step * step_b
            new_value, new_N = _objective(problem, Phi, A, *trial)
            if new_value <= value - 1e-4 * step * decrease:
                break
            step *= 0.5
        else:
            break  # no decrease left in floating point
        (c, b), drop, value, N = trial, value - new_value, new_value, new_N
        if abs(drop - decrease) <= 1e-3 * decrease:
            break  # the model was exact, as it is for the squared loss
    return c, b


def _objective(problem, Phi, A, c, b):
    """Return the objective and the gradient of the loss in the predictions."""
    F = (Phi * c) @ A + b
    value, N = problem.loss.value_and_gradient(F, problem.Y, problem.weights)
    return value + problem.alpha * c.sum(), N


def _newton_step(problem, Phi, A, c, b, N):
    """Return the steps of c and b to the quadratic model's minimiser, and its drop."""
    S, H_mixed, H_b = _hessian(problem, Phi, A, c, b)
    gradient = np.einsum("ij,ij->j", Phi, N @ A.T) + problem.alpha
    if not problem.fit_intercept:
        step_c = _nonnegative_quadratic(S, S @ c - gradient) - c
        return step_c, np.zeros_like(b), -(gradient + 0.5 * S @ step_c) @ step_c
    # Eliminate the intercept: its best step is linear in that of the amplitudes.
    inverse = np.linalg.pinv(H_b, rcond=1e-12, hermitian=True)
    gradient_b = N.sum(axis=0)
    S -= H_mixed @ inverse @ H_mixed.T
    gradient -= H_mixed @ (inverse @ gradient_b)
    step_c = _nonnegative_quadratic(S, S @ c - gradient) - c
    step_b = -inverse @ (gradient_b + H_mixed.T @ step_c)
    drop = 0.5 * gradient_b @ inverse @ gradient_b
    return step_c, step_b, drop - (gradient + 0.5 * S @ step_c) @ step_c


def _hessian(problem, Phi, A, c, b):
    """Return second derivatives: amplitudes (K, K), mixed (K, C), intercept (C, C)."""
    F = (Phi * c) @ A + b
    h, q = problem.loss.curvature(F, problem.Y, problem.weights)
    H = np.zeros((len(c), len(c)))
    H_mixed = np.empty((len(c), problem.n_outputs))
    for k in range(problem.n_outputs):
        weighted = Phi * h[:, k, None]
        H += (Phi.T @ weighted) * np.outer(A[:, k], A[:, k])
        H_mixed[:, k] = weighted.sum(axis=0) * A[:, k]
    H_b = np.diag(h.sum(axis=0))
    if q is not None:
        projected = Phi * (q @ A.T)
        H -= projected.T @ projected
        H_mixed -= projected.T @ q
        H_b = H_b - q.T @ q
    return H, H_mixed, H_b


def _nonnegative_quadratic(S, g):
    """Return ``argmin_{c >= 0} c^T S c / 2 - g^T c`` for a positive semidefinite S."""
    if not len(g):
        return g
    # A square root of S makes it least squares. Cholesky's is ten times faster; where
    # rounding leaves S indefinite, small eigenvalues are lifted instead.
    try:
        R = cholesky(S + 1e-13 * np.trace(S) * np.eye(len(g)))
        target = solve_triangular(R, g, trans="T")
    except np.linalg.LinAlgError:
        eigenvalues, Q = np.linalg.eigh(S)
        root = np.sqrt(np.maximum(eigenvalues, 1e-12 * max(eigenvalues[-1], 1e-300)))
        R, target = (Q * root).T, (Q / root).T @ g
    return nnls(R, target, maxiter=30 * len(g))[0]
