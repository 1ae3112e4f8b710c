"""Paths beside fits one by one, and the choice of alpha by them beside a grid search.

First, 30 alphas down to 1e-3 of alpha_max at a gap of 1e-2: one path against as many
independent fits; objectives may differ by no more than the gaps. Then estimators with
CV as they come (``path_tol`` of 1e-2, the last fit at a gap of 1e-3), 5 folds and 30
alphas, against a grid of 8 settings of scikit-learn's MLP on the same folds, tuned on a
training half and scored on the other, two jobs each.
"""

from statistics import median
from time import perf_counter

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, make_friedman1
from sklearn.model_selection import (
    GridSearchCV,
    RepeatedKFold,
    RepeatedStratifiedKFold,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

from benchmarks.datasets import load, standardised
from benchmarks.report import markdown, parse, publish, timed_fit
from sklearn_convexrelu import (
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    convex_relu_path,
)

PATHS = ("diabetes", "friedman1")
N_ALPHAS, SMALLEST, TOL = 30, 1e-3, 1e-2
MLP_GRID = {
    "alpha": [1e-4, 1e-2, 0.3, 10.0],
    "hidden_layer_sizes": [(50,), (200,)],
}
SEARCHES = {
    "CV diabetes": lambda: regression("diabetes"),
    "CV friedman1 n=300": lambda: make_friedman1(600, noise=1.0, random_state=1),
    "CV friedman1 n=1000": lambda: make_friedman1(2000, noise=1.0, random_state=1),
    "CV breast cancer": lambda: load_breast_cancer(return_X_y=True),
    "CV digits": lambda: load_digits(return_X_y=True),
}
N_SPLITS, N_REPEATS = 2, 6  # halves: one chooses alpha and trains, the other scores
JOBS = 2


def main():
    """Run what is asked for and publish the tables."""
    names = [*PATHS, *SEARCHES]
    options = parse(__doc__, names, ("diabetes", "CV diabetes"))
    paths = [path_against_fits(name) for name in options.names if name in PATHS]
    searches = []
    for name in options.names:
        if name in SEARCHES:
            searches.append(search_against_grid(name, *SEARCHES[name]()))
            print(searches[-1])
    text = "\n\n".join(
        ["Paths:", markdown(paths)] * bool(paths)
        + ["Choosing alpha:", markdown(searches)] * bool(searches)
        + [LEGEND]
    )
    publish("paths", "Paths and cross-validation", text, options.partial)


def regression(name):
    """Return features and target of a data set."""
    data = load(name)
    return data.X.to_numpy(), data.y


def path_against_fits(name):
    """Return a row: one path beside independent fits at its alphas."""
    X, y = standardised(load(name))
    options = {"tol": TOL, "random_state": 0}
    times = []
    for _ in range(3):
        begin = perf_counter()
        path = convex_relu_path(X, y, n_alphas=N_ALPHAS, eps=SMALLEST, **options)
        times.append(perf_counter() - begin)
    fits = [
        ConvexReLURegressor(alpha, relative_alpha=False, **options)
        for alpha in path.alphas
    ]
    alone = sum(timed_fit(fit, X, y)[0] for fit in fits)
    bounds = path.objectives - path.dual_gaps
    excess = [b - fit.objective_ for b, fit in zip(bounds, fits, strict=True)]
    excess += [
        fit.lower_bound_ - o for o, fit in zip(path.objectives, fits, strict=True)
    ]
    return {
        "data": name,
        "alphas": len(path.alphas),
        "path s": median(times),
        "fits s": alone,
        "fits / path": alone / median(times),
        "target": 4,
        "met": "yes" if alone >= 4 * median(times) else "NO",
        "bounds crossed": sum(difference > 1e-9 for difference in excess),
    }


def search_against_grid(name, X, y):
    """Return a row: the estimator with CV beside a grid search over MLPs."""
    classes = len(np.unique(y)) < 20
    if not classes:
        y = scale(y)
    kind = ConvexReLUClassifierCV if classes else ConvexReLURegressorCV
    mlp = MLPClassifier if classes else MLPRegressor
    scoring = "neg_log_loss" if classes else "r2"
    models = {
        "ours": kind(cv=5, scoring=scoring, n_jobs=JOBS, random_state=0),
        "MLP": GridSearchCV(
            mlp(random_state=0), MLP_GRID, cv=5, scoring=scoring, n_jobs=JOBS
        ),
    }
    halves = RepeatedStratifiedKFold if classes else RepeatedKFold
    splits = halves(n_splits=N_SPLITS, n_repeats=N_REPEATS, random_state=0)
    seconds = {model: [] for model in models}
    scores = {model: [] for model in models}
    for train, test in splits.split(X, y):
        for model, estimator in models.items():
            pipeline = make_pipeline(StandardScaler(), clone(estimator))
            seconds[model].append(timed_fit(pipeline, X[train], y[train])[0])
            scores[model].append(plain_score(pipeline, X[test], y[test]))
    ratio = median(seconds["ours"]) / median(seconds["MLP"])
    ours, theirs = (np.mean(scores[model]) for model in models)
    return {
        "data": name,
        "n": len(y) // 2,
        "ours s": median(seconds["ours"]),
        "MLP s": median(seconds["MLP"]),
        "ratio": f"{ratio:.2f}",
        "target": 0.5,
        "ours score": f"{ours:.4f}",
        "MLP score": f"{theirs:.4f}",
        "met": "yes" if ratio <= 0.5 and ours >= theirs else "NO",
    }


def plain_score(pipeline, X, y):
    """Return R2 or accuracy, whatever the search's own scoring is."""
    predicted = pipeline.predict(X)
    if np.issubdtype(y.dtype, np.integer):
        return np.mean(predicted == y)
    return 1.0 - np.mean((y - predicted) ** 2) / np.var(y)


LEGEND = """Path: median of three. Bounds crossed: points where a lower bound of one of
path and fit exceeds the objective of the other. Choosing alpha: medians over twelve
halves of the data, the other half scores (R2, or accuracy); the classifiers choose by
log loss."""


if __name__ == "__main__":
    main()
