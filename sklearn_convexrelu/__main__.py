"""The demo: ``python -m sklearn_convexrelu [data.csv --target NAME]``.

Trains ConvexReLURegressor and scikit-learn's MLPRegressor in the same pipeline, on the
diabetes data or on your own CSV file, prints scores and certificate side by side, and
draws how the duality gap closed. Without a file it then does the same for the
classifiers on the breast cancer and digits data.
"""

import argparse
import csv
import io
import os
import stat
import sys
import textwrap
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sklearn_convexrelu import (
    ConvergenceDisplay,
    ConvexReLUClassifier,
    ConvexReLURegressor,
)

# The same strengths for both: MLPRegressor's alpha is weight decay per batch, 200 rows
# as a rule, ours a fraction of alpha_max_, near 0.7 for standardised data.
CONVEX_ALPHAS = (0.1, 0.03, 0.01)
MLP_ALPHAS = (10.0, 3.0, 1.0)
# To choose alpha and to score, a gap of 1 % does: predictions hardly change below it.
SEARCH_TOL = 0.01
OUTER_FOLDS = 5
INNER_FOLDS = 3
MIN_ROWS = 10
# No value, in any case of letters: among them what pandas writes and Excel computes.
MISSING = {"", "?", "na", "n/a", "nan", "-nan", "null", "<na>"}
MISSING |= {"#n/a", "#n/a n/a", "#na", "-1.#ind", "-1.#qnan", "1.#ind", "1.#qnan"}
# No value among numbers; among words they may well be one: a garage of kind "None".
MISSING_NUMBERS = MISSING | {"none", "-", "."}
DELIMITERS = ",;\t"
SNIFFED_ROWS = 50
CLASSES = {"breast cancer": load_breast_cancer, "digits": load_digits}
PICTURE = "convex_relu_convergence.png"
# Pictures by suffix: how such files begin, and the field that says who made them.
FORMATS = {
    "png": (b"\x89PNG", "Software"),
    "svg": (b"<?xml", "Creator"),
    "pdf": (b"%PDF", "Creator"),
}
MAKER = "python -m sklearn_convexrelu"
MOST_BYTES = 10_000_000  # a file larger than that is no picture of ours


def main(argv=None):
    """Run the demo.

    Parameters
    ----------
    argv : list of str, default=None
        Command-line arguments; those of the process when None.
    """
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        table = _load(args.csv, args.target)
        _check_picture(args.picture)
    except DataError as error:
        parser.error(str(error))
    print(table.summary)
    alphas = CONVEX_ALPHAS if args.alpha is None else (args.alpha,)
    regressor = ConvexReLURegressor(random_state=0)
    convex = evaluate(regressor, alphas, table, tol=SEARCH_TOL)
    regressor = MLPRegressor(max_iter=500, random_state=0)
    mlp = evaluate(regressor, MLP_ALPHAS, table)
    print("\n" + format_comparison(convex, mlp, table))
    print("\n" + explain_gap(convex.network))
    failure = None
    if args.picture is not None:
        try:
            print("\n" + draw_convergence(convex.network, args.picture))
        except DataError as error:  # the file came, or the space went, while training
            failure = f"no picture: {error}"
    if args.csv is None:
        for name, loader in CLASSES.items():
            print("\n" + compare_classifiers(name, *loader(return_X_y=True)))
    if failure is not None:
        sys.exit(failure)


def _parser():
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
    number = _number(text)
    if number is None or not number > 0.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return number


# ---------------------------------------------------------------------------- data


class DataError(ValueError):
    """What is wrong with the user's data, in one line for the user."""


@dataclass(frozen=True)
class Table:
    """Features and target, with the kind of each feature.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features)
        Floats where all columns are numeric, else objects: floats with nan for missing
        values in numeric columns, strings with "" in categorical ones.
    y : ndarray of shape (n_samples,)
        Target.
    numeric, categorical : list of int
        Columns of ``X`` of either kind.
    summary : str
        What was read and what was left out, for the user.
    """

    X: np.ndarray
    y: np.ndarray
    numeric: list
    categorical: list
    summary: str


