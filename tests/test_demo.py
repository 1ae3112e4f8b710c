"""The demo: what it prints, the picture, the user's own CSV, and every error."""

import os
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
from sklearn_convexrelu.demo import comparison, picture, report, run
from sklearn_convexrelu.demo.cells import DataError, shown
from sklearn_convexrelu.demo.table import read_table

N_ROWS = 60


@pytest.fixture(autouse=True)
def fast(monkeypatch, tmp_path):
    """Fewer candidates and inner folds; files go to a scratch folder."""
    monkeypatch.setattr(run, "CONVEX_ALPHAS", (0.1, 0.03))
    monkeypatch.setattr(run, "MLP_ALPHAS", (10.0,))
    for module in (comparison, report):
        monkeypatch.setattr(module, "INNER_FOLDS", 2)
    monkeypatch.setattr(run, "CLASSES", {})
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
    run.main(list(map(str, argv)))
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
        regressor = ConvexReLURegressor(0.1, tol=comparison.SEARCH_TOL, random_state=0)
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
    monkeypatch.setattr(run, "CLASSES", {"iris": load_iris})
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
    seen = [leading_number(figures[key][0]) for key in ("objective", "lower bound")]
    assert seen == pytest.approx([network.objective_, network.lower_bound_], abs=6e-6)
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
    assert leading_number(figures["alpha"][0]) in run.CONVEX_ALPHAS
    assert leading_number(figures["lower bound"][0]) <= leading_number(
        figures["objective"][0]
    )
    assert (houses.parent / picture.PICTURE).exists()


def test_columns_are_read_by_kind(houses):
    table = read_table(str(houses), "price")
    X = comparison.make_model(MLPRegressor(), table)["columns"].fit_transform(table.X)
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
    table = read_table(str(tmp_path / "s.csv"), "price")
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
    table = read_table(str(tmp_path / "t.csv"), "y")
    rows = np.arange(15) != 3
    model = comparison.make_model(ConvexReLURegressor(0.3), table)
    model.fit(table.X[rows], table.y[rows])
    assert np.isfinite(model.predict(table.X)).all()


def test_picture_is_a_png_of_sensible_size(tmp_path):
    X = np.random.default_rng(0).normal(size=(50, 6))
    regressor = ConvexReLURegressor(0.1, random_state=0).fit(X, np.abs(X).sum(axis=1))
    path = tmp_path / "convergence"
    assert picture.draw_convergence(regressor, str(path)) == f"wrote {path}"
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    width, height = (int.from_bytes(content[i : i + 4], "big") for i in (16, 20))
    assert 800 <= width <= 3000 and 300 <= height <= 2000
    assert 10_000 < len(content) < 1_000_000


