"""
Certify accuracy under perturbation
===================================

What ``lipschitz_`` proves of a classifier, beside what an attack along the gradient
reaches.
"""

import numpy as np
from matplotlib import pyplot
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_convexrelu import ConvexReLUClassifier

X, y = load_digits(return_X_y=True)
kept = np.isin(y, (3, 8))
X, y = X[kept] / 16.0, np.where(y[kept] == 8, 1.0, -1.0)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.4, random_state=0, stratify=y)
radii = np.linspace(0.0, 1.5, 31)

# %%
# The penalty bounds how fast outputs change with the input. So a prediction with a
# margin of m cannot be turned by moving the input by less than m over ``lipschitz_``.
# An attack moves it against the gradient, which the weights tell, within a radius.


def unit(G):
    """Return rows of length one."""
    return G / np.maximum(np.linalg.norm(G, axis=1, keepdims=True), 1e-12)


def attack(net, X, y, radius, n_steps=20):
    """Return inputs moved against their class, each by at most the radius."""
    (W, output), (biases, _) = net.coefs_, net.intercepts_
    moved = X.copy()
    for _ in range(n_steps):
        gradients = ((moved @ W + biases > 0.0) * output[:, 0]) @ W.T
        moved -= (y * (2.5 * radius / n_steps))[:, None] * unit(gradients)
        change = moved - X
        lengths = np.linalg.norm(change, axis=1, keepdims=True)
        moved = X + change * np.minimum(radius / np.maximum(lengths, 1e-12), 1.0)
    return moved


def accuracies(net):
    """Return accuracy on held-out digits at all radii: proven, and under attack."""
    margins = y_test * net.decision_function(X_test)
    proven = [np.mean(margins > net.lipschitz_ * radius) for radius in radii]
    attacked = [
        np.mean(y_test * net.decision_function(attack(net, X_test, y_test, r)) > 0.0)
        for r in radii
    ]
    return np.array(proven), np.array(attacked)


# %%
# Threes from eights, pixels from 0 to 1; radii are Euclidean, of all 64 together. The
# true accuracy is between the line and the dashes of a colour.

axes = pyplot.figure(figsize=(7, 4.5)).subplots()
print("alpha   neurons   lipschitz_   accuracy   proven, attacked at 0.2 and at 0.5")
for color, alpha in enumerate((0.3, 0.1, 0.03, 0.01)):
    net = ConvexReLUClassifier(alpha, loss="hinge", random_state=0).fit(X, y)
    proven, attacked = accuracies(net)
    at = [np.abs(radii - radius).argmin() for radius in (0.2, 0.5)]
    pairs = "   ".join(f"{proven[i]:.3f}, {attacked[i]:.3f}" for i in at)
    print(
        f"{alpha:<5g}   {net.n_neurons_:7d}   {net.lipschitz_:10.2f}"
        f"   {proven[0]:8.3f}   {pairs}"
    )
    axes.plot(radii, proven, f"C{color}", label=f"alpha {alpha:g}")
    axes.plot(radii, attacked, f"C{color}--")
axes.set(xlabel="size of the perturbation", ylabel="accuracy on held-out digits")
axes.set_title("proven (lines) and under attack (dashes)")
axes.legend()
pyplot.show()
