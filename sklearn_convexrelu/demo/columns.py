"""The first step of pipelines: columns of a frame, found by name and read by kind."""

from collections.abc import Mapping

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from sklearn_convexrelu.demo.cells import shown
from sklearn_convexrelu.demo.kinds import is_number, read_as

__all__ = ["ReadColumns", "stacked"]


class ReadColumns(TransformerMixin, BaseEstimator):
    """Find columns by name and read them as what they were in training.

    A model that begins with this step takes a table as it comes from a file, whatever
    the order of its columns, and saves without a function of its own.

    Parameters
    ----------
    kinds : dict of str
        The kind of each column by its name: see :mod:`sklearn_convexrelu.demo.kinds`.
    target : str
        What the column is called that is predicted.
    """

    def __init__(self, kinds, target):
        self.kinds = kinds
        self.target = target

    def fit(self, X, y=None):
        """Return the transformer itself: there is nothing to learn."""
        return self

    def transform(self, X):
        """Return the columns as one array.

        Parameters
        ----------
        X : DataFrame, dict or ndarray of shape (n_samples, n_columns)
            Columns by name, of text or typed; or what this has returned before.

        Returns
        -------
        ndarray of shape (n_samples, n_columns)
            Floats, nan for missing values, where all columns are of numbers or dates
            (days since 1970); else objects, "" for missing words.

        Raises
        ------
        ValueError
            If a column is missing.
        """
        if not isinstance(X, Mapping) and not hasattr(X, "columns"):
            X = np.asarray(X)
            if X.ndim != 2 or X.shape[1] != len(self.kinds):
                raise ValueError(
                    f"X has shape {X.shape}; expected {len(self.kinds)} columns: "
                    f"{', '.join(map(shown, self.kinds))}."
                )
            return X
        missing = [name for name in self.kinds if name not in X]
        if missing:
            raise ValueError(f"X lacks columns: {', '.join(map(shown, missing))}.")
        values = [read_as(X[name], kind).values for name, kind in self.kinds.items()]
        return stacked(values, self.kinds.values())

    def get_feature_names_out(self, input_features=None):
        """Return the names of the columns."""
        return np.array(list(self.kinds), dtype=object)

    def __sklearn_is_fitted__(self):
        return True


def stacked(values, kinds):
    """Return columns as one array: of floats where all kinds are numbers."""
    dtype = float if all(map(is_number, kinds)) else object
    X = np.empty((len(values[0]), len(values)), dtype=dtype, order="F")
    for j, column in enumerate(values):
        X[:, j] = column
    return X
