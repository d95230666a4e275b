"""Every metric of a version's captions, as figures of the whole and of each picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from dico.base_version import BaseVersion
from dico.evaluators.scores import Scorer
from dico.evaluators.storage import file_digest
from dico.metrics import java
from dico.metrics.bleu import bleu
from dico.metrics.captioned_images import CaptionedImage
from dico.metrics.captioning import BEAMS, SAMPLES, SEED, Captioned
from dico.metrics.cider import cider_d
from dico.metrics.facts import Judged, facts
from dico.metrics.fluency import fluency
from dico.metrics.retrieval import retrieval
from dico.metrics.rouge import rouge_l
from dico.metrics.tokenise import tokenise


@dataclass
class Evaluation:
    """Filled group by group.

    Attributes:
        figures: Group to metric to value, in the order that tables show; `None` is undefined.
        pictures: One row a picture: file, caption, human captions and its own scores.
        evaluators: What each score was computed by.
        absent: Metrics that could not run here, and why.
    """

    figures: dict[str, dict[str, float | None]] = field(default_factory=dict)
    pictures: list[dict[str, Any]] = field(default_factory=list)
    evaluators: dict[str, dict[str, Any]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, with how captions and samples were made."""
        return {
            "metrics": self.figures,
            "absent": self.absent,
            "evaluators": self.evaluators,
            "search": {"num_beams": BEAMS, "samples": SAMPLES, "seed": SEED},
            "pictures": self.pictures,
        }

    def _add(self, group: str, figures: dict[str, float]) -> None:
        finite = {name: value if math.isfinite(value) else None for name, value in figures.items()}
        self.figures.setdefault(group, {}).update(finite)

    def _add_each(self, name: str, values: Sequence[float]) -> None:
        for picture, value in zip(self.pictures, values, strict=True):
            picture[name] = value


def evaluate(
    version: BaseVersion,
    images: Sequence[CaptionedImage],
    captioned: Captioned,
    *,
    judge: Callable[[str, object], Judged] | None = None,
    with_java: bool = False,
) -> Evaluation:
    """Computes all metrics.

    Args:
        version: Whose evaluators score.
        images: With human captions, [N], N >= 1.
        captioned: What the version said of them.
        judge: Holds a caption against a picture's `scene`; None leaves facts out.
        with_java: Also METEOR and SPICE, where they can run.
    """
    captions, human = captioned.captions, [image.human_captions for image in images]
    result = Evaluation(
        pictures=[
            {"file": image.file, "caption": caption, "human_captions": image.human_captions}
            for image, caption in zip(images, captions, strict=True)
        ]
    )
    tokens = [tokenise(caption) for caption in captions]
    human_tokens = [[tokenise(caption) for caption in own] for own in human]
    rouge, cider = rouge_l(tokens, human_tokens), cider_d(tokens, human_tokens)
    scores = bleu(tokens, human_tokens)
    result._add("traditional", {f"bleu_{n}": score for n, score in enumerate(scores, start=1)})
    result._add("traditional", {"rouge_l": float(rouge.mean()), "cider": float(cider.mean())})
    result._add_each("cider", cider.tolist())
    result._add_each("rouge_l", rouge.tolist())
    if with_java:
        _add_java(result, tokens, human_tokens)
    _add_evaluators(result, version, captioned, human)
    result._add("fluency", fluency(tokens))
    result._add_each("words", [len(each) for each in tokens])
    if judge is not None:
        result._add("facts", facts(captions, [image.scene for image in images], judge))
    for name, estimate in captioned.drift.items():
        errors = {name: estimate.mean, f"{name}_standard_error": estimate.standard_error}
        result._add("drift from the base", errors)
    return result


def _add_java(
    result: Evaluation, tokens: list[list[str]], human_tokens: list[list[list[str]]]
) -> None:
    for name in ("meteor", "spice"):
        try:
            scores = getattr(java, name)(tokens, human_tokens).tolist()
        except java.JavaToolError as error:
            result.absent[name] = str(error)
        else:
            result._add("traditional", {name: scores[0]})
            result._add_each(name, scores[1:])


@torch.no_grad()
def _add_evaluators(
    result: Evaluation, version: BaseVersion, captioned: Captioned, human: list[list[str]]
) -> None:
    digest = file_digest(version.folder / "training" / "evaluators.safetensors")
    # The built-in evaluators were trained on bare captions, so there is no prompt.
    scorers = (
        (Scorer.of("clip_s", version.clip, version.tokenizer, digest, prompt=""), "clip_images"),
        (Scorer.of("pac_s", version.pac, version.tokenizer, digest, prompt=""), "pac_images"),
    )
    for scorer, attribute in scorers:
        name, images = scorer.provenance.score, getattr(captioned, attribute)
        texts = scorer.embed_captions(captioned.captions)
        everything = scorer.embed_captions([caption for own in human for caption in own])
        own = everything.split([len(each) for each in human])
        score = scorer.score(images, texts[:, None]).squeeze(1)
        with_human = scorer.with_human_captions(images, texts, own)
        result._add(
            "evaluators", {name: float(score.mean()), f"ref_{name}": float(with_human.mean())}
        )
        result._add_each(name, score.tolist())
        result._add_each(f"ref_{name}", with_human.tolist())
        result.evaluators[name] = scorer.provenance.to_json()
        if name == "clip_s":
            similarity = texts @ images.T
            for way, matrix in (("image", similarity), ("caption", similarity.T)):
                found = retrieval(matrix)
                result._add("retrieval", {f"{way}_{key}": value for key, value in found.items()})
