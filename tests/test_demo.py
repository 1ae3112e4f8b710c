"""The command line: what it prints, what it writes, and every error."""

import csv
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLURegressor,
    make_table_pipeline,
)
from sklearn_convexrelu import __main__ as command
from sklearn_convexrelu.demo import comparison, picture, report, run, saved
from sklearn_convexrelu.demo.cells import DataError
from sklearn_convexrelu.demo.files import Format
from sklearn_convexrelu.demo.predictions import read_new_rows
from sklearn_convexrelu.demo.table import Wish, read_table

N_ROWS = 60
ROOT = str(Path(run.__file__).parents[2])


@pytest.fixture(autouse=True)
def fast(monkeypatch, tmp_path):
    """Fewer candidates and inner folds; files go to a scratch folder."""
    for module in (comparison, report):
        monkeypatch.setattr(module, "INNER_FOLDS", 2)
        monkeypatch.setattr(module, "MLP_ALPHAS", (10.0,))
    monkeypatch.setattr(comparison, "MLP_ITERATIONS", 30)
    monkeypatch.setattr(run, "CLASS_DATA", {})
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def houses(tmp_path):
    """A CSV with numbers, words, a date, holes in all of them, and two targets."""
    rng = np.random.default_rng(0)
    size, age = rng.uniform(50, 200, N_ROWS), rng.integers(0, 40, N_ROWS)
    town = rng.choice(["north", "south", "west"], N_ROWS)
    price = size * (1.0 + (town == "north")) - age + rng.normal(0, 5, N_ROWS)
    sold = np.datetime64("2020-01-01") + rng.integers(0, 99, N_ROWS)
    lines = ["size,age,town,remark,sold,price,dear"]
    for row in zip(size.round(1), age, town, sold, price.round(2), strict=True):
        lines.append(
            "{},{},{},,{},{},{}".format(*row, "yes" if row[-1] > 150 else "no")
        )
    lines[3] = "NA,12,?,,,130.5,no"
    lines[4] = "100.0,,north,,2020-01-01,NaN,yes"
    lines[5] = "80.0,7,,,2020-02-02,,no"
    path = tmp_path / "houses.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def printed(capsys, *argv):
    """Run the command; return what it printed, and the figures of its tables."""
    run.main(list(map(str, argv)))
    output = capsys.readouterr().out
    figures = {}
    for line in output.splitlines():
        cells = re.split(r"\s{2,}", line.strip())
        if len(cells) in (2, 3):
            figures.setdefault(re.sub(r" \[\d\]", "", cells[0]), []).append(cells[1:])
    return output, figures


def leading_number(cell):
    return float(cell.split()[0])


def by_hand(X, y, model):
    """Return R2 on five folds, everything prepared by the rows to train."""
    scores = []
    for train, test in KFold(5, shuffle=True, random_state=0).split(X):
        columns = make_table_pipeline(model)[:-1].fit(X[train])
        mean, sd = y[train].mean(), y[train].std()
        model.fit(columns.transform(X[train]), (y[train] - mean) / sd)
        residual = y[test] - mean - sd * model.predict(columns.transform(X[test]))
        spread = np.sum((y[test] - y[test].mean()) ** 2)
        scores.append(1.0 - np.sum(residual**2) / spread)
    return f"{np.mean(scores):.3f} +/- {np.std(scores):.3f}"


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_diabetes_table_is_what_a_user_would_compute(capsys):
    _, figures = printed(capsys, "--alpha", "0.1", "--no-picture")
    X, y = load_diabetes(return_X_y=True)
    ours = ConvexReLURegressor(
        0.1, norm="l1", tol=comparison.SEARCH_TOL, random_state=0
    )
    assert figures["5-fold R2"][0] == [by_hand(X, y, ours)]
    mlp = MLPRegressor(max_iter=30, alpha=10.0, random_state=0)
    assert figures["5-fold R2"][1] == [by_hand(X, y, ours), by_hand(X, y, mlp)]

    # In the memory order of the command's table: the last bits of means depend on it.
    X = make_table_pipeline(ours)[:-1].fit_transform(np.asfortranarray(X))
    y = StandardScaler().fit_transform(y[:, None])[:, 0]
    convex = ConvexReLURegressor(0.1, norm="l1", random_state=0).fit(X, y)
    assert figures["objective"][0] == [f"{convex.objective_:.5f}"]
    assert figures["lower bound"] == [[f"{convex.lower_bound_:.5f}"]]
    assert figures["neurons"] == [
        [str(convex.n_neurons_)],
        [str(convex.n_neurons_), "100"],
    ]
    assert leading_number(figures["gap"][0][0]) == pytest.approx(
        convex.objective_ - convex.lower_bound_, abs=1e-5
    )

    mlp.fit(X, y)
    objective = 0.5 * np.mean((y - mlp.predict(X)) ** 2)
    for w, b, v in zip(mlp.coefs_[0].T, mlp.intercepts_[0], mlp.coefs_[1], strict=True):
        objective += convex.alpha_ * (np.abs(w).sum() + abs(b)) * abs(v[0])
    ours, theirs = map(leading_number, figures["objective"][1])
    assert ours == pytest.approx(convex.objective_, abs=1e-5)
    assert theirs == pytest.approx(objective, abs=1e-5)


