"""Pricing under the 1-norm: sparse starts, and all single inputs outright.

The unit ball of the 1-norm has the inputs, with either sign, as its extreme points. The
price of a neuron is made of convex and of concave pieces, so that its maxima tend to
these points and to faces of few inputs. All single inputs are therefore priced
outright, which takes one product with the rows; searches start at vectors of few inputs
and stay sparse, since ascents leave a weight at zero until its gradient exceeds what
length costs.
"""

import numpy as np

from sklearn_convexrelu.patterns.geometry import Geometry, unit
from sklearn_convexrelu.pricing.kernels import BATCH
from sklearn_convexrelu.pricing.search import Pricer

__all__ = ["OneNormPricer", "SparseGeometry"]

# Inputs of a random start beyond the first, and that a perturbed one gains, on average.
# By what searches of HARD's size lack of the largest price known, in thousandths, on 18
# dual points of nine tables (3 seeds): 4.3; with 0.5 and 4 more 4.7 and 4.0; with 0.5
# and 2.5 gained 3.8 and 4.7. To drop inputs at random, or to mix leaders, lacks more.
_MEAN_MORE, _MEAN_GAINED = 1.5, 1.0
# Single inputs that searches start from: with 20 and 40 3.4 and 4.3 for 3.6 with 12.
_BEST_INPUTS = 12


class SparseGeometry(Geometry):
    """Inputs as axes, and random vectors that have few of them."""

    def random_units(self, count, rng):
        """Return unit coordinates of random units of few inputs."""
        units = super().random_units(count, rng)
        live = np.flatnonzero(units.any(axis=1))
        if not len(live):
            return units
        more = rng.poisson(_MEAN_MORE, count) / len(live)
        few = rng.random(units.shape) < more
        few[rng.choice(live, count), np.arange(count)] = True
        return unit(np.where(few, units, 0.0))

    def near(self, V, smallest, largest, rng, n_leaves=1):
        """Return unit coordinates near ``V``: of its own inputs, and a few others."""
        moved = super().near(V, smallest, largest, rng, n_leaves)
        gained = 2.0 * _MEAN_GAINED * rng.random(V.shape[1]) / len(V)
        others = rng.random(V.shape) < gained
        return unit(np.where((V != 0.0) | others, moved, 0.0))


class OneNormPricer(Pricer):
    """Prices neurons under the 1-norm; see ``Pricer``."""

    # On ten fits of friedman1 (n = 200) 233 rounds and 0.86 s, with half as many 277
    # and 1.10 s, with twice as many 215 and 0.86 s: there are more local maxima.
    n_handed = 2 * BATCH

    def _geometry(self):
        return SparseGeometry(**vars(Geometry.of(self.rows, rotates=False)))

    def search(self, N, known, effort, rng, *enough):
        """Search from the best single inputs too; see ``Pricer.search``."""
        known = np.hstack([known, self._best_inputs(N)])
        return super().search(N, known, effort, rng, *enough)

    def _best_inputs(self, N):
        """Return the single inputs of the largest prices, with their signs."""
        totals = self.rows.input_totals(N)
        if self.monotone is not None:
            sides = np.outer([1.0, -1.0], self.monotone.directions).ravel()
            allowed = self.monotone.allowed(sides, totals.reshape(-1, N.shape[1]))
            totals = allowed.reshape(totals.shape)
        prices = np.linalg.norm(totals, axis=2)
        best = np.argsort(-prices, axis=None, kind="stable")[:_BEST_INPUTS]
        signs, inputs = np.unravel_index(best, prices.shape)
        U = np.zeros((prices.shape[1], len(best)))
        U[inputs, np.arange(len(best))] = 1.0 - 2.0 * signs
        return U
