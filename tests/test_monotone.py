"""monotonic_cst: what the signs allow, what they cost, and that nothing loses them."""

import pickle
from functools import cache
from itertools import product

import cvxpy as cp
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from reference import all_patterns, units
from scipy import sparse
from sklearn.base import clone
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.multioutput import MultiOutputRegressor

from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    convex_relu_path,
)
from sklearn_convexrelu.model.monotone import Monotone, centre_of
from sklearn_convexrelu.patterns.geometry import Geometry, unit
from sklearn_convexrelu.pricing.arcs import ArcPricing
from sklearn_convexrelu.pricing.kernels import Prices
from sklearn_convexrelu.pricing.polish import polish
from sklearn_convexrelu.pricing.sided import sided_along

pytestmark = pytest.mark.filterwarnings("ignore:monotonic_cst with two layers")

REGRESSION = ("squared_error", "huber", "poisson", "absolute_error", "quantile")
CLASSIFICATION = ("log_loss", "squared_hinge", "hinge", "squared_error")
SHAPES = [
    {"subnetwork_widths": (), "penalty": "path"},
    {"subnetwork_widths": (2,), "penalty": "path"},
    {"subnetwork_widths": (2,), "penalty": "weight_decay"},
    {"subnetwork_widths": (3,), "penalty": "path"},
    {"subnetwork_widths": (2, 2), "penalty": "path"},
]


