"""Part (e): training on two directions of the features, as the data grow."""

from time import process_time

import numpy as np

from sklearn_convexrelu import ConvexReLURegressor

SAMPLES, FEATURES = (250, 500, 1000, 2000), (10, 40, 160, 640)


def data(n, d, seed=0):
    """Return features next to a plane of two directions, and targets."""
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((n, 2))
    X = Z @ rng.standard_normal((2, d)) / np.sqrt(2)
    X += 0.01 * rng.standard_normal((n, d))
    return X, np.abs(Z[:, 0]) - np.maximum(Z[:, 1], 0) + 0.1 * rng.standard_normal(n)


def growth():
    """Return the rows, and the exponents of n and d in the seconds."""
    sizes = [(n, FEATURES[0]) for n in SAMPLES] + [
        (SAMPLES[0], d) for d in FEATURES[1:]
    ]
    rows = []
    for n, d in sizes:
        X, y = data(n, d)
        model = ConvexReLURegressor(
            0.1, subnetwork_widths=(2,), rank=2, tol=1e-2, random_state=0
        )
        begin = process_time()
        model.fit(X, y)
        seconds = process_time() - begin
        guarantee = model.low_rank_
        rows.append(
            {
                "n": n,
                "d": d,
                "s": seconds,
                "gap at rank 2": f"{guarantee.certificate.gap:.5f}",
                "factor before": f"{guarantee.factor_before:.4f}",
                "factor after": f"{guarantee.factor_after:.4f}",
            }
        )
    exponents = [
        np.polyfit(
            np.log([row[key] for row in some]), np.log([row["s"] for row in some]), 1
        )[0]
        for key, some in (
            ("n", rows[: len(SAMPLES)]),
            ("d", [rows[0], *rows[len(SAMPLES) :]]),
        )
    ]
    return rows, exponents
