"""
Three layers on a spiral
========================

What ``subnetwork_widths`` and ``penalty`` do, how few sub-networks are left, and how to
read the layers of a deeper network. Two arms of a spiral are hard for two layers.
"""

import numpy as np
from matplotlib import pyplot
from sklearn.inspection import DecisionBoundaryDisplay

from sklearn_convexrelu import ConvexReLUClassifier


def spiral(n_samples, seed):
    """Return points on two arms of a spiral, and which arm each is on."""
    rng = np.random.default_rng(seed)
    angle = np.sqrt(rng.uniform(size=n_samples)) * 4.5 * np.pi
    arm = rng.integers(0, 2, n_samples)
    ray = (2 * arm - 1) * angle / 8
    X = np.column_stack([ray * np.cos(angle), ray * np.sin(angle)])
    return X + 0.02 * rng.standard_normal(X.shape), arm


X, y = spiral(300, seed=0)
X_test, y_test = spiral(2000, seed=1)

# %%
# One network of two layers, and two of three: sub-networks of three neurons that feed
# one, with the path norm or with weight decay as their penalty. Each is trained to its
# own global optimum, as far as its gap says.

models = {
    "two layers": {},
    "three layers, path norm": {"subnetwork_widths": (3,)},
    "three layers, weight decay": {
        "subnetwork_widths": (3,),
        "penalty": "weight_decay",
    },
}
nets = {}
print(f"{'':26}  accuracy  objective      gap  units  hidden neurons  seconds")
for name, options in models.items():
    net = ConvexReLUClassifier(0.005, tol=1e-2, random_state=0, **options).fit(X, y)
    accuracy = net.score(X_test, y_test)
    n_hidden = sum(len(biases) for biases in net.intercepts_[:-1])
    print(
        f"{name:26}    {accuracy:6.3f}  {net.objective_:9.5f}  {net.dual_gap_:7.5f}"
        f"  {net.n_neurons_:5d}  {n_hidden:14d}  {net.history_[-1]['time']:7.2f}"
    )
    nets[name] = net

# %%
# The regions that they tell apart:

figure, axes = pyplot.subplots(
    1, len(nets), figsize=(12, 4), sharex=True, sharey=True, layout="constrained"
)
for ax, (name, net) in zip(axes, nets.items(), strict=True):
    DecisionBoundaryDisplay.from_estimator(
        net, X, response_method="predict", alpha=0.5, ax=ax
    )
    ax.scatter(*X.T, c=y, s=8)
    ax.set_title(name)
pyplot.show()

# %%
# To the outside it is an ordinary network of three layers, its weights block-diagonal.

for weights, biases in zip(net.coefs_, net.intercepts_, strict=True):
    print(f"weights {weights.shape}, biases {biases.shape}")
