"""Data with little noise: how far folds and the last fit go, and how far paths."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import make_friedman2
from sklearn.metrics import log_loss
from sklearn.preprocessing import scale

import sklearn_convexrelu._cv as cv
from sklearn_convexrelu import (
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
)
from sklearn_convexrelu._folds import FoldPath
from sklearn_convexrelu._path import continued
from sklearn_convexrelu.model.gain import Gain


def clean(n_samples, seed=0):
    """Rows and a target without noise, in units of order one."""
    X, y = make_friedman2(n_samples, random_state=seed)
    return scale(X), scale(y)


def noisy(n_samples=150, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, 3))
    return X, np.abs(X[:, 0]) + 0.5 * rng.standard_normal(n_samples)


def test_gains_count_for_the_loss_that_is_larger():
    folds = Gain(0.01)
    assert folds.worth(0.5, 2.0) == 0.01 * 0.5
    folds.held_out = 0.3
    assert folds.worth(0.5, 2.0) == 0.01 * 0.3 * 2.0
    assert folds.gap(1e-9, 0.5, 2.0) == folds.worth(0.5, 2.0)
    assert Gain(0.01, held_out=9.0).worth(0.5, 2.0) == 0.01 * 2.0
    assert folds.gap(1e-9, 0.0, 2.0) == 0.01 * 0.3 * 2.0
    last = Gain(0.01, is_all=False)
    assert last.worth(0.5, 2.0) == np.inf and last.gap(0.1, 0.5, 2.0) == 0.1
    last.held_out = 0.3
    assert last.gap(0.1, 0.0, 2.0) == 0.01 * 0.3 * 2.0
    assert last.gap(1e-4, 0.0, 2.0) == 1e-4
    assert Gain(0.01).gap(0.1, 0.0, 2.0) == 1e-8 * 2.0  # more would be rounding


def test_grids_go_on_in_their_ratio():
    grid = np.geomspace(1.0, 1e-4, 30)
    longer = continued(grid)
    assert_array_equal(longer[:30], grid)
    assert_allclose(longer[1:] / longer[:-1], grid[1] / grid[0])
    least = np.sqrt(np.finfo(float).eps)
    assert longer[-1] >= least > longer[-1] * grid[1]
    assert_array_equal(continued(grid[:1]), grid[:1])


@pytest.mark.parametrize(
    ("scores", "held_out", "rises"),
    [
        ([0.1, 0.2], [0.5, 0.4], True),
        ([0.1, 0.2], [0.5, 0.499], False),  # by less than a part of a hundredth
        ([0.2, 0.2], [0.5, 0.4], False),
        ([0.1, 0.3, 0.2], [0.5, 0.4, 0.3], False),
        ([0.1, 0.2], [0.0, 0.0], True),  # not known
        ([0.1], [0.5], False),
        ([0.1, np.nan], [0.5, 0.4], False),
    ],
)
def test_what_rises(scores, held_out, rises):
    assert FoldPath(scores=scores, held_out=held_out).still_rises(0.01) is rises


def test_default_paths_of_clean_data_go_on_and_score_better():
    X, y = clean(540)
    X, X_test, y, y_test = X[:360], X[360:], y[:360], y[360:]
    options = {"n_alphas": 12, "cv": 3, "random_state": 0}
    model = ConvexReLURegressorCV(**options).fit(X, y)
    assert 12 <= model.best_index_ < len(model.alphas_)
    ratios = model.alphas_[1:] / model.alphas_[:-1]
    assert_allclose(ratios, 1e-4 ** (1 / 11))
    n = len(model.alphas_)
    assert model.cv_scores_.shape == model.cv_dual_gaps_.shape == (n, 3)
    assert len(model.cv_results_["mean_test_score"]) == n
    assert_allclose(model.cv_results_["param_alpha"] * model.alpha_max_, model.alphas_)
    short = ConvexReLURegressorCV(eps=1e-4, **options).fit(X, y)
    assert len(short.alphas_) == 12
    # Folds are the same where both went: the grid is longer, not another one.
    assert_array_equal(short.cv_scores_, model.cv_scores_[:12])
    errors = [np.mean((m.predict(X_test) - y_test) ** 2) for m in (model, short)]
    assert errors[0] < 0.9 * errors[1]


@pytest.mark.parametrize("options", [{"eps": 0.01}, {"alphas": [0.1, 0.01]}])
def test_grids_that_are_given_are_kept_to(options):
    X, y = clean(120)
    model = ConvexReLURegressorCV(cv=2, n_alphas=4, random_state=0, **options)
    model.fit(X, y)
    asked = options.get("alphas", np.geomspace(1.0, 0.01, 4))
    assert_allclose(model.alphas_ / model.alpha_max_, asked)
    assert model.best_index_ == len(asked) - 1  # scores rise still


def test_paths_of_noisy_data_end_at_or_before_the_grid():
    X, y = noisy()
    model = ConvexReLURegressorCV(cv=3, random_state=0).fit(X, y)
    assert len(model.alphas_) == 30
    assert np.isnan(model.cv_scores_[-1]).any()


def test_clean_networks_are_as_good_as_their_scores():
    """The tolerance for the constant's loss alone would be met many times over."""
    X, y = clean(150)
    options = {"alphas": [3e-3, 1e-3, 3e-4], "cv": 3, "random_state": 0}
    model = ConvexReLURegressorCV(**options).fit(X, y)
    alpha = model.alpha_ / model.alpha_max_
    exact = ConvexReLURegressor(alpha, tol=1e-4, random_state=0).fit(X, y)
    assert_allclose(alpha, 3e-4)
    held_out = (1 - model.cv_scores_[model.best_index_].mean()) * np.var(y) / 2
    lacks = model.objective_ - exact.lower_bound_
    # Ten times what a round may gain, and a fraction of the tolerance.
    assert lacks < 10 * model.path_tol * held_out < 0.3 * model.tolerance_
    coarse = ConvexReLURegressor(alpha, random_state=0).fit(X, y)
    assert coarse.objective_ - exact.lower_bound_ > lacks
    assert model.dual_gap_ <= model.tolerance_
    own = np.mean((model.predict(X) - y) ** 2) / 2
    own += model.alpha_ * model.network_.penalty()
    assert_allclose(model.objective_, own, rtol=1e-6)


