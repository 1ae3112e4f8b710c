"""What the loop does next: a pure function of what it has just seen.

A price that a search missed makes the gap too small, so a network is only accepted on a
search that is hard enough, and the last word costs most. So searches start cheap and
get harder only when the cheaper one would accept, or finds nothing to improve by.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum

from sklearn_convexrelu.model.solution import Status

__all__ = ["Action", "Care", "Look", "decide"]


class Care(IntEnum):
    """How hard a network is searched for prices, in the order it gets harder."""

    QUICK = 0  # few starts: enough to go on with, and to end a run on a sample
    FULL = 1  # what may accept, mostly ended early by a price that refutes
    WHOLE = 2  # all of that, whatever it finds on the way


class Action(Enum):
    """What can follow a look at a network."""

    IMPROVE = "add the candidates, correct and slide"
    LOOK_HARDER = "search the same network with more care"
    ACCEPT = "take the candidates in a last time, and end"
    FINISH = "go on with the convex programme over cells"
    STOP = "end without a network within the tolerance"


@dataclass(frozen=True)
class Look:
    """What is known of the network that was just priced.

    Attributes
    ----------
    gap : float
        Its duality gap.
    care : Care
        How hard it was searched.
    required : Care
        The least care whose search may accept it.
    tolerance : float
        The gap to reach.
    loop_tolerance : float
        The gap at which the loop leaves the rest to the finish; the tolerance itself
        where there is no finish.
    is_exact : bool
        Whether the price was exact.
    is_doubtful : bool
        Whether a search is likely to have missed a price: there two in a row must
        agree.
    is_stalled : bool
        Whether a round from this network brought no decrease.
    is_last : bool
        Whether no round is left.
    is_capped : bool
        Whether more neurons were wanted than are allowed.
    is_stopped : bool
        Whether a callback has asked for an end.
    is_gaining : bool
        Whether rounds bring so much that one more is wanted, whatever the gap.
    """

    gap: float
    care: Care
    required: Care
    tolerance: float
    loop_tolerance: float
    is_exact: bool = False
    is_doubtful: bool = False
    is_stalled: bool = False
    is_last: bool = False
    is_capped: bool = False
    is_stopped: bool = False
    is_gaining: bool = False


def decide(look):
    """Return what to do next, and the status if that ends the run.

    Parameters
    ----------
    look : Look
        What is known.

    Returns
    -------
    action : Action
        The next action.
    status : Status or None
        That of the solution, where the action ends the run.
    """
    # 1. Is there anything that a round could bring? Improving comes before looking
    #    harder: a round moves the dual point, and with it what a search would find.
    converged = look.gap <= look.loop_tolerance
    if not converged and look.is_stopped:
        return Action.STOP, Status.STOPPED
    if not converged or look.is_gaining:
        if not (look.is_last or look.is_stalled or look.is_stopped):
            return Action.IMPROVE, None
    # 2. Was the search hard enough? Only the hardest may give up; one that is doubted
    #    and not exact must have run to its end.
    required = look.required
    if required is Care.FULL and look.is_doubtful and not look.is_exact:
        required = Care.WHOLE
    if look.care < (required if converged else Care.WHOLE):
        return Action.LOOK_HARDER, None
    # 3. The end. A run that was to be finished by a programme has rounds left for it.
    if look.loop_tolerance > look.tolerance and not look.is_last:
        return Action.FINISH, None
    if look.gap <= look.tolerance:
        return Action.ACCEPT, Status.CONVERGED
    return Action.STOP, reason(look)


def reason(look):
    """Return why a run ends above the tolerance."""
    if look.is_capped:
        return Status.NEURON_LIMIT
    return Status.ITERATION_LIMIT if look.is_last else Status.STALLED
