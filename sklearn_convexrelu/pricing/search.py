"""The local search for neurons that would lower the objective most.

The price of a unit direction ``u`` at the dual point ``N`` is ``||N^T relu(X u)||_2``.
No neuron helps once every price is at most alpha, so the largest price is both what to
add next and what the certificate rests on. Maximising it over all directions is not a
convex problem: this module searches locally from many starts; ``exact.py`` solves it
outright for data of rank three or less.
"""

from copy import copy
from dataclasses import dataclass, replace

import numpy as np

from sklearn_convexrelu.data.rows import (
    FEW_ROWS,
    MANY_INPUTS,
    Rows,
    kept,
    largest,
    scaled,
)
from sklearn_convexrelu.model.norms import EUCLIDEAN, ONE_NORM, column_norms
from sklearn_convexrelu.patterns.geometry import Geometry, unit
from sklearn_convexrelu.pricing.arcs import ArcPricing, has_few_arcs
from sklearn_convexrelu.pricing.ascent import ascend
from sklearn_convexrelu.pricing.exact import ExactPricing, serves_rows
from sklearn_convexrelu.pricing.kernels import BATCH, DISTINCT, Candidates, Prices
from sklearn_convexrelu.pricing.polish import polish
from sklearn_convexrelu.pricing.rays import RayPricing, has_few_rays
from sklearn_convexrelu.pricing.sampling import sampled
from sklearn_convexrelu.pricing.sided import sided_along

__all__ = [
    "BRIEF",
    "FAIR",
    "FINE",
    "FIRST",
    "HANDED_OF_FEW",
    "HARD",
    "KNOWN",
    "LIGHT",
    "TRACK",
    "WIDE",
    "Candidates",
    "Effort",
    "Pricer",
    "Prices",
    "exact_pricing_of_neurons",
    "search_precision",
]


@dataclass(frozen=True)
class Effort:
    """How hard to search.

    Attributes
    ----------
    n_batches : int
        Batches of new starts, ascended with the known directions, or of many inputs
        without these.
    n_hops : int
        Rounds after that in which the leaders are perturbed and ascended again.
    n_steps : int
        Number of ascent steps.
    certifies : bool
        Whether a certificate may rest on it; then pricing is exact where affordable.
    n_polished : int
        How many of the best are polished at the end.
    n_polishing : int
        Steps that each of these takes.
    """

    n_batches: int
    n_hops: int
    n_steps: int
    certifies: bool = False
    n_polished: int = 0
    n_polishing: int = 50

    def polishing(self):
        """Return an effort that ends on polishing.

        On 19 dual points of tables of 12 to 162 rows bounds were 2.0 and 1.6 tolerances
        off (1e-3 and 1e-4) with HARD and WIDE, and .33 and .27 with these, in 1.4 and
        1.2 of the time. Half of the hops made up for that time (.36 and .28), but what
        they miss is missed: one bound of twelve on skewed columns was .3 too high.
        """
        return replace(self, n_polished=max(self.n_polished, _POLISHED))

    def times(self, count):
        """Return so many times the effort."""
        batches, hops = count * self.n_batches, count * self.n_hops
        return replace(self, n_batches=batches, n_hops=hops)


