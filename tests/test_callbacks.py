"""Progress, callbacks and interrupts: what happens while a fit runs."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import ConvergenceWarning

import sklearn_convexrelu.adaptive.loop as adaptive
from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    convex_relu_path,
    training,
)


def bumps(n_samples=80):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, 3))
    return X, np.abs(X[:, 0]) + np.sin(2 * X[:, 1]) + 0.1 * rng.standard_normal(80)


class Recorder:
    """A callback that writes down what it is told, and asks for a stop once."""

    def __init__(self, stop_after=None):
        self.stop_after, self.events, self.scores = stop_after, [], []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.events.append(("end", context.task_name, context.task_id))
        if fitted_estimator is not None:
            self.scores.append(fitted_estimator.score(X, y))
        return len(self.scores) == self.stop_after


callbacks = pytest.mark.skipif(
    not hasattr(ConvexReLURegressor, "set_callbacks"), reason="scikit-learn < 1.9"
)


def begun_and_ended(events):
    begun = [event[1:] for event in events if event[0] == "begin"]
    ended = [event[1:] for event in events if event[0] == "end"]
    return sorted(begun) == sorted(ended)


@callbacks
@pytest.mark.parametrize("kind", [ConvexReLURegressor, ConvexReLUClassifier])
def test_rounds_are_tasks(kind):
    X, y = bumps()
    y = y if kind is ConvexReLURegressor else np.array(["no", "yes"])[1 * (y > 1)]
    recorder = Recorder()
    model = kind(0.03, random_state=0).set_callbacks(recorder).fit(X, y)
    silent = kind(0.03, random_state=0).fit(X, y)
    assert_array_equal(model.coefs_[0], silent.coefs_[0])
    assert recorder.events[0] == "setup" and recorder.events[-1] == "teardown"
    assert begun_and_ended(recorder.events[1:-1])
    # One score a record of the history, and one of the whole fit.
    assert len(recorder.scores) == len(model.history_) + 1
    assert recorder.scores[-1] == model.score(X, y) >= recorder.scores[0] > 0.5


@callbacks
def test_a_callback_may_stop_a_fit():
    X, y = bumps()
    model = ConvexReLURegressor(0.003, tol=1e-5, random_state=0)
    with pytest.warns(ConvergenceWarning, match="callback"):
        model.set_callbacks(Recorder(stop_after=2)).fit(X, y)
    assert model.status_.name == "STOPPED" and len(model.history_) == 2
    assert model.dual_gap_ > model.tolerance_ and model.n_neurons_ > 0


@callbacks
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_folds_and_alphas_are_tasks(n_jobs):
    X, y = bumps()
    recorder = Recorder()
    model = ConvexReLURegressorCV(
        n_alphas=4, eps=0.1, cv=2, random_state=0, n_jobs=n_jobs
    )
    model.set_callbacks(recorder).fit(X, y)
    assert recorder.events[0] == "setup" and recorder.events[-1] == "teardown"
    assert begun_and_ended(recorder.events[1:-1])
    assert ("end", "refit", 2) in recorder.events
    if n_jobs is None:  # in other processes it is copies that are told
        assert recorder.events.count(("begin", "alpha", 3)) == 2
    plain = ConvexReLURegressorCV(n_alphas=4, eps=0.1, cv=2, random_state=0)
    assert_array_equal(plain.fit(X, y).cv_scores_, model.cv_scores_)


@callbacks
def test_a_stop_in_a_fold_is_told_of():
    X, y = bumps()
    model = ConvexReLURegressorCV(n_alphas=4, eps=0.1, cv=2, random_state=0)
    with pytest.warns(ConvergenceWarning, match="folds did not .* a callback asked"):
        model.set_callbacks(Recorder(stop_after=3)).fit(X, y)


@callbacks
def test_tasks_of_paths_that_end_by_themselves_are_ended():
    X, y = bumps()
    recorder = Recorder()
    ConvexReLURegressorCV(cv=2).set_callbacks(recorder).fit(X, 0 * y)
    assert begun_and_ended(recorder.events[1:-1])


@callbacks
def test_scoring_monitor():
    from sklearn.callback import ScoringMonitor

    X, y = bumps()
    monitor = ScoringMonitor(scoring="r2")
    model = ConvexReLURegressorCV(n_alphas=3, eps=0.1, cv=2, random_state=0)
    model.set_callbacks(monitor).fit(X, y)


@callbacks
def test_progress_bar(capsys):
    pytest.importorskip("rich")
    from sklearn.callback import ProgressBar

    X, y = bumps()
    model = ConvexReLURegressorCV(n_alphas=4, eps=0.1, cv=2, random_state=0)
    model.set_callbacks(ProgressBar()).fit(X, y)
    text = capsys.readouterr().out
    assert "fold" in text and "refit" in text and "100%" in text


@callbacks
def test_callbacks_are_torn_down_where_a_fit_fails():
    X, y = bumps()
    recorder = Recorder()
    with pytest.raises(ValueError, match="NaN"):
        ConvexReLURegressor().set_callbacks(recorder).fit(X, y * np.nan)
    assert recorder.events[-1] == "teardown"


def interrupt(monkeypatch, at):
    """Let the solver's ``at``-th step of improving be interrupted."""
    counts, improve = [0], adaptive._Run.improve

    def interrupted(self, *args):
        counts[0] += 1
        if counts[0] == at:
            raise KeyboardInterrupt
        return improve(self, *args)

    monkeypatch.setattr(adaptive._Run, "improve", interrupted)


