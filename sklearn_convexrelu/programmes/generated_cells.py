"""The programme over all cells of pairs of leaves, those that matter generated.

Sub-networks of two leaves have some ``4 n^3 / 3`` cells on n rows of rank two, of which
an optimum has no more than n units. So the programme is solved over a few of them, its
dual point priced exactly over all (see ``pairs.py``), and the cells of what is worth
more than alpha are taken in, until none is: column generation (Dantzig & Wolfe,
Operations Research 8, 1960). The bound is that of the exact price, so it is one on the
programme over all cells.
"""

import time
from dataclasses import replace
from functools import partial

import numpy as np

from sklearn_convexrelu.certificates.certificate import dual_point, lower_bound
from sklearn_convexrelu.certificates.kinks import (
    least_price_of_constant,
    price_and_units,
)
from sklearn_convexrelu.model.solution import Status, history_record
from sklearn_convexrelu.patterns.geometry import way_inside
from sklearn_convexrelu.patterns.subnetworks import TreeCells, point_inside
from sklearn_convexrelu.pricing.search import FIRST
from sklearn_convexrelu.programmes.group_lasso import GroupLasso, ProgrammeSolution
from sklearn_convexrelu.programmes.recovery import tree_network

__all__ = ["GeneratedCells"]

# Half and double were tried on three fits (12 and 30 rows of one feature, both
# penalties, tol 1e-6): all ended within a twentieth of the tolerance, and the time, of
# which a twentieth is noise, is what is said.
_MOST_ADDED = 40  # sub-networks a round whose cells are taken in: 1.09, 1.00
# Cosine of values from which two sub-networks are in one cell: 1.10 (0.998), 1.13.
_SAME = 0.999
# Of the gap, or of the tolerance, to which a programme is solved: 0.91, 1.08.
_LOOSE = 0.1
# Times the loss of the best constant: less is rounding. No part in those fits.
_TIGHTEST = 1e-9
_MOST_ROUNDS = 100  # a guard: no part in those fits
# Rounds in a row without a smaller gap, each solved more exactly: 1.01, 0.98.
_MOST_IDLE = 3


class GeneratedCells:
    """The ReLU programme over all cells of pairs of leaves of a problem.

    Parameters
    ----------
    problem : Problem
        What is minimised.
    pricer : TreePricer
        That of its rows, exact.
    seed : int
        Seed of searches, which find more cells than exact pricing returns.
    """

    def __init__(self, problem, pricer, seed):
        self.problem = problem
        self.pricer, self.rng = pricer, np.random.default_rng(seed)
        self.cells = None

    @property
    def n_units(self):
        """Zero where features are all zero: there are no cells then."""
        return int(self.problem.X.any())

    def priced_at(self, N):
        """Return the largest price; see ``least_price_of_constant``."""
        found, _ = self.priced(N, self.problem.no_directions())
        return price_and_units(self.problem, N, found)

    def priced(self, N, known):
        """Return candidates at a dual point, and what no price exceeds."""
        return self.pricer.price(N, known, self.rng, FIRST)

    def solve(self, alpha, method, watch=None):
        """Solve at a penalty strength.

        Parameters
        ----------
        alpha : float
            Penalty strength.
        method : Method
            What solves programmes over some cells.
        watch : callable, default=None
            Called with each record of the history and a function of nothing, which
            returns the network that it is of; the run stops where it returns true.

        Returns
        -------
        solved : ProgrammeSolution
            Its bound is one over all cells; it has no blocks.
        network : TreeNetwork
            The best network.
        """
        return _Run(self, self.problem.with_alpha(alpha), method, watch).run()

    def take_in(self, candidates, alpha):
        """Add the cells of candidates worth more than alpha; return whether any."""
        new = candidates.distinct(
            _MOST_ADDED, _SAME, self.pricer.signature, alpha * (1.0 + 1e-9)
        )
        shape, X = self.problem.shape, self.problem.X
        W, signs = shape.unpacked(new.directions)
        gates = _moved_inside(shape.leaves(W), X, self.rng)
        known = 0
        if self.cells is not None:
            known = len(self.cells)
            gates = np.concatenate([self.cells.gates, gates])
            signs = np.concatenate([self.cells.signs, signs])
        cells = TreeCells.of(shape, gates, signs, X)
        gates, kept = cells.gates.copy(), np.ones(len(cells), dtype=bool)
        for k in range(known, len(cells)):
            gate = point_inside(cells.cones[k], X)
            kept[k] = gate is not None
            gates[k] = gate if kept[k] else 0.0
        self.cells = replace(cells, gates=gates).taken(kept)
        return len(self.cells) > known


