"""Sequence-level training of the base: say what is right, leave out what cannot be told.

Cross-entropy imitates people, who see the picture; where the model cannot tell left from right, it
guesses as often as they would say it. Here its own samples are held against the scene graph, so
that a claim is worth making only where it is right often enough (REINFORCE with the other samples'
mean as baseline, as in `dico.scst`). Cross-entropy goes on beside it and keeps the many ways to
say things that thumbs later choose from.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scenes.checker import Check, FactType, check
from scenes.scene import Scene
from torch import Tensor, nn

from dico.captioner import Captioner, pad_captions
from dico.pretraining.bank import CROSS_ENTROPY_ROWS, Bank, bank_scene
from dico.pretraining.captioner import (
    REPETITION_WEIGHT,
    batches_of_like_length,
    cross_entropy,
    kind_tokens,
    repetition_loss,
)
from dico.pretraining.clock import Budget, RunningMeans, warm_cosine
from dico.scoring import score_sequences
from dico.scst import beam_mean_loss
from dico.search import sample
from dico.tokenizer import Tokenizer
from dico.tower import Tower

# What a claim is worth where it is right and where it is wrong. It pays where more than a third of
# the kinds are right, .85 of the counts, .88 of the relations. What a caption may well leave out is
# worth nothing, or captions would say all that they can.
WORTH: dict[FactType, tuple[float, float]] = {
    "kind": (1.6, -0.8),
    "count": (0.3, -1.8),
    "colour": (0.0, -1.2),
    "size": (0.0, -1.2),
    "relation": (0.3, -2.2),
    "place": (0.0, -1.2),
    "time": (0.0, -1.2),
    "weather": (0.0, -1.2),
}
UNGRAMMATICAL, REPEATED = -5.0, -3.0
# Beside cross-entropy, whose unit is a token.
FACTS_WEIGHT = 0.3
# Beams among them would be right more often than the others and so gain on them, with whatever
# way they begin: two of four tastes were then hardly ever met by chance any more.
SAMPLES = 8


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


def train_on_facts(
    folder: Path,
    tower: Tower,
    start: Captioner,
    *,
    minutes: float,
    seed: int,
    batch: int = 16,
    captions_per_image: int = 2,
    learning_rate: float = 1.5e-4,
) -> Captioner:
    """Trains a captioner further until the minutes are spent, or goes on where it stopped.

    It reads scenes that cross-entropy has not seen: on those that it has, the captioner is right
    more often (.99 of its claims against .965), and learns nothing about when to be silent.

    Args:
        folder: Holds the bank, the tokenizer and the checkpoint `facts.pt`.
        tower: That the bank was made with.
        start: Trained with cross-entropy.
        minutes: Budget.
        seed: Decides batches and samples.
        batch: Pictures a step.
        captions_per_image: People's captions of each.
        learning_rate: Peak.
    """
    torch.set_num_threads(1)
    bank, tokenizer = Bank(folder), Tokenizer.load(folder / "tokenizer.json")
    captioner = Captioner(start.config)
    captioner.load_state_dict(start.state_dict())
    optimiser = torch.optim.AdamW(
        captioner.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    budget = Budget(
        folder / "facts.pt",
        minutes,
        lambda: {"captioner": captioner.state_dict(), "optimiser": optimiser.state_dict()},
    )
    saved = budget.restore()
    if saved is not None:
        captioner.load_state_dict(saved["captioner"])
        optimiser.load_state_dict(saved["optimiser"])
    entries = bank.entries[CROSS_ENTROPY_ROWS:]
    tokens = [[tokenizer.encode(text) for text in entry["human"]] for entry in entries]
    is_kind = kind_tokens(tokenizer)
    batches = batches_of_like_length(
        tokens, batch, captions_per_image, np.random.default_rng((seed, budget.step))
    )
    generator = torch.Generator().manual_seed(seed * 1_000_003 + budget.step)
    means = RunningMeans()
    for share in budget.steps(report=lambda: str(means)):
        rows, captions = next(batches)
        rows += CROSS_ENTROPY_ROWS
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * warm_cosine(share)
        hidden = captioner.encode(bank.features(tower, rows))
        input_ids, labels = pad_captions(captions, captioner.config)
        states, _ = captioner.decode_states(input_ids, captioner.cross_cache(hidden))
        logits = captioner.logits(states)
        loss = cross_entropy(logits, labels, captioner.config.pad_id)
        again = repetition_loss(logits, labels, is_kind, captioner.config.pad_id)
        scenes = [bank_scene(int(row)) for row in rows]
        facts, earned = facts_loss(captioner, hidden, scenes, tokenizer, generator)
        optimiser.zero_grad()
        (loss + REPETITION_WEIGHT * again + FACTS_WEIGHT * facts).backward()
        nn.utils.clip_grad_norm_(captioner.parameters(), 1.0)
        optimiser.step()
        means.add({"loss": loss, "again": again, "facts": facts, "worth": earned})
    return captioner.eval()
