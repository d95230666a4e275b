"""Trains the two evaluators: CLIP contrastively, then PAC's projections with more positives."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scenes.grammar import caption
from scenes.kinds import KINDS
from scenes.scene import Scene
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from dico.captioner import CaptionerConfig, pad_captions
from dico.evaluators.clip import Clip, ClipConfig
from dico.pretraining.bank import Bank, bank_scene, centre_of
from dico.pretraining.clock import Budget, warm_cosine
from dico.pretraining.corruptions import ERRORS, Corruptor, Error
from dico.tokenizer import Tokenizer
from dico.tower import Tower

# Weights of the extra positives, after arXiv:2303.12112, section 3.
IMAGE_POSITIVES, TEXT_POSITIVES = 0.1, 0.5
# Corrupted captions of each picture, every one with another error.
CORRUPTED = 3
# How eagerly each error is drawn; relation and colour are offered by a third of the captions.
ERROR_WEIGHTS: dict[Error, float] = {
    "kind": 1.5,
    "count": 3.0,
    "colour": 4.0,
    "size": 2.0,
    "background": 1.5,
    "relation": 8.0,
    "order": 2.0,
    "repetition": 1.2,
    "doubled": 0.8,
    "cut": 0.8,
}
LARGEST_SCALE = 4.6
# Of the throwaway reading of layouts.
LAYOUT_WEIGHT = 2.0
# A caption with a thing said twice is longer than any that the captioner writes.
MAX_TOKENS = 48


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


def evaluator_tokens(tokenizer: Tokenizer, texts: list[str]) -> Tensor:
    """Texts as the evaluator reads them, w1 .. wn EOS PAD .., [N, T]; what is too long is cut."""
    config = CaptionerConfig(vocab_size=tokenizer.vocab_size)
    return pad_captions([tokenizer.encode(text)[: MAX_TOKENS - 1] for text in texts], config)[1]


def pool_by_length(clip: Clip, tokens: Tensor, parts: int = 6) -> Tensor:
    """`clip.pool_texts` in parts of like length, which spares the padding: [N, T] -> [N, 2 w]."""
    lengths = (tokens != clip.config.pad_id).sum(dim=1)
    order = lengths.argsort()
    pooled = [clip.pool_texts(tokens[rows, : lengths[rows].max()]) for rows in order.chunk(parts)]
    return torch.cat(pooled)[order.argsort()]


class LayoutReader(nn.Module):
    """Reads off both pooled halves where the things are; thrown away after training.

    A scene's layout code is the sum over its things of a random vector of the kind, times its
    column and its row. Read off a picture it is exact; read off a caption it is what the words
    let one expect, so "left of" has to move one noun to the left and the other to the right. The
    product of the two then tells a true relation from a false one, which the contrastive losses
    alone did not find.
    """

    def __init__(self, clip: Clip) -> None:
        super().__init__()
        width = clip.config.width
        generator = torch.Generator().manual_seed(0)
        codes = F.normalize(torch.randn(len(KINDS), width, generator=generator), dim=1)
        self._codes = dict(zip((kind.name for kind in KINDS), codes, strict=True))
        self._width = width
        self.image = nn.Linear(clip.image_layout_projection.in_features - width, 2 * width)
        self.text = nn.Linear(width, 2 * width)
        for layer in (self.image, self.text):  # or unlearning the first guess takes most steps
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def loss(self, pooled_images: Tensor, pooled_texts: Tensor, scenes: list[Scene]) -> Tensor:
        """Mean squared error of both readings, each summed over the code.

        Args:
            pooled_images: `Clip.pool_images`, [B, (1 + moments) * width].
            pooled_texts: `Clip.pool_texts` of one true caption each, [B, 2 * width].
            scenes: B of them.
        """
        code = torch.stack([self.code(scene) for scene in scenes])  # [B, 2 * width]
        seen = self.image(pooled_images[:, self._width :])
        read = self.text(pooled_texts[:, self._width :])
        return ((seen - code).square() + (read - code).square()).sum(dim=1).mean()

    def code(self, scene: Scene) -> Tensor:
        """The layout code of a scene, [2 * width]."""
        code = torch.zeros(2, self._width)
        for group in scene.groups:
            place = torch.tensor(centre_of(group))
            code += place[:, None] * self._codes[group.kind]
        return code.flatten()


class TextStream(IterableDataset[tuple[Tensor, Tensor]]):
    """Rows of the bank and, for each, fresh captions with fresh errors; endless.

    Yields rows [B] and tokens [B * (2 + CORRUPTED), T], w1 .. wn EOS PAD ..; each row's two
    captions come first, then the corruptions of the first of them.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, count: int, batch: int, seed: int, step: int
    ) -> None:
        """Args: count: rows to draw from; batch: B; seed, step: where in the stream to begin."""
        self._tokenizer, self._count, self._batch = tokenizer, count, batch
        self._seed, self._step = seed, step

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        step = self._step
        while True:
            generator = np.random.default_rng((self._seed, step))
            rows = np.sort(generator.choice(self._count, self._batch, replace=False))
            texts = [text for row in rows.tolist() for text in self._texts(row, step)]
            yield torch.from_numpy(rows), evaluator_tokens(self._tokenizer, texts)
            step += 1

    def _texts(self, row: int, step: int) -> list[str]:
        scene, rng = bank_scene(row), random.Random(f"{self._seed}/{step}/{row}")
        first, second = caption(scene, rng), caption(scene, rng)
        return [first, second, *corruptions(Corruptor(scene, first), rng)]


