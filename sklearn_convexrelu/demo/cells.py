"""What cells may hold, and how the user is told of it."""

import itertools
import os

__all__ = [
    "MISSING",
    "MISSING_NUMBERS",
    "PLAIN",
    "TABLES_EXTRA",
    "DataError",
    "counted",
    "listed",
    "pandas_or_none",
    "shown",
    "same_file",
    "some",
]

# No value, in any case of letters: among them what pandas writes and Excel computes.
MISSING = {"", "?", "na", "n/a", "n.a.", "nan", "-nan", "null", "<na>"}
MISSING |= {"#n/a", "#n/a n/a", "#na", "-1.#ind", "-1.#qnan", "1.#ind", "1.#qnan"}
# No value among numbers; among words they may well be one: a garage of kind "None".
MISSING_NUMBERS = MISSING | {"none", "-", "."}
# float() would take 1_2 for twelve and digits of any script.
PLAIN = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity)"
TABLES_EXTRA = "pip install 'sklearn-convexrelu[tables]'"


class DataError(ValueError):
    """What is wrong with the user's data, in one line for the user."""


def pandas_or_none():
    """Return pandas where it is installed."""
    try:
        import pandas
    except ImportError:
        return None
    return pandas


def same_file(path, other):
    """Tell whether two paths lead to one file, which need not exist."""
    try:
        return os.path.samefile(path, other)
    except (OSError, ValueError):
        return os.path.realpath(path) == os.path.realpath(other)


def counted(number, thing, things=None):
    """Return a number with its noun."""
    return f"{number} {thing if number == 1 else things or thing + 's'}"


def some(texts, most=3):
    """Return a few of many texts, as the user wrote them, for a terminal."""
    texts = iter(texts)
    first = [repr_shown(text) for text in itertools.islice(texts, most)]
    return ", ".join(first) + (", ..." if next(texts, None) is not None else "")


def repr_shown(text, longest=40):
    """Return a text in quotes for a terminal, a long one cut."""
    text = str(text)
    return f"'{shown(text[:longest])}{'...' if len(text) > longest else ''}'"


def listed(texts, most=30):
    """Return texts of a file, with commas between, for a terminal."""
    texts = list(texts)
    more = len(texts) - most
    return ", ".join(map(shown, texts[:most])) + (f" and {more} more" * (more > 0))


def shown(text):
    """Return text of a file for a terminal, which obeys control characters."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text)
    )
