"""Speed: a certified fit beside MLPRegressor, and beside descent on a wide network.

Every fit is timed on one thread, on the same standardised X and y, in one process;
fits of the two models take turns, and medians over seeds are compared. The descent is
L-BFGS on all weights of 300 units for the same objective, from a random start.
"""

from math import inf
from statistics import median

from sklearn.neural_network import MLPRegressor

from benchmarks.datasets import available, standardised
from benchmarks.reference import WideNetwork, network_objective, train_wide_network
from benchmarks.report import markdown, parse, publish, timed_fit
from sklearn_convexrelu import ConvexReLURegressor

# Data set -> rows (alpha, tol, target), the target being the largest good ratio.
CERTIFIED = [(0.1, 1e-3, 0.25), (0.03, 1e-3, 0.5)]
SMALL_ALPHA = [(0.01, 1e-2, 0.3), (0.001, 1e-2, 1.0)]
CASES = {
    "diabetes": CERTIFIED,
    "friedman1": CERTIFIED + SMALL_ALPHA,
    "friedman1 1503x5": SMALL_ALPHA,
    "concrete": SMALL_ALPHA,
    "babies": SMALL_ALPHA,
    "friedman1 n=10000": CERTIFIED,
    "friedman1 n=100000": [(0.1, 1e-3, 1.0)],
}
QUICK = ("diabetes", "friedman1")

RACES = 3  # L-BFGS starts, one against each of the first seeds; one where that is long
RACE_TARGET = 10
# L-BFGS is stopped after so many times ours or so many seconds, but not before the
# target.
RACE_CAP = 20, 15


def main():
    """Run the cases asked for and publish their table."""
    options = parse(__doc__, CASES, QUICK)
    rows = []
    for data in available(options.names):
        for row in compare(data):
            rows.append(row)
            print("{data}, alpha {alpha}: ratio {ratio}, L-BFGS {L-BFGS}".format(**row))
    publish("speed", "Speed", markdown(rows) + "\n\n" + LEGEND, options.partial)


def compare(data):
    """Yield the rows of one data set."""
    X, y = standardised(data)
    cases = CASES[data.name]
    mlp_seconds, runs = [], [[] for _ in cases]
    for seed in range(n_repeats(len(y))):
        mlp = MLPRegressor(max_iter=500, random_state=seed)
        mlp_seconds.append(timed_fit(mlp, X, y)[0])
        for (alpha, tol, _), models in zip(cases, runs, strict=True):
            model = ConvexReLURegressor(alpha=alpha, tol=tol, random_state=seed)
            models.append((*timed_fit(model, X, y), model))
    for case, models in zip(cases, runs, strict=True):
        yield summary(data.name, X, y, case, models, mlp_seconds)


def n_repeats(n_samples):
    """Return how many seeds to run."""
    return 5 if n_samples < 1200 else 3 if n_samples < 50_000 else 1


def summary(name, X, y, case, runs, mlp_seconds):
    """Return one row: what the repeated fits of one case took and reached."""
    alpha, tol, target = case
    seconds, warned, models = zip(*runs, strict=True)
    ratios = [ours / mlp for ours, mlp in zip(seconds, mlp_seconds, strict=True)]
    ratio = median(seconds) / median(mlp_seconds)
    null_loss = y @ y / (2 * len(y))
    gaps = [(objective(m, X, y) - m.lower_bound_) / null_loss for m in models]
    in_time = RACE_CAP[1] / median(seconds)
    cap = max(min(RACE_CAP[0], in_time), RACE_TARGET)
    n_races = RACES if in_time > RACE_TARGET else 1
    races = [
        race(model, X, y, seed, tol * null_loss, seconds[seed], cap)
        for seed, model in enumerate(models[:n_races])
    ]
    same, near = (median(times) for times in zip(*races, strict=True))
    return {
        "data": name,
        "n": X.shape[0],
        "d": X.shape[1],
        "alpha": alpha,
        "tol": tol,
        "ours s": median(seconds),
        "MLP s": median(mlp_seconds),
        "ratio": f"{ratio:.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
        "target": target,
        "met": "yes" if ratio <= target else "**no**",
        "gap": max(gaps),
        "neurons": int(median(m.n_neurons_ for m in models)),
        "rounds": int(median(m.n_iter_ for m in models)),
        "unconverged": sum(warned),
        "L-BFGS": times(same, cap),
        "L-BFGS + tol": times(near, cap),
    }


def objective(model, X, y):
    """Return the objective of a fitted model, recomputed from its weights."""
    return network_objective(model.coefs_, model.intercepts_, X, y, model.alpha_)


def race(model, X, y, seed, slack, seconds, cap):
    """Return how many times ``seconds`` L-BFGS takes to the model's objective.

    And to that objective plus ``slack``. Infinity when it is not there after ``cap``
    times, or stuck before.
    """
    goals = objective(model, X, y) + slack, objective(model, X, y)
    reached = []  # times ``seconds`` to each goal, the easier one first

    def stop(elapsed, value):
        while len(reached) < len(goals) and value <= goals[len(reached)]:
            reached.append(elapsed / seconds)
        return len(reached) == len(goals) or elapsed > cap * seconds

    wide = WideNetwork(X, y, model.alpha_)
    train_wide_network(wide, seed, max_iter=100_000, stop=stop)
    near, same = (reached + [inf, inf])[:2]
    return same, near


def times(ratio, cap):
    """Return a table cell."""
    return f"{ratio:.1f}" if ratio < inf else f"> {cap:.2g}"


LEGEND = f"""\
Ratio: our median seconds to those of one `MLPRegressor(max_iter=500).fit`, with the
range over repeats. Gap: the largest over repeats of the objective, recomputed from the
weights, minus `lower_bound_`, as a fraction of the loss of the best constant: what
`tol` bounds. L-BFGS: how many times longer it takes to the same objective (target:
{RACE_TARGET}), median of {RACES} starts (one where that takes minutes); in the last
column to that objective plus the tolerance. "> x": not there when stopped after x
times, or stuck above it."""


if __name__ == "__main__":
    main()
