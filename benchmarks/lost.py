"""Tables where ours is behind: what a change of the recipe does there.

Each variant is make_table_pipeline with one thing changed, on the rows of
`benchmarks.tabular`. These tables judge, so nothing is chosen by them: what is found
here says why a table is lost, and no default follows from it.
"""

import json
from dataclasses import replace
from itertools import combinations

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures

from benchmarks.datasets import CLASSES, available
from benchmarks.preparation import ROWS, divided, fit
from benchmarks.report import RESULTS, markdown, parse, publish
from benchmarks.rivals import RIVALS, pipeline
from sklearn_convexrelu import make_table_pipeline

CACHE = RESULTS / "lost.jsonl"


def paired_words(X):
    """Return the table with a column of words for each pair of those that it has."""
    words = X.select_dtypes(exclude="number").astype(str)
    pairs = {
        f"{a} and {b}": words[a] + "|" + words[b] for a, b in combinations(words, 2)
    }
    return X.assign(**pairs)


def logarithms(X):
    """Return the table with counts and amounts, which are never negative, as logs."""
    numbers = X.select_dtypes("number")
    return X.assign(**{c: np.log1p(x) for c, x in numbers.items() if x.min() >= 0})


def _logarithms(classify, columns):
    return make_pipeline(FunctionTransformer(logarithms), _ours(classify))


def _words_in_pairs(classify, columns):
    return make_pipeline(FunctionTransformer(paired_words), _ours(classify))


def _products(classify, columns):
    model = _ours(classify, n_knots=0)
    products = PolynomialFeatures(2, interaction_only=True, include_bias=False)
    model.steps.insert(1, ("products", products))
    return model


def _ours(classify, settings=None, **arguments):
    model = make_table_pipeline("classifier" if classify else "regressor", **arguments)
    return model.set_params(model__random_state=0, **settings or {})


def changed(settings=None, **arguments):
    """Return a variant: arguments of make_table_pipeline, and what is set of it."""
    return lambda classify, columns: _ours(classify, settings, **arguments)


def codes(classify, columns):
    """Return the variant in which all columns are categories."""
    return _ours(classify, categories=list(columns))


WEIGHT = "columns__numbers__bends__weight"
# Sub-networks take about ten times as long: fewer folds and strengths.
THREE = {"model__subnetwork_widths": (3,), "model__cv": 3, "model__n_alphas": 12}
VARIANTS = {
    "as it comes": changed(),
    "no bends": changed(n_knots=0),
    "bends of full weight": changed({WEIGHT: 1.0}),
    "15 bends of full weight": changed({WEIGHT: 1.0}, n_knots=15),
    "tails as they are": changed(tail=None),
    "2-norm": changed({"model__norm": "l2"}),
    "2-norm, no bends": changed({"model__norm": "l2"}, n_knots=0),
    "path_tol=1e-3": changed({"model__path_tol": 1e-3, "model__tol": 1e-3}),
    "three layers": changed(THREE),
    "three layers, no bends": changed(THREE, n_knots=0),
    "a column a level": changed(max_levels=1000),
    "all columns categories": codes,
    "words in pairs": _words_in_pairs,
    "logarithms": _logarithms,
    "products of columns, no bends": _products,
}
# What could be the reason on each, and the one that is ahead there.
TRIED = {
    "bikes": ("RealMLP-TD", ["no bends", "tails as they are", "path_tol=1e-3"]),
    "contraceptive": (
        "RealMLP-TD",
        ["no bends", "2-norm", "all columns categories", "three layers"],
    ),
    "jobs": (
        "HistGB",
        ["bends of full weight", "15 bends of full weight", "words in pairs"]
        + ["logarithms"],
    ),
    "penbased": (
        "RealMLP-TD",
        ["no bends", "2-norm", "tails as they are", "three layers, no bends"],
    ),
    "storms": (
        "CatBoost",
        ["bends of full weight", "15 bends of full weight", "tails as they are"]
        + ["three layers"],
    ),
    "grid": (
        "RealMLP-TD",
        ["no bends", "products of columns, no bends", "three layers, no bends"],
    ),
    "hotels": (
        "CatBoost",
        ["a column a level", "words in pairs", "bends of full weight"]
        + ["tails as they are"],
    ),
    "twonorm": ("SVM", ["no bends", "2-norm", "2-norm, no bends", "tails as they are"]),
    "segment": (
        "HistGB",
        ["bends of full weight", "no bends", "2-norm", "tails as they are"],
    ),
}
# Lost with more rows alone.
MORE_ROWS = {"segment": 3000}
# Columns without which both are fitted too.
WITHOUT = {"storms": ["year", "month", "day"], "hotels": ["agent", "company"]}


def main():
    """Fit what could be the reason on each table, and publish."""
    resume = {"action": "store_true", "help": "keep the fits of the last run"}
    options = parse(__doc__, TRIED, ["bikes"], resume=resume)
    known = []
    if options.resume and CACHE.exists():
        known = [json.loads(line) for line in CACHE.open()]
    with CACHE.open("a" if options.resume else "w") as cache:
        try:
            for data in available(options.names):
                for result in compared(data, known):
                    print(json.dumps(result), file=cache, flush=True)
                    print("{data}, {recipe}: {error:.4f}, {cpu:.1f} s".format(**result))
                    known.append(result)
        except KeyboardInterrupt:
            print("Interrupted: publishing what is done.")
    known.sort(key=lambda r: list(TRIED).index(r["data"]))
    publish("lost", "Tables that are lost", f"{summary(known)}\n\n{LEGEND}", False)


def compared(data, known):
    """Yield the results of the variants, and of the rival, that are not known."""
    rival, tried = TRIED[data.name]
    less = WITHOUT.get(data.name, [])
    runs = [(name, []) for name in ["as it comes", *tried, rival]]
    runs += [(name, less) for name in ("as it comes", rival) if less]
    classify, done = data.name in CLASSES, {(r["data"], r["recipe"]) for r in known}
    for name, less in runs:
        table = replace(data, X=data.X.drop(columns=less))
        training, beside = divided(table, MORE_ROWS.get(data.name, ROWS))
        label = f"{name}, without {', '.join(less)}" if less else name
        if (data.name, label) not in done:
            if name in RIVALS:
                model = pipeline(name, training[0], classify)
            else:
                model = VARIANTS[name](classify, training[0].columns)
            scores = fit(model, training, beside)[1]
            yield {"data": data.name, "recipe": label, **scores}


def summary(results):
    """Return a table: a row a fit."""
    rows = [
        {
            "data": r["data"],
            "recipe": r["recipe"],
            "RMSE / sd, or error": f"{r['error']:.4f}",
            "log loss": f"{r['loss']:.4f}" if r["data"] in CLASSES else "",
            "CPU s": float(r["cpu"]),
        }
        for r in results
    ]
    return markdown(rows)


LEGEND = f"""{ROWS} rows to train (segment: {MORE_ROWS["segment"]}; at most seven
tenths), at most 5000 to test, the split of `benchmarks.tabular`. After the variants
comes the rival that is ahead. Three layers are sub-networks of three neurons, alpha by
three folds of twelve strengths."""


if __name__ == "__main__":
    main()
