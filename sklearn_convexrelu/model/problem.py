"""The training problem: data, loss and penalty strength, with its objective."""

from dataclasses import dataclass, replace

import numpy as np

from sklearn_convexrelu.data.cluster import is_spread
from sklearn_convexrelu.data.rows import FEW_ROWS, Rows
from sklearn_convexrelu.model.linear import LinearPart
from sklearn_convexrelu.model.loss import ROUNDED, Loss
from sklearn_convexrelu.model.neurons import NEURONS, NeuronShape
from sklearn_convexrelu.model.spread import (
    best_dual_value,
    best_intercept,
    sums_over_rows,
)
from sklearn_convexrelu.model.subnetworks import TreeShape
from sklearn_convexrelu.model.unpenalised import Unpenalised

__all__ = ["Problem"]

# Of a linear fit of a loss with kinks, for the loss of the best constant: its gap.
_FITTED = 1e-9
_MOST_FITS = 60  # smooth problems that it takes, at most; seen were up to some 20
_WIDTH = 0.3  # of the first smoothing, for the mean size of residuals of a constant
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
    linear : LinearPart or None, default=None
        The linear part that networks have beside them; None: they have none.
    """

    rows: Rows
    Y: np.ndarray
    weights: np.ndarray
    loss: Loss
    alpha: float
    fit_intercept: bool
    shape: TreeShape | NeuronShape = NEURONS
    linear: LinearPart | None = None

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
            linear=None if self.linear is None else self.linear.on(self.linear.inputs),
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
        """Return a point next to N that is dual feasible but for prices.

        It is orthogonal to what is not penalised, and in the conjugate's domain.
        """
        if self.has_free_part:
            return self.unpenalised.balanced(self, N)
        if not self.fit_intercept:
            return N
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

    @property
    def has_free_part(self):
        """Whether networks have a linear part that is not penalised."""
        return self.linear is not None and self.linear.is_free

    @property
    def unpenalised(self):
        """The columns of what is not penalised: the intercept, a free linear part."""
        if not self.has_free_part:
            return Unpenalised(self)
        rows = self.rows
        sources = rows.table, rows.unit, rows.constant, rows.columns, self.weights
        return self.linear.memo.recall(
            "columns", (*sources, self.fit_intercept), lambda: Unpenalised(self)
        )

    def linear_price(self, N):
        """Return the price of the linear part at a dual point, zero without one.

        That of a free part is zero: dual points are orthogonal to it.
        """
        if self.linear is None or self.linear.is_free:
            return 0.0
        return self.linear.price(self.rows, N)

    def no_directions(self):
        """Return an array of no directions of units."""
        return self.shape.empty(self.rows.n_inputs, np.zeros(1)).directions()[0]

    def with_linear_units(self, N, values, outputs):
        """Return values and outputs of units, and those of linear neurons at N.

        Of a penalised linear part, the neurons along which the loss falls the most.
        """
        if self.linear is None or self.linear.is_free:
            return values, outputs
        U, A = self.linear.steepest(self.rows, N)
        return np.hstack([values, self.rows.values(U)]), np.vstack([outputs, A])

    def refitted(self, network, F):
        """Return a network with the best unpenalised part for its units.

        Where the loss has kinks a free linear part stays, and the intercept alone is
        the best.

        Parameters
        ----------
        network : Network
            The network.
        F : ndarray of shape (n_samples, n_outputs)
            Its predictions.

        Returns
        -------
        network : Network
            Of no higher objective.
        F : ndarray of shape (n_samples, n_outputs)
            Its predictions.
        """
        columns = self.unpenalised
        if not columns.n_columns:
            return network, F
        z = columns.best_step(self, F)
        return columns.moved(network, z), F + columns.values(z)

    def null_network(self):
        """Return the best network without neurons.

        It is a constant, or zero; with a free linear part the best linear fit. Where a
        linear part is penalised that is zero.
        """
        intercept = np.zeros(self.n_outputs)
        if self.fit_intercept:
            intercept = self.best_constant()
        network = self.shape.empty(self.rows.n_inputs, intercept)
        if self.linear is None:
            return network
        network = replace(network, linear=self.linear.zero(self.n_outputs))
        return self._linear_fit(network)[0] if self.linear.is_free else network

    def with_own_linear(self, network):
        """Return a network with a linear part if the problem has one, and of its kind.

        It keeps the weights that it has, of inputs that have a part in it.
        """
        if self.linear is None:
            return replace(network, linear=None)
        linear = self.linear.zero(self.n_outputs)
        if network.linear is not None:
            weights = network.linear.weights
            linear = linear.with_weights(weights * self.linear.inputs[:, None])
        return replace(network, linear=linear)

    def linear_dual_point(self):
        """Return a dual point at the best linear fit, where a free part has kinks.

        Slopes of the loss at targets that the fit meets are any that add up.
        """
        constant = replace(self, linear=None).null_network()
        zero = self.linear.zero(self.n_outputs)
        return self._linear_fit(replace(constant, linear=zero))[1]

    def _linear_fit(self, constant):
        """Return the network that a linear fit is, and its dual point if known."""
        sources = self.rows.table, self.rows.unit, self.weights, self.loss, self.Y
        make = self._smooth_fit if self.loss.is_smooth else self._fit_with_kinks
        # A smoothed loss is another object each time, so the exact one's is kept apart.
        name = "fit" if self.loss.is_smooth else "fit with kinks"
        return self.linear.memo.recall(name, sources, lambda: make(constant))

    def _smooth_fit(self, constant):
        F = np.zeros(self.Y.shape) + constant.intercept
        return self.refitted(constant, F)[0], None

    def _fit_with_kinks(self, constant):
        """Return the linear fit of a loss with kinks, and its dual point.

        By the method of multipliers, as ``adaptive/multipliers.py``: smooth fits about
        the slopes of the last one.
        """
        F = np.zeros(self.Y.shape) + constant.intercept
        scale, size = self.loss_scale(), np.abs(self.Y - F).mean()
        width, slopes = _WIDTH * max(size, 1e-300), 0.0
        network, best, gap = constant, (self.loss_at(F), -np.inf), np.inf
        found, N_found = constant, np.zeros(self.Y.shape)
        for _ in range(_MOST_FITS):
            smooth = self.smoothed(width, slopes)
            network, F = smooth.refitted(network, F)
            N = self.unpenalised.balanced(smooth, smooth.gradient_at(F))
            exact, exact_F = self.refitted(network, F)
            objective = self.loss_at(exact_F)
            bound = self.loss.best_dual_value(N, self.Y, self.weights, 1.0)
            if objective < best[0]:
                found, best = exact, (objective, best[1])
            if bound > best[1]:
                N_found, best = N, (best[0], bound)
            last, gap = gap, best[0] - best[1]
            if gap <= _FITTED * scale:
                break
            slopes = N / self.weights[:, None]
            width *= 0.5 if gap > 0.7 * last else 1.0
        return found, N_found

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
