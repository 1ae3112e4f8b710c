"""Two-layer ReLU networks as stacked arrays of parallel neurons."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from sklearn.utils import check_array

from sklearn_convexrelu.data.cluster import is_spread
from sklearn_convexrelu.data.rows import Rows
from sklearn_convexrelu.model.linear import Linear
from sklearn_convexrelu.model.monotone import Monotone
from sklearn_convexrelu.model.norms import EUCLIDEAN, Norm, column_norms

__all__ = [
    "NEURONS",
    "GatedNetwork",
    "Network",
    "NeuronShape",
    "changed",
    "features",
    "mapped",
    "outputs_for",
    "rows_of",
    "unit_values",
    "power_of_two",
    "with_linear",
]


@dataclass(frozen=True)
class Network:
    """``f(X) = relu(X hidden) output + intercept``, one column and row a neuron.

    Attributes
    ----------
    hidden : ndarray of shape (n_inputs, n_neurons)
        Weights of the hidden layer. A hidden bias is the weight of a column of ones.
    output : ndarray of shape (n_neurons, n_outputs)
        Weights of the output layer.
    intercept : ndarray of shape (n_outputs,)
        Constant added to the output; never penalised.
    norm : Norm, default=EUCLIDEAN
        What measures hidden columns; output rows have the 2-norm.
    linear : Linear or None, default=None
        The linear part that is added, where there is one.
    """

    hidden: np.ndarray
    output: np.ndarray
    intercept: np.ndarray
    norm: Norm = EUCLIDEAN
    linear: Linear | None = None

    is_gated = False

    @classmethod
    def empty(cls, n_inputs, intercept, norm=EUCLIDEAN):
        """Return the network without neurons that predicts ``intercept``."""
        intercept = np.asarray(intercept, dtype=np.float64)
        hidden, output = np.zeros((n_inputs, 0)), np.zeros((0, len(intercept)))
        return cls(hidden, output, intercept, norm)

    @classmethod
    def from_directions(
        cls, directions, outputs, amplitudes, intercept, norm=EUCLIDEAN, linear=None
    ):
        """Return the balanced network ``sum_j c_j relu(X u_j) a_j + intercept``.

        ``directions`` u (n_inputs, K) and ``outputs`` a (K, n_outputs) have unit
        columns and rows; each amplitude c_j > 0 is split evenly over the two layers.
        """
        root = np.sqrt(amplitudes)
        output = outputs * root[:, None]
        return cls(directions * root, output, intercept, norm, linear)

    @property
    def n_neurons(self):
        """Number of neurons."""
        return self.hidden.shape[1]

    @property
    def n_inputs(self):
        """Number of inputs, with the column of ones."""
        return self.hidden.shape[0]

    def layers(self):
        """Return the weight matrices, input to output."""
        return [self.hidden, self.output]

    def forward(self, X):
        """Return the predictions at an array-like ``X``, (n_samples, n_outputs).

        ``X`` may leave out the column of ones, whose weights are then the hidden bias.
        """
        rows = rows_of(X, self.n_inputs)
        F = outputs_for(rows, self.hidden, self.intercept)
        F = rows.map(
            _network_values,
            self.n_neurons,
            F,
            rows.weights(self.hidden),
            self.output,
            self.intercept,
        )
        return F if self.linear is None else self.linear.added(rows, F)

    def penalties(self):
        """Return ``||hidden_j|| ||output_j||`` of every neuron, (n_neurons,)."""
        return self.norm.lengths(self.hidden) * column_norms(self.output.T)

    def penalty(self):
        """Return the path norm ``sum_j ||hidden_j|| ||output_j||``.

        It is the least ``sum_j (||hidden_j||^2 + ||output_j||^2) / 2`` over all
        rescalings of the neurons, and the balanced network attains it. A linear part
        that is not free adds its own.
        """
        return with_linear(float(self.penalties().sum()), self.linear)

    def input_weights(self):
        """Return ``sum_j |hidden_ij| ||output_j||`` of every input i, (n_inputs,)."""
        total = np.abs(self.hidden) @ column_norms(self.output.T)
        return total if self.linear is None else total + self.linear.input_weights()

    def directions(self):
        """Return unit hidden columns, unit output rows and the amplitudes."""
        hidden, output = self.norm.lengths(self.hidden), column_norms(self.output.T)
        return self.hidden / hidden, self.output / output[:, None], hidden * output

    def pruned(self, smallest=1e-7):
        """Drop neurons of relative amplitude below ``smallest``, balance the rest."""
        amplitudes = self.penalties()
        keep = amplitudes > smallest * max(amplitudes.max(initial=0.0), 1e-300)
        kept = replace(self, hidden=self.hidden[:, keep], output=self.output[keep])
        return replace(
            Network.from_directions(*kept.directions(), self.intercept, self.norm),
            linear=self.linear,
        )

    def rescaled(self, path_norm, targets, offset):
        """Return the network with scaled neurons, ``targets`` times intercept, shifted.

        The path norm is multiplied by ``path_norm``, evenly over the two layers.
        """
        root = np.sqrt(path_norm)
        return replace(
            self,
            hidden=self.hidden * root,
            output=self.output * root,
            intercept=self.intercept * targets + offset,
            linear=changed(self.linear, "times", path_norm),
        )

    def mapped(self, basis):
        """Return the network on inputs X that is this one on ``X basis``.

        2-norms stay where the columns of ``basis`` (n_inputs, n_reduced) are
        orthonormal.
        """
        linear = changed(self.linear, "mapped", basis)
        return replace(self, hidden=basis @ self.hidden, linear=linear)

    def lipschitz(self, n_features):
        """Return a bound on how fast outputs change with the first inputs.

        ``||f(x + e) - f(x)||_2 <= bound * ||e||_2``, whatever norm the penalty has.
        """
        lengths = column_norms(self.hidden[:n_features].astype(np.float64))
        bound = float(lengths @ column_norms(self.output.T.astype(np.float64)))
        if self.linear is None:
            return bound
        return bound + self.linear.lipschitz(n_features)

    def astype(self, dtype):
        """Return the network with weights of another precision."""
        arrays = (self.hidden, self.output, self.intercept)
        arrays = (array.astype(dtype, copy=False) for array in arrays)
        return Network(*arrays, self.norm, changed(self.linear, "astype", dtype))

    def merged(self, cosine, signature):
        """Replace neurons that act alike by their sum, largest first.

        Two neurons are merged when what a pricer's ``signature`` makes of them and
        their output directions both have a cosine above ``cosine``. With equal
        activation patterns and equal outputs that changes no prediction at the data
        and, by the triangle inequality, never raises the penalty; else it is a small
        move, for the caller to check.
        """
        if self.n_neurons < 2:
            return self
        U, A, c = self.directions()
        V = signature(U)
        V /= column_norms(V)
        close = (V.T @ V > cosine) & (A @ A.T > cosine)
        group = np.full(len(c), -1)
        for j in np.argsort(-c):
            if group[j] < 0:
                group[close[j] & (group < 0)] = j
        leaders = np.flatnonzero(group == np.arange(len(c)))
        if len(leaders) == len(c):
            return self
        member = (group[:, None] == leaders).astype(float)
        hidden, output = (U * c) @ member, member.T @ (A * c[:, None])
        # With equal outputs the sum of the rank-one matrices c_j u_j a_j^T has this
        # norm, at most the sum of the c_j.
        sizes = self.norm.lengths(hidden), column_norms(output.T)
        U, A = hidden / sizes[0], output / sizes[1][:, None]
        amplitudes = sizes[0] * sizes[1] / (c @ member)
        merged = Network.from_directions(U, A, amplitudes, self.intercept, self.norm)
        return replace(merged, linear=self.linear)


@dataclass(frozen=True)
class NeuronShape:
    """What ``TreeShape`` is to sub-networks: two layers, units of one leaf.

    Attributes
    ----------
    norm : Norm, default=EUCLIDEAN
        What measures the weights that enter a neuron.
    monotone : Monotone, default=None
        Which way the output goes with the inputs; None: any.
    """

    norm: Norm = EUCLIDEAN
    monotone: Monotone | None = None

    is_tree = False
    reach = 1.0
    resolution = 0.0

    def __repr__(self):
        measured = "" if self.norm.is_euclidean else f" of {self.norm!r}"
        return f"neurons{measured}"

    def weight_sides(self, network):
        """Return the signs that hidden weights of a network must have; 0: any."""
        return np.outer(self.monotone.directions, np.sign(network.output[:, 0]))

    def is_kept_by(self, network):
        """Tell whether the weights of a network have the signs that they must have."""
        if self.monotone is None:
            return True
        return bool((self.weight_sides(network) * network.hidden >= 0.0).all())

    def prepared(self, rows, directions):
        """Return unit directions as ``block_values`` takes them."""
        return rows.weights(directions)

    def width(self, n_units):
        """Return how many numbers a row ``block_values`` holds."""
        return n_units

    def block_values(self, block, prepared):
        """Return the values of unit directions at the rows of a block, (n, K)."""
        H = block.values(prepared)
        return np.maximum(H, 0.0, out=H)

    def features(self, X, directions):
        """Return the values of unit directions at all rows, (n_samples, K)."""
        return features(self, Rows.of(X), directions)

    def network(self, directions, outputs, amplitudes, intercept, linear=None):
        """Return the balanced network of directions and amplitudes."""
        return Network.from_directions(
            directions, outputs, amplitudes, intercept, self.norm, linear
        )

    def empty(self, n_inputs, intercept):
        """Return the network without neurons that predicts ``intercept``."""
        return Network.empty(n_inputs, intercept, self.norm)


NEURONS = NeuronShape()


@dataclass(frozen=True)
class GatedNetwork:
    """``f(x) = sum_g 1[x gate_g > 0] x V_g + intercept``: units with fixed gates.

    Attributes
    ----------
    gates : ndarray of shape (n_gates, n_inputs)
        Vectors that tell which samples a unit passes.
    blocks : ndarray of shape (n_gates, n_inputs, n_outputs)
        Weights V of the units.
    intercept : ndarray of shape (n_outputs,)
        Constant added to the output; never penalised.
    norm : Norm, default=EUCLIDEAN
        What measures columns of blocks.
    linear : Linear or None, default=None
        The linear part that is added, where there is one.
    """

    gates: np.ndarray
    blocks: np.ndarray
    intercept: np.ndarray
    norm: Norm = EUCLIDEAN
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

    def forward(self, X):
        """Return the predictions at an array-like ``X``, (n_samples, n_outputs).

        ``X`` may leave out the column of ones, whose weights are then biases.
        """
        rows = rows_of(X, self.gates.shape[1])
        F = outputs_for(rows, self.blocks, self.intercept)
        n_gates, n_inputs, n_outputs = self.blocks.shape
        columns = self.blocks.transpose(1, 0, 2).reshape(n_inputs, n_gates * n_outputs)
        F = rows.map(
            _gated_values,
            n_gates * n_outputs + 1,
            F,
            rows.weights(self.gates.T),
            rows.weights(columns),
            self.intercept,
        )
        return F if self.linear is None else self.linear.added(rows, F)

    def unit_values(self, X):
        """Return the values of the units, (n_samples, n_gates, n_outputs)."""
        passed = X @ self.gates.T > 0.0
        return passed[:, :, None] * np.tensordot(X, self.blocks, axes=(1, 1))

    def scaled(self, factors):
        """Return the network with units multiplied by ``factors``, zeros dropped."""
        kept = factors > 0.0
        blocks = self.blocks[kept] * factors[kept, None, None]
        return replace(self, gates=self.gates[kept], blocks=blocks)

    def penalties(self):
        """Return the norms of the blocks, (n_gates,).

        Several outputs have the nuclear norm, or, of the 1-norm, the sum of the 2-norms
        of rows: the least sum of ``||u_j|| ||a_j||`` over rank-one terms of a block.
        """
        if not self.norm.is_euclidean:
            return np.linalg.norm(self.blocks, axis=2).sum(axis=1)
        if self.blocks.shape[2] > 1:
            return np.linalg.svd(self.blocks, compute_uv=False).sum(axis=1)
        return np.linalg.norm(self.blocks, axis=1)[:, 0]

    def input_weights(self):
        """Return the sums of the 2-norms of rows of the blocks, (n_inputs,)."""
        total = np.linalg.norm(self.blocks, axis=2).sum(axis=0)
        return total if self.linear is None else total + self.linear.input_weights()

    def penalty(self):
        """Return the sum of the norms of the blocks, and of a linear part."""
        return with_linear(float(self.penalties().sum()), self.linear)

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
        gates, blocks = mapped(basis, self.gates, 1), mapped(basis, self.blocks, 1)
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


def with_linear(penalty, linear):
    """Return a penalty with that of a linear part, where there is one."""
    return penalty if linear is None else penalty + linear.penalty()


def changed(linear, method, argument):
    """Return what a method makes of a linear part, where there is one."""
    return None if linear is None else getattr(linear, method)(argument)


def rows_of(X, n_inputs):
    """Return the Rows of a table of floats, with or without a column of ones.

    What a solver passes, Rows or an array of floats, is taken as it is, without a look
    at its values.

    Raises
    ------
    ValueError
        If there are other columns than the ``n_inputs``, but for the last.
    """
    if isinstance(X, Rows):
        return X
    is_array = isinstance(X, np.ndarray) or sparse.issparse(X) or is_spread(X)
    if not (is_array and X.ndim == 2 and X.dtype.kind == "f"):
        X = check_array(
            X,
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            ensure_all_finite=False,
            ensure_min_samples=0,
            ensure_min_features=0,
            input_name="X",
        )
    if X.shape[1] not in (n_inputs, n_inputs - 1):
        raise ValueError(
            f"X has {X.shape[1]} columns, but the network takes {n_inputs}, of which "
            "a last column of ones, where it has one, may be left out."
        )
    return Rows.of(X, float(X.shape[1] < n_inputs))


def mapped(basis, A, axis):
    """Return ``basis @ A`` along an axis of A, of a sparse basis too."""
    A = np.moveaxis(A, axis, 0)
    product = basis @ A.reshape(len(A), int(np.prod(A.shape[1:])))
    return np.moveaxis(product.reshape(basis.shape[0], *A.shape[1:]), 0, axis)


def features(shape, rows, directions):
    """Return the values of directions of a shape at all rows, (n_samples, K)."""
    K = directions.shape[1]
    out = rows.empty(K, dtype=np.result_type(rows.dtype, directions))
    prepared = shape.prepared(rows, directions)
    return rows.map(unit_values, shape.width(K), out, shape, prepared)


def outputs_for(rows, weights, intercept):
    """Return an array for the outputs, in the precision of products with weights."""
    dtype = np.result_type(rows.dtype, weights, intercept)
    return rows.empty(len(intercept), dtype=dtype)


def unit_values(block, rows, shape, prepared):
    """Kernel: the values of units."""
    return shape.block_values(block, prepared)


def _network_values(block, rows, hidden, output, intercept):
    """Kernel: the outputs of neurons."""
    H = block.values(hidden)
    return np.maximum(H, 0.0, out=H) @ output + intercept


def _gated_values(block, rows, gates, columns, intercept):
    """Kernel: the outputs of gated units."""
    passed, values = block.values(gates) > 0.0, block.values(columns)
    values = values.reshape(*passed.shape, len(intercept))
    return np.einsum("ng,ngc->nc", passed, values) + intercept


def power_of_two(size):
    """Return the largest power of two up to ``size``; scaling by it is exact."""
    return float(2.0 ** np.floor(np.log2(size))) if size > 0.0 else 1.0
