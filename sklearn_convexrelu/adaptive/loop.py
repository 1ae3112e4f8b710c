"""The loop of adaptive training: price, certify, add, correct, slide.

Column generation over neurons with a sliding step; see :class:`AdaptiveSolver`.
"""

import time
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sklearn_convexrelu._deadline import OutOfTimeError
from sklearn_convexrelu.adaptive.finish import finished, is_affordable
from sklearn_convexrelu.adaptive.multipliers import ENDS, solutions_with_kinks
from sklearn_convexrelu.adaptive.policy import Action, Care, Look, decide, reason
from sklearn_convexrelu.adaptive.start import (
    first_point,
    is_learnt,
    is_sampled,
    on_leading_axes,
    samples_of,
)
from sklearn_convexrelu.adaptive.steps import (
    ENOUGH_CLOSING,
    ENOUGH_CORRECTING,
    ENOUGH_SLIDING,
    Point,
    Steps,
)
from sklearn_convexrelu.certificates.certificate import (
    Certificate,
    beyond_rounding,
    certificate_at,
    has_resolution,
    less_missed,
    lower_bound,
    missed,
    no_bound,
    rounding_of_prices,
    with_chance,
)
from sklearn_convexrelu.certificates.kinks import (
    constant_dual_point,
    least_price_of_constant,
    price_and_units,
)
from sklearn_convexrelu.data.rows import largest
from sklearn_convexrelu.data.statement import are_constant
from sklearn_convexrelu.data.units import Units
from sklearn_convexrelu.model.gain import Gain
from sklearn_convexrelu.model.solution import Solution, Status, certified_record
from sklearn_convexrelu.pricing.pairs import serves_pairs
from sklearn_convexrelu.pricing.search import (
    BRIEF,
    FAIR,
    FIRST,
    HANDED_OF_FEW,
    HARD,
    LIGHT,
    TRACK,
    WIDE,
)
from sklearn_convexrelu.pricing.subnetworks import exact_pricing_of, pricer_of
from sklearn_convexrelu.pricing.unseen import chance_of_unseen

__all__ = ["AdaptiveSolver"]

# From here on searches are wide and two in a row must agree. The second is twice as
# hard, and once more for each time that the rounds double: each was a chance to miss a
# price.
_MANY_ROUNDS = 10
# Times the tolerance: from this resolution on a harder search has to agree. What is
# missed is up to twelve times the estimate: of 120 fits (tol 1e-2, alpha .03 to .001,
# 15 tables) twelve were more than 1.5 tolerances from the optimum by judged gaps, 3.9
# at most, with resolutions of .12 to .4; now none, 1.2 at most. At tol 1e-3, of 48 fits
# of eight tables to 400 rows, 14 were, 12 at most; now 8, 3.0 at most. Twice as much
# leaves half of them; half of it searches again what lost nothing (.05 and .08).
_UNSURE = 0.1
# Times the tolerance: the least gap to bring down at the end. Below it a fit is twice
# as good as was asked; of 60 000 images a round took 6% of the time, for .02 of it.
_WORTH_CLOSING = 0.5
# Times the tolerance: what the last round must have brought for one more at the end. Of
# 60 000 images that took 10 to 23 s of 300, for a hundredth of a tolerance, what the
# round before had brought.
_STILL_GAINING = 0.02
# From these tolerances on a fair effort is hard enough (of folds a brief one), and a
# hard one. At 1e-4 bounds that rest on hard ones were up to 1.6 tolerances too high in
# the campaign.
_FAIR_TOL, _HARD_TOL = 3e-3, 5e-4
# Times the tolerance: most rows where an accepting search polishes. The kink of one row
# is worth about a part in n of the price. On diabetes, with .4 of it, polishing took
# 1.3 to 1.8 times the time of a fit and moved bounds by less than a tenth of the
# tolerance; tables with .1 of it were wrong by more than one.
_KINKS_COUNT = 0.2
_FINISH_TOL = 1e-4  # below this tolerance the loop ends on cone programmes
_LOOP_TOL = 1e-3  # tolerance at which they take over
_SAMPLE_TOL = 1e-2
# Times the tolerance of a sample: of problems on leading axes. On more axes their
# network's gap was seven tolerances and more, whether solved to 1.5 or to three.
_LEADING_TOL = 3.0


