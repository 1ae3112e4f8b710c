"""Folds of cross-validated fits that lack something: classes, counts, weights, time."""

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import brier_score_loss, log_loss
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneOut,
    PredefinedSplit,
    StratifiedKFold,
)

import sklearn_convexrelu.adaptive.loop as adaptive
from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
)

ALPHAS = [0.5, 0.1, 0.03]
EPS = np.finfo(float).eps  # to which log_loss clips

rare = pytest.mark.filterwarnings("ignore:The least populated class:UserWarning")
undefined = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.UndefinedMetricWarning"
)


def points(n_samples=60, seed=0):
    return np.random.default_rng(seed).standard_normal((n_samples, 3))


def with_rare_class(n_rare, n_samples=60):
    """Three classes, and a fourth of the first rows."""
    X = points(n_samples)
    codes = np.digitize(np.abs(X[:, 0]) + 0.5 * X[:, 1], [0.3, 1.2])
    codes[:n_rare] = 3
    return X, np.array(["a", "b", "c", "z"])[codes]


def classifier(**options):
    return ConvexReLUClassifierCV(
        ALPHAS, random_state=0, tol=1e-2, **{"path_tol": 1e-6} | options
    )


def regressor(**options):
    return ConvexReLURegressorCV(ALPHAS, random_state=0, tol=1e-2, **options)


def spread(model, X, classes):
    """Probabilities of all classes, zero for those that the model has not seen."""
    P = np.zeros((len(X), len(classes)))
    P[:, np.isin(classes, model.classes_)] = model.predict_proba(X)
    return P


def plain_scores(X, y, folds, weights=None, **options):
    """Log loss of independent fits on the training rows, (n_alphas, n_folds)."""
    classes = np.unique(y)
    weights = np.ones(len(y)) if weights is None else weights
    scores = np.empty((len(ALPHAS), len(folds)))
    for k, (train, test) in enumerate(folds):
        for i, alpha in enumerate(ALPHAS):
            model = ConvexReLUClassifier(alpha, tol=1e-4, random_state=0, **options)
            model.fit(X[train], y[train], weights[train])
            P = spread(model, X[test], classes)
            scores[i, k] = -log_loss(
                y[test], P, labels=classes, sample_weight=weights[test]
            )
    return scores


# Classes that a fold lacks


@rare
@pytest.mark.parametrize("n_rare", [1, 2])
def test_a_rare_class_is_scored_as_by_independent_fits(n_rare):
    X, y = with_rare_class(n_rare)
    folds = list(StratifiedKFold(5).split(X, y))
    assert any("z" not in y[train] for train, _ in folds) or n_rare > 1
    assert sum("z" not in y[test] for _, test in folds) == 5 - n_rare
    model = classifier(scoring="neg_log_loss").fit(X, y)
    assert_allclose(model.cv_scores_, plain_scores(X, y, folds), atol=5e-3)
    assert model.alpha_ == model.alphas_[model.cv_scores_.mean(axis=1).argmax()]
    assert_array_equal(model.classes_, ["a", "b", "c", "z"])
    assert model.predict_proba(X).shape == (60, 4)


@pytest.mark.parametrize("class_weight", ["balanced", {"a": 2.0, "z": 3.0}])
def test_class_weights_where_a_fold_lacks_the_class(class_weight):
    X, y = with_rare_class(6, 120)
    split = np.repeat([0, 1, 2], [20, 50, 50])  # all of "z" in fold 0
    folds = list(PredefinedSplit(split).split())
    model = classifier(
        scoring="neg_log_loss", cv=PredefinedSplit(split), class_weight=class_weight
    )
    expected = plain_scores(X, y, folds[1:], class_weight=class_weight)
    scores = model.fit(X, y).cv_scores_
    # Held-out scores of networks within 1e-4 of the optimum, at small alphas too.
    assert_allclose(scores[:, 1:], expected, rtol=0.02)
    lacking = class_weight if class_weight == "balanced" else {"a": 2.0}
    expected = plain_scores(X, y, folds[:1], class_weight=lacking)
    assert_allclose(scores[:, :1], expected, rtol=0.01)


