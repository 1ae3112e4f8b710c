"""Threads while training: one for BLAS, and ours for chunks of rows.

Blocks of rows times a few dozen neurons take microseconds each, too thin for BLAS to
share out. With two threads of its own fits of 442 to 100000 rows take 1.3 to 3.3 times
as long (``python -m benchmarks.threads``), and sums would depend on how many there are.
What is worth sharing out are chunks of thousands of rows, whose sums are taken in a
fixed order.
"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import cache

from joblib import effective_n_jobs
from joblib.parallel import get_active_backend
from threadpoolctl import ThreadpoolController

__all__ = ["in_parallel", "one_blas_thread", "training_threads"]

# A fork waits so long for a thread that sets limits, which takes microseconds.
_PATIENCE = 1.0


class _Process:
    """What the threads of one process have set; a forked process starts anew.

    Attributes
    ----------
    lock : RLock
        Held while limits are set.
    blocks : dict
        The thread of every block that is not left yet, and the threads of the libraries
        that it found, by a key of its own.
    before : list of int or None
        What was set before the first of blocks that overlap. It is there before
        limits are set and until they are restored, so that a fork in between knows.
    """

    def __init__(self):
        self.lock = threading.RLock()
        self.blocks, self.before = {}, None

    def enter(self, key):
        """Limit BLAS to one thread, for a block."""
        with self.lock:
            libraries = _libraries()
            found = [library.num_threads for library in libraries]
            if self.before is None:
                self.before = found
            self.blocks[key] = threading.get_ident(), found
            for library in libraries:
                _set(library, 1)

    def leave(self, key):
        """Restore what was before a block, or before all that overlap."""
        with self.lock:
            if key not in self.blocks:  # interrupted on the way in
                return
            _, found = self.blocks.pop(key)
            for library, own, first in zip(
                _libraries(), found, self.before, strict=True
            ):
                if _is_per_thread(library):
                    _set(library, own)
                elif not self.blocks:
                    _set(library, first)
            if not self.blocks:
                self.before = None

    def restore_in_child(self):
        """Restore in a forked process what its parent had before all blocks.

        Without the lock, which a thread may hold that the child does not have.
        """
        if self.before is None:
            return
        this = threading.get_ident()
        own = [found for thread, found in self.blocks.values() if thread == this]
        own = own[0] if own else [None] * len(self.before)
        for library, mine, first in zip(_libraries(), own, self.before, strict=True):
            if not _is_per_thread(library):
                _set(library, first)
            elif mine is not None:
                _set(library, mine)


_process = _Process()
_forking = threading.local()


@contextmanager
def one_blas_thread():
    """Limit BLAS to one thread until the last block that overlaps is left.

    Most libraries have one limit for the whole process: where fits overlap in several
    threads, each restoring what it found would leave the limit of another behind. A
    process that is forked within a block has the limits from before it.
    """
    process, key = _process, object()
    try:
        process.enter(key)
        yield
    finally:
        if process is _process:  # else this is a child, where nothing is left to undo
            process.leave(key)


_pool = ContextVar("pool of the fit that runs in this thread", default=None)
# Items that a thread takes before sums are formed: results wait in memory until then.
# One future an item would cost a tenth of the work of a chunk of rows.
_BATCH = 8


@contextmanager
def training_threads(n_jobs=None):
    """Limit BLAS to one thread, and share chunks of rows among ``n_jobs`` of ours.

    Within a task of joblib, as a candidate of a grid search, there is one: the others
    have work of their own.

    Parameters
    ----------
    n_jobs : int or None
        As joblib takes it: None is one, or what ``joblib.parallel_config`` says; -1 is
        as many as there are processors.
    """
    nested = getattr(get_active_backend()[0], "nesting_level", None)
    count = 1 if nested else effective_n_jobs(n_jobs)
    with one_blas_thread():
        if count == 1:  # whatever the fit around this one has
            with _using(None):
                yield
            return
        # This thread is one of them.
        with ThreadPoolExecutor(count - 1, initializer=_limit_own_blas) as pool:
            with _using((pool, count)):
                yield


@contextmanager
def _using(pool):
    """Share chunks of rows in this block by a pool and its number of threads."""
    token = _pool.set(pool)
    try:
        yield
    finally:
        _pool.reset(token)


def in_parallel(function, items):
    """Yield the results of a function for items, in their order.

    On the threads of the fit that runs, where there are some and several items.
    """
    if _pool.get() is None or len(items) < 2:
        yield from map(function, items)
        return
    pool, count = _pool.get()
    for first in range(0, len(items), _BATCH * count):
        yield from _results(
            pool, count, function, items[first : first + _BATCH * count]
        )


def _results(pool, count, function, items):
    """Return the results for a batch; each thread takes the next item that is left."""
    results, left = [None] * len(items), iter(range(len(items)))

    def work():
        for k in left:  # one thread at a time is in the iterator
            results[k] = function(items[k])

    # How numpy warns goes with the context, which a thread of the pool does not have.
    others = [pool.submit(copy_context().run, work) for _ in range(count - 1)]
    try:
        work()
    finally:
        for _ in left:  # where this thread fails, the others are to find nothing more
            pass
        for other in others:
            other.result()
    return results


def _limit_own_blas():
    """Limit BLAS in a new thread, for libraries whose limit is of each thread."""
    for library in _libraries():
        if _is_per_thread(library):
            _set(library, 1)


def _before_fork():
    """Let a thread that sets limits finish, so that the child inherits no half of it.

    After a while the fork goes on: whoever holds the lock so long may wait for it.
    """
    _forking.lock = _process.lock
    _forking.is_held = _forking.lock.acquire(timeout=_PATIENCE)


def _after_fork_in_parent():
    if _forking.is_held:
        _forking.lock.release()


def _after_fork_in_child():
    """Start anew: of the threads that are in blocks the child has at most its own."""
    global _process
    _pool.set(None)  # its threads are the parent's
    parent, _process = _process, _Process()
    parent.restore_in_child()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )


def _is_per_thread(library):
    """Tell whether the limit of a library is of the calling thread alone."""
    return getattr(library, "threading_layer", "") == "openmp"


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
