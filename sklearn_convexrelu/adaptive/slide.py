"""Slide: local descent on the weights of all neurons at once."""

from dataclasses import replace

import numpy as np
from scipy.optimize import minimize

from sklearn_convexrelu.model.neurons import Network

__all__ = ["slide"]


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
        self.shapes = [weights.shape for weights in self.weights_of(network)]
        self.sizes = np.cumsum([weights.size for weights in self.weights_of(network)])

    def weights_of(self, network):
        """Return coordinates of hidden weights, and output weights."""
        return network.norm.coordinates(network.hidden), network.output

    def start(self):
        """Return the vector of the given network."""
        return self.pack(*self.weights_of(self.given), self.intercept)

    def network(self, flat):
        """Return the network of a vector."""
        P, output, intercept = self.unpack(flat)
        norm = self.given.norm
        return Network(norm.vectors(P), output, intercept, norm)

    def pack(self, hidden, output, intercept):
        parts = [hidden.ravel(), output.ravel()]
        if self.problem.fit_intercept:
            parts.append(intercept)
        return np.concatenate(parts)

    def unpack(self, flat):
        first, both = self.sizes
        intercept = flat[both:] if self.problem.fit_intercept else self.intercept
        return (
            flat[:first].reshape(self.shapes[0]),
            flat[first:both].reshape(self.shapes[1]),
            intercept,
        )

    def __call__(self, flat):
        problem, alpha = self.problem, self.problem.alpha
        norm = self.given.norm
        P, output, intercept = self.unpack(flat)
        hidden = norm.vectors(P)
        # The cost of a balanced neuron is half the sum of these two squares.
        squares = np.einsum("ij,ij->j", P, P)
        value = 0.5 * alpha * (np.sum(squares**norm.degree) + np.vdot(output, output))
        slope = alpha * norm.degree * squares ** (norm.degree - 1)
        dtype = self.dtype
        U, A = (w.astype(dtype, copy=False) for w in (hidden, output))
        loss, *sums = self.rows.reduce(
            _loss_and_gradients,
            U.shape[1] * dtype.itemsize / 8,
            self.rows.weights(U),
            A,
            intercept,
            problem,
        )
        to_intercept, to_output, to_hidden = sums
        # One output factors out of the gradients of hidden weights.
        if A.shape[1] == 1:
            to_hidden = to_hidden * A[:, 0]
        return value + loss, self.pack(
            slope * P + norm.pull_back(P, to_hidden),
            alpha * output + to_output,
            to_intercept,
        )


class _TreeObjective(_WeightObjective):
    """The same for sub-networks, as a function of coordinates and outputs."""

    def weights_of(self, network):
        """Return coordinates and output weights."""
        return network.coordinates, network.output

    def network(self, flat):
        """Return the network of a vector."""
        W, A, b = self.unpack(flat)
        return replace(self.given, coordinates=W, output=A, intercept=b)

    def __call__(self, flat):
        problem, alpha, shape = self.problem, self.problem.alpha, self.given.shape
        W, A, b = self.unpack(flat)
        # The cost of a balanced sub-network is half the sum of these two squares.
        squares = np.einsum("kmd,kmd->k", W, W)
        value = 0.5 * alpha * (np.sum(squares**shape.degree) + np.vdot(A, A))
        slope = alpha * shape.degree * squares ** (shape.degree - 1)
        dtype = self.dtype
        V = shape.leaves(W).astype(dtype, copy=False)
        prepared = shape.prepared_leaves(self.rows, V, self.given.signs)
        loss, to_b, to_A, G = self.rows.reduce(
            _tree_loss_and_gradients,
            V.shape[0] * V.shape[1] * dtype.itemsize / 8,
            shape,
            prepared,
            A.astype(dtype, copy=False),
            b,
            problem,
        )
        to_W = slope[:, None, None] * W
        to_W += shape.pull_back(W, G)
        return value + loss, self.pack(to_W, alpha * A + to_A, to_b)


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
