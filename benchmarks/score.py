"""Score: held-out R2 of the certified network beside three tuned rivals.

Five-fold R2, every model tuned by an inner three-fold grid on the training part, in
the same pipeline: impute, standardise, one-hot; target standardised. Ours runs at most
20 rounds, as MLPRegressor runs at most 500 epochs. Of larger data sets a random part is
used. Small ones come first; Ctrl-C publishes what is done, --resume goes on from there.
"""

import json
from collections import Counter
from statistics import mean

import numpy as np
from joblib import Parallel, delayed
from scipy.stats import rankdata
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from benchmarks.datasets import REAL, DataSet, available, preprocessor
from benchmarks.report import RESULTS, markdown, parse, publish, timed_fit
from sklearn_convexrelu import ConvexReLURegressor

DATA = ("friedman1", "friedman2", "friedman3", *REAL)
QUICK = ("diabetes", "auto")
OURS, RIVAL = "ours", "MLP"

# Model -> grid; ours and the rival have as many candidates.
MODELS = {
    OURS: (
        ConvexReLURegressor(tol=1e-2, max_iter=20, random_state=0),
        {"alpha": [0.1, 0.03, 0.01, 0.003, 0.001, 0.0003]},
    ),
    RIVAL: (
        MLPRegressor(max_iter=500, random_state=0),
        {"alpha": [0.01, 0.3, 10.0], "hidden_layer_sizes": [(100,), (50, 50)]},
    ),
    "SVR": (SVR(), {"C": [1, 10, 100], "gamma": ["scale", 0.01]}),
    "boosting": (
        HistGradientBoostingRegressor(random_state=0),
        {"learning_rate": [0.05, 0.1], "min_samples_leaf": [5, 20]},
    ),
}
CACHE = RESULTS / "score.jsonl"  # every finished fit, for --resume

FOLDS = KFold(5, shuffle=True, random_state=0)


def main():
    """Score every model on every fold, then publish the tables."""
    options = parse(
        __doc__,
        DATA,
        QUICK,
        resume={"action": "store_true", "help": "keep the fits of the last run"},
        rows={"type": int, "default": 1000, "help": "most rows of a data set to use"},
        jobs={"type": int, "default": 2, "help": "processes, one fit each"},
    )
    sets = [part(data, options.rows) for data in available(options.names)]
    sets.sort(key=lambda data: data.X.size)
    results = read_cache() if options.resume else []
    try:
        run(sets, options.jobs, results)
    except KeyboardInterrupt:
        print("Interrupted: publishing what is done.")
    done = [data for data in sets if is_complete(data, results)]
    text = tables(done, results)
    if left := [data.name for data in sets if not is_complete(data, results)]:
        text += f"\n\nNot finished in this run: {', '.join(left)}."
    publish("score", "Score", text, options.partial)


def is_complete(data, results):
    """Tell whether every model was scored on every fold of a data set."""
    scored = sum(result["data"] == data.name for result in results)
    return scored == len(MODELS) * FOLDS.n_splits


def part(data, n_rows):
    """Return the data set, or ``n_rows`` random rows of a larger one."""
    rows = np.random.default_rng(0).permutation(len(data.y))[:n_rows]
    return DataSet(data.name, data.X.iloc[rows], data.y[rows])


def run(sets, n_jobs, results):
    """Add to ``results`` those of all fits that they lack, caching each."""
    known = {(r["data"], r["model"], r["fold"]) for r in results}
    tasks = [
        delayed(evaluate)(data, model, fold)
        for data in sets
        for model in MODELS
        for fold in range(FOLDS.n_splits)
        if (data.name, model, fold) not in known
    ]
    RESULTS.mkdir(exist_ok=True)
    with CACHE.open("a" if results else "w") as cache:
        for result in Parallel(n_jobs, return_as="generator_unordered")(tasks):
            print(json.dumps(result), file=cache, flush=True)
            print("{data}, {model}, fold {fold}: {r2:.3f}".format(**result))
            results.append(result)


