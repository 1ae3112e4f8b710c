"""Train ReLU networks to their global optimum by convex optimisation."""

from sklearn_convexrelu._classifier import ConvexReLUClassifier
from sklearn_convexrelu._cv import ConvexReLUClassifierCV, ConvexReLURegressorCV
from sklearn_convexrelu._displays import (
    ConvergenceDisplay,
    FeatureImportancesDisplay,
    RegularizationPathDisplay,
)
from sklearn_convexrelu._path import RegularizationPath, convex_relu_path
from sklearn_convexrelu._pipeline import make_table_pipeline
from sklearn_convexrelu._regressor import ConvexReLURegressor
from sklearn_convexrelu.patterns.arrangements import (
    count_patterns,
    enumerate_patterns,
    sample_patterns,
)

__all__ = [
    "ConvergenceDisplay",
    "ConvexReLUClassifier",
    "ConvexReLUClassifierCV",
    "ConvexReLURegressor",
    "ConvexReLURegressorCV",
    "FeatureImportancesDisplay",
    "RegularizationPath",
    "RegularizationPathDisplay",
    "convex_relu_path",
    "count_patterns",
    "enumerate_patterns",
    "make_table_pipeline",
    "sample_patterns",
]
__version__ = "0.1.0"
