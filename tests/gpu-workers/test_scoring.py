"""Captions scored as a tree of their beginnings have the figures of each caption by itself."""

from __future__ import annotations

import pytest
import torch
from dico.captioner import Captioner, CaptionerConfig, DecoderKind, pad_captions, token_logps
from dico.prefix_tree import PrefixTree
from dico.scoring import score_sequences

CAPTIONS = [[5, 6, 7], [5, 6], [], [5, 6, 7], [5, 8, 9, 4], [3]]


def captioner_of(decoder: DecoderKind = "gpt2", pad_id: int = 2) -> Captioner:
    torch.manual_seed(0)
    return Captioner(
        CaptionerConfig(
            feature_width=6, feature_tokens=4, width=8, heads=2, encoder_ffn=8, decoder_ffn=8,
            vocab_size=17, max_tokens=9, pad_id=pad_id, decoder=decoder, head_bias=True,
        )
    )  # fmt: skip


@pytest.mark.parametrize(("decoder", "pad_id"), [("gpt2", 2), ("bert", 2), ("gpt2", 1)])
def test_shared_beginnings_score_as_every_caption_by_itself(
    decoder: DecoderKind, pad_id: int
) -> None:
    captioner = captioner_of(decoder, pad_id)
    with torch.no_grad():
        captioner.head_bias.normal_()
    hidden = captioner.encode(torch.randn(2, 4, 6))
    found = score_sequences(captioner, hidden, CAPTIONS)
    expected, means = [], []
    for index, tokens in enumerate(CAPTIONS):
        input_ids, labels = pad_captions([tokens], captioner.config)
        cross = captioner.cross_cache(hidden[index // 3 : index // 3 + 1])
        states, _ = captioner.decode_states(input_ids, cross)
        expected.append(token_logps(captioner.logits(states), labels, pad_id=-1).sum())
        means.append(states[0].mean(dim=0))
    torch.testing.assert_close(found.logps, torch.stack(expected))
    torch.testing.assert_close(found.mean_states, torch.stack(means).detach())
    assert found.lengths.tolist() == [4, 3, 1, 4, 5, 2]
    weights = torch.randn(6)
    parameters = list(captioner.parameters())
    mine, theirs = (
        torch.autograd.grad((logps * weights).sum(), parameters, retain_graph=True)
        for logps in (found.logps, torch.stack(expected))
    )
    for own, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5)


def test_each_beginning_of_an_image_is_there_once() -> None:
    groups = [CAPTIONS[:3], CAPTIONS[3:]]
    tree = PrefixTree.of(groups, bos_id=0, pad_id=2, device=torch.device("cpu"))
    # of the first image: nothing, 5, 5 6, 5 6 7; of the second also 5 8, 5 8 9, 5 8 9 4 and 3
    assert tree.is_real.sum(dim=1).tolist() == [4, 8]
    assert tree.positions[0].tolist()[:4] == [0, 1, 2, 3]
    assert tree.rows[:8].tolist() == [0, 1, 2, 3, 0, 1, 2, 0]
    assert tree.lengths.tolist() == [4, 3, 1, 4, 5, 2]
