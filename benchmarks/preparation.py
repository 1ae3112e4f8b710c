"""Preparing columns: clipped tails and splines beside standardised columns.

Networks of few units bend where data make them; a spline basis gives each column bends
of its own, and clipping keeps far rows from setting the scale. Whether that helps
depends on the table, so this measures it: held-out score, everything tuned inside.
"""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, SplineTransformer, StandardScaler

from benchmarks.datasets import CLASSES, available
from benchmarks.report import markdown, parse, publish
from sklearn_convexrelu import ConvexReLUClassifierCV, ConvexReLURegressorCV

TABLES = ["telephones", "mortgages", "churn", "credit status"] + [
    "sacramento",
    "saratoga",
    "ames",
    "concrete",
    "biomass",
    "friedman1",
]
ROWS = 900  # of each table, drawn once
PREPARED = {
    "standardised": (),
    "clipped": ("clip",),
    "splines": ("spline",),
    "clipped, splines": ("clip", "spline"),
}


class Clip(TransformerMixin, BaseEstimator):
    """Cut each column at its 1st and 99th percentile."""

    def fit(self, X, y=None):
        """Find the percentiles."""
        self.low_, self.high_ = np.percentile(X, [1, 99], axis=0)
        return self

    def transform(self, X):
        """Cut what lies beyond."""
        return np.clip(X, self.low_, self.high_)


STEPS = {"clip": Clip, "spline": lambda: SplineTransformer(n_knots=5, degree=1)}


def pipeline(steps, classify):
    """Return imputation, what is asked for, scaling, and the network."""
    numbers = make_pipeline(
        SimpleImputer(strategy="median"), *[STEPS[s]() for s in steps], StandardScaler()
    )
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (
            OneHotEncoder(handle_unknown="ignore", sparse_output=False),
            make_column_selector(dtype_exclude="number"),
        ),
    )
    model = ConvexReLUClassifierCV if classify else ConvexReLURegressorCV
    return make_pipeline(
        columns, model(n_alphas=12, eps=1e-3, cv=3, tol=1e-2, random_state=0)
    )


def measure(data):
    """Return the mean score of three folds for each preparation."""
    rows = np.random.default_rng(0).permutation(len(data.y))[:ROWS]
    X, y = data.X.iloc[rows].reset_index(drop=True), data.y[rows]
    classify = data.name in CLASSES
    return {
        name: cross_val_score(pipeline(steps, classify), X, y, cv=3).mean()
        for name, steps in PREPARED.items()
    }


def main():
    """Measure the tables and print, or publish, what comes."""
    options = parse(__doc__, TABLES, TABLES[:2])
    rows = []
    for data in available(options.names):
        scores = {name: f"{score:.3f}" for name, score in measure(data).items()}
        kind = "accuracy" if data.name in CLASSES else "R2"
        rows.append({"data": data.name, "score": kind} | scores)
        print(*rows[-1].values(), flush=True)
    text = markdown(rows) + "\n\n" + LEGEND
    publish("preparation", "Preparing columns", text, options.partial)


LEGEND = f"""Means of three folds of at most {ROWS} rows, alpha chosen inside. Clipped:
numbers cut at their 1st and 99th percentile. Splines: linear, five knots a column."""


if __name__ == "__main__":
    main()
