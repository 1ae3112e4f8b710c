"""Estimators that choose their penalty strength by cross-validated paths."""

from __future__ import annotations

from inspect import signature
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn.base import _fit_context, is_classifier
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.model_selection import check_cv
from sklearn.utils import Bunch, _safe_indexing, check_random_state, indexable
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    _raise_for_params,
    _routing_enabled,
    process_routing,
)
from sklearn.utils.parallel import delayed
from sklearn.utils.validation import _num_samples

from sklearn_convexrelu._arrays import Home, as_numpy
from sklearn_convexrelu._base import absolute
from sklearn_convexrelu._callbacks import Task, with_callbacks
from sklearn_convexrelu._classifier import ConvexReLUClassifier
from sklearn_convexrelu._dask import refuse_dask
from sklearn_convexrelu._deadline import Deadline
from sklearn_convexrelu._failures import kept_on_interrupt, undone_on_failure
from sklearn_convexrelu._folds import (
    INTERRUPTED,
    FoldPath,
    Search,
    as_columns,
    as_done,
    as_results,
    check_some_count,
    chosen_index,
    knowing_classes,
    lacking,
    rows_at,
    score_path,
    shared_out,
    warn_of_cut,
    warn_of_missing,
)
from sklearn_convexrelu._path import GRID_CONSTRAINTS, alpha_grid, continued
from sklearn_convexrelu._regressor import ConvexReLURegressor
from sklearn_convexrelu._threads import training_threads
from sklearn_convexrelu.adaptive.loop import AdaptiveSolver
from sklearn_convexrelu.model.gain import Gain
from sklearn_convexrelu.training import warn_of_path

__all__ = ["ConvexReLUClassifierCV", "ConvexReLURegressorCV"]

_FIRST_EPS = 1e-4  # of eps="auto": the path goes there, and on while scores rise


def _to_be_split(X, y, sample_weight):
    """Return the data as splitters index them: targets as an array, of one as (n,)."""
    X, y, sample_weight = indexable(X, y, sample_weight)
    y = y.toarray() if issparse(y) else y  # an indicator
    if np.ndim(y) == 2 and np.shape(y)[1] == 1:
        y = np.ravel(y)  # warned of already
    return X, y, sample_weight


