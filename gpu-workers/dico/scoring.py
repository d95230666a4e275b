"""How likely a captioner finds given captions, and its states along them.

Decoder and vocabulary see each different beginning of an image's captions once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dico.captioner import Captioner, KeyValue
from dico.prefix_tree import PrefixTree

# Rows of logits held at once: 200 MB in fp32 at the paper's vocabulary.
_CHUNK = 1024


@dataclass(frozen=True)
class SequenceScores:
    """What one teacher-forced pass tells about N captions.

    Attributes:
        logps: Summed log-probabilities, EOS included, fp32, with gradient: [N].
        mean_states: Mean over tokens of the decoder's states, without gradient: [N, d].
        lengths: Tokens, EOS included: [N].
    """

    logps: Tensor
    mean_states: Tensor
    lengths: Tensor


def score_sequences(
    captioner: Captioner,
    encoder_hidden_states: Tensor,
    captions: list[list[int]],
    *,
    cross: list[KeyValue] | None = None,
) -> SequenceScores:
    """Teacher-forced pass over captions, with gradient where the captioner has it.

    Args:
        captioner: Policy or reference.
        encoder_hidden_states: [E, S, d].
        captions: N = E * K token lists without BOS and EOS, the K of an image adjacent.
        cross: Of these images, from `Captioner.cross_cache`, where it is there already.
    """
    config, device = captioner.config, encoder_hidden_states.device
    per_image = len(captions) // len(encoder_hidden_states)
    groups = [captions[first : first + per_image] for first in range(0, len(captions), per_image)]
    tree = PrefixTree.of(groups, bos_id=config.bos_id, pad_id=config.pad_id, device=device)
    states, _ = captioner.decode_states(
        tree.input_ids,
        cross or captioner.cross_cache(encoder_hidden_states),
        positions=tree.positions,
        mask=tree.visible,
    )
    states = states[tree.is_real]  # [U, d]
    along = states[tree.rows]  # [P, d]
    said = [token for tokens in captions for token in (*tokens, config.eos_id)]
    labels = torch.tensor(said, device=device)  # [P]
    owners = torch.arange(len(captions), device=device).repeat_interleave(tree.lengths)
    # A word's logit needs its own embedding alone; only the normaliser needs the vocabulary.
    logits = (along * captioner.token_embedding.weight[labels]).sum(dim=-1, dtype=torch.float32)
    if config.head_bias:
        logits = logits + captioner.head_bias[labels]
    logps = logits - _normalisers(captioner, states)[tree.rows]
    lengths = tree.lengths.float()
    sums = along.new_zeros(len(captions), along.shape[1], dtype=torch.float32)
    sums.index_add_(0, owners, along.detach().float())
    return SequenceScores(
        logps.new_zeros(len(captions)).index_add(0, owners, logps),
        sums / lengths[:, None],
        lengths,
    )


def _normalisers(captioner: Captioner, states: Tensor) -> Tensor:
    """Of each state the log of the sum of its logits' exponentials, in fp32: [U, d] -> [U]."""
    parts = states.split(_CHUNK)
    return torch.cat([captioner.logits(part).float().logsumexp(dim=-1) for part in parts])
