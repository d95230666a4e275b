"""Held-out checks of a trained captioner: figures from which the edge's gate decides.

They know nothing of the domain: only text, likelihood, evaluator and predicted preference.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from dico.base_version import BaseVersion
from dico.candidates import CandidateMaker
from dico.captioner import Captioner
from dico.material import AT_ONCE, Picture, features_of
from dico.parallel import spread
from dico.preferences import PreferenceModel, roc_auc
from dico.scoring import score_sequences
from dico.search import beam_search, sample

FUNCTION_WORDS = frozenset(
    (
        "a an the of in on at to with and or by from for is are there next front left right above"
    ).split()
)


@dataclass(frozen=True)
class BeforeAfter:
    """One figure for the base's captions and for the new ones."""

    before: float
    after: float


@dataclass(frozen=True)
class Interval:
    """Where a figure lies with 90 % confidence."""

    low: float
    high: float


@dataclass(frozen=True)
class Quality:
    """Means over held-out images.

    Attributes:
        log_ratio: Log-probability under the reference of the new captions minus the base's.
        predicted_approval: Of the preference model fitted on the training thumbs.
        approval_gain: 90 % paired bootstrap interval, over images, of its rise.
        evaluator_score: PAC-S.
        repetition: Share of captions that say a content word's bigram or any word too often.
        ends_on_function_word: Share of captions that end on one.
        mean_length: Words.
        distinct: Distinct captions by images.
        kl: Nats a caption between policy and reference, from the policy's own samples.
        held_out_thumbs_auc: How well the policy's log-ratio ranks the held-out thumbs; None where
            they are all alike.
    """

    log_ratio: float
    predicted_approval: BeforeAfter
    approval_gain: Interval
    evaluator_score: BeforeAfter
    repetition: BeforeAfter
    ends_on_function_word: BeforeAfter
    mean_length: BeforeAfter
    distinct: BeforeAfter
    kl: float
    held_out_thumbs_auc: float | None


@dataclass(frozen=True)
class Captioned:
    """A held-out image's best captions by base and policy, with what is thought of them.

    Attributes:
        before: The base's.
        after: The policy's.
        predicted: Approval that the preference model expects, 0-1.
        reference_logp: Log-probability under the reference.
        score: PAC-S.
    """

    before: str
    after: str
    predicted: BeforeAfter
    reference_logp: BeforeAfter
    score: BeforeAfter


def repeats(caption: str) -> bool:
    """Whether a content word's bigram comes twice or any content word three times.

    A word right before another content word, as "small" in "a small dog", may come again.
    """
    pairs = list(pairwise([*caption.split(), ""]))
    content = {word for word, _ in pairs} - FUNCTION_WORDS
    bigrams = Counter(pair for pair in pairs if content.issuperset(pair))
    heads = Counter(word for word, after in pairs if word in content and after not in content)
    return any(n > 1 for n in bigrams.values()) or any(n > 2 for n in heads.values())


def caption_both_ways(
    base: BaseVersion,
    policy: Captioner,
    maker: CandidateMaker,
    preferences: PreferenceModel,
    features: list[Tensor],
) -> list[Captioned]:
    """The best caption of each image by base and policy; features are [1, S, F] each."""

    @torch.no_grad()
    def both_ways(chunk: list[Tensor]) -> list[Captioned]:
        befores, afters = (best_captions(model, chunk) for model in (base.captioner, policy))
        return [
            _captioned(base, maker, preferences, *each)
            for each in zip(chunk, befores, afters, strict=True)
        ]

    return [each for part in spread(both_ways, _chunks(features), base.device) for each in part]


def _captioned(
    base: BaseVersion,
    maker: CandidateMaker,
    preferences: PreferenceModel,
    features: Tensor,
    before: tuple[int, ...],
    after: tuple[int, ...],
) -> Captioned:
    scored = maker.score(features.to(base.device), [before, after], top_logp=0.0)
    logits = preferences.logits(features_of(base, scored))
    return Captioned(
        before=base.tokenizer.decode(before),
        after=base.tokenizer.decode(after),
        predicted=BeforeAfter(*logits.sigmoid().tolist()),
        reference_logp=BeforeAfter(*scored.reference_logps.tolist()),
        score=BeforeAfter(*scored.scores.tolist()),
    )


def _chunks(features: list[Tensor]) -> list[list[Tensor]]:
    return [features[start : start + AT_ONCE] for start in range(0, len(features), AT_ONCE)]


