"""A frozen data set as a job reads it: images, splits and thumbs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Rating:
    """One viewer's thumb on one caption; `end_user` names the viewer within the tenant."""

    caption: str
    is_up: bool
    correction: str | None
    end_user: str


@dataclass(frozen=True)
class RatedImage:
    """An image with its thumbs; all of them on one side of the split."""

    sha256: str
    split: Literal["train", "held_out"]
    ratings: tuple[Rating, ...]


def read_data_set(path: Path) -> list[RatedImage]:
    """Reads `dataset.json`, the edge's contract `DataSet`.

    Raises:
        ValueError: It is not a data set.
    """
    try:
        content = json.loads(path.read_text())
        return [
            RatedImage(
                sha256=example["image"]["sha256"],
                split=example["split"],
                ratings=tuple(
                    Rating(
                        rating["caption"],
                        rating["rating"] == "up",
                        rating["correction"],
                        rating["end_user"],
                    )
                    for rating in example["ratings"]
                ),
            )
            for example in content["examples"]
        ]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"not a data set: {error}") from error
