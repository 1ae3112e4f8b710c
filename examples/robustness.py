"""Certify accuracy under perturbation: what ``lipschitz_`` proves of a classifier.

You learn that the penalty bounds how fast outputs change with the input, so that a
prediction with a margin of m cannot be turned by moving the input less than m over
``lipschitz_``; and how far an attack that follows the gradient gets, which no attack
beats by more than that.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_convexrelu import ConvexReLUClassifier

RADII = np.linspace(0.0, 1.5, 31)


def main(picture="robustness.png"):
    """Tell threes from eights, and both when pixels are tampered with."""
    X, y = load_digits(return_X_y=True)
    kept = np.isin(y, (3, 8))
    X, y = X[kept] / 16.0, np.where(y[kept] == 8, 1.0, -1.0)
    split = train_test_split(X, y, test_size=0.4, random_state=0, stratify=y)
    axes = plt.figure(figsize=(7, 4.5)).subplots()
    print("pixels are from 0 to 1; radii are Euclidean, of all 64 pixels together")
    print(
        "alpha   neurons   lipschitz_   accuracy   proven, attacked at 0.2 and at 0.5"
    )
    for color, alpha in enumerate((0.3, 0.1, 0.03, 0.01)):
        proven, attacked, net = accuracies(alpha, *split)
        at = [np.abs(RADII - radius).argmin() for radius in (0.2, 0.5)]
        pairs = "   ".join(f"{proven[i]:.3f}, {attacked[i]:.3f}" for i in at)
        print(
            f"{alpha:<5g}   {net.n_neurons_:7d}   {net.lipschitz_:10.2f}"
            f"   {proven[0]:8.3f}   {pairs}"
        )
        axes.plot(RADII, proven, f"C{color}", label=f"alpha {alpha:g}")
        axes.plot(RADII, attacked, f"C{color}--")
    axes.set_xlabel("size of the perturbation")
    axes.set_ylabel("accuracy on held-out digits")
    axes.set_title("proven (lines) and under attack (dashes)")
    axes.legend()
    axes.figure.savefig(picture, dpi=150)
    print(f"wrote {picture}: the truth is between the lines of a colour")


def accuracies(alpha, X, X_test, y, y_test):
    """Return proven accuracy and that under attack at all radii, and the network."""
    net = ConvexReLUClassifier(alpha, loss="hinge", random_state=0).fit(X, y)
    margins = y_test * net.decision_function(X_test)
    proven = [np.mean(margins > net.lipschitz_ * radius) for radius in RADII]
    attacked = [
        np.mean(y_test * net.decision_function(attack(net, X_test, y_test, r)) > 0.0)
        for r in RADII
    ]
    return np.array(proven), np.array(attacked), net


def attack(net, X, y, radius, n_steps=20):
    """Return inputs moved against their class by gradient steps within a radius."""
    moved = X.copy()
    for _ in range(n_steps if radius > 0.0 else 0):
        moved -= (y * (2.5 * radius / n_steps))[:, None] * unit(gradients(net, moved))
        change = moved - X
        lengths = np.linalg.norm(change, axis=1, keepdims=True)
        moved = X + change * np.minimum(radius / np.maximum(lengths, 1e-12), 1.0)
    return moved


def gradients(net, X):
    """Return the gradients of the output at inputs, from the weights."""
    (W, output), (biases, _) = net.coefs_, net.intercepts_
    return ((X @ W + biases > 0.0) * output[:, 0]) @ W.T


def unit(G):
    """Return rows of length one."""
    return G / np.maximum(np.linalg.norm(G, axis=1, keepdims=True), 1e-12)


if __name__ == "__main__":
    main()
