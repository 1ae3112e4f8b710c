"""The convex programme over fixed activation patterns: a masked group lasso.

One form serves every depth. A unit g is a pattern (two layers) or a sub-network with
one pattern a path (deeper); its unknowns are blocks ``v_gj``, one a path. With masks
``M_gj`` of -1, 0 and 1 for each sample::

    min_{V, b}  L(sum_g sum_j M_gj * (X v_gj) + b) + alpha * sum_parts ||V_part||
    subject to  sum_j T_gkj * (X v_gj) >= 0   for every unit g and cone k,

where a part is a whole unit (path norm) or one of its blocks (weight decay), or, for
the 1-norm of the first layer, a single weight. Under the path norm of sub-networks that
one has ``sqrt(sum_j ||v_gj||_1^2)`` of a unit instead of a sum over parts. A penalised
linear part is a unit whose mask is one, without cones; a free one is solved for beside
the intercept. Of monotone networks the rows of the constraints are those of X and then
unit vectors, for the signs of weights. Without cones it is the gated ReLU programme;
with the cones of the patterns it is that of ReLU networks (Pilanci & Ergen, ICML 2020,
Theorem 1; Ergen & Pilanci, ICML 2021, Theorem 1; Mishkin, Sahiner & Pilanci, ICML 2022,
section 3).

With several outputs a block is a matrix and its norm the nuclear one, without cones
(Sahiner, Ergen, Pauly & Pilanci, ICLR 2021). Of the 1-norm it is the sum of the 2-norms
of rows: single inputs are the extreme points of that ball.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.optimize import linprog

from sklearn_convexrelu.certificates.kinks import MOST_CUTS, least_price_of_constant
from sklearn_convexrelu.model.chunks import chunks
from sklearn_convexrelu.model.linear import Linear
from sklearn_convexrelu.model.problem import Problem
from sklearn_convexrelu.model.solution import Status
from sklearn_convexrelu.patterns.geometry import cone_multipliers

__all__ = [
    "Blocks",
    "GroupLasso",
    "ProgrammeSolution",
    "refuse_nested",
    "refuse_nested_outputs",
    "refuse_several_outputs",
]

# Least squares problems of the price of one split unit, and how close, relatively, is
# close enough. The prices of 40 sub-networks take 228 of them; half and double of the
# tolerance 237 and 221, for the same twelve digits. The limit is never met: it is for
# weights that go to zero, which converge slowly.
_MOST_REWEIGHTED, _REWEIGHTED_TOL = 300, 1e-8
_NOTHING = 1e-9  # of a gradient: what its projection on a cone is by rounding


@dataclass(frozen=True)
class Blocks:
    """A point of the programme.

    Attributes
    ----------
    V : ndarray of shape (n_units, n_paths, n_inputs, n_outputs)
        The blocks.
    intercept : ndarray of shape (n_outputs,)
        Constant added to the output.
    linear : Linear or None, default=None
        A free linear part. One that is penalised is a unit.
    """

    V: np.ndarray
    intercept: np.ndarray
    linear: Linear | None = None

    @property
    def active(self):
        """Indices of the units that are not zero."""
        return np.flatnonzero(self.V.any(axis=(1, 2, 3)))


@dataclass(frozen=True)
class GroupLasso:
    """The programme: a training problem and the patterns it is restricted to.

    Attributes
    ----------
    problem : Problem
        Data, loss and penalty strength.
    masks : ndarray of shape (n_units, n_paths, n_samples), int8
        What each block's values are multiplied with.
    cones : ndarray of shape (n_units, n_cones, n_paths, n_cone_rows), int8, or None
        Factors of the cone constraints; zeros where a row, of a sample or of the sign
        of a weight, is not constrained.
    interiors : ndarray of shape (n_units, n_paths, n_inputs), or None
        A point strictly inside the cones of each unit.
    split : bool
        Whether every block has a norm of its own (weight decay), not every unit.
    linear : ndarray of bool, (n_units,), or None
        Which unit is the penalised linear part, where there is one: it passes all
        samples, in its first block, without cones.
    """

    problem: Problem
    masks: np.ndarray
    cones: np.ndarray | None = None
    interiors: np.ndarray | None = None
    split: bool = False
    linear: np.ndarray | None = None

    @classmethod
    def gated(cls, problem, patterns):
        """Return the gated ReLU programme over ``patterns`` (n_patterns, n_samples)."""
        return cls(problem, patterns.astype(np.int8)[:, None]).with_linear_unit()

    @classmethod
    def relu(cls, problem, patterns, gates, signs=None):
        """Return the ReLU programme: each pattern twice, for either output sign.

        ``gates`` (n_patterns, n_inputs) lie strictly inside the cells of the patterns.
        With ``signs`` (n_patterns,) each pattern comes once, with that output sign.
        """
        refuse_several_outputs(problem)
        if signs is None:
            signs = np.repeat([1, -1], len(patterns))
            patterns, gates = np.tile(patterns, (2, 1)), np.tile(gates, (2, 1))
        patterns = patterns.astype(np.int8)
        masks = signs.astype(np.int8)[:, None] * patterns
        sides = 2 * patterns - 1
        sides[:, ~problem.X.any(axis=1)] = 0  # a zero row has no side
        cones = _with_signs(problem, sides[:, None, None], signs[:, None])
        programme = cls(problem, masks[:, None], cones, gates[:, None])
        return programme.with_linear_unit()

    @classmethod
    def trees(cls, problem, cells, *, gated):
        """Return the programme over cells of sub-networks, gated or with cones.

        With cones the cells have output signs, or come with either.
        """
        split = problem.shape.decays
        if gated:
            return cls(problem, cells.masks, split=split).with_linear_unit()
        refuse_several_outputs(problem)
        cells = cells.with_outputs()
        masks = cells.outputs.astype(np.int8)[:, None, None] * cells.masks
        sides = problem.shape.path_signs(cells.signs) * cells.outputs[:, None]
        cones = _with_signs(problem, cells.cones, sides)
        programme = cls(problem, masks, cones, cells.gates, split=split)
        return programme.with_linear_unit()

    def with_linear_unit(self):
        """Return the programme with a last unit that is a penalised linear part."""
        part = self.problem.linear
        if part is None or part.is_free:
            return self
        mask = np.zeros((1, *self.masks.shape[1:]), np.int8)
        mask[0, 0] = 1
        cones, interiors = self.cones, self.interiors
        if cones is not None:
            none = np.zeros((1, *cones.shape[1:]), cones.dtype)
            inside = np.zeros((1, *interiors.shape[1:]))
            inside[0, 0] = part.inputs  # any point will do
            inside[0, 0, 0] += not part.inputs.any()
            cones = np.concatenate([cones, none])
            interiors = np.concatenate([interiors, inside])
        linear = np.append(np.zeros(len(self.masks), dtype=bool), True)
        masks = np.concatenate([self.masks, mask])
        return replace(
            self, masks=masks, cones=cones, interiors=interiors, linear=linear
        )

    def network(self, blocks, recover):
        """Return what ``recover`` makes of the units, and the linear part beside them.

        Parameters
        ----------
        blocks : Blocks
            A point of the programme, of all its units.
        recover : callable
            Takes Blocks of units that are not linear.
        """
        part, linear = self.problem.linear, blocks.linear
        if self.linear is not None:
            linear = part.of_weights(blocks.V[-1, 0])
            blocks = replace(blocks, V=blocks.V[:-1])
        return replace(recover(blocks), linear=linear)

    @cached_property
    def cone_rows(self):
        """Rows of the cone constraints: the samples, and those for signs of weights."""
        monotone = self.problem.shape.monotone
        if monotone is None:
            return self.problem.X
        return np.vstack([self.problem.X, monotone.rows])

    @property
    def n_units(self):
        """Number of units."""
        return len(self.masks)

    @property
    def output_signs(self):
        """Sign of every unit's masks, zero where they are empty: (n_units,)."""
        return np.sign(self.masks.sum(axis=(1, 2), dtype=int))

    @property
    def are_linear(self):
        """Which units are a linear part, (n_units,)."""
        if self.linear is None:
            return np.zeros(self.n_units, dtype=bool)
        return self.linear

    @property
    def n_paths(self):
        """Number of blocks of a unit."""
        return self.masks.shape[1]

    @property
    def is_nested(self):
        """Whether the norm of a unit is a root of squared 1-norms of its blocks."""
        shape = self.problem.shape
        return shape.is_tree and shape.is_nested

    @property
    def n_parts(self):
        """Number of norms of a unit, of which the nested one is made too."""
        if not self.problem.shape.norm.is_euclidean:
            return self.n_paths * self.problem.X.shape[1]
        return self.n_paths if self.split else 1

    def at(self, alpha):
        """Return the programme at another penalty strength."""
        return replace(self, problem=self.problem.with_alpha(alpha))

    def subset(self, units):
        """Return the programme over some of the units."""
        return replace(
            self,
            masks=self.masks[units],
            cones=None if self.cones is None else self.cones[units],
            interiors=None if self.interiors is None else self.interiors[units],
            linear=None if self.linear is None else self.linear[units],
        )

    def zero(self):
        """Return the point without units: the best constant, or linear fit."""
        problem = self.problem
        shape = self.n_units, self.n_paths, problem.X.shape[1], problem.n_outputs
        null = problem.null_network()
        linear = null.linear if problem.has_free_part else None
        return Blocks(np.zeros(shape), null.intercept, linear)

    def predictions(self, blocks):
        """Return predictions at the samples, (n_samples, n_outputs)."""
        X = self.problem.X
        active = blocks.active
        V = blocks.V[active]
        F = np.zeros((len(X), V.shape[-1]))
        for rows in chunks(len(X), V.shape[0] * V.shape[1] * V.shape[3]):
            H = np.tensordot(X[rows], V, axes=(1, 2))  # rows, units, paths, outputs
            masks = self.masks[active][:, :, rows]
            F[rows] = np.einsum("rgjc,gjr->rc", H, masks)
        if blocks.linear is not None:
            F += X @ blocks.linear.weights
        return F + blocks.intercept

    def adjoint(self, N):
        """Return ``X^T (M_gj * N)`` for every block, shaped like ``Blocks.V``."""
        X, (n_units, n_paths) = self.problem.X, self.masks.shape[:2]
        G = np.empty((n_units, n_paths, X.shape[1], N.shape[1]))
        for units in chunks(n_units, n_paths * len(X)):
            masks = self.masks[units].astype(float)
            for c in range(N.shape[1]):
                G[units, :, :, c] = (masks * N[:, c]) @ X
        return self.of_own_inputs(G)

    def of_own_inputs(self, G):
        """Return gradients in units, zero where the linear one has no weights."""
        if self.linear is not None:
            G[np.ix_(self.linear, [0], ~self.problem.linear.inputs)] = 0.0
        return G

    def cone_values(self, V):
        """Return the left-hand sides of the cone constraints of units ``V``.

        ``V`` (n_units, n_paths, n_inputs); the values are (n_units, n_cones,
        n_cone_rows), non-negative where the point is feasible.
        """
        H = V @ self.cone_rows.T
        return np.einsum("gkjn,gjn->gkn", self.cones, H)

    def cone_adjoint(self, multipliers):
        """Return ``sum_k X^T (T_gkj * multipliers_gk)``, (n_units, n_paths, inputs)."""
        weighted = np.einsum("gkjn,gkn->gjn", self.cones, multipliers)
        return weighted @ self.cone_rows

    def on_all_features(self, problem, basis):
        """Return the programme of the same patterns on X, this one's on ``X basis``."""
        interiors = None if self.interiors is None else self.interiors @ basis.T
        return replace(self, problem=problem, interiors=interiors)

    def violation(self, blocks):
        """Return the largest violation of a cone, relative to the largest value."""
        if self.cones is None or not len(blocks.active):
            return 0.0
        active = self.subset(blocks.active)
        values = active.cone_values(blocks.V[blocks.active, ..., 0])
        return float(max(0.0, -values.min()) / max(np.abs(values).max(), 1e-300))

    def penalty(self, blocks):
        """Return the sum of norms."""
        return float(self.norms(blocks.V).sum())

    def norms(self, V):
        """Return the norms of the parts of units: (n_units, n_parts), or of units."""
        if self.is_nested:
            sizes = np.abs(V[..., 0]).sum(axis=2)
            return np.linalg.norm(sizes, axis=1, keepdims=True)
        parts = self.parts(V)
        if parts.shape[2] > 1 and parts.shape[3] > 1:
            return np.linalg.svd(parts, compute_uv=False).sum(axis=-1)
        return np.linalg.norm(parts, axis=(2, 3))

    def dual_norms(self, G):
        """Return the dual norms of the parts: (n_units, n_parts), or of units."""
        if self.is_nested:
            sizes = np.abs(G[..., 0]).max(axis=2)
            return np.linalg.norm(sizes, axis=1, keepdims=True)
        parts = self.parts(G)
        if parts.shape[2] > 1 and parts.shape[3] > 1:
            return np.linalg.norm(parts, ord=2, axis=(2, 3))
        return np.linalg.norm(parts, axis=(2, 3))

    def parts(self, V):
        """Return units (n_units, n_paths, n_inputs, ...) with an axis of parts."""
        size = V.shape[1] * V.shape[2] // self.n_parts  # -1 is undefined without units
        return V.reshape(len(V), self.n_parts, size, *V.shape[3:])

    def objective(self, blocks, F=None):
        """Return loss plus penalty."""
        problem = self.problem
        F = self.predictions(blocks) if F is None else F
        loss = problem.loss.value(F, problem.Y, problem.weights)
        return loss + problem.alpha * self.penalty(blocks)

    def with_best_intercept(self, blocks):
        """Return the point with the best intercept for its blocks, and predictions.

        A free linear part is the best one too, as ``Problem.refitted`` has it.
        """
        return self.problem.refitted(blocks, self.predictions(blocks))

    def prices(self, N, multipliers=None, among=None, *, one_over=False):
        """Return for each unit what its part of the dual constraint takes, or more.

        The dual point N is feasible once no price exceeds alpha. Without cones a price
        is the dual norm of the gradient; with cones that of its projection on them,
        ``min ||G - T^T lambda||`` over multipliers ``lambda >= 0``.

        Parameters
        ----------
        N : ndarray of shape (n_samples, n_outputs)
            Dual point.
        multipliers : ndarray of shape (n_chosen, n_cones, n_cone_rows), default=None
            Good multipliers of the units ``among``, which need no projection then.
        among : ndarray of int, default=None
            These units.
        one_over : bool, default=False
            Whether to be content once one unit is known to be over alpha; the plain
            dual norm then stands for the units that are not projected.

        Returns
        -------
        ndarray of shape (n_units,)
            Prices; where the plain dual norm is at most alpha it stands for them.
        """
        G = self.adjoint(N)
        if multipliers is not None:
            G[among, ..., 0] -= self.subset(among).cone_adjoint(multipliers)
        prices = self.dual_norms(G).max(axis=1)
        if self.cones is None:
            return prices
        over = (prices > self.problem.alpha) & ~self.are_linear
        if multipliers is not None:
            over[among] = False
        for g in sorted(np.flatnonzero(over), key=lambda g: -prices[g]):
            prices[g] = self._projected_price(g, -G[g, :, :, 0])
            if one_over and prices[g] > self.problem.alpha:
                break
        return prices

    def _projected_price(self, g, direction):
        """Return the price of one unit under its cones.

        It is the distance of ``direction`` from the polar cone, whose rays are the
        negative constraint normals, so a non-negative least squares problem.
        """
        if not self.problem.shape.norm.is_euclidean:
            return self._price_of_cell(direction, -self._rays(g, direction.size).T)
        projection, rays, multipliers = self._projection(g, direction)
        if not self.split:
            return np.linalg.norm(projection)
        return self._largest_part(direction.ravel(), rays, multipliers)

    def _projection(self, g, direction):
        """Return what is left of a direction off the polar cone, its rays, and theirs.

        That is the direction's projection on the unit's cone.
        """
        rays = self._rays(g, direction.size)
        multipliers = cone_multipliers(rays, direction.ravel())
        return direction.ravel() - rays @ multipliers, rays, multipliers

    def _rays(self, g, size):
        """Return the rays of the polar cone of a unit as columns."""
        X, cones = self.cone_rows, self.cones[g]
        normals = (cones[:, :, :, None] * X).transpose(1, 3, 0, 2)
        normals = normals.reshape(size, -1)
        return -normals[:, normals.any(axis=0)]

    def _price_of_cell(self, gradient, rows):
        """Return the most of ``<gradient, V>`` for ``rows V >= 0`` and ``||V|| <= 1``.

        By duality it is the least dual norm of the gradient and non-negative multiples
        of the rows, and any multiples are a bound, whatever the solver's rounding. For
        the largest entry that is a linear programme.
        """
        shape = gradient.shape
        multipliers = _cell_multipliers(gradient, rows, self.is_nested)
        left = gradient + (multipliers @ rows).reshape(shape)
        return float(self.dual_norms(left[None, :, :, None]).max())

    def _largest_part(self, direction, rays, multipliers):
        """Return ``min ||D - rays lambda||`` over lambda >= 0, the largest part's norm.

        That norm is the least, over part weights that sum to one, of a weighted
        least squares problem's; weights follow the parts of its solution, which is a
        point of the cone and bounds the minimum from below.
        """
        least, weights = np.inf, np.full(self.n_parts, 1.0 / self.n_parts)
        for _ in range(_MOST_REWEIGHTED):
            rest = (direction - rays @ multipliers).reshape(self.n_parts, -1)
            norms = np.linalg.norm(rest, axis=1)
            least = min(least, norms.max())
            points = weights * norms
            reached = points @ norms / max(points.sum(), 1e-300)
            if least <= reached * (1.0 + _REWEIGHTED_TOL):
                break
            weights = points / points.sum()
            roots = np.repeat(np.sqrt(weights), rest.shape[1])
            multipliers = cone_multipliers(roots[:, None] * rays, roots * direction)
        return least

    def pushed_inside(self, blocks):
        """Move units that leave their cones by rounding back towards the interior."""
        if self.cones is None:
            return blocks
        constrained = self.cones.any(axis=2)
        V = blocks.V[..., 0]
        margins = np.where(constrained, self.cone_values(self.interiors), np.inf)
        values = np.where(constrained, self.cone_values(V), np.inf)
        # Each unit by what its worst constraint needs.
        short = np.max(np.maximum(-values, 0.0) / margins, axis=(1, 2))
        short = np.where(short > 0.0, short * (1.0 + 1e-9) + 1e-300, 0.0)
        V = V + short[:, None, None] * self.interiors
        return replace(blocks, V=V[..., None])

    def largest_alpha(self):
        """Return the least penalty strength at which the best constant is optimal."""
        return float(least_price_of_constant(self.problem, self.priced)[0])

    def priced(self, N):
        """Return the largest price at a dual point, and what the units there are.

        See ``least_price_of_constant``.
        """
        G = self.adjoint(N)
        plain = self.dual_norms(G).max(axis=1, initial=0.0)
        order, largest, looked_at = np.argsort(-plain), 0.0, []
        if self.cones is None:
            largest = float(plain.max(initial=0.0))
            return largest, lambda: self._steepest(G, order[:MOST_CUTS])
        for g in order:
            if plain[g] <= largest:  # cones only take away from it
                break
            looked_at.append(g)
            price = plain[g]
            if not self.are_linear[g]:
                price = self._projected_price(g, -G[g, :, :, 0])
            largest = max(largest, float(price))
        return largest, lambda: self._steepest(G, looked_at)

    def _steepest(self, G, units):
        """Return values and outputs of points of some units along which losses fall.

        Each is of cost one: in the part of the largest dual norm, or its cone.
        """
        X, values, outputs = self.problem.X, [], []
        for g in units:
            if self.cones is not None and not self.are_linear[g]:
                v, a = self._projection(g, -G[g, :, :, 0])[0], np.ones(1)
                cost = np.linalg.norm(v.reshape(self.n_parts, -1), axis=1).sum()
                if cost <= _NOTHING * np.linalg.norm(G[g]):
                    continue
                v = v / cost
            else:
                part = self.parts(G[g : g + 1])[0]
                part = part.reshape(self.n_parts, -1, G.shape[3])
                left, sizes, right = np.linalg.svd(part, full_matrices=False)
                p = int(sizes[:, 0].argmax())
                v, a = np.zeros(part.shape[:2]), -right[p, 0]
                v[p] = left[p, :, 0]
            H = X @ v.reshape(self.n_paths, -1).T
            values.append((self.masks[g] * H.T).sum(axis=0))
            outputs.append(a)
        n_outputs = self.problem.n_outputs
        return (
            np.reshape(values, (-1, len(X))).T,
            np.reshape(outputs, (-1, n_outputs)),
        )


