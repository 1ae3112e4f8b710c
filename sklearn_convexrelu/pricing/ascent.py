"""Ascent of the price on the unit sphere, from many directions at once."""

import numpy as np

from sklearn_convexrelu.model.norms import EUCLIDEAN, column_norms
from sklearn_convexrelu.patterns.geometry import positive, steepest, unit

__all__ = ["ascend"]

# Factors of the next step's length; 0.5 or 0.7 to shorten by lacked a tenth and a fifth
# more.
_LONGER, _SHORTER, _LONGEST = 1.2, 0.6, 1.0
# Times what a step changes in values: first width of an activation. 0.4 lacked a fifth
# more than 0.8 or 1.6.
_BLUR = 1.2
_MOMENTUM = 0.5  # part of the old way that the next step keeps; 0.85 lacked half more


def ascend(prices, U, n_steps, first, squares, norm=EUCLIDEAN):
    """Ascend the price from every column of ``U`` on the unit sphere.

    The price has kinks, where gradients zigzag and line searches stall: steps go along
    a running mean of the gradients and are taken whether the price rises or not. Their
    length, ``first`` to begin with (a number, or one for each column), grows where it
    does and shrinks where it does not; it is measured as ``steepest`` does, with the
    ``squares`` of the axes, (n_inputs, 1). A step cannot resolve kinks closer by than
    its length, so gradients are means over a part of it, which falls from ``_BLUR`` to
    nothing: the ascent ends on the price itself.

    Steps go from one vector of 2-norm one to another, whatever the ``norm`` is that
    prices are divided by. Returns the best directions of the last steps, or the start
    where that is better, and what their ``N^T relu(X u)`` are, roughly, in the
    precision of the prices.
    """
    V = start = U.astype(prices.dtype, copy=False)
    if not norm.is_euclidean:
        V = start = unit(V)
    totals, G = prices.totals_and_ascents(V)
    start_totals = totals
    sizes = column_norms(totals.T)
    values = start_values = _over_lengths(sizes, V, norm)
    steps, ways = np.full(V.shape[1], first, V.dtype), np.zeros_like(V)
    parts = np.linspace(_BLUR, 0.0, n_steps + 1)
    last = n_steps - max(n_steps // 4, 1)  # values of more blur do not compare
    for k, part in enumerate(parts[:-1].astype(V.dtype)):
        ways, changes = steepest(squares, V, norm.slopes(V, G), ways, _MOMENTUM)
        moved = norm.clipped(V, V + steps * ways)
        V = unit(prices.within(V, totals, moved))
        outputs = totals / positive(sizes)[:, None]
        widths = positive(part * steps * changes)
        totals, G = prices.totals_and_ascents(V, outputs, widths)
        sizes = column_norms(totals.T)
        new_values = _over_lengths(sizes, V, norm)
        better = new_values > values
        steps = np.minimum(np.where(better, _LONGER, _SHORTER) * steps, _LONGEST)
        steps = steps.astype(V.dtype, copy=False)
        if k == last:
            best, best_totals, values = V, totals, new_values
        elif k > last:
            best = np.where(better, V, best)
            best_totals = np.where(better[:, None], totals, best_totals)
        values = np.maximum(values, new_values)
    better = values > start_values
    best_totals = np.where(better[:, None], best_totals, start_totals)
    U = np.where(better, best, start)
    if norm.is_euclidean:
        return U, best_totals
    lengths = positive(norm.lengths(U))
    return U / lengths, best_totals / lengths[:, None]


def _over_lengths(prices, V, norm):
    """Return prices of vectors of 2-norm one as those of vectors of norm one."""
    return prices if norm.is_euclidean else prices / positive(norm.lengths(V))
