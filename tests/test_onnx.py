"""What skl2onnx makes of pipelines with our estimators predicts as they do."""

import importlib
import sys
from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import StackingClassifier, VotingClassifier, VotingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
)

pd = pytest.importorskip("pandas")
pytest.importorskip("skl2onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from skl2onnx import to_onnx  # noqa: E402

import sklearn_convexrelu.onnx  # noqa: E402, F401 - for what importing it does

LOOSE = {"tol": 1e-2, "random_state": 0}
SHORT = {"n_alphas": 3, "eps": 0.1, "cv": 2, "random_state": 0}
GATED = {"activation": "gated_relu", "patterns": "random", "n_patterns": 20}
WORDS = np.array(["Ähre", "mid", "high"])


def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return X[:150], y[:150]


def targets_of(name):
    """Return the targets of a case of the diabetes data."""
    X, y = diabetes()
    return {
        "one": y,
        "three": np.column_stack([y, 1e3 * X[:, 0], -y]),
        "counts": np.round(y / 20),
        "binary": (y > 140).astype(int),
        "bools": y > 140,
        "floats": np.where(y > 140, 2.0, -1.0),
        "two words": WORDS[(y > 140).astype(int)],
        "words": WORDS[np.digitize(y, [100, 200])].astype(object),
        "labels": np.column_stack([y > 100, y > 150, X[:, 0] > 0]).astype(int),
        "constant": np.full(len(y), 7.0),
    }[name]


REGRESSORS = {
    "plain": (ConvexReLURegressor(0.03, **LOOSE), "one"),
    "targets": (ConvexReLURegressor(0.03, **LOOSE), "three"),
    "huber": (
        ConvexReLURegressor(0.1, loss="huber", huber_threshold=80, **LOOSE),
        "one",
    ),
    "poisson": (ConvexReLURegressor(0.03, loss="poisson", **LOOSE), "counts"),
    "no bias": (ConvexReLURegressor(0.03, hidden_bias=False, **LOOSE), "one"),
    "three layers": (
        ConvexReLURegressor(0.1, subnetwork_widths=(2,), **LOOSE),
        "three",
    ),
    "four layers": (ConvexReLURegressor(0.2, subnetwork_widths=(2, 2), **LOOSE), "one"),
    "constant": (ConvexReLURegressor(0.1, **LOOSE), "constant"),
    "fixed patterns": (ConvexReLURegressor(0.1, patterns="random", **LOOSE), "one"),
    "gated": (ConvexReLURegressor(0.1, **GATED, **LOOSE), "one"),
    "gated targets": (ConvexReLURegressor(0.1, **GATED, **LOOSE), "three"),
    "gated, no bias": (
        ConvexReLURegressor(0.1, hidden_bias=False, **GATED, **LOOSE),
        "one",
    ),
    "gated, three layers": (
        ConvexReLURegressor(0.1, subnetwork_widths=(2,), **GATED, **LOOSE),
        "one",
    ),
    "gated, four layers": (
        ConvexReLURegressor(0.1, subnetwork_widths=(3, 2), **GATED, **LOOSE),
        "three",
    ),
    "gated constant": (ConvexReLURegressor(0.1, **GATED, **LOOSE), "constant"),
    "cross-validated": (ConvexReLURegressorCV(**SHORT), "one"),
}
CLASSIFIERS = {
    "binary": (ConvexReLUClassifier(0.03, **LOOSE), "binary"),
    "bools": (ConvexReLUClassifier(0.03, **LOOSE), "bools"),
    "floats": (ConvexReLUClassifier(0.03, **LOOSE), "floats"),
    "two words": (ConvexReLUClassifier(0.03, **LOOSE), "two words"),
    "words": (ConvexReLUClassifier(0.03, **LOOSE), "words"),
    "labels": (ConvexReLUClassifier(0.03, **LOOSE), "labels"),
    "hinge": (ConvexReLUClassifier(0.03, loss="squared_hinge", **LOOSE), "two words"),
    "hinges": (ConvexReLUClassifier(0.03, loss="squared_hinge", **LOOSE), "words"),
    "hinges of labels": (
        ConvexReLUClassifier(0.03, loss="squared_hinge", **LOOSE),
        "labels",
    ),
    "deep": (ConvexReLUClassifier(0.1, subnetwork_widths=(2,), **LOOSE), "words"),
    "gated": (ConvexReLUClassifier(0.1, **GATED, **LOOSE), "words"),
    "cross-validated": (ConvexReLUClassifierCV(**SHORT), "two words"),
}
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}  # of the largest number


