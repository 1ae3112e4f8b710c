"""Norms of the first layer, in the penalty ``alpha sum_j ||w1_j|| ||w2_j||``.

The path norm of a network needs a norm for what enters a neuron; what leaves it is
measured by the 2-norm. Any norm gives a convex problem: its dual is the same but for
the set of units that are priced, ``max ||N^T relu(X u)||_2`` over ``||u|| <= 1``. What
training wants of a norm is collected here, so that a new one is this file and its
tests; see CONTRIBUTING.md.
"""

from abc import ABC, abstractmethod

import numpy as np

__all__ = [
    "EUCLIDEAN",
    "NORMS",
    "ONE_NORM",
    "Euclidean",
    "Norm",
    "OneNorm",
    "column_norms",
    "is_written",
    "refuse_unwritten",
]


def column_norms(A):
    """Return the Euclidean norm of every column."""
    return np.sqrt(np.einsum("ij,ij->j", A, A))


class Norm(ABC):
    """A norm of vectors, the columns of arrays of shape (n_inputs, K).

    Of a norm with kinks descent takes the weights on one side of zero each: ``signs``
    tell which, and are None for a smooth norm.
    """

    #: Whether it has a kink where a single weight is zero, so that weights vanish one
    #: by one.
    has_kinks = False

    @property
    def is_euclidean(self):
        """Whether it is the 2-norm itself, which rotations leave alone.

        Axes to search along, low rank, and its own exact prices and relaxations are for
        that one, not for what derives from it.
        """
        return type(self) is Euclidean

    @abstractmethod
    def lengths(self, U):
        """Return the norms of the columns, (K,)."""

    @abstractmethod
    def dual_lengths(self, G):
        """Return ``max g^T u`` over ``||u|| <= 1`` for every column g, (K,)."""

    @abstractmethod
    def radius(self, n_inputs):
        """Return a bound on the 2-norm of vectors of norm one."""

    @abstractmethod
    def gradients(self, U, signs=None):
        """Return the gradients of the norms, on the sides that ``signs`` tell."""

    def half_slopes(self, U, signs=None):
        """Return the gradients of ``||u||^2 / 2``."""
        return self.lengths(U) * self.gradients(U, signs)

    def unit(self, U):
        """Return vectors of norm one; those that are zero stay so."""
        lengths = self.lengths(U)
        return U / np.maximum(lengths, _tiny(lengths))

    def rises(self, U, G, costs):
        """Return how prices of gradients G rise where length costs so much, (K,)."""
        return G - self.gradients(U) * costs

    def slopes(self, U, G):
        """Return how the price over the norm rises at columns U of 2-norm one.

        G are the gradients of their prices. Those are homogeneous, so ``g^T u`` is the
        price itself: what a longer vector gains is taken out.
        """
        prices = np.maximum(np.einsum("ij,ij->j", G, U), 0.0)
        lengths = self.lengths(U)
        return self.rises(U, G, prices / np.maximum(lengths, _tiny(lengths)))

    @abstractmethod
    def peaks(self, G):
        """Return vectors, of any length, with the most of ``g^T u`` for their norm."""

    def clipped(self, U, moved):
        """Return where a step from U ends: weights that cross a kink stop there."""
        return moved


class Euclidean(Norm):
    """The 2-norm."""

    def lengths(self, U):
        """Return the norms of the columns, (K,)."""
        return column_norms(U)

    def dual_lengths(self, G):
        """Return the same: the 2-norm is its own dual."""
        return column_norms(G)

    def radius(self, n_inputs):
        """Return one."""
        return 1.0

    def gradients(self, U, signs=None):
        """Return vectors of length one."""
        return self.unit(U)

    def half_slopes(self, U, signs=None):
        """Return the vectors."""
        return U

    def peaks(self, G):
        """Return the vectors."""
        return G

    def slopes(self, U, G):
        """Return the part of G across U."""
        return G - U * np.einsum("ij,ij->j", G, U)

    def __repr__(self):
        return "Euclidean()"

    def __eq__(self, other):  # what derives from it is another norm
        return type(self) is type(other)

    def __hash__(self):
        return hash(type(self))


class OneNorm(Norm):
    """The 1-norm, the sum of absolute values: inputs that do not matter are left out.

    The extreme points of its unit ball are the inputs, with either sign.
    """

    has_kinks = True

    def lengths(self, U):
        """Return the norms of the columns, (K,)."""
        return np.abs(U).sum(axis=0)

    def dual_lengths(self, G):
        """Return the largest absolute values."""
        return np.abs(G).max(axis=0, initial=0.0)

    def radius(self, n_inputs):
        """Return one, the 2-norm of an input."""
        return 1.0

    def gradients(self, U, signs=None):
        """Return the signs of the weights."""
        return np.sign(U) if signs is None else signs

    def rises(self, U, G, costs):
        """Return how prices rise; where weights are zero, to either side.

        A weight of zero has a part in that once its gradient exceeds what length costs.
        """
        least = np.where(U > 0.0, costs, -costs)
        return G - np.minimum(np.maximum(G, least), np.where(U < 0.0, -costs, costs))

    def peaks(self, G):
        """Return the largest entry of each column, and zeros."""
        largest = np.abs(G).argmax(axis=0)[None]
        peaks = np.zeros_like(G)
        np.put_along_axis(peaks, largest, np.take_along_axis(G, largest, axis=0), 0)
        return peaks

    def clipped(self, U, moved):
        """Return where a step ends: weights that change their sign are zero."""
        return np.where(U * moved < 0.0, U.dtype.type(0), moved)

    def __repr__(self):
        return "OneNorm()"

    def __eq__(self, other):  # what derives from it is another norm
        return type(self) is type(other)

    def __hash__(self):
        return hash(type(self))


EUCLIDEAN, ONE_NORM = Euclidean(), OneNorm()

#: By the names that users know them by.
NORMS = {"l2": EUCLIDEAN, "l1": ONE_NORM}


def is_written(norm):
    """Tell whether programmes over patterns, proofs and linear parts know a norm.

    They are written for the 2-norm and, where a norm is not that, for the 1-norm.
    """
    return norm in (EUCLIDEAN, ONE_NORM)


def refuse_unwritten(norm, what):
    """Raise a ValueError for a norm that programmes and proofs do not know."""
    if not is_written(norm):
        raise ValueError(f"{what} have the 2-norm or the 1-norm, not {norm!r}.")


def _tiny(A):
    """Return the least positive number of a precision, to divide by."""
    return np.finfo(A.dtype).tiny