@dataclass(frozen=True)
class AdaptiveSolver:
    """Fully corrective column generation over neurons, with sliding.

    Minimises ``L(f(X)) + alpha * sum_j ||w1_j|| ||w2_j||`` over two-layer ReLU networks
    of any width. A penalised linear part takes part as linear neurons, whose price has
    a formula; a free one is solved for along with the intercept. Starts where a wide
    random network slides to; then each round (Bach 2017; Denoyelle, Duval, Peyre &
    Soubies 2019):

    1. price: search unit directions u with large ``||N^T relu(X u)||``;
    2. certify: a gap follows from the largest price; stop when it is small enough;
    3. add: take in the best distinct directions with a price above alpha;
    4. correct: re-solve for all amplitudes and the intercept, directions fixed;
    5. slide: descend on all weights at once; drop neurons that vanished; add and
       correct once more; merge equal neurons.

    After ten rounds two wide searches in a row must accept a network, but along paths.
    The network that is accepted goes through steps 3 to 5 once more, unless its gap is
    next to nothing or a proof.

    Gaps below 1e-4 of the loss of the best constant are for the convex programme over
    the cells of the network and of priced candidates, with one output: the loop ends on
    it (see ``finish.py``). What follows a look at a network is decided in
    ``policy.py``; the steps are in ``steps.py``.

    Attributes
    ----------
    tol : float
        Stop at a duality gap of ``tol`` times the loss of the best constant.
    max_iter : int
        Largest number of rounds.
    max_neurons : int or None
        Largest number of neurons; None is no limit.
    seed : int
        Seed of the search for directions.
    proves : bool
        Whether certificates matter: pricing is exact where that is affordable, and more
        careful along paths.
    gain : Gain or None
        What a round must bring for another to follow, beside the gap or instead. None:
        gaps alone.
    """

    tol: float = 1e-3
    max_iter: int = 100
    max_neurons: int | None = None
    seed: int = 0
    proves: bool = True
    gain: Gain | None = None

    gated = False

    def over(self, problem):
        """Return the AdaptiveFit to a problem, at whatever alpha.

        Data of order one are assumed, which the caller sees to.
        """
        return AdaptiveFit(self, problem)

    def on_inputs(self, basis):
        """Return the solver of the inputs ``X basis``: the same."""
        return self

    def on_standardised(self, scales):
        """Return the solver of features divided by scales: the same."""
        return self

    def hardest(self):
        """Return the effort that may accept a network at this tolerance."""
        if self.tol >= _FAIR_TOL:
            return FAIR
        return HARD if self.tol >= _HARD_TOL else WIDE


