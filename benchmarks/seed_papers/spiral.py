"""Parts (a) and (d): the spiral, its decision regions, and group sparsity."""

from time import process_time

import numpy as np
from matplotlib.figure import Figure

from sklearn_convexrelu import ConvexReLURegressor

ALPHA = 1e-3
MODELS = {
    "two layers": {},
    "three layers (3,), weight decay": {
        "subnetwork_widths": (3,),
        "penalty": "weight_decay",
    },
    "three layers (3,), path": {"subnetwork_widths": (3,)},
    "three layers (6,), path": {"subnetwork_widths": (6,)},
}


def spiral(n_samples, seed, noise=0.02):
    """Return points on two arms of a spiral, and -1 or 1 for the arm."""
    rng = np.random.default_rng(seed)
    angle = np.sqrt(rng.uniform(size=n_samples)) * 2.25 * 2 * np.pi
    arm = rng.integers(0, 2, n_samples) * 2 - 1
    X = np.column_stack([arm * angle * np.cos(angle), arm * angle * np.sin(angle)]) / 10
    return X + noise * rng.standard_normal(X.shape), arm.astype(float)


def fitted(X, y, seed=0, tol=3e-3, **options):
    """Return the trained model and its CPU seconds."""
    model = ConvexReLURegressor(
        ALPHA,
        relative_alpha=False,
        fit_intercept=False,
        tol=tol,
        random_state=seed,
        **options,
    )
    begin = process_time()
    return model.fit(X, y), process_time() - begin


def penalty_of(W1, w2, w3, penalty):
    """Return the penalty of parallel sub-networks, (K, m, d), (K, m) and (K,)."""
    lengths = np.linalg.norm(W1, axis=2)
    if penalty == "path":
        return np.sum(np.abs(w3) * np.linalg.norm(lengths * w2, axis=1))
    inner = np.linalg.norm(lengths, axis=1)
    return np.sum(inner * np.linalg.norm(w2, axis=1) * np.abs(w3))


def objective(X, y, W1, w2, w3, penalty):
    """Return half the mean squared error plus ``ALPHA`` times the penalty."""
    H = np.maximum(np.einsum("nd,kmd->nkm", X, W1), 0)
    f = np.maximum(np.einsum("nkm,km->nk", H, w2), 0) @ w3
    return np.mean((f - y) ** 2) / 2 + ALPHA * penalty_of(W1, w2, w3, penalty)


def stacked(model):
    """Return the weights of the sub-networks of a three-layer estimator."""
    m = model.subnetwork_widths[0]
    W1 = np.vstack([model.coefs_[0], model.intercepts_[0]])
    W1 = W1.T.reshape(-1, m, len(W1))
    k = np.arange(len(W1))
    w2 = model.coefs_[1].reshape(len(W1), m, len(W1))[k, :, k]
    return W1, w2, model.coefs_[2][:, 0]


def hard_price(X, y, model, n_scored=20_000, n_ascended=400, n_steps=80):
    """Return the largest price that a search of its own finds, over ``ALPHA``.

    Random and perturbed sub-networks of cost one are scored; the best are ascended by
    projected gradients in double precision.
    """
    rng, m = np.random.default_rng(99), model.subnetwork_widths[0]
    N = (model.predict(X) - y) / len(y)
    X = np.column_stack([X, np.ones(len(X))])
    W1, w2, _ = stacked(model)
    V = W1 * np.abs(w2)[:, :, None]
    V /= np.linalg.norm(V, axis=(1, 2), keepdims=True)
    j = rng.integers(len(V), size=n_scored)
    noise = rng.standard_normal((n_scored, m, 3))
    size = rng.choice([0.03, 0.1, 0.3], (n_scored, 1, 1))
    starts = np.concatenate(
        [rng.standard_normal((n_scored, m, 3)), V[j] + size * noise]
    )
    signs = np.concatenate(
        [rng.choice([-1.0, 1.0], (n_scored, m)), np.sign(w2)[j] + (w2[j] == 0)]
    )

    def unit(V):
        if model.penalty == "path":
            return V / np.linalg.norm(V, axis=(1, 2), keepdims=True)
        return V / np.linalg.norm(V, axis=2).sum(axis=1)[:, None, None]

    def value_and_gradient(V, signs):
        H = V @ X.T
        z = np.einsum("km,kmn->kn", signs, np.maximum(H, 0))
        value = np.maximum(z, 0) @ N
        E = (z > 0) * N * np.sign(value)[:, None]
        return np.abs(value), ((H > 0) * signs[:, :, None] * E[:, None]) @ X

    V = unit(starts)
    chunks = np.array_split(np.arange(len(V)), 40)
    values = np.concatenate([value_and_gradient(V[i], signs[i])[0] for i in chunks])
    best = np.argsort(-values)[:n_ascended]
    V, signs, step = V[best], signs[best], np.full((n_ascended, 1, 1), 0.3)
    value, G = value_and_gradient(V, signs)
    for _ in range(n_steps):
        lengths = np.linalg.norm(G, axis=(1, 2), keepdims=True)
        trial = unit(V + step * G / np.maximum(lengths, 1e-300))
        new, new_G = value_and_gradient(trial, signs)
        better = new > value
        V[better], value[better], G[better] = trial[better], new[better], new_G[better]
        step *= np.where(better, 1.5, 0.5)[:, None, None]
    return value.max() / ALPHA


