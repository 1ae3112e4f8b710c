"""Signs of weights that make networks monotone in some of the inputs.

A network is monotone in an input, up say, where along every path from it to the output
the product of the weights is not negative: ReLUs never fall. With one output the sign
of a unit's output weight, its *side*, then tells the signs of the weights that enter
it: those of a unit of side t lie in the cone ``t s_i u_i >= 0``, where s_i is 1 for an
input that the output rises with and -1 for one that it falls with. A leaf of a
sub-network has the side of the sub-network times the signs on its path.

Several outputs share their neurons. One that takes in constrained inputs would need
output weights of one sign, one that does not could have any: units of three kinds, with
another price each. That is not offered; estimators ask for one output at a time.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

__all__ = ["Monotone", "centre_of", "majority"]


@dataclass(frozen=True)
class Monotone:
    """Which way the output goes with each input.

    Methods take weights of units as columns, (n_inputs, K), and their sides, (K,): 1 or
    -1, or 0 where no weight tells the side. What they return has exact zeros where a
    weight would have the wrong sign.

    Attributes
    ----------
    directions : tuple of int
        One an input, 1, -1, or 0 for an input without a constraint. The hidden bias is
        one of these.
    """

    directions: tuple

    @cached_property
    def inputs(self):
        """Indices of the constrained inputs."""
        return np.flatnonzero(self.directions)

    @cached_property
    def signs(self):
        """Directions of these, (n_constrained, 1)."""
        return np.asarray(self.directions, dtype=float)[self.inputs, None]

    @cached_property
    def rows(self):
        """Unit vectors of the constrained inputs, (n_constrained, n_inputs)."""
        rows = np.zeros((len(self.inputs), len(self.directions)))
        rows[np.arange(len(rows)), self.inputs] = 1.0
        return rows

    def sides(self, U):
        """Return the sides of units, by the majority of their constrained weights.

        Where these cancel it is 1, not 0: no side allows them all.
        """
        return majority(self.held(U))

    def held(self, U):
        """Return constrained weights, each in its direction, (n_constrained, K)."""
        return self.signs.astype(U.dtype) * U[self.inputs]

    def within(self, U, sides):
        """Return the units with weights of a wrong sign at zero: the nearest ones."""
        held = U[self.inputs]
        wrong = self._wrong(held, sides)
        if not wrong.any():
            return U
        within = U.copy()
        within[self.inputs] = np.where(wrong, U.dtype.type(0), held)
        return within

    def turned(self, U, sides, centre=None):
        """Return the units with weights of a wrong sign turned over.

        Random units keep their lengths so, where ``within`` would leave half of the
        weights at zero. With a ``centre`` (n_inputs,) of the rows the bias follows, so
        that values there stay: units still cut rows that are far from zero.
        """
        held = U[self.inputs]
        change = np.where(self._wrong(held, sides), -2 * held, U.dtype.type(0))
        turned = U.copy()
        turned[self.inputs] += change
        if centre is not None and self.directions[-1] == 0:
            shift = centre[self.inputs] @ change / centre[-1]
            turned[-1] -= shift.astype(U.dtype, copy=False)
        return turned

    def allowed(self, sides, totals):
        """Return ``N^T relu(X u)`` (K, 1), zero where a side does not lower the loss.

        An output weight lowers the loss by the opposite of its sign times that.
        """
        return np.where(sides[:, None] * totals > 0.0, totals.dtype.type(0), totals)

    def tangent(self, U, G, sides):
        """Return gradients G without what leads out of the cone at once."""
        held = (U[self.inputs] == 0.0) & self._wrong(G[self.inputs], sides)
        if not held.any():
            return G
        tangent = G.copy()
        tangent[self.inputs] = np.where(held, G.dtype.type(0), G[self.inputs])
        return tangent

    def _wrong(self, held, sides):
        return held * (self.signs * sides).astype(held.dtype) < 0.0

    def are_kept(self, U, sides):
        """Tell of units of known sides whether all their weights have their signs."""
        return not self._wrong(U[self.inputs], sides).any()


def majority(held):
    """Return the signs of sums of weights, (K,), 1 where some weights cancel.

    Weights are (n_constrained, K) or, of sub-networks, (n_constrained, K, n_leaves).
    """
    held = np.atleast_3d(held)
    sums = held.sum(axis=0).sum(axis=1)
    cancel = (sums == 0.0) & held.any(axis=(0, 2))
    return np.where(cancel, held.dtype.type(1), np.sign(sums))


def centre_of(rows):
    """Return the mean of the rows, or None where their last input is no constant."""
    low, high = rows.bounds[:, -1]
    if low != high or low == 0.0:
        return None
    few = rows.few()
    return few.sums(np.full((len(few), 1), 1.0 / len(few), few.dtype))[:, 0]
