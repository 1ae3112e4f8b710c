"""Train ReLU networks to their global optimum by convex optimisation."""

from sklearn_convexrelu._regressor import ConvexReLURegressor

__all__ = ["ConvexReLURegressor"]
__version__ = "0.1.0"
