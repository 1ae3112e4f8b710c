"""Pricing of sub-networks: local search from starts that are worth one.

Two leaves on data of rank two are priced exactly, see ``pairs.py``.

As for single neurons, the price of a sub-network of cost one at the dual point N is
``||N^T phi(X)||_2``. It has many more local maxima, and good sub-networks share leaves.
So starts are drawn in numbers and scored in one product, and only the best ascended:
Gaussian ones, perturbed copies of those known, copies with a leaf exchanged for that of
another, gradients at random patterns, and the neurons of the two-layer search.
"""

from copy import copy
from dataclasses import dataclass, replace

import numpy as np

from sklearn_convexrelu.data.rows import Rows, largest, scaled
from sklearn_convexrelu.model.norms import ONE_NORM
from sklearn_convexrelu.patterns.geometry import positive, steepest, unit
from sklearn_convexrelu.pricing.kernels import (
    BATCH,
    DISTINCT,
    Candidates,
    Prices,
    settled_sides,
)
from sklearn_convexrelu.pricing.l1 import OneNormPricer
from sklearn_convexrelu.pricing.pairs import PairPricing, serves_pairs
from sklearn_convexrelu.pricing.search import (
    BRIEF,
    FAIR,
    FINE,
    FIRST,
    HARD,
    KNOWN,
    LIGHT,
    TRACK,
    WIDE,
    Pricer,
    exact_pricing_of_neurons,
)
from sklearn_convexrelu.pricing.tree_polish import is_affordable, polished

__all__ = ["TreePricer", "exact_pricing_of", "pricer_of", "totals_of"]

_TINY = 1e-30
# Half and double were tried on four fits (both penalties, three and four layers, 60 and
# 200 rows, three seeds): objectives stayed within .03 tolerances of the best of all,
# and the time, of which a tenth is noise, is what is said.
_CUT = 8  # steps after which the worse half of an ascent is given up: 0.9, 1.0
_MOMENTUM = 0.8  # 0.6 and 0.9: 0.9, 0.9
_SWAPPED = 0.6  # of the hops exchange a leaf, the others are noise: 0.95, 1.0
_HOP_LEADERS = 10, 40  # 1.0, 1.0
_MOST_EXACT = 40  # sub-networks that an exact pass adds
# Rounds, and what leaders are told apart by. At 96 dual points whose largest price is
# known hard searches lacked more than 1e-3 of it 16 times, with this once.
_POLISHES, _POLISH_COSINE = 3, 0.999
_MOST_COMPARED = 600  # candidates that are looked at for distinct ones: 0.9, 1.0
# Copies of each priced neuron with a leaf that shifts it. Without them five seeds of a
# small table with a constant column 10, 100 or 1e6 long had objectives of .648 in the
# mean (weight decay), with them .645, .642 and .642.
_SHIFTS = 3
_SHARES = {"gaussian": 0.3, "near": 1.0, "swapped": 1.0, "masked": 0.3}


@dataclass(frozen=True)
class _TreeEffort:
    """How many starts are scored and ascended a batch, batches, hops, and steps."""

    n_scored: int = 1500
    n_ascended: int = 60
    n_batches: int = 1
    n_hops: int = 3
    n_steps: int = 30
    n_raw: int = 0  # ascended unscored: narrow maxima at kinks score badly
    n_scored_a_hop: int = 20  # for each that is ascended
    n_polished: int = 0  # in each of the rounds at the end, where that is affordable


# The same fits took 0.8 and 1.36 times as long with half and double the hops, 0.9 and
# 1.2 with the unscored starts or the ascended ones, 0.9 and 1.06 with the steps, 1.0
# with the scored starts. What they miss shows at smaller tolerances than that.
_EFFORTS = {
    KNOWN: _TreeEffort(0, 0, 0, 0, 15),
    BRIEF: _TreeEffort(),
    LIGHT: _TreeEffort(),
    TRACK: _TreeEffort(),
    FIRST: _TreeEffort(3000, 100, 1, 4, 60, 300, n_polished=20),
    FAIR: _TreeEffort(3000, 100, 1, 6, 60, 300, n_polished=20),
    HARD: _TreeEffort(3000, 100, 2, 12, 60, 1000, n_polished=20),
    WIDE: _TreeEffort(3000, 100, 2, 12, 60, 1000, n_polished=20),  # as hard
    FINE: _TreeEffort(3000, 100, 4, 24, 60, 3000, n_polished=40),
}


