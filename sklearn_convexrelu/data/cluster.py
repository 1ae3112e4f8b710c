"""Samples that stay on the workers of a dask cluster, and passes over them.

Rows are cut into parts, about one for each thread of the workers. What has one row a
sample, be it the table, targets or a dual point, is a ``Spread``: a list of futures,
one a part, that no process of ours ever holds as a whole. A pass is one task a part,
which gets small arrays with its message and sends small ones back; what it makes for
its rows stays where it was made.

A task is a function of ours and its arguments, pickled once for all parts. A ``Spread``
among them, however deep, is pickled as a note of which one it is, and unpickled on the
worker as the part that is there. So what training asks of arrays it asks of these.

dask knows how every part was made. Where a worker is lost, so are its parts, and dask
makes them again from the collections that ``fit`` was given, unless these were never
more than what the lost worker held.
"""

import ctypes
import io
import operator
import os
import pickle
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from sklearn_convexrelu._threads import one_blas_thread
from sklearn_convexrelu.data.calls import called

__all__ = ["Cluster", "Each", "Spread", "Traffic", "added", "is_spread"]

# Rows that are brought here when some are taken; more of them stay on the workers.
# Searches take 2048, their geometry up to 4095.
_FEW = 8192
# dask has its workers give memory back to the system as soon as 64 kB of it are free,
# by an environment variable that glibc reads. So would the temporaries of every block
# of rows be, and come back by page faults: products with 80 directions then took 29 ms
# of a processor for 13. While a task runs this much is kept, in pieces up to that size.
# A quarter of both, and sixteen times as much, did the same.
_TRIMS = "MALLOC_TRIM_THRESHOLD_"
_KEPT_BYTES, _PIECE_BYTES = 1 << 24, 1 << 22
_TRIM, _MAP = -1, -3  # of glibc's mallopt


def is_spread(samples):
    """Tell whether samples are on the workers of a cluster."""
    return isinstance(samples, Spread)


@dataclass
class Traffic:
    """What has gone to workers and come back.

    Attributes
    ----------
    trips : int
        How often results were waited for.
    passes : int
        Passes over parts, with those that nothing waits for.
    sent, received : int
        Bytes of arguments, once for each part, and of results.
    """

    trips: int = 0
    passes: int = 0
    sent: int = 0
    received: int = 0


class Each(list):
    """Arguments of which every part gets its own."""