def _load(path, target):
    if path is not None:
        return read_table(path, target)
    if target is not None:
        raise DataError("--target goes with a CSV file, and none was given")
    X, y = load_diabetes(return_X_y=True)
    summary = f"scikit-learn's diabetes data: {len(y)} rows, {X.shape[1]} columns"
    return Table(X, y, list(range(X.shape[1])), [], summary)


def read_table(path, target):
    """Read a CSV file into a table.

    Parameters
    ----------
    path : str
        CSV file with a header line; separated by commas, semicolons or tabs.
    target : str or None
        Name of the column to predict.

    Returns
    -------
    Table
        Rows with a target, columns with at least one value.

    Raises
    ------
    DataError
        If the file or the target cannot be used.
    """
    header, lines = _read_cells(path)
    path, names = _shown(path), _listed(header)
    if target is None:
        raise DataError(f"--target NAME is missing; columns: {names}")
    if target not in header:
        raise DataError(f"no column {target!r} in {path}; columns: {names}")
    where = header.index(target)
    known = {i: row for i, row in lines.items() if not _is_missing(row[where])}
    y = _target_values(known, where, target)
    if len(y) < MIN_ROWS:
        raise DataError(f"{path} has {len(y)} usable rows; at least {MIN_ROWS} needed")
    if np.ptp(y) == 0.0:
        raise DataError(f"target {target!r} is {y[0]:g} in every row")
    cells = dict(zip(header, zip(*known.values(), strict=True), strict=True))
    features = {name: cells[name] for name in header if name != target}
    X, numeric, categorical, empty, marks = _features(features)
    summary = (
        f"{path}: {len(y)} rows, {len(numeric)} numeric and {len(categorical)} "
        f"categorical columns, target {target!r}"
    )
    if len(known) < len(lines):
        summary += f"\nleft out {len(lines) - len(known)} rows without a target"
    if empty:
        summary += f"\nleft out columns without values: {_listed(empty)}"
    if marks:
        summary += f"\nread as missing values: {_listed(marks)}"
    return Table(X, y, numeric, categorical, summary)


def _read_cells(path):
    """Return the column names, and the cells of each row by line number."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            text = file.read()
        rows = list(_records(text, _delimiter(text)))
    except OSError as error:
        raise DataError(f"cannot read {_shown(path)}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{_shown(path)} is not a CSV file in UTF-8: {error}"
        ) from error
    if not rows:
        raise DataError(f"{_shown(path)} is empty")
    _, header = rows.pop(0)
    _check_cells(_shown(path), header, rows)
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


def _target_values(rows, where, target):
    for line, row in rows.items():
        if _number(row[where]) is None:
            raise DataError(
                f"target {target!r} is not numeric: {row[where]!r} on line {line}; "
                "this demo predicts numbers; for classes use ConvexReLUClassifier"
            )
    return np.array([_number(row[where]) for row in rows.values()])


def _features(columns):
    """Return X, its numeric and its categorical columns, and the names left out.

    And the marks, other than empty cells, that stood for missing values.
    """
    arrays, kinds, empty, marks = [], [], [], {}
    for name, cells in columns.items():
        if all(map(_is_missing, cells)):
            empty.append(name)
            continue
        numbers = [_number(cell) for cell in cells]
        numeric = None not in numbers
        if numeric:
            lost, values = np.isnan(numbers), numbers
        else:
            lost = [cell.casefold() in MISSING for cell in cells]
            values = ["" if no else c for c, no in zip(cells, lost, strict=True)]
        marks |= dict.fromkeys(c for c, no in zip(cells, lost, strict=True) if no and c)
        arrays.append(np.array(values, dtype=object))
        kinds.append(numeric)
    if not arrays:
        raise DataError("no column to predict the target from")
    X = np.column_stack(arrays).astype(float if all(kinds) else object)
    numeric = [j for j, kind in enumerate(kinds) if kind]
    categorical = [j for j, kind in enumerate(kinds) if not kind]
    return X, numeric, categorical, empty, list(marks)


def _is_missing(cell):
    """Say whether a cell has no value; infinities count as none."""
    number = _number(cell)
    return number is not None and np.isnan(number)


def _number(cell):
    """Return the number in a cell: nan if missing, None if it holds something else."""
    if cell.casefold() in MISSING_NUMBERS:
        return np.nan
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if np.isfinite(number) else np.nan


def _listed(texts):
    return ", ".join(map(_shown, texts))


def _shown(text):
    """Return text of a file for a terminal, which obeys control characters."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text)
    )


