"""Certificates: what each kind proves on real data, and what it costs.

Five tables: fits finished by the programme over cells; gaps by kind of certificate;
"priced" gaps judged by a search many times as hard; neurons before and after pruning;
time and guarantees of low-rank training. Seconds are CPU seconds of one thread.
"""

import warnings
from time import process_time

import numpy as np
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

from benchmarks.datasets import available, load, standardised
from benchmarks.reference import WideNetwork, network_objective, train_wide_network
from benchmarks.report import markdown, parse, publish
from sklearn_convexrelu import ConvexReLUClassifier, ConvexReLURegressor
from sklearn_convexrelu.adaptive.loop import AdaptiveSolver
from sklearn_convexrelu.certificates.certificate import (
    dual_point,
    lower_bound,
    price_bound,
)
from sklearn_convexrelu.certificates.relaxation.search import semidefinite_bound
from sklearn_convexrelu.data.statement import state_problem
from sklearn_convexrelu.model.losses import Logistic, Softmax, SquaredError
from sklearn_convexrelu.pricing.search import Effort, Pricer
from sklearn_convexrelu.training import Training, largest_alpha, train

SECONDS = 30.0  # of branching into regions, the root included
MAX_REGIONS = 1000
JUDGE = Effort(n_batches=40, n_hops=40, n_steps=40)
PRICED = [  # data, alpha, tol
    ("diabetes", 0.03, 1e-3),
    ("friedman1", 0.03, 1e-3),
    ("diabetes", 0.01, 1e-2),
    ("diabetes", 0.001, 1e-2),
    ("concrete", 0.01, 1e-2),
    ("concrete", 0.001, 1e-2),
    ("friedman1", 0.001, 1e-2),
    ("friedman1 1503x5", 0.001, 1e-2),
    ("babies", 0.01, 1e-2),
    ("babies", 0.003, 1e-2),
    ("babies", 0.001, 1e-2),
]
N_RANDOM = 500  # problems of the count of violations
SLACK = 1e-5  # of the optimum, to which it is known


def main():
    """Make the tables asked for; fail where a bound or a guarantee is violated."""
    options = parse(__doc__, TABLES, TABLES)
    reports, violations = [], 0
    for name in options.names:
        rows, heading, broken = TABLES[name](options.quick)
        tables = rows if isinstance(rows[0], list) else [rows]
        reports.append("\n\n".join([f"## {heading}", *map(markdown, tables)]))
        print(reports[-1], flush=True)
        violations += broken
    text = "\n\n".join(reports) + f"\n\nBounds or guarantees violated: {violations}."
    publish("certificates", "Certificates", text, options.partial)
    raise SystemExit(bool(violations))


def finish(quick):
    """Compare plain and finished fits with descent on a wide network."""
    X, y = standardised(load("diabetes"))
    constant = y @ y / (2 * len(y))
    rows, broken = [], 0
    for alpha in (0.3,) if quick else (0.3, 0.1, 0.03):
        fits = []
        for seed in range(1 if quick else 3):
            for tol in (1e-3, 1e-5):
                model = ConvexReLURegressor(
                    alpha=alpha, tol=tol, fit_intercept=False, random_state=seed
                )
                seconds = timed(model.fit, X, y)[1]
                objective = network_objective(
                    model.coefs_, model.intercepts_, X, y, model.alpha_
                )
                fits.append((model, objective, seconds))
        rival, rival_seconds = timed(descent, X, y, model.alpha_)
        best = min(rival, *(objective for _, objective, _ in fits))
        for model, objective, seconds in fits:
            broken += model.certificate_.proven_lower_bound > best
            rows.append(
                {
                    "alpha": alpha,
                    "seed": model.random_state,
                    "tol": f"{model.tol:g}",
                    "objective": f"{objective:.8f}",
                    "above the best known": f"{(objective - best) / constant:.1e}",
                    "gap (priced)": f"{model.dual_gap_ / constant:.1e}",
                    "neurons": model.n_neurons_,
                    "s": seconds,
                    "L-BFGS, best of 2": f"{rival:.8f}",
                    "s (both)": rival_seconds,
                }
            )
    heading = "Finish: diabetes, no output intercept, relative to the best constant"
    return rows, heading, broken


def descent(X, y, alpha):
    """Return the best objective of two runs of L-BFGS on 300 units."""
    wide = WideNetwork(X, y, alpha, fit_intercept=False)
    return min(train_wide_network(wide, seed) for seed in range(2))


