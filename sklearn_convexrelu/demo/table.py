"""A table to learn from: what each column is taken as, and what the target asks for."""

import csv
import re
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from sklearn.datasets import load_diabetes

from sklearn_convexrelu._pipeline import MAX_LEVELS, MIN_FREQUENCY
from sklearn_convexrelu.demo.cells import DataError, counted, listed, shown, some
from sklearn_convexrelu.demo.columns import stacked
from sklearn_convexrelu.demo.files import GUESSED, read_columns
from sklearn_convexrelu.demo.kinds import WORDS, guessed_kind, is_number, read_as

__all__ = [
    "CLASSES",
    "FEWEST_OF_A_CLASS",
    "NUMBERS",
    "Table",
    "Wish",
    "diabetes_table",
    "read_table",
    "told_reading",
]

NUMBERS, CLASSES = "regression", "classification"
MIN_ROWS = 10
# A class needs a row in each of five folds.
FEWEST_OF_A_CLASS = 5
# Whole numbers as targets are classes up to that many: the digits. What orders more
# than ten rarely names kinds, and --task is there for the others.
MOST_WHOLE_CLASSES = 10
DATE_WORDS = {"ISO8601": "year-month-day", "%d": "day", "%m": "month", "%b": "Mon"}
DATE_WORDS |= {"%B": "Month", "%Y": "year", "%y": "yy", "%H:%M": "hh:mm", ":%S": ":ss"}
LISTED_COLUMNS = 30  # columns that the report has a line for, whatever they are
LIKE_AN_IDENTIFIER = re.compile(
    r"|unnamed: ?\d+|(.*[\W_])?(id|key|uuid|guid|index|idx|nr|no|number|row)|.*[a-z]ID",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Wish:
    """What the user wants of a table.

    Attributes
    ----------
    target : str or None
        Name of the column to predict.
    task : {"regression", "classification"} or None
        What it is; None leaves it to the target.
    columns : str or None
        Names of the columns to predict from, with commas between; None is all that
        are of use.
    """

    target: str | None
    task: str | None = None
    columns: str | None = None


@dataclass(frozen=True)
class Table:
    """Features and target.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features)
        Floats where no column is of words, else objects: floats with nan for missing
        values, and words with "" for missing ones.
    y : ndarray of shape (n_samples,)
        Target: floats, or classes.
    kinds : dict of str
        The kind of each column of ``X`` by its name.
    target : str
        What the target is called.
    task : {"regression", "classification"}
        What is to be done.
    report : list of str
        What was read, taken and left out: paragraphs for the user.
    """

    X: np.ndarray
    y: np.ndarray
    kinds: dict
    target: str
    task: str
    report: list

    @property
    def numeric(self):
        """Names of the columns of numbers and dates."""
        return [name for name, kind in self.kinds.items() if is_number(kind)]


def diabetes_table():
    """Return scikit-learn's diabetes data."""
    data = load_diabetes()
    kinds = dict.fromkeys(data.feature_names, "number")
    report = ["scikit-learn's diabetes data: {} rows, {} columns"]
    report = [report[0].format(*data.data.shape)]
    return Table(data.data, data.target, kinds, "progression", NUMBERS, report)


def read_table(path, wish, form=GUESSED):
    """Read a file into a table.

    Parameters
    ----------
    path : str
        CSV file with a header line, or parquet.
    wish : Wish or str
        What to take of it, or the name of the target.
    form : Format, default=Format()
        What is known of the file; by default all is guessed.

    Returns
    -------
    Table
        Rows with a target, columns of use.

    Raises
    ------
    DataError
        If the file or the target cannot be used, in one line.
    """
    wish = Wish(wish) if isinstance(wish, str) else wish
    source = read_columns(path, form)
    chosen = _chosen_columns(source, wish)
    comma = source.separator in (";", "\t")
    y, rows, task, target_lines = _target(source, wish, comma)
    values, kinds, lines = {}, {}, {}
    for name in source.cells:
        if name != wish.target and (chosen is None or name in chosen):
            kind, note = guessed_kind(source.cells[name], comma)
            reading = read_as(source.cells[name], kind or WORDS)
            reason = _of_no_use(name, kind, reading, rows, chosen is not None)
            lines[name] = _line(kind, note, reading, rows, reason)
            if reason is None:
                kinds[name], values[name] = kind, reading.values[rows]
    if not kinds:
        reasons = [f"{shown(name) or repr('')}: {line}" for name, line in lines.items()]
        raise DataError(
            "no column to predict the target from"
            + ("; " + "; ".join(reasons[:5]) if reasons else "")
        )
    X = stacked(list(values.values()), kinds.values())
    head = f"{source.path}: {counted(source.n_rows, 'row')}"
    head = "; ".join([head, *source.notes])
    if chosen is not None:
        head += f"; --columns takes {len(chosen)} of {len(source.cells) - 1}"
    report = [head, *target_lines, *_told_columns(lines, kinds)]
    return Table(X, y, kinds, wish.target, task, report)


def _chosen_columns(source, wish):
    """Return the names that --columns gives; refuse names that are not there."""
    names = listed(source.cells)
    if wish.target is None:
        raise DataError(f"--target NAME is missing; columns: {names}")
    chosen = None if wish.columns is None else _split(wish.columns, source.cells)
    for name in [wish.target, *(chosen or ())]:
        if name not in source.cells:
            close = get_close_matches(name, source.cells, 1)
            hint = f"; is it {shown(close[0])!r}?" if close else ""
            if all(re.fullmatch(r"[-+.,\d]+", cell) for cell in source.cells):
                hint = "; is the first line data? It must hold names"
            raise DataError(
                f"no column {name!r} in {source.path}; columns: {names}{hint}"
            )
    if chosen is not None and wish.target in chosen:
        raise DataError(f"--columns names the target {wish.target!r}")
    return chosen


def _split(text, known):
    """Return names with commas between; one with a comma of its own is quoted."""
    if text in known:
        return [text]
    return [name.strip() for name in next(csv.reader([text], skipinitialspace=True))]


def _target(source, wish, comma):
    """Return targets, their rows, the task, and what to tell of them."""
    name, cells = wish.target, source.cells[wish.target]
    kind, note = guessed_kind(cells, comma)
    if kind is None:
        raise DataError(f"target {name!r} has no value in any row")
    if kind.startswith("date"):
        raise DataError(f"target {name!r} is a date; numbers and classes are predicted")
    if wish.task == CLASSES and read_as(cells, kind).odd.any():
        kind, note = WORDS, ""
    reading = read_as(cells, kind)
    _check_target(source, wish, kind, reading)
    rows = _known(reading)
    _check_rows(source, reading, len(rows))
    y = reading.values[rows]
    task = wish.task or _task_of(y, kind)
    _check_spread(name, task, y)
    lines = [_told_target(wish, task, kind, note, y)]
    if len(rows) < source.n_rows:
        text = (
            f"  left out {counted(source.n_rows - len(rows), 'row')} without a target"
        )
        many = reading.huge.sum()
        lines.append(f"{text}, {many} of them beyond 1e100" if many else text)
    if reading.marks:
        lines.append(f"  read as missing: {some(sorted(reading.marks), 5)}")
    if task == CLASSES:
        y, rows = _as_classes(y, rows, name, lines)
        _check_rows(source, reading, len(rows))
        _check_spread(name, task, y)
    return y, rows, task, lines


def _check_rows(source, reading, n_rows):
    """Refuse tables with too few rows of use."""
    if n_rows < MIN_ROWS:
        many = reading.huge.sum()
        raise DataError(
            f"{source.path} has {counted(n_rows, 'usable row')}; at least {MIN_ROWS} "
            "needed"
            + (f"; {many} targets are beyond 1e100: rescale them" if many else "")
        )


def _check_spread(name, task, y):
    """Refuse targets that are all the same, or all but."""
    if len(set(y.tolist())) == 1:
        value = shown(y[0]) if y.dtype == object else _number(y[0])
        raise DataError(f"target {name!r} is {value} in every row")
    if task == NUMBERS and not np.ptp(y) > 1e-100:
        raise DataError(f"target {name!r} varies by less than 1e-100: rescale it")


def _check_target(source, wish, kind, reading):
    """Refuse targets of which some are no numbers, where numbers are meant."""
    cells = source.cells[wish.target]
    texts = [str(cell) for cell in cells]
    odd = np.flatnonzero(reading.odd)
    if kind == WORDS and wish.task == NUMBERS:
        numbers = read_as(cells, "number")
        odd = np.flatnonzero(numbers.odd)
    if len(odd):
        raise DataError(
            f"target {wish.target!r} is not numeric: {texts[odd[0]]!r} in row "
            f"{odd[0] + 1} ({counted(len(odd), 'such row')}); empty such cells, or "
            f"--task {CLASSES}"
        )


def _known(reading):
    """Return the rows that have a value."""
    if reading.values.dtype == object:
        return np.flatnonzero(reading.values != "")
    return np.flatnonzero(~np.isnan(reading.values))


def _task_of(y, kind):
    """Return what a target asks for."""
    if kind == WORDS:
        return CLASSES
    different = np.unique(y)
    few = len(different) <= MOST_WHOLE_CLASSES and np.all(different % 1.0 == 0.0)
    return CLASSES if few or len(different) == 2 else NUMBERS


def _told_target(wish, task, kind, note, y):
    """Return the line on what the target was taken as."""
    different = len(set(y.tolist()))
    what = f"{different} different words" if kind == WORDS else _range(kind, y)
    if is_number(kind) and task == CLASSES:
        what = f"{different} different numbers"
    other = NUMBERS if task == CLASSES else CLASSES
    why = "as --task says" if wish.task else f"a guess (--task {other})"
    if wish.task is None and kind == WORDS:
        why = "as words are classes"
    text = f"target {shown(wish.target)!r}: {what}; {task}, {why}"
    return f"{text}; {note}" if note else text


def _as_classes(y, rows, name, lines):
    """Return classes with enough rows, and their rows."""
    if y.dtype != object and np.all(y % 1.0 == 0.0):
        y = y.astype(np.int64) if np.abs(y).max() < 2**53 else y
    elif y.dtype != object:  # fractions are no classes to scikit-learn
        y = np.array([str(number) for number in y.tolist()], dtype=object)
    classes, index, counts = np.unique(y, return_inverse=True, return_counts=True)
    kept = counts[index] >= FEWEST_OF_A_CLASS
    if kept.sum() < 0.5 * len(y):
        raise DataError(
            f"target {name!r} has {len(classes)} classes in {len(y)} rows, most of "
            f"them with fewer than {FEWEST_OF_A_CLASS}: is it an identifier, or a "
            f"number (--task {NUMBERS})?"
        )
    rare = classes[counts < FEWEST_OF_A_CLASS]
    if len(rare):
        lines.append(
            f"  left out {counted(int((~kept).sum()), 'row')} of classes with fewer "
            f"than {FEWEST_OF_A_CLASS} rows: {some(rare, 5)}"
        )
    return y[kept], rows[kept]


def _of_no_use(name, kind, reading, rows, is_asked_for):
    """Return why a column is left out; None if it is not."""
    if kind is None:
        return "no value in any row"
    values = reading.values[rows]
    if kind == WORDS:
        return _useless_words(values, is_asked_for)
    known = values[~np.isnan(values)]
    if not len(known):
        if reading.huge[rows].any():
            return "no number below 1e100 in size: rescale it"
        return "no value in any row that has a target"
    low, high = known.min(), known.max()
    if low == high:
        return f"{_number(low)} in every row"
    if not high - low > 1e-100:
        return "varies by less than 1e-100: rescale it"
    if is_asked_for or kind.startswith("date"):
        return None
    return _numeric_identifier(name, known, len(values))


def _useless_words(values, is_asked_for):
    """Return why words are left out, None if they are not."""
    known = values[values != ""]
    kinds = set(known)
    if not kinds:
        return "no value in any row that has a target"
    if len(kinds) == 1 and len(known) == len(values):
        return f"{some(kinds)} in every row"
    if len(kinds) > 0.5 * len(known) and len(kinds) > 2 and not is_asked_for:
        return (
            f"{len(kinds)} different texts in {counted(len(known), 'row')}, as "
            f"{some(known[:1])}: identifiers or free text (--columns takes it)"
        )
    return None


def _numeric_identifier(name, values, n_rows):
    """Return why whole numbers are an identifier, None if they are not."""
    if len(values) < n_rows or np.any(values % 1.0) or len(set(values)) < n_rows:
        return None
    counts_rows = values[0] in (0.0, 1.0) and np.all(np.diff(values) == 1.0)
    if counts_rows:
        return "counts the rows: an identifier (--columns takes it)"
    if LIKE_AN_IDENTIFIER.fullmatch(name.strip()):
        return "another whole number in every row: an identifier (--columns takes it)"
    return None


def _line(kind, note, reading, rows, reason):
    """Return what a column was taken as, or why it was left out."""
    if reason is not None:
        return f"left out: {reason}"
    values = reading.values[rows]
    if kind == WORDS:
        text = _told_words(values)
    else:
        text = _range(kind, values)
    return "; ".join([text, *([note] if note else []), *told_reading(reading, rows)])


def told_reading(reading, rows):
    """Return what could not be read of a column, in phrases."""
    values = reading.values[rows]
    lost = values == "" if values.dtype == object else np.isnan(values)
    phrases = []
    if lost.any():
        marks = f" (as {some(sorted(reading.marks))})" if reading.marks else ""
        phrases.append(f"{lost.sum()} missing{marks}")
    if reading.odd[rows].any():
        cells = some(sorted(reading.oddities))
        phrases.append(f"{reading.odd[rows].sum()} of these not of the kind: {cells}")
    if reading.huge[rows].any():
        phrases.append(f"{reading.huge[rows].sum()} of these beyond 1e100 in size")
    return phrases


def _told_words(values):
    kinds, counts = np.unique(values[values != ""], return_counts=True)
    text = f"words, {len(kinds)} different: {some(kinds[np.argsort(-counts)])}"
    if len(kinds) > MAX_LEVELS:
        return f"{text}; each told by its mean target"
    rare = np.sum(counts < MIN_FREQUENCY * len(values))
    return f"{text}; {rare} in under 1 % of rows told as one" if rare > 1 else text


def _range(kind, values):
    """Return a kind with its least and largest value."""
    if not kind.startswith("date"):
        return f"{kind}, {_number(np.nanmin(values))} to {_number(np.nanmax(values))}"
    first, last = (
        str(np.datetime64(0, "D") + np.timedelta64(int(day // 1), "D"))
        for day in (np.nanmin(values), np.nanmax(values))
    )
    form = kind.removeprefix("date ")
    for letters, word in DATE_WORDS.items():
        form = form.replace(letters, word)
    return f"date ({form}), {first} to {last}; as days since 1970"


def _number(value):
    return f"{value:.6g}"


def _told_columns(lines, kinds):
    """Return a line a column; where there are many, one for those of plain numbers."""
    plain = [
        name
        for name, line in lines.items()
        if name in kinds and line.startswith("number,") and ";" not in line
    ]
    if len(lines) <= LISTED_COLUMNS or len(plain) < 3:
        plain = []
    told = [name for name in lines if name not in plain]
    width = min(max((len(shown(name)) for name in told), default=0), 20)
    report = []
    if plain:
        report.append(f"  {len(plain)} columns of numbers: {listed(plain, 8)}")
    for name in told:
        report.append(f"  {shown(name) or repr(''):<{width}}  {lines[name]}")
    return report
