"""ConvexReLURegressor."""

from __future__ import annotations

from numbers import Real
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import d2_pinball_score
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import column_or_1d

from sklearn_convexrelu._arrays import answers_in_kind, as_numpy
from sklearn_convexrelu._base import BaseConvexReLU, CheckedData
from sklearn_convexrelu._dask import is_dask, scored, taken_in
from sklearn_convexrelu.data.tables import checked, checked_weights, of_rows
from sklearn_convexrelu.model.losses import REGRESSION_LOSSES, regression_loss

__all__ = ["ConvexReLURegressor"]


class ConvexReLURegressor(RegressorMixin, BaseConvexReLU):
    r"""ReLU network for regression, trained to its global optimum.

    Scores depend on ``alpha``: :class:`ConvexReLURegressorCV` chooses it, the
    default here fits small noisy tables too closely.

    With :math:`f(x) = \sum_j w_{2j} \max(0, w_{1j}^T x + b_{1j}) + b_2`, any number of
    neurons j, each with one output weight for every target, it minimises

    .. math::

        \frac{1}{S} \sum_{i=1}^{n} s_i \, \ell(f(x_i), y_i)
        + \alpha \sum_j \|(w_{1j}, b_{1j})\|_2 \|w_{2j}\|_2,

    where :math:`s_i` are the sample weights, :math:`S` their sum and :math:`\ell` the
    loss, half the squared error by default. Rescaling neurons shows that the penalty is
    weight decay, :math:`\alpha / 2` times the sum of squares of all weights but
    :math:`b_2`. The problem is convex in the function f [1]_ (several targets: [2]_),
    so there is no local optimum to fear: neurons are generated until a duality gap
    shows that no other network is better by more than the tolerance.
    ``subnetwork_widths`` makes the networks deeper, ``norm="l1"`` puts the 1-norm in
    the place of the first norm, which leaves out features that do not matter.
    ``skip_connection`` adds a linear part.

    Parameters
    ----------
    alpha : float, default=0.01
        Penalty strength, positive. With ``relative_alpha`` it is the fraction of
        ``alpha_max_``, the least strength at which the best network is a constant, so
        that one grid fits every data set; useful values are 0.1 to 0.0003.
    relative_alpha : bool, default=True
        Whether ``alpha`` is relative to ``alpha_max_`` or absolute.
    loss : {"squared_error", "huber", "poisson", "absolute_error", "quantile"}, \
            default="squared_error"
        Loss of a prediction f of the target y, summed over targets:
        ``(f - y)^2 / 2``; the same up to residuals of ``huber_threshold`` and linear
        beyond, for outliers; half the Poisson deviance of the mean ``exp(f)``, for
        counts and other targets that are not negative; ``|f - y|``, which fits the
        median; or the pinball loss ``q max(y - f, 0) + (1 - q) max(f - y, 0)``, which
        fits the ``quantile`` q.
    huber_threshold : float, default=1.35
        Residual, in the unit of y, from which the Huber loss is linear. Read only with
        ``loss="huber"``.
    quantile : float or array-like of shape (n_levels,), default=0.5
        Level of the quantile that is fitted, between zero and one, for every target; or
        several levels of one target: one output each, that share the neurons, and a
        sum of their losses. Nothing keeps them from crossing. Read only with
        ``loss="quantile"``.
    fit_intercept : bool, default=True
        Whether to fit the output intercept :math:`b_2`, which is not penalised.
    hidden_bias : bool, default=True
        Whether hidden units have a bias :math:`b_{1j}`, penalised like a weight.
    standardize : bool, default=False
        Whether features are divided by their standard deviations inside the fit, with
        the sample weights, and not centred: sparse ones stay sparse, and the hidden
        bias costs what it does. ``coefs_`` are for the features as they are; the
        penalty, ``objective_``, ``alpha_max_`` and certificates are of the scaled ones.
    subnetwork_widths : tuple of int, default=()
        Hidden widths before the last hidden unit of each parallel sub-network. ``()``:
        neurons, so two layers. ``(m1,)``: three layers, sub-networks of m1 neurons that
        feed one [3]_. ``(m1, m2)``: four layers, and so on [4]_; from there on
        sub-networks are trees, every neuron with inputs of its own.
    penalty : {"path", "weight_decay"}, default="path"
        What is penalised of sub-networks: their path norm, the root of the sum over
        all paths of the squared products of weights, or, for three layers, weight
        decay: half the squares of the weights of the second layer and the output, the
        first layer's within the unit ball. Two layers: the same thing. With more
        neurons a sub-network the path norm of a function falls (as the root of the
        number of paths, at most); relative alphas take care of that.
    norm : {"l2", "l1"}, default="l2"
        Norm of the weights that enter a neuron, its bias among them, in the penalty
        (with sub-networks: that enter a leaf). ``"l1"``, the sum of absolute values,
        leaves out features that do not matter: their weights are exactly zero, neuron
        by neuron. Networks of the 2-norm pay for every useless feature. What leaves a
        neuron keeps the 2-norm.
    skip_connection : bool or "free", default=False
        Whether a linear part ``X skip_coef_`` is added to the units: one of the
        parallel branches is the identity [4]_. True penalises it by alpha times its
        norm, that of the units: the 2-norm or 1-norm of its weights (several outputs:
        the nuclear norm, or the sum of the 2-norms of rows). ``"free"`` does not, as
        the intercept is not; ``alpha_max_`` is then the least strength at which the
        linear fit is the best network.
    monotonic_cst : array-like of int of shape (n_features,), dict or None, \
            default=None
        Which way outputs go with each feature, as in scikit-learn's histogram gradient
        boosting: 1 up, -1 down, 0 either; a dict has them by feature names, 0 where one
        is left out. Then along every path from such a feature to the output the product
        of the weights has that sign or is zero, so that ``predict`` is monotone
        everywhere. It is for one output, ReLUs and no ``rank``. Two layers have no S
        shapes then, see Notes; ``subnetwork_widths=(2,)`` has.
    activation : {"relu", "gated_relu"}, default="relu"
        ``"gated_relu"`` fixes the gates: a unit is ``1[g^T x > 0] v^T x``, penalised by
        ``||v||`` (several outputs: the nuclear norm of the matrix V), and the model is
        no ReLU network but a convex relaxation of one. It needs fixed patterns.
    patterns : {"adaptive", "random", "exact"} or array-like of shape \
            (n_gates, n_features + hidden_bias), default="adaptive"
        ``"adaptive"`` generates the neurons that matter. The others solve the convex
        programme over fixed activation patterns: of ``n_patterns`` random gates, of all
        gates there are (feasible for few features and samples), or of the given ones.
        With sub-networks an array of gates has leaf vectors, (n_gates, n_leaves,
        n_features + hidden_bias), and signs are drawn.
    n_patterns : int, default=200
        How many patterns to sample for ``patterns="random"``.
    rank : int, default=None
        Train on the best approximation of X of this rank, its leading right singular
        vectors (the hidden bias is kept besides), with weights for all features. The
        cost is polynomial in samples and features for a fixed rank, and ``low_rank_``
        says how much the rest could matter. None trains on X itself.
    pruning : bool, default=False
        Whether to trade neurons whose outputs on the training data are linearly
        dependent for fewer, at equal predictions and no larger penalty (``prune``).
    solver : {"auto", "interior_point", "fista", "cvxpy"}, default="auto"
        What solves the programme over fixed patterns. ``"fista"`` is for gated units;
        it is what ``"auto"`` takes there for several outputs, and for losses that are
        quadratic in pieces. Else it takes the interior point method, and CVXPY for
        small programmes on which that stalls.
    solver_options : dict, default=None
        Options of that solver: ``first_units`` of the interior point method,
        ``check_every`` of FISTA, and what ``cvxpy.Problem.solve`` takes.
    max_neurons : int, default=None
        Cap on the number of neurons; None is no cap. A cap that binds makes the
        problem non-convex: the gap then says what it costs, with a warning.
    tol : float, default=1e-3
        Stop when the duality gap is at most ``tol`` times the loss of the best
        constant prediction (squared error: half the variance of y).
    max_iter : int, default=None
        Largest number of rounds of adding and sliding (None: 100), for losses with
        kinks in each of the smooth problems that they are followed by, or of steps of
        the solver over fixed patterns (None: 200 of the interior point method, 20000 of
        FISTA).
    time_limit : float, default=None
        Seconds after which the fit ends with the best network so far, its gap and a
        warning; None is no limit. It is looked at before each pass over the rows, or
        round of the solver over fixed patterns; certifying comes on top. Not for
        ``solver="cvxpy"``, nor heeded by it where "auto" turns to it.
    warm_start : bool, default=False
        Whether to start from the network of the last fit.
    random_state : int, RandomState instance or None, default=None
        Seed of the search for neurons. Objectives reached with different seeds differ
        by no more than the gap, as far as that is a proof (see ``certificate_``).
    n_jobs : int, default=None
        Threads that share the rows of a fit, from some 30 000 rows on: -1 takes all
        processors, None one (or what ``joblib.parallel_config`` says). The result does
        not depend on it. Within a task of joblib, as a grid search has, there is one.
    verbose : int, default=0
        1 prints time, objective, gap and neurons each time the network is priced: once
        a round, more often where the gap is confirmed. 2 prints the steps too, and 3
        also those of the start, which are many.

    Attributes
    ----------
    coefs_ : list of ndarray
        Weights of the hidden layer, (n_features, n_neurons), and of the output layer,
        (n_neurons, n_targets), as in :class:`~sklearn.neural_network.MLPRegressor`.
        Neurons are balanced: both layers weigh the same, so the penalty is
        ``alpha_ / 2`` times the sum of squares of ``coefs_`` and the hidden intercepts
        (``norm="l1"``: of 1-norms, a neuron each, in the place of the hidden ones).
    intercepts_ : list of ndarray
        Biases of the hidden layer, (n_neurons,), and of the output,
        (n_targets,).
        With sub-networks there is a pair of weights and biases a layer, those of the
        sub-networks side by side (block-diagonal).
    skip_coef_ : ndarray of shape (n_features, n_targets)
        Weights of the linear part, with ``skip_connection``; predictions are those of
        ``coefs_`` and ``intercepts_`` plus ``X skip_coef_``.
    network_ : Network, TreeNetwork, GatedNetwork or GatedTreeNetwork
        The same weights, or those of a gated model, as one object.
    lipschitz_ : float
        Bound on the Lipschitz constant of the outputs, both norms Euclidean: the sum
        over neurons, or over paths, of the products of their weights' norms, without
        biases. No input changed by e changes the outputs by more than
        ``lipschitz_ * ||e||``. With the Poisson loss outputs are logarithms of means.
        The penalty is what keeps it small. A gated model jumps, and has none.
    n_neurons_ : int
        Number of neurons, or of sub-networks.
    gates_, blocks_, intercept_ : ndarray
        Of a gated model instead of ``coefs_`` and ``intercepts_``: gates (n_gates,
        n_features + hidden_bias), weights (n_gates, n_features + hidden_bias,
        n_outputs) and output intercepts. Of sub-networks with an axis of leaves second.
    low_rank_ : LowRankGuarantee
        With ``rank``: what was left out, by which factors it could matter, and the
        certificate of the problem of that rank.
    feature_importances_ : ndarray of shape (n_features,)
        Share of each feature in the weights, over all paths to the outputs: that of
        feature i is ``sum_j |w1_ij| ||w2_j||``, with ``standardize=True`` of the
        standardised features, divided by the sum over features. With ``norm="l1"``
        that is its part of the penalty. Zeros of a constant.
    alpha_, alpha_max_ : float
        Absolute penalty strength, and the least one with a constant as the optimum.
    objective_ : float
        Objective of the network, recomputed from its weights.
    lower_bound_ : float
        Lower bound on the objective of every network; ``certificate_.kind`` says
        whether it is a proof ("exact", "bound"), an estimate ("priced"), or a proof for
        the given patterns only ("restricted").
    dual_gap_ : float
        ``objective_ - lower_bound_``.
    certificate_ : Certificate
        The bound with its kind and price, and a bound that is always proven.
    n_iter_ : int
        Number of rounds, or of the solver's steps.
    history_ : list of dict
        ``time`` in seconds, ``objective``, ``dual_gap``, ``n_neurons`` and ``price``
        each time the network was priced, and at the end. With ``rank`` gap and price
        are those of the problem of that rank.
    status_ : Status
        Why the solver stopped.
    tolerance_ : float
        ``tol`` in the unit of the objective; what ``dual_gap_`` is compared with, or
        with ``rank`` the gap of the problem of that rank, to ``lower_bound`` of
        ``low_rank_.certificate``.
    n_outputs_, n_features_in_, feature_names_in_
        As in scikit-learn.

    See Also
    --------
    sklearn.neural_network.MLPRegressor : The same networks trained by gradient steps.

    Notes
    -----
    The penalty is not invariant to the scale of features: standardise them, or set
    ``standardize``, as for
    MLPRegressor. Data of rank at most three (two features and the hidden bias, up to
    2000 distinct rows; rank two with several targets) are priced exactly, which makes
    the certificate a proof. The
    ``alpha_max_`` of other data is the best that a fixed search finds.

    With ``monotonic_cst`` two layers are, along a constrained feature, the sum of a
    convex and a concave function that both go the right way. Of one feature those are
    the curves that are at one end no less steep than the sum of all falls of their
    steepness on the way to the other. So they are nowhere steeper than at both ends
    together, and flat at both ends only if they are constant. Certificates are of the
    networks that have these signs; ``certify`` proves a bound of all networks, which
    is one of those too.

    References
    ----------
    .. [1] Pilanci & Ergen (2020), "Neural Networks are Convex Regularizers: Exact
       Polynomial-time Convex Optimization Formulations for Two-layer Networks", ICML,
       Theorem 1.
    .. [2] Sahiner, Ergen, Pauly & Pilanci (2021), "Vector-output ReLU Neural Network
       Problems are Copositive Programs", ICLR, Theorem 1.
    .. [3] Ergen & Pilanci (2021), "Global Optimality Beyond Two Layers: Training Deep
       ReLU Networks via Convex Programs", ICML, Theorem 1.
    .. [4] Ergen & Pilanci (2023), "Path Regularization: A Convexity and Sparsity
       Inducing Regularization for Parallel ReLU Networks", NeurIPS, Theorem 1.

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

    _parameter_constraints = {
        **BaseConvexReLU._parameter_constraints,
        "loss": [StrOptions(set(REGRESSION_LOSSES))],
        "huber_threshold": [Interval(Real, 0, None, closed="neither")],
        "quantile": [Interval(Real, 0, 1, closed="neither"), "array-like"],
    }

    def __init__(
        self,
        alpha=0.01,
        *,
        relative_alpha=True,
        loss="squared_error",
        huber_threshold=1.35,
        quantile=0.5,
        fit_intercept=True,
        hidden_bias=True,
        standardize=False,
        subnetwork_widths=(),
        penalty="path",
        norm="l2",
        skip_connection=False,
        monotonic_cst=None,
        activation="relu",
        patterns="adaptive",
        n_patterns=200,
        rank=None,
        pruning=False,
        solver="auto",
        solver_options=None,
        max_neurons=None,
        tol=1e-3,
        max_iter=None,
        time_limit=None,
        warm_start=False,
        random_state=None,
        n_jobs=None,
        verbose=0,
    ):
        super().__init__(
            alpha,
            relative_alpha=relative_alpha,
            loss=loss,
            fit_intercept=fit_intercept,
            hidden_bias=hidden_bias,
            standardize=standardize,
            subnetwork_widths=subnetwork_widths,
            penalty=penalty,
            norm=norm,
            skip_connection=skip_connection,
            monotonic_cst=monotonic_cst,
            activation=activation,
            patterns=patterns,
            n_patterns=n_patterns,
            rank=rank,
            pruning=pruning,
            solver=solver,
            solver_options=solver_options,
            max_neurons=max_neurons,
            tol=tol,
            max_iter=max_iter,
            time_limit=time_limit,
            warm_start=warm_start,
            random_state=random_state,
            n_jobs=n_jobs,
            verbose=verbose,
        )
        self.huber_threshold = huber_threshold
        self.quantile = quantile

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train on data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features. The weights are returned in their precision, or in double where
            theirs is not enough for ``tol``.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights. A weight of two is the same as the row twice, a
            weight of zero the same as no row.

        Returns
        -------
        ConvexReLURegressor
            The fitted estimator.
        """
        return self._fit(X, y, sample_weight)

    def _checked(self, X, y, sample_weight, whole=None, settles=True):
        """Return the CheckedData."""
        if is_dask(X) or is_dask(y):
            return self._checked_on_workers(X, y, sample_weight)
        X, y = checked(self, X, y, multi_output=True, y_numeric=True)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        loss = self._loss()
        targets = self._repeated(np.asarray(y, dtype=np.float64).reshape(len(y), -1))
        weights = checked_weights(sample_weight, X)
        live = weights > 0.0
        X, targets, weights = of_rows(live, X, targets, weights)
        settled = None
        if _has_log_link(self.loss) and settles:
            settled = self._settled_counts(targets, X.dtype, whole is not None)
        return CheckedData(
            X,
            targets,
            weights,
            loss,
            attributes={"_fitted_loss": self.loss},
            live=live,
        ).settling(settled)

    def _checked_on_workers(self, X, y, sample_weight):
        """Return the CheckedData of dask collections."""
        loss = self._loss()
        self._refuse_on_workers(loss)
        X, y, weights = taken_in(
            self, X, y, sample_weight, multi_output=True, y_numeric=True
        )
        tail = y.tail or (1,)
        self._refuse_monotone(tail[0])
        Y = y.cluster.map(_as_columns, tail, np.float64, y)
        if _has_log_link(self.loss):
            self._settled_counts(Y.bounds(), X.dtype, False)
        return CheckedData(X, Y, weights, loss, attributes={"_fitted_loss": self.loss})

    def _settled_counts(self, Y, dtype, in_fold):
        """Refuse targets that have no Poisson mean, or settle those of a fold.

        Where all targets of a fold are zero its mean goes to zero, if there is an
        intercept. The root of the smallest number stands for it: deviances are of
        positive means, by which targets are divided.
        """
        _check_not_negative(Y, self.loss)
        zero = ~Y.any(axis=0)
        if not zero.any():
            return None
        if not (in_fold and self.fit_intercept):
            where = "; without an intercept, in every fold" if in_fold else ""
            raise ValueError(
                f"loss={self.loss!r} needs targets that are not all zero{where}."
            )
        return np.where(zero, np.log(np.finfo(dtype).tiny) / 2, np.nan)

    def _refuse_monotone(self, n_outputs):
        """Refuse several outputs that are to be monotone."""
        if self.monotonic_cst is not None and n_outputs > 1:
            raise ValueError(
                "monotonic_cst is for one output: several share neurons, whose output "
                "weights would all have to be of one sign. Fit one target and one "
                "level of a quantile at a time (sklearn.multioutput."
                "MultiOutputRegressor)."
            )

    def _repeated(self, targets):
        """Return the targets of the outputs: one target as often as there are levels.

        Raises
        ------
        ValueError
            If there are several levels of several targets, or several outputs that
            are to be monotone.
        """
        n_levels = self._n_levels()
        self._refuse_monotone(max(n_levels, targets.shape[1]))
        if n_levels == 1:
            return targets
        if targets.shape[1] > 1:
            raise ValueError(
                f"quantile={self.quantile} has {n_levels} levels, for one target, but "
                f"y has {targets.shape[1]}: fit one level of all targets, or one "
                "target at a time."
            )
        return np.repeat(targets, n_levels, axis=1)

    def _levels(self):
        """Return the levels of the quantile loss; raise where they are none."""
        levels = np.asarray(self.quantile, dtype=object).ravel()
        numbers = all(isinstance(q, Real) and 0.0 < q < 1.0 for q in levels)
        if np.ndim(self.quantile) > 1 or not len(levels) or not numbers:
            raise ValueError(
                f"quantile must hold numbers between zero and one, got {self.quantile}."
            )
        return levels.astype(float)

    def _n_levels(self):
        """Return the number of outputs of one target."""
        return len(self._levels()) if self.loss == "quantile" else 1

    def _problem_params(self):
        """Return the parameters that say what is minimised, but for alpha."""
        params = super()._problem_params()
        levels = tuple(self._levels()) if self.loss == "quantile" else None
        return params | {"quantile": levels}

    def _loss(self):
        """Return the loss that the parameters name."""
        levels = self._levels() if self.loss == "quantile" else None
        return regression_loss(self.loss, self.huber_threshold, levels)

    @answers_in_kind
    def predict(self, X: ArrayLike) -> NDArray:
        """Predict targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples,), (n_samples, n_targets) or (n_samples, n_levels)
            Predicted targets; for the Poisson loss predicted means, and for several
            levels of a quantile one column each. For dask collections they are a dask
            array that is not computed yet.
        """
        predicted = self._forward(X)
        if _has_log_link(self._fitted_loss):
            means = np.exp(predicted, dtype=np.float64)
            holds = np.max(means, initial=0.0) <= np.finfo(predicted.dtype).max
            predicted = means.astype(predicted.dtype) if holds else means
        return predicted[:, 0] if self.n_outputs_ == 1 else predicted

    def score(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the coefficient of determination, or that of quantiles.

        It is R2, as of every regressor, whatever the loss, but for several levels of a
        quantile: there it is the mean over levels of the part of the pinball loss of
        the best constant that the network explains (``d2_pinball_score``).

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        float
            At most one; zero is that of a constant.
        """
        # Those of the fit, whatever the parameter says by now.
        levels = vars(self).get("_fitted_params", {}).get("quantile") or ()
        if is_dask(X) or is_dask(y):
            if len(levels) > 1:
                raise ValueError(
                    "The score of several levels needs quantiles of y, which are not "
                    "sums over blocks; score computed arrays."
                )
            return scored(self, X, y, sample_weight, False)
        if len(levels) <= 1:
            return super().score(X, y, sample_weight)
        predicted, y, sample_weight = map(as_numpy, (self.predict(X), y, sample_weight))
        scores = [
            d2_pinball_score(y, column, sample_weight=sample_weight, alpha=level)
            for column, level in zip(predicted.T, levels, strict=True)
        ]
        return float(np.mean(scores))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = self._takes_several_outputs()
        tags.target_tags.positive_only = _has_log_link(self.loss)
        return tags


def _as_columns(y):
    """Return targets in double, a column each."""
    return np.asarray(y, dtype=np.float64).reshape(len(y), -1)


def _has_log_link(name):
    """Tell whether predictions are logarithms; tags ask before names are checked."""
    return getattr(REGRESSION_LOSSES.get(name), "has_log_link", False)


def _check_not_negative(Y, name):
    """Refuse targets that have no mean with a logarithm."""
    if Y.min() < 0.0:
        raise ValueError(
            f"Some value(s) of y are out of the valid range of the loss {name!r}: "
            "they must not be negative."
        )
