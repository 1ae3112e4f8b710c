"""Activation patterns of sub-networks: sampled, given, enumerated.

A cell of sub-networks fixes the signs of all neurons and which samples each passes. On
its closure the output is linear in the leaf vectors: sample i of leaf p is multiplied
by ``masks[p, i]``, the product of the signs and patterns on the way up. The neurons'
sides are cone constraints, linear in the leaves too (Ergen & Pilanci, ICML 2021,
Theorem 1; NeurIPS 2023, Theorem 1).
"""

from dataclasses import dataclass, fields, replace
from itertools import combinations_with_replacement
from math import comb

import numpy as np
from scipy.optimize import linprog
from sklearn.utils import check_array

from sklearn_convexrelu.data.rows import Rows
from sklearn_convexrelu.model.monotone import centre_of
from sklearn_convexrelu.patterns.arrangements import enumerate_patterns
from sklearn_convexrelu.patterns.geometry import second_moment_roots
from sklearn_convexrelu.patterns.monotone import monotone_patterns

__all__ = ["TreeCells", "enumerate_trees", "point_inside", "sample_trees", "trees_of"]

# Batches without a new cell before sampling ends, and their size. Asked for all cells
# of two tables (4 and 5 rows, two children) samples find 695; with half and double the
# batches 678 and 714, with half and double the size 679 and 712.
_FRUITLESS, _BATCH = 20, 500
# To list the 238 cells of five rows takes 1.1 s, a linear programme a side, so this is
# minutes; half or double only moves where data are refused.
_MOST_CELLS = 20_000
# Margins, of unit rows, below which a cell has no interior to speak of: the tolerance
# of the linear programmes. Half and double list the same 131 cells of four rows.
_FLAT = 1e-7


@dataclass(frozen=True)
class TreeCells:
    """Cells of sub-networks.

    Attributes
    ----------
    gates : ndarray of shape (n_cells, n_leaves, n_inputs)
        Leaf vectors of a sub-network in the interior of each.
    signs : ndarray of shape (n_cells, n_signs)
        Signs of its neurons.
    masks : ndarray of shape (n_cells, n_leaves, n_samples), int8
        Factors of the leaves' values in the output.
    cones : ndarray of shape (n_cells, n_neurons, n_leaves, n_samples), int8
        Factors of the leaves' values in the constraints, zero where there is none.
    outputs : ndarray of shape (n_cells,) or None
        Output signs; None where both of them are to come.
    """

    gates: np.ndarray
    signs: np.ndarray
    masks: np.ndarray
    cones: np.ndarray
    outputs: np.ndarray | None = None

    @classmethod
    def of(cls, shape, gates, signs, X, outputs=None):
        """Return the distinct cells of given sub-networks that pass a sample.

        Output signs, if any, tell cells apart too.
        """
        Z, levels = shape.levels_at(gates, signs.astype(np.float64), X)
        masks, cones = shape.path_masks(Z, levels), _cones(shape, Z, levels)
        cones[..., ~X.any(axis=1)] = 0  # a zero row has no side
        parts = [masks > 0, masks < 0, cones > 0, cones < 0]
        if outputs is not None:
            # Which way a leaf's weights go is no part of the cones of samples.
            sides = shape.leaf_sides(signs, outputs).reshape(len(gates), -1)
            parts += [outputs[:, None] > 0, sides > 0]
        keys = [np.packbits(part.reshape(len(gates), -1), axis=1) for part in parts]
        first = np.unique(np.hstack(keys), axis=0, return_index=True)[1]
        first = np.sort(first)
        first = first[masks[first].any(axis=(1, 2))]
        outputs = None if outputs is None else outputs[first]
        return cls(gates[first], signs[first], masks[first], cones[first], outputs)

    def __len__(self):
        return len(self.gates)

    def taken(self, index):
        """Return some of the cells."""
        outputs = None if self.outputs is None else self.outputs[index]
        return TreeCells(
            self.gates[index],
            self.signs[index],
            self.masks[index],
            self.cones[index],
            outputs,
        )

    def joined(self, other):
        """Return these cells and others, both with output signs."""
        return TreeCells(
            *(
                np.concatenate([getattr(cells, field.name) for cells in (self, other)])
                for field in fields(self)
            )
        )

    def with_outputs(self):
        """Return the cells with output signs: where there are none each comes twice."""
        if self.outputs is not None:
            return self
        ones = np.ones(len(self))
        return replace(self, outputs=ones).joined(replace(self, outputs=-ones))


