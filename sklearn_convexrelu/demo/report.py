"""What is said of networks: scores, certificate, and two of them side by side."""

import textwrap

import numpy as np

from sklearn_convexrelu.demo.comparison import (
    INNER_FOLDS,
    MLP_ALPHAS,
    OUTER_FOLDS,
    SEARCH_TOL,
    network_objective,
)
from sklearn_convexrelu.demo.table import CLASSES

__all__ = [
    "explain_gap",
    "format_comparison",
    "format_network",
    "mean_sd",
    "side_by_side",
    "wrap",
]


def format_network(convex, table):
    """Lay out scores and certificate of our network.

    Parameters
    ----------
    convex : Evaluation
        Of our network.
    table : Table
        The data.

    Returns
    -------
    str
        A table with notes.
    """
    network = convex.network
    percent = 100.0 * network.dual_gap_ / network.objective_
    rows = [
        *((f"{OUTER_FOLDS}-fold {k}", mean_sd(s)) for k, s in convex.scores.items()),
        ("alpha", f"{network.alpha_ / network.alpha_max_:.3g} of alpha_max_"),
        ("objective", f"{network.objective_:.5f}"),
        ("lower bound", f"{network.lower_bound_:.5f}"),
        ("gap", f"{network.dual_gap_:.5f} ({percent:.2f} %)"),
        ("neurons", f"{network.n_neurons_}"),
    ]
    lines = [f"{label:<18}{value:>24}" for label, value in rows]
    notes = _notes(convex, table)
    return "\n".join([*lines, *([""] if notes else []), *map(wrap, notes)])


def _notes(convex, table):
    """Return what the lines on our network leave open."""
    network = convex.network
    notes = []
    if table.task == CLASSES:
        _, counts = np.unique(table.y, return_counts=True)
        part = counts.max() / counts.sum()
        notes.append(f"The most frequent class alone has accuracy {part:.3f}.")
    if hasattr(network, "alphas_"):
        text = (
            f"{INNER_FOLDS}-fold cross-validation chose alpha among "
            f"{len(network.alphas_)} strengths, anew within each fold, there with "
            f"tol={SEARCH_TOL:g}."
        )
        scored = np.isfinite(network.cv_scores_).all(axis=1)
        if network.best_index_ == len(network.alphas_) - 1:
            text += " The smallest won: a smaller --alpha may score better."
        elif not scored.all():
            text += " Smaller ones than were tried had passed the best."
        notes.append(text)
    return notes + [f"Warned of: {text}" for text in convex.warnings]


def format_comparison(convex, mlp, table):
    """Lay our network and scikit-learn's side by side.

    Parameters
    ----------
    convex, mlp : Evaluation
        Of our network and of scikit-learn's.
    table : Table
        The data.

    Returns
    -------
    str
        A table with footnotes.
    """
    ours, theirs = convex.network, mlp.network
    rows = [("", *(type(network).__name__ for network in (ours, theirs)))]
    for name, scores in convex.scores.items():
        rows.append(
            (f"{OUTER_FOLDS}-fold {name}", mean_sd(scores), mean_sd(mlp.scores[name]))
        )
    X, y = _inputs(mlp.pipeline, table)
    objective = network_objective(theirs, X, y, ours.alpha_)
    rows += [
        ("fit time [1]", f"{convex.fit_time:.3f} s", f"{mlp.fit_time:.3f} s"),
        ("objective [2]", f"{ours.objective_:.5f}", f"{objective:.5f}"),
        ("neurons", f"{ours.n_neurons_}", f"{theirs.coefs_[1].shape[0]}"),
    ]
    return "\n".join([side_by_side(rows), "", *_footnotes(convex, mlp, table)])


def _inputs(pipeline, table):
    """Return what the network at the end of a pipeline saw of the table."""
    X, y = pipeline[:-1].transform(table.X), table.y
    scaler = getattr(pipeline["model"], "transformer_", None)
    return X, y if scaler is None else scaler.transform(y[:, None])[:, 0]


def side_by_side(rows):
    """Return three columns as text, the first row their header."""
    lines = [f"{label:<16}{left:>24}{right:>18}" for label, left, right in rows]
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(lines)


def mean_sd(scores):
    """Return mean and standard deviation of scores as text."""
    return f"{np.mean(scores):.3f} +/- {np.std(scores):.3f}"


def _footnotes(convex, mlp, table):
    ours, theirs = convex.network, mlp.network
    name = type(theirs).__name__
    end = "without converging" if theirs.n_iter_ >= theirs.max_iter else "and converged"
    candidates = ", ".join(f"{alpha:g}" for alpha in MLP_ALPHAS)
    if table.task == CLASSES:
        loss, scale = "log loss", ""
    else:
        loss, scale = "1/(2n) ||y - f(X)||^2", " y standardised,"
    smallest = " (the smallest)" if theirs.alpha == min(MLP_ALPHAS) else ""
    notes = [
        f"Of all rows, the choice of alpha included: {name}'s is {theirs.alpha:g}, one "
        f"of {candidates}{smallest}. It took {theirs.n_iter_} iterations {end}.",
        f"{loss} + alpha_ sum_j ||w_j||_1 ||v_j||,{scale} alpha_ = {ours.alpha_:.3g}, "
        "w_j the weights into neuron j with its bias, v_j those out of it. "
        f"{name}'s weights are put into the same formula, although it was trained "
        "with a penalty of its own.",
    ]
    notes = [wrap(f"[{k}] {note}", 4) for k, note in enumerate(notes, start=1)]
    return notes + [wrap(f"{name} warned of: {text}") for text in mlp.warnings]


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
