"""Cells of a CSV file, told apart into numbers, words and missing values."""

import csv
import io
from collections import Counter
from itertools import islice

import numpy as np

__all__ = [
    "MISSING",
    "DataError",
    "is_missing",
    "listed",
    "number_in",
    "read_cells",
    "shown",
]

# No value, in any case of letters: among them what pandas writes and Excel computes.
MISSING = {"", "?", "na", "n/a", "nan", "-nan", "null", "<na>"}
MISSING |= {"#n/a", "#n/a n/a", "#na", "-1.#ind", "-1.#qnan", "1.#ind", "1.#qnan"}
# No value among numbers; among words they may well be one: a garage of kind "None".
MISSING_NUMBERS = MISSING | {"none", "-", "."}
DELIMITERS = ",;\t"
SNIFFED_ROWS = 50


class DataError(ValueError):
    """What is wrong with the user's data, in one line for the user."""


def read_cells(path):
    """Return the column names, and the cells of each row by line number."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            text = file.read()
        rows = list(_records(text, _delimiter(text)))
    except OSError as error:
        raise DataError(f"cannot read {shown(path)}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{shown(path)} is not a CSV file in UTF-8: {error}") from error
    if not rows:
        raise DataError(f"{shown(path)} is empty")
    _, header = rows.pop(0)
    _check_cells(shown(path), header, rows)
    return header, dict(rows)


def _records(text, delimiter):
    """Yield the line number and the cells of every record that is not empty."""
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    for row in reader:
        cells = [cell.strip() for cell in row]
        if any(cells):
            yield reader.line_num, cells


def _delimiter(text):
    """Return what separates the cells: most, and evenly in header and first rows.

    A header alone can mislead: names may contain any of them, in quotes or not.
    """
    ranks = {}
    for delimiter in DELIMITERS:
        try:
            rows = [row for _, row in islice(_records(text, delimiter), SNIFFED_ROWS)]
        except csv.Error:  # read with the wrong one a cell may have no end
            continue
        widths = [len(row) for row in rows] or [0]
        is_even = widths[0] > 1 and len(set(widths)) == 1
        ranks[delimiter] = is_even, widths[0]
    return max(ranks, key=ranks.get, default=DELIMITERS[0])


def _check_cells(path, header, rows):
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if repeated:
        raise DataError(f"{path} has several columns called {repeated[0]!r}")
    for line, row in rows:
        if len(row) != len(header):
            raise DataError(
                f"line {line} of {path} has {len(row)} cells, the header {len(header)}"
            )


def is_missing(cell):
    """Say whether a cell has no value; infinities count as none."""
    number = number_in(cell)
    return number is not None and np.isnan(number)


def number_in(cell):
    """Return the number in a cell: nan if missing, None if it holds something else."""
    if cell.casefold() in MISSING_NUMBERS:
        return np.nan
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if np.isfinite(number) else np.nan


def listed(texts):
    """Return texts of a file, with commas between, for a terminal."""
    return ", ".join(map(shown, texts))


def shown(text):
    """Return text of a file for a terminal, which obeys control characters."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text)
    )