def _cones(shape, Z, levels):
    """Return the cones of sub-networks from what enters their neurons."""
    masks, cones = np.ones(Z[0].shape, np.int8), []
    for level, values in enumerate(Z):
        passed = (values > 0.0).astype(np.int8)
        # The neuron of this level over each leaf.
        above = np.arange(shape.n_leaves) // (shape.n_leaves // values.shape[1])
        for neuron in range(values.shape[1]):
            cone, under = np.zeros_like(masks), above == neuron
            side = 2 * passed[:, neuron, None] - 1
            cone[:, under] = side * masks[:, under]
            cones.append(cone)
        masks = masks * passed[:, above]
        if level < len(levels):
            masks = masks * levels[level][:, above, None].astype(np.int8)
    return np.stack(cones, axis=1)


def sample_trees(X, shape, n_patterns, seed):
    """Sample distinct cells of random sub-networks.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_inputs)
        Data.
    shape : TreeShape
        Widths of the sub-networks.
    n_patterns : int
        How many cells.
    seed : int
        Seed.

    Returns
    -------
    TreeCells
        Fewer than asked for where the data seem to have no more. Of monotone networks
        random gates are turned to have weights of the signs of an output sign, which is
        drawn, and there are twice as many.
    """
    rng, inverse_root = np.random.default_rng(seed), second_moment_roots(X)[1]
    monotone, cells, fruitless = shape.monotone, None, 0
    centre = None if monotone is None else centre_of(Rows.of(X))
    wanted = n_patterns if monotone is None else 2 * n_patterns
    while fruitless < _FRUITLESS and (cells is None or len(cells) < wanted):
        size, outputs = (_BATCH, shape.n_leaves, X.shape[1]), None
        gates = rng.standard_normal(size) @ inverse_root.T
        signs = rng.choice([-1.0, 1.0], (_BATCH, shape.n_signs))
        if monotone is not None:
            outputs = rng.choice([-1.0, 1.0], _BATCH)
            gates = shape.turned(gates, signs, outputs, centre)
        if cells is not None:
            gates = np.concatenate([cells.gates, gates])
            signs = np.concatenate([cells.signs, signs])
            if outputs is not None:
                outputs = np.concatenate([cells.outputs, outputs])
        found = TreeCells.of(shape, gates, signs, X, outputs)
        grown = cells is None or len(found) > len(cells)
        cells, fruitless = found, 0 if grown else fruitless + 1
    return cells.taken(slice(wanted))


def trees_of(gates, shape, X, seed):
    """Return the cells of given sub-networks, their signs drawn with a seed.

    Parameters
    ----------
    gates : array-like of shape (n_gates, n_leaves, n_inputs)
        Leaf vectors.
    shape : TreeShape
        Widths of the sub-networks.
    X : ndarray of shape (n_samples, n_inputs)
        Data.
    seed : int
        Seed of the signs.

    Returns
    -------
    TreeCells
        Distinct cells.

    Raises
    ------
    ValueError
        If the array has another shape, is not finite, or passes no sample; if networks
        are to be monotone and none has the signs for that in its cell.
    """
    gates = check_array(gates, dtype=np.float64, allow_nd=True, input_name="patterns")
    expected = shape.n_leaves, X.shape[1]
    if gates.shape[1:] != expected:
        raise ValueError(
            f"patterns has the shape {gates.shape}; with subnetwork_widths="
            f"{shape.widths} it must be (n_gates, {expected[0]}, {expected[1]}): leaves"
            ", and features with the bias where hidden_bias=True."
        )
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (len(gates), shape.n_signs))
    cells = TreeCells.of(shape, gates, signs, X)
    if not len(cells):
        raise ValueError("No sub-network of patterns passes any sample.")
    return cells if shape.monotone is None else _with_sides(cells, shape, X)


