"""The method of multipliers, for losses with kinks: the loop on smoothed problems.

The loop descends and needs gradients. The envelope of width mu of a loss with kinks has
them, but the optimum of the smoothed problem is off by up to ``mu / 2`` times squared
slopes, and a width small enough to ignore that makes descent as slow as on the loss
itself. So the envelope is taken about slopes c that are known::

    max_G -L*(G) - mu / 2 sum_i w_i (G_i / w_i - c_i)^2   over dual feasible G,

which is the proximal point method on the dual, or the method of multipliers
(Rockafellar, Mathematics of Operations Research 1, 1976). The new slopes are those of
its solution: a few rounds at one width meet the exact optimum. About slopes c the
envelope is the plain one of targets ``Y - mu c``, so that the loop notices nothing.

Every dual point on the way is one of the exact problem, whose own conjugate tells what
it proves. With plain smoothing, the width brought down tenfold in steps, one fit of
quantiles (300 rows, 270 neurons) had a gap of 0.1% of the loss after 140 rounds of the
loop; about slopes it has after 67.
"""

import time
from dataclasses import replace

import numpy as np

from sklearn_convexrelu.adaptive.policy import Care
from sklearn_convexrelu.adaptive.steps import Point
from sklearn_convexrelu.certificates.certificate import certificate_at, dual_point
from sklearn_convexrelu.model.solution import Status, certified_record

__all__ = ["ENDS", "solutions_with_kinks"]

ENDS = Status.INTERRUPTED, Status.STOPPED, Status.TIME_LIMIT
# Of the smoothing, in units in which residuals are of order one. On the fit above 0.1
# takes 95 rounds of the loop, most of them before slopes are known.
_WIDTH = 0.3
_FIRST = 10.0  # times the gap to reach: that of the first smooth problem
_INNER = 0.5  # times the same: of those that may be the last
_PART = 0.5  # of the gap that is left: of those in between
_PROGRESS = 0.7  # of a gap, that a round has to get below
_PATIENCE = 4  # rounds in a row that do not, before the width is quartered
_MOST_IDLE = 12  # and before it is given up


def solutions_with_kinks(fit, problem, alphas, start=None, callback=None):
    """Yield what ``AdaptiveFit.path`` does, for a loss with kinks.

    Parameters
    ----------
    fit : AdaptiveFit
        What solves the smooth problems.
    problem : Problem
        What is minimised, at whatever alpha: that of the fit, with its deadline.
    alphas : iterable of float
        Penalty strengths, best in decreasing order.
    start : Network, default=None
        Where the first one starts.
    callback : callable, default=None
        Called with each record of the history and its network. Until there is a bound
        its ``dual_gap`` is the objective, since no loss is negative.

    Yields
    ------
    Solution
        With the dual point that its certificate is of.
    """
    path = _Path(fit, problem, start, callback)
    for alpha in alphas:
        solution = path.solution(problem.with_alpha(alpha))
        yield solution
        if solution.status in ENDS:
            return


class _Path:
    """The slopes, and the run of the loop, that go from one alpha to the next."""

    def __init__(self, fit, problem, start, callback):
        self.gain, self.callback = fit.solver.gain, callback
        self.slopes, self.width = np.zeros(problem.Y.shape), _WIDTH
        smooth = problem.smoothed(self.width)
        watch = None if callback is None else self._step
        # Of smooth problems gaps count.
        self.run = fit.minding_gaps().run(smooth, start, watch)
        self.aim = self.target = self.run.aim
        problem = problem.until(None)
        self.constant = problem.null_network()
        # Not the objective: alpha may still be open.
        self.loss_of_constant = problem.loss_at(self.constant.forward(problem.rows))
        self.loss = 0.0
        if self.gain is not None and self.gain.is_all:
            self.loss = self.loss_of_constant

    def solution(self, problem):
        """Return the solution at another alpha."""
        # The loop answers for the deadline; what it returns is judged in any case.
        self.timed, self.problem, self.history = problem, problem.until(None), []
        self.started, self.n_iter = time.perf_counter(), 0
        if self.gain is not None:
            scale = self.loss_of_constant
            self.target = self.gain.gap(self.aim, self.loss, scale)
        self.bound, gap, n_idle, care, solved = 0.0, np.inf, 0, Care.QUICK, None
        while True:
            # 1. A smooth problem, only as exactly as its slopes are going to be.
            last, solved = solved, self._round(gap, care)
            before, gap = gap, solved.certificate.gap
            if solved.status not in (Status.CONVERGED, Status.STALLED):
                if last is not None and before < gap:  # the last one was cut short
                    return replace(last, status=solved.status)
                return solved
            # 2. The careful search is for a gap that would do.
            if gap <= self.target:
                if care is Care.FULL:
                    return replace(solved, status=Status.CONVERGED)
                care = Care.FULL
                continue
            # 3. Narrower, where slopes alone do not get on.
            care, n_idle = Care.QUICK, 0 if gap <= _PROGRESS * before else n_idle + 1
            if n_idle == _MOST_IDLE:
                return replace(solved, status=Status.STALLED)
            if n_idle and n_idle % _PATIENCE == 0:
                self.width /= 4.0
            self._recentre(solved)

    def _recentre(self, solved):
        self.slopes = solved.dual_point / self.problem.weights[:, None]

    def _round(self, gap, care):
        """Solve a smooth problem; return what that is for the exact one."""
        run, done = self.run, self.n_iter
        aim = _FIRST * self.target if np.isinf(gap) else _PART * gap
        run.aim = _INNER * self.target
        if care is Care.QUICK:
            run.aim = max(run.aim, aim)
        smooth = self.timed.smoothed(self.width, self.slopes)
        solved = self._exact(run.result_in_time(smooth, care), smooth)
        self.n_iter = done + run.n_iter
        return solved

    def _exact(self, solved, smooth):
        """Return a solution of the smooth problem as one of the exact problem."""
        problem, known = self.problem, solved.certificate
        network = solved.network if solved.dual_network is None else solved.dual_network
        smooth = smooth.until(None)
        N = dual_point(smooth, network.forward(problem.rows), overwrites=True)
        point = self._better(Point.of(problem, solved.network))
        self.loss = point.objective - problem.alpha * point.network.penalty()
        exact = known.price_bound if known.kind == "exact" else None
        certificate = certificate_at(problem, point.objective, N, known.price, exact)
        self.bound = max(self.bound, certificate.lower_bound)
        self._record(certificate, point.network)
        return replace(
            solved,
            network=point.network,
            certificate=certificate,
            n_iter=max(self.n_iter + self.run.n_iter, 1),
            history=self.history,
            dual_network=None,
            dual_point=N,
        )

    def _better(self, point):
        """Return a point, or the best constant where that is no worse.

        Just above ``alpha_max_`` the smoothed problem may still want neurons.
        """
        if self.loss_of_constant > point.objective:
            return point
        return Point(self.constant, None, self.loss_of_constant)

    def _record(self, certificate, network):
        """Append to the history and tell the callback, which may ask to stop."""
        record = certified_record(self.started, certificate, network.n_neurons)
        self.history.append(record)
        if self.callback is not None:
            self.run.stopped |= bool(self.callback(record, network))

    def _step(self, record, network):
        """Tell the callback of what the loop on a smooth problem does."""
        objective = self.problem.objective(network)
        record = record | {"objective": objective}
        if "step" not in record:
            record["dual_gap"] = objective - self.bound
        return self.callback(record, network)
