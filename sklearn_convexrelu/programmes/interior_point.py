"""A primal-dual interior point method for the masked group lasso.

Every norm is the last coordinate of a second-order cone, ``||v|| <= t``, with dual
``||w|| <= alpha``; cone constraints have slacks and multipliers. Nesterov-Todd scaling
and Mehrotra's predictor and corrector (as in Andersen, Dahl & Vandenberghe, "The CVXOPT
linear and quadratic cone program solvers", 2010) take ten to sixty steps whatever the
accuracy. The bounds t and their duals are eliminated, which leaves for each unit a
block ``B`` of the size of its unknowns, and the Newton system ``A^T H A + B``.
"""

import time
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from sklearn_convexrelu.certificates.certificate import dual_point, lower_bound
from sklearn_convexrelu.model.solution import Status
from sklearn_convexrelu.programmes.group_lasso import (
    Blocks,
    Operator,
    ProgrammeSolution,
)

__all__ = ["InteriorPoint"]

_LOOSE = 0.1  # part of the gap to which a working set is solved that will grow
_FEW_MORE = 0.2  # of a working set that is solved to the end though some are missing
_TO_BOUNDARY = 0.99  # part of the way to the boundary that a step goes
_REGULARISED = 1e-11  # least eigenvalue of B, times the curvature of the loss
_REFINED = 1e-10  # residual, times the right-hand side, that is good enough
_REFINEMENTS = 2  # of a Newton direction, against that regularisation
_BACKTRACKS = 12
# A step of which the loss's curvature allows less than this part is tried again, with
# another curvature, so many times.
_ASTRAY, _ATTEMPTS = 0.5, 4
_MOST_AT_ONCE = 10_000  # unknowns of a programme with cones that is solved as it is
_IDLE = 1e-5  # times the largest unit: smaller ones go where that costs nothing
_PATIENCE = 12  # steps that may pass without progress


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
        return _WorkingSet(self, programme, callback).run()


class _WorkingSet:
    """Solve over a growing set of units until no other unit matters."""

    def __init__(self, solver, programme, callback):
        self.solver, self.programme, self.callback = solver, programme, callback
        self.tolerance = solver.tol * programme.problem.loss_scale()
        self.started, self.history = time.perf_counter(), []
        self.stopped, self.n_steps = False, 0
        self.best, self.units = programme.zero(), np.array([], dtype=int)
        F = programme.predictions(self.best)
        N = dual_point(programme.problem, F)
        # Projecting on the cones is dear, and the first set does not need it.
        self.prices = programme.prices(N, one_over=True)
        self.objective = programme.objective(self.best, F)
        self.bound, self.price = -np.inf, np.inf
        self.raise_bound(N)

    def run(self):
        """Run; return the solution."""
        idle = 0  # rounds in a row without a better point or bound
        while True:
            gap = self.objective - self.bound
            self.record(gap)
            if gap <= self.tolerance:
                return self.solution(Status.CONVERGED)
            if self.stopped:
                return self.solution(Status.STOPPED)
            if self.n_steps >= self.solver.max_iter:
                return self.solution(Status.ITERATION_LIMIT)
            wanted = self.entering()
            if idle > 1 and not len(wanted):
                return self.solution(Status.STALLED)
            # Few more units are likely the last ones: no loose solution first.
            final = len(wanted) <= _FEW_MORE * len(self.units)
            self.units = np.union1d(self.units, wanted)
            final |= len(self.units) == len(self.prices)
            target = 0.3 * self.tolerance
            if not final:
                target = max(target, _LOOSE * gap)
            idle = 0 if self.improve(target / 10**idle) else idle + 1

    def improve(self, target):
        """Solve over the working set; return whether point or bound are better."""
        programme = self.programme
        left = self.solver.max_iter - self.n_steps
        run = _Run(programme.subset(self.units), target, left)
        self.n_steps += run.run()
        found = run.finished()
        V = np.zeros_like(self.best.V)
        V[self.units] = found.V
        blocks, F = programme.with_best_intercept(Blocks(V, found.intercept))
        objective = programme.objective(blocks, F)
        before = self.objective, self.bound
        if objective < self.objective:
            self.best, self.objective = blocks, objective
        # The dual point of the method itself, before idle units were dropped.
        N = dual_point(programme.problem, run.predictions())
        self.prices = programme.prices(N, run.multipliers, self.units)
        self.raise_bound(N)
        return (self.objective, self.bound) != before

    def raise_bound(self, N):
        """Take the lower bound that a dual point gives, where it is better."""
        price = self.prices.max(initial=0.0)
        bound = lower_bound(self.programme.problem, N, price)
        if bound > self.bound:
            self.bound, self.price = bound, float(price)

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
        self.history.append(
            {
                "time": time.perf_counter() - self.started,
                "objective": self.objective,
                "dual_gap": gap,
                "n_neurons": len(self.best.active),
                "price": self.price,
            }
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
        )


