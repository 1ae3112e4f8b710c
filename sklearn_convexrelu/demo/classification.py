"""Classifiers at their defaults, side by side."""

import time
import warnings

from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold, cross_validate
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_convexrelu import ConvexReLUClassifier
from sklearn_convexrelu.demo.comparison import OUTER_FOLDS, SEARCH_TOL
from sklearn_convexrelu.demo.report import explain_gap, mean_sd, side_by_side, wrap

__all__ = ["CLASS_DATA", "compare_classifiers"]

CLASS_DATA = {"breast cancer": load_breast_cancer, "digits": load_digits}


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
                mean_sd(scores["test_accuracy"]),
                mean_sd(-scores["test_neg_log_loss"]),
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
    table = side_by_side(list(zip(labels, *columns, strict=True)))
    return "\n\n".join([wrap(summary), table, explain_gap(network)])
