"""Starts on leading axes of many inputs: what they leave out, and where they end."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import problem
from scipy import sparse

from sklearn_convexrelu import ConvexReLURegressor
from sklearn_convexrelu._deadline import OutOfTimeError
from sklearn_convexrelu.adaptive import loop
from sklearn_convexrelu.adaptive.loop import AdaptiveSolver
from sklearn_convexrelu.adaptive.start import on_leading_axes
from sklearn_convexrelu.data.rows import Rows
from sklearn_convexrelu.model.linear import LinearPart
from sklearn_convexrelu.model.monotone import Monotone
from sklearn_convexrelu.model.neurons import NeuronShape
from sklearn_convexrelu.model.norms import EUCLIDEAN, ONE_NORM
from sklearn_convexrelu.model.subnetworks import TreeShape
from sklearn_convexrelu.training import Training, train


def fading(n_samples, n_inputs, fades=0.9):
    """Return a problem of inputs that fade, and are turned."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.standard_normal((n_inputs, n_inputs)))[0]
    Z = rng.standard_normal((n_samples, n_inputs)) * fades ** np.arange(n_inputs)
    y = np.abs(Z[:, 0]) + Z[:, 1] + 0.1 * rng.standard_normal(n_samples)
    return problem(Z @ turn, y, hidden_bias=False)


def test_leading_axes_leave_out_what_they_say():
    stated = fading(300, 60)
    squares = np.linalg.svd(stated.X, compute_uv=False) ** 2
    total = squares[1:].sum()  # the largest may be an offset
    levels = list(on_leading_axes(stated))
    assert len(levels) == 2
    for (own, axes), left in zip(levels, (0.06, 0.01), strict=True):
        count = axes.shape[1]
        assert_allclose(axes.T @ axes, np.eye(count), atol=1e-12)
        assert_allclose(own.X, stated.X @ axes, rtol=1e-5, atol=1e-5)
        assert squares[count:].sum() <= left * total < squares[count - 1 :].sum()
    assert levels[0][1].shape[1] < levels[1][1].shape[1] < 60


def test_leading_axes_are_for_what_may_turn_and_fades():
    stated = fading(300, 60)
    tree = replace(stated, shape=TreeShape((2,)))
    assert len(list(on_leading_axes(tree))) == 2
    rows = Rows.of(sparse.csr_array(stated.X))
    monotone = Monotone((1,) * 60)
    for other in (
        fading(300, 60, fades=1.0),
        fading(300, 50),
        replace(stated, shape=NeuronShape(ONE_NORM)),
        replace(stated, shape=NeuronShape(EUCLIDEAN, monotone)),
        replace(stated, linear=LinearPart(False, np.ones(60, bool), EUCLIDEAN)),
        replace(stated, rows=rows),
    ):
        assert list(on_leading_axes(other)) == []


@pytest.mark.parametrize("widths", [(), (2,)])
def test_a_start_on_leading_axes_ends_at_the_same_optimum(widths, monkeypatch):
    stated = fading(300, 60)
    X, y, records = stated.X, stated.Y[:, 0], []
    options = {"alpha": 0.03, "subnetwork_widths": widths, "random_state": 0}
    model = ConvexReLURegressor(**options).fit(X, y)
    training = Training.of(problem(X, y), AdaptiveSolver(tol=1e-2))
    if not widths:

        def note(record, network):
            if record.get("step") == "start":
                own = training.problem.with_alpha(0.01)
                records.append((record["objective"], own.objective(network)))

        train(training, 0.01, callback=note)
        assert len(records) > 1
        assert_allclose(*zip(*records, strict=True), rtol=1e-6)
    monkeypatch.setattr(loop, "on_leading_axes", lambda problem: ())
    other = ConvexReLURegressor(**options).fit(X, y)
    assert abs(model.objective_ - other.objective_) <= model.tolerance_
    objectives = [
        0.5 * np.mean((fit.predict(X) - y) ** 2) + fit.alpha_ * fit.network_.penalty()
        for fit in (model, other)
    ]
    assert max(model.lower_bound_, other.lower_bound_) <= min(objectives) * (1 + 1e-9)


def test_leading_axes_go_by_what_an_offset_leaves():
    stated = fading(300, 60)
    far = replace(stated, rows=stated.X + 100.0)
    for (_, axes), (_, others) in zip(
        on_leading_axes(stated), on_leading_axes(far), strict=True
    ):
        assert abs(axes.shape[1] - others.shape[1]) <= 2


def test_a_start_that_runs_out_of_time_is_not_lost(monkeypatch):
    stated = fading(300, 60).with_alpha(0.01)
    solver = AdaptiveSolver(tol=1e-2)
    first = next(iter(on_leading_axes(stated)))

    def levels(problem):
        yield first
        raise OutOfTimeError

    monkeypatch.setattr(loop, "on_leading_axes", levels)
    start = loop._rough_start(solver, stated)
    assert start.hidden.shape[0] == 60
    assert stated.objective(start) < 0.5 * stated.loss_scale()
