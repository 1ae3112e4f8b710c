"""Read a certificate: what the duality gap proves and what it estimates.

You learn what sets kind "exact" apart from "priced", what a smaller tol buys, and to
test the lower bound yourself, with networks that MLPRegressor trained. (It leaves the
biases of hidden units out of its penalty, which is one reason to end above the bound.)
"""

import warnings

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import scale

from sklearn_convexrelu import ConvergenceDisplay, ConvexReLURegressor


def main(picture="certificate.png"):
    """Certify networks on two and on ten features of the diabetes data."""
    X, y = load_diabetes(return_X_y=True)
    X, y = scale(X), scale(y)
    describe(X[:, [2, 8]], y)
    describe(X, y)

    print("tol      objective   lower bound       gap   neurons   seconds")
    for tol in (1e-1, 1e-2, 1e-3, 1e-4):
        net = ConvexReLURegressor(0.03, tol=tol, random_state=0).fit(X, y)
        print(
            f"{tol:<6g}   {net.objective_:9.5f}   {net.lower_bound_:11.5f}"
            f"   {net.dual_gap_:7.5f}   {net.n_neurons_:7d}"
            f"   {net.history_[-1]['time']:7.2f}"
        )
    ConvergenceDisplay.from_estimator(net).figure_.savefig(picture, dpi=150)
    print(f"wrote {picture}: how the last of these converged")


def describe(X, y):
    """Print the certificate of a network, and objectives that MLPRegressor reaches."""
    net = ConvexReLURegressor(0.1, random_state=0).fit(X, y)
    proven = net.certificate_.proven_lower_bound
    reached = sorted(objective(mlp, X, y, net.alpha_) for mlp in mlps(X, y, net.alpha_))
    print(f"{X.shape[1]} features: certificate of kind {net.certificate_.kind!r}")
    print(f"  objective            {net.objective_:.5f}", end=", ")
    print(f"from the weights by hand {objective(net, X, y, net.alpha_):.5f}")
    print(f"  lower bound          {net.lower_bound_:.5f}")
    print(f"  proven lower bound   {proven:.5f}")
    print(f"  MLPRegressor         {', '.join(f'{value:.5f}' for value in reached)}")
    below = sum(value < net.lower_bound_ for value in reached)
    print(f"  {below} of {len(reached)} are below the lower bound\n")


def mlps(X, y, alpha, n_seeds=5):
    """Yield trained networks; MLPRegressor divides its alpha by the rows of a batch."""
    n = len(X)
    for seed in range(n_seeds):
        mlp = MLPRegressor(alpha=alpha * n, batch_size=n, random_state=seed)
        mlp.set_params(learning_rate_init=0.01, max_iter=500, tol=1e-6)
        with warnings.catch_warnings():  # converged or not, the bound must hold
            warnings.simplefilter("ignore", ConvergenceWarning)
            yield mlp.fit(X, y)


def objective(net, X, y, alpha):
    """Return loss plus penalty at any network's weights, its neurons balanced."""
    into = np.vstack([net.coefs_[0], net.intercepts_[0]])
    norms = np.linalg.norm(into, axis=0) * np.linalg.norm(net.coefs_[1], axis=1)
    return 0.5 * np.mean((y - net.predict(X)) ** 2) + alpha * norms.sum()


if __name__ == "__main__":
    main()
