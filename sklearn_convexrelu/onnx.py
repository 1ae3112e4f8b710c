"""Converters of the estimators for skl2onnx: importing this module registers them.

``skl2onnx.to_onnx(pipeline, X)`` then takes pipelines with them as steps, and whatever
else of skl2onnx holds estimators. There is no entry point by which skl2onnx could find
this module by itself.

A regressor has one output, (n_samples, n_outputs), of what ``predict`` returns. A
classifier has two, labels (strings or 64-bit integers) and, (n_samples, n_classes),
probabilities; of another loss than the log loss these are what ``decision_function``
returns, of two classes with both signs. Its options are those that skl2onnx has for
classifiers: ``zipmap``, ``output_class_labels``, ``nocl`` (labels are indices of
classes), and ``raw_scores``: the decision function of the log loss.

All is computed in the precision of the input, which is float32 unless it is float64.
The gates of gated models alone, which are on or off, are always in float64.
"""

import numpy as np

from sklearn_convexrelu._classifier import ConvexReLUClassifier
from sklearn_convexrelu._cv import ConvexReLUClassifierCV, ConvexReLURegressorCV
from sklearn_convexrelu._exports import check_exportable, relu_layers
from sklearn_convexrelu._regressor import ConvexReLURegressor
from sklearn_convexrelu.model.losses import REGRESSION_LOSSES
from sklearn_convexrelu.model.neurons import GatedNetwork

try:
    from skl2onnx import update_registered_converter
    from skl2onnx.algebra import onnx_ops as ops
    from skl2onnx.common.data_types import (
        DoubleTensorType,
        FloatTensorType,
        Int64TensorType,
        StringTensorType,
    )
    from skl2onnx.common.utils_classifier import get_label_classes
    from skl2onnx.proto import onnx_proto
except ImportError as error:
    raise ImportError(
        "sklearn_convexrelu.onnx needs skl2onnx, and what it makes onnxruntime: "
        "pip install 'sklearn-convexrelu[onnx]'."
    ) from error

__all__: list[str] = []

_TYPES = {
    np.dtype(np.float32): onnx_proto.TensorProto.FLOAT,
    np.dtype(np.float64): onnx_proto.TensorProto.DOUBLE,
    np.dtype(np.int64): onnx_proto.TensorProto.INT64,
}


class _Graph:
    """Operators of ONNX on nodes, for one version of it.

    ``graph.MatMul(X, W)`` is ``OnnxMatMul`` of skl2onnx; arrays become constants.
    """

    def __init__(self, version):
        self.version = version

    def __getattr__(self, name):
        operator = getattr(ops, f"Onnx{name}")

        def node(*inputs, **attributes):
            return operator(*inputs, op_version=self.version, **attributes)

        return node

    def cast(self, X, dtype):
        """Return the node of other numbers."""
        return self.Cast(X, to=_TYPES[np.dtype(dtype)])

    def affine(self, X, weights, biases):
        """Return ``X weights + biases``, in their precision."""
        return self.Add(self.MatMul(X, weights), biases[None])


def _relu_outputs(graph, model, X, dtype):
    """Return the outputs of a ReLU network."""
    *hidden, output = [
        (W.astype(dtype), b.astype(dtype)) for W, b in relu_layers(model)
    ]
    for layer in hidden:
        X = graph.Relu(graph.affine(X, *layer))
    return graph.affine(X, *output)


def _gated_outputs(graph, model, X, dtype):
    """Return the outputs of a gated model, ``sum_p masks_p(x) x V_p + intercept``.

    What a skip connection adds is with the intercept.
    """
    check_exportable(model)
    network = model.network_
    n_inputs, n_outputs = network.blocks.shape[-2:]
    blocks = network.blocks.reshape(-1, n_inputs, n_outputs)
    skip = getattr(model, "skip_coef_", np.zeros((model.n_features_in_, n_outputs)))
    rest = graph.affine(X, skip.astype(dtype), network.intercept.astype(dtype))
    if not len(blocks):  # ONNX takes no layers of none
        return rest
    masks, signs = _masks(graph, model, graph.cast(X, np.float64))
    columns = (blocks * signs[:, None, None]).transpose(1, 0, 2).reshape(n_inputs, -1)
    values = graph.affine(X, *_parted(columns.astype(dtype), model.n_features_in_))
    # A mask for every column, and a sum over the columns of each output.
    repeated = np.repeat(np.arange(len(blocks)), n_outputs)
    masks = graph.Gather(graph.cast(masks, dtype), repeated, axis=1)
    total = np.tile(np.eye(n_outputs, dtype=dtype), (len(blocks), 1))
    values = graph.Mul(masks, values)
    return graph.Add(graph.MatMul(values, total), rest)


