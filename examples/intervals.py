"""
Intervals that cover what they say
==================================

Three quantiles as the outputs of one network, and how much wider their interval must be
to hold on new data.
"""

import numpy as np
from matplotlib import pyplot
from sklearn.model_selection import cross_val_predict

from sklearn_convexrelu import ConvexReLURegressor


def draw(n_samples, rng):
    """Return five features and a target; noise grows with the first feature."""
    X = rng.uniform(-2.0, 2.0, (n_samples, 5))
    noise = np.exp(0.5 * X[:, 0]) * rng.standard_normal(n_samples)
    return X, np.abs(3.0 * X[:, 0]) + X[:, 1] + noise


rng = np.random.default_rng(0)
X, y = draw(300, rng)
X_test, y_test = draw(20_000, rng)

# %%
# Each output has its own level, and all of them share the neurons. The fit ends with a
# gap for the pinball loss itself, not for a smooth stand-in.

net = ConvexReLURegressor(
    alpha=0.15, loss="quantile", quantile=[0.1, 0.5, 0.9], tol=1e-2, random_state=0
)
net.fit(X, y)
print(f"{net.n_neurons_} neurons, gap {net.dual_gap_ / net.objective_:.1%} of the loss")


def coverage(low, high, targets):
    """Return the part of the targets in their intervals."""
    return np.mean((low <= targets) & (targets <= high))


# %%
# On the rows it was trained on an interval covers what it should, on new ones less: it
# has bent towards the former. How much less, rows held out tell. Conformalised quantile
# regression (Romano, Patterson & Candes, NeurIPS 2019) widens the interval by the
# quantile of what such rows miss it by.

held_out = cross_val_predict(net, X, y, cv=5)
misses = np.maximum(held_out[:, 0] - y, y - held_out[:, 2])
margin = np.quantile(misses, 0.8 * (1.0 + 1.0 / len(y)))

low, middle, high = net.predict(X_test).T
print(f"80% asked; {coverage(*net.predict(X)[:, [0, 2]].T, y):.1%} of training rows")
print(f"as fitted: {coverage(low, high, y_test):.1%} of new rows")
print(f"levels cross at {np.mean(np.diff(net.predict(X_test)) < 0):.2%} of new rows")
print(f"widened by {margin:.2f}: {coverage(low - margin, high + margin, y_test):.1%}")

# %%
# The interval follows the noise, which a constant margin around a mean cannot. Along
# the first feature, the others at zero:

at = np.linspace(-2.0, 2.0, 200)
low, middle, high = net.predict(np.column_stack([at, np.zeros((200, 4))])).T
axes = pyplot.figure(figsize=(7, 4.5)).subplots()
axes.scatter(X[:, 0], y - X[:, 1], s=8, color="0.5", label="training rows, moved there")
axes.fill_between(at, low, high, alpha=0.4, label="0.1 to 0.9")
axes.plot(at, middle, label="median")
for edge in (low - margin, high + margin):
    axes.plot(at, edge, "C0--", linewidth=1)
axes.set(xlabel="feature", ylabel="target", title="dashed: widened by rows held out")
axes.legend()
pyplot.show()
