"""Slide: local descent on the weights of all neurons at once."""

import numpy as np
from scipy.optimize import minimize

from sklearn_convexrelu.networks import Network, row_blocks

__all__ = ["slide"]


def slide(problem, network, tol, max_iter, dtype=np.float64):
    """Return a network of lower objective with the same number of neurons.

    Minimises ``L(f(X)) + alpha/2 (||hidden||^2 + ||output||^2)`` by L-BFGS from
    ``network`` (balanced). The weights may turn, which amplitudes alone cannot: this
    is the sliding step of Denoyelle, Duval, Peyre & Soubies (2019). Newton's method
    with patterns held fixed stalls here, since at the optimum hyperplanes pass
    through data points and the patterns flip. ``dtype`` is the precision of the
    products with all rows.
    """
    objective = _WeightObjective(problem, network, dtype)
    found = minimize(
        objective,
        objective.pack(network.hidden, network.output, network.intercept),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": max_iter, "maxcor": 10, "ftol": tol, "gtol": 0.0},
    )
    return Network(*objective.unpack(found.x))


class _WeightObjective:
    """Objective and gradient of a network as a function of one flat vector."""

    def __init__(self, problem, network, dtype=np.float64):
        self.problem, self.X = problem, problem.X.astype(dtype, copy=False)
        self.shapes = network.hidden.shape, network.output.shape
        self.sizes = np.cumsum([network.hidden.size, network.output.size])
        self.intercept = network.intercept

    def pack(self, hidden, output, intercept):
        parts = [hidden.ravel(), output.ravel()]
        if self.problem.fit_intercept:
            parts.append(intercept)
        return np.concatenate(parts)

    def unpack(self, flat):
        hidden, output, intercept = np.split(flat, self.sizes)
        if not self.problem.fit_intercept:
            intercept = self.intercept
        return (
            hidden.reshape(self.shapes[0]),
            output.reshape(self.shapes[1]),
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


def _hidden_gradient(X, N, output, D):
    """Return ``X^T (D * (N output^T))``, without that matrix when C is one."""
    if N.shape[1] == 1:
        return (X * N).T @ D * output[:, 0]
    return X.T @ (D * (N @ output.T))
