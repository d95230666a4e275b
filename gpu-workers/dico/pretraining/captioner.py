"""Cross-entropy pre-training of the captioner: what DiCO starts from and keeps to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scenes.kinds import KINDS
from scenes.lexicon import kind_forms
from scenes.scene import Scene
from torch import Tensor, nn

from dico.captioner import Captioner, CaptionerConfig, pad_captions, token_logps
from dico.pretraining.bank import Bank, bank_scene, centre_of
from dico.pretraining.clock import FURTHER, Budget, RunningMeans, warm_cosine
from dico.tokenizer import Tokenizer
from dico.tower import Tower

# Weight of the penalty on naming a thing again.
REPETITION_WEIGHT = 2.0
# Weight of telling where a thing lies that has just been named.
PLACE_WEIGHT = 1.0
# Pictures from which batches of like length are cut: padding would be two fifths of the work.
POOL = 256


def cross_entropy(logits: Tensor, labels: Tensor, pad_id: int) -> Tensor:
    """Mean negative log-likelihood of a token, EOS included, PAD not: [N, T, V] x [N, T] -> []."""
    return -token_logps(logits, labels, pad_id).sum() / (labels != pad_id).sum()


def repetition_loss(logits: Tensor, labels: Tensor, is_kind: Tensor, pad_id: int) -> Tensor:
    """Unlikelihood of naming again what the caption has named (arXiv:1908.04319), per token.

    Args:
        logits: Teacher-forced, [N, T, V].
        labels: [N, T], PAD where nothing is to be said.
        is_kind: Which tokens begin or make up the name of a kind, [V] bool.
        pad_id: The label that counts nowhere.
    """
    length = labels.shape[1]
    earlier = torch.ones(length, length).tril(-1).bool()  # [T, T]: position s lies before t
    said = is_kind[labels][:, None, :] & earlier  # [N, T, T]
    # "a car and a police car" says a word twice and is right.
    said &= labels[:, None, :] != labels[..., None]
    said &= (labels != pad_id)[..., None]
    index = labels[:, None, :].expand(-1, length, -1)
    again = logits.gather(-1, index) - logits.logsumexp(dim=-1, keepdim=True)  # [N, T, T]
    penalty = -torch.log1p(-again.exp().clamp(max=1 - 1e-4))
    return (penalty * said).sum() / (labels != pad_id).sum()


def kind_tokens(tokenizer: Tokenizer) -> Tensor:
    """Tokens that occur in the names of kinds, [V] bool."""
    marks = torch.zeros(tokenizer.vocab_size, dtype=torch.bool)
    for forms in kind_forms().values():
        for form in forms:
            marks[tokenizer.encode(f" {form}")] = True
    marks[tokenizer.encode(" of")] = False
    return marks


@dataclass(frozen=True)
class PlacedNoun:
    """A thing that a caption names: the last token of its name, and where its centre lies.

    Attributes:
        token: Index among the caption's tokens.
        centre: As `dico.pretraining.bank.centre_of` gives it.
    """

    token: int
    centre: tuple[float, float]


def placed_nouns(tokens: list[int], scene: Scene, tokenizer: Tokenizer) -> list[PlacedNoun]:
    """Every first mention of a thing of the scene in a caption of it."""
    found: list[PlacedNoun] = []
    for group in scene.groups:
        for form in kind_forms()[group.kind]:
            name = tokenizer.encode(f" {form}")
            starts = [i for i in range(len(tokens)) if tokens[i : i + len(name)] == name]
            if starts:
                found.append(PlacedNoun(starts[0] + len(name) - 1, centre_of(group)))
                break
    return found


class PlaceHead(nn.Module):
    """Reads off the middle of the decoder where the thing just named lies; thrown away afterwards.

    "left of" is one word in twenty and depends on two places at once: cross-entropy alone was
    still guessing it after 6,500 steps.
    """

    def __init__(self, captioner: Captioner) -> None:
        super().__init__()
        width = captioner.config.width
        self.read = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2))
        self._states = torch.empty(0)
        middle = captioner.decoder_layers[(captioner.config.decoder_layers - 1) // 2]
        middle.register_forward_hook(self._keep)

    def _keep(self, _layer: nn.Module, _inputs: object, output: tuple[Tensor, object]) -> None:
        self._states = output[0]

    def loss(self, nouns: list[list[PlacedNoun]]) -> Tensor:
        """Mean squared distance to the centres; nouns of each caption of the last forward pass."""
        rows = [row for row, own in enumerate(nouns) for _ in own]
        # Position 0 reads BOS, so that token i is read at i + 1.
        read_at = [noun.token + 1 for own in nouns for noun in own]
        centres = torch.tensor([noun.centre for own in nouns for noun in own])
        return (self.read(self._states[rows, read_at]) - centres).square().sum(dim=-1).mean()


def start_from_words(captioner: Captioner, tower: Tower, tokenizer: Tokenizer) -> None:
    """Lets each kind's probability point to its word from the first step on; halves the time."""
    offset = tower.config.widths[-1]
    with torch.no_grad():
        for index, kind in enumerate(KINDS):
            ids = tokenizer.encode(f" {kind.name}")
            word = captioner.token_embedding.weight[ids].mean(dim=0)
            captioner.projection.weight[:, offset + index] = 20.0 * word


