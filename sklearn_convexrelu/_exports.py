"""Networks for other libraries: scikit-learn's MLPs and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import block_diag
from sklearn.base import is_classifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sklearn_convexrelu.model.losses import REGRESSION_LOSSES
from sklearn_convexrelu.training import warn

__all__ = ["ExportMixin", "check_exportable", "relu_layers"]


class ExportMixin:
    """Methods of a fitted estimator that give its network to another library."""

    def to_mlp(self) -> MLPRegressor | MLPClassifier:
        """Return scikit-learn's MLP of the same network, fitted.

        It predicts the same to rounding, and can do what an MLP can, such as
        ``partial_fit``. Sub-networks come as block-diagonal layers, a skip connection
        as a pair of neurons for each output, and a constant as one neuron of weight
        zero.

        Returns
        -------
        MLPRegressor or MLPClassifier
            With copies of the weights. It was not trained, so it has no ``loss_``.
            Its other parameters are scikit-learn's defaults; further training
            (``partial_fit``, or ``fit`` after ``set_params(warm_start=True)``) goes by
            its own objective, whose ``alpha`` is divided by the rows of a batch: that
            of this network is ``alpha_ * min(200, n_samples)``.

        Raises
        ------
        ValueError
            If the model is gated, or of the Poisson loss with scikit-learn before 1.7,
            whose MLPRegressor has none.

        Warns
        -----
        UserWarning
            If a classifier's loss is not the log loss. Classes are predicted as here,
            but ``predict_proba``, which an MLPClassifier always has, is then a logistic
            function (several classes: the softmax) of outputs that model no
            probabilities.

        See Also
        --------
        to_torch : The same network for PyTorch.

        Notes
        -----
        The losses of residuals (squared error, Huber and others) become an MLPRegressor
        of the squared error: predictions know nothing of the loss, further training
        does.
        """
        layers = relu_layers(self)
        mlp = _classifier(self) if is_classifier(self) else _regressor(self)
        widths = [W.shape[1] for W, _ in layers]
        mlp.set_params(hidden_layer_sizes=tuple(widths[:-1]))
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self, name):
                setattr(mlp, name, getattr(self, name))
        # What scikit-learn's own fit begins with: it lays out all state of the MLP,
        # so that only the weights are left to set.
        mlp._random_state = check_random_state(mlp.random_state)
        first = layers[0][0]
        mlp._initialize(np.empty((0, widths[-1])), [len(first), *widths], first.dtype)
        mlp.coefs_ = [W for W, _ in layers]
        mlp.intercepts_ = [b for _, b in layers]
        return mlp

    def to_torch(self) -> Any:
        """Return the same network for PyTorch, ``Linear`` and ``ReLU`` in turn.

        A skip connection comes as a pair of neurons for each output.

        Returns
        -------
        torch.nn.Sequential
            From (n_samples, n_features) to the outputs, (n_samples, n_outputs), with
            copies of the weights in their precision. A classifier's outputs are those
            of ``decision_function``: with the log loss logits. Of the Poisson loss they
            are logarithms of the means.

        Raises
        ------
        ImportError
            If PyTorch is not installed.
        ValueError
            If the model is gated.

        See Also
        --------
        to_mlp : The same network for scikit-learn.
        """
        layers = relu_layers(self)
        try:
            import torch
        except ImportError as error:
            raise ImportError(
                "to_torch needs PyTorch: pip install 'sklearn-convexrelu[torch]'."
            ) from error
        modules = []
        for W, b in layers:
            # Skipped: initial weights, which would be drawn from the global generator.
            linear = torch.nn.utils.skip_init(torch.nn.Linear, *W.shape)
            linear.weight = torch.nn.Parameter(torch.tensor(W.T))
            linear.bias = torch.nn.Parameter(torch.tensor(b))
            modules += [linear, torch.nn.ReLU()]
        return torch.nn.Sequential(*modules[:-1])


def relu_layers(model):
    """Return copies of the weights of a fitted ReLU network, layer by layer.

    Parameters
    ----------
    model : estimator
        Fitted.

    Returns
    -------
    list of (ndarray of shape (n_inputs, n_units), ndarray of shape (n_units,))
        Weights and biases. A hidden layer has one unit at least, dead in a constant:
        other libraries take no layers of none.

    Raises
    ------
    ValueError
        If the model is gated.
    """
    check_exportable(model)
    if model.network_.is_gated:
        raise ValueError(
            "A gated model is no ReLU network: to_relu(X, y) returns one that predicts "
            "the same on these data."
        )
    layers = list(zip(model.coefs_, model.intercepts_, strict=True))
    if hasattr(model, "skip_coef_"):
        layers = _with_linear_units(layers, model.skip_coef_)
    return [(_not_empty(W), _not_empty(b)) for W, b in layers]


def _with_linear_units(layers, skip):
    """Return layers with a skip connection as pairs of units.

    ``t = relu(t) - relu(-t)``; between hidden layers both pass on what they are, which
    is not negative. An output is one pair, those without weights are left out.
    """
    used = skip.any(axis=0)
    pairs = np.hstack([skip[:, used], -skip[:, used]])
    ends = np.eye(skip.shape[1], dtype=skip.dtype)[used]
    widened = []
    for depth, (W, b) in enumerate(layers):
        if depth == 0:
            wide = np.hstack([W, pairs])
        elif depth == len(layers) - 1:
            wide = np.vstack([W, ends, -ends])
        else:
            wide = block_diag(W, np.eye(pairs.shape[1])).astype(W.dtype)
        if depth < len(layers) - 1:
            b = np.append(b, np.zeros(pairs.shape[1], b.dtype))
        widened.append((wide, b))
    return widened


def check_exportable(model):
    """Refuse a model that is not fitted, or of a fold that set some of its outputs."""
    check_is_fitted(model)
    if model._settled is not None:
        raise ValueError(
            "This model is of a fold whose rows lack a class, or have no counts: its "
            "network has not all outputs. Export one that was fitted to all data."
        )


def _not_empty(A):
    """Return a copy of weights or biases, padded with a zero where there are none."""
    padded = np.zeros(np.maximum(A.shape, 1), A.dtype)
    padded[tuple(map(slice, A.shape))] = A
    return padded


def _regressor(model):
    """Return the MLPRegressor whose predictions have the link of the loss."""
    if not REGRESSION_LOSSES[model._fitted_loss].has_log_link:
        return MLPRegressor()
    if "loss" not in MLPRegressor._get_param_names():
        raise ValueError(
            f"loss={model._fitted_loss!r} needs an MLPRegressor of that loss, which "
            "scikit-learn has from 1.7 on."
        )
    return MLPRegressor(loss="poisson")


def _classifier(model):
    """Return an MLPClassifier that knows the classes."""
    if model._fitted_loss != "log_loss":
        warn(
            f"Outputs of loss={model._fitted_loss!r} model no probabilities: the "
            "MLPClassifier predicts the same classes, but its predict_proba means "
            "nothing.",
            UserWarning,
        )
    mlp = MLPClassifier()
    known = model.classes_
    if model._multilabel:
        known = np.eye(len(known), dtype=int)
    mlp._label_binarizer = LabelBinarizer().fit(known)
    mlp.classes_ = mlp._label_binarizer.classes_
    return mlp
