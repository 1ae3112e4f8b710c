"""What hears of a running fit: scikit-learn's callbacks (1.9 and later), and print.

Callbacks see fits as trees of tasks.
"""

from dataclasses import dataclass, replace
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9: no ``set_callbacks``, so none to call

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stand-in that supports nothing."""

    def with_callbacks(method):
        """Return the method as it is."""
        return method


__all__ = [
    "BOOKKEEPING",
    "CallbackSupportMixin",
    "Printer",
    "Task",
    "Watcher",
    "with_callbacks",
]

# What scikit-learn notes in an estimator while its fit runs, and clears thereafter.
BOOKKEEPING = ("_callback_fit_ctx", "_skl_callbacks_to_teardown")


@dataclass(frozen=True)
class Task:
    """A fit or a part of one, with the data that callbacks may ask for.

    Attributes
    ----------
    context : sklearn.callback.CallbackContext or None
        Its place among the tasks; None where nobody listens.
    estimator : estimator
        Whose fit it is.
    X, y, sample_weight : array-like
        What ``fit`` was given.
    """

    context: Any
    estimator: Any
    X: Any
    y: Any
    sample_weight: Any

    @classmethod
    def of_fit(cls, estimator, X, y, sample_weight, **options):
        """Return the root task of a fit; options are those of the context."""
        context = None
        if hasattr(estimator, "_skl_callbacks"):
            context = estimator._init_callback_context(**options)
        return cls(context, estimator, X, y, sample_weight)

    def subtask(self, name, **options):
        """Return a part of this task."""
        if self.context is None:
            return self
        return replace(self, context=self.context.subcontext(name, **options))

    def begin(self):
        """Tell callbacks that the task begins."""
        if self.context is not None:
            self.context.call_on_fit_task_begin(**self._facts())
        return self

    def end(self, attributes=None):
        """Tell callbacks that the task ends; return whether they ask for a stop.

        ``attributes``, or a function that returns them, are the fitted attributes with
        which the estimator could predict by now.
        """
        if self.context is None:
            return False
        return self.context.call_on_fit_task_end(
            **self._facts(), reconstruction_attributes=attributes
        )

    def _facts(self):
        """Return the arguments of both hooks."""
        weights = self.sample_weight
        metadata = None if weights is None else {"sample_weight": weights}
        return {
            "estimator": self.estimator,
            "X": self.X,
            "y": self.y,
            "metadata": metadata,
        }


class Watcher:
    """What the solver of a fit calls: it prints, and its rounds are tasks."""

    def __init__(self, estimator, data, task):
        self.estimator, self.data, self.task = estimator, data, task
        self.printer = Printer(estimator.verbose)
        self.round = task.subtask("round").begin()

    def __call__(self, record, network):
        self.printer(record, network)
        if "step" in record:
            return False
        stop = self.round.end(
            lambda: self.estimator._network_attributes(self.data, network)
        )
        self.round = self.task.subtask("round").begin()
        return stop

    def end(self):
        """End the round that has begun but was not needed."""
        self.round.end()


class Printer:
    """Print the history as it is made: rounds at verbosity 1, their steps at 2.

    Steps of the start are many, and printed from 3 on.
    """

    def __init__(self, verbosity):
        self.verbosity, self.n_rounds = verbosity, 0

    def __call__(self, record, network):
        if "step" in record:
            if self.verbosity > 1 + (record["step"] == "start"):
                print("    {step:<5} objective {objective:.6e}".format(**record))
        elif self.verbosity:
            self.n_rounds += 1
            print(
                "[{n:3d}] {time:8.3f} s  objective {objective:.6e}  gap {dual_gap:.3e}"
                "  neurons {n_neurons}".format(n=self.n_rounds, **record)
            )
