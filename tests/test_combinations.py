"""Options that were built apart, together: every fit is one, or is refused in words."""

import pickle
from itertools import product

import numpy as np
import pytest

from sklearn_convexrelu import ConvexReLUClassifier, ConvexReLURegressor

OPTIONS = {
    "loss": ["squared_error", "huber", "quantile", "log_loss", "hinge"],
    "norm": ["l2", "l1"],
    "standardize": [False, True],
    "subnetwork_widths": [(), (2,)],
    "skip_connection": [False, True, "free"],
    "monotonic_cst": [None, [1, -1]],
    "patterns": ["adaptive", "random"],
    "hidden_bias": [True, False],
}
ALL = [dict(zip(OPTIONS, values, strict=True)) for values in product(*OPTIONS.values())]
KNOWN = [c for c in ALL if not (c["skip_connection"] and c["monotonic_cst"])]
DRAWN = np.random.default_rng(0).choice(len(KNOWN), 50, replace=False)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("k", DRAWN)
def test_options_together(k, brief):
    options, rng = KNOWN[k], np.random.default_rng(k)
    X = rng.standard_normal((24, 2))
    y = np.maximum(X[:, 0], 0) - 0.3 * X[:, 1] + 0.1 * rng.standard_normal(24)
    kind = ConvexReLURegressor
    if options["loss"] in ("log_loss", "hinge"):
        kind, y = ConvexReLUClassifier, y > 0
    model = kind(0.1, n_patterns=10, tol=1e-2, random_state=0, **options)
    model = pickle.loads(pickle.dumps(model.fit(X, y, rng.integers(0, 3, 24))))
    assert model.lower_bound_ <= model.objective_ < np.inf
    if options["monotonic_cst"]:
        along = np.c_[np.linspace(-4, 4, 200), np.zeros(200)]
        predict = getattr(model, "decision_function", model.predict)
        assert (np.diff(predict(along)) >= 0.0).all()
        assert (np.diff(predict(along[:, ::-1])) <= 0.0).all()