@pytest.mark.parametrize("weighted", [False, True])
def test_two_of_three_classes_are_the_binary_problem(weighted):
    X, y = with_rare_class(0)
    weights = np.linspace(0.5, 2.0, 60) if weighted else None
    folds = [(np.flatnonzero(y != "b"), np.arange(60)), (np.arange(60), np.arange(60))]
    model = classifier(scoring="neg_log_loss", cv=folds).fit(X, y, weights)
    expected = plain_scores(X, y, folds, weights)
    assert_allclose(model.cv_scores_, expected, atol=5e-3 * np.abs(expected).max())
    # Two columns of the softmax share the weights that one logit has for itself.
    absolute = classifier(
        scoring="neg_log_loss", cv=folds[:1], relative_alpha=False
    ).set_params(alphas=[0.02])
    alone = ConvexReLUClassifier(
        0.02 / np.sqrt(2), relative_alpha=False, tol=1e-5, random_state=0
    ).fit(
        X[folds[0][0]], y[folds[0][0]], None if weights is None else weights[y != "b"]
    )
    P = spread(alone, X, np.unique(y))
    expected = -log_loss(y, P, sample_weight=weights)
    score = absolute.fit(X, y, weights).cv_scores_
    assert_allclose(score, [[expected]], rtol=1e-3)


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("labels", [[2, 5], ["no", "yes"], [True, False]])
def test_a_fold_with_one_of_two_classes(labels, relative):
    X = points()
    y = np.array(labels)[np.sort((np.abs(X[:, 0]) > 0.8).astype(int))]
    n_first = np.sum(y == y[0])
    train, test = np.arange(n_first - 5), np.arange(n_first - 5, 60)
    model = classifier(
        scoring="neg_log_loss", cv=[(train, test)], relative_alpha=relative
    ).fit(X, y)
    wrong = np.mean(y[test] != y[0])
    assert_allclose(model.cv_scores_, -wrong * -np.log(EPS), rtol=1e-9)
    assert model.best_index_ == 0  # all are equal
    accuracy = clone(model).set_params(scoring=None).fit(X, y)
    assert_allclose(accuracy.cv_scores_, 1.0 - wrong)


def consistent(model, X, y):
    """Scorer that checks what a fold's network says of a class it has not seen."""
    P, F = model.predict_proba(X), model.decision_function(X)
    assert_allclose(P.sum(axis=1), 1.0, rtol=1e-6)
    assert np.isfinite(F).all() and np.isfinite(model.predict_log_proba(X)).all()
    assert_allclose(np.exp(model.predict_log_proba(X)), P, rtol=1e-4, atol=1e-30)
    assert_array_equal(model.predict(X), model.classes_[P.argmax(axis=1)])
    if len(model.classes_) > 2:
        assert_array_equal(P.argmax(axis=1), F.argmax(axis=1))
        assert F.shape == P.shape == (len(X), 4)
    assert model.n_outputs_ == (1 if F.ndim == 1 else F.shape[1])
    assert P.dtype == F.dtype == X.dtype
    return float(P[:, -1].max())


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kept", [["a", "b", "c"], ["a", "c"], ["b"]])
def test_predictions_of_a_fold_agree(kept, dtype):
    X, y = with_rare_class(2)
    fold = np.flatnonzero(np.isin(y, kept)), np.arange(60)
    with np.errstate(over="raise", invalid="raise"):
        model = classifier(cv=[fold], scoring=consistent, path_tol=1e-2).fit(
            X.astype(dtype), y
        )
    assert (model.cv_scores_ == 0.0).all()


@pytest.mark.parametrize("loss", ["squared_hinge", "squared_error"])
def test_other_losses_train_the_output_of_a_class_that_a_fold_lacks(loss):
    X, y = with_rare_class(4)
    fold = np.flatnonzero(y != "z"), np.arange(60)
    seen = {}

    def outputs(model, X, y):
        seen[model.alpha_ / model.alpha_max_] = model.decision_function(X)
        return 1.0

    def judged(F):
        """Outputs as the loss sees them: beyond the margin a hinge is flat."""
        return np.clip(F, -1.0, 1.0) if loss == "squared_hinge" else F

    classifier(cv=[fold], scoring=outputs, loss=loss, path_tol=1e-7).fit(X, y)
    assert len(seen) == 3
    for alpha, F in seen.items():
        alone = ConvexReLUClassifier(alpha, loss=loss, tol=1e-5, random_state=0)
        alone.fit(X[fold[0]], y[fold[0]])
        assert_allclose(F[:, 3], -1.0, atol=1e-3)
        expected = alone.decision_function(X[fold[0]])
        assert_allclose(judged(F[fold[0], :3]), judged(expected), atol=0.02)


