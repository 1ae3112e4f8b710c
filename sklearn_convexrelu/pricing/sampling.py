"""Samples of the rows that a dual point weighs most, for searches to go by.

A price is a sum over rows of what the dual point N weighs them by, most of which
cancels: gross sums are some ten times as large, and in a fit of images a tenth of the
rows has half of them. So rows are drawn in proportion to their weight, heavy ones for
certain, and those that are drawn stand for others: sums over a sample are right in the
mean, and vary least where rows are as long.
"""

import numpy as np

from sklearn_convexrelu.data.cluster import is_spread

__all__ = ["chances", "sampled"]

_HALVINGS = 24  # of some thirty powers of e: six digits
# Times the rows wanted: those that are looked at on workers, from where that travels.
_LOOKED_AT = 4
_MOST = 0.8  # of the rows: a larger sample saves too little


def sampled(prices, count, rng, noise=np.inf):
    """Return prices on a sample of the rows, or the prices themselves.

    Parameters
    ----------
    prices : Prices
        At a dual point.
    count : int
        Least rows that are wanted.
    rng : numpy.random.Generator
        Draws them.
    noise : float, default=inf
        Root mean square error that sums of the dual point over rows may have.

    Returns
    -------
    Prices
        On about ``count`` rows, or more for the noise's sake, with a dual point to
        match. Those of all rows where a sample would be nearly as many. Of rows on
        workers a part is looked at, whose own noise comes on top.
    """
    rows, N, looked_at = prices.rows, prices.N, None
    if rows.is_spread:
        most = min(_LOOKED_AT * count, len(rows))
        looked_at = np.sort(rng.choice(len(rows), most, replace=False))
        N = N[looked_at]
        if is_spread(N):  # too many to come here: then any rows
            few = np.sort(rng.choice(len(rows), min(count, len(rows)), replace=False))
            return prices.on(few, prices.N[few] * (len(rows) / len(few)))
    part = len(N) / len(rows)
    chosen = chances(np.linalg.norm(N, axis=1), count, part * noise)
    if looked_at is None and chosen.sum() > _MOST * len(rows):
        return prices
    # At equal steps of the sum of chances: rows here are sorted, so neighbours alike.
    counted = np.floor(np.cumsum(chosen) + rng.random())
    drawn = np.flatnonzero(np.diff(counted, prepend=0.0))
    weights = (1.0 / (part * chosen[drawn])).astype(N.dtype)
    N = N[drawn] * weights[:, None]
    return prices.on(drawn if looked_at is None else looked_at[drawn], N)


def chances(sizes, count, noise=np.inf):
    """Return the chances to draw rows with, in proportion to sizes but one at most.

    They add up to ``count`` at least, and to so much that the sum of what is drawn,
    each size over its chance, has a standard deviation of ``noise`` at most.
    """
    largest = sizes.max(initial=0.0)
    if not 0.0 < largest < np.inf or len(sizes) <= count:
        return np.ones(len(sizes))
    sizes = sizes.astype(np.float64)
    # Sizes above a level are drawn for certain; the highest level that will do.
    low, high = largest * 1e-12, sizes.sum() / count
    for _ in range(_HALVINGS):
        level = np.sqrt(low * high)
        chosen = np.minimum(sizes / level, 1.0)
        spread = sizes @ np.maximum(level - sizes, 0.0)
        if chosen.sum() >= count and spread <= noise**2:
            low = level
        else:
            high = level
    return np.minimum(sizes / low, 1.0)
