"""Norms of the first layer, in the penalty ``alpha sum_j ||w1_j|| ||w2_j||``.

The path norm of a network needs a norm for what enters a neuron; what leaves it is
measured by the 2-norm. Any norm gives a convex problem: its dual is the same but for
the set of units that are priced, ``max ||N^T relu(X u)||_2`` over ``||u|| <= 1``. What
the loop wants of a norm is collected here, so that a new one is this file and its
tests; see CONTRIBUTING.md.
"""

from abc import ABC, abstractmethod

import numpy as np

__all__ = ["EUCLIDEAN", "Euclidean", "Norm", "column_norms"]


def column_norms(A):
    """Return the Euclidean norm of every column."""
    return np.sqrt(np.einsum("ij,ij->j", A, A))


class Norm(ABC):
    """A norm of vectors, the columns of arrays of shape (n_inputs, K).

    Descent on weights and ascent of prices work in *coordinates* P, (m, K), in which
    the norm is smooth: ``||vectors(P)|| <= ||P||_2 ** degree``, and as much at
    ``coordinates(U)``. Least sums of squares of the coordinates are then sums of norms.
    """

    #: Whether it is the 2-norm, which rotations leave alone: exact prices, programmes
    #: with cones, low rank, relaxations and axes to search along are for that one.
    is_euclidean = False

    #: Degree of the vectors in their coordinates.
    degree = 1

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
    def coordinates(self, U):
        """Return coordinates of vectors, of least length."""

    @abstractmethod
    def vectors(self, P):
        """Return the vectors of coordinates."""

    @abstractmethod
    def pull_back(self, P, G):
        """Return the gradient in the coordinates P of one in the vectors, G."""

    @abstractmethod
    def coordinate_squares(self, squares):
        """Return squares of values along coordinates, (m, 1), from those of inputs.

        They set the metric of steps, see ``patterns.geometry``: the size of things is
        enough.
        """

    def unit(self, U):
        """Return vectors of norm one; those that are zero stay so."""
        lengths = self.lengths(U)
        return U / np.maximum(lengths, np.finfo(lengths.dtype).tiny)


class Euclidean(Norm):
    """The 2-norm: coordinates are the vectors themselves."""

    is_euclidean = True

    def lengths(self, U):
        """Return the norms of the columns, (K,)."""
        return column_norms(U)

    def dual_lengths(self, G):
        """Return the same: the 2-norm is its own dual."""
        return column_norms(G)

    def radius(self, n_inputs):
        """Return one."""
        return 1.0

    def coordinates(self, U):
        """Return the vectors."""
        return U

    def vectors(self, P):
        """Return the coordinates."""
        return P

    def pull_back(self, P, G):
        """Return the gradient."""
        return G

    def coordinate_squares(self, squares):
        """Return the squares."""
        return squares

    def __repr__(self):
        return "Euclidean()"

    def __eq__(self, other):
        return isinstance(other, Euclidean)

    def __hash__(self):
        return hash(Euclidean)


EUCLIDEAN = Euclidean()
