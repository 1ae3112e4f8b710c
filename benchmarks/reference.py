"""The objective, restated outside the methods, and L-BFGS on a wide network for it."""

from time import perf_counter

import numpy as np
from scipy.optimize import minimize

__all__ = ["WideNetwork", "network_objective", "train_wide_network"]


def network_objective(coefs, intercepts, X, y, alpha):
    r"""Objective of a two-layer network, from its weights alone.

    .. math:: \frac{1}{2n} \|f(X) - y\|^2 + \alpha \sum_j \|(w_{1j}, b_{1j})\| |w_{2j}|

    Parameters
    ----------
    coefs, intercepts : list of two ndarray
        Weights in the layout of ``MLPRegressor``; one output.
    X : ndarray of shape (n_samples, n_features)
        Features.
    y : ndarray of shape (n_samples,)
        Target.
    alpha : float
        Absolute penalty strength.

    Returns
    -------
    float
        The objective.
    """
    (W1, w2), (b1, b2) = coefs, intercepts
    w2 = w2.ravel()
    residual = np.maximum(X @ W1 + b1, 0) @ w2 + b2 - y
    norms = np.sqrt((W1**2).sum(axis=0) + b1**2)
    return residual @ residual / (2 * len(y)) + alpha * norms @ np.abs(w2)


class WideNetwork:
    r"""A network of fixed width as a function of one vector, for descent methods.

    The function is the loss plus weight decay, :math:`\frac{\alpha}{2}` times the sum
    of squares of all weights but the output intercept: the objective once neurons are
    balanced, and never less.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Features.
    y : ndarray of shape (n_samples,)
        Target.
    alpha : float
        Absolute penalty strength.
    fit_intercept : bool, default=True
        Whether there is an output intercept.
    n_units : int, default=300
        Width.
    """

    def __init__(self, X, y, alpha, *, fit_intercept=True, n_units=300):
        self.X = np.column_stack([X, np.ones(len(X))])
        self.y, self.alpha = y, alpha
        self.fit_intercept, self.n_units = fit_intercept, n_units
        # Allocated once: fresh pages at every step made descent twice as slow.
        shape = len(X), n_units
        self._buffers = np.empty(shape), np.empty(shape), np.empty(shape, dtype=bool)

    def start(self, seed):
        """Return random weights, small enough for neurons to turn freely."""
        size = (self.X.shape[1] + 1) * self.n_units + 1
        scale = 1 / np.sqrt(self.n_units)
        z = scale * np.random.default_rng(seed).standard_normal(size)
        z[-1] = 0.0
        return z

    def split(self, z):
        """Return views of ``z``: hidden weights and biases, output weights."""
        hidden, output = np.split(z[:-1], [self.X.shape[1] * self.n_units])
        return hidden.reshape(-1, self.n_units), output

    def __call__(self, z):
        """Return value and gradient."""
        W, a = self.split(z)
        H, G, active = self._buffers
        np.maximum(np.matmul(self.X, W, out=H), 0, out=H)
        residual = H @ a + z[-1] - self.y
        N = residual / len(self.y)
        np.multiply(np.outer(N, a, out=G), np.greater(H, 0, out=active), out=G)
        to_W = self.X.T @ G
        gradient = self.alpha * z
        gradient[: W.size] += to_W.ravel()
        gradient[W.size : -1] += H.T @ N
        gradient[-1] = N.sum() if self.fit_intercept else 0.0
        decay = self.alpha / 2 * (z[:-1] @ z[:-1])
        return residual @ N / 2 + decay, gradient

    def imbalance(self, z):
        """Return what balancing the neurons would take off the value."""
        W, a = self.split(z)
        return self.alpha / 2 * ((np.linalg.norm(W, axis=0) - np.abs(a)) ** 2).sum()

    def objective(self, z):
        """Return the objective at ``z``, through :func:`network_objective`."""
        W, a = self.split(z)
        return network_objective(
            [W[:-1], a], [W[-1], z[-1]], self.X[:, :-1], self.y, self.alpha
        )


def train_wide_network(network, seed, *, max_iter=3000, stop=None, watch=None):
    """Minimise over all weights of a wide network by L-BFGS, from one random start.

    Parameters
    ----------
    network : WideNetwork
        The network and its problem.
    seed : int
        Seed of the start.
    max_iter : int, default=3000
        Largest number of iterations.
    stop : callable, default=None
        Called with seconds and objective after each iteration; true ends the run.
    watch : callable, default=None
        The same, called with seconds and weights.

    Returns
    -------
    float
        The objective reached.
    """
    begin = perf_counter()

    def callback(intermediate_result):
        z, elapsed = intermediate_result.x, perf_counter() - begin
        if watch is not None and watch(elapsed, z):
            raise StopIteration
        if stop is None:
            return
        if stop(elapsed, intermediate_result.fun - network.imbalance(z)):
            raise StopIteration

    options = {"maxiter": max_iter, "maxfun": 2 * max_iter, "ftol": 0, "gtol": 1e-9}
    end = minimize(
        network,
        network.start(seed),
        jac=True,
        method="L-BFGS-B",
        callback=callback,
        options=options,
    )
    return network.objective(end.x)
