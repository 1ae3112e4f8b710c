"""One BLAS thread while training, and what was set before afterwards."""

import pytest
from problems import bumps
from threadpoolctl import threadpool_info, threadpool_limits

from sklearn_convexrelu import (
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    convex_relu_path,
)
from sklearn_convexrelu.patterns.pricing import Pricer


def blas_threads():
    return {i["num_threads"] for i in threadpool_info() if i["user_api"] == "blas"}


@pytest.fixture
def two_threads():
    with threadpool_limits(2, user_api="blas"):
        if blas_threads() != {2}:
            pytest.skip("this BLAS does not take two threads")
        yield


@pytest.mark.parametrize("kind", ["fit", "CV", "path"])
def test_training_has_one_thread(two_threads, kind, monkeypatch):
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


def test_a_failed_fit_restores_the_threads(two_threads):
    X, y = bumps(20, 3)
    with pytest.raises(ValueError, match="NaN"):
        ConvexReLURegressor().fit(X, y * float("nan"))
    assert blas_threads() == {2}
