"""Kinds of columns: numbers, dates and words, told from their cells."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

import numpy as np

from sklearn_convexrelu._columns import (
    SECONDS_A_DAY,
    as_word,
    days_since_1970,
    float_array,
    is_nothing,
)
from sklearn_convexrelu.demo.cells import (
    MISSING,
    MISSING_NUMBERS,
    PLAIN,
    pandas_or_none,
)

__all__ = ["WORDS", "Reading", "guessed_kind", "is_number", "read_as"]

# A kind is the text that reports print and saved models keep.
WORDS = "words"
NUMBER = "number"
# Decimal mark and thousands separators of a kind of number.
MARKS = {
    NUMBER: (".", ""),
    "number, decimal comma": (",", ". '\u2019\u00a0\u202f"),
    "number, thousands separated": (".", ", '\u2019\u00a0\u202f"),
}
# ISO first, which nothing else looks like; where day and month cannot be told apart,
# the month comes first as in pandas, and a note says so.
DATES = ["ISO8601", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y"]
DATES += ["%Y/%m/%d", "%m/%d/%y", "%d/%m/%y", "%d.%m.%y"]
DATES += ["%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y"]
TIMES = ["", " %H:%M", " %H:%M:%S"]
MONTH_FIRST = {"%m/%d/%Y": "%d/%m/%Y", "%m-%d-%Y": "%d-%m-%Y", "%m/%d/%y": "%d/%m/%y"}
# A column is of numbers (or dates) if at least that part of its values are: half of it
# takes codes for numbers that are a mixture, double loses columns to a typing error.
LEAST_PART = 0.9
SAMPLE = 200  # values that are looked at before all are
# Squares of sums must be finite, and a number beyond is a mark or a mistake.
LARGEST = 1e100


@dataclass(frozen=True)
class Reading:
    """What the cells of a column are.

    Attributes
    ----------
    values : ndarray of shape (n_rows,)
        Floats, with nan for missing values, or str, "" for missing ones.
    odd : ndarray of bool, shape (n_rows,)
        Cells that are not of the kind: missing values, which is to be said.
    huge : ndarray of bool, shape (n_rows,)
        Numbers too large to compute with: missing values, which is to be said.
    marks : set of str
        What stood for missing values, other than nothing.
    oddities : set of str
        The texts of odd cells.
    """

    values: np.ndarray
    odd: np.ndarray
    huge: np.ndarray
    marks: set
    oddities: set


def is_number(kind):
    """Tell whether a kind has numbers as values: dates are days since 1970."""
    return kind != WORDS


def read_as(cells, kind):
    """Read cells as of a kind.

    Parameters
    ----------
    cells : sequence or pandas Series of shape (n_rows,)
        Text or typed values.
    kind : str
        The kind.

    Returns
    -------
    Reading
        Values and what could not be read.
    """
    typed = _typed(cells, kind)
    if typed is not None:
        huge = np.abs(typed) > LARGEST
        return Reading(np.where(huge, np.nan, typed), huge & False, huge, set(), set())
    texts = _texts(cells)
    missing = MISSING if kind == WORDS else MISSING_NUMBERS
    lost = np.array([text.casefold() in missing for text in texts], dtype=bool)
    marks = set(texts[lost]) - {""}
    nothing = np.zeros(len(texts), dtype=bool)
    if kind == WORDS:
        return Reading(np.where(lost, "", texts), nothing, nothing, marks, set())
    convert = _numbers if kind in MARKS else _days
    values = np.full(len(texts), np.nan)
    values[~lost] = convert(texts[~lost], kind)
    odd = np.isnan(values) & ~lost
    huge = np.abs(values) > LARGEST
    values[huge] = np.nan
    return Reading(values, odd, huge, marks, set(texts[odd]))


def _typed(cells, kind):
    """Return the values of a column that is typed as its kind already, else None."""
    dtype = getattr(cells, "dtype", None)
    letter = getattr(dtype, "kind", "O")
    if kind in MARKS and letter in "iufb":
        return float_array(cells)
    if letter == "M" and kind.startswith("date"):
        return days_since_1970(cells)
    return None


def _texts(cells):
    """Return cells as an array of text: "" where there is nothing."""
    values = np.empty(len(cells), dtype=object)
    letter = getattr(getattr(cells, "dtype", None), "kind", "O")
    whole = letter == "f"  # so that 1.0 in one file is 1 in another
    for i, cell in enumerate(cells.tolist() if hasattr(cells, "tolist") else cells):
        if isinstance(cell, str):
            values[i] = cell.strip()
        elif is_nothing(cell):
            values[i] = ""
        else:
            values[i] = as_word(cell) if whole else str(cell)
    return values


def _numbers(texts, kind):
    """Return the numbers in texts, nan where there is none."""
    decimal, thousands = MARKS[kind]
    if thousands:
        texts = np.array([_plain(t, decimal, thousands) for t in texts], dtype=object)
    values = np.full(len(texts), np.nan)
    pandas = pandas_or_none()
    if pandas is not None and len(texts):
        series = pandas.Series(texts, dtype=object)
        values = pandas.to_numeric(series, errors="coerce").to_numpy(float, copy=True)
    is_plain = re.compile(PLAIN, re.ASCII | re.IGNORECASE).fullmatch
    for i in np.flatnonzero(np.isnan(values)):  # pandas 2 has none for 1e400
        if is_plain(texts[i]):
            values[i] = float(texts[i])
    return values


def _plain(text, decimal, thousands):
    """Return a number as Python writes it, "" unless its groups are of three."""
    if not _notation(decimal, thousands)(text):
        return ""
    for mark in thousands:
        text = text.replace(mark, "")
    return text.replace(decimal, ".")


@cache
def _notation(decimal, thousands):
    """Return what tells whether a text is a number with these marks."""
    number = rf"[+-]?(\d+|\d{{1,3}}(?P<by>[{re.escape(thousands)}])\d{{3}}"
    number += rf"((?P=by)\d{{3}})*)?({re.escape(decimal)}\d*)?([eE][+-]?\d+)?"
    return re.compile(number, re.ASCII).fullmatch


def _days(texts, kind):
    """Return dates in texts as days since 1970, nan where there is none."""
    form = kind.partition(" ")[2]
    pandas = pandas_or_none()
    if pandas is None:
        return np.array([_iso_days(text) for text in texts])
    dates = pandas.to_datetime(
        pandas.Series(texts, dtype=object), format=form, errors="coerce", utc=True
    )
    return days_since_1970(dates)


def _iso_days(text):
    """Return one date as days since 1970, nan if it is none."""
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return np.nan
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return date.timestamp() / SECONDS_A_DAY


def guessed_kind(cells, comma):
    """Guess the kind of a column.

    Parameters
    ----------
    cells : sequence or pandas Series
        Text or typed values.
    comma : bool
        Whether a comma is more likely a decimal mark than one of thousands.

    Returns
    -------
    kind : str or None
        None if there is no value.
    note : str
        What the guess could not tell, for the user; "" if nothing.
    """
    letter = getattr(getattr(cells, "dtype", None), "kind", "O")
    if letter == "M":
        return "date ISO8601", ""
    if letter in "iuf":
        return NUMBER, ""
    texts = _texts(cells)
    values = [text for text in texts if text.casefold() not in MISSING]
    if not values:
        return None, ""
    numbers = np.array([t for t in values if t.casefold() not in MISSING_NUMBERS])
    if not len(numbers):
        # Words if there are several: one alone is how somebody wrote a missing value.
        return (WORDS if len(set(values)) > 1 else None), ""
    kind = _kind_of_number(numbers, comma)
    if kind is not None:
        return kind, _note_on_numbers(numbers, kind)
    return _date_or_words(numbers)


def _part_read(texts, kind):
    """Return which part of texts is of a kind; often a sample tells that few are."""
    convert = _numbers if kind in MARKS else _days
    part = 0.0
    for some in (texts[:: max(1, len(texts) // SAMPLE)], texts):
        part = float(np.mean(~np.isnan(convert(some, kind))))
        if part < 0.5 * LEAST_PART:
            return part
    return part


def _kind_of_number(texts, comma):
    """Return the kind of number that most texts are; None if too few are any."""
    kinds = list(MARKS)
    if not comma:
        kinds[1:] = kinds[:0:-1]
    parts = []
    for kind in kinds:
        parts.append(_part_read(texts, kind))
        if parts[-1] == 1.0:
            return kind
    best = int(np.argmax(parts))
    return kinds[best] if parts[best] >= LEAST_PART else None


def _note_on_numbers(texts, kind):
    """Say what cannot be told about numbers."""
    if kind == NUMBER:
        lead = any(re.fullmatch(r"0\d+", t) for t in texts if t.startswith("0"))
        return "leading zeros lost: if codes, put a letter before them" if lead else ""
    mark = "," if kind.startswith("number, decimal") else MARKS[kind][1][0]
    with_mark = [text for text in texts if mark in text]
    threes = [re.fullmatch(r"[+-]?\d{1,3},\d{3}", text) for text in with_mark]
    if with_mark and all(threes):
        return f"{with_mark[0]} could be read the other way too"
    return ""


def _date_or_words(texts):
    """Return the kind of a column that is not of numbers, and what cannot be told."""
    formats = ["ISO8601"]
    if pandas_or_none() is not None:
        formats += [form + time for form in DATES[1:] for time in TIMES]
    if not any(c.isdigit() for c in texts[0]):
        return WORDS, ""
    parts = {form: _part_read(texts, f"date {form}") for form in formats}
    best = max(parts, key=parts.get)
    if parts[best] < LEAST_PART:
        return WORDS, ""
    date, space, time = best.partition(" %H")
    other = f"{MONTH_FIRST.get(date)}{space}{time}"
    ambiguous = parts.get(other) == parts[best]
    return f"date {best}", "could be day before month too" if ambiguous else ""