def corruptions(corruptor: Corruptor, rng: random.Random) -> list[str]:
    """As many corruptions as `CORRUPTED`, of different errors where the caption offers as many."""
    # Weighted drawing without replacement (Efraimidis, Spirakis 2006).
    order = sorted(ERRORS, key=lambda error: -(rng.random() ** (1 / ERROR_WEIGHTS[error])))
    texts: list[str] = []
    for error in cycle(order):  # every caption names a kind, and that can be wrong
        text = corruptor.corrupted(error, rng.getrandbits(32))
        if text is not None:
            texts.append(text)
        if len(texts) == CORRUPTED:
            break
    return texts


def _batches(stream: TextStream) -> Iterator[tuple[np.ndarray, Tensor]]:
    loader = DataLoader(stream, None, num_workers=1, prefetch_factor=4)
    for rows, tokens in loader:
        yield rows.numpy(), tokens


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
        start: An evaluator of the same vocabulary whose weights to begin with; None begins anew.
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
    if start is not None:
        own = clip.state_dict()
        # A half that a published file lacks is all zeros on both sides and would never learn.
        known = {
            name: value
            for name, value in start.state_dict().items()
            if value.shape == own[name].shape and bool(value.any())
        }
        clip.load_state_dict(own | known)
    reader = LayoutReader(clip)
    optimiser = torch.optim.AdamW(
        [*clip.parameters(), *reader.parameters()], lr=learning_rate, weight_decay=0.02
    )
    budget = Budget(
        folder / "clip.pt",
        minutes,
        lambda: {
            "clip": clip.state_dict(),
            "reader": reader.state_dict(),
            "optimiser": optimiser.state_dict(),
        },
    )
    saved = budget.restore()
    if saved is not None:
        clip.load_state_dict(saved["clip"])
        reader.load_state_dict(saved["reader"])
        optimiser.load_state_dict(saved["optimiser"])
    count = len(bank.entries)
    batches = _batches(TextStream(tokenizer, count=count, batch=batch, seed=seed, step=budget.step))
    average = {"batch": 0.0, "errors": 0.0, "layout": 0.0}
    for share in budget.steps(
        report=lambda: " ".join(f"{name} {value:.4f}" for name, value in average.items())
    ):
        rows, tokens = next(batches)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * warm_cosine(share)
        seen = clip.pool_images(bank.features(tower, rows))
        images = clip.project_images(seen)
        # [B, 1 + CORRUPTED, T]: the second caption is PAC's positive.
        kept = tokens.view(batch, 2 + CORRUPTED, -1)[:, [0, *range(2, 2 + CORRUPTED)]]
        read = pool_by_length(clip, kept.flatten(0, 1))
        texts = clip.project_texts(read).view(batch, 1 + CORRUPTED, -1)
        matching = contrastive_loss(images, texts[:, 0], clip.logit_scale)
        errors = corruption_loss(images, texts[:, 0], texts[:, 1:], clip.logit_scale)
        scenes = [bank_scene(row) for row in rows.tolist()]
        layout = reader.loss(seen, read.view(batch, 1 + CORRUPTED, -1)[:, 0], scenes)
        optimiser.zero_grad()
        (matching + errors + LAYOUT_WEIGHT * layout).backward()
        nn.utils.clip_grad_norm_(clip.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            clip.logit_scale.clamp_(max=LARGEST_SCALE)
        for name, value in (("batch", matching), ("errors", errors), ("layout", layout)):
            average[name] += (0.02 if average[name] else 1.0) * (
                float(value.detach()) - average[name]
            )
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
    batches = _batches(
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
