"""ConvexReLUClassifier: optimality, probabilities, classes and weights, bad input."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning
from sklearn.metrics import recall_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_convexrelu import ConvexReLUClassifier, ConvexReLURegressor

LOSSES = ["log_loss", "squared_hinge", "squared_error"]
KINDS = ["binary", "multiclass", "multilabel"]


def fit(X, y, alpha=0.1, sample_weight=None, **options):
    options = {"random_state": 0, "tol": 1e-2} | options
    model = ConvexReLUClassifier(alpha, **options).fit(X, y, sample_weight)
    assert model.dual_gap_ >= -1e-12 * abs(model.objective_)
    return model


def blobs(kind, n_samples=60, n_features=3, seed=0):
    """Return classes that overlap and that no line separates."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_features))
    scores = np.c_[np.abs(X[:, 0]) - 0.8, X[:, -1], -X[:, 0] - X[:, -1]]
    scores = scores + 0.4 * rng.standard_normal(scores.shape)
    if kind == "binary":
        return X, (scores[:, 0] > 0).astype(int)
    return X, scores.argmax(axis=1) if kind == "multiclass" else 1 * (scores > 0)


# Independent formulas


def outputs(model, X):
    (W, A), (b, b2) = model.coefs_, model.intercepts_
    return np.maximum(X @ W + b, 0) @ A + b2


def indicator(y):
    """One column a label, one column for two classes, else one a class."""
    if y.ndim == 2:
        return y
    return (y[:, None] == (np.unique(y)[1:] if np.ptp(y) == 1 else np.unique(y))) * 1


def sample_losses(loss, F, y):
    Y = indicator(y)
    if loss == "log_loss" and y.ndim == 1 and Y.shape[1] > 1:
        return logsumexp(F, axis=1) - (F * Y).sum(axis=1)
    margins = (2 * Y - 1) * F
    terms = {
        "log_loss": lambda: np.log1p(np.exp(-margins)),
        "squared_hinge": lambda: np.maximum(1 - margins, 0) ** 2 / 2,
        "squared_error": lambda: (F - (2 * Y - 1)) ** 2 / 2,
    }
    return terms[loss]().sum(axis=1)


def best_constant_loss(loss, y, w):
    """Loss of the best constant prediction, by a general minimiser."""
    F0 = np.zeros(indicator(y).shape)
    return minimize(
        lambda b: np.average(sample_losses(loss, F0 + b, y), weights=w), F0[0]
    ).fun


def softmax_loss(Y):
    """Return F -> mean log loss and its gradient."""

    def loss(F):
        logs = F - logsumexp(F, axis=1, keepdims=True)
        return -(Y * logs).sum() / len(Y), (np.exp(logs) - Y) / len(Y)

    return loss


def squared_loss(Y):
    """Return F -> mean half squared error and its gradient."""
    return lambda F: (((F - Y) ** 2).sum() / (2 * len(Y)), (F - Y) / len(Y))


def wide_network(X, loss, n_outputs, alpha, seed, n_neurons=60, max_iter=1500):
    """Objective of L-BFGS on a wide network with several outputs and weight decay."""
    rng = np.random.default_rng(seed)
    X = np.c_[X, np.ones(len(X))]
    shapes = [(X.shape[1], n_neurons), (n_neurons, n_outputs), (1, n_outputs)]
    ends = np.cumsum([np.prod(shape) for shape in shapes])

    def objective(z):
        parts = np.split(z, ends[:-1])
        W, A, b = (p.reshape(s) for p, s in zip(parts, shapes, strict=True))
        H = np.maximum(X @ W, 0)
        value, G = loss(H @ A + b)
        to_W = X.T @ ((G @ A.T) * (H > 0)) + alpha * W
        gradient = [to_W.ravel(), (H.T @ G + alpha * A).ravel(), G.sum(axis=0)]
        decay = alpha / 2 * ((W**2).sum() + (A**2).sum())
        return value + decay, np.concatenate(gradient)

    start = 0.3 * rng.standard_normal(ends[-1])
    options = {"maxiter": max_iter, "maxfun": 2 * max_iter, "ftol": 1e-12}
    return minimize(objective, start, jac=True, method="L-BFGS-B", options=options).fun


def best_of_restarts(X, loss, n_outputs, alpha):
    return min(wide_network(X, loss, n_outputs, alpha, seed) for seed in range(3))


