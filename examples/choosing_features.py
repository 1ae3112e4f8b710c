"""Let the network choose its features: norm="l1" on a table of which five matter.

You learn what networks of the 2-norm pay for useless features, to let
ConvexReLURegressorCV with norm="l1" leave them out, to see which feature enters when,
to hand the choice to scikit-learn's SelectFromModel, and to prove a bound.
"""

import numpy as np
from sklearn.datasets import make_friedman1
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.feature_selection import SelectFromModel
from sklearn.preprocessing import StandardScaler

from sklearn_convexrelu import (
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    FeatureImportancesDisplay,
    convex_relu_path,
)

N_TRAIN, N_FEATURES, N_TRUE = 200, 20, 5


def main(picture="choosing_features.png"):
    """Compare both norms, draw the path of importances, select features."""
    X, y = make_friedman1(1000, n_features=N_FEATURES, noise=1.0, random_state=1)
    X = StandardScaler().fit(X[:N_TRAIN]).transform(X)
    X, X_test, y, y_test = X[:N_TRAIN], X[N_TRAIN:], y[:N_TRAIN], y[N_TRAIN:]

    print("model       held-out R2   features used   five largest importances")
    for norm in ("l2", "l1"):
        model = ConvexReLURegressorCV(
            norm=norm, n_alphas=12, eps=3e-3, cv=3, random_state=0
        ).fit(X, y)
        importances = model.feature_importances_
        print(
            f"{norm:<9}   {model.score(X_test, y_test):11.3f}"
            f"   {np.count_nonzero(importances):13d}"
            f"   {np.sort(np.argsort(-importances)[:N_TRUE])}"
        )
    boosting = HistGradientBoostingRegressor(random_state=0).fit(X, y)
    print(f"boosting    {boosting.score(X_test, y_test):11.3f}")

    path = convex_relu_path(
        X, y, norm="l1", n_alphas=15, eps=0.03, tol=3e-3, random_state=0
    )
    display = FeatureImportancesDisplay.from_path(path, n_named=6)
    order = np.argsort(-np.nan_to_num(display.entered), kind="stable")
    print("features in the order they enter:", *path.feature_names[order[:8]], "...")
    display.figure_.savefig(picture, dpi=150)
    print(f"wrote {picture}: the five that matter, and the others in grey")

    chosen = SelectFromModel(
        ConvexReLURegressor(0.1, norm="l1", random_state=0), threshold=0.05
    ).fit(X, y)
    print("SelectFromModel keeps", np.flatnonzero(chosen.get_support()))

    model = ConvexReLURegressor(0.3, norm="l1", random_state=0).fit(X, y)
    model.certify(X, y, time_limit=2)
    print(
        f"at 0.3 alpha_max no network has an objective below "
        f"{model.lower_bound_ / model.objective_:.0%} of this one's: a proof"
    )


if __name__ == "__main__":
    main()