@torch.no_grad()
def best_captions(captioner: Captioner, features: list[Tensor]) -> list[tuple[int, ...]]:
    """The best caption of each image; an empty one becomes EOS alone."""
    device = next(captioner.parameters()).device
    found: list[tuple[int, ...]] = []
    for chunk in _chunks(features):
        for candidates in beam_search(captioner, captioner.encode(torch.cat(chunk).to(device))):
            found.append(candidates[0].tokens or (captioner.config.eos_id,))
    return found


def held_out_quality(
    base: BaseVersion,
    policy: Captioner,
    captioned: list[Captioned],
    held_out: list[Picture],
    seed: int,
) -> Quality:
    """What the gate judges by, from the captions of `caption_both_ways` on the held-out images."""

    def mean(name: str) -> BeforeAfter:
        both = [getattr(each, name) for each in captioned]
        return BeforeAfter(
            sum(each.before for each in both) / len(both),
            sum(each.after for each in both) / len(both),
        )

    texts = [each.before for each in captioned], [each.after for each in captioned]
    figures = [_text_figures(side) for side in texts]
    gains = torch.tensor([each.predicted.after - each.predicted.before for each in captioned])
    logp = mean("reference_logp")
    return Quality(
        log_ratio=logp.after - logp.before,
        predicted_approval=mean("predicted"),
        approval_gain=bootstrap_interval(gains, seed),
        evaluator_score=mean("score"),
        kl=sampled_kl(base.captioner, policy, [each.features for each in held_out], seed),
        held_out_thumbs_auc=_thumbs_auc(base, policy, held_out),
        **{name: BeforeAfter(figures[0][name], figures[1][name]) for name in figures[0]},
    )


def bootstrap_interval(differences: Tensor, seed: int, draws: int = 2000) -> Interval:
    """90 % interval of the mean of paired differences [N], by resampling the pairs."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(len(differences), (draws, len(differences)), generator=generator)
    means = differences[rows].mean(dim=1)
    low, high = torch.quantile(means, torch.tensor([0.05, 0.95])).tolist()
    return Interval(low, high)


def sampled_kl(
    reference: Captioner, policy: Captioner, features: list[Tensor], seed: int, samples: int = 4
) -> float:
    """KL(policy || reference) in nats a caption, from the policy's samples; at least 0."""
    device = next(policy.parameters()).device

    @torch.no_grad()
    def ratios(number: int) -> Tensor:
        chunk = torch.cat(chunks[number]).to(device)
        generator = torch.Generator().manual_seed(seed * 100_003 + number)
        own, theirs = policy.encode(chunk), reference.encode(chunk)
        drawn = sample(policy, own, samples=samples, generators=[generator] * len(chunk))
        # A sample that was cut off is scored with EOS at its end, as candidates are.
        captions = [list(candidate.tokens) for image in drawn for candidate in image]
        mine = score_sequences(policy, own, captions).logps
        return (mine - score_sequences(reference, theirs, captions).logps).cpu()

    chunks = _chunks(features)
    every = torch.cat(list(spread(ratios, range(len(chunks)), device)))
    return max(float(every.mean()), 0.0)


@torch.no_grad()
def _thumbs_auc(base: BaseVersion, policy: Captioner, held_out: list[Picture]) -> float | None:
    ratios: list[float] = []
    ups: list[bool] = []
    for picture in held_out:
        rows = picture.rows_of_thumbs()
        if not rows:
            continue
        captions = [list(thumb.tokens) for thumb in picture.thumbs]
        hidden = policy.encode(picture.features.to(base.device))
        logps = score_sequences(policy, hidden, captions).logps.cpu()
        ratios += (logps - picture.candidates.reference_logps[rows]).tolist()
        ups += [thumb.is_up for thumb in picture.thumbs]
    if all(ups) or not any(ups):
        return None
    return roc_auc(torch.tensor(ratios), torch.tensor(ups))


def _text_figures(captions: list[str]) -> dict[str, float]:
    words = [caption.split() for caption in captions]
    count = len(captions)
    return {
        "repetition": sum(repeats(caption) for caption in captions) / count,
        "ends_on_function_word": sum(not w or w[-1] in FUNCTION_WORDS for w in words) / count,
        "mean_length": sum(len(w) for w in words) / count,
        "distinct": len(set(captions)) / count,
    }
