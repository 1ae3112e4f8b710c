"""Ranks over tables and their tests, by hand; and the tables that judge."""

import numpy as np
import pytest

pytest.importorskip("pandas")

from benchmarks.datasets import CLASSES, FRESH, GENERATED, REAL, for_choosing
from benchmarks.preparation import TABLES, Rejoined
from benchmarks.ranks import (
    cliques,
    critical_difference,
    friedman,
    holm,
    paired,
    ranks,
)
from benchmarks.tabular import JUDGING, divide, tables
from sklearn_convexrelu import ConvexReLURegressor


def test_ranks_share_ties_at_four_digits():
    losses = np.array([[0.3, 0.1, 0.2], [0.50001, 0.5, 0.7]])
    np.testing.assert_array_equal(ranks(losses), [[3, 1, 2], [1.5, 1.5, 3]])


def test_critical_differences_are_those_of_the_paper():
    # Demsar (2006), table 5(a) and section 3.2.3: q of 0.05.
    for k, q in {2: 1.960, 3: 2.343, 4: 2.569, 6: 2.850, 10: 3.164}.items():
        expected = q * np.sqrt(k * (k + 1) / (6 * 14))
        assert critical_difference(k, 14) == pytest.approx(expected, abs=2e-3)
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)


def test_holm_is_the_step_down_correction():
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03]), [0.06, 0.03, 0.06])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1.0, 1.0])


def test_tests_tell_a_difference_from_none():
    rng = np.random.default_rng(0)
    losses = rng.random((12, 1)) + np.array([0.0, 0.1, 0.2])
    assert friedman(losses) < 1e-4
    assert paired(losses[:, 0], losses[:, 1]) < 1e-3
    assert paired(losses[:, 0], losses[:, 0]) == 1.0


def test_cliques_are_the_widest_runs():
    assert cliques([3.0, 1.0, 1.5, 2.2], 1.0) == [(1.0, 1.5), (1.5, 2.2), (2.2, 3.0)]
    assert cliques([1.0, 2.0, 2.1, 4.0], 1.5) == [(1.0, 2.1)]
    assert cliques([1.0, 3.0], 1.0) == []


def test_tables_that_judge_were_not_chosen_by():
    assert len(JUDGING) >= 20 and not any(map(for_choosing, JUDGING))
    assert all(map(for_choosing, [*TABLES, *REAL, *GENERATED]))
    assert set(JUDGING) <= set(FRESH)
    kinds = {name in CLASSES for name in JUDGING}
    assert kinds == {True, False}


def test_rows_are_divided_without_overlap():
    y = np.repeat(["a", "b"], [30, 70])
    train, test = divide(y, 1000, 0, True)
    assert len(train) == 70 and len(test) == 30
    assert not set(train) & set(test)
    assert np.mean(y[train] == "a") == pytest.approx(0.3)
    np.testing.assert_array_equal(train, divide(y, 1000, 0, True)[0])


def test_tables_count_once_all_models_have_the_same_splits():
    keys = {"rows": 9, "columns": 1, "loss": 0.1, "auc": None, "cpu": 1.0}
    results = [
        {"data": data, "model": model, "split": split, "error": 0.1, **keys}
        for data in ("rain", "storms")
        for model in ("ours", "linear")
        for split in (0, 1)
    ]
    both = tables(results, ["rain", "storms"], ["ours", "linear"])[0]
    assert ", 2 tables:" in both
    one = tables(results[:-1], ["rain", "storms"], ["ours", "linear"])[0]
    assert ", 1 tables:" in one and "| storms |" not in one


def test_amplitudes_of_joined_neurons_solve_the_programme_over_them():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 3))
    y = np.maximum(X[:, 0], 0.0) - np.abs(X[:, 1])
    params = {"relative_alpha": False, "norm": "l1", "random_state": 0}
    net = ConvexReLURegressor(0.02, tol=1e-3, **params).fit(X, y)
    joined = Rejoined(ConvexReLURegressor(0.02, tol=1e-2, **params)).fit(X, y)
    loss = np.mean((joined.predict(X) - y) ** 2) / 2
    objective = loss + 0.02 * np.abs(joined.lasso_.coef_).sum()
    assert net.lower_bound_ < objective < net.objective_ + 1e-2 * y.var() / 2
