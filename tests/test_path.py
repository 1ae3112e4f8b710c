"""Regularisation paths and the estimators that choose alpha by them."""

import pickle

import numpy as np
import pytest
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, make_friedman1
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning
from sklearn.metrics import make_scorer, mean_squared_error
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    convex_relu_path,
)
from sklearn_convexrelu._folds import chosen_index, has_passed_its_best

SHORT = {"n_alphas": 5, "eps": 0.03, "random_state": 0}


def bumps(n_samples=80, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, 3))
    return X, np.abs(X[:, 0]) + np.sin(X[:, 1]) + 0.2 * rng.standard_normal(n_samples)


def classes(n_samples=90):
    X, y = bumps(n_samples)
    return X, np.array(["low", "mid", "high"])[np.digitize(y, [0.5, 1.2])]


# Paths


PATHS = {
    "squared_error": lambda: bumps(),
    "huber": lambda: bumps(),
    "poisson": lambda: (bumps()[0], np.exp(bumps()[1]).round()),
    "several": lambda: (bumps()[0], np.c_[bumps()[1], bumps()[0][:, 1] ** 2]),
    "log_loss": classes,
    "squared_hinge": classes,
}


@pytest.mark.filterwarnings("ignore:alpha=.* is alpha_max_:UserWarning")
@pytest.mark.parametrize("name", PATHS)
def test_a_path_equals_independent_fits(name):
    X, y = PATHS[name]()
    loss = "squared_error" if name == "several" else name
    path = convex_relu_path(X, y, loss=loss, tol=1e-3, **SHORT)
    kind = ConvexReLUClassifier if y.dtype.kind == "U" else ConvexReLURegressor
    assert len(path.networks) == 5
    assert_allclose(path.alphas, path.alpha_max * np.geomspace(1, 0.03, 5))
    for k, alpha in enumerate(path.alphas):
        alone = kind(
            alpha, relative_alpha=False, loss=loss, tol=1e-3, random_state=0
        ).fit(X, y)
        assert path.objectives[k] - path.dual_gaps[k] <= alone.objective_ + 1e-9
        assert alone.lower_bound_ <= path.objectives[k] + 1e-9
        assert path.dual_gaps[k] <= alone.tolerance_ * (1 + 1e-3)
    assert path.n_neurons[0] == 0 < path.n_neurons[-1]


def test_objectives_of_a_path_by_hand():
    X, y = bumps()
    w = np.linspace(0.5, 2, 80)
    path = convex_relu_path(X, y, sample_weight=w, tol=1e-2, **SHORT)
    for alpha, network, objective in zip(
        path.alphas, path.networks, path.objectives, strict=True
    ):
        hidden = np.maximum(np.c_[X, np.ones(80)] @ network.hidden, 0)
        residual = hidden @ network.output + network.intercept - y[:, None]
        penalty = 0.5 * (np.sum(network.hidden**2) + np.sum(network.output**2))
        loss = 0.5 * np.average(residual[:, 0] ** 2, weights=w)
        assert_allclose(objective, loss + alpha * penalty, rtol=1e-9)


def test_alphas_as_given():
    X, y = bumps()
    relative = convex_relu_path(X, y, alphas=[0.1, 0.5, 0.1], tol=1e-2, random_state=0)
    assert_allclose(relative.alphas, np.array([0.5, 0.1]) * relative.alpha_max)
    absolute = convex_relu_path(
        X, y, alphas=relative.alphas, relative_alpha=False, tol=1e-2, random_state=0
    )
    assert_array_equal(absolute.objectives, relative.objectives)


def test_paths_end_where_nothing_changes():
    X, _ = bumps()
    constant = convex_relu_path(X, np.ones(80))
    assert len(constant.alphas) == 1 and constant.n_neurons[0] == 0
    x, y = X[:, :1], np.abs(X[:, 0])
    exact = convex_relu_path(x, y, tol=1e-5, n_alphas=60, eps=1e-6)
    predicted = exact.networks[-1].forward(x)[:, 0]
    assert len(exact.alphas) < 60
    assert np.mean((predicted - y) ** 2) < 1e-5 * np.var(y)
    shifted = convex_relu_path(x, y + 1e6, tol=1e-5, n_alphas=60, eps=1e-6)
    assert abs(len(shifted.alphas) - len(exact.alphas)) <= 1


