"""The Vision Transformer as ONNX nodes; axes as in `dico.export.graphs`."""

from __future__ import annotations

from torch import nn

from dico.export.graph_builder import GraphBuilder
from dico.towers.vit import Activation, Block, VisionTransformer


def vit_features(graph: GraphBuilder, tower: VisionTransformer) -> str:
    """pixel_values [B, 3, side, side] -> features [B, feature_tokens, width]."""
    config = tower.config
    bias = tower.patch_embedding.bias
    assert bias is not None
    size = config.patch_size
    patches = graph.op(
        "Conv",
        "pixel_values",
        graph.weight("tower.patch_embedding.weight", tower.patch_embedding.weight),
        graph.weight("tower.patch_embedding.bias", bias),
        kernel_shape=[size, size],
        strides=[size, size],
    )
    count = config.feature_tokens - config.prefix_tokens
    flat = graph.op("Reshape", patches, graph.constant([0, config.width, count]))
    x = graph.op("Transpose", flat, perm=[0, 2, 1])  # [B, patches, d]
    if config.prefix_tokens:
        prefix = graph.weight("tower.prefix_embedding", tower.prefix_embedding)
        batch = graph.op("Shape", "pixel_values", start=0, end=1)
        shape = graph.constant([config.prefix_tokens, config.width])
        expanded = graph.op("Expand", prefix, graph.op("Concat", batch, shape, axis=0))
        x = graph.op("Concat", expanded, x, axis=1)
    x = graph.op("Add", x, graph.weight("tower.position_embedding", tower.position_embedding))
    if isinstance(tower.pre_norm, nn.LayerNorm):
        x = graph.layer_norm(x, "tower.pre_norm", tower.pre_norm)
    for index, block in enumerate(tower.blocks):
        assert isinstance(block, Block)
        x = _block(graph, x, f"tower.blocks.{index}", block, config.width)
    if isinstance(tower.final_norm, nn.LayerNorm):
        x = graph.layer_norm(x, "tower.final_norm", tower.final_norm)
    return x


def _block(graph: GraphBuilder, x: str, name: str, block: Block, width: int) -> str:
    heads, head_width = block.heads, width // block.heads
    normal = graph.layer_norm(x, f"{name}.ln_1", block.ln_1)
    joint = graph.linear(normal, f"{name}.attention", block.attention)
    query, key, value = (
        graph.split_heads(part, heads, head_width)
        for part in graph.ops("Split", 3, joint, axis=-1, num_outputs=3)
    )
    attended = graph.attend(query, key, value, heads, head_width)
    attended = graph.linear(attended, f"{name}.attention_output", block.attention_output)
    x = graph.op("Add", x, attended)
    normal = graph.layer_norm(x, f"{name}.ln_2", block.ln_2)
    inner = graph.linear(normal, f"{name}.intermediate", block.intermediate)
    inner = _activate(graph, inner, block.activation)
    return graph.op("Add", x, graph.linear(inner, f"{name}.output", block.output))


def _activate(graph: GraphBuilder, x: str, activation: Activation) -> str:
    if activation == "gelu":
        return graph.op("Gelu", x)
    scaled = graph.op("Mul", x, graph.constant(1.702))
    return graph.op("Mul", x, graph.op("Sigmoid", scaled))
