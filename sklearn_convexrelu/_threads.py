"""One BLAS thread while training: the products are too thin to share out.

Blocks of rows times a few dozen neurons take microseconds each. With two threads fits
of 442 to 100000 rows take 1.3 to 3.3 times as long (``python -m benchmarks.threads``),
and sums would depend on how many threads there are.
"""

import threading
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

__all__ = ["one_blas_thread"]

_lock, _inside, _before = threading.Lock(), 0, []


@contextmanager
def one_blas_thread():
    """Limit BLAS to one thread until the last block that overlaps is left.

    Most libraries have one limit for the whole process: where fits overlap in several
    threads, each restoring what it found would leave the limit of another behind.
    """
    global _inside, _before
    with _lock:
        libraries = _libraries()
        found = [library.num_threads for library in libraries]
        if not _inside:
            _before = found
        _inside += 1
        for library in libraries:
            _set(library, 1)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            for library, own, first in zip(libraries, found, _before, strict=True):
                if getattr(library, "threading_layer", "") == "openmp":
                    _set(library, own)  # a limit of this thread alone
                elif not _inside:
                    _set(library, first)


def _set(library, count):
    """Set the number of threads, whichever thread of ours set it before."""
    release = getattr(library, "clear_controlling_thread", None)  # threadpoolctl 3.8
    if release is not None:
        release(force=True)
    library.set_num_threads(count)
    if release is not None:
        release(force=True)


@cache
def _libraries():
    """Return the BLAS libraries that are loaded at the first call, which looks long."""
    return ThreadpoolController().select(user_api="blas").lib_controllers
