"""Training over fixed patterns: choose them, state the programme, solve, recover."""

import hashlib
import time
from dataclasses import dataclass, field, fields, replace
from functools import partial
from numbers import Integral

import numpy as np

from sklearn_convexrelu.certificates.certificate import Certificate, certify, dual_point
from sklearn_convexrelu.model.losses import Huber, SquaredHinge
from sklearn_convexrelu.model.solution import Solution, Status
from sklearn_convexrelu.patterns.arrangements import (
    enumerate_patterns,
    patterns_of,
    sample_patterns,
)
from sklearn_convexrelu.patterns.subnetworks import (
    enumerate_trees,
    sample_trees,
    trees_of,
)
from sklearn_convexrelu.pricing.exact import keeps_all
from sklearn_convexrelu.pricing.search import FAIR
from sklearn_convexrelu.pricing.subnetworks import pricer_of
from sklearn_convexrelu.programmes.amplitudes import Features, best_amplitudes
from sklearn_convexrelu.programmes.cvxpy_backend import CvxpyBackend
from sklearn_convexrelu.programmes.fista import Fista
from sklearn_convexrelu.programmes.group_lasso import GroupLasso, refuse_several_outputs
from sklearn_convexrelu.programmes.interior_point import InteriorPoint
from sklearn_convexrelu.programmes.recovery import (
    gated_network,
    gated_trees,
    relu_network,
    tree_network,
)

__all__ = ["FixedPatterns"]

# From this many entries of its matrix on a gated programme is for gradient descent.
_LARGE = 50_000_000
_SMALL = 1_000_000  # up to here CVXPY is tried where Newton's method has stalled
_METHODS = {"interior_point": InteriorPoint, "fista": Fista}


class _Memory:
    """The last thing that was made, and the key to all that it was made from."""

    def __init__(self):
        self._last = None, None

    def recall(self, key, make):
        """Return what was made for the key, or make it."""
        known, made = self._last  # one pair: another thread may put its own there
        if known != key:
            made = make()
            self._last = key, made
        return made


def _fingerprint(array):
    """Return what tells arrays apart without keeping them."""
    array = np.ascontiguousarray(array)
    content = array.tobytes() if array.dtype.hasobject else array
    digest = hashlib.blake2b(content, digest_size=16).digest()
    return array.shape, array.dtype.str, digest


