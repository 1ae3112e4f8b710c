"""Rows on a device of another library: the same kernels, run where the arrays are.

A device is a cluster of one part that needs no messages: tasks run at once, in this
process, and samples are arrays of the library. Kernels and losses are NumPy's;
``DeviceArray`` answers NumPy's functions by those of the library, promotes types as
NumPy does, and moves small arrays of NumPy to the device where they meet it. What it
does not know NumPy does on a copy, which nothing is that kernels of two layers do with
all rows.
"""

import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_convexrelu.data.cluster import Cluster, Spread, _Packed, _Unpacked

__all__ = ["Device", "DeviceArray"]

_RENAMED = {"absolute": "abs", "power": "pow"}


class DeviceArray:
    """An array of a library of the array API that NumPy's functions take.

    Parameters
    ----------
    data : array
        Of the library.
    home : Device
        Where it is.
    """

    __slots__ = ("data", "home")

    def __init__(self, data, home):
        self.data, self.home = data, home

    # What arrays are asked for.

    shape = property(lambda self: tuple(self.data.shape))
    ndim = property(lambda self: len(self.data.shape))
    T = property(lambda self: self._with(self.data.T))
    nbytes = property(lambda self: self.size * self.dtype.itemsize)

    @property
    def size(self):
        """Number of entries."""
        return int(np.prod(self.shape))

    @property
    def dtype(self):
        """The type of entries, as NumPy's."""
        return self.home.numpy_type(self.data.dtype)

    def __len__(self):
        return self.shape[0]

    def _with(self, data):
        return DeviceArray(data, self.home)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.home.to_numpy(self.data), dtype=dtype)

    def astype(self, dtype, copy=True):
        """Return the array in another type."""
        if np.dtype(dtype) == self.dtype and not copy:
            return self
        return self._with(self.home.cast(self.data, dtype))

    def copy(self):
        """Return a copy."""
        return self._with(self.home.xp.asarray(self.data, copy=True))

    def reshape(self, *shape):
        """Return the array in another shape."""
        shape = shape[0] if isinstance(shape[0], tuple) else shape
        return self._with(self.home.xp.reshape(self.data, shape))

    # Rows and columns.

    def _index(self, index):
        """Return an index with all axes, as the array API wants it."""
        if isinstance(index, (DeviceArray, np.ndarray)):  # a mask of all entries
            return self.home.moved(index)
        parts = index if isinstance(index, tuple) else (index,)
        n_axes = sum(part is not None for part in parts)
        return parts if n_axes == self.ndim or Ellipsis in parts else (*parts, ...)

    def __getitem__(self, index):
        parts = index if isinstance(index, tuple) else (index,)
        last = parts[-1]
        if isinstance(last, (np.ndarray, DeviceArray)) and last.dtype.kind in "iu":
            # Of rows, or of columns of all rows: the array API takes along one axis.
            last, axis = self.home.moved(last), len(parts) - 1
            return self._with(self.home.xp.take(self.data, last, axis=axis))
        if isinstance(index, slice) and index.stop is not None:
            index = slice(*index.indices(len(self)))
        return self._with(self.data[self._index(index)])

    def __setitem__(self, index, value):
        value = self.home.cast(self.home.moved(value), self.dtype)
        if index is Ellipsis:
            value = self.home.xp.broadcast_to(value, self.shape)
        self.data[self._index(index)] = value

    # Sums and extremes: numbers where they are of all entries.

    def _reduced(self, name, axis, initial=None, keepdims=False):
        if initial is not None and not self.size:
            return initial
        data = self.data
        if self.dtype == bool:
            data = self.home.cast(data, np.int64)
        found = getattr(self.home.xp, name)(data, axis=axis, keepdims=keepdims)
        if axis is not None:
            return self._with(found)
        found = self.home.to_numpy(found)[()]
        if initial is None:
            return found
        return max(found, initial) if name == "max" else min(found, initial)

    def sum(self, axis=None, keepdims=False):
        """Return sums."""
        return self._reduced("sum", axis, keepdims=keepdims)

    def mean(self, axis=None):
        """Return means."""
        return self._reduced("mean", axis)

    def max(self, axis=None, initial=None, keepdims=False):
        """Return the largest."""
        return self._reduced("max", axis, initial, keepdims)

    def min(self, axis=None, initial=None, keepdims=False):
        """Return the least."""
        return self._reduced("min", axis, initial, keepdims)

    def any(self, axis=None):
        """Tell whether some are true."""
        found = self.home.xp.any(self.data, axis=axis)
        return bool(found) if axis is None else self._with(found)

    def all(self, axis=None):
        """Tell whether all are true."""
        found = self.home.xp.all(self.data, axis=axis)
        return bool(found) if axis is None else self._with(found)

    # NumPy's functions, and operators, which are those below.

    def __neg__(self):
        return np.negative(self)

    def __invert__(self):
        return np.logical_not(self)

    def __abs__(self):
        return np.absolute(self)

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, where=True, **options):
        options.pop("casting", None)
        if method != "__call__" or options:
            return NotImplemented
        out = out[0] if isinstance(out, tuple) else out
        found = self.home.applied(ufunc, inputs, where, out)
        return found if out is None else _written(out, found)

    def __array_function__(self, function, types, args, options):
        own = _FUNCTIONS.get(function)
        if own is not None:
            return own(self.home, *args, **options)
        args, options = (_here(each) for each in (args, options))
        return function(*args, **options)


