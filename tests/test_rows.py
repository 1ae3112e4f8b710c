"""Rows: whatever table is behind them, they answer as the array would."""

import ast
import os
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import bumps
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import sklearn_convexrelu
from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    _threads,
    convex_relu_path,
)
from sklearn_convexrelu.certificates.certificate import price_bound
from sklearn_convexrelu.data import rows as rows_module
from sklearn_convexrelu.data.rows import Rows
from sklearn_convexrelu.data.statement import state_problem
from sklearn_convexrelu.model.losses import SquaredError
from sklearn_convexrelu.patterns.geometry import Geometry

KINDS = "dense", "sparse", "mapped"


@pytest.fixture
def small_pieces(monkeypatch):
    """Chunks of a few rows, and memory maps that are read block by block at once."""
    monkeypatch.setattr(rows_module, "_CHUNK_ROWS", 70)
    monkeypatch.setattr(rows_module, "_MOST_ENTRIES", 100)


def table(n=250, d=6, seed=0):
    """Some zeros, a constant column, and columns of different size."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * np.logspace(-2, 2, d)
    X[rng.random((n, d)) < 0.5] = 0.0
    X[:, 2] = 3.0
    return X


def as_kind(X, kind, tmp_path):
    if kind == "sparse":
        return sparse.csr_array(X)
    if kind == "mapped":
        path = tmp_path / f"{X.shape[0]}x{X.shape[1]}{X.dtype}.npy"
        np.save(path, X)
        return np.load(path, mmap_mode="r")
    return X


def views(X, kind, tmp_path):
    """Rows of every make, and the arrays that they stand for."""
    n, d = X.shape
    whole = Rows.of(as_kind(X, kind, tmp_path), 1.0)
    ones, plain = np.c_[X, np.ones(n)], Rows.of(as_kind(X, kind, tmp_path))
    yield plain, X
    yield whole, ones
    yield whole.divided(8.0), ones / 8
    varying = np.arange(d + 1) % 2 == 0
    kept = np.flatnonzero(varying[:d])
    yield whole.with_constant(varying, 5.0), np.c_[X[:, kept], np.full(n, 5.0)]
    axes = np.linalg.qr(np.random.default_rng(3).standard_normal((d + 1, d + 1)))[0]
    yield whole.divided(4.0).along(axes, np.float64), ones / 4 @ axes
    yield whole.take(slice(None, None, 3)), ones[::3]
    yield whole.take(np.array([5, 2, 100])), ones[[5, 2, 100]]


@pytest.mark.parametrize("kind", KINDS)
def test_products_and_sums_are_those_of_the_array(kind, tmp_path, small_pieces):
    rng = np.random.default_rng(1)
    for rows, A in views(table(), kind, tmp_path):
        assert (len(rows), rows.n_inputs) == A.shape
        U, E = rng.standard_normal((A.shape[1], 4)), rng.standard_normal((len(A), 3))
        v = rng.random(len(A))
        assert_allclose(rows.values(U), A @ U, atol=1e-12 * np.abs(A).max())
        assert_allclose(rows.sums(E), A.T @ E, atol=1e-11 * np.abs(A).max())
        moments = (A.T * v) @ A
        assert_allclose(rows.moments(v), moments, atol=1e-12 * np.abs(moments).max())
        assert_allclose(
            np.vstack([b.dense() for _, b in rows.blocks(9)]), A, atol=1e-12
        )
        (sums,) = rows.reduce(weighted_sums, 3, v[:, None], E)
        assert_allclose(sums, A.T @ (v[:, None] * E), atol=1e-11 * np.abs(A).max())


def weighted_sums(block, rows, v, E):
    return (block.weighted_sums(v[rows], E[rows]),)


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_sizes_and_squares(kind, tmp_path, small_pieces):
    for rows, A in views(table(), kind, tmp_path):
        if rows.axes is not None:
            with pytest.raises(ValueError, match="not along axes"):
                _ = rows.bounds
            continue
        if not rows.is_plain and rows.dtype != np.float64:
            continue
        assert_array_equal(rows.bounds, [A.min(axis=0), A.max(axis=0)])
        assert_array_equal(rows.sizes, np.abs(A).max(axis=0))
        divisors = 1.0 + np.arange(A.shape[1])
        assert_allclose(rows.squared_lengths(divisors), (A**2 / divisors).sum(axis=1))
        assert_allclose(rows.column_squares(), (A**2).sum(axis=0))
        N = np.random.default_rng(1).standard_normal((len(A), 2))
        totals = np.maximum(A, 0).T @ N, np.maximum(-A, 0).T @ N
        assert_allclose(rows.input_totals(N), totals, atol=1e-11 * np.abs(A).max())
        logs = [np.log(np.abs(a[a != 0])) for a in A.T]
        means = [np.exp(each.mean()) if len(each) else 1.0 for each in logs]
        assert_allclose(rows.typical_sizes(), means)


@pytest.mark.parametrize("kind", KINDS)
def test_single_precision_is_cast_block_by_block(kind, tmp_path, small_pieces):
    X = table().astype(np.float32)
    rows = Rows.of(as_kind(X, kind, tmp_path), 1.0)
    U = np.random.default_rng(0).standard_normal((7, 3))
    expected = np.c_[X, np.ones(len(X))].astype(np.float64) @ U
    assert rows.values(U).dtype == np.float64
    assert_allclose(rows.values(U), expected, rtol=1e-12)
    assert rows.values(U.astype(np.float32)).dtype == np.float32
    rough = rows.divided(2.0).along(None, np.float32)
    assert rough.dtype == np.float32
    assert_allclose(rough.values(U.astype(np.float32)), expected / 2, rtol=1e-4)


def test_units_beyond_what_products_hold_are_divided_out():
    X = np.array([[1e200, -3e200], [2e200, 0.0]])
    for Z in (X, sparse.csr_array(X)):
        rows = Rows.of(Z).divided(2.0**600)
        assert_allclose(rows.values(np.eye(2)), X / 2.0**600)


def test_what_needs_an_array_says_so(monkeypatch):
    monkeypatch.setattr(rows_module, "_MOST_ENTRIES", 15_000)
    X = sparse.random_array((5000, 5), density=0.3, rng=np.random.default_rng(0))
    y = X.toarray().sum(axis=1)
    for options in ({"patterns": "random"}, {"rank": 2}):
        with pytest.raises(ValueError, match="as one dense array"):
            ConvexReLURegressor(**options).fit(X, y)
    model = ConvexReLURegressor(0.1, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="as one dense array"):
        model.certify(X, y)


# The same network whatever the table


def one_hot(n=300, seed=0):
    """Half numbers, half indicators, in a sparse matrix."""
    rng = np.random.default_rng(seed)
    codes, numbers = rng.integers(8, size=n), rng.standard_normal((n, 3))
    y = np.sin(2 * numbers[:, 0]) + 0.3 * codes + np.maximum(numbers[:, 1], 0)
    return np.c_[numbers, np.eye(8)[codes]], y + 0.1 * rng.standard_normal(n)


def within(model, other):
    """Tell whether objectives differ by no more than the tolerances allow."""
    slack = max(model.tolerance_, other.tolerance_)
    return abs(model.objective_ - other.objective_) <= slack


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"loss": "huber", "huber_threshold": 0.5},
        {"subnetwork_widths": (2,), "tol": 1e-2},
        {"patterns": "random", "n_patterns": 30},
        {"patterns": "random", "n_patterns": 30, "activation": "gated_relu"},
        {"rank": 4},
        {"hidden_bias": False, "fit_intercept": False},
        {"pruning": True},
    ],
)
def test_sparse_equals_dense(options, brief):
    X, y = one_hot()
    dense = ConvexReLURegressor(0.05, random_state=0, **options).fit(X, y)
    forms = [sparse.csr_matrix, sparse.csc_array, sparse.coo_matrix]
    for form in forms[: None if not options else 1]:  # options come after forms
        model = clone(dense).fit(form(X), y)
        assert within(model, dense)
        size = np.sqrt(model.tolerance_)
        gap = np.sqrt(np.mean((model.predict(form(X)) - dense.predict(X)) ** 2))
        assert gap <= 2 * size
        assert_allclose(model.predict(form(X)), model.predict(X), atol=1e-10)


@pytest.mark.parametrize("loss", ["log_loss", "squared_hinge"])
def test_sparse_classes(loss):
    X, y = one_hot()
    labels = np.digitize(y, [0.5, 1.5])
    model = ConvexReLUClassifier(0.05, loss=loss, random_state=0)
    dense = clone(model).fit(X, labels)
    assert within(model.fit(sparse.csr_array(X), labels), dense)
    assert_allclose(model.predict_proba(X), dense.predict_proba(X), atol=0.1) if (
        loss == "log_loss"
    ) else None


def test_weights_are_repetitions_of_sparse_rows_too():
    X, y = one_hot(80)
    X, y = np.round(X, 1), np.round(y, 1)
    counts = np.random.default_rng(0).integers(0, 4, size=80)
    twice = np.repeat(np.arange(80), counts)
    shuffled = np.random.default_rng(1).permutation(twice)
    model = ConvexReLURegressor(0.1, random_state=0)
    fits = [
        clone(model).fit(sparse.csr_array(X), y, counts),
        clone(model).fit(sparse.csr_array(X[shuffled]), y[shuffled]),
    ]
    assert fits[0].objective_ == fits[1].objective_
    assert_array_equal(fits[0].coefs_[0], fits[1].coefs_[0])


def test_stored_zeros_and_unsorted_columns_change_nothing():
    X, y = one_hot(100)
    A = sparse.csr_array(X)
    order = [
        np.arange(a, b)[::-1] for a, b in zip(A.indptr, A.indptr[1:], strict=False)
    ]
    order = np.concatenate(order)
    odd = sparse.csr_array((A.data[order], A.indices[order], A.indptr), A.shape)
    ends = A.indptr.copy()
    ends[-1] += 1
    at = np.setdiff1d(np.arange(11), A.indices[A.indptr[-2] :])[:1]
    zeros = sparse.csr_array((np.r_[A.data, 0.0], np.r_[A.indices, at], ends), A.shape)
    kept = odd.copy(), zeros.copy()
    expected = ConvexReLURegressor(0.1, random_state=0).fit(A, y).objective_
    for B, before in zip((odd, zeros), kept, strict=True):
        model = ConvexReLURegressor(0.1, random_state=0).fit(B, y)
        assert model.objective_ == expected
        assert_array_equal(B.data, before.data)  # the user's own is left alone


def test_sparse_folds_and_paths():
    X, y = one_hot(150)
    A = sparse.csr_array(X)
    options = {"n_alphas": 4, "eps": 0.05, "cv": 3, "random_state": 0}
    model = ConvexReLURegressorCV(**options).fit(A, y)
    dense = ConvexReLURegressorCV(**options).fit(X, y)
    assert_allclose(model.cv_scores_, dense.cv_scores_, atol=0.03)
    labels = np.digitize(y, [0.5, 1.5])
    ConvexReLUClassifierCV(**options).fit(A, labels).predict(A)
    path = convex_relu_path(A, y, n_alphas=3, eps=0.1, random_state=0)
    assert_allclose(path.networks[-1].forward(A), path.networks[-1].forward(X))


def test_a_table_of_words_with_all_defaults():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "town": rng.choice(["Lyon", "Nice", "Metz"], 200),
            "kind": rng.choice(list("abcdefgh"), 200),
            "size": rng.standard_normal(200),
        }
    )
    y = frame["size"] * (frame["town"] == "Lyon") + 0.1 * rng.standard_normal(200)
    columns = ColumnTransformer(
        [
            ("words", OneHotEncoder(handle_unknown="ignore"), ["town", "kind"]),
            ("numbers", StandardScaler(), ["size"]),
        ],
        sparse_threshold=1.0,
    )
    model = make_pipeline(columns, ConvexReLURegressor()).fit(frame, y)
    assert sparse.issparse(model[:-1].transform(frame))
    assert model.score(frame, y) > 0.8


@pytest.mark.filterwarnings("ignore:Feature .* varies:UserWarning")
def test_many_columns_need_no_matrix_of_them():
    rng = np.random.default_rng(0)
    X = sparse.random_array((200, 10_000), density=3e-3, rng=rng, format="csr")
    y = X[:, :1000].sum(axis=1)
    geometry = Geometry.of(Rows.of(X, 1.0))
    assert geometry.axes is None and geometry.squares.shape == (10_001,)
    model = ConvexReLURegressor(0.3, tol=1e-2, random_state=0).fit(X, y)
    assert model.dual_gap_ <= model.tolerance_
    assert np.isfinite(model.certificate_.proven_lower_bound)


def test_the_bound_without_a_matrix_is_one(monkeypatch):
    X, y = one_hot(60)
    stated = state_problem(
        X,
        y[:, None],
        np.ones(60),
        SquaredError(),
        fit_intercept=True,
        hidden_bias=True,
    )
    N = np.random.default_rng(0).standard_normal((len(stated.rows), 2))
    tight = price_bound(stated, N)
    monkeypatch.setattr("sklearn_convexrelu.certificates.certificate._MOST_INPUTS", 1)
    assert tight <= price_bound(stated, N) < np.inf


# Memory maps


def test_a_memory_map_is_trained_on_block_by_block(tmp_path, small_pieces, monkeypatch):
    X, y = bumps(400, 3)
    dense = ConvexReLURegressor(0.05, random_state=0).fit(X, y)
    mapped = as_kind(X, "mapped", tmp_path)

    whole = Rows.array

    def of_few(rows, *args):
        assert len(rows) < 400 or not rows.is_mapped
        return whole(rows, *args)

    monkeypatch.setattr(Rows, "array", of_few)
    monkeypatch.setattr("sklearn_convexrelu.patterns.geometry.FEW_ROWS", 30)
    largest = []
    read = rows_module._read

    def watched(*args):
        part = read(*args)
        largest.append(len(part))
        return part

    monkeypatch.setattr(rows_module, "_read", watched)
    model = clone(dense).fit(mapped, y)
    assert max(largest) <= 70
    assert within(model, dense)
    assert_allclose(model.predict(mapped), model.predict(X))


def test_memory_maps_that_cannot_be(tmp_path, small_pieces):
    X, y = bumps(200, 3)
    mapped = as_kind(X, "mapped", tmp_path)
    weights = np.ones(200)
    weights[7] = 0.0
    with pytest.raises(ValueError, match="must be positive"):
        ConvexReLURegressor().fit(mapped, y, weights)
    with pytest.raises(ValueError, match="float32 or float64"):
        ConvexReLURegressor().fit(as_kind(X.astype(int), "mapped", tmp_path), y)
    X[50, 1] = np.nan
    holed = as_kind(X[:, :2].copy(), "mapped", tmp_path)
    with pytest.raises(ValueError, match="NaN"):
        ConvexReLURegressor().fit(holed, y)
    with pytest.raises(ValueError, match="3 features"):
        ConvexReLURegressor(0.1).fit(mapped, y).predict(holed[:, :1].repeat(40, axis=1))


def test_small_memory_maps_are_arrays_like_any_other(tmp_path):
    X, y = bumps(200, 3)
    expected = ConvexReLURegressor(0.1, random_state=0).fit(X, y)
    model = ConvexReLURegressor(0.1, random_state=0)
    model.fit(as_kind(X, "mapped", tmp_path), y)
    assert_array_equal(model.coefs_[0], expected.coefs_[0])


@pytest.mark.parametrize("kind", ["sparse", "mapped"])
def test_columns_that_are_no_inputs_do_not_leave_single_precision(
    kind, tmp_path, request
):
    if kind == "mapped":
        request.getfixturevalue("small_pieces")
    X, y = bumps(150, 4)
    X[:, 2] = 1e50
    dense = ConvexReLURegressor(0.1, random_state=0).fit(X, y)
    model = clone(dense).fit(as_kind(X, kind, tmp_path), y)
    assert_allclose(model.alpha_max_, dense.alpha_max_, rtol=1e-3)
    assert within(model, dense)


@pytest.mark.parametrize("scale", [1e-60, 1e60])
def test_memory_maps_of_any_scale(scale, tmp_path, small_pieces):
    X, y = bumps(150, 4)
    dense = ConvexReLURegressor(0.1, hidden_bias=False, random_state=0)
    dense.fit(X * scale, y)
    model = clone(dense).fit(as_kind(X * scale, "mapped", tmp_path), y)
    assert_allclose(model.alpha_max_, dense.alpha_max_, rtol=1e-3)
    assert within(model, dense)


def test_memory_maps_with_weights_of_any_size(tmp_path, small_pieces):
    X, y = bumps(150, 4)
    weights = 1.0 + np.random.default_rng(0).random(150)
    dense = ConvexReLURegressor(0.1, random_state=0).fit(X, y, weights)
    mapped = as_kind(X, "mapped", tmp_path)
    assert within(clone(dense).fit(mapped, y, 1e307 * weights / 2), dense)


def test_order_of_sparse_rows_beside_a_large_column():
    X, y = one_hot(80)
    X, y = np.c_[np.round(X, 1), np.full(80, 1e17)], np.round(y, 1)
    counts = np.random.default_rng(0).integers(0, 4, size=80)
    shuffled = np.random.default_rng(1).permutation(np.repeat(np.arange(80), counts))
    model = ConvexReLURegressor(0.1, random_state=0)
    one = clone(model).fit(sparse.csr_array(X), y, counts)
    other = clone(model).fit(sparse.csr_array(X[shuffled]), y[shuffled])
    assert one.objective_ == other.objective_


# Threads


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_any_number_of_threads_gives_the_same_bits(kind, tmp_path, monkeypatch, brief):
    monkeypatch.setattr(rows_module, "_CHUNK_ROWS", 64)
    X, y = bumps(400, 4)
    X = as_kind(X, kind, tmp_path)
    labels = np.digitize(y, [0.0, 1.0])
    for model, target in (
        (ConvexReLURegressor(0.05, random_state=0), y),
        (ConvexReLUClassifier(0.05, random_state=0), labels),
        (ConvexReLURegressor(0.2, subnetwork_widths=(2,), tol=1e-2, random_state=0), y),
    ):
        one = clone(model).set_params(n_jobs=1).fit(X, target)
        for n_jobs in (2, 3):
            other = clone(model).set_params(n_jobs=n_jobs).fit(X, target)
            assert other.lower_bound_ == one.lower_bound_
            for A, B in zip(one.coefs_, other.coefs_, strict=True):
                assert_array_equal(A, B)


def test_threads_raise_no_warnings_and_end(monkeypatch):
    import threading

    monkeypatch.setattr(rows_module, "_CHUNK_ROWS", 64)
    X, y = bumps(300, 3)
    before = threading.active_count()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ConvexReLURegressor(0.05, n_jobs=3, random_state=0).fit(X * 1e12, y)
    assert threading.active_count() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_process_forked_within_a_fit_has_no_pool():
    rows = Rows.of(np.ones((40_000, 2)))
    with _threads.training_threads(2):
        rows.sums(np.ones((40_000, 1)))
        child = os.fork()
        if child == 0:  # a hang here would be one of the parent's waiting
            signal.alarm(20)
            right = rows.sums(np.ones((40_000, 1))).sum() == 80_000
            os._exit(0 if right else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_one_thread_within_a_grid_search(monkeypatch):
    counts = []
    pool = _threads.ThreadPoolExecutor

    def counted(*args, **options):
        counts.append(args)
        return pool(*args, **options)

    monkeypatch.setattr(_threads, "ThreadPoolExecutor", counted)
    X, y = bumps(60, 2)
    model = ConvexReLURegressor(n_jobs=2, tol=1e-2, random_state=0)
    search = GridSearchCV(model, {"alpha": [0.1, 0.3]}, cv=2, refit=False, n_jobs=2)
    from joblib import parallel_config

    with parallel_config("threading"):
        search.fit(X, y)
    assert counts == []
    model.fit(X, y)
    assert len(counts) == 1


# The one door

#: Where the array itself is asked for, and why it cannot be done without.
ASKING_FOR_THE_ARRAY = {
    "certificates.relaxation.descent",  # semidefinite bounds: neighbours of rows
    "certificates.relaxation.one_norm",  # linear ones: rows of their programmes
    "certificates.relaxation.search",
    "adaptive.finish",  # a programme over cells
    "data.rows",
    "data.statement",  # equal rows are found by sorting the table
    "model.problem",
    "model.unpenalised",  # free columns, where a programme needs the array too
    "model.pruning",  # values of gated units, some rows at a time
    "patterns.geometry",  # a sample
    "pricing.exact",
    "pricing.l1",  # exact pricing
    "pricing.pairs",  # exact pricing of few rows
    "pricing.search",
    "pricing.subnetworks",
    "programmes.central_path",
    "programmes.chosen_patterns",
    "programmes.cvxpy_backend",
    "programmes.fista",
    "programmes.fixed_patterns",
    "programmes.generated_cells",
    "programmes.group_lasso",
    "programmes.linear_map",
    "programmes.low_rank",
    "programmes.chosen_solver",
    "programmes.newton_system",
    "programmes.recovery",
    "programmes.second_order_cones",
    "_posthoc",  # cone decomposition
}


def test_the_array_is_asked_for_in_known_places_alone():
    root, found = Path(sklearn_convexrelu.__file__).parent, set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Attribute):
                continue
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else None
            owner = node.value.id if isinstance(node.value, ast.Name) else owner
            is_array = node.attr == "X" and owner in ("problem", "scaled")
            if is_array or (node.attr in ("array", "table") and owner != "np"):
                found.add(".".join(path.relative_to(root).with_suffix("").parts))
    assert found - ASKING_FOR_THE_ARRAY == set()
