"""Preparing columns: what make_table_pipeline does by default, and what it leaves out.

Held-out loss of each recipe beside that of standardised columns under the 2-norm, on
tables that are for choosing (`benchmarks.datasets.for_choosing`) and judge nothing.
Alpha is chosen inside, by paths of three folds.
"""

import json
import time
import warnings
from dataclasses import replace

import numpy as np
from scipy.stats import gmean
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, BaggingRegressor
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import Lasso
from sklearn.pipeline import Pipeline

from benchmarks.datasets import CLASSES, FRESH, REAL, DataSet, available
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
TABLES += ["phoneme"]
ROWS = 1000
QUICK_PATHS = {"cv": 3, "n_alphas": 15, "tol": 1e-2, "random_state": 0}
PLAIN, DEFAULT = "standardised", "bends, l1 (default)"
WEIGHT = "columns__numbers__bends__weight"
# Norm, arguments of make_table_pipeline, what is set of it and of its network.
RECIPES = {
    PLAIN: ("l2", {"tail": None, "n_knots": 0}, {}),
    "clipped": ("l2", {"n_knots": 0}, {}),
    "clipped, l1": ("l1", {"n_knots": 0}, {}),
    "bends": ("l2", {}, {}),
    DEFAULT: ("l1", {}, {}),
    "bends of full weight, l1": ("l1", {}, {WEIGHT: 1.0}),
    "tails as they are, l1": ("l1", {"tail": None}, {}),
    "three layers": ("l1", {}, {"model__subnetwork_widths": (3,)}),
}
# Of these the one of the best mean score over its folds, by
# max(models, key=lambda m: np.nanmax(m[-1].cv_results_["mean_test_score"])).
CHOICES = {
    "either norm, by CV": ("bends", DEFAULT),
    "either tail, by CV": (DEFAULT, "tails as they are, l1"),
    "either depth, by CV": (DEFAULT, "three layers"),
}
CACHE = RESULTS / "preparation.jsonl"


class Rejoined(RegressorMixin, BaseEstimator):
    """The neurons of networks of parts of the rows, their amplitudes found anew.

    That is the convex programme over these neurons, by Lasso.

    Parameters
    ----------
    plain : ConvexReLURegressor
        The network, of the 1-norm and an absolute alpha.
    """

    def __init__(self, plain):
        self.plain = plain

    def fit(self, X, y):
        """Train five networks on four fifths of the rows each, and join them."""
        self.parts_ = folds_of(self.plain, False).fit(X, y).estimators_
        self.lasso_ = Lasso(self.plain.alpha, max_iter=10_000).fit(self._units(X), y)
        return self

    def predict(self, X):
        """Return what the amplitudes make of the neurons."""
        return self.lasso_.predict(self._units(X))

    def _units(self, X):
        """Return the outputs of all neurons, of unit norm."""
        units = []
        for part in self.parts_:
            weights, bias = part.coefs_[0], part.intercepts_[0]
            norms = np.abs(weights).sum(axis=0) + np.abs(bias)
            units.append(np.maximum(0.0, X @ weights + bias) / norms)
        return np.hstack(units)


def bags_of(plain, classify, *args, **params):
    """Return bags of networks."""
    bags = BaggingClassifier if classify else BaggingRegressor
    return bags(plain, *args, random_state=0, **params)


def folds_of(plain, classify):
    """Return five networks of four fifths of the rows each, and their mean."""
    return bags_of(plain, classify, 5, max_samples=0.8, bootstrap=False)


def calibrated(method):
    """Return what calibrates the probabilities of a classifier, by five folds."""
    return lambda plain, classify: CalibratedClassifierCV(
        plain, method=method, ensemble=False
    )


# Around networks at the alpha that the default recipe chose: what, and for which
# targets, classes being True.
AROUND = {
    "ten bags": (lambda plain, classify: bags_of(plain, classify, 10), (True, False)),
    "mean of five folds": (folds_of, (True, False)),
    "neurons of five folds": (lambda plain, classify: Rejoined(plain), (False,)),
    "calibrated, sigmoid": (calibrated("sigmoid"), (True,)),
    "calibrated, temperature": (calibrated("temperature"), (True,)),
}
# Tables with words of many levels, put back where they are left out elsewhere, and the
# levels from which on words have means of the target in place of a column a level.
MANY_LEVELS = {"sacramento": 30, "telephones": 30, "gapminder": 30, "auto": 30}
MANY_LEVELS |= {"houses": 10, "mammals": 10}
TWICE = "l1 twice"
NAMES = [*RECIPES, *CHOICES, TWICE, *AROUND]


