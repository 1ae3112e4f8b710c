"""Slide: local descent on the weights of all neurons at once."""

from dataclasses import replace

import numpy as np
from scipy.optimize import Bounds, minimize

from sklearn_convexrelu.patterns.geometry import positive

__all__ = ["slide"]

# Times what a weight of zero costs: the least slope of the loss that lets it move. With
# 0.9, 0.5 and 0 ten fits of friedman1 (n = 200) took 0.75, 0.86 and 0.92 s on average,
# in as many rounds: fewer variables.
_DRAWN = 0.9


def slide(
    problem, network, tol, max_iter, rows=None, watch=None, axes=None, squares=None
):
    """Return a network of lower objective with the same number of neurons.

    Minimises ``L(f(X)) + alpha/2 (||hidden||^2 + ||output||^2)`` by L-BFGS from
    ``network`` (balanced). The weights may turn, which amplitudes alone cannot: this
    is the sliding step of Denoyelle, Duval, Peyre & Soubies (2019). Newton's method
    with patterns held fixed stalls here, since at the optimum hyperplanes pass
    through data points and the patterns flip. ``rows`` are
    those of the problem, in the precision and along the axes to take products in, as
    ``network`` is; ``axes`` are None where they are the inputs. ``watch`` is called
    with the network after every step. Where mean ``squares`` of the rows along the axes
    are given, variables are scaled by second derivatives.
    """
    kind = _TreeObjective if problem.shape.is_tree else _WeightObjective
    objective = kind(problem, network, rows, axes)
    sizes = 1.0 if squares is None else objective.sizes(squares)

    def scaled(x):
        value, gradient = objective(sizes * x)
        return value, sizes * gradient

    def watched(x):
        watch(objective.network(sizes * x))

    # Trial steps may go too far; and BLAS kernels raise flags on lanes they do not use.
    with np.errstate(over="ignore", invalid="ignore"):
        found = minimize(
            scaled,
            objective.start() / sizes,
            jac=True,
            method="L-BFGS-B",
            bounds=objective.bounds(),
            callback=None if watch is None else watched,
            options={"maxiter": max_iter, "maxcor": 10, "ftol": tol, "gtol": 0.0},
        )
    return objective.network(sizes * found.x)


