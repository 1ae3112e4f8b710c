"""Solvers of the programme over fixed patterns, against CVXPY and known optima."""

from pathlib import Path

import cvxpy as cp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from reference import cone_programme

from sklearn_convexrelu import enumerate_patterns, sample_patterns
from sklearn_convexrelu.certificates.certificate import dual_point
from sklearn_convexrelu.model import chunks
from sklearn_convexrelu.model.losses import (
    Huber,
    Logistic,
    Poisson,
    Softmax,
    SquaredError,
    SquaredHinge,
)
from sklearn_convexrelu.model.problem import Problem
from sklearn_convexrelu.model.solution import Status
from sklearn_convexrelu.programmes.cvxpy_backend import CvxpyBackend
from sklearn_convexrelu.programmes.fista import Fista
from sklearn_convexrelu.programmes.group_lasso import Blocks, GroupLasso
from sklearn_convexrelu.programmes.interior_point import InteriorPoint
from sklearn_convexrelu.programmes.recovery import relu_network

PEERS = Path(__file__).parents[2] / "shared" / "data" / "peers"
N = 40


def data():
    rng = np.random.default_rng(0)
    X = np.c_[rng.standard_normal((N, 3)), np.ones(N)]
    f = np.abs(X[:, 0]) - X[:, 1] + 0.3 * rng.standard_normal(N)
    return X, f, rng


def targets(name):
    X, f, rng = data()
    return {
        "squared": (SquaredError(), f[:, None]),
        "huber": (Huber(0.5), f[:, None]),
        "poisson": (Poisson(), rng.poisson(np.exp(f / 2))[:, None].astype(float)),
        "logistic": (Logistic(), (f > 0)[:, None].astype(float)),
        "hinge": (SquaredHinge(), np.where(f > 0, 1.0, -1.0)[:, None]),
        "two targets": (SquaredError(), np.c_[f, f**2]),
        "softmax": (Softmax(), np.eye(3)[np.digitize(f, [-0.5, 0.8])]),
    }[name]


ONE_OUTPUT = ["squared", "huber", "poisson", "logistic", "hinge"]
SEVERAL = ["two targets", "softmax"]


def stated(name, kind, fraction=0.1, fit_intercept=True, n_patterns=20):
    X = data()[0]
    loss, Y = targets(name)
    weights = np.linspace(0.5, 2.0, N)
    problem = Problem(X, Y, weights / weights.sum(), loss, 1.0, fit_intercept)
    patterns, gates = sample_patterns(X, n_patterns, random_state=0)
    if kind == "gated":
        programme = GroupLasso.gated(problem, patterns)
    else:
        programme = GroupLasso.relu(problem, patterns, gates)
    return programme.at(fraction * programme.largest_alpha())


def by_hand(programme, blocks):
    """Objective and cone values from the definition, unit by unit."""
    problem, F = programme.problem, 0.0
    V, least = blocks.V[:, 0], np.inf
    for g in range(programme.n_units):
        values = problem.X @ V[g]
        F = F + programme.masks[g, 0][:, None] * values
        if programme.cones is not None:
            least = min(least, (programme.cones[g, 0, 0] * values[:, 0]).min())
    F = F + blocks.intercept
    norm = "nuc" if V.shape[2] > 1 else "fro"
    penalty = sum(np.linalg.norm(v, norm) for v in V)
    loss = problem.loss.value(F, problem.Y, problem.weights)
    return loss + problem.alpha * penalty, least


# What the dual point of an answer lacks goes with the root of what the answer lacks.
PRECISE = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11}


