"""Training: an estimator in a pipeline, scored on folds, then fitted to all rows."""

import time
import warnings
from dataclasses import dataclass, field

import numpy as np
from sklearn.base import is_classifier
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    make_table_pipeline,
)
from sklearn_convexrelu.demo.cells import shown
from sklearn_convexrelu.demo.columns import ReadColumns
from sklearn_convexrelu.demo.kinds import is_number
from sklearn_convexrelu.demo.table import CLASSES

__all__ = [
    "INNER_FOLDS",
    "MLP_ALPHAS",
    "OUTER_FOLDS",
    "SEARCH_TOL",
    "Evaluation",
    "convex_network",
    "evaluate",
    "last_network",
    "make_model",
    "mlp_network",
    "network_objective",
]

# To choose alpha and to score, a gap of 1 % does: predictions hardly change below it.
SEARCH_TOL = 0.01
OUTER_FOLDS = 5
INNER_FOLDS = 3
# MLP's alpha is weight decay per batch, 200 rows as a rule, ours a fraction of
# alpha_max_, near 0.7 for standardised data: these are about 0.07 to 0.0007 of it.
# A fourth, 0.01, took a third of the wait, and its fits seldom converge.
MLP_ALPHAS = (10.0, 1.0, 0.1)
MLP_ITERATIONS = 500  # its default of 200 ends most fits of small tables early


@dataclass
class Evaluation:
    """How one estimator did.

    Attributes
    ----------
    scores : dict of list
        What each fold gave, by the name of the score.
    fit_time : float
        Seconds of the fit to all rows, the choice of alpha included.
    pipeline : Pipeline
        Fitted to all rows.
    warnings : list of str
        What was warned of in the fit to all rows, but what its status says.
    interrupted : bool
        Whether an interrupt ended that fit early.
    """

    scores: dict = field(default_factory=dict)
    fit_time: float = np.nan
    pipeline: Pipeline | None = None
    warnings: list = field(default_factory=list)
    interrupted: bool = False

    @property
    def network(self):
        """The fitted network itself, ours or the MLP."""
        return last_network(self.pipeline)


def last_network(pipeline):
    """Return the network at the end of a fitted pipeline."""
    model = pipeline["model"]
    model = getattr(model, "regressor_", model)
    return getattr(model, "best_estimator_", model)


def convex_network(task, alpha=None, **params):
    """Return our estimator for a task, with CV unless alpha is given."""
    # The norm that make_table_pipeline takes, for few of its columns matter.
    params = {"norm": "l1", "random_state": 0, **params}
    if alpha is None:
        kind = ConvexReLUClassifierCV if task == CLASSES else ConvexReLURegressorCV
        return kind(cv=_inner(task), scoring=_scoring(task), **params)
    kind = ConvexReLUClassifier if task == CLASSES else ConvexReLURegressor
    return kind(alpha, **params)


def mlp_network(task):
    """Return scikit-learn's network for a task, its alpha chosen on a grid."""
    kind = MLPClassifier if task == CLASSES else MLPRegressor
    return GridSearchCV(
        kind(max_iter=MLP_ITERATIONS, random_state=0),
        {"alpha": MLP_ALPHAS},
        cv=_inner(task),
        scoring=_scoring(task),
    )


def _inner(task):
    kind = StratifiedKFold if task == CLASSES else KFold
    return kind(INNER_FOLDS, shuffle=True, random_state=1)


def _scoring(task):
    # Accuracy moves in steps, and many alphas have the same.
    return "neg_log_loss" if task == CLASSES else "r2"


def make_model(estimator, table):
    """Put the preparation of columns, and of targets that are numbers, around it.

    Parameters
    ----------
    estimator : estimator
        The network.
    table : Table
        Says what the columns are.

    Returns
    -------
    Pipeline
        Steps "read", "columns" and "model"; unfitted.
    """
    if table.task != CLASSES:
        estimator = TransformedTargetRegressor(estimator, transformer=StandardScaler())
    read = ReadColumns(table.kinds, table.target)
    words = [j for j, kind in enumerate(table.kinds.values()) if not is_number(kind)]
    prepared = make_table_pipeline(estimator, categories=words)
    return Pipeline([("read", read), *prepared.steps])


