"""Second moments of the values of units, kept from one solve of amplitudes to the next.

They are the second derivatives of the squared loss. Most units of a solve were in the
last one too, so only products of the others with all are worked out: of n rows and K
units that is n K for each, where all of them take n K^2.
"""

import numpy as np

__all__ = ["Moments"]

# Digits of a direction's entries that are its name: what rounding leaves when a network
# is made of amplitudes and taken apart again is five orders below, and directions that
# agree in so many are the same to a Newton step, whose gradient is always exact.
_DIGITS = 11
_MOST_NEW = 0.5  # of the units: products of these with all cost what all of them do


class Moments:
    """The moments of the last solve, and the directions that had them.

    All solves are on the same rows; that their weights are those of the last solve is
    checked.
    """

    def __init__(self):
        self._weights = self._squares = None
        self._places = {}  # of names in the squares

    def sums(self, features, weights, columns):
        """Return weighted second moments of units, with columns, and of columns.

        Parameters
        ----------
        features : Features
            The units.
        weights : ndarray of shape (n_samples,)
            Of the rows. Other ones than last time make all moments new.
        columns : Unpenalised
            Columns that are not penalised.

        Returns
        -------
        list of ndarray
            Of shapes (n_units, n_units), (n_units, n_columns), (n_columns, n_columns).
        """
        if weights is not self._weights:
            self._weights, self._places = weights, {}
        args = weights, columns
        if features.directions is None:  # their values were given
            return features.reduce(_all_moments, *args, squares=True)
        names = _names(features.directions)
        places = np.array([self._places.get(name, -1) for name in names], dtype=int)
        is_new = places < 0
        if np.count_nonzero(is_new) >= _MOST_NEW * features.n_units:
            sums = features.reduce(_all_moments, *args, squares=True)
        else:
            new = np.flatnonzero(is_new)
            sums = features.reduce(_some_moments, new, *args, squares=True)
            # Where -1 is the place, of new ones, anything does: it is written over.
            squares = self._squares.take(places, axis=0).take(places, axis=1)
            squares[new], squares[:, new] = sums[0], sums[0].T
            sums[0] = squares
        self._squares = sums[0]
        self._places = {name: k for k, name in enumerate(names)}
        return sums


def _names(directions):
    """Return a name for each direction of units, (n_inputs, n_units), and of others.

    Those are linear neurons, if there are any. Entries count by their size, however
    small: an input may be large.
    """
    names = []
    for kind, columns in enumerate(directions):
        digits, exponents = np.frexp(columns.T)
        rounded = np.ldexp(np.round(digits, _DIGITS), exponents) + 0.0  # of -0.0 too
        names += [(kind, direction.tobytes()) for direction in rounded]
    return names


def _all_moments(values, block, rows, weights, columns):
    """Kernel: weighted second moments of the values, with and of the columns."""
    weights = weights[rows]
    weighted = values * np.sqrt(weights)[:, None]
    return weighted.T @ weighted, *_of_columns(values, block, weights, columns)


def _some_moments(values, block, rows, new, weights, columns):
    """Kernel: the same, but those of some of the values with all."""
    weights = weights[rows]
    some = values[:, new] * weights[:, None]
    return some.T @ values, *_of_columns(values, block, weights, columns)


def _of_columns(values, block, weights, columns):
    """Return weighted moments of values with columns, and of these."""
    B = columns.of_block(block)
    weighted = weights[:, None] * B
    return values.T @ weighted, B.T @ weighted
