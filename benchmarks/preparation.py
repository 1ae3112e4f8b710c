"""Preparing columns: what make_table_pipeline does by default, and what it leaves out.

Held-out loss of each recipe beside that of standardised columns under the 2-norm, on
tables that are for choosing (`benchmarks.datasets.for_choosing`) and judge nothing.
Alpha is chosen inside, by paths of three folds.
"""

import json
import time
import warnings

import numpy as np
from scipy.stats import gmean
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, BaggingRegressor
from sklearn.feature_selection import SelectFromModel
from sklearn.pipeline import Pipeline

from benchmarks.datasets import CLASSES, available
from benchmarks.report import RESULTS, markdown, parse, publish
from benchmarks.tabular import divide, measured
from sklearn_convexrelu import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    make_table_pipeline,
)

TABLES = ["insurance", "banana", "page blocks", "gems", "friedman1, no noise"]
TABLES += ["phoneme", "mammals", "telephones", "skills", "email", "attrition", "taxi"]
ROWS = 1000
QUICK_PATHS = {"cv": 3, "n_alphas": 15, "random_state": 0}
PLAIN = "standardised"
WEIGHT = "columns__numbers__bends__weight"
# Norm, arguments of make_table_pipeline, what is set of it, what is put around.
RECIPES = {
    PLAIN: ("l2", {"tail": None, "n_knots": 0}, {}, None),
    "clipped": ("l2", {"n_knots": 0}, {}, None),
    "clipped, l1": ("l1", {"n_knots": 0}, {}, None),
    "bends": ("l2", {}, {}, None),
    "bends, l1 (default)": ("l1", {}, {}, None),
    "bends of full weight, l1": ("l1", {}, {WEIGHT: 1.0}, None),
    "l1 twice": ("l1", {"n_knots": 0}, {}, "selected"),
    "ten bags": ("l1", {}, {}, "bagged"),
    "calibrated": ("l1", {}, {}, "calibrated"),
}
CACHE = RESULTS / "preparation.jsonl"


def recipe(name, classify):
    """Return an unfitted pipeline."""
    norm, arguments, settings, around = RECIPES[name]
    params = QUICK_PATHS | {"norm": norm}
    if classify:
        network = ConvexReLUClassifierCV(scoring="neg_log_loss", **params)
    else:
        network = ConvexReLURegressorCV(**params)
    pipeline = make_table_pipeline(network, **arguments).set_params(**settings)
    if around == "selected":
        select = SelectFromModel(clone(network), threshold="mean")
        pipeline.steps.insert(1, ("select", select))
    return pipeline


def around_chosen(fitted, kind, classify):
    """Return bags of, or calibration around, networks at the alpha that CV chose."""
    network = fitted[-1]
    plain = ConvexReLUClassifier if classify else ConvexReLURegressor
    plain = plain(
        network.alpha_ / network.alpha_max_, norm="l1", tol=1e-2, random_state=0
    )
    if kind == "calibrated":
        model = CalibratedClassifierCV(plain, method="sigmoid", ensemble=False)
    else:
        bags = BaggingClassifier if classify else BaggingRegressor
        model = bags(plain, 10, random_state=0)
    return Pipeline([("columns", clone(fitted[0])), ("model", model)])


def measure(data):
    """Return a result a recipe: loss, error and CPU seconds."""
    classify = data.name in CLASSES
    train, test = divide(data.y, ROWS, 0, classify)
    X, y = data.X.iloc[train].reset_index(drop=True), data.y[train]
    results, chosen = {}, None
    for name, (*_, around) in RECIPES.items():
        if around == "calibrated" and not classify:
            continue
        begin = time.process_time()
        if around in ("bagged", "calibrated"):
            model = around_chosen(chosen, around, classify)
        else:
            model = recipe(name, classify)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X, y)
            cpu = time.process_time() - begin
            scores = measured(model, data.X.iloc[test], data.y[test], classify)
        chosen = model if "default" in name else chosen
        results[name] = {"cpu": cpu, **scores}
    return results


def main():
    """Measure the tables and print, or publish, what comes."""
    resume = {"action": "store_true", "help": "keep the tables of the last run"}
    cached = {"action": "store_true", "help": "publish these and run nothing"}
    options = parse(__doc__, TABLES, TABLES[:2], resume=resume, cached=cached)
    keep = options.resume or options.cached
    done = dict(map(json.loads, CACHE.open())) if keep and CACHE.exists() else {}
    left = [n for n in options.names if n not in done and not options.cached]
    with CACHE.open("a" if keep else "w") as cache:
        try:
            for data in available(left):
                done[data.name] = measure(data)
                print(json.dumps([data.name, done[data.name]]), file=cache, flush=True)
                print(data.name, {k: r["loss"] for k, r in done[data.name].items()})
        except KeyboardInterrupt:
            print("Interrupted: publishing what is done.")
    done = {name: done[name] for name in options.names if name in done}
    text = f"{summary(done)}\n\n{losses(done)}\n\n{LEGEND}"
    publish("preparation", "Preparing columns", text, options.partial)


def summary(done):
    """Return a table: a row a recipe."""
    rows = []
    for name in RECIPES:
        both = [r for r in done.values() if name in r]
        if not both:
            continue
        ratios = np.array([r[name]["loss"] / r[PLAIN]["loss"] for r in both])
        cost = [r[name]["cpu"] / r[PLAIN]["cpu"] for r in both]
        rows.append(
            {
                "recipe": name,
                "tables": len(both),
                "loss, mean ratio": f"{gmean(ratios):.3f}",
                "worst ratio": f"{ratios.max():.3f}",
                "better by 1%": int((ratios < 0.99).sum()),
                "worse by 1%": int((ratios > 1.01).sum()),
                "CPU, mean ratio": f"{gmean(cost):.2f}",
            }
        )
    return markdown(rows)


def losses(done):
    """Return a table: a row a table, what each recipe loses there."""
    rows = []
    for name, results in done.items():
        kind = "log loss" if name in CLASSES else "RMSE / sd"
        shown = {k: f"{r['loss']:.4f}" for k, r in results.items()}
        rows.append({"data": name, "loss": kind} | {k: "" for k in RECIPES} | shown)
    return markdown(rows)


LEGEND = f"""{ROWS} rows to train (at most seven tenths), at most 5000 to test, one
split. Ratios to "{PLAIN}" are geometric means. "l1 twice" trains on the columns of more
than the mean importance; bags and calibration (sigmoid, by five folds) are around
networks of the default recipe at the alpha that it chose, whose cost is not counted."""


if __name__ == "__main__":
    main()
