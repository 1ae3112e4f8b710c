"""Proven lower bounds on the optimum at any rank, by semidefinite relaxation.

A dual point N with ``max_{||u|| = 1} ||N^T relu(X u)|| <= alpha`` proves that no
network of any width is better than ``-L*(N)`` (Pilanci & Ergen, ICML 2020). Beyond
rank three that maximum, the price, cannot be found, but it can be bounded. Here the
relaxed training problem (``descent``) gives N and the multipliers, the price of N is
bounded from them (``proof``), and the best bound is kept. Where the relaxation is loose
the sphere is split (``regions``): branch and bound, with a proof after every round.
"""

import time
from dataclasses import dataclass, replace

import numpy as np

from sklearn_convexrelu.certificates.certificate import dual_point, price_bound
from sklearn_convexrelu.certificates.relaxation.composition import (
    Leaves,
    Neurons,
    Pairs,
)
from sklearn_convexrelu.certificates.relaxation.descent import (
    MAX_ROUNDS,
    PATIENCE,
    VISIBLE,
    Training,
    finite_constant,
    polished,
)
from sklearn_convexrelu.certificates.relaxation.proof import (
    block_prices,
    proven_value,
    region_prices,
)
from sklearn_convexrelu.certificates.relaxation.regions import (
    TINY,
    Region,
    RowSpace,
    fan,
)
from sklearn_convexrelu.certificates.relaxation.semidefinite import (
    Moments,
    Relaxation,
    State,
    spread_factors,
    unit_factors,
)
from sklearn_convexrelu.certificates.relaxation.untied import Untied

__all__ = ["SemidefiniteBound", "semidefinite_bound"]

# Compared on the three problems of ``descent``.
# Rounds between changes of the ties: with 3, 53, 84 and 55 proofs give 33.722, 24.719
# and 65.120; with 10, 39, 82 and 47 give 33.348, 24.720 and 64.678. More often is a
# little better and slower where ties are many.
_RETIED = 5
# Of the search for better multipliers of blocks without mass. One gives 33.364, 24.718
# and 64.918; six 33.364, 24.720 and 64.846: it is for regions whose mass has left.
_WEAK_ROUNDS = 3
# Rows up to which all pairs are looked at for ties, three matrices of 72 MB; beyond,
# pairs are near neighbours and stay as they are. Half and double are 18 and 288 MB.
_MAX_PAIRED = 3000
# Rank up to which regions are simplicial cones, which shrink to points; above, slices.
# With 3 the second problem, of rank four, gets slices and 24.915: better with twelve
# regions, but only cones lead to the optimum with many.
_MAX_SIMPLEX_RANK = 4
# Of a common mass: blocks above it are trained. Half gives 33.364, 24.716 and 64.846,
# double 33.364, 24.707 and 64.846.
_STRONG = 1e-3
# Entries of X up to which pairs of leaves are bounded together: a round takes a second
# with 5000 of them, and time in proportion to their number.
_MOST_PAIR_ENTRIES = 20_000
# Rows up to which pairs of near ones are tied, if not all are looked at.
_MOST_TIED = 20_000
# Rows of a sample, and for each rank; its part of the time at most, and its rounds: so
# chosen that on 100 000 rows of 20 columns it takes a few seconds of ten. Without it a
# first bound took 60 s there. Only when a bound comes depends on them.
_SAMPLED_ROWS, _SAMPLED_RANKS = 4000, 20
_SAMPLE_SHARE, _SAMPLE_ROUNDS = 0.3, 3
_UNTIED_PATIENCE = 3  # rounds without visible gain before it ends
# Of the time, for the first of two compositions. On diabetes a tenth of its rounds give
# 98% of what all of them do.
_FIRST_SHARE = 0.3
# Of the smoothing of a loss with kinks, in units in which residuals are of order one:
# training takes gradients, what it proves is proved of the loss itself.
_WIDTH = 0.03


@dataclass(frozen=True)
class SemidefiniteBound:
    """A proven lower bound on the optimum of a problem.

    Attributes
    ----------
    lower_bound : float
        No network of any width has a lower objective.
    dual_point : ndarray of shape (n_samples, n_outputs)
        N, its columns summing to zero with an unpenalised intercept.
    price_bound : float
        What ``||N^T phi(X)||_2`` exceeds for no unit phi of cost one, as ``relu(X u)``
        with unit vectors u. The bound is the best dual value of ``s * dual_point`` over
        ``0 <= s <= alpha / price_bound``.
    n_regions : int
        Number of regions of the sphere in the proof.
    history : tuple of (float, int, float)
        Seconds, regions and the best lower bound, after every round.
    """

    lower_bound: float
    dual_point: np.ndarray
    price_bound: float
    n_regions: int
    history: tuple


