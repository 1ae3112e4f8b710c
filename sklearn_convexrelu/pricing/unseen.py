"""Unseen maxima: what the ends of independent starts say of starts not made.

Of N starts drawn independently of each other W1 ended in maxima that no other ended in.
Then about W1 / N is the chance that one more ends in a maximum not seen (Good,
"The population frequencies of species", Biometrika 1953; for searches Boender &
Rinnooy Kan, Mathematical Programming 1987). Starts near known directions, and hops,
are not independent and do not count.
"""

import numpy as np

from sklearn_convexrelu.patterns.geometry import unit
from sklearn_convexrelu.pricing.kernels import DISTINCT

__all__ = ["chance_of_unseen"]


def chance_of_unseen(starts, signature):
    """Return the estimated chance that one more start ends in a maximum not seen.

    Parameters
    ----------
    starts : Candidates or None
        Where independent starts ended, each of them.
    signature : callable
        Makes of directions vectors that are close where these are one maximum.

    Returns
    -------
    float
        At most one, which it is without starts. Half a hit is added, so that it is
        never zero: that no maximum was hit once does not show that none is left.
    """
    if starts is None or not len(starts.prices):
        return 1.0
    n_starts = len(starts.prices)
    peaks = starts.distinct(n_starts, DISTINCT, signature)
    theirs = unit(signature(peaks.directions))
    same = theirs.T @ unit(signature(starts.directions)) >= DISTINCT
    same &= peaks.outputs @ starts.outputs.T >= 0.5
    # The first, and highest, that an end is the same as: as ``distinct`` has it.
    hits = np.bincount(same.argmax(axis=0), minlength=len(peaks.prices))
    return float(min((np.count_nonzero(hits == 1) + 0.5) / n_starts, 1.0))