def test_networks_of_folds_are_close_to_the_optimum():
    X, y = clean(240)
    folds = [(np.arange(160), np.arange(160, 240))]
    alphas = [1e-2, 3e-3, 1e-3]
    seen = []

    def scorer(model, X_test, y_test):
        seen.append((model.objective_, model.network_))
        return model.score(X_test, y_test)

    model = ConvexReLURegressorCV(alphas, cv=folds, scoring=scorer, random_state=0)
    model.fit(X, y)
    for alpha, (objective, network) in zip(alphas, seen[:3], strict=True):
        exact = ConvexReLURegressor(alpha, tol=1e-4, random_state=0)
        exact.fit(X[:160], y[:160])
        errors = network.forward(X)[:, 0] - y
        recomputed = np.mean(errors[:160] ** 2) / 2
        recomputed += exact.alpha_ * network.penalty()
        assert_allclose(objective, recomputed, rtol=1e-6)
        worth = model.path_tol * np.mean(errors[160:] ** 2) / 2
        assert objective - exact.objective_ < 10 * worth
    gaps = model.cv_dual_gaps_[:, 0]
    assert (gaps > 0.0).all()


def test_the_tolerance_of_folds_is_that_of_their_scores():
    X, y = clean(240)
    fine = {"alphas": [1e-2, 1e-3], "cv": 3, "random_state": 0}
    scores = [
        ConvexReLURegressorCV(path_tol=path_tol, **fine).fit(X, y).cv_scores_[-1]
        for path_tol in (1e-2, 1e-4)
    ]
    errors = 1.0 - np.array(scores)
    assert_allclose(errors[0], errors[1], rtol=0.25)
    assert not np.array_equal(*scores)


