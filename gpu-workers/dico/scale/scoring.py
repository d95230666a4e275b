"""Log-probabilities of captions without the whole distribution of every token.

With 49,409 words the vocabulary is most of a decoder's cost. Beams of one image share their
beginnings, and equal beginnings have equal states: each different one meets the vocabulary once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dico.captioner import Captioner, pad_captions

# Rows of logits held at once: 200 MB in fp32 at the paper's vocabulary.
_CHUNK = 1024


def caption_logps(captioner: Captioner, hidden: Tensor, captions: list[list[int]]) -> Tensor:
    """Summed log-probabilities of captions, EOS included: [N], fp32; with gradient.

    The same as `dico.candidates.score_sequences(...).logps`, sum for sum.

    Args:
        captioner: Policy or reference.
        hidden: encoder_hidden_states [E, S, d].
        captions: N = E * K token lists without BOS and EOS, the K of an image adjacent.
    """
    device, per_image = hidden.device, len(captions) // len(hidden)
    input_ids, labels = pad_captions(captions, captioner.config)
    states, _ = captioner.decode_states(input_ids.to(device), captioner.cross_cache(hidden))
    # Of equal beginnings, the first one's row stands for all; PAD has no row.
    rows: dict[tuple[int, ...], int] = {}
    chosen: list[int] = []
    position, row_of = [], []
    width = labels.shape[1]
    for index, tokens in enumerate(captions):
        for end in range(len(tokens) + 1):
            beginning = (index // per_image, *tokens[:end])
            if beginning not in rows:
                rows[beginning] = len(chosen)
                chosen.append(index * width + end)
            position.append(index * width + end)
            row_of.append(rows[beginning])
    index = torch.tensor(position, device=device)
    states = states.flatten(0, 1)  # [N * T, d]
    norms = _normalisers(captioner, states[torch.tensor(chosen, device=device)])
    labels = labels.to(device).flatten()[index]  # [P]
    words = captioner.token_embedding.weight[labels]  # [P, d]
    logits = (states[index] * words).sum(dim=-1, dtype=torch.float32)
    logps = logits - norms[torch.tensor(row_of, device=device)]
    owner = torch.div(index, width, rounding_mode="floor")
    return logps.new_zeros(len(captions)).index_add(0, owner, logps)


def _normalisers(captioner: Captioner, states: Tensor) -> Tensor:
    """Of each state the log of the sum of its logits' exponentials, in fp32: [U, d] -> [U]."""
    parts = states.split(_CHUNK)
    return torch.cat([captioner.logits(part).float().logsumexp(dim=-1) for part in parts])