# ------------------------------------------------------------------------ training


@dataclass(frozen=True)
class Evaluation:
    """How one estimator did.

    Attributes
    ----------
    scores : ndarray of shape (n_folds,)
        R2 on each outer fold.
    candidates : tuple of float
        Values of alpha that the inner folds chose from.
    alpha : float
        Chosen for the final fit.
    fit_time : float
        Seconds of the final fit.
    pipeline : Pipeline
        Fitted to all data.
    """

    scores: np.ndarray
    candidates: tuple
    alpha: float
    fit_time: float
    pipeline: Pipeline

    @property
    def network(self):
        """The fitted ConvexReLURegressor or MLPRegressor itself."""
        return self.pipeline["model"].regressor_


def make_model(regressor, table):
    """Put preprocessing and a standardised target around a regressor.

    Parameters
    ----------
    regressor : estimator
        The regressor.
    table : Table
        Says which columns are numeric and which categorical.

    Returns
    -------
    Pipeline
        Steps "columns" and "model"; unfitted.
    """
    numeric = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
    )
    # Categories in less than 1 % of the rows share one column, so that identifiers
    # and free text do not become a column per row.
    categorical = make_pipeline(
        SimpleImputer(
            strategy="most_frequent", missing_values="", keep_empty_features=True
        ),
        OneHotEncoder(
            handle_unknown="ignore",
            min_frequency=0.01,
            max_categories=30,
            sparse_output=False,
        ),
    )
    columns = ColumnTransformer(
        [
            ("numeric", numeric, table.numeric),
            ("categorical", categorical, table.categorical),
        ]
    )
    model = TransformedTargetRegressor(regressor, transformer=StandardScaler())
    return Pipeline([("columns", columns), ("model", model)])


def evaluate(regressor, alphas, table, **search_params):
    """Score a regressor by nested cross-validation and fit it to all rows.

    Parameters
    ----------
    regressor : estimator
        The regressor, with a parameter alpha.
    alphas : sequence of float
        Candidates; the inner folds choose.
    table : Table
        The data.
    **search_params
        Parameters of the regressor that differ in cross-validation.

    Returns
    -------
    Evaluation
        Scores of the outer folds, and the fit to all rows.
    """
    print(f"cross-validating {type(regressor).__name__} ...", end=" ", flush=True)
    start = time.perf_counter()
    outer = KFold(OUTER_FOLDS, shuffle=True, random_state=0)
    inner = KFold(INNER_FOLDS, shuffle=True, random_state=1)
    model = make_model(clone(regressor).set_params(**search_params), table)
    search = GridSearchCV(model, {"model__regressor__alpha": alphas}, cv=inner)
    with warnings.catch_warnings():
        # Below the table stands whether the fit to all rows converged.
        warnings.simplefilter("ignore", ConvergenceWarning)
        scores = cross_val_score(search, table.X, table.y, cv=outer)
        best = search.fit(table.X, table.y).best_params_["model__regressor__alpha"]
        print(f"{time.perf_counter() - start:.1f} s")
        pipeline = make_model(clone(regressor).set_params(alpha=best), table)
        start = time.perf_counter()
        pipeline.fit(table.X, table.y)
    return Evaluation(scores, alphas, best, time.perf_counter() - start, pipeline)


def network_objective(network, X, y, alpha):
    """Objective that ConvexReLURegressor minimises, at any two-layer ReLU network.

    It is ``1/(2n) ||y - f(X)||^2 + alpha * sum_j ||(w_j, b_j)|| |v_j|`` with w_j, b_j
    the weights into hidden neuron j and v_j the weight out of it.

    Parameters
    ----------
    network : ConvexReLURegressor or MLPRegressor
        Fitted, with ``coefs_``, ``intercepts_`` and ``predict``.
    X : ndarray of shape (n_samples, n_features)
        Inputs of the network.
    y : ndarray of shape (n_samples,)
        Targets of the network.
    alpha : float
        Absolute penalty strength.

    Returns
    -------
    float
        Loss plus penalty.
    """
    loss = 0.5 * np.mean((y - network.predict(X)) ** 2)
    into = np.vstack([network.coefs_[0], network.intercepts_[0]])
    out = network.coefs_[1]
    norms = np.linalg.norm(into, axis=0) * np.linalg.norm(out, axis=1)
    return loss + alpha * norms.sum()