def table(seed=0, n=30, d=2):
    """Return features and targets that rise with the first and fall with the last."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = np.tanh(2 * X[:, 0]) - X[:, -1] ** 3 / 3 + 0.5 * rng.standard_normal(n)
    return X, y


def scores(model, X):
    """Return what is to be monotone."""
    outputs = getattr(model, "decision_function", model.predict)
    return outputs(X)


def assert_keeps_signs(model, directions):
    """Check all paths of the layers, and what is predicted on lines."""
    layers = model.coefs_
    rises, falls = (np.maximum(s * layers[0], 0.0) > 0.0 for s in (1.0, -1.0))
    for W in layers[1:]:
        up, down = W > 0.0, W < 0.0
        rises, falls = (
            (rises @ up) | (falls @ down),
            (rises @ down) | (falls @ up),
        )
    for feature, direction in enumerate(directions):
        if direction:
            assert not (falls if direction > 0 else rises)[feature].any()
    rng = np.random.default_rng(0)
    for _ in range(5):
        line = np.tile(3 * rng.standard_normal(len(directions)), (201, 1))
        line += np.linspace(-5, 5, 201)[:, None] * directions
        values = scores(model, line.astype(layers[0].dtype)).astype(float)
        rounding = 100 * np.finfo(layers[0].dtype).eps * np.abs(values).max()
        assert np.diff(values).min() >= -rounding


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # ``brief`` stays
)
@given(
    shape=st.sampled_from(SHAPES),
    norm=st.sampled_from(["l1", "l2"]),
    loss=st.sampled_from(REGRESSION),
    directions=st.tuples(*[st.sampled_from([-1, 0, 1])] * 2).filter(any),
    hidden_bias=st.booleans(),
    fit_intercept=st.booleans(),
    seed=st.integers(0, 100),
)
def test_predictions_are_monotone(
    brief, shape, norm, loss, directions, hidden_bias, fit_intercept, seed
):
    X, y = table(seed, n=15)
    y = np.abs(y) if loss == "poisson" else y
    model = ConvexReLURegressor(
        0.03,
        loss=loss,
        norm=norm,
        monotonic_cst=directions,
        hidden_bias=hidden_bias,
        fit_intercept=fit_intercept,
        tol=0.1,
        random_state=seed,
        **shape,
    ).fit(X, y)
    assert_keeps_signs(model, directions)
    assert model.lower_bound_ <= model.objective_ * (1 + 1e-12)


@pytest.mark.parametrize("loss", CLASSIFICATION)
@pytest.mark.parametrize("widths", [(), (2,)])
def test_scores_of_the_positive_class_are_monotone(loss, widths, brief):
    X, y = table(3)
    labels = np.where(y > np.median(y), "yes", "no")
    model = ConvexReLUClassifier(
        0.05,
        loss=loss,
        monotonic_cst=[1, -1],
        subnetwork_widths=widths,
        class_weight="balanced",
        tol=1e-2,
        random_state=0,
    ).fit(X, labels)
    assert model.n_neurons_ > 0
    assert_keeps_signs(model, [1, -1])
    if loss == "log_loss":
        line = np.linspace([-3, 0], [3, 0], 50)
        assert (np.diff(model.predict_proba(line)[:, 1]) >= 0).all()


# --- Optima


def half_square(f, y, w):
    return w @ cp.square(f - y) / 2


LOSSES = {
    "squared_error": half_square,
    "absolute_error": lambda f, y, w: w @ cp.abs(f - y),
    "poisson": lambda f, y, w: w @ (cp.exp(f) - cp.multiply(y, f)),
}


def optimum(X, y, alpha, directions, *, norm=2, weights=None, loss="squared_error"):
    """Return the optimum over all patterns and signs, by a statement of its own."""
    Z, w = np.c_[X, np.ones(len(X))], np.ones(len(X)) if weights is None else weights
    return programme(
        Z, y, all_patterns(Z), alpha, directions, norm, w / w.sum(), LOSSES[loss]
    )


def programme(Z, y, patterns, alpha, directions, norm, weights, loss=half_square):
    """Return the optimum over patterns and signs."""
    V, signs, values, sides = units(Z, patterns)
    constraints = [sides >= 0]
    constraints += [
        cp.multiply(way * signs, V[i]) >= 0 for i, way in enumerate(directions) if way
    ]
    value = loss(values @ signs + cp.Variable(), y, weights)
    value = value + alpha * cp.sum(cp.norm(V, norm, axis=0))
    return cp.Problem(cp.Minimize(value), constraints).solve(solver=cp.CLARABEL)


def constant_of_poisson(y):
    """Return what deviances have more than the loss of ``LOSSES``."""
    return np.mean(np.where(y > 0, y * np.log(np.maximum(y, 1e-300)) - y, 0.0))


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("directions", [[1, 0], [-1, 1], [0, -1]])
def test_complete_programmes_have_the_optimum(norm, directions):
    X, y = table(1, n=9)
    weights = np.random.default_rng(0).integers(1, 4, len(X)).astype(float)
    known = optimum(X, y, 0.03, directions, norm=int(norm[1]), weights=weights)
    for solver in ("interior_point", "auto"):
        model = ConvexReLURegressor(
            0.03,
            relative_alpha=False,
            norm=norm,
            monotonic_cst=directions,
            patterns="exact",
            solver=solver,
            tol=1e-6,
        ).fit(X, y, weights)
        assert_allclose([model.objective_, model.lower_bound_], known, atol=1e-6)
        assert model.certificate_.kind == "exact"
        assert_keeps_signs(model, directions)


@pytest.mark.parametrize("loss", LOSSES)
def test_other_losses_have_the_optimum(loss):
    X, y = table(2, n=9)
    y = np.round(np.exp(y)) if loss == "poisson" else y
    known = optimum(X, y, 0.05, [1, -1], loss=loss)
    known += constant_of_poisson(y) if loss == "poisson" else 0.0
    for options in ({"patterns": "exact", "tol": 1e-6}, {"tol": 1e-3}):
        model = ConvexReLURegressor(
            0.05,
            relative_alpha=False,
            loss=loss,
            monotonic_cst=[1, -1],
            random_state=0,
            **options,
        ).fit(X, y)
        assert model.lower_bound_ <= known + 1e-6
        assert known - 1e-6 <= model.objective_ <= known + 1.01 * model.tolerance_


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_adaptive_bounds_are_below_the_optimum(norm):
    """On random tables, some far from zero, some with dependent columns."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X, y = table(seed, n=12, d=1 + seed % 3)
        if seed % 3 == 1:
            X += rng.uniform(-10, 10, X.shape[1])
        if seed % 3 == 2:
            X = X[:, :1] + 0.1 * X
        directions = rng.choice([-1, 0, 1], X.shape[1])
        directions[0] = 1
        options = {"norm": norm, "monotonic_cst": directions, "random_state": seed}
        exact = ConvexReLURegressor(0.02, patterns="exact", tol=1e-7, **options).fit(
            X, y
        )
        if exact.alpha_max_ == 0.0:  # all goes the wrong way
            continue
        for tol in (1e-3, 1e-5):
            model = ConvexReLURegressor(
                exact.alpha_, relative_alpha=False, tol=tol, **options
            ).fit(X, y)
            assert_allclose(model.alpha_max_, exact.alpha_max_, rtol=2e-3)
            # Searches under the 1-norm are not polished: there is more that they miss.
            slack = (0.1 if norm == "l2" else 0.5) * model.tolerance_
            assert model.lower_bound_ <= exact.objective_ + slack
            assert model.objective_ <= exact.objective_ + model.tolerance_ + slack
            assert model.objective_ >= exact.lower_bound_ - 1e-12
            assert_keeps_signs(model, directions)


