"""Command-line arguments."""

import argparse
import codecs

from sklearn_convexrelu.demo.cells import DataError
from sklearn_convexrelu.demo.picture import PICTURE
from sklearn_convexrelu.demo.saved import SUFFIX
from sklearn_convexrelu.demo.table import CLASSES, NUMBERS

__all__ = ["check_combination", "is_model", "make_parser"]

EPILOG = """\
Without a file: the demo, on the diabetes data beside MLPRegressor, then classifiers.
Columns of numbers are scaled, words one-hot encoded (more than 30 kinds: by their mean
target), dates turned into days; identifiers, free text and constants are left out, and
what was taken as what is printed first. Missing are empty cells, ?, NA, N/A, n.a.,
#N/A, NaN, null, <NA> and the like; None, - and . where all other cells are numbers.
"""
NAMED_SEPARATORS = {"tab": "\t", "\\t": "\t", "space": " "}


def make_parser():
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sklearn_convexrelu",
        usage="%(prog)s [data.csv --target NAME] [options]\n"
        "       %(prog)s model.skops --predict new.csv --output predictions.csv",
        description="Train a ReLU network to a certified global optimum on a table, "
        "beside scikit-learn's MLP.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "data",
        nargs="?",
        metavar="data.csv",
        help="CSV file with a header line, packed by gzip, bzip2 or xz or not; parquet "
        "file; or model that --save wrote",
    )
    _add_table(parser.add_argument_group("the table"))
    _add_training(parser.add_argument_group("training"))
    _add_results(parser.add_argument_group("results"))
    return parser


def _add_table(group):
    group.add_argument("--target", metavar="NAME", help="column to predict")
    group.add_argument(
        "--task",
        choices=(NUMBERS, CLASSES),
        help="default: by the target; words, two different values and up to ten whole "
        "numbers are classes",
    )
    group.add_argument(
        "--columns",
        metavar="NAMES",
        help="columns to predict from, with commas between (a name with a comma in "
        "quotes); also those that would be left out as identifiers",
    )
    group.add_argument(
        "--separator",
        type=_separator,
        metavar="CHAR",
        help="between cells: a character, tab or space (default: guessed, and said)",
    )
    group.add_argument(
        "--encoding", type=_encoding, help="of the text (default: UTF-8, or guessed)"
    )


def _add_training(group):
    group.add_argument(
        "--alpha",
        type=_positive_number,
        help="penalty strength as a fraction of alpha_max_ (default: chosen by "
        "cross-validation)",
    )
    group.add_argument(
        "--no-mlp", action="store_true", help="do not train scikit-learn's MLP as well"
    )


def _add_results(group):
    group.add_argument(
        "--save", metavar="MODEL.skops", help="where to keep the trained pipeline"
    )
    group.add_argument(
        "--predict", metavar="NEW.csv", help="rows to predict, with the same columns"
    )
    group.add_argument(
        "--output", metavar="PREDICTIONS.csv", help="where to write the predictions"
    )
    group.add_argument(
        "--picture",
        metavar="PATH",
        help=f"where to draw the convergence, as PNG, SVG or PDF (default: {PICTURE})",
    )
    group.add_argument("--no-picture", action="store_true", help="draw nothing")


def check_combination(args):
    """Refuse options that do not go together.

    Parameters
    ----------
    args : Namespace
        What the user gave.

    Raises
    ------
    DataError
        In one line.
    """
    if (args.predict is None) != (args.output is None):
        raise DataError("--predict NEW.csv and --output PREDICTIONS.csv go together")
    if args.picture is not None and args.no_picture:
        raise DataError("--picture and --no-picture exclude each other")
    if args.data is None:
        given = _given(args, "target task columns separator encoding save predict")
        if given:
            raise DataError(f"{given[0]} goes with a file, and none was given")
    elif is_model(args):
        given = _given(args, "target task columns alpha no_mlp save picture no_picture")
        if given:
            raise DataError(f"{given[0]} is for training, and a model was given")
        if args.predict is None:
            raise DataError("a model needs --predict NEW.csv --output PREDICTIONS.csv")


def is_model(args):
    """Tell whether the file given is a trained model."""
    return args.data is not None and args.data.casefold().endswith(f".{SUFFIX}")


def _given(args, names):
    """Return the options of these names that the user gave."""
    given = [name for name in names.split() if getattr(args, name) not in (None, False)]
    return [f"--{name.replace('_', '-')}" for name in given]


def _positive_number(text):
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return number


def _separator(text):
    separator = NAMED_SEPARATORS.get(text, text)
    if len(separator) != 1 or separator in '"\r\n\0':
        raise argparse.ArgumentTypeError(f"{text!r} is not one character, tab or space")
    return separator


def _encoding(text):
    try:
        return codecs.lookup(text).name
    except (LookupError, ValueError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no encoding, such as utf-8, cp1252, utf-16"
        ) from error