def check(programme, solution, tol):
    objective, least = by_hand(programme, solution.blocks)
    assert_allclose(solution.objective, objective, rtol=1e-9)
    assert solution.status is Status.CONVERGED
    assert solution.objective - solution.lower_bound <= solution.tolerance
    assert solution.tolerance == tol * programme.problem.loss_scale()
    assert programme.violation(solution.blocks) <= 1e-14
    if programme.cones is not None:
        assert least >= -1e-14


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", ["gated", "relu"])
@pytest.mark.parametrize("name", ONE_OUTPUT)
def test_interior_point_against_cvxpy(name, kind, fit_intercept):
    programme = stated(name, kind, fit_intercept=fit_intercept)
    solution = InteriorPoint(tol=1e-7).solve(programme)
    check(programme, solution, 1e-7)
    reference = CvxpyBackend(tol=1e-4, options=PRECISE).solve(programme)
    check(programme, reference, 1e-4)
    assert solution.objective <= reference.objective + solution.tolerance
    assert solution.lower_bound <= reference.objective
    assert reference.lower_bound <= solution.objective


@pytest.mark.parametrize("name", [*ONE_OUTPUT, *SEVERAL])
def test_fista_against_cvxpy(name):
    programme = stated(name, "gated")
    solution = Fista(tol=1e-6).solve(programme)
    check(programme, solution, 1e-6)
    reference = CvxpyBackend(tol=1e-4, options=PRECISE).solve(programme)
    check(programme, reference, 1e-4)
    assert solution.objective <= reference.objective + solution.tolerance
    assert solution.lower_bound <= reference.objective


def test_restatement_of_the_cone_programme():
    X, f, _ = data()
    patterns, gates = sample_patterns(X, 10, random_state=0)
    weights = np.full(N, 1 / N)
    problem = Problem(X, f[:, None], weights, SquaredError(), 0.05, True)
    solution = InteriorPoint(tol=1e-7).solve(GroupLasso.relu(problem, patterns, gates))
    reference = cone_programme(X, f, patterns, 0.05, fit_intercept=True)
    assert_allclose(solution.objective, reference, rtol=1e-6)


@pytest.mark.parametrize("kind", ["gated", "relu"])
def test_small_alphas(kind):
    programme = stated("squared", kind, fraction=1e-3)
    solution = InteriorPoint(tol=1e-8).solve(programme)
    check(programme, solution, 1e-8)


@pytest.mark.parametrize("kind", ["gated", "relu"])
@pytest.mark.parametrize("name", ["squared", "logistic"])
def test_largest_alpha(name, kind):
    solver = InteriorPoint(tol=1e-8)
    above = stated(name, kind, fraction=1.0 + 1e-6)
    assert len(solver.solve(above).blocks.active) == 0
    below = stated(name, kind, fraction=0.98)
    assert len(solver.solve(below).blocks.active) > 0


def test_recovered_network_has_the_objective():
    programme = stated("squared", "relu", fraction=0.03)
    solution = InteriorPoint(tol=1e-7).solve(programme)
    network = relu_network(solution.blocks, programme.output_signs)
    problem = programme.problem
    hidden = np.maximum(problem.X @ network.hidden, 0.0)
    F = hidden @ network.output + network.intercept
    assert_allclose(F, programme.predictions(solution.blocks), atol=1e-12)
    squares = np.sum(network.hidden**2) + np.sum(network.output**2)
    loss = problem.weights @ (F - problem.Y)[:, 0] ** 2 / 2
    assert_allclose(loss + problem.alpha * squares / 2, solution.objective, rtol=1e-12)


def test_working_sets_of_any_size_agree():
    programme = stated("squared", "gated", fraction=0.03, n_patterns=150)
    few = InteriorPoint(tol=1e-7, first_units=3).solve(programme)
    all_at_once = InteriorPoint(tol=1e-7, first_units=1000).solve(programme)
    check(programme, few, 1e-7)
    assert few.n_iter > all_at_once.n_iter
    assert abs(few.objective - all_at_once.objective) <= few.tolerance


def test_chunks_change_nothing(monkeypatch):
    programme = stated("squared", "relu")
    whole = InteriorPoint(tol=1e-6).solve(programme)
    monkeypatch.setattr(chunks, "ENTRIES", 500)
    N_ = np.linspace(-1, 1, N)[:, None]
    parts = programme.adjoint(N_)
    chunked = InteriorPoint(tol=1e-6).solve(programme)
    monkeypatch.undo()
    assert_allclose(parts, programme.adjoint(N_), atol=1e-14)
    assert_allclose(chunked.objective, whole.objective, rtol=1e-6)


