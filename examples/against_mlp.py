"""
Beside a tuned MLPRegressor
===========================

Held-out R2, time, and how much hangs on the seed, on the diabetes data. One split is
one draw: change ``SPLIT``. For a table of your own there is
``python -m sklearn_convexrelu data.csv --target NAME``.
"""

import time
import warnings

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

from sklearn_convexrelu import ConvexReLURegressor, ConvexReLURegressorCV

SPLIT = 0
X, y = load_diabetes(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, random_state=SPLIT)
scaler = StandardScaler().fit(X)
mean, deviation = y.mean(), y.std()
train = scaler.transform(X), (y - mean) / deviation
test = scaler.transform(X_test), (y_test - mean) / deviation
print(f"{len(X)} rows to train, {len(X_test)} to test, {X.shape[1]} columns")


def evaluate(name, models):
    """Train models; print their held-out R2, time, and spread of the objective."""
    begin = time.perf_counter()
    with warnings.catch_warnings():  # of MLPRegressor, where max_iter comes first
        warnings.filterwarnings("ignore", "Stochastic Optimizer", ConvergenceWarning)
        scores = [model.fit(*train).score(*test) for model in models]
    seconds = (time.perf_counter() - begin) / len(models)
    print(f"{name}\n  held-out R2 {min(scores):.3f}", end="")
    print(f" to {max(scores):.3f}" if len(models) > 1 else "", end="")
    print(f", {seconds:.2f} s to train one")
    if len(models) > 1:
        reached = [getattr(net, "objective_", None) or net.loss_ for net in models]
        spread = 100.0 * np.ptp(reached) / min(reached)
        print(f"  training objectives differ by up to {spread:.2g} %")


# %%
# Ours: alpha by cross-validated paths on three quarters of the rows, then that alpha
# with five seeds.

search = ConvexReLURegressorCV(n_alphas=20, eps=1e-3, cv=3, random_state=0)
evaluate("ConvexReLURegressorCV, tuned", [search])
tuned = {"alpha": search.alpha_, "relative_alpha": False}
nets = [ConvexReLURegressor(**tuned, random_state=seed) for seed in range(5)]
evaluate("that alpha, five seeds", nets)

# %%
# MLPRegressor: a grid search over its alpha, then that alpha with five seeds.

mlp = MLPRegressor(max_iter=300, random_state=0)
search = GridSearchCV(mlp, {"alpha": [0.1, 1.0, 10.0, 30.0]}, cv=3)
evaluate("MLPRegressor, tuned", [search])
tuned = {"alpha": search.best_params_["alpha"], "max_iter": mlp.max_iter}
nets = [MLPRegressor(**tuned, random_state=seed) for seed in range(5)]
evaluate("that alpha, five seeds", nets)
