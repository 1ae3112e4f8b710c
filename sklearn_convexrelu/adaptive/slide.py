"""Slide: local descent on the weights of all neurons at once."""

from dataclasses import replace

import numpy as np
from scipy.optimize import Bounds, minimize

from sklearn_convexrelu.model.neurons import Network

__all__ = ["slide"]

# Times what a weight of zero costs: the least slope of the loss that lets it move. With
# 0.9, 0.5 and 0 ten fits of friedman1 (n = 200) took 0.75, 0.86 and 0.92 s on average,
# in as many rounds: fewer variables.
_DRAWN = 0.9


def slide(problem, network, tol, max_iter, rows=None, watch=None):
    """Return a network of lower objective with the same number of neurons.

    Minimises ``L(f(X)) + alpha/2 (||hidden||^2 + ||output||^2)`` by L-BFGS from
    ``network`` (balanced). The weights may turn, which amplitudes alone cannot: this
    is the sliding step of Denoyelle, Duval, Peyre & Soubies (2019). Newton's method
    with patterns held fixed stalls here, since at the optimum hyperplanes pass
    through data points and the patterns flip. ``rows`` are
    those of the problem, in the precision and along the axes to take products in, as
    ``network`` is. ``watch`` is called with the network after every step.
    """
    kind = _TreeObjective if problem.shape.is_tree else _WeightObjective
    objective = kind(problem, network, rows)
    # Trial steps may go too far; and BLAS kernels raise flags on lanes they do not use.
    with np.errstate(over="ignore", invalid="ignore"):
        found = minimize(
            objective,
            objective.start(),
            jac=True,
            method="L-BFGS-B",
            bounds=objective.bounds(),
            callback=None if watch is None else lambda x: watch(objective.network(x)),
            options={"maxiter": max_iter, "maxcor": 10, "ftol": tol, "gtol": 0.0},
        )
    return objective.network(found.x)


class _WeightObjective:
    """Objective and gradient of a network as a function of one flat vector."""

    def __init__(self, problem, network, rows=None):
        self.problem = problem
        self.rows = problem.rows if rows is None else rows
        self.dtype = np.dtype(np.float64) if rows is None else rows.dtype
        self.given, self.intercept = network, network.intercept
        hidden, output = self.weights_of(network)
        self.shapes, self.n_moving = (hidden.shape, output.shape), hidden.size
        self.signs = self.moving = self.held = None
        if problem.shape.monotone is not None:
            self.held = problem.shape.weight_sides(network)
        if problem.shape.norm.has_kinks:
            self.take_sides(hidden, output)

    def weights_of(self, network):
        """Return hidden weights and output weights."""
        return network.hidden, network.output

    def take_sides(self, hidden, output):
        """Choose the side of zero of every hidden weight, and which of them move.

        Orthants are chosen as in OWL-QN (Andrew & Gao, "Scalable training of
        L1-regularized log-linear models", ICML 2007); within one the penalty is smooth,
        and L-BFGS-B keeps the bounds exactly, which projecting its steps does not.
        Weights of zero that nothing draws away from it stay. Those of monotone networks
        have one side.
        """
        falls = -self.loss_and_sums(hidden, output, self.intercept)[3]
        self.signs = np.where(hidden != 0.0, np.sign(hidden), np.sign(falls))
        if self.held is not None:
            self.signs = np.where(self.held != 0.0, self.held, self.signs)
        costs = self.problem.alpha * np.abs(self.squared_costs(hidden)[1])
        drawn = self.signs * falls > _DRAWN * costs
        self.moving = np.flatnonzero((hidden != 0.0) | drawn)
        self.n_moving = len(self.moving)

    def bounds(self):
        """Return the bounds of the vector, or None."""
        if self.signs is None and self.held is None:
            return None
        least = np.full(len(self.start()), -np.inf)
        most, moving = -least, slice(self.n_moving)
        if self.signs is not None:
            least[moving] = 0.0
        else:
            least[moving], most[moving] = _half_lines(self.held)
        if self.held is not None:  # the signs of hidden weights are by those of outputs
            output = self.weights_of(self.given)[1]
            outputs = slice(self.n_moving, self.n_moving + output.size)
            least[outputs], most[outputs] = _half_lines(np.sign(output))
        return Bounds(least, most)

    def start(self):
        """Return the vector of the given network."""
        return self.pack(*self.weights_of(self.given), self.intercept)

    def network(self, flat):
        """Return the network of a vector."""
        hidden, output, intercept = self.unpack(flat)
        return Network(hidden, output, intercept, self.given.norm)

    def pack(self, hidden, output, intercept):
        """Return weights, or gradients in them, as a vector: seen from their sides."""
        if self.signs is not None:
            hidden = (self.signs * hidden).ravel()[self.moving]
        parts = [hidden.ravel(), output.ravel()]
        if self.problem.fit_intercept:
            parts.append(intercept)
        return np.concatenate(parts)

    def unpack(self, flat):
        """Return the weights of a vector."""
        shape, of_outputs = self.shapes
        hidden, rest = flat[: self.n_moving], flat[self.n_moving :]
        if self.signs is not None:
            moving, hidden = hidden, np.zeros(self.signs.size)
            hidden[self.moving] = self.signs.ravel()[self.moving] * moving
        n_outputs = int(np.prod(of_outputs))
        intercept = rest[n_outputs:] if self.problem.fit_intercept else self.intercept
        return hidden.reshape(shape), rest[:n_outputs].reshape(of_outputs), intercept

    def __call__(self, flat):
        alpha = self.problem.alpha
        hidden, output, intercept = self.unpack(flat)
        # The cost of a balanced unit is half the sum of these two squares.
        squares, to_hidden = self.squared_costs(hidden)
        value = 0.5 * alpha * (squares + np.vdot(output, output))
        loss, to_intercept, to_output, falls = self.loss_and_sums(
            hidden, output, intercept
        )
        return value + loss, self.pack(
            alpha * to_hidden + falls, alpha * output + to_output, to_intercept
        )

    def squared_costs(self, hidden):
        """Return the sum of squared costs of the units, and half its gradient."""
        norm = self.given.norm
        half_slopes = norm.half_slopes(hidden, self.signs)
        return np.vdot(half_slopes, hidden), half_slopes

    def loss_and_sums(self, hidden, output, intercept):
        """Return the loss, and its gradients in intercept, output, hidden weights."""
        dtype = self.dtype
        U, A = (w.astype(dtype, copy=False) for w in (hidden, output))
        loss, to_intercept, to_output, to_hidden = self.rows.reduce(
            _loss_and_gradients,
            U.shape[1] * dtype.itemsize / 8,
            self.rows.weights(U),
            A,
            intercept,
            self.problem,
        )
        # One output factors out of the gradients of hidden weights.
        if A.shape[1] == 1:
            to_hidden = to_hidden * A[:, 0]
        return loss, to_intercept, to_output, to_hidden