# ------------------------------------------------------------------------- results


def format_comparison(convex, mlp, table):
    """Lay the two evaluations side by side.

    Parameters
    ----------
    convex, mlp : Evaluation
        Of ConvexReLURegressor and of MLPRegressor.
    table : Table
        The data.

    Returns
    -------
    str
        A table with footnotes.
    """
    network = convex.network
    # What the MLP saw: preprocessed columns and a standardised target.
    X = mlp.pipeline["columns"].transform(table.X)
    y = mlp.pipeline["model"].transformer_.transform(table.y[:, None])[:, 0]
    mlp_objective = network_objective(mlp.network, X, y, network.alpha_)
    percent = 100.0 * network.dual_gap_ / network.objective_
    rows = [
        ("", "ConvexReLURegressor", "MLPRegressor"),
        (f"{OUTER_FOLDS}-fold R2", _mean_sd(convex.scores), _mean_sd(mlp.scores)),
        ("alpha [1]", f"{convex.alpha:g}", f"{mlp.alpha:g}"),
        ("fit time [2]", f"{convex.fit_time:.3f} s", f"{mlp.fit_time:.3f} s"),
        ("objective [3]", f"{network.objective_:.5f}", f"{mlp_objective:.5f}"),
        ("lower bound", f"{network.lower_bound_:.5f}", "-"),
        ("gap", f"{network.dual_gap_:.5f} ({percent:.2f} %)", "-"),
        ("neurons", f"{network.n_neurons_}", f"{mlp.network.coefs_[1].shape[0]}"),
    ]
    return "\n".join([_lines(rows), "", *_footnotes(convex, mlp)])


def compare_classifiers(name, X, y):
    """Train ConvexReLUClassifier and MLPClassifier at their defaults; compare.

    Parameters
    ----------
    name : str
        What the data are called.
    X : ndarray of shape (n_samples, n_features)
        Features.
    y : ndarray of shape (n_samples,)
        Classes.

    Returns
    -------
    str
        A table with a sentence on the gap.
    """
    folds = StratifiedKFold(OUTER_FOLDS, shuffle=True, random_state=0)
    columns, networks = [], []
    for model, searched in (
        (ConvexReLUClassifier(random_state=0), {"tol": SEARCH_TOL}),
        (MLPClassifier(random_state=0), {}),
    ):
        quick = make_pipeline(StandardScaler(), clone(model).set_params(**searched))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            scores = cross_validate(
                quick, X, y, cv=folds, scoring=("accuracy", "neg_log_loss")
            )
            begin = time.perf_counter()
            networks.append(make_pipeline(StandardScaler(), model).fit(X, y)[-1])
        columns.append(
            [
                type(model).__name__,
                _mean_sd(scores["test_accuracy"]),
                _mean_sd(-scores["test_neg_log_loss"]),
                f"{time.perf_counter() - begin:.3f} s",
            ]
        )
    network = networks[0]
    percent = 100.0 * network.dual_gap_ / network.objective_
    columns[0] += [
        f"{network.objective_:.5f}",
        f"{network.lower_bound_:.5f}",
        f"{network.dual_gap_:.5f} ({percent:.2f} %)",
        f"{network.n_neurons_}",
    ]
    columns[1] += ["-", "-", "-", f"{networks[1].coefs_[1].shape[0]}"]
    labels = ["", f"{OUTER_FOLDS}-fold acc.", "log loss", "fit time", "objective"]
    labels += ["lower bound", "gap", "neurons"]
    summary = (
        f"scikit-learn's {name} data: {X.shape[0]} rows, {X.shape[1]} columns, "
        f"{len(network.classes_)} classes; both models at their defaults, ours with "
        f"tol={SEARCH_TOL:g} in cross-validation"
    )
    table = _lines(list(zip(labels, *columns, strict=True)))
    return "\n\n".join([_wrap(summary), table, explain_gap(network)])


