"""The programme stated in CVXPY, for any conic solver that is installed."""

import time
import warnings
from dataclasses import dataclass, field

import numpy as np

from sklearn_convexrelu.certificates.certificate import dual_point, lower_bound
from sklearn_convexrelu.model.solution import Status, history_record
from sklearn_convexrelu.programmes.group_lasso import Blocks, ProgrammeSolution

__all__ = ["CvxpyBackend"]


@dataclass(frozen=True)
class CvxpyBackend:
    """CVXPY and one of its solvers, Clarabel by default.

    The programme is stated as in the papers (Pilanci & Ergen, ICML 2020, eq. 8; Ergen &
    Pilanci, ICML 2021, eq. 8), with all blocks as variables. Point and bound are judged
    by the same certificate as those of the other solvers; a point that leaves its cones
    by the solver's rounding is pushed back inside.

    Attributes
    ----------
    tol : float
        The result counts as converged at a duality gap of ``tol`` times the loss of the
        best constant.
    options : dict
        Passed to ``cvxpy.Problem.solve``: ``solver`` and what that solver takes.
    """

    tol: float = 1e-3
    options: dict = field(default_factory=dict)

    def solve(self, programme, callback=None):
        """State and solve a programme.

        Parameters
        ----------
        programme : GroupLasso
            The programme.
        callback : callable, default=None
            Called with the one record of the history and its Blocks.

        Returns
        -------
        ProgrammeSolution
            What CVXPY's solver found.

        Raises
        ------
        ValueError
            If the solver is not installed, does not know an option, or finds nothing.
        """
        import cvxpy as cp  # slow to import, so only where it is asked for

        started = time.perf_counter()
        blocks, affine, constraints = _variables(cp, programme)
        problem = programme.problem
        F = _predictions(programme, blocks, affine)
        tied = None
        if not problem.loss.is_smooth:  # predictions do not tell the dual point
            free = cp.Variable(problem.Y.shape)
            tied, F = free == F, free
        loss = problem.loss.cvxpy_value(F, problem.Y, problem.weights)
        penalty = sum(_norm(cp, programme, unit) for unit in blocks)
        every = constraints if tied is None else [*constraints, tied]
        every = every + _of_own_inputs(programme, blocks)
        stated = cp.Problem(cp.Minimize(loss + problem.alpha * penalty), every)
        _solve(cp, stated, self.options)
        point = Blocks(
            np.array(
                [[block.value for block in unit] for unit in blocks], dtype=float
            ).reshape(programme.zero().V.shape),
            *_affine(problem, affine),
        )
        multipliers = _multipliers(programme, constraints)
        N = None if tied is None else _dual_point_of(problem, tied)
        return self._judged(programme, point, multipliers, N, started, callback)

    def _judged(self, programme, point, multipliers, N, started, callback):
        """Return the solution with our own objective and bound."""
        problem = programme.problem
        point, F = programme.with_best_intercept(programme.pushed_inside(point))
        zero = programme.zero()
        if not programme.objective(point, F) <= programme.objective(zero):
            point, F = programme.with_best_intercept(zero)  # it was stopped far off
        objective = programme.objective(point, F)
        N = dual_point(problem, F) if N is None else N
        prices = programme.prices(N)
        if multipliers is not None:
            everyone = np.arange(programme.n_units)
            prices = np.minimum(prices, programme.prices(N, multipliers, everyone))
        price = float(prices.max(initial=0.0))
        bound = lower_bound(problem, N, price)
        tolerance = self.tol * problem.loss_scale()
        record = history_record(
            started, objective, objective - bound, len(point.active), price
        )
        if callback is not None:
            callback(record, point)
        converged = objective - bound <= tolerance
        return ProgrammeSolution(
            blocks=point,
            objective=objective,
            lower_bound=bound,
            price=price,
            status=Status.CONVERGED if converged else Status.INACCURATE,
            n_iter=1,
            history=[record],
            tolerance=tolerance,
            dual_point=N,
        )


def _norm(cp, programme, unit):
    """Return the expression of the norm of a unit, a list of blocks."""
    several = programme.problem.n_outputs > 1
    if not programme.problem.shape.norm.is_euclidean:
        sizes = [cp.sum(cp.norm(block, 2, axis=1)) for block in unit]
        return cp.norm(cp.hstack(sizes)) if programme.is_nested else sum(sizes)
    parts = unit if programme.split else [cp.vstack(unit)]
    return sum(cp.normNuc(part) if several else cp.norm(part, "fro") for part in parts)