def _with_signs(problem, cones, sides):
    """Return cones with the constraints on signs, where networks are monotone.

    Parameters
    ----------
    problem : Problem
        What is minimised.
    cones : ndarray of shape (n_units, n_cones, n_paths, n_samples)
        The others.
    sides : ndarray of shape (n_units, n_paths)
        Signs of the paths, with the output's. That of path k is put with cone k, since
        there are no fewer cones than paths.
    """
    monotone = problem.shape.monotone
    if monotone is None:
        return cones
    n_paths = cones.shape[2]
    more = np.zeros((*cones.shape[:3], len(monotone.inputs)), np.int8)
    paths = np.arange(n_paths)
    more[:, paths, paths] = sides[:, :, None] * monotone.signs[:, 0]
    return np.concatenate([cones, more], axis=3)


def _cell_multipliers(gradient, rows, is_nested):
    """Return lambda >= 0 that makes ``G + rows^T lambda`` least in the dual norm.

    That is the largest entry, or, nested, the length of the largest ones of blocks.
    """
    n_paths, _ = gradient.shape
    n_rows, size = rows.shape
    if not n_rows:
        return np.zeros(0)
    if is_nested:
        return _nested_multipliers(gradient, rows)
    # min t subject to -t <= G + rows^T lambda <= t
    ones, g = np.ones((size, 1)), gradient.ravel()
    A = np.block([[rows.T, -ones], [-rows.T, -ones]])
    cost = np.append(np.zeros(n_rows), 1.0)
    found = linprog(cost, A_ub=A, b_ub=np.append(-g, g), method="highs")
    if found.x is None:  # the plain dual norm is a bound as well
        return np.zeros(n_rows)
    return np.maximum(found.x[:-1], 0.0)


