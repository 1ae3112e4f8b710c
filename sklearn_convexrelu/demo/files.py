"""Files to columns of cells: packed or not, in any encoding, CSV or parquet."""

import bz2
import csv
import gzip
import io
import lzma
from collections import Counter
from dataclasses import dataclass
from itertools import islice

from sklearn_convexrelu.demo.cells import (
    TABLES_EXTRA,
    DataError,
    counted,
    listed,
    pandas_or_none,
    shown,
)

__all__ = ["GUESSED", "Columns", "Format", "read_columns"]

SEPARATORS = {",": "','", ";": "';'", "\t": "tab", "|": "'|'"}
SNIFFED_ROWS = 50
# How files begin that are no text as they are.
PACKED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
PARQUET, ZIP = b"PAR1", b"PK\x03\x04"
MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True)
class Format:
    """What the user says of a file; None is to be guessed.

    Attributes
    ----------
    separator : str or None
        One character between the cells.
    encoding : str or None
        How bytes are letters.
    """

    separator: str | None = None
    encoding: str | None = None


GUESSED = Format()


@dataclass(frozen=True)
class Columns:
    """A table as it was read.

    Attributes
    ----------
    path : str
        Where from, as the user wrote it but fit for a terminal.
    cells : dict
        The cells of each column by its name: lists of str or pandas Series.
    n_rows : int
        How many rows there are.
    separator : str
        What was between the cells; "" of parquet.
    notes : list of str
        What was guessed or passed over.
    """

    path: str
    cells: dict
    n_rows: int
    separator: str
    notes: list


def read_columns(path, form):
    """Read the columns of a CSV or parquet file.

    Parameters
    ----------
    path : str
        The file; packed by gzip, bzip2 or xz or not, whatever it is called.
    form : Format
        What is known of it.

    Returns
    -------
    Columns
        Its cells as text (CSV) or as they were typed (parquet).

    Raises
    ------
    DataError
        If it is no such file, in one line.
    """
    content = _content(path)
    name = shown(path)
    if content.startswith(PARQUET):
        return _parquet(content, name, form)
    if content.startswith(ZIP):
        raise DataError(
            f"{name} is a ZIP archive or a workbook: unpack it, or save the sheet as "
            "CSV"
        )
    notes = []
    text = _text(content, name, form.encoding, notes)
    separator, text = _separated(text, form.separator, notes)
    header = _check_widths(text, separator, name, notes)
    cells = _parsed(text, separator, header, name, notes)
    n_rows = len(cells[header[0]])
    return Columns(name, cells, n_rows, separator, notes)


def _content(path):
    """Return the bytes of a file, unpacked."""
    try:
        with open(path, "rb") as file:
            start = file.read(6)
        is_packed = [mark for mark in PACKED if start.startswith(mark)]
        opened = PACKED[is_packed[0]] if is_packed else open
        with opened(path, "rb") as file:
            return file.read()
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise DataError(f"{shown(path)} is a damaged archive: {error}") from error
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read {shown(path)}: {reason}") from error


def _text(content, name, encoding, notes):
    """Return the text of a file; a guess of its encoding is noted."""
    if not content.strip():
        raise DataError(f"{name} is empty")
    guessed = encoding is None
    if guessed:
        marked = [MARKS[mark] for mark in MARKS if content.startswith(mark)]
        encoding = marked[0] if marked else "utf-8"
    try:
        text = content.decode(encoding)
    except (LookupError, UnicodeDecodeError) as error:
        if not guessed:
            raise DataError(f"{name} is not in {shown(encoding)}: {error}") from error
        encoding, text = _western(content)
        notes.append(
            f"not in UTF-8 (byte {error.start}): read as {encoding}, which is a guess; "
            "--encoding names another"
        )
    text = text.removeprefix("\ufeff")
    if "\0" in text:
        raise DataError(
            f"{name} is no text: it has NUL characters (if it is text in UTF-16: "
            "--encoding utf-16-le)"
        )
    # Carriage returns alone, as of old, confuse pandas 2.
    return text if "\n" in text else text.replace("\r", "\n")


def _western(content):
    """Return the encoding of Windows, or Latin-1, which takes any byte, and the text.

    They differ in 32 letters that are rarely used, so no detector is asked.
    """
    try:
        return "cp1252", content.decode("cp1252")
    except UnicodeDecodeError:
        return "latin-1", content.decode("latin-1")