class _Run:
    """Column generation at one alpha, over cells that are kept for the next."""

    def __init__(self, generated, problem, method, watch):
        self.generated, self.problem, self.watch = generated, problem, watch
        self.method, self.scale = method, problem.loss_scale()
        self.tolerance = method.tol * self.scale
        self.started, self.history, self.n_iter = time.perf_counter(), [], 0
        self.objective, self.bound = np.inf, -np.inf
        self.stopped = False

    def run(self):
        """Return the solution over all cells and its network."""
        candidates = self.look_at_constant()
        n_idle, status = 0, Status.CONVERGED
        for _ in range(_MOST_ROUNDS):
            if self.gap <= self.tolerance:
                return self.solution(Status.CONVERGED)
            if self.stopped:
                return self.solution(Status.STOPPED)
            taken = self.generated.take_in(candidates, self.problem.alpha)
            if not taken and n_idle >= _MOST_IDLE:
                return self.solution(status)
            before = self.gap
            candidates, status = self.improved(n_idle)
            n_idle = 0 if taken and self.gap < before else n_idle + 1
        return self.solution(Status.ITERATION_LIMIT)

    @property
    def gap(self):
        """Best objective less best bound."""
        return self.objective - self.bound

    def look_at_constant(self):
        """Start from the best constant; return what is worth more than alpha there."""
        network = self.problem.null_network()
        N = least_price_of_constant(self.problem, self.generated.priced_at)[1]
        return self.take(network, self.problem.objective(network), N)

    def improved(self, n_idle):
        """Solve over the cells at hand; return what is worth more than alpha, and why.

        After rounds without a smaller gap the programme is solved more exactly.
        """
        generated, problem = self.generated, self.problem
        cells = generated.cells.with_outputs()
        tol = _LOOSE * 0.1**n_idle * max(self.gap, self.tolerance) / self.scale
        method = replace(self.method, tol=max(tol, _TIGHTEST))
        programme = GroupLasso.trees(problem, cells, gated=False)
        recover = partial(tree_network, cells=cells, shape=problem.shape)
        solved = method.solve(programme, self.followed(programme, recover))
        self.n_iter += solved.n_iter
        self.stopped |= solved.status is Status.STOPPED
        blocks = programme.with_best_intercept(solved.blocks)[0]
        network, N = recover(blocks), solved.dual_point
        if N is None:
            N = dual_point(problem, network.forward(problem.rows), True)
        objective = problem.objective(network)
        return self.take(network, objective, N), solved.status

    def followed(self, programme, recover):
        """Return what tells of the steps of the method, with the bound over all."""

        def follow(record, blocks):
            blocks = programme.with_best_intercept(blocks)[0]
            objective = programme.objective(blocks)
            own = record | {"objective": objective, "dual_gap": objective - self.bound}
            own["time"] = time.perf_counter() - self.started
            return self.tell(own, lambda: recover(blocks))

        return follow

    def take(self, network, objective, N):
        """Take in a network and the bound of a dual point; return what was priced."""
        problem = self.problem
        known = network.directions()[0]
        candidates, price = self.generated.priced(N, known)
        if objective < self.objective:
            self.objective, self.network = objective, network
        bound = lower_bound(problem, N, price)
        if bound > self.bound:
            self.bound, self.price, self.dual_point = bound, price, N
        record = history_record(
            self.started, self.objective, self.gap, network.n_neurons, price
        )
        self.tell(record, lambda: self.network)
        return candidates

    def tell(self, record, network):
        """Append to the history and tell the watch; return whether it asks to stop."""
        self.history.append(record)
        if self.watch is not None:
            self.stopped |= bool(self.watch(record, network))
        return self.stopped

    def solution(self, status):
        """Return what was reached."""
        solved = ProgrammeSolution(
            blocks=None,
            objective=self.objective,
            lower_bound=self.bound,
            price=self.price,
            status=status,
            n_iter=max(self.n_iter, 1),
            history=self.history,
            tolerance=self.tolerance,
            dual_point=self.dual_point,
        )
        return solved, self.network


def _moved_inside(V, X, rng):
    """Return pairs of leaves inside cells that have the given ones in their closure.

    Planes are those of a leaf and of their difference.
    """
    ways = rng.standard_normal(V.shape)
    H, slopes = _sides(V, X), _sides(ways, X)
    lengths = np.linalg.norm(X, axis=1) * np.linalg.norm(V, axis=(1, 2))[:, None, None]
    return V + way_inside(H, slopes, lengths, axis=(1, 2))[:, None, None] * ways


def _sides(V, X):
    """Return the values of leaves and of their difference, (K, 3, n_samples)."""
    return np.concatenate([V, V[:, :1] - V[:, 1:]], axis=1) @ X.T
