"""Sequence-level training of the base: say what is right, leave out what cannot be told.

Cross-entropy imitates people, who see the picture; where the model cannot tell left from right, it
guesses as often as they would say it. Here its own samples are held against the scene graph, so
that a claim is worth making only where it is right often enough (REINFORCE with the other samples'
mean as baseline, as in `dico.scst`). Cross-entropy goes on beside it and keeps the many ways to
say things that thumbs later choose from.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import torch
from scenes.checker import Check, FactType, check
from scenes.composer import draw_scene
from scenes.grammar import human_captions
from scenes.sampler import sample_scene
from scenes.scene import Scene
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from dico.captioner import Captioner, pad_captions
from dico.pretraining.bank import BANK_SEED
from dico.pretraining.captioner import (
    cross_entropy,
    kind_tokens,
    repetition_loss,
)
from dico.pretraining.clock import Budget, RunningMeans, warm_cosine
from dico.pretraining.tower import normalise, to_pixels
from dico.scoring import score_sequences
from dico.scst import beam_mean_loss
from dico.search import sample
from dico.tokenizer import Tokenizer
from dico.tower import Tower

# What a claim is worth where it is right and where it is wrong. It pays where more than .13 of the
# kinds are right, .85 of the counts, .91 of the relations. What a caption may well leave out is
# worth nothing, or captions would say all that they can.
WORTH: dict[FactType, tuple[float, float]] = {
    "kind": (4.5, -0.6),
    "count": (0.3, -1.8),
    "colour": (0.0, -1.2),
    "size": (0.0, -1.2),
    "relation": (0.3, -3.0),
    "place": (0.0, -1.2),
    "time": (0.0, -1.2),
    "weather": (0.0, -1.2),
}
UNGRAMMATICAL, REPEATED = -8.0, -15.0
# Weight of the penalty on naming a thing again. It is dearer than in cross-entropy alone: what is
# there but not recognised was called by the name of its neighbour.
REPETITION_WEIGHT = 6.0
# Beside cross-entropy, whose unit is a token.
FACTS_WEIGHT = 0.3
# Beams among them would be right more often than the others and so gain on them, with whatever
# way they begin: two of four tastes were then hardly ever met by chance any more.
SAMPLES = 8
# Cross-entropy reads scenes before this one.
FIRST_SCENE = BANK_SEED + 1_000_000
# People's captions of a picture, for the cross-entropy that goes on.
CAPTIONS = 2


def worth(checked: Check) -> float:
    """What a caption is worth: the sum over its claims."""
    if not checked.grammatical:
        return UNGRAMMATICAL
    claims = sum(WORTH[fact.type][0 if fact.right else 1] for fact in checked.facts)
    return claims + REPEATED * checked.repetition


def facts_loss(
    captioner: Captioner,
    hidden: Tensor,
    scenes: list[Scene],
    tokenizer: Tokenizer,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Minus the expected worth of the captioner's own captions, as a loss with its gradient.

    Args:
        captioner: Being trained.
        hidden: encoder_hidden_states [B, S, d], with gradient.
        scenes: B.
        tokenizer: Reads the captions.
        generator: Of the samples.

    Returns:
        The loss, and the mean worth of the samples.
    """
    drawn = sample(
        captioner, hidden.detach(), samples=SAMPLES, generators=[generator] * len(scenes)
    )
    captions = [[list(each.tokens) for each in own] for own in drawn]
    rewards = torch.tensor(
        [
            [worth(check(tokenizer.decode(tokens), scene)) for tokens in own]
            for own, scene in zip(captions, scenes, strict=True)
        ]
    )
    flat = [tokens for own in captions for tokens in own]
    logps = score_sequences(captioner, hidden, flat).logps.view_as(rewards)
    return beam_mean_loss(logps, rewards), rewards.mean()


Drawn = tuple[list[Scene], Tensor, list[list[int]]]


