"""Which solver a programme is given to, and what happens where that one stalls."""

import time
from dataclasses import dataclass, fields, replace
from numbers import Integral

from sklearn_convexrelu.model.solution import Status
from sklearn_convexrelu.programmes.cvxpy_backend import CvxpyBackend
from sklearn_convexrelu.programmes.fista import Fista
from sklearn_convexrelu.programmes.interior_point import InteriorPoint
from sklearn_convexrelu.programmes.smooth_rounds import solved_with_kinks

__all__ = ["Method"]

# Entries of its matrix up to which CVXPY is tried where Newton's method has stalled: it
# takes 0.4 s for 44000, 0.9 s for 132000, 17 s for 990000, about in proportion; half
# and double are that much more or less for a fit that would end at a loose gap.
_SMALL = 1_000_000
_INNER = 0.3  # times the tolerance: that of smooth programmes, for a loss with kinks
_RECORDS = {"interior_point": InteriorPoint, "fista": Fista}


@dataclass(frozen=True)
class Method:
    """A solver of programmes by its name, or "auto" for the one that suits each.

    Attributes
    ----------
    name : {"auto", "interior_point", "fista", "cvxpy"}
        Which.
    options : dict
        Further fields of the solver's record, or arguments of CVXPY's ``solve``.
    tol : float
        Stop at a duality gap of ``tol`` times the loss of the best constant.
    max_iter : int or None
        Limit of the solver's iterations; None is its own.
    """

    name: str
    options: dict
    tol: float
    max_iter: int | None

    def check(self, *, gated):
        """Refuse what cannot be before any work.

        Raises
        ------
        ValueError
            If the method cannot keep cones, or does not know an option.
        """
        if self.name == "fista" and not gated:
            raise ValueError(
                "solver='fista' cannot keep the cone constraints of "
                "activation='relu'; use 'interior_point' or 'cvxpy', or "
                "activation='gated_relu'."
            )
        if self.name == "cvxpy" and self.max_iter is not None:
            raise ValueError(
                "max_iter is not for solver='cvxpy'; pass the solver's own limit in "
                "solver_options."
            )
        if self.name == "auto" and self.options:
            raise ValueError("solver_options are for a named solver, not for 'auto'.")
        if self.name in _RECORDS:
            self._check_options(_RECORDS[self.name])

    def _check_options(self, record):
        known = {field.name for field in fields(record)} - {"tol", "max_iter"}
        for name, value in self.options.items():
            if name not in known:
                raise ValueError(
                    f"Unknown key {name!r} in solver_options; solver={self.name!r} "
                    f"knows {', '.join(sorted(known)) or 'none'}."
                )
            if not isinstance(value, Integral) or value < 1:
                raise ValueError(
                    f"{name} in solver_options must be a positive integer, not {value}."
                )

    def solve(self, programme, watch=None):
        """Solve a programme; where "auto" stalls, see whether CVXPY gets further.

        Parameters
        ----------
        programme : GroupLasso
            The programme.
        watch : callable, default=None
            Called with each record of the history and its Blocks; the run stops where
            it returns true.

        Returns
        -------
        ProgrammeSolution
            What was reached.
        """
        solved = self._by_cvxpy_first(programme, watch)
        if solved is not None:
            return solved
        started = time.perf_counter()
        if programme.problem.loss.is_smooth or self._is_cvxpy(programme):
            solved = self._record(programme).solve(programme, watch)
        else:
            inner = replace(self, tol=_INNER * self.tol)
            solved = solved_with_kinks(
                programme,
                lambda smooth, watch: inner._record(smooth).solve(smooth, watch),
                self.tol * programme.problem.loss_scale(),
                watch,
            )
        if not self._asks_again(solved, programme):
            return solved
        passed = time.perf_counter() - started
        try:
            again = CvxpyBackend(tol=self.tol).solve(programme)
        except (ValueError, NotImplementedError):
            # Nobody asked for CVXPY: what the method reached stands.
            return solved
        further = _continued(solved, again, passed)
        if watch is not None and further is not solved:
            watch(further.history[-1], further.blocks)
        return further

    def _by_cvxpy_first(self, programme, watch):
        """Return what CVXPY finds, where "auto" does well to ask it first, or None.

        That is for losses with kinks and a linear part, if small: Newton's method
        overshoots where a linear part can leave all samples on flat pieces. The hinge
        of 9 rows over all patterns took 534 and 578 steps, the latter without an end,
        for 35 without a linear part; CVXPY takes 0.3 s.
        """
        problem = programme.problem
        if self.name != "auto" or problem.loss.is_smooth or problem.linear is None:
            return None
        if not self._is_small(programme):
            return None
        try:
            solved = CvxpyBackend(tol=self.tol).solve(programme, watch)
        except (ValueError, NotImplementedError):  # nobody asked for CVXPY
            return None
        return solved if solved.status is Status.CONVERGED else None

    def _record(self, programme):
        """Return the record of the solver for a programme."""
        name = self.name
        if self._is_cvxpy(programme):
            return CvxpyBackend(tol=self.tol, options=self.options)
        if name == "auto":
            # Not by size. Of six gated programmes of 0.4 to 60 million entries the
            # interior point took 0.1 to 8.5 s; FISTA 2, 4 and 50 times as long on
            # three, and on the largest 2 s for 30 steps, a gap of 60 tolerances left.
            problem, gated = programme.problem, programme.cones is None
            in_pieces = problem.loss.is_piecewise_quadratic  # Newton steps can stall
            descend = gated and (problem.n_outputs > 1 or in_pieces)
            name = "fista" if descend else "interior_point"
        record = _RECORDS[name](tol=self.tol, **self.options)
        if self.max_iter is None:
            return record
        return replace(record, max_iter=self.max_iter)

    def _is_cvxpy(self, programme):
        """Tell whether CVXPY solves a programme, which takes losses with kinks too."""
        return self.name == "cvxpy" or (self.name == "auto" and programme.is_nested)

    def _asks_again(self, solved, programme):
        """Tell whether to turn to CVXPY: on small programmes, after a stall."""
        stalled = self.name == "auto" and solved.status is Status.STALLED
        return stalled and self._is_small(programme)

    def _is_small(self, programme):
        """Tell whether CVXPY takes a programme in little time."""
        return programme.masks.size * programme.problem.X.shape[1] < _SMALL


def _continued(stalled, again, passed):
    """Return what CVXPY added to a stalled run ``passed`` seconds long, if anything."""
    gaps = [solved.objective - solved.lower_bound for solved in (stalled, again)]
    if not gaps[1] < gaps[0]:
        return stalled
    converged = again.status is Status.CONVERGED
    return replace(
        again,
        # CVXPY's own advice is about options, which "auto" does not take.
        status=again.status if converged else stalled.status,
        n_iter=stalled.n_iter + again.n_iter,
        history=stalled.history + [_later(record, passed) for record in again.history],
    )


def _later(record, seconds):
    """Return a record of the history, so much later."""
    return record | {"time": record["time"] + seconds}
