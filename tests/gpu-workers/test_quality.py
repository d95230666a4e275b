"""What the gate counts as a repetition."""

from __future__ import annotations

import pytest
from dico.quality import repeats


@pytest.mark.parametrize(
    "caption",
    [
        "a dog and a dog and a dog",
        "a small dog next to a small dog",
        "a dog dog dog",
        "two cats in a park in a park with a tree by a park",
    ],
)
def test_a_caption_repeats_itself(caption: str) -> None:
    assert repeats(caption)


@pytest.mark.parametrize(
    "caption",
    [
        "",
        "a dog",
        "a dog next to a dog",
        "a small dog a small cat and a small tree",
        "a picture of a red car a red bus and two red houses at night",
    ],
)
def test_a_caption_does_not(caption: str) -> None:
    assert not repeats(caption)
