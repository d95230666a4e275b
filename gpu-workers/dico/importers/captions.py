"""A captioner as it was read, before it becomes a version."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dico.captioner import Captioner
from dico.importers.config import Fields
from dico.importers.weights import CheckpointError, Part, Weights, under
from dico.towers.vit import VisionTransformer

# The bias of an id that only pads or begins: its probability is exactly 0, and fp16 holds it.
NEVER = -1e4


@dataclass(frozen=True)
class ImportedCaptioner:
    """Tower and captioner in eval mode, with the ids that the captioner's configuration names."""

    tower: VisionTransformer
    captioner: Captioner


@dataclass(frozen=True)
class SpecialIds:
    """Start, end and padding as three ids, and the vocabulary that holds them.

    Public decoders begin with their end token or pad with it. Here each role has an id of its own:
    what is missing is added behind the vocabulary, the start as a copy, both never to be said.

    Attributes:
        known: Rows of the checkpoint's own vocabulary.
        start: The row that the added start token copies; None where nothing is added for it.
    """

    known: int
    bos_id: int
    eos_id: int
    pad_id: int
    start: int | None

    @property
    def vocab_size(self) -> int:
        """Rows of the vocabulary with the added ones."""
        return max(self.known, self.bos_id + 1, self.pad_id + 1)

    def embedding(self, weight: Tensor) -> Tensor:
        """The checkpoint's token embedding [known, d] with the added rows."""
        added = weight.new_zeros(self.vocab_size - self.known, weight.shape[1])
        if self.start is not None:
            added[self.bos_id - self.known] = weight[self.start]
        return torch.cat([weight, added])

    def bias(self, bias: Tensor | None) -> Tensor | None:
        """The vocabulary's bias, which the added rows need; None where there is nothing to add."""
        count = self.vocab_size - self.known
        if not count:
            return bias
        own = torch.zeros(self.known) if bias is None else bias
        return torch.cat([own, torch.full((count,), NEVER)])


def special_ids(known: int, start: int | None, end: int | None, pad: int | None) -> SpecialIds:
    """Three ids from those that a configuration names.

    Raises:
        CheckpointError: Start or end is not given, or lies outside the vocabulary.
    """
    if start is None or end is None or max(start, end) >= known:
        raise CheckpointError("config.json does not say which ids of its vocabulary begin and end")
    added = known
    bos_id, copied = start, None
    if start == end:
        bos_id, copied, added = added, start, added + 1
    if pad is None or pad in (bos_id, end) or pad == start or pad >= known:
        pad = added
    return SpecialIds(known, bos_id, end, pad, copied)


def gpt2_decoder(weights: Weights, prefix: str, fields: Fields, ids: SpecialIds) -> Part:
    """GPT-2 with cross-attention under the names of our decoder.

    Args:
        weights: Holds `{prefix}transformer.*`.
        prefix: Of its keys.
        fields: Its configuration; a variant that we do not compute is refused.
        ids: Of its vocabulary.

    Raises:
        CheckpointError: A key is missing or of another shape, or the decoder is of another kind.
    """
    fields.expect("activation_function", "gelu_new")
    fields.expect("scale_attn_weights", True)
    fields.expect("scale_attn_by_inverse_layer_idx", False)
    if fields.number("layer_norm_epsilon", 1e-5) != 1e-5:
        raise CheckpointError("config.json has a 'layer_norm_epsilon' other than 1e-05")
    width, ffn = fields.size("n_embd", 768), gpt2_ffn(fields)
    weights.drop(rf"{prefix}transformer\.h\.\d+\.(cross)?att(n|ention)\.(bias|masked_bias)")
    key = f"{prefix}transformer"
    embedding = weights.take(f"{key}.wte.weight", ids.known, width)
    if f"{prefix}lm_head.weight" in weights:
        head = weights.take(f"{prefix}lm_head.weight", ids.known, width)
        if not torch.equal(head, embedding):
            raise CheckpointError(
                f"{weights.name} has '{prefix}lm_head.weight' untied from '{key}.wte.weight'"
            )
    positions = fields.size("n_positions", 1024)
    parts = {
        "token_embedding.weight": ids.embedding(embedding),
        "decoder_positions": weights.take(f"{key}.wpe.weight", positions, width),
        **under("ln_f", weights.norm(f"{key}.ln_f", width)),
    }
    bias = ids.bias(None)
    if bias is not None:
        parts["head_bias"] = bias
    for index in range(fields.size("n_layer", 12)):
        block = _gpt2_block(weights, f"{key}.h.{index}", width, ffn)
        parts |= under(f"decoder_layers.{index}", block)
    return parts


def gpt2_ffn(fields: Fields) -> int:
    """Width between the two layers of GPT-2's MLP."""
    return fields.size("n_inner", 4 * fields.size("n_embd", 768))


def _gpt2_block(weights: Weights, key: str, width: int, ffn: int) -> Part:
    cross = f"{key}.crossattention"
    return {
        **under("ln_1", weights.norm(f"{key}.ln_1", width)),
        **under("attention", weights.conv1d(f"{key}.attn.c_attn", width, 3 * width)),
        **under("attention_output", weights.conv1d(f"{key}.attn.c_proj", width, width)),
        **under("ln_cross", weights.norm(f"{key}.ln_cross_attn", width)),
        **under("cross_query", weights.conv1d(f"{cross}.q_attn", width, width)),
        **under("cross_key_value", weights.conv1d(f"{cross}.c_attn", width, 2 * width)),
        **under("cross_output", weights.conv1d(f"{cross}.c_proj", width, width)),
        **under("ln_2", weights.norm(f"{key}.ln_2", width)),
        **under("intermediate", weights.conv1d(f"{key}.mlp.c_fc", width, ffn)),
        **under("output", weights.conv1d(f"{key}.mlp.c_proj", ffn, width)),
    }
