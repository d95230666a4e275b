"""Cross-entropy pre-training of the captioner: what DiCO starts from and keeps to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scenes.kinds import KINDS
from torch import Tensor, nn

from dico.captioner import Captioner, CaptionerConfig, pad_captions, token_logps
from dico.pretraining.bank import Bank
from dico.pretraining.clock import Budget, warm_cosine
from dico.tokenizer import Tokenizer
from dico.tower import Tower


def cross_entropy(captioner: Captioner, features: Tensor, captions: list[list[int]]) -> Tensor:
    """Mean negative log-likelihood of a token, EOS included, PAD not.

    Args:
        captioner: In train mode for training.
        features: [E, S, F].
        captions: N = E * K token lists, the K of an image adjacent.
    """
    input_ids, labels = pad_captions(captions, captioner.config)
    pad = captioner.config.pad_id
    return -token_logps(captioner(features, input_ids), labels, pad).sum() / (labels != pad).sum()


def start_from_words(captioner: Captioner, tower: Tower, tokenizer: Tokenizer) -> None:
    """Lets each kind's probability point to its word from the first step on; halves the time."""
    offset = tower.config.widths[-1]
    with torch.no_grad():
        for index, kind in enumerate(KINDS):
            ids = tokenizer.encode(f" {kind.name}")
            word = captioner.token_embedding.weight[ids].mean(dim=0)
            captioner.projection.weight[:, offset + index] = 20.0 * word


def train_captioner(
    folder: Path,
    tower: Tower,
    *,
    minutes: float,
    seed: int,
    batch: int = 32,
    captions_per_image: int = 2,
    learning_rate: float = 1.5e-3,
) -> Captioner:
    """Trains on the bank until the minutes are spent, or goes on where it stopped."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    bank, tokenizer = Bank(folder), Tokenizer.load(folder / "tokenizer.json")
    config = CaptionerConfig(
        feature_width=tower.config.feature_width,
        feature_tokens=tower.config.cells**2,
        vocab_size=tokenizer.vocab_size,
    )
    captioner = Captioner(config)
    start_from_words(captioner, tower, tokenizer)
    optimiser = torch.optim.AdamW(
        captioner.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    budget = Budget(
        folder / "captioner.pt",
        minutes,
        lambda: {"captioner": captioner.state_dict(), "optimiser": optimiser.state_dict()},
    )
    saved = budget.restore()
    if saved is not None:
        captioner.load_state_dict(saved["captioner"])
        optimiser.load_state_dict(saved["optimiser"])
    tokens = [[tokenizer.encode(text) for text in entry["human"]] for entry in bank.entries]
    average = 0.0
    for share in budget.steps(report=lambda: f"loss {average:.3f}"):
        generator = np.random.default_rng((seed, budget.step))
        rows = np.sort(generator.choice(len(tokens), batch, replace=False))
        captions = [
            tokens[row][pick]
            for row in rows
            for pick in generator.choice(5, captions_per_image, replace=False)
        ]
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * warm_cosine(share)
        loss = cross_entropy(captioner, bank.features(tower, rows), captions)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(captioner.parameters(), 1.0)
        optimiser.step()
        value = float(loss.detach())
        average = value if budget.step == 0 else average + 0.02 * (value - average)
    return captioner.eval()
