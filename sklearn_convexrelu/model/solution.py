"""What a solver returns: a network, why it stopped, and what happened on the way."""

import time
from dataclasses import dataclass
from enum import Enum

import numpy as np

from sklearn_convexrelu.certificates.certificate import Certificate
from sklearn_convexrelu.model.neurons import GatedNetwork, Network

__all__ = ["Solution", "Status", "certified_record", "history_record"]


def history_record(started, objective, gap, n_neurons, price):
    """Return a record of the history of a run that began at ``started``."""
    return {
        "time": time.perf_counter() - started,
        "objective": objective,
        "dual_gap": gap,
        "n_neurons": n_neurons,
        "price": price,
    }


class Status(Enum):
    """Why a solver stopped; each value is the message for the user."""

    CONVERGED = "the duality gap is within the tolerance"
    SETTLED = "a further round would gain next to nothing"
    ITERATION_LIMIT = "the iteration limit was reached; increase max_iter or tol"
    NEURON_LIMIT = "max_neurons neurons were not enough; increase max_neurons or tol"
    PRECISION = (
        "the solver met it, but rounding in the units of X and y is larger; "
        "standardise X, and bring targets closer to zero"
    )
    UNRESOLVED = (
        "the solver met it, but searches are expected to miss more than that "
        "(certificate_.resolution; of sub-networks 5e-4 of the loss of the best "
        "constant for each of subnetwork_widths, six times that of four layers and "
        "several outputs); increase tol"
    )
    INTERRUPTED = "it was interrupted"
    TIME_LIMIT = "the time limit was reached; increase time_limit or tol"
    INACCURATE = (
        "the solver stopped before that; ask it for more accuracy, or for more "
        "iterations, in solver_options"
    )
    STOPPED = "a callback asked for it"
    STALLED = (
        "no step lowers the objective any more; scale the features to comparable "
        "size, or increase tol"
    )

    @classmethod
    def _missing_(cls, name):
        return cls.__members__.get(name) if isinstance(name, str) else None

    def __reduce__(self):
        # By name, so that a message may change. A call of the class itself is what
        # skops, which does not ask for __reduce_ex__, can load without state.
        return Status, (self.name,)

    def __reduce_ex__(self, protocol):
        return self.__reduce__()


def certified_record(started, certificate, n_neurons):
    """Return the same of a network that was certified."""
    return history_record(
        started,
        certificate.objective,
        certificate.gap,
        n_neurons,
        certificate.price,
    )


@dataclass(frozen=True)
class Solution:
    """Outcome of a solver.

    Attributes
    ----------
    network : Network, TreeNetwork, GatedNetwork or GatedTreeNetwork
        Best network found.
    certificate : Certificate
        Its certificate for the problem that was solved.
    status : Status
        Why the solver stopped.
    n_iter : int
        Number of outer iterations.
    history : list of dict
        One record an iteration: time (seconds), objective, dual_gap, n_neurons, price.
    tolerance : float
        Gap at which the solver stops.
    directions : ndarray of shape (n_inputs, n_directions) or None
        Unit vectors among which the certificate's price was the largest; None where
        the certificate is that of a programme over fixed patterns.
    dual_network : Network or None
        Network at whose predictions the certificate's dual point is, if not at those
        of ``network``.
    low_rank : LowRankGuarantee or None
        What low-rank training guarantees.
    dual_point : ndarray of shape (n_samples, n_outputs) or None
        The certificate's dual point itself, where predictions do not tell it: that of a
        loss with kinks.
    """

    network: Network | GatedNetwork
    certificate: Certificate
    status: Status
    n_iter: int
    history: list
    tolerance: float
    directions: np.ndarray | None
    dual_network: Network | None = None
    low_rank: object = None
    dual_point: np.ndarray | None = None

    @classmethod
    def of_constant(cls, network, certificate, status, tolerance, low_rank=None):
        """Return the solution that is a constant, where there was nothing to solve."""
        return cls(
            network=network,
            certificate=certificate,
            status=status,
            n_iter=1,
            history=[certified_record(time.perf_counter(), certificate, 0)],
            tolerance=tolerance,
            directions=None,
            low_rank=low_rank,
        )