def sub_networks(split):
    """Three-layer sub-networks of width two over every tuple of three patterns."""
    rng = np.random.default_rng(1)
    X = np.c_[rng.standard_normal((6, 1)), np.ones(6)]
    y = rng.standard_normal((6, 1))
    problem = Problem(X, y, np.full(6, 1 / 6), SquaredError(), 0.02, False)
    patterns, gates = enumerate_patterns(X)
    masks, cones, interiors = [], [], []
    for a in range(len(patterns)):
        for b in range(len(patterns)):
            # Plus and minus path, the second layer passing where the sum is positive.
            H = np.maximum(X @ gates[[a, b]].T, 0.0)
            if not (H[:, 0] > 1.5 * H[:, 1]).any():
                continue
            second = H[:, 0] > H[:, 1]
            tight = (H[:, 0] == 0.0) & (H[:, 1] == 0.0)
            D = patterns[[a, b]].astype(int)
            signed = D * [[1], [-1]]
            first = 2 * D - 1
            zero = np.zeros_like(first[0])
            last = np.where(tight, 0, 2 * second - 1) * signed
            for t in (1, -1):
                masks.append(t * second * signed)
                cones.append([[first[0], zero], [zero, first[1]], last])
                interiors.append(gates[[a, b]])
    return GroupLasso(
        problem,
        np.array(masks, dtype=np.int8),
        np.array(cones, dtype=np.int8),
        np.array(interiors),
        split,
    )


@pytest.mark.parametrize("split", [False, True])
def test_sub_networks_of_several_paths(split):
    programme = sub_networks(split)
    solution = InteriorPoint(tol=1e-7).solve(programme)
    reference = CvxpyBackend(tol=1e-5).solve(programme)
    assert solution.objective - solution.lower_bound <= 1e-5 * solution.objective
    assert_allclose(solution.objective, reference.objective, rtol=1e-5)
    values = programme.cone_values(solution.blocks.V[..., 0])
    assert values.min() >= -1e-14
    norms = np.linalg.norm(solution.blocks.V[..., 0], axis=2)
    penalty = norms.sum() if split else np.sqrt((norms**2).sum(axis=1)).sum()
    assert_allclose(programme.penalty(solution.blocks), penalty)


def test_price_of_split_units_is_the_least_largest_part():
    programme = sub_networks(split=True).at(0.0)
    problem, X = programme.problem, programme.problem.X
    N = dual_point(problem, problem.null_network().forward(X))
    G, largest = programme.adjoint(N)[..., 0], 0.0
    for g in range(programme.n_units):
        multipliers = cp.Variable((programme.cones.shape[1], len(X)), nonneg=True)
        rest = [
            G[g, j]
            - sum(
                (X.T * T[j]) @ multipliers[k] for k, T in enumerate(programme.cones[g])
            )
            for j in range(2)
        ]
        least = cp.Problem(cp.Minimize(cp.maximum(*map(cp.norm, rest))))
        largest = max(largest, least.solve(solver="CLARABEL"))
    assert_allclose(programme.largest_alpha(), largest, rtol=1e-6)


PROBLEMS = [
    (name, n_patterns, k)
    for name in ("diabetes", "breast_cancer")
    for n_patterns in (30, 200)
    for k in range(3)
]


def peer(name, n_patterns, k, kind):
    path = PEERS / f"ref_{name}_P{n_patterns}.npz"
    if not path.exists():
        pytest.skip("the reference problems are not beside the repository")
    stored = np.load(path)
    X, y, patterns = stored["X"], stored["y"], stored["D"] > 0
    if len(patterns) == len(X):
        patterns = patterns.T
    weights = np.full(len(X), 1 / len(X))
    problem = Problem(
        X, y[:, None], weights, SquaredError(), float(stored["alphas"][k]), False
    )
    reference = stored[f"ref_{kind}"][k]
    if kind == "gated":
        return GroupLasso.gated(problem, patterns), reference
    return GroupLasso.relu(problem, patterns, stored["G"].T), reference


