"""Train ReLU networks to their global optimum by convex optimisation."""

from sklearn_convexrelu._classifier import ConvexReLUClassifier
from sklearn_convexrelu._regressor import ConvexReLURegressor

__all__ = ["ConvexReLUClassifier", "ConvexReLURegressor"]
__version__ = "0.1.0"
