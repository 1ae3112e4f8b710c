"""Workers: the same fit from rows on two dask workers and from an array, one thread.

Each fit has a process of its own, workers have one each with one thread. Data have 20
columns, of which a smooth function of five is the target, and are made on the workers
by dask; the array is a copy of the same rows. Peaks are of whole processes. Seconds
mean something on a machine with two idle processors only; those of processors (CPU),
counted for each process, are next to the same on a busy one.
"""

import json
import subprocess
import sys
from time import perf_counter, process_time
from unittest.mock import patch

import numpy as np

from benchmarks.growth import peak_megabytes
from benchmarks.report import markdown, parse, publish
from sklearn_convexrelu import ConvexReLUClassifier, ConvexReLURegressor

CASES = {
    "200000": ("regression", 200_000),
    "200000, classes": ("two classes", 200_000),
    "2000000": ("regression", 2_000_000),
}
QUICK = ("200000",)
COLUMNS, PARTS = 20, 8
N_TRIPS = 100  # that do nothing, to time one


def main():
    """Fit the cases asked for both ways and publish their table."""
    if sys.argv[1:2] == ["--here"]:
        where, kind, n = sys.argv[2:]
        fit = {"array": on_array, "workers": on_workers}[where]
        print(json.dumps(fit(kind, int(n))))
        return
    options = parse(__doc__, CASES, QUICK)
    rows = []
    for name in options.names:
        rows.append(compared(*CASES[name]))
        print(rows[-1], flush=True)
    text = markdown(rows) + "\n\n" + LEGEND
    publish("workers", "Rows on workers", text, options.partial)


def compared(kind, n):
    """Return the row of one fit: of an array, and on workers."""
    one, two = (in_fresh_process(where, kind, n) for where in ("array", "workers"))
    apart = abs(one["objective"] - two["objective"]) / one["tolerance"]
    return {
        "fit": kind,
        "n": n,
        "one thread, s": f"{one['seconds']:.1f}",
        "two workers, s": f"{two['seconds']:.1f}",
        "times as fast": f"{one['seconds'] / two['seconds']:.2f}",
        "CPU s of one thread": f"{one['CPU']:.1f}",
        "of a worker": f"{max(two['CPU of workers']):.1f}",
        "of the client": f"{two['CPU']:.1f}",
        "apart, tolerances": f"{apart:.3f}",
        "gap met": "yes" if two["gap"] <= two["tolerance"] else "**no**",
        "neurons": f"{one['neurons']}, {two['neurons']}",
        "round trips": two["trips"],
        "one, ms": f"{two['trip ms']:.1f}",
        "MB sent": f"{two['sent'] / 1e6:.1f}",
        "MB received": f"{two['received'] / 1e6:.1f}",
        "peak a worker, MB": round(max(two["peaks"])),
        "peak of one thread, MB": round(one["peak"]),
    }


def in_fresh_process(*case):
    """Return what a fit in a process of its own measured."""
    command = [sys.executable, "-m", "benchmarks.workers", "--here", *map(str, case)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(ran.stdout.splitlines()[-1])


def collections(kind, n):
    """Return rows and targets, made by dask from seeds of their own."""
    import dask.array as da

    draw = da.random.default_rng(0)
    X = draw.standard_normal((n, COLUMNS), chunks=(n // PARTS, COLUMNS))
    y = da.sin(2.0 * X[:, 0]) + da.fabs(X[:, 1] * X[:, 2]) + X[:, 3] - X[:, 4] ** 2 / 2
    y = y + 0.3 * draw.standard_normal(n, chunks=n // PARTS)
    return X, y if kind == "regression" else (y > 0.0).astype(int)


def estimator(kind):
    """Return the estimator that is timed."""
    model = ConvexReLURegressor if kind == "regression" else ConvexReLUClassifier
    return model(0.03, tol=1e-2, random_state=0)


def on_array(kind, n):
    """Fit an array with one thread."""
    X, y = (each.compute(scheduler="synchronous") for each in collections(kind, n))
    return fitted(kind, X, y) | {"peak": peak_megabytes()}


def on_workers(kind, n):
    """Fit the same rows on two workers."""
    from distributed import Client, LocalCluster, wait

    from sklearn_convexrelu import _dask
    from sklearn_convexrelu.data.cluster import Traffic

    traffic = Traffic()
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
        patch.object(_dask, "Traffic", lambda: traffic),
    ):
        X, y = client.persist(collections(kind, n))
        wait([X, y])
        before = client.run(process_time)
        found = fitted(kind, X, y) | vars(traffic)
        after = client.run(process_time)
        found["CPU of workers"] = [after[k] - before[k] for k in before]
        found["peaks"] = list(client.run(peak_megabytes).values())
        return found | {"trip ms": trip_milliseconds(client)}


def trip_milliseconds(client):
    """Return how long a pass takes that has nothing to do."""
    from distributed import wait

    from sklearn_convexrelu.data.cluster import Cluster, Spread, Traffic

    places = list(client.scheduler_info()["workers"])
    parts = [client.submit(np.zeros, 1, workers=[at], pure=False) for at in places]
    wait(parts)
    nothing = Spread(Cluster(client, (1,) * len(parts), Traffic()), (), float)
    nothing.fill(parts).sum()
    begin = perf_counter()
    for _ in range(N_TRIPS):
        nothing.sum()
    return 1e3 * (perf_counter() - begin) / N_TRIPS


def fitted(kind, X, y):
    """Fit, and return what is compared."""
    begin, busy = perf_counter(), process_time()
    model = estimator(kind).fit(X, y)
    return {
        "seconds": perf_counter() - begin,
        "CPU": process_time() - busy,
        "objective": model.objective_,
        "tolerance": model.tolerance_,
        "gap": model.dual_gap_,
        "neurons": model.n_neurons_,
    }


LEGEND = """20 columns, alpha 0.03, tol 1e-2. Apart: the difference of the objectives
in tolerances. Round trips, MB sent and received are those of the whole fit between the
client and both workers; the rows were there before."""


if __name__ == "__main__":
    main()