def test_without_matplotlib_the_picture_is_skipped_with_a_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    message = picture.draw_convergence(None, str(tmp_path / "p.png"))
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
    text = " ".join(report.explain_gap(regressor).split())
    assert word in text
    assert f"{regressor.dual_gap_:.2g}" in text


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_stopping_early_is_said():
    X = np.random.default_rng(0).normal(size=(50, 6))
    regressor = ConvexReLURegressor(0.01, max_iter=1, random_state=0)
    regressor.fit(X, np.abs(X).sum(axis=1))
    assert "Training stopped early" in report.explain_gap(regressor)


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
        (
            "x,y\n" + ROWS,
            ["--target", "y", "--picture", "data.csv"],
            "a picture is a file .png, .svg, .pdf, and data.csv is none",
        ),
        (
            "x,y\n" + ROWS,
            ["--target", "y", "--picture", "data.csv/p.png"],
            "no folder for the picture data.csv/p.png",
        ),
        (
            "x,y\n" + ROWS,
            ["--target", "y", "--picture", "."],
            "cannot write the picture .: Is a directory",
        ),
        (
            "x,y\n" + ROWS,
            ["--target", "y", "--picture", "n" * 300 + ".png"],
            "n.png: File name too long",
        ),
        (
            "x,\x1b[31mred\x08\x07,y\n" + "1,2,3\n" * 12,
            ["--target", "z"],
            r"columns: x, \x1b[31mred\x08\x07, y",
        ),
        (
            "x,y\n" + ROWS + "3,\x1b]0;title\x07\n",
            ["--target", "y"],
            r"target 'y' is not numeric: '\x1b]0;title\x07' on line 14",
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
    usage, error = output.err.splitlines()
    assert usage.startswith("usage: python -m sklearn_convexrelu")
    assert message in error


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
    assert f"{name} exists and is no picture of this demo" in output.err
    assert (tmp_path / name).read_bytes() == content
    with pytest.raises(DataError, match="no picture of this demo"):
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
        assert output.out == "" and len(output.err.splitlines()) == 2
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
        run.main(["data.csv", "--target", "y", "--picture", "p.png"])
    assert stop.value.code == (
        "no picture: p.png exists and is no picture of this demo: --picture names "
        "another, or remove it"
    )
    assert "lower bound" in capsys.readouterr().out
    assert (tmp_path / "p.png").read_bytes() == b"mine"


PANDAS = ["#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND"]
PANDAS += ["1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"]


def read(text, target="y"):
    Path("read.csv").write_bytes(text.encode())
    return read_table("read.csv", target)


@pytest.mark.parametrize(
    "mark", [*PANDAS, "-", "?", ".", "NONE", "#n/a", " NA ", "inf"]
)
def test_a_mark_of_a_missing_value_leaves_a_column_numeric(mark):
    table = read(f"x,z,y\n{mark},1,5\n" + "".join(f"{i},{i},{i}\n" for i in range(12)))
    assert table.numeric == [0, 1]
    assert np.isnan(table.X[0, 0]) and not np.isnan(table.X[1:]).any()
    assert f"read as missing values: {mark.strip()}" in table.summary


def test_marks_that_are_categories_among_words_stay():
    words = ["None", "-", ".", "none", "box", "NA", "N/A", "#N/A", "<NA>", "?", "", "x"]
    text = "kind,y\n" + "".join(f"{word},{i}\n" for i, word in enumerate(words))
    table = read(text)
    assert table.categorical == [0]
    assert table.X[:, 0].tolist() == ["None", "-", ".", "none", "box"] + 6 * [""] + [
        "x"
    ]
    assert "read as missing values: NA, N/A, #N/A, <NA>, ?" in table.summary
    assert "None" not in table.summary


def test_targets_may_be_missing_in_every_way():
    marks = [*PANDAS, "-", ".", ""]
    rows = "".join(f"1,{mark}\n" for mark in marks) + "".join(
        f"{i},{i}\n" for i in range(12)
    )
    table = read("x,y\n" + rows)
    np.testing.assert_array_equal(table.y, np.arange(12.0))
    assert f"left out {len(marks)} rows without a target" in table.summary


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    "name",
    [
        "x, in m; by hand\tor not, or so",
        "x\nin m",
        "x\r\n, in; m",
        'the "best", or; so',
        "a,b,c,d,e",
        "1;2;3;4;5",
        '"',
        "",
    ],
)
def test_quoted_names_hold_anything(separator, name):
    quoted = '"' + name.replace('"', '""') + '"'
    lines = [separator.join([quoted, "z", "y"])]
    lines += [f"{i}{separator}{separator}{-i}" for i in range(12)]
    table = read("\n".join(lines).replace(separator * 2, f"{separator}1{separator}"))
    np.testing.assert_array_equal(table.X, [[i, 1] for i in range(12)])
    with pytest.raises(DataError) as error:
        read("\n".join(lines), target=None)
    assert str(error.value).isprintable()
    assert str(error.value).endswith(f"columns: {shown(name)}, z, y")