def _operator(ufunc, reflected=False, in_place=False):
    def operate(self, other):
        pair = (other, self) if reflected else (self, other)
        found = self.__array_ufunc__(ufunc, "__call__", *pair)
        if in_place:
            return _written(self, found)
        return found

    return operate


for _name, _ufunc in {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide,
    "pow": np.power, "matmul": np.matmul, "and": np.bitwise_and, "or": np.bitwise_or,
}.items():  # fmt: skip
    setattr(DeviceArray, f"__{_name}__", _operator(_ufunc))
    setattr(DeviceArray, f"__r{_name}__", _operator(_ufunc, reflected=True))
    setattr(DeviceArray, f"__i{_name}__", _operator(_ufunc, in_place=True))
for _name, _ufunc in {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "eq": np.equal, "ne": np.not_equal,
}.items():  # fmt: skip
    setattr(DeviceArray, f"__{_name}__", _operator(_ufunc))


def _written(out, found):
    """Write a result to an array that was there, and return that."""
    if isinstance(out, np.ndarray):
        out[...] = _here(found)
    else:
        out.data = out.home.cast(found.data, out.dtype)
    return out


def _here(value):
    """Return values with arrays of NumPy in the place of those of a device."""
    if isinstance(value, DeviceArray):
        return np.asarray(value)
    if isinstance(value, (tuple, list)):
        return type(value)(_here(each) for each in value)
    if isinstance(value, dict):
        return {key: _here(each) for key, each in value.items()}
    return value


@dataclass(frozen=True)
class Device(Cluster):
    """The cluster of one part that a device of a library is.

    Attributes
    ----------
    xp : module
        Namespace of the library.
    device : object
        The device, as the library knows it.
    to_numpy : callable
        Takes an array of the library; returns that of NumPy.
    """

    xp: Any = None
    device: Any = None
    to_numpy: Any = None

    @classmethod
    def holding(cls, X, traffic, xp, device, to_numpy):
        """Return a table on its device as samples there."""
        home = cls(None, (X.shape[0],), traffic, xp, device, to_numpy)
        X = DeviceArray(X, home)
        return Spread(home, X.shape[1:], X.dtype).fill([X])

    def put(self, A):
        """Return an array of NumPy as samples on the device."""
        data = DeviceArray(self.moved(A), self)
        return Spread(self, A.shape[1:], A.dtype).fill([data])

    def run(self, function, *args, waits=True):
        """Call a function on the rows; see ``Cluster.run``."""
        packed = _Packed()
        packed.dump((function, args, np.geterr()))
        self.traffic.passes += 1
        held = [parts[0] for parts in packed.parts()]
        task = _Placed(packed.file.getvalue(), self.lengths[0], held)
        task.home = self
        function, args, warned = task.load()
        with np.errstate(**warned):
            result = function(*args)
        for k, made in enumerate(packed.made):
            made.fill([task.made[k]])
        if not waits:
            return None
        self.traffic.trips += 1
        return [_here(result)]

    # Types and places.

    def numpy_type(self, dtype):
        """Return NumPy's name of a type of the library."""
        for name in ("float32", "float64", "bool", "int64", "int32"):
            if dtype == getattr(self.xp, name):
                return np.dtype(name)
        raise TypeError(f"Arrays of {dtype} are not trained on.")

    def cast(self, data, dtype):
        """Return an array of the library in a type of NumPy's name."""
        dtype = getattr(self.xp, np.dtype(dtype).name)
        return data if data.dtype == dtype else self.xp.astype(data, dtype)

    def moved(self, value):
        """Return a number or an array as one of the library on the device."""
        if isinstance(value, DeviceArray):
            return value.data
        value = np.asarray(value)
        if any(stride < 0 for stride in value.strides) or not value.flags.writeable:
            value = value.copy()
        return self.xp.asarray(value, device=self.device)

    def applied(self, ufunc, inputs, where, out):
        """Return what a function of entries makes of arrays of any kind."""
        name, kinds = ufunc.__name__, [_kind(each) for each in inputs]
        common = np.result_type(*kinds)
        if name in _OWN:
            arrays = [self.cast(self.moved(each), common) for each in inputs]
            with np.errstate(divide="ignore", invalid="ignore"):  # as SciPy's
                return DeviceArray(_OWN[name](self.xp, *arrays), self)
        if name == "divide" and common.kind != "f":
            common = np.dtype(np.float64)
        if common.kind == "b":
            name = _OF_TRUTH.get(name, name)
        arrays = [self.cast(self.moved(each), common) for each in inputs]
        if where is not True:
            where = self.moved(where)
            if name in ("log", "divide"):  # of what is not asked for, of one
                one = self.xp.ones_like(arrays[-1])
                arrays[-1] = self.xp.where(where, arrays[-1], one)
        found = getattr(self.xp, _RENAMED.get(name, name))(*arrays)
        if where is not True:
            found = self.xp.where(where, found, self.cast(self.moved(out), common))
        if found.ndim == 0:  # as of the product of two vectors
            return self.to_numpy(found)[()]
        return DeviceArray(found, self)


