"""Pricing: find the neurons that would lower the objective most.

The price of a unit direction ``u`` at the dual point ``N`` is ``||N^T relu(X u)||_2``.
No neuron helps once every price is at most alpha, so the largest price is both what to
add next and what the certificate rests on. Maximising it over all directions is not a
convex problem: this module searches locally from many starts; ``exact.py`` solves it
outright for data of rank three or less.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sklearn_convexrelu.networks import column_norms, row_blocks
from sklearn_convexrelu.patterns.exact import ExactPricing, effective_rank, supports
from sklearn_convexrelu.patterns.geometry import Geometry, positive, steepest, unit
from sklearn_convexrelu.patterns.polish import polish

__all__ = [
    "FAIR",
    "FINE",
    "FIRST",
    "HARD",
    "KNOWN",
    "LIGHT",
    "NEAR",
    "TRACK",
    "WIDE",
    "Candidates",
    "Effort",
    "Pricer",
    "Prices",
]


@dataclass(frozen=True)
class Effort:
    """How hard to search.

    Attributes
    ----------
    n_batches : int
        Batches of new starts, ascended with the known directions.
    n_hops : int
        Rounds after that in which the leaders are perturbed and ascended again.
    n_steps : int
        Number of ascent steps.
    certifies : bool
        Whether a certificate may rest on it; then pricing is exact where affordable.
    n_polished : int
        How many of the best are polished at the end.
    """

    n_batches: int
    n_hops: int
    n_steps: int
    certifies: bool = False
    n_polished: int = 0

    def doubled(self):
        """Return twice the effort, for rows so unlike that prices hide."""
        return replace(self, n_batches=2 * self.n_batches, n_hops=2 * self.n_hops)


# Measured by what searches lack of the largest price known, in thousandths, on 32 dual
# points of 16 kinds of tables (Gaussian, far rows, raw units, offsets, heavy tails,
# integers, one-hot, pixels): FAIR 8, with a batch and two steps more 7; HARD 3; WIDE 2.
KNOWN = Effort(n_batches=0, n_hops=0, n_steps=6)
NEAR = Effort(n_batches=1, n_hops=1, n_steps=6)
LIGHT = Effort(n_batches=1, n_hops=1, n_steps=12)
TRACK = Effort(n_batches=2, n_hops=1, n_steps=12, certifies=True)
FIRST = Effort(n_batches=1, n_hops=1, n_steps=14, certifies=True)
FAIR = Effort(n_batches=4, n_hops=2, n_steps=12, certifies=True)
HARD = Effort(n_batches=6, n_hops=5, n_steps=18, certifies=True)
# For runs of many rounds and tolerances below 5e-4.
WIDE = Effort(n_batches=12, n_hops=8, n_steps=20, certifies=True)
FINE = Effort(n_batches=6, n_hops=4, n_steps=20, certifies=True, n_polished=200)
_BATCH = 80  # directions of a batch
_COMPARED = 96  # directions compared with all others at a time
# A hop takes the leaders, distinct up to a cosine, and perturbs copies of each. Where
# prices hide, many sharp local maxima stand close together.
_HOP_LEADERS, _HOP_COSINE = 20, 0.9
_POLISH_COSINE = 0.99999  # of those that are polished: kinks differ where these agree
_CLOSEST = 0.01  # least noise of those copies
# Lengths of an ascent's first step, for what it starts from: known directions are near
# a maximum, leaders near one on a sample of the rows. On the same points searches of
# HARD's size lacked 2.5 with these and 3.3 with twice as much, 3.0 with 0.6 times.
_KNOWN_STEP, _LEADER_STEP, _HOP_STEP, _FRESH_STEP, _LONGEST = 0.03, 0.06, 0.2, 0.7, 1.0
# Factors of the next step's length; 0.5 or 0.7 to shorten by lacked a tenth and a fifth
# more.
_LONGER, _SHORTER = 1.2, 0.6
# Times what a step changes in values: first width of an activation. 0.4 lacked a fifth
# more than 0.8 or 1.6.
_BLUR = 1.2
_MOMENTUM = 0.5  # part of the old way that the next step keeps; 0.85 lacked half more
_KEPT = 400  # of the best that a search finds: enough to choose distinct ones from
_LEAST_SPREAD = 1e-2  # of a feature, for its size, that single precision resolves
_MOST_WEIGHTED = 4_000_000  # entries of X up to which a weighted copy is kept
_SAMPLED_ROWS = 2048  # enough to tell which directions are worth passes over all rows
_SAMPLED_HOPS, _SAMPLED_LEADERS = 2, 40


@dataclass(frozen=True)
class Candidates:
    """Priced directions, most expensive first.

    Attributes
    ----------
    directions : ndarray of shape (n_inputs, n_candidates)
        Unit columns u.
    outputs : ndarray of shape (n_candidates, n_outputs)
        Unit rows: the output weights that lower the loss fastest.
    prices : ndarray of shape (n_candidates,)
        ``||N^T relu(X u)||_2``, decreasing.
    """

    directions: np.ndarray
    outputs: np.ndarray
    prices: np.ndarray

    @classmethod
    def sorted(cls, directions, totals):
        """Return candidates from directions and their ``N^T relu(X u)``, (K, C)."""
        prices = np.linalg.norm(totals, axis=1)
        order = np.argsort(-prices, kind="stable")
        outputs = -totals[order] / positive(prices[order])[:, None]
        return cls(directions[:, order], outputs, prices[order])

    def joined(self, directions, totals):
        """Return these candidates and others, from directions and their totals."""
        return Candidates.sorted(
            np.hstack([self.directions, directions]), np.vstack([self.totals, totals])
        )

    @property
    def totals(self):
        """What they were made from, ``N^T relu(X u)``."""
        return -self.outputs * self.prices[:, None]

    @property
    def best(self):
        """Largest price, zero when there is no candidate."""
        return float(self.prices.max(initial=0.0))

    def distinct(self, count, cosine, signature, above=-np.inf):
        """Keep the best ``count`` that differ, with prices over ``above``.

        Two candidates are the same when what a pricer's ``signature`` makes of their
        directions has a cosine above ``cosine`` and their outputs point to the same
        side.
        """
        n_above = int(np.count_nonzero(self.prices > above))
        U, A = self.directions[:, :n_above], self.outputs[:n_above]
        V, left, kept = unit(signature(U)), np.arange(n_above), []
        while len(left) and len(kept) < count:
            head = left[:_COMPARED]
            same = (V[:, head].T @ V[:, left] >= cosine) & (A[head] @ A[left].T >= 0.5)
            free = np.ones(len(left), dtype=bool)
            for k in range(len(head)):
                if free[k] and len(kept) < count:
                    kept.append(head[k])
                    free &= ~same[k]
            free[: len(head)] = False
            left = left[free]
        return Candidates(U[:, kept], A[kept], self.prices[kept])


class Prices:
    """Prices and their gradients at one dual point ``N``, by blocks of rows.

    The products with all rows are done in the precision of ``X`` and ``N``.
    """

    def __init__(self, X, N):
        self.X, self.N = X, N
        # One output: the price is linear in the pattern, so one product gives both the
        # price and its gradient, and the activations themselves are never needed.
        self._is_linear = N.shape[1] == 1
        self._weighted = None
        if self._is_linear and X.size <= _MOST_WEIGHTED:
            self._weighted = X * N

    @cached_property
    def _half_sum(self):
        """Half of the pattern sum with all units on; only blurred sums need it."""
        return 0.5 * (self.X.T @ self.N)

    def totals(self, U):
        """Return ``N^T relu(X u)`` for every column of ``U``, (n_directions, C)."""
        return self.totals_and_gradients(U, None)[0]

    def totals_and_ascents(self, U, outputs=None, widths=None):
        """Return totals and the gradients of the prices themselves, (n_inputs, K).

        With several outputs a gradient needs those of its price, which only a first
        pass over the rows can tell; ``outputs`` (K, C), unit rows from directions close
        by, save that pass. With ``widths`` (K,) an activation rises linearly from zero
        to one while ``x u`` goes from ``-width / 2`` to ``width / 2``: the gradient is
        a mean over directions close by. With one output totals are then rough.
        """
        if self._is_linear:
            G = self._pattern_sums(U, widths)
            totals = np.einsum("ij,ij->j", G, U)
            return totals[:, None], G * np.sign(totals)
        if outputs is None:
            outputs = unit(self.totals(U).T).T
        return self.totals_and_gradients(U, outputs, widths)

    def totals_and_gradients(self, U, A, widths=None):
        """Return totals and the gradients of ``a^T N^T relu(X u)``, (n_inputs, K).

        ``A`` (K, C) holds the unit vectors a; None skips the gradients. ``widths`` are
        as in ``totals_and_ascents``.
        """
        if self._is_linear:
            G = self._pattern_sums(U, widths)
            totals = np.einsum("ij,ij->j", G, U)[:, None]
            return totals, None if A is None else G * A[:, 0]
        dtype = self.X.dtype
        totals = np.zeros((U.shape[1], self.N.shape[1]), dtype)
        G = None if A is None else np.zeros(U.shape, dtype)
        U = U.astype(dtype, copy=False)
        A = None if A is None else A.T.astype(dtype)
        for rows in row_blocks(len(self.X), U.shape[1]):
            H = self.X[rows] @ U
            if A is not None:
                E = self.N[rows] @ A
                if widths is None:
                    E *= H > 0.0
                else:
                    E *= np.clip(H / widths + 0.5, 0.0, 1.0)
                G += self.X[rows].T @ E
            totals += np.maximum(H, 0.0, out=H).T @ self.N[rows]
        return totals, G

    def _pattern_sums(self, U, widths=None):
        """Return ``sum_i 1[x_i u > 0] N_i x_i`` for every column u, maybe blurred."""
        U = U.astype(self.X.dtype, copy=False)
        G = np.zeros(U.shape, U.dtype)
        if widths is not None:
            # Activations are clipped to +-1/2; the other half is that of all rows.
            U = U / widths
            G += self._half_sum
        for rows in row_blocks(len(self.X), U.shape[1]):
            H = self.X[rows] @ U
            if widths is None:
                np.greater(H, 0.0, out=H)
            else:
                np.clip(H, -0.5, 0.5, out=H)
            if self._weighted is None:
                G += (self.X[rows] * self.N[rows]).T @ H
            else:
                G += self._weighted[rows].T @ H
        return G


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

    def __init__(self, X, n_outputs, *, exact=True):
        self.X, self.precision = X, search_precision(X)
        self.geometry = Geometry.of(X)
        self._rough_X = (X @ self.geometry.axes).astype(self.precision, copy=False)
        self._squares = self.geometry.squares[:, None].astype(self.precision)
        exact = exact and supports(effective_rank(X), len(X), n_outputs)
        self._exact = ExactPricing(X) if exact else None

    def signature(self, directions):
        """Return vectors that are close where directions act alike on the data."""
        return self.geometry.signature(directions)

    def random_units(self, count, rng):
        """Return random unit columns that rows lie on both sides of."""
        return self.geometry.axes @ self.geometry.random_units(count, rng)

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
        candidates = Candidates.sorted(U, Prices(self.X, N).totals(U))
        return candidates, candidates.best + self._exact.slack(N)

    @np.errstate(over="ignore", invalid="ignore")  # flags of lanes not used, in BLAS
    def search(self, N, known, effort, rng, enough=_never):
        """Search by local ascent from many starts; return Candidates.

        The search is along the axes of the geometry and in single precision where that
        will do; what it finds is priced in double. For a certificate so are the known
        directions, since a network's own neurons bound the price from below. Many rows
        are searched on a sample of them first, with few hops, and only the leaders
        found there and the known directions are ascended on all, in half as many steps;
        a certificate wants one hop from those too.
        """
        if effort.certifies and self.geometry.unlike:
            effort = effort.doubled()
        X, scale = self._rough_X, max(np.abs(N).max(initial=0.0), 1e-300)
        axes, rough_N = self.geometry.axes, (N / scale).astype(X.dtype)
        exact, starts = Prices(self.X, N), axes.T @ known

        def found_enough(found):
            best = axes @ found.directions[:, :1].astype(np.float64)
            return enough(np.linalg.norm(exact.totals(best)))

        if len(X) <= 2 * _SAMPLED_ROWS:
            found = self._search(Prices(X, rough_N), starts, effort, rng, found_enough)
        else:
            rows = np.sort(rng.choice(len(X), _SAMPLED_ROWS, replace=False))
            sampled = replace(effort, n_hops=min(effort.n_hops, _SAMPLED_HOPS))
            found = self._search(Prices(X[rows], rough_N[rows]), starts, sampled, rng)
            leaders = self._leaders(found, _SAMPLED_LEADERS)
            V, prices = np.hstack([starts, leaders]), Prices(X, rough_N)
            n_steps = effort.n_steps // 2
            found = Candidates.sorted(*self._ascended(prices, V, n_steps, _LEADER_STEP))
            if effort.certifies and not found_enough(found):
                hops = self._hops(found, rng)
                found = found.joined(*self._ascended(prices, hops, n_steps, _HOP_STEP))
        U = unit(axes @ found.directions[:, :_KEPT].astype(np.float64))
        found = Candidates.sorted(U, exact.totals(U))
        if effort.certifies:
            found = found.joined(known, exact.totals(known))
        if not effort.n_polished or enough(found.best):
            return found
        return self._polished(exact, known, found, effort, rng)

    def _ascended(self, prices, V, n_steps, first):
        """Ascend prices from coordinates along the axes."""
        return ascend(prices, V, n_steps, first, self._squares)

    def _polished(self, prices, known, found, effort, rng):
        """Polish the best of what was found and of copies of the known directions."""
        if known.shape[1]:
            axes = self.geometry.axes
            near = known[:, rng.integers(known.shape[1], size=effort.n_polished)]
            starts = self.geometry.near(axes.T @ near, _CLOSEST, 1.0, rng)
            rows = Prices(self.X @ axes, prices.N)
            V, _ = self._ascended(rows, starts, effort.n_steps, _HOP_STEP)
            U = unit(axes @ V)
            found = found.joined(U, prices.totals(U))
        best = found.distinct(effort.n_polished, _POLISH_COSINE, self.signature)
        U = polish(prices.X, prices.N, best.directions, best.outputs)
        return found.joined(U, prices.totals(U))

    def _search(self, prices, known, effort, rng, enough=_never):
        """Search at given prices: from known and new starts, then from the leaders.

        What a search misses lies near the current neurons and the best finds, or far
        from all of them. So there are two pools, with hops in turn: what random starts
        led to, whose leaders would else be the neurons, since an ascent alone rarely
        gets as high; and the known directions and what starts near them led to.
        ``enough`` tells of Candidates, whose prices are rough, whether to end early.
        """
        count = effort.n_batches * _BATCH
        n_near = count // 2 if known.shape[1] else 0
        pools = []
        if known.shape[1]:
            near = known[:, rng.integers(known.shape[1], size=n_near)]
            near = self.geometry.near(near, 0.1, 1.0, rng)
            steps = np.full(known.shape[1] + n_near, _FRESH_STEP)
            steps[: known.shape[1]] = _KNOWN_STEP
            starts = np.hstack([known, near])
            pools.append(self._found(prices, starts, effort, steps))
        if count > n_near or not pools:
            starts = self.geometry.random_units(max(count - n_near, _BATCH), rng)
            pools.append(self._found(prices, starts, effort, _FRESH_STEP))
        for k in range(effort.n_hops):
            if any(enough(pool) for pool in pools):
                break
            pool = pools[-1 - k % len(pools)]
            hops = self._hops(pool, rng)
            hopped = self._ascended(prices, hops, effort.n_steps, _HOP_STEP)
            pools[-1 - k % len(pools)] = pool.joined(*hopped)
        first, *rest = pools
        for pool in rest:
            first = first.joined(pool.directions, pool.totals)
        return first

    def _found(self, prices, starts, effort, steps):
        """Return Candidates that ascents from ``starts`` lead to."""
        ascended = self._ascended(prices, starts, effort.n_steps, steps)
        return Candidates.sorted(*ascended)

    def _leaders(self, found, count):
        """Return the best coordinates that act differently on the data."""
        roots = np.sqrt(self._squares)
        return found.distinct(count, _HOP_COSINE, lambda V: roots * V).directions

    def _hops(self, found, rng):
        """Return perturbed copies of the leaders."""
        leaders = self._leaders(found, _HOP_LEADERS)
        copies = max(_BATCH // max(leaders.shape[1], 1), 1)
        return self.geometry.near(np.repeat(leaders, copies, axis=1), 0.1, 0.5, rng)


def ascend(prices, U, n_steps, first, squares):
    """Ascend the price from every column of ``U`` on the unit sphere.

    The price has kinks, where gradients zigzag and line searches stall: steps go along
    a running mean of the gradients and are taken whether the price rises or not. Their
    length, ``first`` to begin with (a number, or one for each column), grows where it
    does and shrinks where it does not; it is measured as ``steepest`` does, with the
    ``squares`` of the axes, (n_inputs, 1). A step cannot resolve kinks closer by than
    its length, so gradients are means over a part of it, which falls from ``_BLUR`` to
    nothing: the ascent ends on the price itself.

    Returns the best directions of the last steps, or the start where that is better,
    and what their ``N^T relu(X u)`` are, roughly, in the precision of the prices.
    """
    V = start = U.astype(prices.X.dtype)
    totals, G = prices.totals_and_ascents(V)
    start_totals = totals
    values = start_values = new_values = column_norms(totals.T)
    steps, ways = np.full(V.shape[1], first, V.dtype), np.zeros_like(V)
    parts = np.linspace(_BLUR, 0.0, n_steps + 1)
    last = n_steps - max(n_steps // 4, 1)  # values of more blur do not compare
    for k, part in enumerate(parts[:-1].astype(V.dtype)):
        ways, changes = steepest(squares, V, G, ways, _MOMENTUM)
        V = unit(V + steps * ways)
        outputs = totals / positive(new_values)[:, None]
        widths = positive(part * steps * changes)
        totals, G = prices.totals_and_ascents(V, outputs, widths)
        new_values = column_norms(totals.T)
        better = new_values > values
        steps = np.minimum(np.where(better, _LONGER, _SHORTER) * steps, _LONGEST)
        steps = steps.astype(V.dtype, copy=False)
        if k == last:
            best, best_totals, values = V, totals, new_values
        elif k > last:
            best = np.where(better, V, best)
            best_totals = np.where(better[:, None], totals, best_totals)
        values = np.maximum(values, new_values)
    better = values > start_values
    best_totals = np.where(better[:, None], best_totals, start_totals)
    return np.where(better, best, start), best_totals


def search_precision(X):
    """Return single precision, or double where features vary little for their size."""
    sizes, spreads = np.abs(X).max(axis=0), X.max(axis=0) - X.min(axis=0)
    varies = spreads > 0.0
    drowned = (spreads < _LEAST_SPREAD * sizes)[varies].any()
    return np.float64 if drowned else np.float32
