"""The linear part of a network: a skip connection from the inputs to the outputs.

With ``skip_connection`` one of the parallel branches is the identity (Ergen & Pilanci,
NeurIPS 2023, "Path Regularization", whose parallel networks have ResNets as this case):
``f(X) = X theta + sum_j relu(X u_j) a_j + b``. Where it is penalised it is a branch
like the others: a sum of linear neurons ``X u_k a_k^T`` that cost ``||u_k|| ||a_k||``.
The least such sum is a norm of theta: with the 2-norm the nuclear norm, of one output
the 2-norm; with the 1-norm the sum of the 2-norms of rows. Its dual is the price of the
best linear neuron, ``max ||N^T X u||_2``, which has a formula.

All that there is to say of theta is said here; how it is found along with the intercept
where it is free is in ``unpenalised.py``.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from sklearn_convexrelu.data.rows import kept
from sklearn_convexrelu.model.norms import Norm, refuse_unwritten

__all__ = ["Linear", "LinearPart", "Memo"]

# Times the largest: singular values of theta that are zero.
_ROUNDING = 1e-14
_MOST_ATOMS = 40  # linear neurons that a round adds, as many as neurons


@dataclass(frozen=True)
class Linear:
    """The linear part of one network, ``X theta``.

    Attributes
    ----------
    weights : ndarray of shape (n_inputs, n_outputs)
        theta; zero for inputs that have no part in it, as a hidden bias.
    norm : Norm or None
        What measures what enters a linear neuron; None: theta is free of charge.
    """

    weights: np.ndarray
    norm: Norm | None

    @property
    def is_free(self):
        """Whether it is not penalised."""
        return self.norm is None

    def atoms(self):
        """Return linear neurons of least cost: directions, outputs, amplitudes.

        As ``Network.directions``: unit columns, unit rows and what they are multiplied
        with.
        """
        theta = self.weights.astype(np.float64, copy=False)
        if self.norm is not None and not self.norm.is_euclidean:
            return _rows_apart(theta)
        left, sizes, right = np.linalg.svd(theta, full_matrices=False)
        kept = sizes > _ROUNDING * sizes.max(initial=0.0)
        return left[:, kept], right[kept], sizes[kept]

    def penalty(self):
        """Return the cost of theta: the sum of amplitudes of its atoms."""
        return 0.0 if self.is_free else float(self.atoms()[2].sum())

    def with_weights(self, weights):
        """Return another theta of the same kind."""
        return replace(self, weights=weights)

    def of_atoms(self, directions, outputs, amplitudes):
        """Return the linear part that is a sum of linear neurons."""
        return self.with_weights((directions * amplitudes) @ outputs)

    def times(self, factor):
        """Return the linear part multiplied by a number."""
        return self.with_weights(self.weights * factor)

    def mapped(self, basis):
        """Return the linear part on inputs X that is this one on ``X basis``."""
        return self.with_weights(np.asarray(basis @ self.weights))

    def astype(self, dtype):
        """Return it in another precision."""
        return self.with_weights(self.weights.astype(dtype, copy=False))

    def input_weights(self):
        """Return the 2-norms of the rows of theta, (n_inputs,)."""
        return np.linalg.norm(self.weights, axis=1)

    def lipschitz(self, n_features):
        """Return how fast the outputs change with the first inputs, in 2-norms."""
        theta = self.weights[:n_features].astype(np.float64)
        return float(np.linalg.norm(theta, 2)) if theta.size else 0.0

    def added(self, rows, F):
        """Add the values of the linear part at all rows to predictions F."""
        return rows.map(_added, F.shape[1], F, F, rows.weights(self.weights))


class Memo:
    """What was worked out last, and what it was worked out from."""

    def __init__(self):
        self._known = {}

    def recall(self, name, sources, make):
        """Return what was made from the same objects, or make it."""
        known, made = self._known.get(name, ((), None))
        same = len(known) == len(sources) and all(
            a is b or (np.isscalar(a) and a == b)
            for a, b in zip(known, sources, strict=True)
        )
        if not same:
            made = make()
            self._known[name] = sources, made
        return made


@dataclass(frozen=True)
class LinearPart:
    """What a problem says of the linear part of its networks.

    Attributes
    ----------
    is_free : bool
        Whether it is not penalised.
    inputs : ndarray of bool, (n_inputs,)
        Which inputs have a part in it: not a hidden bias, nor, with an intercept, what
        is constant.
    norm : Norm
        That of the neurons.
    memo : Memo
        What the rows of the problem made of it.
    """

    is_free: bool
    inputs: np.ndarray
    norm: Norm
    memo: Memo = field(default_factory=Memo, repr=False, compare=False)

    def __post_init__(self):
        if not self.is_free:
            refuse_unwritten(self.norm, "Penalised linear parts")

    def on(self, inputs):
        """Return the same of other rows, whose inputs have a part in it."""
        return replace(self, inputs=inputs, memo=Memo())

    def of_weights(self, weights):
        """Return the Linear of weights."""
        return Linear(weights, None if self.is_free else self.norm)

    def zero(self, n_outputs):
        """Return the Linear that is zero."""
        return self.of_weights(np.zeros((len(self.inputs), n_outputs)))

    @kept
    def indices(self):
        """Return the indices of the inputs that have a part in it."""
        return np.flatnonzero(self.inputs)

    def gradient(self, rows, N):
        """Return the gradient in theta at a dual point, zero where it has no weight."""
        return np.where(self.inputs[:, None], rows.sums(N), 0.0)

    def price(self, rows, N):
        """Return the largest ``||N^T X u||_2`` over unit directions u, by its formula.

        The dual norm of the gradient: the spectral norm, or the longest row.
        """
        return self.price_of(self.gradient(rows, N))

    def price_of(self, G):
        """Return the same, given the gradient."""
        if not G.size:
            return 0.0
        if self.norm.is_euclidean:
            return float(np.linalg.norm(G, 2))
        return float(np.linalg.norm(G, axis=1).max())

    def steepest(self, rows, N, above=0.0):
        """Return the linear neurons of prices above a number, the largest first.

        Returns
        -------
        directions : ndarray of shape (n_inputs, K)
            Unit columns.
        outputs : ndarray of shape (K, n_outputs)
            Unit rows along which the loss falls.
        """
        G = Linear(-self.gradient(rows, N), self.norm)
        directions, outputs, prices = G.atoms()
        order = np.argsort(-prices, kind="stable")[:_MOST_ATOMS]
        order = order[prices[order] > above]
        return directions[:, order], outputs[order]


def _rows_apart(theta):
    """Return the rows of theta as linear neurons, each of one input."""
    lengths = np.linalg.norm(theta, axis=1)
    index = np.flatnonzero(lengths)
    directions = np.zeros((len(theta), len(index)))
    directions[index, np.arange(len(index))] = 1.0
    return directions, theta[index] / lengths[index, None], lengths[index]


def _added(block, rows, F, weights):
    """Kernel: predictions with the values of a linear part."""
    return F[rows] + block.values(weights)
