"""What units are made of: from the values of neurons to predictions, and back.

The relaxation knows neurons: blocks of moments, whose means of ``relu(x u)`` it bounds.
Here stands what the units of a model make of these, for training (predictions from the
means, and the weights of the means from a dual point N) and for proofs (weights E of
the rows of every block such that no price of a unit exceeds what those of its blocks,
``max_u -sum_i E_i relu(x_i u)``, make together: E is a gradient, as N is, and a price
how fast the loss falls).

A neuron is a block of its own, with ``E = N`` and ``E = -N``. A sub-network of any
depth has two blocks for either sign of N: its leaves all of whose neurons above have a
plus, and those with a minus above. For weights with::

    A >= N,   B >= 0,   A + B >= 0

every neuron ``y = relu(p - q)``, p the sum of the children with a plus and q of those
with a minus, has ``N y <= A p + B q`` row by row: both sides are linear on the cones
``0 <= q <= p`` and ``0 <= p <= q``, and it holds on their edges. With A in the place of
N the same goes for the children with a plus, and those with a minus are, with ``B >=
0``, at most the sum of the leaves below. So if no ``sum_i A_i relu(x_i u)`` and no
``sum_i B_i relu(x_i u)`` is above a price for unit vectors u, ``sum_i N_i y_i`` is
at most that price times the sum of the lengths of the leaves: ``reach`` times the cost.
A is N where that is positive, and ``theta N`` else, with ``B = theta |N|`` for any
theta from zero to one. (Zero is the bound of ``certificate.price_bound``: there what a
minus takes away is nothing, and what leaves add where N is negative costs nothing.)
"""

import numpy as np

from sklearn_convexrelu.certificates.relaxation.regions import TINY

__all__ = ["Composition", "Leaves", "Neurons"]

# Width, in units in which predictions are of order one, over which the smaller of two
# values is rounded off. It only chooses theta.
_WIDTH = 0.03


class Composition:
    """How blocks make units; arrays of blocks are (..., 2 signs, n_columns, ...).

    Parameters
    ----------
    problem : Problem
        Whose units they are.
    """

    #: Blocks of a sign, for each output.
    n_roles = 1
    #: Largest sum of the lengths of the vectors of a unit of cost one.
    reach = 1.0

    def __init__(self, problem):
        self.n_outputs = problem.n_outputs
        self.n_columns = self.n_roles * self.n_outputs

    def by_output(self, blocks):
        """Return an array of blocks with its columns split by roles and outputs."""
        return blocks.reshape(*blocks.shape[:-1], self.n_roles, self.n_outputs)


class Neurons(Composition):
    """Units of one neuron each: a block for either sign of each output."""

    def no_shares(self, problem):
        """Return the unknowns of training beside moments: none."""
        return np.zeros((0, self.n_outputs))

    def predicted(self, totals, shares):
        """Return predictions without their intercept, (n_samples, n_outputs)."""
        return (totals[0] - totals[1]).T

    def pulled(self, totals, shares, N):
        """Return the gradients in totals and shares that belong to N in predictions."""
        return self.weights(totals, N), np.zeros_like(shares)

    def weights(self, totals, N):
        """Return the weights of the rows in a proof, (2, n_columns, n_samples)."""
        return np.stack([N.T, -N.T])

    def charges(self, masses):
        """Return what masses (n_regions, 2, n_columns) cost, and its gradients."""
        sums = masses.sum(axis=1, keepdims=True)
        norms = np.linalg.norm(sums, axis=-1, keepdims=True)
        slopes = np.broadcast_to(sums / np.maximum(norms, TINY), masses.shape)
        return norms.sum(), slopes

    def by_region(self, prices):
        """Return what no price in each region exceeds, from those of its blocks."""
        return np.linalg.norm(prices.max(axis=1), axis=1)

    def price(self, prices):
        """Return what no price exceeds, from those of blocks."""
        return float(self.by_region(prices).max())

    def vectors(self, network):
        """Yield for every column vectors, and their masses by sign.

        They are those of a network: (n_inputs, K) and (2, K).
        """
        hidden, output, amplitudes = network.directions()
        for column in output.T:
            signed = np.maximum(np.array([column, -column]), 0.0)
            yield hidden, signed * amplitudes


