"""
Choose the penalty strength by cross-validation
===============================================

ConvexReLURegressorCV follows one path of networks a fold, from a constant to many
neurons, each network starting from the one before.
"""

import time

from matplotlib import pyplot
from sklearn.datasets import load_diabetes
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from sklearn_convexrelu import (
    ConvexReLURegressorCV,
    RegularizationPathDisplay,
    convex_relu_path,
)

X, y = load_diabetes(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
scaler = StandardScaler().fit(X_train)
X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)

# %%
# ``selection="best"`` takes the strength with the best mean score; ``"1se"`` the
# strongest penalty within one standard error of it, which is a smaller network.

print("selection   alpha/alpha_max   neurons   CV R2   held-out R2   seconds")
for selection in ("best", "1se"):
    model = ConvexReLURegressorCV(
        n_alphas=20, eps=1e-3, selection=selection, random_state=0
    )
    begin = time.perf_counter()
    model.fit(X_train, y_train)
    seconds = time.perf_counter() - begin
    score = model.cv_scores_[model.best_index_].mean()
    print(
        f"{selection:<9}   {model.alpha_ / model.alpha_max_:15.3f}"
        f"   {model.n_neurons_:7d}   {score:5.3f}"
        f"   {model.score(X_test, y_test):11.3f}   {seconds:7.1f}"
    )

# %%
# The scores behind that choice, and the widths of the networks:

RegularizationPathDisplay.from_estimator(model)
pyplot.show()

# %%
# The path by itself, without folds, is there too: every network with its certificate.

path = convex_relu_path(
    X_train, y_train, n_alphas=7, eps=0.03, tol=1e-2, random_state=0
)
print("alpha/alpha_max   objective   gap in %   neurons   held-out R2")
points = zip(path.alphas, path.networks, path.certificates, strict=True)
for alpha, network, certificate in points:
    score = r2_score(y_test, network.forward(X_test)[:, 0])
    print(
        f"{alpha / path.alpha_max:15.3f}   {certificate.objective:9.1f}"
        f"   {100.0 * certificate.gap / certificate.objective:8.2f}"
        f"   {network.n_neurons:7d}   {score:11.3f}"
    )
