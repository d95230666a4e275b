"""Every figure of a captioner on one set of scenes."""

from __future__ import annotations

from dataclasses import asdict

import torch
from scenes.checker import check, shares

from dico.base_version import BaseVersion
from dico.captioner import Captioner
from dico.claims.judge import judge
from dico.claims.judges import Judges
from dico.claims.methods import RewardName
from dico.claims.pictures import AT_ONCE, Pictures, captions_of
from dico.metrics import drift
from dico.metrics.fluency import fluency
from dico.metrics.overlap import overlap
from dico.metrics.retrieval import retrieval
from dico.metrics.tokenise import tokenise
from dico.scoring import score_sequences
from dico.search import sample

SAMPLES = 2


@torch.no_grad()
def measure(
    base: BaseVersion, policy: Captioner, judges: Judges, pictures: Pictures, seed: int
) -> dict[str, float]:
    """Traditional metrics, evaluators, retrieval, fluency, facts, the judge, and drift.

    Args:
        base: The common checkpoint, which is also the reference.
        policy: Measured.
        judges: Evaluators.
        pictures: Held-out scenes.
        seed: Of the samples that KL is estimated from.
    """
    hidden = policy.encode(pictures.features)
    captions = captions_of(base, policy, hidden)
    figures = overlap(captions, pictures.human_captions)
    figures |= evaluator_figures(judges, pictures, captions)
    figures |= fluency([tokenise(caption) for caption in captions])
    figures |= fact_figures(captions, pictures)
    figures["kl"] = sampled_kl(base, policy, hidden, pictures, seed)
    return figures


def evaluator_figures(judges: Judges, pictures: Pictures, captions: list[str]) -> dict[str, float]:
    """CLIP-S and PAC-S with and without human captions; finding the picture by its caption."""
    figures: dict[str, float] = {}
    for scorer, images in ((judges.clip_s, pictures.clip), (judges.pac_s, pictures.pac)):
        name = scorer.provenance.score
        texts = scorer.embed_captions(captions)
        counts = [len(own) for own in pictures.human_captions]
        human = scorer.embed_captions([c for own in pictures.human_captions for c in own])
        figures[name] = float(scorer.score(images, texts[:, None]).mean())
        figures[f"ref_{name}"] = float(
            scorer.with_human_captions(images, texts, human.split(counts)).mean()
        )
        if name == "clip_s":
            figures |= retrieval(texts @ images.T)
    return figures


def fact_figures(captions: list[str], pictures: Pictures) -> dict[str, float]:
    """The checker's shares, claims per caption, and how often the judge prefers it to the base."""
    pairs = list(zip(captions, pictures.scenes, strict=True))
    figures = asdict(shares([check(*pair) for pair in pairs], pictures.scenes))
    del figures["captions"], figures["facts_wrong_by_type"]
    mine = [judge(*pair) for pair in pairs]
    base = [judge(*pair) for pair in zip(pictures.base_captions, pictures.scenes, strict=True)]
    count = len(captions)
    return figures | {
        "right_per_caption": sum(verdict.right for verdict in mine) / count,
        "wrong_per_caption": sum(verdict.wrong for verdict in mine) / count,
        "judge": sum(verdict.score for verdict in mine) / count,
        "preferred_to_start": sum(a.against(b) for a, b in zip(mine, base, strict=True)) / count,
    }


@torch.no_grad()
def sampled_kl(
    base: BaseVersion, policy: Captioner, hidden: torch.Tensor, pictures: Pictures, seed: int
) -> float:
    """KL(policy || base) in nats a caption, estimated from the policy's own samples.

    A sample that was cut off is scored with EOS at its end, as candidates are.
    """
    generator = torch.Generator().manual_seed(seed)
    mine: list[torch.Tensor] = []
    reference: list[torch.Tensor] = []
    for start in range(0, len(hidden), AT_ONCE):
        own, theirs = (each[start : start + AT_ONCE] for each in (hidden, pictures.hidden))
        drawn = sample(policy, own, samples=SAMPLES, generators=[generator] * len(own))
        tokens = [list(candidate.tokens) for image in drawn for candidate in image]
        mine.append(score_sequences(policy, own, tokens).logps)
        reference.append(score_sequences(base.captioner, theirs, tokens).logps)
    return drift.sampled_kl(torch.cat(mine), torch.cat(reference)).mean


@torch.no_grad()
def curve_figures(
    base: BaseVersion,
    policy: Captioner,
    judges: Judges,
    reward: RewardName,
    pictures: Pictures,
) -> dict[str, float]:
    """What the training curves show: own reward, both evaluators, CIDEr, drift and fluency."""
    hidden = policy.encode(pictures.features)
    captions = captions_of(base, policy, hidden)
    rows, column = range(len(pictures)), [[caption] for caption in captions]
    names: tuple[RewardName, ...] = ("cider", "clip_s", "pac_s")
    rewards = {name: float(judges.rewards(name, pictures, rows, column).mean()) for name in names}
    return {
        "reward": rewards.get(reward, 0.0),
        **rewards,
        "kl": sampled_kl(base, policy, hidden, pictures, seed=0),
        **fluency([tokenise(caption) for caption in captions]),
    }