def _with_sides(cells, shape, X):
    """Return the cells that have weights of the signs of an output inside."""
    monotone, found = shape.monotone, []
    rows = np.vstack([X, monotone.rows])
    for output in (1.0, -1.0):
        outputs = np.full(len(cells), output)
        sides = shape.leaf_sides(cells.signs, outputs).reshape(len(cells), -1)
        for k, (cones, side) in enumerate(zip(cells.cones, sides, strict=True)):
            inside = point_inside(_with_weights(cones, side, monotone), rows)
            if inside is not None:
                one = cells.taken(slice(k, k + 1))
                found.append(replace(one, gates=inside[None], outputs=outputs[:1]))
    if not found:
        raise ValueError(
            "No sub-network of patterns has the pattern of one with weights of the "
            "signs that monotonic_cst asks for; use patterns='adaptive' or 'random'."
        )
    joined = found[0]
    for cells in found[1:]:
        joined = joined.joined(cells)
    return joined


def _with_weights(cones, sides, monotone):
    """Return cones (n_cones, n_leaves, n_samples) with rows for signs of weights."""
    n_leaves = cones.shape[1]
    more = np.zeros((*cones.shape[:2], len(monotone.inputs)), np.int8)
    leaves = np.arange(n_leaves)
    more[leaves, leaves] = sides[:, None] * monotone.signs[:, 0]
    return np.concatenate([cones, more], axis=2)


def enumerate_trees(X, shape):
    """Enumerate all cells of sub-networks, for tiny data.

    Level by level: the cells of a neuron are those of its children, unordered, with
    all signs, cut by the hyperplanes where its samples change sides. Linear programmes
    tell which sides go together, and give a point inside.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_inputs)
        Data.
    shape : TreeShape
        Widths of the sub-networks.

    Returns
    -------
    TreeCells
        The cells that pass a sample.

    Raises
    ------
    ValueError
        If there are more than 20000.
    """
    cells, rows = _leaf_cells(X, shape.monotone)
    for width in shape.widths:
        parents = []
        for signed in _together([(cell, sign) for cell in cells for sign in (1, -1)]):
            # With all signs minus a neuron passes nothing.
            n_minus = sum(sign < 0 for _, sign in signed)
            count = comb(len(signed) + width - 1, width) - comb(
                n_minus + width - 1, width
            )
            _refuse_above_limit(count, shape)
            for children in combinations_with_replacement(range(len(signed)), width):
                chosen = [signed[c] for c in children]
                if any(sign > 0 for _, sign in chosen):
                    parents += _parents(chosen, rows)
                _refuse_above_limit(len(parents), shape)
        cells = parents
    # Signs come leaves first; children were put together level by level.
    return TreeCells(
        np.array([cell.gates for cell in cells]),
        np.array([_by_level(cell.signs) for cell in cells], dtype=float),
        np.array([cell.masks for cell in cells]),
        np.array([cell.cones[..., : len(X)] for cell in cells]),
        None if shape.monotone is None else np.array([cell.side for cell in cells]),
    )


def _leaf_cells(X, monotone):
    """Return the cells of leaves, and the rows of their cones.

    Of monotone networks those with weights of one side, whose signs are more rows.
    """
    if monotone is None:
        rows, (patterns, gates) = X, enumerate_patterns(X)
        outputs = np.zeros(len(gates))
    else:
        rows = np.vstack([X, monotone.rows])
        _, gates, outputs = monotone_patterns(X, monotone, "exact", 0, 0)
        patterns = gates @ rows.T > 0.0
    cells = [
        _Cell(
            gate[None],
            (),
            pattern[None, : len(X)].astype(np.int8),
            _sides(pattern, rows),
            float(side),
        )
        for pattern, gate, side in zip(patterns, gates, outputs, strict=True)
    ]
    return cells, rows


def _together(signed):
    """Return lists of the cells, with signs, that may have one parent: of one side."""
    sides = [sign * cell.side for cell, sign in signed]
    return [
        [one for one, own in zip(signed, sides, strict=True) if own == side]
        for side in sorted(set(sides))
    ]


def _refuse_above_limit(count, shape):
    """Raise where there are too many cells to list."""
    if count > _MOST_CELLS:
        raise ValueError(
            f"Sub-networks of widths {shape.widths} have more than {_MOST_CELLS} cells "
            f"on these data (at least {count}); use patterns='adaptive' or 'random'."
        )


@dataclass(frozen=True)
class _Cell:
    """A cell of a neuron: a point inside, signs as a tree, masks and cones.

    Of monotone networks its side is the sign of the output that its weights are for.
    """

    gates: np.ndarray
    signs: tuple
    masks: np.ndarray
    cones: np.ndarray
    side: float = 0.0


