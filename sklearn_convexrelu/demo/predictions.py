"""Predictions for a new file with the same columns."""

import csv
import io
from dataclasses import dataclass

import numpy as np
from sklearn.base import is_classifier

from sklearn_convexrelu.demo.cells import DataError, counted, listed, shown, some
from sklearn_convexrelu.demo.columns import stacked
from sklearn_convexrelu.demo.files import read_columns
from sklearn_convexrelu.demo.kinds import guessed_kind, read_as
from sklearn_convexrelu.demo.outputs import check_output, suffix_among, write_output
from sklearn_convexrelu.demo.table import told_reading

__all__ = ["NewRows", "check_predictions", "read_new_rows", "write_predictions"]

FIRST_WORD = "predicted"


@dataclass(frozen=True)
class NewRows:
    """Rows to predict.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features)
        As the features of a Table.
    path : str
        Where from.
    report : list of str
        What was read, missing and passed over: lines for the user.
    """

    X: np.ndarray
    path: str
    report: list


def check_predictions(path):
    """Refuse predictions that could not be written after training."""
    suffix_among(path, "the output", ("csv",))
    check_output(path, "table of predictions", "--output", _is_ours)


def read_new_rows(path, kinds, target, form):
    """Read the columns that a model wants from a file.

    Parameters
    ----------
    path : str
        The file.
    kinds : dict of str
        The kind of each column by its name.
    target : str
        What is predicted: no column of that name is looked at.
    form : Format
        What is known of the file.

    Returns
    -------
    NewRows
        What it holds; missing columns are columns of missing values.

    Raises
    ------
    DataError
        If there is no row or none of the columns.
    """
    source = read_columns(path, form)
    missing = [name for name in kinds if name not in source.cells]
    if len(missing) == len(kinds):
        raise DataError(
            f"{source.path} has none of the columns {listed(missing)}; its columns: "
            f"{listed(source.cells)}"
        )
    if not source.n_rows:
        raise DataError(f"{source.path} has no row to predict")
    rows = counted(source.n_rows, "row")
    report = ["; ".join([f"{source.path}: {rows} to predict", *source.notes])]
    if missing:
        report.append(f"  no columns {listed(missing)}: taken as missing in every row")
    others = [name for name in source.cells if name not in {*kinds, target}]
    if others:
        report.append(f"  not looked at: {listed(others)}")
    values, every_row = [], np.arange(source.n_rows)
    for name, kind in kinds.items():
        cells = source.cells.get(name, [""] * source.n_rows)
        reading, told = _in_notation(cells, kind, source.separator in (";", "\t"))
        values.append(reading.values)
        if name in source.cells:
            told += told_reading(reading, every_row)
        if told:
            report.append(f"  {shown(name)}: {'; '.join(told)}")
    return NewRows(stacked(values, kinds.values()), source.path, report)


def _in_notation(cells, kind, comma):
    """Read cells as of a kind, numbers in the notation of this file; say if it differs.

    ``1.234`` is a number with a decimal point and, in a column with decimal commas, a
    thousand: as in training where the separator agrees with that.
    """
    reading = read_as(cells, kind)
    other = guessed_kind(cells, comma)[0] or kind
    if not (kind.startswith("number") and other.startswith("number")):
        return reading, []
    guess = read_as(cells, other)
    if np.array_equal(guess.values, reading.values, equal_nan=True):
        return reading, []
    n_odd, n_odd_guess = reading.odd.sum(), guess.odd.sum()
    if n_odd_guess < n_odd or (n_odd_guess == n_odd and not comma):
        return guess, [f"read as {other}, unlike in training"]
    return reading, [f"read as {kind}, as in training; could be {other}"]


def write_predictions(model, rows, path):
    """Predict rows and write the table: one line a row, in the order of the file.

    Parameters
    ----------
    model : Pipeline
        Fitted.
    rows : NewRows
        What to predict.
    path : str
        CSV file to write.

    Returns
    -------
    list of str
        What was done, and which words training had not seen.
    """
    columns = {f"{FIRST_WORD} {model['read'].target}": model.predict(rows.X)}
    if is_classifier(model):
        chances = model.predict_proba(rows.X)
        names = [f"probability of {label}" for label in model.classes_]
        columns |= dict(zip(names, chances.T, strict=True))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(
        zip(*(column.tolist() for column in columns.values()), strict=True)
    )
    done = write_output(
        path,
        "table of predictions",
        "--output",
        _is_ours,
        text.getvalue().encode("utf-8", "surrogateescape"),
    )
    return [*_unseen(model, rows), f"{done}: {counted(len(rows.X), 'prediction')}"]


def _unseen(model, rows):
    """Return which words of new rows the encoders have not seen."""
    names, lines = list(model["read"].kinds), []
    for _, steps, places in model["columns"].transformers_:
        known = next((s.categories_ for s in steps if hasattr(s, "categories_")), ())
        for j, words in zip(places, known, strict=False):
            seen = set(words)
            new = [word for word in rows.X[:, j] if word not in seen]
            if new:
                some_new = some(dict.fromkeys(word or "(missing)" for word in new))
                lines.append(
                    f"  {shown(names[j])}: not seen in training: {some_new} in "
                    f"{counted(len(new), 'row')}, taken as none of the kinds known"
                )
    return lines


def _is_ours(content):
    """Tell whether bytes are predictions that this command has written."""
    return content.startswith((FIRST_WORD.encode() + b" ", f'"{FIRST_WORD} '.encode()))