def test_the_signs_cost_something():
    X, y = table(4, n=40)
    free, up = (
        ConvexReLURegressor(
            0.01, relative_alpha=False, monotonic_cst=cst, random_state=0
        ).fit(X, y)
        for cst in (None, [1, 1])
    )
    assert free.objective_ < up.lower_bound_


def test_alpha_max_is_of_one_side():
    """The least strength of a constant, by the optimum on either side of it."""
    X, y = table(5, n=9)
    model = ConvexReLURegressor(monotonic_cst=[-1, 0], random_state=0).fit(X, y)
    free = ConvexReLURegressor(random_state=0).fit(X, y)
    assert model.alpha_max_ < 0.95 * free.alpha_max_
    constant = np.var(y) / 2
    above, below = (
        optimum(X, y, part * model.alpha_max_, [-1, 0]) for part in (1.001, 0.95)
    )
    assert_allclose(above, constant, rtol=1e-6)
    assert below < constant * (1 - 1e-5)


def test_where_all_goes_the_wrong_way_a_constant_is_best():
    x = np.linspace(-1, 1, 20)[:, None]
    y = -x[:, 0] - x[:, 0] ** 3
    for options in ({}, {"norm": "l1"}, {"patterns": "exact"}, {"patterns": "random"}):
        model = ConvexReLURegressor(
            1e-4, monotonic_cst=[1], random_state=0, **options
        ).fit(x, y)
        assert_allclose(model.predict(x), np.mean(y), atol=1e-9)
        assert model.alpha_max_ == 0.0
        assert_allclose(model.objective_, np.var(y) / 2)
    assert_allclose(optimum(x[::3], y[::3], 1e-4, [1]), np.var(y[::3]) / 2, rtol=1e-5)


# --- Depth


def clipped_line(n=41):
    x = np.linspace(-3, 3, n)
    return x[:, None], np.clip(x, -1, 1)


def test_three_layers_have_the_clipped_line_and_two_have_not():
    x, y = clipped_line()
    options = {"relative_alpha": False, "monotonic_cst": [1], "random_state": 0}
    deep = ConvexReLURegressor(1e-4, subnetwork_widths=(2,), tol=1e-3, **options).fit(
        x, y
    )
    flat = ConvexReLURegressor(1e-6, patterns="exact", tol=1e-6, **options).fit(x, y)
    assert np.abs(deep.predict(x) - y).max() < 0.02
    # At a hundredth of the strength no network of two layers has half as small a loss.
    assert flat.certificate_.kind == "exact"
    assert flat.lower_bound_ > 10 * deep.objective_
    assert flat.score(x, y) < 0.96
    # By hand: relu(2 - relu(1 - x)) - 1 has the signs.
    by_hand = np.maximum(2 - np.maximum(1 - x[:, 0], 0), 0) - 1
    assert_allclose(by_hand, y, atol=1e-12)


def test_two_layers_are_steepest_at_both_ends_together():
    X, y = table(6, n=60, d=1)
    model = ConvexReLURegressor(1e-3, monotonic_cst=[1], random_state=0).fit(X, y)
    line = np.linspace(-50, 50, 100_001)
    slopes = np.diff(model.predict(line[:, None])) / np.diff(line)
    assert slopes.max() <= (slopes[0] + slopes[-1]) * (1 + 1e-6)


@pytest.mark.filterwarnings("error")
def test_two_layers_warn_of_s_shapes(brief):
    X, y = table()
    with pytest.warns(UserWarning, match=r"S shapes.*\(2,\)"):
        ConvexReLURegressor(0.1, monotonic_cst=[1, 0], tol=0.1).fit(X, y)
    for options in ({"subnetwork_widths": (2,)}, {"monotonic_cst": [0, 0]}):
        ConvexReLURegressor(0.1, **{"monotonic_cst": [1, 0]} | options, tol=0.1).fit(
            X, y
        )


@cache
def sampled_cells(*x):
    """Return cells of (2,) sub-networks of one rising feature, by dense sampling."""
    rng, x = np.random.default_rng(0), np.array(x)
    Z, cells = np.c_[x, np.ones(len(x))], {}
    for _ in range(300):
        V = rng.standard_normal((200, 2, 2))
        V[..., 1] -= V[..., 0] * rng.uniform(x.min() - 1, x.max() + 1, (200, 2))
        for signs, side in product([(1, 1), (1, -1)], (1, -1)):
            leaves = V * 1.0
            ways = side * np.array(signs) * np.sign(leaves[..., 0])
            leaves *= ways[..., None]  # turned over whole
            H = leaves @ Z.T
            total = np.maximum(H, 0).transpose(0, 2, 1) @ signs
            for h, t in zip(H > 0, total > 0, strict=True):
                cells[signs, side, h.tobytes(), t.tobytes()] = h, t
    return cells


