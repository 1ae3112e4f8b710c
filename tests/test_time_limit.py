"""Time limits, by a clock that goes on by one second each time it is asked."""

import itertools
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import bumps
from reference import network_objective
from sklearn.exceptions import ConvergenceWarning

from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    _deadline,
    convex_relu_path,
)

FOREVER = 1e9


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Seconds are counts of passes over the rows, and of steps."""
    ticks = itertools.count()
    monkeypatch.setattr(_deadline.time, "time", lambda: float(next(ticks)))
    return ticks


def fit(model, X, y):
    """The fitted model, and whether it warned of its limit."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    messages = [str(w.message) for w in caught if w.category is ConvergenceWarning]
    return model, any("time limit was reached" in message for message in messages)


@pytest.mark.parametrize("limit", [1, 30, 100, 300])
def test_a_fit_that_is_cut_holds_a_certified_network(limit):
    X, y = bumps(80, 3)
    model = ConvexReLURegressor(0.003, tol=1e-4, random_state=0)
    whole, warned = fit(model.set_params(time_limit=FOREVER), X, y)
    assert not warned and whole.status_.name == "CONVERGED"
    objective, network = whole.objective_, whole.network_
    free = model.set_params(time_limit=None).fit(X, y)
    assert_array_equal(free.network_.hidden, network.hidden)
    cut, warned = fit(model.set_params(time_limit=limit), X, y)
    assert warned and cut.status_.name == "TIME_LIMIT"
    assert_allclose(cut.objective_, network_objective(cut, X, y), rtol=1e-10)
    assert cut.objective_ > objective and cut.lower_bound_ <= objective
    assert cut.dual_gap_ > cut.tolerance_


def test_more_time_is_never_worse():
    X, y = bumps(80, 3)
    objectives = [
        fit(ConvexReLURegressor(0.01, time_limit=limit, random_state=0), X, y)
        for limit in (1, 50, 200, 400, FOREVER)
    ]
    objectives = [model.objective_ for model, _ in objectives]
    assert objectives == sorted(objectives, reverse=True)
    assert objectives[-1] < 0.5 * objectives[0]


def test_a_warm_start_is_not_lost():
    X, y = bumps(80, 3)
    model = ConvexReLURegressor(0.01, warm_start=True, random_state=0).fit(X, y)
    objective = model.objective_
    again, warned = fit(model.set_params(time_limit=1), X, y)
    assert warned and again.objective_ <= objective * (1 + 1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {"patterns": "random", "n_patterns": 30},
        {"patterns": "random", "n_patterns": 30, "solver": "interior_point"},
        {"patterns": "random", "activation": "gated_relu", "solver": "fista"},
        {"rank": 2},
        {"rank": 2, "patterns": "random", "n_patterns": 30},
        {"subnetwork_widths": (2,)},
        {"subnetwork_widths": (2,), "penalty": "weight_decay"},
        {"pruning": True},
        {"norm": "l1"},
        {"loss": "absolute_error"},
        {"loss": "absolute_error", "subnetwork_widths": (2,)},
        {"loss": "absolute_error", "patterns": "random", "n_patterns": 30},
    ],
)
def test_every_way_of_training_can_be_cut(options):
    X, y = bumps(60, 3)
    model = ConvexReLURegressor(0.001, tol=1e-6, random_state=0, **options)
    cut, warned = fit(model.set_params(time_limit=1), X, y)
    assert warned and cut.status_.name == "TIME_LIMIT"
    residual = np.abs(y - cut.predict(X))
    is_absolute = options.get("loss") == "absolute_error"
    loss = np.mean(residual if is_absolute else residual**2 / 2)
    penalty = cut.alpha_ * cut.network_.penalty()
    assert_allclose(cut.objective_, loss + penalty, rtol=1e-8)
    assert cut.lower_bound_ <= cut.objective_


@pytest.mark.parametrize("classes", [2, 4])
def test_classifiers(classes):
    X, y = bumps(80, 3)
    labels = np.digitize(y, np.quantile(y, np.linspace(0, 1, classes + 1)[1:-1]))
    model, warned = fit(ConvexReLUClassifier(time_limit=60, random_state=0), X, labels)
    assert warned and np.isfinite(model.predict_proba(X)).all()


