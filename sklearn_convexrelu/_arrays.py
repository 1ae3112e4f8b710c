"""Arrays of other libraries, and dask collections: answers come in kind.

With ``sklearn.set_config(array_api_dispatch=True)`` what is given as arrays of PyTorch,
CuPy or another library of the array API is answered on the device that it is on.
Training goes through NumPy, which shares the memory of tensors on the processor; those
of other devices are copied once.
"""

from copy import copy
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.utils._array_api import _convert_to_numpy, get_namespace_and_device

from sklearn_convexrelu._dask import is_dask, lazily

__all__ = ["ArraysMixin", "Home", "answers_in_kind", "as_numpy"]


@dataclass(frozen=True)
class Home:
    """Where an array is from.

    Attributes
    ----------
    xp : module
        Its namespace.
    device : object
        Its device, as the namespace knows it.
    """

    xp: Any
    device: Any

    @classmethod
    def of(cls, A):
        """Return the home of an array of another library, None for all else."""
        if not get_config()["array_api_dispatch"] or is_dask(A):
            return None
        xp, is_array, device = get_namespace_and_device(A)
        is_numpy = xp.__name__.rpartition(".")[2] == "numpy"
        return None if is_numpy or not is_array else cls(xp, device)

    def __str__(self):
        return f"{self.xp.__name__} on {self.device}"

    def back(self, A):
        """Return an array of numbers there; words stay where they are."""
        if A.dtype.kind not in "biuf":
            return A
        precise = A.dtype.kind != "f" or A.dtype.itemsize <= 4 or self._has_doubles
        A = A if precise else A.astype(np.float32)
        return self.xp.asarray(np.ascontiguousarray(A), device=self.device)

    @property
    def _has_doubles(self):
        # Of devices in common use Apple's alone have none; array-api-strict says so
        # of a device that it makes up.
        if str(self.device).startswith("mps"):
            return False
        info = getattr(self.xp, "__array_namespace_info__", None)
        if info is None:
            return True
        return "float64" in info().dtypes(device=self.device)


def as_numpy(A):
    """Return an array of another library as one of NumPy; all else as it is."""
    home = Home.of(A)
    if home is None:
        return A
    return _convert_to_numpy(A.detach() if hasattr(A, "detach") else A, home.xp)


def answers_in_kind(method):
    """Make a method of X answer as X is given: lazily for dask, else on its device."""

    @wraps(method)
    def answered(self, X):
        if is_dask(X):
            return lazily(self, method.__name__, X)
        home = Home.of(X)
        self._check_home(home, method.__name__)
        result = method(self, as_numpy(X))
        return result if home is None else home.back(result)

    return answered


class ArraysMixin:
    """What an estimator knows of the library that it was fitted with."""

    # Says by where it is what ``fit`` was given; scikit-learn moves it to elsewhere.
    _made_of = np.zeros(1)

    def _check_home(self, home, method):
        """Refuse arrays of another library or device than those of the fit."""
        if not get_config()["array_api_dispatch"] or not hasattr(self, "network_"):
            return
        fitted = Home.of(self._made_of)
        if home != fitted:
            raise ValueError(
                f"Inputs passed to {type(self).__name__}.{method}() must use the same "
                "namespace and the same device as those passed to fit(), which were "
                f"{fitted or 'NumPy'} arrays: these are {home or 'NumPy'}."
            )

    def _settle_at(self, home):
        """Take fitted arrays to where ``fit`` was given its own."""
        vars(self).pop("_made_of", None)
        if home is None:
            return
        self._made_of = home.back(np.zeros(1))
        self._convert_arrays(home.back)

    def __sklearn_array_api_convert__(self, converter):
        # Called by scikit-learn to move an estimator; weights in lists stay NumPy's.
        moved = copy(self)
        moved._made_of = converter(self._made_of)
        moved._convert_arrays(converter)
        return moved

    def _convert_arrays(self, converter):
        for name, value in vars(self).items():
            if (
                name.endswith("_")
                and isinstance(value, np.ndarray)
                and name != "classes_"
            ):
                setattr(self, name, converter(value))
