"""What users meet beside the numbers: warnings, messages, tables, what is shown."""

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import bumps
from sklearn import config_context
from sklearn.base import clone
from sklearn.ensemble import VotingClassifier
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sklearn_convexrelu
from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    RegularizationPath,
    convex_relu_path,
)
from sklearn_convexrelu.model.losses import CLASSIFICATION_LOSSES

LOOSE = {"tol": 1e-2, "random_state": 0}
SHORT = {"n_alphas": 3, "eps": 0.1, "random_state": 0}
GATED = {"activation": "gated_relu", "patterns": "random", "n_patterns": 10}
X, Y = bumps(60, 3)
WORDS = np.array(["low", "mid", "high"])[np.digitize(Y, [0.5, 1.2])]
CONSTANT = "is alpha_max_ or more, where the best network is the constant"


@pytest.mark.parametrize("alpha", [1, 1.0, 10.0, 1e300])
@pytest.mark.parametrize(
    "options",
    [
        {},
        GATED,
        {"patterns": "random", "n_patterns": 10},
        {"rank": 1},
        {"subnetwork_widths": (2,)},
        {"hidden_bias": False, "fit_intercept": False},
    ],
    ids=str,
)
def test_an_alpha_that_leaves_a_constant_is_told(options, alpha, brief):
    model = ConvexReLURegressor(alpha, **options, **LOOSE)
    with pytest.warns(UserWarning, match=CONSTANT) as caught:
        model.fit(X, Y)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert f"alpha={alpha:g} " in str(caught[0].message)
    assert np.ptp(model.predict(X)) == 0.0
    with pytest.warns(UserWarning, match=CONSTANT):
        ConvexReLUClassifier(alpha, **options, **LOOSE).fit(X, WORDS == "mid")


def test_an_absolute_alpha_is_told_beside_the_largest():
    alpha_max = ConvexReLURegressor(0.5, **LOOSE).fit(X, Y).alpha_max_
    model = ConvexReLURegressor(2 * alpha_max, relative_alpha=False, **LOOSE)
    with pytest.warns(UserWarning, match=f"alpha_max_={alpha_max:.4g} or more"):
        model.fit(X, Y)
    model.set_params(alpha=0.9 * alpha_max).fit(X, Y)
    assert model.n_neurons_ > 0


def test_the_constant_is_no_news_where_it_was_asked_for():
    # Warnings are errors: paths and folds start at alpha_max_, and constant targets or
    # features leave nothing else at any alpha.
    convex_relu_path(X, Y, alphas=[1.0, 0.5], **LOOSE)
    ConvexReLURegressorCV(alphas=[1.0], cv=2, random_state=0).fit(X, Y)
    ConvexReLURegressor(1.0).fit(X, np.ones(60))
    ConvexReLURegressor(1.0).fit(np.ones((60, 2)), Y)


def test_a_warning_of_the_constant_as_an_error_changes_nothing():
    model = ConvexReLURegressor(0.1, **LOOSE).fit(X, Y)
    before = vars(model).copy()
    model.set_params(alpha=2.0)
    with pytest.raises(UserWarning, match=CONSTANT):
        model.fit(X, Y)  # pytest makes warnings errors
    assert vars(model) == before | {"alpha": 2.0}


@pytest.mark.parametrize("kind", [ConvexReLURegressorCV, ConvexReLUClassifierCV])
@pytest.mark.parametrize("cv", [GroupKFold(3), LeaveOneGroupOut()], ids=str)
def test_groups_reach_the_splitter(kind, cv):
    groups = np.arange(60) % 4
    y = Y if kind is ConvexReLURegressorCV else WORDS
    model = kind(cv=cv, **SHORT).fit(X, y, groups=groups)
    given = kind(cv=list(cv.split(X, y, groups)), **SHORT).fit(X, y)
    assert_array_equal(model.cv_scores_, given.cv_scores_)
    assert model.objective_ == given.objective_
    # Rows without weight go after the splitter has seen the groups of all.
    weights = np.r_[np.zeros(10), np.ones(50)]
    model.fit(X, y, sample_weight=weights, groups=list(groups))
    given.fit(X, y, sample_weight=weights)
    assert_array_equal(model.cv_scores_, given.cv_scores_)


@pytest.mark.parametrize("cv", [None, 3, [(np.arange(40), np.arange(40, 60))]])
def test_groups_that_no_splitter_takes_are_refused(cv):
    with pytest.raises(ValueError, match=r"groups are for a splitter that knows them"):
        ConvexReLURegressorCV(cv=cv).fit(X, Y, groups=np.arange(60))


def test_groups_and_other_metadata_that_do_not_fit():
    model = ConvexReLURegressorCV(cv=GroupKFold(3), **SHORT)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X, Y, groups=np.arange(59) % 3)
    with pytest.raises(ValueError, match="'groups' parameter should not be None"):
        model.fit(X, Y)
    with pytest.raises(ValueError, match="enable_metadata_routing=True"):
        model.fit(X, Y, groups=np.arange(60) % 3, towns=np.arange(60))
    assert not hasattr(model, "n_features_in_")


