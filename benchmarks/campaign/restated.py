"""The objective of a fitted model, restated from the documentation, and its losses.

Nothing here comes from the package. Sums are taken in extended precision where the
machine has it, so that what is compared is the weights and not the rounding.
"""

from dataclasses import dataclass

import numpy as np

__all__ = [
    "Stated",
    "linear_outputs",
    "linear_penalty",
    "penalty_of",
    "predictions_of",
]

REAL = np.longdouble


@dataclass(frozen=True)
class Stated:
    """A problem: what is averaged, over which rows, and how strong the penalty is.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features)
        Features of the rows of positive weight.
    Y : ndarray of shape (n_samples, n_outputs)
        Targets as the loss takes them.
    weights : ndarray of shape (n_samples,)
        Weights that sum to one.
    loss : callable
        Takes predictions and targets; returns the loss of every row, and slopes.
    name : str
        Name of the loss.
    """

    X: np.ndarray
    Y: np.ndarray
    weights: np.ndarray
    loss: object
    name: str

    @classmethod
    def of(cls, case, data):
        """Return the problem that a case's fit has to solve."""
        X, y = data.X.astype(np.float64), data.y
        weights = np.ones(len(X)) if data.weights is None else data.weights
        if dict(case.options).get("class_weight") == "balanced":
            weights = weights * balancing(y, weights)
        live = weights > 0.0
        X, y, weights = X[live], y[live], weights[live]
        Y = numbers(case, y)
        loss = loss_of(case, Y.shape[1])
        return cls(X, Y, weights / weights.sum(), loss, case.loss)

    def loss_at(self, F):
        """Return the average loss of predictions."""
        with np.errstate(over="ignore", invalid="ignore"):
            return float(self.weights @ self.loss(F, self.Y)[0])

    def value_and_slopes(self, F):
        """Return the average loss of predictions, and its gradient in them."""
        with np.errstate(over="ignore", invalid="ignore"):
            losses, slopes = self.loss(F, self.Y)
            return self.weights @ losses, self.weights[:, None] * slopes

    def objective(self, model):
        """Return the objective of a fitted model, from its public weights."""
        return self.loss_at(predictions_of(model, self.X)) + (
            model.alpha_ * penalty_of(model)
        )


def loss_of(case, n_outputs):
    """Return the loss of a case; two classes have one output."""
    if case.loss == "huber":
        return huber(dict(case.options)["huber_threshold"])
    if case.loss == "log_loss":
        return softmax if case.targets == "multiclass" and n_outputs > 1 else logit
    return {
        "squared_error": squared,
        "poisson": poisson,
        "squared_hinge": squared_hinge,
    }[case.loss]


def numbers(case, y):
    """Return targets as the loss takes them, (n_samples, n_outputs)."""
    if case.targets in ("one", "several"):
        return y.reshape(len(y), -1).astype(float)
    positive = y
    if case.targets != "multilabel":
        labels = np.unique(y)
        labels = labels[1:] if len(labels) == 2 else labels
        positive = y[:, None] == labels
    return positive.astype(float) if case.loss == "log_loss" else 2.0 * positive - 1.0


def balancing(y, weights):
    """Return factors that give every class the same total weight."""
    labels, codes = np.unique(y, return_inverse=True)
    totals = np.bincount(codes, weights, minlength=len(labels))
    return 1.0 / np.where(totals > 0.0, totals, 1.0)[codes]


def squared(F, Y):
    """Return half the squared error of every row, and slopes."""
    return ((F - Y) ** 2).sum(axis=1) / 2, F - Y


def huber(threshold):
    """Return the loss that is linear beyond the threshold."""

    def loss(F, Y):
        size = np.abs(F - Y)
        linear = threshold * size - threshold**2 / 2
        values = np.where(size <= threshold, size**2 / 2, linear)
        return values.sum(axis=1), np.clip(F - Y, -threshold, threshold)

    return loss