def test_classification_table_is_what_a_user_would_compute(monkeypatch, capsys):
    monkeypatch.setattr(run, "CLASS_DATA", {"iris": load_iris})
    output, figures = printed(capsys, "--alpha", "0.3", "--no-picture")
    X, y = load_iris(return_X_y=True)
    model = make_pipeline(
        StandardScaler(), ConvexReLUClassifier(tol=0.01, random_state=0)
    )
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    accuracy = cross_val_score(model, X, y, cv=folds).mean()
    assert "iris data: 150 rows, 4 columns, 3 classes" in output
    assert leading_number(figures["5-fold acc."][0][0]) == pytest.approx(
        accuracy, abs=6e-4
    )
    network = model.set_params(convexreluclassifier__tol=1e-3).fit(X, y)[-1]
    seen = [leading_number(figures[key][-1][0]) for key in ("objective", "lower bound")]
    assert seen == pytest.approx([network.objective_, network.lower_bound_], abs=6e-6)
    assert figures["neurons"][-1] == [str(network.n_neurons_), "100"]


@pytest.mark.parametrize("load", [load_diabetes, load_iris])
def test_objective_of_ours_is_the_one_that_it_reports(load):
    X, y = load(return_X_y=True)
    kind = ConvexReLURegressor if load is load_diabetes else ConvexReLUClassifier
    X = StandardScaler().fit_transform(X)
    network = kind(0.1, norm="l1", tol=0.01, random_state=0).fit(X, y)
    objective = comparison.network_objective(network, X, y, network.alpha_)
    assert objective == pytest.approx(network.objective_, rel=1e-9)


def test_a_table_of_numbers_words_and_dates(capsys, houses):
    output, figures = printed(capsys, houses, "--target", "price")
    lines = [line.strip() for line in output.splitlines()]
    assert "left out 2 rows without a target" in lines
    assert "remark  left out: no value in any row" in lines
    assert any(line.startswith("town    words, 3 different: ") for line in lines)
    assert any(
        line.startswith("sold    date (year-month-day), 2020-01") for line in lines
    )
    for k in range(1, 6):  # ours, and the MLP after it
        assert len(re.findall(rf"fold {k} of 5: R2 -?\d\.\d+, alpha ", output)) == 2
    convex, mlp = figures["5-fold R2"][1]
    # Size, age and town determine the price up to noise.
    assert leading_number(convex) > 0.7
    assert leading_number(mlp) < leading_number(convex)  # it has thirty iterations
    assert "It took 30 iterations without converging" in " ".join(output.split())
    bound, objective = (
        leading_number(figures[k][0][0]) for k in ("lower bound", "objective")
    )
    assert bound <= objective
    assert (houses.parent / picture.PICTURE).exists()
    assert output.index("lower bound") < output.index("wrote") < output.index("MLP")
    assert "arned of" not in output
    assert max(map(len, output.splitlines())) <= 88


def test_classes_of_a_table(capsys, houses):
    output, figures = printed(
        capsys, houses, "--target", "dear", "--columns", "size,town,age", "--no-picture"
    )
    assert "target 'dear': 2 different words; classification, as words are" in output
    accuracy = leading_number(figures["5-fold accuracy"][1][0])
    assert accuracy > 0.85
    assert (
        len(re.findall(r"fold \d of 5: accuracy [01]\.\d+, log loss \d\.", output))
        == 10
    )
    table = read_table(str(houses), Wish("dear", None, "size,town,age"), Format())
    part = max(np.mean(table.y == "no"), np.mean(table.y == "yes"))
    assert f"The most frequent class alone has accuracy {part:.3f}" in output
    assert "ConvexReLUClassifierCV" in output and "MLPClassifier" in output


def scaled(a, b):
    return (a - a.mean(axis=0)) / a.std(axis=0), (b - a.mean(axis=0)) / a.std(axis=0)