class NewScenes(IterableDataset[Drawn]):
    """Scenes that nothing was trained on, each once, as the tower sees them; endless.

    Yields B scenes, their features [B, S, feature_width] and B * CAPTIONS token lists of people's
    captions, those of a picture adjacent and of like length.
    """

    def __init__(
        self, tower: Tower, tokenizer: Tokenizer, *, batch: int, seed: int, step: int
    ) -> None:
        """Args: batch: B; seed, step: where in the stream to begin."""
        self._tower, self._tokenizer, self._batch = tower, tokenizer, batch
        self._first = FIRST_SCENE + 1_000_000 * seed + batch * step

    def __iter__(self) -> Iterator[Drawn]:
        torch.set_num_threads(1)
        first = self._first
        while True:
            scenes = [sample_scene(seed) for seed in range(first, first + self._batch)]
            pixels = torch.stack([to_pixels(draw_scene(scene)) for scene in scenes])
            with torch.no_grad():
                features = self._tower(normalise(pixels))
            yield scenes, features, [tokens for scene in scenes for tokens in self._said(scene)]
            first += self._batch

    def _said(self, scene: Scene) -> list[list[int]]:
        """Two captions next to each other in length: less of a batch is padding."""
        said = sorted((self._tokenizer.encode(text) for text in human_captions(scene)), key=len)
        start = random.Random(scene.seed).randrange(len(said) - CAPTIONS + 1)
        return said[start : start + CAPTIONS]


def train_on_facts(
    checkpoint: Path,
    tower: Tower,
    start: Captioner,
    tokenizer: Tokenizer,
    *,
    minutes: float,
    seed: int,
    batch: int = 16,
    learning_rate: float = 1.5e-4,
) -> Captioner:
    """Trains a captioner further until the minutes are spent, or goes on where it stopped.

    It reads scenes that cross-entropy has not seen: on those that it has, the captioner is right
    more often (.99 of its claims against .965), and learns nothing about when to be silent.

    Args:
        checkpoint: Where to keep what an interrupted training goes on from.
        tower: Frozen; another process draws and looks with it.
        start: Trained with cross-entropy.
        tokenizer: The captioner's.
        minutes: Budget.
        seed: Decides scenes and samples.
        batch: Pictures a step.
        learning_rate: Peak.
    """
    torch.set_num_threads(1)
    captioner = Captioner(start.config)
    captioner.load_state_dict(start.state_dict())
    optimiser = torch.optim.AdamW(
        captioner.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    budget = Budget(
        checkpoint,
        minutes,
        lambda: {"captioner": captioner.state_dict(), "optimiser": optimiser.state_dict()},
    )
    saved = budget.restore()
    if saved is not None:
        captioner.load_state_dict(saved["captioner"])
        optimiser.load_state_dict(saved["optimiser"])
    is_kind = kind_tokens(tokenizer)
    stream = NewScenes(tower, tokenizer, batch=batch, seed=seed, step=budget.step)
    drawn = iter(DataLoader(stream, None, num_workers=1, prefetch_factor=4))
    generator = torch.Generator().manual_seed(seed * 1_000_003 + budget.step)
    means = RunningMeans()
    for share in budget.steps(report=lambda: str(means)):
        scenes, features, captions = next(drawn)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * warm_cosine(share)
        hidden = captioner.encode(features)
        input_ids, labels = pad_captions(captions, captioner.config)
        states, _ = captioner.decode_states(input_ids, captioner.cross_cache(hidden))
        logits = captioner.logits(states)
        loss = cross_entropy(logits, labels, captioner.config.pad_id)
        again = repetition_loss(logits, labels, is_kind, captioner.config.pad_id)
        facts, earned = facts_loss(captioner, hidden, scenes, tokenizer, generator)
        optimiser.zero_grad()
        (loss + REPETITION_WEIGHT * again + FACTS_WEIGHT * facts).backward()
        nn.utils.clip_grad_norm_(captioner.parameters(), 1.0)
        optimiser.step()
        means.add({"loss": loss, "again": again, "facts": facts, "worth": earned})
    return captioner.eval()
