"""One pipeline from a table, with categories and gaps, to a network."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

from sklearn.base import is_classifier, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    StandardScaler,
    TargetEncoder,
)

from sklearn_convexrelu._columns import (
    FLAGS,
    GAPS,
    MANY_WORDS,
    NUMBERS,
    WORDS,
    ColumnBends,
    ColumnsOf,
    TailClipper,
    as_numbers,
    as_words,
    check_knots,
    check_tail,
)
from sklearn_convexrelu._cv import ConvexReLUClassifierCV, ConvexReLURegressorCV

__all__ = ["MAX_LEVELS", "MIN_FREQUENCY", "make_table_pipeline"]

# Levels that get a column each, and the share of rows of those that share one.
MAX_LEVELS = 30
MIN_FREQUENCY = 0.01
# Folds in which TargetEncoder tells levels by the targets of other rows.
ENCODING_FOLDS = 3
# Of the last fit. At 1e-3 it took 60 to 72% of the time (3000 rows of puma, phoneme and
# spambase), for gaps at a small alpha under the 1-norm: six to twelve times as long as
# at 1e-2, and held-out losses of nine tables differed by less than 1.5%, either way.
# 1e-1 takes two thirds of the time of 1e-2: there what rounds gain decides.
TABLE_TOL = 1e-2


def make_table_pipeline(
    estimator: Any,
    *,
    categories: Iterable | None = None,
    max_levels: int = MAX_LEVELS,
    min_frequency: float = MIN_FREQUENCY,
    tail: float | None = 0.01,
    n_knots: int = 5,
) -> Pipeline:
    """Put around an estimator what columns of a table need.

    Parameters
    ----------
    estimator : {"regressor", "classifier"} or estimator
        ``"regressor"`` is :class:`ConvexReLURegressorCV` of ``norm="l1"``, for few of
        the columns made here matter, and ``tol=1e-2``, for predictions are what is
        wanted and no score shows more; ``"classifier"`` is
        :class:`ConvexReLUClassifierCV`, likewise, that chooses alpha by log loss, for
        accuracy moves in steps. Or any regressor or classifier, the step itself as in
        a Pipeline.
    categories : iterable of str or int, default=None
        Columns that are categories although they hold numbers (codes of regions, say),
        by their names, or by their positions in arrays.
    max_levels : int, default=30
        Categories of up to so many levels get a column a level, others the mean target
        of each (TargetEncoder).
    min_frequency : float, default=0.01
        Levels in a smaller share of the rows than that are one level together.
    tail : float or None, default=0.01
        Numbers are cut at this quantile and at that of 1 less it. None does not.
    n_knots : int, default=5
        Beside a column of numbers stand linear splines with knots at so many of its
        quantiles, of a quarter of its standard deviation: bends of its own, for where
        thresholds decide. 0 is none, which is faster where columns are many.

    Returns
    -------
    Pipeline
        Unfitted, of two steps: ``"columns"``, a ColumnTransformer, and ``"model"``.
        It takes pandas frames, or arrays, with what is missing as None, nan or NA.

    Raises
    ------
    ValueError
        If an argument is none of these; and by ``fit`` for what is no table, or a
        column that is neither of numbers, nor of dates, nor of words.

    See Also
    --------
    ConvexReLURegressorCV : The network, for numbers that are ready.

    Notes
    -----
    ============  =====================================================================
    columns of    become
    ============  =====================================================================
    numbers       themselves: what is missing the median, tails cut, centred, unit
                  variance; and bends of each
    dates         the same, as days since 1970 (lengths of time: days)
    flags         numbers and truth values of at most two values: what is missing the
                  median, centred, unit variance
    words         a column a level, "missing" being one; in new rows levels that
                  training has not seen are the rare one, if there is one, or none
    many words    the mean target (of each class, if there are more than two) of each
                  level, drawn to the mean of all where rows are few, by rows of other
                  folds in training [1]_; centred, unit variance
    gaps          a column for each of numbers, dates and flags that has some in
                  training: 1 where nothing is, else 0
    ============  =====================================================================

    Several targets go with words of up to ``max_levels`` alone, since TargetEncoder
    takes one. All of it can be set,
    ``pipeline.set_params(columns__numbers__tails__tail=0.05)``, or searched by
    GridSearchCV.

    References
    ----------
    .. [1] Micci-Barreca (2001), "A preprocessing scheme for high-cardinality
       categorical attributes in classification and prediction problems", ACM SIGKDD
       Explorations 3(1).

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_convexrelu import make_table_pipeline
    >>> table = pd.DataFrame({"town": list("abca") * 50, "size": range(200)})
    >>> price = table["size"] * (table["town"] == "a")
    >>> model = make_table_pipeline("regressor").fit(table, price)
    >>> bool(model.score(table, price) > 0.98)
    True
    """
    model = _model(estimator)
    if categories is not None:
        if isinstance(categories, str) or not isinstance(categories, Iterable):
            raise ValueError(f"categories are a list of columns, not {categories!r}.")
        categories = tuple(categories)
    _check_counts(max_levels, min_frequency, n_knots)
    parts = [
        (NUMBERS, _number_steps(tail, n_knots)),
        (FLAGS, _flag_steps()),
        (WORDS, _word_steps(min_frequency)),
        (MANY_WORDS, _many_word_steps(is_classifier(model))),
        (GAPS, _gap_steps()),
    ]
    columns = ColumnTransformer(
        [
            (kind, steps, ColumnsOf(kind, categories, max_levels))
            for kind, steps in parts
        ]
    )
    return Pipeline([("columns", columns), ("model", model)])


def _model(estimator):
    """Return the last step; refuse what can be none."""
    if isinstance(estimator, str):
        if estimator == "regressor":
            return ConvexReLURegressorCV(norm="l1", tol=TABLE_TOL)
        if estimator == "classifier":
            return ConvexReLUClassifierCV(
                norm="l1", tol=TABLE_TOL, scoring="neg_log_loss"
            )
    elif isinstance(estimator, type):
        raise ValueError(f"estimator is a class: give {estimator.__name__}(...).")
    elif hasattr(estimator, "fit") and (
        is_regressor(estimator) or is_classifier(estimator)
    ):
        return estimator
    raise ValueError(
        "estimator is 'regressor', 'classifier', or a regressor or classifier; got "
        f"{estimator!r}."
    )


def _check_counts(max_levels, min_frequency, n_knots):
    if not isinstance(max_levels, Integral) or max_levels < 1:
        raise ValueError(f"max_levels is a whole number from 1 on; got {max_levels!r}.")
    if not isinstance(min_frequency, Real) or not 0 <= min_frequency < 1:
        raise ValueError(
            f"min_frequency is a share, from 0 to less than 1; got {min_frequency!r}."
        )
    if n_knots != 0 or isinstance(n_knots, bool):
        check_knots(n_knots)


def _read(function):
    return FunctionTransformer(function, feature_names_out="one-to-one")


def _filled():
    return SimpleImputer(strategy="median", keep_empty_features=True)


def _number_steps(tail, n_knots):
    if tail is not None:
        check_tail(tail)
    return Pipeline(
        [
            ("read", _read(as_numbers)),
            ("missing", _filled()),
            ("tails", "passthrough" if tail is None else TailClipper(tail)),
            ("scale", StandardScaler()),
            ("bends", ColumnBends(n_knots) if n_knots else "passthrough"),
        ]
    )


def _flag_steps():
    return Pipeline(
        [
            ("read", _read(as_numbers)),
            ("missing", _filled()),
            ("scale", StandardScaler()),
        ]
    )


def _gap_steps():
    return Pipeline(
        [("read", _read(as_numbers)), ("gaps", MissingIndicator(error_on_new=False))]
    )


def _word_steps(min_frequency):
    """Return a column a level; rare ones share one."""
    return Pipeline(
        [
            ("read", _read(as_words)),
            (
                "levels",
                OneHotEncoder(
                    handle_unknown="infrequent_if_exist",
                    min_frequency=float(min_frequency) or None,
                    sparse_output=False,
                ),
            ),
        ]
    )


def _many_word_steps(classify):
    # Whole numbers that are targets of a regression would be taken for classes.
    kind = "auto" if classify else "continuous"
    # From scikit-learn 1.9 on cv takes a splitter, and random_state is deprecated.
    splitter = {"cv": ENCODING_FOLDS, "random_state": 0}
    if "cv_object" in TargetEncoder._parameter_constraints["cv"]:
        folds = StratifiedKFold if classify else KFold
        splitter = {"cv": folds(ENCODING_FOLDS, shuffle=True, random_state=0)}
    return Pipeline(
        [
            ("read", _read(as_words)),
            ("targets", TargetEncoder(target_type=kind, **splitter)),
            ("scale", StandardScaler()),
        ]
    )
