"""Folds of cross-validation: a path on the training rows, scored on the test rows."""

import warnings
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from inspect import signature
from numbers import Real

import numpy as np
from joblib import effective_n_jobs
from scipy.stats import rankdata
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.parallel import Parallel
from sklearn.utils.validation import _check_method_params

from sklearn_convexrelu._callbacks import Task
from sklearn_convexrelu._deadline import Deadline
from sklearn_convexrelu._threads import one_blas_thread
from sklearn_convexrelu.model.gain import Gain
from sklearn_convexrelu.model.solution import Status
from sklearn_convexrelu.training import warn

__all__ = [
    "INTERRUPTED",
    "FoldPath",
    "Search",
    "as_columns",
    "as_done",
    "as_results",
    "check_some_count",
    "chosen_index",
    "has_passed_its_best",
    "knowing_classes",
    "lacking",
    "rows_at",
    "score_path",
    "shared_out",
    "warn_of_cut",
    "warn_of_missing",
]

# A fold's path ends once alpha is less than this part of where the score was best ...
_FAR = 0.25
# ... and the score has lost this part of what it had gained over the first one, or once
# no better one has come for alphas down to this part. Accuracies move in steps: on
# spambase (1000 rows) a path went on for 16 points, half its time, below its best. On
# 35 sets of folds half and double of the parts lost take .99 and 1.01 of the time; .4
# for _FAR takes .9, and ended one fold in a dip at a fifth of its gain. Folds that stop
# together, by their mean, would take .8 of it.
_LOST, _FARTHEST = 0.01, 0.1
_FEWEST_TO_JUDGE = 20  # test rows

INTERRUPTED = "interrupted"  # why a fold does not count


@dataclass
class FoldPath:
    """What came of following one fold's path: one entry a point."""

    scores: list = field(default_factory=list)
    n_neurons: list = field(default_factory=list)
    dual_gaps: list = field(default_factory=list)
    statuses: list = field(default_factory=list)
    held_out: list = field(default_factory=list)  # losses, zero where not known
    kept: tuple | None = None  # index and network of the best score
    settled: bool = False  # whether smaller alphas would change nothing
    is_cut: bool = False  # whether its time was up before that
    missing: str = ""  # why it counts for nothing, if so

    def add(self, score, model, status, held_out):
        """Add the point at which the model now is.

        The network is kept where it is the best so far and no output of it is settled:
        one a fold, since those of all points of wide data would take gigabytes.
        """
        is_best = not self.scores or score > np.nanmax([-np.inf, *self.scores])
        if is_best and model._settled is None:
            self.kept = len(self.scores), model.network_
        self.scores.append(score)
        self.n_neurons.append(model.n_neurons_)
        self.dual_gaps.append(model.dual_gap_)
        self.statuses.append(status)
        self.held_out.append(held_out)

    def still_rises(self, part):
        """Tell whether the last score is the best, and better by more than nothing.

        Where the loss on the test rows is known it has to fall by more than a part of
        it, as rounds of training have to: scores of clean data rise for ever.
        """
        *before, last = self.scores
        if not before or not last > max(before):
            return False
        known = self.held_out[-2:]
        return not all(known) or known[1] < (1.0 - part) * known[0]

    def column(self, name, length):
        """Return one quantity as a column, nan beyond the end.

        Scores of a settled path go on as they are.
        """
        values = getattr(self, name)
        column = np.full(length, np.nan)
        column[: len(values)] = values
        if self.settled and name == "scores":
            column[len(values) :] = values[-1]
        return column


@dataclass(frozen=True)
class Search:
    """What all folds of a search have in common.

    Attributes
    ----------
    model : estimator
        What follows the path of a fold, as a clone.
    caller : estimator
        The one with cross-validation, for callbacks.
    data : tuple
        X, y and the sample weights, or None, of all rows.
    whole : dict
        Attributes that data as a whole give a model, as its classes.
    grid : ndarray
        The strengths, from large to small.
    n_asked : int
        How many of them are tried anyway; beyond, while scores rise.
    is_relative : bool
        Whether strengths are parts of each fold's alpha_max.
    scorer : callable
        Called with a model, X and y.
    score_params : dict
        What else the scorer takes.
    """

    model: object
    caller: object
    data: tuple
    whole: dict
    grid: np.ndarray
    n_asked: int
    is_relative: bool
    scorer: object
    score_params: dict

    def parts(self, model, rows):
        """Return training rows with their weights, test rows, and these checked."""
        (X, y, sample_weight), (train, test) = self.data, rows
        training = _safe_split(model, X, y, train)
        tested = _safe_split(model, X, y, test, train)
        weights = [None, None]
        if sample_weight is not None:
            weights = [np.asarray(sample_weight)[part] for part in rows]
        beside = model._beside(*tested, weights[1], self.whole)
        return (*training, weights[0]), tested, beside


