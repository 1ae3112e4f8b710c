"""Finish: the convex programme over the cells of a network that is nearly optimal.

Descent on weights is slow at the end, since at the optimum hyperplanes pass through
samples and patterns flip. The programme with cones has no such kinks: over the cells
of the current neurons and of priced candidates, an interior point method gives the best
network to many digits.
"""

from functools import partial

import numpy as np

from sklearn_convexrelu.adaptive.steps import Point
from sklearn_convexrelu.model.norms import column_norms, is_written
from sklearn_convexrelu.model.pruning import merge_compatible, prune
from sklearn_convexrelu.model.solution import Status
from sklearn_convexrelu.patterns.geometry import way_inside
from sklearn_convexrelu.pricing.search import FINE
from sklearn_convexrelu.programmes.group_lasso import GroupLasso
from sklearn_convexrelu.programmes.interior_point import InteriorPoint
from sklearn_convexrelu.programmes.recovery import relu_network, without_dust

__all__ = ["best_over_cells", "finished", "is_affordable"]

# Half and double were tried on fits of friedman1, diabetes and two small tables (tol
# 1e-5 and 1e-6, three seeds): objectives and bounds stayed within a hundredth of the
# tolerance, and the time, of which a tenth is noise, is what is said.
_SMALLEST = 1e-5  # times the largest: blocks below are dust of the interior point
# Of the programme's gap: what weights next to zero may cost to be zero.
_DUST = 0.1
_MOST_ENTRIES = 20_000_000  # slacks, and factors of the cones: 160 MB
_MOST_ADDED = 40  # candidates a programme: 1.02, 0.99
_MOST_IDLE = 4  # programmes in a row without a smaller gap: 0.99, 1.04
# Fine searches in a row that must find nothing at the end: 0.72, 1.77. It is the price
# of a bound that can be believed at these tolerances, see docs/certificates.md.
_PASSES = 4
_SAME_CELL = 0.9999  # cosine from which two candidates are in one cell: 1.1, 1.1


def is_affordable(problem, n_cells=_MOST_ADDED):
    """Tell whether the programme over so many cells fits its memory cap."""
    shape = problem.shape
    if problem.n_outputs > 1 or shape.is_tree or not is_written(shape.norm):
        return False
    if not problem.rows.has_array:
        return False
    return n_cells * len(problem.rows) <= _MOST_ENTRIES


def best_over_cells(problem, directions, signs, tol, rng):
    """Return the best network whose neurons lie in the cells of given directions.

    Parameters
    ----------
    problem : Problem
        What is minimised; one output.
    directions : ndarray of shape (n_inputs, n_cells)
        Unit columns. Samples on the hyperplane of one take either side.
    signs : ndarray of shape (n_cells,)
        Signs of the output weights.
    tol : float
        Gap, times the loss of the best constant, to which the programme is solved.
    rng : numpy.random.Generator
        Chooses the sides of samples on hyperplanes.

    Returns
    -------
    Network
        Balanced, without neurons that are next to zero or can be merged.
    """
    gates = _interiors(problem, directions, signs, rng)
    patterns = gates @ problem.X.T > 0.0
    keys = np.packbits(np.column_stack([signs > 0.0, patterns]), axis=1)
    kept = np.sort(np.unique(keys, axis=0, return_index=True)[1])
    kept = kept[patterns[kept].any(axis=1)]
    programme = GroupLasso.relu(problem, patterns[kept], gates[kept], signs[kept])
    blocks = InteriorPoint(tol=tol).solve(programme).blocks
    signs, norm = programme.output_signs, problem.shape.norm
    recover = partial(
        relu_network, signs=signs, norm=norm, monotone=problem.shape.monotone
    )
    network = programme.network(blocks, recover).pruned(_SMALLEST)
    network = without_dust(problem, network, _DUST * tol * problem.loss_scale())
    return merge_compatible(network, problem.X)


def _interiors(problem, U, signs, rng):
    """Return points strictly inside cells that have the columns of U in their closure.

    Each is a column moved a little, along a random way; of monotone networks along one
    with the signs that weights must have.
    """
    X, ways = problem.X, rng.standard_normal(U.shape)
    if problem.shape.monotone is not None:
        ways = problem.shape.monotone.turned(ways, signs)
    ways /= column_norms(ways)
    H, V = X @ U, X @ ways
    lengths = np.sqrt(np.einsum("ij,ij->i", X, X))[:, None]
    return (U + way_inside(H, V, lengths, axis=0) * ways).T


def finished(run):
    """End a run on programmes over the cells of its neurons and of new candidates.

    The gap goes with the root of what the objective lacks: at the end networks of equal
    objective differ in their gaps, and the one of the least is returned.

    Parameters
    ----------
    run : object
        The run of the loop, whose point this moves.

    Returns
    -------
    Solution or None
        None where a programme would have too many cells: the loop goes on by itself.
    """
    n_passed, n_idle, best = 0, 0, None
    while True:
        # 1. The same search at every network, so that gaps compare.
        candidates, certificate = run.price_and_certify(FINE)
        if best is None or certificate.gap < best[2].gap:
            n_idle, best = 0, run.priced
        elif best[0] is run.point:  # a harder look at the same network
            best = run.priced
        # 2. Several searches in a row must find nothing: polishing starts at random.
        if certificate.gap <= run.aim:
            n_passed, status = n_passed + 1, Status.CONVERGED
            if n_passed < _PASSES and certificate.kind != "exact":
                continue
        elif run.stopped:
            status = Status.STOPPED
        elif run.is_last or n_idle >= _MOST_IDLE:
            status = run.limit()
        # 3. The programme over more cells, more exactly after each that was idle.
        else:
            U, signs = _cells(run, candidates, n_idle)
            if not is_affordable(run.problem, len(signs)):
                run.point = best[0]
                return None
            if _moved_over_cells(run, U, signs, certificate.gap, n_idle):
                run.n_iter, n_passed, n_idle = run.n_iter + 1, 0, n_idle + 1
                continue
            status = run.limit()
        run.point, candidates, certificate = best
        return run.solution(candidates, certificate, status)


def _cells(run, candidates, n_idle):
    """Return directions in the cells of the next programme, and output signs.

    After rounds without a smaller gap more of the cells around a hyperplane with
    samples on it are taken.
    """
    new = candidates.distinct(
        _MOST_ADDED,
        _SAME_CELL,
        run.steps.pricer.signature,
        run.problem.alpha * (1 + 1e-7),
    )
    U, A, _ = run.point.network.directions()
    U, A = np.hstack([U, new.directions]), np.vstack([A, new.outputs])
    copies = 1 + n_idle
    return np.tile(U, copies), np.tile(np.sign(A[:, 0]), copies)


def _moved_over_cells(run, U, signs, gap, n_idle):
    """Take the best network over cells; return whether it is no worse.

    After rounds without a smaller gap the programme is solved more exactly.
    """
    problem, steps = run.problem, run.steps
    tol = 0.1**n_idle * max(0.1 * run.aim, 0.01 * gap) / run.scale
    network = best_over_cells(problem, U, signs, tol, steps.rng)
    # An interior point has all the neurons that do no harm; a vertex has few.
    network = steps.corrected(network)
    if network.n_neurons > len(problem.rows):
        network = prune(network, problem.rows)
    point = Point.of(problem, network)
    steps.tell("cells", point.network, point.objective)
    if steps.cap is not None and point.network.n_neurons > steps.cap:
        steps.is_capped = True
        return False
    if point.objective > run.point.objective + run.aim:
        return False
    run.point = point
    return True