def _dual_point_of(problem, tied):
    """Return the dual point from what ties predictions to blocks, in its domain."""
    if tied.dual_value is None:
        return dual_point(problem, problem.null_network().forward(problem.X))
    slopes = -np.reshape(tied.dual_value, problem.Y.shape) / problem.weights[:, None]
    N = np.clip(slopes, *problem.loss.slopes(problem.Y)) * problem.weights[:, None]
    return problem.balanced(N)


def _affine(problem, affine):
    """Return the intercept, and a free linear part, of the solution."""
    n_columns = problem.unpenalised.n_columns
    z = np.zeros((n_columns, problem.n_outputs))
    if affine is not None:
        z = np.asarray(affine.value, dtype=float).reshape(z.shape)
    intercept, weights = problem.unpenalised.affine(z)
    return intercept, None if weights is None else problem.linear.of_weights(weights)


def _of_own_inputs(programme, blocks):
    """Return the constraints that the linear part has weights of its inputs alone."""
    constraints = []
    for g in np.flatnonzero(programme.are_linear):
        others = np.flatnonzero(~programme.problem.linear.inputs)
        if len(others):
            constraints.append(blocks[g][0][others] == 0)
    return constraints


def _variables(cp, programme):
    """Return variables of units and paths, of what is not penalised, and cones."""
    problem = programme.problem
    X, n_outputs = problem.X, problem.n_outputs
    blocks = [
        [cp.Variable((X.shape[1], n_outputs)) for _ in range(programme.n_paths)]
        for _ in range(programme.n_units)
    ]
    constraints = []
    if programme.cones is not None:
        Z = programme.cone_rows
        for unit, cones in zip(blocks, programme.cones, strict=True):
            for cone in cones:
                rows = np.flatnonzero(cone.any(axis=0))
                if not len(rows):
                    continue
                constraints.append(
                    sum(
                        (cone[j][rows, None] * Z[rows]) @ unit[j]
                        for j in range(programme.n_paths)
                    )
                    >= 0
                )
    n_columns = problem.unpenalised.n_columns
    affine = cp.Variable((n_columns, n_outputs)) if n_columns else None
    return blocks, affine, constraints


def _multipliers(programme, constraints):
    """Return the dual values of the cones, (n_units, n_cones, n_cone_rows)."""
    if programme.cones is None:
        return None
    constrained = programme.cones.any(axis=2)
    multipliers, constraints = np.zeros(constrained.shape), iter(constraints)
    for unit, cone in np.ndindex(constrained.shape[:2]):
        rows = constrained[unit, cone]
        if rows.any():
            values = next(constraints).dual_value
            if values is None:
                return None
            multipliers[unit, cone, rows] = np.maximum(np.ravel(values), 0.0)
    return multipliers


def _predictions(programme, blocks, affine):
    """Return the expression of the predictions, (n_samples, n_outputs)."""
    X = programme.problem.X
    F = sum(
        (mask[:, None] * X) @ block
        for unit, masks in zip(blocks, programme.masks, strict=True)
        for block, mask in zip(unit, masks, strict=True)
    )
    return F if affine is None else F + programme.problem.unpenalised.array() @ affine


def _solve(cp, stated, options):
    """Solve; raise where there is no point. How good one is, the gap tells."""
    options = {"solver": cp.CLARABEL, **options}
    installed = cp.installed_solvers()
    if options["solver"] not in installed:
        raise ValueError(
            f"The CVXPY solver {options['solver']!r} is not installed; there are "
            f"{', '.join(sorted(installed))}."
        )
    try:
        with warnings.catch_warnings():
            # That a solution may be inaccurate is told by the gap.
            warnings.filterwarnings("ignore", message="Solution may be inaccurate")
            stated.solve(**options)
    except (TypeError, AttributeError, KeyError) as error:
        raise ValueError(
            f"CVXPY or its solver {options['solver']} refused solver_options: {error}"
        ) from error
    except cp.SolverError as error:
        raise ValueError(f"The CVXPY solver failed: {error}") from error
    solved = stated.status in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE)
    stopped = stated.status == cp.USER_LIMIT
    if not (solved or (stopped and stated.variables()[0].value is not None)):
        raise ValueError(f"The CVXPY solver ended with the status {stated.status!r}.")