def by_kind(quick):
    """Compare the gaps, relative to the objective, that the kinds of bounds leave."""
    rows, broken = [], 0
    cases = [("diabetes, bmi and bp", 0.1), ("diabetes", 0.1)]
    if not quick:
        names = "diabetes, bmi and bp", "diabetes", "breast cancer"
        cases = [(name, alpha) for name in names for alpha in (0.1, 0.03)]
        cases[4:4] = [("diabetes", 0.01)]
        cases.append(("wine", 0.1))
    for name, alpha in cases:
        X, y, kind, problem = CASES[name]()
        model = kind(alpha=alpha, random_state=0)
        seconds = timed(model.fit, X, y)[1]
        problem = problem.with_alpha(model.alpha_)
        options = {"max_regions": MAX_REGIONS, "time_limit": 5.0 if quick else SECONDS}
        split, split_seconds = timed(
            semidefinite_bound, problem, model.network_, **options
        )
        root = [entry for entry in split.history if entry[1] == 1][-1]
        N = dual_point(problem, model.network_.forward(problem.X))
        norms = lower_bound(problem, N, price_bound(problem, N))
        certificate, objective = model.certificate_, model.objective_
        bounds = norms, root[2], split.lower_bound, certificate.proven_lower_bound
        broken += max(bounds) > objective
        rows.append(
            {
                "data": name,
                "n": len(X),
                "d": X.shape[1],
                "alpha": alpha,
                "kind": certificate.kind,
                "its gap": gap(objective, certificate.lower_bound),
                "fit, s": seconds,
                "norm bound": gap(objective, bounds[0]),
                "semidefinite": gap(objective, bounds[1]),
                "s": root[0],
                "with regions": gap(objective, bounds[2]),
                "regions": split.n_regions,
                "s (regions)": split_seconds,
            }
        )
    fixed = [restricted(*case) for case in cases if "wine" not in case[0]]
    return [rows, fixed], "Gaps by kind, relative to the objective", broken


def restricted(name, alpha):
    """Fit over random patterns; return the gap there, and that over all networks."""
    X, y, kind, _ = CASES[name]()
    model = kind(alpha=alpha, patterns="random", n_patterns=100, random_state=0)
    seconds = timed(model.fit, X, y)[1]
    certificate = model.certificate_
    over_all = certificate.over_all
    return {
        "data, 100 random patterns": name,
        "alpha": alpha,
        "neurons": model.n_neurons_,
        "fit, s": seconds,
        "restricted": gap(certificate.objective, certificate.lower_bound),
        "over_all": gap(over_all.objective, over_all.lower_bound),
        "kind of over_all": over_all.kind,
        "proven over_all": gap(over_all.objective, over_all.proven_lower_bound),
    }


def priced(quick):
    """Judge "priced" gaps by a search of many more starts, hops and steps."""
    cases, n_seeds = PRICED[:2] if quick else PRICED, 1 if quick else 4
    rows, broken = [], 0
    for name, alpha, tol in cases:
        X, y = standardised(load(name))
        problem = stated(X, y[:, None], SquaredError())
        problem = problem.with_alpha(alpha * largest_alpha(problem))
        runs = [judged(problem, tol, seed) for seed in range(n_seeds)]
        unit = tol * problem.loss_scale()
        bounds, objectives, gaps, true_gaps = np.array(runs).T
        above = (bounds.max() - objectives.min()) / unit
        broken += above > 1.0
        rows.append(
            {
                "data": name,
                "alpha": alpha,
                "tol": tol,
                "gap": gaps.mean() / unit,
                "judged": true_gaps.mean() / unit,
                "largest judged": true_gaps.max() / unit,
                "objectives differ by": np.ptp(objectives) / unit,
                "bounds above the best objective by": max(above, 0.0),
            }
        )
    return rows, "Priced gaps in tolerances, judged by a harder search", broken


def judged(problem, tol, seed):
    """Return bound, objective and gap of a fit, and its gap at the price of JUDGE."""
    solution, _ = timed(train, Training.of(problem, AdaptiveSolver(tol=tol, seed=seed)))
    network = solution.dual_network or solution.network
    N = dual_point(problem, network.forward(problem.X))
    known = np.hstack([network.directions()[0], solution.directions])
    rng = np.random.default_rng([seed, 1])
    found = Pricer(problem.X, 1, exact=False).search(N, known, JUDGE, rng)
    certificate = solution.certificate
    bound = lower_bound(problem, N, max(found.best, certificate.price))
    objective = problem.objective(solution.network)
    return certificate.lower_bound, objective, certificate.gap, objective - bound


