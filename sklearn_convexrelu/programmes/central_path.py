"""Primal-dual steps along the central path, over all units of a programme at once.

Every norm is the last coordinate of a second-order cone, ``||v|| <= t``, with dual
``||w|| <= alpha``; cone constraints have slacks and multipliers. Nesterov-Todd scaling
and Mehrotra's predictor and corrector (as in Andersen, Dahl & Vandenberghe, "The CVXOPT
linear and quadratic cone program solvers", 2010) take ten to sixty steps whatever the
accuracy. The bounds t and their duals are eliminated, which leaves for each unit a
block ``B`` of the size of its unknowns, and the Newton system ``A^T H A + B``.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError

from sklearn_convexrelu.certificates.certificate import dual_point, lower_bound
from sklearn_convexrelu.programmes.group_lasso import Blocks
from sklearn_convexrelu.programmes.linear_map import Operator
from sklearn_convexrelu.programmes.newton_system import (
    DenseBlocks,
    NewtonSystem,
    PlainBlocks,
)
from sklearn_convexrelu.programmes.second_order_cones import (
    Scaling,
    jordan_divide,
    jordan_product,
    longest_step,
)

__all__ = ["CentralPath"]

_TO_BOUNDARY = 0.99  # part of the way to the boundary that a step goes
_BACKTRACKS = 12
# A step of which the loss's curvature allows less than this part is tried again, with
# another curvature, so many times.
_ASTRAY, _ATTEMPTS = 0.5, 4
_IDLE = 1e-5  # times the largest unit: smaller ones go where that costs nothing
_PATIENCE = 12  # steps that may pass without progress


class CentralPath:
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
        self.scaling = Scaling(self.t, self.parts(self.z), self.alpha, self.w)
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
        self.system = NewtonSystem(self.operator, h, blocks, self.problem.fit_intercept)
        scaled = self.scaling.scaled
        square = jordan_product(scaled, scaled)
        zeros = np.zeros(len(self.t))
        cone = -self.slacks * self.multipliers if self.has_cones else None
        guess = self.direction(state, (-square[0], -square[1]), cone, rough=True)
        length = min(1.0, self.longest(guess))
        center = (1.0 - length) ** 3 * state.mean
        second = jordan_product(
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
        """Return the blocks B of the Newton system: PlainBlocks or DenseBlocks."""
        if not self.has_cones:
            return PlainBlocks(self.scaling, self.z.shape)
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
        return DenseBlocks(B)

    def direction(self, state, target, cone_target, *, rough=False):
        """Return the Newton direction towards complementarity products ``target``.

        A rough one is not refined: good enough to tell how much to centre.
        """
        scaling = self.scaling
        pulled = scaling.shrink(*jordan_divide(scaling.scaled, target))
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
            longest_step(self.t, self.parts(self.z), move.t, self.parts(move.z)),
            longest_step(
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
