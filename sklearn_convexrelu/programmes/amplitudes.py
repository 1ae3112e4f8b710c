"""The best amplitudes of neurons whose directions are fixed, by Newton steps."""

from dataclasses import replace

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from sklearn_convexrelu.data.rows import FEW_ROWS, SQUARES_ROWS, SQUARES_WIDTH
from sklearn_convexrelu.patterns.geometry import positive
from sklearn_convexrelu.programmes.moments import Moments
from sklearn_convexrelu.programmes.pivoting import nonnegative_quadratic

__all__ = ["Features", "best_amplitudes", "rebalanced"]

# Rows that a Hessian is estimated from. On 20000 and 6000 rows (log loss, 40 and 60
# neurons) it takes 6 and 5 Newton steps; with half 7 and 7, with double 6 and 5.
_HESSIAN_ROWS = 2 * FEW_ROWS
# Part of a row's curvature whose classes share their proportions with other rows. With
# 40 and 26 classes fits took 37.9 and 4.8 s with none, 24.0 and 2.6 with half of this,
# 19.5 and 3.1 with this, 23.8 and 3.3 with double: steps get worse as they get cheaper.
_TAIL = 0.1
# Drawn classes, for each unknown, that a Hessian over many classes is a mean over; the
# error of its eigenvalues is twice the root of its inverse.
# Steps are twice as many, so classes are drawn where that is so many times less work:
# of 100 classes and 5000 rows (900 neurons) amplitudes took 34 s of a fit, with twice
# this 41, with half of it the same; 26 classes take as long with this as with twice.
_DRAWS, _WORTH_DRAWING = 32, 2
_GOLDEN = 0.5 * (np.sqrt(5.0) - 1.0)
_FEW_BYTES = 1 << 23  # of values that are kept however small the data
_MOST_EIGENVALUES = 100
_WORTH = 1.0 + 1e-6  # times alpha: prices of linear neurons to add, beyond rounding
# A Hessian is lifted by little, as a part of what it is for the squared loss, to be
# definite; by so many times more where the line search finds no decrease. On eleven
# problems of five losses, two with dependent neurons, neither half nor double of either
# changes a step: they are for curvatures that vanish.
_LEAST_LIFT, _MORE_LIFT = 1e-13, 1e4
# Times the decrease that the model promises: a step that brings more is too short, and
# is doubled. With the Huber loss of thresholds 0.01 and 0.05 it takes 18 and 19 steps,
# without 30 and 25; with 1.05 and 1.2 the same.
_MORE_THAN_PROMISED = 1.1
# Part of the promised decrease that a step may miss, or exceed, for the next one to go
# by the same second derivatives. On 100 classes (180 to 470 neurons) amplitudes took
# .4 to .7 of the time without, with double the same and with .1 of it .7 to 1; fits of
# 26 classes took 30.6 s for 46.4.
_LIKE_PROMISED = 0.25


class Features:
    """Values of units of cost one at all rows, which are kept where that is little.

    Little is no more than what the data take in double. Where there are more units than
    inputs, making them anew in each pass costs less than what is done with them; of
    60 000 images and 250 units that is .7 s for each of some ten passes.

    Parameters
    ----------
    problem : Problem
        Whose rows and shape.
    directions : ndarray of shape (n_inputs, n_units)
        Unit directions.
    linear : ndarray of shape (n_inputs, n_linear), default=None
        Those of linear neurons, which come last.

    Attributes
    ----------
    directions : tuple of ndarray or None
        Those of units, and of linear neurons if any; None where values were given.
    """

    def __init__(self, problem, directions, linear=None):
        self.rows, self.shape = problem.rows, problem.shape
        self.n_units = directions.shape[1]
        self.directions = (directions,) if linear is None else (directions, linear)
        self.prepared = self.shape.prepared(self.rows, directions)
        self._linear = self._kept = None
        if linear is not None and linear.shape[1]:
            self.n_units += linear.shape[1]
            self._linear = self.rows.weights(linear)
        most = 0 if self.rows.is_mapped else max(8 * self.rows.size, _FEW_BYTES)
        if 8 * self.n_units * len(self.rows) <= most:
            values = self.rows.empty(self.n_units)
            width = self.shape.width(self.n_units)
            self._kept = self.rows.map(_unit_values, width, values, self)

    @classmethod
    def given(cls, problem, values):
        """Return features that are known, (n_samples, n_units)."""
        made = object.__new__(cls)
        made.rows, made.shape = problem.rows, problem.shape
        made.prepared = made.directions = None
        made.n_units, made._kept, made._linear = values.shape[1], values, None
        return made

    def reduce(self, kernel, *args, squares=False):
        """Return the sums of ``kernel(values, rows, *args)`` over all rows.

        Sums of ``squares``, (n_units, n_units), want blocks of as many rows.
        """
        width, n_units = self.shape.width(self.n_units), max(self.n_units, 1)
        if squares:
            width *= min(1.0, SQUARES_WIDTH / n_units)
            # As many rows as units: adding squares up takes less than they do.
            width *= min(1.0, SQUARES_ROWS / n_units)
        return self.rows.reduce(_of_values, width, self, kernel, args)

    def taken(self, index):
        """Return the features at some of the rows, which are kept."""
        if self._kept is not None:
            return self._kept[index]
        rows = self.rows.take(index)
        values = rows.empty(self.n_units)
        width = self.shape.width(self.n_units)
        return rows.map(_unit_values, width, values, self)

    def block(self, block, rows):
        """Return the values at a block, (n, n_units)."""
        if self._kept is not None:
            return self._kept[rows]
        return self.made(block)

    def made(self, block):
        """Return the same, worked out."""
        values = self.shape.block_values(block, self.prepared)
        if self._linear is None:
            return values
        return np.hstack([values, block.values(self._linear)])