# Optimality


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", LOSSES)
def test_objective_and_gap_by_hand(loss, kind):
    X, y = blobs(kind)
    w = np.random.default_rng(1).uniform(0.5, 2, len(X))
    model = fit(X, y, loss=loss, sample_weight=w)
    (W, A), (b, _) = model.coefs_, model.intercepts_
    norms = np.linalg.norm(np.vstack([W, b]), axis=0) * np.linalg.norm(A, axis=1)
    value = np.average(sample_losses(loss, outputs(model, X), y), weights=w)
    assert model.n_neurons_ > 0
    assert_allclose(model.objective_, value + model.alpha_ * norms.sum())
    squares = (W**2).sum() + (b**2).sum() + (A**2).sum()
    assert_allclose(model.objective_, value + model.alpha_ / 2 * squares)
    assert_allclose(model.dual_gap_, model.objective_ - model.lower_bound_)
    null = best_constant_loss(loss, y, w)
    assert model.dual_gap_ <= 1e-2 * null * (1 + 1e-3)
    assert model.objective_ < null
    assert model.certificate_.proven_lower_bound <= model.lower_bound_ + 1e-12


@pytest.mark.parametrize("alpha", [0.1, 0.02])
def test_softmax_is_the_weight_decay_problem_of_one_network(alpha):
    X, y = blobs("multiclass")
    model = fit(X, y, alpha, tol=1e-3)
    best = best_of_restarts(X, softmax_loss(indicator(y)), 3, model.alpha_)
    assert model.lower_bound_ <= best
    assert model.objective_ <= best + model.dual_gap_


@pytest.mark.parametrize("alpha", [0.1, 0.02])
def test_several_targets_are_the_weight_decay_problem_of_one_network(alpha):
    X, _ = blobs("binary")
    Y = np.c_[np.abs(X[:, 0]), np.maximum(X[:, 1] + X[:, 2], 0), X[:, 0] - X[:, 1]]
    model = ConvexReLURegressor(alpha, random_state=0).fit(X, Y)
    (W, A), (b, _) = model.coefs_, model.intercepts_
    norms = np.linalg.norm(np.vstack([W, b]), axis=0) * np.linalg.norm(A, axis=1)
    value = ((outputs(model, X) - Y) ** 2).sum() / (2 * len(X))
    assert_allclose(model.objective_, value + model.alpha_ * norms.sum())
    best = best_of_restarts(X, squared_loss(Y), 3, model.alpha_)
    assert model.lower_bound_ <= best
    assert model.objective_ <= best + model.dual_gap_


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    "kind, n_features", [("binary", 1), ("binary", 2), ("multiclass", 1)]
)
def test_data_of_low_rank_are_certified_exactly(kind, n_features, loss):
    X, y = blobs(kind, 40, n_features)
    model = fit(X, y, 0.05, loss=loss, tol=1e-4)
    assert model.certificate_.kind == "exact"
    assert model.lower_bound_ == model.certificate_.proven_lower_bound
    null = best_constant_loss(loss, y, np.ones(len(X)))
    assert model.dual_gap_ <= 1e-4 * null * (1 + 1e-3)


def test_exact_bounds_are_below_what_wide_networks_reach():
    X, y = blobs("multiclass", 40, 1)
    model = fit(X, y, 0.05, tol=1e-4)
    best = best_of_restarts(X, softmax_loss(indicator(y)), 3, model.alpha_)
    assert model.lower_bound_ <= best
    X, y = blobs("binary", 40, 2)
    model = fit(X, y, 0.05, tol=1e-4)
    signs = 2 * y - 1

    def logistic(F):
        margins = signs * F[:, 0]
        slopes = -signs / (1 + np.exp(margins)) / len(y)
        return np.log1p(np.exp(-margins)).mean(), slopes[:, None]

    best = best_of_restarts(X, logistic, 1, model.alpha_)
    assert model.lower_bound_ <= best
    assert model.objective_ <= best + model.dual_gap_


@pytest.mark.filterwarnings("ignore:alpha=.* is alpha_max_:UserWarning")
def test_above_alpha_max_probabilities_are_frequencies():
    X, y = blobs("multiclass")
    model = fit(X, y, 1.001)
    assert model.n_neurons_ == 0
    frequencies = np.bincount(y) / len(y)
    assert_allclose(model.predict_proba(X), np.tile(frequencies, (60, 1)))
    assert_allclose(model.objective_, -frequencies @ np.log(frequencies))