def _nested_multipliers(gradient, rows):
    """Return the same for the nested norm, a second-order cone programme."""
    import cvxpy as cp

    multipliers = cp.Variable(len(rows), nonneg=True)
    left = gradient + cp.reshape(rows.T @ multipliers, gradient.shape, order="C")
    problem = cp.Problem(cp.Minimize(cp.norm(cp.max(cp.abs(left), axis=1))))
    try:
        problem.solve(solver=cp.CLARABEL)
    except cp.SolverError:
        pass
    if multipliers.value is None:
        return np.zeros(len(rows))
    return np.maximum(multipliers.value, 0.0)


def refuse_several_outputs(problem):
    """Raise where a ReLU programme has several outputs."""
    if problem.n_outputs > 1:
        raise ValueError(
            "No convex programme over fixed patterns is known for ReLU networks of "
            f"several outputs (here {problem.n_outputs}) that can be solved: its "
            "norm is as hard as the training. Use patterns='adaptive', or "
            "activation='gated_relu'."
        )


def refuse_nested(shape, name):
    """Raise where a solver would need steps for 1-norms within a root of squares."""
    if shape.is_tree and shape.is_nested:
        raise ValueError(
            f"solver={name!r} has no steps for norm='l1' with the path norm of "
            "sub-networks, a root of squared sums; use solver='cvxpy' or "
            "patterns='adaptive'."
        )


