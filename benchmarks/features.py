"""Features that do not matter: held-out scores, importances and times of both norms.

friedman1 with 200 samples and noise of one has five features that matter among 20, 50
and 100. Every seed is a table of its own, scored on 2000 further rows. Seconds are CPU
seconds of one thread. "l1 twice" is fitted again on the features that the first fit
finds more important than the mean, ``SelectFromModel(..., threshold="mean")``.
"""

import warnings
from time import process_time

import numpy as np
from sklearn.base import clone
from sklearn.datasets import make_friedman1
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import LassoCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.report import markdown, parse, publish
from sklearn_convexrelu import (
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    enumerate_patterns,
)

N_TRAIN, N_TEST, N_TRUE = 200, 2000, 5
WIDTHS = (20, 50, 100)
ALPHAS = (0.1, 0.03, 0.01)
TOL = 1e-3  # of fits of small problems
SLACK = 1e-6  # of the loss of the best constant, to which their optimum is known


def twice(seed):
    """Return a pipeline that selects features by one fit and has another on them."""
    model = ConvexReLURegressorCV(norm="l1", random_state=seed)
    return make_pipeline(SelectFromModel(model, threshold="mean"), clone(model))


RIVALS = {
    "l1": lambda seed: ConvexReLURegressorCV(norm="l1", random_state=seed),
    "l1 twice": twice,
    "l2": lambda seed: ConvexReLURegressorCV(norm="l2", random_state=seed),
    "boosting": lambda seed: HistGradientBoostingRegressor(random_state=seed),
    "LassoCV": lambda seed: LassoCV(cv=5),
}


def main():
    """Make the tables asked for."""
    options = parse(__doc__, TABLES, TABLES)
    parts = []
    for name in options.names:
        heading, rows = TABLES[name](2 if options.quick else 20)
        parts.append(f"## {heading}\n\n{markdown(rows)}")
        print(parts[-1], flush=True)
    publish(
        "features", "Features", "\n\n".join([__doc__.strip(), *parts]), options.partial
    )


def table_of(d, seed):
    """Return standardised training and test rows of one seed."""
    X, y = make_friedman1(N_TRAIN + N_TEST, n_features=d, noise=1.0, random_state=seed)
    X = StandardScaler().fit(X[:N_TRAIN]).transform(X)
    return X[:N_TRAIN], y[:N_TRAIN], X[N_TRAIN:], y[N_TRAIN:]


def scores(n_seeds):
    """Return held-out R2 by number of columns, and how often the right five lead."""
    rows = []
    for d in WIDTHS:
        for name, make in RIVALS.items():
            rows.append({"columns": d, "model": name, **judged(make, d, n_seeds)})
            print(rows[-1], flush=True)
    heading = f"Held-out R2, and seeds of {n_seeds} with the right five first"
    return heading, rows


def judged(make, d, n_seeds):
    """Return what one model scores over seeds."""
    R2, right, seconds = [], 0, 0.0
    for seed in range(n_seeds):
        X, y, X_test, y_test = table_of(d, seed)
        started = process_time()
        model = make(seed).fit(X, y)
        seconds += process_time() - started
        R2.append(model.score(X_test, y_test))
        importances = getattr(model, "feature_importances_", None)
        if importances is None:
            importances = np.abs(getattr(model, "coef_", np.full(d, np.nan)))
        first = np.argsort(-importances)[:N_TRUE]
        right += set(first) == set(range(N_TRUE))
        tells = not np.isnan(importances).any()
    return {
        "mean R2": f"{np.mean(R2):.3f}",
        "median": f"{np.median(R2):.3f}",
        "least": f"{np.min(R2):.3f}",
        "right five": right if tells else "",
        "CPU s": f"{seconds / n_seeds:.1f}",
    }


