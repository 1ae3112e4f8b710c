"""Seed to seed: how much objectives and predictions depend on the seed.

Ten seeds of ours and of MLPRegressor or MLPClassifier, each judged by the objective
that it minimises itself. Half of the data train, the other half tell how predictions
differ: their standard deviation over seeds, averaged, as a fraction of that of the
target (for classes: of the probabilities).
"""

from statistics import median

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import scale

from benchmarks.datasets import available, standardised
from benchmarks.report import figure, markdown, parse, timed_fit
from sklearn_convexrelu import ConvexReLUClassifier, ConvexReLURegressor

REGRESSIONS = ("diabetes", "friedman1", "concrete")
CLASSES = {"breast cancer": load_breast_cancer, "digits": load_digits}
ALPHA = {name: 0.03 for name in REGRESSIONS} | {name: 0.01 for name in CLASSES}
QUICK = ("diabetes", "breast cancer")
N_SEEDS = 10


def main():
    """Fit every seed and print the table."""
    print(report(parse(__doc__, ALPHA, QUICK).names)[0])


def report(names=None):
    """Return the Markdown, and the function that draws the picture."""
    rows, spreads, names = [], {}, names or list(ALPHA)
    for data in available(name for name in names if name in REGRESSIONS):
        X, y = standardised(data)
        rows += compared(data.name, X, y, False, spreads)
    for name in (name for name in names if name in CLASSES):
        X, y = CLASSES[name](return_X_y=True)
        rows += compared(name, scale(X), y, True, spreads)
    text = "\n\n".join([verdict(spreads), markdown(rows), LEGEND])
    return text, lambda: picture(spreads)


def compared(name, X, y, classes, spreads):
    """Return a row a model; note all objectives in ``spreads``."""
    halves = {"test_size": 0.5, "random_state": 0, "stratify": y if classes else None}
    train, test = train_test_split(np.arange(len(y)), **halves)
    kinds = {
        "ours": ConvexReLUClassifier if classes else ConvexReLURegressor,
        "MLP": MLPClassifier if classes else MLPRegressor,
    }
    rows = []
    for model, kind in kinds.items():
        own = {"alpha": ALPHA[name]} if model == "ours" else {}
        fits, seconds = [], []
        for seed in range(N_SEEDS):
            fits.append(kind(random_state=seed, **own))
            seconds.append(timed_fit(fits[-1], X[train], y[train])[0])
        null = null_loss(y[train], classes)
        values = np.array([objective(f, X[train], y[train]) for f in fits]) / null
        outputs = [predicted(f, X[test], classes) for f in fits]
        scores = [f.score(X[test], y[test]) for f in fits]
        spread = np.std(outputs, axis=0).mean()
        gaps = [f.dual_gap_ / null for f in fits] if model == "ours" else []
        spreads.setdefault(name, {})[model] = values - values.min()
        rows.append(
            {
                "data": name,
                "model": model,
                "objective": f"{np.mean(values):.5f}",
                "spread of objectives": f"{np.ptp(values):.1e}",
                "largest gap": f"{max(gaps):.1e}" if gaps else "",
                "spread of predictions": f"{spread / target_scale(y, classes):.3f}",
                "score": f"{np.mean(scores):.3f}",
                "range of scores": f"{np.ptp(scores):.3f}",
                "s a fit": median(seconds),
            }
        )
    print(markdown(rows), flush=True)
    return rows


def verdict(spreads):
    """Say how much smaller our spread of objectives is."""
    parts = [
        f"{name} {np.ptp(models['ours']):.0e} (MLP {np.ptp(models['MLP']):.0e})"
        for name, models in spreads.items()
    ]
    return (
        "Largest less smallest objective of ten seeds, of the loss of a constant: "
        + ", ".join(parts)
        + "."
    )


def null_loss(y, classes):
    """Return the loss of the best constant."""
    if not classes:
        return np.var(y) / 2
    shares = np.unique(y, return_counts=True)[1] / len(y)
    return -shares @ np.log(shares)


def objective(model, X, y):
    """Return what the model minimises, recomputed from its weights."""
    weights, biases = model.coefs_, model.intercepts_
    if hasattr(model, "alpha_max_"):
        hidden = np.vstack([weights[0], biases[0]])
        norms = np.linalg.norm(hidden, axis=0) * np.linalg.norm(weights[1], axis=1)
        return loss(model, X, y) + model.alpha_ * norms.sum()
    squares = sum(np.sum(W**2) for W in weights)
    return loss(model, X, y) + 0.5 * model.alpha * squares / len(y)


def loss(model, X, y):
    """Return the mean squared error halved, or the log loss."""
    if not hasattr(model, "classes_"):
        return np.mean((model.predict(X) - y) ** 2) / 2
    probabilities = model.predict_proba(X)
    own = probabilities[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    return -np.mean(np.log(np.maximum(own, 1e-300)))


def predicted(model, X, classes):
    """Return predictions, or probabilities."""
    return model.predict_proba(X) if classes else model.predict(X)


def target_scale(y, classes):
    """Return the unit of the spread of predictions."""
    return 1.0 if classes else np.std(y)


def picture(spreads):
    """Return the figure: objectives above the lowest, a dot a seed."""
    fig, panels = figure(len(spreads))
    for panel, (name, models) in zip(panels, spreads.items(), strict=True):
        for k, (model, values) in enumerate(models.items()):
            panel.plot(
                np.maximum(values, 1e-7), np.full(len(values), k), "o", alpha=0.5
            )
            panel.annotate(model, (1.2e-7, k + 0.12))
        panel.set(xscale="log", title=name, ylim=(-0.5, 1.6), yticks=[], xlim=(5e-8, 1))
    fig.supxlabel("objective above the lowest of ten seeds, of the loss of a constant")
    return fig


LEGEND = """Objective: each model's own, as a fraction of the loss of the best constant;
spread: largest less smallest of ten seeds. Ours at alpha 0.03 of alpha_max (classes:
0.01) and the default tolerance 1e-3, MLP at its defaults."""


if __name__ == "__main__":
    main()
