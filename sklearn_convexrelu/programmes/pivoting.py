"""Convex quadratics over numbers that are at least zero: which are zero, by pivoting.

They are the Newton steps of amplitudes: as many unknowns as neurons and candidates, of
which a third ends at zero.
"""

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.linalg.lapack import dpotrf, dtrtrs
from scipy.optimize import nnls

__all__ = ["nonnegative_quadratic"]

# Part of the unknowns that may have changed sides since they were factorised. On the 24
# largest problems of a fit (420 to 1160 unknowns, seven or eight systems each) pivoting
# took .44 of the time of factors that are all new; with .1 and .2 .45 and .47, with .3
# .58.
_FEW_CHANGES = 0.15


def nonnegative_quadratic(S, g, start):
    """Return ``argmin_{c >= 0} c^T S c / 2 - g^T c`` for a positive semidefinite S.

    ``start`` are numbers whose zeros are a guess of those of the minimiser.
    """
    if not len(g):
        return g
    found = _pivoted(S, g, start)
    return _least_squares(S, g) if found is None else found


def _pivoted(S, g, start, max_iter=50):
    """Solve by block principal pivoting (Kim & Park 2011), or return None.

    Whole sets of unknowns move between zero and free until all signs are right. From
    the support of ``start`` that takes a few linear systems, but it is not sure to end.
    """
    slope = S @ start - g
    free = (start > 0.0) | (slope < 0.0)
    rounding = 1e-10 * np.abs(g).max()
    fewest, patience = len(g) + 1, 3
    factor = None
    for _ in range(max_iter):
        if factor is None or not factor.is_near(free):
            factor = _Factor.of(S, g, free)
        if factor is None:
            return None
        c = factor.solution(free)
        slopes = S @ c - g
        if factor.is_updated and not np.abs(slopes[free]).max(initial=0.0) <= rounding:
            factor = None  # updates have lost too many digits
            continue
        wrong = np.where(free, c < 0.0, slopes < -rounding)
        n_wrong = np.count_nonzero(wrong)
        if n_wrong == 0:
            return c
        if n_wrong < fewest:
            fewest, patience = n_wrong, 3
        elif patience:
            patience -= 1
        else:  # one at a time, in a fixed order, cannot cycle
            wrong[: np.flatnonzero(wrong)[-1]] = False
        free = free ^ wrong
    return None


class _Factor:
    """Solves ``S_ff c_f = g_f`` for sets f of free unknowns that differ by few.

    The first of these is factorised. Of others those that came border its system, and
    those that went are held at zero by multipliers: a Schur complement of as many rows
    as there are changes is left.
    """

    def __init__(self, S, g, free, lower):
        self.S, self.g, self.free, self.lower = S, g, free, lower
        self.index = np.flatnonzero(free)
        self.target = self._forward(g[self.index])
        #: Unknowns that changed sides since, and what they border the system with.
        self.changed = np.zeros(0, dtype=int)
        self.borders = np.zeros((len(self.index), 0), order="F")

    @classmethod
    def of(cls, S, g, free):
        """Return the factor of a set, None where its system is not definite."""
        index = np.flatnonzero(free)
        block = S.take(index, axis=0).take(index, axis=1).T  # in the order of LAPACK
        lower, info = dpotrf(block, lower=1, clean=0, overwrite_a=1)
        return None if info else cls(S, g, free, lower)

    @property
    def is_updated(self):
        """Whether any unknown has changed sides since."""
        return len(self.changed) > 0

    def is_near(self, free):
        """Tell whether so few have changed sides that an update costs less."""
        n_changes = np.count_nonzero(free != self.free)
        return n_changes <= _FEW_CHANGES * len(self.index)

    def solution(self, free):
        """Return the unknowns; nan where an update is of a singular system."""
        c = np.zeros(len(self.g))
        new = free != self.free
        new[self.changed] = False
        self._border(np.flatnonzero(new))
        at = np.flatnonzero((free != self.free)[self.changed])
        changed, borders = self.changed[at], self.borders[:, at]
        if not len(at):
            c[self.index] = self._back(self.target)
            return c
        came = free[changed]
        schur = -borders.T @ borders
        both = np.ix_(came, came)
        schur[both] += self.S[np.ix_(changed[came], changed[came])]
        rest = np.where(came, self.g[changed], 0.0) - borders.T @ self.target
        try:
            rest = np.linalg.solve(schur, rest)
        except np.linalg.LinAlgError:
            return np.full(len(c), np.nan)
        c[self.index] = self._back(self.target - borders @ rest)
        c[changed] = np.where(came, rest, 0.0)
        return c

    def _border(self, new):
        """Keep the borders of unknowns that had not changed sides before."""
        if not len(new):
            return
        columns, went = self.S[np.ix_(self.index, new)], np.flatnonzero(self.free[new])
        columns[:, went] = 0.0
        columns[np.searchsorted(self.index, new[went]), went] = 1.0
        columns = self._forward(columns)
        self.borders = np.asfortranarray(np.hstack([self.borders, columns]))
        self.changed = np.concatenate([self.changed, new])

    def _forward(self, columns):
        return dtrtrs(self.lower, columns, lower=1)[0] if len(columns) else columns

    def _back(self, column):
        if not len(column):
            return column
        return dtrtrs(self.lower, column, lower=1, trans=1)[0]


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
