"""Small alpha, many columns, many classes: one fit beside one of scikit-learn's MLPs.

Where scores are best and fits are slowest. Both models are fitted in turn in one
process, on one thread and the same columns, and medians of CPU seconds over seeds are
compared. The MLP has its defaults but for ``max_iter``, 500 for numbers and 200 for
classes. With ``--descent`` L-BFGS on 300 and 1000 units minimises the same objective.
Folds: estimators with CV as they come (the last fit at a gap of 1e-3), beside a grid of
eight MLPs.
"""

import warnings
from functools import partial
from math import inf
from statistics import median
from time import process_time

import numpy as np
from sklearn.datasets import make_classification, make_friedman1, make_friedman2
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler, scale

from benchmarks.judged import SHARED, one_hot
from benchmarks.paths import MLP_GRID
from benchmarks.reference import WideNetwork, network_objective, train_wide_network
from benchmarks.report import markdown, parse, publish
from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
)

TOL = 1e-2
MANY = 30_000
NOISE = 4.0  # as much variance as two thirds of the signal's
UNITS = 300, 1000
CAP = 10  # times our seconds, after which descent is stopped
CLASSES = "clf_credit", "clf_nursery", "clf_optdigits", "clf_spambase"
N_FOLDS = 3
TABLES = "reg_abalone", "reg_cpu_act", "reg_elevators", "reg_house8L", "reg_parkinsons"


def main():
    """Run the sections asked for and publish a table of each."""
    flags = {
        "repeats": {"type": int, "default": 3, "help": "seeds, by default 3"},
        "descent": {"action": "store_true", "help": "L-BFGS on wide networks too"},
    }
    options = parse(__doc__, SECTIONS, ("wide",), **flags)
    for name in options.names:
        rows = []
        for case in SECTIONS[name]:
            if name == "folds":
                rows.append(choices(*case, options.repeats))
            else:
                rows.append(compare(*case, options.repeats, options.descent))
            print(markdown(rows).splitlines()[-1], flush=True)
        text = f"{markdown(rows)}\n\n{LEGEND}\n\nSeeds: {options.repeats}."
        publish(f"small_alpha_{name}", f"Small alpha: {name}", text, options.quick)


def compare(name, data, alpha, target, n_repeats, descends):
    """Return the row of one table and strength."""
    X, y, X_test, y_test = data()
    is_number = y.dtype.kind == "f"
    kinds = [
        partial(ConvexReLURegressor if is_number else ConvexReLUClassifier, alpha),
        MLPRegressor if is_number else MLPClassifier,
    ]
    options = {"tol": TOL}, {"max_iter": 500 if is_number else 200}
    makers = [partial(kind, **own) for kind, own in zip(kinds, options, strict=True)]
    (ours, models), (mlp, rivals) = in_turn(makers, X, y, n_repeats)
    ratio = median(ours) / median(mlp)
    row = {
        "data": name,
        "n": X.shape[0],
        "d": X.shape[1],
        "alpha": alpha,
        "ours s": median(ours),
        "MLP s": median(mlp),
        "ratio": f"{ratio:.2f}",
        "target": target,
        "met": "yes" if ratio <= target else "**no**",
        "score": median(model.score(X_test, y_test) for model in models),
        "MLP's": median(model.score(X_test, y_test) for model in rivals),
        "gap": max(model.dual_gap_ / model.tolerance_ for model in models),
        "neurons": int(median(model.n_neurons_ for model in models)),
        "rounds": int(median(model.n_iter_ for model in models)),
    }
    if descends and is_number:
        row |= {f"L-BFGS {n}": race(models[0], X, y, ours[0], n) for n in UNITS}
    return row


def choices(name, data, target, n_repeats):
    """Return the row of one table: alpha chosen on folds, beside a grid of MLPs."""
    X, y, X_test, y_test = data()
    kind, rival, options = ConvexReLURegressorCV, MLPRegressor, {"max_iter": 500}
    if y.dtype.kind != "f":
        kind, rival, options = ConvexReLUClassifierCV, MLPClassifier, {}

    def grid(random_state):
        mlp = rival(random_state=random_state, **options)
        return GridSearchCV(mlp, MLP_GRID, cv=N_FOLDS)

    makers = partial(kind, cv=N_FOLDS), grid
    (ours, models), (mlp, rivals) = in_turn(makers, X, y, n_repeats)
    ratio = median(ours) / median(mlp)
    score = median(model.score(X_test, y_test) for model in models)
    theirs = median(model.score(X_test, y_test) for model in rivals)
    return {
        "data": name,
        "n": X.shape[0],
        "d": X.shape[1],
        "ours s": median(ours),
        "MLPs s": median(mlp),
        "ratio": f"{ratio:.2f}",
        "target": target,
        "met": "yes" if ratio <= target and score >= theirs else "**no**",
        "score": score,
        "MLPs'": theirs,
        "alpha": median(model.alpha_ for model in models),
    }


