"""Arrays of other libraries, and dask collections: answers come in kind.

With ``sklearn.set_config(array_api_dispatch=True)`` what is given as arrays of PyTorch,
CuPy or another library of the array API is answered on the device that it is on.
Arrays on the processor are trained on through NumPy, which shares their memory. Those
of a GPU stay there where kernels can be run there (``data/device.py``), and are copied
for all else.
"""

from copy import copy
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.utils._array_api import _convert_to_numpy, get_namespace_and_device

from sklearn_convexrelu._dask import is_dask, lazily
from sklearn_convexrelu.data.cluster import Traffic, is_spread
from sklearn_convexrelu.data.device import Device

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
        if not get_config()["array_api_dispatch"] or is_dask(A) or is_spread(A):
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
    def trains(self):
        """Whether kernels run where the arrays are."""
        return "cpu" not in str(self.device).lower() and self._has_doubles

    def taken(self, X):
        """Return a table as samples on its device."""
        to_numpy = partial(_convert_to_numpy, xp=self.xp)
        X = X.detach() if hasattr(X, "detach") else X
        return Device.holding(X, Traffic(), self.xp, self.device, to_numpy)

    @property
    def _has_doubles(self):
        # Of devices in common use Apple's alone have none.
        return not str(self.device).startswith("mps")


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
        result = method(self, self._placed(X, home))
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

    def _placed(self, X, home):
        """Return a table as kernels take it: on its device, or as an array of NumPy."""
        if home is None or not home.trains or not self._trains_on_devices():
            return as_numpy(X)
        is_table = X.ndim == 2 and X.dtype in (home.xp.float32, home.xp.float64)
        return home.taken(X) if is_table else as_numpy(X)

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