class _CrossValidated:
    """The choice of alpha: what is added to the estimator that comes next in line."""

    _parameter_constraints = {
        **GRID_CONSTRAINTS,
        "eps": [*GRID_CONSTRAINTS["eps"], StrOptions({"auto"})],
        "cv": ["cv_object"],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "selection": [StrOptions({"best", "1se"})],
        "path_tol": [Interval(Real, 0, None, closed="neither")],
    }

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        **params: Any,
    ) -> Self:
        """Choose alpha by a path a fold, then train on all data at that alpha.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features. The weights are returned in their precision, or in double where
            theirs is not enough for ``tol``.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, as the estimator without CV takes them.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, of the training rows and, where the scorer takes
            them, of the test rows. Rows of zero weight, be it that of their class,
            are absent from both.
        **params : dict
            ``groups`` for the splitter ``cv``, as GridSearchCV takes them. With
            ``sklearn.set_config(enable_metadata_routing=True)`` whatever the splitter
            and the scorer request, as LogisticRegressionCV does; splitters of groups
            request ``groups`` by themselves.

        Returns
        -------
        estimator
            The fitted estimator itself.
        """
        refuse_dask(type(self).__name__, X, y, sample_weight)
        deadline, home = Deadline.after(self.time_limit), Home.of(X)
        X, y, sample_weight = map(as_numpy, (X, y, sample_weight))
        if isinstance(sample_weight, Real):
            sample_weight = np.full(_num_samples(X), float(sample_weight))
        routed = self._routed(sample_weight, params)
        with undone_on_failure(self), training_threads(self.n_jobs):
            gain = Gain(self.path_tol, is_all=False)
            solver = self._solver(gain=gain)
            data = self._data(X, y, sample_weight)
            X, y, sample_weight = _to_be_split(X, y, sample_weight)
            folds = self._folds(X, y, np.flatnonzero(data.live), routed.splitter.split)
            subtasks = {"max_subtasks": len(folds) + 1, "sequential_subtasks": False}
            task = Task.of_fit(self, X, y, sample_weight, **subtasks).begin()
            training, alpha_max = self._stated(data, solver)
            search, alphas = self._search(
                data, (X, y, sample_weight), alpha_max, routed
            )
            paths = self._score_folds(folds, search, task, deadline)
            n_tried = max(search.n_asked, *(len(path.scores) for path in paths))
            chosen = self._chosen(paths, alphas[:n_tried], search.grid[:n_tried])
            best = chosen["best_index_"]
            held_out = as_columns(paths, "held_out", n_tried)
            gain.held_out = float(np.nanmean(held_out[best]))
            refit = task.subtask("refit", task_id=len(folds), max_subtasks=None)
            self._train(
                data,
                training,
                alpha_max,
                refit.begin(),
                deadline,
                alpha=alphas[best],
                start=self._start_near(paths, best, data),
            )
            vars(self).update(chosen)
            with kept_on_interrupt(self):
                self._settle_at(home)
                refit.end(attributes={})
        with kept_on_interrupt(self):
            task.end(attributes={})
        return self

    def _chosen(self, paths, alphas, in_folds):
        """Choose by the paths of the folds; warn, and return the fitted attributes.

        ``alphas`` are the absolute strengths on all data, ``in_folds`` what the folds
        were given for them.
        """
        check_some_count(paths)
        scores = as_columns(paths, "scores", len(alphas))
        best = chosen_index(scores, self.selection)
        warn_of_path([s for path in paths for s in path.statuses], "the folds")
        warn_of_missing(paths)
        warn_of_cut(paths, alphas)
        return {
            "alphas_": alphas,
            "best_index_": best,
            "cv_scores_": scores,
            "cv_n_neurons_": as_columns(paths, "n_neurons", len(alphas)),
            "cv_dual_gaps_": as_columns(paths, "dual_gaps", len(alphas)),
            "cv_results_": as_results(paths, in_folds),
        }

    def _start_near(self, paths, best, data):
        """Return the network of a fold, as of the features in training, or None.

        It is that of the strength nearest to the chosen one, of those that folds keep:
        their best. Programmes over given patterns start from nothing.
        """
        kept = [path.kept for path in paths if path.kept is not None]
        if not kept or not isinstance(self._full_rank_solver(), AdaptiveSolver):
            return None
        nearest = min(kept, key=lambda known: abs(known[0] - best))
        return data.to_standard(nearest[1])

    def _folds(self, X, y, live, params):
        """Return the folds, pairs of training and test rows, none of zero weight.

        A number of folds is one of the live rows. What splits by itself, or is split
        already, means all rows by their index.
        """
        rows = np.arange(_num_samples(X))
        is_live = np.isin(rows, live)
        if self.cv is None or isinstance(self.cv, Integral):
            X, y, rows = live, _safe_indexing(y, live), live  # X is but counted
        splitter = check_cv(self.cv, y, classifier=is_classifier(self))
        folds = [
            [part[is_live[part]] for part in (rows_at(rows, a), rows_at(rows, b))]
            for a, b in splitter.split(X, y, **params)
        ]
        if not folds:
            raise ValueError(
                "cv has no folds; a generator can be used once only: give a list."
            )
        return folds

    def _search(self, data, samples, alpha_max, routed):
        """Return what the folds have in common, and the strengths on all data."""
        grid, n_asked = self._grid()
        unit = alpha_max if self.relative_alpha or self.alphas is None else 1.0
        alphas = absolute(grid, unit)
        search = Search(
            model=self._plain(),
            caller=self,
            data=samples,
            whole=data.attributes,
            grid=grid if self.relative_alpha else alphas,
            n_asked=n_asked,
            is_relative=self.relative_alpha,
            scorer=self._scorer_of(data.attributes),
            score_params=routed.scorer.score,
        )
        return search, alphas

    def _grid(self):
        """Return the grid of the folds, and how many of it are to be tried anyway."""
        is_open = self.alphas is None and self.eps == "auto"
        eps = _FIRST_EPS if self.eps == "auto" else self.eps
        grid = alpha_grid(self.alphas, self.n_alphas, eps)
        return continued(grid) if is_open else grid, len(grid)

    def _score_folds(self, folds, search, task, deadline):
        """Follow the path of each fold, in parallel; return their FoldPaths.

        An interrupt ends this with the folds that are done, if there are any.
        """
        paths = [FoldPath(missing=lacking(*fold)) for fold in folds]
        able = [k for k, path in enumerate(paths) if not path.missing]
        most = search.n_asked if search.n_asked == len(search.grid) else None
        contexts = [  # made before they are shared out: pickling freezes them
            task.subtask("fold", task_id=k, max_subtasks=most).context for k in able
        ]
        deadlines = shared_out(deadline, len(able), self.n_jobs)
        calls = (
            delayed(score_path)(search, folds[k], context, limit)
            for k, context, limit in zip(able, contexts, deadlines, strict=True)
        )
        waiting = dict.fromkeys(able)
        try:
            for k, path in zip(able, as_done(calls, self.n_jobs), strict=True):
                paths[k] = path
                del waiting[k]
        except KeyboardInterrupt:
            if len(waiting) == len(able):
                raise
            for k in waiting:
                paths[k].missing = INTERRUPTED
        return paths

    def get_metadata_routing(self) -> MetadataRouter:
        """Return how metadata given to ``fit`` reach the splitter and the scorer.

        Returns
        -------
        MetadataRouter
            What :mod:`sklearn.utils.metadata_routing` asks for.
        """
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(
                # Ready-made folds take no metadata, and looking could use them up.
                splitter=self.cv if hasattr(self.cv, "split") else check_cv(),
                method_mapping=MethodMapping().add(caller="fit", callee="split"),
            )
            .add(
                scorer=self._scorer(),
                method_mapping=MethodMapping().add(caller="fit", callee="score"),
            )
        )

    def _routed(self, sample_weight, params):
        """Return the arguments of the splitter and the scorer."""
        if _routing_enabled():
            if sample_weight is not None:
                params = {**params, "sample_weight": sample_weight}
            return process_routing(self, "fit", **params)
        groups = params.pop("groups", None)
        _raise_for_params(params, self, "fit")
        if groups is not None and not hasattr(self.cv, "split"):
            raise ValueError(
                "groups are for a splitter that knows them, as cv=GroupKFold(5) does; "
                "a number of folds, or folds that are given, leave no use for them."
            )
        score = {}
        if sample_weight is not None and self._scores_with_weights():
            score = {"sample_weight": sample_weight}
        split = {} if groups is None else {"groups": groups}
        return Bunch(splitter=Bunch(split=split), scorer=Bunch(score=score))

    def _scorer(self):
        """Return the scorer, by default that of the ``score`` method."""
        default = "accuracy" if is_classifier(self) else "r2"
        if not is_classifier(self) and self._n_levels() > 1:
            default = _own_score
        return check_scoring(self, scoring=self.scoring or default)

    def _scorer_of(self, whole):
        """Return the scorer of the folds, which knows the classes of all rows."""
        scorer = self._scorer()
        if is_classifier(self) and not whole["_multilabel"]:
            scorer = knowing_classes(scorer, whole["classes_"])
        return scorer

    def _scores_with_weights(self):
        """Tell whether the scorer takes sample weights."""
        scorer = self._scorer()
        function = getattr(scorer, "_score_func", scorer)
        return "sample_weight" in signature(function).parameters

    def _plain(self):
        """Return the estimator that follows the paths of the folds."""
        kind = self._plain_class
        params = {name: getattr(self, name) for name in kind._get_param_names()}
        del params["alpha"]
        # One seed for all folds, whatever the order in which they run.
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        own = {"tol": self.path_tol, "random_state": seed, "n_jobs": None}
        return kind(**params | own)


