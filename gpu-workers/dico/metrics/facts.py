"""What captions say that holds, that does not, and what they leave out, by a judge passed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

_Image = TypeVar("_Image")


@dataclass(frozen=True)
class Judged:
    """One caption held against what is in its picture.

    Attributes:
        right: Claims that hold.
        wrong: Claims that do not.
        invented: Things named that are not there.
        named: Things there that it names.
        things: Things there.
        readable: Whether the judge could read it; one that it could not claims nothing.
    """

    right: int
    wrong: int
    invented: int
    named: int
    things: int
    readable: bool = True


def facts(
    candidates: Sequence[str],
    images: Sequence[_Image],
    judge: Callable[[str, _Image], Judged],
) -> dict[str, float]:
    """facts_right, hallucinated, recall, all_right and readable, all 0-1.

    Args:
        candidates: One caption of each image, [N], N >= 1.
        images: What the judge knows of each, [N].
        judge: Holds a caption against it.

    Returns:
        facts_right: Claims that hold, of all claims made; 1 where none is made.
        hallucinated: Captions that name a thing that is not there, of all captions.
        recall: Things named, of all things there; an unreadable caption names none.
        all_right: Captions that can be read and claim nothing wrong, of all captions.
        readable: Captions that can be read, of all captions.
    """
    judged = [judge(*pair) for pair in zip(candidates, images, strict=True)]
    count = len(judged)
    claims = sum(each.right + each.wrong for each in judged)
    things = sum(each.things for each in judged)
    return {
        "facts_right": sum(each.right for each in judged) / claims if claims else 1.0,
        "hallucinated": sum(each.invented > 0 for each in judged) / count,
        "recall": sum(each.named for each in judged) / things if things else 1.0,
        "all_right": sum(each.readable and not each.wrong for each in judged) / count,
        "readable": sum(each.readable for each in judged) / count,
    }
