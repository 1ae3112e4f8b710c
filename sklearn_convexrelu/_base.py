"""What the estimators share: check, train, set fitted attributes, predict."""

from abc import ABCMeta, abstractmethod
from dataclasses import dataclass, field, replace
from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_monotonic_cst, check_is_fitted

from sklearn_convexrelu._arrays import ArraysMixin, Home, as_numpy
from sklearn_convexrelu._callbacks import (
    CallbackSupportMixin,
    Printer,
    Task,
    Watcher,
    with_callbacks,
)
from sklearn_convexrelu._deadline import Deadline
from sklearn_convexrelu._exports import ExportMixin
from sklearn_convexrelu._failures import (
    kept_on_interrupt,
    tell_of_interrupt,
    undone_on_failure,
)
from sklearn_convexrelu._posthoc import PosthocMixin
from sklearn_convexrelu._threads import training_threads
from sklearn_convexrelu.adaptive.loop import AdaptiveSolver
from sklearn_convexrelu.data.cluster import is_spread
from sklearn_convexrelu.data.statement import (
    standard_scales,
    state_problem,
    unlike_scales,
)
from sklearn_convexrelu.data.tables import checked_again
from sklearn_convexrelu.model.loss import Loss
from sklearn_convexrelu.model.losses import (
    CLASSIFICATION_LOSSES,
    REGRESSION_LOSSES,
    SquaredError,
)
from sklearn_convexrelu.model.monotone import Monotone
from sklearn_convexrelu.model.neurons import NeuronShape
from sklearn_convexrelu.model.norms import NORMS
from sklearn_convexrelu.model.subnetworks import TreeNetwork, TreeShape
from sklearn_convexrelu.programmes.fixed_patterns import FixedPatterns
from sklearn_convexrelu.programmes.group_lasso import refuse_nested
from sklearn_convexrelu.programmes.low_rank import LowRank
from sklearn_convexrelu.training import Training, follow, train, warn

__all__ = ["BaseConvexReLU", "CheckedData", "absolute", "shares"]

_DEFAULT_MAX_ITER = 100
_UNLIKE = 1e3  # ratio of features' spreads from which a fit warns
# A path ends where the loss is less than this part of that of the best constant: no
# smaller alpha can lower it by more.
_SETTLED = 1e-5
# Times the range of a feature: nearest distance to zero that is far under the 1-norm.
# On 80 rows of four features, offsets of 200 and 2 10^5 ranges left fits 1 and 230
# tolerances above that of centred features; 20 ranges none.
_FAR = 50.0
# The same for monotone networks: on eight tables of 18 rows, two and three features,
# features about 5, 15 and 300 ranges away left fits 1.2, 1.8 and 5.3 tolerances above
# the optimum.
_FAR_SIDED = 20.0


