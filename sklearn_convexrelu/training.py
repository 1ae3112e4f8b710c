"""Train: from data and options to a certified network, in the user's units.

Solvers want data of order one and no row twice; users want their own units back. This
module stands between: it states the problem, scales it, picks the penalty strength,
runs the solver, scales the network back and certifies it afresh. It is the only place
that warns.
"""

import sys
import warnings
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sklearn_convexrelu.adaptive.loop import AdaptiveSolver
from sklearn_convexrelu.certificates.certificate import (
    certify_at,
    dual_point,
    has_resolution,
    missed,
)
from sklearn_convexrelu.certificates.kinks import constant_dual_point
from sklearn_convexrelu.certificates.relaxation.one_norm import one_norm_bound
from sklearn_convexrelu.certificates.relaxation.search import semidefinite_bound
from sklearn_convexrelu.data.units import Units
from sklearn_convexrelu.model.norms import refuse_unwritten
from sklearn_convexrelu.model.problem import Problem
from sklearn_convexrelu.model.pruning import prune
from sklearn_convexrelu.model.solution import Solution, Status
from sklearn_convexrelu.pricing.judged import judged
from sklearn_convexrelu.pricing.subnetworks import exact_pricing_of, totals_of

__all__ = [
    "Training",
    "follow",
    "largest_alpha",
    "proven",
    "pruned",
    "searched",
    "train",
    "warn",
    "warn_of_path",
]

_MOST_REGIONS = 64  # of the sphere, where time allows
# Times the tolerance: what the objective may differ by where ``predict`` works in
# single precision. Certificates, computed in double, should speak of what users see.
_PREDICTED = 0.1
_ALIKE = 1e-6  # times the objective: what roundings of it may differ by
# Times the objective: smaller gaps drown in the rounding of it and of its bound, and
# searches in single precision resolve prices to about the root of this.
_RESOLVED = 1e-8

# Times the tolerance: resolutions from which a gap is not called converged. They are
# means: of 73 fits to tables and images, tolerances of 1e-2 to 1e-4, six had more than
# one tolerance, and two of these were off by one.
_DOUBTED = 3.0

_INTERNAL = ("sklearn.", "sklearn_convexrelu.", "joblib.")


@dataclass(frozen=True)
class Training:
    """A problem, and what its solver does with it in units of its own.

    Strengths are asked for before a fit, and both want searches of the same rows, or
    the same patterns: what is made of the rows is made once.

    Attributes
    ----------
    problem : Problem
        What is minimised, in the user's units, at whatever alpha.
    solver : AdaptiveSolver, FixedPatterns or LowRank
        A record with ``over``, ``on_inputs``, ``on_standardised``, ``gated`` and
        ``tol``, as AdaptiveSolver has.
    units : Units
        Those of the solver.
    fit : AdaptiveFit, PatternsFit or LowRankFit
        The solver at the problem in these: an object with ``path``,
        ``largest_alpha``, ``constant``, ``restated``, ``known_bound`` and
        ``programme_on``, as AdaptiveFit has.
    """

    problem: Problem
    solver: object
    units: Units
    fit: object

    @classmethod
    def of(cls, problem, solver):
        """Return the training of a problem, in units of its data."""
        units = Units.of(problem, solver.gated)
        fit = units.solver(solver).over(units.scaled(problem))
        return cls(problem, solver, units, fit)

    def restated(self, problem):
        """Return the training on the same rows with other weights."""
        units = Units.of(problem, self.solver.gated)
        fit = self.fit.restated(units.scaled(problem))
        return Training(problem, self.solver, units, fit)

    @cached_property
    def largest_alpha(self):
        """The least strength at which the network without neurons is best.

        It is zero where it may be rounding: then features tell nothing about the
        targets. Each solver has its own.
        """
        return self.fit.largest_alpha() * self.units.alpha


