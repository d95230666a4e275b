"""Shards come back as they were written, hostile members cost their sample, the order is fixed."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
import webdataset
from dico.metrics.captioned_images import CaptionedImage
from dico.pixels import MAX_IMAGE_BYTES
from dico.scale.lanes import Item, Position, Reading, read_items, read_once
from dico.scale.shards import ShardError, find_shards, read_shard, write_shards
from scale_examples import jpeg, make_shards, write_tar

CAPTIONS = json.dumps(["a cat", "one cat"]).encode()


def read(path: Path) -> tuple[list[str | None], Counter[str]]:
    skipped: Counter[str] = Counter()
    return [sample and sample.key for sample in read_shard(path, skipped)], skipped


def reading(shards: list[Path], lanes: int) -> Reading:
    return Reading(shards, lanes, 1, 32, lambda digest: False)


def digests(items: list[Item]) -> list[str]:
    return [item.sha256 for item in items]


def test_written_shards_are_read_back_whole_and_by_webdataset_itself(tmp_path: Path) -> None:
    shards = find_shards(make_shards(tmp_path, count=10, shards=3))
    ours = {}
    for path in shards:
        for sample in read_shard(path, Counter()):
            assert sample is not None
            ours[sample.key] = (sample.image, list(sample.captions))
    theirs = {
        sample["__key__"]: (sample["jpg"], json.loads(sample["json"]))
        for sample in webdataset.WebDataset([str(path) for path in shards], shardshuffle=False)
    }
    assert ours == theirs
    assert sorted(image for image, _ in ours.values()) == sorted(jpeg(n) for n in range(10))


def test_the_same_pictures_give_the_same_shards_and_doubles_are_merged(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.jpg" for n in (0, 1, 2)]
    for number, path in enumerate(paths):
        path.write_bytes(jpeg(min(number, 1)))  # the last two are one picture
    images = [CaptionedImage(p.name, p, [f"caption {i}"]) for i, p in enumerate(paths)]
    skipped: Counter[str] = Counter()
    for out, order in (("a", images), ("b", images)):
        assert write_shards(order, tmp_path / out, shards=2, skipped=skipped) == 2
    for name in ("000000.tar", "000001.tar"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    found = [s for p in find_shards(tmp_path / "a") for s in read_shard(p, skipped) if s]
    assert sorted(s.captions for s in found) == [("caption 0",), ("caption 1", "caption 2")]
    assert not skipped


def test_a_caption_may_lie_in_a_text_member(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "0.tar", [("a/1.jpg", jpeg(1)), ("a/1.txt", b" a dog \n")])
    (sample,) = read_shard(path, Counter())
    assert sample is not None
    assert (sample.key, sample.captions) == ("a/1", ("a dog",))


@pytest.mark.parametrize("name", ["../up", "/root", "a/../../b", "a//b", "./c", "new\nline"])
def test_members_that_try_to_leave_the_shard_are_skipped_and_counted(
    tmp_path: Path, name: str
) -> None:
    members = [(f"{name}.jpg", jpeg(1)), (f"{name}.json", CAPTIONS)]
    good = [("good.jpg", jpeg(2)), ("good.json", CAPTIONS)]
    keys, skipped = read(write_tar(tmp_path / "0.tar", members + good))
    assert keys == ["good"]
    assert skipped == {"a member with an unsafe name": 2}


@pytest.mark.parametrize(
    "captions",
    [
        b"[" * 5000,
        b'{"captions": 3}',
        b'["fine", 7]',
        b"[]",
        b'["   "]',
        b"\xff\xfe",
        json.dumps(["x" * 5000]).encode(),
        json.dumps(["x"] * 101).encode(),
        b'["' + b"x" * 200_000 + b'"]',
    ],
)
def test_captions_that_are_none_cost_their_sample_only(tmp_path: Path, captions: bytes) -> None:
    members = [("bad.jpg", jpeg(1)), ("bad.json", captions)]
    good = [("good.jpg", jpeg(2)), ("good.json", CAPTIONS)]
    keys, skipped = read(write_tar(tmp_path / "0.tar", members + good))
    assert keys == [None, "good"]
    assert skipped["an image without readable captions"] == 1


def test_an_image_over_the_limit_is_never_held_in_memory(tmp_path: Path) -> None:
    members = [("big.jpg", bytes(MAX_IMAGE_BYTES + 1)), ("big.json", CAPTIONS)]
    keys, skipped = read(write_tar(tmp_path / "0.tar", members))
    assert keys == [None]
    assert skipped == {"a member that is too large": 1, "captions without an image": 1}


def test_links_and_devices_are_skipped(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo("odd.jpg")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    assert read(tmp_path / "0.tar") == ([], Counter({"a member that is not a plain file": 3}))


def test_a_shard_that_breaks_off_keeps_the_samples_before(tmp_path: Path) -> None:
    members = [(f"{n}.{kind}", jpeg(n) if kind == "jpg" else CAPTIONS)
               for n in range(4) for kind in ("jpg", "json")]  # fmt: skip
    whole = write_tar(tmp_path / "0.tar", members).read_bytes()
    (tmp_path / "1.tar").write_bytes(whole[: whole.index(jpeg(2)) + 100])
    keys, skipped = read(tmp_path / "1.tar")
    assert keys == ["0", "1"]
    assert skipped["a shard that breaks off"] == 1
    (tmp_path / "2.tar").write_bytes(b"this is no tar file at all" * 100)
    assert read(tmp_path / "2.tar") == ([], Counter({"a shard that breaks off": 1}))


def test_a_truncated_jpeg_is_skipped_by_the_reader_and_counted(tmp_path: Path) -> None:
    bad = [("bad.jpg", jpeg(1)[:300]), ("bad.json", CAPTIONS)]
    good = [("good.jpg", jpeg(2)), ("good.json", CAPTIONS)]
    shard = write_tar(tmp_path / "0.tar", bad + good)
    item = next(read_items(reading([shard], 1), [Position()]))
    assert item.after == Position(0, 2)
    assert item.skipped == {"an image that cannot be read": 1}


def test_a_lane_without_usable_samples_is_an_error_and_not_an_endless_search(
    tmp_path: Path,
) -> None:
    shard = write_tar(tmp_path / "0.tar", [("bad.jpg", b"no image"), ("bad.json", CAPTIONS)])
    with pytest.raises(ShardError, match="lane 0"):
        next(read_items(reading([shard], 1), [Position()]))


def test_each_pass_over_a_lane_shows_every_image_and_the_next_caption(tmp_path: Path) -> None:
    shards = find_shards(make_shards(tmp_path, count=12, shards=4))
    items = list(islice(read_items(reading(shards, 2), [Position()] * 2), 24))
    first, second = items[:12], items[12:]
    assert sorted(digests(first)) == sorted(digests(second))
    assert len(set(digests(first))) == 12
    said = {item.sha256: item.caption for item in first}
    assert all(said[item.sha256] != item.caption for item in second)
    assert len(list(read_once(reading(shards, 4)))) == 12


@pytest.mark.parametrize(("world", "workers"), [(2, 0), (4, 0), (1, 2), (2, 2)])
def test_devices_and_reading_processes_share_one_order(
    tmp_path: Path, world: int, workers: int
) -> None:
    shards = find_shards(make_shards(tmp_path, count=11, shards=4))
    whole = reading(shards, 4)
    alone = digests(list(islice(read_items(whole, [Position()] * 4), 40)))
    for rank in range(world):
        items = read_items(whole, [Position()] * 4, rank=rank, world=world, workers=workers)
        assert digests(list(islice(items, 40 // world))) == alone[rank::world]


def test_a_position_goes_on_where_it_was(tmp_path: Path) -> None:
    shards = find_shards(make_shards(tmp_path, count=11, shards=4))
    whole = reading(shards, 4)
    items = list(islice(read_items(whole, [Position()] * 4), 50))
    for stop in (1, 6, 11, 27):
        positions = [Position()] * 4
        for item in items[:stop]:
            positions[item.lane] = item.after
        rest = read_items(whole, positions, first=stop)
        assert digests(list(islice(rest, 50 - stop))) == digests(items[stop:])


def test_lanes_that_cannot_be_divided_are_refused(tmp_path: Path) -> None:
    shards = find_shards(make_shards(tmp_path, count=4, shards=4))
    with pytest.raises(ShardError, match="4 shards do not fill 5 lanes"):
        reading(shards, 5)
    with pytest.raises(ShardError, match="3 devices"):
        read_items(reading(shards, 4), [Position()] * 4, world=3)
    with pytest.raises(ShardError, match=r"no \.tar shards"):
        find_shards(tmp_path)
    with pytest.raises(ShardError, match="has shards already"):
        write_shards([], tmp_path / "shards", shards=1, skipped=Counter())


def test_files_that_are_no_images_are_left_out_when_writing(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(jpeg(1))
    (tmp_path / "2.jpg").write_bytes(jpeg(2)[:200])
    images = [CaptionedImage(f"{n}.jpg", tmp_path / f"{n}.jpg", ["a"]) for n in (1, 2)]
    skipped: Counter[str] = Counter()
    assert write_shards(images, tmp_path / "out", shards=1, skipped=skipped) == 1
    assert skipped == {"a file that is no readable image": 1}
    with pytest.raises(ShardError, match="1 usable pictures do not fill 2 shards"):
        write_shards(images, tmp_path / "more", shards=2, skipped=skipped)