@dataclass(frozen=True)
class Cluster:
    """Where samples are.

    Attributes
    ----------
    client : distributed.Client
        The client of the cluster.
    lengths : tuple of int
        Rows of each part.
    traffic : Traffic
        Counts what is sent, for all samples of a fit.
    """

    client: object
    lengths: tuple
    traffic: Traffic

    def __len__(self):
        return sum(self.lengths)

    @property
    def starts(self):
        """First row of every part, and the number of rows."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    def run(self, function, *args, waits=True):
        """Call a function on every part; return what it returns of each, in order.

        Parameters
        ----------
        function : callable
            A function of a module, or a method of what can be pickled.
        *args : tuple
            Its arguments. A ``Spread`` stands for its part, one that is not filled yet
            for an array that the function is to write to, and ``Each`` for one of its
            items.
        waits : bool, default=True
            Whether results are wanted; if not, nothing is returned.

        Raises
        ------
        RuntimeError
            If rows of a lost worker cannot be made again.
        """
        packed = _Packed()
        packed.dump((function, args, np.geterr()))
        blob = packed.file.getvalue()
        self.traffic.passes += 1
        self.traffic.sent += len(blob) * len(self.lengths) + packed.sent
        client, keeps = self.client, bool(packed.made)
        if waits and not keeps:
            held = [list(self.lengths), *packed.held]
            results = called(client, _work, (blob, keeps), held)
            if results is not None:
                return self._counted(results)
        # Not as keyword arguments: dask names large ones by their keyword alone, so
        # that those of two passes are taken for one another.
        same = ([each] * len(self.lengths) for each in (blob, keeps))
        futures = client.map(_work, *same, self.lengths, *packed.parts(), pure=False)
        for k, made in enumerate(packed.made):
            made.fill(futures, k + 1)
        if not waits:
            return None
        if keeps:
            futures = client.map(operator.itemgetter(0), futures, pure=False)
        return self._gathered(futures)

    def _gathered(self, futures):
        try:
            return self._counted(self.client.gather(futures))
        except CancelledError as error:
            raise RuntimeError(
                "A worker was lost, and rows that it held cannot be made again: they "
                "were sent to it, not read or computed by it. Give fit collections "
                "that workers can make again, as those read from files."
            ) from error

    def _counted(self, results):
        self.traffic.trips += 1
        self.traffic.received += sum(_size(result) for result in results)
        return results

    def reduce(self, function, *args):
        """Return the sums over parts of the numbers and arrays a function returns."""
        total = None
        for part in self.run(function, *args):
            total = added(total, part)
        return total

    def empty(self, tail, dtype):
        """Return samples of a shape that are not filled yet."""
        return Spread(self, tail, dtype)

    def map(self, function, tail, dtype, *args):
        """Return the samples that a function returns of each part, without a wait."""
        out = self.empty(tail, dtype)
        self.run(_written, out, function, args, waits=False)
        return out

    def of(self, parts):
        """Return the same cluster for other parts."""
        return replace(self, lengths=tuple(int(n) for n in parts))


class Spread:
    """Numbers of which every sample has one, or a row, on the workers.

    Parameters
    ----------
    cluster : Cluster
        Where they are.
    tail : tuple of int
        Shape of what a sample has: ``()`` or ``(n_columns,)``.
    dtype : dtype
        Of the numbers.
    """

    ndim = property(lambda self: len(self.shape))
    __array_ufunc__ = None  # array * samples is for the samples to answer

    def __init__(self, cluster, tail, dtype):
        self.cluster, self.tail, self.dtype = cluster, tuple(tail), np.dtype(dtype)
        self.futures, self.position = None, None

    @property
    def shape(self):
        """Number of samples, and what each has."""
        return (len(self.cluster), *self.tail)

    def __len__(self):
        return len(self.cluster)

    def __array__(self, *args, **options):
        # numpy would otherwise fetch them one by one.
        raise TypeError("Samples on workers are not made an array.")

    def fill(self, futures, position=None):
        """Take the futures of the parts; of tuples of which they are at a position."""
        self.futures, self.position = futures, position
        return self

    def constant(self, value):
        """Return one value, (n_columns,), for every sample; it takes no memory."""
        return Constant(self.cluster, np.asarray(value, dtype=np.float64))

    # Arithmetic, without a wait.

    def _combined(self, function, other, dtype=None):
        dtype = np.result_type(self.dtype, np.float64) if dtype is None else dtype
        return self.cluster.map(function, self.tail, dtype, self, other)

    def __add__(self, other):
        return self._combined(operator.add, other)

    def __sub__(self, other):
        return self._combined(operator.sub, other)

    def __mul__(self, other):
        return self._combined(operator.mul, other)

    __rmul__ = __mul__

    def __truediv__(self, other):
        return self._combined(operator.truediv, other)

    def scaled(self, scale, dtype):
        """Return the samples divided by a number, in a precision."""
        return self._combined(_divided, (scale, dtype), dtype)

    # Questions, one round trip each.

    def bounds(self):
        """Return the least and the largest of every column, (2, n_columns)."""
        lows, highs = zip(*self.cluster.run(_bounds, self), strict=True)
        return np.array([np.min(lows, axis=0), np.max(highs, axis=0)])

    def min(self, initial=np.inf):
        """Return the least number."""
        return min(float(self.bounds()[0].min()), initial)

    def max(self, initial=-np.inf):
        """Return the largest number."""
        return max(float(self.bounds()[1].max()), initial)

    def sum(self):
        """Return the sum of all numbers."""
        return self.cluster.reduce(np.sum, self)

    def __getitem__(self, index):
        """Return some rows: here where they are few, on the workers where many."""
        if isinstance(index, tuple):
            raise TypeError("Samples on workers are indexed by rows alone.")
        if isinstance(index, slice):
            index = np.arange(*index.indices(len(self)))
        return self._few(index) if len(index) <= _FEW else self._many(index)

    def here(self):
        """Return all of them as an array, which is for those of a device."""
        return np.concatenate(self.cluster.run(np.asarray, self))

    def live(self, mask):
        """Return the rows of a mask, where they are."""
        return self._many(np.flatnonzero(mask))

    def _few(self, index):
        order = np.argsort(index, kind="stable")
        parts = self.cluster.run(operator.getitem, self, self._by_part(index[order]))
        out = np.empty((len(index), *self.tail), self.dtype)
        out[order] = np.concatenate(parts)
        return out

    def _many(self, index):
        if np.any(np.diff(index) <= 0):
            raise ValueError("Rows that stay on workers are taken in their order.")
        each = self._by_part(index)
        live = [k for k, part in enumerate(each) if len(part)]
        whole = self._kept_parts(live)
        each = Each(each[k] for k in live)
        out = self.cluster.of(map(len, each)).empty(self.tail, self.dtype)
        out.cluster.run(_written, out, operator.getitem, (whole, each), waits=False)
        return out

    def _kept_parts(self, live):
        cluster = self.cluster.of(self.cluster.lengths[k] for k in live)
        kept = Spread(cluster, self.tail, self.dtype)
        return kept.fill([self.futures[k] for k in live], self.position)

    def _by_part(self, index):
        """Return the places in each part of rows in order."""
        starts = self.cluster.starts
        ends = np.searchsorted(index, starts)
        pairs = zip(ends, ends[1:], starts, strict=False)
        return Each(index[first:last] - start for first, last, start in pairs)


class Constant(Spread):
    """One value that all samples have."""

    def __init__(self, cluster, value):
        super().__init__(cluster, value.shape, value.dtype)
        self.value = value

    def bounds(self):
        """Return the value twice."""
        return np.array([self.value, self.value])

    def __getitem__(self, index):
        """Return the value, for some of the rows."""
        if isinstance(index, slice):
            index = np.arange(*index.indices(len(self)))
        if len(index) <= _FEW:
            return np.broadcast_to(self.value, (len(index), *self.tail))
        counts = np.array([len(part) for part in self._by_part(index)])
        return Constant(self.cluster.of(counts[counts > 0]), self.value)


# Pickling of what parts stand for.


class _Packed(pickle.Pickler):
    """Pickles a task, and notes which samples are in it."""

    def __init__(self):
        self.file = io.BytesIO()
        super().__init__(self.file, protocol=pickle.HIGHEST_PROTOCOL)
        self.made, self.held, self.sent, self.notes = [], [], 0, {}

    def persistent_id(self, obj):
        """Return the note of samples, None for what is pickled as it is."""
        if not isinstance(obj, (Spread, Each)):
            return None
        if id(obj) not in self.notes:
            self.notes[id(obj)] = self._note(obj), obj  # which keeps it alive
        return self.notes[id(obj)][0]

    def _note(self, obj):
        if isinstance(obj, Constant):
            return "constant", obj.value
        if isinstance(obj, Spread) and obj.futures is None:
            self.made.append(obj)
            return "made", len(self.made) - 1, obj.tail, obj.dtype
        if isinstance(obj, Each):
            self.sent += sum(_size(item) for item in obj)
        self.held.append(obj)
        return "held", len(self.held) - 1, getattr(obj, "position", None)

    def parts(self):
        """Return what is held, one item a part: futures for samples."""
        return [getattr(each, "futures", each) for each in self.held]


class _Unpacked(pickle.Unpickler):
    """Unpickles a task on a worker, with the part that is there for samples."""

    def __init__(self, blob, n_rows, held):
        super().__init__(io.BytesIO(blob))
        self.n_rows, self.held, self.made = n_rows, held, {}

    def persistent_load(self, note):
        """Return what a note stands for."""
        kind, *rest = note
        if kind == "constant":
            return self.repeated(rest[0])
        if kind == "made":
            k, tail, dtype = rest
            if k not in self.made:
                self.made[k] = self.empty(tail, dtype)
            return self.made[k]
        k, position = rest
        return self.held[k] if position is None else self.held[k][position]

    def empty(self, tail, dtype):
        """Return room for numbers of the rows."""
        return np.empty((self.n_rows, *tail), dtype)

    def repeated(self, value):
        """Return a value for all rows."""
        return np.broadcast_to(value, (self.n_rows, *value.shape))


def _work(blob, keeps, n_rows, *held):
    """Task: unpickle and call; return the result, and what was made for the rows."""
    task = _Unpacked(blob, n_rows, held)
    function, args, warned = task.load()
    with one_blas_thread(), _memory_kept(), np.errstate(**warned):
        result = function(*args)
    return (result, *(task.made[k] for k in range(len(task.made)))) if keeps else result


@contextmanager
def _memory_kept():
    """Keep free memory for the next block, where dask would have it given back."""
    asked = os.environ.get(_TRIMS, "")
    set_option = _mallopt() if asked.isdigit() else None
    if set_option is None:
        yield
        return
    set_option(_MAP, _PIECE_BYTES)
    set_option(_TRIM, _KEPT_BYTES)
    try:
        yield
    finally:
        set_option(_MAP, 1 << 17)  # glibc's own
        set_option(_TRIM, int(asked))


def _mallopt():
    """Return glibc's function, or None where the system has another library."""
    try:
        return getattr(ctypes.CDLL(None), "mallopt", None)
    except (OSError, TypeError):
        return None


def _written(out, function, args):
    out[...] = function(*args)


def _divided(samples, by):
    scale, dtype = by
    out = np.empty(samples.shape, dtype)
    return np.divide(samples, scale, out=out, casting="same_kind")


def _bounds(samples):
    return samples.min(axis=0), samples.max(axis=0)


def added(total, part):
    """Return the sum of numbers, arrays or tuples of them, in double if not before."""
    if isinstance(part, (tuple, list)):
        if total is None:
            return list(part)
        return [a + b for a, b in zip(total, part, strict=True)]
    return part if total is None else total + part


def _size(result):
    """Return about how many bytes a result is."""
    if isinstance(result, (tuple, list)):
        return sum(_size(item) for item in result)
    return getattr(result, "nbytes", 8)
