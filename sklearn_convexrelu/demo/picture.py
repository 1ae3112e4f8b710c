"""The picture of how the gap closed; no file of the user's is lost to it."""

import io
import os
import stat
from pathlib import Path

from sklearn_convexrelu import ConvergenceDisplay
from sklearn_convexrelu.demo.cells import DataError, shown

__all__ = ["FORMATS", "PICTURE", "check_picture", "draw_convergence"]

PICTURE = "convex_relu_convergence.png"
# Pictures by suffix: how such files begin, and the field that says who made them.
FORMATS = {
    "png": (b"\x89PNG", "Software"),
    "svg": (b"<?xml", "Creator"),
    "pdf": (b"%PDF", "Creator"),
}
MAKER = "python -m sklearn_convexrelu"
MOST_BYTES = 10_000_000  # a file larger than that is no picture of ours


def check_picture(path):
    """Refuse a picture that could not be written after training, or replaces a file."""
    if path is None:
        return
    _format(path)
    with _opened(path) as file:
        is_new = file.mode == "xb"
    if is_new:
        os.remove(path)


def draw_convergence(network, path):
    """Draw objective, lower bound and gap against time.

    Parameters
    ----------
    network : ConvexReLURegressor
        Fitted.
    path : str
        Where to write the picture: PNG, or what its suffix tells.

    Returns
    -------
    str
        What was done, for the user.

    Raises
    ------
    DataError
        If it cannot be written, or what is there is no picture of this demo.
    """
    kind = _format(path)
    try:
        # No pyplot: it would pick a window system and keep global state.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return (
            "no picture: matplotlib is missing; pip install 'sklearn-convexrelu[plot]'"
        )
    figure = Figure(figsize=(9.0, 3.8), dpi=150, layout="constrained")
    ConvergenceDisplay.from_estimator(network, ax=figure.subplots(1, 2))
    FigureCanvasAgg(figure)
    picture, maker = io.BytesIO(), FORMATS[kind][1]
    figure.savefig(picture, format=kind, metadata={maker: MAKER})
    with _opened(path) as file:
        try:
            file.write(picture.getvalue())
            file.truncate()
            file.flush()
        except OSError as error:
            raise DataError(f"cannot write {shown(path)}: {error.strerror}") from error
    return f"wrote {shown(path)}"


def _format(path):
    """Return the format of a picture by its suffix; none is PNG."""
    suffix = Path(path).suffix[1:].casefold() or "png"
    if suffix not in FORMATS:
        raise DataError(
            f"a picture is a file .{', .'.join(FORMATS)}, and {shown(path)} is none"
        )
    return suffix


def _opened(path):
    """Open for writing what is new, empty or a picture of ours; refuse all else."""
    name = shown(path)
    try:
        try:
            file = open(path, "r+b")
        except FileNotFoundError:
            return open(path, "xb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"no folder for the picture {name}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot write the picture {name}: {reason}") from error
    if not _is_replaceable(file):
        file.close()
        raise DataError(
            f"{name} exists and is no picture of this demo: --picture names another, "
            "or remove it"
        )
    return file


def _is_replaceable(file):
    """Tell whether an open file is empty or a picture of ours."""
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
        return False
    content = file.read()
    file.seek(0)
    starts = tuple(start for start, _ in FORMATS.values())
    return not content or (content.startswith(starts) and MAKER.encode() in content)
