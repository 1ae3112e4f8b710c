"""
Read a certificate, and try to break it
=======================================

What sets kind "exact" apart from "priced", what a smaller tolerance buys, and a test of
the lower bound with networks that MLPRegressor trained.
"""

import warnings

import numpy as np
from matplotlib import pyplot
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import scale

from sklearn_convexrelu import ConvergenceDisplay, ConvexReLURegressor

X, y = load_diabetes(return_X_y=True)
X, y = scale(X), scale(y)

# %%
# The objective of any network of two layers can be worked out from its weights: the
# loss, and the penalty of its neurons, balanced. So MLPRegressor's networks can be held
# against the lower bound. Two things to know: it divides its alpha by the rows of a
# batch, and it leaves the biases of hidden units out of its penalty, which is one
# reason for it to end above the bound.


def objective(net, X, y, alpha):
    """Return loss plus penalty at any network's weights, its neurons balanced."""
    into = np.vstack([net.coefs_[0], net.intercepts_[0]])
    norms = np.linalg.norm(into, axis=0) * np.linalg.norm(net.coefs_[1], axis=1)
    return 0.5 * np.mean((y - net.predict(X)) ** 2) + alpha * norms.sum()


def mlps(X, y, alpha, n_seeds=5):
    """Yield trained networks."""
    n = len(X)
    for seed in range(n_seeds):
        mlp = MLPRegressor(alpha=alpha * n, batch_size=n, random_state=seed)
        mlp.set_params(learning_rate_init=0.01, max_iter=500, tol=1e-6)
        with warnings.catch_warnings():  # converged or not, the bound must hold
            warnings.simplefilter("ignore", ConvergenceWarning)
            yield mlp.fit(X, y)


# %%
# On two features the certificate is a proof. On all ten it is an estimate, and
# ``proven_lower_bound`` is what could be proved without more work.

for columns in (X[:, [2, 8]], X):
    net = ConvexReLURegressor(0.1, random_state=0).fit(columns, y)
    reached = sorted(
        objective(mlp, columns, y, net.alpha_) for mlp in mlps(columns, y, net.alpha_)
    )
    below = sum(value < net.lower_bound_ for value in reached)
    by_hand = objective(net, columns, y, net.alpha_)
    print(f"{columns.shape[1]} features: kind {net.certificate_.kind!r}")
    print(f"  objective            {net.objective_:.5f}", end=", ")
    print(f"from the weights by hand {by_hand:.5f}")
    print(f"  lower bound          {net.lower_bound_:.5f}")
    print(f"  proven lower bound   {net.certificate_.proven_lower_bound:.5f}")
    print(f"  MLPRegressor         {', '.join(f'{value:.5f}' for value in reached)}")
    print(f"  {below} of {len(reached)} are below the lower bound\n")

# %%
# The tolerance is relative to the loss of the best constant prediction.

print("tol      objective   lower bound       gap   neurons   seconds")
for tol in (1e-1, 1e-2, 1e-3, 1e-4):
    net = ConvexReLURegressor(0.03, tol=tol, random_state=0).fit(X, y)
    print(
        f"{tol:<6g}   {net.objective_:9.5f}   {net.lower_bound_:11.5f}"
        f"   {net.dual_gap_:7.5f}   {net.n_neurons_:7d}"
        f"   {net.history_[-1]['time']:7.2f}"
    )

# %%
# How the last of these converged:

ConvergenceDisplay.from_estimator(net)
pyplot.show()
