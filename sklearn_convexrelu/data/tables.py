"""The tables that users give: checked as scikit-learn does, and never copied for it."""

import numpy as np
from scipy import sparse
from sklearn.utils import check_X_y
from sklearn.utils.validation import _check_sample_weight, validate_data

from sklearn_convexrelu.data.cluster import is_spread
from sklearn_convexrelu.data.rows import Rows, is_mapped

__all__ = ["checked", "checked_again", "checked_weights", "of_rows", "with_a_hint"]

_FLOATS = [np.float64, np.float32]
_TABLES = {"accept_sparse": "csr", "dtype": _FLOATS}


def checked(estimator, X, y, **targets):
    """Return what ``fit`` is given: a table of floats, and targets.

    Parameters
    ----------
    estimator : estimator
        On which the number and names of features are noted.
    X : array-like, sparse matrix or memory map of shape (n_samples, n_features)
        The table. A large memory map is looked at block by block.
    y : array-like
        Targets.
    **targets : dict
        What scikit-learn's ``check_X_y`` takes for targets.

    Returns
    -------
    X : ndarray, memmap or csr_array
        The table, single or double precision; sparse ones without stored zeros and
        with sorted columns.
    y : ndarray
        The targets.

    Raises
    ------
    ValueError
        If X or y is not what scikit-learn takes, or a large memory map has other
        numbers than floats.
    """
    if is_mapped(X) or is_spread(X):
        _check_map(X)
        validate_data(estimator, X, skip_check_array=True)
        return X, check_X_y(_stand_in(X), y, estimator=estimator, **targets)[1]
    try:
        X, y = validate_data(estimator, X, y, **_TABLES, **targets)
    except ValueError as error:
        raise with_a_hint(error, X) from error
    return _canonical(X) if sparse.issparse(X) else X, y


def with_a_hint(error, X):
    """Return the error of a table, with what to do about columns of words."""
    if "could not convert string to float" not in str(error):
        return error
    columns = [
        str(name)
        for name, kind in dict(getattr(X, "dtypes", {})).items()
        if getattr(kind, "kind", "O") not in "iufb"
    ]
    which = f" (columns {', '.join(columns[:5])})" if columns else ""
    return ValueError(
        f"{error}. Features must be numbers: encode words{which} first, for example by "
        "make_pipeline(make_column_transformer((OneHotEncoder(), columns), "
        "remainder='passthrough'), estimator)."
    )


def checked_again(estimator, X):
    """Return what a fitted estimator is given: a table with the features of its fit.

    The parameters are those of ``checked``.
    """
    if is_mapped(X) or is_spread(X):
        _check_map(X)
        validate_data(estimator, X, skip_check_array=True, reset=False)
        return X
    return validate_data(estimator, X, **_TABLES, reset=False)


def checked_weights(sample_weight, X):
    """Return sample weights as scikit-learn checks them, not all of them zero."""
    if sample_weight is None:
        return np.broadcast_to(1.0, X.shape[0])  # takes no memory
    weights = _check_sample_weight(
        sample_weight, _stand_in(X), dtype=np.float64, ensure_non_negative=True
    )
    if not weights.any():
        raise ValueError("Sample weights must not all be zero.")
    return weights


def of_rows(live, *arrays):
    """Return arrays of the live rows: the arrays themselves where all are.

    Raises
    ------
    ValueError
        If rows of a large memory map are to be left out, which would copy it.
    """
    if live.all():
        return arrays
    if any(is_mapped(array) for array in arrays):
        raise ValueError(
            "Sample weights of a large memory map must be positive: leave the rows of "
            "zero weight out of it."
        )
    return tuple(
        array.live(live) if is_spread(array) else array[live] for array in arrays
    )


def _stand_in(X):
    """Return an array with as many rows as a table, which takes no memory."""
    return np.broadcast_to(np.float32(0.0), (X.shape[0], 1))


def _check_map(X):
    """Refuse a memory map, or rows of a device, that are no table of finite floats."""
    if X.ndim != 2 or X.dtype not in _FLOATS:
        raise ValueError(
            "A large memory map, or a tensor on a device, must be a table of float32 "
            "or float64, got "
            f"{X.ndim}D of {X.dtype}."
        )
    if not np.isfinite(Rows.of(X).bounds).all():
        raise ValueError("Input X contains NaN or infinity.")


def _canonical(X):
    """Return a sparse table whose equal rows are stored alike; a copy, if at all."""
    if not X.has_canonical_format or not X.data.all():
        X = X.copy()
        X.sum_duplicates()
        X.eliminate_zeros()
    return X
