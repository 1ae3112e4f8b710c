"""Pictures of paths and of convergence, by scikit-learn's conventions for displays."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

from sklearn_convexrelu._path import RegularizationPath, feature_names

__all__ = [
    "ConvergenceDisplay",
    "FeatureImportancesDisplay",
    "RegularizationPathDisplay",
]

_OTHERS = "0.8"  # the grey of features that are not named


class RegularizationPathDisplay:
    """Score or objective, number of neurons and duality gap against alpha.

    Use :meth:`from_estimator` for an estimator that chose its alpha, and
    :meth:`from_path` for a path.

    Parameters
    ----------
    alphas : ndarray of shape (n_alphas,)
        Penalty strengths.
    n_neurons, dual_gaps : ndarray of shape (n_alphas,) or (n_alphas, n_folds)
        Numbers of neurons and duality gaps; of folds the means are drawn.
    scores : ndarray of shape (n_alphas, n_folds), default=None
        Held-out scores; mean and standard deviation are drawn.
    objectives : ndarray of shape (n_alphas,), default=None
        Objectives, drawn where there are no scores.
    score_name : str, default="score"
        What the scores are.
    alpha : float, default=None
        The strength that was chosen; it is marked.
    alpha_max : float, default=None
        What strengths are drawn as fractions of, as estimators take them; None draws
        them as they are.
    tolerance : float, default=None
        The gap that networks were to have; it is drawn among the gaps.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        The axes drawn on.
    figure_ : matplotlib Figure
        Their figure.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from sklearn_convexrelu import RegularizationPathDisplay, convex_relu_path
    >>> X, y = load_diabetes(return_X_y=True)
    >>> path = convex_relu_path(scale(X), scale(y), n_alphas=10, eps=0.1, tol=0.01)
    >>> display = RegularizationPathDisplay.from_path(path)
    """

    def __init__(
        self,
        *,
        alphas,
        n_neurons,
        dual_gaps,
        scores=None,
        objectives=None,
        score_name="score",
        alpha=None,
        alpha_max=None,
        tolerance=None,
    ):
        self.alphas = np.asarray(alphas)
        self.n_neurons = np.asarray(n_neurons)
        self.dual_gaps = np.asarray(dual_gaps)
        self.scores = None if scores is None else np.asarray(scores)
        self.objectives = objectives
        self.score_name = score_name
        self.alpha = alpha
        self.alpha_max = alpha_max
        self.tolerance = tolerance

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw what a fitted CV estimator chose its alpha from.

        Parameters
        ----------
        estimator : ConvexReLURegressorCV or ConvexReLUClassifierCV
            Fitted.
        ax : matplotlib Axes or array of three, default=None
            Where to draw, as in :meth:`plot`.

        Returns
        -------
        RegularizationPathDisplay
            The display, drawn.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        if not hasattr(estimator, "cv_scores_"):
            raise ValueError(
                f"{type(estimator).__name__} has no path: use an estimator with CV, or "
                "RegularizationPathDisplay.from_path(convex_relu_path(X, y))."
            )
        scoring = estimator.scoring
        default = "accuracy" if hasattr(estimator, "classes_") else "R2"
        name = scoring if isinstance(scoring, str) else "score" if scoring else default
        return cls(
            alphas=estimator.alphas_,
            n_neurons=estimator.cv_n_neurons_,
            dual_gaps=estimator.cv_dual_gaps_,
            scores=estimator.cv_scores_,
            score_name=name,
            alpha=estimator.alpha_,
            alpha_max=estimator.alpha_max_,
        ).plot(ax=ax)

    @classmethod
    def from_path(cls, path: RegularizationPath, *, ax: Any = None) -> Self:
        """Draw a path.

        Parameters
        ----------
        path : RegularizationPath
            What :func:`convex_relu_path` returned.
        ax : matplotlib Axes or array of three, default=None
            Where to draw, as in :meth:`plot`.

        Returns
        -------
        RegularizationPathDisplay
            The display, drawn.
        """
        check_matplotlib_support(f"{cls.__name__}.from_path")
        return cls(
            alphas=path.alphas,
            n_neurons=path.n_neurons,
            dual_gaps=path.dual_gaps,
            objectives=path.objectives,
            alpha_max=path.alpha_max,
            tolerance=path.tolerance,
        ).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or array of three, default=None
            Axes for the score or objective, the neurons and the gap; one alone gets
            the first of them. None makes a figure.

        Returns
        -------
        RegularizationPathDisplay
            The display itself.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        if self.scores is None and self.objectives is None:
            raise ValueError("There is nothing to draw: give scores or objectives.")
        self.axes_, self.figure_ = _axes(ax, 3)
        panels = (self._plot_main, self._plot_neurons, self._plot_gaps)
        unit, label = 1.0, "alpha"
        if self.alpha_max:
            unit, label = self.alpha_max, "alpha / alpha_max"
        x = self.alphas / unit
        for axes, panel in zip(self.axes_, panels, strict=False):
            panel(axes, x)
            axes.set(xlabel=label)
            if x[0] > 0.0:
                axes.set(xscale="log")
                _few_ticks(axes.xaxis, x)
            if self.alpha is not None:
                chosen = self.alpha / unit
                axes.axvline(chosen, color="0.5", linestyle="--", label="chosen")
        if self.scores is not None or self.alpha is not None:
            self.axes_[0].legend()
        return self

    def _plot_main(self, axes, x):
        if self.scores is None:
            axes.plot(x, self.objectives, "o-", markersize=3)
            axes.set(title="Objective")
            return
        scores = self.scores[:, self._counted()]
        mean, deviation = scores.mean(axis=1), scores.std(axis=1)
        axes.plot(x, mean, "o-", markersize=3, label="mean")
        axes.fill_between(
            x,
            mean - deviation,
            mean + deviation,
            alpha=0.2,
            label="standard deviation",
        )
        axes.set(title=f"Held-out {self.score_name}")

    def _plot_neurons(self, axes, x):
        axes.plot(x, self._mean(self.n_neurons), "o-", color="C2", markersize=3)
        axes.set(title="Neurons")

    def _plot_gaps(self, axes, x):
        gaps = self._mean(self.dual_gaps)
        shown = gaps > 1e-6 * np.nanmax(gaps)  # less is rounding
        axes.plot(x[shown], gaps[shown], "o-", color="C1", markersize=3, label="gap")
        if self.tolerance is not None:
            axes.axhline(self.tolerance, color="0.5", linestyle=":", label="tolerance")
            axes.legend()
        axes.set(title="Duality gap", yscale="log" if shown.any() else "linear")

    def _counted(self):
        """Tell which folds have a score at all, as ``cv_results_`` counts them."""
        if self.scores is None:
            return slice(None)
        return ~np.isnan(self.scores).all(axis=0)

    def _mean(self, values):
        """Return means over these folds; nan where one of them has no value."""
        values = np.asarray(values, dtype=float)
        return values[:, self._counted()].mean(axis=1) if values.ndim == 2 else values


class ConvergenceDisplay:
    """Objective, lower bound and duality gap against time or iteration.

    Parameters
    ----------
    times : ndarray of shape (n_records,)
        Seconds since the solver began.
    objectives, dual_gaps : ndarray of shape (n_records,)
        Objective and duality gap at these times.
    tolerance : float, default=None
        Gap at which the solver stops; it is marked.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        The axes drawn on.
    figure_ : matplotlib Figure
        Their figure.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from sklearn_convexrelu import ConvergenceDisplay, ConvexReLURegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = ConvexReLURegressor(0.1).fit(scale(X), scale(y))
    >>> display = ConvergenceDisplay.from_estimator(model)
    """

    def __init__(self, *, times, objectives, dual_gaps, tolerance=None):
        self.times = np.asarray(times)
        self.objectives = np.asarray(objectives)
        self.dual_gaps = np.asarray(dual_gaps)
        self.tolerance = tolerance

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None, x: str = "time") -> Self:
        """Draw how the fit of an estimator converged.

        Parameters
        ----------
        estimator : estimator
            Fitted; with CV it is the last fit that is drawn.
        ax : matplotlib Axes or array of two, default=None
            Where to draw, as in :meth:`plot`.
        x : {"time", "iteration"}, default="time"
            What to draw against.

        Returns
        -------
        ConvergenceDisplay
            The display, drawn.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        if not hasattr(estimator, "history_"):
            raise ValueError(f"{type(estimator).__name__} has no history_ to draw.")
        times, objectives, gaps = (
            np.array([record[key] for record in estimator.history_])
            for key in ("time", "objective", "dual_gap")
        )
        return cls(
            times=times,
            objectives=objectives,
            dual_gaps=gaps,
            tolerance=estimator.tolerance_,
        ).plot(ax=ax, x=x)

    def plot(self, ax: Any = None, *, x: str = "time") -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or array of two, default=None
            Axes for objective and bound, and for the gap; one alone gets the first of
            them. None makes a figure.
        x : {"time", "iteration"}, default="time"
            What to draw against: seconds, or the times that the network was priced.

        Returns
        -------
        ConvergenceDisplay
            The display itself.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        if x not in ("time", "iteration"):
            raise ValueError(f"x must be 'time' or 'iteration', got {x!r}.")
        self.axes_, self.figure_ = _axes(ax, 2)
        places = self.times if x == "time" else np.arange(len(self.times))
        for axes, panel in zip(
            self.axes_, (self._plot_values, self._plot_gap), strict=False
        ):
            panel(axes, places)
            axes.set(xlabel="seconds" if x == "time" else "iteration")
            axes.legend()
        return self

    def _plot_values(self, axes, places):
        bounds = self.objectives - self.dual_gaps
        axes.plot(places, self.objectives, "o-", label="objective", zorder=3)
        axes.plot(places, bounds, "s-", label="lower bound")
        axes.set(title="Objective and lower bound")

    def _plot_gap(self, axes, places):
        shown = self.dual_gaps > 0.0
        axes.plot(
            places[shown], self.dual_gaps[shown], "o-", color="C2", label="duality gap"
        )
        if self.tolerance is not None:
            axes.axhline(self.tolerance, color="0.5", linestyle="--", label="tolerance")
        axes.set(title="Duality gap", yscale="log" if shown.any() else "linear")