@dataclass(frozen=True)
class CheckedData:
    """What ``fit`` was given, checked and in numbers.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features)
        Features, float32 or float64.
    Y : ndarray of shape (n_samples, n_outputs)
        Targets as the loss takes them.
    weights : ndarray of shape (n_samples,)
        Sample weights.
    loss : Loss
        Loss of the outputs.
    factors : ndarray of shape (n_samples,), default=None
        Factors of the weights that ``alpha_max_`` does not know: who makes a class
        light wants it ignored, not regularised less.
    attributes : dict, default={}
        Fitted attributes that only the targets tell.
    live : ndarray of bool, default=None
        Which of the rows given these are: those of positive weight.
    settled : ndarray of shape (n_all_outputs,), default=None
        In a fold, outputs without a finite optimum, as of a class that none of its
        rows has: what they are set to, and nan for those that are trained. None where
        all are trained.
    scales : ndarray of shape (n_features,), default=None
        What features are divided by in training; None: nothing.
    """

    X: np.ndarray
    Y: np.ndarray
    weights: np.ndarray
    loss: Loss
    factors: np.ndarray | None = None
    attributes: dict = field(default_factory=dict)
    live: np.ndarray | None = None
    settled: np.ndarray | None = None
    scales: np.ndarray | None = None

    def standardised(self):
        """Return the data whose features count in units of their deviations."""
        return replace(self, scales=standard_scales(self.X, self._there(self.weights)))

    def _there(self, samples):
        """Return what has one row a sample where the features are."""
        if is_spread(self.X) and not is_spread(samples):
            return self.X.cluster.put(samples)
        return samples

    def to_standard(self, network):
        """Return a network of the features as one of the features in training."""
        return _mapped(network, self.scales)

    def to_user(self, network):
        """Return a network of the features in training as one of the features."""
        return _mapped(network, None if self.scales is None else 1.0 / self.scales)

    def settling(self, settled):
        """Return the data whose other outputs alone are trained.

        Where none is left, a target of zero stands in, which asks for no training.
        """
        if settled is None:
            return self
        trained = np.isnan(settled)
        if trained.any():
            return replace(self, Y=self.Y[:, trained], settled=settled)
        zero = np.zeros((len(self.Y), 1))
        return replace(self, Y=zero, loss=SquaredError(), settled=settled)

    def problem(self, **options):
        """Return the Problem that is trained on."""
        weights = self.weights
        if self.factors is not None:
            weights = weights * self.factors
        Y, weights = self._there(self.Y), self._there(weights)
        return state_problem(
            self.X, Y, weights, self.loss, scales=self.scales, **options
        )

    def stated(self, solver, **options):
        """Return the Training, and the ``alpha_max_`` that belongs to it."""
        training = unfactored = Training.of(self.problem(**options), solver)
        if self.factors is not None:
            unfactored = replace(self, factors=None).problem(**options)
            unfactored = training.restated(unfactored)
        return training, unfactored.largest_alpha or training.largest_alpha


# Attributes of networks with or without gates, and of low-rank training.
_OF_SOME_NETWORKS = (
    "coefs_",
    "intercepts_",
    "lipschitz_",
    "skip_coef_",
    "gates_",
    "blocks_",
    "intercept_",
    "low_rank_",
    "norm_ratio_",
    "_scales",
)

# Parameters that say what is minimised.
_OF_THE_PROBLEM = (
    "loss",
    "huber_threshold",
    "quantile",
    "class_weight",
    "fit_intercept",
    "hidden_bias",
    "subnetwork_widths",
    "penalty",
    "norm",
    "skip_connection",
    "monotonic_cst",
    "standardize",
)