class _Placed(_Unpacked):
    """Unpickles a task on a device: what it makes is there."""

    home: Device

    def empty(self, tail, dtype):
        """Return room for numbers of the rows."""
        xp, shape = self.home.xp, (self.n_rows, *tail)
        data = xp.empty(shape, dtype=getattr(xp, dtype.name), device=self.home.device)
        return DeviceArray(data, self.home)

    def repeated(self, value):
        """Return a value for all rows."""
        data = self.home.moved(value)
        shape = (self.n_rows, *value.shape)
        return DeviceArray(self.home.xp.broadcast_to(data, shape), self.home)


def _kind(value):
    """Return what numpy promotes by: a type, or a number that has none of its own."""
    if isinstance(value, (DeviceArray, np.ndarray, np.generic)):
        return value.dtype
    return value if isinstance(value, numbers.Number) else np.asarray(value).dtype


_OF_TRUTH = {
    "add": "logical_or",
    "multiply": "logical_and",
    "bitwise_and": "logical_and",
    "bitwise_or": "logical_or",
}

# Functions of entries that the array API does not have.


def _expit(xp, x):
    return 1.0 / (1.0 + xp.exp(-x))


def _xlogy(xp, x, y):
    one = xp.ones_like(y)
    return xp.where(x == 0.0, 0.0 * x, x * xp.log(xp.where(x == 0.0, one, y)))


def _xlog1py(xp, x, y):
    none = xp.zeros_like(y)
    return xp.where(x == 0.0, 0.0 * x, x * xp.log1p(xp.where(x == 0.0, none, y)))


_OWN = {"expit": _expit, "xlogy": _xlogy, "xlog1py": _xlog1py}


# Functions of arrays.


def _where(home, condition, a, b):
    common = np.result_type(_kind(a), _kind(b))
    pair = (home.cast(home.moved(each), common) for each in (a, b))
    return DeviceArray(home.xp.where(home.moved(condition), *pair), home)


def _clip(home, a, low, high, out=None):
    found = np.minimum(np.maximum(a, low), high)
    return found if out is None else _written(out, found)


def _sum(home, a, axis=None, where=None):
    return (a if where is None else np.where(where, a, np.zeros((), a.dtype))).sum(axis)


def _vdot(home, a, b):
    return np.multiply(a, b).sum()


def _einsum(home, how, *arrays):
    if how == "ng,ngc->nc":
        return np.multiply(arrays[0][:, :, None], arrays[1]).sum(axis=1)
    a, b, *others = arrays
    product = np.multiply(a, b)
    if how == "ij,ij->i":
        return product.sum(axis=1)
    if how == "ij,ij->j":
        return product.sum(axis=0)
    if how == "ij,ij,i->":
        return (product.sum(axis=1) * others[0]).sum()
    return np.einsum(how, *_here(arrays))


def _joined(home, arrays, axis):
    arrays = [each if np.ndim(each) == 2 else each.reshape(1, -1) for each in arrays]
    common = np.result_type(*map(_kind, arrays))
    arrays = [home.cast(home.moved(each), common) for each in arrays]
    return DeviceArray(home.xp.concat(arrays, axis=axis), home)


_FUNCTIONS = {
    np.where: _where,
    np.clip: _clip,
    np.sum: _sum,
    np.vdot: _vdot,
    np.einsum: _einsum,
    np.vstack: lambda home, arrays: _joined(home, arrays, 0),
    np.hstack: lambda home, arrays: _joined(home, arrays, 1),
    np.flatnonzero: lambda home, a: DeviceArray(home.xp.nonzero(a.data)[0], home),
    np.min: lambda home, a, **options: a.min(**options),
    np.max: lambda home, a, **options: a.max(**options),
    np.ndim: lambda home, a: a.ndim,
    np.shape: lambda home, a: a.shape,
    np.zeros_like: lambda home, a: DeviceArray(home.xp.zeros_like(a.data), home),
    np.broadcast_to: lambda home, a, shape: DeviceArray(
        home.xp.broadcast_to(a.data, shape), home
    ),
}