@dataclass(frozen=True)
class FixedPatterns:
    """The convex programme over patterns that are chosen before training.

    Attributes
    ----------
    patterns : {"random", "exact"} or ndarray of shape (n_gates, n_inputs)
        Which patterns: sampled, all of them, or those of given gates.
    n_patterns : int
        How many to sample.
    gated : bool
        Whether units are gated, without cone constraints.
    method : {"auto", "interior_point", "fista", "cvxpy"}
        What solves the programme.
    options : dict
        Further fields of the method's record, or arguments of CVXPY's ``solve``.
    tol : float
        Stop at a duality gap of ``tol`` times the loss of the best constant.
    max_iter : int or None
        Limit of the method's iterations; None is the method's own.
    seed : int
        Seed of the sample.
    proves : bool
        Whether certificates matter: those over all networks are made.
    """

    patterns: object
    n_patterns: int = 200
    gated: bool = False
    method: str = "auto"
    options: dict | None = None
    tol: float = 1e-3
    max_iter: int | None = None
    seed: int = 0
    proves: bool = True
    # A record that ``dataclasses.replace`` makes has a memory of its own.
    _memory: _Memory = field(
        default_factory=_Memory, init=False, repr=False, compare=False
    )

    def kind(self, X):
        """Return the kind of certificates for ``X``.

        Patterns are listed up to a rank: all of them where what it leaves out of X is
        rounding.
        """
        listed = isinstance(self.patterns, str) and self.patterns == "exact"
        complete = listed and not self.gated and keeps_all(X)
        return "exact" if complete else "restricted"

    def check(self):
        """Refuse what cannot be before any work.

        Raises
        ------
        ValueError
            If the method cannot keep cones, or does not know an option.
        """
        if self.method == "fista" and not self.gated:
            raise ValueError(
                "solver='fista' cannot keep the cone constraints of "
                "activation='relu'; use 'interior_point' or 'cvxpy', or "
                "activation='gated_relu'."
            )
        if self.method == "cvxpy" and self.max_iter is not None:
            raise ValueError(
                "max_iter is not for solver='cvxpy'; pass the solver's own limit in "
                "solver_options."
            )
        if self.method == "auto" and self.options:
            raise ValueError("solver_options are for a named solver, not for 'auto'.")
        if self.method in _METHODS:
            self._check_options(_METHODS[self.method])

    def _check_options(self, record):
        known = {field.name for field in fields(record)} - {"tol", "max_iter"}
        for name, value in (self.options or {}).items():
            if name not in known:
                raise ValueError(
                    f"Unknown key {name!r} in solver_options; solver={self.method!r} "
                    f"knows {', '.join(sorted(known)) or 'none'}."
                )
            if not isinstance(value, Integral) or value < 1:
                raise ValueError(
                    f"{name} in solver_options must be a positive integer, not {value}."
                )

    def chosen(self, problem):
        """Return the patterns (n_patterns, n_samples) and their gates, or TreeCells.

        The last choice is kept: a fit asks for ``largest_alpha`` first and states its
        problem anew, but listing patterns may take longer than all the rest.
        """
        given = self.patterns
        arrays = [problem.X] if isinstance(given, str) else [problem.X, given]
        key = problem.shape, *map(_fingerprint, arrays)
        return self._memory.recall(key, lambda: self._made(problem))

    def _made(self, problem):
        return (
            self._trees(problem) if problem.shape.is_tree else self._chosen(problem.X)
        )

    def _trees(self, problem):
        X, shape = problem.X, problem.shape
        if isinstance(self.patterns, str):
            # Features that are all zero have no cells to list: as few as a sample.
            if self.patterns == "exact" and X.any():
                return enumerate_trees(X, shape)
            return sample_trees(X, shape, self.n_patterns, self.seed)
        return trees_of(self.patterns, shape, X, self.seed)

    def _chosen(self, X):
        if isinstance(self.patterns, str):
            if self.patterns == "exact":
                return enumerate_patterns(X)
            return sample_patterns(X, self.n_patterns, self.seed)
        patterns, gates = patterns_of(self.patterns, X)
        if not self.gated:
            _check_interiors(gates, X)
        return patterns, gates

    def programme(self, problem):
        """Return the programme of a problem, and what recovers a network from it."""
        if problem.n_outputs > 1:
            if not self.gated:
                refuse_several_outputs(problem)
            if self.method == "interior_point":
                raise ValueError(
                    "solver='interior_point' is for one output; several take 'fista' "
                    "or 'cvxpy'."
                )
        chosen = self.chosen(problem)
        if problem.shape.is_tree:
            recover = gated_trees if self.gated else tree_network
            programme = GroupLasso.trees(problem, chosen, gated=self.gated)
            return programme, partial(recover, cells=chosen, shape=problem.shape)
        patterns, gates = chosen
        if self.gated:
            programme = GroupLasso.gated(problem, patterns)
            return programme, partial(gated_network, gates=gates)
        programme = GroupLasso.relu(problem, patterns, gates)
        return programme, partial(relu_network, signs=programme.output_signs)

    def constant(self, problem):
        """Return the best constant as a network of its kind, and its certificate.

        It is for problems whose ``largest_alpha`` is zero: no unit helps. There may be
        none, where all features are zero.
        """
        network, over_all = problem.null_network(), None
        kind, objective = self.kind(problem.X), problem.objective(network)
        if self.gated:
            programme, network_of = self.programme(problem)
            network = network_of(programme.zero())
        elif kind == "restricted":
            N = dual_point(problem, network.forward(problem.rows))
            rng, none = np.random.default_rng(self.seed), network.directions()[0]
            candidates, bound = pricer_of(problem).price(N, none, rng, FAIR)
            over_all = certify(problem, network, candidates.best, bound)
        return network, Certificate(
            kind, objective, objective, 0.0, 0.0, objective, over_all
        )

    def largest_alpha(self, problem):
        """Return the least strength at which a constant is best over the patterns."""
        programme = self.programme(problem)[0]
        return programme.largest_alpha() if programme.n_units else 0.0

    def solve_path(self, problem, alphas, start=None, callback=None):
        """Solve at one penalty strength after another.

        Parameters
        ----------
        problem : Problem
            What is minimised, at whatever alpha.
        alphas : iterable of float
            Penalty strengths.
        start : None
            There is none: a programme is solved from scratch.
        callback : callable, default=None
            Called with each record of the history and the network that it is of; the
            run stops where it returns true.

        Yields
        ------
        Solution
            One an alpha, without directions: its certificate is the programme's.
        """
        programme, network_of = self.programme(problem)
        if not programme.n_units:
            tolerance = self.tol * problem.loss_scale()
            for alpha in alphas:
                constant = self.constant(problem.with_alpha(alpha))
                yield Solution.of_constant(*constant, Status.CONVERGED, tolerance)
            return
        method = self._record(programme)
        watch = None
        if callback is not None:

            def watch(record, blocks):
                return callback(record, network_of(blocks))

        for alpha in alphas:
            solved = self._solved(method, programme.at(alpha), watch)
            network = _with_few_units(
                problem.with_alpha(alpha), network_of(solved.blocks)
            )
            yield Solution(
                network=network,
                certificate=self._certificate(
                    problem.with_alpha(alpha), network, solved
                ),
                status=solved.status,
                n_iter=solved.n_iter,
                history=solved.history,
                tolerance=solved.tolerance,
                directions=None,
            )
            if solved.status is Status.STOPPED:
                return

    def _record(self, programme):
        """Return the record of the method for a programme."""
        method, options = self.method, self.options or {}
        if method == "cvxpy":
            return CvxpyBackend(tol=self.tol, options=options)
        if method == "auto":
            problem = programme.problem
            large = programme.masks.size * problem.X.shape[1] > _LARGE
            # Newton's method can stall on losses that are quadratic in pieces.
            in_pieces = isinstance(problem.loss, Huber | SquaredHinge)
            descend = self.gated and (problem.n_outputs > 1 or large or in_pieces)
            method = "fista" if descend else "interior_point"
        record = _METHODS[method](tol=self.tol, **options)
        if self.max_iter is None:
            return record
        return replace(record, max_iter=self.max_iter)

    def _solved(self, method, programme, watch):
        """Solve by the method; where that stalls, see whether CVXPY gets further."""
        started = time.perf_counter()
        solved = method.solve(programme, watch)
        if not self._asks_again(solved, programme):
            return solved
        passed = time.perf_counter() - started
        try:
            again = CvxpyBackend(tol=self.tol).solve(programme)
        except ValueError:  # nobody asked for CVXPY: what the method reached stands
            return solved
        further = _continued(solved, again, passed)
        if watch is not None and further is not solved:
            watch(further.history[-1], further.blocks)
        return further

    def _asks_again(self, solved, programme):
        """Tell whether to turn to CVXPY: on small programmes, after a stall."""
        stalled = self.method == "auto" and solved.status is Status.STALLED
        return stalled and programme.masks.size * programme.problem.X.shape[1] < _SMALL

    def _certificate(self, problem, network, solved):
        """Return the programme's certificate, and beside it that over all networks."""
        over_all, bound_here = None, solved.lower_bound
        kind = self.kind(problem.X)
        if kind == "restricted" and not self.gated and self.proves:
            N = dual_point(problem, network.forward(problem.rows))
            known, rng = network.directions()[0], np.random.default_rng(self.seed)
            candidates, bound = pricer_of(problem).price(N, known, rng, FAIR)
            over_all = certify(problem, network, candidates.best, bound)
            if over_all.kind == "exact":  # what holds for all holds for these
                bound_here = max(bound_here, over_all.lower_bound)
        return Certificate(
            kind=kind,
            objective=problem.objective(network),
            lower_bound=bound_here,
            price=solved.price,
            price_bound=solved.price,
            proven_lower_bound=bound_here,
            over_all=over_all,
        )


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


