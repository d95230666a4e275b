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
from scenes.parser import parse
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
LAYOUT_STEPS, LAYOUT_LEARNING_RATE = 800, 3e-3
# Of a thing at the edge of the picture, beside vectors of length 6 for all that is in it.
LAYOUT_LENGTH = 6.0
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
    """`clip.pool_texts` in parts of like length, which spares the padding: [N, T] -> [N, 3 w]."""
    lengths = (tokens != clip.config.pad_id).sum(dim=1)
    order = lengths.argsort()
    pooled = [clip.pool_texts(tokens[rows, : lengths[rows].max()]) for rows in order.chunk(parts)]
    return torch.cat(pooled)[order.argsort()]


class RelationStream(IterableDataset[tuple[Tensor, Tensor]]):
    """Rows of scenes with two groups or more, captions that say how they lie if any of four does.

    Endless; yields rows [B], ascending, and tokens [B, T], w1 .. wn EOS PAD ...
    """

    def __init__(self, tokenizer: Tokenizer, *, count: int, batch: int, seed: int) -> None:
        """Args: count: rows to draw from; batch: B; seed: of rows and captions."""
        self._tokenizer, self._count, self._batch = tokenizer, count, batch
        self._rng = random.Random(f"relations/{seed}")

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            rows: list[int] = []
            while len(rows) < self._batch:
                row = self._rng.randrange(self._count)
                if len(bank_scene(row).groups) > 1:
                    rows.append(row)
            rows.sort()
            texts = [self._text(bank_scene(row)) for row in rows]
            yield torch.tensor(rows), evaluator_tokens(self._tokenizer, texts)

    def _text(self, scene: Scene) -> str:
        texts = [caption(scene, self._rng) for _ in range(4)]
        return next((text for text in texts if _says_relation(text)), texts[0])


def _says_relation(text: str) -> bool:
    parsed = parse(text)
    return parsed is not None and bool(parsed.relations)


def learn_layout(
    clip: Clip, tower: Tower, bank: Bank, tokenizer: Tokenizer, *, steps: int, seed: int
) -> None:
    """Teaches what relations are made of: where things lie in a picture, and in a caption.

    A scene's layout code is the sum over its things of a random vector of the kind and axis, times
    the place on that axis. `image_sides` learns to give the code of a picture, `text_neighbours`
    the code that a caption lets one expect: "left of" moves one noun to the left, the other to the
    right. The product of the two tells a true relation from a false one. The contrastive losses
    alone did not find this in 2,500 steps; by itself it takes a few minutes, for neither needs
    the layers of attention.
    """
    width = clip.config.width
    generator = torch.Generator().manual_seed(0)
    codes = F.normalize(torch.randn(len(KINDS), 2, width, generator=generator), dim=-1)
    code_of = {kind.name: code for kind, code in zip(KINDS, codes, strict=True)}

    def layout_code(scene: Scene) -> Tensor:
        places = [torch.tensor(centre_of(group)) @ code_of[group.kind] for group in scene.groups]
        return torch.stack(places).sum(dim=0)  # [width]

    # Both projections read what they have to read from their last columns.
    of_images, of_texts = torch.zeros(width, 2 * width), torch.zeros(width, width)
    trained = [
        *clip.text_neighbours.parameters(),
        *clip.token_embedding.parameters(),
        *clip.image_sides.parameters(),
        of_images.requires_grad_(),
        of_texts.requires_grad_(),
    ]
    optimiser = torch.optim.AdamW(trained, lr=LAYOUT_LEARNING_RATE)
    stream = RelationStream(tokenizer, count=len(bank.entries), batch=192, seed=seed)
    average = {"image": 0.0, "text": 0.0}
    for step, (rows, tokens) in enumerate(_batches(stream)):
        if step == steps:
            break
        for group in optimiser.param_groups:
            group["lr"] = LAYOUT_LEARNING_RATE * warm_cosine(step / steps)
        code = torch.stack([layout_code(bank_scene(row)) for row in rows.tolist()])  # [B, width]
        seen = clip.pool_sides(bank.features(tower, rows[::3])) @ of_images.T
        read = clip.pool_neighbours(tokens)[1] @ of_texts.T
        variance = code.square().sum(dim=1).mean()
        losses = {
            "image": (seen - code[::3]).square().sum(dim=1).mean() / variance,
            "text": (read - code).square().sum(dim=1).mean() / variance,
        }
        optimiser.zero_grad()
        (losses["image"] + losses["text"]).backward()
        optimiser.step()
        for name, loss in losses.items():
            average[name] += (0.02 if step else 1.0) * (float(loss.detach()) - average[name])
        if (step + 1) % 50 == 0:
            figures = " ".join(f"{name} {value:.3f}" for name, value in average.items())
            print(f"layout {step + 1} of {steps}  {figures}", flush=True)
    with torch.no_grad():
        clip.image_layout_projection.weight[:, -2 * width :] = LAYOUT_LENGTH * of_images
        clip.text_layout_projection.weight[:, -width:] = LAYOUT_LENGTH * of_texts


def start_from_kinds(clip: Clip, tower: Tower) -> None:
    """Lets each kind's probability weigh as much as what else the tower says of a cell."""
    offset = tower.config.widths[-1]
    with torch.no_grad():
        clip.image_sides.weight[:, :offset] *= 0.1
        clip.image_sides.weight[:, offset:] *= 20.0


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


def _batches(
    stream: IterableDataset[tuple[Tensor, Tensor]],
) -> Iterator[tuple[np.ndarray, Tensor]]:
    for rows, tokens in DataLoader(stream, None, num_workers=1, prefetch_factor=4):
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
        start_from_kinds(clip, tower)
        learn_layout(clip, tower, bank, tokenizer, steps=LAYOUT_STEPS, seed=seed)
    count = len(bank.entries)
    batches = _batches(TextStream(tokenizer, count=count, batch=batch, seed=seed, step=budget.step))
    average = {"batch": 0.0, "errors": 0.0}
    for share in budget.steps(
        report=lambda: " ".join(f"{name} {value:.4f}" for name, value in average.items())
    ):
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
        for name, value in (("batch", matching), ("errors", errors)):
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
