"""Adaptive training: generate the neurons that matter, and prove when none is left.

Column generation over neurons with a sliding step; see :class:`AdaptiveSolver`.
"""

import time
from dataclasses import dataclass, replace

import numpy as np

from sklearn_convexrelu.adaptive.finish import best_over_cells, is_affordable
from sklearn_convexrelu.adaptive.slide import slide
from sklearn_convexrelu.certificates.certificate import certify, dual_point, lower_bound
from sklearn_convexrelu.model.pruning import merge_compatible, prune
from sklearn_convexrelu.model.solution import Solution, Status
from sklearn_convexrelu.pricing.search import (
    FAIR,
    FINE,
    HARD,
    KNOWN,
    LIGHT,
    NEAR,
    TRACK,
    WIDE,
)
from sklearn_convexrelu.pricing.subnetworks import pricer_of
from sklearn_convexrelu.programmes.amplitudes import Features, best_amplitudes

__all__ = ["AdaptiveSolver"]

_MOST_ADDED = 80  # candidates a round
_DISTINCT = 0.95  # cosine from which two candidates are the same
_MERGED = 0.999  # cosine from which two neurons are the same
_LEADERS = 80  # candidates that the next searches start from
_APART = 0.9  # cosine that leaders are below
_MANY_ROUNDS = 10  # from here on searches are wide and two in a row must agree
# Least decreases of the objective, times the gap, that a step must bring.
_ENOUGH_CORRECTING = 1e-4
_ENOUGH_SLIDING, _ENOUGH_CLOSING = 3e-4, 1e-4
_SLIDE_STEPS = 100
_WORTH_CLOSING = 0.05  # times the tolerance: the least gap to bring down at the end
_FIRST_NEURONS = 50  # drawn at random and slid before the first round ...
_FIRST_SIZE = 3.0  # norm of all their hidden weights; that of the outputs is about one
_FIRST_DECREASE = 3e-4  # ... until a step gains less than this, in null losses
_SINGLE = 1e-6  # least decrease, in objectives, that single precision resolves
# The care that a network is priced with, which grows until it is accepted or given up:
# few starts, in the first round; the effort that may accept it, ended early by a price
# that refutes it; all of that effort. The last is for networks of cone programmes.
_GLANCE, _CAREFUL, _WHOLE, _FINISHING = range(4)
# From these tolerances on a fair effort is hard enough, and a hard one. At 1e-4 bounds
# that rest on hard ones were up to 1.6 tolerances too high in the campaign.
_FAIR_TOL, _HARD_TOL = 3e-3, 5e-4
_FINISH_TOL = 1e-4  # below this tolerance the loop ends on cone programmes
_LOOP_TOL = 1e-3  # tolerance at which they take over
_MOST_FINISHING = 40  # candidates a programme
_MOST_IDLE = 4  # programmes in a row without a smaller gap
_PASSES = 4  # fine searches in a row that must find nothing at the end
_SAME_CELL = 0.9999  # cosine from which two candidates are taken to be in one cell
_SAMPLED_ROWS = 4096  # problems of four times as many rows start on so many ...
_SAMPLED_PART = 8  # ... or on one row in so many
_SAMPLE_TOL = 1e-2
_LEAST_DECREASE = 1e-12  # times the loss of the best constant: less is rounding