def recipe(name, classify, **more):
    """Return an unfitted pipeline."""
    norm, arguments, settings = RECIPES[name]
    arguments = arguments | more
    params = QUICK_PATHS | {"norm": norm}
    if classify:
        network = ConvexReLUClassifierCV(scoring="neg_log_loss", **params)
    else:
        network = ConvexReLURegressorCV(**params)
    return make_table_pipeline(network, **arguments).set_params(**settings)


def twice(classify):
    """Return the pipeline that trains on what a first network finds to matter."""
    pipeline = recipe("clipped, l1", classify)
    select = SelectFromModel(clone(pipeline[-1]), threshold="mean")
    pipeline.steps.insert(1, ("select", select))
    return pipeline


def words(names):
    """Return a table: words of many levels as means of the target, or as levels."""
    rows = []
    for name in names:
        loader = (REAL | CLASSES | FRESH)[name]
        X, y = (replace(loader, drop="") if MANY_LEVELS[name] == 30 else loader)()
        data, row = DataSet(name, X, y), {"data": name}
        for kind, most in (("means", MANY_LEVELS[name]), ("levels", 1000)):
            training, beside = divided(data)
            model = recipe(DEFAULT, beside[-1], max_levels=most)
            fitted, result = fit(model, training, beside)
            row[kind] = f"{result['loss']:.4f}"
            row[f"{kind}, CV"] = f"{_best_score(fitted):.4f}"
            row[f"{kind}, CPU s"] = float(result["cpu"])
        rows.append(row)
    return markdown(rows)


def divided(data, rows=ROWS):
    """Return rows to train, and others with whether the target is classes."""
    classify = data.name in CLASSES
    train, test = divide(data.y, rows, 0, classify)
    training = data.X.iloc[train].reset_index(drop=True), data.y[train]
    return training, (data.X.iloc[test], data.y[test], classify)


def around_chosen(fitted, make, classify):
    """Return bags of, or calibration around, networks at the alpha that CV chose."""
    network = fitted[-1]
    plain = ConvexReLUClassifier if classify else ConvexReLURegressor
    plain = plain(
        network.alpha_,
        relative_alpha=False,
        norm="l1",
        tol=QUICK_PATHS["tol"],
        random_state=0,
    )
    columns = clone(fitted[0])
    return Pipeline([("columns", columns), ("model", make(plain, classify))])


def measure(data):
    """Return a result a recipe: loss, error and CPU seconds, of all that it takes."""
    training, beside = divided(data)
    classify, fitted, results = beside[-1], {}, {}
    for name in RECIPES:
        fitted[name], results[name] = fit(recipe(name, classify), training, beside)
    for name, models in CHOICES.items():
        chosen = max(models, key=lambda m: _best_score(fitted[m]))
        cpu = sum(results[m]["cpu"] for m in models)
        results[name] = results[chosen] | {"cpu": cpu}
    results[TWICE] = fit(twice(classify), training, beside)[1]
    for name, (make, kinds) in AROUND.items():
        if classify in kinds:
            model = around_chosen(fitted[DEFAULT], make, classify)
            results[name] = fit(model, training, beside)[1]
            results[name]["cpu"] += results[DEFAULT]["cpu"]
    return results


def _best_score(model):
    return np.nanmax(model[-1].cv_results_["mean_test_score"])


def fit(model, training, beside):
    """Fit a model; return it, and its losses on other rows with its CPU seconds."""
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(*training)
        cpu = time.process_time() - begin
        return model, {"cpu": cpu, **measured(model, *beside)}


def main():
    """Measure the tables and print, or publish, what comes."""
    flags = {
        "resume": {"action": "store_true", "help": "keep the tables of the last run"},
        "cached": {"action": "store_true", "help": "publish these and run nothing"},
        "words": {"action": "store_true", "help": "words of many levels, and no more"},
    }
    options = parse(__doc__, TABLES, TABLES[:2], **flags)
    if options.words:
        print(words(MANY_LEVELS))
        return
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
    for name in NAMES:
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
        rows.append({"data": name, "loss": kind} | {k: "" for k in NAMES} | shown)
    return markdown(rows)


LEGEND = f"""{ROWS} rows to train (at most seven tenths), at most 5000 to test, one
split. Ratios to "{PLAIN}" are geometric means. Recipes from "tails" on are the
default one but for what they are called. "By CV" fits both and takes the one of the
better mean score over the folds. "{TWICE}" trains on the columns of more than the mean
importance. Bags, means of networks of four fifths of the rows, the convex programme
over all neurons of such (targets of numbers only) and calibration are around networks
at the alpha that the default recipe chose. CPU is of all that a recipe takes."""


if __name__ == "__main__":
    main()
