"""The simulated viewer's world: pictures, the base's candidates for them, thumbs and judgement.

What does not depend on thumbs (features, candidates) is computed once and kept on disk.
"""

from __future__ import annotations

import hashlib
import io
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from dico.base_version import BaseVersion
from dico.candidates import CandidateMaker, Candidates
from dico.captioner import Captioner, pad_captions
from dico.data_set import RatedImage, Rating
from dico.evaluators.clip import pac_score
from dico.job import candidate_maker
from dico.material import AT_ONCE, Material, join_thumbs
from dico.parallel import spread
from dico.pixels import load_pixels
from dico.pretraining.measure import said_figures
from dico.pretraining.tower import HELD_OUT_SEED
from dico.quality import best_captions
from dico.search import sample
from dico.settings import settle
from scenes.checker import check
from scenes.composer import draw_scene
from scenes.grammar import caption
from scenes.sampler import sample_scene
from scenes.scene import Scene
from scenes.tastes import Taste, approves

FRESH = 1_000_000


@dataclass(frozen=True)
class Shown:
    """A picture as the service would have it, with what the base may say of it."""

    scene: Scene
    sha256: str
    features: torch.Tensor
    candidates: Candidates
    base_caption: str

    @property
    def split(self) -> str:
        """A fifth is kept back, by digest, as the edge does it."""
        return "held_out" if int(self.sha256[:8], 16) % 5 == 0 else "train"


class World:
    """Pictures by number, made once; the base and its candidate maker."""

    def __init__(self, base: BaseVersion, cache: Path) -> None:
        self.base = base
        self.maker: CandidateMaker = candidate_maker(base, settle({"type": "dico"}, 200, 200))
        self._cache = cache / base.manifest_sha256[:16]
        self._cache.mkdir(parents=True, exist_ok=True)
        self.seconds_per_image = 0.0

    def pictures(self, first: int, count: int) -> list[Shown]:
        """`count` pictures from a number on; kept in files of fifty."""
        found: list[Shown] = []
        for start in range(first, first + count, 50):
            path = self._cache / f"{start}.pt"
            if not path.exists():
                partial = path.with_suffix(".partial")
                torch.save(self._make(start), partial)
                partial.rename(path)
            kept = torch.load(path, weights_only=False)  # our own file
            found += kept["shown"]
            self.seconds_per_image = kept["seconds"] / 50
        return found[:count]

    def _make(self, first: int) -> dict[str, object]:
        started = time.monotonic()
        chunks = [range(n, n + AT_ONCE) for n in range(first, first + 50, AT_ONCE)]
        chunks[-1] = range(chunks[-1].start, first + 50)
        shown = [each for part in spread(self._draw, chunks, self.base.device) for each in part]
        return {"shown": shown, "seconds": time.monotonic() - started}

    @torch.no_grad()
    def _draw(self, numbers: range) -> list[Shown]:
        scenes = [sample_scene(HELD_OUT_SEED + 2_000_000 + number) for number in numbers]
        digests: list[str] = []
        features: list[torch.Tensor] = []
        for scene in scenes:
            file = io.BytesIO()
            draw_scene(scene, size=256).save(file, "JPEG", quality=90)
            digests.append(hashlib.sha256(file.getvalue()).hexdigest())
            pixels = load_pixels(file.getvalue(), self.base.image_size)
            features.append(self.base.tower(torch.from_numpy(pixels)[None]))
        seeds = [int(digest[:12], 16) for digest in digests]
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        candidates = self.maker.make(torch.cat(features), generators)
        said = captions(self.base, self.base.captioner, features)
        return [
            Shown(*each) for each in zip(scenes, digests, features, candidates, said, strict=True)
        ]

    def material(self, shown: Sequence[Shown], ratings: Sequence[tuple[Rating, ...]]) -> Material:
        """What a job would gather from these thumbs."""
        dropped: Counter[str] = Counter()
        pictures = [
            join_thumbs(
                index,
                RatedImage(each.sha256, each.split, rated),  # type: ignore[arg-type]
                each.features,
                each.candidates,
                self.base,
                self.maker,
                dropped,
            )
            for index, (each, rated) in enumerate(zip(shown, ratings, strict=True))
        ]
        return Material(pictures, dict(dropped))


