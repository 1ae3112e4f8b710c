"""Tabular data: held-out score against total time, tuning included.

Real tables of 100 to 60000 rows from installed packages, regression and classification.
Every model gets the same split (three fifths train, at most 1500 rows), the same
preprocessing, and tunes itself by five folds: ours by its own paths, MLP, SVM and the
linear models over grids; gradient boosting comes as it is, as most users take it.
"""

from functools import partial
from statistics import mean, median

import numpy as np
from joblib import Parallel, delayed
from scipy.stats import rankdata
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from benchmarks.datasets import CLASSES, REAL, available, preprocessor
from benchmarks.report import figure, markdown, parse, timed_fit
from sklearn_convexrelu import ConvexReLUClassifierCV, ConvexReLURegressorCV

QUICK = ("diabetes", "auto", "credit", "iris", "penguin species", "two classes")
MOST_ROWS, SMALL, N_REPEATS = 1500, 1000, 2  # below SMALL rows splits are repeated
OURS, MLP, BOOSTING = "ours", "MLP", "boosting"
GRIDS = {
    MLP: {"alpha": [1e-4, 1e-2, 0.3, 10.0], "hidden_layer_sizes": [(50,), (200,)]},
    "SVM": {"C": [0.1, 1.0, 10.0, 100.0], "gamma": ["scale", 0.01, 0.1]},
}
REGRESSORS = {
    OURS: ConvexReLURegressorCV(random_state=0),
    MLP: GridSearchCV(MLPRegressor(random_state=0), GRIDS[MLP]),
    "SVM": GridSearchCV(SVR(), GRIDS["SVM"]),
    BOOSTING: HistGradientBoostingRegressor(random_state=0),
    "linear": RidgeCV(np.geomspace(1e-3, 1e3, 13)),
}
BY_LOSS = {"scoring": "neg_log_loss"}
CLASSIFIERS = {
    OURS: ConvexReLUClassifierCV(random_state=0, **BY_LOSS),
    MLP: GridSearchCV(MLPClassifier(random_state=0), GRIDS[MLP], **BY_LOSS),
    "SVM": GridSearchCV(SVC(), GRIDS["SVM"]),
    BOOSTING: HistGradientBoostingClassifier(random_state=0),
    "linear": LogisticRegressionCV(
        max_iter=1000, l1_ratios=(0.0,), use_legacy_attributes=False, **BY_LOSS
    ),
}
SUMMARY = ("all", "up to 5000 rows", "regression", "classes")


def main():
    """Score the sets asked for and print the tables."""
    flags = {"jobs": {"type": int, "default": 1, "help": "sets at a time"}}
    options = parse(__doc__, [*REAL, *CLASSES], QUICK, **flags)
    print(report(options.names, options.jobs)[0])


def report(names=None, jobs=1):
    """Return the Markdown, and the function that draws the picture."""
    sets = list(available(names or [*REAL, *CLASSES]))
    results = []
    tasks = [delayed(evaluate)(data) for data in sorted(sets, key=lambda s: -len(s.y))]
    for rows in Parallel(jobs, return_as="generator_unordered")(tasks):
        results += rows
        print(
            rows[0]["data"],
            {r["model"]: round(r["score"], 3) for r in rows},
            flush=True,
        )
    kinds = {"R2": False, "Accuracy": True}
    tables = [
        f"{title}, held out:\n\n{markdown(table(results, classes, 'score'))}"
        for title, classes in kinds.items()
        if any(r["classes"] == classes for r in results)
    ]
    if any(r["classes"] for r in results):
        losses = table(
            [r for r in results if r["log loss"] is not None], True, "log loss"
        )
        tables.append(f"Log loss, held out:\n\n{markdown(losses)}")
    text = "\n\n".join(
        [verdict(results), markdown(summary(results)), lost(results), *tables, LEGEND]
    )
    return text, lambda: picture(results)


def evaluate(data):
    """Return one result a model: mean score and seconds over the repeats."""
    classes = data.y.dtype.kind != "f"
    n, results = len(data.y), []
    repeats = N_REPEATS if n <= SMALL else 1
    for model, estimator in (CLASSIFIERS if classes else REGRESSORS).items():
        runs = [run(data, estimator, classes, seed) for seed in range(repeats)]
        losses = [r["log loss"] for r in runs]
        results.append(
            {
                "data": data.name,
                "model": model,
                "classes": classes,
                "n": n,
                "rows": runs[0]["rows"],
                "columns": data.X.shape[1],
                "score": mean(r["score"] for r in runs),
                "log loss": None if None in losses else mean(losses),
                "seconds": mean(r["seconds"] for r in runs),
                "unconverged": sum(r["unconverged"] for r in runs),
            }
        )
    return results


