"""The learning report of a job: what it learnt from, how training went, what came of it.

Written as report.json (the contract's `LearningReport`); the edge adds the gate and shows it as a
page. It holds thumbnails of the tenant's pictures and so is no file of the version.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from dico.material import Material, Picture
from dico.quality import Captioned
from dico.update import StepReport

MOST_PICTURES = 24
MOST_STEPS = 400
THUMBNAIL_SIDE = 112
LONGEST_THUMBNAIL = 20_000


@dataclass
class LearningReport:
    """Filled in as the job goes on; what is not known yet is empty.

    Attributes:
        phases: Name and seconds, in the order they ran.
        steps: Every step's figures.
        data: The contract's `ReportData`.
        pictures: The contract's `ReportPicture`s.
        settings: What `auto` came to.
        evaluation: The contract's `Evaluation`, or None where no version was made.
    """

    phases: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    steps: list[StepReport] = field(default_factory=list[StepReport])
    data: dict[str, Any] = field(default_factory=dict[str, Any])
    pictures: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    settings: dict[str, float | bool | str] = field(default_factory=dict[str, Any])
    evaluation: dict[str, Any] | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Times what runs inside."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.phases.append((name, time.monotonic() - started))

    def describe_data(self, material: Material) -> None:
        """Counts what was usable and what was not."""
        thumbs = [thumb for picture in material.pictures for thumb in picture.thumbs]
        corrections = sum(len(picture.corrections) for picture in material.pictures)
        lists = [len(picture.candidates.tokens) for picture in material.pictures]
        ups = sum(thumb.is_up for thumb in thumbs)
        self.data = {
            "images": len(material.pictures),
            "train": len(material.side("train")),
            "held_out": len(material.side("held_out")),
            "thumbs": len(thumbs),
            "up": ups,
            "down": len(thumbs) - ups,
            "corrections": corrections,
            "candidates_per_image": round(sum(lists) / max(len(lists), 1), 2),
            "dropped": [{"reason": r, "count": n} for r, n in sorted(material.dropped.items())],
        }

    def show(self, images: Path, pictures: list[Picture], captioned: list[Captioned]) -> None:
        """Adds pictures with captions before and after, changed ones first."""
        order = sorted(
            range(len(pictures)), key=lambda i: captioned[i].before == captioned[i].after
        )
        for index in order[:MOST_PICTURES]:
            picture, said = pictures[index], captioned[index]
            shown = thumbnail((images / picture.image.sha256).read_bytes())
            if shown is None:
                continue
            rating = picture.image.ratings[-1] if picture.image.ratings else None
            self.pictures.append(
                {
                    "sha256": picture.image.sha256,
                    "thumbnail": shown,
                    "before": said.before[:1000],
                    "after": said.after[:1000],
                    "predicted_before": said.predicted.before,
                    "predicted_after": said.predicted.after,
                    "rating": None if rating is None else ("up" if rating.is_up else "down"),
                    "correction": None if rating is None else rating.correction,
                }
            )

    def write(self, path: Path) -> None:
        """Writes the contract's JSON."""
        every = max(math.ceil(len(self.steps) / MOST_STEPS), 1)
        kept = [asdict_of(step) for step in self.steps[::every]]
        content = {
            "object": "learning_report",
            "pictures": self.pictures,
            "curves": {
                "steps": [step["step"] for step in kept],
                "series": {
                    name: [step[name] for step in kept]
                    for name in (kept[0] if kept else {})
                    if name != "step"
                },
            },
            "data": self.data or _NO_DATA,
            "phases": [{"name": name, "seconds": round(s, 3)} for name, s in self.phases],
            "settings": self.settings,
            "evaluation": self.evaluation,
        }
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(content, allow_nan=False))
        os.replace(partial, path)


_NO_DATA: dict[str, Any] = {
    **dict.fromkeys(("images", "train", "held_out", "thumbs", "up", "down", "corrections"), 0),
    "candidates_per_image": 0.0,
    "dropped": [],
}


def asdict_of(step: StepReport) -> dict[str, float]:
    """A step's figures; what is not finite becomes 0, which JSON can hold."""
    return {
        name: value if math.isfinite(value) else 0.0
        for name, value in dataclasses.asdict(step).items()
    }


def thumbnail(image: bytes) -> str | None:
    """A small JPEG as a data URI, or None where it will not get small enough."""
    with Image.open(io.BytesIO(image)) as opened:
        small = ImageOps.exif_transpose(opened).convert("RGB")
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    for quality in (80, 60, 40):
        stored = io.BytesIO()
        small.save(stored, "JPEG", quality=quality)
        uri = "data:image/jpeg;base64," + base64.b64encode(stored.getvalue()).decode()
        if len(uri) <= LONGEST_THUMBNAIL:
            return uri
    return None