# Predictions


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities(kind):
    X, y = blobs(kind)
    model = fit(X, y)
    P, F = model.predict_proba(X), model.decision_function(X)
    assert P.shape == (60, 2 if kind == "binary" else 3)
    assert F.shape == ((60,) if kind == "binary" else (60, 3))
    assert_allclose(F.reshape(60, -1), outputs(model, X))
    assert_allclose(model.predict_log_proba(X), np.log(P))
    if kind == "multilabel":
        assert_allclose(P, 1 / (1 + np.exp(-F)))
        assert_array_equal(model.predict(X), P > 0.5)
        return
    assert_allclose(P.sum(axis=1), 1.0)
    assert_array_equal(model.predict(X), model.classes_[P.argmax(axis=1)])
    if kind == "binary":
        assert (np.diff(P[np.argsort(F), 1]) >= 0).all()
        assert_array_equal(model.predict(X), F > 0)
    else:
        assert_allclose(P, np.exp(F - logsumexp(F, axis=1, keepdims=True)))


@pytest.mark.parametrize("kind", KINDS)
def test_extreme_logits_are_finite(kind):
    X, y = blobs(kind)
    model = fit(X, y)
    far = 1e6 * X
    assert np.isfinite(model.predict_proba(far)).all()
    logs = model.predict_log_proba(far)
    assert np.isfinite(logs).all() and logs.min() < -1000


@pytest.mark.parametrize("loss", ["squared_hinge", "squared_error"])
def test_no_probabilities_without_log_loss(loss):
    X, y = blobs("binary")
    model = fit(X, y, loss=loss)
    for name in ("predict_proba", "predict_log_proba"):
        assert not hasattr(model, name)
        with pytest.raises(AttributeError, match=name) as raised:
            getattr(model, name)
        # scikit-learn's ``available_if`` gives the reason as the cause.
        advice = f"loss='{loss}'; use loss='log_loss'"
        assert advice in str(raised.value.__cause__)
    with pytest.raises(AttributeError, match="object has no attribute 'nothing_'"):
        _ = model.nothing_
    assert hasattr(ConvexReLUClassifier(), "predict_proba")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", LOSSES)
def test_predictions_are_learned(kind, loss):
    X, y = blobs(kind, 150)
    score = fit(X, y, 0.02, loss=loss).score(X, y)
    assert score > (0.5 if kind == "multilabel" else 0.75)


# Classes and weights


@pytest.mark.parametrize(
    "names",
    [
        np.array(["zebra", "ant"]),
        np.array([False, True]),
        np.array([-7, -3]),
        np.array([2.0, 1.0]),
        np.array(["b", "a"], dtype=object),
        np.array(["c", "a", "b"], dtype=object),
        np.array([5, -1, 3]),
    ],
    ids=lambda names: f"{names.dtype.kind}{len(names)}",
)
def test_labels_of_any_type(names):
    X, codes = blobs("binary" if len(names) == 2 else "multiclass")
    y = names[codes]
    model = fit(X, y)
    assert_array_equal(model.classes_, np.unique(y))
    assert model.predict(X).dtype == y.dtype
    order = np.argsort(names)
    same = fit(X, np.argsort(order)[codes])
    assert_array_equal(model.predict(X), np.unique(y)[same.predict(X)])
    assert_array_equal(model.predict_proba(X), same.predict_proba(X))


def test_pandas():
    X, y = blobs("multiclass")
    frame = pd.DataFrame(X, columns=list("abc"), index=range(100, 160))
    series = pd.Series(np.array(["x", "y", "z"])[y], index=frame.index)
    weights = pd.Series(np.ones(60), index=frame.index)
    model = fit(frame, series, sample_weight=weights)
    assert_array_equal(model.feature_names_in_, ["a", "b", "c"])
    assert_array_equal(
        model.predict(frame), np.array(list("xyz"))[fit(X, y).predict(X)]
    )
    categories = fit(X, series.astype("category"))
    assert_array_equal(categories.predict(X), model.predict(frame))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("class_weight", [None, "balanced", {1: 3.0}])
