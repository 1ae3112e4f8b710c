"""Proven lower bounds under the 1-norm, by linear relaxation of the price.

The unit ball of the 1-norm is the hull of the inputs with either sign. Over the hull
of any vertices v the price of one column of N splits into a convex part, which is
largest at a vertex, and a concave one, of which ``relu(z) >= theta z`` for theta in
[0, 1] makes a linear one. So with ``q = theta * max(-N, 0)``, row by row::

    max_u N^T relu(X u) <= max_v  max(N, 0)^T relu(X v) - q^T X v.

The best q is a linear programme, and whatever q is taken the right-hand side is a bound
that takes a maximum over vertices to evaluate: nothing rests on the solver. N itself is
chosen by the relaxed training problem whose dual has these bounds as constraints: its
units are masses on vertices, and what they predict may lie anywhere between the ReLU of
the mean and the mean of the ReLUs. Where that is loose a hull is cut in two at the
middle of two of its vertices (branch and bound, as for the 2-norm in ``search.py``).

Of sub-networks the leaves are bounded so, see ``composition``: ``A = max(N, 0) - q`` is
priced as above, and ``B = q`` at the vertices, where it is largest, being convex. Their
ball is not cut.
"""

import time
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from sklearn_convexrelu.certificates.certificate import dual_point
from sklearn_convexrelu.certificates.relaxation.proof import proven_value

__all__ = ["OneNormBound", "one_norm_bound"]

# Entries of the relaxed problem: beyond, only the network's own dual point is tried.
# The first of friedman1 with 50 columns (n = 200), of 20 000, takes 0.5 s; 200 rows and
# 8 regions of 42 vertices some 3 s.
_MOST_ENTRIES = 4_000_000
_MOST_CUT = 0.5  # of the regions at a time: those that are bounded most loosely
_HEAVY = 24  # vertices of a region, by mass, whose pairs are looked at for a cut
_ROUNDING = 16.0 * np.finfo(float).eps


@dataclass(frozen=True)
class OneNormBound:
    """A proven lower bound on the optimum of a two-layer problem.

    Attributes
    ----------
    lower_bound : float
        No network of any width has a lower objective.
    price_bound : float
        What no price at the dual point behind it exceeds.
    n_regions : int
        Parts of the unit ball at the end.
    """

    lower_bound: float
    price_bound: float
    n_regions: int


class _Region:
    """The hull of some vertices, the columns of ``V``, and what they do to the rows."""

    def __init__(self, X, V):
        self.V, self.Z = V, X @ V
        self.H = np.maximum(self.Z, 0.0)

    def halves(self, X, pair):
        """Return two regions that cover this one, cut in the middle of two vertices."""
        middle = self.V[:, list(pair)].mean(axis=1)
        for dropped in pair:
            V = self.V.copy()
            V[:, dropped] = middle
            yield _Region(X, V)


def one_norm_bound(problem, network, *, max_regions, time_limit):
    """Return the best bound that is proven in the time.

    Parameters
    ----------
    problem : Problem
        What is minimised under the 1-norm, in units of order one.
    network : Network
        A good network, whose dual point is tried as well.
    max_regions : int
        Parts of the unit ball, at most; one for sub-networks.
    time_limit : float
        Seconds after which none is cut any more.

    Returns
    -------
    OneNormBound
        The bound.
    """
    started = time.perf_counter()
    deadline = started + time_limit
    X, unit = problem.X, np.eye(problem.rows.n_inputs)
    regions = [_Region(X, np.hstack([unit, -unit]))]
    if problem.shape.is_tree:  # q would have to be one for all regions
        max_regions = 1
    N = dual_point(problem, network.forward(problem.rows))
    best = _proof(problem, N, regions)
    while len(X) * sum(region.V.shape[1] for region in regions) <= _MOST_ENTRIES:
        relaxed = _relaxed(problem, regions)
        if relaxed is None:
            break
        N, masses = relaxed
        new = _proof(problem, N, regions)
        best = max(best, new, key=lambda bound: bound.lower_bound)
        regions, before = _cut(X, N, regions, masses, max_regions), len(regions)
        took, started = time.perf_counter() - started, time.perf_counter()
        # With half as many regions again a round takes about twice as long.
        if len(regions) == before or started + 2.0 * took > deadline:
            break
    return best


def _proof(problem, N, regions):
    """Return the bound that one dual point proves."""
    is_tree = problem.shape.is_tree
    bounds = np.array(
        [
            [
                [_bounded(region, sign * column, is_tree) for sign in (1.0, -1.0)]
                for column in N.T
            ]
            for region in regions
        ]
    )
    price = np.linalg.norm(np.maximum(bounds.max(axis=2), 0.0), axis=1).max()
    if is_tree:
        price *= problem.shape.reach * (1.0 + 1e-14)
    return OneNormBound(proven_value(problem, N, price), float(price), len(regions))


