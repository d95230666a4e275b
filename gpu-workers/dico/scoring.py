"""How likely a captioner finds given captions, and its states along them.

Captions of one image begin alike, and equal beginnings have equal states. The captions of an image
are therefore a tree of their beginnings: decoder and vocabulary see each different one once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dico.captioner import Captioner

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


@dataclass(frozen=True)
class PrefixTree:
    """The U different beginnings of the captions of E images, at most M of one image.

    Attributes:
        input_ids: The last token of each beginning, [E, M]; BOS is the empty one's.
        positions: Its place in the caption, [E, M].
        visible: Which beginnings are a beginning of which, itself included: [E, 1, M, M].
        is_real: False where an image has fewer than M, [E, M].
        rows: For each token of each caption, EOS included, which of the U predicts it: [P].
        labels: These tokens, [P].
        owners: Whose they are, of N captions: [P].
    """

    input_ids: Tensor
    positions: Tensor
    visible: Tensor
    is_real: Tensor
    rows: Tensor
    labels: Tensor
    owners: Tensor

    @staticmethod
    def of(captions: list[list[int]], images: int, captioner: Captioner) -> PrefixTree:
        """The tree of N = E * K token lists without BOS and EOS, the K of an image adjacent."""
        config, per_image = captioner.config, len(captions) // images
        nodes = [_Nodes([config.bos_id], [0], [0], {}) for _ in range(images)]
        places: list[tuple[int, int]] = []
        labels: list[int] = []
        owners: list[int] = []
        for owner, tokens in enumerate(captions):
            image, node = owner // per_image, 0
            for token in tokens:
                places.append((image, node))
                node = nodes[image].child(node, token)
            places.append((image, node))
            labels += [*tokens, config.eos_id]
            owners += [owner] * (len(tokens) + 1)
        counts = [len(each.tokens) for each in nodes]
        most, before = max(counts), np.cumsum([0, *counts])
        input_ids = np.full((images, most), config.pad_id)
        positions = np.zeros((images, most), dtype=np.int64)
        visible = np.zeros((images, 1, most, most), dtype=bool)
        for image, each in enumerate(nodes):
            input_ids[image, : counts[image]] = each.tokens
            positions[image, : counts[image]] = each.depths
            for node, parent in enumerate(each.parents):
                visible[image, 0, node] = visible[image, 0, parent]
                visible[image, 0, node, node] = True
            visible[image, 0, counts[image] :, 0] = True  # PAD has to see something
        is_real = np.arange(most) < np.array(counts)[:, None]
        rows = [int(before[image]) + node for image, node in places]
        device = captioner.token_embedding.weight.device
        arrays = (torch.from_numpy(array) for array in (input_ids, positions, visible, is_real))
        lists = (torch.tensor(values) for values in (rows, labels, owners))
        return PrefixTree(*(each.to(device) for each in (*arrays, *lists)))

    def states(self, captioner: Captioner, encoder_hidden_states: Tensor) -> Tensor:
        """The decoder's state after each beginning: [E, S, d] -> [U, d]."""
        cross = captioner.cross_cache(encoder_hidden_states)
        states, _ = captioner.decode_states(
            self.input_ids, cross, positions=self.positions, mask=self.visible
        )
        return states[self.is_real]


@dataclass
class _Nodes:
    """One image's beginnings; a parent stands before its children."""

    tokens: list[int]
    parents: list[int]
    depths: list[int]
    children: dict[tuple[int, int], int]

    def child(self, parent: int, token: int) -> int:
        """The beginning that goes on with a token, made if need be."""
        node = self.children.setdefault((parent, token), len(self.tokens))
        if node == len(self.tokens):
            self.tokens.append(token)
            self.parents.append(parent)
            self.depths.append(self.depths[parent] + 1)
        return node


def score_sequences(
    captioner: Captioner, encoder_hidden_states: Tensor, captions: list[list[int]]
) -> SequenceScores:
    """Teacher-forced pass over captions, with gradient where the captioner has it.

    Args:
        captioner: Policy or reference.
        encoder_hidden_states: [E, S, d].
        captions: N = E * K token lists without BOS and EOS, the K of an image adjacent.
    """
    tree = PrefixTree.of(captions, len(encoder_hidden_states), captioner)
    states = tree.states(captioner, encoder_hidden_states)
    # A word's logit needs its own embedding alone; only the normaliser needs the vocabulary.
    along = states[tree.rows]  # [P, d]
    words = captioner.token_embedding.weight[tree.labels]
    logits = (along * words).sum(dim=-1, dtype=torch.float32)
    if captioner.config.head_bias:
        logits = logits + captioner.head_bias[tree.labels]
    logps = logits - _normalisers(captioner, states)[tree.rows]
    lengths = torch.bincount(tree.owners, minlength=len(captions)).float()
    sums = along.new_zeros(len(captions), along.shape[1], dtype=torch.float32)
    sums.index_add_(0, tree.owners, along.detach().float())
    return SequenceScores(
        logps.new_zeros(len(captions)).index_add(0, tree.owners, logps),
        sums / lengths[:, None],
        lengths,
    )


def _normalisers(captioner: Captioner, states: Tensor) -> Tensor:
    """Of each state the log of the sum of its logits' exponentials, in fp32: [U, d] -> [U]."""
    parts = states.split(_CHUNK)
    return torch.cat([captioner.logits(part).float().logsumexp(dim=-1) for part in parts])
