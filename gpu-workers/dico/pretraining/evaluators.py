"""Trains the two evaluators: CLIP contrastively, then PAC's projections with more positives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dico.captioner import CaptionerConfig, pad_captions
from dico.evaluators.clip import Clip, ClipConfig
from dico.pretraining.bank import Bank
from dico.pretraining.clock import Budget, warm_cosine
from dico.tokenizer import Tokenizer
from dico.tower import Tower

# Weights of the extra positives, after arXiv:2303.12112, section 3.
IMAGE_POSITIVES, TEXT_POSITIVES = 0.1, 0.5


def contrastive_loss(
    images: Tensor, texts: Tensor, scale: Tensor, hard_negatives: Tensor | None = None
) -> Tensor:
    """InfoNCE in both directions; hard negatives join as further texts.

    Args:
        images: Unit vectors [B, d].
        texts: Unit vectors [B, d], the i-th belonging to the i-th image.
        scale: Logarithm of the inverse temperature.
        hard_negatives: Unit vectors [M, d] that belong to none of the images.
    """
    target = torch.arange(len(images))
    columns = texts if hard_negatives is None else torch.cat([texts, hard_negatives])
    to_texts = scale.exp() * images @ columns.T
    return 0.5 * (
        F.cross_entropy(to_texts, target)
        + F.cross_entropy(to_texts[:, : len(images)].T.contiguous(), target)
    )


class TextTokens:
    """Captions of the bank as padded tensors w1 .. wn EOS PAD .."""

    def __init__(self, bank: Bank, tokenizer: Tokenizer, config: ClipConfig) -> None:
        self._config = CaptionerConfig(vocab_size=config.vocab_size)
        self._tokens = {
            name: [[tokenizer.encode(text) for text in entry[name]] for entry in bank.entries]
            for name in ("human", "matching", "corrupted")
        }

    def pick(self, name: str, rows: np.ndarray, column: np.ndarray) -> Tensor:
        """One text of each row, [len(rows), T]."""
        chosen = [self._tokens[name][row][pick] for row, pick in zip(rows, column, strict=True)]
        return pad_captions(chosen, self._config)[1]


def train_clip(folder: Path, tower: Tower, *, minutes: float, seed: int, batch: int = 64) -> Clip:
    """Trains CLIP on the bank until the minutes are spent, or goes on where it stopped."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    bank, tokenizer = Bank(folder), Tokenizer.load(folder / "tokenizer.json")
    config = ClipConfig(
        feature_width=tower.config.feature_width,
        feature_tokens=tower.config.cells**2,
        vocab_size=tokenizer.vocab_size,
    )
    clip, texts = Clip(config), TextTokens(bank, tokenizer, config)
    optimiser = torch.optim.AdamW(clip.parameters(), lr=1e-3, weight_decay=0.02)
    budget = Budget(
        folder / "clip.pt",
        minutes,
        lambda: {"clip": clip.state_dict(), "optimiser": optimiser.state_dict()},
    )
    saved = budget.restore()
    if saved is not None:
        clip.load_state_dict(saved["clip"])
        optimiser.load_state_dict(saved["optimiser"])
    average = 0.0
    for share in budget.steps(report=lambda: f"loss {average:.3f}"):
        generator = np.random.default_rng((seed, 1, budget.step))
        rows = np.sort(generator.choice(len(bank.entries), batch, replace=False))
        pick = generator.integers(2, size=batch)
        for group in optimiser.param_groups:
            group["lr"] = 1e-3 * warm_cosine(share)
        images = clip.embed_images(bank.features(tower, rows))
        right = clip.embed_texts(texts.pick("matching", rows, pick))
        wrong = clip.embed_texts(texts.pick("corrupted", rows, pick))
        # Each picture also has to prefer its right caption to that caption's corruption.
        pair = clip.logit_scale.exp() * (images * (right - wrong)).sum(dim=-1)
        loss = contrastive_loss(images, right, clip.logit_scale, wrong) - F.logsigmoid(pair).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(clip.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            clip.logit_scale.clamp_(max=4.6)
        average += 0.02 * (float(loss.detach()) - average)
    return clip.eval()


def train_pac(folder: Path, tower: Tower, clip: Clip, *, steps: int, seed: int) -> Clip:
    """Fine-tunes only the projections with captions and redrawn pictures as further positives."""
    torch.manual_seed(seed)
    bank, tokenizer = Bank(folder), Tokenizer.load(folder / "tokenizer.json")
    texts = TextTokens(bank, tokenizer, clip.config)
    pac = Clip(clip.config)
    pac.load_state_dict(clip.state_dict())
    for parameter in pac.parameters():
        parameter.requires_grad_(False)
    trained = [pac.image_projection.weight, pac.text_projection.weight]
    for weight in trained:
        weight.requires_grad_(True)
    optimiser = torch.optim.AdamW(trained, lr=3e-4, weight_decay=0.02)
    for step in range(steps):
        generator = np.random.default_rng((seed, 2, step))
        rows = np.sort(generator.choice(len(bank.views), 64, replace=False))
        pick = generator.integers(2, size=64)
        images = pac.embed_images(bank.features(tower, rows))
        redrawn = pac.embed_images(bank.features(tower, rows, views=True))
        right = pac.embed_texts(texts.pick("matching", rows, pick))
        wrong = pac.embed_texts(texts.pick("corrupted", rows, pick))
        human = pac.embed_texts(texts.pick("human", rows, generator.integers(5, size=64)))
        loss = (
            contrastive_loss(images, right, pac.logit_scale, wrong)
            + IMAGE_POSITIVES * contrastive_loss(redrawn, right, pac.logit_scale)
            + TEXT_POSITIVES * contrastive_loss(images, human, pac.logit_scale)
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return pac.eval()