@pytest.mark.parametrize("loss", ["squared_hinge", "squared_error"])
def test_other_losses_where_a_fold_has_one_class(loss):
    X, y = with_rare_class(0)
    y = np.where(y == "a", "a", "b")
    fold = np.flatnonzero(y == "b"), np.arange(60)
    model = classifier(cv=[fold], loss=loss, scoring="accuracy").fit(X, y)
    assert_allclose(model.cv_scores_, np.mean(y == "b"))


@pytest.mark.parametrize(
    "options",
    [
        {"fit_intercept": False},
        {"rank": 2},
        {"subnetwork_widths": (2,)},
        {"patterns": "random", "activation": "gated_relu", "n_patterns": 20},
        {"pruning": True},
    ],
)
def test_every_kind_of_network_can_lack_a_class(options):
    X, y = with_rare_class(3, 40)
    fold = np.flatnonzero(y != "z"), np.arange(40)
    options = {"path_tol": 1e-2} | options
    model = classifier(cv=[fold], scoring="neg_log_loss", **options).fit(X, y)
    bound = -np.log(EPS) * np.mean(y == "z")
    scores = model.cv_scores_[:, 0]
    if model.fit_intercept:  # else the probability of the class is not zero
        assert (scores < -bound).all() and (scores > -bound - 1.5).all()
    assert np.isfinite(scores).all() and scores.argmax() > 0


def test_leaving_one_out_and_groups():
    X, y = with_rare_class(1, 24)
    model = classifier(scoring="neg_log_loss", cv=LeaveOneOut(), path_tol=1e-2)
    scores = model.fit(X, y).cv_scores_
    assert_allclose(scores[:, 0], np.log(EPS))  # the one row of its class
    assert (scores[:, 1:] > -10).all()
    X, y = with_rare_class(8)
    groups = np.r_[np.zeros(8, int), np.arange(52) % 3 + 1]
    with config_context(enable_metadata_routing=True):
        grouped = classifier(scoring="neg_log_loss", cv=GroupKFold(4), path_tol=1e-2)
        grouped.fit(X, y, groups=groups)
    folds = list(GroupKFold(4).split(X, y, groups))
    assert sum("z" not in y[train] for train, _ in folds) == 1
    same = clone(grouped).set_params(cv=folds).fit(X, y)
    assert_array_equal(grouped.cv_scores_, same.cv_scores_)


# Scorers


def test_brier_scores_of_a_test_fold_with_one_class():
    X = points()
    y = np.where(np.abs(X[:, 0]) > 0.8, 5, 2)
    train = np.arange(40)
    test = 40 + np.flatnonzero(y[40:] == 2)  # of which 2 is the largest label
    model = classifier(cv=[(train, test)], scoring="neg_brier_score").fit(X, y)
    for alpha, score in zip(ALPHAS, model.cv_scores_[:, 0], strict=True):
        alone = ConvexReLUClassifier(alpha, tol=1e-5, random_state=0)
        P = alone.fit(X[train], y[train]).predict_proba(X[test])
        assert_allclose(
            score, -brier_score_loss(y[test], P[:, 1], pos_label=5), atol=2e-3
        )


@rare
def test_scorers_of_predictions_are_those_of_a_grid_search():
    X, y = with_rare_class(2)
    names = ["accuracy", "f1_macro", "matthews_corrcoef"]
    search = GridSearchCV(
        ConvexReLUClassifier(tol=1e-3, random_state=0),
        {"alpha": ALPHAS},
        cv=3,
        scoring=names,
        refit=False,
    ).fit(X, y)
    for name in names:
        chosen = classifier(scoring=name, cv=3, path_tol=1e-4).fit(X, y)
        assert_allclose(
            chosen.cv_scores_.mean(axis=1),
            search.cv_results_[f"mean_test_{name}"],
            atol=0.05,
        )


