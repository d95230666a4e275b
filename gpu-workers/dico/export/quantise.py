"""Weight-only int8: big weights are stored in a quarter of the space, the arithmetic stays float32.

Nothing but the weights is rounded, so a caption never depends on the images beside it.
"""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

# Below this many values a scale per channel and a node more cost more than they save.
SMALLEST = 256

# The output channel's axis, by the operation that reads the weight.
_CHANNEL_AXIS = {"Conv": 0, "MatMul": 1, "Gemm": 0, "Gather": 0}
_WEIGHT_INPUT = {"Conv": 1, "MatMul": 1, "Gemm": 1, "Gather": 0}


def quantise_weights(model: ModelProto) -> ModelProto:
    """A copy whose matrices and convolutions are int8, symmetric, with a scale for each channel.

    Each is followed by a `DequantizeLinear` where it is used. Biases, normalisations and positions
    stay float32.
    """
    quantised = ModelProto()
    quantised.CopyFrom(model)
    graph = quantised.graph
    sizes = {weight.name: int(np.prod(weight.dims)) for weight in graph.initializer}
    axes = {
        name: axis for name, axis in _weight_axes(graph).items() if sizes.get(name, 0) >= SMALLEST
    }
    kept = [weight for weight in graph.initializer if weight.name not in axes]
    for weight in graph.initializer:
        if weight.name in axes:
            values, scale = _round(numpy_helper.to_array(weight), axes[weight.name])
            kept.append(numpy_helper.from_array(values, f"{weight.name}_int8"))
            kept.append(numpy_helper.from_array(scale, f"{weight.name}_scale"))
    del graph.initializer[:]
    graph.initializer.extend(kept)
    _dequantise_where_used(graph, axes)
    return quantised


def _round(weight: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 -> int8 of the same shape and the float32 scale of each channel along `axis`."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    largest = np.abs(weight).max(axis=others)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
    return np.rint(weight / scale.reshape(shape)).clip(-127, 127).astype(np.int8), scale


def _subgraphs(node: NodeProto) -> list[GraphProto]:
    return [attribute.g for attribute in node.attribute if attribute.HasField("g")]


def _weight_axes(graph: GraphProto) -> dict[str, int]:
    """Channel axes of all that a matrix operation reads as its weight, subgraphs included."""
    axes: dict[str, int] = {}
    for node in graph.node:
        if node.op_type in _CHANNEL_AXIS:
            axes[node.input[_WEIGHT_INPUT[node.op_type]]] = _CHANNEL_AXIS[node.op_type]
        for subgraph in _subgraphs(node):
            axes |= _weight_axes(subgraph)
    return axes


def _dequantise_where_used(graph: GraphProto, axes: dict[str, int]) -> None:
    """Puts a DequantizeLinear into each graph that reads a weight: an idle branch costs nothing."""
    added: dict[str, NodeProto] = {}
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name in axes:
                output = f"{name}_float_{graph.name}"
                node.input[position] = output
                added[name] = helper.make_node(
                    "DequantizeLinear",
                    [f"{name}_int8", f"{name}_scale"],
                    [output],
                    name=f"{output}_node",
                    axis=axes[name],
                )
        for subgraph in _subgraphs(node):
            _dequantise_where_used(subgraph, axes)
    nodes = [*added.values(), *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