def pricer_of(problem, *, exact=True):
    """Return the pricer for the networks of a problem; exact where affordable."""
    if not problem.shape.is_tree:
        norm, monotone = problem.shape.norm, problem.shape.monotone
        kind = OneNormPricer if norm == ONE_NORM else Pricer
        options = {"exact": exact, "norm": norm, "monotone": monotone}
        return kind(problem.rows, problem.n_outputs, **options)
    pricing = exact_pricing_of(problem) if exact else None
    return TreePricer(problem.rows, problem.n_outputs, problem.shape, pricing)


def exact_pricing_of(problem):
    """Return the exact pricing of a problem, or None where there is none to afford."""
    shape, rows = problem.shape, problem.rows
    if not shape.is_tree:
        own = rows, problem.n_outputs, shape.norm, shape.monotone
        return exact_pricing_of_neurons(*own)
    return PairPricing(rows.array(), shape) if serves_pairs(problem) else None


def totals_of(problem, N, directions):
    """Return ``N^T phi(X)`` of directions, (n_directions, n_outputs)."""
    if not problem.shape.is_tree:
        return Prices(problem.rows, N, problem.shape.monotone).totals(directions)
    prices = _TreePrices(problem.rows, N, problem.shape)
    return prices.totals(*problem.shape.unpacked(directions))