def train(training, alpha=None, **options):
    """Solve at a penalty strength; certify the network and warn.

    Parameters
    ----------
    training : Training
        The problem and its solver.
    alpha : float, default=None
        Penalty strength in the user's units, by default that of the problem.
    **options : dict
        Those of ``follow``.

    Returns
    -------
    Solution
        Network, certificate and history in the user's units.

    Warns
    -----
    ConvergenceWarning
        If the gap is above the tolerance; the network is the best one found.
    """
    problem = training.problem
    alpha = problem.alpha if alpha is None else alpha
    solution = next(follow(training, [alpha], **options))
    if solution.status is not Status.CONVERGED:
        advice = problem.advice(solution.network.forward(problem.rows))
        warn(
            f"Stopped with a duality gap of {solution.certificate.gap:.3e}, tolerance "
            f"{solution.tolerance:.3e}: {solution.status.value}. The best network so "
            "far is kept." + advice
        )
    return solution


def follow(
    training,
    alphas,
    *,
    start=None,
    dtype=np.float64,
    callback=None,
    pruning=False,
    deadline=None,
):
    """Solve along a path of penalty strengths, each from the last network.

    Nothing is warned of: ``warn_of_path`` does.

    Parameters
    ----------
    training : Training
        The problem and its solver.
    alphas : iterable of float
        Penalty strengths in the user's units, best in decreasing order. Zero stands
        for a problem whose ``largest_alpha`` is zero: a constant.
    start : Network, default=None
        Where to start.
    dtype : dtype, default=np.float64
        Precision of the returned weights; the certificate is of these very weights.
        Where it is not enough for the tolerance they are in double.
    callback : callable, default=None
        Called with every record of the solver and its network, in the user's units.
    pruning : bool, default=False
        Whether to prune the network to linearly independent units at the end.
    deadline : Deadline, default=None
        When the solver has to end.

    Yields
    ------
    Solution
        As ``train`` returns it, one an alpha. An interrupt or a callback that asks for
        a stop ends the path with the solution that it found, and so does the deadline.
    """
    alphas = np.asarray(alphas, dtype=float)
    if not np.all(alphas >= 0.0):
        raise ValueError("The problem needs a penalty strength: problem.with_alpha(.).")
    problem, units, fit = training.problem, training.units, training.fit
    if not alphas.all():
        solution = _constant_solution(training, dtype)
        yield from (solution for _ in alphas)
        return
    scaled = fit.problem
    path = fit.path(
        units.strengths(alphas),
        None if start is None else scaled.with_own_linear(units.shrink(start)),
        None if callback is None else units.translated(callback),
        deadline,
    )
    # Pruning and certifying come on top: what was found in time is not given up.
    for alpha, solved in zip(alphas, path, strict=False):
        if pruning:
            solved = replace(solved, network=prune(solved.network, scaled.rows))
        own = scaled.with_alpha(float(units.strengths(alpha)))
        for precision in dict.fromkeys([dtype, np.float64]):
            with np.errstate(over="ignore", invalid="ignore"):  # of single precision
                restored = _certified(
                    problem.with_alpha(alpha),
                    own,
                    solved,
                    units,
                    fit.known_bound,
                    precision,
                )
                if precision == np.float64 or _holds(
                    problem.with_alpha(alpha), restored
                ):
                    break
        yield restored


def _certified(problem, scaled, solved, units, known_bound, dtype):
    """Return a solution of the scaled problem in the user's units, certified anew."""
    solved = _restored(solved, units, dtype)
    status, tolerance = solved.status, solved.tolerance * units.objective
    try:
        certificate = _certificate(problem, scaled, solved, units, known_bound)
    except KeyboardInterrupt:  # what was found is not given up uncertified
        certificate = _certificate(problem, scaled, solved, units, known_bound)
        status = Status.INTERRUPTED
    low_rank = units.guarantee(solved.low_rank)
    # What was solved on some directions of the features has converged for those.
    own = certificate if low_rank is None else low_rank.certificate
    gap = certificate.objective - own.lower_bound
    if status is Status.CONVERGED:
        status = _confirmed(gap, tolerance, own, problem)
    history = [units.record(record) for record in solved.history]
    if history and low_rank is None:  # the solver's last network may have been trimmed
        history[-1] |= {
            "objective": certificate.objective,
            "dual_gap": gap,
            "n_neurons": solved.network.n_neurons,
        }
    return replace(
        solved,
        certificate=certificate,
        status=status,
        tolerance=tolerance,
        history=history,
        low_rank=low_rank,
    )