@pytest.mark.parametrize("class_weight", [None, {0: 1.0, 1: 3.0}])
def test_losses_on_test_rows_by_hand(class_weight):
    X, y = noisy(90)
    labels, weights = (y > 0.8).astype(int), np.linspace(0.5, 2.0, 90)
    fold = np.arange(60), np.arange(60, 90)
    paths = kept_paths(
        ConvexReLUClassifierCV(
            [0.1, 0.03],
            cv=[fold],
            scoring="neg_log_loss",
            class_weight=class_weight,
            random_state=0,
        ),
        X,
        labels,
        sample_weight=weights,
    )
    factors = weights * np.where(labels == 1, 3.0 if class_weight else 1.0, 1.0)
    network, test, train = paths[0].kept[1], fold[1], fold[0]
    logits = network.forward(X[test])[:, 0]
    loss = log_loss(
        labels[test], 1 / (1 + np.exp(-logits)), sample_weight=factors[test]
    )
    share = np.average(labels[train], weights=factors[train])
    constant = log_loss(labels[train], np.full(60, share), sample_weight=factors[train])
    assert_allclose(paths[0].held_out[paths[0].kept[0]], loss / constant, rtol=1e-5)


def kept_paths(model, X, y, **params):
    """Fit, and return the paths of its folds."""
    seen, own = [], cv._CrossValidated._start_near

    def spy(self, paths, best, data):
        seen[:] = paths
        return own(self, paths, best, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cv._CrossValidated, "_start_near", spy)
        model.fit(X, y, **params)
    return seen


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"standardize": True},
        {"norm": "l1"},
        {"skip_connection": "free"},
        {"subnetwork_widths": (2,)},
        {"loss": "absolute_error"},
        {"monotonic_cst": [1, 0, 0]},
        {"rank": 2},
    ],
)
@pytest.mark.filterwarnings("ignore:monotonic_cst with two layers:UserWarning")
def test_the_last_fit_starts_where_a_fold_was(options, monkeypatch, brief):
    X, y = noisy(90)
    X = X * [1.0, 10.0, 0.1]
    starts, train = [], cv._CrossValidated._start_near

    def spy(self, paths, best, data):
        starts.append((train(self, paths, best, data), paths, best, data))
        return starts[-1][0]

    monkeypatch.setattr(cv._CrossValidated, "_start_near", spy)
    model = ConvexReLURegressorCV(
        [0.3, 0.1, 0.03], cv=3, tol=1e-2, random_state=0, **options
    )
    model.fit(X, y)
    start, paths, best, data = starts[0]
    nearest = min(abs(path.kept[0] - best) for path in paths)
    known = [p.kept[1] for p in paths if abs(p.kept[0] - best) == nearest]
    scales = 1.0 if data.scales is None else data.scales
    assert_allclose(start.forward(X / scales), known[0].forward(X), atol=1e-4)
    assert model.dual_gap_ <= model.tolerance_
    again = clone(model).fit(X, y)
    assert_array_equal(again.predict(X), model.predict(X))


def test_patterns_that_are_given_have_the_gap_of_the_gains():
    X, y = clean(90)
    options = {"patterns": "random", "n_patterns": 40, "random_state": 0}
    alphas, seen = [1e-1, 1e-2, 1e-3], []

    def scorer(model, X_test, y_test):
        seen.append((model.dual_gap_, model.network_.forward(X_test)[:, 0], y_test))
        return model.score(X_test, y_test)

    model = ConvexReLURegressorCV(alphas, cv=3, scoring=scorer, **options).fit(X, y)
    worths = [np.mean((F - y_test) ** 2) / 2 for _, F, y_test in seen]
    for k, (gap, _, _) in enumerate(seen):
        if k % 3:  # those that have one before them, at a larger strength
            assert gap <= 1.01 * model.path_tol * max(worths[k - 1], 1e-3)
    assert starts_from_nothing(model)


def starts_from_nothing(model):
    return model._start_near([FoldPath(kept=(0, model.network_))], 0, None) is None


def test_nothing_depends_on_where_longer_paths_run():
    X, y = clean(150)
    model = ConvexReLURegressorCV(n_alphas=8, cv=3, random_state=0)
    alone = clone(model).fit(X, y)
    together = clone(model).set_params(n_jobs=2).fit(X, y)
    assert len(alone.alphas_) > 8
    assert_array_equal(alone.alphas_, together.alphas_)
    assert_array_equal(alone.cv_scores_, together.cv_scores_)
    assert_array_equal(alone.coefs_[0], together.coefs_[0])