def _half_lines(sides):
    """Return the bounds of numbers of given signs, of any where that is zero."""
    sides = sides.ravel()
    least = np.where(sides > 0.0, 0.0, -np.inf)
    return least, np.where(sides < 0.0, 0.0, np.inf)


class _TreeObjective(_WeightObjective):
    """The same for sub-networks, as a function of coordinates and outputs."""

    def weights_of(self, network):
        """Return coordinates and output weights."""
        return network.coordinates, network.output

    def network(self, flat):
        """Return the network of a vector."""
        W, A, b = self.unpack(flat)
        return replace(self.given, coordinates=W, output=A, intercept=b)

    def squared_costs(self, W):
        """Return the sum of squared costs of the sub-networks, and half its gradient.

        Costs are of a degree in the coordinates, so squares are of twice that.
        """
        shape = self.given.shape
        half_slopes = shape.half_slopes(W, self.signs)
        return np.vdot(half_slopes, W) / shape.degree, half_slopes

    def loss_and_sums(self, W, A, b):
        """Return the loss, and its gradients in intercept, output, coordinates."""
        shape, dtype = self.given.shape, self.dtype
        V = shape.leaves(W).astype(dtype, copy=False)
        prepared = shape.prepared_leaves(self.rows, V, self.given.signs)
        loss, to_b, to_A, G = self.rows.reduce(
            _tree_loss_and_gradients,
            V.shape[0] * V.shape[1] * dtype.itemsize / 8,
            shape,
            prepared,
            A.astype(dtype, copy=False),
            b,
            self.problem,
        )
        return loss, to_b, to_A, shape.pull_back(W, G)


def _loss_and_gradients(block, rows, weights, A, intercept, problem):
    """Kernel: loss, and its gradients in intercept, output and hidden weights.

    Those in hidden weights are without the output weights where there is one output.
    """
    H = block.values(weights)
    np.maximum(H, 0.0, out=H)
    loss, N = problem.loss.value_and_gradient(
        H @ A + intercept, problem.Y[rows], problem.weights[rows]
    )
    to_intercept = N.sum(axis=0)
    N = N.astype(H.dtype, copy=False)
    to_output = H.T @ N
    D = np.greater(H, 0.0, out=H)
    if N.shape[1] == 1:  # no matrix of derivatives is needed
        to_hidden = block.weighted_sums(N, D)
    else:
        to_hidden = block.sums(D * (N @ A.T))
    # Sums over blocks are in double: those of many rows would lose what steps gain.
    doubles = (np.asarray(total, np.float64) for total in (to_output, to_hidden))
    return loss, to_intercept, *doubles


def _tree_loss_and_gradients(block, rows, shape, prepared, A, b, problem):
    """Kernel: loss, and its gradients in intercept, output and leaf vectors."""
    Z = shape.up(block, prepared)
    H = np.maximum(Z[-1][:, 0], 0.0)
    loss, N = problem.loss.value_and_gradient(
        H.T @ A + b, problem.Y[rows], problem.weights[rows]
    )
    to_b = N.sum(axis=0)
    N = N.astype(H.dtype, copy=False)
    to_leaves = shape.down(Z, prepared[1], A @ N.T, block)
    return loss, to_b, np.asarray(H @ N, np.float64), np.asarray(to_leaves, np.float64)
