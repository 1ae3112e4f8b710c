"""Displays hold the estimators' own figures, and draw them without a screen."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.model_selection import KFold

from sklearn_convexrelu import (
    ConvergenceDisplay,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    FeatureImportancesDisplay,
    RegularizationPathDisplay,
    convex_relu_path,
)

matplotlib = pytest.importorskip("matplotlib")
pyplot = pytest.importorskip("matplotlib.pyplot")
SHORT = {"n_alphas": 5, "eps": 0.03, "random_state": 0}


@pytest.fixture(autouse=True)
def headless():
    matplotlib.use("agg")
    yield
    pyplot.close("all")


def bumps():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3))
    return X, np.abs(X[:, 0]) + np.sin(2 * X[:, 1])


def drawn(axes, number=0):
    return axes.lines[number].get_ydata()


def test_path_of_an_estimator():
    X, y = bumps()
    model = ConvexReLURegressorCV(cv=3, tol=1e-2, **SHORT).fit(X, y)
    display = RegularizationPathDisplay.from_estimator(model)
    by_hand = RegularizationPathDisplay(
        alphas=model.alphas_,
        n_neurons=model.cv_n_neurons_,
        dual_gaps=model.cv_dual_gaps_,
        scores=model.cv_scores_,
        score_name="R2",
        alpha=model.alpha_,
        alpha_max=model.alpha_max_,
    ).plot()
    for one, other in zip(display.axes_, by_hand.axes_, strict=True):
        assert_array_equal(drawn(one), drawn(other))
        assert one.get_title() == other.get_title()
    score, neurons, gap = display.axes_
    assert_array_equal(drawn(score), model.cv_scores_.mean(axis=1))
    assert_array_equal(drawn(neurons), model.cv_n_neurons_.mean(axis=1))
    assert score.get_title() == "Held-out R2" and score.get_xscale() == "log"
    fraction = model.alpha_ / model.alpha_max_
    assert_array_equal(score.lines[1].get_xdata(), [fraction] * 2)
    assert_array_equal(score.lines[0].get_xdata(), model.alphas_ / model.alpha_max_)
    assert score.get_xlabel() == "alpha / alpha_max"
    assert_array_equal(drawn(gap, 1), [0, 1])  # the chosen one: no gap is asked for
    display.figure_.canvas.draw()


def test_folds_without_a_score_are_not_drawn():
    X, y = bumps()
    weights = np.ones(len(y))
    weights[: len(y) // 3] = 0.0
    model = ConvexReLURegressorCV(
        alphas=[0.3, 0.1], cv=KFold(3), tol=1e-2, random_state=0
    )
    with pytest.warns(UserWarning, match="1 of 3 folds do not count"):
        model.fit(X, y, weights)
    assert np.isnan(model.cv_scores_).all(axis=0).tolist() == [True, False, False]
    results = model.cv_results_
    score, neurons, gap = RegularizationPathDisplay.from_estimator(model).axes_
    assert_array_equal(drawn(score), results["mean_test_score"])
    assert_array_equal(drawn(neurons), results["mean_n_neurons"])
    assert set(drawn(gap)) <= set(results["mean_dual_gap"]) and len(drawn(gap))


def test_names_of_scores():
    X, y = bumps()
    for scoring, name in [(None, "accuracy"), ("neg_log_loss", "neg_log_loss")]:
        model = ConvexReLUClassifierCV(cv=2, scoring=scoring, tol=1e-2, **SHORT)
        display = RegularizationPathDisplay.from_estimator(model.fit(X, y > 1))
        assert display.score_name == name


def test_path():
    X, y = bumps()
    path = convex_relu_path(X, y, tol=1e-2, **SHORT)
    display = RegularizationPathDisplay.from_path(path)
    assert_array_equal(drawn(display.axes_[0]), path.objectives)
    assert_array_equal(drawn(display.axes_[1]), path.n_neurons)
    axes = matplotlib.figure.Figure().subplots()
    assert display.plot(ax=axes).axes_ == [axes]


def test_convergence():
    X, y = bumps()
    model = ConvexReLURegressor(0.01, random_state=0).fit(X, y)
    display = ConvergenceDisplay.from_estimator(model)
    values, gap = display.axes_
    objectives = np.array([record["objective"] for record in model.history_])
    gaps = np.array([record["dual_gap"] for record in model.history_])
    assert_array_equal(drawn(values), objectives)
    assert_array_equal(drawn(values, 1), objectives - gaps)
    assert_array_equal(drawn(gap), gaps[gaps > 0])
    assert drawn(gap, 1)[0] == model.tolerance_
    assert_array_equal(
        values.lines[0].get_xdata(), [record["time"] for record in model.history_]
    )
    rounds = ConvergenceDisplay.from_estimator(model, x="iteration")
    assert_array_equal(rounds.axes_[0].lines[0].get_xdata(), np.arange(len(gaps)))
    display.figure_.canvas.draw()


def test_importances_of_a_path_and_of_an_estimator():
    X, y = bumps()
    path = convex_relu_path(X, y, tol=1e-2, norm="l1", **SHORT)
    display = FeatureImportancesDisplay.from_path(path, n_named=2)
    shares = np.array([network.input_weights()[:3] for network in path.networks])
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-300)
    np.testing.assert_allclose(path.feature_importances, shares)
    order = np.argsort(-shares.max(axis=0))
    lines = [line.get_ydata() for line in display.axes_[0].lines]
    np.testing.assert_allclose(lines, shares.T[[order[2], order[0], order[1]]])
    first = [max(path.alphas[column > 0], default=np.nan) for column in shares.T]
    assert_array_equal(display.entered, first)
    model = ConvexReLURegressor(0.1, norm="l1", random_state=0).fit(X, y)
    bars = FeatureImportancesDisplay.from_estimator(model)
    widths = [bar.get_width() for bar in bars.axes_[0].patches]
    np.testing.assert_allclose(widths, np.sort(model.feature_importances_))
    labels = [label.get_text() for label in bars.axes_[0].get_yticklabels()]
    assert labels[-1] == f"x{np.argmax(model.feature_importances_)}"
    with pytest.raises(ValueError, match="path"):
        _ = bars.entered
    display.figure_.canvas.draw()


def test_a_constant_can_be_drawn():
    model = ConvexReLURegressor().fit(np.arange(4.0)[:, None], np.ones(4))
    ConvergenceDisplay.from_estimator(model).figure_.canvas.draw()
    path = convex_relu_path(np.arange(4.0)[:, None], np.ones(4))
    RegularizationPathDisplay.from_path(path).figure_.canvas.draw()
    FeatureImportancesDisplay.from_path(path).figure_.canvas.draw()


def test_displays_refuse_what_they_cannot_draw():
    X, y = bumps()
    model = ConvexReLURegressor(0.3, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="from_path"):
        RegularizationPathDisplay.from_estimator(model)
    with pytest.raises(ValueError, match="iteration"):
        ConvergenceDisplay.from_estimator(model, x="epoch")
    with pytest.raises(ValueError, match="2 of them"):
        ConvergenceDisplay.from_estimator(model, ax=pyplot.subplots(1, 3)[1])