class FeatureImportancesDisplay:
    """Importances of features, along a path or of one network.

    Along a path with ``norm="l1"`` it shows which feature enters when: the importance
    of one that no network uses is zero.

    Parameters
    ----------
    importances : ndarray of shape (n_alphas, n_features) or (n_features,)
        Shares of the features in the weights, along a path or of one network.
    feature_names : array-like of shape (n_features,)
        Names of the features.
    alphas : ndarray of shape (n_alphas,), default=None
        Penalty strengths of a path.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        The axes drawn on, one.
    figure_ : matplotlib Figure
        Their figure.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from sklearn_convexrelu import FeatureImportancesDisplay, convex_relu_path
    >>> X, y = load_diabetes(return_X_y=True)
    >>> path = convex_relu_path(
    ...     scale(X), scale(y), norm="l1", n_alphas=10, eps=0.1, tol=0.01
    ... )
    >>> display = FeatureImportancesDisplay.from_path(path)
    """

    def __init__(self, *, importances, feature_names, alphas=None):
        self.importances = np.asarray(importances)
        self.feature_names = np.asarray(feature_names, dtype=object)
        self.alphas = None if alphas is None else np.asarray(alphas)

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Any = None, n_named: int = 8
    ) -> Self:
        """Draw the importances of a fitted estimator as bars.

        Parameters
        ----------
        estimator : estimator
            Fitted; with CV it is the last fit that is drawn.
        ax : matplotlib Axes, default=None
            Where to draw, as in :meth:`plot`.
        n_named : int, default=8
            How many features to draw.

        Returns
        -------
        FeatureImportancesDisplay
            The display, drawn.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        return cls(
            importances=estimator.feature_importances_,
            feature_names=feature_names(estimator),
        ).plot(ax=ax, n_named=n_named)

    @classmethod
    def from_path(
        cls, path: RegularizationPath, *, ax: Any = None, n_named: int = 8
    ) -> Self:
        """Draw the importances along a path.

        Parameters
        ----------
        path : RegularizationPath
            What :func:`convex_relu_path` returned.
        ax : matplotlib Axes, default=None
            Where to draw, as in :meth:`plot`.
        n_named : int, default=8
            How many features to name.

        Returns
        -------
        FeatureImportancesDisplay
            The display, drawn.
        """
        check_matplotlib_support(f"{cls.__name__}.from_path")
        return cls(
            importances=path.feature_importances,
            feature_names=path.feature_names,
            alphas=path.alphas,
        ).plot(ax=ax, n_named=n_named)

    @property
    def entered(self):
        """Penalty strength at which each feature is first used, nan if never."""
        if self.alphas is None:
            raise ValueError("Only along a path do features enter.")
        used = self.importances > 0.0
        first = self.alphas[used.argmax(axis=0)]
        return np.where(used.any(axis=0), first, np.nan)

    def plot(self, ax: Any = None, *, n_named: int = 8) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a figure.
        n_named : int, default=8
            How many features to name, those of the largest importance anywhere on the
            path; the others are grey, or not drawn as bars.

        Returns
        -------
        FeatureImportancesDisplay
            The display itself.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        self.axes_, self.figure_ = _axes(ax, 1)
        largest = self.importances
        if self.alphas is not None:
            largest = largest.max(axis=0)
        order = np.argsort(-largest, kind="stable")
        panel = self._plot_bars if self.alphas is None else self._plot_path
        panel(self.axes_[0], order[:n_named], order[n_named:])
        return self

    def _plot_bars(self, axes, named, others):
        named = named[::-1]
        axes.barh([str(self.feature_names[k]) for k in named], self.importances[named])
        axes.set(title="Feature importances", xlabel="share of the weights")

    def _plot_path(self, axes, named, others):
        for k in others:
            axes.plot(self.alphas, self.importances[:, k], color=_OTHERS, linewidth=0.8)
        for k in named:
            name = str(self.feature_names[k])
            axes.plot(
                self.alphas, self.importances[:, k], "o-", markersize=3, label=name
            )
        axes.set(title="Feature importances", xlabel="alpha", ylabel="share")
        if self.alphas[0] > 0.0:
            axes.set(xscale="log")
            _few_ticks(axes.xaxis, self.alphas)
        axes.invert_xaxis()  # features enter from the left
        axes.legend(fontsize="small")


def _axes(ax, count):
    """Return an array of axes and their figure, made where ``ax`` is None."""
    if ax is None:
        from matplotlib import pyplot  # scikit-learn's displays use it too

        figure, ax = pyplot.subplots(
            1, count, figsize=(4.3 * count, 3.6), layout="constrained"
        )
    axes = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
    if len(axes) not in (1, count):
        raise ValueError(f"Expected one Axes or {count} of them, got {len(axes)}.")
    figure = axes[0].figure
    return axes, getattr(figure, "figure", None) or figure  # not a SubFigure


def _few_ticks(axis, values):
    """Label decades alone, or 1, 2 and 5 in few decades: matplotlib's own overlap."""
    from matplotlib.ticker import LogLocator, NullFormatter

    wide = values.max() > 100.0 * values.min()
    subs = (1.0,) if wide else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(subs=subs, numticks=10))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())
