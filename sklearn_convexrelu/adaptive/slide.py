"""Slide: local descent on the weights of all neurons at once."""

from dataclasses import replace

import numpy as np
from scipy.optimize import minimize

from sklearn_convexrelu.model.neurons import Network, row_blocks

__all__ = ["slide"]


def slide(problem, network, tol, max_iter, dtype=np.float64, watch=None):
    """Return a network of lower objective with the same number of neurons.

    Minimises ``L(f(X)) + alpha/2 (||hidden||^2 + ||output||^2)`` by L-BFGS from
    ``network`` (balanced). The weights may turn, which amplitudes alone cannot: this
    is the sliding step of Denoyelle, Duval, Peyre & Soubies (2019). Newton's method
    with patterns held fixed stalls here, since at the optimum hyperplanes pass
    through data points and the patterns flip. ``dtype`` is the precision of the
    products with all rows. ``watch`` is called with the network after every step.
    """
    kind = _TreeObjective if problem.shape.is_tree else _WeightObjective
    objective = kind(problem, network, dtype)
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

    def __init__(self, problem, network, dtype=np.float64):
        self.problem, self.X = problem, problem.X.astype(dtype, copy=False)
        self.given, self.intercept = network, network.intercept
        self.shapes = [weights.shape for weights in self.weights_of(network)]
        self.sizes = np.cumsum([weights.size for weights in self.weights_of(network)])

    def weights_of(self, network):
        """Return the weights of the two layers."""
        return network.hidden, network.output

    def start(self):
        """Return the vector of the given network."""
        return self.pack(*self.weights_of(self.given), self.intercept)

    def network(self, flat):
        """Return the network of a vector."""
        return Network(*self.unpack(flat))

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
        hidden, output, intercept = self.unpack(flat)
        value = 0.5 * alpha * (np.vdot(hidden, hidden) + np.vdot(output, output))
        to_hidden, to_output = alpha * hidden, alpha * output
        to_intercept = np.zeros_like(intercept)
        hidden, output = (w.astype(self.X.dtype, copy=False) for w in (hidden, output))
        for rows in row_blocks(len(self.X), hidden.shape[1]):
            X = self.X[rows]
            H = X @ hidden
            np.maximum(H, 0.0, out=H)
            loss, N = problem.loss.value_and_gradient(
                H @ output + intercept, problem.Y[rows], problem.weights[rows]
            )
            value += loss
            to_intercept += N.sum(axis=0)
            N = N.astype(X.dtype, copy=False)
            to_output += H.T @ N
            D = np.greater(H, 0.0, out=H)
            to_hidden += _hidden_gradient(X, N, output, D)
        return value, self.pack(to_hidden, to_output, to_intercept)


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
        to_W, to_A, to_b = slope[:, None, None] * W, alpha * A, np.zeros_like(b)
        V = shape.leaves(W).astype(self.X.dtype, copy=False)
        G, A = np.zeros_like(V), A.astype(self.X.dtype, copy=False)
        levels = shape.split(self.given.signs.astype(self.X.dtype, copy=False))
        for rows in row_blocks(len(self.X), V.shape[0] * V.shape[1]):
            X = self.X[rows]
            Z = shape.up(V, levels, X)
            H = np.maximum(Z[-1][:, 0], 0.0)
            loss, N = problem.loss.value_and_gradient(
                H.T @ A + b, problem.Y[rows], problem.weights[rows]
            )
            value += loss
            to_b += N.sum(axis=0)
            N = N.astype(X.dtype, copy=False)
            to_A += H @ N
            G += shape.down(Z, levels, A @ N.T, X)
        to_W += shape.pull_back(W, G.astype(np.float64, copy=False))
        return value, self.pack(to_W, to_A, to_b)


def _hidden_gradient(X, N, output, D):
    """Return ``X^T (D * (N output^T))``, without that matrix when C is one."""
    if N.shape[1] == 1:
        return (X * N).T @ D * output[:, 0]
    return X.T @ (D * (N @ output.T))
