"""Training over fixed patterns: choose them, state the programme, solve, recover."""

from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from sklearn_convexrelu.certificates.certificate import (
    Certificate,
    beyond_rounding,
    no_bound,
)
from sklearn_convexrelu.certificates.kinks import least_price_of_constant
from sklearn_convexrelu.model.gain import Gain
from sklearn_convexrelu.model.neurons import mapped
from sklearn_convexrelu.model.norms import refuse_unwritten
from sklearn_convexrelu.model.solution import Solution, Status
from sklearn_convexrelu.patterns.planes import keeps_all
from sklearn_convexrelu.pricing.judged import judged
from sklearn_convexrelu.pricing.pairs import serves_pairs
from sklearn_convexrelu.pricing.subnetworks import pricer_of
from sklearn_convexrelu.programmes.chosen_patterns import chosen_patterns
from sklearn_convexrelu.programmes.chosen_solver import Method
from sklearn_convexrelu.programmes.generated_cells import GeneratedCells
from sklearn_convexrelu.programmes.group_lasso import (
    GroupLasso,
    refuse_nested_outputs,
    refuse_several_outputs,
)
from sklearn_convexrelu.programmes.recovery import (
    gated_network,
    gated_trees,
    relu_network,
    tree_network,
    with_few_units,
    without_dust,
)

__all__ = ["FixedPatterns"]

_DUST = 0.01  # of the tolerance: what weights next to zero may cost to be zero


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
    gain : Gain or None
        Tells the gap to solve to, where ``tol`` is not all that counts.
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
    gain: Gain | None = None

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
        self.method_to(self.tol).check(gated=self.gated)

    def method_to(self, tol):
        """Return what solves programmes to a tolerance."""
        return Method(self.method, self.options or {}, tol, self.max_iter)

    def over(self, problem):
        """Return the PatternsFit to a problem, at whatever alpha.

        Raises
        ------
        ValueError
            If the problem has a norm, or outputs, that the programme does not have.
        """
        return PatternsFit(self, problem)

    def on_inputs(self, basis):
        """Return the solver of the inputs ``X basis``: its gates on these."""
        if isinstance(self.patterns, str):
            return self
        gates = np.asarray(self.patterns, dtype=np.float64)
        if gates.ndim < 2 or gates.shape[-1] != basis.shape[0]:
            return self  # which refuses them
        return replace(self, patterns=mapped(basis.T, gates, -1))

    def on_standardised(self, scales):
        """Return the solver of features divided by scales: its gates on these."""
        if isinstance(self.patterns, str):
            return self
        gates = np.asarray(self.patterns, dtype=np.float64)
        n_others = gates.shape[-1] - len(scales) if gates.ndim else -1
        if n_others not in (0, 1):
            return self  # which refuses them
        return replace(self, patterns=gates * np.append(scales, np.ones(n_others)))


