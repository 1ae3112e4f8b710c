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
from sklearn_convexrelu._arrays import Home
from sklearn_convexrelu.data.cluster import Traffic
from sklearn_convexrelu.data.device import DeviceArray

if os.environ.get("SCIPY_ARRAY_API") != "1":
    pytest.skip("SCIPY_ARRAY_API=1 is not set", allow_module_level=True)

SHORT = {"tol": 1e-2, "n_alphas": 2, "eps": 0.3, "cv": 2}
ESTIMATORS = [
    ConvexReLURegressor(0.1),
    ConvexReLUClassifier(0.1),
    ConvexReLURegressorCV(**SHORT),
    ConvexReLUClassifierCV(**SHORT),
]
# array-api-strict makes up a second device, from which NumPy takes nothing by itself:
# it stands for a GPU.
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


@pytest.mark.parametrize("namespace, device", NAMESPACES[:2])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_fits_equal_those_of_numpy(namespace, device, dtype):
    X, y = bumps(150, 3)
    X, weights = X.astype(dtype), np.arange(150) % 3
    labels = np.digitize(y, np.quantile(y, [0.3, 0.7]))
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


@pytest.fixture
def everywhere(monkeypatch):
    """Take every device for one that kernels are to run on."""
    monkeypatch.setattr(Home, "trains", True)


def on_device(model, *given):
    """Fit, and return how many passes were made over rows that stayed there."""
    made = []

    def traffic():
        made.append(Traffic())
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sklearn_convexrelu._arrays.Traffic", traffic)
        model.fit(*given)
    return made[0].passes if made else 0


@pytest.mark.parametrize(
    "model, target, where",
    [
        (ConvexReLURegressor(0.1), "numbers", 0),
        (ConvexReLURegressor(0.1, norm="l1", standardize=True), "numbers", 2),
        (ConvexReLURegressor(0.1, loss="huber", huber_threshold=0.5), "numbers", 2),
        (ConvexReLURegressor(0.1, loss="poisson"), "counts", 2),
        (ConvexReLUClassifier(0.2), "classes", 2),
        (ConvexReLUClassifier(0.2, loss="squared_hinge"), "classes", 0),
        (ConvexReLUClassifier(0.2, class_weight="balanced"), "halves", 0),
    ],
)
def test_kernels_run_where_the_rows_are(model, target, where, everywhere):
    namespace, device = NAMESPACES[where]
    X, y = bumps(200, 3)
    y = {
        "numbers": y,
        "counts": np.round(np.exp(y)),
        "classes": np.digitize(y, np.quantile(y, [0.3, 0.7])),
        "halves": (y > 0.5).astype(int),
    }[target]
    weights = np.arange(200) % 3
    expected = clone(model).set_params(tol=1e-2, random_state=0).fit(X, y, weights)
    model = clone(expected)
    given = [placed(each, namespace, device) for each in (X, y, weights)]
    with config_context(array_api_dispatch=True):
        assert on_device(model, *given) > 30
        apart = abs(model.objective_ - expected.objective_)
        assert apart <= 0.1 * expected.tolerance_
        assert model.dual_gap_ <= model.tolerance_
        own = clone(model).fit(X, y, weights)
        vars(own).update(network_=model.network_)
        predicted = model.predict(given[0])
        assert type(predicted) is type(given[0])
        assert_allclose(here(predicted), own.predict(X), rtol=1e-9, atol=1e-12)
        if hasattr(model, "predict_proba"):
            found = here(model.predict_proba(given[0]))
            assert_allclose(found, own.predict_proba(X), rtol=1e-9)
        single = [placed(X.astype(np.float32), namespace, device), *given[1:]]
        rough = clone(model)
        assert on_device(rough, *single) > 30
        assert rough.coefs_[0].dtype == np.float32
        assert abs(rough.objective_ - expected.objective_) <= expected.tolerance_


def test_what_kernels_cannot_do_on_a_device_is_done_by_numpy(everywhere):
    X, y = bumps(60, 2)
    with config_context(array_api_dispatch=True):
        given = [placed(each, "torch", "cpu") for each in (X, y)]
        for options in (
            {"subnetwork_widths": (2,), "tol": 0.1},
            {"loss": "absolute_error", "tol": 0.1},
            {"patterns": "random"},
            {"pruning": True},
        ):
            model = ConvexReLURegressor(0.5, random_state=0, **options)
            assert on_device(model, *given) == 0
            expected = clone(model).fit(X, y)
            assert model.objective_ == expected.objective_
        bad = placed(np.where(X > 0, X, np.nan), "torch", "cpu")
        with pytest.raises(ValueError, match="NaN"):
            ConvexReLURegressor().fit(bad, given[1])
        with pytest.raises(ValueError, match="2 features"):
            ConvexReLURegressor(0.5, tol=0.1).fit(*given).predict(given[0][:, :1])


def test_arrays_of_a_device_answer_as_those_of_numpy():
    """What kernels do not do, but functions that users add may."""
    xp = pytest.importorskip("torch")
    with config_context(array_api_dispatch=True):
        home = Home.of(xp.asarray([1.0]))
        A = np.random.default_rng(0).standard_normal((7, 3))
        there = home.taken(xp.asarray(A)).futures[0]
        assert isinstance(there, DeviceArray)
        for function in (
            lambda a: a[a > 0].sum(),
            lambda a: (~(a > 0)).sum(axis=0),
            lambda a: 1.0 / (1 + abs(-a)),
            lambda a: np.linalg.norm(a, axis=0),  # by NumPy, on a copy
            lambda a: np.einsum("ij,kj->ik", a, a),
            lambda a: np.sort(a, axis=0),
            lambda a: a[::2][:, np.array([0, 2])],
            lambda a: np.hstack([a, a[:, :1]]).T @ np.ones(7),
            lambda a: a.reshape(3, 7).mean(axis=0),
            lambda a: np.sum(a, where=a > 0),
            lambda a: (a.copy() > 0).all() or (a > 9).any(),
        ):
            assert_allclose(np.asarray(function(there)), function(A))
        other = there.copy()
        other[1:3] = np.zeros((2, 3))
        other *= 2.0
        expected = A.copy()
        expected[1:3] = 0.0
        assert_array_equal(np.asarray(other), 2.0 * expected)
        assert_array_equal(np.asarray(there), A)
        with pytest.raises(TypeError, match="not trained on"):
            home.taken(xp.asarray([[1]], dtype=xp.int8))


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
