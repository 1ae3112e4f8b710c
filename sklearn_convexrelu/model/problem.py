"""The training problem: data, loss and penalty strength, with its objective."""

from dataclasses import dataclass, replace

import numpy as np

from sklearn_convexrelu.data.rows import Rows
from sklearn_convexrelu.model.loss import ROUNDED, Loss
from sklearn_convexrelu.model.neurons import NEURONS, NeuronShape
from sklearn_convexrelu.model.subnetworks import TreeShape

__all__ = ["Problem"]

_ROWS = 16384  # that losses take at a time: an eighth of a megabyte an output


@dataclass(frozen=True)
class Problem:
    """``min_f L(f(X)) + alpha * penalty of f`` over ReLU networks f.

    Attributes
    ----------
    rows : Rows of shape (n_samples, n_inputs)
        Inputs of the hidden layer, a constant the last one where it has a bias. An
        array will do.
    Y : ndarray of shape (n_samples, n_outputs)
        Targets.
    weights : ndarray of shape (n_samples,)
        Positive sample weights that sum to one.
    loss : Loss
        Convex loss of the predictions.
    alpha : float
        Absolute penalty strength; nan while it is still open.
    fit_intercept : bool
        Whether an unpenalised constant is added to the output.
    shape : TreeShape or NeuronShape, default=NEURONS
        What the parallel units of the networks are: neurons, so two layers, or trees.
    """

    rows: Rows
    Y: np.ndarray
    weights: np.ndarray
    loss: Loss
    alpha: float
    fit_intercept: bool
    shape: TreeShape | NeuronShape = NEURONS

    def __post_init__(self):
        object.__setattr__(self, "rows", Rows.of(self.rows))

    @property
    def X(self):  # noqa: N802 - the matrix of the papers
        """The inputs as an array, (n_samples, n_inputs), for what needs one.

        Raises
        ------
        ValueError
            If they are too many of a sparse matrix or a memory map.
        """
        return self.rows.array("A programme over given patterns, or a proof,")

    @property
    def n_outputs(self):
        """Number of outputs."""
        return self.Y.shape[1]

    def with_alpha(self, alpha):
        """Return the same problem at another penalty strength."""
        return replace(self, alpha=alpha)

    def smoothed(self, width, slopes=0.0):
        """Return the problem with a smooth loss, for one with kinks.

        Parameters
        ----------
        width : float
            Width of the smoothing, in the unit of the predictions.
        slopes : ndarray of shape (n_samples, n_outputs), default=0.0
            Slopes of the loss that it is about: where they are the solution's, that of
            the smooth problem is one of the exact one. Objectives are larger by
            ``width / 2`` times the sum of their weighted squares.
        """
        targets = self.Y - width * slopes
        return replace(self, loss=self.loss.smoothed(width), Y=targets)

    def until(self, deadline):
        """Return the same problem with another Deadline for its rows, or None."""
        return replace(self, rows=self.rows.until(deadline))

    def subset(self, index):
        """Return the problem on some of the rows, their weights summing to one."""
        weights = self.weights[index]
        return replace(
            self,
            rows=self.rows.take(index),
            Y=self.Y[index],
            weights=weights / weights.sum(),
        )

    def objective(self, network, F=None):
        """Return loss plus penalty of ``network``; ``F`` its predictions, if known.

        In double, whatever its weights are in: sums in single precision may differ by
        more than a tolerance where features are far from zero.
        """
        F = network.astype(np.float64).forward(self.rows) if F is None else F
        return self.loss_at(F) + self.alpha * network.penalty()

    def loss_at(self, F):
        """Return the loss at predictions, (n_samples, n_outputs)."""
        return sum(self._by_rows(self.loss.value, F))

    def gradient_at(self, F, overwrites=False):
        """Return the gradient of the loss at predictions, maybe in their place."""
        parts = self._by_rows(self.loss.gradient, F)
        N, first = F if overwrites else np.empty(F.shape), 0
        for part in parts:
            N[first : first + len(part)] = part
            first += len(part)
        return N

    def _by_rows(self, function, F):
        """Yield what a loss's function returns for so many rows at a time.

        Its temporaries would otherwise be several times the targets.
        """
        for first in range(0, len(F), _ROWS):
            rows = slice(first, first + _ROWS)
            yield function(F[rows], self.Y[rows], self.weights[rows])

    def null_network(self):
        """Return the best network without neurons: a constant, or zero."""
        intercept = np.zeros(self.n_outputs)
        if self.fit_intercept:
            intercept = self.best_constant()
        return self.shape.empty(self.rows.n_inputs, intercept)

    def best_constant(self):
        """Return the constant prediction of least loss, (n_outputs,)."""
        zero = np.broadcast_to(0.0, self.Y.shape)
        return self.loss.best_intercept(zero, self.Y, self.weights)

    def loss_scale(self):
        """Return the loss of the best constant prediction; tolerances multiply it.

        Where a constant is already perfect the loss of predicting zero stands in, and
        one where that is perfect too: nothing is left to fit. Of a smoothed loss it is
        the loss itself, whose tolerances there are.
        """
        if self.loss.exact is not self.loss:
            return replace(self, loss=self.loss.exact).loss_scale()
        zero = np.broadcast_to(0.0, self.Y.shape)
        if np.ptp(self.Y, axis=0).max() > ROUNDED * np.abs(self.Y).max():
            value = self.loss_at(np.broadcast_to(self.best_constant(), self.Y.shape))
            if value > 0.0:
                return value
        at_zero = self.loss_at(zero)
        return at_zero if at_zero > 0.0 else 1.0
