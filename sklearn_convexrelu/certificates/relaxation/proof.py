"""Proof: a rigorous bound on the price of one dual point, from any multipliers.

On a region, a quadratic ``u^T A u + b^T u + c`` is above ``v^T relu(X u)``; its maximum
over the sphere is the trust region problem (Moré & Sorensen, SIAM J. Sci. Stat. Comput.
1983), which has no duality gap, and any dual value is a bound. So nothing here trusts
the descent that found the multipliers; an allowance for rounding is added.
"""

from dataclasses import replace

import numpy as np

from sklearn_convexrelu.certificates.certificate import lower_bound
from sklearn_convexrelu.certificates.relaxation.regions import TINY
from sklearn_convexrelu.certificates.relaxation.semidefinite import (
    Moments,
    unit_factors,
)

__all__ = ["block_prices", "proven_value", "region_prices", "untied_prices"]


def block_prices(relaxation, state, weights):
    """Return proven bounds on the prices of blocks, by regions.

    Parameters
    ----------
    relaxation : Relaxation
        The row space and regions.
    state : State
        Its factors, a and multipliers only tell which quadratic to use.
    weights : ndarray of shape (2, n_columns, n_samples)
        Weights E of the rows.

    Returns
    -------
    ndarray of shape (n_regions, 2, n_columns)
        Bounds on ``-sum_i E_i relu(z_i^T u)`` over u in a region.
    """
    rows, free = relaxation.rows, relaxation.free
    moments = Moments.of(rows, unit_factors(state.W)[0])
    envelopes = relaxation.envelopes(moments)
    a = relaxation.absolute(moments, state.a)
    new = relaxation.updated(moments, envelopes, a, state.multipliers)
    # Pairs hand weight from row to row; what is left there decides which bound a row
    # needs.
    half = 0.5 * weights
    left = half + rows.net(new.pairs)
    linear = half + np.where(free, 0.0, relaxation.sides * left)
    left = np.where(free, left, 0.0)
    new = replace(new, lower=np.maximum(left, 0.0), upper=np.maximum(-left, 0.0))
    below = relaxation.quadratic(moments, envelopes, linear, new)
    return _sphere_maximum(below.negative(), len(rows.Z) + len(rows.distances))


def region_prices(relaxation, state, weights):
    """Return what no price of a block exceeds in every region, in the units of X.

    Parameters
    ----------
    relaxation : Relaxation
        The row space and regions.
    state : State
        As in ``block_prices``.
    weights : ndarray of shape (2, n_columns, n_samples)
        As in ``block_prices``.

    Returns
    -------
    ndarray of shape (n_regions, 2, n_columns)
        Bounds for the rows before scaling; at least zero.
    """
    bounds = block_prices(relaxation, state, weights)
    return _in_units(relaxation.rows, bounds, weights)


def untied_prices(rows, relaxations, V, weights):
    """Return the same over the whole sphere, from rows in parts and without pairs.

    Parameters
    ----------
    rows : RowSpace
        All rows.
    relaxations : list of Relaxation
        Those of the parts, in order.
    V : ndarray of shape (1, 2, n_columns, rank, n_factors)
        Factors that tell which quadratic to use.
    weights : ndarray of shape (2, n_columns, n_samples)
        Weights of the rows.

    Returns
    -------
    ndarray of shape (1, 2, n_columns)
        Bounds for the rows before scaling; at least zero.
    """
    below, begin = None, 0
    for relaxation in relaxations:
        own = slice(begin, begin + len(relaxation.rows.Z))
        begin, half = own.stop, 0.5 * weights[..., own]
        moments = Moments.of(relaxation.rows, V)
        envelopes = relaxation.envelopes(moments)
        at_rest = relaxation.at_rest(half[None])
        part = relaxation.quadratic(moments, envelopes, half, at_rest)
        below = part if below is None else below.plus(part)
    bounds = _sphere_maximum(below.negative(), len(rows.Z))
    return _in_units(rows, bounds, weights)


def _in_units(rows, bounds, weights):
    """Return bounds on prices for the rows before scaling."""
    prices = np.maximum(bounds, 0.0) * rows.scale
    prices = prices + rows.dropped * np.linalg.norm(weights, axis=-1)
    return np.nan_to_num(prices * (1.0 + 1e-14), nan=np.inf)


def proven_value(problem, N, price):
    """Return the lower bound that N proves, less what rounding may have added.

    Parameters
    ----------
    problem : Problem
        What is minimised.
    N : ndarray of shape (n_samples, n_outputs)
        The dual point.
    price : float
        A number that the price of N does not exceed.

    Returns
    -------
    float
        The bound; minus infinity where the price is not finite.
    """
    if not np.isfinite(price):
        return -np.inf
    value = lower_bound(problem, N, price)
    size = np.abs(value) + np.sum(np.abs(N * problem.Y)) + problem.loss_scale()
    return float(value - 4.0 * np.finfo(float).eps * (len(N) + 10) * size)


def _sphere_maximum(quadratic, n_terms):
    """Bound ``max_{||u|| = 1} u^T A u + b^T u + c`` from above, provably.

    By Lagrangian duality it is at most ``l + b^T (l I - A)^-1 b / 4 + c`` for every l
    above the eigenvalues of A. Bisection finds the best l; eigenvalues, and the sums
    that made A, b and c, are off by rounding no more than what is added.
    """
    values, vectors = np.linalg.eigh(quadratic.A)
    b = np.einsum("...ri,...r->...i", vectors, quadratic.b) ** 2
    rank = values.shape[-1]
    largest = values[..., -1]
    width = 0.5 * np.sqrt(b.sum(axis=-1))
    least = 1e-14 * (quadratic.size + np.abs(largest)) + TINY
    low, high = least, np.maximum(width, least)
    distances = largest[..., None] - values
    # Bisection of the logarithm, for all blocks at once: Newton's method (Moré &
    # Sorensen) needs safeguards in the hard case, where b has no part along the largest
    # eigenvalue. Sixty halvings of some sixteen decades leave rounding, and any l is
    # valid: a worse one only weakens the bound.
    for _ in range(60):
        middle = np.sqrt(low * high)
        steep = np.sum(b / (middle[..., None] + distances) ** 2, axis=-1) > 4.0
        low, high = np.where(steep, middle, low), np.where(steep, high, middle)
    rest = 0.25 * np.sum(b / (high[..., None] + distances), axis=-1)
    rounding = max(16.0 * np.finfo(float).eps * (n_terms + 8 * rank), 1e-12)
    return largest + high + rest + quadratic.c + rounding * quadratic.size