class AdaptiveFit:
    """The solver at one problem: what it works out of the rows is worked out once.

    Attributes
    ----------
    solver : AdaptiveSolver
        The solver.
    problem : Problem
        What is minimised, at whatever alpha.
    """

    def __init__(self, solver, problem, pricer=None):
        self.solver, self.problem, self._pricer = solver, problem, pricer

    @property
    def pricer(self):
        """The pricer of the rows, exact where that is affordable."""
        if self._pricer is None:
            self._pricer = pricer_of(self.problem)
        return self._pricer

    def restated(self, problem):
        """Return the fit to the same rows with other weights or targets."""
        return AdaptiveFit(self.solver, problem, self.pricer)

    def minding_gaps(self):
        """Return the fit that goes by gaps alone."""
        return AdaptiveFit(replace(self.solver, gain=None), self.problem, self.pricer)

    def path(self, alphas, start=None, callback=None, deadline=None):
        """Train until certified or a limit, at one penalty strength after another.

        Parameters
        ----------
        alphas : iterable of float
            Penalty strengths, best in decreasing order: each fit starts from the last
            network.
        start : Network, default=None
            Where the first one starts; None starts from a random network that was slid,
            or from a sample of many rows, or leading axes of many inputs, or from the
            best constant where that is better.
        callback : callable, default=None
            Called with each record of the history as it is made and the network that
            it is of; the run stops where it returns true. Also called, with a record
            that names its ``step``, after each step of the start, each addition and
            each slide.
        deadline : Deadline, default=None
            When passes over the rows must end.

        Yields
        ------
        Solution
            One an alpha: the best network found. Its objective never rises from round
            to round, but by less than the tolerance where the loop ends on cone
            programmes, of whose networks the one of the least gap is returned (the last
            one, where they grow too large and the loop goes on). The last solution may
            be ``INTERRUPTED``, ``STOPPED`` or at its ``TIME_LIMIT``: when the
            deadline passes, it is the network priced last, or the best one at hand
            where none was, after a light search.
        """
        problem = self.problem.until(deadline)
        if not problem.loss.is_smooth:
            yield from solutions_with_kinks(self, problem, alphas, start, callback)
            return
        run = self.run(problem, start, callback)
        for alpha in alphas:
            solution = run.result_in_time(problem.with_alpha(alpha))
            yield solution
            if solution.status in ENDS:
                return

    def run(self, problem, start=None, callback=None):
        """Return the run of the loop that ``path`` is, not yet begun.

        ``problem`` is that of the fit but for its deadline, targets and smoothing.
        """
        if start is None and is_sampled(problem):
            self.pricer.rest()  # beside a sample's fit that would be the peak of memory
        pricer = self.pricer if self.solver.proves else self.pricer.searching()
        if problem.rows.deadline is not None:
            pricer = pricer.until(problem.rows.deadline)
        return _Run(self.solver, problem, pricer, start, callback)

    def largest_alpha(self):
        """Return the least strength at which the network without neurons is best.

        It is the price at the best constant, the least where its dual points are
        several. Beyond exact pricing it is the best that a search finds, whose seed is
        its own: the figure belongs to the problem.
        """
        problem, none_known = self.problem, self.problem.no_directions()

        def priced(N):
            rng = np.random.default_rng(0)
            found = self.pricer.price(N, none_known, rng, FIRST)[0]
            return price_and_units(problem, N, found)

        price, N = least_price_of_constant(problem, priced)
        return beyond_rounding(problem, N, price)

    def constant(self):
        """Return the best constant, its certificate among all networks, and None.

        It is for problems whose ``largest_alpha`` is zero. It is proven where a bound
        on the price is rounding too, and not the price alone.
        """
        problem = self.problem
        network, units = problem.null_network(), Units.of(problem)
        scaled, objective = units.scaled(problem), problem.objective(network)
        N = constant_dual_point(scaled)
        exact = largest(N) == 0.0 or bool(are_constant(problem.rows).all())
        pricing = None if exact else exact_pricing_of(scaled)
        if pricing is not None:
            price = float(pricing.price(N).prices[0]) + pricing.slack(N)
            exact = price <= 10.0 * rounding_of_prices(scaled, N)
        certificate = Certificate(
            kind="exact" if exact else "priced",
            objective=objective,
            lower_bound=objective,
            price=0.0,
            price_bound=0.0 if exact else np.inf,
            proven_lower_bound=objective if exact else 0.0,
            unseen_chance=0.0 if exact else 1.0,
        )
        return network, certificate, None

    def known_bound(self, N):
        """Return what no price exceeds at a dual point: nothing is known."""
        return no_bound(N)

    def programme_on(self, problem, basis):
        """Return the programme over given patterns: there is none."""
        return None


def _rough_start(solver, problem, callback=None):
    """Solve loosely a problem that costs less, for a start; None where there is none.

    That is one on leading axes of many inputs, or else on a sample of many rows. The
    callback is told of its networks as steps of the start.
    """
    start = None
    if solver.gain is None:  # paths of folds begin with few neurons
        start = _start_on_axes(solver, problem, callback)
    return _sampled_start(solver, problem, callback) if start is None else start


