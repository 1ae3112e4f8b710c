"""Networks in scikit-learn's MLPs and in PyTorch predict what they predict here."""

import pickle
import sys
import warnings
from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import bumps
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import PolynomialFeatures

from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
)
from sklearn_convexrelu._exports import relu_layers

LOOSE = {"tol": 1e-2, "random_state": 0}
SHORT = {"n_alphas": 3, "eps": 0.1, "cv": 2, "random_state": 0}
GATED = {"activation": "gated_relu", "patterns": "random", "n_patterns": 10}
X, Y1 = bumps(60, 3)
WORDS = np.array(["low", "mid", "high"])
TARGETS = {
    "one": Y1,
    "three": np.column_stack([Y1, X[:, 0] ** 2, -Y1]),
    "counts": np.round(np.exp(Y1)),
    "binary": (Y1 > 1.0).astype(int),
    "bools": Y1 > 1.0,
    "words": WORDS[np.digitize(Y1, [1.0])],
    "classes": WORDS[np.digitize(Y1, [0.5, 1.2])].astype(object),
    "labels": np.column_stack([Y1 > 0.5, Y1 > 1.0, X[:, 0] > 0]).astype(int),
}
REGRESSORS = {
    "plain": (ConvexReLURegressor(0.03, **LOOSE), "one"),
    "targets": (ConvexReLURegressor(0.03, **LOOSE), "three"),
    "huber": (ConvexReLURegressor(0.03, loss="huber", **LOOSE), "one"),
    "poisson": (ConvexReLURegressor(0.03, loss="poisson", **LOOSE), "counts"),
    "no biases": (
        ConvexReLURegressor(0.03, hidden_bias=False, fit_intercept=False, **LOOSE),
        "one",
    ),
    "three layers": (
        ConvexReLURegressor(0.03, subnetwork_widths=(2,), **LOOSE),
        "three",
    ),
    "weight decay": (
        ConvexReLURegressor(
            0.03, subnetwork_widths=(3,), penalty="weight_decay", **LOOSE
        ),
        "one",
    ),
    "four layers": (
        ConvexReLURegressor(0.03, subnetwork_widths=(2, 2), **LOOSE),
        "one",
    ),
    "fixed patterns": (ConvexReLURegressor(0.1, patterns="random", **LOOSE), "one"),
    "low rank": (ConvexReLURegressor(0.1, rank=1, **LOOSE), "one"),
    "constant": (ConvexReLURegressor(0.1, **LOOSE), "constant"),
    "deep constant": (
        ConvexReLURegressor(0.1, subnetwork_widths=(2, 2), **LOOSE),
        "constant",
    ),
    "cross-validated": (ConvexReLURegressorCV(**SHORT), "one"),
}
CLASSIFIERS = {
    "binary": (ConvexReLUClassifier(0.03, **LOOSE), "binary"),
    "bools": (ConvexReLUClassifier(0.03, **LOOSE), "bools"),
    "words": (ConvexReLUClassifier(0.03, **LOOSE), "words"),
    "classes": (ConvexReLUClassifier(0.03, **LOOSE), "classes"),
    "labels": (ConvexReLUClassifier(0.03, **LOOSE), "labels"),
    "deep": (ConvexReLUClassifier(0.03, subnetwork_widths=(2,), **LOOSE), "classes"),
    "cross-validated": (ConvexReLUClassifierCV(**SHORT), "words"),
}
ALL = {f"regressor, {name}": case for name, case in REGRESSORS.items()}
ALL |= {f"classifier, {name}": case for name, case in CLASSIFIERS.items()}


@cache
def fitted(name, dtype=np.float64):
    model, target = ALL[name]
    y = np.ones(60) if target == "constant" else TARGETS[target]
    return clone(model).fit(X.astype(dtype), y)


def target_of(name):
    return TARGETS.get(ALL[name][1], np.ones(60))