def refuse_nested_outputs(problem):
    """Raise where the norm of gated sub-networks of several outputs has no formula."""
    shape = problem.shape
    if shape.is_tree and shape.is_nested and problem.n_outputs > 1:
        raise ValueError(
            "Gated sub-networks of several outputs have no norm that can be computed "
            "under norm='l1' and penalty='path': its dual is a largest spectral norm "
            "over all choices of an input a leaf. Use penalty='weight_decay', "
            "norm='l2', or patterns='adaptive' with activation='relu'."
        )


@dataclass(frozen=True)
class ProgrammeSolution:
    """What a solver of a programme returns.

    Attributes
    ----------
    blocks : Blocks
        The point, feasible.
    objective, lower_bound : float
        Its objective, and a lower bound of the programme's optimum.
    price : float
        Largest price at the dual point that the bound comes from.
    status : Status
        Why the solver stopped.
    n_iter : int
        Number of iterations.
    history : list of dict
        One record an iteration or a few: time, objective, dual_gap, n_neurons (active
        units), price.
    tolerance : float
        Gap at which the solver stops.
    dual_point : ndarray of shape (n_samples, n_outputs) or None
        The point that the bound comes from.
    """

    blocks: Blocks
    objective: float
    lower_bound: float
    price: float
    status: Status
    n_iter: int
    history: list
    tolerance: float
    dual_point: np.ndarray | None = None