def read_cache():
    """Return the results of the last run, however far it came."""
    return [json.loads(line) for line in CACHE.open()] if CACHE.exists() else []


def evaluate(data, model, fold):
    """Tune and fit one model on one fold; return its result, ready for JSON."""
    train, test = list(FOLDS.split(data.X))[fold]
    tuned = tuned_model(model)
    seconds, unconverged = timed_fit(tuned, data.X.iloc[train], data.y[train])
    return {
        "data": data.name,
        "model": model,
        "fold": fold,
        "r2": tuned.score(data.X.iloc[test], data.y[test]),
        "chosen": {
            name.removeprefix("model__"): value
            for name, value in tuned.regressor_.best_params_.items()
        },
        "seconds": seconds,
        "unconverged": unconverged,
    }


def tuned_model(name):
    """Return a model with its preprocessing and its grid."""
    estimator, grid = MODELS[name]
    steps = Pipeline([("prepare", preprocessor()), ("model", clone(estimator))])
    grid = {f"model__{parameter}": values for parameter, values in grid.items()}
    search = GridSearchCV(steps, grid, cv=KFold(3, shuffle=True, random_state=0))
    return TransformedTargetRegressor(search, transformer=StandardScaler())


def tables(sets, results):
    """Return the report's text: scores, totals, and where ours loses."""
    names = {data.name for data in sets}
    results = [result for result in results if result["data"] in names]
    scores = {
        data.name: [mean_of(results, "r2", data=data.name, model=m) for m in MODELS]
        for data in sets
    }
    rows = [
        {"data": data.name, "n": data.X.shape[0], "columns": data.X.shape[1]}
        | dict(zip(MODELS, map("{:.3f}".format, scores[data.name]), strict=True))
        for data in sets
    ]
    return "\n\n".join(
        [
            markdown(rows),
            markdown(totals(np.array(list(scores.values())), results)),
            losses(scores),
            "Alpha chosen by the inner grid: " + choices(results) + ".",
            "Win: a higher mean over folds than ours has. Unconverged: warnings in "
            "all fits of the searches.",
        ]
    )


def totals(scores, results):
    """Return one row a model: how it did over all data sets."""
    ranks = np.apply_along_axis(rankdata, 1, -scores)
    unconverged = Counter()
    for result in results:
        unconverged[result["model"]] += result["unconverged"]
    return [
        {
            "model": model,
            "mean R2": f"{scores[:, k].mean():.4f}",
            "median R2": f"{np.median(scores[:, k]):.4f}",
            "mean rank": f"{ranks[:, k].mean():.2f}",
            "wins": int((scores[:, k] > scores[:, 0]).sum()) if k else "",
            "ours wins": int((scores[:, k] < scores[:, 0]).sum()) if k else "",
            "mean s a search": mean_of(results, "seconds", model=model),
            "unconverged": sum(
                r["unconverged"] for r in results if r["model"] == model
            ),
        }
        for k, model in enumerate(MODELS)
    ]


def losses(scores):
    """Return a sentence that names the data sets where the rival is ahead."""
    behind = {name: s[1] - s[0] for name, s in scores.items() if s[1] > s[0]}
    worst_first = sorted(behind, key=behind.get, reverse=True)
    names = ", ".join(f"{name} (by {behind[name]:.3f})" for name in worst_first)
    return f"Ours loses to the tuned {RIVAL} on: {names or 'none'}."


def choices(results):
    """Return how often each alpha of ours was the one chosen."""
    counts = Counter(r["chosen"]["alpha"] for r in results if r["model"] == OURS)
    return ", ".join(f"{alpha} ({counts[alpha]})" for alpha in sorted(counts))


def mean_of(results, key, **where):
    """Return the mean of ``key`` over the results that match."""
    return mean(
        r[key] for r in results if all(r[k] == value for k, value in where.items())
    )


if __name__ == "__main__":
    main()