@rare
@undefined
def test_folds_whose_scores_are_nan_do_not_count():
    X, y = with_rare_class(2)
    model = classifier(scoring="roc_auc_ovr", path_tol=1e-2)
    with pytest.warns(UserWarning, match=r"3 of 5 .* nan \(folds 2, 3, 4\)") as caught:
        model.fit(X, y)
    assert sum("do not count" in str(w.message) for w in caught) == 1
    assert np.isnan(model.cv_scores_).all(axis=0).tolist() == [0, 0, 1, 1, 1]
    assert model.best_index_ == model.cv_scores_[:, :2].mean(axis=1).argmax()


@undefined
def test_where_no_fold_has_a_score():
    X, y = points(12), np.arange(12.0)
    with pytest.raises(ValueError, match=r"No fold tells .* nan \(every fold\)"):
        regressor(cv=LeaveOneOut()).fit(X, y)
    folds = [(np.arange(6), []), ([], np.arange(6))]
    with pytest.raises(ValueError, match=r"test row .*\(fold 0\); .*\(fold 1\)"):
        regressor(cv=folds).fit(X, y)

    def odd(model, X, y):  # nan early in one fold, late in the other
        early = model.alpha_ / model.alpha_max_ > 0.2
        return 1.0 if early == (y[0] == 0.0) else np.nan

    with pytest.raises(ValueError, match="No alpha has a score in every fold"):
        regressor(cv=2, scoring=odd).fit(X, y)


# Labels that are the same in all of a fold


def labels(n_samples=60):
    X = points(n_samples)
    return X, np.c_[X[:, 0] > 0, np.abs(X[:, 1]) > 0.7, X[:, 1] > 0.3].astype(int)


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_constant_label_is_set_and_the_others_trained(weighted, value):
    X, Y = labels()
    weights = np.linspace(0.5, 2.0, 60) if weighted else None
    train = np.flatnonzero(Y[:, 1] == value)
    seen = {}

    def outputs(model, X, y):
        seen[model.alpha_ / model.alpha_max_] = P = model.predict_proba(X)
        assert_array_equal(model.predict(X), (P > 0.5).astype(int))
        assert np.isfinite(model.decision_function(X)).all()
        assert np.isfinite(model.predict_log_proba(X)).all()
        return 1.0

    model = classifier(cv=[(train, np.arange(60))], scoring=outputs)
    model.fit(X, Y, weights)
    assert len(seen) == 3
    for alpha, P in seen.items():
        alone = ConvexReLUClassifier(alpha, tol=1e-5, random_state=0)
        own = None if weights is None else weights[train]
        alone.fit(X[train], Y[train][:, [0, 2]], own)
        assert (P[:, 1] == value).all()
        expected = alone.predict_proba(X[train])
        assert_allclose(P[np.ix_(train, [0, 2])], expected, atol=0.01)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_a_fold_whose_labels_are_all_constant(class_weight):
    X, Y = labels()
    train = np.flatnonzero((Y == [1, 0, 1]).all(axis=1))
    model = classifier(cv=[(train, np.arange(60))], class_weight=class_weight)
    scores = model.fit(X, Y).cv_scores_
    assert_allclose(scores, len(train) / 60)
    assert model.predict_proba(X).shape == (60, 3)


@undefined
def test_a_label_that_test_rows_lack():
    X, Y = labels()
    Y[:, 1] = 0
    Y[:12, 1] = np.arange(12) % 2  # all of it in the first of five folds
    for scoring in ("accuracy", "f1_macro"):
        model = classifier(scoring=scoring, path_tol=1e-2).fit(X, Y)
        assert np.isfinite(model.cv_scores_).all()
    with pytest.warns(UserWarning, match=r"4 of 5 folds do not .* 1, 2, 3, 4\)"):
        classifier(scoring="roc_auc", path_tol=1e-2).fit(X, Y)


