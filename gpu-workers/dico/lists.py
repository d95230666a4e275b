"""Ranked lists: which captions each step of the update sees, and what they are worth.

DiCO and DPO rank fixed lists drawn from the reference or lists drawn from the policy; SCST always
draws from the policy; SFT learns what viewers liked or wrote.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dico.base_version import BaseVersion
from dico.candidates import CandidateMaker, Candidates
from dico.captioner import Captioner, pad_captions
from dico.dpo import Dpo
from dico.evaluators.clip import CLIP_S_WEIGHT, PAC_S_WEIGHT, pac_score
from dico.material import Material, Picture, features_of
from dico.metrics.cider import DocumentFrequencies
from dico.metrics.tokenise import tokenise
from dico.objective import Dico, Objective
from dico.preferences import PreferenceModel, rewards
from dico.screening import Rejection
from dico.scst import BeamMeanScst, GreedyScst
from dico.search import beam_search
from dico.settings import Settings
from dico.sft import Sft
from dico.update import Example, ExampleSource, fixed_lists

# A person's own words count more than a thumb on somebody else's.
THUMB_UP, CORRECTION = 1.0, 2.0

Reward = Callable[[Picture, Candidates], Tensor]


def objective_of(settings: Settings) -> Objective:
    """What the job's method minimises."""
    update = settings.update
    match settings.method:
        case "dico":
            return Dico(update.beta, update.tau, update.anchor)
        case "dpo":
            return Dpo(update.beta, update.anchor)
        case "sft":
            return Sft()
        case "scst":
            return GreedyScst() if settings.baseline == "greedy" else BeamMeanScst()


def source_of(
    material: Material,
    preferences: PreferenceModel,
    base: BaseVersion,
    maker: CandidateMaker,
    settings: Settings,
    seed: int,
) -> ExampleSource:
    """Where each step's examples come from.

    Raises:
        Rejection: NOTHING_TO_LEARN.
    """
    reward = reward_of(material, base, preferences, settings)
    if settings.on_policy:
        return on_policy_lists(material, base, maker, reward, settings, seed)
    if settings.method == "sft":
        examples = [e for p in material.side("train") for e in [liked(p, base)] if e is not None]
    else:
        examples = ranked(material, base, reward)
    if not examples:
        raise Rejection(
            "NOTHING_TO_LEARN",
            "No rated image has two different captions to compare.",
            ["Rate images that can be described in more than one way, or write corrections."],
        )
    return fixed_lists(examples, settings.update, seed)


def reward_of(
    material: Material, base: BaseVersion, preferences: PreferenceModel, settings: Settings
) -> Reward:
    """What a caption of a picture is worth, [K]: the judges together, or one score alone."""

    def by_preference(picture: Picture, candidates: Candidates) -> Tensor:
        logits = preferences.logits(features_of(base, candidates))
        return rewards(candidates, logits, set(picture.corrections), settings.weights)

    def by_clip(picture: Picture, candidates: Candidates) -> Tensor:
        tokens = pad_captions([list(ids) for ids in candidates.tokens], base.captioner.config)[1]
        scores = pac_score(base.clip, picture.features.to(base.device), tokens.to(base.device))
        return scores[0].cpu() * CLIP_S_WEIGHT / PAC_S_WEIGHT

    match settings.reward:
        case "clip_s":
            return by_clip
        case "pac_s":
            return lambda _picture, candidates: candidates.scores
        case "cider":
            return cider_reward(material, base)
        case _:
            return by_preference


def cider_reward(material: Material, base: BaseVersion) -> Reward:
    """CIDEr-D against what viewers liked or wrote of a picture; 0 where they liked nothing."""

    def words(tokens: tuple[int, ...]) -> list[str]:
        return tokenise(base.tokenizer.decode(tokens))

    human: dict[str, list[list[str]]] = {}
    for picture in material.side("train"):
        liked_here = dict.fromkeys(thumb.tokens for thumb in picture.thumbs if thumb.is_up)
        if liked_here:
            human[picture.image.sha256] = [words(tokens) for tokens in liked_here]
    frequencies = DocumentFrequencies.of(list(human.values()))

    def by_cider(picture: Picture, candidates: Candidates) -> Tensor:
        own = human.get(picture.image.sha256)
        if own is None:
            return torch.zeros(len(candidates.tokens))
        said = [words(tokens) for tokens in candidates.tokens]
        return torch.from_numpy(frequencies.score(said, [own] * len(said))).float()

    return by_cider


def ranked(material: Material, base: BaseVersion, reward: Reward) -> list[Example]:
    """The training side's images with two candidates or more, and what each is worth."""
    return [
        _example(picture, picture.candidates, reward(picture, picture.candidates), base)
        for picture in material.side("train")
        if len(picture.candidates.tokens) > 1
    ]


def liked(picture: Picture, base: BaseVersion) -> Example | None:
    """What viewers liked of a picture, corrections first; None where they liked nothing."""
    worth = torch.zeros(len(picture.candidates.tokens))
    for thumb, row in zip(picture.thumbs, picture.rows_of_thumbs(), strict=True):
        if thumb.is_up:
            own = CORRECTION if thumb.tokens in picture.corrections else THUMB_UP
            worth[row] = max(float(worth[row]), own)
    return _example(picture, picture.candidates, worth, base) if bool(worth.any()) else None


def on_policy_lists(
    material: Material,
    base: BaseVersion,
    maker: CandidateMaker,
    reward: Reward,
    settings: Settings,
    seed: int,
) -> ExampleSource:
    """The paper's form: each step's candidates are the beams of the policy being trained."""
    pictures = material.side("train")
    count = settings.candidates if settings.method == "scst" else settings.update.losers + 1

    def draw(policy: Captioner, step: int) -> list[Example]:
        generator = torch.Generator().manual_seed(seed * 1_000_033 + step)
        chosen = torch.randperm(len(pictures), generator=generator)[: settings.update.batch]
        own = CandidateMaker(policy, base.pac, beams=count, samples=0, openings=0, endings=0)
        examples: list[Example] = []
        for picture in (pictures[position] for position in chosen.tolist()):
            features = picture.features.to(base.device)
            tokens, _ = own.draw(features, [generator])[0]
            if len(tokens) < 2:
                continue
            top = picture.candidates.top_logp
            scored = maker.score(features, tokens, top)
            baseline = None
            if settings.method == "scst" and settings.baseline == "greedy":
                with torch.no_grad():
                    greedy = beam_search(policy, policy.encode(features), num_beams=1)[0][0]
                alone = maker.score(features, [greedy.tokens or (policy.config.eos_id,)], top)
                baseline = float(reward(picture, alone)[0])
            examples.append(_example(picture, scored, reward(picture, scored), base, baseline))
        return examples

    return draw


@torch.no_grad()
def _example(
    picture: Picture,
    candidates: Candidates,
    worth: Tensor,
    base: BaseVersion,
    baseline: float | None = None,
) -> Example:
    hidden = base.captioner.encode(picture.features.to(base.device))[0]
    return Example(hidden, candidates, worth, baseline=baseline)