def _of_values(block, rows, features, kernel, args):
    """Kernel: that of another of the values of units."""
    return kernel(features.block(block, rows), block, rows, *args)


def _unit_values(block, rows, features):
    """Kernel: the values of units."""
    return features.made(block)


def rebalanced(problem, network, units, A, c, tol, moments=None):
    """Return a network's rest, and amplitudes, that are best for given directions.

    A penalised linear part takes part as its atoms, and those that are worth their
    cost; what is not penalised is solved for.

    Parameters
    ----------
    problem : Problem
        What is minimised.
    network : Network, TreeNetwork or a gated one
        What to start from.
    units : ndarray or Features
        Directions, or known values, of its units, and of others with amplitudes of
        zero.
    A, c : ndarray
        Outputs and amplitudes of all of them, as ``Network.directions`` has them.
    tol : float
        That of ``best_amplitudes``.
    moments : Moments, default=None
        Those of the last solve on the same rows, for this one to start from.

    Returns
    -------
    network : Network, TreeNetwork or a gated one
        The one given, with another intercept and linear part.
    c : ndarray of shape (n_units,)
        Amplitudes.
    """
    linear, columns = network.linear, problem.unpenalised
    if linear is None or linear.is_free:
        features = units
        if not isinstance(units, Features):
            features = Features(problem, units)
        z = columns.coordinates(network.intercept, linear)
        c, z = _minimised(problem, features, A, c, z, tol, moments)
        return _with_rest(network, columns, z), c
    V, B, a = _linear_neurons(problem, network)
    features, K = _with_linear_neurons(problem, units, V), len(c)
    z = columns.coordinates(network.intercept, None)
    A, c = np.vstack([A, B]), np.concatenate([c, a])
    c, z = _minimised(problem, features, A, c, z, tol, moments)
    linear = linear.of_atoms(V, A[K:], c[K:])
    return _with_rest(replace(network, linear=linear), columns, z), c[:K]


def _with_rest(network, columns, z):
    """Return a network with another intercept and free linear part."""
    intercept, weights = columns.affine(z)
    if not columns.has_intercept:
        intercept = network.intercept
    linear = network.linear
    if weights is not None:
        linear = linear.with_weights(weights)
    return replace(network, intercept=intercept, linear=linear)


def _with_linear_neurons(problem, units, V):
    """Return the features of units, directions or known values, and linear neurons."""
    if not isinstance(units, Features):
        return Features(problem, units, V)
    values = units.taken(slice(None))
    return Features.given(problem, np.hstack([values, problem.rows.values(V)]))


def _linear_neurons(problem, network):
    """Return the linear neurons of a network, and those that are worth their cost."""
    V, B, a = network.linear.atoms()
    N = problem.gradient_at(network.forward(problem.rows), overwrites=True)
    new, outputs = problem.linear.steepest(problem.rows, N, problem.alpha * _WORTH)
    a = np.concatenate([a, np.zeros(len(outputs))])
    return np.hstack([V, new]), np.vstack([B, outputs]), a