def test_many_rows_end_on_what_their_sample_gave():
    X, y = bumps(20_000, 3)
    seen = []
    for limit in (1, 120, FOREVER):
        model = ConvexReLURegressor(0.01, tol=1e-2, time_limit=limit, random_state=0)
        model, _ = fit(model, X, y)
        seen.append(model.objective_)
        assert_allclose(model.objective_, network_objective(model, X, y), rtol=1e-10)
    assert seen[0] > seen[1] > seen[2]


def test_a_path_ends_with_what_it_has():
    X, y = bumps(80, 3)
    options = {"n_alphas": 8, "eps": 0.01, "tol": 1e-3, "random_state": 0}
    whole = convex_relu_path(X, y, **options)
    with pytest.warns(ConvergenceWarning, match=r"1 of \d points.*time limit"):
        path = convex_relu_path(X, y, time_limit=700, **options)
    n = len(path.alphas)
    assert 1 < n < 8 and path.statuses[-1].name == "TIME_LIMIT"
    assert_array_equal(path.objectives[: n - 1], whole.objectives[: n - 1])
    assert path.objectives[-1] >= whole.objectives[n - 1]


def test_folds_share_the_time_and_leave_some_for_the_last_fit():
    X, y = bumps(100, 3)
    model = ConvexReLURegressorCV(cv=4, random_state=0)
    whole = model.set_params(time_limit=FOREVER).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="of 4 folds"):
        cut, _ = fit_and_warn(model, X, y)
    done = ~np.isnan(cut.cv_scores_)
    assert done.sum(axis=0).min() >= 2 and not done.all()
    assert_array_equal(cut.cv_scores_[done], whole.cv_scores_[done])
    assert done[cut.best_index_].all()
    assert cut.status_.name == "CONVERGED"


def fit_and_warn(model, X, y):
    return model.set_params(time_limit=4000).fit(X, y), True


def test_folds_without_any_time_score_the_constant():
    X, y = bumps(100, 3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = ConvexReLURegressorCV(cv=4, time_limit=1, random_state=0).fit(X, y)
    assert any("4 of 4 folds" in str(w.message) for w in caught)
    assert (~np.isnan(model.cv_scores_)).sum() == 4 and model.best_index_ == 0


@pytest.mark.parametrize("limit", range(20, 400, 40))
def test_smooth_problems_of_a_loss_with_kinks_can_end_anywhere(limit):
    X, y = bumps(60, 3)
    model = ConvexReLURegressor(0.03, loss="absolute_error", random_state=0)
    cut, _ = fit(model.set_params(time_limit=limit), X, y)
    loss = np.abs(y - cut.predict(X)).mean()
    assert_allclose(cut.objective_, loss + cut.alpha_ * cut.network_.penalty())
    assert cut.lower_bound_ <= cut.objective_


def test_refusals():
    X, y = bumps(40, 2)
    with pytest.raises(ValueError, match="time_limit is not for solver='cvxpy'"):
        ConvexReLURegressor(patterns="random", solver="cvxpy", time_limit=1).fit(X, y)
    for limit in (0, -1, "1"):
        with pytest.raises(ValueError, match="time_limit"):
            ConvexReLURegressor(time_limit=limit).fit(X, y)


@pytest.mark.parametrize(
    "options", [{"rank": 2}, {"patterns": "random", "pruning": True}]
)
def test_whenever_the_time_is_over_there_is_a_network(options, clock):
    """Also after the solver has ended, while its network is pruned or certified."""
    X, y = bumps(40, 3)
    model = ConvexReLURegressor(0.1, tol=1e-2, random_state=0, **options)
    before = next(clock)
    fit(model.set_params(time_limit=FOREVER), X, y)
    whole = next(clock) - before
    for limit in range(1, whole + 3, 1 + whole // 50):
        model.set_params(time_limit=limit)
        assert np.isfinite(fit(model, X, y)[0].dual_gap_)
