"""Arrays of other libraries: the same networks, and answers where X is."""

import os
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import bumps
from sklearn import config_context
from sklearn.base import clone
from sklearn.utils.estimator_checks import (
    check_array_api_input,
    check_array_api_input_and_values,
)

from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    convex_relu_path,
)

if os.environ.get("SCIPY_ARRAY_API") != "1":
    pytest.skip("SCIPY_ARRAY_API=1 is not set", allow_module_level=True)

SHORT = {"tol": 1e-2, "n_alphas": 2, "eps": 0.3, "cv": 2}
ESTIMATORS = [
    ConvexReLURegressor(0.1),
    ConvexReLUClassifier(0.1),
    ConvexReLURegressorCV(**SHORT),
    ConvexReLUClassifierCV(**SHORT),
]
# array-api-strict makes up a second device, from which NumPy takes nothing by itself.
NAMESPACES = [
    ("torch", "cpu"),
    ("array_api_strict", "CPU_DEVICE"),
    ("array_api_strict", "device1"),
]


def placed(A, namespace, device):
    """Return an array of a library, on a device."""
    xp = pytest.importorskip(namespace)
    if namespace == "array_api_strict":
        device = xp.Device(device)
    return xp.asarray(A, device=device)


def here(A):
    """Return an array of a library as one of NumPy."""
    if type(A).__module__.startswith("array_api_strict"):
        xp = pytest.importorskip("array_api_strict")
        A = xp.asarray(A, device=xp.Device("CPU_DEVICE"))
    return np.asarray(A)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("namespace, device", NAMESPACES[:2])
@pytest.mark.parametrize("model", ESTIMATORS, ids=lambda model: type(model).__name__)
def test_checks_of_scikit_learn(model, namespace, device):
    pytest.importorskip(namespace)
    check_array_api_input_and_values(type(model).__name__, model, namespace, device)
    check_array_api_input(
        type(model).__name__, model, namespace, device, "float32", True, True
    )


@pytest.mark.parametrize("namespace, device", NAMESPACES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_fits_equal_those_of_numpy(namespace, device, dtype):
    X, y = bumps(150, 3)
    X, weights = X.astype(dtype), np.arange(150) % 3
    labels = np.digitize(y, np.quantile(y, [0.3, 0.7]))
    if device == "device1" and dtype == np.float64:
        pytest.skip("the device has single precision alone")
    for model, target in (
        (ConvexReLURegressor(0.1, tol=1e-2, random_state=0), y.astype(dtype)),
        (ConvexReLUClassifier(0.2, tol=1e-2, random_state=0), labels),
    ):
        expected = clone(model).fit(X, target, weights)
        given = [placed(each, namespace, device) for each in (X, target, weights)]
        with config_context(array_api_dispatch=True):
            model.fit(*given)
            assert model.objective_ == expected.objective_
            assert_array_equal(model.coefs_[0], expected.coefs_[0])
            predicted = model.predict(given[0])
            assert type(predicted) is type(given[0])
            assert predicted.device == given[0].device
            assert_array_equal(here(predicted), expected.predict(X))
            score = model.score(*given)
            assert_allclose(score, expected.score(X, target, weights), rtol=1e-5)
            with pytest.raises(ValueError, match="must use the same namespace"):
                model.predict(X)
            assert_array_equal(
                here(pickle.loads(pickle.dumps(model)).predict(given[0])),
                expected.predict(X),
            )


def test_gates_and_folds_are_where_x_is():
    torch = pytest.importorskip("torch")
    X, y = bumps(80, 2)
    gated = ConvexReLURegressor(0.1, activation="gated_relu", patterns="random")
    folds = ConvexReLURegressorCV(**SHORT, random_state=0)
    plain = clone(folds).fit(X, y)
    with config_context(array_api_dispatch=True):
        given = [torch.asarray(each) for each in (X, y)]
        gated.set_params(random_state=0).fit(*given)
        assert isinstance(gated.gates_, torch.Tensor)
        assert isinstance(gated.predict(given[0]), torch.Tensor)
        folds.fit(*given)
        assert isinstance(folds.alphas_, torch.Tensor)
    assert_array_equal(np.asarray(folds.cv_scores_), plain.cv_scores_)
    moved = folds.__sklearn_array_api_convert__(np.asarray)
    assert_array_equal(moved.predict(X), plain.predict(X))


def test_without_dispatch_tensors_are_arrays():
    torch = pytest.importorskip("torch")
    X, y = bumps(80, 2)
    model = ConvexReLURegressor(0.1, random_state=0)
    expected = clone(model).fit(X, y)
    model.fit(torch.asarray(X), torch.asarray(y))
    assert isinstance(model.predict(torch.asarray(X)), np.ndarray)
    assert model.objective_ == expected.objective_


def test_tensors_in_paths_and_after_the_fit():
    torch = pytest.importorskip("torch")
    X, y = bumps(80, 2)
    given = [torch.asarray(each) for each in (X, y)]
    options = {"n_alphas": 2, "eps": 0.1, "random_state": 0}
    expected = convex_relu_path(X, y, **options)
    with config_context(array_api_dispatch=True):
        path = convex_relu_path(*given, **options)
        assert_array_equal(path.objectives, expected.objectives)
        model = ConvexReLURegressor(0.1, random_state=0).fit(*given)
        gap = model.certificate_.proven_gap
        assert model.certify(*given, time_limit=0.5).certificate_.proven_gap <= gap
        assert isinstance(model.prune(*given).predict(given[0]), torch.Tensor)
        # As arrays again: NumPy's are taken.
        model.fit(X, y)
        assert isinstance(model.predict(X), np.ndarray)
