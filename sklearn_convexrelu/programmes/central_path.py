"""Primal-dual steps along the central path, over all units of a programme at once.

Every norm is the last coordinate of a second-order cone, ``||v|| <= t``, with dual
``||w|| <= alpha``; cone constraints have slacks and multipliers. Nesterov-Todd scaling
and Mehrotra's predictor and corrector (as in Andersen, Dahl & Vandenberghe, "The CVXOPT
linear and quadratic cone program solvers", 2010) take ten to sixty steps whatever the
accuracy. The bounds t and their duals are eliminated, which leaves for each unit a
block ``B`` of the size of its unknowns, and the Newton system ``A^T H A + B``.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import LinAlgError

from sklearn_convexrelu.certificates.certificate import dual_point, lower_bound
from sklearn_convexrelu.programmes.group_lasso import Blocks
from sklearn_convexrelu.programmes.linear_map import Operator
from sklearn_convexrelu.programmes.newton_system import (
    DenseBlocks,
    DiagonalBlocks,
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

# Chosen on seven programmes of five losses (to gaps of 1e-3) and eight that are hard
# for Newton's method (small thresholds and penalties, to gaps of 1e-6), which take 134
# and 398 steps; one of the latter stalls. Part of the way to the boundary that a step
# goes: with 0.98 132 and 428, and another stalls; with 0.995 133 and 454.
_TO_BOUNDARY = 0.99
# At a step, with one curvature of the loss after another. No difference on the first
# seven; on the others 2 take 573 steps and two others fail, 8 take 415.
_ATTEMPTS = 4
# Times the largest unit: smaller ones go where that costs nothing. On the first seven
# 1194 of 1940 units stay, with half 1528, with double 957. To be left with few is for
# ``with_few_units``, which minimises; this keeps its problem small.
_NEGLIGIBLE = 1e-5
# Steps that may pass without progress: with 6 a programme more stalls, with 24 the one
# that stalls anyway takes 120 steps for 79, and nothing else changes.
_PATIENCE = 12


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
        self.columns, null = self.problem.unpenalised, self.problem.null_network()
        self.B = self.columns.array()
        self.affine = self.columns.coordinates(null.intercept, null.linear)[:, 0]
        n_units, size = programme.n_units, self.operator.size
        self.z = np.zeros((n_units, size))
        self.degree = n_parts = n_units * programme.n_parts
        unit = self.unit_of_weights()
        self.t = np.full(n_parts, 0.3 * unit / np.sqrt(n_units))
        self.w = np.zeros((n_parts, size // programme.n_parts))
        self.multipliers = None
        self.has_cones = programme.cones is not None
        if self.has_cones:
            self.start_in_cones(unit)
        else:
            self.start_without_cones()

    def unit_of_weights(self):
        """Return a size of weights at which predictions are of the size of the loss.

        The loss of the best constant tells the unit of predictions, the rows of X that
        of the weights. Rows are centred: what they share, a bias or an offset, fits a
        constant only.
        """
        X = self.problem.X
        row = np.sqrt(np.mean(np.sum((X - X.mean(axis=0)) ** 2, axis=1)))
        if row <= 1e-12 * np.abs(X).max():
            row = np.sqrt(np.mean(np.sum(X**2, axis=1)))
        return np.sqrt(2.0 * self.problem.loss_scale()) / max(row, 1e-300)

    def start_in_cones(self, unit):
        """Start at the interior points of the cones, far inside, multipliers small.

        That takes half the steps of a centred start, whose multipliers are thousands of
        times too large for the dual.
        """
        programme, n_units = self.programme, len(self.z)
        self.constrained = programme.cones.any(axis=2)
        interiors = programme.interiors.reshape(n_units, -1)
        lengths = np.linalg.norm(interiors, axis=1)[:, None]
        self.z = unit / np.sqrt(n_units) * interiors / lengths
        self.t = 10.0 * self.t + np.linalg.norm(self.parts(self.z), axis=1)
        values = self.cone_values(self.z)
        floor = max(0.1 * np.abs(values).mean(), 1e-300)
        self.slacks = 10.0 * np.maximum(values, floor)
        self.multipliers = 0.1 * self.alpha * self.t.mean() / self.slacks
        self.multipliers[~self.constrained] = 0.0
        self.degree += int(self.constrained.sum())

    def start_without_cones(self):
        """Start at zero weights; their duals are the gradient, shrunk to be inside."""
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
        return (self.operator.values(self.z) + self.B @ self.affine)[:, None]

    def blocks(self, z):
        """Return a point of the programme."""
        V = z.reshape(len(z), self.programme.n_paths, -1, 1)
        intercept, weights = self.columns.affine(self.affine[:, None].copy())
        linear = None
        if weights is not None:
            linear = self.problem.linear.of_weights(weights)
        return Blocks(V.copy(), intercept, linear)

    def run(self):
        """Run until the gap is met or no progress is made; return the steps taken."""
        n_steps, best, since = 0, (np.inf, np.inf), 0
        while True:
            # 1. Where we are. The gap is the certificate's, not the complementarity:
            # this one is no bound while residuals are not zero.
            state = self.state()
            if state.gap <= self.target and state.violation <= 1e-10:
                return n_steps
            # 2. Progress is either of the two that a step reduces: on losses that bend
            # the residual falls first and the complementarity later.
            now = state.mean, np.abs(state.residual).max()
            since = since + 1
            if now[0] < 0.9 * best[0] or now[1] < 0.9 * best[1]:
                best, since = np.minimum(now, best), 0
            if n_steps >= self.max_steps or since > _PATIENCE:
                return n_steps
            # 3. One step. Near the end the system may be singular or overflow; the best
            # point so far is then as far as floating point goes.
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
        from_cones = self.cone_adjoint(self.multipliers) if self.has_cones else 0.0
        residual = gradient - self.units(self.w) - from_cones
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
        if self.columns.n_columns:
            balanced = problem.balanced(N)
            gradient = self.operator.adjoint(balanced[:, 0])
        price = np.linalg.norm(self.parts(gradient - from_cones), axis=1).max()
        bound = lower_bound(problem, balanced, price)
        return _State(
            F=F,
            residual=residual,
            affine_residual=self.B.T @ N[:, 0],
            cone_residual=cone_residual,
            violation=violation,
            mean=total / self.degree,
            gap=loss + self.alpha * lengths.sum() - bound,
        )

    def step(self, state):
        """Take one predictor-corrector step; return whether there was one.

        Where the curvature of the loss is wrong for the step, as it may be where the
        loss is quadratic in pieces, the step is tried again with the slope of the
        gradient along it, and at last with an upper bound, which is slow but sure.
        """
        # 1. Nesterov-Todd scaling: primal and dual change places without a change of
        # the step, so neither is favoured, as it is by a primal or a dual barrier.
        self.scaling = Scaling(self.t, self.parts(self.z), self.alpha, self.w)
        loss, Y, weights = self.problem.loss, self.problem.Y, self.problem.weights
        blocks = self.block_matrices()
        h = loss.curvature(state.F, Y, weights)[0][:, 0]
        # 2. A direction and how far it may be followed, with one curvature of the loss
        # after another: the second derivative, secants, and at last an upper bound.
        for attempt in range(_ATTEMPTS):
            move, length = self.proposed(state, h, blocks)
            if not np.isfinite(move.z).all():
                return False
            checked = self.checked_length(state, move, length)
            if checked is not None:
                break
            checked = length
            if attempt < _ATTEMPTS - 2:
                # Secants see a jump of the second derivative that lies on the way.
                h = self.slopes(state, move, length)
            else:
                h = np.maximum(h, weights * np.max(h / weights))
        self.advance(move, checked)
        return checked > 1e-10

    def proposed(self, state, h, blocks):
        """Return the predictor-corrector step for a curvature h, and its length."""
        self.system = NewtonSystem(self.operator, h, blocks, self.B)
        # Predictor (Mehrotra, SIAM Journal on Optimization 1992): straight to products
        # of zero. How far that can go tells how much to centre: a fixed amount would
        # be too much far from the path or too little near it.
        scaled = self.scaling.scaled
        square = jordan_product(scaled, scaled)
        zeros = np.zeros(len(self.t))
        cone = -self.slacks * self.multipliers if self.has_cones else None
        guess = self.direction(state, (-square[0], -square[1]), cone, rough=True)
        length = min(1.0, self.longest(guess))
        # Corrector: towards the path, less the products of the predictor's changes that
        # a linear model of the products leaves out. The factor of the system serves
        # both, so it costs little.
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
        change = self.operator.values(move.z) + self.B @ move.affine
        change = length * change[:, None]
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
        self.affine = self.affine + length * move.affine
        if self.has_cones:
            self.slacks = self.slacks + length * move.slacks
            self.multipliers = self.multipliers + length * move.multipliers

    def checked_length(self, state, move, length):
        """Return the step or half of it, whichever the curvature is right for, or None.

        Along a direction the dual residual should fall in proportion; what the loss
        bends it by must stay small beside that and beside the complementarity. Still
        shorter steps along a direction of the wrong curvature gain less than another
        direction does.
        """
        problem = self.problem
        if problem.loss.is_quadratic:
            return length
        z, w, affine = self.z, self.w, self.affine
        multipliers = self.multipliers if self.has_cones else None
        # Judged by the residual, not by a merit function: the objective need not
        # fall along a primal-dual direction.
        slack = 0.1 * self.alpha * min(1.0, state.gap / problem.loss_scale())
        before = np.abs(state.affine_residual).max(initial=np.abs(state.residual).max())
        for tried in (length, 0.5 * length):
            F = self.operator.values(z + tried * move.z)
            F = (F + self.B @ (affine + tried * move.affine))[:, None]
            N = problem.loss.gradient(F, problem.Y, problem.weights)
            residual = self.operator.adjoint(N[:, 0])
            residual -= self.units(w + tried * move.w)
            if self.has_cones:
                residual -= self.cone_adjoint(multipliers + tried * move.multipliers)
            after = np.abs(residual).max()
            after = np.abs(self.B.T @ N[:, 0]).max(initial=after)
            if after <= max((1.0 - 0.1 * tried) * before, slack):
                return tried
        return None

    def block_matrices(self):
        """Return the blocks B of the Newton system, of the kind that they need."""
        n_units, size = self.z.shape
        part = size // self.programme.n_parts
        if not self.has_cones and part == 1:
            return DiagonalBlocks(self.scaling.matrices().reshape(n_units, size))
        if not self.has_cones:
            return PlainBlocks(self.scaling, self.z.shape)
        B = np.zeros((n_units, size, size))
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
                moments = self.cone_moments(weights)
                at, across = slice(i * d, (i + 1) * d), slice(j * d, (j + 1) * d)
                B[:, at, across] += moments
                if i != j:
                    B[:, across, at] += moments
        return DenseBlocks(B)

    def cone_moments(self, weights):
        """Return ``Z^T diag(w) Z`` for rows w of weights, Z the rows of the cones."""
        n = self.operator.n_samples
        moments = self.operator.moments(weights[:, :n])
        if weights.shape[1] > n:  # unit vectors, of the signs of weights
            at = self.problem.shape.monotone.inputs
            moments[:, at, at] += weights[:, n:]
        return moments

    def direction(self, state, target, cone_target, *, rough=False):
        """Return the Newton direction towards complementarity products ``target``.

        A rough one is not refined: good enough to tell how much to centre.
        """
        scaling = self.scaling
        pulled = scaling.shrink(*jordan_divide(scaling.scaled, target))
        constant = scaling.eliminated(*pulled)
        rhs = self.units(constant) - state.residual
        if self.has_cones:
            wanted = (
                cone_target - self.multipliers * state.cone_residual
            ) / self.slacks
            wanted[~self.constrained] = 0.0
            rhs = rhs + self.cone_adjoint(wanted)
        # The bounds t and duals w are eliminated: each depends on the z of its own part
        # alone, and the system would have twice as many unknowns.
        z, affine = self.system.solve(rhs, -state.affine_residual, rough)
        t, w = scaling.completed(self.parts(z), pulled[0], constant)
        slacks = multipliers = None
        if self.has_cones:
            slacks = self.cone_values(z) + state.cone_residual
            multipliers = (cone_target - self.multipliers * slacks) / self.slacks
            slacks[~self.constrained] = 0.0
            multipliers[~self.constrained] = 0.0
        return _Direction(z, t, w, affine, slacks, multipliers)

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
        """Return the point as Blocks that keep the cones, without negligible units."""
        whole = self.programme.pushed_inside(self.blocks(self.z))
        lengths = np.sqrt(np.sum(whole.V**2, axis=(1, 2, 3)))
        negligible = lengths <= _NEGLIGIBLE * lengths.max(initial=0.0)
        few = np.where(negligible[:, None, None, None], 0.0, whole.V)
        sparse = replace(whole, V=few)
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
    affine_residual: np.ndarray
    cone_residual: np.ndarray
    violation: float
    mean: float
    gap: float


@dataclass(frozen=True)
class _Direction:
    z: np.ndarray
    t: np.ndarray
    w: np.ndarray
    affine: np.ndarray
    slacks: np.ndarray
    multipliers: np.ndarray
