"""The best amplitudes of neurons whose directions are fixed, by Newton steps."""

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.linalg.lapack import dposv
from scipy.optimize import nnls

from sklearn_convexrelu.data.rows import FEW_ROWS
from sklearn_convexrelu.model.neurons import features

__all__ = ["Features", "best_amplitudes"]

# Rows that a Hessian is estimated from. On 20000 and 6000 rows (log loss, 40 and 60
# neurons) it takes 6 and 5 Newton steps; with half 7 and 7, with double 6 and 5.
_HESSIAN_ROWS = 2 * FEW_ROWS
# Numbers a row of blocks whose squares are summed, so that those have 512 rows: with
# 60, as 550 units have otherwise, adding up squares took longer than they did.
_SQUARES_WIDTH = 64
_FEW_BYTES = 1 << 23  # of values that are kept however small the data
# A Hessian is lifted by little, as a part of what it is for the squared loss, to be
# definite; by so many times more where the line search finds no decrease. On eleven
# problems of five losses, two with dependent neurons, neither half nor double of either
# changes a step: they are for curvatures that vanish.
_LEAST_LIFT, _MORE_LIFT = 1e-13, 1e4
# Times the decrease that the model promises: a step that brings more is too short, and
# is doubled. With the Huber loss of thresholds 0.01 and 0.05 it takes 18 and 19 steps,
# without 30 and 25; with 1.05 and 1.2 the same.
_MORE_THAN_PROMISED = 1.1


class Features:
    """Values of units of cost one at all rows, which are kept where that is little.

    Little is no more than a quarter of what the data take. Where there are more units
    than inputs, making them anew in each pass costs less than what is done with them.

    Parameters
    ----------
    problem : Problem
        Whose rows and shape.
    directions : ndarray of shape (n_inputs, n_units)
        Unit directions.
    """

    def __init__(self, problem, directions):
        self.rows, self.shape = problem.rows, problem.shape
        self.n_units = directions.shape[1]
        self.prepared = self.shape.prepared(self.rows, directions)
        self._kept = None
        size = self.rows.size * self.rows.dtype.itemsize
        most = 0 if self.rows.is_mapped else max(size / 4, _FEW_BYTES)
        if 8 * self.n_units * len(self.rows) <= most:
            self._kept = features(self.shape, self.rows, directions)

    @classmethod
    def given(cls, problem, values):
        """Return features that are known, (n_samples, n_units)."""
        made = object.__new__(cls)
        made.rows, made.shape, made.prepared = problem.rows, problem.shape, None
        made.n_units, made._kept = values.shape[1], values
        return made

    def reduce(self, kernel, *args, squares=False):
        """Return the sums of ``kernel(values, rows, *args)`` over all rows.

        Sums of ``squares``, (n_units, n_units), want blocks of as many rows.
        """
        width = self.shape.width(self.n_units)
        if squares:
            width *= min(1.0, _SQUARES_WIDTH / max(self.n_units, 1))
        return self.rows.reduce(_of_values, width, self, kernel, args)

    def block(self, block, rows):
        """Return the values at a block, (n, n_units)."""
        if self._kept is not None:
            return self._kept[rows]
        return self.shape.block_values(block, self.prepared)


def _of_values(block, rows, features, kernel, args):
    """Kernel: that of another of the values of units."""
    return kernel(features.block(block, rows), rows, *args)


