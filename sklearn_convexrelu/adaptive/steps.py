"""The steps of a round: price, add, correct, slide, merge.

Each takes a network and returns one, or a Point: a network with the best intercept for
its neurons, and what it predicts. None knows what the round is for, see ``loop.py``.
"""

from dataclasses import dataclass, replace

import numpy as np

from sklearn_convexrelu.adaptive.slide import slide
from sklearn_convexrelu.certificates.certificate import dual_point
from sklearn_convexrelu.model.neurons import Network
from sklearn_convexrelu.model.pruning import merge_compatible
from sklearn_convexrelu.pricing.kernels import DISTINCT
from sklearn_convexrelu.pricing.search import KNOWN
from sklearn_convexrelu.programmes.amplitudes import rebalanced
from sklearn_convexrelu.programmes.moments import Moments

__all__ = [
    "ENOUGH_CLOSING",
    "ENOUGH_CORRECTING",
    "ENOUGH_SLIDING",
    "Point",
    "Steps",
]

# Cosine from which two neurons are one. 0.998 and 0.9995: 1% and 2% more work on the
# fits that ``BATCH`` was judged by.
_MERGED = 0.999
# Least decreases of the objective, times the gap, that a step must bring. At the end of
# a fit of 60 000 images steps of 4e-4 gaps took a quarter of the time, for .04
# tolerances; without such ones objectives of 30 fits are .01 higher in the mean.
ENOUGH_CORRECTING, ENOUGH_SLIDING, ENOUGH_CLOSING = 1e-4, 3e-4, 1e-3
# Times the gap: what a round must bring for the next to slide too. Of 10 000 images
# fits took .7 of the time, with half as much .8. With two rounds without a slide five
# tables gained nothing, for .92 with one.
_WORTH_SLIDING = 0.2
_SLIDE_STEPS = 100  # 50 and 200 did 0.99 and 1.01 times the work
_SINGLE = 1e-6  # least decrease, in objectives, that single precision resolves
_LEAST_DECREASE = 1e-12  # times the loss of the best constant: less is rounding


@dataclass(frozen=True)
class Point:
    """A network with the best intercept, and free linear part, for its neurons.

    Attributes
    ----------
    network : Network or TreeNetwork
        The network.
    F : ndarray of shape (n_samples, n_outputs) or None
        Its predictions; None for memory maps, whose rows are many, and where it is
        left behind: there they are computed when asked for.
    objective : float
        Its objective.
    """

    network: Network
    F: np.ndarray | None
    objective: float

    @classmethod
    def of(cls, problem, network):
        """Return the point of a network, with what is not penalised at its best."""
        network, F = problem.refitted(network, network.forward(problem.rows))
        objective = problem.objective(network, F)
        return cls(network, None if problem.rows.is_mapped else F, objective)

    def forgetful(self):
        """Return it without its predictions, which are made anew when asked for."""
        return replace(self, F=None)

    def dual_point(self, problem):
        """Return the dual point at its predictions."""
        if self.F is not None:
            return dual_point(problem, self.F)
        return dual_point(problem, self.network.forward(problem.rows), True)