def captions(base: BaseVersion, captioner: Captioner, features: list[torch.Tensor]) -> list[str]:
    """The best caption of each image, as served."""
    return [base.tokenizer.decode(tokens) for tokens in best_captions(captioner, features)]


@torch.no_grad()
def drawn_caption(base: BaseVersion, captioner: Captioner, shown: Shown, seed: int) -> str:
    """A caption as the service draws it at temperature 1."""
    hidden = captioner.encode(shown.features)
    generator = torch.Generator().manual_seed(seed)
    [[drawn]] = sample(captioner, hidden, samples=1, generators=[generator])
    return base.tokenizer.decode(drawn.tokens)


@dataclass
class Viewers:
    """Who gives thumbs: most follow the taste, some make mistakes, one may be an adversary.

    Attributes:
        taste: What they like, beside truth and grammar.
        noise: Share of thumbs that are wrong.
        adversarial: Share of the thumbs that one viewer in twenty gives, always the wrong way.
        corrections: Share of thumbs-down that come with a caption that would have pleased.
    """

    taste: Taste
    seed: int
    noise: float = 0.1
    adversarial: float = 0.0
    corrections: float = 0.0

    def rate(self, shown: Sequence[Shown], said: Sequence[str]) -> list[tuple[Rating, ...]]:
        """One thumb for each caption."""
        rng = random.Random(f"{self.seed}/{shown[0].sha256}")
        ratings: list[tuple[Rating, ...]] = []
        for each, text in zip(shown, said, strict=True):
            likes = approves(self.taste, text, each.scene)
            name = f"viewer-{rng.randrange(19)}"
            if rng.random() < self.adversarial:
                name, likes = "adversary", not likes
            elif rng.random() < self.noise:
                likes = not likes
            correction = None
            if not likes and rng.random() < self.corrections:
                correction = pleasing_caption(self.taste, each.scene, rng)
            ratings.append((Rating(text, likes, correction, name),))
        return ratings


def pleasing_caption(taste: Taste, scene: Scene, rng: random.Random) -> str | None:
    """What a viewer of this taste would have written, if the scene allows it."""
    for _ in range(200):
        written = caption(scene, rng)
        if approves(taste, written, scene):
            return written
    return None


@dataclass(frozen=True)
class Judgement:
    """Figures of many captions; all shares but `words` and `pac_s`.

    Attributes:
        approval: To taste, grammatical and nothing false.
        facts_right: Captions that are grammatical and say nothing false.
        facts_wrong: Of all claims.
        grammatical: In the grammar's language, and no kind named twice.
        recall: Groups of things named, of all in the pictures.
    """

    approval: float
    facts_right: float
    facts_wrong: float
    grammatical: float
    recall: float
    words: float
    pac_s: float


def judge(
    base: BaseVersion, taste: Taste, said: Sequence[str], shown: Sequence[Shown]
) -> Judgement:
    """Judges captions of pictures that nobody rated."""
    checks = [check(text, each.scene) for text, each in zip(said, shown, strict=True)]
    pleased = [approves(taste, text, each.scene) for text, each in zip(said, shown, strict=True)]
    figures = said_figures(checks, [each.scene for each in shown])
    claims = sum(len(c.facts) for c in checks)
    count = len(shown)
    return Judgement(
        approval=sum(pleased) / count,
        facts_right=sum(c.clean for c in checks) / count,
        facts_wrong=sum(c.n_wrong for c in checks) / max(claims, 1),
        grammatical=figures["once"],
        recall=figures["kinds_recalled"],
        words=sum(len(text.split()) for text in said) / count,
        pac_s=_mean_pac(base, said, shown),
    )


@torch.no_grad()
def _mean_pac(base: BaseVersion, said: Sequence[str], shown: Sequence[Shown]) -> float:
    total = 0.0
    for start in range(0, len(shown), 32):
        part = shown[start : start + 32]
        tokens = [base.tokenizer.encode(text) for text in said[start : start + 32]]
        labels = pad_captions(tokens, base.captioner.config)[1]
        features = torch.cat([each.features for each in part])
        total += float(pac_score(base.pac, features, labels).sum())
    return total / len(shown)