def test_weights_are_repetitions_and_zero_weights_absent_rows(kind, class_weight):
    if kind == "multilabel" and isinstance(class_weight, dict):
        pytest.skip("names of classes mean nothing for labels")
    X, y = blobs(kind)
    w = np.random.default_rng(0).integers(0, 4, 60)
    weighted = fit(X, y, sample_weight=w, class_weight=class_weight)
    repeated = fit(
        np.repeat(X, w, axis=0), np.repeat(y, w, 0), class_weight=class_weight
    )
    live = fit(X[w > 0], y[w > 0], sample_weight=w[w > 0], class_weight=class_weight)
    for other in (repeated, live):
        assert_allclose(other.objective_, weighted.objective_, rtol=1e-6)
        assert_allclose(outputs(other, X), outputs(weighted, X), atol=1e-5)


def test_class_weights_multiply_sample_weights():
    X, y = blobs("multiclass")
    w = np.random.default_rng(0).uniform(0.5, 2, 60)
    absolute = {"alpha": 0.01, "relative_alpha": False}
    for named, factors in (
        ({0: 2.0, 2: 0.5}, np.array([2.0, 1.0, 0.5])),
        ("balanced", 1 / np.bincount(y, w)),
    ):
        model = fit(X, y, sample_weight=w, class_weight=named, **absolute)
        by_hand = fit(X, y, sample_weight=w * factors[y], **absolute)
        difference = abs(model.objective_ - by_hand.objective_)
        assert difference <= by_hand.dual_gap_
        assert_allclose(outputs(model, X), outputs(by_hand, X), atol=0.1)


def test_alpha_max_does_not_know_class_weights():
    X, y = blobs("multiclass")
    light = fit(X, y, class_weight={0: 1e-6})
    assert light.alpha_max_ == fit(X, y).alpha_max_
    assert (light.predict(X) != 0).all()


