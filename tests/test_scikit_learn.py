"""scikit-learn's checks of every estimator, its options in as few models as will do.

Each kind has a model with its defaults; the others take several options at a time, as
cheap as will do, every option in a model for regression and in one for classification.
"""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
)
from sklearn_convexrelu._columns import ColumnBends, TailClipper


class RisingRegressor(ConvexReLURegressor):
    """Rises with every feature, however many there are."""

    def _directions(self):
        return (1,) * self.n_features_in_


class SidedClassifier(ConvexReLUClassifier):
    """The same for two classes, up and down in turn: the checks' blobs lie so."""

    def _directions(self):
        return tuple(1 - 2 * (k % 2) for k in range(self.n_features_in_))


CHEAP = {"alpha": 0.3, "tol": 1e-2}
SAMPLED = {"patterns": "random", "n_patterns": 20}
GATED = SAMPLED | {"activation": "gated_relu"}
FREE, PENALISED = {"skip_connection": "free"}, {"skip_connection": True}
CONSTANTLESS = {"fit_intercept": False, "hidden_bias": False}
BALANCED = {"class_weight": "balanced"}
# The targets of the checks of regressors are in the hundreds.
HUBER = {"loss": "huber", "huber_threshold": 20.0}
QUANTILE = {"loss": "quantile", "quantile": 0.7}
TREES, SHORT = {"subnetwork_widths": (3,)}, {"n_alphas": 2, "eps": 0.3, "cv": 2}


@parametrize_with_checks(
    [
        ConvexReLURegressor(),
        ConvexReLURegressor(**CHEAP, **HUBER, **CONSTANTLESS),
        ConvexReLURegressor(**CHEAP, **FREE, norm="l1"),
        ConvexReLURegressor(**CHEAP, **PENALISED, loss="absolute_error"),
        ConvexReLURegressor(**CHEAP, **QUANTILE, standardize=True),
        ConvexReLURegressor(**SAMPLED),
        ConvexReLURegressor(**GATED),
        RisingRegressor(**CHEAP, monotonic_cst=[]),
        RisingRegressor(0.5, tol=1e-2, monotonic_cst=[], subnetwork_widths=(2,)),
        ConvexReLURegressorCV(tol=1e-2, **SHORT),
        ConvexReLUClassifier(),
        ConvexReLUClassifier(**CHEAP, **FREE, **BALANCED, loss="squared_hinge"),
        ConvexReLUClassifier(**CHEAP, **PENALISED, loss="squared_error", norm="l1"),
        ConvexReLUClassifier(0.5, tol=1e-2, loss="hinge", standardize=True),
        ConvexReLUClassifier(0.5, tol=1e-2, **TREES),
        ConvexReLUClassifier(**SAMPLED),
        ConvexReLUClassifier(**CHEAP, **GATED),
        SidedClassifier(**CHEAP, monotonic_cst=[]),
        ConvexReLUClassifierCV(tol=1e-2, **SHORT),
        TailClipper(),
        ColumnBends(),
    ]
)
# One check weighs classes 10^7 to one, which some losses tell they cannot certify; a
# monotone network of two layers is told what it cannot be.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:monotonic_cst")
def test_checks(estimator, check):
    check(estimator)