def _lines(rows):
    """Return three columns as text, the first row their header."""
    lines = [f"{label:<14}{left:>21}{right:>21}" for label, left, right in rows]
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(lines)


def _mean_sd(scores):
    return f"{np.mean(scores):.3f} +/- {np.std(scores):.3f}"


def _footnotes(convex, mlp):
    ours, theirs = convex.network, mlp.network
    end = "without converging" if theirs.n_iter_ >= theirs.max_iter else "and converged"
    notes = [
        f"ConvexReLURegressor: {_origin(convex)} times alpha_max_ = "
        f"{ours.alpha_max_:.3g}; MLPRegressor: {_origin(mlp)}. {INNER_FOLDS}-fold "
        "cross-validation chooses, anew within each fold behind R2; there "
        f"ConvexReLURegressor has tol={SEARCH_TOL:g}, in what follows its default.",
        "One fit to all rows, which the lines below describe too. MLPRegressor took "
        f"{theirs.n_iter_} iterations {end}.",
        "1/(2n) ||y - f(X)||^2 + alpha_ sum_j ||w_j|| |v_j|, y standardised, alpha_ = "
        f"{ours.alpha_:.3g}, w_j the weights into neuron j with its bias, v_j the "
        "weight out of it. MLPRegressor's weights are put into the same formula, "
        "although it was trained with a penalty of its own.",
    ]
    if len(convex.candidates) > 1 and convex.alpha == min(convex.candidates):
        notes[0] += " The smallest won: a smaller --alpha may score better."
    return [_wrap(f"[{k}] {note}", 4) for k, note in enumerate(notes, start=1)]


def _origin(evaluation):
    candidates = ", ".join(f"{alpha:g}" for alpha in evaluation.candidates)
    return f"one of {candidates}" if len(evaluation.candidates) > 1 else candidates


def _wrap(text, indent=0):
    return textwrap.fill(
        text, 79, subsequent_indent=" " * indent, break_on_hyphens=False
    )


def explain_gap(network):
    """Say in words what the duality gap of a fitted network means.

    Parameters
    ----------
    network : ConvexReLURegressor or ConvexReLUClassifier
        Fitted.

    Returns
    -------
    str
        One or two sentences.
    """
    certificate = network.certificate_
    claim = (
        "no ReLU network with one hidden layer, however wide, has an objective more "
        f"than {network.dual_gap_:.2g} below this one's"
    )
    if certificate.kind == "exact":
        text = f"The gap is a proof (certificate {certificate.kind!r}): {claim}."
    else:
        text = (
            f"The gap says that {claim}. It is an estimate, not a proof (certificate "
            f"{certificate.kind!r}): many local searches found no neuron that would "
            "lower the objective further. Proven without any search is a lower bound "
            f"of {certificate.proven_lower_bound:.5f}."
        )
    if network.status_.name != "CONVERGED":
        text += f" Training stopped early: {network.status_.value}."
    return _wrap(text)


# ------------------------------------------------------------------------- picture


def _check_picture(path):
    """Refuse a picture that could not be written after training, or replaces a file."""
    if path is None:
        return
    _format(path)
    with _opened(path) as file:
        is_new = file.mode == "xb"
    if is_new:
        os.remove(path)


def _format(path):
    """Return the format of a picture by its suffix; none is PNG."""
    suffix = Path(path).suffix[1:].casefold() or "png"
    if suffix not in FORMATS:
        raise DataError(
            f"a picture is a file .{', .'.join(FORMATS)}, and {_shown(path)} is none"
        )
    return suffix


def _opened(path):
    """Open for writing what is new, empty or a picture of ours; refuse all else."""
    shown = _shown(path)
    try:
        try:
            file = open(path, "r+b")
        except FileNotFoundError:
            return open(path, "xb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"no folder for the picture {shown}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot write the picture {shown}: {reason}") from error
    if not _is_replaceable(file):
        file.close()
        raise DataError(
            f"{shown} exists and is no picture of this demo: --picture names another, "
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
            raise DataError(f"cannot write {_shown(path)}: {error.strerror}") from error
    return f"wrote {_shown(path)}"


if __name__ == "__main__":
    # Names of columns may have letters that the terminal has not.
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
