"""The encoder and the merged decoder as ONNX graphs, in the layout of Optimum and transformers.js.

Written by hand: a traced export is slower and recomputes the cross-attention's keys and values at
each step. Axes: B or E images, N = E * K sequences, S cells, T tokens, P cached tokens, H heads,
D head width, V vocabulary, d model width.
"""

from __future__ import annotations

from dataclasses import dataclass

from onnx import ModelProto, helper
from torch import nn

from dico.captioner import Captioner, CaptionerConfig, DecoderLayer, EncoderLayer
from dico.export.graph_builder import GraphBuilder, bool_value, float_value, int_value
from dico.export.vit_graph import vit_features
from dico.tower import ConvNorm, ResidualBlock, Tower
from dico.towers.joint import AnyTower, JointTower
from dico.towers.vit import VisionTransformer

# Tokens that the decoder ranks itself: twice the beams of the widest search that uses them.
RANKED_TOKENS = 16

# Added to the score of a token that lies ahead; its probability is then exactly 0.
MASKED = -1e9


def encoder_graph(tower: AnyTower, captioner: Captioner) -> ModelProto:
    """pixel_values [B, 3, side, side] -> last_hidden_state [B, S, encoder_width].

    Of a joint tower only the captioner's own part: a served version needs no evaluator.

    Raises:
        ValueError: The tower still has BatchNorm; call `Tower.fold` first.
    """
    config, side = captioner.config, tower.config.image_size
    graph = GraphBuilder()
    own = tower.tower if isinstance(tower, JointTower) else tower
    is_vit = isinstance(own, VisionTransformer)
    x = vit_features(graph, own) if is_vit else _tower(graph, own)
    if config.projected:
        x = graph.linear(x, "projection", captioner.projection)
    if config.encoder_layers:
        positions = graph.weight("encoder_positions", captioner.encoder_positions)
        x = graph.layer_norm(graph.op("Add", x, positions), "encoder_norm", captioner.encoder_norm)
    for index, layer in enumerate(captioner.encoder_layers):
        assert isinstance(layer, EncoderLayer)
        x = _encoder_layer(graph, x, f"encoder_layers.{index}", layer, config)
    graph.op("Identity", x, output="last_hidden_state")
    return graph.model(
        "encoder",
        [float_value("pixel_values", ["batch", 3, side, side])],
        [float_value("last_hidden_state", ["batch", config.feature_tokens, config.encoder_width])],
    )


def _tower(graph: GraphBuilder, tower: Tower) -> str:
    """pixel_values -> features [B, S, feature_width]."""
    x = graph.op("Relu", _convolution(graph, "pixel_values", "tower.stem", tower.stem))
    for index, block in enumerate(tower.stages):
        assert isinstance(block, ResidualBlock)
        name = f"tower.stages.{index}"
        inner = graph.op("Relu", _convolution(graph, x, f"{name}.first", block.first))
        inner = _convolution(graph, inner, f"{name}.second", block.second)
        shortcut = _convolution(graph, x, f"{name}.shortcut", block.shortcut)
        x = graph.op("Relu", graph.op("Add", inner, shortcut))  # [B, C, cells, cells]
    channels, cells = tower.config.widths[-1], tower.config.cells
    flat = graph.op("Reshape", x, graph.constant([0, channels, cells * cells]))
    grid = graph.op("Transpose", flat, perm=[0, 2, 1])  # [B, S, C]
    kinds = graph.op("Softmax", graph.linear(grid, "tower.kind_head", tower.kind_head), axis=-1)
    return graph.op("Concat", grid, kinds, axis=-1)


