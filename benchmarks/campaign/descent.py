"""L-BFGS on all weights of a wide network: the adversary of every lower bound.

Networks of any depth are held as trees: leaf vectors, signs of the neurons above them
and output weights. Two layers are trees of one leaf. The squares that descent penalises
equal the penalty where a tree is balanced and are never less, so it may go on from any
network, and what it ends with is judged by the penalty itself.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import minimize

from benchmarks.campaign.restated import (
    REAL,
    Stated,
    linear_outputs,
    linear_penalty,
)

__all__ = ["Descent"]


@dataclass(frozen=True)
class Trees:
    """Parallel sub-networks.

    Attributes
    ----------
    leaves : ndarray of shape (n_trees, n_leaves, n_inputs)
        Leaf vectors.
    signs : list of ndarray
        Signs of the neurons of every level below the root, (n_trees, n_neurons).
    outputs : ndarray of shape (n_trees, n_outputs)
        Output weights.
    """

    leaves: np.ndarray
    signs: list
    outputs: np.ndarray

    def joined(self, other):
        """Return both side by side."""
        return Trees(
            np.concatenate([self.leaves, other.leaves]),
            [
                np.concatenate(pair)
                for pair in zip(self.signs, other.signs, strict=True)
            ],
            np.concatenate([self.outputs, other.outputs]),
        )


@dataclass(frozen=True)
class Descent:
    """The problem of a case as a function of the weights of trees.

    Attributes
    ----------
    stated : Stated
        The problem.
    inputs : ndarray of shape (n_samples, n_inputs)
        Features, with a column of ones where hidden units have a bias.
    alpha : float
        Absolute penalty strength.
    widths : tuple of int
        Children of a neuron of the second layer, of the third, up to the root.
    decays : bool
        Whether the penalty is weight decay, of three layers.
    fit_intercept : bool
        Whether there is an output intercept.
    linear : ndarray of shape (n_samples, n_outputs) or float
        What the fitted model's skip connection adds, which descent leaves as it is.
    cost : float
        Its penalty.
    """

    stated: Stated
    inputs: np.ndarray
    alpha: float
    widths: tuple
    decays: bool
    fit_intercept: bool
    linear: np.ndarray | float = 0.0
    cost: float = 0.0

    @classmethod
    def of(cls, stated, model):
        """Return the problem that a model was fitted to, without its restrictions."""
        X = stated.X
        if model.hidden_bias:
            X = np.column_stack([X, np.ones(len(X))])
        widths = tuple(model.subnetwork_widths)
        decays = bool(widths) and model.penalty == "weight_decay"
        rest = linear_outputs(model, stated.X), linear_penalty(model)
        return cls(stated, X, model.alpha_, widths, decays, model.fit_intercept, *rest)

    def random(self, n_units, seed, size=1.0):
        """Return random trees, which see every direction of the data as much."""
        rng = np.random.default_rng(seed)
        levels = self._level_sizes()
        n_leaves = levels[0] if levels else 1
        n_inputs = self.inputs.shape[1]
        leaves = rng.standard_normal((n_units, n_leaves, n_inputs)) @ self._basis[0].T
        leaves *= size * self._output_size() / np.sqrt(n_inputs)
        outputs = rng.standard_normal((n_units, self.stated.Y.shape[1]))
        outputs *= size * self._root
        signs = [rng.choice([-1.0, 1.0], (n_units, n)) for n in levels]
        return Trees(leaves, signs, outputs / np.sqrt(n_units))

    def trees_of(self, model):
        """Return the trees of a fitted ReLU network, weights above leaves absorbed."""
        first = np.vstack([model.coefs_[0], model.intercepts_[0]])
        layers = [W.astype(np.float64) for W in [first, *model.coefs_[1:]]]
        V = layers[0][: self.inputs.shape[1]].T
        factors, signs, n_trees = np.ones(len(V)), [], len(layers[-1])
        parents = np.arange(len(V))
        for W in layers[1:-1]:
            above = np.arange(len(W)) // (len(W) // max(W.shape[1], 1) or 1)
            edges = W[np.arange(len(W)), above]
            factors = factors * np.abs(edges)[parents]
            level = np.where(edges < 0.0, -1.0, 1.0)
            signs.append(level.reshape(n_trees, self._level_sizes()[len(signs)]))
            parents = above[parents]
        n_leaves = self._level_sizes()[0] if self.widths else 1
        leaves = (V * factors[:, None]).reshape(n_trees, n_leaves, V.shape[1])
        return self._balanced(Trees(leaves, signs, layers[-1]))

    def run(self, trees, intercept, n_steps):
        """Return the objective after steps of L-BFGS, at most that of the start."""
        packed = self._packed(trees, intercept)
        ends = [self._objective(packed, trees)]
        scale = max(abs(self._value(packed, trees)[0]), 1e-300)

        def function(z):
            value, gradient = self._value(self._turned(z, trees), trees)
            return value / scale, self._turned_back(gradient, trees) / scale

        options = {"maxiter": n_steps, "maxfun": 2 * n_steps, "ftol": 0, "gtol": 1e-12}
        start = self._turned(packed, trees, back=True)
        with np.errstate(all="ignore"):
            end = minimize(
                function, start, jac=True, method="L-BFGS-B", options=options
            )
            ends.append(self._objective(self._turned(end.x, trees), trees))
        return min((value for value in ends if np.isfinite(value)), default=np.inf)

    def _turned(self, z, trees, back=False):
        """Return unknowns of order one as weights, or the other way round."""
        W, A, b = self._split(z, trees)
        size = self._output_size()
        if back:
            parts = W @ self._basis[1].T / size, A / self._root, b / size
        else:
            parts = W @ self._basis[0].T * size, A * self._root, b * size
        return np.concatenate([part.ravel() for part in parts])

    def _turned_back(self, gradient, trees):
        """Return the gradient in the unknowns of that in the weights."""
        W, A, b = self._split(gradient, trees)
        size = self._output_size()
        parts = W @ self._basis[0] * size, A * self._root, b * size
        return np.concatenate([part.ravel() for part in parts])

    @cached_property
    def _basis(self):
        """Return directions in which the objective is about as curved, and the inverse.

        Along a right singular vector v of the inputs, each column scaled by 1 / D, the
        loss has a curvature of about ``(root s)^2`` with the singular value s, and the
        penalty one of ``alpha ||D v||^2``. Offsets and scales of features matter no
        more to descent then.
        """
        X = np.sqrt(self.stated.weights)[:, None] * self.inputs
        sizes = np.sqrt((X**2).sum(axis=0))
        D = 1.0 / np.where(sizes > 0.0, sizes, 1.0)
        _, s, V = np.linalg.svd(X * D)
        s = np.r_[s, np.zeros(len(V) - len(s))]
        curvature = (self._root * s) ** 2 + self.alpha * ((V * D) ** 2).sum(axis=1)
        t = 1.0 / np.sqrt(np.maximum(curvature, 1e-30 * curvature.max()))
        return (V * D * t[:, None]).T, V / D / t[:, None]

    @cached_property
    def _root(self):
        """Return about the size of output weights."""
        length = np.sqrt(self.stated.weights @ (self.inputs**2).sum(axis=1))
        return np.sqrt(self._output_size() / (length or 1.0))

    def best_constant(self):
        """Return a constant to start from: about the best one."""
        if not self.fit_intercept:
            return np.zeros(self.stated.Y.shape[1])
        mean = self.stated.weights @ self.stated.Y
        if self.stated.name == "poisson":
            return np.log(mean)
        return mean if self._has_unit() else 0.0 * mean

    def _level_sizes(self):
        """Return numbers of neurons below the root of a tree, leaves first."""
        return [int(np.prod(self.widths[i:])) for i in range(len(self.widths))]

    def _balanced(self, trees):
        """Return trees whose leaves and outputs have equal shares of the penalty."""
        costs, lengths = self._costs(trees.leaves), _lengths(trees.outputs)
        kept = costs * lengths > 0.0
        root = np.sqrt(lengths[kept] / costs[kept])
        return Trees(
            trees.leaves[kept] * root[:, None, None],
            [level[kept] for level in trees.signs],
            trees.outputs[kept] / root[:, None],
        )

    def _costs(self, leaves):
        """Return the costs of trees: path norms, or sums of leaves' lengths."""
        if self.decays:
            return np.sqrt((leaves**2).sum(axis=2)).sum(axis=1)
        return np.sqrt((leaves**2).sum(axis=(1, 2)))

    def _has_unit(self):
        """Tell whether predictions are in the unit of the target."""
        return self.stated.name in ("squared_error", "huber")

    def _output_size(self):
        """Return the usual size of what the neurons have to add up to."""
        Y = self.stated.Y
        return (Y.std() or np.abs(Y).max() or 1.0) if self._has_unit() else 1.0

    def _packed(self, trees, intercept):
        """Return trees and intercept as one vector, leaves in round coordinates."""
        W = trees.leaves
        if self.decays:
            W = W / np.sqrt(np.maximum(_lengths(W), 1e-300))[:, :, None]
        return np.r_[W.ravel(), trees.outputs.ravel(), intercept]

    def _split(self, z, trees):
        """Return coordinates, outputs and intercept of a vector."""
        sizes = trees.leaves.size, trees.leaves.size + trees.outputs.size
        W, A, b = np.split(z, sizes)
        return W.reshape(trees.leaves.shape), A.reshape(trees.outputs.shape), b

    def _up(self, V, trees):
        """Return what enters the ReLUs of every level, (K, n_neurons, n) each."""
        K, m, d = V.shape
        X = self.inputs.astype(V.dtype)
        Z = [(V.reshape(K * m, d) @ X.T).reshape(K, m, len(X))]
        for width, level in zip(self.widths, trees.signs, strict=True):
            H = level[:, :, None] * np.maximum(Z[-1], 0)
            Z.append(H.reshape(K, H.shape[1] // width, width, len(X)).sum(axis=2))
        return Z

    def _value(self, z, trees):
        """Return loss plus squares, and the gradient."""
        W, A, b = self._split(z, trees)
        V = W * _lengths(W)[:, :, None] if self.decays else W
        Z = self._up(V, trees)
        H = np.maximum(Z[-1][:, 0], 0.0)
        linear = np.asarray(self.linear, dtype=np.float64)
        loss, N = self.stated.value_and_slopes(H.T @ A + b + linear)
        G = self._down(Z, trees, A @ N.T)
        squares, to_W = self._squares(W)
        if self.decays:
            lengths = _lengths(W)[:, :, None]
            along = (W * G).sum(axis=2, keepdims=True) / np.maximum(lengths, 1e-300)
            G = G * lengths + W * along
        to_b = N.sum(axis=0) * self.fit_intercept
        gradient = [G + self.alpha * to_W, H @ N + self.alpha * A, to_b]
        value = (
            loss + self.alpha / 2 * (squares + (A**2).sum()) + self.alpha * self.cost
        )
        return value, np.concatenate([part.ravel() for part in gradient])

    def _squares(self, W):
        """Return squares of the costs of coordinates, added up, and half the slope."""
        sizes = (W**2).sum(axis=(1, 2))
        if self.decays:
            return (sizes**2).sum(), 2.0 * sizes[:, None, None] * W
        return sizes.sum(), W

    def _down(self, Z, trees, E):
        """Return the gradient in the leaves from that in the trees' values, (K, n)."""
        E = E[:, None] * (Z[-1] > 0.0)
        levels = zip(self.widths[::-1], trees.signs[::-1], Z[-2::-1], strict=True)
        for width, level, below in levels:
            E = np.repeat(E, width, axis=1) * level[:, :, None] * (below > 0.0)
        return E @ self.inputs

    def _objective(self, z, trees):
        """Return the objective itself, in extended precision."""
        W, A, b = self._split(z.astype(REAL), trees)
        V = W * _lengths(W)[:, :, None] if self.decays else W
        H = np.maximum(self._up(V, trees)[-1][:, 0], 0)
        penalty = float(self._costs(V) @ _lengths(A)) + self.cost
        return self.stated.loss_at(H.T @ A + b + self.linear) + self.alpha * penalty


def _lengths(A):
    """Return the Euclidean norms along the last axis."""
    return np.sqrt((A**2).sum(axis=-1))