def outputs(model, X):
    """Return what the last layer gives, before any link."""
    if hasattr(model, "decision_function"):
        return model.decision_function(X).reshape(len(X), -1)
    F = model.predict(X).reshape(len(X), -1)
    return np.log(F) if model.loss == "poisson" else F


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ALL)
def test_an_mlp_predicts_the_same(name, dtype):
    if "poisson" in name and "loss" not in MLPRegressor().get_params():
        pytest.skip("an MLPRegressor without the Poisson loss")
    model, A = fitted(name, dtype), X.astype(dtype)
    mlp = model.to_mlp()
    rtol = 1e-12 if dtype == np.float64 else 2e-5
    if isinstance(mlp, MLPRegressor):
        expected = model.predict(A)
        size = np.abs(expected).max()
        assert_allclose(mlp.predict(A), expected, rtol=0, atol=rtol * size)
        assert mlp.predict(A).dtype == expected.dtype
    else:
        assert_array_equal(mlp.predict(A), model.predict(A))
        expected = model.predict_proba(A)
        assert_allclose(mlp.predict_proba(A), expected, rtol=0, atol=rtol)
        assert_array_equal(mlp.classes_, model.classes_)
    y = target_of(name)
    assert_allclose(mlp.score(A, y), model.score(A, y), rtol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_an_mlp_is_one_of_scikit_learn(name):
    if "poisson" in name and "loss" not in MLPRegressor().get_params():
        pytest.skip("an MLPRegressor without the Poisson loss")
    mlp, y = fitted(name).to_mlp(), target_of(name)
    before = mlp.predict(X)
    again = pickle.loads(pickle.dumps(mlp))
    assert_array_equal(again.predict(X), before)
    # The parameters tell the shape, as they would after a fit of its own.
    shapes = [W.shape for W in mlp.coefs_]
    sizes = [3, *mlp.hidden_layer_sizes, mlp.n_outputs_]
    assert shapes == list(zip(sizes[:-1], sizes[1:], strict=True))
    fresh = clone(mlp)
    assert fresh.get_params() == mlp.get_params() and not hasattr(fresh, "coefs_")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that two rounds do not converge
        fresh.set_params(max_iter=2, random_state=0).fit(X, y)
    missing = {name for name in vars(fresh) if name not in vars(mlp)}
    assert missing == {"loss_", "_optimizer"}
    assert [W.shape for W in fresh.coefs_] == shapes


@pytest.mark.parametrize("name", ["regressor, targets", "classifier, classes"])
def test_an_mlp_trains_on_from_the_network(name):
    model, y = fitted(name), target_of(name)
    weights = [W.copy() for W in model.coefs_]
    steps = model.to_mlp().set_params(learning_rate_init=1e-5)
    for _ in range(3):
        steps.partial_fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warm = model.to_mlp().set_params(warm_start=True, learning_rate_init=1e-5)
        warm.set_params(max_iter=3).fit(X, y)
        descent = model.to_mlp().set_params(warm_start=True, solver="lbfgs", max_iter=5)
        descent.fit(X, y)
        fresh = clone(descent).set_params(random_state=0).fit(X, y)
    for mlp in (steps, warm):
        assert 0.0 < np.abs(mlp.coefs_[0] - weights[0]).max() < 1e-4
    # Below our loss, which five steps from anywhere else do not reach.
    assert descent.loss_ < steps.loss_curve_[0] < fresh.loss_
    for before, after in zip(weights, model.coefs_, strict=True):
        assert_array_equal(before, after)  # ours are not the MLP's


@pytest.mark.parametrize("name", ["one", "binary"])
def test_the_objective_of_the_mlp_is_ours_at_the_alpha_of_the_docstring(name):
    # But for hidden biases, which an MLP does not penalise.
    kind = ConvexReLURegressor if name == "one" else ConvexReLUClassifier
    model = kind(0.1, hidden_bias=False, **LOOSE).fit(X, TARGETS[name])
    mlp = model.to_mlp().set_params(alpha=model.alpha_ * min(200, len(X)))
    mlp.partial_fit(X, TARGETS[name])  # loss_ is that before the step
    assert_allclose(mlp.loss_, model.objective_, rtol=1e-9)


@pytest.mark.parametrize("target", ["binary", "classes", "labels"])
@pytest.mark.parametrize("loss", ["squared_hinge", "squared_error"])
def test_losses_without_probabilities_say_so(loss, target):
    y = TARGETS[target]
    model = ConvexReLUClassifier(0.03, loss=loss, **LOOSE).fit(X, y)
    with pytest.warns(UserWarning, match=f"loss='{loss}' model no probabilities"):
        mlp = model.to_mlp()
    assert_array_equal(mlp.predict(X), model.predict(X))


def test_poisson_needs_an_mlp_that_has_it(monkeypatch):
    model = fitted("regressor, poisson")
    names = [name for name in MLPRegressor._get_param_names() if name != "loss"]
    monkeypatch.setattr(MLPRegressor, "_get_param_names", lambda: names)
    with pytest.raises(ValueError, match=r"scikit-learn has from 1\.7 on"):
        model.to_mlp()


def test_names_of_features_go_with_the_mlp():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    model = ConvexReLURegressor(0.1, **LOOSE).fit(frame, Y1)
    mlp = model.to_mlp()
    assert_array_equal(mlp.feature_names_in_, ["a", "b", "c"])
    assert_array_equal(mlp.predict(frame), model.predict(frame))
    with pytest.raises(ValueError, match="feature names"):
        mlp.predict(frame[["c", "b", "a"]])


def test_sparse_rows_of_an_mlp():
    from scipy.sparse import csr_array

    A = csr_array(PolynomialFeatures(2).fit_transform(X * (X > 0)))
    model = ConvexReLURegressor(0.1, **LOOSE).fit(A, Y1)
    assert_allclose(model.to_mlp().predict(A), model.predict(A), rtol=1e-12)


@pytest.mark.parametrize("method", ["to_mlp", "to_torch"])
def test_what_is_no_relu_network_is_refused(method):
    gated = ConvexReLURegressor(0.1, **GATED, **LOOSE).fit(X, Y1)
    with pytest.raises(ValueError, match=r"to_relu\(X, y\) returns one"):
        getattr(gated, method)()
    deep = clone(gated).set_params(subnetwork_widths=(2,)).fit(X, Y1)
    with pytest.raises(ValueError, match=r"to_relu\(X, y\) returns one"):
        getattr(deep, method)()
    with pytest.raises(NotFittedError):
        getattr(ConvexReLUClassifier(), method)()
    mlp = gated.to_relu(X, Y1).to_mlp()
    assert_allclose(mlp.predict(X), gated.predict(X), atol=1e-8)


def test_the_network_of_a_fold_without_a_class_is_refused():
    seen = []

    def scorer(model, X, y):
        try:
            seen.append(model.to_mlp().n_outputs_)
        except ValueError as error:
            seen.append(str(error))
        return 0.0

    y = np.where(np.arange(60) < 50, TARGETS["binary"], 2)
    folds = [(np.arange(50), np.arange(50, 60)), (np.arange(60), np.arange(10))]
    options = {"n_alphas": 1, "scoring": scorer, "random_state": 0}
    ConvexReLUClassifierCV(cv=folds, **options).fit(X, y)
    assert "lack a class" in seen[0] and seen[1] == 3


def test_layers_are_copies_of_the_weights():
    model = fitted("regressor, three layers")
    layers = relu_layers(model)
    assert [W.shape for W, _ in layers] == [W.shape for W in model.coefs_]
    for (W, b), ours, bias in zip(layers, model.coefs_, model.intercepts_, strict=True):
        assert_array_equal(W, ours)
        assert_array_equal(b, bias)
        assert not np.shares_memory(W, ours) and not np.shares_memory(b, bias)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ALL)