def _masks(graph, model, X):
    """Return a node, (n_samples, n_units), of which units pass, and their signs."""
    network, n_features = model.network_, model.n_features_in_
    n_inputs = network.gates.shape[-1]
    gates = network.gates.reshape(-1, n_inputs).T.astype(np.float64)
    Z = graph.affine(X, *_parted(gates, n_features))
    if isinstance(network, GatedNetwork):
        return _passed(graph, Z), np.ones(gates.shape[1])
    # As TreeShape.path_masks: every neuron above a leaf must pass.
    n_trees, shape = len(network.gates), network.shape
    masks, signs = _passed(graph, Z), np.ones((n_trees, shape.n_leaves))
    for width, level in zip(shape.widths, shape.split(network.signs), strict=True):
        n_children = level.shape[1]
        below = np.arange(shape.n_leaves) // (shape.n_leaves // n_children)
        signs = signs * level[:, below]
        edges = np.zeros((n_trees * n_children, n_trees * n_children // width))
        edges[np.arange(len(edges)), np.arange(len(edges)) // width] = level.ravel()
        Z = graph.MatMul(graph.Relu(Z), edges)
        above = (
            np.arange(n_trees * shape.n_leaves)
            * edges.shape[1]
            // (n_trees * shape.n_leaves)
        )
        masks = graph.Mul(masks, graph.Gather(_passed(graph, Z), above, axis=1))
    return masks, signs.ravel()


def _passed(graph, Z):
    """Return 1 where a node is positive, else 0."""
    return graph.cast(graph.Greater(Z, np.zeros(1)), np.float64)


def _parted(columns, n_features):
    """Return weights of features, (n_features, K), and biases, (K,)."""
    if len(columns) > n_features:
        return columns[:-1], columns[-1]
    return columns, np.zeros(columns.shape[1], columns.dtype)


def _outputs(operator, container):
    """Return the graph, the network's outputs in it and their precision."""
    graph, model = _Graph(container.target_opset), operator.raw_operator
    is_double = isinstance(operator.inputs[0].type, DoubleTensorType)
    dtype = np.float64 if is_double else np.float32
    outputs_of = _gated_outputs if model.network_.is_gated else _relu_outputs
    X = graph.cast(operator.inputs[0], dtype)
    return graph, outputs_of(graph, model, X, dtype), dtype


def _convert_regressor(scope, operator, container):
    """Add the nodes of a regressor."""
    graph, F, _ = _outputs(operator, container)
    has_log_link = REGRESSION_LOSSES[operator.raw_operator._fitted_loss].has_log_link
    last = graph.Exp if has_log_link else graph.Identity
    last(F, output_names=operator.outputs).add_to(scope, container)


def _convert_classifier(scope, operator, container):
    """Add the nodes of a classifier."""
    model = operator.raw_operator
    options = container.get_options(model, {"raw_scores": False})
    graph, F, dtype = _outputs(operator, container)
    label, scores = operator.outputs
    is_binary = not model._multilabel and model.n_outputs_ == 1
    if is_binary:
        F = graph.Concat(graph.Neg(F), F, axis=1)
    if model._multilabel:
        chosen = graph.Greater(F, np.zeros(1, dtype))
        named = graph.Cast(chosen, to=_TYPES[np.dtype(np.int64)], output_names=[label])
    else:
        chosen = graph.ArgMax(F, axis=1, keepdims=0)
        named = graph.Gather(
            _labels(scope, model), chosen, axis=0, output_names=[label]
        )
    named.add_to(scope, container)
    last = graph.Identity
    if model._fitted_loss == "log_loss" and not options["raw_scores"]:
        last = graph.Sigmoid if is_binary or model._multilabel else graph.Softmax
    last(F, output_names=[scores]).add_to(scope, container)


def _labels(scope, model):
    """Return the classes as ONNX can hold them, integers or strings."""
    classes = get_label_classes(scope, model)
    if all(isinstance(label, str) for label in classes):
        return classes.astype(str)
    if classes.dtype.kind in "biuf" and (classes == classes.astype(np.int64)).all():
        return classes.astype(np.int64)
    raise ValueError(f"ONNX has labels of integers or strings alone, not {classes}.")


def _set_regressor_shapes(operator):
    """State the type and shape of a regressor's output."""
    check_exportable(operator.raw_operator)
    n_outputs = operator.raw_operator.n_outputs_
    operator.outputs[0].set_type(_numbers(operator, n_outputs))


def _set_classifier_shapes(operator):
    """State the types and shapes of a classifier's outputs."""
    model = operator.raw_operator
    check_exportable(model)
    rows, n_classes = operator.inputs[0].get_first_dimension(), len(model.classes_)
    is_text = _labels(operator.scope_inst, model).dtype.kind == "U"
    type_of_labels = StringTensorType if is_text else Int64TensorType
    shape = [rows, n_classes] if model._multilabel else [rows]
    operator.outputs[0].set_type(type_of_labels(shape))
    operator.outputs[1].set_type(_numbers(operator, n_classes))


def _numbers(operator, n_columns):
    """Return the type of numbers of the input's precision, one row a sample."""
    given = operator.inputs[0]
    is_double = isinstance(given.type, DoubleTensorType)
    kind = DoubleTensorType if is_double else FloatTensorType
    return kind([given.get_first_dimension(), n_columns])


def _register():
    """Make the estimators known to skl2onnx."""
    for model in (ConvexReLURegressor, ConvexReLURegressorCV):
        update_registered_converter(
            model, model.__name__, _set_regressor_shapes, _convert_regressor
        )
    options = {
        "zipmap": [True, False, "columns"],
        "output_class_labels": [False, True],
        "nocl": [False, True],
        "raw_scores": [False, True],
    }
    for model in (ConvexReLUClassifier, ConvexReLUClassifierCV):
        update_registered_converter(
            model,
            model.__name__,
            _set_classifier_shapes,
            _convert_classifier,
            options=options,
        )


_register()
