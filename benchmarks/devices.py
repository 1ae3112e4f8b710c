"""Devices: a fit on a GPU, on one processor, and Adam on the GPU to the same objective.

Run it with SCIPY_ARRAY_API=1 set. Rows are of single precision, the target a smooth
function of five of the columns. Adam trains 300 units with weight decay of the same
strength, at three learning rates, each until its objective (of all rows, judged outside
of its clock) is within a hundredth of ours or its time is over. Where PyTorch finds no
GPU all of it runs on the processor, which says nothing about one.
"""

import os
from time import perf_counter

import numpy as np
from sklearn import config_context

from benchmarks.report import markdown, parse, publish
from sklearn_convexrelu import ConvexReLURegressor

SIZES = {"small": (20_000, 20), "10000 x 784": (10_000, 784), "1e6 x 100": (10**6, 100)}
QUICK = ("small",)
RATES, UNITS, BATCH, PATIENCE = (1e-2, 3e-3, 1e-3), 300, 4096, 20.0  # seconds a rate
CLOSE = 1.01  # times our objective


def main():
    """Time the sizes asked for and publish their table."""
    options = parse(__doc__, SIZES, QUICK)
    if os.environ.get("SCIPY_ARRAY_API") != "1":
        raise SystemExit(
            "Set SCIPY_ARRAY_API=1 first: SciPy asks for it when imported."
        )
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else "no GPU: the processor"
    rows = []
    for size in options.names:
        rows.append({"size": size, **compared(*SIZES[size], device)})
        print(rows[-1], flush=True)
    text = f"{markdown(rows)}\n\nDevice: {name}. {LEGEND}"
    publish("devices", "Devices", text, options.partial)


def compared(n, d, device):
    """Return the row of one size."""
    import torch

    X, y = data(n, d)
    X_there, y_there = (torch.asarray(each, device=device) for each in (X, y))
    model = ConvexReLURegressor(0.03, tol=1e-2, random_state=0)
    with config_context(array_api_dispatch=True):
        model.fit(X_there[:2000], y_there[:2000])  # the libraries are loaded
        seconds = timed(model.fit, X_there, y_there)
    objective, alpha = model.objective_, model.alpha_
    here = timed(model.fit, X, y)
    apart = abs(objective - model.objective_) / model.tolerance_
    by_adam = min(adam(X_there, y_there, alpha, rate, objective) for rate in RATES)
    return {
        "on the device, s": f"{seconds:.1f}",
        "one processor, s": f"{here:.1f}",
        "Adam on the device, s": f"{by_adam:.1f}" if np.isfinite(by_adam) else "not",
        "apart, tolerances": f"{apart:.3f}",
        "neurons": model.n_neurons_,
    }


def data(n, d):
    """Return rows and targets in single precision."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d), dtype=np.float32)
    y = np.sin(2 * X[:, 0]) + np.abs(X[:, 1] * X[:, 2]) + X[:, 3] - X[:, 4] ** 2 / 2
    return X, y + 0.3 * rng.standard_normal(n, dtype=np.float32)


def timed(fit, X, y):
    """Return the seconds of a fit, whose last step brings results here."""
    begin = perf_counter()
    fit(X, y)
    return perf_counter() - begin


def adam(X, y, alpha, rate, goal):
    """Return the seconds until Adam is close to an objective, or infinity."""
    import torch

    torch.manual_seed(0)
    hidden, output = torch.nn.Linear(X.shape[1], UNITS), torch.nn.Linear(UNITS, 1)
    model = torch.nn.Sequential(hidden, torch.nn.ReLU(), output).to(X.device)
    decayed = [hidden.weight, hidden.bias, output.weight]
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)

    def objective(rows):
        loss = 0.5 * (model(X[rows])[:, 0] - y[rows]).square().mean()
        return loss + 0.5 * alpha * sum(w.square().sum() for w in decayed)

    seconds = 0.0
    while seconds < PATIENCE:
        begin = perf_counter()
        for rows in torch.randperm(len(X), device=X.device).split(BATCH):
            optimiser.zero_grad()
            objective(rows).backward()
            optimiser.step()
        with torch.no_grad():  # which also waits for the device
            value = float(objective(slice(None)))
        seconds += perf_counter() - begin
        if value <= CLOSE * goal:
            return seconds
    return np.inf


LEGEND = """Single precision, alpha 0.03, tol 1e-2. Apart: the objectives of both of our
fits."""


if __name__ == "__main__":
    main()