class _Run:
    """The interior point method over all units of a programme.

    ``z`` (n_units, size) are the unknowns of units, ``t`` and ``w`` the bounds and dual
    vectors of their parts, ``slacks`` and ``multipliers`` belong to the cones.
    """

    def __init__(self, programme, target, max_steps):
        self.programme, self.problem = programme, programme.problem
        self.target, self.max_steps = target, max_steps
        self.alpha = self.problem.alpha
        self.operator = Operator(programme)
        self.intercept = self.problem.null_network().intercept
        n_units, size = programme.n_units, self.operator.size
        self.z = np.zeros((n_units, size))
        n_parts = n_units * programme.n_parts
        # Values of order one: the loss of the best constant tells the unit of
        # predictions, the rows of X that of the weights.
        # Rows are centred: what they share, a bias or an offset, fits a constant only.
        X = self.problem.X
        row = np.sqrt(np.mean(np.sum((X - X.mean(axis=0)) ** 2, axis=1)))
        if row <= 1e-12 * np.abs(X).max():
            row = np.sqrt(np.mean(np.sum(X**2, axis=1)))
        unit = np.sqrt(2.0 * self.problem.loss_scale()) / max(row, 1e-300)
        self.t = np.full(n_parts, 0.3 * unit / np.sqrt(n_units))
        self.has_cones = programme.cones is not None
        self.multipliers = None
        self.w = np.zeros((n_parts, size // programme.n_parts))
        self.degree = n_parts
        if self.has_cones:
            self.constrained = programme.cones.any(axis=2)
            interiors = programme.interiors.reshape(n_units, -1)
            lengths = np.linalg.norm(interiors, axis=1)[:, None]
            self.z = unit / np.sqrt(n_units) * interiors / lengths
            self.t = 10.0 * self.t + np.linalg.norm(self.parts(self.z), axis=1)
            values = self.cone_values(self.z)
            floor = max(0.1 * np.abs(values).mean(), 1e-300)
            # Far inside, with small multipliers: half the steps of a centred start,
            # whose multipliers are thousands of times too large for the dual.
            self.slacks = 10.0 * np.maximum(values, floor)
            self.multipliers = 0.1 * self.alpha * self.t.mean() / self.slacks
            self.multipliers[~self.constrained] = 0.0
            self.degree += int(self.constrained.sum())
        else:
            N = dual_point(self.problem, self.predictions())
            G = self.parts(self.operator.adjoint(N[:, 0]))
            sizes = np.linalg.norm(G, axis=1)
            shrink = 0.5 * self.alpha / np.maximum(sizes, 0.5 * self.alpha)
            self.w = G * shrink[:, None]

    def parts(self, z):
        """Return unknowns of units as unknowns of parts."""
        return z.reshape(self.programme.n_units * self.programme.n_parts, -1)

    def units(self, parts):
        """Return unknowns of parts as unknowns of units."""
        return parts.reshape(self.z.shape)

    def cone_values(self, z):
        """Return the values of the cone constraints at unknowns of units."""
        return self.programme.cone_values(z.reshape(len(z), self.programme.n_paths, -1))

    def cone_adjoint(self, multipliers):
        """Return the adjoint of ``cone_values``."""
        return self.programme.cone_adjoint(multipliers).reshape(self.z.shape)

    def predictions(self):
        """Return predictions, (n_samples, 1)."""
        return self.operator.values(self.z)[:, None] + self.intercept

    def blocks(self, z):
        """Return a point of the programme."""
        V = z.reshape(len(z), self.programme.n_paths, -1, 1)
        return Blocks(V.copy(), self.intercept.copy())

    def run(self):
        """Run until the gap is met or no progress is made; return the steps taken."""
        n_steps, best, since = 0, (np.inf, np.inf), 0
        while True:
            state = self.state()
            if state.gap <= self.target and state.violation <= 1e-10:
                return n_steps
            now = state.mean, np.abs(state.residual).max()
            since = since + 1
            if now[0] < 0.9 * best[0] or now[1] < 0.9 * best[1]:
                best, since = np.minimum(now, best), 0
            if n_steps >= self.max_steps or since > _PATIENCE:
                return n_steps
            try:
                with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                    if not self.step(state):
                        return n_steps
            except (LinAlgError, np.linalg.LinAlgError):
                return n_steps
            n_steps += 1

    def state(self):
        """Return the residuals, the mean complementarity and the gap."""
        problem, F = self.problem, self.predictions()
        loss, N = problem.loss.value_and_gradient(F, problem.Y, problem.weights)
        gradient = self.operator.adjoint(N[:, 0])
        pull = self.cone_adjoint(self.multipliers) if self.has_cones else 0.0
        residual = gradient - self.units(self.w) - pull
        products = self.alpha * self.t + np.einsum(
            "pi,pi->p", self.parts(self.z), self.w
        )
        total, violation, cone_residual = products.sum(), 0.0, None
        if self.has_cones:
            total += np.sum(self.slacks * self.multipliers)
            cone_residual = np.where(
                self.constrained, self.cone_values(self.z) - self.slacks, 0.0
            )
            violation = np.abs(cone_residual).max() / np.abs(self.slacks).max()
        lengths = np.linalg.norm(self.parts(self.z), axis=1)
        balanced = N
        if problem.fit_intercept:
            balanced = problem.loss.balanced(N, problem.Y, problem.weights)
            gradient = self.operator.adjoint(balanced[:, 0])
        price = np.linalg.norm(self.parts(gradient - pull), axis=1).max()
        bound = lower_bound(problem, balanced, price)
        return _State(
            F=F,
            residual=residual,
            intercept_residual=N.sum() if problem.fit_intercept else 0.0,
            cone_residual=cone_residual,
            violation=violation,
            mean=total / self.degree,
            gap=loss + self.alpha * lengths.sum() - bound,
        )

    def step(self, state):
        """Take one predictor-corrector step; return whether there was one.

        Where the curvature of the loss leads astray, as it does where the loss is
        quadratic in pieces, the step is tried again with the slope of the gradient
        along it, and at last with an upper bound, which is slow but sure.
        """
        self.scaling = _Scaling(self.t, self.parts(self.z), self.alpha, self.w)
        loss, Y, weights = self.problem.loss, self.problem.Y, self.problem.weights
        blocks = self.block_matrices()
        h = loss.curvature(state.F, Y, weights)[0][:, 0]
        for attempt in range(_ATTEMPTS):
            move, length = self.proposed(state, h, blocks)
            if not np.isfinite(move.z).all():
                return False
            checked = self.checked_length(state, move, length)
            if checked >= _ASTRAY * length:
                break
            if attempt < _ATTEMPTS - 2:
                h = self.slopes(state, move, length)
            else:
                h, checked = np.maximum(h, weights * np.max(h / weights)), length
        self.advance(move, checked)
        return checked > 1e-10

    def proposed(self, state, h, blocks):
        """Return the predictor-corrector step for a curvature h, and its length."""
        self.system = _System(self.operator, h, blocks, self.problem.fit_intercept)
        scaled = self.scaling.scaled
        square = _jordan(scaled, scaled)
        zeros = np.zeros(len(self.t))
        cone = -self.slacks * self.multipliers if self.has_cones else None
        guess = self.direction(state, (-square[0], -square[1]), cone, rough=True)
        length = min(1.0, self.longest(guess))
        center = (1.0 - length) ** 3 * state.mean
        second = _jordan(
            self.scaling.shrink(guess.t, self.parts(guess.z)),
            self.scaling.stretch(zeros, guess.w),
        )
        target = center - square[0] - second[0], -square[1] - second[1]
        if self.has_cones:
            cone = center + cone - guess.slacks * guess.multipliers
        move = self.direction(state, target, cone)
        return move, min(1.0, _TO_BOUNDARY * self.longest(move))

    def slopes(self, state, move, length):
        """Return the mean curvature of the loss along a step, for each sample."""
        loss, Y, weights = self.problem.loss, self.problem.Y, self.problem.weights
        change = length * (self.operator.values(move.z)[:, None] + move.intercept)
        change = np.where(change == 0.0, 1e-12, change)
        rise = loss.gradient(state.F + change, Y, weights)
        rise -= loss.gradient(state.F, Y, weights)
        least = 1e-3 * loss.curvature(state.F, Y, weights)[0]
        return np.maximum(rise / change, least)[:, 0]

    def advance(self, move, length):
        """Go ``length`` along a direction."""
        self.z = self.z + length * move.z
        self.t = self.t + length * move.t
        self.w = self.w + length * move.w
        self.intercept = self.intercept + length * move.intercept
        if self.has_cones:
            self.slacks = self.slacks + length * move.slacks
            self.multipliers = self.multipliers + length * move.multipliers

    def checked_length(self, state, move, length):
        """Shorten a step while the curvature of the loss leads it astray.

        Along a direction the dual residual should fall in proportion; what the loss
        bends it by must stay small beside that and beside the complementarity.
        """
        problem = self.problem
        if problem.loss.is_quadratic:
            return length
        z, w, intercept = self.z, self.w, self.intercept
        multipliers = self.multipliers if self.has_cones else None
        slack = 0.1 * self.alpha * min(1.0, state.gap / problem.loss_scale())
        before = max(np.abs(state.residual).max(), abs(state.intercept_residual))
        for _ in range(_BACKTRACKS):
            F = self.operator.values(z + length * move.z)[:, None]
            F = F + intercept + length * move.intercept
            N = problem.loss.gradient(F, problem.Y, problem.weights)
            residual = self.operator.adjoint(N[:, 0])
            residual -= self.units(w + length * move.w)
            if self.has_cones:
                residual -= self.cone_adjoint(multipliers + length * move.multipliers)
            after = np.abs(residual).max()
            if problem.fit_intercept:
                after = max(after, abs(N.sum()))
            if after <= max((1.0 - 0.1 * length) * before, slack):
                return length
            length *= 0.5
        return length

    def block_matrices(self):
        """Return the blocks B of the Newton system: _PlainBlocks or _DenseBlocks."""
        if not self.has_cones:
            return _PlainBlocks(self.scaling, self.z.shape)
        n_units, size = self.z.shape
        B = np.zeros((n_units, size, size))
        part = size // self.programme.n_parts
        parts = self.scaling.matrices().reshape(n_units, -1, part, part)
        for j in range(self.programme.n_parts):
            at = slice(j * part, (j + 1) * part)
            B[:, at, at] = parts[:, j]
        ratios = np.divide(
            self.multipliers,
            self.slacks,
            out=np.zeros_like(self.slacks),
            where=self.constrained,
        )
        d, cones = self.problem.X.shape[1], self.programme.cones
        for i in range(self.programme.n_paths):
            for j in range(i + 1):
                weights = np.einsum(
                    "gkn,gkn->gn", cones[:, :, i] * cones[:, :, j], ratios
                )
                moments = self.operator.moments(weights)
                at, across = slice(i * d, (i + 1) * d), slice(j * d, (j + 1) * d)
                B[:, at, across] += moments
                if i != j:
                    B[:, across, at] += moments
        return _DenseBlocks(B)

    def direction(self, state, target, cone_target, *, rough=False):
        """Return the Newton direction towards complementarity products ``target``.

        A rough one is not refined: good enough to tell how much to centre.
        """
        scaling = self.scaling
        pulled = scaling.shrink(*_jordan_divide(scaling.scaled, target))
        constant = scaling.eliminated(*pulled)
        rhs = self.units(constant) - state.residual
        if self.has_cones:
            push = (cone_target - self.multipliers * state.cone_residual) / self.slacks
            push[~self.constrained] = 0.0
            rhs = rhs + self.cone_adjoint(push)
        z, intercept = self.system.solve(rhs, -state.intercept_residual, rough)
        t, w = scaling.completed(self.parts(z), pulled[0], constant)
        slacks = multipliers = None
        if self.has_cones:
            slacks = self.cone_values(z) + state.cone_residual
            multipliers = (cone_target - self.multipliers * slacks) / self.slacks
            slacks[~self.constrained] = 0.0
            multipliers[~self.constrained] = 0.0
        return _Direction(z, t, w, intercept, slacks, multipliers)

    def longest(self, move):
        """Return how far a direction can be followed inside all cones."""
        length = min(
            _longest(self.t, self.parts(self.z), move.t, self.parts(move.z)),
            _longest(
                np.full(len(self.t), self.alpha), self.w, np.zeros(len(self.t)), move.w
            ),
        )
        if self.has_cones:
            for value, change in (
                (self.slacks, move.slacks),
                (self.multipliers, move.multipliers),
            ):
                falls = change < 0.0
                length = min(
                    length, np.min(-value[falls] / change[falls], initial=np.inf)
                )
        return length

    def finished(self):
        """Return the point as Blocks that keep the cones, without idle units."""
        whole = self.programme.pushed_inside(self.blocks(self.z))
        lengths = np.sqrt(np.sum(whole.V**2, axis=(1, 2, 3)))
        idle = lengths <= _IDLE * lengths.max(initial=0.0)
        sparse = Blocks(
            np.where(idle[:, None, None, None], 0.0, whole.V), whole.intercept
        )
        whole, F = self.programme.with_best_intercept(whole)
        objective = self.programme.objective(whole, F)
        sparse, F = self.programme.with_best_intercept(sparse)
        if self.programme.objective(sparse, F) <= objective + 0.1 * self.target:
            return sparse
        return whole


@dataclass(frozen=True)
class _State:
    F: np.ndarray
    residual: np.ndarray
    intercept_residual: float
    cone_residual: np.ndarray
    violation: float
    mean: float
    gap: float


@dataclass(frozen=True)
class _Direction:
    z: np.ndarray
    t: np.ndarray
    w: np.ndarray
    intercept: float
    slacks: np.ndarray
    multipliers: np.ndarray


class _Scaling:
    """Nesterov-Todd scaling of ``(t, v)`` and its dual ``(alpha, w)``, for each part.

    The scaling point has the hyperbolic norm ``size`` and the unit form ``(p0, p)``
    with ``p0^2 - ||p||^2 = 1``. Eliminating t from the scaled Newton equations leaves
    ``B = (I - kappa p p^T) / size^2`` with ``kappa = 2 / (2 p0^2 - 1)``.
    """

    def __init__(self, t, v, alpha, w):
        lengths, duals = np.linalg.norm(v, axis=1), np.linalg.norm(w, axis=1)
        # As products: the squares would cancel near the boundary.
        x = np.sqrt(np.maximum((t - lengths) * (t + lengths), 1e-300))
        y = np.sqrt(np.maximum((alpha - duals) * (alpha + duals), 1e-300))
        t, v, a, w = t / x, v / x[:, None], alpha / y, w / y[:, None]
        norm = np.sqrt(0.5 * (1.0 + t * a + np.einsum("pi,pi->p", v, w)))
        self.p0 = (t + a) / (2.0 * norm)
        self.p = (v - w) / (2.0 * norm)[:, None]
        self.square = x / y
        self.size = np.sqrt(self.square)
        self.kappa = 2.0 / (2.0 * self.p0**2 - 1.0)
        self.scaled = self.shrink(t * x, v * x[:, None])

    def stretch(self, a0, a):
        """Apply the scaling."""
        inner = np.einsum("pi,pi->p", self.p, a)
        along = a0 + inner / (1.0 + self.p0)
        return self.size * (self.p0 * a0 + inner), self.size[:, None] * (
            a + self.p * along[:, None]
        )

    def shrink(self, a0, a):
        """Apply the inverse of the scaling."""
        inner = -np.einsum("pi,pi->p", self.p, a)
        along = a0 + inner / (1.0 + self.p0)
        return (self.p0 * a0 + inner) / self.size, (
            a - self.p * along[:, None]
        ) / self.size[:, None]

    def matrices(self):
        """Return the matrices B of the parts."""
        outer = self.p[:, :, None] * self.p[:, None, :]
        unit = np.eye(self.p.shape[1])
        return (unit - self.kappa[:, None, None] * outer) / self.square[:, None, None]

    def applied(self, v):
        """Return ``B v`` for every part."""
        inner = self.kappa * np.einsum("pi,pi->p", self.p, v)
        return (v - self.p * inner[:, None]) / self.square[:, None]

    def eliminated(self, f0, f):
        """Return what the right-hand side ``(f0, f)`` is once t is eliminated."""
        share = 2.0 * self.p0 * f0 / (2.0 * self.p0**2 - 1.0)
        return f + self.p * share[:, None]

    def completed(self, v, f0, constant):
        """Return the changes of t and w that belong to the change ``v``."""
        inner = np.einsum("pi,pi->p", self.p, v)
        t = (f0 * self.square + 2.0 * self.p0 * inner) / (2.0 * self.p0**2 - 1.0)
        return t, constant - self.applied(v)


def _jordan(a, b):
    """Return the Jordan product of second-order cone vectors, part by part."""
    inner = np.einsum("pi,pi->p", a[1], b[1])
    return a[0] * b[0] + inner, a[0][:, None] * b[1] + b[0][:, None] * a[1]


def _jordan_divide(a, b):
    """Return x with ``a o x = b``."""
    length = np.linalg.norm(a[1], axis=1)
    determinant = np.maximum((a[0] - length) * (a[0] + length), 1e-300)
    x0 = (a[0] * b[0] - np.einsum("pi,pi->p", a[1], b[1])) / determinant
    return x0, (b[1] - x0[:, None] * a[1]) / a[0][:, None]


def _longest(t, v, dt, dv):
    """Return the largest s with ``||v + s dv|| <= t + s dt`` in every part."""
    length = np.linalg.norm(v, axis=1)
    c = np.maximum((t - length) * (t + length), 0.0)
    b = t * dt - np.einsum("pi,pi->p", v, dv)
    a = dt**2 - np.einsum("pi,pi->p", dv, dv)
    # The first root of c + 2 b s + a s^2, written so that nothing cancels.
    root = -b + np.sqrt(np.maximum(b**2 - a * c, 0.0))
    meets = (root > 0.0) & ((a < 0.0) | (b < 0.0)) & (b**2 >= a * c)
    return float(np.min(c[meets] / root[meets], initial=np.inf))


class _PlainBlocks:
    """B without cones: a multiple of the identity and one direction, for each part."""

    def __init__(self, scaling, shape):
        self.scaling, self.shape = scaling, shape
        length = np.linalg.norm(scaling.p, axis=1)
        self.direction = scaling.p / np.maximum(length, 1e-300)[:, None]
        across = 1.0 / scaling.square
        self.across = across
        self.along = across / (2.0 * scaling.p0**2 - 1.0)

    def applied(self, z):
        """Return ``B z``."""
        return self.scaling.applied(z.reshape(self.scaling.p.shape)).reshape(self.shape)

    def function(self, z, across, along):
        """Return a function of B at ``z``, from its values at the eigenvalues."""
        v = z.reshape(self.scaling.p.shape)
        inner = (along - across) * np.einsum("pi,pi->p", self.direction, v)
        result = across[:, None] * v + inner[:, None] * self.direction
        return result.reshape(self.shape)

    def inverse(self, z, floor):
        """Return ``(B + floor)^-1 z``."""
        return self.function(z, 1 / (self.across + floor), 1 / (self.along + floor))

    def dual_gram(self, operator, floor):
        """Return ``A (B + floor)^-1 A^T``, (n_samples, n_samples).

        The part across the directions is ``(X X^T) * (M^T D M)``, entry by entry, with
        D the inverse eigenvalues: it does not cost more for more features.
        """
        n_parts, size = self.scaling.p.shape
        X, n = operator.X, operator.n_samples
        masks = operator.masks.reshape(n_parts, -1, n).astype(float, copy=False)
        across, along = 1.0 / (self.across + floor), 1.0 / (self.along + floor)
        values = self.direction.reshape(*masks.shape[:2], -1) @ X.T
        values = (masks * values).sum(axis=1) * np.sqrt(along - across)[:, None]
        weighted = (masks * np.sqrt(across)[:, None, None]).reshape(-1, n)
        S = operator.inner_products * (weighted.T @ weighted)
        S += values.T @ values
        return S

    def add_to(self, H):
        """Add B to the diagonal blocks of ``H``."""
        n_parts, size = self.scaling.p.shape
        view, at = H.reshape(n_parts, size, n_parts, size), np.arange(n_parts)
        view[at, :, at, :] += self.scaling.matrices()


class _DenseBlocks:
    """B with cones: a matrix for each unit."""

    def __init__(self, B):
        self.B, self.root = B, None

    def applied(self, z):
        """Return ``B z``."""
        return np.matmul(self.B, z[:, :, None])[:, :, 0]

    def inverse_root(self, floor):
        """Return R with ``R^T R = (B + floor)^-1`` for every unit."""
        if self.root is None:
            try:
                factors = np.linalg.cholesky(self.B + floor * np.eye(self.B.shape[1]))
                self.root = np.linalg.inv(factors)
            except np.linalg.LinAlgError:
                # Rounding made the least of widely spread eigenvalues negative.
                values, Q = np.linalg.eigh(self.B)
                least = np.maximum(1e-15 * values[:, -1:], 0.0)
                root = np.sqrt(np.maximum(values, least) + floor)
                self.root = (Q / root[:, None, :]).transpose(0, 2, 1)
        return self.root

    def inverse(self, z, floor):
        """Return ``(B + floor)^-1 z``."""
        R = self.inverse_root(floor)
        return np.matmul(R.transpose(0, 2, 1), np.matmul(R, z[:, :, None]))[:, :, 0]

    def dual_gram(self, operator, floor):
        """Return ``A (B + floor)^-1 A^T``, (n_samples, n_samples)."""
        n_units, size = self.B.shape[:2]
        R, white = self.inverse_root(floor), np.empty((n_units, size, len(operator.X)))
        for rows in operator.chunks():
            A = operator.rows(rows).reshape(n_units, size, -1)
            np.matmul(R, A, out=white[:, :, rows])
        white = white.reshape(n_units * size, -1)
        return white.T @ white

    def add_to(self, H):
        """Add B to the diagonal blocks of ``H``."""
        n_units, size = self.B.shape[:2]
        view, at = H.reshape(n_units, size, n_units, size), np.arange(n_units)
        view[at, :, at, :] += self.B


class _System:
    """The Newton system ``A^T diag(h) A + B``, with an intercept's column.

    With few unknowns it is factored as it stands; with more unknowns than samples by
    Woodbury's identity, as a matrix of the size of the samples. B is nearly singular
    there where a unit is active, so a floor is put under it, and what that costs is
    refined away.
    """

    def __init__(self, operator, h, B, fit_intercept):
        self.operator, self.h, self.B = operator, h, B
        self.is_small = operator.n_unknowns <= operator.n_samples
        if self.is_small:
            H = operator.gram(h)
            B.add_to(H)
            self.factor = cho_factor(H, overwrite_a=True, check_finite=False)
        else:
            row = np.mean(np.sum(operator.X**2, axis=1))
            self.floor = _REGULARISED * h.sum() * row
            self.root = np.sqrt(h)
            self.factor = self.dual_factor()
        self.column = None
        if fit_intercept:
            self.column = operator.adjoint(h)
            self.solved_column = self.refined(self.column)

    def dual_factor(self):
        """Return the factor of ``I + sqrt(h) A (B + floor)^-1 A^T sqrt(h)``."""
        S = self.B.dual_gram(self.operator, self.floor)
        S *= self.root[:, None] * self.root
        S[np.diag_indices_from(S)] += 1.0
        return cho_factor(S, overwrite_a=True, check_finite=False)

    def solve(self, rhs, intercept_rhs, rough):
        """Return the changes of the unknowns and of the intercept."""
        z = self.rough(rhs) if rough else self.refined(rhs)
        if self.column is None:
            return z, 0.0
        curvature = self.h.sum() - np.sum(self.column * self.solved_column)
        change = (intercept_rhs - np.sum(self.column * z)) / max(curvature, 1e-300)
        return z - change * self.solved_column, change

    def refined(self, rhs):
        """Solve without the intercept; refine while that helps."""
        z = self.rough(rhs)
        residual = rhs - self.applied(z)
        for _ in range(_REFINEMENTS):
            if np.linalg.norm(residual) <= _REFINED * np.linalg.norm(rhs):
                break
            again = z + self.rough(residual)
            left = rhs - self.applied(again)
            if not np.linalg.norm(left) < np.linalg.norm(residual):
                break
            z, residual = again, left
        return z

    def applied(self, z):
        """Return the system's matrix times ``z``."""
        curved = self.operator.adjoint(self.h * self.operator.values(z))
        return curved + self.B.applied(z)

    def rough(self, rhs):
        """Solve by the factor."""
        if self.is_small:
            z = cho_solve(self.factor, rhs.ravel(), check_finite=False)
            return z.reshape(rhs.shape)
        first = self.B.inverse(rhs, self.floor)
        v = self.root * cho_solve(
            self.factor, self.root * self.operator.values(first), check_finite=False
        )
        return first - self.B.inverse(self.operator.adjoint(v), self.floor)
