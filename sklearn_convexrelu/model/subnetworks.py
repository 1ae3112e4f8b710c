"""Parallel sub-networks of three and more layers: trees of ReLU neurons.

A sub-network with ``widths`` (m_1, ..., m_{L-2}) is a tree. Its leaves, the first
hidden layer, compute ``relu(x v_p)``; every other neuron has as many children as the
widths tell, m_1 leaves at the second layer, and computes ``relu(sum_c s_c h_c)`` over
them with signs s_c. The last one, the root, is the sub-network's output ``phi(x)``; a
model is ``f(x) = sum_k phi_k(x) a_k + b`` (Ergen & Pilanci, ICML 2021, eq. (3); NeurIPS
2023, eq. (4)). Weights between hidden layers are absorbed: ReLU is homogeneous, so only
their signs are left, and the leaf vectors carry all the size. From four layers on a
tree is a layered network with neurons copied, which changes neither functions nor path
norms.

The penalty is ``alpha * sum_k cost(V_k) ||a_k||`` with the path norm ``cost(V) =
||V||_F``, or, for three layers, the weight decay ``cost(V) = sum_p ||v_p||``. To have
one code for both, leaves are held in *coordinates* W with a round cost: ``V = W`` for
the path norm, ``v_p = ||w_p|| w_p`` and ``cost = ||W||_F^2`` for weight decay.

Of another norm of what enters the first layer the costs are ``sqrt(sum_p ||v_p||^2)``
and ``sum_p ||v_p||``: the proofs do not ask which norm it is (weight decay then has
``sum_j ||w1_j||^2 <= 1`` for the unit ball). Coordinates are the leaves themselves.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sklearn_convexrelu.data.rows import Rows, Weights
from sklearn_convexrelu.model.linear import Linear
from sklearn_convexrelu.model.monotone import Monotone, majority
from sklearn_convexrelu.model.neurons import (
    changed,
    features,
    mapped,
    outputs_for,
    rows_of,
    unit_values,
    with_linear,
)
from sklearn_convexrelu.model.norms import EUCLIDEAN, Norm, column_norms

__all__ = ["GatedTreeNetwork", "TreeNetwork", "TreeShape"]

_PART_ENTRIES = 65536  # activations held at a time, so that they stay in the cache
_WIDTH = 16  # blocks of 2048 rows
_TINY = 1e-30
_VANISHED = (
    1e-20  # less is zero: subnormal numbers make products a hundred times slower
)


@dataclass(frozen=True, repr=False)
class TreeShape:
    """Widths of a sub-network, and the penalty that goes with it.

    Attributes
    ----------
    widths : tuple of int
        Children of a neuron of the second layer, of the third, up to the root.
    decays : bool
        Whether the penalty is weight decay; else it is the path norm.
    norm : Norm, default=EUCLIDEAN
        What measures the weights that enter a leaf.
    monotone : Monotone, default=None
        Which way the output goes with the inputs; None: any.
    """

    widths: tuple
    decays: bool = False
    norm: Norm = EUCLIDEAN
    monotone: Monotone | None = None

    is_tree = True

    def __repr__(self):
        penalty = " with weight decay" if self.decays else ""
        measured = "" if self.norm.is_euclidean else f" of {self.norm!r}"
        return f"sub-networks of widths {self.widths}{penalty}{measured}"

    @cached_property
    def level_sizes(self):
        """Numbers of neurons below the root: leaves first."""
        widths = self.widths
        return [int(np.prod(widths[i:])) for i in range(len(widths))]

    @property
    def n_leaves(self):
        """Number of leaves, and of paths."""
        return self.level_sizes[0]

    @property
    def n_signs(self):
        """Number of signs: one a neuron but the root."""
        return sum(self.level_sizes)

    @property
    def resolution(self):
        """What a search is known to miss of a gap, in losses of the best constant.

        Where exact pricing proves the optimum of three layers bounds lay up to 5e-5 of
        it above (48 fits, ``benchmarks/subnetworks.py``) on tables searched to the best
        of each cell; before that 1.6e-3 in two of 72, else 2.5e-4. Of four layers
        on 79 x 16 heavy-tailed rows, 9e-4 above that of another network.
        """
        return 5e-4 * len(self.widths)

    @property
    def reach(self):
        """Largest sum of the lengths of the leaves at a cost of one."""
        return 1.0 if self.decays else float(np.sqrt(self.n_leaves))

    @property
    def degree(self):
        """Degree of the cost, and of the output, in the coordinates."""
        return 2 if self.is_bent else 1

    @property
    def is_bent(self):
        """Whether leaves are not their own coordinates."""
        return self.decays and self.norm.is_euclidean

    @property
    def is_nested(self):
        """Whether costs are roots of squared norms that are not of one 2-norm."""
        return not (self.decays or self.norm.is_euclidean or self.n_leaves == 1)

    def costs(self, W):
        """Return the cost of every sub-network of coordinates W, (K,)."""
        if self.norm.is_euclidean:
            return np.sqrt(np.einsum("kmd,kmd->k", W, W)) ** self.degree
        sizes = self.leaf_sizes(W)
        return sizes.sum(axis=1) if self.decays else np.linalg.norm(sizes, axis=1)

    def leaf_sizes(self, V):
        """Return the norms of leaf vectors, (K, n_leaves)."""
        return self.norm.lengths(_leaf_columns(V)).reshape(V.shape[:2])

    def half_slopes(self, W, signs=None):
        """Return the gradients of half the squared costs, as ``Norm.half_slopes``."""
        if self.norm.is_euclidean:
            squares = np.einsum("kmd,kmd->k", W, W)
            slope = self.degree * squares ** (self.degree - 1)
            return slope[:, None, None] * W
        sizes = self.leaf_sizes(W)
        if self.decays:
            sizes = np.broadcast_to(sizes.sum(axis=1, keepdims=True), sizes.shape)
        sides = None if signs is None else _leaf_columns(signs)
        gradients = self.norm.gradients(_leaf_columns(W), sides).T.reshape(W.shape)
        return sizes[:, :, None] * gradients

    def peaks(self, G):
        """Return leaves along which gradients G are largest, see ``Norm.peaks``."""
        return self.norm.peaks(_leaf_columns(G)).T.reshape(G.shape)

    def slopes(self, W, G):
        """Return how prices over costs rise at W of length one, as ``Norm.slopes``."""
        prices = np.einsum("kmd,kmd->k", W, G)[:, None]
        if self.norm.is_euclidean:
            return G - W * prices[:, :, None]
        sizes, costs = self.leaf_sizes(W), np.maximum(self.costs(W), _TINY)[:, None]
        per_length = prices / costs * (1.0 if self.decays else sizes / costs)
        per_length = np.broadcast_to(per_length, sizes.shape).ravel()
        slopes = self.norm.rises(_leaf_columns(W), _leaf_columns(G), per_length)
        return slopes.T.reshape(W.shape)

    def path_signs(self, signs):
        """Return the products of the signs on the way up from leaves, (K, n_leaves)."""
        products = np.ones((len(signs), self.n_leaves), signs.dtype)
        for level in self.split(signs):
            above = np.arange(self.n_leaves) // (self.n_leaves // level.shape[1])
            products *= level[:, above]
        return products

    def sides(self, W, signs):
        """Return the sides of sub-networks, (K,), as ``Monotone.sides``."""
        held = self.monotone.held(_leaf_columns(W))
        held = held.reshape(len(held), *W.shape[:2])
        return majority(held * self.path_signs(signs))

    def leaf_sides(self, signs, sides):
        """Return the sides of all leaves, (K n_leaves,), from those of sub-networks."""
        return (self.path_signs(signs) * sides[:, None]).ravel()

    def within(self, W, signs, sides):
        """Return coordinates with weights of a wrong sign at zero."""
        leaves = self.leaf_sides(signs, sides)
        return self.monotone.within(_leaf_columns(W), leaves).T.reshape(W.shape)

    def turned(self, W, signs, sides, *centre):
        """Return coordinates with weights of a wrong sign turned over."""
        columns, leaves = _leaf_columns(W), self.leaf_sides(signs, sides)
        return self.monotone.turned(columns, leaves, *centre).T.reshape(W.shape)

    def tangent(self, W, G, signs, sides):
        """Return gradients without what leads out of the cones at once."""
        columns, leaves = _leaf_columns(W), self.leaf_sides(signs, sides)
        tangent = self.monotone.tangent(columns, _leaf_columns(G), leaves)
        return tangent.T.reshape(W.shape)

    def weight_sides(self, network):
        """Return the signs that coordinates of a network must have; 0: any."""
        sides = self.leaf_sides(network.signs, np.sign(network.output[:, 0]))
        shape = network.coordinates.shape
        return np.outer(sides, self.monotone.directions).reshape(shape)

    def is_kept_by(self, network):
        """Tell whether the weights of a network have the signs that they must have."""
        if self.monotone is None:
            return True
        return bool((self.weight_sides(network) * network.coordinates >= 0.0).all())

    def features(self, X, directions):
        """Return the values of directions at all rows, (n_samples, K)."""
        return features(self, Rows.of(X), directions)

    def prepared(self, rows, directions):
        """Return directions of cost one as ``block_values`` takes them."""
        W, signs = self.unpacked(directions)
        return self.prepared_leaves(rows, self.leaves(W), signs)

    def prepared_leaves(self, rows, V, signs):
        """Return sub-networks of leaf vectors V as ``up`` takes them."""
        V = np.where(np.abs(V) < _VANISHED, V.dtype.type(0), V)
        leaves = rows.weights(V.reshape(V.shape[0] * V.shape[1], V.shape[2]).T)
        return leaves, self.split(signs.astype(V.dtype, copy=False))

    def block_values(self, block, prepared):
        """Return the values of sub-networks at the rows of a block, (n, K)."""
        leaves, levels = prepared
        H = np.empty((len(levels[0]), len(block)), leaves.matrix.dtype)
        for k, part in self.parts(prepared, len(block)):
            np.maximum(self.up(block, part)[-1][:, 0], 0.0, out=H[k])
        return H.T

    def parts(self, prepared, n_rows):
        """Yield slices of sub-networks whose activations fit the cache, and these."""
        (matrix, shift), levels = prepared
        m, K = self.n_leaves, len(levels[0])
        step = max(_PART_ENTRIES // max(m * n_rows, 1), 1)
        for k in range(0, K, step):
            leaves = slice(k * m, (k + step) * m)
            shifts = None if shift is None else shift[leaves]
            part = Weights(matrix[:, leaves], shifts)
            yield slice(k, k + step), (part, [level[k : k + step] for level in levels])

    def levels_at(self, V, signs, X):
        """Return what ``up`` does for all rows of an array X at once, and levels."""
        rows = Rows.of(X)
        prepared = self.prepared_leaves(rows, V, signs)
        return self.up(rows.whole(), prepared), prepared[1]

    def width(self, n_units):
        """Return what ``Rows`` calls the width: rows come some thousand at a time.

        Products over levels are many small ones, which cost the same for fewer rows.
        """
        return _WIDTH

    def network(self, directions, outputs, amplitudes, intercept, linear=None):
        """Return the balanced network of directions and amplitudes."""
        root = np.sqrt(amplitudes)
        W, signs = self.unpacked(directions)
        return TreeNetwork(
            W * (root ** (1.0 / self.degree))[:, None, None],
            signs,
            outputs * root[:, None],
            intercept,
            self,
            linear,
        )

    def empty(self, n_inputs, intercept):
        """Return the network without sub-networks that predicts ``intercept``."""
        rows = self.n_leaves * n_inputs + self.n_signs
        intercept = np.asarray(intercept, dtype=np.float64)
        none = np.zeros((rows, 0)), np.zeros((0, len(intercept))), np.zeros(0)
        return self.network(*none, intercept)

    def unpacked(self, directions):
        """Return coordinates (K, n_leaves, n_inputs) and signs (K, n_signs) of columns.

        A direction is the coordinates of a sub-network of cost one, then its signs.
        """
        size = len(directions) - self.n_signs
        W = directions[:size].T.reshape(
            directions.shape[1], self.n_leaves, size // self.n_leaves
        )
        return W, directions[size:].T

    def split(self, signs):
        """Return signs (K, n_signs) by level, leaves first."""
        return np.split(signs, np.cumsum(self.level_sizes)[:-1], axis=1)

    def leaves(self, W):
        """Return the leaf vectors V of coordinates W, (K, n_leaves, n_inputs)."""
        if not self.is_bent:
            return W
        return W * np.sqrt(np.einsum("kmd,kmd->km", W, W))[:, :, None]

    def coordinates(self, V):
        """Return the coordinates of leaf vectors."""
        if not self.is_bent:
            return V
        lengths = np.sqrt(np.einsum("kmd,kmd->km", V, V))
        return V / np.sqrt(np.maximum(lengths, _TINY))[:, :, None]

    def pull_back(self, W, G):
        """Return the gradient in W that belongs to the gradient G in V."""
        if not self.is_bent:
            return G
        lengths = np.sqrt(np.einsum("kmd,kmd->km", W, W))
        along = np.einsum("kmd,kmd->km", W, G) / np.maximum(lengths, _TINY)
        return G * lengths[:, :, None] + W * along[:, :, None]

    def values(self, V, signs, X):
        """Return the outputs of sub-networks at the rows of X, (n_samples, K)."""
        rows = Rows.of(X)
        out = rows.empty(len(V), dtype=np.result_type(V, rows.dtype))
        prepared = self.prepared_leaves(rows, V, signs)
        return rows.map(unit_values, _WIDTH, out, self, prepared)

    def up(self, block, prepared):
        """Return what enters the ReLUs of every level, (K, n_neurons, n) each."""
        leaves, levels = prepared
        Z = block.values_across(leaves)
        Z = [Z.reshape(len(levels[0]), self.n_leaves, len(block))]
        for width, signs in zip(self.widths, levels, strict=True):
            n_trees, n_children, n = Z[-1].shape
            n_parents = n_children // width
            H = np.maximum(Z[-1], 0.0).reshape(n_trees * n_parents, width, n)
            parents = signs.reshape(n_trees * n_parents, 1, width) @ H
            Z.append(parents.reshape(n_trees, n_parents, n))
        return Z

    def path_masks(self, Z, levels):
        """Return the factors of leaves' values in the output, (K, n_leaves, n).

        They are products of signs and patterns on the way up; ``Z`` is what ``up``
        returned.
        """
        masks = np.ones(Z[0].shape, np.int8)
        for level, values in enumerate(Z):
            above = np.arange(self.n_leaves) // (self.n_leaves // values.shape[1])
            masks *= (values > 0.0)[:, above]
            if level < len(levels):
                masks *= levels[level][:, above, None].astype(np.int8)
        return masks

    def down(self, Z, levels, E, block):
        """Return gradients in V from derivatives E (K, n) in the outputs.

        ``Z`` is what ``up`` returned; it is overwritten.
        """
        E = E[:, None] * np.greater(Z[-1], 0.0, out=Z[-1])
        for level in reversed(range(len(self.widths))):
            passed = np.greater(Z[level], 0.0, out=Z[level])
            n_trees, n_parents, n = E.shape
            passed = passed.reshape(n_trees, n_parents, self.widths[level], n)
            passed *= E[:, :, None]
            E = passed.reshape(n_trees, n_parents * self.widths[level], n)
            E *= levels[level][:, :, None]
        n_trees, n_leaves, n = E.shape
        G = block.sums(E.reshape(n_trees * n_leaves, n).T).T
        return G.reshape(n_trees, n_leaves, G.shape[1])


@dataclass(frozen=True)
class TreeNetwork:
    """``f(X) = sum_k phi_k(X) output_k + intercept`` with tree sub-networks phi_k.

    Attributes
    ----------
    coordinates : ndarray of shape (n_subnetworks, n_leaves, n_inputs)
        Coordinates of the leaves. A hidden bias is the weight of a column of ones.
    signs : ndarray of shape (n_subnetworks, n_signs)
        Signs of the neurons but the roots, leaves first.
    output : ndarray of shape (n_subnetworks, n_outputs)
        Weights of the output layer.
    intercept : ndarray of shape (n_outputs,)
        Constant added to the output; never penalised.
    shape : TreeShape
        Widths and penalty.
    linear : Linear or None, default=None
        The linear part that is added, where there is one.
    """

    coordinates: np.ndarray
    signs: np.ndarray
    output: np.ndarray
    intercept: np.ndarray
    shape: TreeShape
    linear: Linear | None = None

    is_gated = False

    @property
    def n_neurons(self):
        """Number of sub-networks."""
        return len(self.output)

    @property
    def n_inputs(self):
        """Number of inputs, with the column of ones."""
        return self.coordinates.shape[2]

    @property
    def _n_coordinates(self):
        return self.coordinates.shape[1] * self.coordinates.shape[2]

    @property
    def leaves(self):
        """Leaf vectors, (n_subnetworks, n_leaves, n_inputs)."""
        return self.shape.leaves(self.coordinates)

    def forward(self, X):
        """Return the predictions at an array-like ``X``, (n_samples, n_outputs).

        ``X`` may leave out the column of ones, whose weights are then the hidden bias.
        """
        rows, V = rows_of(X, self.n_inputs), self.leaves
        F = outputs_for(rows, V, self.intercept)
        prepared = self.shape.prepared_leaves(rows, V, self.signs)
        F = rows.map(
            _network_values,
            _WIDTH,
            F,
            self.shape,
            prepared,
            self.output,
            self.intercept,
        )
        return F if self.linear is None else self.linear.added(rows, F)

    def costs(self):
        """Return the cost of every sub-network, (n_subnetworks,)."""
        return self.shape.costs(self.coordinates)

    def lipschitz(self, n_features):
        """Return a bound on how fast outputs change with the first inputs.

        ``||f(x + e) - f(x)||_2 <= bound * ||e||_2``: every path from an input to the
        output passes on its change, at most.
        """
        leaves = self.leaves[..., :n_features].astype(np.float64)
        paths = np.linalg.norm(leaves, axis=2).sum(axis=1)
        bound = float(paths @ column_norms(self.output.T.astype(np.float64)))
        if self.linear is None:
            return bound
        return bound + self.linear.lipschitz(n_features)

    def penalties(self):
        """Return ``cost_k ||output_k||`` of every sub-network."""
        return self.costs() * column_norms(self.output.T)

    def penalty(self):
        """Return the path norm, or the weight decay, of the whole network.

        A linear part that is not free adds its own.
        """
        return with_linear(float(self.penalties().sum()), self.linear)

    def input_weights(self):
        """Return the sums over all paths from every input, (n_inputs,).

        The product of the weights along a path is that of its leaf vector and the
        output, whatever the layers between make of it.
        """
        lengths = column_norms(self.output.T)
        total = np.einsum("kmd,k->d", np.abs(self.leaves), lengths)
        return total if self.linear is None else total + self.linear.input_weights()

    def directions(self):
        """Return sub-networks of cost one as columns, unit outputs and amplitudes."""
        costs, lengths = self.costs(), column_norms(self.output.T)
        flat = self.coordinates.reshape(self.n_neurons, self._n_coordinates)
        unit = flat / costs[:, None] ** (1.0 / self.shape.degree)
        columns = np.vstack([unit.T, self.signs.T])
        return columns, self.output / lengths[:, None], costs * lengths

    def taken(self, kept):
        """Return the network of some of the sub-networks."""
        return replace(
            self,
            coordinates=self.coordinates[kept],
            signs=self.signs[kept],
            output=self.output[kept],
        )

    def pruned(self, smallest=1e-7):
        """Drop sub-networks of relative penalty below ``smallest``; balance the rest.

        The others' leaves and outputs get equal shares of it.
        """
        penalties = self.penalties()
        kept = self.taken(penalties > smallest * max(penalties.max(initial=0.0), _TINY))
        return self.shape.network(*kept.directions(), self.intercept, self.linear)

    def rescaled(self, path_norm, targets, offset):
        """Return the network with scaled weights, ``targets`` times intercept, shifted.

        The penalty is multiplied by ``path_norm``, evenly over leaves and output.
        """
        root = np.sqrt(path_norm)
        return replace(
            self,
            coordinates=self.coordinates * root ** (1.0 / self.shape.degree),
            output=self.output * root,
            intercept=self.intercept * targets + offset,
            linear=changed(self.linear, "times", path_norm),
        )

    def astype(self, dtype):
        """Return the network with weights of another precision."""
        arrays = {"coordinates": self.coordinates, "signs": self.signs}
        arrays |= {"output": self.output, "intercept": self.intercept}
        changes = {name: a.astype(dtype, copy=False) for name, a in arrays.items()}
        linear = changed(self.linear, "astype", dtype)
        return replace(self, linear=linear, **changes)

    def mapped(self, basis):
        """Return the network on inputs X that is this one on ``X basis``."""
        coordinates = self.shape.coordinates(mapped(basis, self.leaves, 2))
        linear = changed(self.linear, "mapped", basis)
        return replace(self, coordinates=coordinates, linear=linear)

    def layers(self):
        """Return weights of an ordinary layered network, block-diagonal.

        Returns
        -------
        list of ndarray
            Weight matrices, input to output: (n_inputs, K n_leaves), then (K n_l, K
            n_{l+1}) up to (K, n_outputs), ``relu`` between. Within a sub-network every
            layer has the same Frobenius norm.
        """
        V, K = self.leaves, self.n_neurons
        sizes = np.linalg.norm(V, axis=2)
        if self.shape.decays:  # one half to either layer: the least sum of squares
            sizes = np.sqrt(sizes)
        layers = [(V / np.maximum(sizes, _TINY)[:, :, None]).transpose(2, 0, 1)]
        signs = self.shape.split(self.signs.astype(V.dtype))
        for width, level in zip(self.shape.widths, signs, strict=True):
            below = sizes.reshape(K, sizes.shape[1] // width, width)
            edges = level.reshape(below.shape) * below
            sizes = np.ones(below.shape[:2], V.dtype)
            if not self.shape.decays:
                sizes = np.linalg.norm(below, axis=2)
                edges /= np.maximum(sizes, _TINY)[:, :, None]
            n_parents = sizes.shape[1]
            W = np.zeros((K, n_parents * width, n_parents), V.dtype)
            for parent in range(n_parents):
                at = slice(parent * width, (parent + 1) * width)
                W[:, at, parent] = edges[:, parent]
            layers.append(W)
        layers.append(self.output[:, None] * sizes[:, :, None])
        return self._assembled(layers)

    def _assembled(self, layers):
        """Balance the layers of every sub-network and put them side by side."""
        K = self.n_neurons
        first = layers[0].transpose(1, 0, 2)
        stacks = [first, *layers[1:]]
        norms = [np.sqrt(np.einsum("kij,kij->k", stack, stack)) for stack in stacks]
        mean = np.exp(np.mean([np.log(np.maximum(n, _TINY)) for n in norms], axis=0))
        stacks = [
            stack * (mean / np.maximum(n, _TINY))[:, None, None]
            for stack, n in zip(stacks, norms, strict=True)
        ]
        _, n_inputs, n_leaves = first.shape
        weights = [stacks[0].transpose(1, 0, 2).reshape(n_inputs, K * n_leaves)]
        for stack in stacks[1:-1]:
            _, n_below, n_above = stack.shape
            W = np.zeros((K * n_below, K * n_above), stack.dtype)
            for k in range(K):
                rows = slice(k * n_below, (k + 1) * n_below)
                W[rows, k * n_above : (k + 1) * n_above] = stack[k]
            weights.append(W)
        weights.append(stacks[-1].reshape(K, self.output.shape[1]))
        return weights


@dataclass(frozen=True)
class GatedTreeNetwork:
    """``f(x) = sum_g sum_p masks_gp(x) x V_gp + intercept``: trees with fixed gates.

    The masks of unit g are those of a sub-network that stays as it is.

    Attributes
    ----------
    gates : ndarray of shape (n_gates, n_leaves, n_inputs)
        Leaf vectors of the sub-networks that make the masks.
    signs : ndarray of shape (n_gates, n_signs)
        Signs of their neurons.
    blocks : ndarray of shape (n_gates, n_leaves, n_inputs, n_outputs)
        Weights V of the units.
    intercept : ndarray of shape (n_outputs,)
        Constant added to the output; never penalised.
    shape : TreeShape
        Widths and penalty.
    linear : Linear or None, default=None
        The linear part that is added, where there is one.
    """

    gates: np.ndarray
    signs: np.ndarray
    blocks: np.ndarray
    intercept: np.ndarray
    shape: TreeShape
    linear: Linear | None = None

    is_gated = True

    @property
    def n_inputs(self):
        """Number of inputs, with the constant."""
        return self.gates.shape[-1]

    @property
    def n_neurons(self):
        """Number of gates."""
        return len(self.gates)

    def unit_values(self, X):
        """Return the values of the units, (n_samples, n_gates, n_outputs)."""
        rows = Rows.of(X)
        n_gates, n_leaves, _, n_outputs = self.blocks.shape
        values = rows.empty(n_gates, n_outputs)
        prepared = self.shape.prepared_leaves(
            rows, self.gates, self.signs.astype(np.float64)
        )
        width = n_gates * n_leaves * n_outputs
        return rows.map(
            _gated_unit_values,
            width,
            values,
            self.shape,
            prepared,
            self._columns(rows),
            n_outputs,
        )

    def _columns(self, rows):
        """Return the weights of all leaves and outputs, one a column, prepared."""
        columns = self.blocks.transpose(2, 0, 1, 3)
        return rows.weights(
            columns.reshape(len(columns), self.blocks.size // len(columns))
        )

    def forward(self, X):
        """Return the predictions at an array-like ``X``, (n_samples, n_outputs).

        ``X`` may leave out the column of ones, whose weights are then biases.
        """
        rows = rows_of(X, self.gates.shape[2])
        F = outputs_for(rows, self.blocks, self.intercept)
        n_gates, n_leaves, _, n_outputs = self.blocks.shape
        prepared = self.shape.prepared_leaves(
            rows, self.gates, self.signs.astype(np.float64)
        )
        F = rows.map(
            _gated_values,
            n_gates * n_leaves * n_outputs,
            F,
            self.shape,
            prepared,
            self._columns(rows),
            self.intercept,
        )
        return F if self.linear is None else self.linear.added(rows, F)

    def penalties(self):
        """Return the norms of the units, or sums of those of their blocks."""
        if not self.shape.norm.is_euclidean:
            sizes = np.linalg.norm(self.blocks, axis=3).sum(axis=2)
            decays = self.shape.decays
            return sizes.sum(axis=1) if decays else np.linalg.norm(sizes, axis=1)
        n_parts = self.shape.n_leaves if self.shape.decays else 1
        n_outputs = self.blocks.shape[-1]
        parts = self.blocks.reshape(
            len(self.gates),
            n_parts,
            self.gates.shape[1] * self.gates.shape[2] // n_parts,
            n_outputs,
        )
        if n_outputs > 1:
            return np.linalg.svd(parts, compute_uv=False).sum(axis=(1, 2))
        return np.linalg.norm(parts[..., 0], axis=2).sum(axis=1)

    def input_weights(self):
        """Return the sums of the 2-norms of rows of the blocks, (n_inputs,)."""
        total = np.linalg.norm(self.blocks, axis=3).sum(axis=(0, 1))
        return total if self.linear is None else total + self.linear.input_weights()

    def penalty(self):
        """Return the sum of the norms, and of that of a linear part."""
        return with_linear(float(self.penalties().sum()), self.linear)

    def scaled(self, factors):
        """Return the network with units multiplied by ``factors``, zeros dropped."""
        kept = factors > 0.0
        return replace(
            self,
            gates=self.gates[kept],
            signs=self.signs[kept],
            blocks=self.blocks[kept] * factors[kept, None, None, None],
        )

    def rescaled(self, path_norm, targets, offset):
        """Return the network with scaled blocks and a scaled, shifted intercept."""
        return replace(
            self,
            blocks=self.blocks * path_norm,
            intercept=self.intercept * targets + offset,
            linear=changed(self.linear, "times", path_norm),
        )

    def mapped(self, basis):
        """Return the network on inputs X that is this one on ``X basis``."""
        gates, blocks = mapped(basis, self.gates, 2), mapped(basis, self.blocks, 2)
        linear = changed(self.linear, "mapped", basis)
        return replace(self, gates=gates, blocks=blocks, linear=linear)

    def astype(self, dtype):
        """Return the network with weights of another precision; gates keep theirs."""
        return replace(
            self,
            blocks=self.blocks.astype(dtype),
            intercept=self.intercept.astype(dtype),
            linear=changed(self.linear, "astype", dtype),
        )


def _leaf_columns(V):
    """Return leaf vectors as columns, (n_inputs, K n_leaves)."""
    return V.reshape(len(V) * V.shape[1], V.shape[2]).T


def _network_values(block, rows, shape, prepared, output, intercept):
    """Kernel: the outputs of a network of sub-networks."""
    return shape.block_values(block, prepared) @ output + intercept


def _gated_unit_values(block, rows, shape, prepared, columns, n_outputs):
    """Kernel: the values of gated units, (n, n_gates, n_outputs)."""
    masks = shape.path_masks(shape.up(block, prepared), prepared[1])
    n_gates, n_leaves, n = masks.shape
    H = block.values(columns)
    H = H.reshape(n, n_gates, n_leaves, n_outputs)
    return np.einsum("gmn,ngmc->ngc", masks, H)


def _gated_values(block, rows, shape, prepared, columns, intercept):
    """Kernel: the outputs of gated units."""
    n_outputs = len(intercept)
    values = _gated_unit_values(block, rows, shape, prepared, columns, n_outputs)
    return values.sum(axis=1) + intercept