def _start_on_axes(solver, problem, callback):
    """Solve loosely on ever more leading axes; return None where there are too many.

    The first of these problems starts on a sample of its rows.
    """
    solver = replace(solver, tol=_LEADING_TOL * max(solver.tol, _SAMPLE_TOL))
    start = None
    try:
        for leading, axes in on_leading_axes(problem):
            watch = _watch_of(problem, callback, axes)
            if start is None:
                inner = _sampled_start(solver, leading, watch)
            else:
                inner = start.mapped(axes.T)
            start = _loosely_solved(solver, leading, inner, watch).mapped(axes)
    except OutOfTimeError:
        if start is None:
            raise
    return start


def _sampled_start(solver, problem, callback=None):
    """Solve loosely on a sample of the rows, which starts on one of its own.

    Returns None for few rows.
    """
    sample, others = samples_of(problem, solver.seed)
    if sample is None:
        return None
    watch = _watch_of(problem, callback)
    sampler = replace(solver, tol=max(solver.tol, _SAMPLE_TOL), gain=None)
    start = _sampled_start(sampler, sample, watch)
    return _loosely_solved(sampler, sample, start, watch, others)


def _watch_of(problem, callback, axes=None):
    """Return what tells a callback of networks of a start, on axes if any are given."""
    if callback is None:
        return None

    def watch(record, network):
        network = network if axes is None else network.mapped(axes)
        step = {"step": "start", "objective": problem.objective(network)}
        callback(step | {"n_neurons": network.n_neurons}, network)

    return watch


def _loosely_solved(solver, problem, start, callback, others=None):
    """Return the network of a run with quick searches, which time may end."""
    run = solver.over(problem).run(problem, start, callback)
    run.others = others
    if others is not None:
        run.steps.n_handed = min(run.steps.n_handed, HANDED_OF_FEW)
    try:
        run.begin(problem)
        return run.result(Care.QUICK).network
    except OutOfTimeError:
        if run.point is not None:
            return run.point.network
        if start is None:
            raise
        return start


