"""Geometry of the rows: coordinates in which a search treats all of them alike.

Where a unit is active depends on the side of a hyperplane that a row is on, not on how
far from it. Second moments say the opposite: one far row, or one column in small units,
outweighs everything else, and a search that goes by them never cuts the bulk of the
rows. So searches go by Tyler's scatter matrix (Tyler 1987, "A Distribution-Free
M-Estimator of Multivariate Scatter", Annals of Statistics 15), in which every row
counts the same whatever its length. It follows columns through any change of units and
rotation, and with a column of ones among them through any shift.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular
from scipy.optimize import lsq_linear, nnls

from sklearn_convexrelu.data.rows import FEW_ROWS, MANY_INPUTS, Rows
from sklearn_convexrelu.model.norms import column_norms

__all__ = [
    "STIFFNESS",
    "Geometry",
    "cone_multipliers",
    "positive",
    "second_moment_roots",
    "steepest",
    "unit",
    "way_inside",
]

# Inputs of a sparse matrix up to which axes are worth it, however few entries it has.
_FEW_INPUTS = 128
# Weights of rows are corrected until nearly all change by less than half: searches
# need the size of things. Gaussian rows take one round. Rows that alone have a column,
# as of images, are pushed out by a factor each round: waiting for all of them took 9 to
# 20 rounds on images and words, and a tenth of a fit.
_MOST_ROUNDS, _SETTLED, _MOST = 20, np.log(1.5), 0.99
# Times the squared length of a typical row, in the metric of the scatter and, of many
# inputs, as it is too. On tables of few, 10 and 14, gaps judged by harder searches were
# up to .5 tolerances larger where that counted there.
# In that the farthest of Gaussian rows has 3, of the diabetes table 21, of lognormal
# columns (sigma 1.5) 138, a row times 30 has 860; and so has any row that alone has one
# of many columns, as of images, 1e5, whose own length is 3 to 19.
_FAR = 100.0
_RIDGE = 1e-12  # of the scatter, where columns depend on one another
_RESOLVED = 1e-8  # of the largest square: eigenvectors below it may be rounding
_NULL = 1e-20  # of the largest square: no value to speak of along such an axis
# Times the lengths of a row and a direction: such values have no sign yet.
_ON_PLANE = 1e-6
# Of the way to the next plane that points are moved. Half and double took 1.1 times as
# long on small fits that end on programmes over cells.
_INSIDE = 0.5
# Of a residual and a ray, both of length one: a larger product is no optimum's. Right
# answers had 1e-15 at most on 2856 cells, wrong ones 0.1 and more.
_OPTIMAL = 1e-9
# What a relative change of the values counts for beside a turn, in squares: the price
# bends with the values. On 32 dual points of 16 kinds of tables searches lacked 2.7
# thousandths of the largest price known; with 1 3.3, with 0.25 4.5, with 16 2.9.
STIFFNESS = 4.0


@dataclass(frozen=True)
class Geometry:
    """Orthonormal axes, and how large values of units are along them.

    Attributes
    ----------
    axes : ndarray of shape (n_inputs, n_inputs) or None
        Orthonormal columns: directions ``axes @ v`` have coordinates v. None: inputs
        are the axes, where there are too many for a matrix of them.
    squares : ndarray of shape (n_inputs,)
        About the squares, at a typical row, of the values of the axes. Values of a
        direction at the rows are then of the size ``sqrt(squares @ v^2)``.
    unlike : bool
        Whether some rows are so much farther than most that prices hide from a search.
    """

    axes: np.ndarray | None
    squares: np.ndarray
    unlike: bool = False

    @classmethod
    def of(cls, X, rotates=True):
        """Return the geometry of the rows of ``X``.

        Inputs are the axes, and scatter is that of each alone, unless it ``rotates``,
        and where products with axes would cost more than those with the rows.
        """
        rows = Rows.of(X)
        few = rows.few()
        most = FEW_ROWS
        if rows.is_sparse:
            most = max(few.size // rows.n_inputs, _FEW_INPUTS)
        if not rotates or rows.n_inputs > most:
            return cls._of_inputs(few)
        X = few.array()
        sizes = _column_sizes(X)
        rows, farthest = _alike(X / sizes)
        squares, axes = _principal_axes(rows * sizes)
        largest = squares.max() or 1.0  # no row differs from zero: any size will do
        if X.shape[1] > MANY_INPUTS:
            farthest = min(farthest, _farthest(np.einsum("ij,ij->i", X, X)))
        return cls(axes, np.maximum(squares, _NULL * largest), farthest > _FAR)

    @classmethod
    def _of_inputs(cls, rows):
        """Return the geometry whose axes are the inputs.

        Rows count the same whatever their length, once no input is longer than others.
        """
        sizes = rows.typical_sizes()
        lengths = rows.squared_lengths(sizes**2)
        live = lengths > 0.0
        if not live.any():
            return cls(None, np.ones(rows.n_inputs))
        typical = np.median(lengths[live])
        weights = np.divide(typical, lengths, out=np.zeros_like(lengths), where=live)
        squares = rows.column_squares(weights / live.sum())
        squares = np.maximum(squares, _NULL * squares.max())
        return cls(None, squares, lengths.max() / typical > _FAR)

    def directions(self, V):
        """Return the directions of coordinates, columns."""
        return V if self.axes is None else self.axes @ V

    def coordinates(self, U):
        """Return the coordinates of directions, columns."""
        return U if self.axes is None else self.axes.T @ U

    def signature(self, directions):
        """Return vectors that are close where directions act alike on the data."""
        return np.sqrt(self.squares)[:, None] * self.coordinates(directions)

    def random_units(self, count, rng):
        """Return unit coordinates of random units.

        Half have Gaussian values at the rows. The price is one of unit vectors, though,
        and where columns differ in size these are made of the small ones: the others
        neglect what is smaller than a size drawn among those of the axes.
        """
        noise, least = rng.standard_normal((len(self.squares), count)), np.zeros(count)
        null = self.squares <= _NULL * self.squares.max()
        drawn = rng.choice(self.squares[~null], count // 2)
        least[: count // 2] = drawn * rng.lognormal(size=count // 2)
        noise[null] = 0.0
        return unit(noise / np.sqrt(self.squares[:, None] + rng.permutation(least)))

    def near(self, V, smallest, largest, rng, n_leaves=1):
        """Return unit coordinates near ``V``, noise log-uniform in size.

        Its squared size is the mean of those of the turn and of the relative change of
        values: on columns of very different size plain noise would move nothing, or
        everything. Those of sub-networks have one leaf below the other.
        """
        size = np.exp(rng.uniform(np.log(smallest), np.log(largest), V.shape[1]))
        squares = np.tile(self.squares, n_leaves)
        stiffness = 1.0 + squares[:, None] / positive(squares @ (V * V))
        noise = rng.standard_normal(V.shape) / np.sqrt(stiffness)
        lengths = np.sqrt(0.5 * np.einsum("ij,ij->j", noise, noise * stiffness))
        return unit(V + size * noise / lengths)


def steepest(squares, V, slope, moves, momentum):
    """Return the next moves of an ascent on the sphere, and how they change values.

    A step w from the unit v turns it by ``||w||``, and changes its values at a typical
    row by ``sqrt(squares @ w^2)`` while they are ``sqrt(squares @ v^2)`` themselves.
    Moves are steepest, and of length one, in the sum of the squares of the turn and of
    the relative change, ``STIFFNESS`` times: short steps where the unit cuts rows that
    stand close together, and long ones, as on the plain sphere, where they do not.

    Parameters
    ----------
    squares : ndarray of shape (n_inputs, 1)
        Those of the axes.
    V : ndarray of shape (n_inputs, n_directions)
        Unit coordinates.
    slope : ndarray of shape (n_inputs, n_directions)
        How the price rises there, without what a longer unit would gain.
    moves : ndarray of shape (n_inputs, n_directions)
        The moves before.
    momentum : float
        The part of them that is kept.

    Returns
    -------
    moves : ndarray of shape (n_inputs, n_directions)
        The next moves.
    changes : ndarray of shape (n_directions,)
        Root mean square change of the values along them.
    """
    softness = positive(np.einsum("ij,ij->j", squares * V, V)) / STIFFNESS
    stiffness = squares / softness
    stiffness += 1.0
    steep = slope / stiffness
    steep /= positive(np.sqrt(np.einsum("ij,ij->j", slope, steep)))
    steep += momentum * moves
    stiffness *= steep
    steep /= positive(np.sqrt(np.einsum("ij,ij->j", stiffness, steep)))
    # Of the squared length, one, what is not the turn is the change.
    rest = 1.0 - np.einsum("ij,ij->j", steep, steep)
    return steep, np.sqrt(np.maximum(rest, 0.0) * softness)


def second_moment_roots(X):
    """Return R with ``R^T R = X^T X / n`` and its inverse, both floored.

    The root is taken of the correlations, after scaling features to order one, so that
    features of very different scale do not hide each other.
    """
    moments = X.T @ X / len(X)
    scale = np.sqrt(np.diag(moments))
    if not scale.any():
        return np.eye(len(scale)), np.eye(len(scale))
    scale[scale == 0.0] = 1.0
    eigenvalues, Q = np.linalg.eigh(moments / scale / scale[:, None])
    root = np.sqrt(np.maximum(eigenvalues, 1e-12 * eigenvalues[-1]))
    return (Q * root) @ Q.T * scale, (Q / root) @ Q.T / scale[:, None]


def way_inside(values, slopes, lengths, axis):
    """Return how far along ways points stay inside the cells that these lead into.

    That is half of the way to the next plane, or of the way itself.

    Parameters
    ----------
    values, slopes : ndarray
        Values of the rows at points and at their ways.
    lengths : ndarray
        Sizes of values, next to which they may be on a plane; ways lead off that.
    axis : int or tuple of int
        Where the rows are.
    """
    ahead = (np.abs(values) > _ON_PLANE * lengths) & (values * slopes < 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.where(ahead, -values / slopes, np.inf).min(axis=axis, initial=1.0)
    return _INSIDE * reach


def cone_multipliers(rays, direction):
    """Return lambda >= 0 that makes ``||direction - rays lambda||`` least.

    SciPy's active sets end at a wrong point now and then (1.17: 5 of 2856 cones of
    sub-networks, whatever the order of the rays). Where the residual still has a part
    along a ray, or along what was taken of the rays, a method with another rule is
    asked. Whatever comes is a bound on the least distance.

    Parameters
    ----------
    rays : ndarray of shape (n_inputs, n_rays)
        What the cone is spanned by.
    direction : ndarray of shape (n_inputs,)
        What is to be approximated.
    """
    lengths = positive(column_norms(rays))
    size = positive(np.linalg.norm(direction))
    rays, direction = rays / lengths, direction / size
    try:
        multipliers = nnls(rays, direction)[0]
    except RuntimeError:  # its limit of iterations
        multipliers = np.zeros(len(lengths))
    taken = rays @ multipliers
    residual = direction - taken
    rises = np.max(rays.T @ residual, initial=0.0)
    if max(rises, abs(taken @ residual)) > _OPTIMAL:
        found = lsq_linear(rays, direction, (0.0, np.inf), "bvls", tol=1e-14)
        other = np.maximum(found.x, 0.0)
        if np.linalg.norm(direction - rays @ other) < np.linalg.norm(residual):
            multipliers = other
    return multipliers * size / lengths


def unit(U):
    """Return ``U`` with columns of norm one (zero columns stay zero)."""
    return U / positive(column_norms(U))


def positive(lengths):
    """Return lengths to divide by: zero becomes the least positive number."""
    return np.maximum(lengths, np.finfo(lengths.dtype).tiny)


def _column_sizes(X):
    """Return a size for each column that few far rows do not change.

    That is the median, of the entries that are not zero where most are.
    """
    sizes = np.median(np.abs(X), axis=0)
    for j in np.flatnonzero(sizes == 0.0):
        entries = np.abs(X[X[:, j] != 0.0, j])
        sizes[j] = np.median(entries) if len(entries) else 1.0
    return sizes


def _alike(Z):
    """Return the rows weighted so that their moments are Tyler's scatter; the farthest.

    The scatter is as large as the typical square of the rows. The farthest is the
    largest squared length in its metric, for that of a typical row. Rows are weighted
    by the inverse of their squared length in the metric of the last scatter. Few rows,
    or many in a subspace, have no such matrix: the rounds end, and any of them serves a
    search.
    """
    Z = Z[Z.any(axis=1)]
    if not len(Z):
        return Z, 1.0
    lengths = np.einsum("ij,ij->i", Z, Z)
    for _ in range(_MOST_ROUNDS):
        weights = np.median(lengths) / lengths
        weights /= weights.sum()
        new = _squared_lengths(Z, weights)
        ratios = new / lengths
        change = np.quantile(np.abs(np.log(ratios / np.median(ratios))), _MOST)
        lengths = new
        if change < _SETTLED:
            break
    alike = Z * np.sqrt(weights * np.median(lengths) / Z.shape[1])[:, None]
    return alike, _farthest(lengths)


def _farthest(lengths):
    """Return the largest of squared lengths, for the typical one that is not zero."""
    lengths = lengths[lengths > 0.0]
    return lengths.max() / np.median(lengths) if len(lengths) else 1.0


def _squared_lengths(Z, weights):
    """Return ``z^T scatter^-1 z`` of every row, floored."""
    weighted = Z * np.sqrt(weights)[:, None]
    scatter = weighted.T @ weighted
    ridge = _RIDGE * max(np.trace(scatter), 1e-300)
    try:
        root = cholesky(scatter + ridge * np.eye(len(scatter)), lower=True)
    except LinAlgError:  # rounding: many columns that depend on one another
        root = cholesky(scatter + 1e4 * ridge * np.eye(len(scatter)), lower=True)
    white = solve_triangular(root, Z.T, lower=True)
    lengths = np.einsum("ij,ij->j", white, white)
    return np.maximum(lengths, 1e-6 * np.median(lengths) + 1e-300)


def _principal_axes(rows):
    """Return the squares along the principal axes of the rows, and these, as columns.

    Moments do not resolve axes along which rows are much smaller than along others;
    their own moments do.
    """
    squares, axes = np.linalg.eigh(rows.T @ rows)
    small = squares < _RESOLVED * squares[-1]
    if small.any():
        squares[small], inner = _principal_axes(rows @ axes[:, small])
        axes[:, small] = axes[:, small] @ inner
    return squares, axes
