"""One BLAS thread while training, and what was set before afterwards."""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from problems import bumps
from threadpoolctl import threadpool_info, threadpool_limits

from sklearn_convexrelu import (
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    _threads,
    convex_relu_path,
)
from sklearn_convexrelu._threads import one_blas_thread
from sklearn_convexrelu.pricing.search import Pricer


def libraries():
    """Return the threads of every BLAS by its file: CVXPY's solvers bring their own."""
    return {
        found["filepath"]: found["num_threads"]
        for found in threadpool_info()
        if found["user_api"] == "blas"
    }


@pytest.fixture
def blas_threads():
    """Tell the threads of those libraries that take two, in a test that has two."""
    with threadpool_limits(2, user_api="blas"):
        able = {path for path, count in libraries().items() if count == 2}
        if not able:
            pytest.skip("no BLAS takes two threads")
        yield lambda: {libraries()[path] for path in able}


@pytest.mark.parametrize("kind", ["fit", "CV", "path"])
def test_training_has_one_thread(blas_threads, kind, monkeypatch):
    X, y = bumps(60, 3)
    seen, search = set(), Pricer.search

    def watched(*args, **kwargs):
        seen.update(blas_threads())
        return search(*args, **kwargs)

    monkeypatch.setattr(Pricer, "search", watched)
    options = {"random_state": 0, "tol": 1e-2}
    if kind == "fit":
        ConvexReLURegressor(**options).fit(X, y)
    elif kind == "CV":
        ConvexReLURegressorCV(n_alphas=3, eps=0.1, cv=2, **options).fit(X, y)
    else:
        convex_relu_path(X, y, n_alphas=3, eps=0.1, **options)
    assert seen == {1}
    assert blas_threads() == {2}


def test_a_failed_fit_restores_the_threads(blas_threads):
    X, y = bumps(20, 3)
    with pytest.raises(ValueError, match="NaN"):
        ConvexReLURegressor().fit(X, y * float("nan"))
    assert blas_threads() == {2}


def test_overlapping_blocks_restore_what_was_before_all(blas_threads):
    entered, leave = threading.Event(), threading.Event()

    def late():
        with one_blas_thread():
            entered.set()
            leave.wait(10)
            return blas_threads()

    with ThreadPoolExecutor(1) as pool:
        with one_blas_thread():
            later = pool.submit(late)
            assert entered.wait(10)
        leave.set()
        assert later.result(10) == {1}
    assert blas_threads() == {2}


def test_fits_in_threads_restore_what_was_before(blas_threads):
    X, y = bumps(60, 3)
    models = [ConvexReLURegressor(tol=1e-2, random_state=k) for k in range(6)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda model: model.fit(X, y), models))
    assert blas_threads() == {2}


def test_an_interrupt_on_the_way_in_leaves_no_limit(blas_threads, monkeypatch):
    def interrupted(library, count, set_=_threads._set):
        set_(library, count)
        if count == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(_threads, "_set", interrupted)
        with pytest.raises(KeyboardInterrupt), one_blas_thread():
            pass
    assert blas_threads() == {2}
    with one_blas_thread():
        assert blas_threads() == {1}
    assert blas_threads() == {2}


# What the process below begins with. A child that hangs is killed by its alarm.
FORKS = """
import faulthandler, os, signal, sys, threading, time
import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits
from sklearn_convexrelu import ConvexReLURegressor, _threads
from sklearn_convexrelu._threads import one_blas_thread

rng = np.random.default_rng(0)
X = rng.standard_normal((40, 2))
y = np.abs(X[:, 0])

def fit(**options):
    return ConvexReLURegressor(0.3, tol=1e-2, random_state=0, **options).fit(X, y)

def threads():
    return {a["num_threads"] for a in threadpool_info() if a["user_api"] == "blas"}

def in_child(function):
    # What the function returns in a forked process; a raised alarm is no return.
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        status = 1
        try:
            os.write(writing, repr(function()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    status = os.waitpid(pid, 0)[1]
    assert status == 0, f"the child ended with {status}"
    return eval(os.read(reading, 10_000).decode())

def fitted():
    model = fit()
    return float(model.objective_), threads()

threadpool_limits(2, user_api="blas")
expected = fitted()
assert expected[1] == {2}, "no BLAS takes two threads"
started, go_on = threading.Event(), threading.Event()

def in_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    assert started.wait(20)
    return thread
"""

SITUATIONS = {
    "the lock is held by another thread": """
def hold():
    with _threads._process.lock:
        started.set()
        go_on.wait(20)

thread = in_thread(hold)
assert in_child(fitted) == expected
go_on.set()
thread.join()
""",
    "the lock is held by this thread": """
with _threads._process.lock:
    assert in_child(fitted) == expected
""",
    "another thread is in a fit": """
def train():
    with one_blas_thread():
        started.set()
        go_on.wait(20)

thread = in_thread(train)
assert threads() == {1}
assert in_child(threads) == {2}
assert in_child(fitted) == expected
assert threads() == {1}
go_on.set()
thread.join()
""",
    "this thread is in nested blocks": """
with one_blas_thread(), one_blas_thread():
    assert in_child(threads) == {2}
    assert in_child(fitted) == expected
    assert threads() == {1}
""",
    "a child of a child": """
with one_blas_thread():
    def forks():
        with one_blas_thread():
            return threads(), in_child(fitted), threads()
    assert in_child(forks) == ({1}, expected, {1})
""",
    "the child leaves blocks of its parent": """
def unwound():
    # As in a child that goes on where its parent was.
    with one_blas_thread():
        inside = threads()
    return inside, threads()

block = one_blas_thread()
block.__enter__()

def leaves():
    block.__exit__(None, None, None)
    return threads(), unwound(), fitted()

assert in_child(leaves) == ({2}, ({1}, {2}), expected)
block.__exit__(None, None, None)
""",
    "a fork while others enter and leave blocks": """
def busy():
    started.set()
    while not go_on.is_set():
        with one_blas_thread():
            pass

several = [in_thread(busy) for _ in range(3)]
assert [in_child(threads) for _ in range(60)] == 60 * [{2}]
assert in_child(fitted) == expected
go_on.set()
for thread in several:
    thread.join()
""",
    "nothing is going on, with a limit of the user": """
with threadpool_limits(1, user_api="blas"):
    assert in_child(threads) == {1}
    assert in_child(fitted) == (expected[0], {1})
""",
    "processes of the standard library": """
import multiprocessing
with one_blas_thread():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        answers = [pool.apply_async(fitted) for _ in range(4)]
        assert [answer.get(30) for answer in answers] == 4 * [expected]
""",
}


# One process for all situations: each begins and ends with nothing going on, and the
# imports alone take two seconds.
ALL_IN_TURN = """
import json, traceback
said = {}
for situation, code in SITUATIONS.items():
    started.clear()
    go_on.clear()
    try:
        exec(code, globals())
        assert threads() == {2}, threads()
    except BaseException:
        said[situation] = traceback.format_exc()
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said():
    """Return what went wrong in each situation; it is empty where all is well."""
    code = f"{FORKS}\nSITUATIONS = {SITUATIONS!r}\n{ALL_IN_TURN}"
    command = [sys.executable, "-W", "ignore", "-c", code]
    root = Path(_threads.__file__).parents[1]
    environment = os.environ | {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=300, cwd=root, env=environment
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
@pytest.mark.parametrize("situation", SITUATIONS)
def test_forked_processes_train_and_have_the_limits_from_before(
    blas_threads, said, situation
):
    assert situation not in said, said[situation]
