"""Weight-only int8: big weights are stored in a quarter of the space, the arithmetic stays float32.

A weight is restored by Cast and Mul, which every onnxruntime folds away when it opens the file.
DequantizeLinear says the same in one node, but by default onnxruntime takes it, with the MatMul
behind it, for a request to compute in 8 bits: 10 to 30 times slower in wasm, and it rounds the
activations too, so that a caption would depend on the runtime's version.
"""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

# Below this many values a scale per channel and two nodes more cost more than they save.
SMALLEST = 256

# The output channel's axis, by the operation that reads the weight.
_CHANNEL_AXIS = {"Conv": 0, "MatMul": 1, "Gemm": 0, "Gather": 0}
_WEIGHT_INPUT = {"Conv": 1, "MatMul": 1, "Gemm": 1, "Gather": 0}


def quantise_weights(model: ModelProto) -> ModelProto:
    """A copy whose matrices and convolutions are int8, symmetric, with a scale for each channel.

    Biases, normalisations and positions stay float32.
    """
    quantised = ModelProto()
    quantised.CopyFrom(model)
    graph = quantised.graph
    sizes = {weight.name: int(np.prod(weight.dims)) for weight in graph.initializer}
    axes = {
        name: axis for name, axis in _weight_axes(graph).items() if sizes.get(name, 0) >= SMALLEST
    }
    stored: list[TensorProto] = []
    restoring: list[NodeProto] = []
    for weight in graph.initializer:
        if weight.name not in axes:
            stored.append(weight)
            continue
        values, scale = _round(numpy_helper.to_array(weight), axes[weight.name])
        stored.append(numpy_helper.from_array(values, f"{weight.name}_int8"))
        stored.append(numpy_helper.from_array(scale, f"{weight.name}_scale"))
        restoring += _restore(weight.name)
    nodes = [*restoring, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(stored)
    graph.node.extend(nodes)
    return quantised


def _restore(name: str) -> list[NodeProto]:
    """The nodes that give an int8 weight back under its own name."""
    return [
        helper.make_node(
            "Cast", [f"{name}_int8"], [f"{name}_cast"], name=f"{name}_cast_node", to=1
        ),
        helper.make_node(
            "Mul", [f"{name}_cast", f"{name}_scale"], [name], name=f"{name}_scale_node"
        ),
    ]


def _round(weight: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 -> int8 of the same shape, and float32 scales that broadcast along `axis`."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    largest = np.abs(weight).max(axis=others, keepdims=True)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.rint(weight / scale).clip(-127, 127).astype(np.int8), scale


def _weight_axes(graph: GraphProto) -> dict[str, int]:
    """Channel axes of all that a matrix operation reads as its weight, subgraphs included."""
    axes: dict[str, int] = {}
    for node in graph.node:
        if node.op_type in _CHANNEL_AXIS:
            axes[node.input[_WEIGHT_INPUT[node.op_type]]] = _CHANNEL_AXIS[node.op_type]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                axes |= _weight_axes(attribute.g)
    return axes
