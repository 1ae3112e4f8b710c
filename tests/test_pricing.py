"""The search for prices: attained, ascending, and close to the exact maximum."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from reference import network_objective

from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLURegressor,
    convex_relu_path,
)
from sklearn_convexrelu.adaptive import loop as loop_module
from sklearn_convexrelu.patterns.geometry import Geometry
from sklearn_convexrelu.pricing import search as search_module
from sklearn_convexrelu.pricing.ascent import ascend
from sklearn_convexrelu.pricing.exact import exact_price
from sklearn_convexrelu.pricing.kernels import Candidates, Prices
from sklearn_convexrelu.pricing.sampling import chances, sampled
from sklearn_convexrelu.pricing.search import FAIR, HARD, LIGHT, TRACK, WIDE, Pricer


def data(n_samples, n_inputs, n_outputs, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_inputs))
    return X, rng.standard_normal((n_samples, n_outputs)), rng


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_totals_and_gradients_are_the_definition(n_outputs):
    X, N, rng = data(3000, 4, n_outputs)
    U, A = rng.standard_normal((4, 50)), rng.standard_normal((50, n_outputs))
    totals, G = Prices(X, N).totals_and_gradients(U, A)
    assert_allclose(totals, np.maximum(X @ U, 0).T @ N, rtol=1e-10, atol=1e-10)
    for k in range(50):
        active = (X @ U[:, k] > 0) * (N @ A[k])
        assert_allclose(G[:, k], X.T @ active, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_ascent_does_not_end_below_its_start(n_outputs):
    X, N, rng = data(200, 5, n_outputs)
    U = rng.standard_normal((5, 30))
    U /= np.linalg.norm(U, axis=0)
    prices = Prices(X, N)
    before = np.linalg.norm(prices.totals(U), axis=1)
    V, totals = ascend(prices, U, n_steps=30, first=0.5, squares=np.ones((5, 1)))
    after = np.linalg.norm(prices.totals(V), axis=1)
    assert (after >= before * (1 - 1e-3)).all()
    assert after.mean() > 1.1 * before.mean()
    assert_allclose(np.linalg.norm(V, axis=0), 1)
    # With one output prices are blurred to the end, by little.
    assert_allclose(np.linalg.norm(totals, axis=1), after, rtol=1e-2)


def test_blurred_gradients_are_means_over_shifts():
    X, N, rng = data(100, 4, 1)
    U, width = rng.standard_normal((4, 6)), 0.7
    _, G = Prices(X, N).totals_and_gradients(U, np.ones((6, 1)), np.full(6, width))
    shifts = width * (np.arange(2000) + 0.5) / 2000 - width / 2
    active = (X @ U)[..., None] + shifts > 0
    assert_allclose(G, X.T @ (active.mean(axis=2) * N), rtol=1e-2, atol=1e-2)
    several = Prices(X, np.hstack([N, N]))
    A = np.tile([[1.0, 0.0]], (6, 1))
    _, same = several.totals_and_gradients(U, A, np.full(6, width))
    assert_allclose(same, G, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("effort", [TRACK, FAIR, HARD])
def test_no_known_direction_costs_more_than_what_a_search_returns(effort):
    for seed in range(20):
        X, N, rng = data(60, 5, 1, seed)
        pricer = Pricer(X, 1)
        known = pricer.search(N, np.zeros((5, 0)), HARD, rng).directions[:, :50]
        before = np.abs(np.maximum(X @ known, 0).T @ N).max()
        assert pricer.search(N, known, effort, rng).best >= before * (1 - 1e-12)


@pytest.mark.parametrize("n_inputs", [2, 3])
def test_search_finds_what_exact_pricing_finds(n_inputs):
    for seed in range(10):
        X, N, rng = data(80, n_inputs, 1, seed)
        found = Pricer(X, 1).search(N, np.zeros((n_inputs, 0)), HARD, rng).best
        exact = exact_price(X, N).prices[0]
        assert 0.999 * exact <= found <= exact * (1 + 1e-9)


def test_search_on_a_sample_of_many_rows_still_prices_all_of_them():
    X, N, rng = data(20000, 3, 1)
    N += X[:, :1] > 0.5
    found = Pricer(X, 1).search(N, np.zeros((3, 0)), LIGHT, rng)
    totals = np.maximum(X @ found.directions, 0).T @ N
    assert_allclose(found.prices, np.abs(totals[:, 0]), rtol=1e-9)


def test_only_a_hard_pass_on_low_rank_data_bounds_every_price():
    X, N, rng = data(50, 3, 1)
    none = np.zeros((3, 0))
    candidates, bound = Pricer(X, 1).price(N, none, rng, HARD)
    assert_allclose(bound, exact_price(X, N).prices[0], rtol=1e-8)
    assert candidates.best <= bound
    assert Pricer(X, 1).price(N, none, rng, LIGHT)[1] is None
    X, N, rng = data(50, 4, 1)
    assert Pricer(X, 1).price(N, np.zeros((4, 0)), rng, HARD)[1] is None


def test_directions_near_a_neuron_are_near_on_the_data_too():
    """On features of very different scale, plain noise would move nothing."""
    X, _, rng = data(200, 3, 1)
    X *= [1e-4, 1.0, 1e4]
    U = rng.standard_normal((3, 100)) / [[1e-4], [1.0], [1e4]]
    U /= np.linalg.norm(U, axis=0)
    geometry = Pricer(X, 1).geometry
    V = geometry.axes @ geometry.near(geometry.axes.T @ U, 0.1, 0.5, rng)
    cosines = (X @ U * (X @ V)).sum(axis=0)
    cosines /= np.linalg.norm(X @ U, axis=0) * np.linalg.norm(X @ V, axis=0)
    assert 0.8 < cosines.min() and cosines.max() < 0.9999


def test_distinct_keeps_the_best_of_each_direction_and_output():
    u = np.array([1.0, 0.0])
    near = np.array([np.cos(0.01), np.sin(0.01)])
    U = np.column_stack([u, near, near, [0.0, 1.0]])
    found = Candidates.sorted(U, np.array([[4.0], [3.0], [-2.0], [1.0]]))
    kept = found.distinct(10, 0.99, np.copy)
    assert_allclose(kept.prices, [4.0, 2.0, 1.0])
    assert_allclose(kept.outputs[:, 0], [-1.0, 1.0, -1.0])
    assert len(found.distinct(1, 0.99, np.copy).prices) == 1
    assert_allclose(found.distinct(10, 0.99, np.copy, above=1.5).prices, [4.0, 2.0])


@pytest.mark.parametrize("kind", ["offset", "offsets", "constant", "small"])
def test_seeds_and_bounds_agree_far_from_zero(kind):
    rng = np.random.default_rng(5)
    X = rng.standard_normal((150, 6))
    y = np.maximum(X @ rng.standard_normal(6), 0) - np.abs(X[:, 0])
    y += 0.3 * rng.standard_normal(150)
    X = {
        "offset": X + 300.0,
        "offsets": X + 100.0 * rng.standard_normal(6),
        "constant": np.c_[X, np.full(150, 200.0)],
        "small": X / 100.0,
    }[kind]
    models = [ConvexReLURegressor(0.08, random_state=k).fit(X, y) for k in range(4)]
    best = min(network_objective(model, X, y) for model in models)
    assert all(model.dual_gap_ <= model.tolerance_ for model in models)
    # Priced bounds are estimates: to within the tolerance here, or nearly always.
    within = [model.lower_bound_ <= best + model.tolerance_ for model in models]
    assert sum(within) >= 3


@pytest.mark.parametrize(
    "fit",
    [
        lambda X, y: ConvexReLURegressor(0.2).fit(X, y),
        lambda X, y: ConvexReLURegressor(0.2, time_limit=1e3).fit(X, y),
        lambda X, y: ConvexReLURegressor(0.2, norm="l1").fit(X, y),
        lambda X, y: ConvexReLURegressor(0.5, subnetwork_widths=(2,)).fit(X, y),
        lambda X, y: ConvexReLURegressor(0.5, loss="absolute_error").fit(X, y),
        lambda X, y: ConvexReLUClassifier(0.2, class_weight="balanced").fit(X, y > 0),
        lambda X, y: convex_relu_path(X, y, n_alphas=3, eps=0.1),
    ],
)
def test_a_fit_prepares_searches_of_its_rows_once(fit, monkeypatch):
    made, of = [], Geometry.of

    def counted(*args, **options):
        made.append(args)
        return of(*args, **options)

    monkeypatch.setattr(Geometry, "of", counted)
    X = np.random.default_rng(0).standard_normal((60, 4))
    fit(X, X[:, 0] + np.abs(X[:, 1]))
    assert len(made) == 1


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_searches_without_neurons_find_what_linear_units_would_be(n_outputs):
    """Where all rows are on one side: the price is that of ``N^T X u`` there."""
    rng = np.random.default_rng(0)
    X = rng.random((200, 40)) * (rng.random((200, 40)) < 0.2)
    N = rng.random((200, n_outputs)) - 0.3 * np.arange(n_outputs)
    pricer = Pricer(X, n_outputs)
    u = np.linalg.svd(X.T @ N)[0][:, 0]
    linear = max(np.linalg.norm(np.maximum(s * X @ u, 0) @ N) for s in (1.0, -1.0))
    for seed in range(5):
        seeded = np.random.default_rng(seed)
        found = pricer.search(N, np.zeros((40, 0)), LIGHT, seeded)
        assert found.best >= linear * (1 - 1e-6)


def test_nothing_is_suggested_by_nothing():
    pricer = Pricer(data(30, 4, 2)[0], 2)
    N, rng = np.zeros((30, 2)), np.random.default_rng(0)
    assert pricer.search(N, np.zeros((4, 0)), LIGHT, rng).best == 0.0


def test_chances_add_up_and_go_by_size():
    sizes = np.random.default_rng(0).lognormal(sigma=2.0, size=5000)
    chosen = chances(sizes, 400)
    assert_allclose(chosen.sum(), 400, rtol=1e-4)
    assert (chosen <= 1.0).all() and (chosen[sizes.argsort()[-20:]] == 1.0).all()
    light = chosen < 1.0
    assert_allclose(np.ptp(chosen[light] / sizes[light]), 0.0, atol=1e-12)


@pytest.mark.parametrize("noise", [30.0, 3.0, 0.3])
def test_chances_keep_the_noise_of_sums_down(noise):
    sizes = np.random.default_rng(0).lognormal(sigma=1.0, size=5000)
    chosen = chances(sizes, 10, noise)
    spread = np.sqrt(np.sum(sizes**2 * (1.0 / chosen - 1.0)))
    assert spread <= noise * (1 + 1e-6)
    # A few rows less would be too few: no more are drawn than that takes.
    assert spread > 0.9 * noise or chosen.sum() < 11


def test_chances_of_no_sizes_are_one():
    for sizes in (np.zeros(9), np.full(9, np.nan), np.array([1.0, np.inf, 2.0])):
        assert_allclose(chances(sizes, 2), 1.0)
    assert_allclose(chances(np.ones(9), 9), 1.0)
    assert_allclose(chances(np.append(np.ones(3), np.zeros(7)), 3).sum(), 3)


def test_sampled_prices_are_right_in_the_mean_and_closer_than_of_random_rows():
    X, N, rng = data(6000, 5, 2)
    N *= rng.lognormal(sigma=1.5, size=(6000, 1)) / 6000
    prices, U = Prices(X, N), rng.standard_normal((5, 20))
    exact = prices.totals(U)
    draws = [sampled(prices, 500, rng) for _ in range(300)]
    assert all(abs(len(few.rows) - 500) <= 2 for few in draws)
    totals = np.array([few.totals(U) for few in draws])
    errors = np.sqrt(np.mean((totals - exact) ** 2, axis=0))
    assert (np.abs(totals.mean(axis=0) - exact) < 5 * errors / np.sqrt(300)).all()
    uniform = np.array(
        [
            12 * prices.on(rows, N[rows]).totals(U)
            for rows in (rng.choice(6000, 500, replace=False) for _ in range(300))
        ]
    )
    others = np.sqrt(np.mean((uniform - exact) ** 2, axis=0))
    assert errors.mean() < 0.5 * others.mean()


def test_a_sample_of_nearly_all_rows_is_not_taken():
    X, N, rng = data(3000, 5, 2)
    prices = Prices(X, N)
    assert sampled(prices, 2900, rng) is prices
    assert sampled(prices, 100, rng, noise=1e-9) is prices


def test_searches_of_many_inputs_find_what_those_of_all_rows_do(monkeypatch):
    X, N, rng = data(6000, 60, 3)
    N *= rng.lognormal(sigma=1.5, size=(6000, 1)) / 6000
    X *= 0.9 ** np.arange(60)
    pricer = Pricer(X, 3)
    known = pricer.search(N, np.zeros((60, 0)), FAIR, rng).directions[:, :20]
    found = pricer.search(N, known, FAIR, rng)
    assert found.best == pytest.approx(
        np.linalg.norm(N.T @ np.maximum(X @ found.directions[:, 0], 0.0)), rel=1e-9
    )
    monkeypatch.setattr(search_module, "sampled", lambda prices, *args: prices)
    on_all = pricer.search(N, known, HARD, np.random.default_rng(1))
    assert found.best > 0.97 * on_all.best


@pytest.mark.parametrize("n_samples", [40, 9000])
def test_searches_of_many_inputs_where_nothing_weighs_anything(n_samples):
    X, N, rng = data(n_samples, 60, 2)
    pricer = Pricer(X, 2)
    for known in (np.zeros((60, 0)), np.eye(60)[:, :3]):
        for effort in (LIGHT, FAIR):
            assert pricer.search(0.0 * N, known, effort, rng).best == 0.0


@pytest.mark.parametrize("n_inputs", [6, 60])
def test_known_directions_are_priced_where_they_are_not_ascended(n_inputs):
    X, N, rng = data(200, n_inputs, 2)
    pricer = Pricer(X, 2)
    best = pricer.search(N, np.zeros((n_inputs, 0)), HARD, rng)
    found = pricer.search(N, best.directions[:, :3], LIGHT, rng)
    assert found.best >= best.best * (1 - 1e-12)


@pytest.mark.parametrize("n_known, n_close", [(3, 0), (30, 20), (50, 50)])
@pytest.mark.parametrize("n_inputs", [6, 60])
def test_of_few_inputs_searches_start_at_and_close_to_many_known_directions(
    n_inputs, n_known, n_close, monkeypatch
):
    X, N, rng = data(200, n_inputs, 1)
    pricer, ascended = Pricer(X, 1), []
    known = pricer.geometry.coordinates(pricer.random_units(n_known, rng))

    def noted(prices, starts, n_steps, first):
        ascended.append((starts, first))
        return starts, prices.totals(starts)

    monkeypatch.setattr(pricer, "_ascended", noted)
    prices = Prices(pricer.rough, N.astype(pricer.precision))
    pricer._found_near(prices, known, 20, FAIR, rng)
    starts, first = ascended[0]
    if n_inputs == 60:
        assert starts.shape == (60, 20)
        return
    assert starts.shape == (6, n_known + 20 + n_close) == (6, len(first))
    assert (starts[:, :n_known] == known).all()
    close = starts[:, n_known + 20 :]
    cosines = (close.T @ known).max(axis=1, initial=-1.0)
    assert (cosines > 0.5).all() and (cosines < 1.0 - 1e-6).all()
    assert (first[n_known + 20 :] < 0.5).all()
    pricer._found_near(prices, known, 0, FAIR, rng)
    assert ascended[1][0] is known


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_distinct_directions_are_kept_beside_many_copies_of_the_best(n_outputs):
    X, N, rng = data(300, 6, n_outputs)
    pricer = Pricer(X, n_outputs)
    prices = Prices(pricer.rough, N.astype(pricer.precision))
    few = pricer.random_units(100, rng)
    totals = prices.totals(few)
    best = few[:, np.linalg.norm(totals, axis=1).argmax(), None]
    copies = best + 1e-3 * rng.standard_normal((6, 600))
    found = Candidates.sorted(
        np.hstack([copies, few]), np.vstack([prices.totals(copies), totals])
    )
    kept = pricer._best(found)
    assert kept.shape[1] == len(np.unique(kept, axis=1).T)
    of_few = [k for k in range(100) if (kept == few[:, k, None]).all(axis=0).any()]
    distinct = found.distinct(pricer.n_handed, 0.95, pricer.signature)
    # The best of each direction is among them, one of the copies first.
    assert len(of_few) >= len(distinct.prices) - 1 > 50
    assert kept.shape[1] > 400


@pytest.mark.parametrize(
    ("shape", "n_outputs", "count"),
    [
        ((300, 6), 1, 160),
        ((2400, 6), 1, 200),
        ((9000, 6), 1, 320),
        ((9000, 6), 2, 80),
        ((300, 60), 1, 80),
    ],
)
def test_more_is_handed_on_of_more_rows(shape, n_outputs, count):
    X = np.random.default_rng(0).standard_normal(shape)
    assert Pricer(X, n_outputs).n_handed == count


@pytest.mark.parametrize("n_inputs", [2, 6])
def test_searches_of_long_runs_go_on_to_their_end(n_inputs, monkeypatch):
    ends_early, price = {}, Pricer.price

    def priced(self, N, known, rng, effort, *enough):
        ends_early.setdefault(effort.n_batches, set()).add(bool(enough))
        return price(self, N, known, rng, effort, *enough)

    monkeypatch.setattr(Pricer, "price", priced)
    monkeypatch.setattr(loop_module, "_MANY_ROUNDS", 3)
    X, y, _ = data(200, n_inputs, 1)
    ConvexReLURegressor(1e-3, tol=1e-2, random_state=0).fit(X, y.ravel())
    assert ends_early[FAIR.n_batches] == {True}
    # Where pricing is exact the proof is left out once a search refutes.
    assert (True in ends_early[WIDE.n_batches]) == (n_inputs == 2)
