"""ConvexReLUClassifier."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from sklearn_convexrelu._arrays import answers_in_kind
from sklearn_convexrelu._base import BaseConvexReLU, CheckedData
from sklearn_convexrelu._dask import (
    facts_of_labels,
    is_dask,
    scored,
    taken_in,
)
from sklearn_convexrelu.data.tables import checked, checked_weights, of_rows
from sklearn_convexrelu.model.losses import CLASSIFICATION_LOSSES, classification_loss

__all__ = ["ConvexReLUClassifier"]

# The first sentence is that of HistGradientBoostingClassifier.
_NOT_MONOTONE = (
    "monotonic constraints are not supported for multiclass classification. Only "
    "binary classification is supported. The type of the target is {}."
)
_NO_CLASSES = (
    "class_weight names classes, of which multilabel targets have none; use "
    "'balanced', or weigh the samples with sample_weight."
)


def _has_probabilities(model):
    """Tell whether the loss models probabilities, or why it does not."""
    loss = getattr(model, "_fitted_loss", model.loss)
    if loss != "log_loss":
        raise AttributeError(
            f"probability estimates are not available for loss={loss!r}; "
            "use loss='log_loss'"
        )
    return True


class ConvexReLUClassifier(ClassifierMixin, BaseConvexReLU):
    r"""ReLU network for classification, trained to its global optimum.

    Scores depend on ``alpha``: :class:`ConvexReLUClassifierCV` chooses it, the
    default here fits small noisy tables too closely.

    With :math:`f(x) = \sum_j w_{2j} \max(0, w_{1j}^T x + b_{1j}) + b_2`, any number of
    neurons j, it minimises

    .. math::

        \frac{1}{S} \sum_{i=1}^{n} s_i \, \ell(f(x_i), y_i)
        + \alpha \sum_j \|(w_{1j}, b_{1j})\|_2 \|w_{2j}\|_2,

    where :math:`s_i` are the sample weights, :math:`S` their sum and :math:`\ell` the
    loss. Two classes have one output, several have one each and share the neurons.
    Rescaling neurons shows that the penalty is weight decay, :math:`\alpha / 2` times
    the sum of squares of all weights but :math:`b_2`. The problem is convex in the
    function f [1]_ (for several outputs: [2]_), so there is no local optimum to fear:
    neurons are generated until a duality gap shows that no other network is better by
    more than the tolerance. ``norm="l1"`` puts the 1-norm in the place of the first
    norm, which leaves out features that do not matter.
    ``skip_connection`` adds a linear part.

    Parameters
    ----------
    alpha : float, default=0.01
        Penalty strength, positive. With ``relative_alpha`` it is the fraction of
        ``alpha_max_``, the least strength at which the best network is a constant, so
        that one grid fits every data set; useful values are 0.1 to 0.0003.
    relative_alpha : bool, default=True
        Whether ``alpha`` is relative to ``alpha_max_`` or absolute.
    loss : {"log_loss", "squared_hinge", "hinge", "squared_error"}, default="log_loss"
        ``"log_loss"`` is that of one logit for two classes, of the softmax for several
        and of one logit a label for multilabel targets; it gives probabilities.
        ``"squared_hinge"`` is ``max(0, 1 - y f)^2 / 2``, ``"hinge"`` is
        ``max(0, 1 - y f)`` and ``"squared_error"`` ``(f - y)^2 / 2``, with y one for
        the class of an output and minus one for the others, summed over outputs.
    class_weight : dict, "balanced" or None, default=None
        Factors of the sample weights by class, one for classes that are not named.
        ``alpha_max_`` does not know them, so a light class counts for little.
        ``"balanced"`` gives every class the same total weight; for multilabel targets
        it is the product of the labels' factors, and the only choice.
    fit_intercept : bool, default=True
        Whether to fit the output intercepts :math:`b_2`, which are not penalised.
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
        parallel branches is the identity. True penalises it by alpha times its
        norm, that of the units: the 2-norm or 1-norm of its weights (several outputs:
        the nuclear norm, or the sum of the 2-norms of rows). ``"free"`` does not, as
        the intercept is not; ``alpha_max_`` is then the least strength at which the
        linear fit is the best network.
    monotonic_cst : array-like of int of shape (n_features,), dict or None, \
            default=None
        Which way outputs go with each feature, as in scikit-learn's histogram gradient
        boosting: 1 up, -1 down, 0 either; a dict has them by feature names, 0 where one
        is left out. Then along every path from such a feature to the output the product
        of the weights has that sign or is zero, so that ``decision_function`` is
        monotone everywhere. It is for two classes, ReLUs and no ``rank``. Two layers
        have no S shapes then, see Notes; ``subnetwork_widths=(2,)`` has.
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
        constant prediction (log loss: the entropy of the class frequencies).
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
        Whether to start from the network of the last fit, for the same classes.
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
    classes_ : ndarray of shape (n_classes,)
        Class labels; for multilabel targets the indices of the labels.
    coefs_ : list of ndarray
        Weights of the hidden layer, (n_features, n_neurons), and of the output layer,
        (n_neurons, n_outputs), as in :class:`~sklearn.neural_network.MLPClassifier`.
        Neurons are balanced: both layers weigh the same, so the penalty is
        ``alpha_ / 2`` times the sum of squares of ``coefs_`` and the hidden intercepts.
    intercepts_ : list of ndarray
        Biases of the hidden layer, (n_neurons,), and of the output, (n_outputs,).
        With sub-networks there is a pair of weights and biases a layer, those of the
        sub-networks side by side (block-diagonal).
    skip_coef_ : ndarray of shape (n_features, n_outputs)
        Weights of the linear part, with ``skip_connection``; predictions are those of
        ``coefs_`` and ``intercepts_`` plus ``X skip_coef_``.
    network_ : Network, TreeNetwork, GatedNetwork or GatedTreeNetwork
        The same weights, or those of a gated model, as one object.
    lipschitz_ : float
        Bound on the Lipschitz constant of the outputs, both norms Euclidean: the sum
        over neurons, or over paths, of the products of their weights' norms, without
        biases. No input changed by e changes the outputs by more than
        ``lipschitz_ * ||e||``. The penalty is what keeps it small. A gated
        model jumps, and has none.
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
        Absolute penalty strength, and the least one with a constant as the optimum,
        before ``class_weight``.
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
    sklearn.neural_network.MLPClassifier : The same networks trained by gradient steps.
    ConvexReLURegressor : The same for regression.

    Notes
    -----
    The penalty is not invariant to the scale of features: standardise them, or set
    ``standardize``, as for
    MLPClassifier. Samples of zero weight count as absent, and so do classes that only
    they have.

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
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_convexrelu import ConvexReLUClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = make_pipeline(
    ...     StandardScaler(), ConvexReLUClassifier(alpha=0.03, tol=0.01, random_state=0)
    ... )
    >>> bool(cross_val_score(model, X, y).mean() > 0.96)
    True
    """

    _parameter_constraints = {
        **BaseConvexReLU._parameter_constraints,
        "loss": [StrOptions(set(CLASSIFICATION_LOSSES))],
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        alpha=0.01,
        *,
        relative_alpha=True,
        loss="log_loss",
        class_weight=None,
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
        self.class_weight = class_weight

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
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class labels of any type, or an indicator matrix for multilabel targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, multiplied by those of the classes. A weight of two is
            the same as the row twice, a weight of zero the same as no row.

        Returns
        -------
        ConvexReLUClassifier
            The fitted estimator.
        """
        return self._fit(X, y, sample_weight)

    def _checked(self, X, y, sample_weight, whole=None, settles=True):
        """Return the CheckedData, without samples of zero weight."""
        if is_dask(X) or is_dask(y):
            return self._checked_on_workers(X, y, sample_weight)
        X, y = checked(self, X, y, multi_output=True)
        check_classification_targets(y)
        y = y.toarray() if issparse(y) else y
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        weights = checked_weights(sample_weight, X)
        factors = self._class_factors(y, weights, whole)
        live = weights > 0.0 if factors is None else weights * factors > 0.0
        X, y, weights = of_rows(live, X, y, weights)
        factors = None if factors is None else factors[live]
        known = whole or self._kind_of(y)
        Y = _indicators(y, known)
        settled = None
        if whole is None:
            self._check_classes(known["classes_"], Y, known["_multilabel"])
        elif settles:
            settled = self._settled_outputs(Y, X.dtype)
        return CheckedData(
            X,
            Y,
            weights,
            self._loss(Y.shape[1], known["_multilabel"]),
            factors,
            attributes=known,
            live=live,
        ).settling(settled)

    def _kind_of(self, y):
        """Return the attributes that the targets of positive weight tell."""
        self._check_kind(y)
        multilabel = type_of_target(y).startswith("multilabel")
        return {
            "classes_": np.arange(y.shape[1]) if multilabel else np.unique(y),
            "_multilabel": multilabel,
            "_fitted_loss": self.loss,
        }

    def _checked_on_workers(self, X, y, sample_weight):
        """Return the CheckedData of dask collections."""
        X, y, weights = taken_in(self, X, y, sample_weight, multi_output=True)
        classes, totals, total, multilabel = facts_of_labels(y, weights)
        known = {
            "classes_": classes,
            "_multilabel": multilabel,
            "_fitted_loss": self.loss,
        }
        n_outputs = len(classes) if multilabel or len(classes) > 2 else 1
        if n_outputs > 1 and self.monotonic_cst is not None:
            kind = "multilabel-indicator" if multilabel else "multiclass"
            raise ValueError(_NOT_MONOTONE.format(kind))
        loss = self._loss(n_outputs, multilabel)
        self._refuse_on_workers(loss)
        Y = y.cluster.map(_indicators, (n_outputs,), np.float64, y, known)
        self._check_classes(classes, Y.bounds(), multilabel)
        factors = None
        if self.class_weight is not None:
            by_class = self._factors_of_classes(classes, totals, total, multilabel)
            factors = y.cluster.map(_factors, (), np.float64, y, known, by_class)
        return CheckedData(X, Y, weights, loss, factors, attributes=known)

    def _factors_of_classes(self, classes, totals, total, multilabel):
        """Return what weights of samples are multiplied by for each class.

        Of labels it is (2, n_labels), for samples without and with them.
        """
        if multilabel:
            if self.class_weight != "balanced":
                raise ValueError(_NO_CLASSES)
            sides = np.array([total - totals, totals])
            return np.divide(total / 2, sides, np.ones(sides.shape), where=sides > 0.0)
        if self.class_weight == "balanced":
            return total / len(classes) / totals
        factors = compute_class_weight(self.class_weight, classes=classes, y=classes)
        if not (factors.min() > 0.0 and np.isfinite(factors).all()):
            raise ValueError(
                "Values of class_weight must be finite, and positive where rows are on "
                "workers: leave classes of zero weight out of the collections."
            )
        return factors

    def _settled_outputs(self, Y, dtype):
        """Return the outputs of a fold that have no finite optimum, nan for the others.

        With the log loss the intercept of a class that no sample has, or of a label
        that all share, goes to infinity, and probabilities to zero and one. Half the
        largest number stands for it, so that differences are finite.
        """
        constant = (Y == Y[0]).all(axis=0)
        if self.loss != "log_loss" or not self.fit_intercept or not constant.any():
            return None
        limit = np.finfo(dtype).max / 2
        return np.where(constant, np.where(Y[0] > 0.0, limit, -limit), np.nan)

    def _check_kind(self, y):
        """Refuse what is no indicator, and several outputs where only one is possible.

        The targets are those of positive weight: others count as absent.
        """
        kind = type_of_target(y)
        if kind.startswith("multilabel") and not np.isin(y, (0, 1)).all():
            raise ValueError("Multilabel targets must be indicators, zeros and ones.")
        if kind != "binary" and self.monotonic_cst is not None:
            raise ValueError(_NOT_MONOTONE.format(kind))
        if kind != "binary" and not self._takes_several_outputs():
            raise ValueError(
                "Only binary classification is supported. The type of the target is "
                f"{kind}. Over fixed patterns several outputs need "
                "activation='gated_relu'; patterns='adaptive' takes any."
            )

    def _class_factors(self, y, weights, whole):
        """Return the factor of each sample's weight that its class has, if any."""
        if self.class_weight is None:
            return None
        if type_of_target(y).startswith("multilabel"):
            if self.class_weight != "balanced":
                raise ValueError(_NO_CLASSES)
            return np.prod([_balanced_factors(label, weights) for label in y.T], axis=0)
        if self.class_weight == "balanced":
            return _balanced_factors(y, weights)
        classes, codes = np.unique(y, return_inverse=True)
        if whole is not None:  # a fold may lack classes that have a weight
            return np.array([self.class_weight.get(c, 1.0) for c in classes])[codes]
        factors = compute_class_weight(self.class_weight, classes=classes, y=y)
        if factors.min() < 0.0 or not np.isfinite(factors).all():
            raise ValueError("Values of class_weight must be finite and not negative.")
        if not (factors[codes] * weights).any():
            raise ValueError("class_weight leaves no sample with a positive weight.")
        return factors[codes]

    def _check_classes(self, classes, Y, multilabel):
        """Refuse targets without a finite optimum, and other classes on a warm start.

        A label that all samples share wants an infinite logit.
        """
        if not multilabel and len(classes) < 2:
            raise ValueError(
                "This solver needs samples of at least 2 classes in the data, but the "
                f"data contains only one class: {classes[0]!r}"
            )
        constant = np.flatnonzero((Y == Y[0]).all(axis=0))
        if multilabel and self.loss == "log_loss" and self.fit_intercept:
            if len(constant):
                raise ValueError(
                    f"Label {constant[0]} is the same in every sample of positive "
                    "weight, so its log loss has no finite minimiser; leave the label "
                    "out, or use loss='squared_hinge' or fit_intercept=False."
                )
        if self.warm_start and hasattr(self, "network_"):
            same = self._multilabel == multilabel
            if not same or set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in "
                    f"the previous call to fit. Previously got {self.classes_}, `y` "
                    f"has {classes}"
                )

    def _loss(self, n_outputs, multilabel):
        """Return the loss that the parameters name, for outputs of that number."""
        is_exclusive = n_outputs > 1 and not multilabel
        return classification_loss(self.loss, is_exclusive=is_exclusive)

    @answers_in_kind
    def decision_function(self, X: ArrayLike) -> NDArray:
        """Return the outputs of the network.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            For two classes one value a sample, positive for ``classes_[1]``; else one
            for each class or label. With the log loss these are logits.
        """
        F = self._forward(X)
        return F[:, 0] if self.n_outputs_ == 1 else F

    @answers_in_kind
    def predict(self, X: ArrayLike) -> NDArray:
        """Predict classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            The class of the largest output, or the indicator of labels with positive
            outputs.
        """
        F = self._forward(X)
        if self._multilabel:
            return (F > 0.0).astype(int)
        codes = F.argmax(axis=1) if self.n_outputs_ > 1 else (F[:, 0] > 0.0).astype(int)
        return self.classes_[codes]

    @available_if(_has_probabilities)
    @answers_in_kind
    def predict_proba(self, X: ArrayLike) -> NDArray:
        """Predict probabilities; with the log loss only.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Probability of each class, rows summing to one, or of each label by itself.
        """
        F = self._forward(X)
        if self._multilabel:
            return expit(F)
        return np.hstack([expit(-F), expit(F)]) if F.shape[1] == 1 else softmax(F, 1)

    @available_if(_has_probabilities)
    @answers_in_kind
    def predict_log_proba(self, X: ArrayLike) -> NDArray:
        """Predict logarithms of probabilities, exact where these are tiny.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Log probability of each class or label.
        """
        F = self._forward(X)
        if self._multilabel:
            return log_expit(F)
        if F.shape[1] == 1:
            return np.hstack([log_expit(-F), log_expit(F)])
        return log_softmax(F, axis=1)

    def score(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the part of samples whose class, or all labels, are right.

        Parameters
        ----------
        X : {array-like, sparse matrix, dask collection} of shape \
                (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Classes, or an indicator of labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        float
            The accuracy.
        """
        if is_dask(X) or is_dask(y):
            return scored(self, X, y, sample_weight, True)
        return super().score(X, y, sample_weight)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        several = self._takes_several_outputs()
        tags.classifier_tags.multi_label = several
        tags.classifier_tags.multi_class = several
        return tags


def _indicators(y, known):
    """Return the targets of the outputs, one for two classes, else one each."""
    binarizer = LabelBinarizer(
        neg_label=0 if known["_fitted_loss"] == "log_loss" else -1
    )
    binarizer.fit(y if known["_multilabel"] else known["classes_"])
    return binarizer.transform(y).astype(np.float64)


def _factors(y, known, by_class):
    """Return the factor of each sample's weight, given those of classes or labels."""
    if known["_multilabel"]:
        return np.where(y != 0, by_class[1], by_class[0]).prod(axis=1)
    return by_class[np.searchsorted(known["classes_"], y)]


def _balanced_factors(y, weights):
    """Return the factors of samples that give classes equal totals of the weights."""
    classes, codes = np.unique(y, return_inverse=True)
    totals = np.bincount(codes, weights)
    target = totals.sum() / np.count_nonzero(totals)
    factors = np.divide(target, totals, out=np.zeros(len(totals)), where=totals > 0.0)
    return factors[codes]