def test_an_interrupted_fit_holds_the_best_network_so_far(monkeypatch):
    X, y = bumps()
    interrupt(monkeypatch, at=3)
    model = ConvexReLURegressor(0.003, tol=1e-5, random_state=0)
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model.fit(X, y)
    assert model.status_.name == "INTERRUPTED" and model.n_iter_ == 2
    residual = y - model.predict(X)
    assert model.n_neurons_ > 0 and np.var(residual) < np.var(y)
    loss = np.mean(residual**2) / 2
    by_hand = loss + model.alpha_ * model.network_.penalty()
    assert model.objective_ == pytest.approx(by_hand, rel=1e-12)


def test_an_interrupt_before_the_first_certificate_changes_nothing(monkeypatch):
    X, y = bumps()
    model = ConvexReLURegressor(0.1, random_state=0).fit(X, y)
    before = pickle.dumps(vars(model))

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(adaptive._Run, "price", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X[:, :2], y)
    assert pickle.dumps(vars(model)) == before
    fresh = ConvexReLURegressor()
    with pytest.raises(KeyboardInterrupt):
        fresh.fit(X, y)
    assert not hasattr(fresh, "n_features_in_")


def test_an_interrupted_path_has_the_points_so_far(monkeypatch):
    X, y = bumps()
    interrupt(monkeypatch, at=4)
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        path = convex_relu_path(X, y, n_alphas=10, eps=0.01, tol=1e-4)
    assert 1 < len(path.alphas) < 10
    assert path.statuses[-1].name == "INTERRUPTED"


def test_an_interrupt_between_points_keeps_the_path_so_far(monkeypatch):
    X, y = bumps()

    begin, begun = adaptive._Run.begin, []

    def interrupted(self, problem, *required):
        begun.append(problem)
        if len(begun) == 5:
            raise KeyboardInterrupt
        begin(self, problem, *required)

    monkeypatch.setattr(adaptive._Run, "begin", interrupted)
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        path = convex_relu_path(X, y, n_alphas=10, eps=0.01, tol=1e-2)
    assert 1 < len(path.alphas) < 10


def test_an_interrupt_of_the_certificate_keeps_the_network(monkeypatch):
    X, y = bumps()
    certificate, calls = training._certificate, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return certificate(*args)

    monkeypatch.setattr(training, "_certificate", interrupted)
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model = ConvexReLURegressor(0.1, random_state=0).fit(X, y)
    assert model.dual_gap_ <= model.tolerance_


