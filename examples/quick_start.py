"""
Train one network and read what comes with it
=============================================

A network in a pipeline, how far its objective can be from that of the best network,
and its predictions worked out from the weights, without the package.
"""

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_convexrelu import ConvexReLURegressor

X, y = load_diabetes(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

# %%
# The penalty is measured in the scale of the features, so these are standardised first,
# as for any network.

model = make_pipeline(StandardScaler(), ConvexReLURegressor(alpha=0.1, random_state=0))
model.fit(X_train, y_train)

# %%
# The fitted estimator knows its objective and a lower bound on that of every network.
# The difference is the duality gap: what a better network could gain at most. With ten
# features the bound is an estimate (kind ``"priced"``).

scaler, net = model
percent = 100.0 * net.dual_gap_ / net.objective_
print(f"objective      {net.objective_:.2f}")
print(f"lower bound    {net.lower_bound_:.2f}, kind {net.certificate_.kind!r}")
print(f"duality gap    {net.dual_gap_:.2f}, {percent:.2f} % of the objective")
print(f"neurons        {net.n_neurons_}")
print(f"time           {net.history_[-1]['time']:.2f} s, {net.n_iter_} rounds")
print(f"R2, training   {model.score(X_train, y_train):.3f}")
print(f"R2, held out   {model.score(X_test, y_test):.3f}")

# %%
# The weights are laid out as MLPRegressor's: a matrix and a vector of biases a layer.

hidden = np.maximum(scaler.transform(X_test) @ net.coefs_[0] + net.intercepts_[0], 0.0)
by_hand = (hidden @ net.coefs_[1] + net.intercepts_[1])[:, 0]
same = np.allclose(by_hand, model.predict(X_test))
print("layers of shape", " and ".join(str(weights.shape) for weights in net.coefs_))
print(f"prediction by hand equals predict: {same}")