class Steps:
    """The steps of rounds on one problem after another, which differ in alpha alone.

    Attributes
    ----------
    problem : Problem
        The problem.
    pricer : Pricer or TreePricer
        That of its data.
    rng : numpy.random.Generator
        Draws the starts of searches.
    cap : int or None
        Largest number of neurons.
    tell : callable
        Told of the name of a step and its network.
    leaders : ndarray of shape (n_inputs, n_leaders)
        Directions that the next search starts from.
    moments : Moments
        Those that amplitudes were last solved for with.
    n_handed : int
        Distinct directions that a round adds at most, or hands to the next.
    is_capped : bool
        Whether more neurons were wanted than the cap allows.
    slides_little : bool
        Whether the last round had a slide that brought little, so the next has none.
    least_decrease : float
        Decrease of the objective that is not rounding.
    """

    def __init__(self, problem, pricer, rng, cap, scale, tell):
        self.problem, self.pricer, self.rng = problem, pricer, rng
        self.cap, self.tell = cap, tell
        self.leaders = problem.no_directions()
        self.moments, self.n_handed = Moments(), pricer.n_handed
        self.least_decrease = _LEAST_DECREASE * scale
        self.is_capped = self.slides_little = False

    def price(self, point, effort, enough=None):
        """Search for the prices at a point; remember the leaders.

        Parameters
        ----------
        point : Point
            The network whose dual point is priced.
        effort : Effort
            How hard.
        enough : callable, default=None
            Tells of the dual point and a price whether the search may end early.

        Returns
        -------
        candidates : Candidates
            Directions and their prices.
        bound : float or None
            What no price exceeds, where pricing was exact.
        N : ndarray of shape (n_samples, n_outputs)
            The dual point.
        """
        N = point.dual_point(self.problem)
        known = np.hstack([point.network.directions()[0], self.leaders])
        options = () if enough is None else (lambda price: enough(N, price),)
        candidates, bound = self.pricer.price(N, known, self.rng, effort, *options)
        self.leaders = candidates.distinct(
            self.n_handed, DISTINCT, self.pricer.signature
        ).directions
        return candidates, bound, N

    def improved(self, point, candidates, gap, enough=ENOUGH_SLIDING, again=True):
        """Return the point after a round from ``point``, or None without a decrease.

        The slide ends at steps that gain less than ``enough`` gaps. Another addition
        follows: amplitudes that are best for the neurons and for directions next to
        them make a better dual point than a slide does. Folds, which want no dual
        point, do without (not ``again``): on four tables in .74 of the time. After a
        slide that brought little of the gap a round is the first addition alone.
        """
        correcting = max(ENOUGH_CORRECTING * gap, self.least_decrease)
        decrease = max(enough * gap, self.least_decrease)
        network = self.extended(point.network, candidates, correcting)
        if again and self.slides_little:
            self.slides_little = False
            added = self.compact(network)
            if added.objective < point.objective - self.least_decrease:
                return added
        rough = decrease > _SINGLE * point.objective
        network = self.slid(network, decrease, rough).pruned()
        slid = self.merged(network, point.objective)
        self.tell("slide", slid.network, slid.objective)
        best = slid
        if again:
            more = self.price(slid, KNOWN)[0]
            more = self.compact(self.extended(slid.network, more, correcting))
            best = more if more.objective < slid.objective else slid
            gain = point.objective - best.objective
            self.slides_little = gain < _WORTH_SLIDING * gap
        # "not <": a nan is no step either.
        if not best.objective < point.objective - self.least_decrease:
            return None
        return best

    def extended(self, network, candidates, enough):
        """Add the best distinct candidates and re-solve for all amplitudes."""
        new = candidates.distinct(
            self.n_handed,
            DISTINCT,
            self.pricer.signature,
            self.problem.alpha * (1 + 1e-6),
        )
        network = self.corrected(network, new, enough)
        self.tell("add", network)
        return network

    def corrected(self, network, new=None, enough=None):
        """Return the network of best amplitudes, with no more neurons than allowed.

        Parameters
        ----------
        network : Network or TreeNetwork
            Where to start.
        new : Candidates, default=None
            Directions to add; linear neurons whose price exceeds alpha come with them.
        enough : float, default=None
            The decrease that one more step must promise; None: more than rounding.
        """
        enough = self.least_decrease if enough is None else enough
        U, A, c = network.directions()
        if new is not None:
            U, A = np.hstack([U, new.directions]), np.vstack([A, new.outputs])
            c = np.concatenate([c, np.zeros(len(new.prices))])
        network, c = self._rebalanced(network, U, A, c, enough)
        kept = np.flatnonzero(c > 1e-8 * c.max(initial=0.0))
        if self.cap is None or len(kept) <= self.cap:
            return self._of(network, U[:, kept], A[kept], c[kept])
        self.is_capped = True
        kept = np.sort(kept[np.argsort(-c[kept], kind="stable")[: self.cap]])
        U, A = U[:, kept], A[kept]
        network, c = self._rebalanced(network, U, A, c[kept], enough)
        return self._of(network, U, A, c).pruned()

    def _rebalanced(self, *args):
        return rebalanced(self.problem, *args, self.moments)

    def _of(self, network, U, A, c):
        """Return the network of units, with the rest of another."""
        rest = network.intercept, network.linear
        return self.problem.shape.network(U, A, c, *rest)

    def slid(self, network, decrease, rough, watch=None):
        """Slide a network, on the rows as searches have them where that will do."""
        problem, axes = self.problem, self.pricer.geometry.axes
        options = {"tol": decrease, "max_iter": _SLIDE_STEPS}
        # A slide keeps the signs of weights of inputs, along which these rows are not.
        is_turned = problem.shape.monotone is not None and axes is not None
        if is_turned or not rough:
            squares = self._squares(problem.rows)
            return slide(problem, network, watch=watch, squares=squares, **options)
        rows = self.pricer.rough
        options |= {"rows": rows, "squares": self._squares(rows)}
        if axes is None:
            return slide(problem, network, watch=watch, **options)
        watched = None if watch is None else lambda along: watch(along.mapped(axes))
        network = network.mapped(axes.T)
        network = slide(problem, network, watch=watched, axes=axes, **options)
        # Rotating back rounds weights of inputs that have no part in a linear part.
        return problem.with_own_linear(network.mapped(axes))

    def _squares(self, rows):
        """Return mean squares of the inputs, or what is close where axes have none."""
        return rows.mean_squares if rows.axes is None else self.pricer.geometry.squares

    def merged(self, network, ceiling):
        """Return the point of a network after neurons that act alike were merged.

        It must stay below the ceiling. Amplitudes are to be solved for again: without
        that prices of the network's own neurons rose to twice alpha, and its gap
        tenfold. Sub-networks that act alike differ in their leaves: those are kept.
        """
        if not self.problem.shape.is_tree:
            merged = network.merged(_MERGED, self.pricer.signature)
            point = Point.of(self.problem, merged)
            if merged.n_neurons == network.n_neurons or point.objective < ceiling:
                return point
        return Point.of(self.problem, network)

    def compact(self, network):
        """Return the point of a network after merging what changes no prediction."""
        return Point.of(self.problem, self._without_doubles(network))

    def compacted(self, point):
        """Return a point after the same, which is itself where nothing merges."""
        network = self._without_doubles(point.network)
        return point if network is point.network else Point.of(self.problem, network)

    def _without_doubles(self, network):
        if self.problem.shape.is_tree:
            return network
        return merge_compatible(network, self.problem.rows)
