"""Writes ONNX graphs node by node, with the few compound operations that ours need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from torch import Tensor, nn

# Opset 20 has Gelu; both are old enough for every onnxruntime since 1.17, onnxruntime-web included.
OPSET, IR_VERSION = 20, 9

Axes = Sequence[int | str]
Attribute = int | float | str | Sequence[int]


class GraphBuilder:
    """Collects the nodes and weights of one graph; a method returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self._weights: dict[str, TensorProto] = {}
        self._count = 0

    def constant(self, value: Sequence[int] | int | float) -> str:
        """A small constant: int64 for integers, float32 otherwise."""
        array = np.asarray(value, np.float32 if isinstance(value, float) else np.int64)
        name = f"const_{array.dtype}_{'_'.join(map(str, np.ravel(array)))}_{array.ndim}d"
        self._weights.setdefault(name, numpy_helper.from_array(array, name))
        return name

    def weight(self, name: str, tensor: Tensor, *, transpose: bool = False) -> str:
        """A float32 initialiser; given again under the same name, it is stored once."""
        if name not in self._weights:
            array = tensor.detach().float().cpu().numpy()
            # `ascontiguousarray` would turn a scalar into a vector; weights are never scalars.
            array = np.ascontiguousarray(array.T if transpose else array)
            self._weights[name] = numpy_helper.from_array(array, name)
        return name

    def op(self, kind: str, *inputs: str, output: str = "", **attributes: Attribute) -> str:
        """Appends a node of one output."""
        name = output or self._fresh(kind)
        self._append(kind, inputs, [name], attributes)
        return name

    def ops(self, kind: str, count: int, *inputs: str, **attributes: Attribute) -> list[str]:
        """Appends a node of several outputs."""
        stem = self._fresh(kind)
        names = [f"{stem}_{index}" for index in range(count)]
        self._append(kind, inputs, names, attributes)
        return names

    def linear(self, x: str, name: str, layer: nn.Linear) -> str:
        """[..., in] -> [..., out]."""
        weight = self.weight(f"{name}.weight", layer.weight, transpose=True)
        return self.op("Add", self.op("MatMul", x, weight), self.weight(f"{name}.bias", layer.bias))

    def layer_norm(self, x: str, name: str, layer: nn.LayerNorm) -> str:
        """Normalises the last axis."""
        weight = self.weight(f"{name}.weight", layer.weight)
        bias = self.weight(f"{name}.bias", layer.bias)
        return self.op("LayerNormalization", x, weight, bias, axis=-1, epsilon=layer.eps)

    def split_heads(self, x: str, heads: int, head_width: int) -> str:
        """[N, T, H * D] -> [N, H, T, D]."""
        split = self.op("Reshape", x, self.constant([0, 0, heads, head_width]))
        return self.op("Transpose", split, perm=[0, 2, 1, 3])

    def attend(
        self, query: str, key: str, value: str, heads: int, head_width: int, bias: str = ""
    ) -> str:
        """[N, H, T, D] x [N, H, S, D] -> [N, T, H * D]; `bias` is added to the scores."""
        scaled = self.op("Mul", query, self.constant(float(head_width**-0.5)))
        scores = self.op("MatMul", scaled, self.op("Transpose", key, perm=[0, 1, 3, 2]))
        if bias:
            scores = self.op("Add", scores, bias)
        attended = self.op("MatMul", self.op("Softmax", scores, axis=-1), value)
        merged = self.op("Transpose", attended, perm=[0, 2, 1, 3])
        return self.op("Reshape", merged, self.constant([0, 0, heads * head_width]))

    def branch(self) -> GraphBuilder:
        """A builder for a subgraph: it shares weights and names, and has nodes of its own."""
        inner = GraphBuilder()
        inner._weights = self._weights
        inner._count = self._count + 10_000
        return inner

    def model(
        self, name: str, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]
    ) -> ModelProto:
        """The finished, checked model.

        Raises:
            onnx.checker.ValidationError: The graph is not valid ONNX.
        """
        graph = helper.make_graph(
            self.nodes, name, inputs, outputs, initializer=list(self._weights.values())
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="dico"
        )
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model, full_check=True)
        return model

    def _append(
        self,
        kind: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        attributes: Mapping[str, Attribute],
    ) -> None:
        node = helper.make_node(kind, inputs, outputs, name=f"{outputs[0]}_node")
        node.attribute.extend(
            helper.make_attribute(key, attributes[key]) for key in sorted(attributes)
        )
        self.nodes.append(node)

    def _fresh(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"


def float_value(name: str, axes: Axes) -> ValueInfoProto:
    """A float32 input or output; a text axis may have any size."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, axes)


def int_value(name: str, axes: Axes) -> ValueInfoProto:
    """An int64 input or output."""
    return helper.make_tensor_value_info(name, TensorProto.INT64, axes)


def bool_value(name: str, axes: Axes) -> ValueInfoProto:
    """A bool input or output."""
    return helper.make_tensor_value_info(name, TensorProto.BOOL, axes)
