"""Tables go in as they are: what each column becomes, and what is refused."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import SplineTransformer

from sklearn_convexrelu import (
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    make_table_pipeline,
)
from sklearn_convexrelu._columns import ColumnBends, TailClipper

pd = pytest.importorskip("pandas")
N = 120


def frame():
    """Return a column of every kind, gaps in most."""
    rng = np.random.default_rng(0)
    size = rng.standard_normal(N)
    size[[3, 50]] = np.nan
    days = pd.date_range("2020-01-01", periods=N)
    return pd.DataFrame(
        {
            "size": size,
            "rooms": pd.array([1, None, 3] * (N // 3), dtype="Int64"),
            "sold": pd.Series(days).where(np.arange(N) != 5),
            "seen": days.tz_localize("Europe/Berlin"),
            "lasted": pd.to_timedelta(np.arange(N), unit="h"),
            "old": rng.random(N) > 0.5,
            "heated": pd.array([True, None] * (N // 2), dtype="boolean"),
            "town": [None if k % 7 == 0 else "abc"[k % 3] for k in range(N)],
            "text": pd.array(["x", None] * (N // 2), dtype="string"),
            "mixed": [1, "one"] * (N // 2),
            "code": pd.Categorical([10, 20, 30] * (N // 3)),
            "street": [f"street {k % 40}" for k in range(N)],
            "empty": [None] * N,
        }
    )


def target(table):
    """Return something that town and size tell."""
    return table["size"].fillna(0).to_numpy() + 2.0 * (table["town"] == "a")


def prepared(table, y=None, **params):
    """Return the prepared columns by name."""
    steps = make_table_pipeline(Ridge(), **params)[:-1].set_output(transform="pandas")
    return steps.fit_transform(table, target(table) if y is None else y)


def test_every_kind_of_column_becomes_finite_columns_with_names():
    X = prepared(frame())
    assert np.isfinite(X.to_numpy(float)).all()
    levels = {name.removeprefix("words__") for name in X if name.startswith("words__")}
    assert levels == {
        *("town_a", "town_b", "town_c", "town_nan", "text_x", "text_nan"),
        *("mixed_1", "mixed_one", "code_10", "code_20", "code_30"),
    }
    gaps = {name.split("_")[-1] for name in X if name.startswith("gaps__")}
    assert gaps == {"size", "sold", "rooms", "heated", "empty"}
    flags = {name.removeprefix("flags__") for name in X if name.startswith("flags__")}
    assert flags == {"rooms", "old", "heated", "empty"}
    bends = {name.split("_")[2] for name in X if "_bend_" in name}
    assert bends == {"size", "sold", "seen", "lasted"}
    assert list(X.filter(like="many_words")) == ["many_words__street"]


def test_numbers_are_filled_clipped_and_scaled_by_the_formula():
    table = frame()
    table.loc[7, "size"] = 1e6
    X = prepared(table, tail=0.05)
    size = table["size"].fillna(table["size"].median()).to_numpy()
    size = np.clip(size, *np.quantile(size, [0.05, 0.95]))
    expected = (size - size.mean()) / size.std()
    np.testing.assert_allclose(X["numbers__size"], expected)
    day = (table["seen"] - pd.Timestamp(0, tz="UTC")) / pd.Timedelta("1D")
    day = np.clip(day, *np.quantile(day, [0.05, 0.95]))
    np.testing.assert_allclose(X["numbers__seen"], (day - day.mean()) / day.std(ddof=0))
    free = prepared(table, tail=None)
    assert free["numbers__size"].max() > 10  # the far row is where it was


def test_bends_are_hats_over_the_quantiles():
    X = np.random.default_rng(0).standard_normal((N, 2))
    steps = make_table_pipeline(Ridge(), tail=None, n_knots=4)[:-1]
    Z = steps.fit_transform(X, X[:, 0])
    assert Z.shape == (N, 2 + 2 * 3)
    knots = np.quantile(X[:, 1], np.linspace(0, 1, 4))
    hats = np.column_stack([np.interp(X[:, 1], knots, np.eye(4)[k]) for k in range(3)])
    expected = 0.25 * (hats - hats.mean(axis=0)) / hats.std(axis=0)
    np.testing.assert_allclose(Z[:, 5:], expected, atol=1e-12)
    assert make_table_pipeline(Ridge(), n_knots=0)[:-1].fit_transform(X).shape[1] == 2
    splines = SplineTransformer(
        n_knots=4, degree=1, knots="quantile", include_bias=False
    )
    np.testing.assert_allclose(hats, splines.fit_transform(X[:, [1]]), atol=1e-12)


def test_equal_quantiles_are_one_knot():
    rare = np.r_[np.zeros(90), 1.0, 2.0, 3.0, np.full(27, 4.0)][:, None]
    bends = ColumnBends().fit(rare)
    np.testing.assert_array_equal(
        bends.knots_[0], np.unique(np.quantile(rare, [0, 0.25, 0.5, 0.75, 1]))
    )
    flag = np.repeat([0.0, 1.0], [50, 70])[:, None]
    np.testing.assert_array_equal(ColumnBends().fit_transform(flag), flag)


def test_a_mostly_constant_column_survives_the_clip():
    rare = np.zeros((N, 1))
    rare[0] = 1.0
    np.testing.assert_array_equal(TailClipper(0.1).fit_transform(rare), rare)
    assert TailClipper().fit_transform(rare.astype(np.float32)).dtype == np.float32


def test_rare_levels_are_one_and_unseen_ones_join_them():
    table = frame()[["size", "town"]]
    table.loc[[1, 2], "town"] = ["d", "e"]
    pipeline = make_table_pipeline(Ridge(), min_frequency=0.02)
    pipeline.fit(table, target(table))
    names = pipeline[:-1].get_feature_names_out()
    assert "words__town_infrequent_sklearn" in names and "words__town_d" not in names
    new = pd.DataFrame({"size": [0.0, 0.0], "town": ["d", "never seen"]})
    a, b = pipeline[:-1].transform(new)
    np.testing.assert_array_equal(a, b)


def test_many_levels_are_told_by_their_target():
    table = frame()[["street"]]
    y = np.array([float(name[-1]) for name in table["street"]])
    X = prepared(table, y)
    assert X.shape[1] == 1 and np.corrcoef(X.iloc[:, 0], y)[0, 1] > 0.5
    assert prepared(table, y, max_levels=40).shape[1] == 40
    labels = np.where(y < 3, "low", np.where(y < 6, "mid", "high"))
    steps = make_table_pipeline(LogisticRegression())[:-1]
    assert steps.fit_transform(table, labels).shape[1] == 3
    # Whole numbers as targets of a regression are no classes.
    assert prepared(table, y.astype(int)).shape[1] == 1


def test_numbers_can_be_told_to_be_categories():
    table = pd.DataFrame({"region": [1, 2, 3] * 40, "size": np.arange(120.0)})
    y = (table["region"] == 2).to_numpy(float)
    assert prepared(table, y, n_knots=0).shape[1] == 2
    assert prepared(table, y, categories=["region"], n_knots=0).shape[1] == 4
    X = table.to_numpy()
    steps = make_table_pipeline(Ridge(), categories=[0], n_knots=0)[:-1]
    assert steps.fit_transform(X, y).shape[1] == 4


def test_arrays_go_in_as_frames_do():
    table = frame()[["size", "town", "empty"]]
    y = target(table)
    by_name = make_table_pipeline(Ridge()).fit(table, y)
    array = table.to_numpy(dtype=object)
    by_place = make_table_pipeline(Ridge()).fit(array, y)
    np.testing.assert_allclose(by_place.predict(array), by_name.predict(table))
    again = by_name.predict(table[["empty", "town", "size"]])  # columns go by name
    np.testing.assert_array_equal(again, by_name.predict(table))
    numbers = np.random.default_rng(0).standard_normal((N, 3)).astype(np.float32)
    assert make_table_pipeline(Ridge())[:-1].fit_transform(numbers).dtype == np.float32


def test_networks_learn_from_the_table_and_survive_copies():
    table = frame()
    y = target(table)
    model = make_table_pipeline(ConvexReLURegressor(0.05, tol=1e-2, random_state=0))
    model.fit(table, y)
    assert model.score(table, y) > 0.9
    for copy in (clone(model).fit(table, y), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(copy.predict(table), model.predict(table))


def test_all_of_it_can_be_searched():
    table = frame()
    model = make_table_pipeline(Ridge())
    grid = {"columns__numbers__tails__tail": [0.0, 0.1], "model__alpha": [0.1, 1.0]}
    search = GridSearchCV(model, grid, cv=3).fit(table, target(table))
    assert set(search.best_params_) == set(grid)


def test_the_words_stand_for_the_estimators_with_cv():
    assert isinstance(make_table_pipeline("regressor")[-1], ConvexReLURegressorCV)
    model = make_table_pipeline("classifier")[-1]
    assert isinstance(model, ConvexReLUClassifierCV)
    assert model.scoring == "neg_log_loss" and model.tol == 1e-2
    table = frame()[["size", "town"]]
    labels = np.where(target(table) > 0.5, "dear", "cheap")
    quick = {"model__n_alphas": 4, "model__eps": 0.05, "model__random_state": 0}
    model = make_table_pipeline("classifier").set_params(**quick).fit(table, labels)
    assert model.score(table, labels) > 0.8


@pytest.mark.parametrize(
    "params, message",
    [
        ({"estimator": "forest"}, "estimator is 'regressor', 'classifier'"),
        ({"estimator": Ridge}, r"give Ridge\(\.\.\.\)"),
        ({"estimator": TailClipper()}, "a regressor or classifier"),
        ({"estimator": None}, "got None"),
        ({"tail": 0.5}, "tail is a share"),
        ({"tail": -0.1}, "tail is a share"),
        ({"max_levels": 0}, "max_levels is a whole number"),
        ({"max_levels": 2.5}, "max_levels is a whole number"),
        ({"min_frequency": 1.0}, "min_frequency is a share"),
        ({"n_knots": 2}, "n_knots is a whole number"),
        ({"n_knots": 4.0}, "n_knots is a whole number"),
        ({"categories": "town"}, "a list of columns"),
        ({"categories": 3}, "a list of columns"),
    ],
)
def test_nonsense_is_refused_when_it_is_made(params, message):
    with pytest.raises(ValueError, match=message):
        make_table_pipeline(**{"estimator": "regressor"} | params)


@pytest.mark.parametrize(
    "X, params, message",
    [
        (sparse.csr_array(np.eye(5)), {}, "sparse matrix"),
        (pd.DataFrame(np.eye(5), columns=list("abcca")), {}, "unique column names"),
        (pd.DataFrame({"a": [[1], [2], [3], [4], [5]]}), {}, "holds \\[1\\], a list"),
        (np.ones((5, 1), dtype=complex), {}, "complex"),
        (np.ones(5), {}, "Expected 2D array"),
        (pd.DataFrame({"a": range(5)}), {"categories": ["b"]}, "which is no column"),
    ],
)
def test_what_is_no_table_is_refused_by_fit(X, params, message):
    with pytest.raises(ValueError, match=message):
        make_table_pipeline(Ridge(), **params).fit(X, np.arange(5.0))


def test_other_frames_are_refused():
    class Frame:
        columns = ["a"]
        shape = (5, 1)

        def __len__(self):
            return 5

    with pytest.raises(ValueError, match="pandas frames or arrays"):
        make_table_pipeline(Ridge()).named_steps["columns"].transformers[0][2](Frame())


def test_codes_are_the_same_levels_with_and_without_a_gap():
    """One gap in a column of integers makes pandas hold it as floats."""
    rng = np.random.default_rng(0)
    code = rng.integers(1, 4, 100)
    y = np.array([0.0, 5.0, 1.0, 9.0])[code] + 0.1 * rng.standard_normal(100)
    model = make_table_pipeline(
        ConvexReLURegressor(0.01, tol=1e-2, random_state=0), categories=["code"]
    ).fit(pd.DataFrame({"code": code}), y)
    whole = model.predict(pd.DataFrame({"code": [1, 2, 3]}))
    gap = model.predict(pd.DataFrame({"code": [1, 2, 3, None]}))
    assert_allclose(gap[:3], whole)
    assert np.abs(whole - [5.0, 1.0, 9.0]).max() < 0.5
