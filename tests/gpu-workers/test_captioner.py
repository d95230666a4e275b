"""Teacher forcing and the key-value cache of the captioner."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from dico.captioner import Captioner, CaptionerConfig, pad_captions, token_logps

CONFIG = CaptionerConfig(feature_width=6, feature_tokens=4, width=8, heads=2, encoder_ffn=8,
                         decoder_ffn=8, vocab_size=17, max_tokens=9)  # fmt: skip


def test_labels_are_the_inputs_shifted_by_one() -> None:
    input_ids, labels = pad_captions([[5, 6, 7], [8]], CONFIG)
    assert input_ids.tolist() == [[0, 5, 6, 7], [0, 8, 2, 2]]
    assert labels.tolist() == [[5, 6, 7, 1], [8, 1, 2, 2]]


def test_padding_counts_nowhere() -> None:
    torch.manual_seed(0)
    captioner = Captioner(CONFIG)
    features = torch.randn(1, 4, 6)
    alone = token_logps(captioner(features, *_inputs([[8, 9]])), _labels([[8, 9]]), 2)
    longer = [[8, 9], [3, 4, 5, 6]]
    padded = token_logps(captioner(features, *_inputs(longer)), _labels(longer), 2)
    torch.testing.assert_close(alone[0].sum(), padded[0].sum())
    logits = captioner(features, *_inputs(longer))
    expected = F.cross_entropy(
        logits.flatten(0, 1), _labels(longer).flatten(), ignore_index=2, reduction="sum"
    )
    torch.testing.assert_close(-padded.sum(), expected)


@torch.no_grad()
def test_cached_decoding_equals_full_decoding() -> None:
    torch.manual_seed(1)
    captioner = Captioner(CONFIG).eval()
    cross = captioner.cross_cache(captioner.encode(torch.randn(3, 4, 6)))
    ids = torch.randint(3, 17, (6, 7))  # two captions an image
    full, _ = captioner.decode_states(ids, cross)
    past, steps = None, []
    for position in range(7):
        state, past = captioner.decode_states(ids[:, position : position + 1], cross, past)
        steps.append(state)
    torch.testing.assert_close(torch.cat(steps, dim=1), full, rtol=1e-4, atol=1e-5)


def _inputs(captions: list[list[int]]) -> tuple[torch.Tensor]:
    return (pad_captions(captions, CONFIG)[0],)


def _labels(captions: list[list[int]]) -> torch.Tensor:
    return pad_captions(captions, CONFIG)[1]
