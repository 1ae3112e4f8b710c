"""Classification: held-out accuracy and probabilities beside two tuned rivals.

Stratified five-fold scores, every model tuned by an inner three-fold grid on the
training part (log loss; SVC: accuracy), in the same pipeline. Small sets are split
again and again, up to ten times, until some 2000 predictions are held out: one split of
16 rows says nothing. The 20000 x 50 problem is tuned on one half and scored once on the
other. Ours runs at most 20 rounds to a gap of 1e-2. Ctrl-C publishes what is done.
"""

from pathlib import Path
from statistics import mean

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
    load_wine,
    make_classification,
)
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import (
    GridSearchCV,
    RepeatedStratifiedKFold,
    StratifiedKFold,
    train_test_split,
)
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from benchmarks.datasets import DataSet, preprocessor
from benchmarks.report import markdown, parse, publish, timed_fit
from sklearn_convexrelu import ConvexReLUClassifier

UCI = Path(__file__).parents[2] / "shared" / "data" / "uci_small"
LOADERS = {
    "iris": load_iris,
    "wine": load_wine,
    "breast cancer": load_breast_cancer,
    "digits": load_digits,
}
BIG = "20000x50"
HELD_OUT, MOST_REPEATS = 2000, 10
OURS, RIVAL = "ours", "MLP"
MODELS = {
    OURS: (
        ConvexReLUClassifier(tol=1e-2, max_iter=20, random_state=0),
        {"alpha": [0.1, 0.03, 0.01, 0.003, 0.001, 0.0003]},
        "neg_log_loss",
    ),
    RIVAL: (
        MLPClassifier(max_iter=500, random_state=0),
        {"alpha": [1e-4, 1e-2, 1.0], "hidden_layer_sizes": [(50,), (200,)]},
        "neg_log_loss",
    ),
    "SVC": (SVC(), {"C": [0.3, 1, 10, 100]}, "accuracy"),
}
N_BINS = 10


def main():
    """Score every model on every fold, then publish the tables."""
    uci = sorted(path.stem for path in UCI.glob("*.csv"))
    if not uci:
        print("Skipped the small UCI sets: their folder is not there.")
    names = [BIG, *LOADERS, *uci]  # the longest first, for two processes
    flags = {"jobs": {"type": int, "default": 2, "help": "processes, one fit each"}}
    options = parse(__doc__, names, ("iris", "wine"), **flags)
    sets = [load(name) for name in options.names]
    tasks = [
        delayed(evaluate)(data, model, fold)
        for data in sets
        for model in MODELS
        for fold in range(len(splits(data)))
    ]
    results = []
    try:
        for result in Parallel(options.jobs, return_as="generator_unordered")(tasks):
            print("{data}, {model}, fold {fold}: {accuracy:.3f}".format(**result))
            results.append(result)
    except KeyboardInterrupt:
        print("Interrupted: publishing what is done.")
    done = [data for data in sets if is_complete(data, results)]
    text = tables([data.name for data in done], results)
    if left := [data.name for data in sets if data not in done]:
        text += f"\n\nNot finished in this run: {', '.join(left)}."
    publish("classification", "Classification", text, options.partial)


def load(name):
    """Return the data set of that name, labels coded from zero."""
    if name == BIG:
        X, y = make_classification(
            20_000, 50, n_informative=20, n_classes=4, random_state=0
        )
    elif name in LOADERS:
        X, y = LOADERS[name](return_X_y=True)
    else:
        table = pd.read_csv(UCI / f"{name}.csv")
        X, y = table.drop(columns="target"), table["target"].to_numpy()
    return DataSet(name, pd.DataFrame(X), np.unique(y, return_inverse=True)[1])


