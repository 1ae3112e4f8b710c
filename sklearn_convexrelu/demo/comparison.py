"""Training: an estimator in a pipeline, scored by nested cross-validation."""

import time
import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

__all__ = [
    "INNER_FOLDS",
    "OUTER_FOLDS",
    "SEARCH_TOL",
    "Evaluation",
    "evaluate",
    "make_model",
    "network_objective",
]

# To choose alpha and to score, a gap of 1 % does: predictions hardly change below it.
SEARCH_TOL = 0.01
OUTER_FOLDS = 5
INNER_FOLDS = 3


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