def pruned(quick):
    """Count neurons before and after pruning, and what that changes."""
    names = ["diabetes"] if quick else ["diabetes", "concrete", "friedman1"]
    cases = [(data.name, *standardised(data)) for data in available(names)]
    if not quick:
        name, X, y = cases[-1]
        cases.insert(1, ("friedman1 n=300", X[:300], y[:300]))
    X, y = cases[0][1:]
    cases.append(("diabetes, bmi and bp, n=40", X[:40, 2:4], y[:40]))
    rows, broken = [], 0
    for name, X, y in cases:
        kinds = {"ReLU": {}}
        if X.shape[1] == 2:
            kinds["gated, all patterns"] = {"patterns": "exact"}
            # Its interior point ends at a solution with redundant units.
            kinds["gated, all patterns, CVXPY"] = {
                "patterns": "exact",
                "solver": "cvxpy",
            }
        elif not name.startswith("friedman1"):
            kinds["gated, 200 patterns"] = {"patterns": "random", "n_patterns": 200}
        for kind, params in kinds.items():
            if "patterns" in params:
                params["activation"] = "gated_relu"
            model = ConvexReLURegressor(alpha=1e-3, tol=1e-2, random_state=0, **params)
            fit_seconds = timed(model.fit, X, y)[1]
            before = model.predict(X), model.n_neurons_, model.objective_
            seconds = timed(model.prune, X, y)[1]
            change = np.abs(model.predict(X) - before[0]).max()
            rise = model.objective_ - before[2]
            broken += change > 1e-6 or rise > 1e-9
            rows.append(
                {
                    "data": name,
                    "n": len(X),
                    "model": kind,
                    "before": before[1],
                    "after": model.n_neurons_,
                    "predictions change by": f"{change:.0e}",
                    "objective changes by": f"{rise:.1e}",
                    "fit, s": fit_seconds,
                    "prune, s": seconds,
                }
            )
    return rows, "Pruning: alpha 0.001, tol 0.01", broken


def low_rank(quick):
    """Time rank two against samples and features; count violated guarantees."""
    grids = {
        "n": [(n, 20) for n in (500, 1000, 2000)],
        "d": [(500, d) for d in (10, 40, 160, 640)],
    }
    if quick:
        grids = {name: grid[:2] for name, grid in grids.items()}
    rows, fitted = [], []
    for name, grid in grids.items():
        seconds = []
        for n, d in grid:
            X, y = decaying(n, d)
            runs = []
            for seed in range(1 if quick else 3):
                model = ConvexReLURegressor(alpha=0.1, rank=2, random_state=seed)
                runs.append(timed(model.fit, X, y)[1])
            seconds.append(float(np.median(runs)))
            guarantee = model.low_rank_
            rows.append(
                {
                    "n": n,
                    "d": d,
                    "s": seconds[-1],
                    "factor_before": f"{guarantee.factor_before:.4f}",
                    "factor_after": f"{guarantee.factor_after:.4f}",
                    "kind at rank 2": guarantee.certificate.kind,
                }
            )
        sizes = [n if name == "n" else d for n, d in grid]
        slope = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
        fitted.append({"seconds grow as": f"{name}^{slope:.2f}"})
    counts, broken = guarantees(20 if quick else N_RANDOM)
    return [rows, fitted, counts], "Low rank: alpha 0.1, rank 2", broken


def guarantees(n_problems):
    """Return a table of random problems whose optimum breaks a guarantee: a count."""
    counts = {loss: [0, 0, 0, 0] for loss in LOSSES}
    tightest = dict.fromkeys(LOSSES, 0.0)
    for seed in range(n_problems):
        loss = LOSSES[seed % len(LOSSES)]
        violated, tight = check_guarantee(seed, loss)
        counts[loss] = [
            a + b for a, b in zip(counts[loss], [1, *violated], strict=True)
        ]
        tightest[loss] = max(tightest[loss], tight)
    rows = [
        {
            "loss": loss,
            "problems": count[0],
            "factor_before violated": count[1],
            "factor_after violated": count[2],
            "lower bound above the optimum": count[3],
            "largest part of the excess allowed": f"{tightest[loss]:.2f}",
        }
        for loss, count in counts.items()
    ]
    return rows, sum(sum(count[1:]) for count in counts.values())


