"""What the demo says: two estimators in one table, and the gap in words."""

import textwrap

import numpy as np

from sklearn_convexrelu.demo.comparison import (
    INNER_FOLDS,
    OUTER_FOLDS,
    SEARCH_TOL,
    network_objective,
)

__all__ = ["explain_gap", "format_comparison", "mean_sd", "side_by_side", "wrap"]


def format_comparison(convex, mlp, table):
    """Lay the two evaluations side by side.

    Parameters
    ----------
    convex, mlp : Evaluation
        Of ConvexReLURegressor and of MLPRegressor.
    table : Table
        The data.

    Returns
    -------
    str
        A table with footnotes.
    """
    network = convex.network
    # What the MLP saw: preprocessed columns and a standardised target.
    X = mlp.pipeline["columns"].transform(table.X)
    y = mlp.pipeline["model"].transformer_.transform(table.y[:, None])[:, 0]
    mlp_objective = network_objective(mlp.network, X, y, network.alpha_)
    percent = 100.0 * network.dual_gap_ / network.objective_
    rows = [
        ("", "ConvexReLURegressor", "MLPRegressor"),
        (f"{OUTER_FOLDS}-fold R2", mean_sd(convex.scores), mean_sd(mlp.scores)),
        ("alpha [1]", f"{convex.alpha:g}", f"{mlp.alpha:g}"),
        ("fit time [2]", f"{convex.fit_time:.3f} s", f"{mlp.fit_time:.3f} s"),
        ("objective [3]", f"{network.objective_:.5f}", f"{mlp_objective:.5f}"),
        ("lower bound", f"{network.lower_bound_:.5f}", "-"),
        ("gap", f"{network.dual_gap_:.5f} ({percent:.2f} %)", "-"),
        ("neurons", f"{network.n_neurons_}", f"{mlp.network.coefs_[1].shape[0]}"),
    ]
    return "\n".join([side_by_side(rows), "", *_footnotes(convex, mlp)])


def side_by_side(rows):
    """Return three columns as text, the first row their header."""
    lines = [f"{label:<14}{left:>21}{right:>21}" for label, left, right in rows]
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(lines)


def mean_sd(scores):
    """Return mean and standard deviation of scores as text."""
    return f"{np.mean(scores):.3f} +/- {np.std(scores):.3f}"


def _footnotes(convex, mlp):
    ours, theirs = convex.network, mlp.network
    end = "without converging" if theirs.n_iter_ >= theirs.max_iter else "and converged"
    notes = [
        f"ConvexReLURegressor: {_origin(convex)} times alpha_max_ = "
        f"{ours.alpha_max_:.3g}; MLPRegressor: {_origin(mlp)}. {INNER_FOLDS}-fold "
        "cross-validation chooses, anew within each fold behind R2; there "
        f"ConvexReLURegressor has tol={SEARCH_TOL:g}, in what follows its default.",
        "One fit to all rows, which the lines below describe too. MLPRegressor took "
        f"{theirs.n_iter_} iterations {end}.",
        "1/(2n) ||y - f(X)||^2 + alpha_ sum_j ||w_j|| |v_j|, y standardised, alpha_ = "
        f"{ours.alpha_:.3g}, w_j the weights into neuron j with its bias, v_j the "
        "weight out of it. MLPRegressor's weights are put into the same formula, "
        "although it was trained with a penalty of its own.",
    ]
    if len(convex.candidates) > 1 and convex.alpha == min(convex.candidates):
        notes[0] += " The smallest won: a smaller --alpha may score better."
    return [wrap(f"[{k}] {note}", 4) for k, note in enumerate(notes, start=1)]


def _origin(evaluation):
    candidates = ", ".join(f"{alpha:g}" for alpha in evaluation.candidates)
    return f"one of {candidates}" if len(evaluation.candidates) > 1 else candidates


def wrap(text, indent=0):
    """Break text into the lines of a terminal, all but the first indented."""
    return textwrap.fill(
        text, 79, subsequent_indent=" " * indent, break_on_hyphens=False
    )


def explain_gap(network):
    """Say in words what the duality gap of a fitted network means.

    Parameters
    ----------
    network : ConvexReLURegressor or ConvexReLUClassifier
        Fitted.

    Returns
    -------
    str
        One or two sentences.
    """
    certificate = network.certificate_
    claim = (
        "no ReLU network with one hidden layer, however wide, has an objective more "
        f"than {network.dual_gap_:.2g} below this one's"
    )
    if certificate.kind == "exact":
        text = f"The gap is a proof (certificate {certificate.kind!r}): {claim}."
    else:
        text = (
            f"The gap says that {claim}. It is an estimate, not a proof (certificate "
            f"{certificate.kind!r}): many local searches found no neuron that would "
            "lower the objective further. Proven without any search is a lower bound "
            f"of {certificate.proven_lower_bound:.5f}."
        )
    if network.status_.name != "CONVERGED":
        text += f" Training stopped early: {network.status_.value}."
    return wrap(text)
