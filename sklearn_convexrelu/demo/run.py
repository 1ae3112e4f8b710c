"""The command line from arguments to files."""

import sys

from sklearn_convexrelu.demo.arguments import check_combination, is_model, make_parser
from sklearn_convexrelu.demo.cells import DataError, same_file
from sklearn_convexrelu.demo.classification import CLASS_DATA, compare_classifiers
from sklearn_convexrelu.demo.comparison import (
    SEARCH_TOL,
    convex_network,
    evaluate,
    mlp_network,
)
from sklearn_convexrelu.demo.files import Format
from sklearn_convexrelu.demo.picture import PICTURE, check_picture, draw_convergence
from sklearn_convexrelu.demo.predictions import (
    check_predictions,
    read_new_rows,
    write_predictions,
)
from sklearn_convexrelu.demo.report import (
    explain_gap,
    format_comparison,
    format_network,
    wrap,
)
from sklearn_convexrelu.demo.saved import check_model, load_model, save_model
from sklearn_convexrelu.demo.table import Wish, diabetes_table, read_table

__all__ = ["main"]


def main(argv=None):
    """Run the command.

    Parameters
    ----------
    argv : list of str, default=None
        Command-line arguments; those of the process when None.
    """
    parser = make_parser()
    args = parser.parse_args(argv)
    try:
        check_combination(args)
        if is_model(args):
            model, table = load_model(args.data), None
            read = model["read"]
        else:
            table = _table(args)
            read = table
        rows = _check_files(args, read)
    except DataError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    if table is None:
        _say_all(rows.report)
        failures = _attempt([lambda: write_predictions(model, rows, args.output)])
    else:
        failures = _train(args, table, rows)
    if failures:
        sys.exit("\n".join(failures))


def _table(args):
    """Return the table to learn from."""
    if args.data is None:
        return diabetes_table()
    wish = Wish(args.target, args.task, args.columns)
    return read_table(args.data, wish, Format(args.separator, args.encoding))


def _check_files(args, read):
    """Refuse files that could not be written; return the rows to predict, if any."""
    if args.picture is None and not args.no_picture and not is_model(args):
        args.picture = PICTURE
    if args.picture is not None:
        check_picture(args.picture)
    if args.save is not None:
        check_model(args.save)
    if args.predict is None:
        return None
    for path in (args.data, args.predict):
        if same_file(path, args.output):
            raise DataError(f"--output would replace {args.output}, which is read")
    check_predictions(args.output)
    form = Format(args.separator, args.encoding)
    return read_new_rows(args.predict, read.kinds, read.target, form)


def _train(args, table, rows):
    """Train, tell and write; return what could not be written."""
    _say_all(table.report)
    if rows is not None:
        _say_all(rows.report)
    _say()
    quick = convex_network(table.task, args.alpha, tol=SEARCH_TOL)
    final = convex_network(table.task, args.alpha)
    convex = evaluate(type(final).__name__, quick, final, table, _say)
    _say("\n" + format_network(convex, table))
    _say("\n" + explain_gap(convex.network))
    failures = _attempt(_files(args, convex, rows))
    if not args.no_mlp:
        _compare(convex, table)
    if args.data is None and not args.no_mlp:
        for name, loader in CLASS_DATA.items():
            _say("\n" + compare_classifiers(name, *loader(return_X_y=True)))
    return failures


def _compare(convex, table):
    """Train scikit-learn's network, often the slower one, and lay both out."""
    mlp = mlp_network(table.task)
    _say()
    title = f"{type(mlp.estimator).__name__} (--no-mlp spares it)"
    _say(
        "\n" + format_comparison(convex, evaluate(title, mlp, mlp, table, _say), table)
    )


def _files(args, convex, rows):
    """Return what writes each file that is asked for."""
    writers = []
    if args.save is not None:
        writers.append(lambda: [save_model(convex.pipeline, args.save)])
    if rows is not None:
        writers.append(lambda: write_predictions(convex.pipeline, rows, args.output))
    if args.picture is not None:
        writers.append(lambda: [draw_convergence(convex.network, args.picture)])
    return writers


def _attempt(writers):
    """Write files and tell of them; return what failed: it costs no other result."""
    failures = []
    if writers:
        _say()
    for write in writers:
        try:
            _say_all(write())
        except DataError as error:
            failures.append(f"not written: {error}")
    return failures


def _say_all(lines):
    for line in lines:
        _say(wrap(line, 4))


def _say(text="", end="\n"):
    print(text, end=end, flush=True)