def prepared_by_hand(train, test):
    """Return a column of numbers as it is prepared: itself, its bends, its gaps."""
    gaps = [np.isnan(x).astype(float) for x in (train, test)]
    a, b = (np.where(np.isnan(x), np.nanmedian(train), x) for x in (train, test))
    low, high = np.quantile(a, [0.01, 0.99])
    lines = scaled(np.clip(a, low, high), np.clip(b, low, high))
    knots = np.quantile(lines[0], np.linspace(0, 1, 5))
    hats = [
        np.column_stack([np.interp(x, knots, np.eye(5)[k]) for k in range(4)])
        for x in lines
    ]
    bends = [0.25 * x for x in scaled(*hats)]
    parts = zip(lines, bends, gaps, strict=True)
    # A gap in the rows to train is what makes a column of gaps.
    return [np.column_stack(p if gaps[0].any() else p[:2]) for p in parts]


def test_scores_of_classes_are_those_of_fits_without_the_fold(capsys, houses):
    _, figures = printed(
        capsys,
        houses,
        "--target",
        "dear",
        "--columns",
        "age",
        "--alpha",
        "0.2",
        "--no-mlp",
        "--no-picture",
    )
    rows = list(csv.DictReader(houses.read_text().splitlines()))
    age = np.array([float(row["age"] or "nan") for row in rows])
    y = np.array([row["dear"] for row in rows])
    losses = []
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(age, y):
        network = ConvexReLUClassifier(
            0.2, norm="l1", tol=comparison.SEARCH_TOL, random_state=0
        )
        model = make_table_pipeline(network).fit(age[train, None], y[train])
        chances = model.predict_proba(age[test, None])
        losses.append(log_loss(y[test], chances))
    assert figures["5-fold log loss"][0] == [
        f"{np.mean(losses):.3f} +/- {np.std(losses):.3f}"
    ]


def test_without_the_mlp_there_is_none(monkeypatch, capsys, houses):
    monkeypatch.setattr(run, "mlp_network", None)
    output, _ = printed(
        capsys,
        houses,
        "--target",
        "price",
        "--alpha",
        "0.3",
        "--no-mlp",
        "--no-picture",
    )
    assert "MLP" not in output and "lower bound" in output
    output, _ = printed(capsys, "--alpha", "0.3", "--no-mlp", "--no-picture")
    assert "MLP" not in output


def read(text, target="y"):
    Path("read.csv").write_text(text)
    return read_table("read.csv", Wish(target), Format())


def test_columns_are_prepared_by_kind(houses):
    wish = Wish("price", None, "size,age,town,sold")
    table = read_table(str(houses), wish, Format())
    steps = comparison.make_model(MLPRegressor(), table)[:-1]
    X = steps.fit_transform(table.X, table.y)
    # Size, age, day and four bends of each; none, north, south, west; gaps in size
    # and in age.
    assert X.shape == (58, 3 + 3 * 4 + 4 + 2)
    assert np.isfinite(X).all()
    assert np.isnan(table.X[2, 0]) and table.X[2, 1] == 12.0 and table.X[2, 2] == ""
    size = table.X[:, 0].astype(float)
    sizes, _ = prepared_by_hand(size, size)
    np.testing.assert_allclose(X[:, [0, 3, 4, 5, 6, 19]], sizes, atol=1e-12)
    towns = np.array(["", "north", "south", "west"])
    np.testing.assert_array_equal(X[:, 15:19], table.X[:, [2]] == towns)


def test_unseen_words_and_columns_empty_in_a_fold_are_no_error():
    rng = np.random.default_rng(0)
    lines = ["x,rare,sparse,kind,y"]
    for i in range(15):
        # One row alone has a value in "rare" and "sparse"; names occur twice each.
        alone = ("1.5", "yes") if i == 3 else ("", "")
        lines.append(
            f"{rng.normal()},{alone[0]},{alone[1]},name{i // 2},{rng.normal()}"
        )
    table = read("\n".join(lines))
    rows = np.arange(15) != 3
    model = comparison.make_model(ConvexReLURegressor(0.3), table)
    model.fit(table.X[rows], table.y[rows])
    assert np.isfinite(model.predict(table.X)).all()