def test_an_interrupted_search_is_unfitted(monkeypatch):
    X, y = bumps()
    interrupt(monkeypatch, at=4)
    model = ConvexReLURegressorCV(cv=2, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert not hasattr(model, "coefs_") and not hasattr(model, "alphas_")


class Interrupter(Recorder):
    """A callback that is interrupted at the end of a task, from an event on."""

    def __init__(self, name, from_event=0):
        super().__init__()
        self.name, self.from_event = name, from_event

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.events.append(("end", context.task_name, context.task_id))
        if context.task_name == self.name and len(self.events) > self.from_event:
            raise KeyboardInterrupt


@callbacks
@pytest.mark.parametrize("kind", [ConvexReLURegressor, ConvexReLURegressorCV])
def test_an_interrupt_at_the_end_of_a_fit_keeps_it(kind):
    X, y = bumps()
    options = {} if kind is ConvexReLURegressor else {"n_alphas": 3, "cv": 2}
    model = kind(random_state=0, **options)
    silent = kind(random_state=0, **options).fit(X, y)
    recorder = Recorder()
    model.set_callbacks(recorder).fit(X, y)
    names = [event[1] for event in recorder.events if event[0] == "end"]
    ends = {names[-1]: 0}  # the whole fit
    if kind is ConvexReLURegressor:
        ends["round"] = len(recorder.events) - 3  # one that was not needed
    else:
        ends["refit"] = 0
    for name, from_event in ends.items():
        model = kind(random_state=0, **options)
        model.set_callbacks(Interrupter(name, from_event))
        with pytest.warns(ConvergenceWarning, match="Interrupted when all was") as told:
            assert model.fit(X, y) is model
        assert len(told) == 1 and told[0].filename == __file__
        assert model.status_.name == "INTERRUPTED"
        assert_array_equal(model.coefs_[0], silent.coefs_[0])
        fitted = {name for name in vars(silent) if name.endswith("_")}
        assert fitted <= set(vars(model))


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("kind", [ConvexReLURegressor, ConvexReLURegressorCV])
def test_an_interrupt_while_attributes_are_set_keeps_the_network(
    monkeypatch, kind, refit
):
    X, y = bumps()
    options = {} if kind is ConvexReLURegressor else {"n_alphas": 3, "cv": 2}
    silent = kind(random_state=0, **options).fit(X, y)
    model = kind(random_state=0, **options)
    if refit:
        model.fit(X[:40], y[:40])
    attributes, calls = kind._network_attributes, []

    def interrupted(self, *args):
        calls.append(args)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return attributes(self, *args)

    monkeypatch.setattr(kind, "_network_attributes", interrupted)
    with pytest.warns(ConvergenceWarning, match="Interrupted when all was trained"):
        model.fit(X, y)
    assert model.status_.name == "INTERRUPTED" and len(calls) == 2
    assert_array_equal(model.predict(X), silent.predict(X))
    monkeypatch.setattr(kind, "_network_attributes", attributes)
    assert model.fit(X, y).status_.name == "CONVERGED"


@pytest.mark.parametrize("kind", [ConvexReLURegressor, ConvexReLURegressorCV])
def test_a_fit_that_is_interrupted_before_it_has_a_network_is_undone(monkeypatch, kind):
    X, y = bumps()
    options = {} if kind is ConvexReLURegressor else {"n_alphas": 3, "cv": 2}
    model = kind(random_state=0, **options).fit(X, y)
    before = pickle.dumps(vars(model))

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    for name in ("_checked", "_stated", "_train"):
        with monkeypatch.context() as patch:
            patch.setattr(kind, name, interrupted)
            with pytest.raises(KeyboardInterrupt):
                model.fit(X[:40, :2], y[:40])
        assert pickle.dumps(vars(model)) == before


@callbacks
def test_tasks_of_a_fold_that_is_interrupted_are_ended(monkeypatch):
    X, y = bumps()
    scored = []

    def r2(model, X, y):
        scored.append(model)
        if len(scored) == 5:
            raise KeyboardInterrupt
        return model.score(X, y)

    recorder = Recorder()
    model = ConvexReLURegressorCV(
        n_alphas=3, eps=0.1, cv=4, random_state=0, scoring=r2
    ).set_callbacks(recorder)
    with pytest.warns(ConvergenceWarning, match=r"interrupted \(folds 1, 2, 3\)"):
        model.fit(X, y)
    assert begun_and_ended(recorder.events[1:-1])
    assert ("end", "fold", 1) in recorder.events
    assert ("begin", "fold", 2) not in recorder.events
    assert ("end", "refit", 4) in recorder.events
