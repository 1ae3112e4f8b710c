"""What tables are usually given to: one adapter a model, ours among them.

Ours is make_table_pipeline as it comes. MLP, SVM and linear models get the columns as
that prepares them, without bends. Trees and the networks of others' packages get the
table, words as categories, and prepare it by themselves.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, StandardScaler
from sklearn.svm import SVC, SVR

from sklearn_convexrelu import make_table_pipeline

__all__ = ["OURS", "RIVALS", "Rival", "installed", "pipeline"]

OURS = "ours"
BY_LOSS = {"scoring": "neg_log_loss"}
GRIDS = {
    "MLP": {"alpha": [1e-4, 1e-2, 0.3, 10.0], "hidden_layer_sizes": [(50,), (200,)]},
    "SVM": {"C": [0.1, 1.0, 10.0, 100.0], "gamma": ["scale", 0.01, 0.1]},
}


@dataclass(frozen=True)
class Rival:
    """A model: how it is made for a table, and what it needs.

    Attributes
    ----------
    make : callable
        Takes whether the target is classes, and the names of the columns of words.
    packages : tuple of str
        What must be installed.
    prepared : bool
        Whether make_table_pipeline prepares the columns, or it gets the table.
    """

    make: Callable
    packages: tuple = ()
    prepared: bool = True


class AsCategories(TransformerMixin, BaseEstimator):
    """Make words categories, known ones only, and numbers floats.

    Parameters
    ----------
    fill : bool, default=False
        Whether missing numbers become the median: not all take them missing.
    """

    def __init__(self, fill=False):
        self.fill = fill

    def fit(self, X, y=None):
        """Learn the levels and the medians."""
        words = X.select_dtypes(exclude="number").columns
        self.levels_ = {
            name: np.unique(X[name].dropna().astype(str)).tolist() for name in words
        }
        self.middles_ = X.drop(columns=words).median()
        return self

    def transform(self, X):
        """Return a frame of floats and categories."""
        X = X.copy()
        for name, levels in self.levels_.items():
            texts = X[name].astype(str).where(X[name].notna(), "missing")
            known = texts.where(texts.isin(levels), "missing")
            X[name] = pd.Categorical(known, sorted({*levels, "missing"}))
        numbers = list(self.middles_.index)
        X[numbers] = X[numbers].astype(float)
        return X.fillna(self.middles_.fillna(0.0).to_dict()) if self.fill else X


class ByNumber(ClassifierMixin, BaseEstimator):
    """A classifier that gets classes as whole numbers: some take no text.

    Parameters
    ----------
    estimator : estimator
        The classifier, used as it is.
    """

    def __init__(self, estimator):
        self.estimator = estimator

    def fit(self, X, y):
        """Fit to the numbers of the classes."""
        encoder = LabelEncoder().fit(y)
        self.classes_ = encoder.classes_
        self.estimator.fit(X, encoder.transform(y))
        return self

    def predict(self, X):
        """Return the most probable classes."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_proba(self, X):
        """Return the probabilities of the classes."""
        return self.estimator.predict_proba(X)


def _ours(classify, words):
    pipeline = make_table_pipeline("classifier" if classify else "regressor")
    return pipeline.set_params(model__random_state=0)


def _mlp(classify, words):
    return (MLPClassifier if classify else MLPRegressor)(random_state=0)


def _tuned_mlp(classify, words):
    scoring = BY_LOSS if classify else {}
    return GridSearchCV(_mlp(classify, words), GRIDS["MLP"], **scoring)


def _svm(classify, words):
    return GridSearchCV(SVC() if classify else SVR(), GRIDS["SVM"])


def _linear(classify, words):
    if not classify:
        return RidgeCV(np.geomspace(1e-3, 1e3, 13))
    return LogisticRegressionCV(
        max_iter=1000, l1_ratios=(0.0,), use_legacy_attributes=False, **BY_LOSS
    )


def _histogram(classify, words):
    kind = HistGradientBoostingClassifier if classify else HistGradientBoostingRegressor
    return kind(categorical_features="from_dtype", random_state=0)


def _lightgbm(classify, words):
    from lightgbm import LGBMClassifier, LGBMRegressor

    kind = LGBMClassifier if classify else LGBMRegressor
    return kind(random_state=0, n_jobs=1, verbose=-1)


def _catboost(classify, words):
    from catboost import CatBoostClassifier, CatBoostRegressor

    kind = CatBoostClassifier if classify else CatBoostRegressor
    return kind(
        cat_features=list(words),
        random_seed=0,
        thread_count=1,
        verbose=False,
        allow_writing_files=False,
    )


def _pytabkit(name):
    def make(classify, words):
        import pytabkit

        kind = getattr(pytabkit, f"{name}_{'Classifier' if classify else 'Regressor'}")
        return kind(device="cpu", n_threads=1, random_state=0, verbosity=0)

    return make


RIVALS = {
    OURS: Rival(_ours),
    "MLP": Rival(_mlp),
    "tuned MLP": Rival(_tuned_mlp),
    "SVM": Rival(_svm),
    "linear": Rival(_linear),
    "HistGB": Rival(_histogram, prepared=False),
    "LightGBM": Rival(_lightgbm, ("lightgbm",), prepared=False),
    "CatBoost": Rival(_catboost, ("catboost",), prepared=False),
    "RealMLP-TD": Rival(_pytabkit("RealMLP_TD"), ("pytabkit",), prepared=False),
    "TabM": Rival(_pytabkit("TabM_D"), ("pytabkit", "tabm"), prepared=False),
}


def installed(names):
    """Return those that can run; say which cannot, for want of what."""
    able = []
    for name in names:
        lacking = [p for p in RIVALS[name].packages if find_spec(p) is None]
        if lacking:
            print(f"Skipped {name}: {', '.join(lacking)} is not installed.")
        else:
            able.append(name)
    return able


def pipeline(name, X, classify):
    """Return the model with its preparation, for a table; unfitted."""
    rival, words = RIVALS[name], X.select_dtypes(exclude="number").columns
    model = rival.make(classify, words)
    if name == OURS:
        return model
    if rival.prepared:
        if not classify:  # MLP and SVM want targets near one; the others do not care
            model = TransformedTargetRegressor(model, transformer=StandardScaler())
        return make_table_pipeline(model, n_knots=0)
    # What takes missing numbers keeps them.
    fill = "pytabkit" in rival.packages
    return make_pipeline(AsCategories(fill), ByNumber(model) if classify else model)
