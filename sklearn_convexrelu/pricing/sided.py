"""Signs that monotone networks must have, kept by searches along principal axes.

Signs are those of weights of inputs, but searches go along the rows' principal axes:
along the inputs, units that cut rows far from zero lie in a valley as thin as the rows'
spread is for their distance. On 18 rows 20 deviations from zero (two and three
features, eight tables) bounds of fits to a gap of 1e-3 were up to 9.1 tolerances above
the optimum so, and up to 0.8 along the axes.
"""

from dataclasses import dataclass

import numpy as np

from sklearn_convexrelu.model.monotone import Monotone, centre_of, majority
from sklearn_convexrelu.model.norms import column_norms
from sklearn_convexrelu.patterns.geometry import STIFFNESS, positive

__all__ = ["SidedAlong", "sided_along"]

# Of a unit: weights that are zero but for the rounding of single precision.
_HELD = 1e-6


class SidedAlong:
    """What ``Monotone`` is to weights of inputs, for coordinates along axes.

    A weight goes to zero by itself, or along with the bias so that values at the centre
    of the rows stay: whichever is the smaller step, as ``steepest`` measures them. The
    first keeps units short, which cut no rows; the others would leave the rows.
    Coordinates are rounded: what a search finds has to be put ``within`` once more, as
    weights of inputs, in double.

    Parameters
    ----------
    monotone : Monotone
        Which way the output goes with each input.
    geometry : Geometry
        Orthonormal axes, and squares of values along them.
    centre : ndarray of shape (n_inputs,) or None
        Of the rows, see ``centre_of``.
    """

    def __init__(self, monotone, geometry, centre):
        self.monotone, self.squares = monotone, geometry.squares[:, None]
        # Rows that give weights of constrained inputs, and columns that change one.
        self.constrained = geometry.axes[monotone.inputs]
        self.ways = [self.constrained.T]
        if centre is not None and monotone.directions[-1] == 0:
            slopes = centre[monotone.inputs] / centre[-1]
            self.ways.append(self.ways[0] - np.outer(geometry.axes[-1], slopes))

    def sides(self, V):
        """Return the sides of units, by the majority of their constrained weights."""
        return majority(self.held(V))

    def held(self, V):
        """Return constrained weights, each in its direction, (n_constrained, K)."""
        held = self._weights(V)
        held = np.where(np.abs(held) <= _HELD, V.dtype.type(0), held)
        return self.monotone.signs.astype(V.dtype) * held

    def within(self, V, sides):
        """Return the units with weights of a wrong sign at zero.

        Units that have no others are zero, not what rounding leaves of them.
        """
        held = self._weights(V)
        wrong = np.where(self._are_wrong(held, sides), held, V.dtype.type(0))
        within = V - self._least(wrong, V)
        some = column_norms(within) > _HELD * column_norms(V)
        return np.where(some, within, V.dtype.type(0))

    def turned(self, V, sides):
        """Return the units with weights of a wrong sign turned over."""
        held = self._weights(V)
        wrong = np.where(self._are_wrong(held, sides), held, V.dtype.type(0))
        return V - self._least(2 * wrong, V)

    def allowed(self, sides, totals):
        """Return totals, zero where a side does not lower the loss."""
        return self.monotone.allowed(sides, totals)

    def tangent(self, V, G, sides):
        """Return gradients G without what leads out of the cone at once."""
        outwards = self._weights(G)
        leaving = self._are_wrong(self._weights(V), sides, -_HELD)
        leaving &= self._are_wrong(outwards, sides)
        outwards = np.where(leaving, outwards, G.dtype.type(0))
        return G - self.ways[0].astype(V.dtype, copy=False) @ outwards

    def _weights(self, V):
        """Return the constrained weights of coordinates, (n_constrained, K)."""
        return self.constrained.astype(V.dtype, copy=False) @ V

    def _are_wrong(self, held, sides, least=0.0):
        return held * (self.monotone.signs * sides).astype(held.dtype) < -least

    def _least(self, weights, V):
        """Return the smallest step, for each column of V, that has these weights."""
        softness = positive(np.sum(self.squares.astype(V.dtype) * V * V, axis=0))
        best = least = None
        for ways in self.ways:
            step = ways.astype(V.dtype, copy=False) @ weights
            changes = np.sum(self.squares.astype(V.dtype) * step * step, axis=0)
            size = np.sum(step * step, axis=0) + STIFFNESS * changes / softness
            if best is None:
                best, least = step, size
            else:
                best = np.where(size < least, step, best)
        return best


@dataclass(frozen=True)
class _AtInputs(Monotone):
    """``Monotone`` where inputs are the axes, with a centre that turned units keep."""

    centre: np.ndarray | None = None

    def turned(self, U, sides):
        """Return the units with weights of a wrong sign turned over."""
        return super().turned(U, sides, self.centre)


def sided_along(monotone, geometry, rows):
    """Return ``monotone`` for coordinates of a geometry of rows; None if it is None."""
    if monotone is None:
        return None
    centre = centre_of(rows)
    if geometry.axes is None:
        return _AtInputs(monotone.directions, centre)
    return SidedAlong(monotone, geometry, centre)
