"""The order of the data: the same for any number of devices and reading processes.

The shards are dealt into a fixed number of lanes, and sample n of the training comes from lane
n mod lanes. A device reads the lanes that are its own and nothing else, so it sees every world-th
sample, in the order in which one device alone would see them. A position in each lane is all that
an interrupted training needs to go on.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from numpy.typing import NDArray
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from dico.pixels import ImageError, load_pixels
from dico.scale.shards import Sample, ShardError, read_shard

# Samples that a reading process prepares ahead.
_PREFETCH = 16


@dataclass(frozen=True)
class Position:
    """Where a lane is: how many samples of which pass over its shards were read, bad ones too."""

    epoch: int = 0
    read: int = 0


@dataclass(frozen=True)
class Item:
    """One sample, ready for the tower.

    Attributes:
        lane: It came from.
        after: The lane's position behind it.
        sha256: Of the image file.
        pixels: float32 [3, S, S]; None where the image's features are cached.
        captions: All of it.
        caption: That of this pass; the passes go through all captions.
        skipped: What the lane left out since its previous item, counts by reason.
    """

    lane: int
    after: Position
    sha256: str
    pixels: NDArray | None
    captions: tuple[str, ...]
    caption: str
    skipped: dict[str, int]


@dataclass(frozen=True)
class Reading:
    """How samples are read.

    Attributes:
        shards: All of the training's.
        lanes: Parts that the shards are dealt into, at most one for each shard.
        seed: Of the order of the shards within a lane and pass.
        image_size: Side of the tower's input.
        is_cached: Whether the features of an image are there, by its digest.
    """

    shards: Sequence[Path]
    lanes: int
    seed: int
    image_size: int
    is_cached: Callable[[str], bool]

    def __post_init__(self) -> None:
        """Refuses lanes that would stay empty.

        Raises:
            ShardError: There are fewer shards than lanes.
        """
        if len(self.shards) < self.lanes:
            raise ShardError(f"{len(self.shards)} shards do not fill {self.lanes} lanes")

    def lane(self, number: int, position: Position) -> Iterator[Item]:
        """The endless samples of one lane from a position on.

        Raises:
            ShardError: A whole pass held no usable sample.
        """
        epoch, skip = position.epoch, position.read
        own = list(self.shards[number :: self.lanes])
        skipped: Counter[str] = Counter()
        while True:
            order = random.Random(f"{self.seed} {number} {epoch}").sample(own, len(own))
            read, usable = 0, False
            for sample in (each for shard in order for each in read_shard(shard, skipped)):
                read += 1
                if read <= skip:
                    usable = usable or sample is not None
                    continue
                item = sample and self._item(sample, number, Position(epoch, read), skipped)
                if item:
                    usable = True
                    yield item
                    skipped.clear()
            if not usable:
                raise ShardError(f"the shards of lane {number} hold no usable sample")
            epoch, skip = epoch + 1, 0

    def _item(
        self, sample: Sample, lane: int, after: Position, skipped: Counter[str]
    ) -> Item | None:
        pixels = None
        if not self.is_cached(sample.sha256):
            try:
                pixels = load_pixels(sample.image, self.image_size)
            except ImageError:
                skipped["an image that cannot be read"] += 1
                return None
        captions = sample.captions
        caption = captions[(int(sample.sha256[:8], 16) + after.epoch) % len(captions)]
        return Item(lane, after, sample.sha256, pixels, captions, caption, dict(skipped))


def read_items(
    reading: Reading,
    positions: Sequence[Position],
    *,
    first: int = 0,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
) -> Iterator[Item]:
    """The endless samples of one device, lane after lane.

    Args:
        reading: See there.
        positions: Of every lane, also of those that other devices read.
        first: Number of the training's sample to go on with; it says whose lane's turn it is.
        rank: This device's number.
        world: Number of devices; divides the lanes.
        workers: Reading processes of this device, which divide its lanes; 0 reads in this one.

    Raises:
        ShardError: The lanes cannot be divided so, or one of them is empty.
    """
    own = range(reading.lanes)[rank::world]
    if reading.lanes % world or (workers and len(own) % workers):
        raise ShardError(
            f"{world} devices with {workers} reading processes do not divide {reading.lanes} lanes"
        )
    own_first = first + (rank - first) % world
    turn = own.index(own_first % reading.lanes)
    stream = _Lanes(reading, [(lane, positions[lane]) for lane in (*own[turn:], *own[:turn])])
    if workers == 0:
        return iter(stream)
    # The loader takes one item from each process in turn, which is again lane after lane.
    return iter(DataLoader(stream, batch_size=None, num_workers=workers, prefetch_factor=_PREFETCH))


class _Lanes(IterableDataset[Item]):
    """The lanes of one device, or of one of its reading processes, taken in turn."""

    def __init__(self, reading: Reading, starts: list[tuple[int, Position]]) -> None:
        self._reading, self._starts = reading, starts

    def __iter__(self) -> Iterator[Item]:
        worker = get_worker_info()
        starts = self._starts if worker is None else self._starts[worker.id :: worker.num_workers]
        lanes = [self._reading.lane(*start) for start in starts]
        while True:
            for lane in lanes:
                yield next(lane)


def read_once(reading: Reading, *, rank: int = 0, world: int = 1) -> Iterator[Item]:
    """Every usable sample of one device's lanes once, for validation; `caption` is the first."""
    for number in range(reading.lanes)[rank::world]:
        for item in reading.lane(number, Position()):
            if item.after.epoch:
                break
            yield item