def _holds(problem, solved):
    """Tell whether single precision of a solution's weights is enough for it.

    It may not hold what features far from zero need: the weights, or the sums that
    predictions are.
    """
    if solved.status is Status.PRECISION or not np.isfinite(solved.certificate.gap):
        return False
    predicted = problem.loss_at(solved.network.forward(problem.rows))
    predicted += problem.alpha * solved.network.penalty()
    differs = abs(predicted - solved.certificate.objective)
    return differs <= _PREDICTED * solved.tolerance and _layers_agree(problem, solved)


def _layers_agree(problem, solved):
    """Tell whether the layers of a network, which users see, predict as it does.

    Those of sub-networks are rounded once more.
    """
    network, objective = solved.network, solved.certificate.objective
    if not problem.shape.is_tree or network.is_gated:
        return True
    first, *layers = (layer.astype(np.float64) for layer in network.layers())
    rows, b = problem.rows, network.intercept
    F = rows.empty(len(b))
    rows.map(_layered_values, first.shape[1], F, rows.weights(first), layers, b)
    if network.linear is not None:
        F = network.linear.astype(np.float64).added(rows, F)
    other = problem.objective(network, F)
    return abs(other - objective) <= _ALIKE * objective


def _layered_values(block, rows, first, layers, intercept):
    """Kernel: the outputs of layers of units, the last of which is linear."""
    H = block.values(first)
    for weights in layers:
        H = np.maximum(H, 0.0) @ weights
    return H + intercept


def _restored(solved, units, dtype):
    """Return a solution with its networks in the user's units.

    The dual point is that of a network that was priced, before it is rounded to single
    precision, which may not hold it.
    """
    network, dual_network = units.restore(solved.network), solved.dual_network
    if dual_network is not None:
        dual_network = units.restore(dual_network)
    elif dtype != np.float64:
        dual_network = network
    return replace(solved, network=network.astype(dtype), dual_network=dual_network)


def pruned(problem, network):
    """Return a network of linearly independent units that predicts the same."""
    units = Units.of(problem, network.is_gated)
    return units.restore(prune(units.shrink(network), units.scaled(problem).rows))


def _confirmed(gap, tolerance, certificate, problem):
    """Return whether a gap in the user's units has converged, and if not why."""
    if _is_within(gap, tolerance) and tolerance >= _RESOLVED * certificate.objective:
        doubted = certificate.resolution > _DOUBTED * tolerance
        doubted &= has_resolution(problem)
        return Status.UNRESOLVED if doubted else Status.CONVERGED
    unseen = missed(problem)
    if certificate.kind == "priced" and unseen > 0.0:
        if _is_within(gap - unseen, tolerance):
            return Status.UNRESOLVED
    return Status.PRECISION


def _is_within(gap, tolerance):
    """Tell whether a gap is within the tolerance, and the bound below the objective."""
    return -1e-3 * tolerance <= gap <= (1.0 + 1e-3) * tolerance


def proven(problem, network, certificate, time_limit):
    """Return a certificate of kind "bound", with the best bound that is proven.

    Parameters
    ----------
    problem : Problem
        What is minimised, in the user's units.
    network : Network or TreeNetwork
        The network.
    certificate : Certificate
        What is known of it.
    time_limit : float
        Seconds after which the bound is not tightened further.

    Returns
    -------
    Certificate
        Of the same network.
    """
    known = certificate.proven_lower_bound, certificate.price_bound
    if problem.alpha == 0.0:
        new = _proof_of_constant(problem, certificate)
    else:
        new = _proof(problem, network, certificate, time_limit)
    lower, price = max(known, new, key=lambda proof: proof[0])
    return replace(
        certificate,
        kind="bound",
        lower_bound=lower,
        proven_lower_bound=lower,
        price_bound=price,
        unseen_chance=0.0,
        resolution=0.0,
    )


