"""Dual points of a constant, and ``alpha_max``, where the loss has kinks.

A constant that is best passes through targets, at which its subgradients are a whole
set: all slopes between those of the loss on either side, with a fixed sum where there
is an intercept. ``alpha_max`` is the least price over that set: at any larger strength
one of them proves the constant optimal, and at any smaller one none does, so that by
strong duality it is not. The largest price is convex in the subgradient, and every
direction that was priced cuts off what is below its own: a linear programme finds the
least of what is left, in rounds (Kelley, SIAM Journal 8, 1960).
"""

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from sklearn_convexrelu.certificates.certificate import dual_point

__all__ = [
    "MOST_CUTS",
    "constant_dual_point",
    "least_price_of_constant",
    "price_and_units",
]

_TIGHT = 1e-9  # width of smoothing, for the targets: of those that a constant meets
_INNER = 1e-7  # from a limit of slopes, or of the targets: what is not rounding
# Of a price, from where on it is close enough to the least. Gaps of the rounds below
# shrink by tens of percent each: half and double are one or two more or less.
_CLOSE = 1e-3
_MOST_ROUNDS = 40
_STEP = 0.7  # of the way from the best subgradient to the programme's, which swings
MOST_CUTS = 40  # a round; 20 and 100 take as long
# Cuts from where on old ones go. With none that go a programme had thousands, and took
# most of the time of a small fit of the hinge; with all that do not bind it cycled.
_MOST_KEPT = 400


def constant_dual_point(problem):
    """Return the dual point of the best constant, or of zero without an intercept.

    With a free linear part it is that of the best linear fit. Targets that it meets
    share what their slopes have to add up to.
    """
    if not problem.loss.is_smooth and problem.has_free_part:
        return problem.linear_dual_point()
    if not problem.loss.is_smooth:
        problem = _tight(problem)
    return dual_point(problem, problem.null_network().forward(problem.rows))


def least_price_of_constant(problem, priced):
    """Return the least price over dual points of the best constant.

    Parameters
    ----------
    problem : Problem
        What is minimised.
    priced : callable
        Takes a dual point; returns the largest price found and a function of nothing,
        which returns the values of units of cost one, (n_samples, K), and the unit
        output vectors, (K, n_outputs), at which they lower the loss most.

    Returns
    -------
    price : float
        The least that was reached; the least there is, but for 0.1%, for losses with
        kinks, and the only one for others.
    N : ndarray of shape (n_samples, n_outputs)
        The dual point that it is of.
    """
    N = constant_dual_point(problem)
    price, units = priced(N)
    if problem.loss.is_smooth or price == 0.0:
        return price, N
    ties = _Ties(problem, N)
    if not ties.are_free:
        return price, N
    best, best_N = price, N
    for _ in range(_MOST_ROUNDS):
        ties.cut(*units())
        found, least = ties.least()
        if found is None or best <= least * (1.0 + _CLOSE):
            break
        N = best_N + _STEP * (found - best_N)
        price, units = priced(N)
        if price < best:
            best, best_N = price, N
    return best, best_N


def price_and_units(problem, N, found):
    """Return of Candidates at a dual point what ``least_price_of_constant`` asks for.

    A penalised linear part is priced, and has its units, beside them.
    """

    def units():
        U, A = found.directions[:, :MOST_CUTS], found.outputs[:MOST_CUTS]
        values = problem.shape.features(problem.rows, U)
        return problem.with_linear_units(N, values, A)

    return max(found.best, problem.linear_price(N)), units


def _met(problem, N):
    """Tell which targets the best constant, or linear fit, meets.

    A linear fit meets them as well as it was solved; there slopes tell too.
    """
    largest = max(np.abs(problem.Y).max(), np.finfo(float).tiny)
    if not problem.has_free_part:
        constant = _tight(problem).null_network().intercept
        return np.abs(problem.Y - constant) <= 2.0 * _TIGHT * largest
    low, high = problem.loss.slopes(problem.Y)
    slopes = N / problem.weights[:, None]
    inner = (slopes > low + _INNER) & (slopes < high - _INNER)
    F = problem.null_network().forward(problem.rows)
    return inner | (np.abs(problem.Y - F) <= _INNER * largest)


def _tight(problem):
    """Return the problem with next to no smoothing."""
    size = np.abs(problem.Y).max()
    return problem.smoothed(_TIGHT * size if size > 0.0 else _TIGHT)


class _Ties:
    """The subgradients at targets that a constant meets, and cuts of their prices."""

    def __init__(self, problem, N):
        low, high = problem.loss.slopes(problem.Y)
        tied = _met(problem, N)
        self.rows, self.outputs = np.nonzero(tied)
        weights = problem.weights[self.rows]
        limits = (np.broadcast_to(side, N.shape)[tied] for side in (low, high))
        self.bounds = np.column_stack([weights * limit for limit in limits])
        self.N = N
        self.sums = self._sums(problem.unpenalised)
        self.values, self.limits = [], []

    def _sums(self, columns):
        """Return the columns that subgradients are orthogonal to, (n_sums, n_free).

        Those of each output are its own.
        """
        n_free, n_outputs = len(self.rows), self.N.shape[1]
        B = columns.at(self.rows) if n_free else np.zeros((0, columns.n_columns))
        at = np.repeat(np.arange(n_free), B.shape[1])
        first = self.outputs[at] * B.shape[1]
        sums = first + np.tile(np.arange(B.shape[1]), n_free)
        shape = n_outputs * B.shape[1], n_free
        return sparse.csr_array((B.ravel(), (sums, at)), shape)

    @property
    def are_free(self):
        """Whether there is more than one subgradient."""
        counts = np.bincount(self.outputs, minlength=self.N.shape[1])
        n_columns = self.sums.shape[0] // self.N.shape[1]
        return len(self.rows) > np.minimum(counts, n_columns).sum()

    def cut(self, Phi, A):
        """Take in units: no subgradient has a price below theirs."""
        values = -(Phi[self.rows] * A[:, self.outputs].T).T
        totals = -np.einsum("nk,nc,kc->k", Phi, self.N, A)
        own = values @ self.N[self.rows, self.outputs]
        self.values.append(values)
        self.limits.append(totals - own)

    def least(self):
        """Return the subgradient of least price by the cuts, and that price."""
        values, fixed = np.vstack(self.values), np.concatenate(self.limits)
        n_free = len(self.rows)
        sums = {}
        if self.sums.shape[0]:
            g = self.N[self.rows, self.outputs]
            last = sparse.csr_array((self.sums.shape[0], 1))
            A_eq = sparse.hstack([self.sums, last], format="csr")
            sums = {"A_eq": A_eq, "b_eq": self.sums @ g}
        solved = linprog(
            np.append(np.zeros(n_free), 1.0),
            np.hstack([values, -np.ones((len(values), 1))]),
            -fixed,
            bounds=np.vstack([self.bounds, [-np.inf, np.inf]]),
            method="highs",
            **sums,
        )
        if solved.x is None:
            return None, -np.inf
        if len(fixed) > _MOST_KEPT:  # old ones that do not bind go
            kept = solved.ineqlin.marginals < 0.0
            kept[-_MOST_KEPT // 2 :] = True
            self.values, self.limits = [values[kept]], [fixed[kept]]
        N = self.N.copy()
        N[self.rows, self.outputs] = solved.x[:-1]
        return N, solved.x[-1]
