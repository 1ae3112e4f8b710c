"""Dask collections: the same networks, from rows that stay on the workers."""

import pickle
import threading
import time

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import bumps
from sklearn.base import clone
from sklearn.metrics import accuracy_score, r2_score
from test_rows import table, views, weighted_sums

from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    convex_relu_path,
)
from sklearn_convexrelu.certificates.certificate import price_bound
from sklearn_convexrelu.data import cluster as cluster_module
from sklearn_convexrelu.data.cluster import Cluster, Spread, Traffic
from sklearn_convexrelu.data.rows import Rows, largest, scaled
from sklearn_convexrelu.model.losses import (
    Huber,
    Logistic,
    Poisson,
    Softmax,
    SquaredError,
    SquaredHinge,
)
from sklearn_convexrelu.model.problem import Problem

distributed = pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")

pytestmark = [
    # Of dask itself: sockets and event loops that it closes late, and words on graphs.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Sending large graph:UserWarning"),
]


def workers(n_workers, threads_per_worker, processes):
    """Return a cluster on this machine, which says nothing."""
    return distributed.LocalCluster(
        n_workers=n_workers,
        threads_per_worker=threads_per_worker,
        processes=processes,
        dashboard_address=":0",
        silence_logs=50,
    )


@pytest.fixture(scope="module")
def client():
    """Two workers in this process."""
    with (
        workers(2, 1, processes=False) as cluster,
        distributed.Client(cluster) as client,
    ):
        # Messages wait up to 10 ms for others to go with them: a third of the time.
        client.scheduler_comm.interval = 0.0
        yield client


def spread(A, client, lengths):
    """Return an array in parts on the workers."""
    ends = np.cumsum(lengths)
    parts = [A[end - n : end] for n, end in zip(lengths, ends, strict=True)]
    cluster = Cluster(client, tuple(lengths), Traffic())
    return Spread(cluster, A.shape[1:], A.dtype).fill(client.scatter(parts, hash=False))


def back(samples):
    """Return samples as an array."""
    if not isinstance(samples, Spread):
        return samples
    return np.concatenate(samples.cluster.run(np.asarray, samples))


def within(model, other, part=0.1):
    """Tell whether objectives differ by a part of the tolerance."""
    return abs(model.objective_ - other.objective_) <= part * other.tolerance_


# Rows


def pairs(X, client, lengths, tmp_path):
    """Rows on workers, those of the array, and the array that both stand for."""
    local = list(views(X, "dense", tmp_path))
    whole = Rows.of(spread(X, client, lengths), 1.0)
    varying = np.arange(X.shape[1] + 1) % 2 == 0
    d = X.shape[1] + 1
    axes = np.linalg.qr(np.random.default_rng(3).standard_normal((d, d)))[0]
    there = [
        Rows.of(spread(X, client, lengths)),
        whole,
        whole.divided(8.0),
        whole.with_constant(varying, 5.0),
        whole.divided(4.0).along(axes, np.float64),
        whole.take(slice(None, None, 3)),
        whole.take(np.array([5, 2, 100])),
    ]
    return [(rows, *pair) for rows, pair in zip(there, local, strict=True)]


@pytest.mark.parametrize("lengths", [(250,), (100, 7, 143)])
def test_rows_on_workers_answer_as_the_array(lengths, client, tmp_path):
    rng = np.random.default_rng(1)
    for rows, local, A in pairs(table(), client, lengths, tmp_path):
        assert (len(rows), rows.n_inputs) == A.shape
        U, E = rng.standard_normal((A.shape[1], 4)), rng.standard_normal((len(A), 3))
        v, size = rng.random(len(A)), np.abs(A).max()
        if rows.is_spread:
            E_there, v_there = (spread(each, client, lengths) for each in (E, v))
            with pytest.raises(ValueError, match="on the workers"):
                rows.array()
            assert not rows.has_array
        else:  # a few that were taken
            E_there, v_there = E, v
        assert_allclose(back(rows.values(U)), A @ U, atol=1e-12 * size)
        assert_allclose(rows.sums(E_there), A.T @ E, atol=1e-11 * size)
        moments = (A.T * v) @ A
        assert_allclose(
            rows.moments(v_there), moments, atol=1e-12 * np.abs(moments).max()
        )
        column = v_there if not rows.is_spread else spread(v[:, None], client, lengths)
        column = v[:, None] if not rows.is_spread else column
        (sums,) = rows.reduce(weighted_sums, 3, column, E_there)
        assert_allclose(sums, A.T @ (v[:, None] * E), atol=1e-11 * size)
        if rows.axes is None and local.axes is None and local.is_plain is rows.is_plain:
            assert_array_equal(rows.bounds, local.bounds)
            assert_allclose(rows.typical_sizes(), local.typical_sizes())
            assert_allclose(back(rows.squared_lengths()), local.squared_lengths())
            assert_allclose(rows.column_squares(v_there), local.column_squares(v))
            for sign in (None, 1, -1):
                totals = local.input_totals(E, sign)
                found = rows.input_totals(E_there, sign)
                assert_allclose(found, totals, atol=1e-11 * size)
    weights = np.random.default_rng(2).random(250)
    X = table()
    assert_allclose(
        Rows.of(spread(X, client, lengths)).deviations(
            spread(weights, client, lengths)
        ),
        Rows.of(X).deviations(weights),
        rtol=1e-12,
        atol=1e-12,
    )


