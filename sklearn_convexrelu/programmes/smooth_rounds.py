"""Programmes whose loss has kinks, by solvers that need gradients.

As in ``adaptive/multipliers.py``: smooth programmes about slopes that are those of the
last one's solution, and the exact bound of every dual point.
"""

import time
from dataclasses import replace

import numpy as np

from sklearn_convexrelu.certificates.certificate import lower_bound
from sklearn_convexrelu.model.solution import Status, history_record

__all__ = ["solved_with_kinks"]

# Of the smoothing, in units in which residuals are of order one. Wide, since a solver
# starts from scratch each time and narrow ones are hard for it.
_WIDTH = 0.3
_MOST_ROUNDS = 30
_PROGRESS = 0.7  # of a gap, that a round has to get below, or the width is quartered
_MOST_IDLE = 4  # rounds in a row that do not


def solved_with_kinks(programme, solve, tolerance, watch=None):
    """Solve a programme whose loss has kinks.

    Parameters
    ----------
    programme : GroupLasso
        The programme.
    solve : callable
        Takes a programme of a smooth loss and a watch; returns a ProgrammeSolution with
        its dual point.
    tolerance : float
        Gap at which to stop.
    watch : callable, default=None
        Called with each record of the history and its Blocks; the run stops where it
        returns true.

    Returns
    -------
    ProgrammeSolution
        Of the programme itself.
    """
    problem, started = programme.problem, time.perf_counter()
    slopes, width, best, n_idle, history, n_iter = 0.0, _WIDTH, None, 0, [], 0

    def followed(record, blocks):
        objective = programme.objective(programme.with_best_intercept(blocks)[0])
        bound = 0.0 if best is None else best.lower_bound
        gap = objective - bound
        history.append(
            history_record(started, objective, gap, len(blocks.active), record["price"])
        )
        return watch is not None and watch(history[-1], blocks)

    for _ in range(_MOST_ROUNDS):
        smooth = replace(programme, problem=problem.smoothed(width, slopes))
        solved = solve(smooth, followed)
        found = _exact(programme, solved)
        n_iter += solved.n_iter
        before = np.inf if best is None else best.objective - best.lower_bound
        best = found if best is None else _better(best, found)
        gap = best.objective - best.lower_bound
        best = replace(
            best,
            n_iter=n_iter,
            history=history,
            tolerance=tolerance,
            status=found.status,
        )
        history.append(
            history_record(
                started, best.objective, gap, len(best.blocks.active), best.price
            )
        )
        if gap <= tolerance:
            return replace(best, status=Status.CONVERGED)
        stopped = watch is not None and watch(history[-1], best.blocks)
        if stopped or solved.status in (Status.STOPPED, Status.ITERATION_LIMIT):
            return replace(best, status=Status.STOPPED if stopped else solved.status)
        n_idle = 0 if gap <= _PROGRESS * before else n_idle + 1
        if n_idle == _MOST_IDLE:
            break
        if n_idle:
            width /= 4.0
        slopes = found.dual_point / problem.weights[:, None]
    return replace(best, status=Status.STALLED)


def _exact(programme, solved):
    """Return what a solution of a smooth programme is for the exact one."""
    problem = programme.problem
    blocks, F = programme.with_best_intercept(solved.blocks)
    zero = programme.zero()
    objective, constant = programme.objective(blocks, F), programme.objective(zero)
    if constant <= objective:
        blocks, objective = zero, constant
    bound = lower_bound(problem, solved.dual_point, solved.price)
    return replace(solved, blocks=blocks, objective=objective, lower_bound=bound)


def _better(one, other):
    """Return the better point with the better bound, which need not be of one round."""
    if one.objective < other.objective:
        other = replace(other, blocks=one.blocks, objective=one.objective)
    if one.lower_bound > other.lower_bound:
        bound = one.lower_bound, one.price, one.dual_point
        return replace(other, lower_bound=bound[0], price=bound[1], dual_point=bound[2])
    return other
