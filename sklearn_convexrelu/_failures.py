"""What a failure or an interrupt of ``fit`` leaves of the estimator."""

from contextlib import contextmanager

from sklearn_convexrelu._callbacks import BOOKKEEPING
from sklearn_convexrelu.model.solution import Status
from sklearn_convexrelu.training import warn

__all__ = ["kept_on_interrupt", "tell_of_interrupt", "undone_on_failure"]


@contextmanager
def undone_on_failure(estimator):
    """Give the estimator its old attributes back where the block fails."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        now = vars(estimator)
        running = {name: now[name] for name in BOOKKEEPING if name in now}
        now.clear()
        now.update(before | running)
        raise


class kept_on_interrupt:  # noqa: N801 - used like a function
    """Let an interrupt of the block, the last of a fit, not undo what was trained.

    A generator would do but for the warning, which would name contextlib as its place.
    """

    def __init__(self, estimator):
        self.estimator = estimator

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        if interrupted:
            tell_of_interrupt(self.estimator)
        return interrupted


def tell_of_interrupt(estimator):
    """Note and warn that an interrupt came when the network had been trained."""
    estimator.status_ = Status.INTERRUPTED
    warn("Interrupted when all was trained: the network is kept.")