def test_samples_on_workers(client, monkeypatch):
    monkeypatch.setattr(cluster_module, "_FEW", 20)
    A = np.random.default_rng(0).standard_normal((90, 2))
    there = spread(A, client, (50, 1, 39))
    assert there.shape == A.shape and there.ndim == 2 and len(there) == 90
    assert_array_equal(there[np.array([88, 3, 50, 3])], A[[88, 3, 50, 3]])
    many = np.flatnonzero(np.arange(90) % 3 != 2)
    many = many[many != 50]  # a part that has none
    taken = there[many]
    assert taken.cluster.lengths == (34, 26)
    assert_array_equal(back(taken), A[many])
    same = there.constant(np.array([1.0, 2.0]))
    assert_array_equal(back(same[many]), np.tile([1.0, 2.0], (len(many), 1)))
    assert_array_equal(same[:5], np.tile([1.0, 2.0], (5, 1)))
    assert_array_equal(
        back((there + np.array([1.0, 2.0])) * there / 2.0), (A + [1, 2]) * A / 2
    )
    assert_array_equal(there.bounds(), [A.min(axis=0), A.max(axis=0)])
    assert (there.min(), there.max()) == (A.min(), A.max())
    assert_allclose(there.sum(), A.sum())
    assert largest(there) == largest(A)
    assert_array_equal(back(scaled(there, 3.0, np.float32)), scaled(A, 3.0, np.float32))
    with pytest.raises(TypeError, match="not made an array"):
        np.asarray(there)
    with pytest.raises(TypeError, match="by rows alone"):
        there[:, None]
    with pytest.raises(ValueError, match="in their order"):
        there[many[::-1]]


# Losses


def targets(loss, n, rng):
    if isinstance(loss, Softmax):
        return np.eye(3)[rng.integers(3, size=n)]
    if isinstance(loss, Poisson):
        return rng.poisson(2.0, (n, 2)).astype(float)
    if isinstance(loss, Logistic):
        return rng.integers(2, size=(n, 2)).astype(float)
    if isinstance(loss, SquaredHinge):
        return 2.0 * rng.integers(2, size=(n, 2)) - 1.0
    return rng.standard_normal((n, 2))


@pytest.mark.parametrize(
    "loss",
    [SquaredError(), Huber(0.2), Poisson(), Logistic(), Softmax(), SquaredHinge()],
    ids=lambda loss: type(loss).__name__,
)
def test_losses_of_samples_on_workers(loss, client):
    rng, n, lengths = np.random.default_rng(0), 120, (70, 50)
    X, Y = rng.standard_normal((n, 3)), targets(loss, n, rng)
    F, weights = rng.standard_normal(Y.shape), rng.random(n)
    weights /= weights.sum()
    local = Problem(X, Y, weights, loss, 0.1, True)
    there = Problem(
        *(spread(each, client, lengths) for each in (X, Y, weights)), loss, 0.1, True
    )
    F_there = spread(F, client, lengths)
    assert_allclose(there.loss_at(F_there), local.loss_at(F), rtol=1e-12)
    assert_allclose(there.loss_scale(), local.loss_scale(), rtol=1e-9)
    b = there.best_intercept(F_there)
    assert_allclose(local.loss_at(F + b), local.loss_at(F + local.best_intercept(F)))
    slope = local.gradient_at(F + b)
    assert np.abs(slope.sum(axis=0)).max() <= 1e-6 * np.abs(slope).sum()
    N = local.gradient_at(F + 0.1)
    balanced = back(there.balanced(spread(N, client, lengths)))
    assert_allclose(balanced, local.balanced(N), atol=1e-14)
    N = local.balanced(N)
    N_there = spread(N, client, lengths)
    assert_allclose(there.conjugate(N_there), local.conjugate(N))
    assert_allclose(price_bound(there, N_there), price_bound(local, N))
    for limit in (0.3, 1.0, 1.7, 50.0):
        expected = local.best_dual_value(N, limit)
        found = there.best_dual_value(N_there, limit)
        assert (
            expected - 1e-3 * abs(expected) <= found <= expected + 1e-5 * abs(expected)
        )