def test_sparse_indicators():
    X, Y = labels()
    dense = classifier(cv=3, path_tol=1e-2).fit(X, Y)
    same = classifier(cv=3, path_tol=1e-2).fit(X, Y[:, 0])
    for form in (
        sparse.csr_matrix,
        sparse.csc_array,
        sparse.coo_array,
        sparse.lil_matrix,
    ):
        model = classifier(cv=3, path_tol=1e-2).fit(X, form(Y))
        assert model.alpha_ == dense.alpha_
        assert_array_equal(model.cv_scores_, dense.cv_scores_)
        assert_array_equal(model.predict(X), dense.predict(X))
        column = form(Y[:, :1])
        with pytest.warns(UserWarning, match="column-vector"):
            model = classifier(cv=3, path_tol=1e-2).fit(X, column)
        assert_array_equal(model.cv_scores_, same.cv_scores_)


# Counts


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_fold_of_zero_counts_predicts_next_to_zero(dtype):
    X = points().astype(dtype)
    y = np.random.default_rng(1).poisson(2.0, 60)
    y[:30] = 0
    model = regressor(loss="poisson", cv=KFold(2), scoring="neg_mean_poisson_deviance")
    scores = model.fit(X, y).cv_scores_
    # The second fold trains on zeros and is tested on the zeros' network by itself ...
    mean, tested = np.sqrt(np.finfo(dtype).tiny), y[:30]
    assert_allclose(tested, 0)
    # ... and so the first trains on counts and is tested on zeros.
    assert (scores[:, 0] < 0).all() and (np.diff(scores[:, 1]) == 0).all()
    later = y[30:]
    terms = np.where(later > 0, later * np.log(np.maximum(later, 1) / mean), 0) - later
    assert_allclose(scores[:, 1], -2 * np.mean(terms + mean), rtol=1e-5)
    assert model.best_index_ == scores[:, 0].argmax()


def test_one_of_two_counts_that_is_zero_in_a_fold():
    X, rng = points(), np.random.default_rng(1)
    Y = np.c_[rng.poisson(np.exp(np.abs(X[:, 0]))), rng.poisson(1.0, 60)]
    train = np.arange(30)
    Y[train, 1] = 0
    seen = {}

    def means(model, X, y):
        seen[model.alpha_ / model.alpha_max_] = model.predict(X)
        return 1.0

    model = regressor(loss="poisson", cv=[(train, np.arange(60))], scoring=means)
    model.set_params(path_tol=1e-5).fit(X, Y)
    assert len(seen) == 3
    for alpha, P in seen.items():
        alone = ConvexReLURegressor(alpha, loss="poisson", tol=1e-5, random_state=0)
        alone.fit(X[train], Y[train, 0])
        assert ((P[:, 1] > 0) & (P[:, 1] < 1e-100)).all()
        assert_allclose(P[:, 0], alone.predict(X), rtol=0.02)


def test_counts_that_stay_refused():
    X, y = points(), np.r_[np.zeros(30), np.ones(30)]
    with pytest.raises(ValueError, match="not all zero; without an intercept"):
        regressor(loss="poisson", cv=KFold(2), fit_intercept=False).fit(X, y)
    with pytest.raises(ValueError, match="that are not all zero.$"):
        regressor(loss="poisson").fit(X, 0 * y)
    with pytest.raises(ValueError, match="negative"):
        regressor(loss="poisson").fit(X, -y)


# Rows of zero weight


def zero_at(*rows):
    weights = np.linspace(0.5, 2.0, 60)
    weights[np.r_[rows]] = 0.0
    return weights


ABSENT = {
    "first rows": slice(0, 12),  # a whole fold of KFold(5)
    "last rows": slice(45, 60),
    "here and there": slice(0, 60, 4),
    "most": slice(10, 60),
}