def poisson(F, Y):
    """Return half the Poisson deviance of every row at means ``exp(F)``, and slopes."""
    logs = np.log(np.where(Y > 0.0, Y, 1.0))
    means = np.exp(F)
    return (means - Y * F + Y * logs - Y).sum(axis=1), means - Y


def logit(F, Y):
    """Return the log loss of every row, summed over labels, and slopes."""
    values = np.logaddexp(F.dtype.type(0), F) - Y * F
    return values.sum(axis=1), 1 / (1 + np.exp(-F)) - Y


def softmax(F, Y):
    """Return the log loss of one class out of several, and slopes."""
    E = np.exp(F - F.max(axis=1, keepdims=True))
    totals = E.sum(axis=1, keepdims=True)
    logs = F - F.max(axis=1, keepdims=True) - np.log(totals)
    return -(Y * logs).sum(axis=1), E / totals - Y


def squared_hinge(F, Y):
    """Return half the squared shortfall of the margins, and slopes."""
    short = np.maximum(1 - Y * F, 0)
    return (short**2).sum(axis=1) / 2, -Y * short


def predictions_of(model, X):
    """Return the outputs of a fitted model at ``X``, (n_samples, n_outputs)."""
    X = X.astype(REAL)
    skip = linear_outputs(model, X)
    if hasattr(model, "gates_"):
        return gated_outputs(model, X) + skip
    H = X
    for W, b in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        H = np.maximum(H @ W.astype(REAL) + b, 0)
    return H @ model.coefs_[-1].astype(REAL) + model.intercepts_[-1] + skip


def linear_outputs(model, X):
    """Return what a skip connection adds, zero without one."""
    if not hasattr(model, "skip_coef_"):
        return 0.0
    return X.astype(REAL) @ model.skip_coef_.astype(REAL)


def linear_penalty(model):
    """Return the penalty of a skip connection: the nuclear norm of its weights."""
    if getattr(model, "skip_connection", False) in (False, "free"):
        return 0.0
    return float(np.linalg.norm(model.skip_coef_.astype(np.float64), "nuc"))


def gated_outputs(model, X):
    """Return the outputs of ``sum_g 1[x g > 0] x V_g``."""
    if model.hidden_bias:
        X = np.column_stack([X, np.ones(len(X), REAL)])
    # Gates are vectors that decide; a user decides in double precision.
    passed = X.astype(np.float64) @ model.gates_.T.astype(np.float64) > 0.0
    values = np.einsum("nd,gdc->ngc", X, model.blocks_.astype(REAL))
    return (passed[:, :, None] * values).sum(axis=1) + model.intercept_


def penalty_of(model):
    """Return the penalty of a fitted model."""
    return penalty_of_units(model) + linear_penalty(model)


def penalty_of_units(model):
    """Return the same but for a skip connection."""
    if hasattr(model, "gates_"):
        blocks = model.blocks_.astype(np.float64)
        if blocks.shape[2] > 1:
            return float(np.linalg.svd(blocks, compute_uv=False).sum())
        return float(np.linalg.norm(blocks[:, :, 0], axis=1).sum())
    layers = [W.astype(REAL) for W in model.coefs_]
    layers[0] = np.vstack([layers[0], model.intercepts_[0].astype(REAL)])
    if model.penalty == "weight_decay" and len(layers) == 3:
        return float(weight_decay(*layers))
    return float(path_norm(layers))


def path_norm(layers):
    """Return the path norm: roots of sums over paths of squared products, added up."""
    squares = (layers[0] ** 2).sum(axis=0)
    for W in layers[1:-1]:
        squares = squares @ W**2
    return np.sqrt(squares) @ np.sqrt((layers[-1] ** 2).sum(axis=1))


def weight_decay(first, second, last):
    """Return the products of the lengths of the three layers of every sub-network."""
    width = first.shape[1] // max(second.shape[1], 1)
    total = REAL(0)
    for k in range(second.shape[1]):
        at = slice(k * width, (k + 1) * width)
        inner = np.sqrt((first[:, at] ** 2).sum()) * np.sqrt((second[at, k] ** 2).sum())
        total += inner * np.sqrt((last[k] ** 2).sum())
    return total