def test_intercepts_that_newton_does_not_find(client):
    """Next to no curvature far out: the slope is bracketed."""
    rng, n = np.random.default_rng(0), 60
    Y, weights = rng.integers(2, size=(n, 1)).astype(float), np.full(n, 1 / n)
    F = 80.0 * rng.choice([-1.0, 1.0], (n, 1)) + 300.0
    X = np.zeros((n, 1))
    there = Problem(
        *(spread(each, client, (25, 35)) for each in (X, Y, weights)),
        Logistic(),
        0.1,
        True,
    )
    local = Problem(X, Y, weights, Logistic(), 0.1, True)
    b = there.best_intercept(spread(F, client, (25, 35)))
    assert local.loss_at(F + b) <= local.loss_at(F + local.best_intercept(F)) + 1e-9


# Fits


def collections(X, y, chunks, weights=None):
    given = [da.from_array(each, chunks=(chunks, *each.shape[1:])) for each in (X, y)]
    return given if weights is None else [*given, da.from_array(weights, chunks=chunks)]


def test_any_partition_gives_the_network_of_the_array(client):
    X, y = bumps(300, 3)
    weights = np.random.default_rng(0).integers(0, 3, size=300).astype(float)
    local = ConvexReLURegressor(0.3, tol=1e-2, random_state=0).fit(X, y, weights)
    for chunks in ((10, 200, 90), 70):
        model = clone(local).fit(*collections(X, y, chunks, weights))
        assert within(model, local)
        assert model.status_ is local.status_
        F = X @ model.coefs_[0] + model.intercepts_[0]
        F = np.maximum(F, 0) @ model.coefs_[1][:, 0] + model.intercepts_[1]
        loss = weights @ (F - y) ** 2 / 2 / weights.sum()
        W = np.vstack([model.coefs_[0], model.intercepts_[0]])
        penalty = np.linalg.norm(W, axis=0) @ np.abs(model.coefs_[1][:, 0])
        assert_allclose(model.objective_, loss + model.alpha_ * penalty, rtol=1e-9)
        assert_allclose(model.alpha_max_, local.alpha_max_, rtol=1e-4)
    pickle.loads(pickle.dumps(model)).predict(X)
    X_there, y_there, w_there = collections(X, y, 70, weights)
    predicted = model.predict(X_there)
    assert isinstance(predicted, da.Array)
    assert predicted.shape == (300,) and predicted.dtype == np.float64
    assert_allclose(predicted.compute(), model.predict(X))
    expected = r2_score(y, model.predict(X), sample_weight=weights)
    assert_allclose(model.score(X_there, y_there, w_there), expected)


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "huber", "huber_threshold": 0.5, "standardize": True},
        {"norm": "l1", "hidden_bias": False, "fit_intercept": False},
        {"subnetwork_widths": (2,), "alpha": 0.5, "tol": 5e-2},
        {"loss": "poisson"},
    ],
)
def test_options_of_the_regressor(options, client, brief):
    X, y = bumps(150, 2)
    X = X.astype(np.float32)
    y = np.exp(y / 2) if options.get("loss") == "poisson" else y
    options = {"alpha": 0.3, "tol": 1e-2, **options}
    local = ConvexReLURegressor(random_state=0, **options).fit(X, y)
    model = clone(local).fit(*collections(X, y, 80))
    assert within(model, local, 1.0)
    assert model.coefs_[0].dtype == local.coefs_[0].dtype
    assert model.dual_gap_ <= model.tolerance_


def labels_of(kind, y):
    if kind == "multilabel":
        return np.c_[y > 0, y > 0.5].astype(int)
    if kind == "three":
        return np.digitize(y, np.quantile(y, [0.3, 0.7]))
    return np.where(y > np.median(y), "yes", "no")


@pytest.mark.parametrize(
    "kind, class_weight",
    [("words", "balanced"), ("three", None), ("multilabel", "balanced")],
)
def test_classifiers(kind, class_weight, client):
    X, y = bumps(200, 2)
    labels = labels_of(kind, y)
    local = ConvexReLUClassifier(
        0.4, class_weight=class_weight, tol=1e-2, random_state=0
    ).fit(X, labels)
    X_there, y_there = collections(X, labels, 110)
    model = clone(local).fit(X_there, y_there)
    assert within(model, local)
    assert_array_equal(model.classes_, local.classes_)
    for method in (
        "predict",
        "predict_proba",
        "decision_function",
        "predict_log_proba",
    ):
        lazily = getattr(model, method)(X_there)
        assert isinstance(lazily, da.Array)
        here = getattr(model, method)(X)
        assert lazily.shape == here.shape and lazily.dtype == here.dtype
        assert_array_equal(lazily.compute(), here)
    assert model.score(X_there, y_there) == accuracy_score(labels, model.predict(X))