def score_path(search, rows, context, deadline):
    """Follow the path on the training rows of a fold; score it on the test rows.

    An interrupt comes back as a value: raised in a worker, it can reach the caller
    before the folds that are done.

    Parameters
    ----------
    search : Search
        What it shares with other folds.
    rows : tuple of ndarray
        Its training rows and its test rows.
    context : TaskContext or None
        Where its task is among those of callbacks.
    deadline : Deadline or None
        When it must end.

    Returns
    -------
    FoldPath
        The path, with its scores.
    """
    try:
        return _scored(search, rows, context, deadline)
    except KeyboardInterrupt:
        return FoldPath(missing=INTERRUPTED)


def _scored(search, rows, context, deadline):
    model = clone(search.model)
    training, test, beside = search.parts(model, rows)
    params = _check_method_params(search.data[0], search.score_params, indices=rows[1])
    # Few test rows make scores too rough to tell when a path is past its best.
    judged = len(rows[1]) >= _FEWEST_TO_JUDGE
    path, verbose, gain = FoldPath(), model.verbose, Gain(model.tol)
    model.set_params(verbose=max(verbose - 1, 0))
    # Proofs would take longer than the training, and nobody sees them.
    solutions = model._follow(
        *training,
        search.grid,
        search.is_relative,
        gain=gain,
        whole=search.whole,
        deadline=deadline,
    )
    root = Task(context, search.caller, *training)
    with one_blas_thread(), _begun(root) as task:
        for point in range(len(search.grid)):
            with _begun(task.subtask("alpha")) as step:
                solution = next(solutions, None)
                if solution is None:
                    path.settled = True
                    step.end()
                    break
                if solution.status is Status.INTERRUPTED:
                    raise KeyboardInterrupt
                path.is_cut = solution.status is Status.TIME_LIMIT
                if path.is_cut and point > 0:  # half-done beside what is done
                    step.end()
                    break
                score = _number(search.scorer(model, *test, **params))
                gain.held_out = model._loss_on(beside) / gain.scale
            path.add(score, model, solution.status, gain.held_out)
            if verbose:
                print(
                    f"alpha {model.alpha_:.3e}  score {score:.4f}  "
                    f"gap {model.dual_gap_:.3e}  neurons {model.n_neurons_}"
                )
            if step.end(lambda: vars(model)):
                path.statuses[point] = Status.STOPPED
                break
            past = judged and has_passed_its_best(path.scores, search.grid)
            if path.is_cut or past:
                break
            if point + 1 >= search.n_asked and not path.still_rises(model.tol):
                break
    task.end()
    if np.isnan(path.scores).all():
        path.missing = "the scorer returned nan"
    return path


@contextmanager
def _begun(task):
    """Begin a task, which an interrupt ends too."""
    task.begin()
    try:
        yield task
    except KeyboardInterrupt:
        task.end()
        raise


def as_done(calls, n_jobs):
    """Yield the paths of calls; the first that is interrupted ends them all."""
    try:
        parallel = Parallel(n_jobs, return_as="generator")
    except ValueError:  # multiprocessing hands over all at the end
        parallel = Parallel(n_jobs)
    paths = parallel(calls)
    for path in paths:
        if path.missing == INTERRUPTED:
            with warnings.catch_warnings():  # of joblib, that results are left
                warnings.simplefilter("ignore")
                if hasattr(paths, "close"):
                    paths.close()
            raise KeyboardInterrupt
        yield path