class BaseConvexReLU(
    PosthocMixin,
    ExportMixin,
    ArraysMixin,
    CallbackSupportMixin,
    BaseEstimator,
    metaclass=ABCMeta,
):
    """Base of the estimators; a subclass adds its losses, targets and predictions."""

    _parameter_constraints = {
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "relative_alpha": ["boolean"],
        "fit_intercept": ["boolean"],
        "hidden_bias": ["boolean"],
        "standardize": ["boolean"],
        "subnetwork_widths": ["array-like"],
        "penalty": [StrOptions({"path", "weight_decay"})],
        "norm": [StrOptions(set(NORMS))],
        "skip_connection": ["boolean", StrOptions({"free"})],
        "monotonic_cst": ["array-like", dict, None],
        "activation": [StrOptions({"relu", "gated_relu"})],
        "patterns": [StrOptions({"adaptive", "random", "exact"}), "array-like"],
        "n_patterns": [Interval(Integral, 1, None, closed="left")],
        "rank": [Interval(Integral, 1, None, closed="left"), None],
        "pruning": ["boolean"],
        "solver": [StrOptions({"auto", "interior_point", "fista", "cvxpy"})],
        "solver_options": [dict, None],
        "max_neurons": [Interval(Integral, 1, None, closed="left"), None],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left"), None],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
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
        standardize,
        subnetwork_widths,
        penalty,
        norm,
        skip_connection,
        monotonic_cst,
        activation,
        patterns,
        n_patterns,
        rank,
        pruning,
        solver,
        solver_options,
        max_neurons,
        tol,
        max_iter,
        time_limit,
        warm_start,
        random_state,
        n_jobs,
        verbose,
    ):
        self.alpha = alpha
        self.relative_alpha = relative_alpha
        self.loss = loss
        self.fit_intercept = fit_intercept
        self.hidden_bias = hidden_bias
        self.standardize = standardize
        self.subnetwork_widths = subnetwork_widths
        self.penalty = penalty
        self.norm = norm
        self.skip_connection = skip_connection
        self.monotonic_cst = monotonic_cst
        self.activation = activation
        self.patterns = patterns
        self.n_patterns = n_patterns
        self.rank = rank
        self.pruning = pruning
        self.solver = solver
        self.solver_options = solver_options
        self.max_neurons = max_neurons
        self.tol = tol
        self.max_iter = max_iter
        self.time_limit = time_limit
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    # Outputs that a fold sets instead of training them, see CheckedData.
    _settled = None

    @abstractmethod
    def _checked(self, X, y, sample_weight, whole=None, settles=True):
        """Return the CheckedData of what ``fit`` was given; raise where it is bad.

        In a fold ``whole`` is the ``attributes`` of the data that it is a part of. It
        may lack what a fit must have, such as a class: outputs are settled for that,
        but those of test rows, which are as the network has them.
        """

    def _beside(self, X, y, sample_weight, whole):
        """Return rows of the ``whole`` that are not trained on, as CheckedData."""
        return self._checked(X, y, sample_weight, whole, settles=False)

    def _loss_on(self, data):
        """Return the loss of the network on other rows.

        It is not known, zero, where outputs are settled: theirs may be infinite.
        """
        weights = data.weights if data.factors is None else data.weights * data.factors
        if self._settled is not None or not weights.sum() > 0.0:
            return 0.0
        F = self.network_.forward(data.X)
        return data.loss.value(F, data.Y, weights / weights.sum())

    def _needs_array(self):
        """Return the parameters for which rows must be an array in this process."""
        adaptive = isinstance(self.patterns, str) and self.patterns == "adaptive"
        needs = {
            "patterns": not adaptive,
            "rank": self.rank is not None,
            "pruning": self.pruning,
            "skip_connection": self.skip_connection,
        }
        return [name for name, does in needs.items() if does]

    def _trains_on_devices(self):
        """Tell whether kernels of these parameters can run on devices."""
        names = REGRESSION_LOSSES | CLASSIFICATION_LOSSES
        plain = not self._needs_array() and not len(self.subnetwork_widths)
        return plain and names[self.loss].is_smooth

    def _refuse_on_workers(self, loss):
        """Refuse what rows on the workers of a cluster cannot be trained with."""
        for name in self._needs_array():
            raise ValueError(
                f"{name}={getattr(self, name)!r} needs the rows in one process: with "
                "dask collections use patterns='adaptive', rank=None, pruning=False, "
                "skip_connection=False."
            )
        if not loss.is_smooth:
            raise ValueError(
                f"loss={self.loss!r} has kinks, for which training sorts residuals and "
                "takes thousands of passes: with dask collections use a smooth one, as "
                "'huber' or 'squared_hinge'."
            )

    @with_callbacks
    def _fit(self, X, y, sample_weight):
        """Check, train, set the attributes; change nothing where that fails."""
        deadline, home = Deadline.after(self.time_limit), Home.of(X)
        task = Task.of_fit(self, X, y, sample_weight, max_subtasks=None).begin()
        X = self._placed(X, home)
        with undone_on_failure(self), training_threads(self.n_jobs):
            solver = self._solver()
            data = self._data(X, y, sample_weight)
            stated = self._stated(data, solver)
            start = self._start(data)
            self._train(data, *stated, task, deadline, start=start)
            with kept_on_interrupt(self):
                self._settle_at(home)
                self._warn_of_constant()
        with kept_on_interrupt(self):
            task.end(attributes={})
        return self

    def _data(self, X, y, sample_weight, whole=None):
        """Return the CheckedData, with scales where features are standardised."""
        given = map(as_numpy, (X, y, sample_weight))
        data = self._checked(*given, whole)
        return data.standardised() if self.standardize else data

    def _warn_of_scales(self, rows):
        """Warn where features are of such unlike scales that some count for nothing."""
        found = None if self.standardize else unlike_scales(rows, _UNLIKE)
        if found is None:
            return
        names = getattr(self, "feature_names_in_", range(self.n_features_in_))
        largest, least = (repr(names[column]) for column in found[:2])
        warn(
            f"Feature {largest} varies {found[2]:.0e} times as much as feature "
            f"{least}, whose weights cost as many times more: standardize=True brings "
            "them to one scale.",
            UserWarning,
        )

    def _warn_of_constant(self):
        """Warn where alpha, as chosen by the user, leaves nothing but a constant.

        Who comes from MLPRegressor tries 1 and 10. An ``alpha_max_`` of zero is no
        fault of alpha: then the features tell nothing. A free linear part is no
        constant, whatever alpha.
        """
        if not self.alpha_ >= self.alpha_max_ > 0.0 or self.network_.penalty() > 0.0:
            return
        if self.network_.linear is not None and self.network_.linear.weights.any():
            return
        size, advice = "", "alpha is a fraction of alpha_max_: try 0.1 down to 0.0003"
        if not self.relative_alpha:
            size, advice = f"={self.alpha_max_:.4g}", "decrease alpha"
        warn(
            f"alpha={self.alpha:g} is alpha_max_{size} or more, where the best network "
            f"is the constant: nothing of X was learnt; {advice}.",
            UserWarning,
        )

    def _stated(self, data, solver):
        """Return the Training of the data and its ``alpha_max_``."""
        if data.scales is not None:
            solver = solver.on_standardised(data.scales)
        training, alpha_max = data.stated(solver, **self._statement())
        if solver.proves:  # once, not in every fold
            rows, shape = training.problem.rows, training.problem.shape
            self._warn_of_scales(rows)
            self._warn_of_shapes(shape)
            if shape.monotone is not None:
                self._warn_of_offsets(rows, "monotonic_cst", _FAR_SIDED)
            elif not NORMS[self.norm].is_euclidean:
                self._warn_of_offsets(rows, f"norm={self.norm!r}", _FAR)
        return training, alpha_max

    def _warn_of_shapes(self, shape):
        """Warn of what two layers cannot be, where they are monotone.

        Units with a positive output weight are convex and rise with a feature, the
        others are concave and rise: slopes of the ones only grow along it, from zero at
        the least, and those of the others only fall, to zero.
        """
        if shape.monotone is None or shape.is_tree:
            return
        warn(
            "monotonic_cst with two layers (subnetwork_widths=()): along a constrained "
            "feature such networks are a convex plus a concave monotone function. "
            "Their slope is nowhere steeper than the slopes at both ends together, so "
            "S shapes, which are flat at both ends, are out of reach; "
            "subnetwork_widths=(2,) can have them.",
            UserWarning,
        )

    def _warn_of_offsets(self, rows, cause, most):
        """Warn of features more than ``most`` times their range from zero.

        Searches under the 1-norm go along features, since it knows no other axes, and
        signs of weights are those of features too. Neurons that cut the rows then lie
        in a valley as thin as the spread is for the offset.
        """
        bounds, spreads = rows.bounds[:, : self.n_features_in_], rows.spreads
        nearest = np.where(bounds[0] * bounds[1] > 0.0, np.abs(bounds).min(axis=0), 0.0)
        spreads = spreads[: self.n_features_in_]
        far = np.flatnonzero((spreads > 0.0) & (nearest > most * spreads))
        if len(far):
            names = getattr(self, "feature_names_in_", np.arange(self.n_features_in_))
            warn(
                f"{cause}: feature {names[far[0]]!s} is farther from zero "
                f"than {most:g} times its range, where searches for neurons may miss "
                "the best ones; standardise the features.",
                UserWarning,
            )

    def _statement(self):
        """Return what the parameters say of the problem."""
        return {
            "fit_intercept": self.fit_intercept,
            "hidden_bias": self.hidden_bias,
            "shape": self._shape(),
            "names": getattr(self, "feature_names_in_", None),
            "skip": self._skip(),
        }

    def _skip(self):
        """Return ``skip_connection`` as False, True or "free"; numpy has its own."""
        skip = self.skip_connection
        return skip if isinstance(skip, str) else bool(skip)

    def _problem_params(self):
        """Return the parameters that say what is minimised, but for alpha."""
        params = self.get_params(deep=False)
        # Lists and arrays of widths compare badly, and can be written to.
        params["subnetwork_widths"] = self._widths()
        params["monotonic_cst"] = self._directions()
        return {name: params[name] for name in _OF_THE_PROBLEM if name in params}

    def _widths(self):
        """Return ``subnetwork_widths`` as a tuple; raise where they are no widths."""
        widths = self.subnetwork_widths
        numbers = np.iterable(widths) and all(
            isinstance(m, Integral) and m is not True for m in widths
        )
        if not numbers or min(widths, default=1) < 1:
            raise ValueError(
                f"subnetwork_widths must hold positive integers, got {widths}."
            )
        return tuple(int(m) for m in widths)

    def _directions(self):
        """Return which way outputs go with the features of the data at hand, a tuple.

        Raises
        ------
        ValueError
            If they are not 1, 0 or -1, or do not fit the features.
        """
        directions = _check_monotonic_cst(self, self.monotonic_cst)
        if directions.ndim != 1:
            raise ValueError(
                "monotonic_cst must have one number a feature, got the shape "
                f"{directions.shape}."
            )
        return tuple(int(direction) for direction in directions)

    def _shape(self):
        """Return the shape of the parallel units for the data at hand.

        Raises
        ------
        ValueError
            If a linear part is asked for beside units that are monotone.
        """
        directions = self._directions()
        if not any(directions):
            return self._free_shape()
        if self._skip():
            raise ValueError(
                f"skip_connection={self.skip_connection!r} does not know the signs of "
                "monotonic_cst, so that its linear part could go the other way; use "
                "skip_connection=False."
            )
        directions += (0,) * bool(self.hidden_bias)
        return replace(self._free_shape(), monotone=Monotone(directions))

    def _free_shape(self):
        """Return the shape of the parallel units, whatever signs weights have.

        Raises
        ------
        ValueError
            If widths are not positive integers, or weight decay is asked for beyond
            three layers.
        """
        widths = self._widths()
        decays = self.penalty == "weight_decay"
        if decays and len(widths) > 1:
            raise ValueError(
                "penalty='weight_decay' has a convex equivalent for at most three "
                f"layers: its cost is no norm for subnetwork_widths={widths}. Use "
                "penalty='path'."
            )
        norm = NORMS[self.norm]
        return TreeShape(widths, decays, norm) if widths else NeuronShape(norm)

    def _train(
        self,
        data,
        training,
        alpha_max,
        task,
        deadline,
        *,
        alpha=None,
        start=None,
    ):
        """Train at the absolute ``alpha``, by default the parameter's.

        ``start`` is a network of the features in training, or None.
        """
        if alpha is None:
            unit = alpha_max if self.relative_alpha else 1.0
            alpha = float(absolute(self.alpha, unit))
        watcher = Watcher(self, data, task)
        solution = train(
            training,
            alpha,
            start=start,
            dtype=data.X.dtype,
            callback=watcher if self.verbose or task.context is not None else None,
            pruning=self.pruning,
            deadline=deadline,
        )
        try:
            self._set_attributes(data, solution, alpha, alpha_max)
        except KeyboardInterrupt:  # what was found is not given up
            self._set_attributes(data, solution, alpha, alpha_max)
            tell_of_interrupt(self)
        with kept_on_interrupt(self):
            watcher.end()

    def _follow(
        self,
        X,
        y,
        sample_weight,
        alphas,
        relative_alpha,
        *,
        gain=None,
        whole=None,
        deadline=None,
    ):
        """Fit along a path of decreasing alphas; yield each Solution once it is set.

        The path ends where the loss is next to nothing: no smaller alpha can gain.
        A ``gain``, as folds have one, takes the place of the tolerance, and is told the
        loss of the best constant: then certificates are of searches even where proofs
        could be had, and speak of what was solved alone: given patterns, kept
        directions. ``whole`` is that of ``_checked``.
        """
        solver = self._solver(proves=gain is None, gain=gain)
        data = self._data(X, y, sample_weight, whole)
        training, alpha_max = self._stated(data, solver)
        alphas = absolute(alphas, alpha_max if relative_alpha else 1.0)
        scale = training.problem.loss_scale()
        if gain is not None:
            gain.scale = scale
        callback = Printer(self.verbose) if self.verbose else None
        path = follow(
            training,
            alphas,
            dtype=data.X.dtype,
            callback=callback,
            pruning=self.pruning,
            deadline=deadline,
        )
        for alpha, solution in zip(alphas, path, strict=False):
            self._set_attributes(data, solution, alpha, alpha_max)
            yield solution
            loss = self.objective_ - alpha * solution.network.penalty()
            if alpha_max == 0.0 or (self.n_neurons_ and loss < _SETTLED * scale):
                return

    def _solver(self, proves=True, gain=None):
        """Return the solver record that the parameters describe.

        ``proves`` and ``gain`` are those of the solver.

        Raises
        ------
        ValueError
            If parameters do not go together.
        """
        solver = replace(self._full_rank_solver(), proves=proves, gain=gain)
        if self.rank is None:
            return solver
        if self._skip() == "free":
            raise ValueError(
                f"rank={self.rank} with skip_connection='free' has no guarantee: what "
                "the directions left out would add to a linear part that costs nothing "
                "is not bounded. Use skip_connection=True, or rank=None."
            )
        if self.monotonic_cst is not None:
            raise ValueError(
                f"rank={self.rank} mixes the features, so that weights would not keep "
                "the signs that monotonic_cst asks for; use rank=None."
            )
        if not NORMS[self.norm].is_euclidean:
            raise ValueError(
                f"rank={self.rank} needs norm='l2': a rotation to the leading "
                "directions of the features changes other norms, and weights for all "
                f"features would not be sparse. Use rank=None with norm={self.norm!r}."
            )
        return LowRank(solver, self.rank, has_bias=bool(self.hidden_bias))

    def _full_rank_solver(self):
        """Return the solver record but for ``rank``."""
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        gated = self.activation == "gated_relu"
        if gated and self.monotonic_cst is not None:
            raise ValueError(
                "activation='gated_relu' jumps at its gates, up or down, whatever the "
                "signs of its weights, so it cannot keep monotonic_cst; use "
                "activation='relu'."
            )
        if self.solver == "cvxpy" and self.time_limit is not None:
            raise ValueError(
                "time_limit is not for solver='cvxpy', which cannot be stopped on the "
                "way; pass the solver's own limit in solver_options."
            )
        if isinstance(self.patterns, str) and self.patterns == "adaptive":
            if gated:
                raise ValueError(
                    "activation='gated_relu' needs fixed patterns: patterns='random', "
                    "'exact' or an array of gates."
                )
            if self.solver != "auto" or self.solver_options:
                raise ValueError(
                    f"solver={self.solver!r} with solver_options="
                    f"{self.solver_options} is for fixed patterns; "
                    "patterns='adaptive' has its own loop, without options."
                )
            return AdaptiveSolver(
                tol=self.tol,
                max_iter=_DEFAULT_MAX_ITER if self.max_iter is None else self.max_iter,
                max_neurons=self.max_neurons,
                seed=seed,
            )
        for name, off in (("max_neurons", None), ("warm_start", False)):
            if getattr(self, name) != off:
                raise ValueError(
                    f"{name}={getattr(self, name)} needs patterns='adaptive': over "
                    "fixed patterns the whole programme is solved from scratch."
                )
        solver = FixedPatterns(
            patterns=self.patterns,
            n_patterns=self.n_patterns,
            gated=gated,
            method=self.solver,
            options=self.solver_options,
            tol=self.tol,
            max_iter=self.max_iter,
            seed=seed,
        )
        solver.check()
        if self.solver in ("interior_point", "fista"):
            refuse_nested(self._free_shape(), self.solver)
        return solver

    def _takes_several_outputs(self):
        """Tell whether the parameters allow for more than one output."""
        if self.monotonic_cst is not None:
            return False
        adaptive = isinstance(self.patterns, str) and self.patterns == "adaptive"
        return adaptive or self.activation == "gated_relu"

    def _start(self, data):
        """Return the last fit's network under warm_start, None otherwise."""
        n_features, n_outputs = data.X.shape[1], data.Y.shape[1]
        if not self.warm_start or not hasattr(self, "network_"):
            return None
        if self.network_.is_gated:
            raise ValueError("warm_start=True cannot start from a gated model.")
        last_features, network = self.coefs_[0].shape[0], self.network_
        is_tree = isinstance(network, TreeNetwork)
        shape = network.shape if is_tree else NeuronShape(network.norm)
        shape = replace(shape, monotone=None)
        last = last_features, network.n_inputs > last_features, self.n_outputs_, shape
        wanted = n_features, bool(self.hidden_bias), n_outputs, self._free_shape()
        if last != wanted:
            raise ValueError(
                "warm_start=True needs the last fit's shape (features, hidden bias, "
                f"outputs, sub-networks), which was {last} and is now {wanted}; fit a "
                "new estimator or set warm_start=False."
            )
        shape = self._shape()
        if not shape.is_kept_by(network):
            raise ValueError(
                "warm_start=True cannot start from a network without the signs that "
                "monotonic_cst asks for; fit a new estimator or set warm_start=False."
            )
        if is_tree:
            network = replace(network, shape=shape)
        return data.to_standard(network)

    def _set_attributes(self, data, solution, alpha, alpha_max):
        """Store the solution."""
        certificate = solution.certificate
        self._drop_network()
        vars(self).update(
            self._network_attributes(data, solution.network),
            alpha_=float(alpha),
            alpha_max_=alpha_max,
            certificate_=certificate,
            objective_=certificate.objective,
            lower_bound_=certificate.lower_bound,
            dual_gap_=certificate.gap,
            n_iter_=solution.n_iter,
            history_=solution.history,
            status_=solution.status,
            tolerance_=solution.tolerance,
            _fitted_params=self._problem_params(),
        )
        if solution.low_rank is not None:
            self.low_rank_ = solution.low_rank

    def _drop_network(self):
        """Forget attributes that the next network may not have."""
        for name in _OF_SOME_NETWORKS:
            vars(self).pop(name, None)

    def _network_attributes(self, data, network):
        """Return what predictions need; weights in the layout of MLPRegressor."""
        network = data.to_user(network)
        outputs = network.intercept if data.settled is None else data.settled
        shared = data.attributes | {
            "network_": network,
            "n_neurons_": network.n_neurons,
            "n_outputs_": len(outputs),
        }
        if data.settled is not None:
            shared["_settled"] = data.settled
        if data.scales is not None:
            shared["_scales"] = [data.scales]  # a list, as coefs_: NumPy's for any X
        if network.linear is not None:
            shared["skip_coef_"] = network.linear.weights[: data.X.shape[1]]
        if network.is_gated:
            blocks, intercept = network.blocks, network.intercept
            gated = {"gates_": network.gates, "blocks_": blocks}
            return shared | gated | {"intercept_": intercept}
        n_features, layers = data.X.shape[1], network.layers()
        biases = [np.zeros(W.shape[1], W.dtype) for W in layers[:-1]]
        if self.hidden_bias:
            biases[0] = layers[0][n_features]
        return shared | {
            "coefs_": [layers[0][:n_features], *layers[1:]],
            "intercepts_": [*biases, network.intercept],
            "lipschitz_": network.lipschitz(n_features),
        }

    @property
    def feature_importances_(self):
        """Share of each feature in the weights, (n_features,), summing to one.

        That of feature i is ``sum_j |w1_ij| ||w2_j||``, over neurons j, or the sum over
        all paths from i to the outputs, a linear part among them, before it is divided
        by the sum over features; the hidden bias has none. Weights are those of the
        penalty: with ``standardize=True`` of the standardised features. With
        ``norm="l1"`` it is the feature's part of the penalty, where nothing is free of
        it. It is zero for all features where the network is a constant.
        """
        check_is_fitted(self)
        (scales,) = vars(self).get("_scales", [None])
        network = _mapped(self.network_, scales)
        return shares(network.input_weights()[: self.n_features_in_])

    def __getattr__(self, name):
        if name in ("coefs_", "intercepts_", "lipschitz_") and "gates_" in vars(self):
            raise AttributeError(
                f"A gated model has no {name}: it is no ReLU network, and jumps at its "
                "gates. Its weights are gates_ and blocks_."
            )
        # Python comes here after any AttributeError. Looking once more raises the same
        # one, whose cause may say which loss to use (``available_if``); who catches it
        # deep in a VotingClassifier sees the message alone.
        try:
            return object.__getattribute__(self, name)
        except AttributeError as error:
            if error.__cause__ is None:
                raise
            raise AttributeError(f"{error}: {error.__cause__}") from error.__cause__

    def _get_fitted_attr_html(self, doc_link=""):
        """Return scikit-learn's table of fitted attributes without ``history_``.

        It has a record a round, each with five numbers, and would be printed in a cell.
        """
        attributes = super()._get_fitted_attr_html(doc_link)
        attributes.pop("history_", None)
        return attributes

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags

    def _forward(self, X):
        """Return the network's outputs, (n_samples, n_outputs)."""
        check_is_fitted(self)
        X = checked_again(self, X)
        F = self.network_.forward(X)
        if is_spread(F):
            F = F.here()
        if self._settled is None:
            return F
        trained = np.isnan(self._settled)
        outputs = np.tile(self._settled.astype(F.dtype), (len(F), 1))
        outputs[:, trained] = F[:, : trained.sum()]  # where none is, of a stand-in
        return outputs


def shares(weights):
    """Return non-negative weights as parts of their sum; zeros where all are zero."""
    weights = np.asarray(weights, dtype=np.float64)
    total = weights.sum()
    return weights / total if total > 0.0 else weights


def _mapped(network, factors):
    """Return a network whose weights of features are multiplied by factors, if any.

    In double, and back in the precision that they have.
    """
    if factors is None:
        return network
    dtype = network.intercept.dtype
    n_others = network.n_inputs - len(factors)  # the hidden bias
    basis = sparse.diags_array(np.append(factors, np.ones(n_others))).tocsr()
    return network.astype(np.float64).mapped(basis).astype(dtype)


def absolute(alpha, unit):
    """Return penalty strengths in ``unit``, within what double precision holds.

    Beyond the strength at which a constant is the best network all are alike. None that
    is positive underflows to zero, which would mean that constant.
    """
    numbers = np.finfo(float)
    least = numbers.tiny if unit > 0.0 else 0.0
    with np.errstate(over="ignore", under="ignore"):
        return np.clip(np.multiply(alpha, unit), least, numbers.max)