def regions(folder, n_seeds):
    """Return the rows of part (a), of single models and of seeds; draw the regions."""
    X, y = spiral(300, 0)
    X_test, y_test = spiral(2000, 1)
    figure = Figure(figsize=(10, 10), layout="constrained")
    rows, seeds = [], []
    for ax, (name, options) in zip(
        figure.subplots(2, 2, sharex=True, sharey=True).flat,
        MODELS.items(),
        strict=True,
    ):
        for seed in range(n_seeds if name.endswith("path") else 1):
            model, seconds = fitted(X, y, seed, **options)
            row = {
                "model": name,
                "seed": seed,
                "objective": f"{model.objective_:.5f}",
                "gap": f"{model.dual_gap_:.5f}",
                "sub-networks": model.n_neurons_,
                "price / alpha, own": model.certificate_.price / ALPHA,
                "hard pass": "",
                "s": seconds,
                "test accuracy": np.mean(np.sign(model.predict(X_test)) == y_test),
            }
            if options:
                row["hard pass"] = float(hard_price(X, y, model))
                again = objective(
                    np.column_stack([X, np.ones(300)]),
                    y,
                    *stacked(model),
                    model.penalty,
                )
                assert abs(again - model.objective_) < 1e-8
            (seeds if name.endswith("path") else rows).append(row)
            if seed == 0:
                _draw(ax, model, X, y, f"{name}: {row['test accuracy']:.1%}")
    figure.savefig(folder / "seed_papers_regions.png", dpi=100)
    return rows + seeds


def _draw(ax, model, X, y, title):
    """Draw the sign of the predictions and the training points."""
    side = np.linspace(-1.6, 1.6, 300)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    signs = np.sign(model.predict(grid)).reshape(300, 300)
    ax.contourf(side, side, signs, levels=[-2, 0, 2], colors=["#b7c9e8", "#f5d5a8"])
    ax.scatter(*X.T, c=np.where(y > 0, "#b35c00", "#1f3d7a"), s=9)
    ax.set(title=title, aspect="equal")


def sparsity(folder):
    """Return the rows of part (d), and draw how many sub-networks survive."""
    X, y = spiral(300, 0)
    X_test, y_test = spiral(2000, 1)
    alphas, rows = np.geomspace(1e-3, 1.0, 10), []
    for alpha in alphas:
        model = ConvexReLURegressor(
            alpha,
            fit_intercept=False,
            subnetwork_widths=(3,),
            tol=1e-2,
            random_state=0,
        ).fit(X, y)
        rows.append(
            {
                "alpha / alpha_max": float(alpha),
                "sub-networks": model.n_neurons_,
                "objective": f"{model.objective_:.5f}",
                "test accuracy": np.mean(np.sign(model.predict(X_test)) == y_test),
            }
        )
    figure = Figure(figsize=(6, 4), layout="constrained")
    ax = figure.subplots()
    ax.semilogx(alphas, [row["sub-networks"] for row in rows], "o-")
    ax.set(xlabel="alpha / alpha_max", ylabel="sub-networks that are not zero")
    figure.savefig(folder / "seed_papers_sparsity.png", dpi=100)
    return rows