def subnetwork_optimum(x, y, alpha, decays):
    """Return the optimum over all cells of (2,) sub-networks of one rising feature.

    Cells are what dense sampling finds, so that it may only be too large.
    """
    Z, n, cells = np.c_[x, np.ones(len(x))], len(x), sampled_cells(*x)
    # One column a cell: signs of its leaves, that of its output, patterns of both.
    signs = np.array([key[0] for key in cells]).T
    side = np.array([key[1] for key in cells])
    h = np.array([leaves.T for leaves, _ in cells.values()]).T
    t = np.array([outputs for _, outputs in cells.values()]).T
    V = [cp.Variable((2, len(cells))) for _ in range(2)]
    inner = sum(cp.multiply(h[j] * signs[j], Z @ V[j]) for j in range(2))
    constraints = [cp.multiply(2.0 * h[j] - 1, Z @ V[j]) >= 0 for j in range(2)]
    constraints.append(cp.multiply(2.0 * t - 1, inner) >= 0)
    constraints += [cp.multiply(side * signs[j], V[j][0]) >= 0 for j in range(2)]
    f = cp.multiply(t, inner) @ side + cp.Variable()
    groups = V if decays else [cp.vstack(V)]
    penalty = sum(cp.sum(cp.norm(group, 2, axis=0)) for group in groups)
    value = cp.sum_squares(f - y) / (2 * n) + alpha * penalty
    return cp.Problem(cp.Minimize(value), constraints).solve(solver=cp.CLARABEL)


@pytest.mark.parametrize("penalty", ["path", "weight_decay"])
def test_complete_programmes_of_subnetworks_have_the_optimum(penalty):
    x = np.array([-2.0, -1.1, -0.2, 0.9, 2.0])[:, None]
    y = np.array([-1.0, -0.8, 0.1, 1.0, 0.9])
    known = subnetwork_optimum(x[:, 0], y, 0.003, penalty == "weight_decay")
    options = {
        "relative_alpha": False,
        "monotonic_cst": [1],
        "subnetwork_widths": (2,),
        "penalty": penalty,
    }
    exact = ConvexReLURegressor(0.003, patterns="exact", tol=1e-7, **options).fit(x, y)
    assert exact.certificate_.kind == "exact"
    assert_allclose([exact.objective_, exact.lower_bound_], known, atol=1e-6)
    found = ConvexReLURegressor(0.003, random_state=0, **options).fit(x, y)
    assert found.lower_bound_ <= known + 1e-6
    assert known - 1e-6 <= found.objective_ <= known + found.tolerance_
    assert_allclose(found.alpha_max_, exact.alpha_max_, rtol=1e-4)
    for model in (exact, found):
        assert_keeps_signs(model, [1])


@pytest.mark.parametrize("shape", SHAPES[1:])
@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_sampled_and_given_cells_of_subnetworks(shape, norm):
    X, y = table(7, n=12)
    rng = np.random.default_rng(0)
    n_leaves = int(np.prod(shape["subnetwork_widths"]))
    for patterns in ("random", rng.standard_normal((40, n_leaves, 3))):
        model = ConvexReLURegressor(
            0.01,
            norm=norm,
            monotonic_cst=[1, -1],
            patterns=patterns,
            n_patterns=20,
            random_state=0,
            **shape,
        ).fit(X, y)
        assert model.n_neurons_ > 0
        assert model.certificate_.kind == "restricted"
        assert_keeps_signs(model, [1, -1])


# --- Patterns


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_given_gates_count_where_their_cells_have_the_signs(norm):
    X, y = table(8, n=20)
    gates = np.random.default_rng(0).standard_normal((30, 3))
    model = ConvexReLURegressor(
        0.01, norm=norm, monotonic_cst=[1, -1], patterns=gates, tol=1e-5
    ).fit(X, y)
    assert_keeps_signs(model, [1, -1])
    Z = np.c_[X, np.ones(len(X))]
    patterns = np.unique(gates @ Z.T > 0, axis=0)
    patterns, weights = patterns[patterns.any(axis=1)], np.full(len(y), 1 / len(y))
    known = programme(Z, y, patterns, model.alpha_, [1, -1], int(norm[1]), weights)
    assert_allclose([model.objective_, model.lower_bound_], known, atol=2e-5)


