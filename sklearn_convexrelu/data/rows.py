"""Rows: the only door to the data.

What training asks of the inputs is little: products with directions and with dual
points, a few sums over all rows, a sample. So that is all there is to ask, and what is
behind it may be a dense array, a sparse matrix, a memory map larger than memory or
parts on the workers of a cluster. The models are tabmat's ``MatrixBase`` and adelie's
matrix module.

A *kernel* is a pure function of a block of rows. Rows are cut into chunks whose bounds
depend on the shape alone, and sums over chunks are taken in their order: the result
does not depend on how many threads work on them. Within a chunk blocks are so small
that what a kernel computes of them stays in the processor's cache, which is twice as
fast as passes over whole arrays, and memory does not grow with the number of rows.

Four things are virtual, that is, never written to memory: the unit of the inputs, a
power of two, so that ``(X / unit) @ U`` is ``X @ (U / unit)`` to the bit; a scale for
each column; the column of ones; and axes to rotate to, which cost less per direction
than rows do.
"""

import mmap
from dataclasses import dataclass, field, fields, replace
from typing import NamedTuple

import numpy as np
from scipy import sparse

from sklearn_convexrelu._deadline import Deadline
from sklearn_convexrelu._threads import in_parallel
from sklearn_convexrelu.data.cluster import is_spread
from sklearn_convexrelu.data.device import DeviceArray

__all__ = [
    "FEW_ROWS",
    "MANY_INPUTS",
    "SQUARES_ROWS",
    "SQUARES_WIDTH",
    "Block",
    "Rows",
    "Weights",
    "is_mapped",
    "kept",
    "largest",
    "scaled",
]

# Results held at a time, twice as much where there are several chunks. Fits of 10 000
# rows took 1.25 and 1.4 times as long with twice and four times as much. Those of
# 300 000 rows took as long with twice as much, and two threads were 1.5 times as fast
# as one, for 1.2 times: shorter calls queue for the interpreter.
_BLOCK_BYTES = 1 << 18
_LEAST_ROWS = 64  # of a block: below, calls cost more than the products
# Rows of a chunk, at most: the share of one thread. At 300 000 rows with a quarter of
# these two threads gained a tenth less.
_CHUNK_ROWS = 16384
_CHUNK_ENTRIES = 1 << 21
# Results held at a time on a device, which is slow on little. No device to measure this
# on was at hand: it leaves room for a few of them in 8 GB.
_DEVICE_BYTES = 1 << 28
# Rows that tell directions, scales and ranks apart well enough for a search. Searches
# that begin on a sample of them are ascended on all rows at the end.
FEW_ROWS = 2048
# Inputs from which data are wide: axes differ by orders of magnitude, and neurons go by
# few rows each. What depends on it says what it was chosen against.
MANY_INPUTS = 50
# Numbers a row, at most, of blocks whose squares are summed, so that those have 512
# rows: with 60, as 550 columns have otherwise, adding up squares took longer than they
# did.
SQUARES_WIDTH, SQUARES_ROWS = 64, 512
# Of the moments, for leading axes. Bounds of prices of 1000 images, raw and scaled,
# were 1.004 and 1.03 times as large with one, .999 and .99 with three.
_POWERS = 2
_LARGEST_UNIT = 1e100  # beyond, or below its inverse, products would leave double
_MOST_ENTRIES = 1 << 26  # of an array made of what is no array: half a gigabyte


class kept:  # noqa: N801 - used like a decorator of the standard library
    """A property that is worked out once.

    That of functools holds one lock for all objects while it works, up to Python 3.11:
    a fork in the meantime inherits it, and threads wait for each other's passes.
    """

    def __init__(self, function):
        self.function, self.__doc__ = function, function.__doc__

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        value = instance.__dict__[self.name] = self.function(instance)
        return value


class Weights(NamedTuple):
    """What a block multiplies by: directions in the units of the table behind it."""

    matrix: np.ndarray
    shift: np.ndarray | None