def grid_positions(cells: int, width: int) -> Tensor:
    """Where each cell lies, as sines and cosines of its column and row, [cells * cells, width].

    Wavelengths run from two cells to twice the grid, so that every distance within it differs.
    """
    rates = torch.logspace(math.log10(math.pi / cells), math.log10(math.pi), width // 4)  # [w / 4]
    angles = torch.arange(cells)[:, None] * rates  # [cells, w / 4]
    along = torch.cat([angles.sin(), angles.cos()], dim=-1)  # [cells, w / 2]
    columns, rows = along[None].expand(cells, -1, -1), along[:, None].expand(-1, cells, -1)
    return torch.cat([columns, rows], dim=-1).flatten(0, 1)


def place_cells(captioner: Captioner, cells: int) -> None:
    """Gives the encoder positions that it can read; nothing is done where it has learnt its own.

    Beside projected features of norm 25, positions that start at BERT's 0.02 stay unread: "left
    of" and "right of" are then guessed.
    """
    readable = grid_positions(cells, captioner.config.width)
    if captioner.encoder_positions.norm() < 0.5 * readable.norm():
        with torch.no_grad():
            captioner.encoder_positions.copy_(readable)


def batches_of_like_length(
    tokens: list[list[list[int]]],
    batch: int,
    captions_per_image: int,
    generator: np.random.Generator,
) -> Iterator[tuple[np.ndarray, list[list[int]]]]:
    """Endless batches whose captions are about equally long, so that little is padding.

    Args:
        tokens: Of each picture, its captions.
        batch: Pictures a batch.
        captions_per_image: Captions a picture, next to each other in length.
        generator: Source of every choice.

    Yields:
        Rows in ascending order, and their captions, those of a picture adjacent.
    """
    while True:
        rows = generator.choice(len(tokens), min(POOL, len(tokens)), replace=False)
        chosen: list[tuple[int, int, list[list[int]]]] = []
        for row in rows.tolist():
            own = sorted(tokens[row], key=len)
            first = int(generator.integers(len(own) - captions_per_image + 1))
            picked = own[first : first + captions_per_image]
            chosen.append((len(picked[-1]), row, picked))
        chosen.sort(key=lambda each: each[0])
        starts = generator.permutation(range(0, len(chosen) - batch + 1, batch)).tolist()
        for start in starts:
            part = sorted(chosen[start : start + batch], key=lambda each: each[1])
            yield np.array([row for _, row, _ in part]), [c for _, _, own in part for c in own]


def train_captioner(
    folder: Path,
    tower: Tower,
    *,
    minutes: float,
    seed: int,
    start: Captioner | None = None,
    batch: int = 32,
    captions_per_image: int = 2,
    learning_rate: float = 1.5e-3,
) -> Captioner:
    """Trains on the bank until the minutes are spent, or goes on where it stopped.

    Args:
        folder: Holds the bank, the tokenizer and the checkpoint `captioner.pt`.
        tower: That the bank was made with.
        minutes: Budget.
        seed: Decides initial weights and batches.
        start: A captioner of the same tokenizer to train further; None begins anew.
        batch: Pictures a step.
        captions_per_image: Captions of each.
        learning_rate: Peak.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    bank, tokenizer = Bank(folder), Tokenizer.load(folder / "tokenizer.json")
    config = CaptionerConfig(
        feature_width=tower.config.feature_width,
        feature_tokens=tower.config.cells**2,
        vocab_size=tokenizer.vocab_size,
    )
    captioner = Captioner(config)
    if start is None:
        start_from_words(captioner, tower, tokenizer)
    else:
        captioner.load_state_dict(start.state_dict())
        learning_rate *= FURTHER
    place_cells(captioner, tower.config.cells)
    places = PlaceHead(captioner)
    optimiser = torch.optim.AdamW(
        [*captioner.parameters(), *places.parameters()],
        lr=learning_rate,
        betas=(0.9, 0.98),
        weight_decay=0.01,
    )
    budget = Budget(
        folder / "captioner.pt",
        minutes,
        lambda: {
            "captioner": captioner.state_dict(),
            "places": places.state_dict(),
            "optimiser": optimiser.state_dict(),
        },
    )
    saved = budget.restore()
    if saved is not None:
        captioner.load_state_dict(saved["captioner"])
        places.load_state_dict(saved["places"])
        optimiser.load_state_dict(saved["optimiser"])
    entries = bank.entries
    tokens = [[tokenizer.encode(text) for text in entry["human"]] for entry in entries]
    is_kind = kind_tokens(tokenizer)
    batches = batches_of_like_length(
        tokens, batch, captions_per_image, np.random.default_rng((seed, budget.step))
    )
    means = RunningMeans()
    for share in budget.steps(report=lambda: str(means)):
        rows, captions = next(batches)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * warm_cosine(share)
        input_ids, labels = pad_captions(captions, config)
        logits = captioner(bank.features(tower, rows), input_ids)
        loss = cross_entropy(logits, labels, config.pad_id)
        again = repetition_loss(logits, labels, is_kind, config.pad_id)
        place = places.loss(
            [
                placed_nouns(
                    caption, bank_scene(int(rows[number // captions_per_image])), tokenizer
                )
                for number, caption in enumerate(captions)
            ]
        )
        optimiser.zero_grad()
        (loss + REPETITION_WEIGHT * again + PLACE_WEIGHT * place).backward()
        nn.utils.clip_grad_norm_(captioner.parameters(), 1.0)
        optimiser.step()
        means.add({"loss": loss, "again": again, "place": place})
    return captioner.eval()