@pytest.mark.parametrize("cv", [None, 3])
@pytest.mark.parametrize("absent", ABSENT)
def test_a_number_of_folds_is_one_of_the_rows_with_weight(absent, cv):
    # Each score with either number of folds, and each of those with all rows.
    few = absent in ("first rows", "last rows")
    scoring = None if few == (cv is None) else "neg_max_error"
    X, weights = points(), zero_at(ABSENT[absent])
    y, live = np.abs(X[:, 0]) + 0.1 * X[:, 1], weights > 0
    model = regressor(cv=cv, scoring=scoring)
    left_out = clone(model).fit(X[live], y[live], weights[live])
    model.fit(X, y, weights)
    assert_array_equal(model.cv_scores_, left_out.cv_scores_)
    assert model.alpha_ == left_out.alpha_
    assert model.objective_ == left_out.objective_


@pytest.mark.parametrize("by_class", [False, True])
@pytest.mark.parametrize("scoring", ["neg_log_loss", "accuracy"])
def test_a_class_without_weight_is_no_class(scoring, by_class):
    X, y = with_rare_class(7)
    live = y != "z"
    model = classifier(scoring=scoring, path_tol=1e-2)
    left_out = clone(model).fit(X[live], y[live])
    if by_class:
        model.set_params(class_weight={"z": 0.0}).fit(X, y)
    else:
        frame = pd.DataFrame(X, columns=["u", "v", "w"])
        model.fit(frame, pd.Series(y, index=frame.index[::-1]), 1.0 * live)
    assert_array_equal(model.classes_, ["a", "b", "c"])
    assert_array_equal(model.cv_scores_, left_out.cv_scores_)
    assert model.alpha_ == left_out.alpha_


@pytest.mark.parametrize("form", ["splitter", "index", "mask", "negative"])
def test_given_folds_are_of_all_rows_and_lose_those_without_weight(form):
    X, weights = points(), zero_at(slice(0, 20), 25, 31)
    y, live = np.abs(X[:, 0]) + 0.1 * X[:, 1], weights > 0
    folds = list(KFold(3).split(X))
    expected = [
        (np.cumsum(live)[a[live[a]]] - 1, np.cumsum(live)[b[live[b]]] - 1)
        for a, b in folds
    ]
    if form == "mask":
        folds = [tuple(np.isin(np.arange(60), part) for part in f) for f in folds]
    if form == "negative":
        folds = [(a - 60, b - 60) for a, b in folds]
    model = regressor(cv=KFold(3) if form == "splitter" else folds)
    with pytest.warns(UserWarning, match=r"1 of 3 .* no test row .* \(fold 0\)"):
        model.fit(X, y, weights)
    left_out = regressor(cv=expected[1:]).fit(X[live], y[live], weights[live])
    assert np.isnan(model.cv_scores_[:, 0]).all()
    assert_array_equal(model.cv_scores_[:, 1:], left_out.cv_scores_)
    assert model.alpha_ == left_out.alpha_


def test_a_fold_whose_training_rows_have_no_weight():
    X, weights = points(), zero_at(slice(0, 30))
    y = np.abs(X[:, 0])
    half = np.arange(30)
    folds = [(half, half + 30), (half + 30, half + 30), (half + 30, np.arange(60))]
    model = regressor(cv=folds)
    with pytest.warns(UserWarning, match=r"no training row .* \(fold 0\)"):
        model.fit(X, y, weights)
    assert np.isnan(model.cv_n_neurons_[:, 0]).all()
    assert_array_equal(model.cv_scores_[:, 1], model.cv_scores_[:, 2])


# Interrupts


class Interrupted:
    """R2, but for an interrupt on one fold."""

    def __init__(self, first_target):
        self.first_target = first_target

    def __call__(self, model, X, y):
        if y[0] == self.first_target and model.n_neurons_:
            raise KeyboardInterrupt
        return model.score(X, y)


def interrupted_fit(fold, **options):
    """A fit of five folds, one of which is interrupted, and the whole one."""
    X = points(100)
    y = np.abs(X[:, 0]) + 0.1 * np.arange(100) / 100
    model = regressor(cv=KFold(5), scoring=Interrupted(y[20 * fold]), **options)
    whole = clone(model).set_params(scoring=None).fit(X, y)
    return model, whole, X, y