class Block:
    """Some rows, as kernels see them.

    Parameters
    ----------
    table : ndarray or csr_array
        The rows of the table.
    rows : Rows
        What they are of, which knows the inputs that the table stands for.
    """

    __slots__ = ("rows", "table")

    def __init__(self, table, rows):
        self.table, self.rows = table, rows

    def __len__(self):
        return self.table.shape[0]

    def values(self, weights):
        """Return ``X U`` of ``rows.weights(U)``, (n, n_directions)."""
        H = self.table @ weights.matrix
        if weights.shift is not None:
            H += weights.shift
        return H

    def values_across(self, weights):
        """Return ``(X U)^T``, one direction after the other in memory."""
        if sparse.issparse(self.table):
            return np.ascontiguousarray(self.values(weights).T)
        H = weights.matrix.T @ self.table.T
        if weights.shift is not None:
            H += weights.shift[:, None]
        return H

    def sums(self, E):
        """Return ``X^T E``, (n_inputs, n_columns)."""
        if self.rows.is_plain:
            return self.table.T @ E
        return self._of_inputs(self.table.T @ E, E)

    def weighted_sums(self, v, E):
        """Return ``X^T (v E)`` for a column v, (n, 1).

        Of an array, which has fewer columns than E mostly, the rows are multiplied.
        """
        if self.rows.is_sparse:
            return self.sums(v * E)
        G = (self.table * v).T @ E
        return G if self.rows.is_plain else self._of_inputs(G, E, v)

    def _of_inputs(self, G, E, v=None):
        """Return sums over the columns of the table as those over inputs."""
        rows = self.rows
        if rows.columns is not None:
            G = G[rows.columns]
        if rows.is_divided:
            G *= np.reshape(1.0 / rows.divisors, (-1, 1)).astype(G.dtype)
        if rows.constant:
            total = E.sum(axis=0) if v is None else v[:, 0] @ E
            G = np.vstack([G, G.dtype.type(rows.constant) * total])
        return G if rows.axes is None else rows.axes.T.astype(G.dtype, copy=False) @ G

    def moments(self, weights):
        """Return ``X^T diag(weights) X`` in double, (n_inputs, n_inputs).

        Weights are at least zero. Of a sparse table products are sparse too.
        """
        rows, held = self.rows, np.flatnonzero(weights)
        roots = np.sqrt(weights[held])[:, None]
        part = Block(self.table[held], rows)
        if not rows.is_sparse or rows.axes is not None:
            X = part.dense().astype(np.float64, copy=False) * roots
            return X.T @ X
        X = part.table.astype(np.float64)
        if rows.columns is not None:
            X = X[:, rows.columns]
        X = sparse.csr_array(_divided(X, rows.divisors).multiply(roots))
        moments = (X.T @ X).toarray()
        if not rows.constant:
            return moments
        sums = rows.constant * (X.T @ roots)
        total = np.full((1, 1), rows.constant**2 * weights.sum())
        return np.block([[moments, sums], [sums.T, total]])

    def dense(self):
        """Return the inputs as an array, (n, n_inputs)."""
        rows, X = self.rows, self.table
        if sparse.issparse(X):
            X = X.toarray()
        if rows.columns is not None:
            X = X[:, rows.columns]
        if rows.is_divided:
            # In double: single precision might not hold the unit.
            X = X.astype(np.float64, copy=False) / rows.divisors
        if rows.constant:
            ones = np.full((len(X), 1), rows.constant, X.dtype)
            X = np.hstack([X, ones])
        return X if rows.axes is None else X @ rows.axes

    def squared_lengths(self, inverse=None):
        """Return the squared lengths of the rows, (n,), squares times ``inverse``."""
        squares, constant = self.squares()
        if inverse is None:
            return squares.sum(axis=1) + constant
        if constant:
            inverse, constant = inverse[:-1], constant * inverse[-1]
        return squares @ inverse + constant

    def squares(self):
        """Return the squares of the columns, and that of the constant; no axes."""
        X, rows = self.table, self.rows
        if rows.columns is not None:
            X = X[:, rows.columns]
        X = _divided(X.astype(np.float64), rows.divisors)
        return (X.multiply(X) if sparse.issparse(X) else X * X), rows.constant**2


