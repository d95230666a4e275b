"""Trains the two evaluators: CLIP contrastively, then PAC's projections with more positives."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dico.evaluators.clip import Clip, ClipConfig
from dico.pretraining.bank import Bank
from dico.pretraining.clock import FURTHER, Budget, RunningMeans, warm_cosine
from dico.pretraining.layout import learn_layout
from dico.pretraining.streams import CORRUPTED, MAX_TOKENS, TextStream, batches_of
from dico.tokenizer import Tokenizer
from dico.tower import Tower

# Weights of the extra positives, after arXiv:2303.12112, section 3.
IMAGE_POSITIVES, TEXT_POSITIVES = 0.1, 0.5
LAYOUT_STEPS = 800
LARGEST_SCALE = 4.6


def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """InfoNCE in both directions.

    Args:
        images: Unit vectors [B, d].
        texts: Unit vectors [B, d], the i-th belonging to the i-th image.
        scale: Logarithm of the inverse temperature.
    """
    target = torch.arange(len(images))
    logits = scale.exp() * images @ texts.T
    return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T.contiguous(), target))


def corruption_loss(images: Tensor, right: Tensor, wrong: Tensor, scale: Tensor) -> Tensor:
    """How far each picture is from preferring its caption to each corruption of it.

    A pair of its own per error, not one softmax over all: an error that is easy to see would take
    the gradient from one that is not.

    Args:
        images: Unit vectors [B, d].
        right: Unit vectors [B, d] of their captions.
        wrong: Unit vectors [B, M, d] of corruptions of these captions.
        scale: Logarithm of the inverse temperature.

    Returns:
        -log sigmoid of the scaled difference, summed over M, mean over B.
    """
    difference = right[:, None] - wrong  # [B, M, d]
    above = scale.exp() * (difference @ images[..., None]).squeeze(-1)  # [B, M]
    return -F.logsigmoid(above).sum(dim=1).mean()


def pool_by_length(clip: Clip, tokens: Tensor, parts: int = 6) -> Tensor:
    """`clip.pool_texts` in parts of like length, which spares the padding: [N, T] -> [N, 3 w]."""
    lengths = (tokens != clip.config.pad_id).sum(dim=1)
    order = lengths.argsort()
    pooled = [clip.pool_texts(tokens[rows, : lengths[rows].max()]) for rows in order.chunk(parts)]
    return torch.cat(pooled)[order.argsort()]


def train_clip(
    folder: Path,
    tower: Tower,
    *,
    minutes: float,
    seed: int,
    start: Clip | None = None,
    batch: int = 64,
    learning_rate: float = 1e-3,
) -> Clip:
    """Trains CLIP on the bank until the minutes are spent, or goes on where it stopped.

    Args:
        folder: Holds the bank, the tokenizer and the checkpoint `clip.pt`.
        tower: Folded and frozen, the one that the bank was built with.
        minutes: Budget.
        seed: Decides initial weights, captions and errors.
        start: An evaluator of the same vocabulary and sizes to begin with; None begins anew.
        batch: Pictures a step.
        learning_rate: Peak.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    bank, tokenizer = Bank(folder), Tokenizer.load(folder / "tokenizer.json")
    config = ClipConfig(
        feature_width=tower.config.feature_width,
        feature_tokens=tower.config.cells**2,
        vocab_size=tokenizer.vocab_size,
        max_tokens=MAX_TOKENS,
    )
    clip = Clip(config)
    learning_rate *= 1.0 if start is None else FURTHER
    optimiser = torch.optim.AdamW(clip.parameters(), lr=learning_rate, weight_decay=0.02)
    budget = Budget(
        folder / "clip.pt",
        minutes,
        lambda: {"clip": clip.state_dict(), "optimiser": optimiser.state_dict()},
    )
    saved = budget.restore()
    if saved is not None:
        clip.load_state_dict(saved["clip"])
        optimiser.load_state_dict(saved["optimiser"])
    elif start is not None:
        clip.load_state_dict(start.state_dict())
    else:
        learn_layout(clip, tower, bank, tokenizer, steps=LAYOUT_STEPS, seed=seed)
    count = len(bank.entries)
    batches = batches_of(
        TextStream(tokenizer, count=count, batch=batch, seed=seed, step=budget.step)
    )
    means = RunningMeans()
    for share in budget.steps(report=lambda: str(means)):
        rows, tokens = next(batches)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * warm_cosine(share)
        images = clip.embed_images(bank.features(tower, rows))
        # [B, 1 + CORRUPTED, T]: the second caption is PAC's positive.
        kept = tokens.view(batch, 2 + CORRUPTED, -1)[:, [0, *range(2, 2 + CORRUPTED)]]
        pooled = pool_by_length(clip, kept.flatten(0, 1))
        texts = clip.project_texts(pooled).view(batch, 1 + CORRUPTED, -1)
        matching = contrastive_loss(images, texts[:, 0], clip.logit_scale)
        errors = corruption_loss(images, texts[:, 0], texts[:, 1:], clip.logit_scale)
        optimiser.zero_grad()
        (matching + errors).backward()
        nn.utils.clip_grad_norm_(clip.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            clip.logit_scale.clamp_(max=LARGEST_SCALE)
        means.add({"batch": matching, "errors": errors})
    return clip.eval()


def train_pac(folder: Path, tower: Tower, clip: Clip, *, steps: int, seed: int) -> Clip:
    """Fine-tunes only the projections with captions and redrawn pictures as further positives."""
    torch.manual_seed(seed)
    bank, tokenizer = Bank(folder), Tokenizer.load(folder / "tokenizer.json")
    pac = Clip(clip.config)
    pac.load_state_dict(clip.state_dict())
    pac.eval().requires_grad_(False)
    trained = [
        layer.weight
        for layer in (
            pac.image_projection,
            pac.image_layout_projection,
            pac.text_projection,
            pac.text_layout_projection,
        )
    ]
    for weight in trained:
        weight.requires_grad_(True)
    optimiser = torch.optim.AdamW(trained, lr=3e-4, weight_decay=0.02)
    batches = batches_of(
        TextStream(tokenizer, count=len(bank.views), batch=64, seed=seed + 1, step=0)
    )
    for step in range(steps):
        rows, tokens = next(batches)
        with torch.no_grad():  # what is below the projections stays
            seen = pac.pool_images(bank.features(tower, rows))
            seen_redrawn = pac.pool_images(bank.features(tower, rows, views=True))
            read = pool_by_length(pac, tokens)
        for group in optimiser.param_groups:
            group["lr"] = 3e-4 * warm_cosine(step / steps)
        images, redrawn = pac.project_images(seen), pac.project_images(seen_redrawn)
        texts = pac.project_texts(read).view(64, 2 + CORRUPTED, -1)
        right, scale = texts[:, 0], pac.logit_scale
        loss = (
            contrastive_loss(images, right, scale)
            + corruption_loss(images, right, texts[:, 2:], scale)
            + IMAGE_POSITIVES * contrastive_loss(redrawn, right, scale)
            + TEXT_POSITIVES * contrastive_loss(images, texts[:, 1], scale)
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return pac.eval().requires_grad_(False)