def _own_score(model, X, y, sample_weight=None):
    """Score several levels of a quantile, for which no scorer has a name."""
    return model.score(X, y, sample_weight)


class ConvexReLURegressorCV(_CrossValidated, ConvexReLURegressor):
    """ReLU network for regression, its penalty chosen by cross-validation.

    Along decreasing penalty strengths alpha it follows, on the training part of every
    fold, the global optima that :class:`ConvexReLURegressor` defines, each from the one
    before [1]_, and scores them on the rest; then it trains on all data at the best
    alpha. The objective and its certificate are those of that class.

    Parameters
    ----------
    alphas : array-like of shape (n_alphas,), default=None
        Penalty strengths to choose from, positive. None takes ``n_alphas`` from
        ``alpha_max_`` down to ``eps * alpha_max_`` in equal ratios.
    n_alphas : int, default=30
        How many strengths where ``alphas`` is None.
    eps : float or "auto", default="auto"
        Smallest strength as a fraction of ``alpha_max_`` where ``alphas`` is None.
        ``"auto"`` is 1e-4 and, where a fold's score still rises there, further in the
        same ratio for as long as it does, at most down to 1.5e-8: data with little
        noise want next to no penalty.
    relative_alpha : bool, default=True
        Whether strengths are fractions of ``alpha_max_``, of each fold's own in the
        folds, or absolute.
    cv : int, cross-validation generator or iterable, default=None
        Folds, as in scikit-learn; None is five. A number is one of folds of the rows of
        positive weight; others are of all rows, and lose those of zero weight.
    scoring : str or callable, default=None
        What is the best; None is R2, for several levels of a quantile their D2.
    selection : {"best", "1se"}, default="best"
        ``"best"`` takes the alpha of the best mean score, ``"1se"`` the largest one
        whose mean score is within one standard error of it [2]_.
    path_tol : float, default=1e-2
        How far networks are trained, in folds and the returned one: until a round
        lowers the objective by less than this part of the loss, or of that on the
        fold's test rows where that is larger, up to the loss of the best constant. Over
        fixed patterns, and with losses that have kinks, it is the duality gap that has
        to be below. The gap of the returned network is within ``tol`` besides.
    loss : {"squared_error", "huber", "poisson", "absolute_error", "quantile"}, \
            default="squared_error"
        As in :class:`ConvexReLURegressor`.
    huber_threshold : float, default=1.35
        Residual, in the unit of y, from which the Huber loss is linear.
    quantile : float or array-like of shape (n_levels,), default=0.5
        Level of the quantile that is fitted, or several of one target.
    fit_intercept : bool, default=True
        Whether to fit the output intercepts, which are not penalised.
    hidden_bias : bool, default=True
        Whether hidden units have a bias, penalised like a weight.
    standardize : bool, default=False
        Whether features are divided by their standard deviations inside the fit, with
        the sample weights, and not centred: sparse ones stay sparse, and the hidden
        bias costs what it does. ``coefs_`` are for the features as they are; the
        penalty, ``objective_``, ``alpha_max_`` and certificates are of the scaled ones.
    subnetwork_widths : tuple of int, default=()
        Hidden widths before the last hidden unit of each parallel sub-network. ``()``:
        neurons, so two layers. ``(m1,)``: three layers, sub-networks of m1 neurons that
        feed one. ``(m1, m2)``: four layers, and so on; from there on
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
        of the weights has that sign or is zero, so that ``predict`` is monotone
        everywhere. It is for one output, ReLUs and no ``rank``. Two layers have no S
        shapes then, as that class says; ``subnetwork_widths=(2,)`` has.
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
        Cap on the number of neurons; None is no cap.
    tol : float, default=1e-3
        Stop when the duality gap is at most ``tol`` times the loss of the best
        constant prediction.
    max_iter : int, default=None
        Largest number of rounds for each network (None: 100), or of steps of the
        solver over fixed patterns (None: 200 of the interior point method, 20000 of
        FISTA).
    time_limit : float, default=None
        Seconds after which the fit ends; None is no limit. Two thirds of them are for
        the folds, shared alike, whose paths may so end early, with a warning; the last
        fit has the rest and ends with the best network so far.
    random_state : int, RandomState instance or None, default=None
        Seed of the search for neurons, the same in all folds.
    n_jobs : int, default=None
        How many folds to run at a time, by joblib and on any of its backends; and as
        many threads for the last fit.
    verbose : int, default=0
        1 prints a line a network of the paths and a line a round of the last fit. 2
        adds a line a round of the paths and the steps of the last fit; 3 the steps of
        the paths, and those of the last fit's start.

    Attributes
    ----------
    alphas_ : ndarray of shape (n_alphas,)
        Absolute penalty strengths on all data, decreasing; more than the parameter
        ``n_alphas`` where paths went on.
    alpha_, alpha_max_ : float
        The strength chosen, ``alphas_[best_index_]``, and the least one with a constant
        as the optimum. ``alpha_ / alpha_max_`` is the relative one.
    best_index_ : int
        Index of the strength chosen.
    cv_scores_ : ndarray of shape (n_alphas, n_folds)
        Held-out scores; nan where a fold's path had passed its best. Only strengths
        that every fold has scored are chosen from. A column of nan is a fold that does
        not count, which a warning names: all its scores are nan, it has no row of
        positive weight to train or to test, or an interrupt came first.
    cv_n_neurons_, cv_dual_gaps_ : ndarray of shape (n_alphas, n_folds)
        Numbers of neurons and duality gaps of the networks scored, by brief searches:
        no gap is asked for. With ``rank`` the gaps are those of the problem of that
        rank.
    cv_results_ : dict of ndarray
        The same as a table, one row an alpha, as GridSearchCV has it and
        ``pandas.DataFrame`` takes it: ``params`` and ``param_alpha`` (for the parameter
        ``alpha`` of an estimator without CV), ``split0_test_score`` and so on,
        ``mean_test_score``, ``std_test_score``, ``rank_test_score``,
        ``mean_n_neurons``, ``mean_dual_gap``. Means are over the folds that count, nan
        where the path of one of them had ended.
    coefs_, intercepts_, skip_coef_, network_, n_neurons_ : list, ndarray, Network, int
        The network trained on all data, as in :class:`ConvexReLURegressor`, which says
        what gated and deeper ones have, and so are
    objective_, lower_bound_, dual_gap_, certificate_ : float, float, float, Certificate
        its certificate and
    n_iter_, history_, status_, tolerance_ : int, list of dict, Status, float
        how it came about.
    feature_importances_ : ndarray of shape (n_features,)
        Share of each feature in the weights of that network.
    n_outputs_, n_features_in_, feature_names_in_
        As in scikit-learn.

    See Also
    --------
    ConvexReLURegressor : The same at one penalty strength.
    convex_relu_path : One path without folds.

    Notes
    -----
    Networks on a path start from the one before, at a stronger penalty, and so take a
    fraction of the time of as many fits. A fold's path ends early where its score has
    clearly passed its best (with 20 test rows or more). The last fit starts from the
    network of the fold whose best strength is nearest to the one chosen. Folds run with
    one BLAS thread each, so that scores do not depend on ``n_jobs``.

    An interrupt ends the folds: alpha is chosen by those that are done, with a warning,
    and the last fit follows, which another interrupt ends. It raises where no fold is
    done, and from joblib's multiprocessing, which hands over all folds at the end.

    Where all counts of a fold are zero its Poisson mean is next to zero.

    References
    ----------
    .. [1] Friedman, Hastie & Tibshirani (2010), "Regularization Paths for Generalized
       Linear Models via Coordinate Descent", Journal of Statistical Software 33(1).
    .. [2] Breiman, Friedman, Olshen & Stone (1984), "Classification and Regression
       Trees", Wadsworth, section 3.4.3: the one standard error rule.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_convexrelu import ConvexReLURegressorCV
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = make_pipeline(
    ...     StandardScaler(), ConvexReLURegressorCV(n_alphas=10, random_state=0)
    ... ).fit(X, y)
    >>> bool(0.01 < model[-1].alpha_ / model[-1].alpha_max_ < 0.5)
    True
    """

    _plain_class = ConvexReLURegressor
    _parameter_constraints = {
        **ConvexReLURegressor._parameter_constraints,
        **_CrossValidated._parameter_constraints,
    }
    del _parameter_constraints["alpha"], _parameter_constraints["warm_start"]

    def __init__(
        self,
        alphas=None,
        *,
        n_alphas=30,
        eps="auto",
        relative_alpha=True,
        cv=None,
        scoring=None,
        selection="best",
        path_tol=1e-2,
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
        random_state=None,
        n_jobs=None,
        verbose=0,
    ):
        super().__init__(
            None,
            relative_alpha=relative_alpha,
            loss=loss,
            huber_threshold=huber_threshold,
            quantile=quantile,
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
            random_state=random_state,
            n_jobs=n_jobs,
            verbose=verbose,
        )
        self.alphas = alphas
        self.n_alphas = n_alphas
        self.eps = eps
        self.cv = cv
        self.scoring = scoring
        self.selection = selection
        self.path_tol = path_tol


