"""Compare with a tuned MLPRegressor: ``against_mlp.py data.csv --target NAME``.

You learn which of the two predicts your data better (numeric columns of a CSV file, or
the diabetes data), what it costs, and how much hangs on the seed. One split is one
draw: ``--split 1`` and so on give others.
"""

import argparse
import time
import warnings

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_convexrelu import ConvexReLURegressor, ConvexReLURegressorCV


def main():
    """Tune both on three quarters of the rows, then train each with five seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv", nargs="?", help="CSV file with a header line")
    parser.add_argument("--target", help="numeric column to predict")
    parser.add_argument("--split", type=int, default=0, help="seed of the split")
    args = parser.parse_args()
    X, y = read(args.csv, args.target, parser)
    X, X_test, y, y_test = train_test_split(X, y, random_state=args.split)
    print(f"{len(X)} rows to train, {len(X_test)} to test, {X.shape[1]} columns")
    imputer = SimpleImputer(strategy="median", keep_empty_features=True)
    scaler = make_pipeline(imputer, StandardScaler()).fit(X)
    mean, deviation = y.mean(), y.std()
    train = scaler.transform(X), (y - mean) / deviation
    test = scaler.transform(X_test), (y_test - mean) / deviation

    search = ConvexReLURegressorCV(n_alphas=20, eps=1e-3, cv=3, random_state=0)
    evaluate("ConvexReLURegressorCV, tuned", [search], train, test)
    tuned = {"alpha": search.alpha_, "relative_alpha": False}
    nets = [ConvexReLURegressor(**tuned, random_state=seed) for seed in range(5)]
    evaluate("that alpha, five seeds", nets, train, test)

    mlp = MLPRegressor(max_iter=300, random_state=0)
    search = GridSearchCV(mlp, {"alpha": [0.1, 1.0, 10.0, 30.0]}, cv=3)
    evaluate("MLPRegressor, tuned", [search], train, test)
    tuned = {"alpha": search.best_params_["alpha"], "max_iter": mlp.max_iter}
    nets = [MLPRegressor(**tuned, random_state=seed) for seed in range(5)]
    evaluate("that alpha, five seeds", nets, train, test)


def read(path, target, parser):
    """Return features and target of a CSV file, or of the diabetes data."""
    if path is None:
        return load_diabetes(return_X_y=True)
    try:
        import pandas
    except ImportError:
        parser.error("a CSV file is read with pandas: pip install pandas")
    table = pandas.read_csv(path).select_dtypes("number")
    if target not in table:
        parser.error(f"--target must be one of the numeric columns {list(table)}")
    table = table.dropna(subset=[target])
    return table.drop(columns=target).to_numpy(float), table[target].to_numpy(float)


def evaluate(name, models, train, test):
    """Train models; print their held-out R2, time, and spread of the objective."""
    begin = time.perf_counter()
    with warnings.catch_warnings():  # of MLPRegressor, where max_iter comes first
        warnings.filterwarnings("ignore", "Stochastic Optimizer", ConvergenceWarning)
        scores = [model.fit(*train).score(*test) for model in models]
    seconds = (time.perf_counter() - begin) / len(models)
    print(f"\n{name}\n  held-out R2 {min(scores):.3f}", end="")
    print(f" to {max(scores):.3f}" if len(models) > 1 else "", end="")
    print(f", {seconds:.2f} s to train one")
    if len(models) > 1:
        reached = [getattr(net, "objective_", None) or net.loss_ for net in models]
        spread = 100.0 * np.ptp(reached) / min(reached)
        print(f"  training objectives differ by up to {spread:.2g} %")


if __name__ == "__main__":
    main()
