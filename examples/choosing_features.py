"""
Let the network choose its features
===================================

Networks of the 2-norm pay for every useless feature. With ``norm="l1"`` weights that
bring too little are exactly zero; here five of twenty columns matter.
"""

import numpy as np
from matplotlib import pyplot
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

X, y = make_friedman1(1000, n_features=20, noise=1.0, random_state=1)
X = StandardScaler().fit(X[:200]).transform(X)
X, X_test, y, y_test = X[:200], X[200:], y[:200], y[200:]

# %%
# Both norms at the strength that cross-validation chooses, beside boosted trees:

print("model       held-out R2   features used   five largest importances")
for norm in ("l2", "l1"):
    model = ConvexReLURegressorCV(
        norm=norm, n_alphas=12, eps=3e-3, cv=3, random_state=0
    ).fit(X, y)
    importances = model.feature_importances_
    print(
        f"{norm:<9}   {model.score(X_test, y_test):11.3f}"
        f"   {np.count_nonzero(importances):13d}"
        f"   {np.sort(np.argsort(-importances)[:5])}"
    )
boosting = HistGradientBoostingRegressor(random_state=0).fit(X, y)
print(f"boosting    {boosting.score(X_test, y_test):11.3f}")

# %%
# Which feature enters when, as the penalty falls:

path = convex_relu_path(
    X, y, norm="l1", n_alphas=15, eps=0.03, tol=3e-3, random_state=0
)
display = FeatureImportancesDisplay.from_path(path, n_named=6)
order = np.argsort(-np.nan_to_num(display.entered), kind="stable")
print("in the order they enter:", *path.feature_names[order[:8]], "...")
pyplot.show()

# %%
# Importances are what scikit-learn's own selection of features asks for. And
# ``certify`` proves a bound, by a linear relaxation.

net = ConvexReLURegressor(0.1, norm="l1", random_state=0)
chosen = SelectFromModel(net, threshold=0.05).fit(X, y)
print("SelectFromModel keeps", np.flatnonzero(chosen.get_support()))
model = ConvexReLURegressor(0.3, norm="l1", random_state=0).fit(X, y)
model.certify(X, y, time_limit=2)
share = model.lower_bound_ / model.objective_
print(f"at 0.3 alpha_max no objective is below {share:.0%} of this one's: a proof")