def test_results_of_cross_validation_are_those_of_a_grid_search():
    alphas = [0.5, 0.2, 0.1]
    options = {"tol": 1e-4, "random_state": 0}
    search = GridSearchCV(
        ConvexReLURegressor(**options), {"alpha": alphas}, cv=KFold(3), scoring="r2"
    ).fit(X, Y)
    model = ConvexReLURegressorCV(alphas, cv=KFold(3), path_tol=1e-4, **options)
    ours, theirs = model.fit(X, Y).cv_results_, search.cv_results_
    assert ours["params"] == theirs["params"]
    assert_array_equal(ours["param_alpha"], theirs["param_alpha"].astype(float))
    for name, values in theirs.items():
        if name.endswith("test_score"):
            assert_allclose(ours[name], values, atol=5e-3)
            assert ours[name].dtype == values.dtype
    assert_array_equal(ours["rank_test_score"], theirs["rank_test_score"])
    assert ours["rank_test_score"][model.best_index_] == 1
    # Networks near alpha_max_ are small; those with a good score have more neurons.
    assert ours["mean_n_neurons"][0] < ours["mean_n_neurons"][-1]
    assert (ours["mean_dual_gap"] >= 0.0).all()


@pytest.mark.parametrize("relative", [True, False])
def test_parameters_of_the_results_train_the_same(relative):
    alphas = [0.3, 0.1] if relative else [0.05, 0.02]
    model = ConvexReLURegressorCV(
        alphas, cv=2, relative_alpha=relative, random_state=0
    ).fit(X, Y)
    params = model.cv_results_["params"][model.best_index_]
    plain = ConvexReLURegressor(**params, relative_alpha=relative, random_state=0)
    assert_allclose(plain.fit(X, Y).alpha_, model.alpha_, rtol=1e-12)


def test_results_are_a_table_with_ended_paths_and_folds_that_do_not_count():
    pandas = pytest.importorskip("pandas")
    X, y = bumps(90, 3)
    y = y + np.random.default_rng(1).standard_normal(90)  # paths pass their best
    weights = np.r_[np.zeros(30), np.ones(60)]  # the first fold has no test row
    model = ConvexReLURegressorCV(cv=KFold(3), n_alphas=30, eps=1e-4, random_state=0)
    with pytest.warns(UserWarning, match="1 of 3 folds"):
        model.fit(X, y, sample_weight=weights)
    frame = pandas.DataFrame(model.cv_results_)
    assert len(frame) == 30 and frame["split0_test_score"].isna().all()
    counted = model.cv_scores_[:, 1:]
    assert_array_equal(frame["mean_test_score"], counted.mean(axis=1))
    assert_array_equal(frame["std_test_score"], counted.std(axis=1))
    ended = frame["mean_test_score"].isna()
    assert ended.any() and not ended.all()
    assert (frame["rank_test_score"][ended] == (~ended).sum() + 1).all()
    assert frame["rank_test_score"].idxmin() == model.best_index_


@pytest.mark.parametrize(
    "model",
    [ConvexReLURegressor(0.1, **LOOSE), ConvexReLURegressorCV(cv=2, **SHORT)],
    ids=lambda model: type(model).__name__,
)
def test_what_notebooks_show_has_no_history(model):
    shown = clone(model).fit(X, Y)._repr_html_()
    assert "history_" not in shown and "np.float64(" not in shown
    if "Fitted attributes" in shown:  # scikit-learn 1.9
        assert ">dual_gap_<" in shown
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", shown)
    assert max(map(len, cells), default=0) < 2000
    assert "history_" not in make_pipeline(StandardScaler(), model)._repr_html_()


@pytest.mark.parametrize("loss", sorted(set(CLASSIFICATION_LOSSES) - {"log_loss"}))
def test_soft_voting_names_the_loss_without_probabilities(loss):
    net = ConvexReLUClassifier(0.1, loss=loss, **LOOSE)
    votes = VotingClassifier([("net", net)], voting="soft").fit(X, WORDS)
    for name in ("predict", "predict_proba"):
        with pytest.raises(AttributeError) as caught:
            getattr(votes, name)(X)
        assert "has no attribute 'predict_proba'" in str(caught.value)
        assert f"loss={loss!r}; use loss='log_loss'" in str(caught.value)
    assert not hasattr(net, "predict_proba")
    with pytest.raises(AttributeError, match=r"no attribute 'nonsense'$"):
        net.nonsense  # noqa: B018


def test_weights_are_requested_by_the_word_of_the_guide():
    weights = np.random.default_rng(0).integers(0, 3, 60)
    with config_context(enable_metadata_routing=True):
        net = ConvexReLURegressor(0.1, **LOOSE)
        net.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        routed = cross_validate(
            net, X, Y, cv=KFold(2), params={"sample_weight": weights}
        )
    train, test = next(KFold(2).split(X))
    net = ConvexReLURegressor(0.1, **LOOSE).fit(X[train], Y[train], weights[train])
    score = net.score(X[test], Y[test], weights[test])
    assert_allclose(routed["test_score"][0], score, rtol=1e-12)


def test_what_a_path_returns_is_public():
    path = convex_relu_path(X, Y, alphas=[0.5, 0.1], **LOOSE)
    assert isinstance(path, RegularizationPath)
    assert (Path(sklearn_convexrelu.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize("kind", [ConvexReLURegressor, ConvexReLURegressorCV])
def test_columns_of_words_are_named_with_what_to_do(kind):
    table = {"size": X[:, 0], "town": ["a", "b", "c"] * 20, "more": X[:, 1]}
    frame = pytest.importorskip("pandas").DataFrame(table)
    with pytest.raises(ValueError, match=r"words \(columns town\).*OneHotEncoder"):
        kind().fit(frame, Y)
    with pytest.raises(ValueError, match="could not convert.*encode words first"):
        kind().fit(frame.to_numpy(dtype=object), Y)


def test_shapes_are_told_in_words():
    model = ConvexReLURegressor(0.1, warm_start=True, **LOOSE).fit(X, Y)
    with pytest.raises(ValueError, match=r"is now .*sub-networks of widths \(2,\)\)"):
        model.set_params(subnetwork_widths=(2,)).fit(X, Y)
