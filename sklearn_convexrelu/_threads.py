"""One BLAS thread while training: the products are too thin to share out.

Blocks of rows times a few dozen neurons take microseconds each. With two threads fits
of 442 to 100000 rows take 1.2 to 3.4 times as long (``python -m benchmarks.threads``),
and sums would depend on how many threads there are.
"""

from functools import cache

from threadpoolctl import ThreadpoolController

__all__ = ["one_blas_thread"]


def one_blas_thread():
    """Return a context in which BLAS has one thread."""
    return _controller().limit(limits=1, user_api="blas")


@cache
def _controller():
    """Return the controller of the libraries that are loaded; looking takes a while."""
    return ThreadpoolController()