@pytest.mark.parametrize(
    "text, names, first",
    [
        # A separator in every name and every number, but another one between them.
        ("a,b;y\n" + "1,5;2\n2,5;3\n" * 6, None, None),
        ('"a,b";y\n' + '"1,5";2\n"2,5";3\n' * 6, "a,b", "1,5"),
        ("x (a;b;c;d),y\n" + "1,2\n2,3\n" * 6, "x (a;b;c;d)", 1.0),
        ('z;"a,b,c,d";y\n' + "1;4;2\n2;4;3\n" * 6, "z", 1.0),
        ('\ufeff\n\n"x\n1" ; y\n' + "1;2\n2;3\n" * 6, "x\n1", 1.0),
        ('x, "a, b", y\n' + "1, 2, 3\n2, 3, 5\n" * 6, "x", 1.0),
        ('name;y\n"Smith; John, jr";2\n' + '"Li; Wei";3\n' * 11, "name", None),
    ],
)
def test_separators_are_told_by_names_and_rows_together(text, names, first):
    if names is None:  # nobody can tell: two columns either way
        with pytest.raises(DataError, match=r"columns: a, b;y$"):
            read(text)
        return
    table = read(text)
    if first is not None:
        assert table.X[0, 0] == first
    with pytest.raises(DataError) as error:
        read(text, target="?")
    assert f"columns: {shown(names)}, " in str(error.value)


def test_control_characters_reach_no_terminal(capsys):
    text = "x,\x1b[2Jempty,\x9b31m,y\n" + "".join(f"{i},,{i},{i}\n" for i in range(12))
    table = read(text)
    assert r"left out columns without values: \x1b[2Jempty" in table.summary
    evil = "\x1b[8mhidden.csv"
    Path(evil).write_text("x,\x1by\n" + ROWS)
    for path, target in [(evil, "\x1by"), (evil, None), (evil, "x\x07")]:
        try:
            said = read_table(path, target).summary
        except DataError as error:
            said = str(error)
        assert "\x1b" not in said and "\x07" not in said
    for path in ("\x1b[2J", "\x1b\udcff"):
        with pytest.raises(DataError) as error:
            read_table(path, "y")
        assert str(error.value).isprintable()
    for path in ("\x1b/p.png", "\x1b.csv", "\x1b\udcff.png\0", evil):
        with pytest.raises(DataError) as error:
            picture.check_picture(path)
        assert str(error.value).isprintable()
    assert shown("naïve 価格 e\u0301 \ud800\u200b") == (
        "naïve 価格 é \\ud800\\u200b".replace("é", "e\u0301")
    )


def test_target_without_file_is_an_error(capsys):
    with pytest.raises(SystemExit, match="2"):
        run.main(["--target", "y"])
    assert "--target goes with a CSV file" in capsys.readouterr().err


def test_folder_or_binary_file_is_an_error(capsys, tmp_path):
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x01")
    for path, message in [(tmp_path, "cannot read"), ("b.csv", "not a CSV file")]:
        with pytest.raises(SystemExit, match="2"):
            run.main([str(path), "--target", "y"])
        assert message in capsys.readouterr().err


def test_module_runs_from_the_command_line():
    command = [sys.executable, "-m", "sklearn_convexrelu", "--help"]
    # Where the package is, should it not be installed.
    root = Path(run.__file__).parents[2]
    result = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=root
    )
    assert "--target NAME" in result.stdout


def test_names_that_the_terminal_cannot_write_are_escaped(tmp_path):
    (tmp_path / "d.csv").write_text("x,価格\n" + ROWS, encoding="utf-8")
    command = [sys.executable, "-m", "sklearn_convexrelu", "d.csv", "--target", "価格"]
    root = str(Path(run.__file__).parents[2])
    result = subprocess.run(
        [*command, "--alpha", "0.5", "--no-picture"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": root},
    )
    assert result.returncode == 0, result.stderr
    assert r"target '\u4fa1\u683c'" in result.stdout
