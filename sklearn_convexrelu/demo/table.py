"""Features and target: scikit-learn's diabetes data, or a CSV file of the user's."""

from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_diabetes

from sklearn_convexrelu.demo.cells import (
    MISSING,
    DataError,
    is_missing,
    listed,
    number_in,
    read_cells,
    shown,
)

__all__ = ["Table", "load_table", "read_table"]

MIN_ROWS = 10


@dataclass(frozen=True)
class Table:
    """Features and target, with the kind of each feature.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features)
        Floats where all columns are numeric, else objects: floats with nan for missing
        values in numeric columns, strings with "" in categorical ones.
    y : ndarray of shape (n_samples,)
        Target.
    numeric, categorical : list of int
        Columns of ``X`` of either kind.
    summary : str
        What was read and what was left out, for the user.
    """

    X: np.ndarray
    y: np.ndarray
    numeric: list
    categorical: list
    summary: str


def load_table(path, target):
    """Return the table of a CSV file, or of the diabetes data where there is none."""
    if path is not None:
        return read_table(path, target)
    if target is not None:
        raise DataError("--target goes with a CSV file, and none was given")
    X, y = load_diabetes(return_X_y=True)
    summary = f"scikit-learn's diabetes data: {len(y)} rows, {X.shape[1]} columns"
    return Table(X, y, list(range(X.shape[1])), [], summary)


def read_table(path, target):
    """Read a CSV file into a table.

    Parameters
    ----------
    path : str
        CSV file with a header line; separated by commas, semicolons or tabs.
    target : str or None
        Name of the column to predict.

    Returns
    -------
    Table
        Rows with a target, columns with at least one value.

    Raises
    ------
    DataError
        If the file or the target cannot be used.
    """
    header, lines = read_cells(path)
    path, names = shown(path), listed(header)
    if target is None:
        raise DataError(f"--target NAME is missing; columns: {names}")
    if target not in header:
        raise DataError(f"no column {target!r} in {path}; columns: {names}")
    where = header.index(target)
    known = {i: row for i, row in lines.items() if not is_missing(row[where])}
    y = _target_values(known, where, target)
    if len(y) < MIN_ROWS:
        raise DataError(f"{path} has {len(y)} usable rows; at least {MIN_ROWS} needed")
    if np.ptp(y) == 0.0:
        raise DataError(f"target {target!r} is {y[0]:g} in every row")
    cells = dict(zip(header, zip(*known.values(), strict=True), strict=True))
    features = {name: cells[name] for name in header if name != target}
    X, numeric, categorical, empty, marks = _features(features)
    summary = (
        f"{path}: {len(y)} rows, {len(numeric)} numeric and {len(categorical)} "
        f"categorical columns, target {target!r}"
    )
    if len(known) < len(lines):
        summary += f"\nleft out {len(lines) - len(known)} rows without a target"
    if empty:
        summary += f"\nleft out columns without values: {listed(empty)}"
    if marks:
        summary += f"\nread as missing values: {listed(marks)}"
    return Table(X, y, numeric, categorical, summary)


def _target_values(rows, where, target):
    for line, row in rows.items():
        if number_in(row[where]) is None:
            raise DataError(
                f"target {target!r} is not numeric: {row[where]!r} on line {line}; "
                "this demo predicts numbers; for classes use ConvexReLUClassifier"
            )
    return np.array([number_in(row[where]) for row in rows.values()])


def _features(columns):
    """Return X, its numeric and its categorical columns, and the names left out.

    And the marks, other than empty cells, that stood for missing values.
    """
    arrays, kinds, empty, marks = [], [], [], {}
    for name, cells in columns.items():
        if all(map(is_missing, cells)):
            empty.append(name)
            continue
        numbers = [number_in(cell) for cell in cells]
        numeric = None not in numbers
        if numeric:
            lost, values = np.isnan(numbers), numbers
        else:
            lost = [cell.casefold() in MISSING for cell in cells]
            values = ["" if no else c for c, no in zip(cells, lost, strict=True)]
        marks |= dict.fromkeys(c for c, no in zip(cells, lost, strict=True) if no and c)
        arrays.append(np.array(values, dtype=object))
        kinds.append(numeric)
    if not arrays:
        raise DataError("no column to predict the target from")
    X = np.column_stack(arrays).astype(float if all(kinds) else object)
    numeric = [j for j, kind in enumerate(kinds) if kind]
    categorical = [j for j, kind in enumerate(kinds) if not kind]
    return X, numeric, categorical, empty, list(marks)