class TreePricer:
    """Prices sub-networks on one data set at one dual point after another.

    Its directions are those of ``TreeNetwork``: coordinates, then signs.
    """

    n_handed = BATCH  # as of a ``Pricer`` of several outputs

    def __init__(self, X, n_outputs, shape, exact=None):
        self.rows, self.shape, self._exact = Rows.of(X), shape, exact
        kind = OneNormPricer if shape.norm == ONE_NORM else Pricer
        self.neurons = kind(
            self.rows, n_outputs, exact=False, norm=shape.norm, monotone=shape.monotone
        )
        self.precision = self.neurons.precision
        self.geometry = self.neurons.geometry
        #: The same with signs of weights as searches keep them, along the axes.
        self.along = replace(shape, monotone=self.neurons.sided)
        self.squares = self.geometry.squares.astype(self.precision)
        self.few, self.factors = self._alike()

    @property
    def rough(self):
        """The rows along the axes of the geometry, as searches of neurons go by."""
        return self.neurons.rough

    def rest(self):
        """Give up the memory of the rows along the axes until the next search."""
        self.neurons.rest()

    def until(self, deadline):
        """Return the same pricer, whose passes over the rows end at a Deadline."""
        pricer = copy(self)
        pricer.neurons = self.neurons.until(deadline)
        pricer.few = self.few.until(deadline)
        pricer.rows = pricer.neurons.rows
        return pricer

    def searching(self):
        """Return the same pricer, which never proves a price."""
        pricer = copy(self)
        pricer._exact = None
        return pricer

    def _alike(self):
        """Return a sample of the rows, and factors that make them of alike length."""
        few = self.rough.few()
        few = replace(few, table=few.table.copy())  # not a view, which would keep all
        if self.geometry.axes is None:
            lengths = few.squared_lengths(self.geometry.squares)
        else:
            values = few.values(np.eye(few.n_inputs, dtype=self.precision))
            lengths = np.sum(values**2 / self.squares, axis=1)
        return few, 1.0 / positive(np.sqrt(lengths))[:, None]

    @np.errstate(over="ignore", invalid="ignore")  # as ``Pricer.search``
    def signature(self, directions):
        """Return vectors that are close where sub-networks act alike, (n, K)."""
        return self._values(*self._along_axes(directions))

    def _along_axes(self, directions):
        """Return coordinates along the axes, and signs, as searches take them."""
        W, signs = self.shape.unpacked(directions)
        if self.geometry.axes is not None:
            W = W @ self.geometry.axes
        return W.astype(self.precision), signs.astype(self.precision)

    def _values(self, W, signs):
        """Return values at the rows, scaled to lengths that are alike, (n, K)."""
        values = self.shape.values(self.shape.leaves(W), signs, self.few)
        return values.astype(np.float64) * self.factors

    def price(self, N, known, rng, effort, enough=None):
        """Return Candidates, and what no price exceeds (None: a search cannot tell).

        The parameters are those of ``Pricer.price``.
        """
        if self._exact is None or not effort.certifies:
            return self.search(N, known, rng, effort, enough), None
        searched = self.search(N, known, rng, LIGHT)
        if enough is not None and enough(searched.best):
            return searched, None
        exact = self._exact.price(N, _MOST_EXACT, searched.best)
        candidates = searched.joined(exact.directions.T, exact.values)
        return candidates, candidates.best + self._exact.slack(N)

    @np.errstate(over="ignore", invalid="ignore")  # as ``Pricer.search``
    def search(self, N, known, rng, effort, enough=None):
        """Search by local ascent from starts that are worth one; return Candidates."""
        effort, scale = _EFFORTS[effort], max(largest(N), 1e-300)
        rough_N = scaled(N, scale, self.precision)
        prices = _TreePrices(self.rough, rough_N, self.along, self.squares)
        W, signs = self._along_axes(known)
        if effort.n_batches:
            W, signs = self._with_neurons(W, signs, N, rng)
        found, ends = _Found.ascended(prices, W, signs, effort), None
        if effort.n_raw:
            raw = self._gaussian(effort.n_raw, rng)
            ended = _Found.ascended(prices, *raw, effort)
            found, ends = found.joined(ended), self._ends(ended.first_half())
        for i in range(effort.n_batches + effort.n_hops):
            if enough is not None and enough(found.best * scale):
                break
            if i < effort.n_batches:
                starts = self._starts(prices, W, signs, effort, rng)
            else:
                n_leaders = _HOP_LEADERS[i % len(_HOP_LEADERS)]
                starts = self._hops(prices, found, n_leaders, effort, rng)
            found = found.joined(_Found.ascended(prices, *starts, effort))
        W, signs = found.W.astype(np.float64), found.signs.astype(np.float64)
        if self.geometry.axes is not None:
            W = W @ self.geometry.axes.T
        if self.shape.monotone is not None:  # but for rounding they are
            W = self.shape.within(W, signs, self.shape.sides(W, signs))
        # Of cost one in double too: single precision leaves prices 1e-7 off.
        W = _of_cost_one(self.shape, W)
        totals = _TreePrices(self.rows, N, self.shape).totals(W, signs)
        candidates = Candidates.sorted(_directions(W, signs), totals)
        if effort.n_polished and (enough is None or not enough(candidates.best)):
            candidates = self._polished(candidates, N, rng, effort.n_polished)
        return candidates.started(ends)

    def _ends(self, found):
        """Return ends of ascents as Candidates."""
        W = found.W if self.geometry.axes is None else found.W @ self.geometry.axes.T
        return Candidates.sorted(_directions(W, found.signs), found.totals)

    def _polished(self, candidates, N, rng, count):
        """Join the best of the cells of the leaders, in rounds."""
        if not is_affordable(self.rows, N.shape[1], self.shape):
            return candidates
        shape, prices = self.shape, _TreePrices(self.rows, N, self.shape)
        for _ in range(_POLISHES):
            leaders = candidates.distinct(count, _POLISH_COSINE, self.signature)
            W, signs = shape.unpacked(leaders.directions)
            V, signs = polished(
                self.rows.array(), N, shape, shape.leaves(W), signs, rng
            )
            W = _of_cost_one(shape, shape.coordinates(V))
            candidates = candidates.joined(
                _directions(W, signs), prices.totals(W, signs)
            )
        return candidates

    def _with_neurons(self, W, signs, N, rng):
        """Add priced neurons, as sub-networks of equal leaves or of one leaf."""
        neurons = self.neurons.search(N, np.zeros((self.rows.n_inputs, 0)), LIGHT, rng)
        U = neurons.distinct(10, DISTINCT, self.neurons.signature).directions
        collapsed = np.zeros((U.shape[1], *W.shape[1:]), self.precision)
        copies = 1 if self.shape.decays else self.shape.n_leaves
        V = self.geometry.coordinates(U).T
        collapsed[:, :copies] = V[:, None] / np.sqrt(copies)
        ones = np.ones((len(collapsed), self.shape.n_signs), self.precision)
        if self.shape.is_bent:
            k = np.repeat(np.arange(len(collapsed)), _SHIFTS)
            shifted, either = self._shifted(collapsed[k], rng), rng.random(len(k)) < 0.5
            shifted_signs = np.where(either[:, None], ones[k], -ones[k])
            shifted = self._sided(shifted, shifted_signs, rng)
            collapsed = np.concatenate([collapsed, _unit(shifted)])
            ones = np.concatenate([ones, shifted_signs])
        return np.concatenate([W, collapsed]), np.concatenate([signs, ones])

    def _shifted(self, W, rng):
        """Return copies whose last leaf, a random one of like size, shifts the first.

        Under weight decay the gradient in a leaf is in proportion to its length: one
        that is zero stays so, and one that is long on a hidden bias next to free, which
        is to shift the others by a little, is never short enough.
        """
        W = W.copy()
        V, squares = self.shape.leaves(W), self.geometry.squares
        noise = unit(rng.standard_normal((len(squares), len(W)))).T
        sizes = np.sqrt(V[:, 0] ** 2 @ squares / (noise**2 @ squares))
        lengths = np.sqrt(sizes * rng.uniform(0.0, 2.0, len(W)))
        W[:, -1] = noise * lengths[:, None]
        return W

    def _starts(self, prices, W, signs, effort, rng):
        """Return the best scored starts of every kind, in fixed shares."""
        total, chosen = sum(_SHARES.values()), []
        for kind, share in _SHARES.items():
            count = int(effort.n_scored * share / total)
            if kind == "gaussian" or not len(W):
                starts = self._gaussian(count, rng)
            elif kind == "near":
                j = rng.integers(len(W), size=count)
                starts = self._near(W[j], signs[j], 0.1, 1.0, rng), signs[j]
            elif kind == "swapped":
                j, i = rng.integers(len(W), size=(2, count))
                starts = self._swapped(W[j], signs[j], W[i], signs[i], rng)
            else:
                starts = self._gaussian(count, rng)
                peaks = self.along.peaks(prices.totals_and_ascents(*starts)[1])
                starts = _unit(self._kept(peaks, *starts, rng)), starts[1]
            n_best = int(np.ceil(effort.n_ascended * share / total))
            chosen.append(_best(prices, *starts, n_best))
        return tuple(np.concatenate(parts) for parts in zip(*chosen, strict=True))

    def _hops(self, prices, found, n_leaders, effort, rng):
        """Perturb leaders, or exchange leaves among them; return the best of many."""
        leaders = found.distinct(n_leaders, self)
        n_scored = effort.n_ascended * effort.n_scored_a_hop
        j = np.repeat(leaders, max(n_scored // max(len(leaders), 1), 1))
        W, signs = found.W[j], found.signs[j]
        swapped = rng.random(len(j)) < _SWAPPED
        i = rng.choice(leaders, np.count_nonzero(swapped))
        W[~swapped] = self._near(W[~swapped], signs[~swapped], 0.1, 0.5, rng)
        W[swapped], signs[swapped] = self._swapped(
            W[swapped], signs[swapped], found.W[i], found.signs[i], rng
        )
        return _best(prices, W, signs, effort.n_ascended)

    def _gaussian(self, count, rng):
        """Return random sub-networks, their leaves of different length."""
        m = self.along.n_leaves
        W = self.geometry.random_units(count * m, rng).T.reshape(count, m, -1)
        W *= rng.uniform(0.0, 1.0, (count, m, 1))
        if self.along.is_bent:
            W[::2] = self._shifted(W[::2], rng)
        signs = rng.choice([-1.0, 1.0], (count, self.along.n_signs))
        W = self._sided(W, signs, rng)
        return _unit(W.astype(self.precision)), signs.astype(self.precision)

    def _near(self, W, signs, smallest, largest, rng):
        """Return copies with noise, log-uniform in size, in the metric of steps."""
        V = self.geometry.near(_columns(W), smallest, largest, rng, W.shape[1])
        near = self._kept(V.T.reshape(W.shape), W, signs, rng)
        return _unit(near.astype(self.precision))

    def _sides(self, W, signs, rng):
        """Return the sides of sub-networks, drawn where they may have either."""
        sides = self.along.sides(W, signs)
        return np.where(sides == 0.0, rng.choice([-1.0, 1.0], len(W)), sides)

    def _kept(self, moved, W, signs, rng):
        """Return what coordinates W moved to, on the sides of these."""
        if self.along.monotone is None:
            return moved
        return self.along.within(moved, signs, self._sides(W, signs, rng))

    def _sided(self, W, signs, rng):
        """Return random coordinates turned over where they are of another side."""
        if self.along.monotone is None:
            return W
        sides = self._sides(W, signs, rng)
        return self.along.turned(W, signs, sides)

    def _swapped(self, W, signs, others, other_signs, rng):
        """Return copies with one leaf of another sub-network, resized."""
        W, signs, k = W.copy(), signs.copy(), np.arange(len(W))
        p, q = rng.integers(self.along.n_leaves, size=(2, len(W)))
        # A leaf that is zero gives nothing: take the other's largest instead.
        lengths = np.einsum("kmd,kmd->km", others, others)
        q = np.where(lengths[k, q] > 0.0, q, lengths.argmax(axis=1))
        size = np.exp(rng.uniform(-1.0, 1.0, len(W))).astype(W.dtype)
        sides = None
        if self.along.monotone is not None:
            sides = self._sides(W, signs, rng), self._sides(others, other_signs, rng)
        W[k, p] = others[k, q] * size[:, None]
        signs[k, p] = other_signs[k, q]
        if sides is not None:  # a leaf keeps its side, whatever the path above it
            own = sides[0] * self.along.path_signs(signs)[k, p]
            other = sides[1] * self.along.path_signs(other_signs)[k, q]
            signs[k, p] *= (own * other).astype(signs.dtype)
        return _unit(W), signs


@dataclass(frozen=True)
class _Found:
    """Ascended sub-networks, most expensive first."""

    W: np.ndarray
    signs: np.ndarray
    totals: np.ndarray

    @classmethod
    def ascended(cls, prices, W, signs, effort):
        W, totals = _ascend(prices, W, signs, effort.n_steps)
        order = np.argsort(-np.linalg.norm(totals, axis=1), kind="stable")
        return cls(W[order], signs[order], totals[order])

    def first_half(self):
        """Return the better half: ascents that were not given up."""
        half = slice(0, -(-len(self.W) // 2))
        return _Found(self.W[half], self.signs[half], self.totals[half])

    @property
    def best(self):
        """Largest price."""
        return float(np.linalg.norm(self.totals[:1], axis=1).max(initial=0.0))

    def joined(self, other):
        """Return these and others, sorted."""
        W, signs, totals = (
            np.concatenate([getattr(self, name), getattr(other, name)])
            for name in ("W", "signs", "totals")
        )
        order = np.argsort(-np.linalg.norm(totals, axis=1), kind="stable")
        return _Found(W[order], signs[order], totals[order])

    def distinct(self, count, pricer):
        """Return indices of the best that differ."""
        few = slice(0, _MOST_COMPARED)
        totals = self.totals[few].astype(np.float64)
        candidates = Candidates.sorted(np.arange(len(totals))[None], totals)
        kept = candidates.distinct(
            count, DISTINCT, lambda k: pricer._values(self.W[k[0]], self.signs[k[0]])
        )
        return kept.directions[0]


class _TreePrices:
    """Prices and their gradients at one dual point, in the precision of X and N."""

    def __init__(self, rows, N, shape, squares=None):
        self.rows, self.N, self.shape = rows, N, shape
        self.dtype = np.result_type(rows.dtype, N.dtype)
        # Those of the axes, for ascents; a sub-network's leaves one after another.
        self.squares = None if squares is None else np.tile(squares, shape.n_leaves)

    def squares_at(self, W):
        """Return the squares of the values of coordinates, as ``steepest`` takes them.

        Under weight decay values are in proportion to a leaf's length too.
        """
        if not self.shape.is_bent:
            return self.squares[:, None]
        lengths = np.einsum("kmd,kmd->km", W, W)
        return self.squares[:, None] * np.repeat(lengths, W.shape[2], axis=1).T

    def totals(self, W, signs):
        """Return ``N^T phi(X)`` of sub-networks, (K, C)."""
        totals = self.totals_and_gradients(W, signs, None)[0]
        if self.shape.monotone is None:
            return totals
        return self.shape.monotone.allowed(self.shape.sides(W, signs), totals)

    def within(self, W, signs, totals, moved):
        """Return where steps from W end, that sub-networks stay on their sides."""
        if self.shape.monotone is None:
            return moved
        sides = settled_sides(self.shape.sides(W, signs), totals)
        return self.shape.within(moved, signs, sides)

    def totals_and_ascents(self, W, signs, outputs=None):
        """Return totals and the gradients of the prices in the coordinates.

        ``outputs`` (K, C) are unit rows of totals close by, which save a pass.
        """
        if self.N.shape[1] == 1:
            ones = np.ones((len(W), 1), self.dtype)
            totals, G = self.totals_and_gradients(W, signs, ones)
            if self.shape.monotone is None:
                return totals, G * np.sign(totals)[:, :, None]
            return self._sided_ascents(W, signs, totals, G)
        if outputs is None:
            outputs = _rows(self.totals(W, signs))
        return self.totals_and_gradients(W, signs, outputs)

    def _sided_ascents(self, W, signs, totals, G):
        """Return totals, zero where sides gain nothing, and gradients in the cone."""
        sides = settled_sides(self.shape.sides(W, signs), totals)
        G = -G * sides[:, None, None].astype(G.dtype)
        G = self.shape.tangent(W, G, signs, sides)
        return self.shape.monotone.allowed(sides, totals), G

    def totals_and_gradients(self, W, signs, outputs):
        """Return totals and the gradients of ``a^T N^T phi(X)`` for rows a."""
        shape, V = self.shape, self.shape.leaves(W)
        prepared = shape.prepared_leaves(self.rows, V, signs)
        if outputs is None:
            return self._summed(_totals, V, prepared)[0], None
        A = outputs.astype(V.dtype, copy=False)
        totals, G = self._summed(_totals_and_gradients, V, prepared, A)
        return totals, shape.pull_back(W, G)

    def _summed(self, kernel, V, prepared, *args):
        if not len(V):
            return np.zeros((0, self.N.shape[1]), V.dtype), np.zeros(V.shape, V.dtype)
        width = self.shape.width(len(V))
        return self.rows.reduce(kernel, width, self.shape, prepared, self.N, *args)


def _totals(block, rows, shape, prepared, N):
    """Kernel: ``N^T phi(X)`` of sub-networks, (K, C)."""
    return (shape.block_values(block, prepared).T @ N[rows],)


def _totals_and_gradients(block, rows, shape, prepared, N, A):
    """Kernel: the same, and the gradients of ``a^T N^T phi(X)`` in the leaves."""
    totals, G, N = [], [], N[rows]
    for k, part in shape.parts(prepared, len(block)):
        Z = shape.up(block, part)
        totals.append(np.maximum(Z[-1][:, 0], 0.0) @ N)
        G.append(shape.down(Z, part[1], A[k] @ N.T, block))
    return np.concatenate(totals), np.concatenate(G)


def _ascend(prices, W, signs, n_steps, settled=1e-4):
    """Ascend prices from unit coordinates; return coordinates and totals.

    Steps that do not rise are taken back and halved, others doubled; the worse half
    ends early, since few of it would come first.
    """
    W, shape = _unit(W), prices.shape
    if not len(W):
        return W, np.zeros((0, prices.N.shape[1]), W.dtype)
    totals, G = prices.totals_and_ascents(W, signs)
    values = _over_costs(totals, W, shape)

    def next_ways(W, G, ways, momentum):
        squares, slopes = prices.squares_at(W), _columns(shape.slopes(W, G))
        new, _ = steepest(squares, _columns(W), slopes, _columns(ways), momentum)
        return new.T.reshape(W.shape)

    ways = next_ways(W, G, np.zeros_like(W), 0.0)
    steps = np.ones(len(W), W.dtype)
    live = np.flatnonzero(values > 0.0)
    for i in range(n_steps):
        if i == _CUT and len(live) > 10:
            live = live[values[live] >= np.median(values)]
        if not len(live):
            break
        moved = W[live] + steps[live, None, None] * ways[live]
        moved = shape.norm.clipped(W[live], moved)
        new = _unit(prices.within(W[live], signs[live], totals[live], moved))
        outputs = _rows(totals[live])
        new_totals, G = prices.totals_and_ascents(new, signs[live], outputs)
        new_values = _over_costs(new_totals, new, shape)
        gain = new_values / values[live] - 1.0
        better = gain > 0.0
        moved = live[better]
        W[moved] = new[better]
        totals[moved], values[moved] = new_totals[better], new_values[better]
        kept = np.where(better, _MOMENTUM, 1.0).astype(W.dtype)
        ways[live] = next_ways(new, G, ways[live], kept)
        steps[live] *= np.where(better, 2.0, 0.5).astype(W.dtype)
        live = live[(steps[live] > 1e-3) & ~(better & (gain < settled))]
    costs = shape.costs(W).astype(W.dtype) ** (1.0 / shape.degree)
    costs = np.maximum(costs, _TINY)
    return W / costs[:, None, None], totals / costs[:, None] ** shape.degree


def _over_costs(totals, W, shape):
    """Return prices of sub-networks of coordinates of length one, over their costs."""
    return np.linalg.norm(totals, axis=1) / np.maximum(shape.costs(W), _TINY)


def _best(prices, W, signs, count):
    """Return the ``count`` sub-networks of the largest prices."""
    values = _over_costs(prices.totals(W, signs), W, prices.shape)
    best = np.argsort(-values, kind="stable")[:count]
    return W[best], signs[best]


def _lengths(W):
    """Return the Frobenius norm of every sub-network's coordinates, (K,)."""
    return np.sqrt(np.einsum("kmd,kmd->k", W, W))


def _unit(W):
    """Return coordinates of length one."""
    return W / np.maximum(_lengths(W), _TINY)[:, None, None].astype(W.dtype)


def _of_cost_one(shape, W):
    """Return sub-networks scaled to a cost of one."""
    costs = np.maximum(shape.costs(W), _TINY) ** (1.0 / shape.degree)
    return W / costs[:, None, None]


def _directions(W, signs):
    """Return sub-networks as columns, see ``TreeNetwork.directions``."""
    return np.vstack([W.reshape(len(W), -1).T, signs.T])


def _columns(W):
    """Return coordinates with one column a sub-network."""
    return W.reshape(len(W), -1).T


def _rows(T):
    """Return rows of length one."""
    return T / np.maximum(np.linalg.norm(T, axis=1, keepdims=True), _TINY)
