"""When a fit has to end: asked at each pass over the rows, raised there."""

import time
from dataclasses import dataclass

__all__ = ["Deadline", "OutOfTimeError"]


class OutOfTimeError(Exception):
    """The time limit of a fit has passed; solvers answer it with what they have."""


@dataclass
class Deadline:
    """A moment that work on some rows must not go beyond.

    Of the clock that processes share, as folds of cross-validation need it.

    Attributes
    ----------
    at : float
        Seconds since the epoch.
    is_lifted : bool
        Whether it counts no more: what a solver has is still to be certified.
    """

    at: float
    is_lifted: bool = False

    @classmethod
    def after(cls, seconds):
        """Return the deadline after so many seconds; None where there is no limit."""
        return None if seconds is None else cls(time.time() + seconds)

    @property
    def has_passed(self):
        """Whether the moment has passed."""
        return time.time() >= self.at

    @property
    def left(self):
        """Seconds that are left."""
        return max(self.at - time.time(), 0.0)

    def check(self):
        """Raise OutOfTimeError where it has passed, unless it is lifted."""
        if not self.is_lifted and self.has_passed:
            raise OutOfTimeError

    def lift(self):
        """Let it count no more."""
        self.is_lifted = True