def test_classes_with_zero_weight_are_absent():
    X, y = blobs("multiclass")
    expected = fit(X[y < 2], y[y < 2])
    for options in ({"sample_weight": 1.0 * (y < 2)}, {"class_weight": {2: 0.0}}):
        model = fit(X, y, **options)
        assert_array_equal(model.classes_, [0, 1])
        assert_allclose(model.predict_proba(X), expected.predict_proba(X), atol=1e-6)
    w = 1.0 * (y < 2)
    balanced = fit(X, y, sample_weight=w, class_weight="balanced")
    other = fit(X[y < 2], y[y < 2], class_weight="balanced")
    assert_allclose(balanced.predict_proba(X), other.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("activation", ["relu", "gated_relu"])
def test_classes_of_zero_weight_are_absent_over_fixed_patterns(activation):
    X, y = blobs("multiclass")
    y = np.array(["a", "b", "c"])[y]
    fixed = {"patterns": "random", "n_patterns": 20, "activation": activation}
    two = y != "b"
    expected = fit(X[two], y[two], **fixed)
    for options in ({"sample_weight": 1.0 * two}, {"class_weight": {"b": 0.0}}):
        model = fit(X, y, **fixed, **options)
        assert_array_equal(model.classes_, ["a", "c"])
        assert model.decision_function(X).shape == (60,)
        assert model.predict_proba(X).shape == (60, 2)
        assert_allclose(
            model.decision_function(X), expected.decision_function(X), atol=1e-6
        )
    model = fit(X, y, sample_weight=1.0 * two, **fixed)
    assert model.prune(X, y, 1.0 * two).n_outputs_ == 1
    if activation == "relu":
        with pytest.raises(ValueError, match="multiclass.*adaptive"):
            fit(X, y, sample_weight=np.where(two, 1.0, 1e-9), **fixed)
    with pytest.raises(ValueError, match="one class: .*'b'"):
        fit(X, y, sample_weight=1.0 - two, **fixed)


def test_balanced_classes_raise_the_recall_of_the_minority():
    rng = np.random.default_rng(0)
    y = (np.arange(200) < 16).astype(int)
    X = rng.standard_normal((200, 2)) + y[:, None]
    plain, balanced = fit(X, y), fit(X, y, class_weight="balanced")
    recalls = [recall_score(y, model.predict(X)) for model in (plain, balanced)]
    assert recalls[0] < 0.5 < 0.7 < recalls[1]


def test_multilabel_of_one_output_each():
    X, Y = blobs("multilabel")
    model = fit(X, Y)
    assert model.predict(X).shape == Y.shape
    assert_array_equal(model.classes_, [0, 1, 2])
    alone = fit(X, Y[:, 0])  # its own network, so only roughly the same
    assert (model.predict(X)[:, 0] == alone.predict(X)).mean() > 0.8


# Bad input


@pytest.mark.parametrize(
    "y, options, message",
    [
        ([0, 0, 0, 0], {}, "one class"),
        ([0, 0, 1, 1], {"sample_weight": [1, 1, 0, 0]}, "one class"),
        ([0, 0, 1, 1], {"class_weight": {0: 0.0}}, "one class"),
        ([0, 0, 1, 1], {"class_weight": {0: -1.0}}, "class_weight"),
        ([0, 0, 1, 1], {"class_weight": {0: np.inf}}, "class_weight"),
        ([0, 0, 1, 1], {"class_weight": {0: 0.0, 1: 0.0}}, "class_weight"),
        ([0, 0, 1, 1], {"class_weight": {0: 1.0, 5: 2.0}}, "class_weight|5"),
        ([0, 0, 1, 1], {"sample_weight": [-1, 1, 1, 1]}, "[Nn]egative"),
        ([0.0, np.nan, 1.0, 1.0], {}, "NaN"),
        ([0.1, 0.2, 1.7, 1.1], {}, "continuous"),
        ([0, 1, 1], {}, "inconsistent numbers"),
        ([[0, 1], [1, 0], [1, 1], [0, 0]], {"class_weight": {1: 2.0}}, "multilabel"),
        ([[0, 1], [1, 1], [1, 1], [0, 1]], {}, "Label 1"),
        ([[0, 2], [1, 1], [2, 1], [0, 1]], {}, "[Mm]ultioutput"),
        ([[-1, 1], [1, 1], [1, -1], [-1, 1]], {}, "zeros and ones"),
        ([0, 1, 2, 0], {"patterns": "random"}, "multiclass.*adaptive"),
    ],
)
def test_bad_targets_are_refused(y, options, message):
    X = np.arange(4.0)[:, None]
    with pytest.raises(ValueError, match=message):
        fit(X, np.array(y), **options)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bad_features_are_refused(value):
    with pytest.raises(ValueError, match="NaN|infinity"):
        fit([[0.0], [value], [1.0]], [0, 1, 0])


@pytest.mark.parametrize(
    "parameter, value",
    [("loss", "exponential"), ("class_weight", "equal"), ("alpha", 0.0), ("tol", -1.0)],
)
def test_wrong_parameters_are_named(parameter, value):
    X, y = blobs("binary")
    with pytest.raises(ValueError, match=f"'{parameter}' parameter"):
        ConvexReLUClassifier(**{parameter: value}).fit(X, y)


def test_a_constant_label_is_fitted_where_its_optimum_is_finite():
    X, Y = blobs("multilabel")
    Y[:, 1] = 1
    for options in ({"loss": "squared_hinge"}, {"fit_intercept": False}):
        assert fit(X, Y, **options).predict(X)[:, 1].mean() > 0.9


def test_a_column_of_labels_warns():
    X, y = blobs("binary")
    with pytest.warns(DataConversionWarning):
        model = fit(X, y[:, None])
    assert_array_equal(model.predict(X), fit(X, y).predict(X))


# scikit-learn's tools


@pytest.mark.parametrize("kind", KINDS)
def test_pickle_clone_and_determinism(kind):
    X, y = blobs(kind)
    model = fit(X, y)
    for other in (
        pickle.loads(pickle.dumps(model)),
        clone(model).fit(X, y),
        fit(X, y),
    ):
        assert_array_equal(other.predict_proba(X), model.predict_proba(X))
        assert other.certificate_ == model.certificate_


def test_other_seeds_are_within_the_gap():
    X, y = blobs("multiclass")
    first, other = fit(X, y, 0.02), fit(X, y, 0.02, random_state=1)
    difference = abs(first.objective_ - other.objective_)
    assert difference <= max(first.dual_gap_, other.dual_gap_)
    assert first.alpha_max_ == other.alpha_max_


@pytest.mark.parametrize("kind", KINDS)
def test_warm_start(kind):
    X, y = blobs(kind)
    model = fit(X, y, 0.03, warm_start=True)
    cold = model.n_iter_
    model.fit(X, y)
    assert model.history_[0]["n_neurons"] > 0 and model.n_iter_ <= cold
    model.set_params(alpha=0.02).fit(X, y)
    expected = fit(X, y, 0.02)
    assert_allclose(
        model.objective_,
        expected.objective_,
        atol=max(model.dual_gap_, expected.dual_gap_),
    )


def test_warm_start_keeps_its_classes():
    X, y = blobs("multiclass")
    _, Y = blobs("multilabel")
    names = np.array(["a", "b", "c"])[y]
    for first, then in [(y, y + 1), (y, y > 0), (y, names), (y, Y), (Y, y)]:
        model = fit(X, first, warm_start=True)
        with pytest.raises(ValueError, match="warm_start"):
            model.fit(X, then)


@pytest.mark.parametrize("kind", KINDS)
def test_single_precision(kind):
    X, y = blobs(kind)
    X = X.astype(np.float32)
    single, double = fit(X, y), fit(X.astype(np.float64), y)
    assert single.coefs_[0].dtype == single.predict_proba(X).dtype == np.float32
    assert_allclose(single.predict_proba(X), double.predict_proba(X), atol=1e-4)


def test_grid_search_in_a_pipeline():
    X, y = blobs("multiclass", 90)
    y = np.array(["a", "b", "c"])[y]
    grid = {
        "convexreluclassifier__alpha": [0.9, 0.05],
        "convexreluclassifier__loss": ["log_loss", "squared_hinge"],
    }
    classifier = ConvexReLUClassifier(tol=1e-2, random_state=0)
    pipeline = make_pipeline(StandardScaler(), classifier)
    search = GridSearchCV(pipeline, grid, cv=3).fit(X, y)
    assert search.best_params_["convexreluclassifier__alpha"] == 0.05
    assert search.score(X, y) > 0.7


def test_scores_from_probabilities():
    X, y = blobs("binary", 150)
    model = ConvexReLUClassifier(0.1, tol=1e-2, random_state=0)
    assert cross_val_score(model, X, y, cv=3, scoring="roc_auc").min() > 0.7
    assert cross_val_score(model, X, y, cv=3, scoring="neg_log_loss").min() > -0.7
    model.set_params(loss="squared_hinge")
    assert cross_val_score(model, X, y, cv=3, scoring="roc_auc").min() > 0.7


def test_certificates_hold_where_only_class_weights_tell_classes_apart():
    X = np.repeat([[0.0], [1.0]], 4, axis=0)
    Y = np.array([[1, 1], [0, 0], [0, 0], [0, 0], [1, 0], [0, 1], [0, 0], [0, 0]])
    balanced = ConvexReLUClassifier(0.01, class_weight="balanced").fit(X, Y)
    weaker = clone(balanced).set_params(
        alpha=0.5 * balanced.alpha_, relative_alpha=False
    )
    assert balanced.n_neurons_ > 0
    assert balanced.lower_bound_ >= weaker.fit(X, Y).lower_bound_


@pytest.mark.filterwarnings("error")
def test_balanced_weights_of_any_size():
    X, y = blobs("multiclass")
    weights = np.where(y == y[0], 0.0, 1e8)
    model = ConvexReLUClassifier(0.1, class_weight="balanced", random_state=0)
    assert len(model.fit(X, y, weights).classes_) == 2


def test_a_class_too_rare_for_a_sample_of_the_rows():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((9000, 3))
    y = (np.arange(9000) == 17).astype(int)
    model = ConvexReLUClassifier(0.1, tol=1e-2, random_state=0).fit(X, y)
    assert model.dual_gap_ <= model.tolerance_
    counts = ConvexReLURegressor(0.1, loss="poisson", tol=1e-2, random_state=0)
    assert counts.fit(X, y).dual_gap_ <= counts.tolerance_


def test_changed_parameters_wait_for_the_next_fit():
    X, y = blobs("multiclass")
    model = ConvexReLUClassifier(0.1, loss="squared_hinge", random_state=0).fit(X, y)
    assert not hasattr(model.set_params(loss="log_loss"), "predict_proba")
    assert hasattr(model.fit(X, y), "predict_proba")