def test_a_path_warns_once():
    X, y = bumps()
    with pytest.warns(
        ConvergenceWarning, match="of 5 points of the path did not"
    ) as caught:
        path = convex_relu_path(X, y, tol=1e-6, max_iter=1, **SHORT)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert len(path.alphas) == 5


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"alphas": []}, ValueError, "minimum of 1"),
        ({"alphas": [0.1, 0.0]}, ValueError, "positive"),
        ({"alphas": [0.1, np.nan]}, ValueError, "NaN"),
        ({"alphas": [[0.1]]}, ValueError, "positive"),
        ({"eps": 1.0}, ValueError, "eps"),
        ({"n_alphas": 0}, ValueError, "n_alphas"),
        ({"loss": "exponential"}, ValueError, "loss"),
        ({"tol": -1.0}, ValueError, "tol"),
        ({"alpha": 0.1}, TypeError, "alphas"),
        ({"warm_start": True}, TypeError, "warm_start"),
        ({"depth": 2}, TypeError, "depth"),
        ({"loss": "log_loss"}, ValueError, "continuous|Unknown label"),
    ],
)
def test_paths_refuse_bad_input(options, error, message):
    with pytest.raises(error, match=message):
        convex_relu_path(*bumps(), **options)


# Cross-validation


@pytest.mark.parametrize("problem", [bumps, classes])
def test_scores_are_those_of_a_grid_search(problem):
    X, y = problem()
    regression = problem is bumps
    kind = ConvexReLURegressorCV if regression else ConvexReLUClassifierCV
    plain = ConvexReLURegressor if regression else ConvexReLUClassifier
    scoring = "r2" if regression else "neg_log_loss"
    alphas = [0.3, 0.1, 0.03]
    chosen = kind(alphas, cv=3, scoring=scoring, path_tol=1e-4, random_state=0)
    search = GridSearchCV(
        plain(tol=1e-4, random_state=0), {"alpha": alphas}, cv=3, scoring=scoring
    )
    chosen.fit(X, y), search.fit(X, y)
    assert_allclose(
        chosen.cv_scores_.mean(axis=1),
        search.cv_results_["mean_test_score"],
        atol=5e-3,
    )
    relative = alphas[chosen.best_index_]
    assert relative == search.best_params_["alpha"]
    again = plain(relative, random_state=0).fit(X, y)
    assert chosen.alpha_ == again.alpha_ and chosen.tolerance_ == again.tolerance_
    assert chosen.dual_gap_ <= chosen.tolerance_
    for one, other in [(chosen, again), (again, chosen)]:
        assert one.lower_bound_ <= other.objective_ + 1e-9


def test_nothing_depends_on_where_folds_run():
    X, y = bumps()
    model = ConvexReLURegressorCV(cv=3, **SHORT)
    alone = clone(model).fit(X, y)
    for backend in ("loky", "threading", "multiprocessing"):
        with parallel_config(backend, n_jobs=2):
            together = clone(model).fit(X, y)
        assert_array_equal(alone.cv_scores_, together.cv_scores_)
        assert_array_equal(alone.coefs_[0], together.coefs_[0])
    n_jobs = clone(model).set_params(n_jobs=2).fit(X, y)
    assert_array_equal(alone.cv_scores_, n_jobs.cv_scores_)


def test_one_standard_error_rule():
    X, y = load_diabetes(return_X_y=True)
    options = {"n_alphas": 12, "eps": 0.01, "random_state": 0, "tol": 1e-2}
    best = ConvexReLURegressorCV(**options).fit(scale(X), y)
    sparse = ConvexReLURegressorCV(selection="1se", **options).fit(scale(X), y)
    assert_array_equal(best.cv_scores_, sparse.cv_scores_)
    scores = best.cv_scores_
    error = np.std(scores[best.best_index_], ddof=1) / np.sqrt(5)
    bar = scores[best.best_index_].mean() - error
    assert sparse.best_index_ < best.best_index_
    assert scores[sparse.best_index_].mean() >= bar
    assert (scores[: sparse.best_index_].mean(axis=1) < bar).all()
    assert sparse.n_neurons_ < best.n_neurons_


def test_choice_among_ties_and_missing_scores():
    scores = np.array([[1.0, 1.0], [2.0, 3.0], [2.0, 3.0], [9.0, np.nan]])
    assert chosen_index(scores, "best") == 1
    with pytest.raises(ValueError, match="nan"):
        chosen_index(np.full((2, 2), np.nan), "best")
    assert chosen_index(np.array([[0.1], [0.3]]), "1se") == 1


