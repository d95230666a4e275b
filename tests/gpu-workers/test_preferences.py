"""The preference model learns what thumbs say, and rewards follow it."""

from __future__ import annotations

import random

import pytest
import torch
from dico.candidates import Candidates
from dico.preferences import (
    HASHED_WIDTH,
    RewardWeights,
    caption_features,
    fit_preferences,
    hashed_words,
    kinds_of_words,
    rewards,
    roc_auc,
)


def made_up_thumbs(wrong: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Captions of random words; those that say "please" get a thumbs-up, some by mistake not."""
    generator = random.Random(5)
    words = [f"word{index}" for index in range(30)]
    texts, ups = [], []
    for _ in range(200):
        polite = generator.random() < 0.4
        text = generator.sample(words, 5) + (["please"] if polite else [])
        generator.shuffle(text)
        texts.append(" ".join(text))
        ups.append(polite != (generator.random() < wrong))
    alike = [torch.zeros(1, 4)] * 200
    features = caption_features(texts, alike, torch.randn(200, 4), torch.rand(200))
    return features, torch.tensor(ups)


@pytest.mark.parametrize(("wrong", "least"), [(0.0, 0.97), (0.1, 0.8)])
def test_a_taste_is_learnt_from_200_thumbs(wrong: float, least: float) -> None:
    torch.manual_seed(0)
    features, ups = made_up_thumbs(wrong)
    model = fit_preferences(features, ups, torch.arange(200), features)
    assert model.auc > least


def test_noise_teaches_nothing() -> None:
    torch.manual_seed(0)
    features, ups = made_up_thumbs(0.0)
    shuffled = ups[torch.randperm(200, generator=torch.Generator().manual_seed(1))]
    model = fit_preferences(features, shuffled, torch.arange(200), features)
    assert 0.35 < model.auc < 0.65


def test_thumbs_that_are_all_alike_are_refused() -> None:
    features, ups = made_up_thumbs(0.0)
    with pytest.raises(ValueError, match="only one"):
        fit_preferences(features, ups | True, torch.arange(200), features)


def test_word_order_and_length_are_seen() -> None:
    assert not torch.equal(hashed_words("a dog and a cat"), hashed_words("a cat and a dog"))
    assert hashed_words("three small words")[HASHED_WIDTH:].tolist() == [1.0] * 3 + [0.0] * 29
    assert hashed_words("word " * 50)[HASHED_WIDTH:].tolist() == [1.0] * 32


def test_short_enough_is_learnt_and_not_the_shorter_the_better() -> None:
    """Viewers like nine words and fewer: a word too many costs more than those before it."""
    generator = random.Random(6)
    meaning = torch.randn(30, 64, generator=torch.Generator().manual_seed(6))
    lengths = [generator.randint(3, 15) for _ in range(200)]

    def features_of(lengths: list[int]) -> torch.Tensor:
        said = [generator.choices(range(30), k=length) for length in lengths]
        texts = [" ".join(f"word{index}" for index in words) for words in said]
        embeddings = [meaning[words] for words in said]
        return caption_features(
            texts, embeddings, torch.zeros(len(texts), 4), torch.zeros(len(texts))
        )

    rated = features_of(lengths)
    ups = torch.tensor([length <= 9 for length in lengths])
    model = fit_preferences(rated, ups, torch.arange(200), rated)
    five, nine, eleven = (
        float(model.logits(features_of([length] * 200)).mean()) for length in (5, 9, 11)
    )
    assert (nine - eleven) / 2 > 1.5 * (five - nine) / 4


def test_a_thumb_on_a_word_tells_of_words_like_it() -> None:
    """Viewers like a size; the words for it differ between what is rated and what is not."""
    generator = random.Random(7)
    meaning = torch.Generator().manual_seed(7)
    words = {f"word{index}": torch.randn(8, generator=meaning) for index in range(30)}
    size = 4 * torch.randn(8, generator=meaning)
    sizes = {f"size{index}": size + torch.randn(8, generator=meaning) for index in range(8)}
    embedding = words | sizes

    def features_of(texts: list[list[str]]) -> torch.Tensor:
        embeddings = [torch.stack([embedding[word] for word in text]) for text in texts]
        joined = [" ".join(text) for text in texts]
        return caption_features(
            joined, embeddings, torch.zeros(len(texts), 8), torch.zeros(len(texts))
        )

    def captions(known: list[str]) -> list[list[str]]:
        """Every other one with a size."""
        return [
            generator.sample(list(words), 5 - row % 2) + generator.sample(known, row % 2)
            for row in range(200)
        ]

    has_size = torch.arange(200) % 2 == 1
    rated = features_of(captions([f"size{index}" for index in range(4)]))
    model = fit_preferences(rated, has_size, torch.arange(200), rated)
    others = features_of(captions([f"size{index}" for index in range(4, 8)]))
    assert roc_auc(model.logits(others), has_size) > 0.95


def test_kinds_of_words_do_not_tell_how_many_words() -> None:
    meaning = torch.randn(400, 15, 64, generator=torch.Generator().manual_seed(8))
    five, fifteen = (
        torch.stack([kinds_of_words(words[:count]) for words in meaning]).mean(dim=0)
        for count in (5, 15)
    )
    assert float((five - fifteen).abs().max()) < 0.2


def test_auc_by_hand() -> None:
    scores = torch.tensor([0.1, 0.4, 0.4, 0.9])
    assert roc_auc(scores, torch.tensor([False, False, True, True])) == pytest.approx(3.5 / 4)


def test_rewards_by_hand() -> None:
    """1 * .8 / .05 + 12 * ln(.5); one nat less likely; surely liked; surely not; a correction."""
    candidates = Candidates(
        tokens=[(5,), (6,), (7,), (8,), (9,)],
        reference_logps=torch.tensor([-3.0, -4.0, -3.0, -3.0, -30.0]),
        scores=torch.tensor([0.8, 0.8, 0.8, 0.8, 0.1]),
        states=torch.zeros(5, 2),
        top_logp=-3.0,
    )
    logits = torch.tensor([0.0, 0.0, 20.0, -20.0, -20.0])
    reward = rewards(candidates, logits, {(9,)}, RewardWeights())
    torch.testing.assert_close(
        reward, torch.tensor([7.6822, 7.1822, 16.0, -32.0, 18.0]), atol=1e-4, rtol=0
    )
