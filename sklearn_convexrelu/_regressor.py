"""ConvexReLURegressor."""

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils.validation import validate_data

from sklearn_convexrelu._base import BaseConvexReLU
from sklearn_convexrelu.losses import SquaredError

__all__ = ["ConvexReLURegressor"]


class ConvexReLURegressor(RegressorMixin, BaseConvexReLU):
    r"""Two-layer ReLU network for regression, trained to its global optimum.

    With :math:`f(x) = \sum_j w_{2j} \max(0, w_{1j}^T x + b_{1j}) + b_2`, any number of
    neurons j, it minimises

    .. math::

        \frac{1}{2 S} \sum_{i=1}^{n} s_i (f(x_i) - y_i)^2
        + \alpha \sum_j \|(w_{1j}, b_{1j})\|_2 |w_{2j}|,

    where :math:`s_i` are the sample weights and :math:`S` their sum. Rescaling
    neurons shows that the penalty is weight decay, :math:`\alpha / 2` times the sum of
    squares of all weights but :math:`b_2`. The problem is convex in the function f
    [1]_, so there is no local optimum to fear: neurons are generated until a duality
    gap shows that no other network is better by more than the tolerance.

    Parameters
    ----------
    alpha : float, default=0.01
        Penalty strength, positive. With ``relative_alpha`` it is the fraction of
        ``alpha_max_``, the least strength at which the best network is a constant, so
        that one grid fits every data set; useful values are 0.1 to 0.0003.
    relative_alpha : bool, default=True
        Whether ``alpha`` is relative to ``alpha_max_`` or absolute.
    fit_intercept : bool, default=True
        Whether to fit the output intercept :math:`b_2`, which is not penalised.
    hidden_bias : bool, default=True
        Whether hidden units have a bias :math:`b_{1j}`, penalised like a weight.
    max_neurons : int, default=None
        Cap on the number of neurons; None is no cap. A cap that binds makes the
        problem non-convex: the gap then says what it costs, with a warning.
    tol : float, default=1e-3
        Stop when the duality gap is at most ``tol`` times the loss of the best
        constant prediction (for unweighted data, ``tol / 2`` times the variance of y).
    max_iter : int, default=None
        Largest number of rounds of adding and sliding; None is 100.
    warm_start : bool, default=False
        Whether to start from the network of the last fit.
    random_state : int, RandomState instance or None, default=None
        Seed of the search for neurons. Objectives reached with different seeds differ
        by no more than the gap, as far as that is a proof (see ``certificate_``).
    verbose : int, default=0
        1 prints a line a round: time, objective, gap, neurons. 2 prints its steps too.

    Attributes
    ----------
    coefs_ : list of two ndarray
        Weights of the hidden layer, (n_features, n_neurons), and of the output layer,
        (n_neurons, 1), as in :class:`~sklearn.neural_network.MLPRegressor`. Neurons
        are balanced: both layers weigh the same, so the penalty is ``alpha_ / 2``
        times the sum of squares of ``coefs_`` and the hidden intercepts.
    intercepts_ : list of two ndarray
        Biases of the hidden layer, (n_neurons,), and of the output, (1,).
    network_ : Network
        The same weights as one object.
    n_neurons_ : int
        Number of neurons.
    alpha_, alpha_max_ : float
        Absolute penalty strength, and the least one with a constant as the optimum.
    objective_ : float
        Objective of the network, recomputed from its weights.
    lower_bound_ : float
        Lower bound on the objective of every network; ``certificate_.kind`` says
        whether it is a proof ("exact") or an estimate ("priced").
    dual_gap_ : float
        ``objective_ - lower_bound_``.
    certificate_ : Certificate
        The bound with its kind and price, and a bound that is always proven.
    n_iter_ : int
        Number of rounds.
    history_ : list of dict
        ``time`` in seconds, ``objective``, ``dual_gap``, ``n_neurons`` and ``price``
        each time the network was priced.
    status_ : Status
        Why the solver stopped.
    n_outputs_, n_features_in_, feature_names_in_
        As in scikit-learn.

    See Also
    --------
    sklearn.neural_network.MLPRegressor : The same networks trained by gradient steps.

    Notes
    -----
    The penalty is not invariant to the scale of features: standardise them, as for
    MLPRegressor. Data of rank at most three (two features and the hidden bias, up to
    2000 distinct rows) are priced exactly, which makes the certificate a proof. The
    ``alpha_max_`` of other data is the best that a fixed search finds.

    References
    ----------
    .. [1] Pilanci & Ergen (2020), "Neural Networks are Convex Regularizers: Exact
       Polynomial-time Convex Optimization Formulations for Two-layer Networks", ICML,
       Theorem 1.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_convexrelu import ConvexReLURegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = make_pipeline(
    ...     StandardScaler(), ConvexReLURegressor(alpha=0.1, random_state=0)
    ... ).fit(X, y)
    >>> bool(model[-1].dual_gap_ <= 1e-3 * y.var() / 2)
    True
    """

    def __init__(
        self,
        alpha=0.01,
        *,
        relative_alpha=True,
        fit_intercept=True,
        hidden_bias=True,
        max_neurons=None,
        tol=1e-3,
        max_iter=None,
        warm_start=False,
        random_state=None,
        verbose=0,
    ):
        super().__init__(
            alpha,
            relative_alpha=relative_alpha,
            fit_intercept=fit_intercept,
            hidden_bias=hidden_bias,
            max_neurons=max_neurons,
            tol=tol,
            max_iter=max_iter,
            warm_start=warm_start,
            random_state=random_state,
            verbose=verbose,
        )

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Train on data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features. The weights are returned in their precision.
        y : array-like of shape (n_samples,)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights. A weight of two is the same as the row twice, a
            weight of zero the same as no row.

        Returns
        -------
        ConvexReLURegressor
            The fitted estimator.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], y_numeric=True)
        targets = np.asarray(y, dtype=np.float64)[:, None]
        self._train(X, targets, sample_weight, SquaredError())
        return self

    def predict(self, X):
        """Predict targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples,)
            Predicted targets.
        """
        return self._forward(X)[:, 0]
