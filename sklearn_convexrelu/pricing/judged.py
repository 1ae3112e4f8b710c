"""The certificate, among all networks, of a given network: its prices are searched."""

import numpy as np

from sklearn_convexrelu.certificates.certificate import certify_at, dual_point, no_bound
from sklearn_convexrelu.pricing.search import FAIR
from sklearn_convexrelu.pricing.subnetworks import pricer_of

__all__ = ["judged"]

_WIDTHS = 1.0, 0.3, 0.1, 0.03, 0.01  # of smoothings, where residuals are of order one


def judged(problem, network, seed=0, pricer=None, known_bound=no_bound, N=None):
    """Search for prices at a network, and certify it.

    Parameters
    ----------
    problem : Problem
        What is minimised.
    network : Network or TreeNetwork
        The network.
    seed : int, default=0
        Seed of the search.
    pricer : Pricer or TreePricer, default=None
        That of the problem's rows, where there is one.
    known_bound : callable, default=no_bound
        Tells of a dual point what no price exceeds.
    N : ndarray of shape (n_samples, n_outputs), default=None
        Dual point to judge by, by default the one at the network's predictions. Where
        the loss has kinks these do not tell it, and the best of several is taken.

    Returns
    -------
    certificate : Certificate
        Among all networks.
    directions : ndarray of shape (n_inputs, n_directions)
        What was priced.
    """
    F = network.forward(problem.rows)
    objective = problem.objective(network, F)
    pricer = pricer_of(problem) if pricer is None else pricer
    points = [N] if N is not None else _dual_points(problem, F)
    known, best = network.directions()[0], None
    for point in points:
        rng = np.random.default_rng(seed)
        candidates, bound = pricer.price(point, known, rng, FAIR)
        certificate = certify_at(
            problem, objective, point, candidates.best, bound, known_bound(point)
        )
        if best is None or certificate.lower_bound > best[0].lower_bound:
            best = certificate, candidates.directions
    return best


def _dual_points(problem, F):
    """Return the dual point at predictions, or those of a smoothed loss."""
    if problem.loss.is_smooth:
        return [dual_point(problem, F, overwrites=True)]
    return [dual_point(problem.smoothed(width), F) for width in _WIDTHS]