def semidefinite_bound(
    problem,
    network=None,
    *,
    max_regions=1,
    n_neighbors=10,
    time_limit=np.inf,
    target=None,
    max_iter=60,
):
    """Return a proven lower bound on the optimum of ``problem``, at any rank.

    Parameters
    ----------
    problem : Problem
        What is minimised, with a positive alpha. The loss is one of this package's.
    network : Network, default=None
        Where to start; a good one saves time, and no bound depends on it being so.
    max_regions : int, default=1
        The unit sphere is split into up to so many regions, where the relaxation is
        loose. Up to rank four the bound then tends to the optimum; beyond, a few
        regions help a little.
    n_neighbors : int, default=10
        Rows that a row is tied to: at first its neighbours, later those whose ties are
        broken most. Zero gives a plain, weaker relaxation.
    time_limit : float, default=inf
        Seconds after which the bound found so far is returned.
    target : float, default=None
        A lower bound that is good enough, for instance the objective of a network less
        a tolerance.
    max_iter : int, default=60
        Steps of L-BFGS between two updates of the multipliers.

    Returns
    -------
    SemidefiniteBound
        The best bound found: never worse than what the best constant proves.

    Raises
    ------
    ValueError
        If alpha is not positive.

    Notes
    -----
    Several outputs have moments each; their prices are combined by squares, within
    every region, which is valid but loose with few regions.
    """
    target = np.inf if target is None else target
    # What overflows bounds nothing: such a price is infinite, and never kept.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        best, started = None, time.perf_counter()
        kinds = _compositions(problem)
        for kind in kinds:
            share, most = 1.0, max_regions
            if kind is not kinds[-1]:
                share, most = _FIRST_SHARE, 1
            deadline = started + share * time_limit
            search = _Search(problem, kind(problem), n_neighbors, deadline, target)
            if search.rows.rank > 0 and search.best.lower_bound < target:
                search.run(network, most, max_iter)
            best = _better(best, search.best)
            if best.lower_bound >= target or time.perf_counter() > started + time_limit:
                break
    return best


def _better(first, second):
    """Return the better of two bounds, with the history of both."""
    if first is None:
        return second
    history = list(first.history)
    for seconds, n_regions, value in second.history:
        seconds += first.history[-1][0]
        history.append((seconds, n_regions, max(value, first.lower_bound)))
    best = max(first, second, key=lambda bound: bound.lower_bound)
    return replace(best, history=tuple(history))


def _compositions(problem):
    """Return what units may be taken for, a quick one first."""
    if not problem.shape.is_tree:
        return [Neurons]
    size = len(problem.rows) * problem.rows.n_inputs
    pairs = problem.shape.widths == (2,) and size <= _MOST_PAIR_ENTRIES
    return [Leaves, Pairs] if pairs else [Leaves]


