"""One BLAS thread while training, and what was set before afterwards."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from problems import bumps
from threadpoolctl import threadpool_info, threadpool_limits

from sklearn_convexrelu import (
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    convex_relu_path,
)
from sklearn_convexrelu._threads import one_blas_thread
from sklearn_convexrelu.patterns.pricing import Pricer


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