def times(n_seeds):
    """Return CPU seconds of fits of both norms at equal n, d, alpha and gap."""
    rows, n_seeds = [], max(n_seeds // 4, 1)
    for d in (10, *WIDTHS):
        for alpha in ALPHAS:
            row = {"columns": d, "alpha": f"{alpha:g}"}
            medians = [
                np.median([fit_time(norm, d, alpha, seed) for seed in range(n_seeds)])
                for norm in ("l1", "l2")
            ]
            row |= {"l1": f"{medians[0]:.2f}", "l2": f"{medians[1]:.2f}"}
            rows.append(row | {"ratio": f"{medians[0] / medians[1]:.2f}"})
    return f"Median CPU seconds of a fit, tol=1e-3, {n_seeds} seeds", rows


def fit_time(norm, d, alpha, seed):
    """Return the seconds of one fit."""
    X, y = table_of(d, seed)[:2]
    started = process_time()
    ConvexReLURegressor(alpha, norm=norm, random_state=seed).fit(X, y)
    return process_time() - started


def problems(n_seeds):
    """Hold small problems against their full programmes, solved by CVXPY."""
    n_problems = 25 * n_seeds
    found = [small_problem(seed) for seed in range(n_problems)]
    objectives, bounds, proofs, kinds = zip(*found, strict=True)
    return f"{n_problems} small problems against their full programmes in CVXPY", [
        {
            "what": "objective below the optimum",
            "worst": f"{-min(objectives):.1e}",
            "violations": sum(excess < -SLACK for excess in objectives),
        },
        {
            "what": "objective above the optimum by more than the tolerance",
            "worst": f"{max(objectives):.1e}",
            "violations": sum(excess > TOL + SLACK for excess in objectives),
        },
        {
            "what": "bound above the optimum",
            "worst": f"{max(bounds):.1e}",
            "violations": sum(excess > SLACK for excess in bounds),
        },
        {
            "what": "proven bound, or that of certify, above the optimum",
            "worst": f"{max(proofs):.1e}",
            "violations": sum(excess > SLACK for excess in proofs),
        },
        {"what": "certificates of kind exact", "worst": "", "violations": sum(kinds)},
    ]


def small_problem(seed):
    """Return excesses over the optimum, in losses of the best constant."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(5, 10)), int(rng.integers(1, 4))
    X = rng.standard_normal((n, d)) * rng.lognormal(size=d)
    y = np.abs(X[:, 0]) / X[:, 0].std() + 0.5 * rng.standard_normal(n)
    alpha = float(10.0 ** rng.uniform(-2.0, -0.2))
    patterns = "exact" if seed % 2 else "adaptive"
    model = ConvexReLURegressor(
        alpha, norm="l1", patterns=patterns, tol=TOL, random_state=seed
    ).fit(X, y)
    best, scale = full_programme(X, y, model.alpha_), y.var() / 2
    proofs = [model.certificate_.proven_lower_bound]
    if model.certificate_.kind == "priced":
        proofs.append(model.certify(X, y, time_limit=0.5).lower_bound_)
    found = model.objective_, model.lower_bound_, max(proofs)
    excesses = [(value - best) / scale for value in found]
    return *excesses, model.certificate_.kind == "exact"


def full_programme(X, y, alpha):
    """Return the optimum over all cells, with hidden biases and an intercept."""
    import cvxpy as cp

    A = np.column_stack([X, np.ones(len(X))])
    D = enumerate_patterns(A)[0].T
    V = [cp.Variable((A.shape[1], D.shape[1])) for _ in range(2)]
    parts = [cp.sum(cp.multiply(D, A @ part), axis=1) for part in V]
    F = parts[0] - parts[1] + cp.Variable()
    cones = [cp.multiply(2 * D - 1, A @ part) >= 0 for part in V]
    penalty = sum(cp.sum(cp.abs(part)) for part in V)
    value = cp.sum_squares(F - y) / (2 * len(X)) + alpha * penalty
    return cp.Problem(cp.Minimize(value), cones).solve(solver=cp.CLARABEL)


TABLES = {"scores": scores, "times": times, "problems": problems}

if __name__ == "__main__":
    warnings.simplefilter("ignore", ConvergenceWarning)
    main()
