"""What ``certify`` proves by when: two layers and sub-networks, and many rows.

Shares of the objective of a default fit that are proven after so many CPU seconds of
one thread, beside what is proven of the fit without them ("norms"): on the diabetes
data, and on tables drawn at random, of many rows or columns.
"""

import resource
import time
from dataclasses import replace
from unittest import mock

import numpy as np

from benchmarks.certificates import diabetes, gap
from benchmarks.report import markdown, parse, publish, quietly
from sklearn_convexrelu import ConvexReLUClassifier, ConvexReLURegressor
from sklearn_convexrelu.certificates.relaxation.search import semidefinite_bound
from sklearn_convexrelu.data.statement import state_problem
from sklearn_convexrelu.model.losses import Logistic, Softmax, SquaredError
from sklearn_convexrelu.model.subnetworks import TreeShape

MAX_REGIONS = 64  # as ``certify``
CURVES = {
    "layers": (1.0, 3.0, 10.0, 60.0),
    "trees": (3.0, 10.0, 40.0),
    "many": (10.0, 30.0),
}
MANY = [(2000, 20, 1), (100_000, 20, 1), (5000, 200, 1), (20_000, 20, 2), (5000, 10, 3)]
TREES = [
    ((2,), "path", 0.3),
    ((2,), "path", 0.1),
    ((2,), "weight_decay", 0.3),
    ((3,), "path", 0.3),
    ((3,), "path", 0.1),
]


def main():
    """Make the tables asked for; fail where a bound is above the objective."""
    options = parse(__doc__, TABLES, TABLES)
    reports, violations = [], 0
    for name in options.names:
        rows, heading = TABLES[name](options.quick)
        violations += sum(row.pop("violated") for row in rows)
        reports.append(f"## {heading}\n\n{markdown(rows)}")
        print(reports[-1], flush=True)
    text = "\n\n".join(reports) + f"\n\nBounds violated: {violations}."
    publish("proofs", "Proofs", text, options.partial)
    raise SystemExit(bool(violations))


def layers(quick):
    """Return the table of two layers."""
    rows = []
    for alpha in (0.1,) if quick else (0.1, 0.03):
        row = proven(alpha, {}, None, CURVES["layers"][: 2 if quick else None])
        rows.append({"relative alpha": alpha} | row)
    return rows, "Two layers"


def trees(quick):
    """Return the table of sub-networks."""
    rows = []
    for widths, penalty, alpha in TREES[:1] if quick else TREES:
        options = {"subnetwork_widths": widths, "penalty": penalty}
        shape = TreeShape(widths, penalty == "weight_decay")
        curve = CURVES["trees"][: 2 if quick else None]
        row = proven(alpha, options, shape, curve)
        case = {"widths": str(widths), "penalty": penalty, "relative alpha": alpha}
        rows.append(case | row)
    return rows, "Sub-networks"


def many(quick):
    """Return the table of many rows or columns, two classes and three among them."""
    rows = []
    for n, d, n_classes in MANY[:1] if quick else MANY:
        row = proven(0.1, {}, None, CURVES["many"], drawn(n, d, n_classes))
        case = {"rows": n, "columns": d, "classes": n_classes if n_classes > 1 else ""}
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        rows.append(case | row | {"largest memory so far, MB": used})
    return rows, "Many rows or columns, drawn at random (relative alpha 0.1)"


def drawn(n, d, n_classes):
    """Return features, targets, estimator and problem of a random table."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    f = np.tanh(X @ rng.standard_normal((d, 3)) * 2.0 / np.sqrt(d)).sum(axis=1)
    f += 0.5 * rng.standard_normal(n)
    kind, y, Y, loss = ConvexReLURegressor, f, f[:, None], SquaredError()
    if n_classes > 1:
        kind, ends = ConvexReLUClassifier, np.arange(1, n_classes) / n_classes
        y = np.digitize(f, np.quantile(f, ends))
        binary = n_classes == 2
        Y = (y > 0.0)[:, None] + 0.0 if binary else np.eye(n_classes)[y]
        loss = Logistic() if binary else Softmax()
    options = {"fit_intercept": True, "hidden_bias": True}
    return X, y, kind, state_problem(X, Y, np.ones(n), loss, **options)


def proven(alpha, options, shape, curve, data=None):
    """Return what is proven of a fit by when."""
    X, y, kind, problem = data or diabetes()
    model = quietly(kind(alpha, random_state=0, **options).fit, X, y)
    problem = problem.with_alpha(model.alpha_)
    if shape is not None:
        problem = replace(problem, shape=shape)
    weak = model.certificate_.proven_lower_bound / model.objective_
    row = {"gap": gap(model.objective_, model.lower_bound_), "norms": f"{weak:.3f}"}
    # By the clock seconds would tell how busy the machine is.
    with mock.patch.object(time, "perf_counter", time.process_time):
        bound = semidefinite_bound(
            problem, model.network_, max_regions=MAX_REGIONS, time_limit=curve[-1]
        )
    for limit in curve:
        values = [value for seconds, _, value in bound.history if seconds <= limit]
        row[f"{limit:g} s"] = f"{max(values, default=0.0) / model.objective_:.3f}"
    return row | {"violated": int(bound.lower_bound > model.objective_)}


TABLES = {"layers": layers, "trees": trees, "many": many}

if __name__ == "__main__":
    main()