@dataclass(frozen=True)
class AdaptiveSolver:
    """Fully corrective column generation over neurons, with sliding.

    Minimises ``L(f(X)) + alpha * sum_j ||w1_j|| ||w2_j||`` over two-layer ReLU networks
    of any width. Starts where a wide random network slides to; then each round (Bach
    2017; Denoyelle, Duval, Peyre & Soubies 2019):

    1. price: search unit directions u with large ``||N^T relu(X u)||``;
    2. certify: a gap follows from the largest price; stop when it is small enough;
    3. add: take in the best distinct directions with a price above alpha;
    4. correct: re-solve for all amplitudes and the intercept, directions fixed;
    5. slide: descend on all weights at once; drop neurons that vanished; add and
       correct once more; merge equal neurons.

    After ten rounds two wide searches in a row must accept a network, but along paths.
    The network that is accepted goes through steps 3 to 5 up to twice more, unless
    its gap is next to nothing or a proof.

    Gaps below 1e-4 of the loss of the best constant are for the convex programme over
    the cells of the network and of priced candidates, with one output: the loop ends on
    it (see ``finish.py``).

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
    """

    tol: float = 1e-3
    max_iter: int = 100
    max_neurons: int | None = None
    seed: int = 0
    proves: bool = True

    def solve_path(self, problem, alphas, start=None, callback=None):
        """Train until certified or a limit, at one penalty strength after another.

        Parameters
        ----------
        problem : Problem
            What is minimised, at whatever alpha. Data of order one are assumed, which
            the caller sees to.
        alphas : iterable of float
            Penalty strengths, best in decreasing order: each fit starts from the last
            network.
        start : Network, default=None
            Where the first one starts; None starts from a random network that was slid,
            or from a sample of many rows, or from the best constant where that is
            better.
        callback : callable, default=None
            Called with each record of the history as it is made and the network that
            it is of; the run stops where it returns true. Also called, with a record
            that names its ``step``, after each step of the start, each addition and
            each slide.

        Yields
        ------
        Solution
            One an alpha: the best network found. Its objective never rises from round
            to round, but by less than the tolerance where the loop ends on cone
            programmes, of whose networks the one of the least gap is returned (the last
            one, where they grow too large and the loop goes on). The last solution may
            be ``INTERRUPTED`` or ``STOPPED``.
        """
        run = None
        for alpha in alphas:
            started = time.perf_counter()
            problem = problem.with_alpha(alpha)
            if run is None:
                if start is None:
                    start = self.sampled_start(problem, callback)
                run = _Run(self, problem, start, callback, started)
            else:
                run.move(problem, started)
            solution = run.interruptible_result()
            yield solution
            if solution.status in (Status.INTERRUPTED, Status.STOPPED):
                return

    def sampled_start(self, problem, callback=None):
        """Solve loosely on a sample of the rows, for a start that costs little.

        Returns None for few rows. A large sample starts on a sample of its own. The
        callback is told of its networks as steps of the start on all rows.
        """
        n_rows = len(problem.rows)
        if n_rows <= 4 * _SAMPLED_ROWS:
            return None
        rng = np.random.default_rng(self.seed)
        count = max(_SAMPLED_ROWS, n_rows // _SAMPLED_PART)
        sample = problem.subset(np.sort(rng.choice(n_rows, count, replace=False)))
        if (sample.Y == sample.Y[0]).all(axis=0).any():
            return None  # a rare class or count is missing: no finite optimum, maybe

        def watch(record, network):
            step = {"step": "start", "objective": problem.objective(network)}
            callback(step | {"n_neurons": network.n_neurons}, network)

        watch = None if callback is None else watch
        sampler = replace(self, tol=max(self.tol, _SAMPLE_TOL))
        start = sampler.sampled_start(sample, watch)
        run = _Run(sampler, sample, start, watch, time.perf_counter())
        return run.result(accept=_GLANCE).network


class _Run:
    """One run of the loop: the state that its steps share."""

    def __init__(self, solver, problem, start, callback, started):
        self.solver, self.callback = solver, callback
        scale = problem.loss_scale()
        self.scale, self.tolerance = scale, solver.tol * scale
        self.least_decrease = _LEAST_DECREASE * scale
        self.enough = self.least_decrease  # from one more step of correcting
        self.rng = np.random.default_rng(solver.seed)
        self.pricer = pricer_of(problem, exact=solver.proves)
        self.leaders = problem.null_network().directions()[0]
        self.first_care, self.careful = _GLANCE, FAIR
        if solver.tol < _FAIR_TOL:
            self.careful = HARD if solver.tol >= _HARD_TOL else WIDE
        self.finishes = solver.tol < _FINISH_TOL
        self.tracks, self.seen = False, (None, None)
        self.problem, self.network = problem, problem.null_network()
        if start is not None:
            self.network = replace(start.pruned(), intercept=self.network.intercept)
        elif not problem.shape.is_tree:
            self.network = self.random_start()
        self.begin(problem, started)
        if start is not None and not self.objective <= problem.objective(
            problem.null_network()
        ):
            # Of other data, maybe: its neurons are worse than none.
            self.network = problem.null_network()
            if not problem.shape.is_tree:
                self.network = self.random_start()
            self.begin(problem, started)

    def random_start(self):
        """Return the network that random neurons slide to.

        A network so wide gets close by descent alone, in fewer passes over the rows
        than it takes to generate neurons one round after another.
        """
        problem, count = self.problem, _FIRST_NEURONS
        hidden = self.pricer.random_units(count, self.rng) * _FIRST_SIZE
        output = self.rng.standard_normal((count, problem.n_outputs))
        hidden, output = hidden / np.sqrt(count), output / np.sqrt(count)
        network = replace(self.network, hidden=hidden, output=output)
        decrease = max(_FIRST_DECREASE * self.scale, self.least_decrease)

        def watch(network):
            self.tell("start", network, problem.objective(network))

        network = self.slid(
            network,
            decrease,
            True,
            None if self.callback is None else watch,
        ).pruned()
        better = problem.objective(network) < problem.objective(self.network)
        return network if better else self.network

    def move(self, problem, started):
        """Go on with the same problem at another penalty strength.

        The neurons and leaders so far are a start so close that the careful search can
        come at once, can be short, and leaves little to add.
        """
        self.first_care = _CAREFUL
        loosely = TRACK if self.solver.proves else LIGHT
        self.careful = loosely if self.solver.tol >= _FAIR_TOL else FAIR
        self.tracks = True
        self.begin(problem, started)

    def begin(self, problem, started):
        """Begin on ``problem`` with the best amplitudes of the present neurons."""
        self.problem, self.started, self.history = problem, started, []
        self.n_iter, self.priced = 0, None
        self.cap_binds, self.stopped = False, False
        self.tol = self.tolerance
        if problem.shape.is_tree:  # whose certificate will take this from the bound
            missed = problem.shape.resolution * self.scale
            self.tol = max(self.tolerance - missed, 0.5 * self.tolerance)
        if self.finishes and is_affordable(problem, _MOST_FINISHING):
            self.tol = max(self.tol, _LOOP_TOL * self.scale)
        network = self.corrected(*self.network.directions(), self.network.intercept)
        self.network, self.objective = self.with_best_intercept(network)

    def interruptible_result(self):
        """Run the loop; a KeyboardInterrupt ends it with the network priced last."""
        try:
            return self.result()
        except KeyboardInterrupt:
            if self.priced is None:
                raise
            self.network, candidates, certificate = self.priced
            return self.solution(candidates, certificate, Status.INTERRUPTED)

    def result(self, accept=_CAREFUL):
        """Run the loop; only pricing with the care ``accept`` may accept a network.

        Prices of sub-networks hide better than those of neurons, and a run of many
        rounds gets many chances to miss one: there two searches in a row must agree.
        """
        care = self.first_care
        while True:
            candidates, certificate = self.price_and_certify(care)
            self.record(certificate)
            if certificate.gap <= self.tol:
                status = Status.CONVERGED
            elif self.stopped:
                return self.solution(candidates, certificate, Status.STOPPED)
            elif self.n_iter >= self.solver.max_iter:
                status = self.limit(Status.ITERATION_LIMIT)
            elif self.improve(candidates, certificate.gap):
                care = min(_CAREFUL, accept)
                continue
            else:
                status = self.limit(Status.STALLED)
            doubtful = self.problem.shape.is_tree or self.is_long()
            if accept == _CAREFUL and doubtful and certificate.kind != "exact":
                accept = _WHOLE
            if care == _WHOLE or (care >= accept and status is Status.CONVERGED):
                if self.tol > self.tolerance and self.n_iter < self.solver.max_iter:
                    return self.finished()
                if status is Status.CONVERGED and certificate.gap > self.tolerance:
                    status = self.limit(Status.ITERATION_LIMIT)
                if status is Status.CONVERGED and accept != _GLANCE:
                    closed = self.closed(candidates, certificate)
                    if closed is not None:
                        return closed
                    care = _CAREFUL
                    continue
                return self.solution(candidates, certificate, status)
            care += 1

    def is_long(self):
        """Return whether the run is so long that prices must hide from it.

        A path goes on from a network close by, and need not be as careful.
        """
        return self.n_iter >= _MANY_ROUNDS and not self.tracks

    def closed(self, candidates, certificate):
        """Take in what was priced last too; return the solution.

        The lower bound stays the one of the network that was priced. It lacks more than
        the objective does, which this brings down for a fraction of the time that
        pricing took; where that was exact, the certificate stays that of the network.
        Returns None where the objective falls below the bound: a price was missed.
        """
        priced, gap = self.network, certificate.gap
        done = self.stopped or self.tracks or certificate.kind == "exact"
        if not done and gap >= _WORTH_CLOSING * self.tol:
            self.close(candidates, gap)
        if self.network is priced:
            return self.solution(candidates, certificate, Status.CONVERGED)
        certificate = replace(certificate, objective=self.objective)
        if certificate.gap < 0.0:
            return None
        self.record(certificate)
        solution = self.solution(candidates, certificate, Status.CONVERGED)
        return replace(solution, dual_network=priced)

    def close(self, candidates, gap):
        """Improve the network by candidates and by what a short search adds to them."""
        last = self.solver.max_iter
        if self.n_iter < last and self.improve(candidates, gap) and self.n_iter < last:
            self.improve(self.price(self.network, NEAR)[0], gap, _ENOUGH_CLOSING)

    def finished(self):
        """Go on with programmes over the cells of the neurons and of new candidates.

        The gap goes with the root of what the objective lacks: at the end networks of
        equal objective differ in their gaps, and the one of the least is returned.
        Where a programme would have too many cells, the loop goes on by itself.
        """
        self.tol, n_passed, n_idle, best = self.tolerance, 0, 0, None
        while True:
            candidates, certificate = self.price_and_certify(_FINISHING)
            self.record(certificate)
            if best is None or certificate.gap < best[2].gap:
                n_idle, best = 0, self.priced
            elif best[0] is self.network:  # a harder look at the same network
                best = self.priced
            if certificate.gap <= self.tol:
                n_passed, status = n_passed + 1, Status.CONVERGED
                if n_passed < _PASSES and certificate.kind != "exact":
                    continue
            elif self.stopped:
                status = Status.STOPPED
            elif self.n_iter >= self.solver.max_iter:
                status = self.limit(Status.ITERATION_LIMIT)
            elif n_idle >= _MOST_IDLE:
                status = self.limit(Status.STALLED)
            else:
                U, signs = self.cells(candidates, n_idle)
                if not is_affordable(self.problem, len(signs)):
                    self.network, _, certificate = best
                    self.objective = certificate.objective
                    return self.result()
                if self.move_over_cells(U, signs, certificate.gap, n_idle):
                    self.n_iter, n_passed, n_idle = self.n_iter + 1, 0, n_idle + 1
                    continue
                status = self.limit(Status.STALLED)
            self.network, candidates, certificate = best
            return self.solution(candidates, certificate, status)

    def cells(self, candidates, n_idle):
        """Return directions in the cells of the next programme, and output signs.

        After rounds without a smaller gap more of the cells around a hyperplane with
        samples on it are taken.
        """
        new = candidates.distinct(
            _MOST_FINISHING,
            _SAME_CELL,
            self.pricer.signature,
            self.problem.alpha * (1 + 1e-7),
        )
        U, A, _ = self.network.directions()
        U, A = np.hstack([U, new.directions]), np.vstack([A, new.outputs])
        copies = 1 + n_idle
        return np.tile(U, copies), np.tile(np.sign(A[:, 0]), copies)

    def move_over_cells(self, U, signs, gap, n_idle):
        """Take the best network over cells; return whether it is no worse.

        After rounds without a smaller gap the programme is solved more exactly.
        """
        problem = self.problem
        tol = 0.1**n_idle * max(0.1 * self.tol, 0.01 * gap) / self.scale
        network = best_over_cells(problem, U, signs, tol, self.rng)
        # An interior point has all the neurons that do no harm; a vertex has few.
        self.enough = self.least_decrease
        network = self.corrected(*network.directions(), network.intercept)
        if network.n_neurons > len(problem.rows):
            network = prune(network, problem.rows)
        network, objective = self.with_best_intercept(network)
        self.tell("cells", network, objective)
        cap = self.solver.max_neurons
        if cap is not None and network.n_neurons > cap:
            self.cap_binds = True
            return False
        if objective > self.objective + self.tol:
            return False
        self.network, self.objective = network, objective
        return True

    def limit(self, status):
        """Return why the run ends early: ``status``, or the cap once it has bound."""
        return Status.NEURON_LIMIT if self.cap_binds else status

    def solution(self, candidates, certificate, status):
        """Return what the run has reached."""
        return Solution(
            network=self.network,
            certificate=certificate,
            status=status,
            n_iter=max(self.n_iter, 1),
            history=self.history,
            tolerance=self.tolerance,
            directions=candidates.directions,
        )

    def price_and_certify(self, care):
        """Price the network (step 1) and certify it (step 2)."""
        careful = WIDE if self.is_long() else self.careful
        effort = {_GLANCE: LIGHT, _FINISHING: FINE}.get(care, careful)
        candidates, bound = self.price(self.network, effort, care == _CAREFUL)
        certificate = certify(
            self.problem,
            self.network,
            candidates.best,
            bound,
            prove=False,
            F=self.values(self.network),
        )
        self.priced = self.network, candidates, certificate
        return candidates, certificate

    def price(self, network, effort, may_end_early=False):
        """Price the dual point of ``network``; remember the leaders.

        A pass that is to accept the network may end early, at a price that leaves a gap
        over the tolerance.
        """
        problem, pricer = self.problem, self.pricer
        N = dual_point(problem, self.values(network))

        def enough(price):
            if not may_end_early:
                return False
            return self.objective - lower_bound(problem, N, price) > self.tol

        known = np.hstack([network.directions()[0], self.leaders])
        candidates, bound = pricer.price(N, known, self.rng, effort, enough)
        self.leaders = candidates.distinct(
            _LEADERS, _APART, pricer.signature
        ).directions
        return candidates, bound

    def record(self, certificate):
        """Append to the history and tell the callback."""
        self.history.append(
            {
                "time": time.perf_counter() - self.started,
                "objective": certificate.objective,
                "dual_gap": certificate.gap,
                "n_neurons": self.network.n_neurons,
                "price": certificate.price,
            }
        )
        if self.callback is not None:
            self.stopped |= bool(self.callback(self.history[-1], self.network))

    def improve(self, candidates, gap, enough=_ENOUGH_SLIDING):
        """Take steps 3 to 5; return whether the objective went down.

        The slide ends at steps that gain less than ``enough`` gaps. Another addition
        follows: amplitudes that are best for the neurons and for directions next to
        them make a better dual point than a slide does.
        """
        self.enough = max(_ENOUGH_CORRECTING * gap, self.least_decrease)
        network = self.extended(self.network, candidates)
        decrease = max(enough * gap, self.least_decrease)
        rough = decrease > _SINGLE * self.objective
        network = self.slid(network, decrease, rough)
        network, objective = self.with_best_intercept(network.pruned())
        self.tell("slide", network, objective)
        more = self.extended(network, self.price(network, KNOWN)[0])
        more, after = self.simplified(more, objective)
        if after < objective:
            network, objective = more, after
        if not objective < self.objective - self.least_decrease:  # nan is no step
            return False
        self.network, self.objective = network, objective
        self.n_iter += 1
        return True

    def slid(self, network, decrease, rough, watch=None):
        """Slide a network, on the rows as searches have them where that will do."""
        problem, axes = self.problem, self.pricer.geometry.axes
        if not rough:
            return slide(problem, network, decrease, _SLIDE_STEPS, watch=watch)
        rows = self.pricer.rough
        if axes is None:
            return slide(problem, network, decrease, _SLIDE_STEPS, rows, watch)
        watched = None if watch is None else lambda along: watch(along.mapped(axes))
        network = network.mapped(axes.T)
        network = slide(problem, network, decrease, _SLIDE_STEPS, rows, watched)
        return network.mapped(axes)

    def simplified(self, network, ceiling):
        """Refit the intercept and merge neurons that act alike; also the objective.

        Merging must stay below the ceiling and may cost at most a tenth of the round's
        decrease. Sub-networks that act alike differ in their leaves: those are kept.
        """
        if self.problem.shape.is_tree:
            return self.with_best_intercept(network)
        network = merge_compatible(network, self.problem.rows)
        network, objective = self.with_best_intercept(network)
        merged = network.merged(_MERGED, self.pricer.signature)
        if merged.n_neurons < network.n_neurons:
            merged, after = self.with_best_intercept(merged)
            cost, decrease = after - objective, self.objective - objective
            if after < ceiling and cost <= 0.1 * max(decrease, 0.0):
                return merged, after
        return network, objective

    def extended(self, network, candidates):
        """Add the best distinct candidates and re-solve for all amplitudes."""
        problem = self.problem
        new = candidates.distinct(
            _MOST_ADDED, _DISTINCT, self.pricer.signature, problem.alpha * (1 + 1e-6)
        )
        U, A, c = network.directions()
        U = np.hstack([U, new.directions])
        A = np.vstack([A, new.outputs])
        c = np.concatenate([c, np.zeros(len(new.prices))])
        network = self.corrected(U, A, c, network.intercept)
        if self.callback is not None:
            self.tell("add", network, problem.objective(network))
        return network

    def corrected(self, U, A, c, b):
        """Return the network of best amplitudes, with no more neurons than allowed.

        The parameters are directions, outputs, amplitudes and intercept to start from.
        """
        problem, cap = self.problem, self.solver.max_neurons
        known = Features(problem, U)
        c, b = best_amplitudes(problem, known, A, c, b, self.enough)
        kept = np.flatnonzero(c > 1e-8 * c.max(initial=0.0))
        if cap is not None and len(kept) > cap:
            self.cap_binds = True
            kept = np.sort(kept[np.argsort(-c[kept], kind="stable")[:cap]])
            known = Features(problem, U[:, kept])
            c, b = best_amplitudes(problem, known, A[kept], c[kept], b, self.enough)
            return problem.shape.network(U[:, kept], A[kept], c, b).pruned()
        return problem.shape.network(U[:, kept], A[kept], c[kept], b)

    def with_best_intercept(self, network):
        """Give the network the best intercept for its neurons; also its objective."""
        problem = self.problem
        F = self.values(network)
        if problem.fit_intercept:
            step = problem.loss.best_intercept(F, problem.Y, problem.weights)
            network = replace(network, intercept=network.intercept + step)
            F = F + step
            self.seen = network, F
        return network, problem.objective(network, F)

    def values(self, network):
        """Return the predictions of a network; those of the last one are kept."""
        if self.seen[0] is not network:
            self.seen = network, network.forward(self.problem.rows)
        return self.seen[1]

    def tell(self, step, network, objective):
        """Report a step to the callback."""
        if self.callback is not None:
            record = {"step": step, "objective": objective}
            self.callback(record | {"n_neurons": network.n_neurons}, network)
