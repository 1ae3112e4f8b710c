"""Accelerated proximal gradient descent for gated programmes."""

import time
from dataclasses import dataclass, replace

import numpy as np

from sklearn_convexrelu.certificates.certificate import dual_point, lower_bound
from sklearn_convexrelu.model.solution import Status, history_record
from sklearn_convexrelu.programmes.group_lasso import (
    Blocks,
    ProgrammeSolution,
    refuse_nested,
)
from sklearn_convexrelu.programmes.linear_map import Operator

__all__ = ["Fista"]

# Of the power method, on whose result backtracking improves: with 10 and with 40 five
# programmes of five losses took the same 3200 steps and two backtracks; without, 3130
# and 56.
_POWER_STEPS = 20
# Times the loss: a sum of so many terms is known no better. Zero changes nothing there.
_ROUNDING = 64 * np.finfo(float).eps
# A guard against losses that overflow: 1.5^60 = 4e10 is beyond any curvature the power
# method may have missed. With 30 and with 120 nothing changes there.
_MOST_BACKTRACKS = 60


@dataclass(frozen=True)
class Fista:
    """FISTA with adaptive restart, for programmes without cones.

    Minimises ``L(sum_g M_g * (X V_g) + b) + alpha * sum_g ||V_g||``, the norm of a
    block being Euclidean for one output and nuclear for several; of the 1-norm it is
    the sum of the lengths of rows (Beck & Teboulle, SIAM Journal on Imaging Sciences
    2009; restarts where the step goes against the momentum: O'Donoghue & Candes,
    Foundations of Computational Mathematics 2015).

    Attributes
    ----------
    tol : float
        Stop at a duality gap of ``tol`` times the loss of the best constant.
    max_iter : int
        Largest number of steps.
    check_every : int
        Steps between two computations of the gap.
    """

    tol: float = 1e-3
    max_iter: int = 20_000
    check_every: int = 10

    def solve(self, programme, callback=None):
        """Solve a programme without cones.

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
        if programme.cones is not None:
            raise ValueError("FISTA cannot keep cone constraints.")
        refuse_nested(programme.problem.shape, "fista")
        return _Descent(self, programme, callback).run()


class _Descent:
    """One run: ``V`` (n_units, size, n_outputs) and ``b``, and their momentum.

    ``b`` (n_columns, n_outputs) are coordinates of what is not penalised.
    """

    def __init__(self, solver, programme, callback):
        self.solver, self.programme, self.callback = solver, programme, callback
        self.problem, self.operator = programme.problem, Operator(programme)
        self.tolerance = solver.tol * self.problem.loss_scale()
        self.started, self.history, self.stopped = time.perf_counter(), [], False
        self.best, self.objective = programme.zero(), np.inf
        self.bound, self.price, self.dual_point = -np.inf, np.inf, None
        n_units, size = len(programme.masks), self.operator.size
        self.V = np.zeros((n_units, size, self.problem.n_outputs))
        self.columns, null = self.problem.unpenalised, self.problem.null_network()
        self.B = self.columns.array()
        self.b = self.columns.coordinates(null.intercept, null.linear)
        self.F = null.forward(self.problem.rows)
        self.curvature = self.first_curvature()

    def first_curvature(self):
        """Return an estimate of the largest curvature, which backtracking corrects."""
        problem, rng = self.problem, np.random.default_rng(0)
        h = problem.loss.curvature(self.F, problem.Y, problem.weights)[0]
        z, largest = rng.standard_normal(self.V.shape[:2]), 0.0
        for _ in range(_POWER_STEPS):
            z /= max(np.linalg.norm(z), 1e-300)
            v = h.max(axis=1) * self.apart(self.operator.values(z), problem.weights)
            z = self.operator.adjoint(self.apart(v, 1.0, problem.weights))
            largest = np.linalg.norm(z)
        free = h.max(axis=1).sum() if problem.fit_intercept else 0.0
        return max(largest + (0.0 if self.columns.is_free else free), 1e-300)

    def apart(self, v, before, after=1.0):
        """Return values less what a free linear part makes of them.

        Weighted its columns are orthonormal.
        """
        if not self.columns.is_free:
            return v
        return v - after * (self.B @ (self.B.T @ (before * v)))

    def settled(self, b, F):
        """Return coordinates and predictions with a free linear part at its best.

        Descent is on the loss that is left then. Taken along, that part would be as
        slow as the largest curvature makes it, which beside a far row is its own: 200
        steps became 20 000.
        """
        if not self.columns.is_free:
            return b, F
        step = self.columns.best_step(self.problem, F)
        return b + step, F + self.B @ step

    def run(self):
        """Run; return the solution."""
        V, b, F = self.V, self.b, self.F
        momentum = 1.0
        for step in range(self.solver.max_iter + 1):
            # 1. The gap, every few steps: it takes one more product with
            # all units, and a step two.
            last = step == self.solver.max_iter
            if last or step % self.solver.check_every == 0:
                status = self.check()
                if status is not None:
                    return self.solution(status, step)
            # 2. A proximal step from the extrapolated point.
            new_V, new_b, new_F = self.descended(V, b, F)
            # 3. Momentum starts again where it points uphill (O'Donoghue & Candes 2015,
            # the gradient scheme): without it the objective swings about the optimum
            # at the rate of a badly conditioned problem. Their other scheme
            # compares objectives, which is blind once they differ by rounding.
            against = np.vdot(V - new_V, new_V - self.V)
            against += np.vdot(b - new_b, new_b - self.b)
            after = (1.0 + np.sqrt(1.0 + 4.0 * momentum**2)) / 2.0
            if against > 0.0:
                after, weight = 1.0, 0.0
            else:
                weight = (momentum - 1.0) / after
            # 4. Predictions are linear, so they are extrapolated, not computed again.
            V = new_V + weight * (new_V - self.V)
            b = new_b + weight * (new_b - self.b)
            F = new_F + weight * (new_F - self.F)
            self.V, self.b, self.F, momentum = new_V, new_b, new_F, after
        return self.solution(Status.ITERATION_LIMIT, self.solver.max_iter)

    def descended(self, V, b, F):
        """Return the proximal step from a point, and its predictions.

        The step is shortened until the quadratic model is above the loss (Beck &
        Teboulle 2009, FISTA with backtracking), never lengthened: the momentum's rate
        is proved for curvatures that do not fall.
        """
        problem = self.problem
        b, F = self.settled(b, F)
        loss, N = problem.loss.value_and_gradient(F, problem.Y, problem.weights)
        G, g = self.operator.adjoint(N), self.B.T @ N
        if self.columns.is_free:
            g = np.zeros_like(g)
        for _ in range(_MOST_BACKTRACKS):
            new_V = self.shrunk(V - G / self.curvature, problem.alpha / self.curvature)
            new_b = b - g / self.curvature
            new_F = self.operator.values(new_V) + self.B @ new_b
            change, shift = new_V - V, new_b - b
            new_b, new_F = self.settled(new_b, new_F)
            model = loss + np.vdot(G, change) + np.vdot(g, shift)
            squares = np.vdot(change, change) + np.vdot(shift, shift)
            model += 0.5 * self.curvature * squares
            reached = problem.loss.value(new_F, problem.Y, problem.weights)
            if reached <= model + _ROUNDING * max(abs(loss), 1e-300):
                break
            self.curvature *= 1.5
        return new_V, new_b, new_F

    def shrunk(self, V, by):
        """Apply the proximal operator of the norms."""
        if V.shape[2] > 1 and self.programme.n_parts < V.shape[1]:
            parts = V.reshape(len(V) * self.programme.n_parts, -1, V.shape[2])
            left, values, right = np.linalg.svd(parts, full_matrices=False)
            shrunk = (left * np.maximum(values - by, 0.0)[:, None, :]) @ right
            return shrunk.reshape(V.shape)
        parts = V.reshape(len(V) * self.programme.n_parts, -1)
        lengths = np.linalg.norm(parts, axis=1)
        factors = np.maximum(1.0 - by / np.maximum(lengths, 1e-300), 0.0)
        return (parts * factors[:, None]).reshape(V.shape)

    def check(self):
        """Compute the gap, tell the callback; return a Status where the run ends."""
        programme, problem = self.programme, self.problem
        shape = len(self.V), programme.n_paths, -1, problem.n_outputs
        intercept, weights = self.columns.affine(self.b)
        blocks = Blocks(self.V.reshape(shape), intercept)
        if weights is not None:
            blocks = replace(blocks, linear=problem.linear.of_weights(weights))
        blocks, F = problem.refitted(blocks, self.F)
        objective = programme.objective(blocks, F)
        if objective < self.objective:
            self.best, self.objective = blocks, objective
        N = dual_point(problem, F)
        prices = programme.dual_norms(self.operator.adjoint(N).reshape(shape))
        price = float(prices.max(initial=0.0))
        bound = lower_bound(problem, N, price)
        if bound > self.bound:
            self.bound, self.price, self.dual_point = bound, price, N
        gap = self.objective - self.bound
        n_units = len(self.best.active)
        self.history.append(
            history_record(self.started, self.objective, gap, n_units, self.price)
        )
        if self.callback is not None:
            self.stopped |= bool(self.callback(self.history[-1], self.best))
        if gap <= self.tolerance:
            return Status.CONVERGED
        return Status.STOPPED if self.stopped else None

    def solution(self, status, step):
        """Return what was reached."""
        return ProgrammeSolution(
            blocks=self.best,
            objective=self.objective,
            lower_bound=self.bound,
            price=self.price,
            status=status,
            n_iter=max(step, 1),
            history=self.history,
            tolerance=self.tolerance,
            dual_point=self.dual_point,
        )