# Measured by what searches lack of the largest price known, in thousandths, on 32 dual
# points of 16 kinds of tables (Gaussian, far rows, raw units, offsets, heavy tails,
# integers, one-hot, pixels): FAIR 8, with a batch and two steps more 7; HARD 3; WIDE 2.
KNOWN = Effort(n_batches=0, n_hops=0, n_steps=6)
# For folds, whose networks start next to their optimum and are not certified. On four
# tables of 1000 training rows they took .88 of the time with LIGHT, at equal scores.
BRIEF = Effort(n_batches=1, n_hops=0, n_steps=8)
LIGHT = Effort(n_batches=1, n_hops=1, n_steps=12)
TRACK = Effort(n_batches=2, n_hops=1, n_steps=12, certifies=True)
FIRST = Effort(n_batches=1, n_hops=1, n_steps=14, certifies=True)
FAIR = Effort(n_batches=4, n_hops=2, n_steps=12, certifies=True)
HARD = Effort(n_batches=6, n_hops=5, n_steps=18, certifies=True)
# For runs of many rounds and tolerances below 5e-4.
WIDE = Effort(n_batches=12, n_hops=8, n_steps=20, certifies=True)
# With a third of its steps of polishing prices lack 4e-7 of what they do with all.
FINE = Effort(6, 4, 20, certifies=True, n_polished=200, n_polishing=150)
# A hop takes the leaders, distinct up to a cosine, and perturbs copies of each. Where
# prices hide, many sharp local maxima stand close together.
# On four fits of three seeds 10 did 2% less work and 40 5% more, in as many rounds.
_HOP_LEADERS = 20
# Cosine that those are below. With 0.95 fits of friedman1 at alpha 0.03 (n = 1000 and
# 10 000, eight seeds) took 1.12 and 1.16 times as long, with 0.8 four fits 1.05 times.
_HOP_COSINE = 0.9
# Of the best that an accepting search polishes. Half: .08 tolerances more, double: .01
# less (HARD).
_POLISHED = 20
# Of those that are polished, below the one and below the other: some far apart, some
# that agree but for a kink. With the second alone bounds were .24 tolerances off on 25
# points, with .9 alone .37, with both .20.
_POLISH_COSINES = 0.99, 0.99999
_CLOSEST = 0.01  # least noise of those copies
# Lengths of an ascent's first step, for what it starts from: known directions are near
# a maximum, leaders near one on a sample of the rows. On the same points searches of
# HARD's size lacked 2.5 with these and 3.3 with twice as much, 3.0 with 0.6 times.
_KNOWN_STEP, _LEADER_STEP, _HOP_STEP, _FRESH_STEP = 0.03, 0.06, 0.2, 0.7
# Least and largest noise of copies, for their size, that hops start from; and of few
# inputs starts near known directions where these are many. Of ten dual points at small
# alpha (200 to 900 neurons) such starts led to the highest prices known ten times as
# often, for the time, as farther ones (.1 to 1) with first steps of .7, and random
# starts to none of them. Of 100, 500 and 784 columns fits took up to 1.4 times as long
# with them. In place of ascents from the known directions themselves they left judged
# gaps of 3.5 tolerances, in place of farther starts too of 2.0; beside both, four
# of 208 are beyond 1.5, 1.9 at most.
_HOP_NOISE = 0.1, 0.5
# Starts as close, for each direction known beyond the count of farther starts. With
# half as many a table of 4000 rows took 21 and 26 s (alpha .001) for 16 to 18; one to
# each direction, wherever these are more, was as fast there, but small tables missed
# what tests ask at tolerances of 1e-5.
_CLOSE = 2
# Least steps there, of ascents that may accept. With 12 such starts led to the highest
# prices .4 times as often, for the time, with 24 as often.
_CAREFUL_STEPS = 16
# Of the best that a search finds, distinct or not: what polishing chooses from. Before
# distinct ones were kept beside them, 200 and 800 did 5% and 4% more work.
_KEPT = 5 * BATCH
_LEAST_SPREAD = 1e-2  # of a feature, for its size, that single precision resolves
# Distinct directions that a round adds at most, or hands to the next, of few inputs and
# one output: one for so many rows, from the one to the other. At small alpha eighteen
# fits of four tables (some 4000 rows) took 4.3 s in the geometric mean with 320, with
# half and twice 5.1 and 5.3; 36 of four of 190 to 800 rows .53 with 160, .61 with more.
# Of a sample of 30 000 rows, to start on, fits took 2.8 s with 160, 3.5 with 320.
_ROWS_PER_HANDED, HANDED_OF_FEW, _HANDED = 12, 2 * BATCH, 4 * BATCH
_SAMPLED_HOPS, _SAMPLED_LEADERS = 2, 40
# Least rows of a sample for each direction known: on fewer the maxima are those of its
# rows. At 5000 rows of 100 classes (alpha .1, 420 neurons) searches found prices of
# 1.05 alpha where 1.15 were there, and gaps of fits that were said to be .8 and .9
# tolerances were 4.1 and 2.5. Half and double were not tried.
_ROWS_PER_UNIT = 10
# And for each input of a search that may accept: on 5000 rows of 500 columns gaps that
# were said to be .6 tolerances, with 4 for each too, were 1.7 to all rows; on 10 000
# images .7, with 6 for each, were 1.6.
_ROWS_PER_INPUT = 10
# Of many inputs, what is off in sums over a sample at most, for the largest price that
# is known, and how many leaders of it are ascended on all rows. At a fit of 60 000
# images, 331 directions known, searches found 134 peaks of 1.1 alpha where 73 were
# found before in as much time, with half of this error; with a sixth as many, in 1.2 of
# the time, with 1.5 times it 125 in .8. On 10 000 and 20 000 images 40 leaders led to a
# tenth less.
_NOISE, _WIDE_LEADERS = 2.0, 80


