"""CLIP-S and its relatives against formulas worked by hand."""

from __future__ import annotations

import pytest
import torch
from dico.captioner import CaptionerConfig, pad_captions
from dico.evaluators.clip import Clip, ClipConfig, pac_score
from dico.evaluators.scores import Scorer, harmonic_mean

SIZES = {"feature_width": 6, "feature_tokens": 9, "width": 8, "heads": 2, "vocab_size": 128}


class Letters:
    """Every character is a token."""

    def encode(self, caption: str) -> list[int]:
        return [ord(letter) for letter in caption]


@pytest.fixture(scope="module")
def clip() -> Clip:
    torch.manual_seed(4)
    return Clip(ClipConfig(**SIZES, ffn=8, max_tokens=24)).eval().requires_grad_(False)


def unit(*values: float) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.tensor(values).float(), dim=0)


def test_weights_clamp_and_the_reward_without_clamp(clip: Clip) -> None:
    """Cosines .6 and -.8."""
    images, captions = unit(1, 0)[None], torch.stack([unit(3, 4), unit(-4, 3)])[None]
    clip_s = Scorer.of("clip_s", clip, Letters(), "ab")
    pac_s = Scorer.of("pac_s", clip, Letters(), "ab")
    reward = Scorer.of("pac_s", clip, Letters(), "ab", clamped=False)
    assert clip_s.score(images, captions).tolist()[0] == pytest.approx([1.5, 0.0])
    assert pac_s.score(images, captions).tolist()[0] == pytest.approx([1.2, 0.0])
    assert reward.score(images, captions).tolist()[0] == pytest.approx([1.2, -1.6])


def test_the_nearest_human_caption_counts(clip: Clip) -> None:
    """PAC-S 1.2; nearest human caption at cosine 1: 2 * 1.2 / 2.2."""
    pac_s = Scorer.of("pac_s", clip, Letters(), "ab")
    human = [torch.stack([unit(-1, 0), unit(3, 4)])]
    found = pac_s.with_human_captions(unit(1, 0)[None], unit(3, 4)[None], human)
    assert found.tolist() == pytest.approx([2 * 1.2 / 2.2])


def test_what_no_human_would_say_scores_nothing() -> None:
    scores = harmonic_mean(torch.tensor([1.2, 0.0, 0.0]), torch.tensor([-0.3, 0.5, 0.0]))
    assert scores.tolist() == [0.0, 0.0, 0.0]


def test_the_prompt_stands_before_every_caption(clip: Clip) -> None:
    official = Scorer.of("clip_s", clip, Letters(), "ab").embed_captions(["a dog"])
    bare = Scorer.of("clip_s", clip, Letters(), "ab", prompt="")
    assert torch.equal(official, bare.embed_captions(["A photo depicts a dog"]))
    assert not torch.equal(official, bare.embed_captions(["a dog"]))


def test_a_caption_longer_than_the_evaluator_reads_is_cut(clip: Clip) -> None:
    bare = Scorer.of("clip_s", clip, Letters(), "ab", prompt="")
    assert torch.equal(bare.embed_captions(["x" * 500]), bare.embed_captions(["x" * 23]))


def test_the_score_is_the_one_that_candidates_are_ranked_by(clip: Clip) -> None:
    features = torch.randn(2, 9, 6, generator=torch.Generator().manual_seed(1))
    captions = ["abc", "de", "fghi", "j"]
    bare = Scorer.of("pac_s", clip, Letters(), "ab", prompt="")
    ours = bare.score(clip.embed_images(features), bare.embed_captions(captions).view(2, 2, -1))
    labels = pad_captions([Letters().encode(c) for c in captions], CaptionerConfig())[1]
    torch.testing.assert_close(ours, pac_score(clip, features, labels))


def test_every_score_says_what_it_was_computed_by(clip: Clip) -> None:
    said = Scorer.of("pac_s", clip, Letters(), "ab").provenance.to_json()
    assert (said["score"], said["weight"], said["clamped"]) == ("pac_s", 2.0, True)
    assert (said["prompt"], said["evaluator_sha256"]) == ("A photo depicts ", "ab")
    assert set(said["libraries"]) == {"python", "torch", "numpy", "pillow", "tokenizers"}
