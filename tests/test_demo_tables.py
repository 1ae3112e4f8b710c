"""What the command line takes each column as: awkward files, and the table of them."""

import bz2
import gzip
import io
import lzma
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from sklearn_convexrelu.demo import comparison
from sklearn_convexrelu.demo.cells import DataError, shown
from sklearn_convexrelu.demo.columns import ReadColumns
from sklearn_convexrelu.demo.files import Format, read_columns
from sklearn_convexrelu.demo.kinds import read_as
from sklearn_convexrelu.demo.table import CLASSES, NUMBERS, Wish, read_table

pandas = pytest.importorskip("pandas")

DOCS = Path(__file__).parents[1] / "docs" / "command_line.md"
N = 40
RNG = np.random.default_rng(0)
SIZES = RNG.uniform(1000.0, 9000.0, N).round(2)
TOWNS = np.array(["north", "south"])[RNG.integers(0, 2, N)]
DAYS = np.datetime64("2020-01-01") + RNG.integers(0, 900, N).astype("timedelta64[D]")
PRICES = (0.01 * SIZES + 5.0 * (TOWNS == "north") + RNG.normal(0, 1, N)).round(3)


@pytest.fixture(autouse=True)
def scratch(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def csv_text(separator=",", end="\n", **columns):
    """Return a file with these columns and the prices as the target y."""
    columns = columns | ({} if "y" in columns else {"y": PRICES})
    lines = [separator.join(columns)]
    lines += [
        separator.join(map(str, row)) for row in zip(*columns.values(), strict=True)
    ]
    return end.join(lines) + end


def with_cells(values, cells):
    """Return values with some cells put over the first of them."""
    return [*cells, *map(str, values[len(cells) :])]


def german(values):
    """Return numbers with decimal commas and points for thousands."""
    swap = str.maketrans(",.", ".,")
    return [f"{value:,.2f}".translate(swap) for value in values]


def american(dates):
    return [f"{date:%m/%d/%Y}" for date in dates.astype(object)]


def parquet():
    buffer = io.BytesIO()
    pandas.DataFrame(
        {
            "size": SIZES,
            "rooms": pandas.array([None, *range(N - 1)], dtype="Int64"),
            "town": pandas.Categorical(TOWNS),
            "sold": pandas.to_datetime(DAYS),
            "y": PRICES,
        }
    ).to_parquet(buffer)
    return buffer.getvalue()


MARKS = ["#N/A", "<NA>", "None", "-", "NA"]
CODES = [f"{i}_{i + 1}" for i in range(2)]
EVIL = "\x1b[2J\x07"
DECIMAL, SEVERAL = "number, decimal comma", "number, thousands separated"

# The name that the table of the documentation has; the file; the kinds that its columns
# are taken as; what the report says beside them.
CASES = {
    "decimal commas, `;`": (
        csv_text(";", size=german(SIZES), y=german(PRICES)),
        {"size": DECIMAL},
        ["separated by ';', a guess", "target 'y': number, decimal comma"],
    ),
    "`#N/A <NA> None - NA` among numbers": (
        csv_text(size=with_cells(SIZES, MARKS)),
        {"size": "number"},
        ["5 missing (as '#N/A', '-', '<NA>', ...)"],
    ),
    "one word among numbers": (
        csv_text(size=with_cells(SIZES, ["unknown"])),
        {"size": "number"},
        ["1 missing; 1 of these not of the kind: 'unknown'"],
    ),
    "`1_2`": (
        csv_text(size=SIZES, code=CODES * (N // 2)),
        {"size": "number", "code": "words"},
        ["words, 2 different: '0_1', '1_2'"],
    ),
    "quoted separators and line ends": (
        csv_text(
            **{'"size, in m;\nby hand"': SIZES, "town": [f'"{t}, UK"' for t in TOWNS]}
        ),
        {"size, in m;\nby hand": "number", "town": "words"},
        [r"size, in m;\nby hand", "'north, UK'"],
    ),
    "Latin-1": (
        csv_text(größe=SIZES).encode("latin-1"),
        {"größe": "number"},
        ["not in UTF-8 (byte 2): read as cp1252, which is a guess; --encoding"],
    ),
    "UTF-16 of a spreadsheet, tabs": (
        csv_text("\t", größe=SIZES).encode("utf-16"),
        {"größe": "number"},
        ["separated by tab, a guess"],
    ),
    "gzip, bzip2, xz": (
        gzip.compress(csv_text(size=SIZES).encode()),
        {"size": "number"},
        ["40 rows; separated by ','"],
    ),
    "parquet": (
        parquet(),
        {"size": "number", "rooms": "number", "town": "words", "sold": "date ISO8601"},
        ["parquet, typed as it is", "1 missing", "as days since 1970"],
    ),
    "a column of 1e300": (
        csv_text(size=SIZES, huge=["1e300"] * N),
        {"size": "number"},
        ["huge  left out: no number below 1e100 in size: rescale it"],
    ),
    "cells of 1e300, `inf`, 1e400": (
        csv_text(size=with_cells(SIZES, ["1e300", "inf", "-1e400"])),
        {"size": "number"},
        ["3 missing; 3 of these beyond 1e100 in size"],
    ),
    "control characters in names": (
        csv_text(**{"size" + EVIL: SIZES, "empty" + EVIL: [""] * N}),
        {"size" + EVIL: "number"},
        [r"empty\x1b[2J\x07  left out: no value in any row"],
    ),
    "dates as 2020-01-31": (
        csv_text(sold=DAYS),
        {"sold": "date ISO8601"},
        ["date (year-month-day), 2020-01-", "as days since 1970"],
    ),
    "dates as 1/31/2020": (
        csv_text(sold=american(DAYS)),
        {"sold": "date %m/%d/%Y"},
        ["date (month/day/year)"],
    ),
    "dates that fit both ways": (
        csv_text(sold=["01/02/2020", "03/04/2021"] * (N // 2)),
        {"sold": "date %m/%d/%Y"},
        ["could be day before month too"],
    ),
    "identifiers": (
        csv_text(
            row=range(N),
            user_id=range(900, 900 + 7 * N, 7),
            size=SIZES,
            name=[f"Ann {i}" for i in range(N)],
        ),
        {"size": "number"},
        [
            "row      left out: counts the rows: an identifier (--columns takes it)",
            "user_id  left out: another whole number in every row: an identifier",
            "name     left out: 40 different texts in 40 rows, as 'Ann 0': identifiers",
        ],
    ),
    "thousands commas": (
        csv_text(size=[f'"{size:,.2f}"' for size in SIZES]),
        {"size": SEVERAL},
        ["number, thousands separated"],
    ),
    "`1,234`": (
        csv_text(size=[f'"{size:,.0f}"' for size in SIZES]),
        {"size": SEVERAL},
        ["could be read the other way too"],
    ),
    "`sep=;` of Excel, byte order mark": (
        "\ufeffsep=;\n" + csv_text(";", size=SIZES, town=TOWNS),
        {"size": "number", "town": "words"},
        ["separated by ';', as its first line says"],
    ),
    "empty lines, `;;` alone, line ends of old": (
        "\r\r"
        + csv_text("|", "\r", size=SIZES, town=TOWNS).replace("\r", "\r\r|  |\r", 4),
        {"size": "number", "town": "words"},
        ["separated by '|', a guess", "passed over 8 empty lines"],
    ),
    "nothing or one value in a column": (
        csv_text(size=SIZES, none=[""] * N, one=[7] * N, word=["x"] * N),
        {"size": "number"},
        [
            "none  left out: no value in any row",
            "one   left out: 7 in every row",
            "word  left out: 'x' in every row",
        ],
    ),
    "leading zeros": (
        csv_text(code=[f"{i % 7:03d}" for i in range(N)]),
        {"code": "number"},
        ["leading zeros lost: if codes, put a letter before them"],
    ),
    "many different words": (
        csv_text(
            size=np.tile(SIZES, 3),
            y=np.tile(PRICES, 3),
            town=[f"town {i % 40}" for i in range(3 * N)],
        ),
        {"size": "number", "town": "words"},
        ["words, 40 different: 'town 0', ", "each told by its mean target"],
    ),
    "words among which `None` and `-` are kinds": (
        csv_text(size=SIZES, garage=["None", "-", "box", "NA", "?"] * (N // 5)),
        {"size": "number", "garage": "words"},
        ["words, 3 different: '-', 'None', 'box'; 16 missing (as '?', 'NA')"],
    ),
}


def read(content, wish=None, form=None, name="data.csv"):
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(name, wish or Wish("y"), form or Format())


@pytest.mark.parametrize("case", CASES)
def test_awkward_file_is_read_as_expected(case):
    content, kinds, phrases = CASES[case]
    table = read(content)
    assert table.kinds == kinds
    said = "\n".join(table.report)
    for phrase in phrases:
        assert phrase in said
    assert said.replace("\n", "").isprintable()
    np.testing.assert_allclose(table.y[:N], PRICES, atol=0.0051)
    assert table.task == NUMBERS
    X = comparison.make_model(None, table)[:-1].fit_transform(table.X, table.y)
    assert np.isfinite(X).all() and len(X) == len(table.y)


@pytest.mark.parametrize("case", CASES)
def test_the_documentation_has_a_row_for_it(case):
    assert f"\n| {case} | " in DOCS.read_text()


def test_the_documentation_has_no_other_rows():
    text = DOCS.read_text().split("## Awkward files")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (?!file)(.*?) \| ", text, re.MULTILINE)
    assert sorted(rows) == sorted([*CASES, *REFUSED])


# Values that were read, where the kind alone could hide a mistake.
@pytest.mark.parametrize(
    "case, column, values, missing",
    [
        ("decimal commas, `;`", 0, SIZES, 0),
        ("thousands commas", 0, SIZES, 0),
        ("`1,234`", 0, SIZES.round(), 0),
        ("gzip, bzip2, xz", 0, SIZES, 0),
        ("`#N/A <NA> None - NA` among numbers", 0, SIZES, 5),
        ("one word among numbers", 0, SIZES, 1),
        ("cells of 1e300, `inf`, 1e400", 0, SIZES, 3),
        ("parquet", 1, np.arange(-1.0, N - 1.0), 1),
        ("parquet", 3, DAYS.astype(float), 0),
        ("dates as 2020-01-31", 0, DAYS.astype(float), 0),
        ("dates as 1/31/2020", 0, DAYS.astype(float), 0),
        ("`sep=;` of Excel, byte order mark", 0, SIZES, 0),
        ("empty lines, `;;` alone, line ends of old", 0, SIZES, 0),
    ],
)
def test_values_are_those_of_the_file(case, column, values, missing):
    got = read(CASES[case][0]).X[:, column].astype(float)
    assert np.isnan(got[:missing]).all()
    np.testing.assert_allclose(got[missing:], values[missing:], rtol=1e-12)


ROWS = "".join(f"{i}.5,{i % 3}.25\n" for i in range(12))
# Files that cannot be used: content, what is said.
REFUSED = {
    "rows of another length": (
        "x,y\n" + ROWS + "1\n",
        "line 14 of data.csv has 1 cell, the header 2",
    ),
    "a quote that never ends": (
        'x,y\n"1,2\n' + ROWS,
        "has 1 cell, the header 2; is there a quote that never ends?",
    ),
    "a workbook or ZIP archive": (b"PK\x03\x04 ...", "or save the sheet as CSV"),
    "no header": (ROWS, "no column 'y' in data.csv; columns: 0.5, 0.25; is the first"),
    "two columns of one name": (
        "x,x,y\n1,2,3\n",
        "data.csv has several columns called 'x'",
    ),
    "a target with a word among numbers": (
        "x,y\n" + ROWS + "3,blue\n",
        "target 'y' is not numeric: 'blue' in row 13 (1 such row); empty such cells, "
        "or --task classification",
    ),
    "a target of identifiers": (
        "x,y\n" + "".join(f"{i},n{i}\n" for i in range(12)),
        "target 'y' has 12 classes in 12 rows, most of them with fewer than 5",
    ),
    "a target of dates": (csv_text(x=SIZES, y=DAYS), "target 'y' is a date"),
    "a target of 1e300": (
        csv_text(x=SIZES, y=["1e300"] * N),
        "0 usable rows; at least 10 needed; 40 targets are beyond 1e100: rescale them",
    ),
    "UTF-16 without its mark": (
        ("x,y\n" + ROWS).encode("utf-16-le"),
        "data.csv is no text: it has NUL characters (if it is text in UTF-16: "
        "--encoding utf-16-le)",
    ),
    "a damaged archive": (
        gzip.compress(("x,y\n" + ROWS).encode())[:-12],
        "data.csv is a damaged archive",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_in_one_line(case):
    content, message = REFUSED[case]
    with pytest.raises(DataError) as error:
        read(content)
    assert message in str(error.value)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_packed_files_are_known_by_content(pack):
    table = read(pack(csv_text(size=SIZES).encode()), name="data")
    np.testing.assert_array_equal(table.X[:, 0], SIZES)


PANDAS = ["#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND"]
PANDAS += ["1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"]


@pytest.mark.parametrize("mark", [*PANDAS, "-", "?", ".", "NONE", "#n/a", " NA "])
@pytest.mark.parametrize("kind", ["number", "number, decimal comma"])
def test_a_mark_of_a_missing_value_leaves_a_column_numeric(mark, kind):
    cells = ["1.5" if kind == "number" else "1,5"] * 3 + [mark]
    reading = read_as(cells, kind)
    np.testing.assert_array_equal(reading.values, [1.5, 1.5, 1.5, np.nan])
    assert reading.marks == {mark.strip()} and not reading.odd.any()


def test_targets_may_be_missing_in_every_way():
    marks = [*PANDAS, "-", ".", ""]
    rows = "".join(f"1,{mark}\n" for mark in marks)
    table = read("x,y\n" + rows + "".join(f"{i}.5,{i}.5\n" for i in range(12)))
    np.testing.assert_array_equal(table.y, np.arange(12.0) + 0.5)
    assert f"  left out {len(marks)} rows without a target" in table.report


@pytest.mark.parametrize(
    "y, task, labels",
    [
        (["no", "yes"], CLASSES, ["no", "yes"]),
        ([0, 1], CLASSES, [0, 1]),
        (["0.5", "1.5"], CLASSES, ["0.5", "1.5"]),  # no classes as numbers
        ([3, 4, 8, 5], CLASSES, [3, 4, 5, 8]),
        (["1.0", "2", "3e0"], CLASSES, [1, 2, 3]),
        (["0.5", "1", "1.5"], NUMBERS, None),
        (range(11), NUMBERS, None),
        (["True", "False"], CLASSES, ["False", "True"]),
    ],
)
def test_the_task_goes_by_the_target(y, task, labels):
    y = (list(y) * 60)[:60]
    text = csv_text(x=np.tile(SIZES, 2)[:60], y=y)
    table = read(text)
    assert table.task == task
    assert task in table.report[1]
    if labels is not None:
        assert np.unique(table.y).tolist() == labels
    other = {CLASSES: NUMBERS, NUMBERS: CLASSES}[task]
    if labels and str(labels[0]).isalpha():
        with pytest.raises(DataError, match="is not numeric"):
            read(text, Wish("y", NUMBERS))
        return
    table = read(text, Wish("y", other))
    assert table.task == other and "as --task says" in table.report[1]


def test_classes_with_few_rows_are_left_out():
    table = read(csv_text(x=SIZES, y=["a", "b"] * 18 + ["c"] * 4))
    assert set(table.y) == {"a", "b"} and len(table.y) == len(table.X) == 36
    assert "left out 4 rows of classes with fewer than 5 rows: 'c'" in table.report[2]


def test_a_word_among_numbers_is_a_class_if_asked_for():
    table = read(
        csv_text(x=SIZES, y=["1", "2"] * 17 + ["many"] * 6), Wish("y", CLASSES)
    )
    assert set(table.y) == {"1", "2", "many"}


def test_columns_are_chosen_by_name():
    content = csv_text(**{"id": range(N), "size": SIZES, '"a, b"': SIZES, "c": SIZES})
    assert list(read(content).kinds) == ["size", "a, b", "c"]
    for columns, names in [
        ("id", ["id"]),
        ("c,size", ["size", "c"]),
        ('id, "a, b"', ["id", "a, b"]),
        ("a, b", ["a, b"]),
    ]:
        table = read(content, Wish("y", columns=columns))
        assert list(table.kinds) == names
        assert f"--columns takes {len(names)} of 4" in table.report[0]
    for columns, message in [("z", "no column 'z'"), ("y,c", "names the target 'y'")]:
        with pytest.raises(DataError, match=message):
            read(content, Wish("y", columns=columns))


def test_separator_and_encoding_are_as_told():
    content = csv_text(";", größe=SIZES, town=[f"a|{t}" for t in TOWNS])
    for encoding in ("utf-8", "cp1250", "utf-16-le"):
        form = Format(";", encoding)
        table = read(content.encode(encoding), form=form)
        assert list(table.kinds) == ["größe", "town"]
        assert "guess" not in table.report[0]
    with pytest.raises(DataError, match="data.csv is not in ascii"):
        read(content, form=Format(None, "ascii"))
    with pytest.raises(DataError, match="is parquet: it has no --separator"):
        read(parquet(), form=Format(";"))
    spaced = "x  y\n" + "".join(f"{i}.5   {i % 3}.5\n" for i in range(12))
    np.testing.assert_array_equal(
        read(spaced, form=Format(" ")).X[:, 0], np.arange(12) + 0.5
    )


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
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
    content = csv_text(separator, **{quoted: SIZES, "z": SIZES, "y": PRICES})
    table = read(content)
    np.testing.assert_array_equal(table.X, np.column_stack([SIZES, SIZES]))
    with pytest.raises(DataError) as error:
        read(content, Wish(None))
    assert str(error.value).isprintable()
    assert str(error.value).endswith(f"columns: {shown(name)}, z, y")


@pytest.mark.parametrize(
    "text, names",
    [
        # A separator in every name and every number, but another one between them.
        ("a,b;y\n" + "1,5;2\n2,5;3\n" * 6, ["a", "b;y"]),  # nobody can tell
        ('"a,b";y\n' + '"1,5";2\n"2,5";3\n' * 6, ["a,b", "y"]),
        ("x (a;b;c;d),y\n" + "1,2\n2,3\n" * 6, ["x (a;b;c;d)", "y"]),
        ('z;"a,b,c,d";y\n' + "1;4;2\n2;4;3\n" * 6, ["z", "a,b,c,d", "y"]),
        ('\ufeff\n\n"x\n1" ; y\n' + "1;2\n2;3\n" * 6, ["x\n1", "y"]),
        ('x, "a, b", y\n' + "1, 2, 3\n2, 3, 5\n" * 6, ["x", "a, b", "y"]),
        ('name;y\n"Smith; John, jr";2\n' + '"Li; Wei";3\n' * 11, ["name", "y"]),
    ],
)
def test_separators_are_told_by_names_and_rows_together(text, names):
    Path("s.csv").write_text(text, newline="")
    assert list(read_columns("s.csv", Format()).cells) == names


def test_wide_tables_are_reported_in_few_lines():
    columns = {f"x{j}": SIZES + j for j in range(60)} | {"town": TOWNS}
    report = read(csv_text(**columns)).report
    names = "x0, x1, x2, x3, x4, x5, x6, x7 and 52 more"
    assert f"  60 columns of numbers: {names}" in report
    assert any(line.startswith("  town  words, 2 different") for line in report)
    assert len(report) == 4


PANDAS_ALONE = {"parquet", "dates as 1/31/2020", "dates that fit both ways"}


@pytest.mark.parametrize("case", [case for case in CASES if case not in PANDAS_ALONE])
def test_without_pandas_csv_is_read_all_the_same(case, monkeypatch):
    content, kinds, _ = CASES[case]
    with_pandas = read(content)
    monkeypatch.setitem(sys.modules, "pandas", None)
    table = read(content)
    assert "pandas is not installed: no parquet, no dates but" in table.report[0]
    assert table.kinds == kinds
    np.testing.assert_array_equal(table.y, with_pandas.y)
    assert table.X.dtype == with_pandas.X.dtype
    assert (table.X.astype(str) == with_pandas.X.astype(str)).all()


def test_without_pandas_other_dates_are_words(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    table = read(
        csv_text(size=SIZES, sold=american(DAYS), day=["1/2/20", "1/3/20"] * 20)
    )
    assert table.kinds == {"size": "number", "day": "words"}
    assert any(line.startswith("  sold  left out: ") for line in table.report)


def test_without_pandas_parquet_says_what_is_missing(monkeypatch):
    content = parquet()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(DataError, match=r"needs pandas: pip install .*\[tables\]"):
        read(content)


def test_no_file_is_opened_twice_for_nothing(monkeypatch):
    with pytest.raises(DataError, match="cannot read nowhere.csv: No such file"):
        read_columns("nowhere.csv", Format())
    with pytest.raises(DataError, match="cannot read .: Is a directory"):
        read_columns(".", Format())
    for path in ("\x1b[2J", "\x1b\udcff", "a\0b"):
        with pytest.raises(DataError) as error:
            read_columns(path, Format())
        assert str(error.value).isprintable()


def test_shown_text_is_fit_for_a_terminal():
    assert shown("naïve 価格 e\u0301 \ud800\u200b") == (
        "naïve 価格 é \\ud800\\u200b".replace("é", "e\u0301")
    )


def test_columns_are_found_by_name_in_any_table():
    frame = pandas.DataFrame(
        {"b": [1, 2], "sold": ["2020-01-01", None], "a": ["x", ""]}
    )
    step = ReadColumns({"a": "words", "b": "number", "sold": "date ISO8601"}, "y")
    expected = [["x", 1.0, 18262.0], ["", 2.0, np.nan]]
    typed = frame.assign(sold=pandas.to_datetime(frame["sold"]))
    for table in (frame, typed, frame[["a", "sold", "b"]], dict(frame)):
        got = step.fit_transform(table)
        assert got[:, :2].tolist() == [row[:2] for row in expected]
        np.testing.assert_array_equal(got[:, 2].astype(float), [18262.0, np.nan])
    assert step.transform(got) is not None
    with pytest.raises(ValueError, match="X lacks columns: b"):
        step.transform(frame.drop(columns="b"))
    with pytest.raises(ValueError, match="expected 3 columns: a, b, sold"):
        step.transform(np.zeros((2, 2)))
    assert step.get_feature_names_out().tolist() == ["a", "b", "sold"]


def test_times_and_zones_of_dates():
    for cells, kind, days in [
        (["2020-01-01T12:00", "2020-01-01 06:00:00"], "date ISO8601", [0.5, 0.25]),
        (["2020-01-01T12:00+02:00"], "date ISO8601", [10 / 24]),
        (["01.01.2020 12:00"], "date %d.%m.%Y %H:%M", [0.5]),
        (["01/01/2020 12:00:36"], "date %m/%d/%Y %H:%M:%S", [0.5 + 36 / 86400]),
    ]:
        np.testing.assert_allclose(read_as(cells, kind).values - 18262.0, days)
    zoned = pandas.Series(pandas.to_datetime(["2020-01-01T12:00+02:00"]))
    assert read_as(zoned, "date ISO8601").values - 18262.0 == pytest.approx(10 / 24)