class _Search:
    """The bound's state: regions, moments, intercept, and the best bound so far."""

    def __init__(self, problem, units, n_neighbors, deadline, target):
        if not problem.alpha > 0.0:
            raise ValueError("The bound needs a positive penalty: problem.with_alpha.")
        self.problem, self.target, self.n_ties = problem, target, n_neighbors
        smooth = problem.loss.is_smooth
        self.training_problem = problem if smooth else problem.smoothed(_WIDTH)
        self.units = units
        self.started = time.perf_counter()
        self.deadline = deadline
        self.rows = RowSpace.of(self.units.rows(problem.X), 0)
        # Of rows scaled to order one, and vectors of length one.
        self.alpha = problem.alpha / (self.units.reach * self.rows.scale)
        self.best, self.history = None, ()
        self.regions = [Region.sphere(self.rows)]
        self._prove_constant()

    @property
    def n_regions(self):
        """Number of regions."""
        return len(self.regions)

    def run(self, network, max_regions, max_iter):
        """Bound over the whole sphere, then over more and more regions."""
        W = self.begin(network)
        if self.units.is_row_by_row:
            W, untied = self.untied(W, max_iter)
            if self.is_over or not self._is_few():
                return
        self.rows = self.rows.tied(self.n_ties)
        relaxation = self._relaxed()
        if self.units.is_row_by_row:
            self.state = untied.state(W, self.common, relaxation)
        else:
            self.state = self._begun(W, relaxation)
        # Half as many regions again each time, trained together. Branch and bound would
        # take them one by one, but here one dual point has to serve all regions.
        while self.improve(max_iter) and self.n_regions < max_regions:
            before = self.n_regions
            self.branch(max_regions)
            if self.n_regions == before:
                break

    @property
    def is_over(self):
        """Whether the bound is good enough, or the time is."""
        late = time.perf_counter() > self.deadline
        return late or self.best.lower_bound >= self.target

    def _is_few(self):
        """Tell whether ties between rows, or regions, are worth a try."""
        n, rank = self.rows.Z.shape
        return n <= _MOST_TIED or rank <= _MAX_SIMPLEX_RANK

    def begin(self, network):
        """Return factors of a network's neurons, else of small moments all around.

        What is common to all blocks begins with it too.
        """
        unit = np.sqrt(self.problem.loss_scale() / self.alpha)
        W = 0.1 * unit * spread_factors(self.rows.rank, 1, 2, self.units.n_columns)
        shift = finite_constant(self.problem)
        F = np.zeros_like(self.problem.Y) + shift
        if network is not None:
            F = network.forward(self.problem.rows)
            if network.n_neurons:
                W = 0.1 * W + self._factors(network, W.shape)
                if self.problem.fit_intercept:
                    shift = np.asarray(network.intercept, dtype=float)
        N = dual_point(self.training_problem, F)
        self.common = self.units.common(shift, N)
        return W

    def _begun(self, W, relaxation):
        """Return the State of a relaxation that begins at factors."""
        envelopes = relaxation.envelopes(Moments.of(self.rows, unit_factors(W)[0]))
        a = 0.5 * (envelopes.lower + envelopes.upper)
        return State(W, a, relaxation.no_multipliers(self.units.n_columns))

    def untied(self, W, max_iter):
        """Train and prove without ties, on a sample of many rows first.

        Returns factors, and the Untied of all rows.
        """
        own = self.units, self.rows, self.alpha
        untied = Untied(self.training_problem, *own)
        sample = self._sample()
        if sample is not None:
            now = time.perf_counter()
            end = now + _SAMPLE_SHARE * (self.deadline - now)
            own = self.units, self.rows.part(sample), self.alpha
            few = Untied(self.training_problem.subset(sample), *own)
            W, self.common = few.solve(W, self.common, _SAMPLE_ROUNDS * max_iter, end)
        bounds = []
        while not self.is_over and len(bounds) < MAX_ROUNDS:
            W, self.common = untied.solve(W, self.common, max_iter, self.deadline)
            N, price = untied.proven(W, self.common)
            self._keep(N, price)
            bounds.append(proven_value(self.problem, N, price))
            if not _gains(bounds, _UNTIED_PATIENCE):
                break
        return W, untied

    def _sample(self):
        """Return the index of a sample of many rows, or None."""
        n, rank = self.rows.Z.shape
        count = max(_SAMPLED_ROWS, _SAMPLED_RANKS * rank)
        if n <= 2 * count:
            return None
        return np.sort(np.random.default_rng(0).choice(n, count, replace=False))

    def improve(self, max_iter):
        """Train the relaxation and prove; return whether to go on."""
        bounds = []
        for round_ in range(MAX_ROUNDS):
            # 1. Train the regions that have mass; the others have no gradient to go by.
            relaxation = self._relaxed()
            active = self._active()
            training = Training(
                self.training_problem, self.units, relaxation.of_regions(active)
            )
            part, self.common = training.solve(
                self.state.of_regions(active), self.common, max_iter, self.deadline
            )
            # 2. Multipliers of the augmented Lagrangian. With a penalty alone ties stay
            # broken by what its stiffness leaves, and stiffness slows L-BFGS down.
            part = part.updated(training.relaxation)
            self.state.W[active] = part.W
            self.state.put(active, self._strong(part.W), part)
            # 3. A proof every round: bounds do not rise steadily, and the best is kept.
            totals = training.totals(part)
            self.common = self.units.updated(totals, self.common)
            N, weights = training.dual_point(part, self.common)
            bounds.append(self._prove(relaxation, N, weights, max_iter))
            if self.is_over:
                return False
            # 4. On while the best of the last rounds is visibly above those before.
            if not _gains(bounds, PATIENCE):
                break
            # 5. Ties where they are broken most: with all pairs a step costs n^2.
            if round_ % _RETIED == _RETIED - 1:
                self._tie(weights)
        return True

    def _tie(self, weights):
        """Tie the pairs of rows that the moments break most; free those at rest."""
        n = len(self.rows.Z)
        if not self.n_ties or n > _MAX_PAIRED:
            return
        V, t = unit_factors(self.state.W)
        size = t * np.sum(np.abs(weights), axis=-1)
        relaxation = self._relaxed()
        a = relaxation.absolute(Moments.of(self.rows, V), self.state.a)
        worst, shares = np.zeros((n, n)), np.ones((n, n))
        for block in zip(*np.nonzero(size > 1e-3 * size.max()), strict=True):
            G = self.rows.Z @ V[block]
            gram = G @ G.T
            square = np.diag(gram)
            share = np.clip(gram / (square + 1e-9), -3.0, 3.0)
            apart = square[:, None] + share * (share * square - 2.0 * gram)
            broken = a[block][:, None] - np.abs(share) * a[block]
            broken = t[block] * (broken - np.sqrt(np.maximum(apart, 0.0)))
            shares = np.where(broken > worst, share, shares)
            worst = np.maximum(worst, broken)
        np.fill_diagonal(worst, 0.0)
        n_ties = min(self.n_ties, n - 1)
        partners = np.argpartition(-worst, n_ties, axis=1)[:, :n_ties]
        added = np.array([np.repeat(np.arange(n), n_ties), partners.ravel()])
        broken = worst[added[0], added[1]]
        added = added[:, broken > 1e-3 * max(t.max() * a.max(), TINY)]
        flows = self.state.multipliers.pairs
        kept = np.abs(flows).max(axis=(0, 1, 2), initial=0.0) > 0.0
        self.rows = self.rows.with_pairs(
            np.hstack([self.rows.pairs[:, kept], added]),
            np.append(self.rows.shares[kept], shares[added[0], added[1]]),
        )
        fresh = np.zeros((*flows.shape[:-1], added.shape[1]))
        flows = np.concatenate([flows[..., kept], fresh], axis=-1)
        self.state.multipliers = replace(self.state.multipliers, pairs=flows)

    def _strong(self, W):
        """Return which blocks have mass that training can work with."""
        unit = self.problem.loss_scale() / self.alpha
        return np.sum(W * W, axis=(-2, -1)) > _STRONG * unit / self.n_regions

    def _active(self):
        """Return which regions have such blocks; all of them if none has."""
        active = self._strong(self.state.W).any(axis=(1, 2))
        return active if active.any() else ~active

    def _prove(self, relaxation, N, weights, max_iter):
        """Return the bound that N proves; blocks of little mass come to help first.

        In training their multipliers, as gradients are in proportion to the mass, would
        hardly move. They are dealt with by themselves, at these weights. Those whose
        price stays too high are given mass: what is zero stays zero in L-BFGS, since
        moments are products of factors.
        """
        bounds = block_prices(relaxation, self.state, weights)
        limit = self.alpha / np.sqrt(self.problem.n_outputs)
        weak = ~self._strong(self.state.W)
        for _ in range(_WEAK_ROUNDS):
            poor = weak & ~(bounds < limit)
            regions = poor.any(axis=(1, 2))
            if not regions.any() or time.perf_counter() > self.deadline:
                break
            some, blocks = relaxation.of_regions(regions), poor[regions]
            state = self.state.of_regions(regions)
            state = polished(some, state, blocks, weights, self.deadline, max_iter)
            self.state.put(regions, blocks, state.updated(some))
            bounds = block_prices(relaxation, self.state, weights)
        price = self.units.price(region_prices(relaxation, self.state, weights))
        self._keep(N, price)
        poor = weak & (bounds > limit)
        if poor.any():
            unit = self.problem.loss_scale() / self.alpha
            seed = np.sqrt(2.0 * _STRONG * unit / self.n_regions)
            self.state.W[poor] = seed * unit_factors(self.state.W[poor])[0]
        return proven_value(self.problem, N, price)

    def branch(self, max_regions):
        """Split the regions whose activations are bounded most loosely."""
        rank = self.rows.rank
        if self.regions[0].rays is None and rank <= _MAX_SIMPLEX_RANK:
            parts = fan(self.rows)
            if len(parts) <= max_regions:
                self._replace({0: parts})
            return
        looseness = self._looseness()
        totals = looseness.sum(axis=1)
        order = np.argsort(-totals)
        room = min(max_regions - len(order), max(1, len(order) // 2))
        split = {}
        for i in order[:room]:
            if totals[i] <= 1e-6 * totals.sum():
                break
            region = self.regions[i]
            if region.rays is not None:
                split[i] = region.bisected(self.rows, looseness[i])
                continue
            W = self.state.W[i]
            mass = np.sum(W * W)
            t = np.sum(W * W, axis=(-2, -1))
            u = np.einsum("sc,scr->r", np.sqrt(t), W[..., 0]) / mass
            U = np.einsum("scrk,scqk->rq", W, W) / mass
            split[i] = region.halves(self.rows, u, U - np.outer(u, u))
        self._replace(split)

    def _replace(self, split):
        """Put parts in place of regions, the moments shared between them."""
        regions, origin, shares = [], [], []
        for i, region in enumerate(self.regions):
            parts = split.get(i, [region])
            regions += parts
            origin += [i] * len(parts)
            shares += [1.0 / np.sqrt(len(parts))] * len(parts)
        self.regions = regions
        state = self.state.of_regions(np.array(origin))
        W = state.W * np.array(shares)[:, None, None, None, None]
        cuts = self._relaxed().no_multipliers(self.units.n_columns).cuts
        old = state.multipliers.cuts
        for i, region in enumerate(regions):  # the cuts of a new cone are all new
            if region.rays is None or len(split.get(origin[i], [region])) == 1:
                cuts[i, ..., : old.shape[-2], :] = old[i]
        self.state = State(W, state.a, replace(state.multipliers, cuts=cuts))

    def _looseness(self):
        """Return the differences between bounds that count, (n_regions, n)."""
        relaxation = self._relaxed()
        V, t = unit_factors(self.state.W)
        envelopes = relaxation.envelopes(Moments.of(self.rows, V))
        training = Training(self.training_problem, self.units, relaxation)
        _, weights = training.dual_point(self.state, self.common)
        gaps = np.where(relaxation.free, envelopes.upper - envelopes.lower, 0.0)
        return np.sum(t[..., None] * np.abs(weights) * gaps, axis=(1, 2))

    def _relaxed(self):
        return Relaxation(self.rows, self.regions, self.alpha)

    def _keep(self, N, price):
        if not np.isfinite(N).all():
            return
        bound = proven_value(self.problem, N, price)
        if self.best is None or bound > self.best.lower_bound:
            self.best = SemidefiniteBound(bound, N, float(price), self.n_regions, ())
        seconds = time.perf_counter() - self.started
        self.history += ((seconds, self.n_regions, self.best.lower_bound),)
        self.best = replace(self.best, history=self.history)

    def _factors(self, network, shape):
        """Return the factors of the moments of a network's neurons."""
        W = np.zeros(shape)
        for c, (hidden, masses) in enumerate(self.units.vectors(network)):
            U = self.rows.basis.T @ hidden
            lengths = np.linalg.norm(U, axis=0)
            U = U / np.maximum(lengths, TINY)
            for k, mass in enumerate(masses):
                factor = _factor(U, mass * lengths * self.rows.scale)
                W[0, k, c] = factor[:, : shape[-1]]
        return W

    def _prove_constant(self):
        """Start with the dual point of the best constant."""
        problem = self.problem
        constant = np.zeros_like(problem.Y) + finite_constant(problem)
        N = dual_point(self.training_problem, constant)
        rounding = 1.0 + 1e-12 * len(N)
        self._keep(N, max(price_bound(problem, N), 0.0) * rounding)


def _gains(bounds, patience):
    """Tell whether the best of the last bounds is visibly above those before."""
    before = max(bounds[:-patience], default=-np.inf)
    return max(bounds) - before >= VISIBLE * abs(before)


def _factor(U, masses):
    """Return W with ``W W^T = U diag(masses) U^T`` and ``U masses`` along column 0."""
    rank, t = len(U), masses.sum()
    W = np.zeros((rank, rank + 1))
    if t > 0.0:
        mean = U @ masses / t
        values, vectors = np.linalg.eigh((U * masses) @ U.T - t * np.outer(mean, mean))
        W[:, 0] = np.sqrt(t) * mean
        W[:, 1:] = (vectors * np.sqrt(np.maximum(values, 0.0)))[:, ::-1]
    return W