@pytest.mark.parametrize(("name", "n_patterns", "k"), PROBLEMS)
def test_gated_references(name, n_patterns, k):
    programme, (objective, bound, _) = peer(name, n_patterns, k, "gated")
    solution = InteriorPoint(tol=1e-9).solve(programme)
    assert abs(solution.objective / objective - 1.0) < 1e-7
    assert solution.lower_bound <= objective * (1 + 1e-12)
    assert solution.objective >= bound * (1 - 1e-12)
    assert solution.objective - solution.lower_bound <= 1e-7 * objective


@pytest.mark.parametrize(("name", "n_patterns", "k"), PROBLEMS)
def test_relu_references(name, n_patterns, k):
    if n_patterns == 200 and name == "breast_cancer":
        pytest.skip("a quarter of a minute each: the benchmark runs them")
    programme, (objective, bound, gap) = peer(name, n_patterns, k, "relu")
    solution = InteriorPoint(tol=1e-7).solve(programme)
    if gap < 1e-6:
        assert abs(solution.objective / objective - 1.0) < 1e-6
    else:
        assert solution.objective < objective  # the reference stopped short
    assert solution.lower_bound <= objective
    assert solution.objective >= bound
    assert solution.objective - solution.lower_bound <= 1e-6 * solution.objective
    assert programme.violation(solution.blocks) <= 1e-14


def test_solvers_refuse_what_they_cannot():
    with pytest.raises(ValueError, match="one output"):
        InteriorPoint().solve(stated("softmax", "gated"))
    with pytest.raises(ValueError, match="cone"):
        Fista().solve(stated("squared", "relu"))
    with pytest.raises(ValueError, match="several outputs"):
        stated("softmax", "relu")
    with pytest.raises(ValueError, match="not installed"):
        CvxpyBackend(options={"solver": "NONE"}).solve(stated("squared", "gated"))
    with pytest.raises(ValueError, match="solver_options"):
        CvxpyBackend(options={"bad": 1}).solve(stated("squared", "gated"))


def test_other_conic_solvers():
    programme = stated("squared", "relu", n_patterns=5)
    clarabel = CvxpyBackend(tol=1e-4).solve(programme)
    scs = CvxpyBackend(tol=1e-3, options={"solver": cp.SCS}).solve(programme)
    assert abs(scs.objective - clarabel.objective) <= 1e-3 * clarabel.objective


@pytest.mark.parametrize("solver", [InteriorPoint(max_iter=2), Fista(max_iter=3)])
def test_limits_are_told(solver):
    solution = solver.solve(stated("squared", "gated", fraction=0.01))
    assert solution.status is Status.ITERATION_LIMIT
    assert solution.objective - solution.lower_bound > solution.tolerance


@pytest.mark.parametrize("solver", [InteriorPoint(), Fista()])
def test_nothing_is_written_to(solver):
    programme = stated("squared", "gated")
    before = [array.copy() for array in (programme.masks, programme.problem.X)]
    for array in (programme.masks, programme.problem.X, programme.problem.Y):
        array.setflags(write=False)
    first, second = solver.solve(programme), solver.solve(programme)
    assert_array_equal(first.blocks.V, second.blocks.V)
    assert_array_equal(programme.masks, before[0])


def test_points_outside_the_cones_are_pushed_inside():
    programme = stated("squared", "relu")
    V = np.random.default_rng(0).standard_normal(programme.zero().V.shape)
    pushed = programme.pushed_inside(Blocks(V, np.zeros(1)))
    assert programme.violation(Blocks(V, np.zeros(1))) > 0.0
    assert programme.cone_values(pushed.V[..., 0]).min() >= -1e-14
