"""
A linear part beside the neurons
================================

Neurons are a dear way to draw a straight line. ``skip_connection`` puts a linear part
beside them: penalised as they are, or, with ``"free"``, no more than an intercept.
"""

import numpy as np
from matplotlib import pyplot

from sklearn_convexrelu import ConvexReLURegressor

rng = np.random.default_rng(0)

# %%
# Linear data first: a network of neurons alone needs several, and shrinks what it
# predicts. A free linear part takes all, and the gap is a proof that no neuron helps.

X = rng.standard_normal((100, 3))
y = X @ [1.0, 2.0, 3.0]
print("skip_connection   neurons   R2         skip_coef_")
for skip in (False, True, "free"):
    model = ConvexReLURegressor(0.05, skip_connection=skip, random_state=0).fit(X, y)
    coef = np.round(getattr(model, "skip_coef_", np.zeros(0)).ravel(), 3)
    print(f"{skip!s:<15}   {model.n_neurons_:7d}   {model.score(X, y):.6f}   {coef}")

# %%
# A trend with a bend in it. Both networks have the same relative strength; what the
# neurons of the second one add to the line is drawn by itself.

x = np.sort(rng.uniform(-3, 3, 80))
y = 0.8 * x + np.maximum(0.0, 2.0 * (x - 1.0)) + 0.3 * rng.standard_normal(80)
grid = np.linspace(-5, 5, 300)[:, None]
figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), sharey=True)
for ax, skip in zip(axes, (False, "free"), strict=True):
    model = ConvexReLURegressor(0.2, skip_connection=skip, random_state=0)
    model.fit(x[:, None], y)
    ax.plot(x, y, ".", color="0.7")
    ax.plot(grid, model.predict(grid), label="network")
    if skip:
        line = grid @ model.skip_coef_ + model.intercepts_[-1]
        ax.plot(grid, line, "--", label="linear part and intercept")
    ax.set_title(f"skip_connection={skip!r}: {model.n_neurons_} neurons")
    ax.legend()
    print(f"skip_connection={skip!r}: gap {model.dual_gap_:.1e}, a proof")
pyplot.show()

# %%
# Exports have it as a pair of neurons for each output, ``relu(t) - relu(-t)``.

mlp = model.to_mlp()
print("to_mlp:", [W.shape for W in mlp.coefs_], "for", model.n_neurons_, "neurons")
print(
    "largest difference:",
    f"{np.abs(mlp.predict(grid) - model.predict(grid)).max():.0e}",
)
