"""A published relaxation of two-layer training beside our optimum and our proofs.

Prakhya, Birdal & Yurtsever ("Convex Formulations for Training Two-Layer ReLU Neural
Networks", ICLR 2025) lift training to completely positive matrices and relax these to
doubly non-negative ones. Stated here by us for the path norm, with CVXPY. A neuron u of
output weight a > 0 has ``p - q = X u``, ``p, q >= 0``, ``p_i q_i = 0``; the sum of the
outer products of ``(p, q, a)`` over all neurons is a matrix L that is positive
semidefinite and has no negative entry::

    f = L_pa,  diag(L_pq) = 0,  (I - X X^+) (p - q) = 0 throughout L,
    penalty alpha / 2 * (sum of ||u||^2, which is linear in L, + L_aa),

once for either sign of outputs. All bounds are parts of the objective of our network.
"""

from time import perf_counter

import cvxpy as cp
import numpy as np

from benchmarks.report import markdown, parse, publish, quietly
from sklearn_convexrelu import ConvexReLURegressor

ALPHAS = {"0.1": 0.1, "0.03": 0.03, "0.01": 0.01}
N_ROWS, N_FEATURES, N_SEEDS = 25, 4, 1
SECONDS = 30.0  # of certify, with regions
ACCURACY = 1e-3  # of the objective: what a first order solver leaves


def main():
    """Make the table; fail where a bound is above the objective."""
    options = parse(__doc__, ALPHAS, ["0.1"])
    rows, broken = [], 0
    for seed in range(1 if options.quick else N_SEEDS):
        for name in options.names:
            rows.append(compared(ALPHAS[name], seed))
            values = [float(rows[-1][column]) for column in ("theirs", "ours, 1 s")]
            broken += max(values) > 1.0 + ACCURACY
            print(rows[-1], flush=True)
    text = markdown(rows) + f"\n\nBounds above the objective: {broken}."
    publish("doubly_nonnegative", "Doubly non-negative", text, options.partial)
    raise SystemExit(bool(broken))


def compared(alpha, seed):
    """Return a row of the table."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N_ROWS, N_FEATURES))
    y = np.abs(X[:, 0]) - np.maximum(X[:, 1], 0.0) + 0.3 * rng.standard_normal(N_ROWS)
    y = (y - y.mean()) / y.std()
    model = ConvexReLURegressor(
        alpha=alpha, tol=1e-5, fit_intercept=False, hidden_bias=False, random_state=0
    )
    begin = perf_counter()
    quietly(model.fit, X, y)
    row = {"alpha": alpha, "seed": seed, "objective": f"{model.objective_:.5f}"}
    row["fit, s"] = perf_counter() - begin
    begin = perf_counter()
    theirs, status = doubly_nonnegative(X, y, model.alpha_)
    row["theirs"] = f"{theirs / model.objective_:.3f}"
    row["theirs, s"], row["status"] = perf_counter() - begin, status
    for limit in (1.0, SECONDS):
        model.certify(X, y, time_limit=limit)
        bound = model.certificate_.proven_lower_bound
        row[f"ours, {limit:.0f} s"] = f"{bound / model.objective_:.3f}"
    return row


def doubly_nonnegative(X, y, alpha):
    """Return the optimum of the relaxation, and the solver's status."""
    n, pseudo = len(X), np.linalg.pinv(X)
    off = np.eye(n) - X @ pseudo  # rank d is all that p - q may have
    split = np.hstack([np.eye(n), -np.eye(n), np.zeros((n, 1))])
    length = split.T @ pseudo.T @ pseudo @ split
    lifted = [cp.Variable((2 * n + 1, 2 * n + 1), PSD=True) for _ in range(2)]
    constraints, penalty = [], 0.0
    for L in lifted:
        constraints += [L >= 0, cp.diag(L[:n, n : 2 * n]) == 0, (off @ split) @ L == 0]
        penalty += cp.trace(length @ L) + L[-1, -1]
    f = lifted[0][:n, -1] - lifted[1][:n, -1]
    loss = cp.sum_squares(f - y) / (2 * n)
    problem = cp.Problem(cp.Minimize(loss + 0.5 * alpha * penalty), constraints)
    problem.solve(solver=cp.SCS, eps=1e-5, max_iters=20_000)
    return problem.value, problem.status


if __name__ == "__main__":
    main()
