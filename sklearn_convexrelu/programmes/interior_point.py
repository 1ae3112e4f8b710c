"""An interior point method for the masked group lasso, with a working set of units.

Most units are zero at an optimum, and the work of a step grows with the cube of the
unknowns or of the samples. So steps are taken over few units (``central_path``), and
the others are priced in between: those whose price exceeds alpha join.
"""

import time
from dataclasses import dataclass, replace

import numpy as np

from sklearn_convexrelu.certificates.certificate import dual_point, lower_bound
from sklearn_convexrelu.model.solution import Status, history_record
from sklearn_convexrelu.programmes.central_path import CentralPath
from sklearn_convexrelu.programmes.group_lasso import (
    ProgrammeSolution,
    refuse_nested,
)

__all__ = ["InteriorPoint"]

# Part of the gap to which a working set is solved that will grow. On seven programmes
# of five losses, to gaps of 1e-3, 134 steps; with half 138, with double 133. Solved to
# the end each time (gaps of 1e-6), 184 for 154.
_LOOSE = 0.1
# Of a working set: where so few units are missing, it is solved to the end at once.
# Half and double change nothing; never, three gated programmes over all patterns take
# 159 steps for 132.
_FEW_MORE = 0.2
# Unknowns of a programme with cones that is solved as it is, since rounds cost more
# than units do. Seven programmes below take 154 steps, 253 in rounds. With half, three
# of 13200 to 26400 take 208 steps for 109; with double 66, but of larger systems.
_MOST_AT_ONCE = 10_000


@dataclass(frozen=True)
class InteriorPoint:
    """Interior point method with a working set of units, for one output.

    Attributes
    ----------
    tol : float
        Stop at a duality gap of ``tol`` times the loss of the best constant.
    max_iter : int
        Largest number of interior point steps, over all working sets.
    first_units : int
        How many units the first working set has, at least.
    """

    tol: float = 1e-3
    max_iter: int = 200
    first_units: int = 10

    def solve(self, programme, callback=None):
        """Solve a programme of one output.

        Units join the working set while their prices exceed alpha; the others cost no
        more than being priced.

        Parameters
        ----------
        programme : GroupLasso
            The programme.
        callback : callable, default=None
            Called with each record of the history and its Blocks; the run stops where
            it returns true.

        Returns
        -------
        ProgrammeSolution
            The best point found.
        """
        if programme.problem.n_outputs > 1:
            raise ValueError("The interior point method is for one output.")
        refuse_nested(programme.problem.shape, "interior_point")
        return _WorkingSet(self, programme, callback).run()


class _WorkingSet:
    """Solve over a growing set of units until no other unit matters."""

    def __init__(self, solver, programme, callback):
        self.solver, self.programme, self.callback = solver, programme, callback
        self.tolerance = solver.tol * programme.problem.loss_scale()
        self.started, self.history = time.perf_counter(), []
        self.stopped, self.n_steps = False, 0
        self.best = programme.zero()
        # The linear part is in from the start: bounds count its price.
        self.units = np.flatnonzero(programme.are_linear)
        F = programme.predictions(self.best)
        N = dual_point(programme.problem, F)
        # Projecting on the cones is costly, and the first set does not need it.
        self.prices = programme.prices(N, one_over=True)
        self.objective = programme.objective(self.best, F)
        self.bound, self.price, self.dual_point = -np.inf, np.inf, None
        self.raise_bound(N)

    def run(self):
        """Run; return the solution."""
        idle = 0  # rounds in a row without a better point or bound
        while True:
            # 1. The gap over all units, of the best point and the best bound so far,
            # which need not come from the same round.
            gap = self.objective - self.bound
            self.record(gap)
            if gap <= self.tolerance:
                return self.solution(Status.CONVERGED)
            if self.stopped:
                return self.solution(Status.STOPPED)
            if self.n_steps >= self.solver.max_iter:
                return self.solution(Status.ITERATION_LIMIT)
            # 2. Units that violate the dual constraint join, and none leaves: a set
            # that shrinks can cycle, and units that are zero cost a step little.
            wanted = self.entering()
            if idle > 1 and not len(wanted):
                return self.solution(Status.STALLED)
            # Few more units are likely the last ones: no loose solution first.
            final = len(wanted) <= _FEW_MORE * len(self.units)
            self.units = np.union1d(self.units, wanted)
            final |= len(self.units) == len(self.prices)
            # 3. A set that will grow is solved as far as its gap tells anything. Where
            # a round brought nothing the next one is more accurate, since point and
            # bound lose a little to the intercept and the cones.
            target = 0.3 * self.tolerance
            if not final:
                target = max(target, _LOOSE * gap)
            idle = 0 if self.improve(target / 10**idle) else idle + 1

    def improve(self, target):
        """Solve over the working set; return whether point or bound are better."""
        programme = self.programme
        left = self.solver.max_iter - self.n_steps
        run = CentralPath(programme.subset(self.units), target, left)
        self.n_steps += run.run()
        found = run.finished()
        V = np.zeros_like(self.best.V)
        V[self.units] = found.V
        blocks, F = programme.with_best_intercept(replace(found, V=V))
        objective = programme.objective(blocks, F)
        before = self.objective, self.bound
        if objective < self.objective:
            self.best, self.objective = blocks, objective
        # The dual point of the method itself, before negligible units were dropped.
        N = dual_point(programme.problem, run.predictions())
        self.prices = programme.prices(N, run.multipliers, self.units)
        self.raise_bound(N)
        return (self.objective, self.bound) != before

    def raise_bound(self, N):
        """Take the lower bound that a dual point gives, where it is better."""
        price = self.prices.max(initial=0.0)
        bound = lower_bound(self.programme.problem, N, price)
        if bound > self.bound:
            self.bound, self.price, self.dual_point = bound, float(price), N

    def entering(self):
        """Return the units to take in: those of the largest prices above alpha."""
        outside = np.ones(len(self.prices), dtype=bool)
        outside[self.units] = False
        wanted = np.flatnonzero(outside & (self.prices > self.programme.problem.alpha))
        fewest = self.solver.first_units
        if self.programme.cones is not None:  # a round more costs more than units do
            size = self.best.V[0].size
            fewest = max(fewest, len(outside) // 3, _MOST_AT_ONCE // size)
        most = max(fewest, 4 * len(self.units))
        if len(wanted) and len(self.units) + min(most, len(wanted)) > len(outside) / 2:
            return np.flatnonzero(outside)
        return wanted[np.argsort(-self.prices[wanted], kind="stable")[:most]]

    def record(self, gap):
        """Append to the history and tell the callback."""
        n_units = len(self.best.active)
        self.history.append(
            history_record(self.started, self.objective, gap, n_units, self.price)
        )
        if self.callback is not None:
            self.stopped |= bool(self.callback(self.history[-1], self.best))

    def solution(self, status):
        """Return what was reached."""
        return ProgrammeSolution(
            blocks=self.best,
            objective=self.objective,
            lower_bound=self.bound,
            price=self.price,
            status=status,
            n_iter=max(self.n_steps, 1),
            history=self.history,
            tolerance=self.tolerance,
            dual_point=self.dual_point,
        )