class Leaves(Composition):
    """Units that are sub-networks: blocks of leaves with a plus and with a minus."""

    n_roles = 2

    def __init__(self, problem):
        super().__init__(problem)
        self.reach, self._shape = problem.shape.reach, problem.shape

    def no_shares(self, problem):
        """Return the unknowns of training beside moments, each from zero to one.

        A sub-network's value may be anything from ``max(p - q, 0)`` to p for sums p and
        q of leaves. A share says where predictions are between the least and the most
        of it.
        """
        return np.full(problem.Y.shape, 0.5)

    def _parts(self, totals):
        """Return the sums p and q of either sign, (2, n_outputs, n_samples) each."""
        C = self.n_outputs
        return totals[:, :C], totals[:, C:]

    def _smaller(self, totals):
        """Return the smaller of p and q, rounded off, and its slope in p."""
        p, q = self._parts(totals)
        root = np.sqrt((p - q) ** 2 + _WIDTH**2)
        return 0.5 * (p + q - root), 0.5 * (1.0 - (p - q) / root)

    def predicted(self, totals, shares):
        """Return predictions without their intercept, (n_samples, n_outputs)."""
        p, _ = self._parts(totals)
        (plus, minus), _ = self._smaller(totals)
        return (p[0] - p[1] - plus).T + shares * (plus + minus).T

    def pulled(self, totals, shares, N):
        """Return the gradients in totals and shares that belong to N in predictions."""
        smaller, slopes = self._smaller(totals)
        taken = np.stack([-(1.0 - shares.T), shares.T]) * N.T
        E = np.stack([N.T, -N.T]) + taken * slopes
        E = np.concatenate([E, taken * (1.0 - slopes)], axis=1)
        return E, N * smaller.sum(axis=0).T

    def weights(self, totals, N):
        """Return the weights of the rows in a proof, (2, n_columns, n_samples).

        Those called A, then those called B, with a minus.
        """
        signed = np.stack([-N.T, N.T])
        theta = np.clip(1.0 - self._smaller(totals)[1], 0.0, 1.0)
        taken = theta * np.maximum(-signed, 0.0)
        return -np.concatenate([np.maximum(signed, 0.0) - taken, taken], axis=1)

    def charges(self, masses):
        """Return what masses (n_regions, 2, n_columns) cost, and its gradients."""
        sums = self.by_output(masses).sum(axis=(0, 1, 2))
        norm = np.linalg.norm(sums)
        slopes = np.tile(sums / max(norm, TINY), self.n_roles)
        return norm, np.broadcast_to(slopes, masses.shape)

    def price(self, prices):
        """Return what no price exceeds, from those of blocks.

        Leaves of one sub-network may be in several regions.
        """
        worst = self.by_output(prices).max(axis=(0, 1, 2))
        return float(self.reach * np.linalg.norm(worst) * (1.0 + 1e-14))

    def vectors(self, network):
        """Yield for every column vectors, and their masses by sign.

        They are those of a network: (n_inputs, K) and (2, K).
        """
        V, output = network.leaves, network.output
        lengths = np.linalg.norm(V, axis=2)
        units = V / np.maximum(lengths, TINY)[:, :, None]
        hidden = units.reshape(-1, V.shape[2]).T
        minuses = self._minuses(network.signs)
        for role in range(self.n_roles):
            for column in output.T:
                signed = np.maximum(np.array([column, -column]), 0.0)
                masses = signed[:, :, None] * (lengths * (minuses == role))
                yield hidden, masses.reshape(2, -1)

    def _minuses(self, signs):
        """Return how many neurons on the way up from each leaf have a minus."""
        n_leaves = self._shape.n_leaves
        count = np.zeros((len(signs), n_leaves), dtype=int)
        for level in self._shape.split(signs):
            above = np.arange(n_leaves) // (n_leaves // level.shape[1])
            count += level[:, above] < 0.0
        return count
