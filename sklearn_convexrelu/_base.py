"""What the estimators share: check, train, set fitted attributes, predict."""

from abc import ABCMeta, abstractmethod
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

from sklearn_convexrelu.solvers.adaptive import AdaptiveSolver
from sklearn_convexrelu.training import largest_alpha, state_problem, train

__all__ = ["BaseConvexReLU", "checked_weights"]

_DEFAULT_MAX_ITER = 100


class BaseConvexReLU(BaseEstimator, metaclass=ABCMeta):
    """Base of the estimators; a subclass adds its losses, targets and predictions."""

    _parameter_constraints = {
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "relative_alpha": ["boolean"],
        "fit_intercept": ["boolean"],
        "hidden_bias": ["boolean"],
        "max_neurons": [Interval(Integral, 1, None, closed="left"), None],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left"), None],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    @abstractmethod
    def __init__(
        self,
        alpha,
        *,
        relative_alpha,
        loss,
        fit_intercept,
        hidden_bias,
        max_neurons,
        tol,
        max_iter,
        warm_start,
        random_state,
        verbose,
    ):
        self.alpha = alpha
        self.relative_alpha = relative_alpha
        self.loss = loss
        self.fit_intercept = fit_intercept
        self.hidden_bias = hidden_bias
        self.max_neurons = max_neurons
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def _train(self, X, Y, sample_weight, loss, factors=None):
        """Train on checked data, targets (n_samples, n_outputs); set the attributes.

        ``factors`` multiply the sample weights, but ``alpha_max_`` is that without
        them: who makes a class light wants it ignored, not regularised less.
        """
        start = self._start(X.shape[1], Y.shape[1])

        def stated(weights):
            return state_problem(
                X,
                Y,
                weights,
                loss,
                fit_intercept=self.fit_intercept,
                hidden_bias=self.hidden_bias,
            )

        problem = stated(sample_weight)
        alpha_max = largest_alpha(problem)
        if factors is not None:
            problem = stated(sample_weight * factors)
        alpha = self.alpha * alpha_max if self.relative_alpha else float(self.alpha)
        solution = train(
            problem.with_alpha(alpha),
            self._solver(),
            start=start,
            dtype=X.dtype,
            callback=_Printer(self.verbose) if self.verbose else None,
        )
        self.alpha_, self.alpha_max_ = alpha, alpha_max
        self._set_attributes(solution, X.shape[1])

    def _solver(self):
        """Return the solver record that the parameters describe."""
        return AdaptiveSolver(
            tol=self.tol,
            max_iter=_DEFAULT_MAX_ITER if self.max_iter is None else self.max_iter,
            max_neurons=self.max_neurons,
            seed=check_random_state(self.random_state).randint(2**31 - 1),
        )

    def _start(self, n_features, n_outputs):
        """Return the last fit's network under warm_start, None otherwise."""
        if not self.warm_start or not hasattr(self, "network_"):
            return None
        last_features = self.coefs_[0].shape[0]
        last_bias = self.network_.hidden.shape[0] > last_features
        last = last_features, last_bias, self.n_outputs_
        wanted = n_features, bool(self.hidden_bias), n_outputs
        if last != wanted:
            raise ValueError(
                "warm_start=True needs the last fit's shape (features, hidden bias, "
                f"outputs), which was {last} and is now {wanted}; fit a new estimator "
                "or set warm_start=False."
            )
        return self.network_

    def _set_attributes(self, solution, n_features):
        """Store the solution; the weights in the layout of MLPRegressor."""
        network, certificate = solution.network, solution.certificate
        self.network_ = network
        self.coefs_ = [network.hidden[:n_features], network.output]
        hidden_bias = np.zeros(network.n_neurons, dtype=network.hidden.dtype)
        if self.hidden_bias:
            hidden_bias = network.hidden[n_features]
        self.intercepts_ = [hidden_bias, network.intercept]
        self.n_neurons_ = network.n_neurons
        self.n_outputs_ = network.output.shape[1]
        self.certificate_ = certificate
        self.objective_ = certificate.objective
        self.lower_bound_ = certificate.lower_bound
        self.dual_gap_ = certificate.gap
        self.n_iter_ = solution.n_iter
        self.history_ = solution.history
        self.status_ = solution.status

    def _forward(self, X):
        """Return the network's outputs, (n_samples, n_outputs)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return self.network_.forward(X)


def checked_weights(sample_weight, X):
    """Return sample weights as scikit-learn checks them, not all of them zero."""
    weights = _check_sample_weight(
        sample_weight, X, dtype=np.float64, ensure_non_negative=True
    )
    if not weights.any():
        raise ValueError("Sample weights must not all be zero.")
    return weights


class _Printer:
    """Print the history as it is made: rounds at verbosity 1, their steps at 2."""

    def __init__(self, verbosity):
        self.verbosity, self.n_rounds = verbosity, 0

    def __call__(self, record):
        if "step" in record:
            if self.verbosity > 1:
                print("    {step:<5} objective {objective:.6e}".format(**record))
            return
        self.n_rounds += 1
        print(
            "[{n:3d}] {time:8.3f} s  objective {objective:.6e}  gap {dual_gap:.3e}"
            "  neurons {n_neurons}".format(n=self.n_rounds, **record)
        )