def splits(data):
    """Return the folds: pairs of training and test rows."""
    if data.name == BIG:
        halves = train_test_split(
            np.arange(len(data.y)), test_size=0.5, stratify=data.y, random_state=0
        )
        return [halves]
    n_repeats = int(np.clip(HELD_OUT // len(data.y), 1, MOST_REPEATS))
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=n_repeats, random_state=0)
    return list(folds.split(data.X, data.y))


def is_complete(data, results):
    """Tell whether every model was scored on every fold of a data set."""
    scored = sum(result["data"] == data.name for result in results)
    return scored == len(MODELS) * len(splits(data))


def evaluate(data, model, fold):
    """Tune and fit one model on one fold; return its scores and predictions."""
    train, test = splits(data)[fold]
    estimator, grid, scoring = MODELS[model]
    pipeline = Pipeline([("prepare", preprocessor()), ("model", clone(estimator))])
    grid = {f"model__{parameter}": values for parameter, values in grid.items()}
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    search = GridSearchCV(pipeline, grid, scoring=scoring, cv=folds, refit=False)
    seconds, unconverged = timed_fit(search, data.X.iloc[train], data.y[train])
    best = clone(pipeline).set_params(**search.best_params_)
    more, warned = timed_fit(best, data.X.iloc[train], data.y[train])
    truth = data.y[test]
    result = {
        "data": data.name,
        "model": model,
        "fold": fold,
        "accuracy": accuracy_score(truth, best.predict(data.X.iloc[test])),
        "seconds": seconds + more,
        "unconverged": unconverged + warned,
    }
    if hasattr(best, "predict_proba"):
        P = best.predict_proba(data.X.iloc[test])
        labels = np.arange(P.shape[1])
        result["log loss"] = log_loss(truth, P, labels=labels)
        result["Brier"] = np.mean(((P - np.eye(len(labels))[truth]) ** 2).sum(axis=1))
        result["confidence"], result["hit"] = P.max(axis=1), P.argmax(axis=1) == truth
    return result


def tables(names, results):
    """Return the report's text: accuracies, probabilities, totals and reliability."""
    results = [result for result in results if result["data"] in names]
    accuracies = {
        name: {model: average(results, "accuracy", name, model) for model in MODELS}
        for name in names
    }
    rows = [{"data": name} | as_text(accuracies[name]) for name in names]
    probabilities = [
        {"data": name}
        | as_text(
            {
                f"{model} {score}": average(results, score, name, model)
                for score in ("log loss", "Brier")
                for model in (OURS, RIVAL)
            }
        )
        for name in names
    ]
    behind = [
        name for name in names if accuracies[name][RIVAL] > accuracies[name][OURS]
    ]
    return "\n\n".join(
        [
            "Accuracy, mean over folds:",
            markdown(rows),
            "Log loss and Brier score (squared error summed over classes):",
            markdown(probabilities),
            "Over all sets:",
            markdown([total(model, accuracies, results) for model in MODELS]),
            f"Ours loses to the tuned {RIVAL} on: {', '.join(behind) or 'none'}.",
            "Reliability, all held-out predictions by confidence (the largest "
            "probability); error is the mean distance of confidence and accuracy:",
            markdown([reliability(results, model) for model in (OURS, RIVAL)]),
            "Wins: data sets with a higher accuracy than ours, and with a lower one. "
            "Unconverged: warnings in all fits of the searches.",
        ]
    )


def average(results, score, name, model):
    """Return the mean of one score over the folds of one data set and model."""
    return mean(
        result[score]
        for result in results
        if result["data"] == name and result["model"] == model
    )


def as_text(scores):
    """Return scores with three decimals."""
    return {name: f"{value:.3f}" for name, value in scores.items()}


def total(model, accuracies, results):
    """Return how one model did over all data sets."""
    own = [result for result in results if result["model"] == model]
    pairs = [(scores[model], scores[OURS]) for scores in accuracies.values()]
    return {
        "model": model,
        "mean accuracy": f"{mean(theirs for theirs, _ in pairs):.4f}",
        "wins": sum(theirs > ours for theirs, ours in pairs),
        "ours wins": sum(theirs < ours for theirs, ours in pairs),
        "mean s a search": mean(result["seconds"] for result in own),
        "unconverged": sum(result["unconverged"] for result in own),
    }


def reliability(results, model):
    """Return the accuracy in bins of confidence, and the expected calibration error."""
    own = [result for result in results if result["model"] == model]
    confidence = np.concatenate([result["confidence"] for result in own])
    hit = np.concatenate([result["hit"] for result in own])
    bins = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    row, error = {"model": model}, 0.0
    for k in range(2, N_BINS):
        chosen = bins == k
        if chosen.any():
            error += abs(hit[chosen].sum() - confidence[chosen].sum())
            row[f"{k / N_BINS:.1f}-{(k + 1) / N_BINS:.1f}"] = (
                f"{hit[chosen].mean():.3f}"
            )
    return row | {"error": f"{error / len(hit):.4f}"}


if __name__ == "__main__":
    main()
