"""
Curves that only rise
=====================

What is known of a feature, that more of it can only help, keeps noise out of the fit.
``monotonic_cst`` asks for that, as in scikit-learn's histogram gradient boosting. With
two layers a rising curve cannot be an S; sub-networks of two neurons can.
"""

import textwrap
import warnings

import numpy as np
import pandas as pd
from matplotlib import pyplot
from sklearn.ensemble import HistGradientBoostingRegressor

from sklearn_convexrelu import ConvexReLURegressor

rng = np.random.default_rng(0)


def table(n):
    """Return doses and ages, and responses: an S in the dose, falling with age."""
    X = pd.DataFrame({"dose": rng.uniform(-3, 3, n), "age": rng.uniform(-2, 2, n)})
    y = np.clip(X["dose"], -1, 1) - 0.3 * X["age"] + 0.5 * rng.standard_normal(n)
    return X, y


(X, y), (X_test, y_test) = table(80), table(2000)
known = {"dose": 1, "age": -1}

# %%
# The fit with two layers warns of what it cannot have:

with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    ConvexReLURegressor(0.01, monotonic_cst=known, random_state=0).fit(X, y)
print(textwrap.fill(str(told[0].message), 86))

# %%
# Four networks at one small strength, which leaves it to the signs to keep the noise
# out, and boosted trees. The most that a curve falls is looked at along the dose.

grid = pd.DataFrame({"dose": np.linspace(-4, 4, 801), "age": 0.0})
options = {"alpha": 0.003, "random_state": 0}
models = {
    "two layers": ConvexReLURegressor(**options),
    "two layers, monotone": ConvexReLURegressor(monotonic_cst=known, **options),
    "(2,)": ConvexReLURegressor(subnetwork_widths=(2,), **options),
    "(2,), monotone": ConvexReLURegressor(
        subnetwork_widths=(2,), monotonic_cst=known, **options
    ),
    "boosting, monotone": HistGradientBoostingRegressor(
        monotonic_cst=known, random_state=0
    ),
}
print("model                  held-out R2   most that it falls with the dose")
curves = {}
for name, model in models.items():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the S, told above
        model.fit(X, y)
    curves[name] = curve = model.predict(grid)
    fall = np.max(np.maximum.accumulate(curve) - curve)
    print(f"{name:<20}   {model.score(X_test, y_test):11.3f}   {fall:.2e}")

# %%
# At the age of zero:

figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
without_age = y + 0.3 * X["age"]
axes.scatter(X["dose"], without_age, s=12, color="0.7", label="data, age taken out")
axes.plot(grid["dose"], np.clip(grid["dose"], -1, 1), "k:", label="truth")
for name in ("two layers", "two layers, monotone", "(2,), monotone"):
    axes.plot(grid["dose"], curves[name], label=name)
axes.set(xlabel="dose", ylabel="response")
axes.legend()
pyplot.show()