class _WeightObjective:
    """Objective and gradient of a network as a function of one flat vector."""

    def __init__(self, problem, network, rows=None, axes=None):
        self.problem = problem
        self.linear = _linear_weights(problem, network, axes)
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
        linear = self.linear.weights(self.linear.start)
        falls = -self.loss_and_sums(hidden, output, self.intercept, linear)[3]
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
        linear = self.linear.start
        intercept = self.intercept + self.linear.shift(linear)
        return self.pack(*self.weights_of(self.given), intercept, linear)

    def network(self, flat):
        """Return the network of a vector."""
        hidden, output, *rest = self.unpack(flat)
        return replace(self.given, hidden=hidden, output=output, **self.rest(*rest))

    def rest(self, intercept, linear):
        """Return the intercept and linear part of a network."""
        rest = {"intercept": intercept - self.linear.shift(linear)}
        if self.given.linear is not None:
            weights = self.linear.weights(linear)
            rest["linear"] = self.given.linear.with_weights(weights)
        return rest

    def pack(self, hidden, output, intercept, linear):
        """Return weights, or gradients in them, as a vector: seen from their sides."""
        if self.signs is not None:
            hidden = (self.signs * hidden).ravel()[self.moving]
        parts = [hidden.ravel(), output.ravel()]
        if self.problem.fit_intercept:
            parts.append(intercept)
        return np.concatenate([*parts, linear])

    def unpack(self, flat):
        """Return the weights of a vector."""
        shape, of_outputs = self.shapes
        hidden, rest = flat[: self.n_moving], flat[self.n_moving :]
        if self.signs is not None:
            moving, hidden = hidden, np.zeros(self.signs.size)
            hidden[self.moving] = self.signs.ravel()[self.moving] * moving
        n_outputs = int(np.prod(of_outputs))
        output, rest = rest[:n_outputs].reshape(of_outputs), rest[n_outputs:]
        intercept, linear = self.intercept, rest
        if self.problem.fit_intercept:
            intercept, linear = np.split(rest, [len(self.intercept)])
        return hidden.reshape(shape), output, intercept, linear

    def __call__(self, flat):
        alpha = self.problem.alpha
        hidden, output, intercept, linear = self.unpack(flat)
        # The cost of a balanced unit is half the sum of these two squares.
        squares, to_hidden = self.squared_costs(hidden)
        value = 0.5 * alpha * (squares + np.vdot(output, output))
        loss, to_intercept, to_output, falls, to_weights = self.loss_and_sums(
            hidden,
            output,
            intercept - self.linear.shift(linear),
            self.linear.weights(linear),
        )
        cost, to_linear = self.linear.cost_and_gradient(
            linear, alpha, to_weights, to_intercept
        )
        return value + loss + cost, self.pack(
            alpha * to_hidden + falls,
            alpha * output + to_output,
            to_intercept,
            to_linear,
        )

    def sizes(self, squares):
        """Return the sizes of steps in the entries of the vector.

        They are roots of the inverse diagonal of a Gauss-Newton matrix, that of hidden
        weights as if rows were as large along the axes wherever a unit is active.
        """
        alpha, linear = self.problem.alpha, self.linear.weights(self.linear.start)
        of_hidden, of_output, of_intercept = self.reduced(
            _curvatures, *self.weights_of(self.given), self.intercept, linear
        )
        of_hidden = alpha + squares[:, None] * of_hidden
        if self.signs is not None:
            of_hidden = of_hidden.ravel()[self.moving]
        parts = [of_hidden.ravel(), (alpha + of_output).ravel()]
        if self.problem.fit_intercept:
            parts.append(of_intercept)
        parts.append(self.linear.curvatures(squares, alpha, of_intercept))
        curvatures = np.concatenate(parts)
        return 1.0 / np.sqrt(positive(curvatures))

    def squared_costs(self, hidden):
        """Return the sum of squared costs of the units, and half its gradient."""
        norm = self.given.norm
        half_slopes = norm.half_slopes(hidden, self.signs)
        return np.vdot(half_slopes, hidden), half_slopes

    def loss_and_sums(self, hidden, output, intercept, linear):
        """Return the loss, and its gradients in intercept, output, hidden weights.

        The last one is that in the weights of a linear part.
        """
        loss, to_intercept, to_output, to_hidden, to_linear = self.reduced(
            _loss_and_gradients, hidden, output, intercept, linear
        )
        # One output factors out of the gradients of hidden weights.
        if output.shape[1] == 1:
            to_hidden = to_hidden * output[:, 0].astype(self.dtype, copy=False)
        return loss, to_intercept, to_output, to_hidden, to_linear

    def reduced(self, kernel, hidden, output, intercept, linear):
        """Return the sums of a kernel of a network over all rows."""
        U, A = (w.astype(self.dtype, copy=False) for w in (hidden, output))
        return self.rows.reduce(
            kernel,
            U.shape[1] * self.dtype.itemsize / 8,
            self.rows.weights(U),
            A,
            intercept,
            self.linear_of_rows(linear),
            self.problem,
        )

    def linear_of_rows(self, linear):
        """Return the weights of a linear part as blocks multiply by them, or None."""
        if linear is None:
            return None
        return self.rows.weights(linear.astype(self.dtype, copy=False))


def _half_lines(sides):
    """Return the bounds of numbers of given signs, of any where that is zero."""
    sides = sides.ravel()
    least = np.where(sides > 0.0, 0.0, -np.inf)
    return least, np.where(sides < 0.0, 0.0, np.inf)


