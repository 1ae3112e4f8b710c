"""The training problem: data, loss and penalty strength, with its objective."""

from dataclasses import dataclass, replace

import numpy as np

from sklearn_convexrelu.data.cluster import is_spread
from sklearn_convexrelu.data.rows import FEW_ROWS, Rows
from sklearn_convexrelu.model.loss import ROUNDED, Loss
from sklearn_convexrelu.model.neurons import NEURONS, NeuronShape
from sklearn_convexrelu.model.spread import (
    best_dual_value,
    best_intercept,
    sums_over_rows,
)
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
    Y : ndarray or Spread of shape (n_samples, n_outputs)
        Targets; with the rows of a cluster, on its workers.
    weights : ndarray or Spread of shape (n_samples,)
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
        if is_spread(F):
            return float(sums_over_rows(self, self.loss.value, F))
        return sum(self._by_rows(self.loss.value, F))

    def gradient_at(self, F, overwrites=False):
        """Return the gradient of the loss at predictions, maybe in their place."""
        if is_spread(F):
            args = F, self.Y, self.weights
            return F.cluster.map(self.loss.gradient, F.tail, np.float64, *args)
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

    def constant(self, values):
        """Return the predictions of a constant, which take no memory."""
        if is_spread(self.Y):
            return self.Y.constant(np.broadcast_to(values, self.Y.tail))
        return np.broadcast_to(values, self.Y.shape)

    def best_intercept(self, F):
        """Return the vector b, (n_outputs,), of the least loss at ``F + b``."""
        if is_spread(F):
            return best_intercept(self, F)
        return self.loss.best_intercept(F, self.Y, self.weights)

    def balanced(self, N):
        """Return a dual point next to N whose columns sum to zero."""
        loss, Y, weights = self.loss, self.Y, self.weights
        if not is_spread(N):
            return loss.balanced(N, Y, weights)
        sums = sums_over_rows(self, loss.imbalance, N)
        args = N, Y, weights, *sums
        return N.cluster.map(loss.rebalanced, N.tail, np.float64, *args)

    def best_dual_value(self, N, limit):
        """Return the best bound along a dual point, scaled by up to ``limit``."""
        if is_spread(N):
            return best_dual_value(self, N, limit)
        return self.loss.best_dual_value(N, self.Y, self.weights, limit)

    def conjugate(self, N):
        """Return the conjugate of the loss at a dual point."""
        if is_spread(N):
            return float(sums_over_rows(self, self.loss.conjugate, N))
        return self.loss.conjugate(N, self.Y, self.weights)

    def advice(self, F):
        """Return what the loss has to say to who fits these targets, or nothing."""
        Y = self.Y
        if is_spread(F):  # some of them tell as much
            few = slice(None, None, max(len(F) // FEW_ROWS, 1))
            F, Y = F[few], Y[few]
        return self.loss.advice(F, Y)

    def has_constant_output(self):
        """Tell whether the targets of an output are all the same."""
        Y = self.Y.bounds() if is_spread(self.Y) else self.Y
        return bool((Y == Y[0]).all(axis=0).any())

    def null_network(self):
        """Return the best network without neurons: a constant, or zero."""
        intercept = np.zeros(self.n_outputs)
        if self.fit_intercept:
            intercept = self.best_constant()
        return self.shape.empty(self.rows.n_inputs, intercept)

    def best_constant(self):
        """Return the constant prediction of least loss, (n_outputs,)."""
        return self.best_intercept(self.constant(0.0))

    def loss_scale(self):
        """Return the loss of the best constant prediction; tolerances multiply it.

        Where a constant is already perfect the loss of predicting zero stands in, and
        one where that is perfect too: nothing is left to fit. Of a smoothed loss it is
        the loss itself, whose tolerances there are.
        """
        if self.loss.exact is not self.loss:
            return replace(self, loss=self.loss.exact).loss_scale()
        Y = self.Y.bounds() if is_spread(self.Y) else self.Y
        if np.ptp(Y, axis=0).max() > ROUNDED * np.abs(Y).max():
            value = self.loss_at(self.constant(self.best_constant()))
            if value > 0.0:
                return value
        at_zero = self.loss_at(self.constant(0.0))
        return at_zero if at_zero > 0.0 else 1.0
