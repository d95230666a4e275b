"""Which viewers count, and when nearly nobody does."""

from __future__ import annotations

import pytest
import torch
from dico.screening import Rejection, Thumb, weigh_end_users

WIDTH = 4


def thumbs_of(viewers: dict[str, float], each: int = 40) -> tuple[list[Thumb], torch.Tensor]:
    """Each viewer's own pictures, liked for their first feature: 1 for more of it, -1 for less."""
    features = torch.randn(each * len(viewers), WIDTH, generator=torch.Generator().manual_seed(0))
    names = [name for name in viewers for _ in range(each)]
    liked = [bool(viewers[name] * row[0] > 0) for name, row in zip(names, features, strict=True)]
    thumbs = [
        Thumb(image, (image,), is_up, name)
        for image, (name, is_up) in enumerate(zip(names, liked, strict=True))
    ]
    return thumbs, features


def test_one_viewer_against_three_counts_less_and_is_named() -> None:
    thumbs, features = thumbs_of({"anna": 1, "ben": 1, "cleo": 1, "dora": -1})
    weight, judged = weigh_end_users(thumbs, features, features)
    by_name = {each.end_user: each for each in judged}
    assert by_name["dora"].agreement < 0.2
    assert by_name["dora"].weight < 0.3
    assert all(by_name[name].weight > 0.8 for name in ("anna", "ben", "cleo"))
    assert weight[-1] == pytest.approx(by_name["dora"].weight, abs=1e-3)


def test_two_camps_of_one_size_are_refused_and_named() -> None:
    thumbs, features = thumbs_of({"anna": 1, "ben": -1})
    with pytest.raises(Rejection, match="“anna”, “ben”") as raised:
        weigh_end_users(thumbs, features, features)
    assert raised.value.code == "CONTRADICTORY_THUMBS"
    assert set(raised.value.end_users) == {"anna", "ben"}
    assert any("each group" in sentence for sentence in raised.value.help)