class _TreeObjective(_WeightObjective):
    """The same for sub-networks, as a function of coordinates and outputs."""

    def sizes(self, squares):
        """Return one: all entries are as large."""
        return 1.0

    def weights_of(self, network):
        """Return coordinates and output weights."""
        return network.coordinates, network.output

    def network(self, flat):
        """Return the network of a vector."""
        W, A, *rest = self.unpack(flat)
        return replace(self.given, coordinates=W, output=A, **self.rest(*rest))

    def squared_costs(self, W):
        """Return the sum of squared costs of the sub-networks, and half its gradient.

        Costs are of a degree in the coordinates, so squares are of twice that.
        """
        shape = self.given.shape
        half_slopes = shape.half_slopes(W, self.signs)
        return np.vdot(half_slopes, W) / shape.degree, half_slopes

    def loss_and_sums(self, W, A, b, linear):
        """Return the loss, and its gradients in intercept, output, coordinates."""
        shape, dtype = self.given.shape, self.dtype
        V = shape.leaves(W).astype(dtype, copy=False)
        prepared = shape.prepared_leaves(self.rows, V, self.given.signs)
        loss, to_b, to_A, G, to_linear = self.rows.reduce(
            _tree_loss_and_gradients,
            V.shape[0] * V.shape[1] * dtype.itemsize / 8,
            shape,
            prepared,
            A.astype(dtype, copy=False),
            b,
            self.linear_of_rows(linear),
            self.problem,
        )
        return loss, to_b, to_A, shape.pull_back(W, G), to_linear


class _NoLinearWeights:
    """The linear part of networks that have none."""

    start = np.zeros(0)

    def curvatures(self, squares, alpha, of_outputs):
        """Return nothing."""
        return self.start

    def weights(self, flat):
        """Return None."""

    def shift(self, flat):
        """Return zero."""
        return 0.0

    def cost_and_gradient(self, flat, alpha, G, to_intercept):
        """Return nothing."""
        return 0.0, flat


class _FreeWeights:
    """A free linear part, in coordinates in which inputs are orthonormal.

    As they are, they are as long and as much alike as they come, and descent is slow.
    """

    def __init__(self, problem, linear, axes):
        self.columns = problem.unpenalised
        self.there = np.zeros((len(linear.weights), self.columns.scaling.shape[1]))
        self.there[self.columns.index] = self.columns.scaling
        if axes is not None:
            linear = linear.mapped(axes)
            self.there = axes.T @ self.there
        self.n_outputs = linear.weights.shape[1]
        theta = linear.weights[self.columns.index]
        self.start = (self.columns.inverse @ theta).ravel()

    def curvatures(self, squares, alpha, of_outputs):
        """Return second derivatives of the loss, those of outputs given."""
        return np.tile(of_outputs, self.there.shape[1])

    def weights(self, flat):
        """Return the weights of the inputs, or of axes, (n_inputs, n_outputs)."""
        return self.there @ flat.reshape(-1, self.n_outputs)

    def shift(self, flat):
        """Return what centring adds to the intercept."""
        z = flat.reshape(-1, self.n_outputs)
        return self.columns.means @ (self.columns.scaling @ z)

    def cost_and_gradient(self, flat, alpha, G, to_intercept):
        """Return no cost, and the gradient from that in the weights."""
        means = self.columns.scaling.T @ self.columns.means
        return 0.0, (self.there.T @ G - np.outer(means, to_intercept)).ravel()


class _CostlyWeights:
    """A penalised linear part as linear neurons, hidden weights and outputs.

    As of neurons, the cost of balanced ones is half the sum of squares. With the
    2-norm they turn; with the 1-norm each has one input, and nothing has a kink.
    """

    def __init__(self, problem, linear, axes):
        part = problem.linear
        if axes is not None:
            linear = linear.mapped(axes)
        V, A, a = linear.atoms()
        root = np.sqrt(a)
        V, A = V * root, A * root[:, None]
        self.axes, self.shapes = axes, (V.shape, A.shape)
        turns = np.broadcast_to(part.inputs[:, None], V.shape)
        self.moving = np.flatnonzero(turns if part.norm.is_euclidean else V)
        self.start = np.concatenate([V.ravel()[self.moving], A.ravel()])

    def curvatures(self, squares, alpha, of_outputs):
        """Return second derivatives of the objective, those of outputs given."""
        if self.axes is not None:
            squares = self.axes**2 @ squares
        V, A = self._parts(self.start)
        of_V = np.outer(squares, A**2 @ of_outputs).ravel()[self.moving]
        of_A = np.outer(squares @ V**2, of_outputs)
        return alpha + np.concatenate([of_V, of_A.ravel()])

    def _parts(self, flat):
        """Return hidden weights and outputs."""
        V = np.zeros(self.shapes[0])
        V.ravel()[self.moving] = flat[: len(self.moving)]
        return V, flat[len(self.moving) :].reshape(self.shapes[1])

    def weights(self, flat):
        """Return the weights of the inputs, or of axes, (n_inputs, n_outputs)."""
        V, A = self._parts(flat)
        return V @ A if self.axes is None else self.axes.T @ (V @ A)

    def shift(self, flat):
        """Return zero: inputs are not centred."""
        return 0.0

    def cost_and_gradient(self, flat, alpha, G, to_intercept):
        """Return the cost, and its gradient with that of the loss in the weights."""
        V, A = self._parts(flat)
        if self.axes is not None:
            G = self.axes @ G
        to_V = (alpha * V + G @ A.T).ravel()[self.moving]
        cost = 0.5 * alpha * (np.vdot(V, V) + np.vdot(A, A))
        return cost, np.concatenate([to_V, (alpha * A + V.T @ G).ravel()])


