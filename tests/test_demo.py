"""The demo: what it prints, the picture, the user's own CSV, and every error."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_convexrelu import ConvexReLUClassifier, ConvexReLURegressor
from sklearn_convexrelu import __main__ as demo

N_ROWS = 60


@pytest.fixture(autouse=True)
def fast(monkeypatch, tmp_path):
    """Fewer candidates and inner folds; files go to a scratch folder."""
    monkeypatch.setattr(demo, "CONVEX_ALPHAS", (0.1, 0.03))
    monkeypatch.setattr(demo, "MLP_ALPHAS", (10.0,))
    monkeypatch.setattr(demo, "INNER_FOLDS", 2)
    monkeypatch.setattr(demo, "CLASSES", {})
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def houses(tmp_path):
    """A CSV with numeric and categorical columns and holes in all of them."""
    rng = np.random.default_rng(0)
    size, age = rng.uniform(50, 200, N_ROWS), rng.integers(0, 40, N_ROWS)
    town = rng.choice(["north", "south", "west"], N_ROWS)
    price = size * (1.0 + (town == "north")) - age + rng.normal(0, 5, N_ROWS)
    lines = ["size,age,town,remark,price"]
    for row in zip(size.round(1), age, town, price.round(2), strict=True):
        lines.append("{},{},{},,{}".format(*row))
    lines[3] = "NA,12,?,,130.5"
    lines[4] = "100.0,,north,,NaN"
    lines[5] = "80.0,7,,,"
    path = tmp_path / "houses.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def printed(capsys, *argv):
    """Run the demo; return what it printed, and the figures of its table by line."""
    demo.main(list(map(str, argv)))
    output = capsys.readouterr().out
    figures = {}
    for line in output.splitlines():
        cells = re.split(r"\s{2,}", line.strip())
        if len(cells) == 3:
            figures[re.sub(r" \[\d\]", "", cells[0])] = cells[1:]
    return output, figures


def leading_number(cell):
    return float(cell.split()[0])


def test_diabetes_table_is_what_a_user_would_compute(capsys):
    _, figures = printed(capsys, "--alpha", "0.1", "--no-picture")
    X, y = load_diabetes(return_X_y=True)

    scores = []
    for train, test in KFold(5, shuffle=True, random_state=0).split(X):
        scaler = StandardScaler().fit(X[train])
        mean, sd = y[train].mean(), y[train].std()
        regressor = ConvexReLURegressor(0.1, tol=demo.SEARCH_TOL, random_state=0)
        regressor.fit(scaler.transform(X[train]), (y[train] - mean) / sd)
        residual = y[test] - mean - sd * regressor.predict(scaler.transform(X[test]))
        spread = np.sum((y[test] - y[test].mean()) ** 2)
        scores.append(1.0 - np.sum(residual**2) / spread)
    assert figures["5-fold R2"][0] == f"{np.mean(scores):.3f} +/- {np.std(scores):.3f}"

    # In the memory order of the demo's table: the last bits of means depend on it.
    X = StandardScaler().fit_transform(np.asfortranarray(X))
    y = StandardScaler().fit_transform(y[:, None])[:, 0]
    convex = ConvexReLURegressor(0.1, random_state=0).fit(X, y)
    assert figures["objective"][0] == f"{convex.objective_:.5f}"
    assert figures["lower bound"] == [f"{convex.lower_bound_:.5f}", "-"]
    assert figures["neurons"] == [str(convex.n_neurons_), "100"]
    assert leading_number(figures["gap"][0]) == pytest.approx(
        convex.objective_ - convex.lower_bound_, abs=1e-5
    )

    mlp = MLPRegressor(max_iter=500, alpha=10.0, random_state=0).fit(X, y)
    objective = 0.5 * np.mean((y - mlp.predict(X)) ** 2)
    for w, b, v in zip(mlp.coefs_[0].T, mlp.intercepts_[0], mlp.coefs_[1], strict=True):
        objective += convex.alpha_ * np.sqrt(w @ w + b**2) * abs(v[0])
    assert leading_number(figures["objective"][1]) == pytest.approx(objective, abs=1e-5)


def test_classification_table_is_what_a_user_would_compute(monkeypatch, capsys):
    monkeypatch.setattr(demo, "CLASSES", {"iris": load_iris})
    output, figures = printed(capsys, "--alpha", "0.3", "--no-picture")
    X, y = load_iris(return_X_y=True)
    model = make_pipeline(
        StandardScaler(), ConvexReLUClassifier(tol=0.01, random_state=0)
    )
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    accuracy = cross_val_score(model, X, y, cv=folds).mean()
    assert "iris data: 150 rows, 4 columns, 3 classes" in output
    assert leading_number(figures["5-fold acc."][0]) == pytest.approx(
        accuracy, abs=6e-4
    )
    network = model.set_params(convexreluclassifier__tol=1e-3).fit(X, y)[-1]
    shown = [leading_number(figures[key][0]) for key in ("objective", "lower bound")]
    assert shown == pytest.approx([network.objective_, network.lower_bound_], abs=6e-6)
    assert figures["neurons"] == [str(network.n_neurons_), "100"]


def test_csv_with_categories_and_missing_values(capsys, houses):
    output, figures = printed(capsys, houses, "--target", "price")
    assert "58 rows, 2 numeric and 1 categorical columns, target 'price'" in output
    assert "left out 2 rows without a target" in output
    assert "left out columns without values: remark" in output
    convex, mlp = figures["5-fold R2"]
    # Size, age and town determine the price up to noise.
    assert leading_number(convex) > 0.7
    assert leading_number(mlp) > 0.7
    assert leading_number(figures["alpha"][0]) in demo.CONVEX_ALPHAS
    assert leading_number(figures["lower bound"][0]) <= leading_number(
        figures["objective"][0]
    )
    assert (houses.parent / demo.PICTURE).exists()


def test_columns_are_read_by_kind(houses):
    table = demo.read_table(str(houses), "price")
    X = demo.make_model(MLPRegressor(), table)["columns"].fit_transform(table.X)
    # Size, age, three towns; the row with holes has median size and the usual town.
    assert X.shape == (58, 5)
    assert np.isfinite(X).all()
    assert (table.numeric, table.categorical) == ([0, 1], [2])
    assert table.X[2, 2] == "" and np.isnan(table.X[2, 0]) and table.X[2, 1] == 12.0
    size = table.X[:, 0].astype(float)
    filled = np.where(np.isnan(size), np.nanmedian(size), size)
    np.testing.assert_allclose(X[:, 0], (filled - filled.mean()) / filled.std())
    names, counts = np.unique(table.X[:, 2], return_counts=True)
    usual = names[1:][np.argmax(counts[1:])]
    assert X[2, 2:] @ np.arange(3) == ["north", "south", "west"].index(usual)


def test_separators_byte_order_mark_and_blank_lines(tmp_path):
    rows = [f'{x};"a; b";{2 * x}' for x in range(12)]
    text = "\ufeffsize;kind;price\n\n" + "\n".join(rows) + "\n;;\n"
    (tmp_path / "s.csv").write_text(text, encoding="utf-8")
    table = demo.read_table(str(tmp_path / "s.csv"), "price")
    np.testing.assert_array_equal(table.y, 2.0 * np.arange(12))
    assert set(table.X[:, 1]) == {"a; b"}


def test_unseen_category_and_column_empty_in_a_fold_are_no_error(tmp_path):
    rng = np.random.default_rng(0)
    lines = ["x,rare,sparse,kind,y"]
    for i in range(15):
        # One row alone has a value in "rare" and "sparse"; names occur once each.
        alone = ("1.5", "yes") if i == 3 else ("", "")
        lines.append(f"{rng.normal()},{alone[0]},{alone[1]},name{i},{rng.normal()}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    table = demo.read_table(str(tmp_path / "t.csv"), "y")
    rows = np.arange(15) != 3
    model = demo.make_model(ConvexReLURegressor(0.3), table)
    model.fit(table.X[rows], table.y[rows])
    assert np.isfinite(model.predict(table.X)).all()


def test_picture_is_a_png_of_sensible_size(tmp_path):
    X = np.random.default_rng(0).normal(size=(50, 6))
    regressor = ConvexReLURegressor(0.1, random_state=0).fit(X, np.abs(X).sum(axis=1))
    path = tmp_path / "convergence"
    assert demo.draw_convergence(regressor, str(path)) == f"wrote {path}"
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    width, height = (int.from_bytes(content[i : i + 4], "big") for i in (16, 20))
    assert 800 <= width <= 3000 and 300 <= height <= 2000
    assert 10_000 < len(content) < 1_000_000


def test_without_matplotlib_the_picture_is_skipped_with_a_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    message = demo.draw_convergence(None, str(tmp_path / "p.png"))
    assert "pip install 'sklearn-convexrelu[plot]'" in message
    assert not (tmp_path / "p.png").exists()


@pytest.mark.parametrize(
    "kind, word", [("exact", "is a proof"), ("priced", "estimate")]
)
def test_gap_is_called_a_proof_only_when_it_is_one(kind, word):
    # One feature and the hidden bias have rank two, which is priced exactly.
    X = np.random.default_rng(0).normal(size=(30, 1 if kind == "exact" else 6))
    regressor = ConvexReLURegressor(0.1, random_state=0).fit(X, np.abs(X).sum(axis=1))
    assert regressor.certificate_.kind == kind
    text = " ".join(demo.explain_gap(regressor).split())
    assert word in text
    assert f"{regressor.dual_gap_:.2g}" in text


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_stopping_early_is_said():
    X = np.random.default_rng(0).normal(size=(50, 6))
    regressor = ConvexReLURegressor(0.01, max_iter=1, random_state=0)
    regressor.fit(X, np.abs(X).sum(axis=1))
    assert "Training stopped early" in demo.explain_gap(regressor)


ROWS = "".join(f"{i},{i % 3}\n" for i in range(12))


@pytest.mark.parametrize(
    "text, options, message",
    [
        (None, ["--target", "y"], "cannot read data.csv: No such file"),
        ("x,y\n" + ROWS, [], "--target NAME is missing; columns: x, y"),
        ("x,y\n" + ROWS, ["--target", "z"], "no column 'z' in data.csv; columns: x, y"),
        (
            "x,y\n" + ROWS + "3,blue\n",
            ["--target", "y"],
            "target 'y' is not numeric: 'blue' on line 14; this demo predicts numbers; "
            "for classes use ConvexReLUClassifier",
        ),
        ("", ["--target", "y"], "data.csv is empty"),
        ("\n\n", ["--target", "y"], "data.csv is empty"),
        ("x,y\n", ["--target", "y"], "0 usable rows; at least 10 needed"),
        ("x,y\n1,2\n2,\n", ["--target", "y"], "1 usable rows; at least 10 needed"),
        ("x,y\n" + "1,2\n" * 12, ["--target", "y"], "target 'y' is 2 in every row"),
        ("y\n" + "1\n2\n" * 6, ["--target", "y"], "no column to predict"),
        ("x,x,y\n" + ROWS, ["--target", "y"], "several columns called 'x'"),
        ("x,y\n1,2,3\n" + ROWS, ["--target", "y"], "line 2 of data.csv has 3 cells"),
        ("x,y\n" + ROWS, ["--target", "y", "--alpha", "0"], "not a positive number"),
        ("x,y\n" + ROWS, ["--target", "y", "--alpha", "a"], "not a positive number"),
        (
            "x,y\n" + ROWS,
            ["--target", "y", "--picture", "nowhere/p.png"],
            "no folder for the picture nowhere/p.png",
        ),
    ],
)
def test_errors_are_one_clear_line(capsys, tmp_path, text, options, message):
    if text is not None:
        (tmp_path / "data.csv").write_text(text)
    with pytest.raises(SystemExit) as stop:
        demo.main(["data.csv", *options])
    assert stop.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    usage, error = output.err.splitlines()
    assert usage.startswith("usage: python -m sklearn_convexrelu")
    assert message in error


def test_target_without_file_is_an_error(capsys):
    with pytest.raises(SystemExit, match="2"):
        demo.main(["--target", "y"])
    assert "--target goes with a CSV file" in capsys.readouterr().err


def test_folder_or_binary_file_is_an_error(capsys, tmp_path):
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x01")
    for path, message in [(tmp_path, "cannot read"), ("b.csv", "not a CSV file")]:
        with pytest.raises(SystemExit, match="2"):
            demo.main([str(path), "--target", "y"])
        assert message in capsys.readouterr().err


def test_module_runs_from_the_command_line():
    command = [sys.executable, "-m", "sklearn_convexrelu", "--help"]
    # Where the package is, should it not be installed.
    root = Path(demo.__file__).parents[1]
    result = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=root
    )
    assert "--target NAME" in result.stdout