def test_dataframes(client):
    pandas = pytest.importorskip("pandas")
    X, y = bumps(200, 2)
    frame = pandas.DataFrame(X, columns=["left", "right"])
    series = pandas.Series(y, name="y")
    local = ConvexReLURegressor(0.4, tol=1e-2, random_state=0).fit(frame, series)
    there = dd.from_pandas(frame, npartitions=2)
    targets = dd.from_pandas(series, npartitions=2)
    model = clone(local).fit(there, targets)
    assert within(model, local)
    assert list(model.feature_names_in_) == ["left", "right"]
    assert_allclose(model.predict(there).compute(), model.predict(frame))
    assert_allclose(model.score(there, targets), model.score(frame, series))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(there.rename(columns={"left": "top"}))
    words = there.assign(kind="word")
    with pytest.raises(ValueError, match=r"columns kind\)"):
        clone(model).fit(words, targets)
    holed = there[there["left"] > 0]  # blocks of unknown length
    predicted = model.predict(holed)
    assert_allclose(predicted.compute(), model.predict(frame[frame["left"] > 0]))


def test_paths_of_collections(client):
    X, y = bumps(200, 2)
    options = {"alphas": [0.6, 0.4], "tol": 1e-2, "random_state": 0}
    local = convex_relu_path(X, y, **options)
    path = convex_relu_path(*collections(X, y, 110), **options)
    assert_allclose(path.objectives, local.objectives, atol=0.1 * local.tolerance)


def test_a_start_on_a_sample_that_stays_there(client, monkeypatch):
    monkeypatch.setattr(cluster_module, "_FEW", 130)
    monkeypatch.setattr("sklearn_convexrelu.adaptive.start._SAMPLED_ROWS", 100)
    for name in ("pricing.search", "patterns.geometry", "data.rows"):
        monkeypatch.setattr(f"sklearn_convexrelu.{name}.FEW_ROWS", 60)
    X, y = bumps(900, 2)
    labels = labels_of("three", y)
    local = ConvexReLUClassifier(0.2, tol=1e-2, random_state=0).fit(X, labels)
    model = clone(local).fit(*collections(X, labels, 250))
    assert within(model, local)


@pytest.mark.parametrize("most", [130, 8192])
def test_many_columns_start_on_axes_and_search_samples_there(client, monkeypatch, most):
    monkeypatch.setattr(cluster_module, "_FEW", most)
    for name in ("pricing.search", "patterns.geometry", "data.rows"):
        monkeypatch.setattr(f"sklearn_convexrelu.{name}.FEW_ROWS", 60)
    monkeypatch.setattr("sklearn_convexrelu.pricing.search._ROWS_PER_INPUT", 2)
    X, y = bumps(900, 60)
    X *= 0.9 ** np.arange(60)
    local = ConvexReLURegressor(0.2, tol=1e-2, random_state=0).fit(X, y)
    model = clone(local).fit(*collections(X, y, 250))
    assert within(model, local, part=1.0)  # samples there are others


# What is refused


def test_what_is_refused_before_any_work(client):
    X, y = bumps(60, 2)
    X_there, y_there = collections(X, y, 20)
    for options in (
        {"patterns": "random"},
        {"rank": 1},
        {"pruning": True},
        {"skip_connection": "free"},
        {"loss": "absolute_error"},
    ):
        with pytest.raises(ValueError, match="with dask collections use"):
            ConvexReLURegressor(**options).fit(X_there, y_there)
    with pytest.raises(ValueError, match="no dask collections"):
        ConvexReLURegressorCV().fit(X_there, y_there)
    for given in ((X_there, y), (X, y_there)):
        with pytest.raises(ValueError, match="must be a dask collection"):
            ConvexReLURegressor().fit(*given)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ConvexReLURegressor().fit(X_there, y_there[:50])
    with pytest.raises(ValueError, match="contains NaN"):
        ConvexReLURegressor().fit(da.where(X_there > 0, np.nan, X_there), y_there)
    with pytest.raises(ValueError, match="all be zero"):
        ConvexReLURegressor().fit(X_there, y_there, da.zeros(60, chunks=20))
    with pytest.raises(ValueError, match="Unknown label type"):
        ConvexReLUClassifier().fit(X_there, y_there)
    with pytest.raises(ValueError, match="only one class"):
        ConvexReLUClassifier().fit(X_there, da.zeros(60, dtype=int, chunks=20))
    model = ConvexReLURegressor(0.5, tol=0.1, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="no dask collections"):
        model.certify(X_there, y_there)
    with pytest.raises(ValueError, match="3 features"):
        model.predict(da.zeros((5, 3)))