def test_gates_without_the_signs_are_refused():
    X = np.array([[1.0], [2.0], [3.0]])
    # Every sample passed: there is a cell of either sign, but no cell of a fall.
    gates = np.array([[1.0, -1.5]])
    fit = ConvexReLURegressor(0.1, monotonic_cst=[1], patterns=gates).fit
    assert fit(X, [0.0, 1.0, 3.0]).n_neurons_ == 1
    down = ConvexReLURegressor(
        0.1, monotonic_cst=[-1, -1], hidden_bias=False, patterns=[[1.0, -1.0]]
    )
    X = np.array([[1.0, 0.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match="signs that monotonic_cst asks for"):
        down.fit(X, [1.0, 2.0])


# --- Data and options


def fitted(X, y, weights=None, **options):
    options = {"monotonic_cst": [1, -1], "random_state": 0} | options
    return ConvexReLURegressor(0.02, **options).fit(X, y, weights)


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("widths", [(), (2,)])
def test_sparse_rows_and_weights(norm, widths, brief):
    X, y = table(9, n=40)
    X[X < -0.5] = 0.0
    weights = np.random.default_rng(0).integers(0, 3, len(X)).astype(float)
    options = {"norm": norm, "subnetwork_widths": widths}
    dense = fitted(X, y, weights, **options)
    repeated = fitted(
        np.repeat(X, weights.astype(int), axis=0),
        np.repeat(y, weights.astype(int)),
        **options,
    )
    assert_allclose(repeated.objective_, dense.objective_)
    for kind in (sparse.csr_array, sparse.csc_matrix)[: 1 if widths else 2]:
        model = fitted(kind(X), y, weights, **options)
        assert abs(model.objective_ - dense.objective_) <= dense.tolerance_
        assert_keeps_signs(model, [1, -1])


def test_memory_maps_keep_the_signs(tmp_path, monkeypatch):
    monkeypatch.setattr("sklearn_convexrelu.data.rows._CHUNK_ROWS", 70)
    monkeypatch.setattr("sklearn_convexrelu.data.rows._MOST_ENTRIES", 100)
    X, y = table(20, n=400)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    model, known = fitted(mapped, y, tol=1e-2), fitted(X, y, tol=1e-2)
    assert abs(model.objective_ - known.objective_) <= known.tolerance_
    assert_keeps_signs(model, [1, -1])


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("widths", [(), (2,)])
def test_single_precision_and_standardised_features(norm, widths, brief):
    X, y = table(10, n=40)
    X = X * [100.0, 0.1] + [30.0, 0.2]
    model = fitted(X, y, norm=norm, subnetwork_widths=widths, standardize=True)
    assert_keeps_signs(model, [1, -1])
    own = fitted(X / X.std(axis=0), y, norm=norm, subnetwork_widths=widths)
    assert abs(own.objective_ - model.objective_) <= model.tolerance_
    X = (X / X.std(axis=0)).astype(np.float32)
    single = fitted(X, y.astype(np.float32), norm=norm, subnetwork_widths=widths)
    assert single.coefs_[0].dtype == np.float32
    assert_keeps_signs(single, [1, -1])


@pytest.mark.parametrize("widths", [(), (2,)])
def test_degenerate_features(widths, brief):
    X, y = table(11, n=20)
    cases = {
        "constant": np.c_[X, np.full(20, 7.0)],
        "zero": np.c_[X, np.zeros(20)],
        "twice": np.c_[X, X[:, 0]],
        "huge constant": np.c_[X, np.full(20, 1e6)],
    }
    for name, wide in cases.items():
        model = ConvexReLURegressor(
            0.02,
            monotonic_cst=[1, -1, 1],
            subnetwork_widths=widths,
            tol=1e-2,
            random_state=0,
        ).fit(wide, y)
        assert np.isfinite(model.objective_), name
        assert_keeps_signs(model, [1, -1, 1])
    one = ConvexReLURegressor(monotonic_cst=[1, -1]).fit(X[:1], y[:1])
    assert_allclose(one.predict(X[:1]), y[:1])


@pytest.mark.parametrize("tol", [1e-2, 1e-5])
def test_polishing_steps_keep_the_signs(tol):
    """Pruning, merging, finishing, certifying: signs are kept to the bit."""
    X, y = table(12, n=25)
    model = fitted(X, y, tol=tol, pruning=True)
    assert_keeps_signs(model, [1, -1])
    lower = model.lower_bound_
    model.prune(X, y)
    assert_keeps_signs(model, [1, -1])
    model.certify(X, y, time_limit=0.5)
    assert_keeps_signs(model, [1, -1])
    assert model.certificate_.kind == "bound"
    exact = fitted(X, y, patterns="exact", tol=1e-6)
    exact_at = ConvexReLURegressor(
        model.alpha_,
        relative_alpha=False,
        monotonic_cst=[1, -1],
        patterns="exact",
        tol=1e-6,
    ).fit(X, y)
    assert model.lower_bound_ <= exact_at.objective_
    assert lower <= exact_at.objective_ + 0.1 * model.tolerance_
    assert exact.certificate_.kind == "exact"
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict(X), model.predict(X))
    assert clone(model).monotonic_cst == [1, -1]


def test_other_parameters_after_the_fit_are_noticed():
    X, y = table()
    model = fitted(X, y)
    model.set_params(monotonic_cst=np.array([1, -1])).prune(X, y)  # the same
    model.set_params(monotonic_cst=[1, 0])
    with pytest.raises(ValueError, match="monotonic_cst changed since the fit"):
        model.prune(X, y)


@pytest.mark.parametrize("widths", [(), (2,)])
def test_warm_starts(widths, brief):
    X, y = table(13)
    model = fitted(X, y, subnetwork_widths=widths, warm_start=True)
    n_iter = model.n_iter_
    model.set_params(alpha=0.015).fit(X, y)
    assert model.n_iter_ <= n_iter + 5
    assert_keeps_signs(model, [1, -1])
    model.set_params(monotonic_cst=[1, 0]).fit(X, y)  # which those signs keep
    model.set_params(monotonic_cst=[-1, 0])
    with pytest.raises(ValueError, match="without the signs"):
        model.fit(X, y)
    model.set_params(monotonic_cst=None).fit(X, y)


def test_threads_change_nothing():
    X, y = table(14, n=3000, d=3)
    options = {"monotonic_cst": [1, 0, -1], "tol": 1e-2}
    one, two = (fitted(X, y, n_jobs=n_jobs, **options) for n_jobs in (1, 2))
    assert_array_equal(one.coefs_[0], two.coefs_[0])
    assert_keeps_signs(one, [1, 0, -1])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("widths", [(), (2,)])
def test_what_was_reached_in_the_time_keeps_the_signs(widths):
    X, y = table(15, n=500, d=3)
    for limit in (1e-4, 0.2):
        model = fitted(
            X,
            y,
            monotonic_cst=[1, 0, -1],
            subnetwork_widths=widths,
            time_limit=limit,
            tol=1e-6,
        )
        assert_keeps_signs(model, [1, 0, -1])


@pytest.mark.parametrize("kind", [ConvexReLURegressorCV, ConvexReLUClassifierCV])
def test_folds_keep_the_signs(kind):
    X, y = table(16, n=60)
    frame = pd.DataFrame(X, columns=["age", "price"])
    labels = y > np.median(y) if kind is ConvexReLUClassifierCV else y
    model = kind(
        n_alphas=5, eps=1e-2, cv=3, monotonic_cst={"price": -1}, random_state=0
    ).fit(frame, labels)
    assert_keeps_signs(
        kind(n_alphas=5, eps=1e-2, cv=3, monotonic_cst=[0, -1], random_state=0).fit(
            X, labels
        ),
        [0, -1],
    )
    falls = model.coefs_[0][1] * model.coefs_[1][:, 0]
    assert (falls <= 0).all() and (falls < 0).any()


def test_paths_keep_the_signs():
    X, y = table(17)
    path = convex_relu_path(
        X, y, n_alphas=6, eps=1e-2, monotonic_cst=[1, -1], random_state=0
    )
    for network in path.networks:
        assert (network.hidden[0] * network.output[:, 0] >= 0).all()
        assert (network.hidden[1] * network.output[:, 0] <= 0).all()
    alone = ConvexReLURegressor(
        path.alphas[-1], relative_alpha=False, monotonic_cst=[1, -1], random_state=0
    ).fit(X, y)
    assert abs(path.objectives[-1] - alone.objective_) <= alone.tolerance_


# --- Names, messages and refusals


WRONG = [
    ([1], "X"),
    ([1, 2], "X"),
    ([1, np.nan], "X"),
    ({"age": 1}, "X"),
    ({"age": 1, "size": 1}, "frame"),
    ({"age": 3}, "frame"),
    ([1, 0, 1], "frame"),
]


@pytest.mark.parametrize(("cst", "data"), WRONG)
def test_messages_are_those_of_boosting(cst, data):
    X, y = table()
    data = {"X": X, "frame": pd.DataFrame(X, columns=["age", "price"])}[data]
    messages = []
    for model in (HistGradientBoostingRegressor(), ConvexReLURegressor()):
        with pytest.raises(ValueError) as error:
            model.set_params(monotonic_cst=cst).fit(data, y)
        own = type(model).__name__
        messages.append(str(error.value).replace(own, "Estimator"))
    assert messages[0] == messages[1]


def test_names_are_those_of_boosting():
    X, y = table(18)
    frame = pd.DataFrame(X, columns=["age", "price"])
    options = {"tol": 1e-2, "random_state": 0}
    named, listed, array = (
        ConvexReLURegressor(0.05, monotonic_cst=cst, **options).fit(frame, y)
        for cst in ({"price": -1}, [0, -1], np.array([0, -1], dtype=np.int8))
    )
    assert_array_equal(named.coefs_[0], listed.coefs_[0])
    assert_array_equal(array.coefs_[0], listed.coefs_[0])
    boosted = HistGradientBoostingRegressor(monotonic_cst={"price": -1}).fit(frame, y)
    line = pd.DataFrame({"age": 0.0, "price": np.linspace(-3, 3, 99)})
    for model in (named, boosted):
        assert (np.diff(model.predict(line)) <= 0).all()


def test_no_constraint_is_the_parameter_left_alone():
    X, y = table(19)
    plain = ConvexReLURegressor(0.05, random_state=0).fit(X, y)
    for none in ([0, 0], np.zeros(2), None):
        model = ConvexReLURegressor(0.05, monotonic_cst=none, random_state=0)
        assert_array_equal(model.fit(X, y).coefs_[0], plain.coefs_[0])


def test_what_cannot_be_is_refused():
    X, y = table()

    def refuses(match, targets=y, kind=ConvexReLURegressor, **options):
        options = {"monotonic_cst": [1, 0]} | options
        with pytest.raises(ValueError, match=match):
            kind(**options).fit(X, targets)

    refuses("jumps at its gates", activation="gated_relu", patterns="random")
    refuses("rank=1 mixes the features", rank=1)
    refuses("one output", targets=np.c_[y, y])
    refuses("one output", loss="quantile", quantile=[0.1, 0.9])
    refuses("one number a feature", monotonic_cst=[[1, 0], [0, 1]])
    refuses("cannot keep the cone", solver="fista", patterns="random")
    refuses("does not know the signs", skip_connection=True)
    refuses("does not know the signs", skip_connection="free")
    for labels in (np.arange(30) % 3, np.c_[y > 0, y > 1].astype(int)):
        refuses(
            "monotonic constraints are not supported for multiclass classification",
            labels,
            ConvexReLUClassifier,
        )
    with pytest.raises(ValueError, match="monotonic constraints are not supported"):
        HistGradientBoostingClassifier(monotonic_cst=[1, 0]).fit(X, np.arange(30) % 3)
    each = MultiOutputRegressor(ConvexReLURegressor(0.1, monotonic_cst=[1, 0]))
    assert each.fit(X, np.c_[y, -y]).predict(X).shape == (30, 2)


def test_far_features_are_warned_of():
    X, y = table()
    with pytest.warns(UserWarning, match="monotonic_cst: feature 1 is farther"):
        fitted(X + [0.0, 1000.0], y, tol=0.1)


# --- Parts


@pytest.mark.parametrize("directions", [(1, 0), (-1, 0), (0, 1), (1, -1)])
def test_arcs_have_the_largest_price(directions):
    """Against a grid of angles, between whose points prices change by little."""
    monotone = Monotone(directions)
    angles = np.linspace(0, 2 * np.pi, 200_001)[:-1]
    U = np.stack([np.cos(angles), np.sin(angles)])
    U[np.abs(U) < 1e-15] = 0.0
    sided = (monotone.within(U, monotone.sides(U)) == U).all(axis=0)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X = np.c_[rng.integers(-3, 4, 15) + 0.1 * seed, np.ones(15)]
        N = rng.standard_normal((15, 1))
        pricing = ArcPricing(X, monotone)
        found = pricing.price(N, 3)
        grid = np.abs(Prices(X, N, monotone).totals(U[:, sided])).max()
        steepness = np.linalg.norm(X, axis=1) @ np.abs(N[:, 0]) * np.pi / 200_000
        assert grid <= found.prices[0] + pricing.slack(N) <= grid + steepness
        own = Prices(X, N, monotone).totals(found.directions.T)
        assert_allclose(np.abs(own[:, 0]), found.prices, atol=1e-12)
        assert_allclose(np.linalg.norm(found.directions, axis=1), 1.0)


def test_fits_of_one_feature_are_certified_exactly():
    X, y = table(21, n=60, d=1)
    model = ConvexReLURegressor(0.01, monotonic_cst=[1], random_state=0).fit(X, y)
    assert model.certificate_.kind == "exact"
    own = ConvexReLURegressor(
        model.alpha_,
        relative_alpha=False,
        monotonic_cst=[1],
        patterns="exact",
        tol=1e-6,
    ).fit(X, y)
    assert_allclose(model.alpha_max_, own.alpha_max_)
    assert model.lower_bound_ <= own.objective_
    assert model.objective_ >= own.lower_bound_ - 1e-12


def test_sides_along_axes_are_those_of_inputs():
    rng = np.random.default_rng(0)
    X = np.c_[rng.standard_normal((50, 3)) + [0, 20, -3], np.ones(50)]
    monotone, geometry = Monotone((1, -1, 0, 0)), Geometry.of(X)
    sided = sided_along(monotone, geometry, Prices(X, np.ones((50, 1))).rows)
    U = unit(rng.standard_normal((4, 200)))
    sides = rng.choice([-1.0, 1.0], 200)
    V = geometry.coordinates(U)
    assert_array_equal(sided.sides(V), monotone.sides(U))
    for moved in (sided.within(V, sides), sided.turned(V, sides)):
        there = geometry.directions(moved)
        assert (sides * there[0] >= -1e-12).all() and (sides * there[1] <= 1e-12).all()
        assert_allclose(there[2], U[2], atol=1e-12)
    kept = monotone.within(U, sides)
    G = rng.standard_normal((4, 200))
    along = sided.tangent(geometry.coordinates(kept), geometry.coordinates(G), sides)
    there = geometry.directions(along)
    assert_allclose(there, monotone.tangent(kept, G, sides), atol=1e-12)


def test_units_that_are_all_of_the_other_side_are_zero():
    """Not what rounding leaves of them, which has any side once it is scaled."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((30, 3)).astype(np.float32)
    rows = Prices(X, np.ones((30, 1))).rows
    geometry, monotone = Geometry.of(rows), Monotone((1, 1, -1))
    U = np.abs(rng.standard_normal((3, 100))) * [[1.0], [1.0], [-1.0]]
    V = geometry.coordinates(unit(U)).astype(np.float32)
    sided = sided_along(monotone, geometry, rows)
    assert not sided.within(V, -np.ones(100)).any()
    assert_allclose(sided.within(V, np.ones(100)), V, atol=1e-6)


def test_turned_units_keep_their_values_at_the_centre():
    rng = np.random.default_rng(1)
    X = np.c_[rng.standard_normal((50, 2)) + 100, np.full(50, 0.25)]
    centre = centre_of(Prices(X, np.ones((50, 1))).rows)
    assert_allclose(centre, X.mean(axis=0))
    U, sides = rng.standard_normal((3, 20)), rng.choice([-1.0, 1.0], 20)
    turned = Monotone((1, 1, 0)).turned(U, sides, centre)
    assert (sides * turned[:2] >= 0).all()
    assert_array_equal(np.abs(turned[:2]), np.abs(U[:2]))
    assert_allclose(centre @ turned, centre @ U)


def test_polish_stays_in_the_cone_and_rises():
    rng = np.random.default_rng(2)
    X, N = (
        np.c_[rng.standard_normal((40, 3)), np.ones(40)],
        rng.standard_normal((40, 1)),
    )
    monotone = Monotone((1, 0, -1, 0))
    prices = Prices(X, N, monotone)
    U = monotone.turned(rng.standard_normal((4, 50)), np.ones(50))
    U = unit(np.where(rng.random(50) < 0.5, U, -U))
    totals = prices.totals(U)
    live = totals[:, 0] != 0.0
    U, totals = U[:, live], totals[live]
    new = polish(X, N, U, -np.sign(totals), 150, monotone)
    assert monotone.are_kept(new, -np.sign(totals[:, 0]))
    assert (np.abs(prices.totals(new)) >= np.abs(totals) - 1e-9).all()
    assert (np.abs(prices.totals(new)) > 1.1 * np.abs(totals)).mean() > 0.5


@pytest.mark.parametrize("n_samples", [8, 60])
def test_weights_that_cancel_have_a_side(n_samples):
    """Exact prices under the 1-norm took units of both signs, which sum to zero."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X = rng.integers(0, 4, (n_samples, 2)).astype(float)
        y = X[:, 0] - 0.7 * X[:, 1] + rng.standard_normal(n_samples)
        model = ConvexReLURegressor(
            0.05, norm="l1", monotonic_cst=[1, 1], random_state=0
        ).fit(X, y)
        grid, fixed = np.linspace(-1, 5, 30), np.repeat([0.0, 1.5, 3.0], 30)
        for columns in ((np.tile(grid, 3), fixed), (fixed, np.tile(grid, 3))):
            values = model.predict(np.column_stack(columns)).reshape(3, 30)
            assert np.diff(values, axis=1).min() >= -1e-9
