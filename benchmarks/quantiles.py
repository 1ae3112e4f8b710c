"""Quantile regression: pinball loss, coverage of 80% intervals, and time.

Levels 0.1, 0.5 and 0.9 on ten tables: five real ones, which are skipped where they are
not on the machine, the diabetes data and four that are generated, one of them with
noise that grows. Ours fits the three levels as outputs of one network, its alpha by
three folds; scikit-learn's linear quantiles and its boosting, both as they come, take
one fit a level. An interval is from level 0.1 to level 0.9; widened, it is so by what
rows held out from fits at the same alpha miss it by (Romano, Patterson & Candes,
NeurIPS 2019).
"""

from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np
from sklearn.datasets import (
    load_diabetes,
    make_friedman1,
    make_friedman2,
    make_friedman3,
)
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import QuantileRegressor
from sklearn.metrics import mean_pinball_loss
from sklearn.model_selection import cross_val_predict, train_test_split
from sklearn.preprocessing import StandardScaler

from benchmarks.report import markdown, parse, publish, timed_fit
from sklearn_convexrelu import ConvexReLURegressor, ConvexReLURegressorCV

TABLES = Path(__file__).parents[2] / "shared" / "data" / "tables"
LEVELS = 0.1, 0.5, 0.9
MOST_ROWS = 600  # to train on
QUICK = ("diabetes", "friedman1", "growing noise")


def growing_noise(n_samples=1000):
    """Return data whose noise grows along the first feature."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1.0, 1.0, (n_samples, 4))
    noise = np.exp(X[:, 0]) * rng.standard_normal(n_samples)
    return X, 3.0 * np.abs(X[:, 1]) + X[:, 2] + noise


MADE = {
    "diabetes": partial(load_diabetes, return_X_y=True),
    "friedman1": partial(make_friedman1, 1000, noise=1.0, random_state=0),
    "friedman2": partial(make_friedman2, 1000, noise=125.0, random_state=0),
    "friedman3": partial(make_friedman3, 1000, noise=0.1, random_state=0),
    "growing noise": growing_noise,
}
KEPT = ("abalone", "cpu_act", "elevators", "house8L", "parkinsons")


def table(name):
    """Return features and target of a table, or None where it is not there."""
    if name in MADE:
        return MADE[name]()
    path = TABLES / f"reg_{name}.npz"
    if not path.exists():
        return None
    with np.load(path) as data:
        return np.vstack([data["X"], data["X_test"]]), np.r_[data["y"], data["y_test"]]


def ours():
    """Return the network of three levels."""
    return ConvexReLURegressorCV(
        n_alphas=6, eps=1e-2, cv=3, tol=1e-2, path_tol=3e-2,
        loss="quantile", quantile=LEVELS, random_state=0,
    )  # fmt: skip


def margin(model, X, y):
    """Return by how much the outer levels of a fit are to be moved out."""
    same = ConvexReLURegressor(
        model.alpha_ / model.alpha_max_, loss="quantile", quantile=LEVELS, tol=1e-2
    )
    held_out = cross_val_predict(same, X, y, cv=3)
    misses = np.maximum(held_out[:, 0] - y, y - held_out[:, 2])
    return np.quantile(misses, (LEVELS[2] - LEVELS[0]) * (1.0 + 1.0 / len(y)))


def rivals():
    """Return a model a level, by name."""
    return {
        "linear": [QuantileRegressor(quantile=q, alpha=0.0) for q in LEVELS],
        "boosting": [
            HistGradientBoostingRegressor(loss="quantile", quantile=q, random_state=0)
            for q in LEVELS
        ],
    }


def results(name):
    """Return the row of the report of one table, or None."""
    found = table(name)
    if found is None:
        print(f"{name}: not on this machine, skipped")
        return None
    X, X_test, y, y_test = train_test_split(*found, test_size=0.4, random_state=0)
    X, y = X[:MOST_ROWS], y[:MOST_ROWS]
    scaler = StandardScaler().fit(X)
    X, X_test = scaler.transform(X), scaler.transform(X_test)
    row = {"table": name, "rows": len(X), "features": X.shape[1]}
    model = ours()
    seconds, n_missed = timed_fit(model, X, y)
    told = {"ours": (model.predict(X_test), seconds)}
    for rival, models in rivals().items():
        times = [timed_fit(fitted, X, y)[0] for fitted in models]
        predicted = np.column_stack([fitted.predict(X_test) for fitted in models])
        # Two fits make an interval.
        told[rival] = predicted, times[0] + times[2]
    constant = np.quantile(y, LEVELS)
    scale = losses(np.tile(constant, (len(y_test), 1)), y_test)
    for who, (predicted, _) in told.items():
        row[f"pinball, {who}"] = losses(predicted, y_test) / scale
    for who, (predicted, _) in told.items():
        inside = (predicted[:, 0] <= y_test) & (y_test <= predicted[:, 2])
        row[f"coverage, {who}"] = float(inside.mean())
    low, _, high = told["ours"][0].T
    wider = margin(model, X, y)
    inside = (low - wider <= y_test) & (y_test <= high + wider)
    row["coverage, ours widened"] = float(inside.mean())
    for who, (_, seconds) in told.items():
        row[f"s, {who}"] = seconds
    row["crossing, ours"] = float(np.mean(np.diff(told["ours"][0], axis=1) < 0.0))
    row["gap / tol"] = model.dual_gap_ / model.tolerance_
    row["missed"] = n_missed
    return row


def losses(predicted, y):
    """Return the mean of the pinball losses over levels."""
    return mean(
        mean_pinball_loss(y, column, alpha=q)
        for column, q in zip(predicted.T, LEVELS, strict=True)
    )


def main():
    """Run the tables asked for and write the report."""
    options = parse(__doc__, (*KEPT, *MADE), QUICK)
    rows = []
    for name in options.names:
        row = results(name)
        if row is not None:
            rows.append(row)
            print(markdown(rows[-1:]), flush=True)
    mark = {"table": "**mean**"}
    for column in list(rows[0])[3:]:
        mark[column] = mean(row[column] for row in rows)
    text = (
        f"{__doc__}\nPinball losses are for that of the best constant of the training "
        "rows, on held-out rows, the mean of three levels. Seconds are of the fit of "
        "ours with its folds, of two fits of the others. Crossing is the part of "
        "neighbouring levels that are in the wrong order.\n\n"
        f"{markdown([*rows, mark])}\n\n`python -m benchmarks.quantiles`"
    )
    publish("quantiles", "Quantiles", text, options.partial)


if __name__ == "__main__":
    main()