def test_a_fold_ends_once_it_has_passed_its_best():
    grid = np.geomspace(1, 1e-3, 10)  # three a decade
    rising, level = [0.0, 0.5, 0.9], [0.895, 0.895, 0.895]
    assert not has_passed_its_best([*rising, 0.8], grid)
    assert has_passed_its_best([*rising, 0.8, 0.8], grid)
    assert not has_passed_its_best([*rising, *level], grid)
    assert has_passed_its_best([*rising, *level, 0.895], grid)
    assert not has_passed_its_best([0.0, -0.1, -0.2, -0.3, -0.3, -0.3], grid)
    X, y = load_diabetes(return_X_y=True)
    model = ConvexReLURegressorCV(random_state=0, tol=1e-2).fit(scale(X), y)
    assert np.isnan(model.cv_scores_[-1]).any()
    assert not np.isnan(model.cv_scores_[model.best_index_]).any()


def test_weights_are_those_of_training_and_scores():
    X, y = bumps(60)
    weights = np.random.default_rng(1).integers(0, 3, 60)
    folds = list(KFold(3).split(X))
    rows = np.repeat(np.arange(60), weights)
    repeated = [
        (np.flatnonzero(np.isin(rows, a)), np.flatnonzero(np.isin(rows, b)))
        for a, b in folds
    ]
    for scoring in (None, "neg_mean_squared_error"):
        weighted = ConvexReLURegressorCV(cv=folds, scoring=scoring, **SHORT)
        plain = ConvexReLURegressorCV(cv=repeated, scoring=scoring, **SHORT)
        weighted.fit(X, y, sample_weight=weights)
        plain.fit(X[rows], y[rows])
        assert_allclose(weighted.cv_scores_, plain.cv_scores_, rtol=1e-10)
        assert weighted.objective_ == plain.objective_
    maximum = ConvexReLURegressorCV(cv=folds, scoring="neg_max_error", **SHORT)
    assert np.isfinite(maximum.fit(X, y, sample_weight=weights).cv_scores_).all()


def test_metadata_reach_splitter_and_scorer():
    X, y = bumps(60)
    groups, weights = np.repeat(np.arange(6), 10), np.r_[np.ones(30), 2 * np.ones(30)]
    with config_context(enable_metadata_routing=True):
        scorer = make_scorer(mean_squared_error, greater_is_better=False)
        model = ConvexReLURegressorCV(
            cv=GroupKFold(3), scoring=scorer.set_score_request(sample_weight=True)
        ).set_params(**SHORT)
        model.fit(X, y, sample_weight=weights, groups=groups)
    folds = list(GroupKFold(3).split(X, y, groups))
    same = ConvexReLURegressorCV(
        cv=folds, scoring="neg_mean_squared_error", **SHORT
    ).fit(X, y, sample_weight=weights)
    assert_array_equal(model.cv_scores_, same.cv_scores_)


@pytest.mark.parametrize("y", [np.ones(40), np.zeros(40)])
def test_constant_targets(y):
    X = np.random.default_rng(0).standard_normal((40, 2))
    model = ConvexReLURegressorCV(cv=2, random_state=0).fit(X, y)
    assert model.n_neurons_ == 0 and model.alpha_ == 0.0
    assert_allclose(model.predict(X), y)


def test_losses_targets_and_pipelines():
    X, y = bumps()
    counts = np.exp(y).round()
    for loss, target in [("huber", y), ("poisson", counts)]:
        model = ConvexReLURegressorCV(loss=loss, cv=2, tol=1e-2, **SHORT)
        assert model.fit(X, target).dual_gap_ <= model.tolerance_
    both = ConvexReLURegressorCV(cv=2, tol=1e-2, **SHORT).fit(X, np.c_[y, -y])
    assert both.predict(X).shape == (80, 2)
    labels = np.c_[y > 0.5, X[:, 0] > 0].astype(int)
    several = ConvexReLUClassifierCV(cv=2, tol=1e-2, **SHORT).fit(X, labels)
    assert several.predict_proba(X).shape == (80, 2)
    X, y = load_breast_cancer(return_X_y=True)
    model = make_pipeline(
        StandardScaler(),
        ConvexReLUClassifierCV(
            n_alphas=8, eps=3e-3, cv=3, class_weight="balanced", random_state=0
        ),
    )
    assert cross_val_score(model, X, y, cv=3).mean() > 0.95


def test_chosen_alpha_is_good():
    X, y = make_friedman1(300, noise=1.0, random_state=0)
    X, Z, y, z = X[:200], X[200:], y[:200], y[200:]
    mean, deviation = X.mean(axis=0), X.std(axis=0)
    X, Z = (X - mean) / deviation, (Z - mean) / deviation
    model = ConvexReLURegressorCV(random_state=0, tol=1e-2).fit(X, y)
    grid = model.alphas_ / model.alpha_max_
    assert_allclose(grid, np.geomspace(1, 1e-4, 30))
    best = max(
        ConvexReLURegressor(alpha, tol=1e-2, random_state=0).fit(X, y).score(Z, z)
        for alpha in (0.3, 0.1, 0.03, 0.01, 0.003)
    )
    assert model.score(Z, z) > best - 0.02