@dataclass
class Extent:
    """Least and largest values of a table's columns, once they were asked for.

    A pass over a memory map takes long, and units, refusals and precision all ask.
    """

    bounds: np.ndarray | None = None


@dataclass(frozen=True)
class Rows:
    """Rows of inputs, behind which any table may stand.

    Row i is ``[table[i, columns] / (unit * scales[columns]), constant] @ axes``.

    Attributes
    ----------
    table : ndarray, memmap, csr_array or Spread of shape (n_samples, n_columns)
        The data; what a memory map has is read chunk by chunk. A ``Spread`` is on
        workers, which have Rows of their own of each part.
    constant : float
        Last input of every row, a bias; 0 where there is none.
    unit : float
        Power of two that the columns are divided by.
    columns : ndarray of int or None
        Columns that are inputs; None: all.
    axes : ndarray of shape (n_inputs, n_inputs) or None
        Orthonormal columns to take coordinates along; None: as they are.
    source : Rows or None
        Rows of a memory map that the table of this is made of, chunk by chunk.
    precision : dtype or None
        What it is made in.
    extent : Extent
        Bounds of the table, which all rows of it share.
    deadline : Deadline or None
        When passes over the rows must end.
    scales : ndarray of shape (n_columns,) or None
        What each column of the table is divided by, besides; None: nothing.
    """

    table: np.ndarray | sparse.csr_array
    constant: float = 0.0
    unit: float = 1.0
    columns: np.ndarray | None = None
    axes: np.ndarray | None = None
    source: "Rows | None" = None
    precision: np.dtype | None = None
    extent: Extent = field(default_factory=Extent, repr=False, compare=False)
    deadline: Deadline | None = field(default=None, repr=False, compare=False)
    scales: np.ndarray | None = None

    @classmethod
    def of(cls, X, constant=0.0):
        """Return the rows of a table as it is, not copied.

        Parameters
        ----------
        X : ndarray, memmap, sparse matrix, Spread or Rows
            The table.
        constant : float, default=0.0
            A last input of all rows.
        """
        if isinstance(X, Rows):
            return X
        if sparse.issparse(X):
            X = sparse.csr_array(X)
        return cls(X, constant)

    def __len__(self):
        return self.table.shape[0]

    def __getstate__(self):
        # What was worked out of all rows is not that of the part on a worker.
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @property
    def n_inputs(self):
        """Number of inputs, with the constant."""
        if self.source is not None:
            return self.source.n_inputs
        n_columns = self.table.shape[1]
        if self.columns is not None:
            n_columns = len(self.columns)
        return n_columns + (self.constant != 0.0)

    @property
    def dtype(self):
        """Precision of the inputs."""
        return np.dtype(self.precision or self.table.dtype)

    @kept
    def size(self):
        """Return the number of entries that a product has to do with."""
        if self.is_sparse:
            return self.table.nnz
        return len(self) * self.n_inputs

    @kept
    def is_sparse(self):
        """Whether the table is sparse."""
        return sparse.issparse(self.table)

    @kept
    def is_mapped(self):
        """Whether the table is a memory map too large to be made an array."""
        return is_mapped(self.table)

    @kept
    def is_spread(self):
        """Whether the table is in parts on the workers of a cluster."""
        return is_spread(self.table)

    @kept
    def is_on_device(self):
        """Whether the table is the part of a device, which kernels are to see whole."""
        return isinstance(self.table, DeviceArray)

    @kept
    def is_plain(self):
        """Whether the inputs are the table itself."""
        return (
            self.constant == 0.0
            and not self.is_divided
            and self.columns is None
            and self.axes is None
        )

    @kept
    def is_divided(self):
        """Whether the inputs are columns of the table divided by something."""
        return self.unit != 1.0 or self.scales is not None

    @kept
    def divisors(self):
        """Divisors of the columns that are inputs: a number, or one of each input."""
        if self.scales is None:
            return self.unit
        scales = self.scales if self.columns is None else self.scales[self.columns]
        return self.unit * scales

    # What training asks.

    def reduce(self, kernel, width, *args):
        """Return the sums of what ``kernel`` returns, over all rows.

        Parameters
        ----------
        kernel : callable
            Called with a Block, the slice of its rows and ``args``; returns a tuple of
            numbers and arrays.
        width : float
            Numbers in double that it holds a row, for blocks to fit the cache; those in
            single precision are halves.
        *args : tuple
            What else the kernel takes.

        Returns
        -------
        list
            The sums, in the order of chunks; each worker adds up those of its part.
        """
        if self.is_spread:
            self._check_time()
            return self.table.cluster.reduce(_reduced, self, kernel, width, args)

        def summed(start):
            total = None
            self._check_time()
            for rows, block in self._blocks(start, width):
                total = _added(total, kernel(block, rows, *args))
            return total

        if len(self._starts) == 1:
            return summed(0)
        total = None
        for part in in_parallel(summed, self._starts):
            total = _added(total, part)
        return total

    def map(self, kernel, width, out, *args):
        """Write what ``kernel`` returns for every row to ``out``, and return that.

        The parameters are those of ``reduce``; ``out`` has one row a sample, and is
        what ``empty`` returns.
        """
        if self.is_spread:
            self._check_time()
            self.table.cluster.run(_mapped, self, kernel, width, out, args, waits=False)
            return out

        def written(start):
            self._check_time()
            for rows, block in self._blocks(start, width):
                out[rows] = kernel(block, rows, *args)

        for _ in in_parallel(written, self._starts):
            pass
        return out

    def empty(self, *tail, dtype=np.float64):
        """Return room for one number of every sample, or a row, where the rows are."""
        if self.is_spread:
            return self.table.cluster.empty(tail, dtype)
        return np.empty((len(self), *tail), dtype)

    def whole(self):
        """Return the Block of all rows of an array."""
        return Block(self.table, self)

    def sums_of(self, rows, E):
        """Return ``X^T E`` of a slice of the rows, which are plain."""
        return self.table[rows].T @ E

    def blocks(self, width):
        """Yield slices of rows and their Blocks, in order."""
        for start in self._starts:
            yield from self._blocks(start, width)

    def weights(self, U):
        """Return directions, (n_inputs, K), as blocks multiply by them.

        Products are in the precision of ``U`` where that is higher than the table's.
        """
        if self.is_plain:
            return Weights(U, None)
        if self.axes is not None:
            U = self.axes.astype(U.dtype, copy=False) @ U
        shift = None
        if self.constant:
            shift = U[-1] * U.dtype.type(self.constant)
            U = U[:-1]
        if self.is_divided:
            U = U / np.reshape(self.divisors, (-1, 1)).astype(U.dtype)
        if self.columns is not None:
            own, U = U, np.zeros((self.table.shape[1], U.shape[1]), U.dtype)
            U[self.columns] = own
        return Weights(U, shift)

    def values(self, U):
        """Return ``X U``, (n_samples, n_directions)."""
        out = self.empty(U.shape[1], dtype=np.result_type(self.dtype, U))
        width = max(U.shape[1], self.n_inputs)
        return self.map(_values, width, out, self.weights(U))

    def sums(self, E):
        """Return ``X^T E``, (n_inputs, n_columns)."""
        return self.reduce(_sums, max(E.shape[1], self.n_inputs), E)[0]

    def input_totals(self, N, sign=None):
        """Return ``relu(X)^T N`` and ``relu(-X)^T N``, (2, n_inputs, n_columns).

        With a ``sign``, 1 or -1, of ``max(sign N, 0)`` in the place of N.
        """
        width = 2 * max(N.shape[1], self.n_inputs)
        sums, absolute = self.reduce(_input_totals, width, N, sign)
        return 0.5 * np.array([absolute + sums, absolute - sums])

    def moments(self, weights):
        """Return ``X^T diag(weights) X``, (n_inputs, n_inputs), of weights >= 0."""
        width = min(4 * self.n_inputs, SQUARES_WIDTH)
        return self.reduce(_moments, width, weights)[0]

    def squared_lengths(self, divisors=None):
        """Return the squared lengths of the rows, (n_samples,).

        With ``divisors`` (n_inputs,) the square of each input is divided by one.
        """
        return self.map(_squared_lengths, self.n_inputs, self.empty(), divisors)

    def typical_sizes(self):
        """Return the geometric mean of what is not zero of every input; no axes.

        A row many times as long as others changes it by little. It is one for inputs
        that are zero.
        """
        logs, counts = self.reduce(_logs, self.n_inputs)
        return np.exp(logs / np.maximum(counts, 1))

    def column_squares(self, weights=None):
        """Return the sums of the squares of every input, (n_inputs,), maybe weighted.

        There are no such sums along axes.
        """
        return self.reduce(_column_squares, self.n_inputs, weights)[0]

    @kept
    def mean_squares(self):
        """Mean squares of the inputs; there are none along axes."""
        return self.column_squares() / len(self)

    @kept
    def bounds(self):
        """Least and largest value of every input, (2, n_inputs); nan where one is."""
        if self.axes is not None:
            raise ValueError("Bounds are those of inputs, not along axes.")
        if self.extent.bounds is None:
            bounds = self.table.bounds() if self.is_spread else self._bounds_of_table()
            self.extent.bounds = bounds.astype(np.float64, copy=False)
        bounds = self.extent.bounds
        if self.columns is not None:
            bounds = bounds[:, self.columns]
        bounds = bounds / self.divisors
        if self.constant:
            bounds = np.column_stack([bounds, [self.constant] * 2])
        return bounds

    @property
    def sizes(self):
        """Largest absolute value of every input, (n_inputs,)."""
        return np.abs(self.bounds).max(axis=0)

    @property
    def spreads(self):
        """Largest less least value of every input, (n_inputs,)."""
        return self.bounds[1] - self.bounds[0]

    def deviations(self, weights):
        """Return the weighted standard deviations of the columns of the table.

        Of all rows, about their weighted mean. They are taken from the table itself,
        whatever it is divided by.
        """
        own = Rows(self.table, extent=self.extent, deadline=self.deadline)
        with np.errstate(over="ignore"):
            sums, total = own.reduce(_weighted_sums, own.n_inputs, weights)
            means = sums / total
            squares = own.reduce(_centred_squares, own.n_inputs, weights, means)[0]
            return np.sqrt(squares / total)

    # Other rows.

    def take(self, index):
        """Return some of the rows, in memory but for a slice of an array."""
        if self.is_mapped:
            table = self._taken(index)
        else:  # few rows of a spread table come here, many stay there
            table = self.table[index]
        return replace(self, table=table, source=None, extent=Extent())

    def few(self):
        """Return every so many of the rows, ``FEW_ROWS`` or up to twice as many."""
        return self.take(slice(None, None, max(len(self) // FEW_ROWS, 1)))

    def divided(self, unit):
        """Return the rows divided by a power of two."""
        rows = replace(self, constant=self.constant / unit, unit=self.unit * unit)
        stays = rows.is_mapped or rows.is_spread
        if 1.0 / _LARGEST_UNIT < rows.unit < _LARGEST_UNIT or stays:
            return rows
        table = _divided(rows.table, rows.unit)
        return replace(rows, table=table, unit=1.0, extent=Extent())

    def until(self, deadline):
        """Return the rows with another Deadline, or None."""
        return replace(self, deadline=deadline)

    def leading_axes(self, count):
        """Return orthonormal columns along which a sample of the rows is large.

        Those of the largest moments, nearly, from products alone (Halko, Martinsson &
        Tropp, "Finding structure with randomness", SIAM Review 53, 2011).
        """
        few, rng = self.few(), np.random.default_rng(0)
        axes = rng.standard_normal((self.n_inputs, count))
        for _ in range(_POWERS):
            axes = np.linalg.qr(few.sums(few.values(axes)))[0]
        return axes

    def with_constant(self, columns, constant):
        """Return the rows of some inputs, and a constant as the last one."""
        columns = np.flatnonzero(columns[: self.n_inputs - (self.constant != 0.0)])
        if self.columns is not None:
            columns = self.columns[columns]
        return replace(self, columns=columns, constant=constant)

    def along(self, axes, dtype):
        """Return the rows along other axes and in another precision.

        An array is rotated once and for all; sparse and mapped rows stay what they are.

        Parameters
        ----------
        axes : ndarray of shape (n_inputs, n_axes) or None
            Orthonormal columns; None: the same axes. Fewer than inputs are for arrays,
            which are rotated.
        dtype : dtype
            Single or double precision.
        """
        # What is no input, or far from one, would leave single precision.
        if self.is_mapped:
            dtype = np.dtype(dtype)
            return Rows(
                self.table,
                axes=axes,
                source=self,
                precision=dtype,
                deadline=self.deadline,
            )
        if self.is_sparse:
            table = self.table if self.columns is None else self.table[:, self.columns]
            table = _divided(table, self.divisors).astype(dtype, copy=False)
            return Rows(table, self.constant, axes=axes, deadline=self.deadline)
        if axes is None and self.is_plain and self.dtype == dtype:
            return self
        width = self.n_inputs
        out = self.empty(width if axes is None else axes.shape[1], dtype=dtype)
        table = self.map(_rotated, width, out, axes)
        return Rows(table, deadline=self.deadline)

    @kept
    def _array(self):
        out = np.empty((len(self), self.n_inputs))
        return self.map(_dense, self.n_inputs, out)

    def array(self, what="This"):
        """Return the inputs as one array in double, which is kept.

        Parameters
        ----------
        what : str, default="This"
            What needs it, for the message.

        Raises
        ------
        ValueError
            If they are on workers, or sparse or mapped and too many.
        """
        if self.is_spread:
            raise ValueError(
                f"{what} needs the inputs as one array, and these are on the workers "
                "of a cluster; take patterns='adaptive' without rank or pruning, or "
                "fit rows that are here."
            )
        if not self.has_array:
            raise ValueError(
                f"{what} needs the {len(self)} x {self.n_inputs} inputs as one dense "
                f"array, of more than {_MOST_ENTRIES} entries; take fewer rows or "
                "columns, or patterns='adaptive' without rank."
            )
        return self._array

    @property
    def has_array(self):
        """Whether ``array`` is affordable: it is for what was an array."""
        if self.is_spread:
            return False
        is_array = not (self.is_sparse or self.is_mapped)
        return is_array or len(self) * self.n_inputs <= _MOST_ENTRIES

    def weighted(self, v):
        """Return rows multiplied by a column v, (n_samples, 1), for sums alone.

        None where that is no array so small that a copy is worth its memory.
        """
        if self.is_spread or self.is_sparse:
            return None
        if self.is_plain and self.size <= _CHUNK_ENTRIES:
            return Rows(self.table * v, deadline=self.deadline)
        return None

    def _taken(self, index):
        """Return rows of a memory map, chunk by chunk: they may be on all its pages."""
        if isinstance(index, slice):
            index = np.arange(*index.indices(len(self)))
        if self.source is not None:
            return self._made(self.source._taken(index))
        order = np.argsort(index, kind="stable")
        ends = np.searchsorted(index[order], [*self._starts, len(self)])
        out = np.empty((len(index), self.table.shape[1]), self.dtype)
        for first, last in zip(ends, ends[1:], strict=False):
            at = order[first:last]
            if len(at):
                out[at] = _read(self.table, index[at])
        return out

    # Chunks and blocks.

    def _check_time(self):
        if self.deadline is not None:
            self.deadline.check()

    @kept
    def _chunk(self):
        if self.is_on_device:
            return max(len(self), 1)
        most = _CHUNK_ENTRIES // max(self.size // max(len(self), 1), 1)
        most = min(max(most, _LEAST_ROWS), _CHUNK_ROWS)
        if len(self) <= most:
            return most
        pairs = -(-len(self) // (2 * most))  # of equal chunks, for two threads to share
        return -(-len(self) // (2 * pairs))

    @kept
    def _starts(self):
        return range(0, len(self), self._chunk)

    @kept
    def _chunks(self):
        """Chunks of a sparse table: slicing it each time costs a quarter of a fit."""
        step = self._chunk
        if len(self) <= step:
            return [self.table]
        return [self.table[start : start + step] for start in self._starts]

    def _table_at(self, start):
        if self.is_sparse:
            return self._chunks[start // self._chunk]
        if self.source is not None:
            return self._made(self.source._table_at(start))
        rows = slice(start, start + self._chunk)
        return _read(self.table, rows) if self.is_mapped else self.table[rows]

    def _made(self, table):
        """Return a part of the table in the precision, from that of the source."""
        return Block(table, self.source).dense().astype(self.precision, copy=False)

    def _blocks(self, start, width):
        """Yield the blocks of a chunk; that of a sparse one is whole.

        Its products with dual points are as long as there are columns.
        """
        table = self._table_at(start)
        count = table.shape[0]
        if self.is_sparse:
            yield slice(start, start + count), Block(table, self)
            return
        size = _DEVICE_BYTES if self.is_on_device else _BLOCK_BYTES
        if len(self) > self._chunk:
            size *= 2
        step = _block_step(width, size)
        for first in range(0, count, step):
            last = min(first + step, count)
            yield slice(start + first, start + last), Block(table[first:last], self)

    def _bounds_of_table(self):
        ends = in_parallel(self._table_bounds, self._starts)
        lows, highs = zip(*ends, strict=True)
        return np.array([np.min(lows, axis=0), np.max(highs, axis=0)])

    def _table_bounds(self, start):
        table = self._table_at(start)
        ends = table.min(axis=0), table.max(axis=0)
        return [end.toarray().ravel() if self.is_sparse else end for end in ends]


def _block_step(width, size):
    """Return how many rows of so many numbers in double fit a number of bytes."""
    return max(int(size / (8 * max(width, 0.5))), _LEAST_ROWS)


def is_mapped(X):
    """Tell whether an array is, or is a view of, a large memory map.

    Small ones are arrays like any other: joblib hands such to its workers, and what
    they find must not depend on that.
    """
    return _mapping(X) is not None and X.size > _MOST_ENTRIES


def largest(samples):
    """Return the largest absolute value of numbers."""
    if is_spread(samples):
        samples = samples.bounds()
    return max(samples.max(initial=0.0), -samples.min(initial=0.0))


def scaled(samples, scale, dtype):
    """Return samples divided by a number, in a precision."""
    if is_spread(samples):
        return samples.scaled(scale, dtype)
    out = np.empty(samples.shape, dtype)
    return np.divide(samples, scale, out=out, casting="same_kind")


def _mapping(X):
    """Return the ``mmap`` behind an array, None where there is none."""
    while isinstance(X, np.ndarray):
        if isinstance(X, np.memmap) and X._mmap is not None:
            return X._mmap
        X = X.base
    return X if isinstance(X, mmap.mmap) else None


def _read(X, rows):
    """Return rows of a memory map as an array, and forget the pages they were on.

    A map's pages count as memory of the process until they are taken from it.
    """
    part = np.array(X[rows])
    pages = _mapping(X)
    # Private pages may have been written to, which would be lost.
    if hasattr(pages, "madvise") and getattr(X, "mode", "c") != "c":
        pages.madvise(mmap.MADV_DONTNEED)
    return part


def _added(total, part):
    """Return the sums of a tuple of numbers and arrays so far and of another."""
    if total is None:
        return list(part)
    for k, value in enumerate(part):
        total[k] += value
    return total


def _divided(table, divisors):
    """Return a table divided by a number, or its columns by one each."""
    if sparse.issparse(table) and np.ndim(divisors):
        return sparse.csr_array(table @ sparse.diags_array(1.0 / divisors))
    return table / divisors


# Tasks of workers: of the Rows of their parts.


def _reduced(rows, kernel, width, args):
    return rows.reduce(kernel, width, *args)


def _mapped(rows, kernel, width, out, args):
    rows.map(kernel, width, out, *args)


# Kernels.


def _values(block, rows, weights):
    return block.values(weights)


def _sums(block, rows, E):
    return (block.sums(E[rows]),)


def _input_totals(block, rows, N, sign):
    """Kernel: ``X^T N`` and ``|X|^T N``; there are no absolute values along axes."""
    absolute, N = Block(abs(block.table), block.rows), N[rows]
    N = N if sign is None else np.maximum(sign * N, 0.0)
    return block.sums(N), absolute.sums(N)


def _weighted_sums(block, rows, weights):
    """Kernel: weighted sums of the columns, and of the weights."""
    weights = weights[rows]
    return block.sums(weights[:, None])[:, 0], weights.sum()


def _moments(block, rows, weights):
    """Kernel: second moments, in double."""
    return (block.moments(weights[rows]),)


def _squared_lengths(block, rows, divisors):
    """Kernel: squared lengths, of inputs divided by roots of ``divisors``."""
    return block.squared_lengths(None if divisors is None else 1.0 / divisors)


def _logs(block, rows):
    """Kernel: sums of logarithms of squares, halved, and counts of what is not zero."""
    squares, constant = block.squares()
    if sparse.issparse(squares):
        squares.eliminate_zeros()
        logs = squares.copy()
        logs.data, squares.data = 0.5 * np.log(squares.data), np.ones(squares.nnz)
        sums = [logs.sum(axis=0), squares.sum(axis=0)]
    else:
        is_zero = squares == 0.0
        sums = [0.5 * np.log(np.where(is_zero, 1.0, squares)).sum(axis=0)]
        sums.append((~is_zero).sum(axis=0))
    if constant:
        n = len(block)
        ends = 0.5 * np.log(constant) * n, n
        sums = [np.append(*pair) for pair in zip(sums, ends, strict=True)]
    return sums


def _column_squares(block, rows, weights):
    squares, constant = block.squares()
    weights = np.ones(len(block)) if weights is None else weights[rows]
    sums = weights @ squares
    return (np.append(sums, weights.sum() * constant) if constant else sums,)


def _centred_squares(block, rows, weights, means):
    """Kernel: weighted sums of the squares of columns less their means."""
    X, weights = block.table, weights[rows]
    if not sparse.issparse(X):
        X = X.astype(np.float64) - means
        return (weights @ (X * X),)
    # What is not stored is zero, and counts as the square of the mean. Squares are of
    # differences: those of columns far from zero would cancel.
    at, of_entries = X.indices, np.repeat(weights, np.diff(X.indptr))

    def summed(entries):
        return np.bincount(at, entries, X.shape[1])

    absent = np.maximum(weights.sum() - summed(of_entries), 0.0)
    absent[np.bincount(at, minlength=X.shape[1]) == len(block)] = 0.0
    squares = (X.data.astype(np.float64) - means[at]) ** 2
    return (summed(of_entries * squares) + absent * means**2,)


def _rotated(block, rows, axes):
    X = block.dense().astype(np.float64, copy=False)
    return X if axes is None else X @ axes


def _dense(block, rows):
    return block.dense()
