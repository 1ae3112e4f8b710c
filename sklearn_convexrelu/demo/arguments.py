"""Command-line arguments."""

import argparse

from sklearn_convexrelu.demo.cells import number_in
from sklearn_convexrelu.demo.picture import PICTURE

__all__ = ["make_parser"]


def make_parser():
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sklearn_convexrelu",
        usage="%(prog)s [data.csv --target NAME] [options]",
        description="Train a ReLU network to a certified global optimum, beside "
        "scikit-learn's MLPRegressor. Without a file: on the diabetes data.",
    )
    parser.add_argument(
        "csv",
        nargs="?",
        metavar="data.csv",
        help="CSV file with a header line; numeric columns are scaled, others one-hot "
        "encoded; empty cells, ?, NA, N/A, #N/A, NaN, null and the like are missing "
        "values, None, - and . where a column has only numbers beside them",
    )
    parser.add_argument("--target", metavar="NAME", help="numeric column to predict")
    parser.add_argument(
        "--alpha",
        type=_positive_number,
        help="penalty strength of ConvexReLURegressor as a fraction of alpha_max_ "
        "(default: chosen by cross-validation)",
    )
    parser.add_argument(
        "--picture",
        default=PICTURE,
        metavar="PATH",
        help="where to draw the convergence, as PNG, SVG or PDF; of files that exist "
        "only an earlier picture is overwritten (default: %(default)s)",
    )
    parser.add_argument(
        "--no-picture",
        dest="picture",
        action="store_const",
        const=None,
        help="draw nothing",
    )
    return parser


def _positive_number(text):
    number = number_in(text)
    if number is None or not number > 0.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return number