def _with_few_units(problem, network):
    """Return the network of the best amplitudes for its units, of which few are needed.

    An interior point has all the units that do no harm.
    """
    if problem.n_outputs > 1 or network.n_neurons < 2:
        return network
    if network.is_gated:
        c, A = network.penalties(), np.ones((network.n_neurons, 1))
        values = network.unit_values(problem.X)[:, :, 0] / c
        known = Features.given(problem, values)
    else:
        U, A, c = network.directions()
        known = Features(problem, U)
    before = problem.objective(network)
    best, b = best_amplitudes(problem, known, A, c, network.intercept, 1e-14 * before)
    factors = np.where(best > 1e-8 * best.max(initial=0.0), best / c, 0.0)
    if network.is_gated:
        few = replace(network.scaled(factors), intercept=b)
    else:
        kept = factors > 0.0
        few = problem.shape.network(U[:, kept], A[kept], best[kept], b)
    return few if problem.objective(few) <= before else network


def _check_interiors(gates, X):
    """Refuse gates on the boundary of their cell: the cones have no interior there."""
    live = X.any(axis=1)
    values = np.abs(gates @ X[live].T)
    scale = np.linalg.norm(gates, axis=1)[:, None] * np.linalg.norm(X[live], axis=1)
    on_boundary = np.flatnonzero((values <= 1e-12 * scale).any(axis=1))
    if len(on_boundary):
        raise ValueError(
            f"Gate {on_boundary[0]} of the distinct ones in patterns is orthogonal to "
            "a sample, so its pattern's cell may have an empty interior; move it off."
        )