def _convolution(graph: GraphBuilder, x: str, name: str, layer: ConvNorm) -> str:
    if not isinstance(layer.norm, nn.Identity) or layer.conv.bias is None:
        raise ValueError(f"{name} still has a BatchNorm: fold the tower before exporting it")
    (size, _), (stride, _) = layer.conv.kernel_size, layer.conv.stride
    return graph.op(
        "Conv",
        x,
        graph.weight(f"{name}.weight", layer.conv.weight),
        graph.weight(f"{name}.bias", layer.conv.bias),
        kernel_shape=[size, size],
        strides=[stride, stride],
        pads=[size // 2] * 4,
    )


def _encoder_layer(
    graph: GraphBuilder, x: str, name: str, layer: EncoderLayer, config: CaptionerConfig
) -> str:
    heads, head_width = config.heads, config.width // config.heads
    joint = graph.linear(x, f"{name}.attention", layer.attention)
    query, key, value = (
        graph.split_heads(part, heads, head_width)
        for part in graph.ops("Split", 3, joint, axis=-1, num_outputs=3)
    )
    attended = graph.attend(query, key, value, heads, head_width)
    attended = graph.linear(attended, f"{name}.attention_output", layer.attention_output)
    residual = graph.op("Add", x, attended)
    x = graph.layer_norm(residual, f"{name}.attention_norm", layer.attention_norm)
    inner = graph.op("Gelu", graph.linear(x, f"{name}.intermediate", layer.intermediate))
    inner = graph.linear(inner, f"{name}.output", layer.output)
    return graph.layer_norm(graph.op("Add", x, inner), f"{name}.output_norm", layer.output_norm)


def decoder_graph(captioner: Captioner) -> ModelProto:
    """One decoder for the first step and all later ones, chosen by `use_cache_branch`.

    The first step computes each layer's cross-attention keys and values from
    `encoder_hidden_states` [E, S, d]; later ones read them from `past_key_values.*.encoder.*` and
    nothing from `encoder_hidden_states`. N is a multiple of E: sequences of one image are adjacent.
    `topk_logprobs` and `topk_ids` rank the last position's tokens.
    """
    config = captioner.config
    layers = [layer for layer in captioner.decoder_layers if isinstance(layer, DecoderLayer)]
    graph = GraphBuilder()
    step = _step(graph, captioner, layers)
    ids_shape = graph.op("Shape", "input_ids")
    x = step.embedded
    for index, layer in enumerate(layers):
        x = _decoder_layer(graph, x, index, layer, config, step)
    if config.decoder == "bert":
        x = graph.op("Gelu", graph.linear(x, "head_transform", captioner.head_transform))
    x = graph.layer_norm(x, "ln_f", captioner.ln_f)

    # Gemm reads the tied embedding as it lies; MatMul would need a transposed copy.
    flat = graph.op("Reshape", x, graph.constant([-1, config.width]))
    bias = [graph.weight("head_bias", captioner.head_bias)] if config.head_bias else []
    scores = graph.op("Gemm", flat, "token_embedding", *bias, transB=1)
    shape = graph.op("Concat", ids_shape, graph.constant([config.vocab_size]), axis=0)
    logits = graph.op("Reshape", scores, shape, output="logits")
    last = graph.op("Gather", logits, graph.constant(-1), axis=1)  # [N, V]
    ranked = min(RANKED_TOKENS, config.vocab_size)
    graph.nodes.append(
        helper.make_node(
            "TopK",
            [graph.op("LogSoftmax", last, axis=-1), graph.constant([ranked])],
            ["topk_logprobs", "topk_ids"],
            name="topk_node",
        )
    )
    return _decoder_model(graph, config, ranked)


@dataclass(frozen=True)
class _Step:
    """What all decoder layers of a step share.

    Attributes:
        embedded: Token and position embeddings, [N, T, d].
        ahead: [T, P + T], added to attention scores: 0 for what may be seen.
        past_length: [1], P, or 0 at a first step whatever its cache holds.
        cross: Each layer's cross-attention keys and values, [E, H, S, D].
    """

    embedded: str
    ahead: str
    past_length: str
    cross: list[tuple[str, str]]


def _step(graph: GraphBuilder, captioner: Captioner, layers: list[DecoderLayer]) -> _Step:
    zero, one = graph.constant([0]), graph.constant([1])
    # Optimum feeds a cache of length 1 that means nothing to the first step: count it as empty.
    cached = graph.op("Shape", "past_key_values.0.decoder.key", start=2, end=3)
    uses_cache = graph.op("Cast", "use_cache_branch", to=7)
    past_length = graph.op("Mul", cached, uses_cache)
    total = graph.op("Add", past_length, graph.op("Shape", "input_ids", start=1, end=2))

    table = graph.weight("decoder_positions", captioner.decoder_positions)
    positions = graph.op("Slice", table, past_length, total, zero)  # [T, d]
    embedding = graph.weight("token_embedding", captioner.token_embedding.weight)
    embedded = graph.op("Add", graph.op("Gather", embedding, "input_ids", axis=0), positions)
    if captioner.config.decoder == "bert":
        embedded = graph.layer_norm(embedded, "embedding_norm", captioner.embedding_norm)

    scalar = graph.op("Squeeze", total, zero)
    position = graph.op("Range", graph.constant(0), scalar, graph.constant(1))  # [P + T]
    rows = graph.op("Unsqueeze", graph.op("Slice", position, past_length, total, zero), one)
    seen = graph.op("LessOrEqual", graph.op("Unsqueeze", position, zero), rows)
    ahead = graph.op("Where", seen, graph.constant(0.0), graph.constant(MASKED))
    return _Step(embedded, ahead, past_length, _cross_keys_values(graph, captioner.config, layers))


def _cross_keys_values(
    graph: GraphBuilder, config: CaptionerConfig, layers: list[DecoderLayer]
) -> list[tuple[str, str]]:
    """The `If`: keys and values from the cache, or from the encoder's states."""
    heads, head_width = config.heads, config.width // config.heads
    cached, fresh = graph.branch(), graph.branch()
    outputs: list[tuple[str, str]] = []
    for index, layer in enumerate(layers):
        joint = fresh.linear(
            "encoder_hidden_states",
            f"decoder_layers.{index}.cross_key_value",
            layer.cross_key_value,
        )
        halves = fresh.ops("Split", 2, joint, axis=-1, num_outputs=2)
        for part, half in zip(("key", "value"), halves, strict=True):
            split = fresh.split_heads(half, heads, head_width)
            fresh.op("Identity", split, output=f"fresh.{index}.{part}")
            cached.op(
                "Identity",
                f"past_key_values.{index}.encoder.{part}",
                output=f"cached.{index}.{part}",
            )
        outputs.append((f"present.{index}.encoder.key", f"present.{index}.encoder.value"))
    axes = ["images", heads, "cells", head_width]

    def subgraph(name: str, builder: GraphBuilder) -> object:
        values = [
            float_value(f"{name}.{index}.{part}", axes)
            for index in range(len(layers))
            for part in ("key", "value")
        ]
        return helper.make_graph(builder.nodes, name, [], values)

    graph.nodes.append(
        helper.make_node(
            "If",
            ["use_cache_branch"],
            [name for pair in outputs for name in pair],
            name="cross_keys_values",
            then_branch=subgraph("cached", cached),
            else_branch=subgraph("fresh", fresh),
        )
    )
    return outputs


def _decoder_layer(
    graph: GraphBuilder,
    x: str,
    index: int,
    layer: DecoderLayer,
    config: CaptionerConfig,
    step: _Step,
) -> str:
    name, bert = f"decoder_layers.{index}", layer.is_bert

    def normed(value: str, part: str) -> str:
        return graph.layer_norm(value, f"{name}.{part}", getattr(layer, part))

    attended = _self_attention(graph, x if bert else normed(x, "ln_1"), index, layer, config, step)
    x = graph.op("Add", x, attended)
    x = normed(x, "ln_1") if bert else x
    attended = _cross_attention(
        graph, x if bert else normed(x, "ln_cross"), index, layer, config, step
    )
    x = graph.op("Add", x, attended)
    x = normed(x, "ln_cross") if bert else x
    inner = x if bert else normed(x, "ln_2")
    inner = graph.linear(inner, f"{name}.intermediate", layer.intermediate)
    inner = graph.op("Gelu", inner, approximate="none" if bert else "tanh")
    x = graph.op("Add", x, graph.linear(inner, f"{name}.output", layer.output))
    return normed(x, "ln_2") if bert else x


def _self_attention(
    graph: GraphBuilder,
    x: str,
    index: int,
    layer: DecoderLayer,
    config: CaptionerConfig,
    step: _Step,
) -> str:
    name, heads, head_width = f"decoder_layers.{index}", config.heads, config.width // config.heads
    joint = graph.linear(x, f"{name}.attention", layer.attention)
    query, key, value = (
        graph.split_heads(part, heads, head_width)
        for part in graph.ops("Split", 3, joint, axis=-1, num_outputs=3)
    )
    key, value = (
        _with_past(graph, index, part, new, step) for part, new in (("key", key), ("value", value))
    )
    attended = graph.attend(query, key, value, heads, head_width, step.ahead)
    return graph.linear(attended, f"{name}.attention_output", layer.attention_output)


def _cross_attention(
    graph: GraphBuilder,
    x: str,
    index: int,
    layer: DecoderLayer,
    config: CaptionerConfig,
    step: _Step,
) -> str:
    """All K sequences of an image read the same keys: they are folded into the query axis."""
    name, heads, head_width = f"decoder_layers.{index}", config.heads, config.width // config.heads
    query = graph.linear(x, f"{name}.cross_query", layer.cross_query)
    cross_key, cross_value = step.cross[index]
    images = graph.op("Shape", cross_key, start=0, end=1)
    folded_shape = graph.op("Concat", images, graph.constant([-1, config.width]), axis=0)
    folded = graph.split_heads(graph.op("Reshape", query, folded_shape), heads, head_width)
    attended = graph.attend(folded, cross_key, cross_value, heads, head_width)
    attended = graph.op("Reshape", attended, graph.op("Shape", x))  # [N, T, d]
    return graph.linear(attended, f"{name}.cross_output", layer.cross_output)


def _with_past(graph: GraphBuilder, index: int, part: str, new: str, step: _Step) -> str:
    """Appends the new tokens to the cached ones: [N, H, P + T, D]."""
    past = f"past_key_values.{index}.decoder.{part}"
    kept = graph.op("Slice", past, graph.constant([0]), step.past_length, graph.constant([2]))
    return graph.op("Concat", kept, new, axis=2, output=f"present.{index}.decoder.{part}")


def _decoder_model(graph: GraphBuilder, config: CaptionerConfig, ranked: int) -> ModelProto:
    heads, head_width = config.heads, config.width // config.heads
    inputs = [
        int_value("input_ids", ["sequences", "tokens"]),
        float_value("encoder_hidden_states", ["images", "encoder_cells", config.encoder_width]),
    ]
    outputs = [float_value("logits", ["sequences", "tokens", config.vocab_size])]
    kinds = (
        ("decoder", ("sequences", "past_tokens"), ("sequences", "total_tokens")),
        ("encoder", ("past_images", "past_cells"), ("present_images", "cells")),
    )
    for index in range(config.decoder_layers):
        for kind, (past_rows, past_columns), (rows, columns) in kinds:
            for part in ("key", "value"):
                name = f"{index}.{kind}.{part}"
                past_axes = [past_rows, heads, past_columns, head_width]
                inputs.append(float_value(f"past_key_values.{name}", past_axes))
                axes = [rows, heads, columns, head_width]
                outputs.append(float_value(f"present.{name}", axes))
    inputs.append(bool_value("use_cache_branch", [1]))
    outputs.append(float_value("topk_logprobs", ["sequences", ranked]))
    outputs.append(int_value("topk_ids", ["sequences", ranked]))
    return graph.model("decoder_model_merged", inputs, outputs)
