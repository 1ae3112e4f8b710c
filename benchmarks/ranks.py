"""Ranks of models over tables: their means, whether they differ, and the picture."""

import numpy as np
from scipy.stats import friedmanchisquare, rankdata, studentized_range, wilcoxon

from benchmarks.report import figure

__all__ = [
    "cliques",
    "critical_difference",
    "diagram",
    "friedman",
    "holm",
    "paired",
    "ranks",
]


def ranks(losses):
    """Return the rank of each model on each table, 1 the least loss, ties shared.

    Parameters
    ----------
    losses : array of shape (n_tables, n_models)
        Losses to four digits are the same: further ones are noise.
    """
    return rankdata(np.round(losses, 4), axis=1)


def friedman(losses):
    """Return the p-value of no difference among three models or more."""
    return friedmanchisquare(*np.round(losses, 4).T).pvalue


def paired(ours, theirs):
    """Return the p-value of Wilcoxon's signed ranks; 1 where nothing differs."""
    differences = np.round(np.asarray(ours) - theirs, 4)
    if not differences.any():
        return 1.0
    return wilcoxon(differences, zero_method="zsplit").pvalue


def holm(p_values):
    """Return p-values corrected for their number (Holm 1979)."""
    p_values = np.asarray(p_values, dtype=float)
    order = np.argsort(p_values)
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


def critical_difference(n_models, n_tables, level=0.05):
    """Return by how much mean ranks must differ (Nemenyi; Demsar 2006, eq. 6)."""
    q = studentized_range.ppf(1 - level, n_models, np.inf) / np.sqrt(2)
    return q * np.sqrt(n_models * (n_models + 1) / (6 * n_tables))


def cliques(mean_ranks, difference):
    """Return the widest runs of sorted mean ranks that do not differ, as pairs."""
    values = np.sort(mean_ranks)
    runs, last = [], -1
    for first, low in enumerate(values):
        end = np.searchsorted(values, low + difference, side="right") - 1
        if end > first and end > last:
            runs.append((float(low), float(values[end])))
            last = end
    return runs


def diagram(panels):
    """Draw critical-difference pictures, one below the other.

    Parameters
    ----------
    panels : dict
        Title -> (dict of mean ranks by model, number of tables).
    """
    fig, axes = figure(len(panels), width=1)
    fig.set_size_inches(8, 3.4 * len(panels))
    for axis, (title, (means, n_tables)) in zip(axes, panels.items(), strict=True):
        _panel(axis, title, means, n_tables)
    return fig


def _panel(axis, title, means, n_tables):
    """Draw one: models on an axis of ranks, those that do not differ under a bar."""
    names = sorted(means, key=means.get)
    half = -(-len(names) // 2)
    best, worst = 1, len(names)
    for k, name in enumerate(names):
        left = k < half
        height = -0.6 - 0.45 * (k if left else len(names) - 1 - k)
        edge = best - 0.1 if left else worst + 0.1
        axis.plot([means[name], means[name], edge], [0, height, height], "k", lw=1)
        axis.text(
            edge,
            height,
            f"{name} {means[name]:.2f} " if left else f" {name} {means[name]:.2f}",
            ha="right" if left else "left",
            va="center",
        )
    difference = critical_difference(len(names), n_tables)
    for k, (low, high) in enumerate(cliques(list(means.values()), difference)):
        axis.plot([low - 0.03, high + 0.03], [-0.14 - 0.1 * k] * 2, "C0", lw=4)
    axis.plot([best, best + difference], [0.55, 0.55], "k", lw=2)
    axis.text(best, 0.65, f"critical difference {difference:.2f}", va="bottom")
    axis.plot([best, worst], [0, 0], "k", lw=1)
    for rank in range(best, worst + 1):
        axis.plot([rank, rank], [0, 0.08], "k", lw=1)
        axis.text(rank, 0.12, str(rank), ha="center", va="bottom")
    axis.set(
        title=f"{title}, {n_tables} tables",
        xlim=(best - 2.2, worst + 2.2),
        ylim=(-0.9 - 0.45 * half, 1.1),
    )
    axis.axis("off")