class PatternsFit:
    """The programme of one problem, whose patterns are chosen once.

    Listing them may take longer than all the rest.

    Attributes
    ----------
    solver : FixedPatterns
        The solver.
    problem : Problem
        What is minimised, at whatever alpha.
    """

    def __init__(self, solver, problem):
        self.solver, self.problem = solver, problem
        self._refuse()

    def _refuse(self):
        """Raise for a norm, or outputs, that the programme does not have."""
        problem, solver = self.problem, self.solver
        refuse_unwritten(problem.shape.norm, "Programmes over given patterns")
        if problem.n_outputs > 1:
            if not solver.gated:
                refuse_several_outputs(problem)
            if solver.method == "interior_point":
                raise ValueError(
                    "solver='interior_point' is for one output; several take 'fista' "
                    "or 'cvxpy'."
                )
        refuse_nested_outputs(problem)

    def restated(self, problem):
        """Return the fit to the same rows with other weights or targets."""
        fit = PatternsFit(self.solver, problem)
        shared = "pricer" if self.generates else "chosen"
        setattr(fit, shared, getattr(self, shared))
        return fit

    @cached_property
    def chosen(self):
        """The patterns, their gates and output signs, or TreeCells."""
        solver = self.solver
        count, seed = solver.n_patterns, solver.seed
        return chosen_patterns(
            self.problem, solver.patterns, count, seed, gated=solver.gated
        )

    @cached_property
    def pricer(self):
        """The pricer of the rows, exact where that is affordable."""
        return pricer_of(self.problem)

    @property
    def generates(self):
        """Whether cells are generated as they are wanted, and none is listed."""
        # A linear part may be worth taking in where no cell is: those are listed.
        solver = self.solver
        is_plain = self.problem.linear is None and not solver.gated
        is_list = not isinstance(solver.patterns, str) or solver.patterns != "exact"
        return is_plain and not is_list and serves_pairs(self.problem)

    @cached_property
    def listed(self):
        """The programme over the chosen patterns, and what recovers its network."""
        problem, gated = self.problem, self.solver.gated
        if problem.shape.is_tree:
            recover = gated_trees if gated else tree_network
            programme = GroupLasso.trees(problem, self.chosen, gated=gated)
            recover = partial(recover, cells=self.chosen, shape=problem.shape)
        elif gated:
            patterns, gates, _ = self.chosen
            programme = GroupLasso.gated(problem, patterns)
            recover = partial(gated_network, gates=gates, norm=problem.shape.norm)
        else:
            programme = GroupLasso.relu(problem, *self.chosen)
            recover = partial(
                relu_network,
                signs=programme.output_signs,
                norm=problem.shape.norm,
                monotone=problem.shape.monotone,
            )
        return _Listed(programme, partial(programme.network, recover=recover))

    def _programme(self):
        """Return what solves the programme at any penalty strength."""
        if self.generates:  # afresh, so that each begins without cells
            return GeneratedCells(self.problem, self.pricer, self.solver.seed)
        return self.listed

    def constant(self, alpha=0.0):
        """Return the best constant as a network of its kind, its certificate, and None.

        It is for problems whose ``largest_alpha`` is zero: no unit helps. There may be
        none, where all features are zero.
        """
        problem = self.problem.with_alpha(alpha)
        network, over_all = problem.null_network(), None
        kind, objective = self.solver.kind(problem.X), problem.objective(network)
        if self.solver.gated:
            network = self.listed.network_of(self.listed.programme.zero())
        elif kind == "restricted":
            over_all = self._over_all(problem, network)
        certificate = Certificate(
            kind, objective, objective, 0.0, 0.0, objective, over_all
        )
        return network, certificate, None

    def largest_alpha(self):
        """Return the least strength at which a constant is best over the patterns."""
        programme = self._programme()
        if not programme.n_units:
            return 0.0
        price, N = least_price_of_constant(self.problem, programme.priced_at)
        return beyond_rounding(self.problem, N, price)

    def known_bound(self, N):
        """Return what no price exceeds at a dual point: nothing is known."""
        return no_bound(N)

    def programme_on(self, problem, basis):
        """Return the programme with its units on all features, ``basis`` these'."""
        return self.listed.programme.on_all_features(problem, basis)

    def path(self, alphas, start=None, callback=None, deadline=None):
        """Solve at one penalty strength after another.

        Parameters
        ----------
        alphas : iterable of float
            Penalty strengths.
        start : None
            There is none: a programme is solved from scratch.
        callback : callable, default=None
            Called with each record of the history and the network that it is of; the
            run stops where it returns true.
        deadline : Deadline, default=None
            Asked between steps: what is reached by then is still certified.

        Yields
        ------
        Solution
            One an alpha, without directions: its certificate is the programme's. The
            last one may be ``STOPPED`` or, where the deadline passes, at its
            ``TIME_LIMIT``; patterns are chosen whatever time that takes.
        """
        problem, solver, programme = self.problem, self.solver, self._programme()
        gain, scale = solver.gain, problem.loss_scale()
        tolerance = solver.tol * scale
        if not programme.n_units:
            for alpha in alphas:
                network, certificate, _ = self.constant(alpha)
                yield Solution.of_constant(
                    network, certificate, Status.CONVERGED, tolerance
                )
            return
        watch = None
        if callback is not None or deadline is not None:

            def watch(record, network):
                stops = callback is not None and callback(record, network())
                return stops or (deadline is not None and deadline.has_passed)

        loss = scale if gain is not None and gain.is_all else 0.0
        method = solver.method_to(solver.tol)
        for alpha in alphas:
            at_alpha = problem.with_alpha(alpha)
            if gain is not None:
                gap = gain.gap(tolerance, loss, scale)
                method = solver.method_to(gap / scale)
            solved, network = programme.solve(alpha, method, watch)
            network = with_few_units(at_alpha, network)
            slack, bound = _DUST * solved.tolerance, solved.lower_bound
            network = without_dust(at_alpha, network, slack, bound)
            if gain is not None:
                loss = at_alpha.loss_at(network.forward(problem.rows))
            status = solved.status
            if status is Status.STOPPED and deadline is not None:
                status = Status.TIME_LIMIT if deadline.has_passed else status
            yield Solution(
                network=network,
                certificate=self._certificate(at_alpha, network, solved),
                status=status,
                n_iter=solved.n_iter,
                history=solved.history,
                tolerance=tolerance,
                directions=None,
                dual_point=None if problem.loss.is_smooth else solved.dual_point,
            )
            if solved.status is Status.STOPPED:
                return

    def _certificate(self, problem, network, solved):
        """Return the programme's certificate, and beside it that over all networks."""
        over_all, bound_here = None, solved.lower_bound
        solver = self.solver
        kind = solver.kind(problem.X)
        if kind == "restricted" and not solver.gated and solver.proves:
            N = None if problem.loss.is_smooth else solved.dual_point
            over_all = self._over_all(problem, network, N)
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

    def _over_all(self, problem, network, N=None):
        """Return the certificate of a ReLU network among all networks."""
        return judged(problem, network, self.solver.seed, self.pricer, N=N)[0]


@dataclass(frozen=True)
class _Listed:
    """A programme over patterns that are all at hand; see ``GeneratedCells``.

    Attributes
    ----------
    programme : GroupLasso
        The programme, at whatever alpha.
    network_of : callable
        Recovers the network of its blocks.
    """

    programme: GroupLasso
    network_of: object

    @property
    def n_units(self):
        """Number of units."""
        return self.programme.n_units

    def priced_at(self, N):
        """Return the largest price; see ``least_price_of_constant``."""
        return self.programme.priced(N)

    def solve(self, alpha, method, watch=None):
        """Return the solution at a strength, and its network."""
        follow = None
        if watch is not None:

            def follow(record, blocks):
                return watch(record, lambda: self.network_of(blocks))

        solved = method.solve(self.programme.at(alpha), follow)
        return solved, self.network_of(solved.blocks)
