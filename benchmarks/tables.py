"""Tables: sparse ones, memory, and a memory map larger than memory is meant for.

Every case runs in a process of its own, on one thread, which reports its seconds of
processor time and the most memory that it held, above what it held before the fit.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from benchmarks.report import markdown, publish
from sklearn_convexrelu import ConvexReLUClassifier, ConvexReLURegressor

CHUNK = 500_000  # rows that a memory map is written by


def words(n=20_000, d=20_000, length=100, n_classes=5):
    """Return counts of words, in rows of unit length, and topics, a tenth mistaken."""
    rng = np.random.default_rng(0)
    common, columns = 1.0 / np.arange(1, d + 1), []
    y = rng.integers(n_classes, size=n)
    topics = []
    for _ in range(n_classes):
        topic = common.copy()
        topic[rng.choice(d, d // 20, replace=False)] *= 8
        topics.append(topic / topic.sum())
    columns = [rng.choice(d, length, p=topics[k]) for k in y]
    index = np.repeat(np.arange(n), length), np.concatenate(columns)
    X = sparse.csr_array((np.ones(n * length), index), (n, d))
    X.sum_duplicates()
    X.data = np.log1p(X.data)
    lengths = np.sqrt(X.multiply(X).sum(axis=1))
    X = sparse.csr_array(X.multiply(1.0 / lengths[:, None]))
    wrong = rng.random(n) < 0.1
    y[wrong] = rng.integers(n_classes, size=wrong.sum())
    return X, y


def thin(n=50_000, d=2000, density=0.01):
    """Return a sparse table of one percent, and targets of a few neurons."""
    rng = np.random.default_rng(0)
    X = sparse.random_array((n, d), density=density, rng=rng, format="csr")
    X.data = rng.standard_normal(X.nnz)
    U = rng.standard_normal((d, 3))
    return X, np.maximum(X @ U, 0).sum(axis=1) + rng.standard_normal(n)


def many(n, d, dtype):
    """Return normal features and a target of three of them."""
    rng, X = np.random.default_rng(0), np.empty((n, d), dtype)
    for first in range(0, n, 10_000):
        last = min(first + 10_000, n)
        X[first:last] = rng.standard_normal((last - first, d))
    y = np.sin(2.0 * X[:, 0]) + np.maximum(X[:, 1] * X[:, 2], 0)
    return X, y + 0.1 * rng.standard_normal(n)


def mapped(n, d=50, folder=None):
    """Write such features to a file, chunk by chunk; return the memory map."""
    path = Path(folder or tempfile.gettempdir()) / f"map-{n}x{d}.npy"
    rng = np.random.default_rng(0)
    X = np.lib.format.open_memmap(path, "w+", np.float32, (n, d))
    y = np.empty(n, np.float64)
    for first in range(0, n, CHUNK):
        last = min(first + CHUNK, n)
        part = rng.standard_normal((last - first, d), dtype=np.float32)
        X[first:last] = part
        y[first:last] = np.sin(2.0 * part[:, 0]) + np.maximum(part[:, 1], 0)
        y[first:last] += 0.1 * rng.standard_normal(last - first)
    X.flush()
    del X
    return np.load(path, mmap_mode="r"), y


CASES = {
    "words": lambda: (*words(), ConvexReLUClassifier(0.1, random_state=0)),
    "words, MLP": lambda: (*words(), MLPClassifier(random_state=0)),
    "1%, sparse": lambda: (*thin(), ConvexReLURegressor(0.1, random_state=0)),
    "1%, dense": lambda: (
        thin()[0].toarray(),
        thin()[1],
        ConvexReLURegressor(0.1, random_state=0),
    ),
    "200000 x 20, float64": lambda: (
        *many(200_000, 20, np.float64),
        ConvexReLURegressor(0.01, tol=1e-2, random_state=0),
    ),
    "200000 x 20, float32": lambda: (
        *many(200_000, 20, np.float32),
        ConvexReLURegressor(0.01, tol=1e-2, random_state=0),
    ),
} | {
    f"map of {n} x 50": lambda n=n: (
        *mapped(n),
        ConvexReLURegressor(0.1, tol=1e-2, random_state=0),
    )
    for n in (1_000_000, 4_000_000, 40_000_000)
}
QUICK = "words", "words, MLP", "1%, sparse", "1%, dense"


class Memory:
    """The most memory that the process holds within a block, in bytes."""

    def __enter__(self):
        self.before = self.most = self.held()
        self.ends = False
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.ends = True
        self.thread.join()

    def watch(self):
        """Note the most, until the block ends."""
        while not self.ends:
            self.most = max(self.most, self.held())
            time.sleep(0.005)

    @staticmethod
    def held():
        """Return the resident memory of the process."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def run(name):
    """Fit one case; print a row as JSON."""
    X, y, model = CASES[name]()
    few = ConvexReLURegressor(0.5, tol=0.5)
    with warnings.catch_warnings():  # load what a first fit loads
        warnings.simplefilter("ignore", ConvergenceWarning)
        few.fit(np.random.default_rng(0).standard_normal((50, 3)), np.arange(50.0))
    table = X.data.nbytes * 1.5 if sparse.issparse(X) else X.nbytes
    start, started = time.process_time(), time.perf_counter()
    with Memory() as memory:
        model.fit(X, y)
    row = {
        "case": name,
        "processor s": time.process_time() - start,
        "s": time.perf_counter() - started,
        "table, MB": table / 1e6,
        "above it, MB": (memory.most - memory.before) / 1e6,
        "above / table": (memory.most - memory.before) / table,
        "peak, MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "gap / tol": getattr(model, "dual_gap_", np.nan)
        / getattr(model, "tolerance_", np.nan),
        "neurons": getattr(model, "n_neurons_", ""),
        "score": model.score(X[:100_000], y[:100_000]),
    }
    print(json.dumps(row))


def main():
    """Run the cases asked for, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the small cases only")
    parser.add_argument("--only", nargs="+", choices=list(CASES), metavar="NAME")
    parser.add_argument("--run", choices=list(CASES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run(options.run)
        return
    rows = []
    for name in options.only or (QUICK if options.quick else CASES):
        ran = subprocess.run(
            [sys.executable, "-m", "benchmarks.tables", "--run", name],
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        if ran.returncode:
            raise SystemExit(ran.stderr)
        rows.append(json.loads(ran.stdout.splitlines()[-1]))
        print(rows[-1])
    publish("tables", "Tables", markdown(rows) + "\n\n" + LEGEND, bool(options.only))


LEGEND = """One process a case, on one thread. "words": 20000 x 20000 counts, 100 a row,
five classes, alpha 0.1; "1%": 50000 x 2000, alpha 0.1; both to tol 1e-3. "200000 x 20":
alpha 0.01, tol 1e-2. Maps are of single precision on disk, 0.2, 0.8 and 8 GB, alpha
0.1, tol 1e-2. "above": the most resident memory during the fit above that before it;
"peak" is of the whole process, its data included, for maps pages of the file too."""


if __name__ == "__main__":
    main()
