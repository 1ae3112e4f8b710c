"""Price and judge: the certificate, among all networks, of one that no loop priced."""

import numpy as np

from sklearn_convexrelu.certificates.certificate import certify_at, dual_point, no_bound
from sklearn_convexrelu.pricing.search import FAIR
from sklearn_convexrelu.pricing.subnetworks import pricer_of

__all__ = ["judged"]


def judged(problem, network, seed=0, pricer=None, known_bound=no_bound):
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

    Returns
    -------
    certificate : Certificate
        Among all networks.
    directions : ndarray of shape (n_inputs, n_directions)
        What was priced.
    """
    F = network.forward(problem.rows)
    objective = problem.objective(network, F)
    N = dual_point(problem, F, overwrites=True)
    pricer = pricer_of(problem) if pricer is None else pricer
    known, rng = network.directions()[0], np.random.default_rng(seed)
    candidates, bound = pricer.price(N, known, rng, FAIR)
    certificate = certify_at(
        problem, objective, N, candidates.best, bound, known_bound(N)
    )
    return certificate, candidates.directions
