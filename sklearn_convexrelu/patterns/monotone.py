"""Activation patterns of neurons that have weights of given signs.

A pattern counts for an output sign where its cell has such weights in its interior:
then it is a cell of the arrangement of the samples' hyperplanes and those where a
constrained weight is zero. The closed cells of that arrangement in the cone of the
signs cover it, so that a complete list of them is enough.
"""

import numpy as np

from sklearn_convexrelu.data.rows import Rows
from sklearn_convexrelu.model.monotone import centre_of
from sklearn_convexrelu.patterns.arrangements import (
    enumerate_patterns,
    middle,
    patterns_of,
    sample_patterns,
)

__all__ = ["monotone_patterns"]


def monotone_patterns(X, monotone, given, n_patterns, seed):
    """Return patterns, gates with weights of the signs of the cone, and output signs.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_inputs)
        Data.
    monotone : Monotone
        Which signs weights have.
    given : {"random", "exact"} or array-like of shape (n_gates, n_inputs)
        Which patterns.
    n_patterns : int
        How many gates to sample.
    seed : int
        Seed of the sample.

    Returns
    -------
    patterns : ndarray of shape (n_units, n_samples), bool
        Distinct for each output sign.
    gates : ndarray of shape (n_units, n_inputs)
        Strictly inside the cells and the cone of the sign.
    outputs : ndarray of shape (n_units,)
        Output signs, 1 and -1.

    Raises
    ------
    ValueError
        If no given gate has a pattern with weights of these signs.
    """
    if not isinstance(given, str):
        found = _given(X, monotone, given)
    elif given == "exact":
        found = _enumerated(X, monotone)
    else:
        found = _sampled(X, monotone, n_patterns, seed)
    gates, outputs = found
    return gates @ X.T > 0.0, gates, outputs


def _sampled(X, monotone, n_patterns, seed):
    """Return random gates turned into the cones, of distinct patterns."""
    gates = sample_patterns(X, n_patterns, seed)[1]
    centre = centre_of(Rows.of(X))
    found = []
    for output in (1.0, -1.0):
        outputs = np.full(len(gates), output)
        turned = monotone.turned(gates.T, outputs, centre).T
        patterns = turned @ X.T > 0.0
        packed = np.packbits(patterns, axis=1)
        first = np.sort(np.unique(packed, axis=0, return_index=True)[1])
        first = first[patterns[first].any(axis=1)]
        found.append((turned[first], outputs[first]))
    return _joined(found)


def _enumerated(X, monotone):
    """Return a gate in each cell of full dimension in either cone."""
    patterns, gates = enumerate_patterns(np.vstack([X, monotone.rows]))
    some, positive = patterns[:, : len(X)].any(axis=1), patterns[:, len(X) :]
    found = []
    for output in (1.0, -1.0):
        wanted = output * monotone.signs[:, 0] > 0.0
        inside = some & (positive == wanted).all(axis=1)
        found.append((gates[inside], np.full(np.count_nonzero(inside), output)))
    return _joined(found)


def _given(X, monotone, given):
    """Return a gate for each pattern of given gates and output sign that there is."""
    patterns, found, rows = patterns_of(given, X)[0], [], np.vstack([X, monotone.rows])
    for output in (1.0, -1.0):
        wanted = output * monotone.signs[:, 0] > 0.0
        gates = [middle(rows, np.append(pattern, wanted)) for pattern in patterns]
        gates = [gate for gate in gates if gate is not None]
        gates = np.reshape(gates, (-1, X.shape[1]))
        found.append((gates, np.full(len(gates), output)))
    if not any(len(gates) for gates, _ in found):
        raise ValueError(
            "No gate in patterns has the pattern of a neuron with weights of the signs "
            "that monotonic_cst asks for; use patterns='adaptive' or 'random'."
        )
    return _joined(found)


def _joined(found):
    gates, outputs = zip(*found, strict=True)
    return np.concatenate(gates), np.concatenate(outputs)
