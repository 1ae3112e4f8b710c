"""Files that are written: no file of the user's is lost to them."""

import os
import stat
from pathlib import Path

from sklearn_convexrelu.demo.cells import DataError, shown

__all__ = ["check_output", "suffix_among", "write_output"]

MOST_BYTES = 1_000_000_000  # a file larger than that is none of ours


def suffix_among(path, what, suffixes, default=None):
    """Return the suffix of a file to write; refuse others than those given."""
    suffix = Path(path).suffix[1:].casefold() or default
    if suffix not in suffixes:
        raise DataError(
            f"{what} is a file .{', .'.join(suffixes)}, and {shown(path)} is none"
        )
    return suffix


def check_output(path, what, option, is_ours):
    """Refuse what could not be written after training, or would replace a file.

    Parameters
    ----------
    path : str
        What is to be written.
    what : str
        What it is called.
    option : str
        The option that names it.
    is_ours : callable
        Tells by its bytes whether a file may be replaced.

    Raises
    ------
    DataError
        In one line.
    """
    with _opened(path, what, option, is_ours) as file:
        is_new = file.mode == "xb"
    if is_new:
        os.remove(path)


def write_output(path, what, option, is_ours, content):
    """Write bytes to a file that :func:`check_output` lets pass; return what was done.

    It is checked again: the file may have come, or the space gone, meanwhile.
    """
    with _opened(path, what, option, is_ours) as file:
        try:
            file.write(content)
            file.truncate()
            file.flush()
        except OSError as error:
            raise DataError(f"cannot write {shown(path)}: {error.strerror}") from error
    return f"wrote {shown(path)}"


def _opened(path, what, option, is_ours):
    """Open for writing what is new, empty or of ours; refuse all else."""
    name = shown(path)
    try:
        try:
            file = open(path, "r+b")
        except FileNotFoundError:
            return open(path, "xb")
    except IsADirectoryError as error:
        raise DataError(f"{name} is a folder: {option} names a file") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"no folder for the {what} {name}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot write the {what} {name}: {reason}") from error
    if not _is_replaceable(file, is_ours):
        file.close()
        raise DataError(
            f"{name} exists and is no {what} of this command: {option} names another, "
            "or remove it"
        )
    return file


def _is_replaceable(file, is_ours):
    """Tell whether an open file is empty or of ours."""
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
        return False
    content = file.read()
    file.seek(0)
    return not content or is_ours(content)