def best_amplitudes(problem, features, A, amplitudes, intercept, tol, max_iter=30):
    """Minimise the objective over amplitudes and intercept, directions fixed.

    The convex problem is ``min_{c >= 0, b} L(sum_j c_j phi_j a_j^T + b) + alpha * sum_j
    c_j``. Each Newton step is a non-negative least squares problem on a factor
    of the small Hessian, the intercept eliminated; for the squared loss one step is
    exact. Coordinate descent, the usual choice, stalls here: neurons are correlated.

    Parameters
    ----------
    problem : Problem
        What is minimised, without a free linear part.
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
    z = problem.unpenalised.coordinates(intercept, None)
    c, z = _minimised(problem, features, A, amplitudes, z, tol, max_iter=max_iter)
    return c, z[0] if len(z) else intercept


def _minimised(problem, features, A, c, z, tol, moments=None, max_iter=30):
    """Return the best amplitudes c, and coordinates z of what is not penalised."""
    model = _Model(problem, features, A, moments)
    value, F = model.objective(c, z)
    lift = _LEAST_LIFT
    for i in range(max_iter):
        direction, decrease = model.newton_step(c, F, lift)
        if decrease <= (tol if i else 0.0) and lift == _LEAST_LIFT:
            break
        found = _searched(model, (c, z), direction, value, decrease)
        if found is None and model.forgets():  # of other amplitudes
            continue
        if found is None:  # the model is far too flat, or no decrease is left
            lift *= _MORE_LIFT
            if problem.loss.is_quadratic or lift > 1.0:
                break
            continue
        lift = max(lift / _MORE_LIFT, _LEAST_LIFT)
        (c, z), (new_value, F) = found
        drop, value = value - new_value, new_value
        if problem.loss.is_quadratic and abs(drop - decrease) <= 1e-3 * decrease:
            break  # the model was exact
        if abs(drop - decrease) > _LIKE_PROMISED * decrease:
            model.forgets()
    return c, z


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
    """Return amplitudes, at least zero, and coordinates after a step."""
    (c, z), (step_c, step_z) = point, direction
    return np.maximum(c + step * step_c, 0.0), z + step * step_z


class _Model:
    """The objective in amplitudes and what is not penalised, to second order."""

    def __init__(self, problem, features, A, moments=None):
        self.problem, self.features, self.A = problem, features, A
        self.moments = Moments() if moments is None else moments
        self.columns, self._hessian = problem.unpenalised, None
        self._is_of_others = False  # whether the Hessian is that of other amplitudes

    def objective(self, c, z):
        """Return the objective and the predictions."""
        problem = self.problem
        F = self.features.rows.empty(problem.n_outputs)
        args = c[:, None] * self.A, z, self.columns, problem, F
        (loss,) = self.features.reduce(_loss, *args)
        return loss + problem.alpha * c.sum(), F

    def newton_step(self, c, F, lift):
        """Return the steps of c and z to the quadratic model's minimiser, and its drop.

        ``lift`` times what second derivatives are for the squared loss is added to
        those in the amplitudes and in the coordinates.
        """
        problem, A = self.problem, self.A
        slopes, gradient_z, size, (S, H_mixed, H_z) = self.derivatives(F)
        gradient = np.einsum("kc,kc->k", slopes, A) + problem.alpha
        lift_c = lift * size
        shape = gradient_z.T.shape
        if not gradient_z.size:
            S = _lifted(S, lift_c)
            step_c = nonnegative_quadratic(S, S @ c - gradient, c) - c
            return (step_c, gradient_z), -(gradient + 0.5 * (S @ step_c)) @ step_c
        # Eliminate what is not penalised: its best step is linear in that of the
        # amplitudes. Coordinates are by output.
        gradient_z = gradient_z.T.ravel()
        inverse = _inverse(_lifted(H_z, lift))
        explained = H_mixed @ inverse @ H_mixed.T
        S = np.subtract(S, explained, out=explained)
        S = _lifted(S, lift_c, out=S)
        gradient -= H_mixed @ (inverse @ gradient_z)
        step_c = nonnegative_quadratic(S, S @ c - gradient, c) - c
        step_z = -inverse @ (gradient_z + H_mixed.T @ step_c)
        drop = 0.5 * gradient_z @ inverse @ gradient_z
        drop -= (gradient + 0.5 * (S @ step_c)) @ step_c
        return (step_c, step_z.reshape(shape).T), drop

    def derivatives(self, F):
        """Return what ``_slopes`` does, and second derivatives at predictions F.

        These are of amplitudes (K, K), mixed, and of coordinates. Those of the squared
        loss are the same everywhere. Where steps are not exact anyway,
        some of many rows do. Rows come sorted, so every so many of them are a fair
        sample.
        """
        problem, A, columns = self.problem, self.A, self.columns
        self._is_of_others = self._hessian is not None
        if problem.loss.is_quadratic and self._hessian is None:
            sums = self.moments.sums(self.features, problem.weights, columns)
            self._hessian = _of_moments(A, *sums)
        if self._hessian is not None:
            first = self.features.reduce(_slopes, F, columns, problem)
            return *first, self._hessian
        step = max(len(F) // _HESSIAN_ROWS, 1)
        *first, total, H, H_mixed, H_z = self.features.reduce(
            _derivatives,
            F,
            columns,
            problem,
            A,
            step,
            len(F),
            squares=step == 1,
        )
        if step > 1:  # else weights sum to one, but for rounding
            H, H_mixed, H_z = H / total, H_mixed / total, H_z / total
        self._hessian = H, H_mixed, H_z
        return *first, self._hessian

    def forgets(self):
        """Have the next second derivatives worked out anew; tell if that can matter.

        It cannot right after they were, nor where they are the same everywhere.
        """
        if self.problem.loss.is_quadratic:
            return False
        self._hessian = None
        return self._is_of_others


def _loss(values, block, rows, outputs, z, columns, problem, F):
    """Kernel: the loss at predictions, which are written to F."""
    F[rows] = values @ outputs + columns.values_at(block, z)
    loss = problem.loss.value(F[rows], problem.Y[rows], problem.weights[rows])
    return (loss,)


def _slopes(values, block, rows, F, columns, problem):
    """Kernel: gradients of the loss in features and columns, and their mean square.

    The last is what second derivatives are to be compared with.
    """
    weights = problem.weights[rows]
    N = problem.loss.gradient(F[rows], problem.Y[rows], weights)
    size = weights @ np.einsum("ij,ij->i", values, values)
    return values.T @ N, columns.sums_at(block, N), size


def _of_moments(A, squares, mixed, of_columns):
    """Return second derivatives where all outputs have the curvature of the weights."""
    n_outputs = A.shape[1]
    H_mixed = (A[:, :, None] * mixed[:, None, :]).reshape(
        len(A), mixed.shape[1] * n_outputs
    )
    H = A @ A.T
    H *= squares
    return H, H_mixed, np.kron(np.eye(n_outputs), of_columns)


def _derivatives(values, block, rows, F, columns, problem, A, step, n_rows):
    """Kernel: ``_slopes``, and weight and second derivatives of every so many rows."""
    few = slice(rows.start, rows.stop, step)
    B = columns.of_block(block)[::step]
    return (
        *_slopes(values, block, rows, F, columns, problem),
        problem.weights[few].sum(),
        *_second_derivatives(values[::step], few, B, F, A, problem, n_rows // step),
    )


def _second_derivatives(values, rows, B, F, A, problem, n_rows):
    """Return second derivatives of the loss in amplitudes and coordinates."""
    curvature = problem.loss.curvature(F[rows], problem.Y[rows], problem.weights[rows])
    kept, h, q, H = _without_tails(values, *curvature, A)
    n_outputs, n_columns = problem.n_outputs, B.shape[1]
    n_draws = -(-_DRAWS * (len(A) + n_outputs * n_columns) // max(n_rows, 1))
    most = _WORTH_DRAWING * n_draws * len(values)
    many = len(A) > n_outputs * n_columns and np.count_nonzero(kept) > most
    if q is not None and many:
        return _drawn_derivatives(values, rows, B, A, curvature[0], n_draws)
    # Most rows of a loss that is linear in pieces have none.
    bent = [np.flatnonzero(kept[:, k]) for k in range(n_outputs)]
    roots = [
        values[on] * np.sqrt(kept[:, k][on])[:, None] * A[:, k]
        for k, on in enumerate(bent)
    ]
    Z = np.vstack(roots)
    H += Z.T @ Z
    H_mixed = np.empty((len(A), n_outputs, n_columns))
    H_z = np.zeros((n_outputs, n_columns, n_outputs, n_columns))
    for j, column in enumerate(B.T):
        H_mixed[:, :, j] = (values.T @ (h * column[:, None])) * A
    outputs = np.arange(n_outputs)
    if n_columns == 1:  # sums as of the squares below, from which they may cancel
        H_z[outputs, 0, outputs, 0] = (h * B * B).sum(axis=0)
    else:
        for k in outputs:
            H_z[k, :, k] = (B.T * h[:, k]) @ B
    H_mixed = H_mixed.reshape(len(A), n_outputs * n_columns)
    H_z = H_z.reshape(n_outputs * n_columns, n_outputs * n_columns)
    if q is not None:
        projected, Q = values * (q @ A.T), _by_output(q, B)
        H -= projected.T @ projected
        H_mixed -= projected.T @ Q
        H_z -= Q.T @ Q
    return H, H_mixed, H_z


def _drawn_derivatives(values, rows, B, A, h, n_draws):
    """Return second derivatives over many classes, a few of which are drawn for a row.

    Each class of a row costs as much as the square of its features. The curvature of
    proportions p is the mean of ``(e_k - p) (e_k - p)^T`` over classes k drawn by them,
    definite whatever is drawn, as of natural gradients (Martens, "New insights and
    perspectives on the natural gradient method", JMLR 21, 2020). Draws of a row are
    evenly spaced, and those of rows turn by the golden ratio: the same every time.
    """
    curvature = positive(h.sum(axis=1))
    proportions = h / curvature[:, None]
    ends = np.cumsum(proportions, axis=1)
    ends[:, -1] = 1.0
    offsets = np.arange(rows.start, rows.stop, rows.step) * _GOLDEN % 1.0
    scale = np.sqrt(curvature / n_draws)[:, None]
    mean = proportions @ A.T
    total = None
    for k in range(n_draws):
        at = (offsets + k) / n_draws
        drawn = (ends < at[:, None]).sum(axis=1)
        Z = values * (scale * (A.T[drawn] - mean))
        e = -proportions
        e[np.arange(len(e)), drawn] += 1.0
        Q = _by_output(scale * e, B)
        sums = Z.T @ Z, Z.T @ Q, Q.T @ Q
        total = sums if total is None else list(map(np.add, total, sums))
    return tuple(total)


def _by_output(q, B):
    """Return products of outputs and columns, (n, n_outputs * n_columns)."""
    return (q[:, :, None] * B[:, None, :]).reshape(len(B), q.shape[1] * B.shape[1])


def _without_tails(values, h, q, A):
    """Return curvatures of rows whose classes that hardly count are lumped together.

    Every class of a row costs as much as the square of its features, while of many
    classes few are likely. The least likely ones, with no more than ``_TAIL`` of the
    row's curvature together, are given proportions common to all rows: one square does
    for all of them. That is the curvature of other probabilities, so it is definite.

    Returns
    -------
    kept, h, q : ndarray of shape (n, n_outputs)
        Curvatures without those classes and with their common proportions, and what
        is taken off for covariances; None where a loss has none.
    H : ndarray of shape (n_units, n_units)
        What the common proportions add to second derivatives in the amplitudes.
    """
    nothing = np.zeros((len(A), len(A)))
    if q is None:  # outputs do not share a curvature
        return h, h, q, nothing
    order = np.argsort(h, axis=1)
    sums = np.cumsum(np.take_along_axis(h, order, axis=1), axis=1)
    curvature = sums[:, -1] - np.einsum("ij,ij->i", q, q)
    is_tail = np.empty(h.shape, dtype=bool)
    np.put_along_axis(is_tail, order, sums <= _TAIL * curvature[:, None], axis=1)
    if np.count_nonzero(is_tail) <= len(h):  # they cost no more than that square
        return h, h, q, nothing
    tails = np.where(is_tail, h, 0.0)
    of_rows, of_outputs = tails.sum(axis=1), tails.sum(axis=0)
    of_outputs /= max(of_outputs.sum(), 1e-300)
    Z, kept = values * np.sqrt(of_rows)[:, None], h - tails
    H = (Z.T @ Z) * ((A * of_outputs) @ A.T)
    h = kept + np.outer(of_rows, of_outputs)
    return kept, h, h / np.sqrt(positive(sums[:, -1:])), H


def _inverse(H):
    """Return the inverse of second derivatives in the coordinates, or a pseudoinverse.

    That takes eigenvalues, which beyond so many coordinates is ten times as slow.
    """
    if len(H) <= _MOST_EIGENVALUES:
        return np.linalg.pinv(H, rcond=1e-12, hermitian=True)
    factor = cho_factor(_lifted(H, 1e-12 * np.diagonal(H).max()))
    return cho_solve(factor, np.eye(len(H)))


def _lifted(S, lift, out=None):
    """Return ``S`` made definite, maybe in place; in a step that is a proximal term."""
    out = S.copy() if out is None else out
    out.flat[:: len(S) + 1] += lift
    return out
