"""``lipschitz_`` bounds what any change of the input does, at every depth."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_convexrelu import ConvexReLUClassifier, ConvexReLURegressor


def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3))
    return X, np.abs(X[:, 0]) + X[:, 1], rng


@pytest.mark.parametrize("widths", [(), (2,), (2, 2)])
@pytest.mark.parametrize("n_targets", [1, 2])
def test_no_change_is_larger(widths, n_targets):
    X, y, rng = data()
    Y = np.c_[y, -(y**2)][:, :n_targets]
    model = ConvexReLURegressor(
        0.2, subnetwork_widths=widths, tol=1e-2, random_state=0
    ).fit(X, Y if n_targets > 1 else y)
    at = 2.0 * rng.standard_normal((500, 3))
    change = 10.0 ** rng.uniform(-3, 1, (500, 1)) * rng.standard_normal((500, 3))
    outputs = model.network_.forward(at + change) - model.network_.forward(at)
    rates = np.linalg.norm(outputs, axis=1) / np.linalg.norm(change, axis=1)
    assert 0.2 * model.lipschitz_ < rates.max() <= model.lipschitz_ * (1 + 1e-9)


@pytest.mark.parametrize("is_skipping", [False, True])
def test_it_is_euclidean_under_the_1_norm_too(is_skipping):
    X, y, rng = data()
    model = ConvexReLURegressor(
        0.05, norm="l1", skip_connection=is_skipping, tol=1e-2, random_state=0
    ).fit(X, y)
    W, A = model.coefs_
    expected = np.linalg.norm(W, axis=0) @ np.linalg.norm(A, axis=1)
    if is_skipping:
        expected += np.linalg.norm(model.skip_coef_)
    assert_allclose(model.lipschitz_, expected)
    step = rng.standard_normal(X.shape)
    rates = np.abs(model.predict(X + step) - model.predict(X))
    rates /= np.linalg.norm(step, axis=1)
    assert 0.0 < rates.max() <= model.lipschitz_


@pytest.mark.filterwarnings("ignore:alpha=.* is alpha_max_:UserWarning")
def test_it_is_the_sum_over_neurons_without_biases():
    X, y, _ = data()
    model = ConvexReLURegressor(0.1, random_state=0).fit(X, np.c_[y, y**2])
    W, A = model.coefs_
    expected = np.linalg.norm(W, axis=0) @ np.linalg.norm(A, axis=1)
    assert_allclose(model.lipschitz_, expected)
    none = ConvexReLURegressor(1.0, random_state=0).fit(X, y)
    assert none.lipschitz_ == 0.0


def test_margins_certify_predictions():
    X, y, rng = data()
    model = ConvexReLUClassifier(0.1, loss="hinge", random_state=0).fit(X, y > 0.5)
    radii = np.abs(model.decision_function(X)) / model.lipschitz_
    for _ in range(50):
        step = rng.standard_normal(X.shape)
        step *= (0.999 * radii / np.linalg.norm(step, axis=1))[:, None]
        assert (model.predict(X + step) == model.predict(X)).all()


def test_gated_models_jump():
    X, y, _ = data()
    gated = ConvexReLURegressor(
        0.1, patterns="random", n_patterns=5, activation="gated_relu", random_state=0
    ).fit(X, y)
    with pytest.raises(AttributeError, match="no lipschitz_"):
        gated.lipschitz_  # noqa: B018
    assert gated.to_relu(X, y).lipschitz_ > 0.0
