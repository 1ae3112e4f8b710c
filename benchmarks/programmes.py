"""Programmes over fixed patterns: our solvers beside those that users have today.

Each solver gets the same data, patterns and penalty (squared loss, no intercept) and is
timed to a relative suboptimality: the first point, recomputed outside of it, whose
objective is within that of the best known one. Solvers without a trace are run at
tighter and tighter settings. The gap is our own certificate of what it returned.
"""

import warnings
from dataclasses import replace
from pathlib import Path
from time import process_time

import numpy as np

from benchmarks.report import markdown, parse, publish
from sklearn_convexrelu.model.losses import SquaredError
from sklearn_convexrelu.model.problem import Problem
from sklearn_convexrelu.programmes.cvxpy_backend import CvxpyBackend
from sklearn_convexrelu.programmes.fista import Fista
from sklearn_convexrelu.programmes.group_lasso import Blocks, GroupLasso
from sklearn_convexrelu.programmes.interior_point import InteriorPoint

PEERS = Path(__file__).parents[2] / "shared" / "data" / "peers"
NAMES = ("diabetes", "breast_cancer")
PATTERNS = {"gated": (30, 200), "ReLU": (30, 100, 200)}
CASES = [(name, p, kind) for name in NAMES for kind, ps in PATTERNS.items() for p in ps]
LEVEL = 1e-6
MOST_SECONDS = 60.0  # of one solver on one problem, all settings together
MOST_STEPS = 10_000
MOST_CONES = 100  # patterns of the ReLU programmes that CVXPY is given
SETTINGS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)


def main():
    """Race on every problem and publish the tables."""
    cases = {f"{name} P={p} {kind}": (name, p, kind) for name, p, kind in CASES}
    names = list(cases)
    options = parse(__doc__, names, names[:2])
    if not PEERS.is_dir():
        print("Skipped: the reference problems are not beside the repository.")
        return
    rivals = available()
    tables = {kind: [] for kind in PATTERNS}
    for name, p, kind in map(cases.get, options.names):
        for k in range(3):
            tables[kind].append(race(name, p, k, kind, rivals))
            print(tables[kind][-1], flush=True)
    text = "\n\n".join(
        part
        for kind, rows in tables.items()
        if rows
        for part in (f"{kind}:", markdown(rows))
    )
    publish("programmes", "Programmes", text + "\n\n" + LEGEND, options.partial)


def available():
    """Return the rivals that are installed; say which are not."""
    rivals = {}
    for name, adapter in (("skglm", skglm), ("pyscnn", pyscnn)):
        try:
            __import__({"pyscnn": "scnn"}.get(name, name))
        except ImportError:
            print(f"Skipped {name}: it is not installed.")
        else:
            rivals[name] = adapter
    return rivals


def race(name, n_patterns, k, kind, rivals):
    """Return one row: seconds of every solver to the level, and our certified gap."""
    listed = 30 if n_patterns == 30 else 200  # 100: the first of 200
    stored = np.load(PEERS / f"ref_{name}_P{listed}.npz")
    X, y, patterns = stored["X"], stored["y"], stored["D"] > 0
    patterns = patterns.T if len(patterns) == len(X) else patterns
    patterns, gates = patterns[:n_patterns], stored["G"].T[:n_patterns]
    alpha = float(stored["alphas"][k])
    weights = np.full(len(X), 1 / len(X))
    problem = Problem(X, y[:, None], weights, SquaredError(), alpha, False)
    best = np.nan
    if n_patterns == listed:
        best = float(stored[f"ref_{kind.lower()}"][k][0])
    if kind == "gated":
        programme = GroupLasso.gated(problem, patterns)
        # pyscnn wants the gates.
        programme = replace(programme, interiors=gates[:, None])
        field = {
            "interior point": ours(InteriorPoint),
            "FISTA": ours(Fista, max_iter=MOST_STEPS),
            "Clarabel": clarabel,
        } | rivals
    else:
        programme = GroupLasso.relu(problem, patterns, gates)
        field = {"interior point": ours(InteriorPoint)}
        if n_patterns <= MOST_CONES:
            field["Clarabel"] = clarabel
    final = InteriorPoint(tol=1e-9).solve(programme)
    gap = final.objective - final.lower_bound
    best = final.objective if np.isnan(best) else min(best, final.objective)
    row = {"data": name, "P": n_patterns, "alpha": (0.1, 0.01, 0.001)[k]}
    row |= {
        solver: seconds_to(solve, programme, best * (1 + LEVEL))
        for solver, solve in field.items()
    }
    against = [
        row[solver]
        for solver in field
        if solver not in ("interior point", "FISTA") and isinstance(row[solver], float)
    ]
    if against:
        row["best rival / ours"] = min(against) / row["interior point"]
    row["certified gap"] = f"{gap / final.objective:.0e}"
    row["violation"] = f"{programme.violation(final.blocks):.0e}"
    return row