def _bounded(region, v, is_tree):
    """Return what ``v^T relu(X u)`` does not exceed over u in a region.

    Or, for sub-networks, ``v^T phi(X)`` where their leaves have a length of one in sum.
    """
    up, down = np.maximum(v, 0.0), np.maximum(-v, 0.0)
    convex = up @ region.H
    rows = np.flatnonzero(down)
    q, Z = np.zeros(len(rows)), region.Z[rows]
    if len(rows):
        # min t subject to convex - Z^T q <= t for every vertex, 0 <= q <= down
        A, b = np.column_stack([-Z.T, -np.ones(len(convex))]), -convex
        if is_tree:  # and H^T q <= t
            H = region.H[rows]
            A = np.vstack([A, np.column_stack([H.T, -np.ones(len(convex))])])
            b = np.append(b, np.zeros(len(convex)))
        limits = [*((0.0, most) for most in down[rows]), (None, None)]
        cost = np.append(np.zeros(len(rows)), 1.0)
        found = linprog(cost, A_ub=A, b_ub=b, bounds=limits, method="highs")
        if found.x is not None:
            q = np.clip(found.x[:-1], 0.0, down[rows])
    size = (np.abs(v) @ np.abs(region.Z)).max()
    most = (convex - q @ Z).max()
    if is_tree and len(rows):
        most = max(most, (q @ region.H[rows]).max())
    return most + _ROUNDING * (len(v) + 8) * size


def _relaxed(problem, regions):
    """Return the dual point of the relaxed training problem, and masses of vertices.

    Those are (2 n_outputs, n_vertices) for each region. None where it is not solved.
    """
    import cvxpy as cp

    n, n_outputs = problem.Y.shape
    is_tree = problem.shape.is_tree
    masses, columns, constraints = [[] for _ in regions], [], []
    minuses = [0.0] * n_outputs
    for c in range(n_outputs):
        column = 0.0
        for sign in (1.0, -1.0):
            for region, of_region in zip(regions, masses, strict=True):
                mass = cp.Variable(region.V.shape[1], nonneg=True)
                values = cp.Variable(n, nonneg=True)
                least = region.Z @ mass
                if is_tree:  # less what leaves with a minus take away
                    minus = cp.Variable(region.V.shape[1], nonneg=True)
                    least = least - region.H @ minus
                    minuses[c] = minuses[c] + cp.sum(minus)
                constraints += [values >= least, values <= region.H @ mass]
                column = column + sign * values
                of_region.append(mass)
        columns.append(column)
    F = cp.vstack(columns).T
    if problem.fit_intercept:
        F = F + np.ones((n, 1)) @ cp.Variable((1, n_outputs))
    # An output has either sign of masses; over outputs prices add by their squares.
    totals = [
        sum(
            cp.sum(of_region[2 * c]) + cp.sum(of_region[2 * c + 1])
            for of_region in masses
        )
        + minuses[c]
        for c in range(n_outputs)
    ]
    try:
        loss = problem.loss.cvxpy_value(F, problem.Y, problem.weights)
        reach = problem.shape.reach if is_tree else 1.0
        penalty = problem.alpha / reach * cp.norm(cp.hstack(totals))
        cp.Problem(cp.Minimize(loss + penalty), constraints).solve(solver=cp.CLARABEL)
    except (cp.SolverError, NotImplementedError):
        return None
    if F.value is None or not np.isfinite(F.value).all():
        return None
    found = [[mass.value for mass in of_region] for of_region in masses]
    return dual_point(problem, np.asarray(F.value)), found


def _cut(X, N, regions, masses, max_regions):
    """Return the regions with those cut whose masses are spread most loosely."""
    sizes = np.abs(N).sum(axis=1)
    pairs = [
        _loosest_pair(X, region, np.sum(of_region, axis=0), sizes)
        for region, of_region in zip(regions, masses, strict=True)
    ]
    room = min(max_regions - len(regions), max(int(_MOST_CUT * len(regions)), 1))
    order = np.argsort([-looseness for looseness, _ in pairs], kind="stable")
    cut = {k for k in order[: max(room, 0)] if pairs[k][0] > 0.0}
    new = []
    for k, region in enumerate(regions):
        new += region.halves(X, pairs[k][1]) if k in cut else [region]
    return new


def _loosest_pair(X, region, mass, sizes):
    """Return how loose the loosest pair of vertices of a region is, and which it is.

    Mass on both may stand for as much at their middle, whose ReLU is what the bound
    misses, in proportion to the dual point.
    """
    heavy = np.argsort(-mass, kind="stable")[:_HEAVY]
    H, Z = region.H[:, heavy], region.Z[:, heavy]
    looseness = np.zeros((len(heavy), len(heavy)))
    for k in range(len(heavy)):
        middle = np.maximum(0.5 * (Z[:, k, None] + Z), 0.0)
        looseness[k] = sizes @ (0.5 * (H[:, k, None] + H) - middle)
    looseness *= np.minimum(mass[heavy][:, None], mass[heavy])
    first, second = np.unravel_index(looseness.argmax(), looseness.shape)
    return looseness[first, second], (heavy[first], heavy[second])