def shared_out(deadline, n_folds, n_jobs):
    """Return a Deadline for each of the folds, which share two thirds of the time.

    Folds that run one after the other end one after the other; what one does not need
    is the next one's.
    """
    if deadline is None or not n_folds:
        return [None] * n_folds
    n_rounds = -(-n_folds // effective_n_jobs(n_jobs))
    n_workers = -(-n_folds // n_rounds)
    share = 2.0 / 3.0 * deadline.left / n_rounds
    begun = deadline.at - deadline.left
    return [Deadline(begun + share * (k // n_workers + 1)) for k in range(n_folds)]


def rows_at(rows, index):
    """Return the rows at an index, or of a mask, as folds may be given."""
    index = np.asarray(index)
    return rows[index if len(index) else index.astype(int)]


def lacking(train, test):
    """Return why a fold can score nothing, if so."""
    if not len(train):
        return "no training row of positive weight"
    return "" if len(test) else "no test row of positive weight"


def knowing_classes(scorer, classes):
    """Return a scorer that knows the classes, which the test rows may lack.

    Who scores probabilities would otherwise take the classes from those rows.
    """
    function = getattr(scorer, "_score_func", None)
    if function is None or scorer._response_method == "predict":
        return scorer
    names, known = signature(function).parameters, {}
    if "labels" in names:
        known["labels"] = classes
        if len(classes) == 2 and "pos_label" in names:
            known["pos_label"] = classes[1]
    scorer = copy(scorer)
    scorer._kwargs = known | scorer._kwargs
    return scorer


def _number(score):
    """Return a score; raise where it is none."""
    if not isinstance(score, Real):
        raise ValueError(
            f"scoring must return a number, got {score} ({type(score)}) instead."
        )
    return float(score)


def has_passed_its_best(scores, grid):
    """Tell whether scores along a grid of decreasing alphas are clearly past a best."""
    best, last = int(np.argmax(scores)), len(scores) - 1
    gained, lost = scores[best] - scores[0], scores[best] - scores[last]
    if grid[last] < _FARTHEST * grid[best] and gained > 0.0:
        return True
    return grid[last] < _FAR * grid[best] and lost > _LOST * gained > 0.0


def as_columns(paths, name, n_alphas):
    """Return one quantity of all folds' paths, (n_alphas, n_folds)."""
    return np.column_stack([path.column(name, n_alphas) for path in paths])


def as_results(paths, alphas):
    """Return what came of all folds as the ``cv_results_`` of GridSearchCV.

    Times are left out: a point of a path does not cost what a fit of its own would.
    """
    scores, neurons, gaps = (
        as_columns(paths, name, len(alphas))
        for name in ("scores", "n_neurons", "dual_gaps")
    )
    counted = ~np.isnan(scores).all(axis=0)
    mean = scores[:, counted].mean(axis=1)
    ranked = np.where(np.isnan(mean), -np.inf, mean)  # last, as in GridSearchCV
    return {
        "param_alpha": np.array(alphas),
        "params": [{"alpha": float(alpha)} for alpha in alphas],
        **{f"split{k}_test_score": column for k, column in enumerate(scores.T)},
        "mean_test_score": mean,
        "std_test_score": scores[:, counted].std(axis=1),
        "rank_test_score": rankdata(-ranked, method="min").astype(np.int32),
        "mean_n_neurons": neurons[:, counted].mean(axis=1),
        "mean_dual_gap": gaps[:, counted].mean(axis=1),
    }


def check_some_count(paths):
    """Raise where no fold has a score."""
    if all(path.missing for path in paths):
        raise ValueError(f"No fold tells which alpha is best: {_told_missing(paths)}.")


def warn_of_missing(paths):
    """Warn of folds that do not count."""
    reasons = {path.missing for path in paths} - {""}
    if reasons:
        n_missing = sum(bool(path.missing) for path in paths)
        warn(
            f"{n_missing} of {len(paths)} folds do not count: {_told_missing(paths)}.",
            ConvergenceWarning if INTERRUPTED in reasons else UserWarning,
        )


def warn_of_cut(paths, alphas):
    """Warn of folds whose time was up before their path came to its end."""
    cut = [path for path in paths if path.is_cut]
    if cut:
        last = alphas[min(len(path.scores) for path in cut) - 1]
        warn(
            f"time_limit ended the paths of {len(cut)} of {len(paths)} folds, the "
            f"first at alpha={last:.3g}: smaller ones were not tried in every fold."
        )


def _told_missing(paths):
    """Return which folds do not count, and why."""
    folds = {}
    for k, path in enumerate(paths):
        if path.missing:
            folds.setdefault(path.missing, []).append(str(k))
    return "; ".join(
        f"{reason} ({'every fold' if len(which) == len(paths) else _listed(which)})"
        for reason, which in folds.items()
    )


def _listed(which):
    """Return numbers of folds in words."""
    return f"fold{'s' if len(which) > 1 else ''} {', '.join(which)}"


def chosen_index(scores, selection):
    """Return the index of the alpha to choose; among equals the largest alpha.

    Folds without any score do not count.
    """
    scores = scores[:, ~np.isnan(scores).all(axis=0)]
    # nan unless each of these folds has a score
    mean = scores.mean(axis=1) if scores.size else np.full(len(scores), np.nan)
    if np.isnan(mean).all():
        raise ValueError(
            "No alpha has a score in every fold: where one fold has scores, another "
            "has nan."
        )
    best = int(np.nanargmax(mean))
    if selection == "best" or scores.shape[1] < 2:
        return best
    error = scores[best].std(ddof=1) / np.sqrt(scores.shape[1])
    return int(np.argmax(mean >= mean[best] - error))