def _linear_weights(problem, network, axes):
    """Return the linear part of a network as variables of a vector."""
    if network.linear is None:
        return _NoLinearWeights()
    kind = _FreeWeights if network.linear.is_free else _CostlyWeights
    return kind(problem, network.linear, axes)


def _activations(block, weights, A, intercept, linear):
    """Return what units are at a block of rows, and the predictions there."""
    H = block.values(weights)
    np.maximum(H, 0.0, out=H)
    F = H @ A + intercept
    if linear is not None:
        F += block.values(linear)
    return H, F


def _loss_and_gradients(block, rows, weights, A, intercept, linear, problem):
    """Kernel: loss, and its gradients in intercept, output and hidden weights.

    Those in hidden weights are without the output weights where there is one output.
    """
    H, F = _activations(block, weights, A, intercept, linear)
    loss, N = problem.loss.value_and_gradient(F, problem.Y[rows], problem.weights[rows])
    to_intercept = N.sum(axis=0)
    N = N.astype(H.dtype, copy=False)
    to_output, to_linear = H.T @ N, _linear_sums(block, N, linear)
    D = np.greater(H, 0.0, out=H)
    if N.shape[1] == 1:  # no matrix of derivatives is needed
        to_hidden = block.weighted_sums(N, D)
    else:
        to_hidden = block.sums(D * (N @ A.T))
    # Sums over blocks are in double: those of many rows would lose what steps gain.
    doubles = (np.asarray(total, np.float64) for total in (to_output, to_hidden))
    return loss, to_intercept, *doubles, to_linear


def _curvatures(block, rows, weights, A, intercept, linear, problem):
    """Kernel: second derivatives in what hidden weights, outputs and intercept move.

    The first are of the loss in the values of units, (K,), where these are active.
    """
    H, F = _activations(block, weights, A, intercept, linear)
    h, q = problem.loss.curvature(F, problem.Y[rows], problem.weights[rows])
    C = h.astype(H.dtype, copy=False) @ (A * A).T
    if q is not None:
        C -= (q.astype(H.dtype, copy=False) @ A.T) ** 2
        h = h - q * q
    of_values = np.einsum("ij,ij->j", C, H > 0.0)
    np.multiply(H, H, out=H)
    of_outputs = H.T @ h.astype(H.dtype, copy=False)
    doubles = (np.asarray(total, np.float64) for total in (of_values, of_outputs))
    return *doubles, h.sum(axis=0)


def _linear_sums(block, N, linear):
    """Return the gradient in the weights of a linear part, zero where there is none."""
    return 0.0 if linear is None else np.asarray(block.sums(N), np.float64)


def _tree_loss_and_gradients(block, rows, shape, prepared, A, b, linear, problem):
    """Kernel: loss, and its gradients in intercept, output and leaf vectors."""
    Z = shape.up(block, prepared)
    H = np.maximum(Z[-1][:, 0], 0.0)
    F = H.T @ A + b
    if linear is not None:
        F += block.values(linear)
    loss, N = problem.loss.value_and_gradient(F, problem.Y[rows], problem.weights[rows])
    to_b = N.sum(axis=0)
    N = N.astype(H.dtype, copy=False)
    to_linear = _linear_sums(block, N, linear)
    to_leaves = shape.down(Z, prepared[1], A @ N.T, block)
    doubles = (np.asarray(total, np.float64) for total in (H @ N, to_leaves))
    return loss, to_b, *doubles, to_linear