def best_amplitudes(problem, features, A, amplitudes, intercept, tol, max_iter=30):
    """Minimise the objective over amplitudes and intercept, directions fixed.

    The convex problem is ``min_{c >= 0, b} L(sum_j c_j phi_j a_j^T + b) + alpha * sum_j
    c_j``. Each Newton step is a non-negative least squares problem on a factor
    of the small Hessian, the intercept eliminated; for the squared loss one step is
    exact. Coordinate descent, the usual choice, stalls here: neurons are correlated.

    Parameters
    ----------
    problem : Problem
        What is minimised.
    features : Features
        Values phi of the units of cost one.
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
    model = _Model(problem, features, A)
    lift = _LEAST_LIFT
    value, F = model.objective(c, b)
    for i in range(max_iter):
        direction, decrease = model.newton_step(c, F, lift)
        if decrease <= (tol if i else 0.0) and lift == _LEAST_LIFT:
            break
        found = _searched(model, (c, b), direction, value, decrease)
        if found is None:  # the model is far too flat, or no decrease is left
            lift *= _MORE_LIFT
            if problem.loss.is_quadratic or lift > 1.0:
                break
            continue
        lift = max(lift / _MORE_LIFT, _LEAST_LIFT)
        (c, b), (new_value, F) = found
        drop, value = value - new_value, new_value
        if problem.loss.is_quadratic and abs(drop - decrease) <= 1e-3 * decrease:
            break  # the model was exact
    return c, b


def _searched(model, point, direction, value, decrease):
    """Return the point that a line search ends at, and what is there; or None."""
    step, found = 1.0, None
    while found is None:
        trial = _moved(point, direction, step)
        there = model.objective(*trial)
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
        there = model.objective(*trial)
        if not there[0] < found[1][0]:
            break
        found = trial, there
    return found


def _moved(point, direction, step):
    """Return amplitudes, at least zero, and intercept after a step."""
    (c, b), (step_c, step_b) = point, direction
    return np.maximum(c + step * step_c, 0.0), b + step * step_b


class _Model:
    """The objective in amplitudes and intercept, and its second order model."""

    def __init__(self, problem, features, A):
        self.problem, self.features, self.A = problem, features, A
        self._hessian = None

    def objective(self, c, b):
        """Return the objective and the predictions."""
        problem = self.problem
        F = self.features.rows.empty(problem.n_outputs)
        (loss,) = self.features.reduce(_loss, c[:, None] * self.A, b, problem, F)
        return loss + problem.alpha * c.sum(), F

    def newton_step(self, c, F, lift):
        """Return the steps of c and b to the quadratic model's minimiser, and its drop.

        ``lift`` times what second derivatives are for the squared loss is added to
        those in the amplitudes and in the intercept.
        """
        problem, A = self.problem, self.A
        slopes, gradient_b, size, (S, H_mixed, H_b) = self.derivatives(F)
        gradient = np.einsum("kc,kc->k", slopes, A) + problem.alpha
        lift_c = lift * size
        if not problem.fit_intercept:
            S = _lifted(S, lift_c)
            step_c = _nonnegative_quadratic(S, S @ c - gradient, c) - c
            step_b = np.zeros(problem.n_outputs)
            return (step_c, step_b), -(gradient + 0.5 * S @ step_c) @ step_c
        # Eliminate the intercept: its best step is linear in that of the amplitudes.
        H_b = _lifted(H_b, lift)
        inverse = np.linalg.pinv(H_b, rcond=1e-12, hermitian=True)
        S = _lifted(S - H_mixed @ inverse @ H_mixed.T, lift_c)
        gradient -= H_mixed @ (inverse @ gradient_b)
        step_c = _nonnegative_quadratic(S, S @ c - gradient, c) - c
        step_b = -inverse @ (gradient_b + H_mixed.T @ step_c)
        drop = 0.5 * gradient_b @ inverse @ gradient_b
        return (step_c, step_b), drop - (gradient + 0.5 * S @ step_c) @ step_c

    def derivatives(self, F):
        """Return what ``_slopes`` does, and second derivatives at predictions F.

        These are of amplitudes (K, K), mixed (K, C), and of the intercept (C, C). Those
        of the squared loss are the same everywhere. Where steps are not exact anyway,
        some of many rows do. Rows come sorted, so every so many of them are a fair
        sample.
        """
        problem, A = self.problem, self.A
        if problem.loss.is_quadratic:
            if self._hessian is None:
                sums = self.features.reduce(_moments, problem.weights, squares=True)
                self._hessian = _of_moments(A, *sums)
            return *self.features.reduce(_slopes, F, problem), self._hessian
        step = max(len(F) // _HESSIAN_ROWS, 1)
        *first, total, H, H_mixed, H_b = self.features.reduce(
            _derivatives, F, problem, A, step, squares=step == 1
        )
        return *first, (H / total, H_mixed / total, H_b / total)


def _loss(values, rows, outputs, b, problem, F):
    """Kernel: the loss at predictions, which are written to F."""
    F[rows] = values @ outputs + b
    loss = problem.loss.value(F[rows], problem.Y[rows], problem.weights[rows])
    return (loss,)


def _slopes(values, rows, F, problem):
    """Kernel: gradients of the loss in features and intercept, and their mean square.

    The last is what second derivatives are to be compared with.
    """
    weights = problem.weights[rows]
    N = problem.loss.gradient(F[rows], problem.Y[rows], weights)
    size = weights @ np.einsum("ij,ij->i", values, values)
    return values.T @ N, N.sum(axis=0), size


def _moments(values, rows, weights):
    """Kernel: weighted second and first moments of the values."""
    weights = weights[rows]
    weighted = values * np.sqrt(weights)[:, None]
    return weights.sum(), weighted.T @ weighted, weights @ values


def _of_moments(A, total, squares, sums):
    """Return second derivatives where all outputs have the curvature of the weights."""
    return squares * (A @ A.T), sums[:, None] * A, total * np.eye(A.shape[1])


def _derivatives(values, rows, F, problem, A, step):
    """Kernel: ``_slopes``, and weight and second derivatives of every so many rows."""
    few = slice(rows.start, rows.stop, step)
    return (
        *_slopes(values, rows, F, problem),
        problem.weights[few].sum(),
        *_second_derivatives(values[::step], few, F, A, problem),
    )


def _second_derivatives(values, rows, F, A, problem):
    """Return second derivatives of the loss in amplitudes and intercept."""
    weights = problem.weights[rows]
    h, q = problem.loss.curvature(F[rows], problem.Y[rows], weights)
    # Most rows of a loss that is linear in pieces have none.
    bent = [np.flatnonzero(h[:, k]) for k in range(problem.n_outputs)]
    roots = [
        values[on] * np.sqrt(h[:, k][on])[:, None] * A[:, k]
        for k, on in enumerate(bent)
    ]
    Z = np.vstack(roots)
    H, H_mixed = Z.T @ Z, (values.T @ h) * A
    H_b = np.diag(h.sum(axis=0))
    if q is not None:
        projected = values * (q @ A.T)
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
    """Solve by an active set method that always ends, on a square root of S."""
    try:
        R = cholesky(S)
        target = solve_triangular(R, g, trans="T")
    except np.linalg.LinAlgError:  # rounding left S indefinite: lift its eigenvalues
        eigenvalues, Q = np.linalg.eigh(S)
        root = np.sqrt(np.maximum(eigenvalues, 1e-12 * max(eigenvalues[-1], 1e-300)))
        R, target = (Q * root).T, (Q / root).T @ g
    return nnls(R, target, maxiter=30 * len(g))[0]
