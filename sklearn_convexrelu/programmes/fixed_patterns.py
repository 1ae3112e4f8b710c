"""Training over fixed patterns: choose them, state the programme, solve, recover."""

from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from sklearn_convexrelu.certificates.certificate import (
    Certificate,
    beyond_rounding,
    no_bound,
)
from sklearn_convexrelu.certificates.kinks import least_price_of_constant
from sklearn_convexrelu.model.gain import Gain
from sklearn_convexrelu.model.neurons import mapped
from sklearn_convexrelu.model.norms import NORMS
from sklearn_convexrelu.model.solution import Solution, Status
from sklearn_convexrelu.patterns.planes import keeps_all
from sklearn_convexrelu.pricing.judged import judged
from sklearn_convexrelu.pricing.pairs import serves_pairs
from sklearn_convexrelu.programmes.chosen_patterns import ChoiceMemory, chosen_patterns
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
    # A record that ``dataclasses.replace`` makes has a memory of its own.
    _memory: ChoiceMemory = field(
        default_factory=ChoiceMemory, init=False, repr=False, compare=False
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
        self._method().check(gated=self.gated)

    def _method(self, tol=None):
        tol = self.tol if tol is None else tol
        return Method(self.method, self.options or {}, tol, self.max_iter)

    def chosen(self, problem):
        """Return the patterns, their gates and output signs, or TreeCells.

        The last choice is kept: a fit asks for ``largest_alpha`` first and states its
        problem anew, but listing patterns may take longer than all the rest.
        """
        given = self.patterns
        rest = self.n_patterns, self.seed
        make = partial(chosen_patterns, problem, given, *rest, gated=self.gated)
        return self._memory.recall(problem, given, make)

    def over(self, problem):
        """Return what solves the programme of a problem at any penalty strength."""
        self._refuse(problem)
        is_list = not isinstance(self.patterns, str) or self.patterns != "exact"
        # A linear part may be worth taking in where no cell is: those are listed.
        is_plain = problem.linear is None and not self.gated
        if is_list or not is_plain or not serves_pairs(problem):
            return _Listed(*self.programme(problem))
        return GeneratedCells(problem, self.seed)

    def _refuse(self, problem):
        """Raise for a norm, or outputs, that the programme does not have."""
        if problem.shape.norm not in NORMS.values():
            raise ValueError(
                f"Programmes over given patterns have the 2-norm or the 1-norm, not "
                f"{problem.shape.norm!r}; use patterns='adaptive'."
            )
        if problem.n_outputs > 1:
            if not self.gated:
                refuse_several_outputs(problem)
            if self.method == "interior_point":
                raise ValueError(
                    "solver='interior_point' is for one output; several take 'fista' "
                    "or 'cvxpy'."
                )
        refuse_nested_outputs(problem)

    def programme(self, problem):
        """Return the programme of a problem, and what recovers a network from it."""
        self._refuse(problem)
        chosen = self.chosen(problem)
        if problem.shape.is_tree:
            recover = gated_trees if self.gated else tree_network
            programme = GroupLasso.trees(problem, chosen, gated=self.gated)
            recover = partial(recover, cells=chosen, shape=problem.shape)
            return programme, partial(programme.network, recover=recover)
        (patterns, gates, outputs), norm = chosen, problem.shape.norm
        if self.gated:
            programme = GroupLasso.gated(problem, patterns)
            recover = partial(gated_network, gates=gates, norm=norm)
            return programme, partial(programme.network, recover=recover)
        programme = GroupLasso.relu(problem, patterns, gates, outputs)
        recover = partial(
            relu_network,
            signs=programme.output_signs,
            norm=norm,
            monotone=problem.shape.monotone,
        )
        return programme, partial(programme.network, recover=recover)

    def constant(self, problem):
        """Return the best constant as a network of its kind, its certificate, and None.

        It is for problems whose ``largest_alpha`` is zero: no unit helps. There may be
        none, where all features are zero.
        """
        network, over_all = problem.null_network(), None
        kind, objective = self.kind(problem.X), problem.objective(network)
        if self.gated:
            programme, network_of = self.programme(problem)
            network = network_of(programme.zero())
        elif kind == "restricted":
            over_all = self._over_all(problem, network)
        certificate = Certificate(
            kind, objective, objective, 0.0, 0.0, objective, over_all
        )
        return network, certificate, None

    def largest_alpha(self, problem):
        """Return the least strength at which a constant is best over the patterns."""
        over = self.over(problem)
        if not over.n_units:
            return 0.0
        price, N = least_price_of_constant(problem, over.priced_at)
        return beyond_rounding(problem, N, price)

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

    def known_bound(self, problem):
        """Return what no price exceeds, as a function of the dual point: nothing."""
        return no_bound

    def programme_on(self, problem, reduced, basis):
        """Return the programme of a reduced problem, its units on all features."""
        return self.programme(reduced)[0].on_all_features(problem, basis)

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
            One an alpha, without directions: its certificate is the programme's. The
            last one may be ``STOPPED`` or, where the rows' deadline passes, at its
            ``TIME_LIMIT``; patterns are chosen whatever time that takes.
        """
        # Asked between steps: what a programme has reached is still to be certified.
        deadline = problem.rows.deadline
        problem = problem.until(None)
        over = self.over(problem)
        if not over.n_units:
            tolerance = self.tol * problem.loss_scale()
            for alpha in alphas:
                network, certificate, _ = self.constant(problem.with_alpha(alpha))
                yield Solution.of_constant(
                    network, certificate, Status.CONVERGED, tolerance
                )
            return
        watch = None
        if callback is not None or deadline is not None:

            def watch(record, network):
                stops = callback is not None and callback(record, network())
                return stops or (deadline is not None and deadline.has_passed)

        scale = problem.loss_scale()
        loss = scale if self.gain is not None and self.gain.is_all else 0.0
        method = self._method()
        for alpha in alphas:
            at_alpha = problem.with_alpha(alpha)
            if self.gain is not None:
                gap = self.gain.gap(self.tol * scale, loss, scale)
                method = self._method(gap / scale)
            solved, network = over.solve(alpha, method, watch)
            network = with_few_units(at_alpha, network)
            slack, bound = _DUST * solved.tolerance, solved.lower_bound
            network = without_dust(at_alpha, network, slack, bound)
            if self.gain is not None:
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
                tolerance=self.tol * scale,
                directions=None,
                dual_point=None if problem.loss.is_smooth else solved.dual_point,
            )
            if solved.status is Status.STOPPED:
                return

    def _certificate(self, problem, network, solved):
        """Return the programme's certificate, and beside it that over all networks."""
        over_all, bound_here = None, solved.lower_bound
        kind = self.kind(problem.X)
        if kind == "restricted" and not self.gated and self.proves:
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
        return judged(problem, network, self.seed, N=N)[0]


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