def in_turn(makers, X, y, n_repeats):
    """Return the seconds and the models of each of two kinds, fitted in turn."""
    fits = [[], []]
    for seed in range(n_repeats):
        for maker, found in zip(makers, fits, strict=True):
            found.append(timed(maker(random_state=seed), X, y))
    return [zip(*found, strict=True) for found in fits]


def timed(model, X, y):
    """Return CPU seconds of a fit, and the model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        begin = process_time()
        model.fit(X, y)
        return process_time() - begin, model


def race(model, X, y, seconds, n_units):
    """Return how many times our seconds descent takes to the model's objective."""
    goal = network_objective(model.coefs_, model.intercepts_, X, y, model.alpha_)
    reached = [inf]

    def stop(elapsed, value):
        if value <= goal:
            reached[0] = elapsed / seconds
        return value <= goal or elapsed > CAP * seconds

    wide = WideNetwork(X, y, model.alpha_, n_units=n_units)
    train_wide_network(wide, 0, max_iter=100_000, stop=stop)
    return f"{reached[0]:.1f}" if reached[0] < inf else f"> {CAP}"


def halves(X, y, n_rows):
    """Return training and test rows, columns and numbers scaled by all."""
    if y.dtype.kind == "f":
        y = scale(y)
    return X[:n_rows], y[:n_rows], X[n_rows:], y[n_rows:]


def friedman(kind, n_rows, n_columns=None, noise=1.0):
    """Return a problem of Friedman, with 2000 test rows."""
    size = {} if n_columns is None else {"n_features": n_columns}
    X, y = kind(n_rows + 2000, noise=noise, random_state=0, **size)
    return halves(scale(X), y, n_rows)


def indicators(n_rows):
    """Return a hundred indicators of nine columns of words."""
    X, y = one_hot(n_rows=n_rows + 2000)
    return halves(X, y, n_rows)


def labels(n_rows, n_columns, n_classes):
    """Return classes of one cluster each."""
    X, y = make_classification(
        n_rows + 2000,
        n_columns,
        n_informative=10,
        n_classes=n_classes,
        n_clusters_per_class=1,
        random_state=0,
    )
    return halves(scale(X), y, n_rows)


def shared(name):
    """Return a table that is kept beside the repository, scaled by training rows."""
    with np.load(SHARED / "tables" / f"{name}.npz") as table:
        X, y, T, t = (table[key] for key in ("X", "y", "X_test", "y_test"))
    scaler = StandardScaler().fit(X.astype(float))
    X, T = scaler.transform(X), scaler.transform(T)
    if y.dtype.kind != "f":
        return X, y, T, t
    return X, (y - y.mean()) / y.std(), T, (t - y.mean()) / y.std()


def images(n_images, is_scaled):
    """Return images, raw or with columns scaled by training rows."""
    with np.load(SHARED / "images" / "fashion_mnist_part.npz") as table:
        X, y = table["X"][:n_images] / 255.0, table["y"][:n_images]
        T, t = table["X_test"] / 255.0, table["y_test"]
    if is_scaled:
        scaler = StandardScaler().fit(X)
        X, T = scaler.transform(X), scaler.transform(T)
    return X, y, T, t


WIDE = [
    ("one-hot", partial(indicators, 3000), 0.01, 1.0),
    ("friedman1", partial(friedman, make_friedman1, 5000, 500), 0.1, 2.0),
    ("100 classes", partial(labels, 5000, 20, 100), 0.1, 3.0),
    ("friedman2", partial(friedman, make_friedman2, 3000, noise=125.0), 0.1, 0.5),
    ("friedman2", partial(friedman, make_friedman2, 3000, noise=125.0), 0.03, 0.5),
]
SECTIONS = {
    "wide": WIDE,
    "rows": [("friedman1", partial(friedman, make_friedman1, MANY, 10), 0.001, 1.0)],
    "noise": [
        ("friedman1, noisy", partial(friedman, make_friedman1, 3000, 9, NOISE), *aims)
        for aims in ((0.003, 0.75), (0.001, 1.5))
    ],
}
if SHARED.is_dir():
    SECTIONS |= {
        "tables": [
            (name, partial(shared, name), alpha, target)
            for name in TABLES
            for alpha, target in ((0.003, 0.75), (0.001, 1.5))
        ]
    }
    SECTIONS |= {
        "folds": [(name, partial(shared, name), 1.0) for name in (*TABLES, *CLASSES)]
    }
    SECTIONS |= {
        section: [
            (
                f"images, {kind}",
                partial(images, n_images, kind == "scaled"),
                0.003,
                most,
            )
            for kind in ("raw", "scaled")
        ]
        for section, n_images, most in (
            ("images", 2000, 1.5),
            ("many_images", 10_000, 1.0),
        )
    }

LEGEND = f"""\
Ratio: our median CPU seconds (`tol={TOL}`) to those of one MLP. Gap: the largest over
seeds, in tolerances. Score: R2 or accuracy on other rows. L-BFGS, where asked for: how
many times longer it takes to the same objective on so many units (first seed). Folds:
alphas chosen by {N_FOLDS} folds, beside a grid of eight MLPs, both as they come."""


if __name__ == "__main__":
    main()