def _separated(text, separator, notes):
    """Return what separates the cells, and the text without a line that says so."""
    first, _, rest = text.partition("\n")
    first = first.strip()
    is_said = len(first) == 5 and first.startswith("sep=")  # as Excel writes it
    if is_said:
        text = rest
    if separator is None and is_said:
        separator = first[4]
        notes.append(f"separated by {first[4]!r}, as its first line says")
    elif separator is None:
        separator = _sniffed(text)
        notes.append(f"separated by {SEPARATORS[separator]}, a guess (--separator)")
    return separator, text


def _records(text, separator):
    """Yield the line number and the cells of every record that is not empty."""
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    for row in reader:
        cells = [cell.strip() for cell in row]
        if any(cells):
            yield reader.line_num, cells


def _sniffed(text):
    """Return what separates the cells: most, and evenly in header and first rows.

    A header alone can mislead: names may contain any of them, in quotes or not.
    """
    ranks = {}
    for separator in SEPARATORS:
        try:
            rows = [row for _, row in islice(_records(text, separator), SNIFFED_ROWS)]
        except csv.Error:  # read with the wrong one a cell may have no end
            continue
        widths = [len(row) for row in rows] or [0]
        is_even = widths[0] > 1 and len(set(widths)) == 1
        ranks[separator] = is_even, widths[0]
    return max(ranks, key=ranks.get, default=",")


def _check_widths(text, separator, name, notes):
    """Return the header; refuse rows of another width, which pandas would fill."""
    header, n_lines, n_empty = None, 0, 0
    try:
        for line, row in _records(text, separator):
            if header is None:
                header = row
            elif len(row) != len(header):
                text = f"line {line} of {name} has {counted(len(row), 'cell')}, the "
                text += f"header {len(header)}"
                if any("\n" in cell for cell in row):
                    text += "; is there a quote that never ends?"
                raise DataError(text)
            else:
                n_empty += _lines_before(line, row) - n_lines
            n_lines = line
    except csv.Error as error:
        raise DataError(f"{name} is no CSV file: {error}") from error
    if header is None:
        raise DataError(f"{name} is empty")
    repeated = [cell for cell, count in Counter(header).items() if count > 1]
    if repeated:
        raise DataError(f"{name} has several columns called {repeated[0]!r}")
    if n_empty > 0:
        notes.append(f"passed over {counted(n_empty, 'empty line')}")
    return header


def _lines_before(line, row):
    """Return the number of lines before a record that ends on a line."""
    return line - 1 - sum(cell.count("\n") for cell in row)


def _parsed(text, separator, header, name, notes):
    """Return the cells of each column as text, without rows that have none."""
    pandas = pandas_or_none()
    if pandas is None:
        notes.append(
            "pandas is not installed: no parquet, no dates but 2026-01-31; "
            + TABLES_EXTRA
        )
        rows = [row for _, row in _records(text, separator)][1:]
        columns = zip(*rows, strict=True) if rows else [()] * len(header)
        return dict(zip(header, map(list, columns), strict=True))
    try:
        frame = pandas.read_csv(
            io.StringIO(text),
            sep=separator,
            header=None,
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
        )
    except pandas.errors.ParserError as error:
        reason = str(error).strip().removeprefix("Error tokenizing data. ")
        raise DataError(f"{name} is no CSV file: {reason}") from error
    frame = frame.apply(lambda cells: cells.str.strip())
    frame = frame[(frame != "").any(axis=1)].iloc[1:]
    return {cell: frame[j].reset_index(drop=True) for j, cell in enumerate(header)}


def _parquet(content, name, form):
    """Return the columns of a parquet file, typed as they are."""
    if form.separator or form.encoding:
        raise DataError(f"{name} is parquet: it has no --separator and no --encoding")
    pandas = pandas_or_none()
    if pandas is None:
        raise DataError(f"{name} is parquet, which needs pandas: {TABLES_EXTRA}")
    try:
        frame = pandas.read_parquet(io.BytesIO(content))
    except ImportError as error:
        raise DataError(f"{name} is parquet: {TABLES_EXTRA}") from error
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{name} is no whole parquet file: {reason}") from error
    if frame.index.name is not None or frame.index.nlevels > 1:
        frame = frame.reset_index()
    names = [str(column) for column in frame.columns]
    if len(set(names)) < len(names):
        raise DataError(f"{name} has several columns of one name: {listed(names)}")
    frame.columns = names
    cells = {column: frame[column].reset_index(drop=True) for column in names}
    return Columns(name, cells, len(frame), "", ["parquet, typed as it is"])