def _never(found):
    return False


class Pricer:
    """Prices one data set at one dual point after another.

    A pass that certifies is exact where the data allow, else a longer search.

    Attributes
    ----------
    geometry : Geometry
        Coordinates of the searches, and when directions act alike on the data.
    precision : dtype
        Precision of searches.
    """

    def __init__(self, X, n_outputs, *, exact=True, norm=EUCLIDEAN, monotone=None):
        self.rows, self.norm, self.monotone = Rows.of(X), norm, monotone
        self.n_outputs = n_outputs
        self.precision = search_precision(self.rows)
        self.geometry = self._geometry()
        #: Signs of weights as searches keep them, along the axes of the geometry.
        self.sided = sided_along(monotone, self.geometry, self.rows)
        self._squares = self.geometry.squares[:, None].astype(self.precision)
        self._exact = None
        if exact:
            own = self.rows, n_outputs, norm, monotone
            self._exact = exact_pricing_of_neurons(*own)

    @property
    def is_wide(self):
        """Whether there are so many inputs that known directions lead nowhere new.

        Their ascents then cost more than they find: starts near them end higher.
        """
        return self.rows.n_inputs > MANY_INPUTS and self.norm.is_euclidean

    @property
    def is_exact(self):
        """Whether a pass that certifies is exact."""
        return self._exact is not None

    @property
    def n_handed(self):
        """Distinct directions that a round adds at most, or hands to the next."""
        # 100 classes took 50 s with a batch, 51 with half and 58 with two; of images
        # twice as many bring nothing.
        if self.is_wide or self.n_outputs > 1:
            return BATCH
        count = len(self.rows) // _ROWS_PER_HANDED
        return min(max(count, HANDED_OF_FEW), _HANDED)

    @kept
    def rough(self):
        """Return the rows as searches go by them: along axes, in their precision."""
        return self.rows.along(self.geometry.axes, self.precision)

    def rest(self):
        """Give up the memory of the rows along the axes until the next search."""
        vars(self).pop("rough", None)

    def until(self, deadline):
        """Return the same pricer, whose passes over the rows end at a Deadline."""
        pricer = copy(self)
        pricer.rows = self.rows.until(deadline)
        if "rough" in vars(self):
            pricer.rough = self.rough.until(deadline)
        return pricer

    def searching(self):
        """Return the same pricer, which never proves a price."""
        pricer = copy(self)
        pricer._exact = None
        return pricer

    def _geometry(self):
        """Return the geometry of the rows; only the 2-norm is one of any axes."""
        return Geometry.of(self.rows, self.norm.is_euclidean)

    def _within(self, directions):
        """Return directions without what rounding left of weights of a wrong sign."""
        if self.monotone is None:
            return directions
        return self.monotone.within(directions, self.monotone.sides(directions))

    def signature(self, directions):
        """Return vectors that are close where directions act alike on the data."""
        return self.geometry.signature(directions)

    def random_units(self, count, rng):
        """Return random unit columns that rows lie on both sides of."""
        units = self.geometry.directions(self._random(count, rng))
        return self.norm.unit(self._within(units))

    def _random(self, count, rng):
        """Return unit coordinates of random units, on either side at random."""
        units = self.geometry.random_units(count, rng)
        if self.monotone is None:
            return units
        sides = _drawn_sides(count, rng)
        return unit(self.sided.turned(units, sides))

    def _near(self, V, smallest, largest, rng):
        """Return unit coordinates near ``V``, on its sides where it has one."""
        near = self.geometry.near(V, smallest, largest, rng)
        if self.monotone is None:
            return near
        sides = self.sided.sides(V)
        sides = np.where(sides == 0.0, _drawn_sides(len(sides), rng), sides)
        within = self.sided.within(near, sides)
        return unit(np.where(within.any(axis=0), within, V))

    def price(self, N, known, rng, effort, enough=_never):
        """Return candidates, and what no price exceeds (None: a search cannot tell).

        Parameters
        ----------
        N : ndarray of shape (n_samples, n_outputs)
            Dual point: gradient of the loss at the current predictions.
        known : ndarray of shape (n_inputs, n_known)
            Unit directions to start from: the current neurons and earlier leaders.
        rng : numpy.random.Generator
            Source of the new starts.
        effort : Effort
            How hard to search. One that certifies gives the exact maximum where that
            is affordable.
        enough : callable, default=never
            Tells of the best price so far whether a search may end early.

        Returns
        -------
        candidates : Candidates
            Local maxima of the price.
        bound : float or None
            Upper bound on every price, where the pass was exact.
        """
        if self._exact is None or not effort.certifies:
            return self.search(N, known, effort, rng, enough), None
        searched = self.search(N, known, LIGHT, rng)
        if enough(searched.best):
            return searched, None
        exact = self._exact.price(N, n_best=_HOP_LEADERS).directions.T
        U = np.hstack([exact, searched.directions])
        candidates = Candidates.sorted(U, Prices(self.rows, N, self.monotone).totals(U))
        return candidates, candidates.best + self._exact.slack(N)

    @np.errstate(over="ignore", invalid="ignore")  # flags of lanes not used, in BLAS
    def search(self, N, known, effort, rng, enough=_never):
        """Search by local ascent from many starts; return Candidates.

        The search is along the axes of the geometry and in single precision where that
        will do; what it finds is priced in double. For a certificate so are the known
        directions, since a network's own neurons bound the price from below. Many rows
        are searched on a sample of them first, see ``_sample`` and ``_searched``.
        """
        if effort.certifies and self.geometry.unlike:  # prices hide there
            effort = effort.times(2)
        count = effort.n_batches * BATCH
        counts = count // 2, count - count // 2
        if effort.certifies and not self.is_wide and known.shape[1] > counts[0]:
            effort = replace(effort, n_steps=max(effort.n_steps, _CAREFUL_STEPS))
        if not known.shape[1]:
            known, counts = self._suggested(N), (0, count)
        rough, scale = self.rough, max(largest(N), 1e-300)
        prices = Prices(rough, scaled(N, scale, self.precision), self.sided)
        exact = Prices(self.rows, N, self.monotone)
        starts = self.geometry.coordinates(known)

        def found_enough(found):
            best = found.directions[:, :1].astype(np.float64)
            best = self._within(self.geometry.directions(best))
            return enough(np.linalg.norm(exact.totals(best)))

        of_known = None
        if effort.certifies or effort.n_batches:
            of_known = exact.totals(known)
        noise = self._noise(of_known, effort, scale)
        few = self._sample(prices, known.shape[1], effort, noise, rng)
        found, fresh = self._searched(
            few, prices, starts, counts, effort, rng, found_enough
        )
        best = self._best(found).astype(np.float64)
        U = self.norm.unit(self._within(self.geometry.directions(best)))
        found = Candidates.sorted(U, exact.totals(U))
        if of_known is not None:
            found = found.joined(known, of_known)
        if effort.n_polished and not enough(found.best):
            found = self._polished(exact, known, found, effort, rng)
        return found.started(self._ends(fresh))

    def _sample(self, prices, n_known, effort, noise, rng):
        """Return prices on a sample of many rows, the prices themselves of others.

        The more directions are known, the more rows are a sample, and for a certificate
        the more inputs there are.
        """
        n_rows, count = len(prices.rows), max(FEW_ROWS, _ROWS_PER_UNIT * n_known)
        if effort.certifies:
            count = max(count, _ROWS_PER_INPUT * prices.rows.size // n_rows)
        return sampled(prices, count, rng, noise) if n_rows > 2 * count else prices

    def _noise(self, of_known, effort, scale):
        """Return what weights of rows, in units of ``scale``, may be off in sum.

        Of many inputs neurons go by few rows each, and a search that may accept wants a
        sample that tells their prices; what there is of a map in memory is less.
        """
        is_told = effort.certifies and self.is_wide and not self.rows.is_mapped
        price = column_norms(of_known.T).max(initial=0.0) if is_told else 0.0
        if price == 0.0:
            return np.inf
        size = np.sqrt(self.geometry.squares.sum())  # about the length of a row
        return _NOISE * price / (scale * size)

    def _searched(self, few, prices, starts, counts, effort, rng, enough):
        """Search at prices on a few of the rows, then on all from what was found.

        There are few hops on a sample. The leaders found there, and the known
        directions, are ascended on all rows in half as many steps; a certificate wants
        one hop from those too. Of many inputs more leaders are, and no known
        directions: what is near them was found on the sample. Returns what ``_search``
        does.
        """
        if few is prices:
            return self._search(prices, starts, counts, effort, rng, enough)
        shorter = replace(effort, n_hops=min(effort.n_hops, _SAMPLED_HOPS))
        found, fresh = self._search(few, starts, counts, shorter, rng)
        n_steps = effort.n_steps // 2
        if self.is_wide and effort.n_batches:
            V = self._leaders(found, _WIDE_LEADERS)
            # Prices of a sample are too high where that is small: those of all rows
            # are kept, whatever they are beside them.
            found = found.first(_KEPT - V.shape[1])
            ascended = self._ascended(prices, V, n_steps, _LEADER_STEP)
            return found.joined(*ascended), fresh
        V = np.hstack([starts, self._leaders(found, _SAMPLED_LEADERS)])
        found = Candidates.sorted(*self._ascended(prices, V, n_steps, _LEADER_STEP))
        if effort.certifies and not enough(found):
            hops = self._hops(found, rng)
            found = found.joined(*self._ascended(prices, hops, n_steps, _HOP_STEP))
        return found, fresh

    def _best(self, found):
        """Return coordinates of the best of what was found, and of distinct ones.

        After hops the best are copies of few: of 400 in a hard search 20 were distinct.
        """
        best = found.first(_KEPT)
        if len(found.prices) <= _KEPT:
            return best.directions
        others = self._distinct(found, self.n_handed, DISTINCT)
        others = others.directions[:, others.prices < best.prices[-1]]
        return np.hstack([best.directions, others])

    def _ends(self, fresh):
        """Return Candidates along the axes as directions."""
        if fresh is None:
            return None
        directions = self.geometry.directions(fresh.directions)
        return replace(fresh, directions=directions)

    def _suggested(self, N):
        """Return the directions, either way, that linear units would have.

        Where all rows are on one side of many units, as images are, the best unit may
        be linear: of three searches of 80 random starts two found .7 of its price.
        """
        U, sizes, _ = np.linalg.svd(self.rows.sums(N), full_matrices=False)
        U = U[:, sizes > 0.0]
        U = self._within(np.hstack([U, -U]))
        return self.norm.unit(U[:, U.any(axis=0)])

    def _ascended(self, prices, V, n_steps, first):
        """Ascend prices from coordinates along the axes."""
        return ascend(prices, V, n_steps, first, self._squares, self.norm)

    def _polished(self, prices, known, found, effort, rng):
        """Polish the best of what was found and of copies of the known directions."""
        if known.shape[1]:
            near = known[:, rng.integers(known.shape[1], size=effort.n_polished)]
            near = self.geometry.coordinates(near)
            starts = self._near(near, _CLOSEST, 1.0, rng)
            along = self.rows.along(self.geometry.axes, np.float64)
            along = Prices(along, prices.N, self.sided)
            V, _ = self._ascended(along, starts, effort.n_steps, _HOP_STEP)
            U = self.norm.unit(self._within(self.geometry.directions(V)))
            found = found.joined(U, prices.totals(U))
        if not self.norm.is_euclidean:
            return found
        leaders = [
            found.distinct(effort.n_polished, cosine, self.signature)
            for cosine in _POLISH_COSINES
        ]
        U = np.hstack([best.directions for best in leaders])
        A = np.vstack([best.outputs for best in leaders])
        U = polish(prices.rows, prices.N, U, A, effort.n_polishing, self.monotone)
        return found.joined(U, prices.totals(U))

    def _search(self, prices, known, counts, effort, rng, enough=_never):
        """Search at given prices: from known and new starts, then from the leaders.

        What a search misses lies near the current neurons and the best finds, or far
        from all of them. So there are two pools, with hops in turn: what random starts
        led to, whose leaders would else be the neurons, since an ascent alone rarely
        gets as high; and the known directions and what starts near them led to. Of many
        inputs known directions are left out, and there is one pool: what random starts
        lead to is not among its leaders once many neurons are known.
        ``counts`` are of starts near the known ones, and of random ones. ``enough``
        tells of Candidates, whose prices are rough, whether to end early. Returns what
        was found, and where random starts ended, before hops.
        """
        (n_near, n_fresh), pools, fresh = counts, [], None
        if known.shape[1]:
            pools.append(self._found_near(prices, known, n_near, effort, rng))
        if n_fresh or not pools:
            starts = self._random(max(n_fresh, BATCH), rng)
            fresh = self._found(prices, starts, effort.n_steps, _FRESH_STEP)
            pools.append(fresh)
        if self.is_wide:
            pools = [_joined(pools)]
        for k in range(effort.n_hops):
            if any(enough(pool) for pool in pools):
                break
            pool = pools[-1 - k % len(pools)]
            hops = self._hops(pool, rng)
            hopped = self._ascended(prices, hops, effort.n_steps, _HOP_STEP)
            pools[-1 - k % len(pools)] = pool.joined(*hopped)
        return _joined(pools), fresh

    def _found_near(self, prices, known, count, effort, rng):
        """Return Candidates that starts near known directions lead to.

        Of few inputs the known directions are ascended too; where these are more than
        the ``count``, others start as close to some of them as hops do, ``_CLOSE`` for
        each that they are more and at most one to each.
        """
        n_steps = effort.n_steps
        if not count:
            return self._found(prices, known, n_steps, _KNOWN_STEP)
        near = known[:, rng.integers(known.shape[1], size=count)]
        starts = self._near(near, 0.1, 1.0, rng)
        if self.is_wide:
            return self._found(prices, starts, n_steps, _FRESH_STEP)
        n_known = known.shape[1]
        n_close = min(_CLOSE * max(n_known - count, 0), n_known)
        others = known[:, rng.permutation(n_known)[:n_close]]
        close = self._near(others, *_HOP_NOISE, rng)
        steps = [_KNOWN_STEP, _FRESH_STEP, _HOP_STEP]
        steps = np.repeat(steps, [n_known, count, close.shape[1]])
        return self._found(prices, np.hstack([known, starts, close]), n_steps, steps)

    def _found(self, prices, starts, n_steps, first):
        """Return Candidates that ascents from ``starts`` lead to."""
        return Candidates.sorted(*self._ascended(prices, starts, n_steps, first))

    def _leaders(self, found, count):
        """Return the best coordinates that act differently on the data."""
        return self._distinct(found, count, _HOP_COSINE).directions

    def _distinct(self, found, count, cosine):
        """Return the best, along the axes, that are so far apart in what they do."""
        roots = np.sqrt(self._squares)
        return found.distinct(count, cosine, lambda V: roots * V)

    def _hops(self, found, rng):
        """Return perturbed copies of the leaders."""
        leaders = self._leaders(found, _HOP_LEADERS)
        copies = max(BATCH // max(leaders.shape[1], 1), 1)
        return self._near(np.repeat(leaders, copies, axis=1), *_HOP_NOISE, rng)


def _joined(pools):
    """Return the Candidates of several pools."""
    first, *rest = pools
    for pool in rest:
        first = first.joined(pool.directions, pool.totals)
    return first


def _drawn_sides(count, rng):
    return rng.choice([-1.0, 1.0], count)


def exact_pricing_of_neurons(rows, n_outputs, norm, monotone):
    """Return the exact pricing of neurons on rows, or None where it is too much."""
    if norm == ONE_NORM:
        return RayPricing(rows.array(), monotone) if has_few_rays(rows) else None
    if not norm.is_euclidean:
        return None
    if has_few_arcs(rows, n_outputs, monotone):
        return ArcPricing(rows.array(), monotone)
    # Of a cone the maximum may be where weights vanish, which no sweep visits; arcs do.
    if monotone is None and serves_rows(rows, n_outputs):
        return ExactPricing(rows.array())
    return None


def search_precision(rows):
    """Return single precision, or double where features vary little for their size."""
    sizes, spreads = rows.sizes, rows.spreads
    varies = spreads > 0.0
    drowned = (spreads < _LEAST_SPREAD * sizes)[varies].any()
    return np.float64 if drowned else np.float32