def _proof(problem, network, certificate, time_limit):
    """Return a lower bound and what no price exceeds, from a relaxation."""
    refuse_unwritten(problem.shape.norm, "Proofs")
    units = Units.of(problem)
    is_euclidean = problem.shape.norm.is_euclidean
    relaxation = semidefinite_bound if is_euclidean else one_norm_bound
    bound = relaxation(
        units.scaled(problem),
        units.shrink(network),
        max_regions=_MOST_REGIONS,
        time_limit=time_limit,
    )
    certificate = replace(
        certificate, lower_bound=bound.lower_bound, price_bound=bound.price_bound
    )
    own = units.certificate(certificate, certificate.objective)
    return own.lower_bound, own.price_bound


def _proof_of_constant(problem, certificate):
    """Return the same at an alpha of zero, which a constant was the optimum for.

    That may be so for the given patterns, or some directions of the features, alone.
    """
    if largest_alpha(problem) > 0.0:
        return -np.inf, np.inf
    return certificate.lower_bound, 0.0


def warn_of_path(statuses, what):
    """Warn once of the points of paths that are not within the tolerance.

    Parameters
    ----------
    statuses : iterable of Status
        How each point ended.
    what : str
        What the points belong to, for the message.
    """
    statuses = list(statuses)
    fine = Status.CONVERGED, Status.SETTLED
    missed = [status for status in statuses if status not in fine]
    if missed:
        reasons = "; ".join(sorted({status.value for status in missed}))
        warn(
            f"{len(missed)} of {len(statuses)} points of {what} did not converge: "
            f"{reasons}."
        )


def largest_alpha(problem):
    """Return the least penalty strength at which the best network has no neurons."""
    return Training.of(problem, AdaptiveSolver()).largest_alpha


def searched(problem, network):
    """Return the certificate over all networks of one that no solver has priced."""
    units = Units.of(problem)
    scaled, own = units.scaled(problem), units.shrink(network)
    certificate = judged(scaled, own)[0]
    return units.certificate(certificate, problem.objective(network))


def _certificate(problem, scaled, solved, units, known_bound):
    """Certify the network of ``solved`` on ``problem``, pricing the dual point anew.

    Rounding to the user's units moves the dual point a little: an exact price is
    computed again, a searched one is taken over the directions that were found. The
    bound of a programme is one of its optimum, and moves with the units alone. All but
    the objective is computed in the units of ``scaled``: the user's may be such that
    the bound is the small difference of large numbers.
    """
    objective = problem.objective(solved.network)
    if solved.directions is None:
        return units.certificate(solved.certificate, objective)
    N = solved.dual_point
    if N is None:
        priced = solved.network if solved.dual_network is None else solved.dual_network
        F = units.shrink(priced).forward(scaled.rows)
        N = dual_point(scaled, F, overwrites=True)
    bound, known = None, np.inf
    if solved.certificate.kind == "exact":
        pricing = exact_pricing_of(scaled)
        price = float(pricing.price(N).prices[0])
        bound = price + pricing.slack(N)
    else:
        totals = totals_of(scaled, N, solved.directions)
        price = float(np.linalg.norm(totals, axis=1).max(initial=0.0))
        known = known_bound(N)
    own, like = objective / units.objective, solved.certificate
    certificate = certify_at(scaled, own, N, price, bound, known, like)
    return units.certificate(certificate, objective)


def _constant_solution(training, dtype):
    """Return the best constant, where no neuron could lower the loss at all.

    That says nothing of the constant itself, whose dual value shows whether it is best.
    """
    status, solver = Status.CONVERGED, training.solver
    problem = training.problem.with_alpha(0.0)
    network, certificate, low_rank = solver.over(problem).constant()
    tolerance = solver.tol * problem.loss_scale()
    N = constant_dual_point(problem)
    bound = -problem.conjugate(N)
    if not certificate.objective - bound <= tolerance:
        status = Status.PRECISION
        certificate = replace(
            certificate,
            lower_bound=min(certificate.lower_bound, bound),
            proven_lower_bound=min(certificate.proven_lower_bound, bound),
        )
    return Solution.of_constant(
        network.astype(dtype), certificate, status, tolerance, low_rank
    )


def warn(message, category=ConvergenceWarning):
    """Warn in the name of the first caller outside of the packages."""
    frame, level = sys._getframe(), 1
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(_INTERNAL):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
