"""scikit-learn's checks of every estimator, its options in as few models as will do.

Each kind has a model with its defaults; the others take several options at a time, as
cheap as will do, every option in a model for regression and in one for classification.
A few that train in every way pass all checks; the others, the defaults among them, all
but those of the forms of a table.
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

# No check asks how good a network is.
pytestmark = pytest.mark.usefixtures("brief")


class RisingRegressor(ConvexReLURegressor):
    """Rises with every feature, however many there are."""

    def _directions(self):
        return (1,) * self.n_features_in_


class SidedClassifier(ConvexReLUClassifier):
    """The same for two classes, up and down in turn: the checks' blobs lie so."""

    def _directions(self):
        return tuple(1 - 2 * (k % 2) for k in range(self.n_features_in_))


CHEAP = {"alpha": 0.3, "tol": 1e-2}
ROUGH = {"alpha": 0.5, "tol": 3e-2}  # losses with kinks
SAMPLED = {"patterns": "random", "n_patterns": 20}
GATED = SAMPLED | {"activation": "gated_relu"}
FREE, PENALISED = {"skip_connection": "free"}, {"skip_connection": True}
CONSTANTLESS = {"fit_intercept": False, "hidden_bias": False}
BALANCED = {"class_weight": "balanced"}
# The targets of the checks of regressors are in the hundreds.
HUBER = {"loss": "huber", "huber_threshold": 20.0}
QUANTILE = {"loss": "quantile", "quantile": 0.7}
TREES, SHORT = {"subnetwork_widths": (3,)}, {"n_alphas": 2, "eps": 0.3, "cv": 2}


def tells_what_it_cannot(test):
    """Let warnings pass that a check is bound to raise.

    One weighs classes 10^7 to one, which some losses tell they cannot certify; a
    monotone network of two layers is told what it cannot be.
    """
    for ignored in ("::sklearn.exceptions.ConvergenceWarning", ":monotonic_cst"):
        test = pytest.mark.filterwarnings(f"ignore{ignored}")(test)
    return test


# In what X and y come, and whether they may be written to: the estimators settle that
# before they look at an option, so a few models answer for all. Two of these checks fit
# ten sparse formats each.
FORMS = {
    "check_array_api_input",
    "check_array_api_mixed_inputs",
    "check_array_api_same_namespace",
    "check_classifier_data_not_an_array",
    "check_dtype_object",
    "check_estimator_sparse_array",
    "check_estimator_sparse_matrix",
    "check_regressor_data_not_an_array",
}


def is_of_a_form(check):
    """Tell whether a few models answer for all."""
    return check.func.__name__ in FORMS or check.keywords == {"readonly_memmap": True}


def without_forms(checks):
    """Leave out the checks of forms."""
    names, cases = checks.args
    kept = [case for case in cases if not is_of_a_form(case[1])]
    return pytest.mark.parametrize(names, kept, **checks.kwargs)


@parametrize_with_checks(
    [
        ConvexReLURegressor(**CHEAP, **HUBER, **CONSTANTLESS),
        ConvexReLURegressor(**GATED),
        ConvexReLURegressorCV(tol=1e-2, **SHORT),
        ConvexReLUClassifier(**CHEAP, **FREE, **BALANCED, loss="squared_hinge"),
        ConvexReLUClassifier(**CHEAP, **GATED),
        SidedClassifier(**CHEAP, monotonic_cst=[]),
        ConvexReLUClassifierCV(tol=1e-2, **SHORT),
        TailClipper(),
        ColumnBends(),
    ]
)
@tells_what_it_cannot
def test_checks(estimator, check):
    check(estimator)


@without_forms(
    parametrize_with_checks(
        [
            ConvexReLURegressor(),
            ConvexReLURegressor(**CHEAP, **FREE, norm="l1"),
            ConvexReLURegressor(**SAMPLED),
            RisingRegressor(**CHEAP, monotonic_cst=[]),
            ConvexReLURegressor(**ROUGH, **PENALISED, loss="absolute_error"),
            ConvexReLURegressor(**ROUGH, **QUANTILE, standardize=True),
            RisingRegressor(0.5, tol=1e-2, monotonic_cst=[], subnetwork_widths=(2,)),
            ConvexReLUClassifier(),
            ConvexReLUClassifier(**CHEAP, **PENALISED, loss="squared_error", norm="l1"),
            ConvexReLUClassifier(**SAMPLED),
            ConvexReLUClassifier(**ROUGH, loss="hinge", standardize=True),
            ConvexReLUClassifier(0.5, tol=1e-2, **TREES),
        ]
    )
)
@tells_what_it_cannot
def test_checks_but_those_of_forms(estimator, check):
    check(estimator)
