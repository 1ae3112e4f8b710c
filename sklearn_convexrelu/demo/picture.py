"""The picture of how the gap closed."""

import io

from sklearn_convexrelu import ConvergenceDisplay
from sklearn_convexrelu.demo.outputs import check_output, suffix_among, write_output

__all__ = ["FORMATS", "PICTURE", "check_picture", "draw_convergence"]

PICTURE = "convex_relu_convergence.png"
# Pictures by suffix: how such files begin, and the field that says who made them.
FORMATS = {
    "png": (b"\x89PNG", "Software"),
    "svg": (b"<?xml", "Creator"),
    "pdf": (b"%PDF", "Creator"),
}
MAKER = "python -m sklearn_convexrelu"


def check_picture(path):
    """Refuse a picture that could not be written after training, or replaces a file."""
    _format(path)
    check_output(path, "picture", "--picture", _is_ours)


def draw_convergence(network, path):
    """Draw objective, lower bound and gap against time.

    Parameters
    ----------
    network : estimator
        Of ours, fitted.
    path : str
        Where to write the picture: PNG, or what its suffix tells.

    Returns
    -------
    str
        What was done, for the user.

    Raises
    ------
    DataError
        If it cannot be written, or what is there is no picture of this command.
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
    return write_output(path, "picture", "--picture", _is_ours, picture.getvalue())


def _format(path):
    """Return the format of a picture by its suffix; none is PNG."""
    return suffix_among(path, "a picture", FORMATS, default="png")


def _is_ours(content):
    """Tell whether bytes are a picture that this command has drawn."""
    starts = tuple(start for start, _ in FORMATS.values())
    return content.startswith(starts) and MAKER.encode() in content
