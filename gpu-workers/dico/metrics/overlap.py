"""The traditional metrics together: what COCO's tools print, without Java."""

from __future__ import annotations

from collections.abc import Sequence

from dico.metrics.bleu import bleu
from dico.metrics.cider import cider_d
from dico.metrics.rouge import rouge_l
from dico.metrics.tokenise import tokenise


def overlap(candidates: Sequence[str], human_captions: Sequence[Sequence[str]]) -> dict[str, float]:
    """bleu_1 to bleu_4 and rouge_l, 0-1, and cider, 0-10, of captions as written.

    Args:
        candidates: One caption of each image, [N].
        human_captions: Human captions of each image, [N], at least one each.
    """
    tokens = [tokenise(caption) for caption in candidates]
    human = [[tokenise(caption) for caption in own] for own in human_captions]
    figures = {f"bleu_{n}": score for n, score in enumerate(bleu(tokens, human), start=1)}
    figures["rouge_l"] = float(rouge_l(tokens, human).mean())
    figures["cider"] = float(cider_d(tokens, human).mean())
    return figures