def run(model, X, **options):
    """Convert a model and return what onnxruntime computes at X."""
    last = model[-1] if isinstance(model, Pipeline) else model
    converted = to_onnx(model, X[:1], options={id(last): options} if options else None)
    session = onnxruntime.InferenceSession(
        converted.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    if isinstance(X, pd.DataFrame):
        feed = {name: X[[name]].to_numpy() for name in X}
    else:
        feed = {"X": X}
    return session.run(None, feed)


def assert_close(ours, theirs, dtype=np.float32):
    assert ours.shape == theirs.shape
    size = np.abs(ours).max()
    assert_allclose(theirs, ours, rtol=0, atol=TOLERANCE[dtype] * size)


def scores_of(model, X):
    """Return the columns that stand beside the labels."""
    if hasattr(model, "predict_proba"):
        return model.predict_proba(X)
    F = model.decision_function(X)
    return np.column_stack([-F, F]) if F.ndim == 1 else F


@cache
def pipeline(kind, name, dtype):
    model, target = (REGRESSORS if kind == "regressor" else CLASSIFIERS)[name]
    X = diabetes()[0].astype(dtype)
    return make_pipeline(StandardScaler(), clone(model)).fit(X, targets_of(target))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors(name, dtype):
    model, X = pipeline("regressor", name, dtype), diabetes()[0].astype(dtype)
    (predicted,) = run(model, X)
    assert predicted.dtype == dtype and predicted.shape[1] == model[-1].n_outputs_
    assert_close(model.predict(X).reshape(predicted.shape), predicted, dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers(name, dtype):
    model, X = pipeline("classifier", name, dtype), diabetes()[0].astype(dtype)
    labels, scores = run(model, X, zipmap=False)
    assert_array_equal(labels, model.predict(X))
    assert scores.dtype == dtype
    assert_close(scores_of(model, X), scores, dtype)


@pytest.mark.parametrize("name", ["plain", "targets", "poisson", "three layers"])
def test_weights_in_double_serve_rows_in_single_precision(name):
    model, X = pipeline("regressor", name, np.float64), diabetes()[0].astype("f")
    assert model[-1].coefs_[0].dtype == np.float64
    (predicted,) = run(model, X)
    assert_close(model.predict(X).reshape(predicted.shape), predicted)


@pytest.mark.parametrize("load", [load_breast_cancer, load_iris])
def test_real_tables(load):
    X, y = load(return_X_y=True)
    model = make_pipeline(StandardScaler(), ConvexReLUClassifier(0.01, **LOOSE))
    X = X.astype(np.float32)
    labels, P = run(model.fit(X, y), X, zipmap=False)
    assert_array_equal(labels, model.predict(X))
    assert_close(model.predict_proba(X), P)


def table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "town": rng.choice(["Rome", "Oslo", "Lima"], 120),
            "size": rng.uniform(10, 200, 120).astype(np.float32),
            "age": rng.integers(0, 90, 120).astype(np.float32),
        }
    )
    y = frame["size"] * (frame["town"] == "Oslo") - frame["age"]
    return frame, y.to_numpy()


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    "model",
    [
        ConvexReLURegressor(0.03, **LOOSE),
        ConvexReLURegressorCV(**SHORT),
        ConvexReLUClassifier(0.03, **LOOSE),
        ConvexReLUClassifierCV(**SHORT),
    ],
    ids=lambda model: type(model).__name__,
)
def test_columns_of_words_and_numbers(model, sparse):
    frame, y = table()
    if hasattr(model, "decision_function"):
        y = WORDS[np.digitize(y, [-50, 0])]
    encoder = ColumnTransformer(
        [
            ("words", OneHotEncoder(sparse_output=sparse), ["town"]),
            ("numbers", StandardScaler(), ["size", "age"]),
        ],
        sparse_threshold=float(sparse),
    )
    whole = make_pipeline(encoder, clone(model)).fit(frame, y)
    if hasattr(model, "decision_function"):
        labels, P = run(whole, frame, zipmap=False)
        assert_array_equal(labels, whole.predict(frame))
        assert_close(whole.predict_proba(frame), P)
    else:
        assert_close(whole.predict(frame)[:, None], run(whole, frame)[0])


