"""Searches of sub-networks judged by exact pricing.

On one feature, and on two columns without a bias, sub-networks of two leaves are priced
exactly. Fits that only search are held against the optimum proven there: how far is the
objective above it, how far the lower bound, without what is taken off bounds for what
searches miss? All in losses of the best constant. A second table has the time of fits
with proofs and of the programme over all cells, listed and generated.
"""

from dataclasses import replace
from time import perf_counter
from unittest import mock

import numpy as np

from benchmarks.report import markdown, parse, publish, quietly
from sklearn_convexrelu import ConvexReLURegressor
from sklearn_convexrelu.adaptive.loop import AdaptiveSolver
from sklearn_convexrelu.certificates.certificate import missed
from sklearn_convexrelu.data.statement import state_problem
from sklearn_convexrelu.model.losses import SquaredError
from sklearn_convexrelu.model.subnetworks import TreeShape
from sklearn_convexrelu.programmes import fixed_patterns
from sklearn_convexrelu.training import Training, largest_alpha, train

N_SEEDS = 2
PENALTIES = {"path": False, "weight decay": True}
TRUTH = 1e-6  # tolerance of the fits that prove the optimum
N_LISTED = 7  # rows up to which all cells are listed beside


def main():
    """Make the tables; fail where a fit without a proof beats one with it."""
    options = parse(__doc__, TABLES, TABLES)
    reports, broken = [], 0
    for name in options.names:
        rows, heading, violated = TABLES[name](options.quick)
        reports.append(f"## {heading}\n\n{markdown(rows)}")
        print(reports[-1], flush=True)
        broken += violated
    text = "\n\n".join(reports) + f"\n\nProven bounds violated: {broken}."
    publish("subnetworks", "Sub-networks", text, options.partial)
    raise SystemExit(bool(broken))


def table(n, seed, kind):
    """Return features and targets of a random problem that wants depth."""
    rng = np.random.default_rng([n, seed])
    X = rng.standard_normal((n, 2 if kind == "two columns" else 1))
    if kind == "heavy tails":
        X = X * np.exp(1.5 * rng.standard_normal(X.shape))
    y = np.sin(2.0 * X[:, 0]) + 0.3 * rng.standard_normal(n) + (X[:, -1] > 0.0)
    return X, (y - y.mean()) / y.std()


def stated(n, seed, kind, decays):
    """Return the Problem of a table at a tenth to a hundredth of its alpha_max."""
    X, y = table(n, seed, kind)
    problem = state_problem(
        X,
        y[:, None],
        np.ones(n),
        SquaredError(),
        fit_intercept=True,
        hidden_bias=kind != "two columns",
    )
    problem = replace(problem, shape=TreeShape((2,), decays))
    return problem.with_alpha((0.1, 0.03, 0.01)[seed % 3] * largest_alpha(problem))


def judged(quick):
    """Hold searching fits against proven optima."""
    rows, broken = [], 0
    kinds = ("one feature", "heavy tails", "two columns")
    for n in (5,) if quick else (5, 15):
        for penalty, decays in PENALTIES.items():
            for tol in (1e-3, 1e-5):
                fits = []
                for seed in range(N_SEEDS):
                    for kind in kinds:
                        problem = stated(n, seed, kind, decays)
                        fits.append(misses(problem, tol, seed))
                fits = np.array(fits)
                broken += int((fits[:, 1] < -1e-9).sum())
                rows.append(row_of(n, penalty, tol, fits))
    return rows, "Searches held against proven optima", broken


def misses(problem, tol, seed):
    """Return of a searching fit what it claims and lacks, in losses of the constant."""
    scale = problem.loss_scale()
    truth = quietly(
        train, Training.of(problem, AdaptiveSolver(tol=TRUTH, seed=0))
    ).certificate
    searching = AdaptiveSolver(tol=tol, seed=seed, proves=False)
    own = quietly(train, Training.of(problem, searching)).certificate
    bound = own.lower_bound
    if bound > own.proven_lower_bound:
        bound += missed(problem)
    above = own.objective - truth.lower_bound
    return np.array([own.objective - bound, above, bound - truth.objective]) / scale


def row_of(n, penalty, tol, fits):
    """Return a row of the table."""
    claimed, lacking, over = fits.T
    return {
        "rows": n,
        "penalty": penalty,
        "tol": f"{tol:g}",
        "fits": len(fits),
        "gap claimed, median": f"{np.median(claimed):.1e}",
        "objective above, largest": f"{lacking.max():.1e}",
        "bound above, largest": f"{max(over.max(), 0.0):.1e}",
        "over 1e-4": int((over > 1e-4).sum()),
        "over 5e-4": int((over > 5e-4).sum()),
        "over 1e-3": int((over > 1e-3).sum()),
    }


def timed(quick):
    """Time proofs, and the programme over all cells, generated and listed."""
    rows, broken = [], 0
    for n in (5,) if quick else (5, 7, 12, 30, 60):
        for penalty in ("path", "weight_decay"):
            X, y = table(n, 0, "one feature")
            options = {"alpha": 0.03, "subnetwork_widths": (2,), "penalty": penalty}
            options |= {"tol": 1e-6, "random_state": 0}
            adaptive, t_adaptive = clocked(options, X, y)
            generated, t_generated = clocked(options | {"patterns": "exact"}, X, y)
            row = {
                "rows": n,
                "penalty": penalty,
                "adaptive, s": t_adaptive,
                "kind": adaptive.certificate_.kind,
                "generated, s": t_generated,
                "gap / tol": f"{generated.dual_gap_ / generated.tolerance_:.2f}",
                "listed, s": "",
                "objectives differ by, / tol": "",
            }
            if n <= N_LISTED:
                with mock.patch.object(fixed_patterns, "serves_pairs", lambda _: False):
                    listed, seconds = clocked(options | {"patterns": "exact"}, X, y)
                differ = generated.objective_ - listed.objective_
                differ /= generated.tolerance_
                broken += abs(differ) > 1.0
                row |= {"listed, s": seconds}
                row |= {"objectives differ by, / tol": f"{differ:.1e}"}
            rows.append(row)
    return rows, "Time of proofs (alpha 0.03, tol 1e-6)", broken


def clocked(options, X, y):
    """Return a fitted estimator and its seconds."""
    begin = perf_counter()
    model = quietly(ConvexReLURegressor(**options).fit, X, y)
    return model, perf_counter() - begin


TABLES = {"judged": judged, "timed": timed}

if __name__ == "__main__":
    main()
