"""Held-out checks of a trained captioner: figures from which the edge's gate decides.

They know nothing of the domain: only text, likelihood, evaluator and predicted preference.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import torch

from dico.candidates import CandidateMaker
from dico.captioner import Captioner
from dico.preferences import PreferenceModel, caption_features
from dico.search import beam_search
from dico.tokenizer import Tokenizer

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
class Quality:
    """Means over held-out images.

    Attributes:
        log_ratio: Log-probability under the reference of the new captions minus the base's.
        predicted_approval: Of the preference model fitted on the training thumbs.
        evaluator_score: PAC-S.
        repetition: Share of captions that say a content word's bigram or any word too often.
        ends_on_function_word: Share of captions that end on one.
        mean_length: Words.
        distinct: Distinct captions by images.
    """

    log_ratio: float
    predicted_approval: BeforeAfter
    evaluator_score: BeforeAfter
    repetition: BeforeAfter
    ends_on_function_word: BeforeAfter
    mean_length: BeforeAfter
    distinct: BeforeAfter


def repeats(caption: str) -> bool:
    """Whether a content word's bigram comes twice or any content word three times."""
    words = caption.split()
    content = Counter(word for word in words if word not in FUNCTION_WORDS)
    pairs = Counter(pair for pair in pairwise(words) if not FUNCTION_WORDS & set(pair))
    return any(n > 1 for n in pairs.values()) or any(n > 2 for n in content.values())


@torch.no_grad()
def held_out_quality(
    reference: Captioner,
    policy: Captioner,
    maker: CandidateMaker,
    preferences: PreferenceModel,
    tokenizer: Tokenizer,
    features: list[torch.Tensor],
) -> Quality:
    """Captions each held-out image by both and compares; features are [1, S, F] each."""
    both: dict[str, list[list[float]]] = {"before": [], "after": []}
    texts: dict[str, list[str]] = {"before": [], "after": []}
    for image in features:
        for name, captioner in (("before", reference), ("after", policy)):
            best = beam_search(captioner, captioner.encode(image))[0][0]
            tokens = best.tokens or (captioner.config.eos_id,)
            scored = maker.score(image, [tokens], top_logp=0.0)
            text = tokenizer.decode(tokens)
            seen = caption_features([text], scored.states, scored.scores)
            approval = float(preferences.logits(seen).sigmoid())
            both[name].append([float(scored.reference_logps), approval, float(scored.scores)])
            texts[name].append(text)
    before, after = (torch.tensor(both[name]).mean(dim=0).tolist() for name in ("before", "after"))

    def compare(measure: str) -> BeforeAfter:
        return BeforeAfter(*(_text_figures(texts[name])[measure] for name in ("before", "after")))

    return Quality(
        log_ratio=after[0] - before[0],
        predicted_approval=BeforeAfter(before[1], after[1]),
        evaluator_score=BeforeAfter(before[2], after[2]),
        repetition=compare("repetition"),
        ends_on_function_word=compare("ends_on_function_word"),
        mean_length=compare("mean_length"),
        distinct=compare("distinct"),
    )


def _text_figures(captions: list[str]) -> dict[str, float]:
    words = [caption.split() for caption in captions]
    count = len(captions)
    return {
        "repetition": sum(repeats(caption) for caption in captions) / count,
        "ends_on_function_word": sum(not w or w[-1] in FUNCTION_WORDS for w in words) / count,
        "mean_length": sum(len(w) for w in words) / count,
        "distinct": len(set(captions)) / count,
    }