def test_pytorch_computes_the_same_outputs(name, dtype):
    torch = pytest.importorskip("torch")
    model = fitted(name, dtype)
    state = torch.get_rng_state()
    module = model.to_torch()
    assert torch.equal(state, torch.get_rng_state())
    A = X.astype(dtype)
    with torch.no_grad():
        F = module(torch.tensor(A))
    assert F.numpy().dtype == dtype
    expected = outputs(model, A)
    tolerance = 1e-12 if dtype == np.float64 else 2e-5
    assert_allclose(F, expected, rtol=0, atol=tolerance * np.abs(expected).max())
    kinds = [type(layer).__name__ for layer in module]
    assert kinds == ["Linear", "ReLU"] * (len(model.coefs_) - 1) + ["Linear"]


def test_pytorch_trains_on_from_the_network():
    torch = pytest.importorskip("torch")
    model = fitted("regressor, plain")
    module, before = model.to_torch(), model.coefs_[0].copy()
    loss = torch.nn.functional.mse_loss(module(torch.tensor(X))[:, 0], torch.tensor(Y1))
    loss.backward()
    torch.optim.SGD(module.parameters(), lr=0.1).step()
    assert np.abs(module[0].weight.detach().numpy().T - before).max() > 0.0
    assert_array_equal(model.coefs_[0], before)


def test_pytorch_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"pip install 'sklearn-convexrelu\[torch\]'"):
        fitted("regressor, plain").to_torch()


def test_exports_of_the_last_network_after_pruning():
    model = ConvexReLURegressor(0.01, **LOOSE).fit(X, Y1).prune(X, Y1)
    mlp = model.to_mlp()
    assert mlp.hidden_layer_sizes == (model.n_neurons_,)
    assert_allclose(mlp.predict(X), model.predict(X), rtol=0, atol=1e-12)
    assert isinstance(fitted("classifier, words").to_mlp(), MLPClassifier)
