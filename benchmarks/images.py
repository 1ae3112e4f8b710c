"""Images: all of Fashion-MNIST, two layers and three, descent, gated networks.

The images are those of the Debian package ``dataset-fashion-mnist``; without it there
is nothing to do. Pixels are divided by 255 and kept in single precision. Objectives are
the log loss of the training images plus alpha times the sum of ``||w_j|| ||a_j||``,
biases included, of each network as it is: what weight decay costs where both layers are
of one length, and what Adam is given too, as weight decay. Every model has a process of
its own, on one thread, which reports its seconds and the most memory that it held.
"""

import gzip
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from benchmarks.report import markdown, parse, publish
from benchmarks.tables import Memory
from sklearn_convexrelu import ConvexReLUClassifier

FOLDER = Path("/usr/share/datasets/fashion-mnist")
N_CLASSES = 10
ALPHA, TOL = 0.001, 1e-2
BATCH, EPOCHS, RATE = 200, 200, 1e-3  # of Adam: those of MLPClassifier
GATES = 32  # of the gated programme: its weights are 320 for each pixel


def images(part):
    """Return the images, (n, 784) in [0, 1], and the labels of "train" or "t10k"."""
    with gzip.open(FOLDER / f"{part}-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)
    with gzip.open(FOLDER / f"{part}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return pixels.astype(np.float32) / 255.0, labels.astype(np.int64)


def ours(**options):
    """Return a function that trains one of our classifiers."""
    options = {"tol": TOL, "random_state": 0} | options

    def train(X, y, limit):
        model = ConvexReLUClassifier(ALPHA, time_limit=limit, **options).fit(X, y)
        found = {"gap / tolerance": model.dual_gap_ / model.tolerance_}
        return model.predict, found | {
            "objective": model.objective_,
            "units": model.network_.n_neurons,
        }

    return train


def mlp(X, y, limit):
    """Train MLPClassifier as it comes; no limit of time."""
    model = MLPClassifier(random_state=0).fit(X, y)
    hidden, output = model.coefs_
    return model.predict, {"units": hidden.shape[1], "objective": np.nan}


def adam(units):
    """Return a function that trains by Adam, with weight decay of the same alpha."""

    def train(X, y, limit):
        import torch

        torch.manual_seed(0)
        torch.set_num_threads(1)
        layers = torch.nn.Linear(784, units), torch.nn.Linear(units, N_CLASSES)
        model = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1])
        alpha = absolute_alpha(X, y)
        decayed = layers[0].weight, layers[0].bias, layers[1].weight
        optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
        images, labels = torch.asarray(X), torch.asarray(y)
        begin = perf_counter()
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(X)).split(BATCH):
                optimiser.zero_grad()
                loss = torch.nn.functional.cross_entropy(
                    model(images[rows]), labels[rows]
                )
                squares = sum(w.square().sum() for w in decayed)
                (loss + alpha / 2.0 * squares).backward()
                optimiser.step()
            if perf_counter() - begin > limit:
                break
        W, b, A = (w.detach().numpy() for w in decayed)

        def scores(X):
            with torch.no_grad():
                return model(torch.asarray(X)).numpy()

        lengths = np.sqrt(np.sum(W**2, axis=1) + b**2) * np.linalg.norm(A, axis=0)
        losses = -log_softmax(scores(X).astype(np.float64), axis=1)
        objective = losses[np.arange(len(y)), y].mean() + alpha * lengths.sum()
        return lambda X: scores(X).argmax(axis=1), {
            "units": units,
            "objective": objective,
        }

    return train


def absolute_alpha(X, y):
    """Return the penalty strength that ours has, outside of the clock of rivals."""
    model = ConvexReLUClassifier(1.0, tol=0.5, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return ALPHA * model.fit(X, y).alpha_max_


MODELS = {
    "two layers": ours(),
    "MLPClassifier": mlp,
    "Adam, 300 units": adam(300),
    "Adam, 1000 units": adam(1000),
    "three layers, (3,)": ours(subnetwork_widths=(3,)),
    "random gates": ours(
        patterns="random", n_patterns=GATES, activation="gated_relu", solver="fista"
    ),
}


def run(name, n, limit):
    """Train one model and print its row as JSON."""
    X, y = images("train")
    chosen = np.sort(np.random.default_rng(0).permutation(len(X))[:n])
    X, y = X[chosen], y[chosen]
    begin, cpu = perf_counter(), process_time()
    with Memory() as memory, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        predict, found = MODELS[name](X, y, limit)
    row = {"model": name, "images": n, "processor s": process_time() - cpu}
    row |= {"s": perf_counter() - begin, "peak, MB": memory.most / 1e6} | found
    row["accuracy here"] = np.mean(predict(X[:10_000]) == y[:10_000])
    X_test, y_test = images("t10k")
    print(json.dumps(row | {"test accuracy": np.mean(predict(X_test) == y_test)}))


def main():
    """Train the models asked for and publish their table."""
    options = parse(
        __doc__,
        MODELS,
        ("two layers", "MLPClassifier"),
        rows={"type": int, "default": 60_000, "help": "images to train on"},
        limit={"type": float, "default": 3600.0, "help": "seconds a model"},
        run={"choices": list(MODELS), "help": "train one, print its row as JSON"},
    )
    if not FOLDER.exists():
        raise SystemExit("Skipped: install the Debian package dataset-fashion-mnist.")
    if options.run:
        run(options.run, options.rows, options.limit)
        return
    rows = []
    for name in options.names:
        command = [sys.executable, "-m", "benchmarks.images", "--run", name]
        command += ["--rows", str(options.rows), "--limit", str(options.limit)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        ran = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, env=environment
        )
        if ran.returncode:
            raise SystemExit(f"{name} failed.")
        rows.append(json.loads(ran.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    publish("images", "Images", f"{markdown(rows)}\n\n{LEGEND}", options.partial)


LEGEND = f"""Alpha {ALPHA} of ours, tol {TOL}; MLPClassifier as it comes, Adam with its
batches, rate and number of epochs. Units of three layers are sub-networks of three
neurons. Random gates: {GATES} of them, solved by FISTA to the same tolerance. `--limit`
is the time that a model has, but for MLPClassifier."""


if __name__ == "__main__":
    main()
