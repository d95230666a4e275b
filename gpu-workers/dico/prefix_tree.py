"""Token lists as a tree of their beginnings: equal beginnings have equal states in a causal model.

Captions of one image begin alike, and many texts do. A pass over the tree sees each different
beginning once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class PrefixTree:
    """The U different beginnings of the N texts in G groups, at most M in one group.

    Attributes:
        input_ids: The last token of each beginning, [G, M]; BOS is the empty one's.
        positions: Its place in the text, [G, M].
        visible: Which beginnings are a beginning of which, itself included: [G, 1, M, M].
        is_real: False where a group has fewer than M, [G, M].
        rows: The beginnings of each text, the empty one first, as rows of the U real ones: [P].
        lengths: How many each text has: one more than tokens, [N].
    """

    input_ids: Tensor
    positions: Tensor
    visible: Tensor
    is_real: Tensor
    rows: Tensor
    lengths: Tensor

    @staticmethod
    def of(
        groups: Sequence[Sequence[Sequence[int]]],
        *,
        bos_id: int,
        pad_id: int,
        device: torch.device,
    ) -> PrefixTree:
        """The tree of token lists without BOS; only those of a group share beginnings."""
        nodes = [_Nodes([bos_id], [0], [0], {}) for _ in groups]
        paths = [own.path(text) for own, group in zip(nodes, groups, strict=True) for text in group]
        counts = [len(own.tokens) for own in nodes]
        most, before = max(counts), np.cumsum([0, *counts])
        input_ids = np.full((len(groups), most), pad_id)
        positions = np.zeros((len(groups), most), dtype=np.int64)
        visible = np.zeros((len(groups), 1, most, most), dtype=bool)
        for index, own in enumerate(nodes):
            input_ids[index, : counts[index]] = own.tokens
            positions[index, : counts[index]] = own.depths
            for node, parent in enumerate(own.parents):
                visible[index, 0, node] = visible[index, 0, parent]
                visible[index, 0, node, node] = True
            visible[index, 0, counts[index] :, 0] = True  # PAD has to see something
        group_of = [index for index, group in enumerate(groups) for _ in group]
        arrays = (
            input_ids,
            positions,
            visible,
            np.arange(most) < np.array(counts)[:, None],
            np.concatenate([before[g] + path for g, path in zip(group_of, paths, strict=True)]),
            np.array([len(path) for path in paths]),
        )
        return PrefixTree(*(torch.from_numpy(array).to(device) for array in arrays))


@dataclass
class _Nodes:
    """One group's beginnings; a parent stands before its children."""

    tokens: list[int]
    parents: list[int]
    depths: list[int]
    children: dict[tuple[int, int], int]

    def path(self, text: Sequence[int]) -> np.ndarray:
        """The beginnings of a text, the empty one first; made if need be."""
        node, along = 0, [0]
        for token in text:
            node = self._child(node, token)
            along.append(node)
        return np.array(along)

    def _child(self, parent: int, token: int) -> int:
        node = self.children.setdefault((parent, token), len(self.tokens))
        if node == len(self.tokens):
            self.tokens.append(token)
            self.parents.append(parent)
            self.depths.append(self.depths[parent] + 1)
        return node