class ConvexReLUClassifierCV(_CrossValidated, ConvexReLUClassifier):
    """ReLU network for classification, penalty chosen by cross-validation.

    Along decreasing penalty strengths alpha it follows, on the training part of every
    fold, the global optima that :class:`ConvexReLUClassifier` defines, each from the
    one before [1]_, and scores them on the rest; then it trains on all data at the best
    alpha. The objective and its certificate are those of that class.

    Parameters
    ----------
    alphas : array-like of shape (n_alphas,), default=None
        Penalty strengths to choose from, positive. None takes ``n_alphas`` from
        ``alpha_max_`` down to ``eps * alpha_max_`` in equal ratios.
    n_alphas : int, default=30
        How many strengths where ``alphas`` is None.
    eps : float or "auto", default="auto"
        Smallest strength as a fraction of ``alpha_max_`` where ``alphas`` is None.
        ``"auto"`` is 1e-4 and, where a fold's score still rises there, further in the
        same ratio for as long as it does, at most down to 1.5e-8: data with little
        noise want next to no penalty.
    relative_alpha : bool, default=True
        Whether strengths are fractions of ``alpha_max_``, of each fold's own in the
        folds, or absolute.
    cv : int, cross-validation generator or iterable, default=None
        Folds, as in scikit-learn; None is five. A number is one of folds of the rows of
        positive weight; others are of all rows, and lose those of zero weight.
    scoring : str or callable, default=None
        What is the best; None is the accuracy.
    selection : {"best", "1se"}, default="best"
        ``"best"`` takes the alpha of the best mean score, ``"1se"`` the largest one
        whose mean score is within one standard error of it [2]_.
    path_tol : float, default=1e-2
        How far networks are trained, in folds and the returned one: until a round
        lowers the objective by less than this part of the loss, or of that on the
        fold's test rows where that is larger, up to the loss of the best constant. Over
        fixed patterns, and with losses that have kinks, it is the duality gap that has
        to be below. The gap of the returned network is within ``tol`` besides.
    loss : {"log_loss", "squared_hinge", "hinge", "squared_error"}, default="log_loss"
        As in :class:`ConvexReLUClassifier`.
    class_weight : dict, "balanced" or None, default=None
        Factors of the sample weights by class.
    fit_intercept : bool, default=True
        Whether to fit the output intercepts, which are not penalised.
    hidden_bias : bool, default=True
        Whether hidden units have a bias, penalised like a weight.
    standardize : bool, default=False
        Whether features are divided by their standard deviations inside the fit, with
        the sample weights, and not centred: sparse ones stay sparse, and the hidden
        bias costs what it does. ``coefs_`` are for the features as they are; the
        penalty, ``objective_``, ``alpha_max_`` and certificates are of the scaled ones.
    subnetwork_widths : tuple of int, default=()
        Hidden widths before the last hidden unit of each parallel sub-network. ``()``:
        neurons, so two layers. ``(m1,)``: three layers, sub-networks of m1 neurons that
        feed one. ``(m1, m2)``: four layers, and so on; from there on
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
        have no S shapes then, as that class says; ``subnetwork_widths=(2,)`` has.
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
        Cap on the number of neurons; None is no cap.
    tol : float, default=1e-3
        Stop when the duality gap is at most ``tol`` times the loss of the best
        constant prediction.
    max_iter : int, default=None
        Largest number of rounds for each network (None: 100), or of steps of the
        solver over fixed patterns (None: 200 of the interior point method, 20000 of
        FISTA).
    time_limit : float, default=None
        Seconds after which the fit ends; None is no limit. Two thirds of them are for
        the folds, shared alike, whose paths may so end early, with a warning; the last
        fit has the rest and ends with the best network so far.
    random_state : int, RandomState instance or None, default=None
        Seed of the search for neurons, the same in all folds.
    n_jobs : int, default=None
        How many folds to run at a time, by joblib and on any of its backends; and as
        many threads for the last fit.
    verbose : int, default=0
        1 prints a line a network of the paths and a line a round of the last fit. 2
        adds a line a round of the paths and the steps of the last fit; 3 the steps of
        the paths, and those of the last fit's start.

    Attributes
    ----------
    alphas_ : ndarray of shape (n_alphas,)
        Absolute penalty strengths on all data, decreasing; more than the parameter
        ``n_alphas`` where paths went on.
    alpha_, alpha_max_ : float
        The strength chosen, ``alphas_[best_index_]``, and the least one with a constant
        as the optimum. ``alpha_ / alpha_max_`` is the relative one.
    best_index_ : int
        Index of the strength chosen.
    cv_scores_ : ndarray of shape (n_alphas, n_folds)
        Held-out scores; nan where a fold's path had passed its best. Only strengths
        that every fold has scored are chosen from. A column of nan is a fold that does
        not count, which a warning names: all its scores are nan, it has no row of
        positive weight to train or to test, or an interrupt came first.
    cv_n_neurons_, cv_dual_gaps_ : ndarray of shape (n_alphas, n_folds)
        Numbers of neurons and duality gaps of the networks scored, by brief searches:
        no gap is asked for. With ``rank`` the gaps are those of the problem of that
        rank.
    cv_results_ : dict of ndarray
        The same as a table, one row an alpha, as GridSearchCV has it and
        ``pandas.DataFrame`` takes it: ``params`` and ``param_alpha`` (for the parameter
        ``alpha`` of an estimator without CV), ``split0_test_score`` and so on,
        ``mean_test_score``, ``std_test_score``, ``rank_test_score``,
        ``mean_n_neurons``, ``mean_dual_gap``. Means are over the folds that count, nan
        where the path of one of them had ended.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    coefs_, intercepts_, skip_coef_, network_, n_neurons_ : list, ndarray, Network, int
        The network trained on all data, as in :class:`ConvexReLUClassifier`, which says
        what gated and deeper ones have, and so are
    objective_, lower_bound_, dual_gap_, certificate_ : float, float, float, Certificate
        its certificate and
    n_iter_, history_, status_, tolerance_ : int, list of dict, Status, float
        how it came about.
    feature_importances_ : ndarray of shape (n_features,)
        Share of each feature in the weights of that network.
    n_outputs_, n_features_in_, feature_names_in_
        As in scikit-learn.

    See Also
    --------
    ConvexReLUClassifier : The same at one penalty strength.
    convex_relu_path : One path without folds.

    Notes
    -----
    Networks on a path start from the one before, at a stronger penalty, and so take a
    fraction of the time of as many fits. A fold's path ends early where its score has
    clearly passed its best (with 20 test rows or more). The last fit starts from the
    network of the fold whose best strength is nearest to the one chosen. Folds run with
    one BLAS thread each, so that scores do not depend on ``n_jobs``.

    An interrupt ends the folds: alpha is chosen by those that are done, with a warning,
    and the last fit follows, which another interrupt ends. It raises where no fold is
    done, and from joblib's multiprocessing, which hands over all folds at the end.

    The networks of the folds know all classes. With the log loss and intercepts, one
    that a fold's training rows lack has probability zero, the limit of the optimum, and
    a label that they all share zero or one (``neg_log_loss`` clips these, so it is
    finite). Other losses train the output. Scorers of probabilities are told the
    classes too.

    References
    ----------
    .. [1] Friedman, Hastie & Tibshirani (2010), "Regularization Paths for Generalized
       Linear Models via Coordinate Descent", Journal of Statistical Software 33(1).
    .. [2] Breiman, Friedman, Olshen & Stone (1984), "Classification and Regression
       Trees", Wadsworth, section 3.4.3: the one standard error rule.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_convexrelu import ConvexReLUClassifierCV
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = make_pipeline(
    ...     StandardScaler(),
    ...     ConvexReLUClassifierCV(n_alphas=10, scoring="neg_log_loss", random_state=0),
    ... ).fit(X, y)
    >>> bool(model.score(X, y) > 0.97)
    True
    """

    _plain_class = ConvexReLUClassifier
    _parameter_constraints = {
        **ConvexReLUClassifier._parameter_constraints,
        **_CrossValidated._parameter_constraints,
    }
    del _parameter_constraints["alpha"], _parameter_constraints["warm_start"]

    def __init__(
        self,
        alphas=None,
        *,
        n_alphas=30,
        eps="auto",
        relative_alpha=True,
        cv=None,
        scoring=None,
        selection="best",
        path_tol=1e-2,
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
        random_state=None,
        n_jobs=None,
        verbose=0,
    ):
        super().__init__(
            None,
            relative_alpha=relative_alpha,
            loss=loss,
            class_weight=class_weight,
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
            random_state=random_state,
            n_jobs=n_jobs,
            verbose=verbose,
        )
        self.alphas = alphas
        self.n_alphas = n_alphas
        self.eps = eps
        self.cv = cv
        self.scoring = scoring
        self.selection = selection
        self.path_tol = path_tol