def check_guarantee(seed, loss):
    """Return which promises a random problem breaks, and how tight the last one is."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(8, 40)), int(rng.integers(2, 5))
    has_bias = d == 2  # rank three at most, so that the optimum is known
    rank = int(rng.integers(1, min(d, 3)))
    X = rng.standard_normal((n, 2)) @ rng.standard_normal((2, d)) if d == 4 else 0.0
    X = X + 10.0 ** rng.uniform(-3, 0) * rng.standard_normal((n, d)) * (d < 4)
    X = X + np.outer(rng.standard_normal(n), rng.standard_normal(d))
    f = np.abs(X[:, 0]) - 0.5 * X[:, 1] + 0.3 * rng.standard_normal(n)
    y, kind = f, ConvexReLURegressor
    if loss == "poisson":
        y = rng.poisson(np.exp(np.clip(f, -2, 2))) + (np.arange(n) == 0.0)
    elif loss in ("log_loss", "squared_hinge"):
        y, kind = f > np.median(f), ConvexReLUClassifier
        y[:2] = True, False
    params = {
        "loss": loss,
        "tol": 1e-6,
        "hidden_bias": has_bias,
        "fit_intercept": seed % 3 > 0 or loss == "poisson",
        "random_state": 0,
    }
    weights = rng.integers(1, 4, n)
    reduced = kind(alpha=10.0 ** rng.uniform(-1.5, -0.3), rank=rank, **params)
    timed(reduced.fit, X, y, weights)
    full = kind(alpha=reduced.alpha_, relative_alpha=False, **params)
    timed(full.fit, X, y, weights)
    guarantee, optimum = reduced.low_rank_, full.objective_
    slack = SLACK * optimum + full.dual_gap_ + guarantee.certificate.gap
    allowed = [guarantee.factor_before, guarantee.factor_after]
    violated = [reduced.objective_ > optimum * factor + slack for factor in allowed]
    violated.append(reduced.certificate_.proven_lower_bound > optimum + slack)
    excess = (reduced.objective_ - optimum - slack) / optimum
    return violated, max(excess, 0.0) / max(allowed[1] - 1.0, 1e-9)


def decaying(n, d):
    """Return features of scales 1, 1, 0.01, 0.001, ..., and a bumpy target."""
    rng = np.random.default_rng([n, d])
    scores = rng.standard_normal((n, d))
    rotation = np.linalg.qr(rng.standard_normal((d, d)))[0]
    y = np.abs(scores[:, 0]) - np.maximum(scores[:, 1], 0.0)
    powers = np.where(np.arange(d) < 2, 0, np.minimum(np.arange(d), 8))
    return scores * 0.1**powers @ rotation, y + 0.1 * rng.standard_normal(n)


def timed(function, *args, **options):
    """Return what a call returns, and its CPU seconds; fits may end early in peace."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        begin = process_time()
        result = function(*args, **options)
        return result, process_time() - begin


def gap(objective, bound):
    """Return the gap relative to the objective."""
    return f"{(objective - bound) / objective:.1e}"


def stated(X, Y, loss):
    """Return the problem that an estimator with default parameters trains on."""
    weights = np.ones(len(X))
    return state_problem(X, Y, weights, loss, fit_intercept=True, hidden_bias=True)


def diabetes(columns=None):
    """Return features, target, estimator and problem: diabetes, or some columns."""
    data = load("diabetes")
    X, y = standardised(data)
    X = X if columns is None else np.ascontiguousarray(X[:, columns])
    return X, y, ConvexReLURegressor, stated(X, y[:, None], SquaredError())


def breast_cancer():
    """Return the same for breast cancer, two classes."""
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    return X, y, ConvexReLUClassifier, stated(X, y[:, None] + 0.0, Logistic())


def wine():
    """Return the same for wine, three classes."""
    X, y = load_wine(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    return X, y, ConvexReLUClassifier, stated(X, np.eye(3)[y], Softmax())


LOSSES = ["squared_error", "huber", "poisson", "log_loss", "squared_hinge"]
CASES = {
    "diabetes, bmi and bp": lambda: diabetes([2, 3]),
    "diabetes": diabetes,
    "breast cancer": breast_cancer,
    "wine": wine,
}
TABLES = {
    "finish": finish,
    "kinds": by_kind,
    "priced": priced,
    "pruning": pruned,
    "low_rank": low_rank,
}

if __name__ == "__main__":
    main()
