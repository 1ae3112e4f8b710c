"""Correct: the best amplitudes of neurons whose directions are fixed."""

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.linalg.lapack import dposv
from scipy.optimize import nnls

__all__ = ["best_amplitudes"]

# Rows that a Hessian is estimated from. On 20000 and 6000 rows (log loss, 40 and 60
# neurons) it takes 6 and 5 Newton steps; with half 7 and 7, with double 6 and 5.
_HESSIAN_ROWS = 4096
# A Hessian is lifted by little, as a part of what it is for the squared loss, to be
# definite; by so many times more where the line search finds no decrease. On eleven
# problems of five losses, two with dependent neurons, neither half nor double of either
# changes a step: they are for curvatures that vanish.
_LEAST_LIFT, _MORE_LIFT = 1e-13, 1e4
# Times the decrease that the model promises: a step that brings more is too short, and
# is doubled. With the Huber loss of thresholds 0.01 and 0.05 it takes 18 and 19 steps,
# without 30 and 25; with 1.05 and 1.2 the same.
_MORE_THAN_PROMISED = 1.1


def best_amplitudes(problem, Phi, A, amplitudes, intercept, tol, max_iter=30):
    """Minimise the objective over amplitudes and intercept, directions fixed.

    The convex problem is ``min_{c >= 0, b} L(sum_j c_j phi_j a_j^T + b) + alpha * sum_j
    c_j``. Each Newton step is a non-negative least squares problem on a factor
    of the small Hessian, the intercept eliminated; for the squared loss one step is
    exact. Coordinate descent, the usual choice, stalls here: neurons are correlated.

    Parameters
    ----------
    problem : Problem
        What is minimised.
    Phi : ndarray of shape (n_samples, n_neurons)
        Values of the neurons of cost one.
    A : ndarray of shape (n_neurons, n_outputs)
        Unit output vectors.
    amplitudes, intercept : ndarray
        Where to start: (n_neurons,) and (n_outputs,).
    tol : float
        Stop when a Newton step but the first promises no more than this decrease.
    max_iter : int
        Largest number of Newton steps.

    Returns
    -------
    tuple of ndarray
        Amplitudes, with exact zeros, and intercept.
    """
    c, b = amplitudes, intercept
    size = problem.weights @ np.einsum("ij,ij->i", Phi, Phi)
    lift = _LEAST_LIFT
    value, N, F = _objective(problem, Phi, A, c, b)
    for i in range(max_iter):
        direction, decrease = _newton_step(
            problem, Phi, A, c, N, F, (lift * size, lift)
        )
        if decrease <= (tol if i else 0.0) and lift == _LEAST_LIFT:
            break
        found = _searched(problem, Phi, A, (c, b), direction, value, decrease)
        if found is None:  # the model is far too flat, or no decrease is left
            lift *= _MORE_LIFT
            if problem.loss.is_quadratic or lift > 1.0:
                break
            continue
        lift = max(lift / _MORE_LIFT, _LEAST_LIFT)
        (c, b), (new_value, N, F) = found
        drop, value = value - new_value, new_value
        if problem.loss.is_quadratic and abs(drop - decrease) <= 1e-3 * decrease:
            break  # the model was exact
    return c, b


def _searched(problem, Phi, A, point, direction, value, decrease):
    """Return the point that a line search ends at, and what is there; or None."""
    step, found = 1.0, None
    while found is None:
        trial = _moved(point, direction, step)
        there = _objective(problem, Phi, A, *trial)
        if there[0] <= value - 1e-4 * step * decrease:
            found = trial, there
        elif step < 1e-8:
            return None
        else:
            step *= 0.5
    # Where a loss is linear its curvature is made up, and steps are too short.
    while step >= 1.0 and value - found[1][0] > _MORE_THAN_PROMISED * decrease:
        step *= 2.0
        trial = _moved(point, direction, step)
        there = _objective(problem, Phi, A, *trial)
        if not there[0] < found[1][0]:
            break
        found = trial, there
    return found


def _moved(point, direction, step):
    """Return amplitudes, at least zero, and intercept after a step."""
    (c, b), (step_c, step_b) = point, direction
    return np.maximum(c + step * step_c, 0.0), b + step * step_b


def _objective(problem, Phi, A, c, b):
    """Return the objective, the gradient of the loss in predictions, and those."""
    F = Phi @ (c[:, None] * A) + b
    value, N = problem.loss.value_and_gradient(F, problem.Y, problem.weights)
    return value + problem.alpha * c.sum(), N, F