@pytest.mark.parametrize("backend", ["sequential", "threading", "loky"])
def test_an_interrupt_keeps_the_folds_that_are_done(backend):
    model, whole, X, y = interrupted_fit(3)
    n_jobs = 1 if backend == "sequential" else 2
    with parallel_config("loky" if n_jobs == 1 else backend, n_jobs=n_jobs):
        with pytest.warns(ConvergenceWarning, match="interrupted .*3, 4") as caught:
            model.fit(X, y)
    assert sum("do not count" in str(w.message) for w in caught) == 1
    done = ~np.isnan(model.cv_scores_).all(axis=0)
    assert 1 <= done.sum() <= 3 and not done[3:].any()
    if n_jobs == 1:
        assert done.tolist() == [1, 1, 1, 0, 0]
    assert_array_equal(model.cv_scores_[:, done], whole.cv_scores_[:, done])
    assert model.best_index_ == whole.cv_scores_[:, done].mean(axis=1).argmax()
    alone = ConvexReLURegressor(ALPHAS[model.best_index_], tol=1e-4, random_state=0)
    assert alone.fit(X, y).lower_bound_ <= model.objective_
    assert model.lower_bound_ <= alone.objective_
    assert model.status_.name == "CONVERGED" and model.dual_gap_ <= model.tolerance_


def test_an_interrupt_of_the_first_fold_changes_nothing():
    model, whole, X, y = interrupted_fit(0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert not hasattr(model, "coefs_") and not hasattr(model, "cv_scores_")
    before = vars(whole).copy()
    with pytest.raises(KeyboardInterrupt):
        whole.set_params(scoring=model.scoring).fit(X[:50], y[:50])
    assert vars(whole) == before | {"scoring": model.scoring}


def test_the_one_standard_error_of_the_folds_that_are_done():
    model, whole, X, y = interrupted_fit(4, selection="1se")
    with pytest.warns(ConvergenceWarning, match=r"1 of 5 .*interrupted \(fold 4\)"):
        model.fit(X, y)
    scores = whole.cv_scores_[:, :4]
    mean = scores.mean(axis=1)
    error = scores[mean.argmax()].std(ddof=1) / 2
    assert model.best_index_ == np.argmax(mean >= mean.max() - error)


def test_a_second_interrupt_is_one_of_the_last_fit(monkeypatch):
    model, _, X, y = interrupted_fit(3)
    improve, train = adaptive._Run.improve, ConvexReLURegressorCV._train
    rounds = []  # of the last fit, once it has begun

    def interrupted(self, *args):
        if rounds:
            rounds.append(self)
        if len(rounds) == 2:
            raise KeyboardInterrupt
        return improve(self, *args)

    def trained(self, *args, **options):
        rounds.append("begun")
        return train(self, *args, **options)

    monkeypatch.setattr(adaptive._Run, "improve", interrupted)
    monkeypatch.setattr(ConvexReLURegressorCV, "_train", trained)
    model.set_params(alphas=[0.003], tol=1e-6)
    y += np.sin(2 * X[:, 1])
    model.scoring.first_target = y[60]
    with pytest.warns(ConvergenceWarning) as caught:
        model.fit(X, y)
    texts = [str(warning.message) for warning in caught]
    assert len(texts) == 2 and "do not count" in texts[0] and "gap" in texts[1]
    assert model.status_.name == "INTERRUPTED" and hasattr(model, "cv_scores_")
    assert model.dual_gap_ > model.tolerance_


def test_a_solver_that_is_interrupted_in_a_fold(monkeypatch):
    model, whole, X, y = interrupted_fit(0)
    improve, calls = adaptive._Run.improve, []

    def interrupted(self, *args):
        calls.append(self)
        if len(calls) == at:
            raise KeyboardInterrupt
        return improve(self, *args)

    monkeypatch.setattr(adaptive._Run, "improve", interrupted)
    at = 0
    clone(whole).fit(X, y)
    at, calls[:] = len(calls) * 2 // 3, []
    with pytest.warns(ConvergenceWarning, match="do not count: interrupted"):
        cut = clone(whole).fit(X, y)
    done = ~np.isnan(cut.cv_scores_).all(axis=0)
    assert 1 <= done.sum() < 5
    assert_array_equal(cut.cv_scores_[:, done], whole.cv_scores_[:, done])