def test_options_of_classifiers():
    model, X = pipeline("classifier", "words", np.float32), diabetes()[0].astype("f")
    P = model.predict_proba(X)
    _, mapped = run(model, X)  # skl2onnx's default: a dict a row
    assert set(mapped[0]) == set(WORDS)
    assert_close(P, np.array([[row[c] for c in model.classes_] for row in mapped]))
    labels, *columns = run(model, X, zipmap="columns")
    assert_array_equal(labels, model.predict(X))
    assert_close(P, np.column_stack(columns))
    _, scores = run(model, X, zipmap=False, raw_scores=True)
    assert_close(model.decision_function(X), scores)
    *_, classes = run(model, X, zipmap=False, output_class_labels=True)
    assert_array_equal(classes, model.classes_)
    two = pipeline("classifier", "binary", np.float32)
    F = two.decision_function(X)
    _, scores = run(two, X, zipmap=False, raw_scores=True)
    assert_close(np.column_stack([-F, F]), scores)
    indices, _ = run(model, X, zipmap=False, nocl=True)
    assert_array_equal(model.classes_[indices], model.predict(X))


def test_integers_are_computed_in_single_precision():
    rng = np.random.default_rng(0)
    X = rng.integers(-5, 6, (60, 3))
    model = ConvexReLURegressor(0.03, **LOOSE).fit(X, np.abs(X[:, 0]) + X[:, 1])
    (predicted,) = run(model, X)
    assert predicted.dtype == np.float32
    assert_close(model.predict(X)[:, None], predicted)


@pytest.mark.parametrize("name", ["plain", "gated, four layers"])
def test_earlier_versions_of_onnx(name):
    model, X = pipeline("regressor", name, np.float32), diabetes()[0].astype("f")
    for version in (11, 13, 17):
        converted = to_onnx(model, X[:1], target_opset=version)
        session = onnxruntime.InferenceSession(
            converted.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        (predicted,) = session.run(None, {"X": X})
        assert_close(model.predict(X).reshape(predicted.shape), predicted)


def test_estimators_within_others():
    X, y = diabetes()[0].astype("f"), targets_of("two words")
    net = ConvexReLUClassifier(0.1, **LOOSE)
    others = [("net", net), ("line", LogisticRegression())]
    for model in (
        GridSearchCV(net, {"alpha": [0.3, 0.1]}, cv=2),
        VotingClassifier(others, voting="soft", flatten_transform=False),
        StackingClassifier(others, cv=2),
    ):
        labels, P = run(model.fit(X, y), X, zipmap=False)
        assert_array_equal(labels, model.predict(X))
        assert_close(model.predict_proba(X), P)
    net = ConvexReLURegressor(0.1, **LOOSE)
    both = VotingRegressor([("net", net), ("line", Ridge())]).fit(X, diabetes()[1])
    assert_close(both.predict(X)[:, None], run(both, X)[0])


def test_labels_that_onnx_does_not_know():
    X, y = diabetes()[0], targets_of("binary")
    model = ConvexReLUClassifier(0.3, **LOOSE).fit(X, y)
    model.classes_ = np.array([0.5, 1.0])
    with pytest.raises(ValueError, match="integers or strings alone"):
        to_onnx(model, X[:1], options={"zipmap": False})


def test_a_model_that_is_not_fitted():
    with pytest.raises(NotFittedError):
        to_onnx(ConvexReLURegressor(), diabetes()[0][:1])


def test_skl2onnx_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    monkeypatch.delitem(sys.modules, "sklearn_convexrelu.onnx")
    with pytest.raises(ImportError, match=r"install 'sklearn-convexrelu\[onnx\]'"):
        importlib.import_module("sklearn_convexrelu.onnx")
