"""The loop's decision, and the loop driven by a pricer that says what it is told."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from problems import bumps, problem

from sklearn_convexrelu.adaptive import loop
from sklearn_convexrelu.adaptive.loop import AdaptiveSolver
from sklearn_convexrelu.adaptive.policy import Action, Care, Look, decide
from sklearn_convexrelu.certificates import certificate
from sklearn_convexrelu.model.solution import Status

NEAR = Look(
    gap=0.5, care=Care.FULL, required=Care.FULL, tolerance=1.0, loop_tolerance=1.0
)
FAR = replace(NEAR, gap=2.0)


@pytest.mark.parametrize(
    "look, action, status",
    [
        # Within the tolerance: only a search that was hard enough accepts.
        (NEAR, Action.ACCEPT, Status.CONVERGED),
        (replace(NEAR, care=Care.QUICK), Action.LOOK_HARDER, None),
        (replace(NEAR, care=Care.WHOLE), Action.ACCEPT, Status.CONVERGED),
        (replace(NEAR, is_doubtful=True), Action.LOOK_HARDER, None),
        (replace(NEAR, is_doubtful=True, is_exact=True), Action.ACCEPT, None),
        (
            replace(NEAR, is_doubtful=True, care=Care.WHOLE),
            Action.ACCEPT,
            Status.CONVERGED,
        ),
        (
            replace(NEAR, care=Care.QUICK, required=Care.QUICK, is_doubtful=True),
            Action.ACCEPT,
            Status.CONVERGED,
        ),
        (replace(NEAR, is_stopped=True, is_last=True), Action.ACCEPT, None),
        # Above it: a round, or why there is none.
        (FAR, Action.IMPROVE, None),
        (replace(FAR, care=Care.QUICK), Action.IMPROVE, None),
        (replace(FAR, is_stopped=True), Action.STOP, Status.STOPPED),
        (replace(FAR, is_stalled=True), Action.LOOK_HARDER, None),
        (replace(FAR, is_last=True), Action.LOOK_HARDER, None),
        (
            replace(FAR, is_stalled=True, care=Care.WHOLE),
            Action.STOP,
            Status.STALLED,
        ),
        (
            replace(FAR, is_last=True, care=Care.WHOLE),
            Action.STOP,
            Status.ITERATION_LIMIT,
        ),
        (
            replace(FAR, is_stalled=True, is_capped=True, care=Care.WHOLE),
            Action.STOP,
            Status.NEURON_LIMIT,
        ),
        # Rounds that gain go on whatever the gap, until they are over.
        (replace(NEAR, is_gaining=True), Action.IMPROVE, None),
        (replace(NEAR, is_gaining=True, is_last=True), Action.ACCEPT, None),
        (replace(NEAR, is_gaining=True, is_stalled=True), Action.ACCEPT, None),
        (replace(NEAR, is_gaining=True, is_stopped=True), Action.ACCEPT, None),
        # A smaller tolerance is for the finish.
        (replace(NEAR, tolerance=0.1), Action.FINISH, None),
        (replace(NEAR, tolerance=0.1, care=Care.QUICK), Action.LOOK_HARDER, None),
        (
            replace(FAR, tolerance=0.1, is_stalled=True, care=Care.WHOLE),
            Action.FINISH,
            None,
        ),
        (
            replace(NEAR, tolerance=0.1, is_last=True),
            Action.STOP,
            Status.ITERATION_LIMIT,
        ),
    ],
)
def test_what_follows_a_look(look, action, status):
    found = decide(look)
    assert found[0] is action
    if status is not None:
        assert found[1] is status


def test_every_look_has_an_answer_and_searches_do_not_get_harder_for_ever():
    flags = [name for name in vars(NEAR) if name.startswith("is_")]
    for gap, loop_tolerance, care, required in product(
        [0.05, 0.5, 2.0], [1.0, 0.1], Care, [Care.QUICK, Care.FULL]
    ):
        for values in product([False, True], repeat=len(flags)):
            look = Look(
                gap,
                care,
                required,
                0.1,
                loop_tolerance,
                **dict(zip(flags, values, strict=True)),
            )
            action, status = decide(look)
            assert (status is None) == (
                action in (Action.IMPROVE, Action.LOOK_HARDER, Action.FINISH)
            )
            if care is Care.WHOLE:
                assert action is not Action.LOOK_HARDER
            if status is Status.CONVERGED:
                assert gap <= look.tolerance and care >= required


class Scripted:
    """A pricer that finds the price it is told to, and notes the efforts."""

    def __init__(self, pricer, prices):
        self.pricer, self.prices, self.efforts = pricer, list(prices), []

    def __getattr__(self, name):
        return getattr(self.pricer, name)

    def price(self, N, known, rng, effort, enough=None):
        candidates, bound = self.pricer.price(N, known, rng, effort)
        if not effort.certifies and effort is not loop.LIGHT:
            return candidates, bound  # in the middle of a round
        self.efforts.append(effort)
        if self.prices:
            factor = self.prices.pop(0)
            candidates = replace(candidates, prices=candidates.prices * factor)
        return candidates, None


def scripted_run(prices, monkeypatch, **options):
    X, y = bumps(120, 4)
    stated, made = problem(X, y / y.std(), alpha=0.05), []
    pricer_of = loop.pricer_of

    def scripted(problem):
        made.append(Scripted(pricer_of(problem), prices))
        return made[-1]

    monkeypatch.setattr(loop, "pricer_of", scripted)
    solver = AdaptiveSolver(tol=1e-2, **options)
    (solution,) = solver.over(stated).path([stated.alpha])
    return solution, made[-1].efforts


def test_a_quick_search_is_followed_by_one_that_may_accept(monkeypatch):
    solution, efforts = scripted_run([], monkeypatch)
    assert solution.status is Status.CONVERGED
    assert efforts[-1] is loop.FAIR and loop.LIGHT in efforts


def test_prices_that_are_too_high_to_go_down_end_in_a_stall(monkeypatch):
    solution, efforts = scripted_run([1e3] * 1000, monkeypatch)
    assert solution.status in (Status.STALLED, Status.ITERATION_LIMIT)
    assert solution.certificate.gap > solution.tolerance
    assert efforts[-2] is loop.WIDE  # which ended early, and then ran to its end
    assert efforts[-1].n_batches > loop.WIDE.n_batches


def test_the_last_round_is_the_last(monkeypatch):
    solution, _ = scripted_run([1e3] * 1000, monkeypatch, max_iter=2)
    assert solution.status is Status.ITERATION_LIMIT and solution.n_iter == 2


@pytest.mark.parametrize("n_rounds, times", [(1, 2), (2, 3), (3, 3), (4, 4)])
def test_a_run_of_many_rounds_is_searched_wide_and_ever_harder(
    n_rounds, times, monkeypatch
):
    monkeypatch.setattr(loop, "_MANY_ROUNDS", 1)
    solution, efforts = scripted_run([1e3] * n_rounds, monkeypatch)
    assert solution.status is Status.CONVERGED
    assert efforts[-2:] == [loop.WIDE, loop.WIDE.times(times)]


def test_the_second_look_of_a_search_that_is_not_sure_is_harder():
    run = object.__new__(loop._Run)
    run.is_unsure, run.tracks = True, False
    for first, second in (
        (loop.FAIR, loop.WIDE),
        (loop.HARD, loop.WIDE),
        (loop.WIDE, loop.WIDE.times(2)),
    ):
        run.effort = first
        assert run.effort_of(Care.FULL, False) == first
        assert run.effort_of(Care.WHOLE, False) == second
    run.tracks = True
    assert run.effort_of(Care.WHOLE, False) == loop.HARD


@pytest.mark.parametrize("chance, efforts", [(1e-6, ["FAIR"]), (0.4, ["FAIR", "WIDE"])])
def test_a_search_that_is_not_sure_is_followed_by_a_harder_one(
    chance, efforts, monkeypatch
):
    monkeypatch.setattr(certificate, "_HIGHER", 1.0)  # a missed price is twice as high
    monkeypatch.setattr(loop, "chance_of_unseen", lambda *_: chance)
    solution, made = scripted_run([], monkeypatch)
    assert solution.status is Status.CONVERGED
    made = made[made.index(loop.FAIR) :]
    assert made == [getattr(loop, name) for name in efforts]


def test_a_callback_stops_the_run(monkeypatch):
    X, y = bumps(120, 4)
    stated = problem(X, y / y.std(), alpha=0.01)
    told = []

    def callback(record, network):
        told.append(record)
        return "step" not in record

    solver = AdaptiveSolver(tol=1e-5)
    (solution,) = solver.over(stated).path([stated.alpha], callback=callback)
    assert solution.status is Status.STOPPED and len(solution.history) == 1
    assert {record.get("step") for record in told} >= {"start", None}
    assert np.isfinite(solution.certificate.gap)
