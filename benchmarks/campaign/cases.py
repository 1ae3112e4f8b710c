"""Cases of the campaign: data, weights and parameters drawn from a seed and an index.

A case is a small record; its arrays are drawn from the same two numbers when they are
asked for. So any case can be run again alone.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.preprocessing import StandardScaler

from sklearn_convexrelu import ConvexReLUClassifier, ConvexReLURegressor

__all__ = ["FEATURES", "Case", "Data", "draw"]

MOST_SAMPLES, MOST_FEATURES = 400, 60
# From this many entries of X on, fits at small alphas and tolerances take too long.
LARGE = 3000
PROBLEMS = [
    ("squared_error", "one"),
    ("squared_error", "several"),
    ("huber", "one"),
    ("huber", "several"),
    ("poisson", "one"),
    ("poisson", "several"),
    ("log_loss", "binary"),
    ("log_loss", "multiclass"),
    ("log_loss", "multilabel"),
    ("squared_hinge", "binary"),
    ("squared_hinge", "multiclass"),
    ("squared_hinge", "multilabel"),
    ("squared_error", "binary"),
    ("squared_error", "multiclass"),
    ("squared_error", "multilabel"),
]
PLAIN = "one", "binary"  # targets with one output
CLASSES = "binary", "multiclass", "multilabel"
WEIGHTS = {"none": 0.5, "uniform": 0.12, "zeros": 0.2, "repeats": 0.1, "wide": 0.08}
SPREADS = {"plain": 0.7, "scaled": 0.1, "offset": 0.1, "tiny": 0.08, "constant": 0.02}
MODES = {
    "neurons": 0.42,
    "proven": 0.06,  # and certified afterwards
    "sub-networks": 0.14,
    "weight decay": 0.08,
    "random": 0.08,
    "gated": 0.1,
    "exact": 0.05,
    "rank": 0.07,
}

# Most samples and features of modes whose fits would take too long on more.
LIMITS = {
    "proven": (60, 60),
    "sub-networks": (200, 20),
    "weight decay": (200, 20),
    "random": (80, 12),
    "gated": (120, 20),
    "exact": (16, 2),
}

_MOST_CERTIFIED = 1000  # entries of X, of sub-networks: as many as of "proven"


@dataclass(frozen=True)
class Case:
    """One case: what its data are like, and the parameters of its fit.

    Attributes
    ----------
    seed, index : int
        What it is drawn from.
    features, weights, spread : str
        Kinds of features, of sample weights and of the scale of the target.
    n_samples, n_features : int
        Shape of X.
    loss, targets : str
        Loss, and what is predicted: one or several numbers, or which kind of classes.
    mode : str
        What is fitted.
    dtype : str
        Precision of X.
    options : tuple of (str, object)
        Parameters of the estimator.
    """

    seed: int
    index: int
    features: str
    weights: str
    spread: str
    n_samples: int
    n_features: int
    loss: str
    targets: str
    mode: str
    dtype: str
    options: tuple

    @property
    def size(self):
        """Number of entries of X."""
        return self.n_samples * self.n_features

    @property
    def is_certified(self):
        """Whether a proof is asked for as well: not with a linear part."""
        few, plain = (
            self.size <= _MOST_CERTIFIED,
            "skip_connection" not in dict(self.options),
        )
        trees = self.mode in ("sub-networks", "weight decay")
        return self.mode == "proven" or (trees and few and plain)

    def estimator(self, **changes):
        """Return the estimator, some parameters changed."""
        classifies = self.targets in CLASSES
        kind = ConvexReLUClassifier if classifies else ConvexReLURegressor
        return kind(loss=self.loss, **dict(self.options) | changes)

    def describe(self):
        """Return the case in one line."""
        options = ", ".join(f"{name}={value!r}" for name, value in self.options)
        return (
            f"{self.features} {self.n_samples}x{self.n_features} {self.dtype}, "
            f"{self.loss} {self.targets}, target {self.spread}, weights "
            f"{self.weights}, {self.mode}: {options}"
        )

    def data(self):
        """Return the arrays."""
        rng = np.random.default_rng([self.seed, self.index, 1])
        X = FEATURES[self.features](rng, self.n_samples, self.n_features)
        X = np.ascontiguousarray(X[:, : self.n_features])
        y = target(rng, X, self.targets, self.loss, self.spread)
        X = X.astype(self.dtype)
        return Data(X, y, sample_weights(rng, len(X), self.weights))


@dataclass(frozen=True)
class Data:
    """What a fit is given; ``weights`` may be None."""

    X: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None


def draw(seed, index):
    """Return the case of an index: kinds of features take turns, the rest is drawn."""
    rng = np.random.default_rng([seed, index])
    features = list(FEATURES)[index % len(FEATURES)]
    mode = choice(rng, MODES)
    loss, targets = PROBLEMS[rng.integers(len(PROBLEMS))]
    while mode in ("random", "exact") and targets not in PLAIN:
        loss, targets = PROBLEMS[rng.integers(len(PROBLEMS))]  # cones: one output
    n_samples, n_features = shape(rng, features, mode)
    if targets in CLASSES:
        n_samples = max(n_samples, 4)
    large = n_samples * n_features > LARGE
    options = common_options(rng, large) | mode_options(rng, mode, n_features)
    if targets in ("binary", "multiclass") and rng.random() < 0.15:
        options["class_weight"] = "balanced"
    if loss == "huber":
        options["huber_threshold"] = float(rng.choice([0.3, 1.35]))
    # Of numbers of its own, so that all else is drawn as it was before.
    options |= skip_options(np.random.default_rng([seed, index, 2]), mode)
    return Case(
        seed,
        index,
        features,
        choice(rng, WEIGHTS),
        choice(rng, SPREADS) if targets not in CLASSES else "plain",
        n_samples,
        n_features,
        loss,
        targets,
        mode,
        "float32" if rng.random() < 0.08 else "float64",
        tuple(sorted(options.items())),
    )


def choice(rng, shares):
    """Return a key, drawn by its share."""
    return str(rng.choice(list(shares), p=list(shares.values())))


def shape(rng, features, mode):
    """Return numbers of samples and features, small where fits would take long."""
    if features == "few samples":
        return int(rng.integers(1, 9)), int(rng.integers(1, 3))
    if features == "wide":
        return int(rng.integers(2, 31)), int(rng.integers(20, MOST_FEATURES + 1))
    most_samples, most_features = LIMITS.get(mode, (MOST_SAMPLES, MOST_FEATURES))
    least = 1 if rng.random() < 0.2 else min(12, most_samples // 2)
    return log_uniform(rng, least, most_samples), log_uniform(rng, 1, most_features)


def log_uniform(rng, least, most):
    """Return a whole number whose logarithm is spread evenly."""
    return int(np.exp(rng.uniform(np.log(least), np.log(most + 0.99))))


def common_options(rng, large):
    """Return parameters that every mode has."""
    return {
        "alpha": float(10.0 ** rng.uniform(-1.7 if large else -2.5, -0.1)),
        "tol": float(rng.choice([1e-2, 1e-3] if large else [1e-2, 1e-3, 1e-3, 1e-4])),
        "fit_intercept": bool(rng.random() < 0.8),
        "hidden_bias": bool(rng.random() < 0.8),
        "random_state": int(rng.integers(1000)),
    }


def mode_options(rng, mode, n_features):
    """Return the parameters that make the mode."""
    n_patterns = int(rng.integers(5, 40))
    widths = [(2,), (3,)] if mode == "weight decay" else [(2,), (3,), (2, 2)]
    return {
        "neurons": {},
        "proven": {},
        "sub-networks": {"subnetwork_widths": widths[rng.integers(len(widths))]},
        "weight decay": {
            "subnetwork_widths": widths[rng.integers(len(widths))],
            "penalty": "weight_decay",
        },
        "random": {"patterns": "random", "n_patterns": n_patterns},
        "gated": {
            "patterns": "random",
            "n_patterns": n_patterns,
            "activation": "gated_relu",
        },
        "exact": {"patterns": "exact"},
        "rank": {"rank": min(int(rng.integers(1, 4)), n_features)},
    }[mode]


def skip_options(rng, mode):
    """Return whether there is a linear part; proofs know none, ranks no free one."""
    kinds = [True] if mode == "rank" else [True, "free"]
    if mode == "proven" or rng.random() > 0.2:
        return {}
    return {"skip_connection": kinds[rng.integers(len(kinds))]}


def normal(rng, n, d):
    """Return independent normal features."""
    return rng.standard_normal((n, d))


def duplicates(rng, n, d):
    """Return few distinct rows, many times each."""
    return normal(rng, n, d)[rng.integers(max(n // 4, 1), size=n)]


def collinear(rng, n, d):
    """Return features that are combinations of a third of their number."""
    rank = max(d // 3, 1)
    return normal(rng, n, rank) @ normal(rng, rank, d)


def integers(rng, n, d):
    """Return small whole numbers."""
    return rng.integers(-3, 4, (n, d)).astype(float)


def one_hot(rng, n, d):
    """Return indicators of one category, or a single coin."""
    if d == 1:
        return rng.integers(0, 2, (n, 1)).astype(float)
    return np.eye(d)[rng.integers(d, size=n)]


def constant_columns(rng, n, d):
    """Return normal features, some of them constants of any size."""
    X = normal(rng, n, d)
    at = rng.random(d) < 0.3
    at[rng.integers(d)] = d > 1
    X[:, at] = rng.choice([-1.0, 1.0], at.sum()) * 10.0 ** rng.uniform(-6, 15, at.sum())
    return X


def offsets(rng, n, d):
    """Return normal features around centres of up to a million."""
    return normal(rng, n, d) + 10.0 ** rng.uniform(0, 6, d)


def scales(rng, n, d):
    """Return features from a millionth to a million in size."""
    return normal(rng, n, d) * 10.0 ** rng.uniform(-6, 6, d)


def far_row(rng, n, d):
    """Return normal features, one row up to a thousand times as long."""
    X = normal(rng, n, d)
    X[rng.integers(n)] *= rng.choice([30.0, 100.0, 1000.0])
    return X


def outlier(rng, n, d):
    """Return standardised features of which one row was far away."""
    X = normal(rng, n, d)
    X[rng.integers(n)] *= rng.choice([100.0, 1000.0])
    return StandardScaler().fit_transform(X)


def cauchy(rng, n, d):
    """Return features without moments."""
    return rng.standard_cauchy((n, d))


def lognormal(rng, n, d):
    """Return skewed features, standardised or not."""
    X = rng.lognormal(0.0, 1.5, (n, d))
    return StandardScaler().fit_transform(X) if rng.random() < 0.5 else X


def mixed(rng, n, d):
    """Return numbers, whole numbers, indicators and one large offset side by side."""
    parts = [normal, integers, one_hot, offsets]
    return np.hstack([part(rng, n, max(d // 4, 1)) for part in parts] * 2)[:, :d]


FEATURES = {
    "normal": normal,
    "duplicates": duplicates,
    "collinear": collinear,
    "integers": integers,
    "one-hot": one_hot,
    "constant columns": constant_columns,
    "offsets": offsets,
    "scales": scales,
    "far row": far_row,
    "outlier": outlier,
    "Cauchy": cauchy,
    "lognormal": lognormal,
    "mixed": mixed,
    "wide": normal,
    "few samples": normal,
}


def signal(rng, X):
    """Return a bumpy function of the features, of order one, and noise."""
    spread = X.std(axis=0)
    Z = np.tanh((X - X.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0))
    Z = Z @ rng.standard_normal((X.shape[1], 2)) / np.sqrt(X.shape[1])
    return np.abs(Z[:, 0]) + Z[:, 1] + 0.3 * rng.standard_normal(len(X))


def target(rng, X, targets, loss, spread):
    """Return the target of a case."""
    n_outputs = 1 if targets in (*PLAIN, "multiclass") else int(rng.integers(2, 4))
    F = np.column_stack([signal(rng, X) for _ in range(n_outputs)])
    if targets in CLASSES:
        return classes(rng, F, targets)
    if loss == "poisson":
        F = rng.poisson(np.exp(np.clip(F, -2.0, 2.0))).astype(float)
        F[0] += 1.0  # a target of zeros has no mean
    F = spread_out(rng, F, spread, loss)
    return F[:, 0] if n_outputs == 1 else F


def spread_out(rng, F, spread, loss):
    """Return targets of another scale, offset or none."""
    if spread == "scaled":
        return F * 10.0 ** rng.uniform(-6, 6 if loss != "poisson" else 2)
    if spread == "tiny":
        return F * 1e-12
    if spread == "offset":
        return F + 10.0 ** rng.uniform(0, 6 if loss != "poisson" else 2)
    return np.full_like(F, 3.0) if spread == "constant" else F


def classes(rng, F, targets):
    """Return labels, or indicators, by ranks of the signal; no class is empty."""
    n = len(F)
    ranks = F.argsort(axis=0).argsort(axis=0)
    if targets == "multilabel":
        share = rng.uniform(0.2, 0.8, F.shape[1])
        return (ranks >= np.clip(share * n, 1, n - 1)).astype(int)
    n_classes = 2 if targets == "binary" else int(rng.integers(3, 5))
    return np.array(["a", "b", "c", "d"])[ranks[:, 0] * n_classes // n]


def sample_weights(rng, n, kind):
    """Return sample weights, or None."""
    weights = {
        "none": None,
        "uniform": rng.uniform(0.2, 3.0, n),
        "zeros": rng.integers(0, 3, n) * rng.uniform(0.5, 1.0, n),
        "repeats": rng.integers(1, 5, n).astype(float),
        "wide": 10.0 ** rng.uniform(-4, 4, n),
    }[kind]
    if kind == "zeros":
        weights[rng.integers(n)] = 1.0
    return weights