def seconds_to(solve, programme, level):
    """Return CPU seconds of the loosest setting whose point reaches the level."""
    used = 0.0
    if solve is skglm:
        solve(programme, 1e-2)  # compiles
    for setting in SETTINGS:
        begin = process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            V = solve(programme, setting)
        seconds = process_time() - begin
        point = programme.pushed_inside(Blocks(V, np.zeros(1)))
        if programme.objective(point) <= level:
            return seconds
        used += seconds
        if used > MOST_SECONDS:
            return f"> {seconds:.0f}"
    return f"not in {used:.0f}"


def ours(record, **options):
    """Return a solver of the package, as a function of a setting."""

    def solve(programme, setting):
        return record(tol=setting, **options).solve(programme).blocks.V

    return solve


def clarabel(programme, setting):
    """Solve by CVXPY and Clarabel."""
    options = {
        "solver": "CLARABEL",
        "tol_gap_rel": setting,
        "tol_gap_abs": setting,
        "tol_feas": setting,
    }
    return CvxpyBackend(options=options).solve(programme).blocks.V


def skglm(programme, setting):
    """Solve the gated programme by skglm's group block coordinate descent."""
    from skglm.datafits import QuadraticGroup
    from skglm.penalties import WeightedGroupL2
    from skglm.solvers import GroupBCD
    from skglm.utils.data import grp_converter

    problem = programme.problem
    d, n_units = problem.X.shape[1], programme.n_units
    A = (programme.masks[:, 0].T[:, :, None] * problem.X[:, None]).reshape(
        len(problem.X), -1
    )
    A, y = np.asfortranarray(A.astype(float)), problem.Y[:, 0].copy()
    indices, pointers = grp_converter(d, n_units * d)
    datafit = QuadraticGroup(pointers, indices)
    penalty = WeightedGroupL2(problem.alpha, np.ones(n_units), pointers, indices)
    solver = GroupBCD(max_iter=1000, max_epochs=MOST_STEPS, tol=setting * problem.alpha)
    weights = solver.solve(A, y, datafit, penalty)[0]
    return weights[: n_units * d].reshape(n_units, 1, d, 1)


def pyscnn(programme, setting):
    """Solve the gated programme by pyscnn (Mishkin et al. 2022), in double precision.

    Its tolerance is on the squared norm of the gradient.
    """
    import torch
    from scnn.metrics import Metrics
    from scnn.models import ConvexGatedReLU
    from scnn.optimize import optimize_model
    from scnn.regularizers import NeuronGL1
    from scnn.solvers import RFISTA

    torch.set_num_threads(1)
    problem = programme.problem
    model = ConvexGatedReLU(programme.interiors[:, 0].T.copy())
    solver = RFISTA(model, max_iters=MOST_STEPS, tol=(setting * problem.alpha) ** 2)
    model, _ = optimize_model(
        model,
        solver,
        Metrics(),
        problem.X,
        problem.Y[:, 0],
        regularizer=NeuronGL1(problem.alpha),
        return_convex=True,
        unitize_data=False,
        dtype="float64",
    )
    # It has the gates in an order of its own.
    gates = np.asarray(model.G, dtype=float).T
    distances = np.abs(programme.interiors - gates).sum(axis=2)
    weights = np.asarray(model.parameters[0], dtype=float)[0, distances.argmin(axis=1)]
    return weights[:, None, :, None]


LEGEND = f"""CPU seconds, one thread, to a relative suboptimality of {LEVEL:.0e}, the
point judged outside of the solver. Best rival / ours: of those that are not ours, the
fastest that got there, over our interior point. Certified gap: of our point at
tol=1e-9, relative to its objective; violation: of its cones, relative to their largest
value."""


if __name__ == "__main__":
    main()
