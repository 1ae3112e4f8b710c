"""Speed of the classifier: a certified fit beside MLPClassifier's at its defaults.

Every fit is timed on one thread, on the same standardised X, in one process; fits of
the two models take turns, and medians over seeds are compared.
"""

from statistics import median

import numpy as np
from scipy.special import log_softmax
from sklearn.neural_network import MLPClassifier

from benchmarks.classification import BIG, load
from benchmarks.datasets import preprocessor
from benchmarks.report import markdown, parse, publish, timed_fit
from sklearn_convexrelu import ConvexReLUClassifier

# Data set -> rows (alpha, tol, target), the target being the largest good ratio.
SMALL = [(0.03, 1e-2, 1.0), (0.003, 1e-2, 2.0), (0.03, 1e-3, ""), (0.003, 1e-3, "")]
CASES = {"breast cancer": SMALL, "digits": SMALL, BIG: [(0.03, 1e-2, 2.0)]}


def main():
    """Run the cases asked for and publish their table."""
    options = parse(__doc__, CASES, ("breast cancer",))
    rows = []
    for name in options.names:
        for row in compare(name):
            rows.append(row)
            print("{data}, alpha {alpha}, tol {tol}: ratio {ratio}".format(**row))
    text = markdown(rows) + "\n\n" + LEGEND
    publish("speed_classification", "Speed of the classifier", text, options.partial)


def compare(name):
    """Yield the rows of one data set."""
    data = load(name)
    X, y = preprocessor().fit_transform(data.X), data.y
    mlp_seconds, runs = [], [[] for _ in CASES[name]]
    for seed in range(1 if name == BIG else 3):
        mlp_seconds.append(timed_fit(MLPClassifier(random_state=seed), X, y)[0])
        for (alpha, tol, _), fits in zip(CASES[name], runs, strict=True):
            model = ConvexReLUClassifier(alpha, tol=tol, random_state=seed)
            fits.append((*timed_fit(model, X, y), model))
    for (alpha, tol, target), fits in zip(CASES[name], runs, strict=True):
        seconds, warned, models = zip(*fits, strict=True)
        ratio = median(seconds) / median(mlp_seconds)
        yield {
            "data": name,
            "n": X.shape[0],
            "d": X.shape[1],
            "classes": len(models[0].classes_),
            "alpha": alpha,
            "tol": tol,
            "ours s": median(seconds),
            "MLP s": median(mlp_seconds),
            "ratio": f"{ratio:.2f}",
            "target": target,
            "met": "" if target == "" else "yes" if ratio <= target else "**no**",
            "gap": max(gap(model, X, y) for model in models),
            "neurons": int(median(model.n_neurons_ for model in models)),
            "rounds": int(median(model.n_iter_ for model in models)),
            "unconverged": sum(warned),
        }


def gap(model, X, y):
    """Return objective, recomputed, minus bound, in losses of the best constant."""
    (W, A), (b, c) = model.coefs_, model.intercepts_
    F = np.maximum(X @ W + b, 0.0) @ A + c
    if F.shape[1] == 1:
        F = np.hstack([np.zeros_like(F), F])
    loss = -log_softmax(F, axis=1)[np.arange(len(y)), y].mean()
    hidden = np.sqrt((W**2).sum(axis=0) + b**2)
    objective = loss + model.alpha_ * hidden @ np.linalg.norm(A, axis=1)
    frequencies = np.bincount(y) / len(y)
    entropy = -frequencies @ np.log(frequencies)
    return (objective - model.lower_bound_) / entropy


LEGEND = """\
Ratio: our median seconds to those of one `MLPClassifier().fit`. Gap: the largest over
repeats of the objective, recomputed from the weights, minus `lower_bound_`, as a
fraction of the loss of the best constant: what `tol` bounds."""


if __name__ == "__main__":
    main()