def test_a_client_is_needed(monkeypatch):
    def none():
        raise ValueError("No global client found and no address provided")

    monkeypatch.setattr(distributed, "get_client", none)
    X, y = bumps(60, 2)
    with pytest.raises(ValueError, match="make a client first"):
        ConvexReLURegressor().fit(*collections(X, y, 20))


# Calls that do not go by the scheduler


def refused(*args, **options):
    raise AssertionError("tasks are not wanted here")


def test_what_makes_no_samples_is_no_task(client, monkeypatch):
    A = np.random.default_rng(0).standard_normal((250, 3))
    samples = spread(A, client, (100, 7, 143))
    monkeypatch.setattr(client, "map", refused)
    monkeypatch.setattr(client, "submit", refused)
    assert_allclose(samples.sum(), A.sum())
    index = np.array([249, 5, 103])
    assert_array_equal(samples[index], A[index])
    with pytest.raises(AssertionError, match="not wanted"):
        samples + samples  # these are


def test_parts_of_a_pass_that_no_worker_has_together_are_for_tasks(client):
    A = np.random.default_rng(1).standard_normal((90, 2))
    first, second = client.scheduler_info()["workers"]
    cluster = Cluster(client, (90,), Traffic())
    here, there = (
        Spread(cluster, (2,), float).fill(client.scatter([A], hash=False, workers=[at]))
        for at in (first, second)
    )
    assert_allclose(cluster.reduce(products, here, there), (A * A).sum())
    assert_allclose(cluster.reduce(products, here, here), (A * A).sum())


def products(a, b):
    return (a * b).sum()


def test_parts_held_twice_are_shared_out(client):
    samples = spread(np.zeros((40, 1)), client, (10, 10, 10, 10))
    client.replicate(samples.futures, n=2)
    samples.sum()
    names = samples.cluster.run(own_thread, samples)
    assert sorted(names.count(name) for name in set(names)) == [2, 2]


def own_thread(part):
    return threading.current_thread().name.split("-Default")[0]


def test_errors_are_those_of_the_function(client):
    samples = spread(np.ones((30, 1)), client, (10, 20))
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="of a part"):
            samples.cluster.reduce(failing, samples)


def failing(part):
    raise ZeroDivisionError("of a part")


def test_parts_of_a_worker_run_on_its_threads():
    with (
        workers(1, 2, processes=False) as cluster,
        distributed.Client(cluster, direct_to_workers=True) as client,
    ):
        samples = spread(np.arange(4.0)[:, None], client, (2, 2))
        samples.sum()
        # Each waits for the other one, so they pass it together or not at all.
        assert samples.cluster.run(met, samples) == [0.0, 2.0]


BARRIER = threading.Barrier(2, timeout=20)


def met(part):
    BARRIER.wait()
    return part[0, 0]


# Workers in processes of their own


def test_two_processes_one_of_which_is_killed(monkeypatch):
    X, y = bumps(400, 2)
    local = ConvexReLURegressor(0.3, tol=1e-2, random_state=0).fit(X, y)
    with (
        workers(2, 1, processes=True) as cluster,
        distributed.Client(cluster) as client,
    ):
        run, passes = Cluster.run, []

        def killing(self, *args, **options):
            passes.append(self.traffic)
            if len(passes) == 30:
                victim = next(iter(client.scheduler_info()["workers"]))
                client.run(killed, workers=[victim], on_error="ignore")
                while victim in client.nthreads():  # else dask waits for it a while
                    time.sleep(0.01)
            return run(self, *args, **options)

        monkeypatch.setattr(Cluster, "run", killing)
        model = clone(local).fit(*collections(X, y, 200))
        assert within(model, local)
        assert 30 < passes[-1].trips < 600


def killed():
    import os

    os._exit(1)


def test_rows_that_nobody_can_make_again(client):
    X, y = bumps(60, 2)
    there = spread(X, client, (30, 30))
    client.cancel(there.futures)
    with pytest.raises(RuntimeError, match="cannot be made again"):
        Rows.of(there).sums(spread(y[:, None], client, (30, 30)))