def run(data, estimator, classes, seed):
    """Split, fit and score once."""
    train, test = train_test_split(
        np.arange(len(data.y)),
        train_size=min(int(0.6 * len(data.y)), MOST_ROWS),
        random_state=seed,
        stratify=data.y if classes else None,
    )
    model = clone(estimator)
    if not classes:
        model = TransformedTargetRegressor(model, transformer=StandardScaler())
    model = make_pipeline(preprocessor(), model)
    seconds, unconverged = timed_fit(model, data.X.iloc[train], data.y[train])
    X, y = data.X.iloc[test], data.y[test]
    # Searches would score classes by what they choose by.
    loss, score = None, partial(accuracy, model) if classes else model.score
    if classes and hasattr(model, "predict_proba"):
        loss = log_loss(y, model.predict_proba(X), labels=model.classes_)
    return {
        "score": score(X, y),
        "log loss": loss,
        "seconds": seconds,
        "unconverged": unconverged,
        "rows": len(train),
    }


def accuracy(model, X, y):
    """Return the share of right labels."""
    return np.mean(model.predict(X) == y)


def table(results, classes, what):
    """Return one row a set: what every model has there."""
    rows = {}
    for r in results:
        if r["classes"] == classes:
            facts = {key: r[key] for key in ("data", "n", "rows", "columns")}
            rows.setdefault(r["data"], facts)[r["model"]] = f"{r[what]:.3f}"
    return sorted(rows.values(), key=lambda row: row["n"])


def summary(results):
    """Return one row a group of sets and model: ranks, wins and seconds."""
    rows = []
    groups = dict(
        zip(
            SUMMARY,
            (
                results,
                [r for r in results if r["n"] <= 5000],
                [r for r in results if not r["classes"]],
                [r for r in results if r["classes"]],
            ),
            strict=True,
        )
    )
    for group, chosen in groups.items():
        if not chosen:
            continue
        scores = scores_of(chosen)
        ranks = np.array([rankdata(-np.round(list(s.values()), 4)) for s in scores])
        for k, model in enumerate(REGRESSORS):
            own = [r for r in chosen if r["model"] == model]
            rows.append(
                {
                    "sets": f"{group} ({len(scores)})",
                    "model": model,
                    "mean rank": f"{ranks[:, k].mean():.2f}",
                    "mean score": f"{mean(r['score'] for r in own):.4f}",
                    "better than ours": sum(s[model] > s[OURS] for s in scores),
                    "worse than ours": sum(s[model] < s[OURS] for s in scores),
                    "median s": median(r["seconds"] for r in own),
                    "mean s": mean(r["seconds"] for r in own),
                    "unconverged": sum(r["unconverged"] for r in own),
                }
            )
    return rows


def scores_of(results):
    """Return one dictionary a set: the scores of the models."""
    scores = {}
    for r in results:
        scores.setdefault(r["data"], {})[r["model"]] = r["score"]
    return [{model: s[model] for model in REGRESSORS} for s in scores.values()]


def verdict(results):
    """Say how ours ranks on sets of up to 5000 rows."""
    rows = [r for r in summary(results) if r["sets"].startswith(SUMMARY[1])]
    ranks = ", ".join(f"{r['model']} {r['mean rank']}" for r in rows)
    times = ", ".join(f"{r['model']} {r['median s']:.2g}" for r in rows)
    return (
        f"Mean rank among the five on sets of up to 5000 rows: {ranks}. Median seconds "
        f"with tuning: {times}."
    )


def lost(results):
    """Name the sets where the best other model is ahead, and by how much."""
    parts = []
    for data in dict.fromkeys(r["data"] for r in results):
        scores = {r["model"]: r["score"] for r in results if r["data"] == data}
        best = max(scores, key=scores.get)
        behind = scores[best] - scores[OURS]
        if behind > 0.005:
            parts.append((behind, f"{data} ({best}, by {behind:.3f})"))
    names = ", ".join(text for _, text in sorted(parts, reverse=True))
    return f"Ours is more than 0.005 behind the best on: {names or 'none'}."


def picture(results):
    """Return the figure: mean rank against median seconds, a point a model."""
    groups = {"regression": False, "classes": True}
    fig, panels = figure(len(groups))
    for panel, (title, classes) in zip(panels, groups.items(), strict=True):
        chosen = [r for r in results if r["classes"] == classes]
        if not chosen:
            continue
        scores = scores_of(chosen)
        ranks = np.array([rankdata(-np.array(list(s.values()))) for s in scores])
        for k, model in enumerate(REGRESSORS):
            seconds = median(r["seconds"] for r in chosen if r["model"] == model)
            panel.plot(seconds, ranks[:, k].mean(), "o", ms=9)
            panel.annotate(
                model,
                (seconds, ranks[:, k].mean()),
                xytext=(7, 5),
                textcoords="offset points",
            )
        panel.set(xscale="log", title=f"{title}, {len(scores)} sets")
        panel.margins(0.25)
        panel.invert_yaxis()
    fig.supxlabel("median seconds, tuning included")
    fig.supylabel("mean rank (1 is best)")
    return fig


LEGEND = f"""Columns: n samples, rows trained on (three fifths, at most {MOST_ROWS}),
columns before encoding. Sets of up to {SMALL} samples are split {N_REPEATS} times, the
others once. Ranks go by R2 or accuracy. Unconverged: warnings in all fits."""


if __name__ == "__main__":
    main()