def _sides(pattern, X):
    """Return the cone of a leaf, (1, 1, n_samples)."""
    sides = np.where(X.any(axis=1), 2 * pattern.astype(int) - 1, 0)
    return sides.astype(np.int8)[None, None]


def _by_level(signs):
    """Return the signs of a nested tuple ((sign, tuple of the child), ...) by level."""
    levels, current = [], list(signs)
    while current:
        levels.append([sign for sign, _ in current])
        current = [below for _, child in current for below in child]
    return [sign for level in reversed(levels) for sign in level]


def _parents(children, rows):
    """Return the cells of a neuron over the cells of its children.

    Cones have more ``rows`` than samples where they are for signs of weights too.
    """
    (first, sign), *_ = children
    parent_side = sign * first.side
    gates = np.concatenate([cell.gates for cell, _ in children])
    masks = np.concatenate([sign * cell.masks for cell, sign in children])
    n_cones = sum(len(cell.cones) for cell, _ in children)
    cones = np.zeros((n_cones, len(masks), len(rows)), np.int8)
    row = leaf = 0
    for cell, _ in children:
        k, m = cell.cones.shape[:2]
        cones[row : row + k, leaf : leaf + m] = cell.cones
        row, leaf = row + k, leaf + m
    signs = tuple((sign, cell.signs) for cell, sign in children)
    positive, negative = (masks > 0).any(axis=0), (masks < 0).any(axis=0)
    open_rows = np.flatnonzero(positive & negative)
    found = []
    side = np.where(positive, 1, np.where(negative, -1, 0))
    # Side by side, depth first: a side that no point has ends all that would follow it.
    # Samples that all children pass with one sign have their side already.
    stack = [(side, 0, gates)]
    while stack:
        side, depth, inside = stack.pop()
        if depth == len(open_rows):
            passed = (side > 0).astype(np.int8)
            if passed.any():
                own = _over(side * masks, len(rows))
                together = np.concatenate([cones, own])
                passed_masks = passed * masks
                found.append(_Cell(inside, signs, passed_masks, together, parent_side))
            continue
        for sign in (1, -1):
            tried = side.copy()
            tried[open_rows[depth]] = sign
            tried[open_rows[depth + 1 :]] = 0
            own = _over(tried * masks, len(rows))
            point = point_inside(np.concatenate([cones, own]), rows)
            if point is not None:
                stack.append((tried, depth + 1, point))
    return found


def _over(cone, n_rows):
    """Return a cone (n_leaves, n_samples) as one of so many rows, (1, n_leaves, .)."""
    more = n_rows - cone.shape[1]
    return np.pad(cone.astype(np.int8), ((0, 0), (0, more)))[None]


def point_inside(cones, X):
    """Return leaf vectors strictly inside cones, or None where there is no interior.

    They are looked for in units in which the data vary alike in all directions. A cell
    whose margin is no more than the solver's tolerance there is left out: a ball that
    few hyperplanes cut has a piece of about its size, so what such cells hold is next
    to a cell that is listed.

    Raises
    ------
    ValueError
        If the linear programme fails: vectors of zero are feasible, so that says
        nothing of the interior.
    """
    n_leaves, inverse_root = cones.shape[1], second_moment_roots(X)[1]
    d = len(inverse_root)
    rows = np.einsum("kmn,nd->knmd", cones, X @ inverse_root)
    rows = rows.reshape(-1, n_leaves * d)
    lengths = np.linalg.norm(rows, axis=1)
    rows = rows[lengths > 0.0] / lengths[lengths > 0.0, None]
    solved = linprog(
        np.r_[np.zeros(n_leaves * d), -1.0],
        A_ub=np.column_stack([-rows, np.ones(len(rows))]),
        b_ub=np.zeros(len(rows)),
        bounds=[(-1.0, 1.0)] * (n_leaves * d) + [(None, 1.0)],
    )
    if solved.status != 0:
        raise ValueError(
            "The cells of sub-networks could not be listed on these data: a linear "
            f"programme ended with {solved.message!r}; use patterns='adaptive' or "
            "'random'."
        )
    if solved.x[-1] <= _FLAT:
        return None
    return solved.x[:-1].reshape(n_leaves, d) @ inverse_root.T