class _Run:
    """One run of the loop, on one alpha after another.

    Attributes
    ----------
    solver : AdaptiveSolver
        Whose run it is.
    problem : Problem
        At the present alpha.
    pricer : Pricer or TreePricer
        That of its rows.
    steps : Steps
        What rounds are made of.
    tolerance : float
        The gap that solutions are to have.
    aim : float
        The gap to reach in the loop: of sub-networks that are searched less, by what
        their certificate will allow for what searches are known to miss.
    point : Point
        The network at present.
    priced : tuple or None
        The point that was priced last, its candidates and its certificate.
    others : Problem or None
        Of a run on a sample: that of a few other rows, which tells when to end.
    is_unsure : bool
        Whether the last look would accept, but has likely missed a price.
    """

    def __init__(self, solver, problem, pricer, start, callback):
        self.solver, self.start, self.callback = solver, start, callback
        self.others = None
        self.pricer = pricer
        self.problem, self.point, self.priced = problem, None, None
        self.is_unsure = False
        self.started = time.perf_counter()
        self.scale = problem.loss_scale()
        self.tolerance = solver.tol * self.scale
        self.aim = self._aim(problem)
        self.first_care, self.effort, self.tracks = Care.QUICK, solver.hardest(), False
        self.last_gain = np.inf

    def _aim(self, problem):
        """Return the gap to reach in the loop.

        Where what is missed leaves less than a quarter of the tolerance, half of that:
        more rounds would cost much, and the fit still say that it has not met it.
        """
        proves = self.solver.proves and serves_pairs(problem.until(None))
        if not problem.shape.is_tree or proves:
            return self.tolerance
        left = self.tolerance - missed(problem)
        return left if left >= 0.25 * self.tolerance else 0.5 * self.tolerance

    @cached_property
    def steps(self):
        """What rounds are made of."""
        problem, solver = self.problem, self.solver
        return Steps(
            problem,
            self.pricer,
            np.random.default_rng(solver.seed),
            solver.max_neurons,
            self.scale,
            _StepReporter(problem, self.callback),
        )

    def result_in_time(self, problem, required=Care.FULL):
        """Run the loop on another problem; an interrupt or the deadline may end it.

        It is the same one but for alpha, or for its targets and the width of a smoothed
        loss. ``required`` is that of ``result``.
        """
        self.started, self.priced = time.perf_counter(), None
        try:
            if self.start is None and self.point is None:
                self.start = _rough_start(self.solver, problem, self.callback)
            self.begin(problem, required)
            return self.result(required)
        except KeyboardInterrupt:
            if self.priced is None:
                raise
            status = Status.INTERRUPTED
        except OutOfTimeError:
            problem.rows.deadline.lift()  # what there is is still to be certified
            status = Status.TIME_LIMIT
            if self.priced is None:
                self.price_best(problem)
        self.point, candidates, certificate = self.priced
        return self.solution(candidates, certificate, status)

    def begin(self, problem, required=Care.FULL):
        """Come to the first network of a problem.

        From another alpha, the neurons and leaders so far are a start so close that the
        careful search can come at once, can be short, and leaves little to add.
        """
        self.last_gain = np.inf
        is_next = problem.alpha != self.problem.alpha
        self._state(problem)
        if self.point is None:
            self.point = first_point(self.steps, self.start, self.scale)
            return
        self.first_care = required
        if is_next:
            self.tracks, self.effort = True, FAIR
            if self.solver.tol >= _FAIR_TOL:
                self.effort = TRACK if self.solver.proves else LIGHT
        network = self.point.network
        network = self.steps.corrected(network, enough=ENOUGH_CORRECTING * self.aim)
        self.point = Point.of(problem, network)

    def _state(self, problem):
        self.history, self.n_iter, self.stopped = [], 0, False
        self.problem = self.steps.problem = self.steps.tell.problem = problem
        self.steps.is_capped = self.steps.slides_little = False

    def price_best(self, problem):
        """Price the best network at hand lightly, where there was no time for more."""
        self._state(problem)
        last = None if self.point is None else self.point.network
        networks = problem.null_network(), self.start, last
        points = [Point.of(problem, known) for known in networks if known is not None]
        self.point = min(points, key=lambda point: point.objective)
        self.price_and_certify(LIGHT)

    def result(self, required=Care.FULL):
        """Look, decide, act, until the decision is to end.

        ``required`` is the least care of a search that may accept a network.
        """
        if self.solver.gain is not None and self.solver.gain.is_all:
            return self.settled()
        care, leaves_rest = self.first_care, self.aim < _FINISH_TOL * self.scale
        while True:
            candidates, certificate = self.look_at(care, required, leaves_rest)
            action, status = decide(self.look)
            if action is Action.IMPROVE:
                if self.improve(candidates, certificate.gap):
                    care = min(Care.FULL, required)
                    if self.is_gaining(np.inf):  # no last word yet
                        care = Care.QUICK
                    continue
                action, status = decide(self.stalled())
            if action is Action.LOOK_HARDER:
                care = Care(care + 1)
            elif action is Action.FINISH:
                solution = finished(self)
                if solution is not None:
                    return solution
                leaves_rest, care = False, self.first_care  # it had grown too large
            elif action is Action.STOP or required is Care.QUICK:
                return self.solution(candidates, certificate, status)
            else:
                solution = self.closed(candidates, certificate)
                if solution is not None:
                    return solution
                care = Care.FULL  # a price was missed, and the network has changed

    def settled(self):
        """Improve until a round has brought next to nothing: folds want no bound.

        What is left to gain is no more than the gap, and about what the last round
        gained. The bound is that of the network priced last, as it was found: making
        sure of it took 6% of the time of a path.
        """
        effort = BRIEF if self.solver.tol >= _FAIR_TOL else FAIR
        while True:
            candidates, certificate = self.price_and_certify(effort)
            gap, status = certificate.gap, self.end_of_gains(certificate.gap)
            if status is None:
                improved = self.improve(candidates, gap, ENOUGH_SLIDING, False)
                if improved and self.is_gaining(gap):
                    continue
                status = self.end_of_gains(0.0)
                certificate = replace(certificate, objective=self.point.objective)
                self.record(certificate)
            certificate = less_missed(self.problem, certificate)
            solution = self.solution(candidates, certificate, status)
            return replace(solution, directions=None)

    def end_of_gains(self, gap):
        """Return why no round is to follow for what it gains, None where one is."""
        if not self.is_gaining(gap):
            capped = self.steps.is_capped
            return Status.NEURON_LIMIT if capped else Status.SETTLED
        if self.stopped:
            return Status.STOPPED
        return Status.ITERATION_LIMIT if self.is_last else None

    def is_gaining(self, gap):
        """Tell whether rounds still lower the objective by much, for the loss."""
        if self.solver.gain is None:
            return False
        loss = self.point.objective - self.problem.alpha * self.point.network.penalty()
        return min(gap, self.last_gain) > self.solver.gain.worth(loss, self.scale)

    def look_at(self, care, required, leaves_rest):
        """Price and certify the network; note what is known of it.

        Prices of sub-networks are missed more often than those of neurons, and a run of
        many rounds gets many chances to miss one. Where a search says itself that it
        has likely missed one, a harder one has to agree.
        """
        is_long = self.n_iter >= _MANY_ROUNDS and not self.tracks
        is_tree = self.problem.shape.is_tree
        is_often_missed = is_tree or is_long
        loop_tolerance = self.aim
        if leaves_rest and is_affordable(self.problem):
            loop_tolerance = max(self.aim, _LOOP_TOL * self.scale)
        effort = self.effort_of(care, is_long)
        if care is not Care.QUICK and self.solver.proves and self.kinks_count:
            effort = effort.polishing()
        # What may accept ends early at a price that refutes the network. Searches of
        # long runs do not: the highest prices are those that hops find, and without
        # them one of 1.3 times alpha was there for twelve rounds that went by 1.1.
        # Hops of sub-networks were not tried.
        is_search = not is_tree and not self.pricer.is_exact
        enough = None
        if care is Care.FULL and not (is_long and is_search):

            def enough(N, price):
                bound = lower_bound(self.problem, N, price)
                return self.point.objective - bound > loop_tolerance

        candidates, certificate = self.price_and_certify(effort, enough)
        self.is_unsure = self.has_likely_missed(candidates, certificate)
        self.look = Look(
            gap=certificate.gap,
            care=care,
            required=required,
            tolerance=self.aim,
            loop_tolerance=loop_tolerance,
            is_exact=certificate.kind == "exact",
            is_doubtful=is_often_missed or self.is_unsure,
            is_last=self.is_last,
            is_capped=self.steps.is_capped,
            is_stopped=self.stopped,
            is_gaining=self.is_gaining(certificate.gap),
        )
        return candidates, certificate

    def effort_of(self, care, is_long):
        """Return how hard to search with so much care; ``is_long``: after many rounds.

        Of sub-networks efforts are fixed, see their pricer.
        """
        if care is Care.QUICK:
            return LIGHT
        if is_long:
            if care is not Care.WHOLE or self.problem.shape.is_tree:
                return WIDE
            return WIDE.times(1 + (self.n_iter // _MANY_ROUNDS).bit_length())
        if care is Care.WHOLE and self.is_unsure:
            # Along a path, whose neurons are known, HARD took .8 of the work of WIDE.
            if self.tracks:
                return HARD
            return WIDE.times(2) if self.effort is WIDE else WIDE
        return self.effort

    def has_likely_missed(self, candidates, certificate):
        """Tell whether a search that would accept says of itself that it may not.

        Those of sub-networks are doubted anyway.
        """
        if certificate.gap > self.aim or self.problem.shape.is_tree:
            return False
        if not has_resolution(self.problem):
            return False
        known = self.with_chance(candidates, certificate)
        return known.resolution > _UNSURE * self.aim

    def with_chance(self, candidates, certificate, is_fine=False):
        """Return the certificate, saying what its search may not have seen."""
        if certificate.kind != "priced":
            return certificate
        N = self.priced[0].dual_point(self.problem)
        chance = chance_of_unseen(candidates.starts, self.steps.pricer.signature)
        return with_chance(self.problem, N, certificate, chance, is_fine)

    def stalled(self):
        """Return what is known after a round that brought nothing."""
        return replace(self.look, is_stalled=True, is_capped=self.steps.is_capped)

    @property
    def kinks_count(self):
        """Whether what one row's kink adds to a price can be more than the tolerance.

        Sub-networks have a polish of their own, and rows elsewhere none.
        """
        if self.problem.shape.is_tree or self.problem.rows.is_spread:
            return False
        return len(self.problem.rows) * self.solver.tol <= _KINKS_COUNT

    @property
    def is_last(self):
        """Whether no round is left."""
        return self.n_iter >= self.solver.max_iter

    def price_and_certify(self, effort, enough=None):
        """Price the network (step 1) and certify it (step 2); record both."""
        candidates, bound, N = self.price(effort, enough)
        if self.priced is not None and self.priced[0] is self.point:
            candidates = candidates.started(candidates.joined_starts(self.priced[1]))
        certificate = certificate_at(
            self.problem, self.point.objective, N, candidates.best, bound
        )
        self.priced = self.point, candidates, certificate
        self.record(certificate)
        return candidates, certificate

    def price(self, effort, enough=None):
        """Price the network."""
        return self.steps.price(self.point, effort, enough)

    def improve(self, candidates, gap, enough=ENOUGH_SLIDING, again=True):
        """Take steps 3 to 5; return whether the objective went down."""
        improved = self.steps.improved(self.point, candidates, gap, enough, again)
        if improved is None:
            self.last_gain = 0.0
            return False
        self.last_gain = self.point.objective - improved.objective
        self.point = improved
        if self.priced is not None:  # predictions of a point that is left are not kept
            self.priced = self.priced[0].forgetful(), *self.priced[1:]
        self.n_iter += 1
        return True

    def closed(self, candidates, certificate):
        """Take in what was priced last too; return the solution.

        The lower bound stays the one of the network that was priced. It lacks more than
        the objective does, which this brings down for a fraction of the time that
        pricing took; where that was exact, the certificate stays that of the network.
        On 12 fits (tol 1e-2 and 1e-3) the objective then lacks .00 to .02 tolerances of
        the best known, with a slide of fewer steps .04 at most, and without it .17. A
        second round, after a search, brought less, for up to a fifth of the time; and
        so does the first one where the last round did.
        Returns None where the objective falls below the bound: a price was missed.
        """
        priced, gap = self.point.network, certificate.gap
        done = self.stopped or self.tracks or certificate.kind == "exact"
        done |= self.is_last or gap < _WORTH_CLOSING * self.aim
        if not done and self.last_gain >= _STILL_GAINING * self.aim:
            if self.improve(candidates, gap, ENOUGH_CLOSING, again=False):
                self.point = self.steps.compacted(self.point)
        if self.point.network is priced:
            return self.solution(candidates, certificate, Status.CONVERGED)
        certificate = replace(certificate, objective=self.point.objective)
        if certificate.gap < 0.0:
            return None
        self.record(certificate)
        solution = self.solution(candidates, certificate, Status.CONVERGED)
        return replace(solution, dual_network=priced)

    def limit(self):
        """Return why the run ends above the tolerance."""
        return reason(
            replace(self.look, is_last=self.is_last, is_capped=self.steps.is_capped)
        )

    def solution(self, candidates, certificate, status, is_fine=False):
        """Return what the run has reached; say what its search may not have seen."""
        return Solution(
            network=self.point.network,
            certificate=self.with_chance(candidates, certificate, is_fine),
            status=status,
            n_iter=max(self.n_iter, 1),
            history=self.history,
            tolerance=self.tolerance,
            directions=candidates.directions,
        )

    def record(self, certificate):
        """Append to the history and tell the callback."""
        network = self.point.network
        record = certified_record(self.started, certificate, network.n_neurons)
        self.history.append(record)
        if self.callback is not None:
            self.stopped |= bool(self.callback(record, network))
        if self.others is not None:
            self.stopped |= is_learnt(self.others, certificate, network)


class _StepReporter:
    """Reports steps to a callback, if there is one."""

    def __init__(self, problem, callback):
        self.problem, self.callback = problem, callback

    @property
    def listens(self):
        """Whether somebody is told."""
        return self.callback is not None

    def __call__(self, step, network, objective=None):
        if self.callback is None:
            return
        if objective is None:
            objective = self.problem.objective(network)
        record = {"step": step, "objective": objective}
        self.callback(record | {"n_neurons": network.n_neurons}, network)
