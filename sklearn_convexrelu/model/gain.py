"""When training of a fold or a last fit may stop: a round gains next to nothing."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Gain"]

# Times the loss of the best constant: smaller gaps drown in rounding.
_RESOLVED = 1e-8


@dataclass
class Gain:
    """A part of the loss that matters: the current one, or that of other rows.

    An objective that is off by less moves scores by less than that part. A network that
    fits its own rows closely errs by more on others, and there the rest of its training
    loss is lost. It is told of other rows as a path goes on; where these are few and
    have a large loss, that of the best constant counts.

    Attributes
    ----------
    part : float
        Which part of the loss.
    held_out : float
        Loss on other rows, for the loss of the best constant; zero where that is not
        known.
    is_all : bool
        Whether no gap is asked for besides.
    scale : float
        Loss of the best constant in the user's units, which a path tells.
    """

    part: float
    held_out: float = 0.0
    is_all: bool = True
    scale: float = 1.0

    def worth(self, loss, scale):
        """Return the least gain that counts.

        It is infinite where gaps are asked for and other rows tell nothing: then gaps
        alone count.

        Parameters
        ----------
        loss : float
            Loss of the network.
        scale : float
            Loss of the best constant.
        """
        if not (self.is_all or self.held_out):
            return np.inf
        return self.part * min(max(loss, self.held_out * scale), scale)

    def gap(self, tolerance, loss, scale):
        """Return the gap that does as well, for solvers that know of no rounds.

        Parameters
        ----------
        tolerance : float
            The gap asked for, which counts unless gains are all.
        loss : float
            Loss of the network before, at a larger strength; zero where there is none.
        scale : float
            Loss of the best constant.
        """
        worth = max(self.worth(loss, scale), _RESOLVED * scale)
        return worth if self.is_all else min(tolerance, worth)