def many_words(n_rows=120):
    """Return a table whose target is told by one of forty words alone."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 40, n_rows)
    rows = [f"{rng.normal()},w{k},{k % 2 * 10 + rng.normal()}" for k in kinds]
    return "\n".join(["x,word,y", *rows]) + "\n"


@pytest.mark.parametrize("task", ["regression", "binary", "three classes"])
def test_many_words_are_told_by_their_target(task):
    text = many_words()
    table = read(text)
    if task != "regression":
        labels = np.where(table.y > 5.0, "high", "low").astype(object)
        if task == "three classes":
            labels[::9] = "odd"
        table = replace(table, y=labels, task="classification")
    model = comparison.make_model(
        comparison.convex_network(table.task, 0.1), table
    ).fit(table.X, table.y)
    # Leaving the word out leaves nothing to learn.
    assert model.score(table.X, table.y) > 0.7
    n_columns = model[:-1].transform(table.X).shape[1]
    # A number and its four bends; the word by the target, or by each of three classes.
    assert n_columns == 5 + (3 if task == "three classes" else 1)
    again = comparison.make_model(
        comparison.convex_network(table.task, 0.1), table
    ).fit(table.X, table.y)
    np.testing.assert_array_equal(again.predict(table.X), model.predict(table.X))


NEW = """town,age,size,extra,sold
north,10,100.5,x,2020-01-05
east,many,80,y,
,3,1e300,z,2020-02-01
"""


@pytest.mark.parametrize("target, alpha", [("price", []), ("dear", ["--alpha", "0.3"])])
def test_models_are_saved_and_predict_other_files(capsys, houses, target, alpha):
    pytest.importorskip("skops")
    Path("new.csv").write_text(NEW)
    options = ["--target", target, "--columns", "size,age,town,sold", *alpha]
    output, _ = printed(
        capsys,
        houses,
        *options,
        "--no-mlp",
        "--no-picture",
        "--save",
        "m.skops",
        "--predict",
        "new.csv",
        "--output",
        "p.csv",
    )
    assert "new.csv: 3 rows to predict" in output
    assert "not looked at: extra" in output
    assert "age: 1 missing; 1 of these not of the kind: 'many'" in output
    assert "size: 1 missing; 1 of these beyond 1e100 in size" in output
    assert "town: not seen in training: 'east' in 1 row" in output
    assert "wrote p.csv: 3 predictions" in output
    assert "wrote m.skops; python -m sklearn_convexrelu m.skops --predict" in output
    first = Path("p.csv").read_bytes()

    # The model alone says the same, from the command line ...
    output, _ = printed(capsys, "m.skops", "--predict", "new.csv", "--output", "p.csv")
    assert "town: not seen in training: 'east' in 1 row" in output
    assert Path("p.csv").read_bytes() == first
    # ... and loaded by hand, from a frame as pandas reads it.
    pandas = pytest.importorskip("pandas")
    import skops.io

    types = skops.io.get_untrusted_types(file="m.skops")
    assert all(kind.startswith(saved.TRUSTED) for kind in types)
    model = skops.io.load("m.skops", trusted=types)
    rows = list(csv.DictReader(first.decode().splitlines()))
    predicted = [row[f"predicted {target}"] for row in rows]
    frame = pandas.read_csv("new.csv")
    assert [str(value) for value in model.predict(frame)] == predicted
    if target == "dear":
        chances = [
            [float(row[f"probability of {kind}"]) for kind in ("no", "yes")]
            for row in rows
        ]
        np.testing.assert_array_equal(model.predict_proba(frame), chances)
    else:
        # Rows of training are predicted about as they were trained.
        train = pandas.read_csv(houses).dropna(subset=["price"])
        assert model.score(train, train["price"]) > 0.5


def test_missing_columns_are_said_and_filled(capsys, houses):
    pytest.importorskip("skops")
    options = ["--target", "price", "--columns", "size,age,town", "--alpha", "0.3"]
    options += ["--no-mlp", "--no-picture", "--save", "m.skops"]
    printed(capsys, houses, *options)
    Path("new.csv").write_text("size\n" + "100,5\n" * 0 + "100\n50\n")
    output, _ = printed(capsys, "m.skops", "--predict", "new.csv", "--output", "p.csv")
    assert "no columns age, town: taken as missing in every row" in output
    model = saved.load_model("m.skops")
    ages = model["columns"].named_transformers_["numbers"]["missing"].statistics_[1]
    filled = np.array([[100.0, ages, ""], [50.0, ages, ""]], dtype=object)
    got = np.loadtxt("p.csv", skiprows=1)
    np.testing.assert_array_equal(got, model.predict(filled))
    Path("new.csv").write_text("other\n1\n")
    with pytest.raises(SystemExit, match="2"):
        run.main(["m.skops", "--predict", "new.csv", "--output", "p2.csv"])
    assert "new.csv has none of the columns size, age, town" in capsys.readouterr().err
    assert not Path("p2.csv").exists()


@pytest.mark.parametrize(
    "kind, text, values, said",
    [
        (
            "number, decimal comma",
            "x,z\n1.234,0\n2.5,0\n",
            [1.234, 2.5],
            "as number, unl",
        ),
        (
            "number, decimal comma",
            "x,z\n1.234,0\n2.345,0\n",
            [1.234, 2.345],
            "as number,",
        ),
        (
            "number, decimal comma",
            "x;z\n1.234;0\n2.345;0\n",
            [1234, 2345],
            "could be num",
        ),
        ("number, decimal comma", "x;z\n1,234;0\n2,3;0\n", [1.234, 2.3], None),
        ("number, decimal comma", "x,z\n5,0\n6,0\n", [5, 6], None),
        ("number", "x;z\n1,5;0\n2;0\n", [1.5, 2], "as number, decimal comma, unlike"),
        (
            "number",
            'x,z\n"1,234",0\n2,0\n',
            [1234, 2],
            "as number, thousands separated",
        ),
        ("number", "x,z\n1.234,0\n2,0\n", [1.234, 2], None),
    ],
)
def test_numbers_to_predict_may_be_written_otherwise(kind, text, values, said):
    Path("new.csv").write_text(text)
    rows = read_new_rows("new.csv", {"x": kind, "z": "number"}, "y", Format())
    np.testing.assert_array_equal(rows.X, np.column_stack([values, [0, 0]]))
    told = [line for line in rows.report if line.startswith("  x: ")]
    assert len(told) == (said is not None)
    assert all(said in line for line in told)


def test_models_of_others_are_refused(capsys, houses):
    io = pytest.importorskip("skops.io")
    io.dump(make_pipeline(StandardScaler()).fit([[1.0]]), "other.skops")
    io.dump(Path("x"), "path.skops")
    Path("text.skops").write_text("x,y")
    for name, message in [
        ("other.skops", "is no model that --save wrote"),
        ("path.skops", "is no|is not trusted"),
        ("text.skops", "is no model of skops"),
        ("absent.skops", "cannot read absent.skops: No such file"),
    ]:
        with pytest.raises(SystemExit, match="2"):
            run.main([name, "--predict", str(houses), "--output", "p.csv"])
        assert re.search(message, capsys.readouterr().err.splitlines()[-1])


def test_without_skops_nothing_is_trained_to_be_saved(monkeypatch, capsys, houses):
    monkeypatch.setitem(sys.modules, "skops", None)
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(SystemExit, match="2"):
        run.main([str(houses), "--target", "price", "--save", "m.skops"])
    output = capsys.readouterr()
    assert output.out == "" and "pip install 'sklearn-convexrelu[skops]'" in output.err


ROWS = "".join(f"{i}.5,{i % 3}.5\n" for i in range(12))
PICTURE_LINE = ["--target", "y", "--picture"]


@pytest.mark.parametrize(
    "text, options, message",
    [
        (None, ["--target", "y"], "cannot read data.csv: No such file"),
        ("x,y\n" + ROWS, [], "--target NAME is missing; columns: x, y"),
        ("x,y\n" + ROWS, ["--target", "z"], "no column 'z' in data.csv; columns: x, y"),
        ("", ["--target", "y"], "data.csv is empty"),
        ("\n\n", ["--target", "y"], "data.csv is empty"),
        ("x,y\n", ["--target", "y"], "target 'y' has no value in any row"),
        ("x,y\n1,2\n2,\n", ["--target", "y"], "1 usable row; at least 10 needed"),
        ("x,y\n" + "1,2\n" * 12, ["--target", "y"], "target 'y' is 2 in every row"),
        ("y\n" + "1.5\n2\n" * 6, ["--target", "y"], "no column to predict"),
        ("x,y\n" + "3,1.5\n3,2\n" * 6, ["--target", "y"], "x: left out: 3 in every"),
        ("x,y\n1,2,3\n" + ROWS, ["--target", "y"], "line 2 of data.csv has 3 cells"),
        ("x,y\n" + ROWS, ["--target", "y", "--alpha", "0"], "not a positive number"),
        ("x,y\n" + ROWS, ["--target", "y", "--alpha", "a"], "not a positive number"),
        ("x,y\n" + ROWS, ["--target", "y", "--alpha", "nan"], "not a positive number"),
        ("x,y\n" + ROWS, ["--target", "y", "--separator", "ab"], "not one character"),
        ("x,y\n" + ROWS, ["--target", "y", "--separator", '"'], "not one character"),
        ("x,y\n" + ROWS, ["--target", "y", "--encoding", "none"], "is no encoding"),
        ("x,y\n" + ROWS, ["--target", "y", "--task", "ranking"], "invalid choice"),
        (
            "x,y\n" + ROWS,
            [*PICTURE_LINE, "p.png", "--no-picture"],
            "--picture and --no-picture exclude each other",
        ),
        (
            "x,y\n" + ROWS,
            [*PICTURE_LINE, "nowhere/p.png"],
            "no folder for the picture nowhere/p.png",
        ),
        (
            "x,y\n" + ROWS,
            [*PICTURE_LINE, "data.csv"],
            "a picture is a file .png, .svg, .pdf, and data.csv is none",
        ),
        (
            "x,y\n" + ROWS,
            [*PICTURE_LINE, "data.csv/p.png"],
            "no folder for the picture data.csv/p.png",
        ),
        (
            "x,y\n" + ROWS,
            [*PICTURE_LINE, "."],
            ". is a folder: --picture names a file",
        ),
        (
            "x,y\n" + ROWS,
            [*PICTURE_LINE, "n" * 300 + ".png"],
            "n.png: File name too long",
        ),
        (
            "x,y\n" + ROWS,
            ["--target", "y", "--predict", "data.csv"],
            "--predict NEW.csv and --output PREDICTIONS.csv go together",
        ),
        (
            "x,y\n" + ROWS,
            ["--target", "y", "--output", "p.csv"],
            "--predict NEW.csv and --output PREDICTIONS.csv go together",
        ),
        (
            "x,y\n" + ROWS,
            ["--target", "y", "--predict", "absent.csv", "--output", "p.csv"],
            "cannot read absent.csv: No such file",
        ),
        (
            "x,y\n" + ROWS,
            ["--target", "y", "--predict", "data.csv", "--output", "./data.csv"],
            "--output would replace ./data.csv, which is read",
        ),
        (
            "x,y\n" + ROWS,
            ["--target", "y", "--predict", "data.csv", "--output", "p.xlsx"],
            "the output is a file .csv, and p.xlsx is none",
        ),
        (
            "x,y\n" + ROWS,
            ["--target", "y", "--predict", "data.csv", "--output", "no/p.csv"],
            "no folder for the table of predictions no/p.csv",
        ),
        (
            "x,y\n" + ROWS,
            ["--target", "y", "--save", "m.pkl"],
            "a model is a file .skops, and m.pkl is none",
        ),
        (
            "x,\x1b[31mred\x08\x07,y\n" + "1,2,3\n" * 12,
            ["--target", "z"],
            r"columns: x, \x1b[31mred\x08\x07, y",
        ),
        (
            "x,y\n" + ROWS + "3,\x1b]0;title\x07\n",
            ["--target", "y"],
            r"target 'y' is not numeric: '\x1b]0;title\x07' in row 13",
        ),
        (
            'x,"\u202eesrever\u2028!","a\nb",y\n' + "1,2,3,4\n" * 12,
            [],
            r"columns: x, \u202eesrever\u2028!, a\nb, y",
        ),
    ],
)
def test_errors_are_one_clear_line(capsys, tmp_path, text, options, message):
    if text is not None:
        (tmp_path / "data.csv").write_text(text)
    with pytest.raises(SystemExit) as stop:
        run.main(["data.csv", *options])
    assert stop.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    *usage, error = output.err.splitlines()
    assert not usage or usage[0].startswith("usage: python -m sklearn_convexrelu")
    assert error.startswith("python -m sklearn_convexrelu: error: ")
    assert message in error
    assert set(os.listdir(tmp_path)) <= {"data.csv"}


@pytest.mark.parametrize(
    "options, message",
    [
        (["--target", "y"], "--target goes with a file, and none was given"),
        (["--save", "m.skops"], "--save goes with a file, and none was given"),
        (
            ["--predict", "a.csv", "--output", "b.csv"],
            "--predict goes with a file, and none was given",
        ),
        (["m.skops"], "a model needs --predict NEW.csv --output PREDICTIONS.csv"),
        (["m.skops", "--target", "y"], "--target is for training, and a model was"),
        (["m.skops", "--no-mlp"], "--no-mlp is for training, and a model was given"),
    ],
)
def test_options_that_do_not_go_together(capsys, options, message):
    with pytest.raises(SystemExit, match="2"):
        run.main(options)
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("option, name", [("--output", "p.csv"), ("--save", "m.skops")])
def test_files_of_the_user_are_not_written_over(capsys, houses, option, name):
    pytest.importorskip("skops")
    Path(name).write_bytes(b"x,y\n1,2\n")
    extra = ["--predict", str(houses)] if option == "--output" else []
    with pytest.raises(SystemExit, match="2"):
        run.main([str(houses), "--target", "price", *extra, option, name])
    output = capsys.readouterr()
    assert output.out == "" and f"{name} exists and is no" in output.err
    assert f"{option} names another, or remove it" in output.err
    assert Path(name).read_bytes() == b"x,y\n1,2\n"


def test_files_of_the_command_are(capsys, houses):
    pytest.importorskip("skops")
    command = [houses, "--target", "price", "--columns", "age", "--alpha", "0.5"]
    command += ["--no-mlp", "--no-picture", "--save", "m.skops"]
    command += ["--predict", houses, "--output", "p.csv"]
    printed(capsys, *command)
    first = Path("p.csv").read_bytes()
    printed(capsys, *command)
    assert Path("p.csv").read_bytes() == first
    assert len(first.splitlines()) == N_ROWS + 1


# Files that are there before, and are no pictures of the demo.
OTHERS = {
    "data": ("notes", b"x,y\n1,2\n"),
    "data called a picture": ("notes.png", b"x,y\n1,2\n"),
    "picture of someone else": (
        "photo.png",
        b"\x89PNG\r\n\x1a\n" + b"tEXtSoftware\0Matplotlib version3.11, more" * 9,
    ),
    "drawing": ("drawing.SVG", b"<?xml version='1.0'?><svg></svg>"),
    "document": ("thesis.pdf", b"%PDF-1.4 sklearn_convexrelu"),
    "our name in a text": ("text.svg", b"python -m sklearn_convexrelu"),
    "the default": (picture.PICTURE, b"mine"),
}


@pytest.mark.parametrize("name, content", OTHERS.values(), ids=OTHERS)
def test_a_file_that_is_no_picture_of_ours_is_kept(capsys, tmp_path, name, content):
    (tmp_path / "data.csv").write_text("x,y\n" + ROWS)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SystemExit, match="2"):
        run.main(["data.csv", "--target", "y", "--picture", name])
    output = capsys.readouterr()
    assert output.out == ""
    assert f"{name} exists and is no picture of this command" in output.err
    assert (tmp_path / name).read_bytes() == content
    with pytest.raises(DataError, match="no picture of this command"):
        picture.draw_convergence(a_model(), name)  # it came while training
    assert (tmp_path / name).read_bytes() == content


def test_a_picture_under_the_name_of_the_data_is_refused(capsys, tmp_path):
    (tmp_path / "data").write_text("x,y\n" + ROWS)
    (tmp_path / "link.png").symlink_to("data")
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "nowhere.png").symlink_to("absent/p.png")
    for name in ("data", "./data", "link.png", "loop.png", "nowhere.png"):
        with pytest.raises(SystemExit, match="2"):
            run.main(["data", "--target", "y", "--picture", name])
        output = capsys.readouterr()
        assert output.out == "" and len(output.err.splitlines()) == 1
    assert (tmp_path / "data").read_text() == "x,y\n" + ROWS
    assert not (tmp_path / "absent").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such files here")
def test_devices_and_pipes_are_no_pictures(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for name in ("pipe.png", "/dev/zero", "/dev/null"):
        with pytest.raises(DataError, match="not seekable|no picture of this"):
            picture.check_picture(name)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="everything is writable"
)
def test_what_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    (tmp_path / "kept.png").touch(mode=0o400)
    for name in ("locked/p.png", "kept.png"):
        with pytest.raises(DataError, match="cannot write.*Permission denied"):
            picture.check_picture(name)


def a_model():
    X = np.random.default_rng(0).normal(size=(50, 6))
    return ConvexReLURegressor(0.1, tol=0.1).fit(X, np.abs(X).sum(axis=1))


@pytest.mark.parametrize("name", ["p", "p.png", "p.PNG", "p.svg", "p.pdf"])
def test_a_picture_of_ours_is_drawn_again(tmp_path, name):
    model, path = a_model(), tmp_path / name
    picture.check_picture(name)
    assert not path.exists()  # the check leaves nothing behind
    assert picture.draw_convergence(model, name) == f"wrote {name}"
    first = path.read_bytes()
    path.write_bytes(first + b"longer than the next one")
    picture.check_picture(name)
    assert path.read_bytes().startswith(first)
    assert picture.draw_convergence(model, name) == f"wrote {name}"
    start = picture.FORMATS[(path.suffix or ".png")[1:].lower()][0]
    assert path.read_bytes().startswith(start)
    assert b"longer than" not in path.read_bytes()
    path.write_bytes(b"")  # as of mktemp
    assert picture.draw_convergence(model, name) == f"wrote {name}"


def test_a_picture_that_fails_in_the_end_costs_no_results(
    monkeypatch, capsys, tmp_path
):
    (tmp_path / "data.csv").write_text("x,y\n" + ROWS)
    monkeypatch.setattr(run, "check_picture", lambda path: None)
    (tmp_path / "p.png").write_bytes(b"mine")
    with pytest.raises(SystemExit) as stop:
        run.main(["data.csv", "--target", "y", "--picture", "p.png", "--alpha", "0.5"])
    assert stop.value.code == (
        "not written: p.png exists and is no picture of this command: --picture names "
        "another, or remove it"
    )
    assert "lower bound" in capsys.readouterr().out
    assert (tmp_path / "p.png").read_bytes() == b"mine"


def test_control_characters_reach_no_terminal():
    evil = "\x1b[8mhidden.csv"
    Path(evil).write_text("x,\x1by\n" + ROWS)
    for path, target in [(evil, "\x1by"), (evil, None), (evil, "x\x07")]:
        try:
            said = "".join(read_table(path, Wish(target), Format()).report)
        except DataError as error:
            said = str(error)
        assert said.isprintable()
    for path in ("\x1b/p.png", "\x1b.csv", "\x1b\udcff.png\0", evil):
        with pytest.raises(DataError) as error:
            picture.check_picture(path)
        assert str(error.value).isprintable()


def test_binary_file_is_an_error(capsys, tmp_path):
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x01")
    for path, message in [(tmp_path, "cannot read"), ("b.csv", "no column 'y'")]:
        with pytest.raises(SystemExit, match="2"):
            run.main([str(path), "--target", "y"])
        assert message in capsys.readouterr().err


def test_module_runs_from_the_command_line():
    command = [sys.executable, "-m", "sklearn_convexrelu", "--help"]
    result = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "--target NAME" in result.stdout


def test_names_that_the_terminal_cannot_write_are_escaped(tmp_path):
    (tmp_path / "d.csv").write_text("x,価格\n" + ROWS, encoding="utf-8")
    command = [sys.executable, "-m", "sklearn_convexrelu", "d.csv", "--target", "価格"]
    result = subprocess.run(
        [*command, "--alpha", "0.5", "--no-picture", "--no-mlp"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": ROOT},
    )
    assert result.returncode == 0, result.stderr
    assert r"target '\u4fa1\u683c'" in result.stdout


NO_PANDAS = """
import sys
class NoPandas:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pandas":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NoPandas())
from sklearn_convexrelu.demo.run import main
main()
"""


def test_all_but_parquet_goes_without_pandas(houses):
    pytest.importorskip("skops")
    command = [sys.executable, "-c", NO_PANDAS, str(houses), "--target", "dear"]
    command += ["--alpha", "0.3", "--no-mlp", "--no-picture", "--save", "m.skops"]
    result = subprocess.run(
        [*command, "--predict", str(houses), "--output", "p.csv"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": ROOT},
    )
    assert result.returncode == 0, result.stderr
    assert "pandas is not installed: no parquet" in " ".join(result.stdout.split())
    # The model is the same to one who has pandas.
    rows = list(csv.DictReader(Path("p.csv").read_text().splitlines()))
    pandas = pytest.importorskip("pandas")
    model = saved.load_model("m.skops")
    predicted = model.predict(pandas.read_csv(houses))
    assert [row["predicted dear"] for row in rows] == predicted.tolist()


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_an_interrupt_ends_it_in_one_line():
    command = [sys.executable, "-u", "-m", "sklearn_convexrelu"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": ROOT},
        # What is started in the background ignores it, and so does what that starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        for line in process.stdout:
            if "fold 2 of 5" in line:
                break
        process.send_signal(signal.SIGINT)
        _, error = process.communicate()
    assert process.returncode == 130
    assert error.strip() == "interrupted; what is printed as written is there"


def test_the_pieces_of_the_command_serve_from_python(houses):
    table = command.read_table(str(houses), "price")
    guessed = read_table(str(houses), Wish("price"), Format())
    assert table.kinds == guessed.kinds and table.target == "price"
    of_words = [name for name, kind in table.kinds.items() if kind == "words"]
    assert of_words and sorted(table.numeric + of_words) == sorted(table.kinds)
    model = command.make_model(ConvexReLURegressor(0.1, tol=1e-2), table)
    assert model.fit(table.X, table.y).score(table.X, table.y) > 0.5
    with pytest.raises(command.DataError, match="no column"):
        command.read_table(str(houses), "castle")
