"""Deeper sub-networks: three layers on a spiral, with what each costs.

You learn what subnetwork_widths and penalty do, how few sub-networks are left, and to
read the layers of a trained network. Two arms of a spiral are hard for two layers.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn.inspection import DecisionBoundaryDisplay

from sklearn_convexrelu import ConvexReLUClassifier

MODELS = {
    "two layers": {},
    "three layers, path norm": {"subnetwork_widths": (3,)},
    "three layers, weight decay": {
        "subnetwork_widths": (3,),
        "penalty": "weight_decay",
    },
}


def spiral(n_samples, seed):
    """Return points on two arms of a spiral, and which arm each is on."""
    rng = np.random.default_rng(seed)
    angle = np.sqrt(rng.uniform(size=n_samples)) * 4.5 * np.pi
    arm = rng.integers(0, 2, n_samples)
    ray = (2 * arm - 1) * angle / 8
    X = np.column_stack([ray * np.cos(angle), ray * np.sin(angle)])
    return X + 0.02 * rng.standard_normal(X.shape), arm


def main(picture="deeper_subnetworks.png"):
    """Train the models on one spiral, score them on another, draw their regions."""
    X, y = spiral(300, seed=0)
    X_test, y_test = spiral(2000, seed=1)
    figure = Figure(figsize=(12, 4), layout="constrained")
    axes = figure.subplots(1, len(MODELS), sharex=True, sharey=True)

    print(f"{'':26}  accuracy  objective      gap  units  hidden neurons  seconds")
    for ax, (name, options) in zip(axes, MODELS.items(), strict=True):
        net = ConvexReLUClassifier(0.005, tol=1e-2, random_state=0, **options)
        net.fit(X, y)
        accuracy = net.score(X_test, y_test)
        n_hidden = sum(len(b) for b in net.intercepts_[:-1])
        print(
            f"{name:26}    {accuracy:6.3f}  {net.objective_:9.5f}  {net.dual_gap_:7.5f}"
            f"  {net.n_neurons_:5d}  {n_hidden:14d}  {net.history_[-1]['time']:7.2f}"
        )
        DecisionBoundaryDisplay.from_estimator(
            net, X, response_method="predict", alpha=0.5, ax=ax
        )
        ax.scatter(*X.T, c=y, s=8, edgecolors="k", linewidths=0.3)
        ax.set_title(f"{name}: {accuracy:.1%}")

    print("\nlayers of the last one, an ordinary network of block-diagonal weights:")
    for weights, biases in zip(net.coefs_, net.intercepts_, strict=True):
        print(f"  weights {weights.shape}, biases {biases.shape}")
    figure.savefig(picture, dpi=150)
    print(f"wrote {picture}: the regions that they tell apart")


if __name__ == "__main__":
    main()