def evaluate(title, quick, final, table, say):
    """Score an estimator on folds, each a fit without them; then fit it to all rows.

    Parameters
    ----------
    title : str
        What it is called.
    quick, final : estimator
        For the folds, and for all rows.
    table : Table
        The data.
    say : callable
        Told of each fit, when it begins (with ``end=""``) and how it ended.

    Returns
    -------
    Evaluation
        Scores of the folds, and the fit to all rows.
    """
    kind = StratifiedKFold if table.task == CLASSES else KFold
    folds = kind(OUTER_FOLDS, shuffle=True, random_state=0)
    result = Evaluation()
    say(f"{title}, scored on {OUTER_FOLDS} folds that training leaves out")
    for k, (train, test) in enumerate(folds.split(table.X, table.y), start=1):
        say(f"  fold {k} of {OUTER_FOLDS}: ", end="")
        _fit(result, make_model(quick, table), table.X[train], table.y[train])
        _stop_if_interrupted(result)
        scores = _scores(result.pipeline, table.X[test], table.y[test])
        for name, score in scores.items():
            result.scores.setdefault(name, []).append(score)
        told = [f"{name} {score:.3f}" for name, score in scores.items()]
        say(", ".join([*told, _told_fit(result)]))
    say("  all rows: ", end="")
    _fit(result, make_model(final, table), table.X, table.y)
    say(_told_fit(result))
    return result


def _fit(result, model, X, y):
    """Fit a model; put it, its time and its warnings into a result."""
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result.pipeline = model.fit(X, y)
    result.fit_time = time.perf_counter() - start
    messages = [str(warning.message) for warning in caught]
    result.interrupted = any("interrupted" in text.casefold() for text in messages)
    # What did not converge is told by status and iterations.
    result.warnings = list(
        dict.fromkeys(
            shown(warning.message)
            for warning in caught
            if not issubclass(warning.category, ConvergenceWarning)
        )
    )


def _stop_if_interrupted(result):
    """Go on with an interrupt, which our estimators end early on, in a fold."""
    if result.interrupted:
        raise KeyboardInterrupt


def _scores(pipeline, X, y):
    """Return the scores of a fitted pipeline on other rows, by name."""
    if not is_classifier(pipeline):
        return {"R2": r2_score(y, pipeline.predict(X))}
    chances = pipeline.predict_proba(X)
    return {
        "accuracy": accuracy_score(y, pipeline.predict(X)),
        "log loss": log_loss(y, chances, labels=pipeline.classes_),
    }


def _told_fit(result):
    """Return how a fit ended, in a phrase."""
    network = result.network
    if hasattr(network, "alpha_max_"):
        alpha = f"alpha {network.alpha_ / network.alpha_max_:.2g}"
    else:
        alpha = f"alpha {network.alpha:g}"
    neurons = f"{network.coefs_[0].shape[1]} neurons"
    return f"{alpha}, {neurons}, {result.fit_time:.1f} s"


def network_objective(network, X, y, alpha):
    """Objective that our estimators minimise, at any two-layer ReLU network.

    It is ``loss + alpha * sum_j ||(w_j, b_j)||_1 ||v_j||_2`` with w_j, b_j the weights
    into hidden neuron j and v_j those out of it. The loss is half the mean squared
    error, or the mean log loss of classes.

    Parameters
    ----------
    network : estimator
        Fitted, with ``coefs_``, ``intercepts_`` and ``predict`` or ``predict_proba``.
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
    if is_classifier(network):
        loss = log_loss(y, network.predict_proba(X), labels=network.classes_)
    else:
        loss = 0.5 * np.mean((y - network.predict(X)) ** 2)
    into = np.vstack([network.coefs_[0], network.intercepts_[0]])
    out = network.coefs_[1]
    norms = np.abs(into).sum(axis=0) * np.linalg.norm(out, axis=1)
    return loss + alpha * norms.sum()
