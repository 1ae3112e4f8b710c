"""Units of several layers in relaxations: composed of neurons, layer by layer.

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

from dataclasses import dataclass, replace

import numpy as np

from sklearn_convexrelu.certificates.relaxation.regions import TINY

__all__ = ["Common", "Composition", "Leaves", "Neurons", "Pairs"]

# Width, in units in which predictions are of order one, over which the smaller of two
# values is rounded off. It only chooses theta.
_WIDTH = 0.03


@dataclass(frozen=True)
class Common:
    """The unknowns of training that belong to no block."""

    shift: np.ndarray  # the intercept, (n_outputs,)
    #: From zero to one: where predictions are between the least and the most of units.
    shares: np.ndarray
    #: Multipliers of the smaller of two values: its slopes in the last round.
    slopes: np.ndarray


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

    def rows(self, X):
        """Return the rows that vectors of blocks are of."""
        return X


class Neurons(Composition):
    """Units of one neuron each: a block for either sign of each output."""

    def common(self, shift, N):
        """Return an intercept with what else is common at the start: nothing."""
        return Common(shift, np.zeros((0, self.n_outputs)), np.zeros(0))

    def updated(self, totals, common):
        """Return what is common with new multipliers."""
        return common

    def predicted(self, totals, common):
        """Return predictions, (n_samples, n_outputs)."""
        return (totals[0] - totals[1]).T + common.shift

    def pulled(self, totals, common, N):
        """Return the gradients in totals and shares that belong to N in predictions."""
        return self.weights(totals, common, N), np.zeros_like(common.shares)

    def weights(self, totals, common, N):
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


class _Trees(Composition):
    """Units that are sub-networks, of which a sign and output has two blocks."""

    n_roles = 2

    def __init__(self, problem):
        super().__init__(problem)
        self.reach, self._shape = problem.shape.reach, problem.shape

    #: Pairs of values of which the smaller, or larger, is taken.
    n_choices = 1

    def common(self, shift, N):
        """Return an intercept with what else is common at the start.

        A sub-network's value may be anything from the least that its leaves allow to
        the most.
        """
        slopes = np.full((self.n_choices, 2, *N.T.shape), 0.5)
        return Common(shift, (N < 0.0) + 0.0, slopes)

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


class Leaves(_Trees):
    """Sub-networks of any depth: blocks of leaves with a plus and with a minus."""

    def _parts(self, totals):
        """Return the sums p and q of either sign, (2, n_outputs, n_samples) each."""
        C = self.n_outputs
        return totals[:, :C], totals[:, C:]

    def _taken(self, totals, common):
        """Return the smaller of p and q, and its slope in p."""
        return _smaller(*self._parts(totals), common.slopes[0])

    def updated(self, totals, common):
        """Return what is common with new multipliers."""
        return replace(common, slopes=self._taken(totals, common)[1][None])

    def predicted(self, totals, common):
        """Return predictions, (n_samples, n_outputs)."""
        p, _ = self._parts(totals)
        (plus, minus), _ = self._taken(totals, common)
        F = (p[0] - p[1] - plus).T + common.shares * (plus + minus).T
        return F + common.shift

    def pulled(self, totals, common, N):
        """Return the gradients in totals and shares that belong to N in predictions."""
        smaller, slopes = self._taken(totals, common)
        taken = np.stack([-(1.0 - common.shares.T), common.shares.T]) * N.T
        E = np.stack([N.T, -N.T]) + taken * slopes
        E = np.concatenate([E, taken * (1.0 - slopes)], axis=1)
        return E, N * smaller.sum(axis=0).T

    def weights(self, totals, common, N):
        """Return the weights of the rows in a proof, (2, n_columns, n_samples).

        Those called A, then those called B, with a minus.
        """
        signed = np.stack([-N.T, N.T])
        theta = 1.0 - self._taken(totals, common)[1]
        taken = theta * np.maximum(-signed, 0.0)
        return -np.concatenate([np.maximum(signed, 0.0) - taken, taken], axis=1)

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


class Pairs(_Trees):
    """Sub-networks of two leaves: blocks of both of them together.

    With signs (+, -) the value is ``max(0, min(x v, x u))``, ``u = v - w``. So it is
    between ``relu(x v) - relu(x w)`` and zero, and ``relu(x v)`` and ``relu(x u)``, all
    of them values of rows in the space of (v, w): a vector there has a length of one at
    most. At every single vector these bounds are exact, which those of ``Leaves`` are
    not. Signs (+, +) have a block of their own.

    Under weight decay ``||v|| + ||w|| <= 1``, and vectors of that length in sum are of
    one in the 2-norm at most: there the bound is looser. With ``||v||^2 + ||w||^2 +
    2 kappa v^T w <= 1`` in its place, which holds for kappa from zero to one too, it
    was worse (diabetes at relative alpha 0.3: 88% of the objective with a half, 94%
    with zero).
    """

    n_choices = 2

    def __init__(self, problem):
        super().__init__(problem)
        self.reach, self._decays = 1.0, problem.shape.decays

    def rows(self, X):
        """Return the rows that vectors of blocks are of: for v, for w and for u."""
        none = np.zeros_like(X)
        return np.block([[X, none], [none, X], [X, -X]])

    def _interval(self, totals, common):
        """Return the least and the most of values (+, -), and their slopes.

        Those of the least in the difference of v and w, of the most in v.
        """
        v, w, u = np.split(totals[:, : self.n_outputs], 3, axis=-1)
        least, theta = _smaller(w - v, 0.0, common.slopes[0])
        return -least, *_smaller(v, u, common.slopes[1]), theta

    def _both(self, totals):
        """Return the values with signs (+, +); under weight decay one leaf does."""
        v, w, _ = np.split(totals[:, self.n_outputs :], 3, axis=-1)
        return v if self._decays else v + w

    def updated(self, totals, common):
        """Return what is common with new multipliers."""
        _, _, omega, theta = self._interval(totals, common)
        return replace(common, slopes=np.stack([theta, omega]))

    def predicted(self, totals, common):
        """Return predictions, (n_samples, n_outputs)."""
        least, most, *_ = self._interval(totals, common)
        plus, minus = self._both(totals)
        ends = least[0] - most[1], most[0] - least[1]
        F = (ends[0] + plus - minus).T + common.shares * (ends[1] - ends[0]).T
        return F + common.shift

    def pulled(self, totals, common, N):
        """Return the gradients in totals and shares that belong to N in predictions."""
        least, most, omega, theta = self._interval(totals, common)
        low, high = (1.0 - common.shares.T) * N.T, common.shares.T * N.T
        ends = np.stack([low, -high]), np.stack([high, -low])
        E = self._rows_of(theta, omega, *ends, N)
        return E, N * ((most - least).sum(axis=0)).T

    def _rows_of(self, theta, omega, to_least, to_most, N):
        """Return weights of rows from those of the least and the most value."""
        to_least, to_w = to_least * theta, -to_least * theta
        pairs = [to_least + to_most * omega, to_w, to_most * (1.0 - omega)]
        signed = np.stack([N.T, -N.T])
        both = [signed, signed * (not self._decays), 0.0 * signed]
        return np.concatenate(
            [np.concatenate(part, axis=-1) for part in (pairs, both)], axis=1
        )

    def weights(self, totals, common, N):
        """Return the weights of the rows in a proof, (2, n_columns, 3 n_samples)."""
        _, _, omega, theta = self._interval(totals, common)
        signed = np.stack([N.T, -N.T])
        low, high = np.maximum(signed, 0.0), np.minimum(signed, 0.0)
        return self._rows_of(theta, omega, low, high, N)

    def vectors(self, network):
        """Yield for every column vectors, and their masses by sign.

        They are those of a network: (2 n_inputs, K) and (2, K).
        """
        V, signs = network.leaves, network.signs
        differ = signs[:, 0] != signs[:, 1]
        V = np.where((signs[:, 0] < signs[:, 1])[:, None, None], V[:, ::-1], V)
        # Which leaf comes first does not matter where both have a plus.
        units = V.reshape(len(V), -1)
        lengths = np.linalg.norm(units, axis=1)
        units = units / np.maximum(lengths, TINY)[:, None]
        for of_role in (differ, (signs > 0.0).all(axis=1)):
            for column in network.output.T:
                signed = np.maximum(np.array([column, -column]), 0.0)
                yield units.T, signed * lengths * of_role


def _smaller(p, q, old):
    """Return the smaller of p and q, and its slope in p, by the method of multipliers.

    It is the least of ``omega p + (1 - omega) q`` over omega from zero to one; what is
    added, ``_WIDTH / 2`` times the square of the way from the last one, makes it smooth
    and vanishes as rounds go on. With a fixed rounding half of its width is lost.
    """
    omega = np.clip(old - (p - q) / _WIDTH, 0.0, 1.0)
    return q + omega * (p - q) + 0.5 * _WIDTH * (omega - old) ** 2, omega
