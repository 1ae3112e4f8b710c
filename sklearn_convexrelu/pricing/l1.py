"""Pricing under the 1-norm: sparse starts, and all single inputs outright.

The unit ball of the 1-norm has the inputs, with either sign, as its extreme points. The
price of a neuron is made of convex and of concave pieces, so that its maxima tend to
these points and to faces of few inputs. All single inputs are therefore priced
outright, which takes one product with the rows; searches start at vectors of few inputs
and stay sparse, since ascents leave a weight at zero until its gradient exceeds what
length costs.
"""

import numpy as np

from sklearn_convexrelu.data.rows import Block
from sklearn_convexrelu.patterns.geometry import Geometry, unit
from sklearn_convexrelu.pricing.search import Pricer

__all__ = ["OneNormPricer", "SparseGeometry", "input_totals"]

_MEAN_MORE = 1.5
_MEAN_OTHERS = 1.0
_BEST_INPUTS = 12


class SparseGeometry(Geometry):
    """Inputs as axes, and random vectors that have few of them."""

    def random_units(self, count, rng):
        """Return unit coordinates of random units of few inputs."""
        units = super().random_units(count, rng)
        counts = 1 + rng.poisson(_MEAN_MORE, count)
        ranks = rng.random(units.shape).argsort(axis=0).argsort(axis=0)
        return unit(np.where(ranks < counts, units, 0.0))

    def near(self, V, smallest, largest, rng, n_leaves=1):
        """Return unit coordinates near ``V``: of its own inputs, and a few others."""
        moved = super().near(V, smallest, largest, rng, n_leaves)
        others = rng.random(V.shape) < rng.random(V.shape[1]) * 2*_MEAN_OTHERS / len(V)
        return unit(np.where((V != 0.0) | others, moved, 0.0))


class OneNormPricer(Pricer):
    """Prices neurons under the 1-norm; see ``Pricer``."""

    def _geometry(self):
        return SparseGeometry(**vars(Geometry.of(self.rows, rotates=False)))

    def _exact_pricing(self, n_outputs):
        return None

    def search(self, N, known, effort, rng, *enough):
        """Search from the best single inputs too; see ``Pricer.search``."""
        known = np.hstack([known, self._best_inputs(N)])
        return super().search(N, known, effort, rng, *enough)

    def _best_inputs(self, N):
        """Return the single inputs of the largest prices, with their signs."""
        prices = np.linalg.norm(input_totals(self.rows, N), axis=2)
        best = np.argsort(-prices, axis=None, kind="stable")[:_BEST_INPUTS]
        signs, inputs = np.unravel_index(best, prices.shape)
        U = np.zeros((prices.shape[1], len(best)))
        U[inputs, np.arange(len(best))] = 1.0 - 2.0 * signs
        return U


def input_totals(rows, N):
    """Return ``N^T relu(x_j)`` and ``N^T relu(-x_j)`` of inputs, (2, n_inputs, C)."""
    sums, absolute = rows.reduce(_input_sums, 2 * rows.n_inputs, N)
    return 0.5 * np.array([absolute + sums, absolute - sums])


def _input_sums(block, rows, N):
    """Kernel: ``X^T N`` and ``|X|^T N``."""
    absolute = Block(abs(block.table), block.rows)
    return block.sums(N[rows]), absolute.sums(N[rows])