def _newton_step(problem, Phi, A, c, N, F, lifts):
    """Return the steps of c and b to the quadratic model's minimiser, and its drop.

    ``lifts`` are added to the second derivatives in the amplitudes and the intercept.
    """
    S, H_mixed, H_b = _hessian(problem, Phi, A, F)
    gradient = ((Phi.T @ N) * A).sum(axis=1) + problem.alpha
    if not problem.fit_intercept:
        S = _lifted(S, lifts[0])
        step_c = _nonnegative_quadratic(S, S @ c - gradient, c) - c
        step_b = np.zeros(problem.n_outputs)
        return (step_c, step_b), -(gradient + 0.5 * S @ step_c) @ step_c
    # Eliminate the intercept: its best step is linear in that of the amplitudes.
    H_b = _lifted(H_b, lifts[1])
    inverse = np.linalg.pinv(H_b, rcond=1e-12, hermitian=True)
    gradient_b = N.sum(axis=0)
    S = _lifted(S - H_mixed @ inverse @ H_mixed.T, lifts[0])
    gradient -= H_mixed @ (inverse @ gradient_b)
    step_c = _nonnegative_quadratic(S, S @ c - gradient, c) - c
    step_b = -inverse @ (gradient_b + H_mixed.T @ step_c)
    drop = 0.5 * gradient_b @ inverse @ gradient_b
    return (step_c, step_b), drop - (gradient + 0.5 * S @ step_c) @ step_c


def _hessian(problem, Phi, A, F):
    """Return second derivatives: amplitudes (K, K), mixed (K, C), intercept (C, C).

    Where steps are not exact anyway, some of many rows do. Rows come sorted, so every
    so many of them are a fair sample.
    """
    is_quadratic = problem.loss.is_quadratic
    rows = slice(None, None, 1 if is_quadratic else max(len(Phi) // _HESSIAN_ROWS, 1))
    Phi, Y, weights = Phi[rows], problem.Y[rows], problem.weights[rows]
    h, q = problem.loss.curvature(F[rows], Y, weights / weights.sum())
    # A curvature that all outputs share needs one product for all.
    every = range(problem.n_outputs)
    H, H_mixed = np.zeros((len(A), len(A))), np.empty(A.shape)
    for outputs in [every] if is_quadratic else [[k] for k in every]:
        a, weight = A[:, outputs], h[:, outputs[0]]
        weighted = Phi * np.sqrt(weight)[:, None]
        H += (weighted.T @ weighted) * (a @ a.T)
        H_mixed[:, outputs] = (weight @ Phi)[:, None] * a
    H_b = np.diag(h.sum(axis=0))
    if q is not None:
        projected = Phi * (q @ A.T)
        H -= projected.T @ projected
        H_mixed -= projected.T @ q
        H_b = H_b - q.T @ q
    return H, H_mixed, H_b


def _lifted(S, lift):
    """Return ``S`` made definite; in a Newton step that is a proximal term."""
    return S + lift * np.eye(len(S))


def _nonnegative_quadratic(S, g, start):
    """Return ``argmin_{c >= 0} c^T S c / 2 - g^T c`` for a positive semidefinite S."""
    if not len(g):
        return g
    found = _pivoted(S, g, start)
    return _least_squares(S, g) if found is None else found


def _pivoted(S, g, start, max_iter=50):
    """Solve by block principal pivoting (Kim & Park 2011), or return None.

    Whole sets of amplitudes move between zero and free until all signs are right. From
    the support of ``start`` that takes a few linear systems, but it is not sure to end.
    """
    slope = S @ start - g
    free = (start > 0.0) | (slope < 0.0)
    rounding = 1e-10 * np.abs(g).max()
    fewest, patience = len(g) + 1, 3
    for _ in range(max_iter):
        index, c = np.flatnonzero(free), np.zeros(len(g))
        if len(index):
            _, c[index], info = dposv(S[np.ix_(index, index)], g[index])
            if info:
                return None
        wrong = np.where(free, c < 0.0, S[:, index] @ c[index] - g < -rounding)
        n_wrong = np.count_nonzero(wrong)
        if n_wrong == 0:
            return c
        if n_wrong < fewest:
            fewest, patience = n_wrong, 3
        elif patience:
            patience -= 1
        else:  # one at a time, in a fixed order, cannot cycle
            wrong[: np.flatnonzero(wrong)[-1]] = False
        free ^= wrong
    return None


def _least_squares(S, g):
    """Solve by an active set method that aldirection ends, on a square root of S."""
    try:
        R = cholesky(S)
        target = solve_triangular(R, g, trans="T")
    except np.linalg.LinAlgError:  # rounding left S indefinite: lift its eigenvalues
        eigenvalues, Q = np.linalg.eigh(S)
        root = np.sqrt(np.maximum(eigenvalues, 1e-12 * max(eigenvalues[-1], 1e-300)))
        R, target = (Q * root).T, (Q / root).T @ g
    return nnls(R, target, maxiter=30 * len(g))[0]
