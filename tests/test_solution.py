"""Why training stopped, and fitted models in a file: copied, pickled, by skops."""

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from problems import bumps

from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
)
from sklearn_convexrelu.model.solution import Status

MODELS = {
    "regressor": ConvexReLURegressor(0.3, tol=1e-2, random_state=0),
    "sub-networks": ConvexReLURegressor(
        0.3, subnetwork_widths=(2,), tol=1e-2, random_state=0
    ),
    "gated": ConvexReLURegressor(
        0.3, patterns="random", n_patterns=10, activation="gated_relu", random_state=0
    ),
    "gated sub-networks": ConvexReLURegressor(
        0.3,
        subnetwork_widths=(2,),
        patterns="random",
        n_patterns=10,
        activation="gated_relu",
        random_state=0,
    ),
    "random patterns": ConvexReLURegressor(
        0.3, patterns="random", n_patterns=10, tol=1e-2, random_state=0
    ),
    "generator": ConvexReLURegressor(
        0.3, tol=1e-2, random_state=np.random.RandomState(0)
    ),
    "classifier": ConvexReLUClassifier(0.3, tol=1e-2, random_state=0),
    "low rank": ConvexReLURegressor(0.3, rank=1, tol=1e-2, random_state=0),
    "cross-validated": ConvexReLURegressorCV(
        n_alphas=2, eps=0.5, cv=2, tol=1e-2, random_state=0
    ),
    "cross-validated classifier": ConvexReLUClassifierCV(
        n_alphas=2, eps=0.5, cv=2, tol=1e-2, random_state=0
    ),
}


@pytest.fixture(scope="module", params=MODELS)
def fitted(request):
    X, y = bumps(40, 2)
    if "classifier" in request.param:
        y = np.where(y > np.median(y), "b", "a")
    return MODELS[request.param].fit(X, y), X


@pytest.mark.parametrize("status", Status)
def test_a_status_stays_itself(status):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(status, protocol)) is status
    assert copy.copy(status) is copy.deepcopy(status) is status
    assert copy.deepcopy({"a": [status]})["a"][0] is status


@pytest.mark.parametrize("status", Status)
def test_a_status_is_restored_by_a_call_of_its_class(status):
    # What skops needs of an object that is no estimator; it does not know of enums.
    restore, arguments = status.__reduce__()
    assert restore is type(status) is Status
    assert restore(*arguments) is status
    assert arguments == (status.name,)  # a message may change, and is long


def test_a_status_is_found_by_its_message_too():
    assert Status(Status.STALLED.value) is Status.STALLED
    assert not {status.name for status in Status} & {status.value for status in Status}
    for unknown in ("converged", "", None, 0, ["CONVERGED"]):
        with pytest.raises(ValueError, match="is not a valid Status"):
            Status(unknown)


def test_pickled_and_copied_models_keep_their_status(fitted):
    model, X = fitted
    for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert again.status_ is model.status_ is Status.CONVERGED
        assert_array_equal(again.predict(X), model.predict(X))


def test_the_last_record_is_of_the_returned_network(fitted):
    model, _ = fitted
    last = model.history_[-1]
    assert last["n_neurons"] == model.n_neurons_
    if model.rank is None:  # else objective and gap are those of that rank
        assert last["objective"] == model.objective_
        assert last["dual_gap"] == model.dual_gap_


def test_skops_loads_fitted_models(fitted):
    skops = pytest.importorskip("skops.io")
    model, X = fitted
    content = skops.dumps(model)
    trusted = skops.get_untrusted_types(data=content)
    assert all(name.startswith("sklearn_convexrelu.") for name in trusted), trusted
    again = skops.loads(content, trusted=trusted)
    assert vars(again).keys() == vars(model).keys()
    assert again.status_ is model.status_
    assert again.certificate_ == model.certificate_
    assert_array_equal(again.predict(X), model.predict(X))


@pytest.mark.parametrize("status", Status)
def test_skops_loads_every_status(status):
    skops = pytest.importorskip("skops.io")
    X, y = bumps(40, 2)
    model = MODELS["regressor"].fit(X, y)
    model.status_ = status
    content = skops.dumps(model)
    trusted = skops.get_untrusted_types(data=content)
    assert skops.loads(content, trusted=trusted).status_ is status


def test_what_skops_loads_can_go_on():
    skops = pytest.importorskip("skops.io")
    X, y = bumps(40, 2)
    for name in ("regressor", "sub-networks"):
        model = MODELS[name].fit(X, y)
        content = skops.dumps(model)
        trusted = skops.get_untrusted_types(data=content)
        again = skops.loads(content, trusted=trusted)
        assert again.prune(X, y).objective_ <= model.objective_ + 1e-9
        again.set_params(warm_start=True).fit(X, y)
        assert again.status_ is Status.CONVERGED
