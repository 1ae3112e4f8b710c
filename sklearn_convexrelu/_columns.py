"""Columns of a table: which kind each is of, and the steps that scikit-learn lacks."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Number, Real

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import (
    FLOAT_DTYPES,
    _check_feature_names_in,
    check_is_fitted,
    validate_data,
)

__all__ = [
    "FLAGS",
    "GAPS",
    "MANY_WORDS",
    "NUMBERS",
    "SECONDS_A_DAY",
    "WORDS",
    "ColumnBends",
    "ColumnsOf",
    "TailClipper",
    "as_numbers",
    "as_word",
    "as_words",
    "check_knots",
    "check_tail",
    "days_since_1970",
    "float_array",
    "is_nothing",
]

NUMBERS, FLAGS, WORDS, MANY_WORDS = "numbers", "flags", "words", "many_words"
GAPS = "gaps"
SECONDS_A_DAY = 86400.0


class TailClipper(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Cut every column at two of its quantiles.

    A far row sets the scale of its column and presses the others into a corner; and a
    network, linear outside of its bends, carries it further still. scikit-learn has no
    such step: RobustScaler takes a far row out of the scale and leaves it where it is.

    Parameters
    ----------
    tail : float, default=0.01
        The share of values to cut at either end, less than a half.

    Attributes
    ----------
    low_, high_ : ndarray of shape (n_features,)
        Where the columns are cut; infinite where both quantiles are the same, for else
        a column that is mostly zero would be gone.
    n_features_in_, feature_names_in_
        As in scikit-learn.
    """

    def __init__(self, tail=0.01):
        self.tail = tail

    def fit(self, X, y=None):
        """Find the quantiles.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Numbers, none missing.
        y : None
            Not looked at.

        Returns
        -------
        TailClipper
            The transformer itself.
        """
        check_tail(self.tail)
        X = validate_data(self, X, dtype=FLOAT_DTYPES)
        low, high = np.quantile(X, [self.tail, 1.0 - self.tail], axis=0)
        flat = low == high
        self.low_ = np.where(flat, -np.inf, low)
        self.high_ = np.where(flat, np.inf, high)
        return self

    def transform(self, X):
        """Cut what lies beyond.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Numbers, none missing.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The same within ``low_`` and ``high_``.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=FLOAT_DTYPES, reset=False)
        return np.clip(X, self.low_.astype(X.dtype), self.high_.astype(X.dtype))


class ColumnBends(TransformerMixin, BaseEstimator):
    """Put beside each column linear splines of it, which cost more.

    A threshold of one column then takes no neuron of its own, and those of several
    columns meet within one. The splines are hats, one at each knot but the last, since
    all add up to one. scikit-learn's SplineTransformer makes the same of knots that
    differ; where quantiles are the same it makes columns of zeros, and skops does not
    load the SciPy objects that it keeps.

    Parameters
    ----------
    n_knots : int, default=5
        How many quantiles, in equal steps from the least to the largest value, knots
        are at. Equal ones are one knot; below three there is nothing to bend.
    weight : float, default=0.25
        Standard deviation of a hat. The penalty measures weights, so hats of a quarter
        cost four times as much as columns of unit variance do. At 1 they harm where
        functions are smooth, at a half less (:mod:`benchmarks.preparation`).

    Attributes
    ----------
    knots_ : list of ndarray
        The knots of each column, increasing.
    mean_, scale_ : ndarray of shape (n_hats,)
        What is taken from the hats, and what they are divided by.
    n_features_in_, feature_names_in_
        As in scikit-learn.
    """

    def __init__(self, n_knots=5, weight=0.25):
        self.n_knots = n_knots
        self.weight = weight

    def fit(self, X, y=None):
        """Find the knots.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Numbers, none missing.
        y : None
            Not looked at.

        Returns
        -------
        ColumnBends
            The transformer itself.
        """
        check_knots(self.n_knots)
        if not isinstance(self.weight, Real) or not self.weight > 0:
            raise ValueError(f"weight is a positive number; got {self.weight!r}.")
        X = validate_data(self, X, dtype=FLOAT_DTYPES)
        steps = np.linspace(0.0, 1.0, self.n_knots)
        self.knots_ = [np.unique(q) for q in np.quantile(X, steps, axis=0).T]
        hats = self._hats(X)
        self.mean_ = hats.mean(axis=0)
        spread = hats.std(axis=0)
        self.scale_ = np.where(spread > 0, spread, 1.0) / self.weight
        return self

    def transform(self, X):
        """Return the columns and their splines.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Numbers, none missing.

        Returns
        -------
        ndarray of shape (n_samples, n_features + n_hats)
            The columns as they are, then the hats of the first, and so on.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=FLOAT_DTYPES, reset=False)
        hats = (self._hats(X) - self.mean_) / self.scale_
        return np.hstack([X, hats.astype(X.dtype, copy=False)])

    def _hats(self, X):
        """Return the hats, constant beyond the outer knots."""
        hats = [
            np.interp(x, knots, height)
            for x, knots in zip(X.T, self.knots_, strict=True)
            for height in _heights(len(knots))
        ]
        return np.column_stack(hats) if hats else np.empty((len(X), 0))

    def get_feature_names_out(self, input_features=None):
        """Return the names of the columns and of their splines.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns; those seen in ``fit`` when None.

        Returns
        -------
        ndarray of str
            The names, and with ``_bend_0`` and so on behind them.
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        bends = [
            f"{name}_bend_{k}"
            for name, knots in zip(names, self.knots_, strict=True)
            for k in range(len(_heights(len(knots))))
        ]
        return np.concatenate([names, np.array(bends, dtype=object)])


def _heights(n_knots):
    """Return the heights of each hat at the knots: none where there is no bend."""
    return np.eye(n_knots)[:-1] if n_knots > 2 else np.empty((0, n_knots))


@dataclass(frozen=True)
class ColumnsOf:
    """The columns of one kind, for a ColumnTransformer: found when it is fitted.

    Parameters
    ----------
    kind : {"numbers", "flags", "words", "many_words", "gaps"}
        The kind; flags are numbers of two values at most, and gaps are looked for in
        both.
    categories : tuple or None
        Names or positions of columns that are words whatever they hold.
    max_levels : int
        Words of more different values than this are many.
    """

    kind: str
    categories: tuple | None
    max_levels: int

    def __call__(self, X):
        """Return their names where the columns have such, else their positions."""
        _check_table(X)
        names = list(X.columns) if hasattr(X, "columns") else list(range(X.shape[1]))
        told = _told(self.categories or (), names)
        # ColumnTransformer takes whole numbers for positions.
        by_name = all(isinstance(name, str) for name in names)
        wanted = (NUMBERS, FLAGS) if self.kind == GAPS else (self.kind,)
        return [
            name if by_name else j
            for j, name in enumerate(names)
            if self._kind(_column(X, j), j in told, name) in wanted
        ]

    def _kind(self, column, is_told, name):
        if not is_told and not _holds_words(column, name):
            # Most columns show three values at once, without a look at all rows.
            few = all(len(_levels(part)) <= 2 for part in (column[:100], column))
            return FLAGS if few else NUMBERS
        levels = _levels(column) - {""}  # what files have for nothing
        return MANY_WORDS if len(levels) > self.max_levels else WORDS


def _check_table(X):
    """Refuse what is no table."""
    if issparse(X):
        raise ValueError(
            "a table has columns of its own each; a sparse matrix needs none of this: "
            "give it to the estimator, with standardize=True."
        )
    if len(X.shape) != 2:
        raise ValueError(
            f"Expected 2D array, got {len(X.shape)}D array instead: a table has rows "
            "and columns."
        )
    if hasattr(X, "columns") and not hasattr(X, "iloc"):
        raise ValueError(
            f"tables are pandas frames or arrays, not {type(X).__module__}."
            f"{type(X).__name__}: X.to_pandas(), or the like, makes one."
        )


def _told(categories, names):
    """Return the positions of the columns that the user says are categories."""
    unknown = [name for name in categories if name not in names]
    if unknown:
        raise ValueError(f"categories has {unknown[0]!r}, which is no column of X.")
    return {names.index(name) for name in categories}


def _column(X, j):
    return X.iloc[:, j] if hasattr(X, "iloc") else X[:, j]


def _levels(column):
    """Return the different values, found by whole columns where the dtype lets one."""
    if hasattr(column, "unique"):
        cells = column.unique().tolist()
    else:
        cells = (column if column.dtype == object else np.unique(column)).tolist()
    return {cell for cell in cells if not is_nothing(cell)}


def _holds_words(column, name):
    """Tell whether a column is of words; refuse what is neither words nor numbers."""
    letter = getattr(column.dtype, "kind", "O")
    if letter in "iufbMm":
        return False
    if letter == "c":
        raise ValueError(f"column {name!r} is of complex numbers.")
    names = ("category", "string", "str")
    if letter in "US" or getattr(column.dtype, "name", "") in names:
        return True
    known = [value for value in column.tolist() if not is_nothing(value)]
    if any(isinstance(value, str | bytes) for value in known):
        return True
    odd = next((v for v in known if not isinstance(v, Number | np.bool_)), None)
    if odd is not None:
        raise ValueError(
            f"column {name!r} holds {odd!r}, a {type(odd).__name__}: columns are of "
            "numbers, dates (typed as such) or words."
        )
    return False


def as_numbers(X):
    """Return columns as floats: nan where nothing is, dates as days since 1970.

    Parameters
    ----------
    X : DataFrame or ndarray of shape (n_samples, n_columns)
        Numbers, truth values, dates or lengths of time (which become days).

    Returns
    -------
    ndarray of shape (n_samples, n_columns)
        Floats, in single precision where all columns are.
    """
    columns = [_numbers(_column(X, j)) for j in range(X.shape[1])]
    return np.column_stack(columns) if columns else np.empty((len(X), 0))


def _numbers(column):
    letter = getattr(column.dtype, "kind", "O")
    if letter == "M":
        return days_since_1970(column)
    if letter == "m":
        return np.asarray(column) / np.timedelta64(1, "s") / SECONDS_A_DAY
    return float_array(column, np.float32 if column.dtype == np.float32 else float)


def float_array(cells, dtype=float):
    """Return a column of numbers as an array of its own.

    Parameters
    ----------
    cells : Series or ndarray of shape (n_rows,)
        Numbers.
    dtype : dtype, default=float
        Of the array.

    Returns
    -------
    ndarray of shape (n_rows,)
        The numbers, nan where nothing is.
    """
    if hasattr(cells, "to_numpy"):
        return cells.to_numpy(dtype=dtype, na_value=np.nan).copy()
    if cells.dtype == object:
        cells = [np.nan if is_nothing(cell) else cell for cell in cells]
    return np.array(cells, dtype=dtype)


def days_since_1970(dates):
    """Return a column of dates as numbers of days.

    Parameters
    ----------
    dates : Series or ndarray of shape (n_rows,)
        Dates; those with a time zone are taken as of Greenwich.

    Returns
    -------
    ndarray of shape (n_rows,)
        Days, with fractions; nan where there is no date.
    """
    if getattr(dates.dtype, "tz", None) is not None:
        dates = dates.dt.tz_convert("UTC").dt.tz_localize(None)
    times = np.asarray(dates, dtype="datetime64[us]")
    seconds = (times - np.datetime64(0, "us")) / np.timedelta64(1, "s")
    return seconds / SECONDS_A_DAY


def is_nothing(cell):
    """Tell whether a value is None, nan, NaT or NA: alone they differ from itself.

    Parameters
    ----------
    cell : object
        Of a table.

    Returns
    -------
    bool
        Whether it stands for nothing.
    """
    if cell is None:
        return True
    try:
        return bool(cell != cell)
    except (TypeError, ValueError):  # NA has no truth; arrays have several
        return type(cell).__name__ == "NAType"


def as_words(X):
    """Return columns as text, nan where nothing is, whatever the levels were.

    Parameters
    ----------
    X : DataFrame or ndarray of shape (n_samples, n_columns)
        Levels: encoders of scikit-learn take no mixture of numbers and text.

    Returns
    -------
    ndarray of object, shape (n_samples, n_columns)
        Text and nan.
    """
    words = np.empty(X.shape, dtype=object)
    for j in range(X.shape[1]):
        cells = _column(X, j).tolist()
        words[:, j] = [np.nan if is_nothing(cell) else as_word(cell) for cell in cells]
    return words


def as_word(cell):
    """Return a level as text: 1.0 as 1, which a gap in its column had made a float."""
    whole = isinstance(cell, float) and cell.is_integer()
    return str(int(cell)) if whole else str(cell)


def check_tail(tail):
    """Refuse shares that leave nothing.

    Parameters
    ----------
    tail : float
        Share of values to cut at either end.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not isinstance(tail, Real) or not 0 <= tail < 0.5:
        raise ValueError(f"tail is a share, from 0 to less than 0.5; got {tail!r}.")


def check_knots(n_knots):
    """Refuse numbers of knots that leave nothing to bend.

    Parameters
    ----------
    n_knots : int
        Of a column.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not isinstance(n_knots, Integral) or n_knots < 3:
        raise ValueError(
            "n_knots is a whole number from 3 on (two are a line), or, of pipelines, "
            f"0; got {n_knots!r}."
        )