def test_absolute_alphas():
    X, y = bumps()
    relative = ConvexReLURegressorCV(cv=2, **SHORT).fit(X, y)
    absolute = ConvexReLURegressorCV(cv=2, relative_alpha=False, **SHORT).fit(X, y)
    assert_allclose(absolute.alphas_, relative.alphas_)
    assert not np.array_equal(absolute.cv_scores_, relative.cv_scores_)
    given = ConvexReLURegressorCV(
        absolute.alphas_, cv=2, relative_alpha=False, random_state=0
    ).fit(X, y)
    assert_array_equal(given.cv_scores_, absolute.cv_scores_)


def test_cv_pickles_clones_and_prints(capsys):
    X, y = bumps()
    model = ConvexReLURegressorCV(cv=2, verbose=1, **SHORT).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("alpha ") for line in lines) == 10
    loaded = pickle.loads(pickle.dumps(model))
    assert_array_equal(loaded.predict(X), model.predict(X))
    assert clone(model).get_params() == model.get_params()
    assert "alpha" not in model.get_params()


def test_folds_that_do_not_converge_are_told_of_once():
    X, y = bumps()
    model = ConvexReLURegressorCV(cv=2, path_tol=1e-6, max_iter=1, **SHORT)
    with pytest.warns(ConvergenceWarning) as caught:
        model.fit(X, y)
    texts = [str(warning.message) for warning in caught]
    assert sum("points of the folds" in text for text in texts) == 1
    assert len(texts) <= 2 and {warning.filename for warning in caught} == {__file__}


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("selection", "worst"),
        ("path_tol", 0.0),
        ("scoring", "r3"),
        ("cv", "five"),
        ("n_alphas", 2.5),
        ("eps", 0.0),
    ],
)
def test_wrong_cv_parameters_are_named(parameter, value):
    with pytest.raises(ValueError, match=parameter):
        ConvexReLURegressorCV(**{parameter: value}).fit(*bumps())


def test_folds_that_settle_do_not_decide_for_the_others():
    X, y = bumps(100)
    y[:20] = 0.0
    folds = [
        (np.arange(20), np.arange(20, 60)),
        (np.arange(20, 60), np.arange(60, 100)),
    ]
    model = ConvexReLURegressorCV(cv=folds, n_alphas=8, eps=1e-3, random_state=0)
    scores = model.fit(X, y).cv_scores_
    assert (scores[:, 0] == scores[0, 0]).all()
    assert model.best_index_ == np.nanargmax(scores[:, 1]) > 0


def test_small_test_folds_do_not_end_paths():
    X, y = bumps(30)
    model = ConvexReLURegressorCV(
        cv=10, n_alphas=6, eps=1e-3, scoring="neg_mean_squared_error", random_state=0
    )
    assert np.isfinite(model.fit(X, y).cv_scores_).all()


def test_metadata_routing_without_a_scorer():
    X, y = bumps(60)
    with config_context(enable_metadata_routing=True):
        groups = np.repeat(np.arange(6), 10)
        model = ConvexReLURegressorCV(cv=GroupKFold(3), **SHORT)
        model.fit(X, y, groups=groups)
        ConvexReLURegressorCV().get_metadata_routing()
    same = ConvexReLURegressorCV(cv=list(GroupKFold(3).split(X, y, groups)), **SHORT)
    assert_array_equal(model.cv_scores_, same.fit(X, y).cv_scores_)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cv": []}, "no folds"),
        ({"scoring": lambda model, X, y: {"a": 1.0}}, "must return a number"),
    ],
)
def test_folds_and_scores_that_are_none(options, message):
    with pytest.raises(ValueError, match=message):
        ConvexReLURegressorCV(**options).fit(*bumps())


def test_columns_and_single_weights():
    X, y = bumps()
    plain = ConvexReLURegressorCV(cv=2, **SHORT).fit(X, y)
    again = clone(plain).fit(X, y, sample_weight=2.0)
    assert_allclose(plain.cv_scores_, again.cv_scores_)
    with pytest.warns(DataConversionWarning) as caught:
        column = clone(plain).fit(X, y[:, None])
    assert len(caught) == 1
    assert_array_equal(plain.cv_scores_, column.cv_scores_)
