"""Regularisation paths: networks at decreasing penalty strengths."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from sklearn_convexrelu._base import absolute
from sklearn_convexrelu._classifier import ConvexReLUClassifier
from sklearn_convexrelu._deadline import Deadline
from sklearn_convexrelu._regressor import ConvexReLURegressor
from sklearn_convexrelu._threads import training_threads
from sklearn_convexrelu.model.losses import CLASSIFICATION_LOSSES, REGRESSION_LOSSES
from sklearn_convexrelu.model.solution import Status
from sklearn_convexrelu.training import warn_of_path

__all__ = [
    "GRID_CONSTRAINTS",
    "RegularizationPath",
    "alpha_grid",
    "continued",
    "convex_relu_path",
]

# Least fraction of ``alpha_max`` that a path goes on to by itself: prices are squares
# of what double precision holds. Half and double are two points of a path.
_LEAST_FRACTION = float(np.sqrt(np.finfo(float).eps))

GRID_CONSTRAINTS = {
    "alphas": ["array-like", None],
    "n_alphas": [Interval(Integral, 1, None, closed="left")],
    "eps": [Interval(Real, 0, 1, closed="neither")],
    "relative_alpha": ["boolean"],
}


@dataclass(frozen=True)
class RegularizationPath:
    """Certified networks at decreasing penalty strengths.

    :func:`convex_relu_path` returns it; arrays have one entry a strength.

    Parameters
    ----------
    alphas : ndarray of shape (n_points,)
        Absolute penalty strengths, decreasing; fewer than were asked for where the
        path ended early.
    alpha_max : float
        Least strength at which the best network is a constant.
    networks : list of Network
        The network at each strength; ``network.forward(X)`` are its outputs,
        (n_samples, n_outputs), at any array-like X of the features.
    certificates : list of Certificate
        The certificate of each.
    statuses : list of Status
        Why the solver stopped at each.
    feature_importances : ndarray of shape (n_points, n_features)
        Share of every feature in the weights of each network, as
        ``feature_importances_`` of the estimators.
    feature_names : ndarray of shape (n_features,)
        Names of the features, ``x0`` and so on where X has none.
    tolerance : float
        Duality gap that each network was to have.

    Attributes
    ----------
    objectives, dual_gaps, n_neurons : ndarray of shape (n_points,)
        Of the networks.
    """

    alphas: np.ndarray
    alpha_max: float
    networks: list
    certificates: list
    statuses: list
    feature_importances: NDArray
    feature_names: NDArray
    tolerance: float

    @property
    def objectives(self) -> NDArray:
        """Objectives of the networks, (n_points,)."""
        return np.array([certificate.objective for certificate in self.certificates])

    @property
    def dual_gaps(self) -> NDArray:
        """Duality gaps of the networks, (n_points,)."""
        return np.array([certificate.gap for certificate in self.certificates])

    @property
    def n_neurons(self) -> NDArray:
        """Numbers of neurons, (n_points,)."""
        return np.array([network.n_neurons for network in self.networks])


@validate_params(
    {
        **GRID_CONSTRAINTS,
        "X": ["array-like", "sparse matrix"],
        "y": ["array-like"],
        "loss": [StrOptions({*REGRESSION_LOSSES, *CLASSIFICATION_LOSSES})],
        "sample_weight": ["array-like", Real, None],
    },
    prefer_skip_nested_validation=False,
)
def convex_relu_path(
    X: ArrayLike,
    y: ArrayLike,
    *,
    loss: str = "squared_error",
    alphas: ArrayLike | None = None,
    n_alphas: int = 30,
    eps: float = 1e-4,
    relative_alpha: bool = True,
    sample_weight: ArrayLike | None = None,
    **params: Any,
) -> RegularizationPath:
    r"""Train two-layer ReLU networks along a path of penalty strengths.

    At each :math:`\alpha` it minimises, over networks
    :math:`f(x) = \sum_j w_{2j} \max(0, w_{1j}^T x + b_{1j}) + b_2` of any width,

    .. math::

        \frac{1}{S} \sum_{i=1}^{n} s_i \, \ell(f(x_i), y_i)
        + \alpha \sum_j \|(w_{1j}, b_{1j})\|_2 \|w_{2j}\|_2,

    (or with the 1-norm for the first norm: ``norm="l1"``), as
    :class:`ConvexReLURegressor` and :class:`ConvexReLUClassifier` do, but each from the
    network before, which is several times faster than one fit after the other.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Features.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets of a regression loss, or class labels of a classification loss.
    loss : {"squared_error", "huber", "poisson", "absolute_error", "quantile", \
            "log_loss", "squared_hinge", "hinge"}, default="squared_error"
        Those of the regressor, then those of the classifier, as they list them.
    alphas : array-like of shape (n_alphas,), default=None
        Penalty strengths, positive; they are taken in decreasing order. None takes
        ``n_alphas`` from ``alpha_max`` down to ``eps * alpha_max`` in equal ratios.
    n_alphas : int, default=30
        How many strengths where ``alphas`` is None.
    eps : float, default=1e-4
        Smallest strength as a fraction of ``alpha_max`` where ``alphas`` is None.
    relative_alpha : bool, default=True
        Whether ``alphas`` are fractions of ``alpha_max``, or absolute.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative weights.
    **params : dict
        Other parameters of the estimator that the loss belongs to: ``tol``,
        ``fit_intercept``, ``norm``, ``random_state`` and so on.

    Returns
    -------
    RegularizationPath
        Strengths, networks and certificates. The path ends early where the loss is
        below 1e-5 of that of the best constant: smaller strengths have nothing left to
        gain. An interrupt ends it with the points so far, and so does ``time_limit``,
        the last of them half-done.

    Raises
    ------
    ValueError
        If an alpha is not positive and finite.
    TypeError
        If ``params`` has what is no parameter of the estimator, or what a path varies.

    Warns
    -----
    ConvergenceWarning
        If some points have a gap above the tolerance.

    See Also
    --------
    ConvexReLURegressorCV : Chooses alpha by cross-validated paths.
    RegularizationPathDisplay : A picture of a path.

    References
    ----------
    .. [1] Friedman, Hastie & Tibshirani (2010), "Regularization Paths for Generalized
       Linear Models via Coordinate Descent", Journal of Statistical Software 33(1),
       section 2.5: warm starts down a geometric grid.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from sklearn_convexrelu import convex_relu_path
    >>> X, y = load_diabetes(return_X_y=True)
    >>> path = convex_relu_path(scale(X), scale(y), n_alphas=10, eps=0.01, tol=0.01)
    >>> bool(path.n_neurons[0] == 0 and path.n_neurons[-1] > 10)
    True
    """
    for name in ("alpha", "warm_start"):
        if name in params:
            raise TypeError(
                f"A path has no parameter {name!r}: give its strengths as 'alphas', "
                "each point starts from the one before."
            )
    # Names that both kinds know, "squared_error", are the regressor's.
    kind = ConvexReLURegressor if loss in REGRESSION_LOSSES else ConvexReLUClassifier
    model = kind(loss=loss, **params)
    model._validate_params()
    grid = alpha_grid(alphas, n_alphas, eps)
    relative = relative_alpha or alphas is None
    solutions, importances, interrupted = [], [], []
    try:
        with training_threads(model.n_jobs):
            deadline = Deadline.after(model.time_limit)
            for solution in model._follow(
                X, y, sample_weight, grid, relative, deadline=deadline
            ):
                # In the units of the features, whatever training has them in.
                solutions.append(replace(solution, network=model.network_))
                importances.append(model.feature_importances_)
    except KeyboardInterrupt:
        if not solutions:
            raise
        interrupted = [Status.INTERRUPTED]
    statuses = [solution.status for solution in solutions]
    warn_of_path(statuses + interrupted, "the path")
    unit = model.alpha_max_ if relative else 1.0
    strengths = absolute(grid[: len(solutions)], unit)
    return RegularizationPath(
        alphas=strengths,
        alpha_max=model.alpha_max_,
        networks=[solution.network for solution in solutions],
        certificates=[solution.certificate for solution in solutions],
        statuses=statuses,
        feature_importances=np.array(importances),
        feature_names=feature_names(model),
        tolerance=model.tolerance_,
    )


def feature_names(model):
    """Return the names of the features of a fitted estimator, (n_features,)."""
    numbered = [f"x{k}" for k in range(model.n_features_in_)]
    return np.asarray(getattr(model, "feature_names_in_", numbered), dtype=object)


def alpha_grid(alphas, n_alphas, eps):
    """Return penalty strengths in decreasing order, fractions where ``alphas`` is None.

    Raises
    ------
    ValueError
        If ``alphas`` is empty or has an entry that is not positive and finite.
    """
    if alphas is None:
        return np.geomspace(1.0, eps, n_alphas)
    alphas = check_array(alphas, ensure_2d=False, dtype=np.float64, input_name="alphas")
    if alphas.ndim != 1 or not np.all(alphas > 0.0):
        raise ValueError("alphas must be a list of positive numbers.")
    return np.unique(alphas)[::-1]


def continued(grid):
    """Return a grid of fractions in equal ratios, gone on with as far as is sensible.

    Of one strength there is no ratio to go on with.
    """
    if len(grid) < 2:
        return grid
    step = np.log(grid[-1] / grid[-2])
    n_more = max(int(np.log(_LEAST_FRACTION / grid[-1]) / step), 0)
    return np.append(grid, grid[-1] * np.exp(step * np.arange(1, n_more + 1)))
