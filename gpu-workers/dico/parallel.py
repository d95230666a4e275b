"""Spreads independent work over processes that share this one's memory."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import current_process, get_all_start_methods, get_context
from multiprocessing.connection import Connection
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

# A container's share of the machine's cores cannot be seen from inside.
MOST = 4


@contextmanager
def threads(count: int) -> Iterator[None]:
    """PyTorch's threads inside; the last bits of a sum depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def spread(
    work: Callable[[Item], Result], items: Sequence[Item], device: torch.device
) -> Iterator[Result]:
    """`work` of every item, in order: on the CPU on all cores, on a GPU one after the other."""
    return map_forked(work, items) if device.type == "cpu" else map(work, items)


def map_forked(
    work: Callable[[Item], Result], items: Sequence[Item], processes: int | None = None
) -> Iterator[Result]:
    """`work` of every item, in order, each on one thread of one of several processes.

    The processes are forked: they see everything that is in memory now and nothing is copied to
    them. Where there is one core or no fork, the work is done here, with the same result, as it is
    inside such a process.

    Args:
        work: Without gradient, on the CPU; its result can be pickled.
        items: In any number.
        processes: At most; None means as many as there are cores, but not above `MOST`.

    Raises:
        RuntimeError: `work` failed, with the other process's traceback, or its process ended.
    """
    count = min(processes or min(os.cpu_count() or 1, MOST), len(items))
    # A process that was forked here has no share of the machine left to give away.
    if count < 2 or current_process().daemon or "fork" not in get_all_start_methods():
        with threads(1):
            yield from map(work, items)
        return
    fork = get_context("fork")
    ends: list[Connection] = []
    for number in range(count):
        mine, theirs = fork.Pipe(duplex=False)
        process = fork.Process(
            target=_do, args=(work, items[number::count], theirs, [*ends, mine]), daemon=True
        )
        process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        ends.append(mine)
    for number in range(len(items)):
        try:
            failure, result = pickle.loads(ends[number % count].recv_bytes())  # our own
        except EOFError:
            raise RuntimeError("a process that shared the work ended early") from None
        if failure:
            raise RuntimeError(failure)
        yield result


def _do(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    answers: Connection,
    others: list[Connection],
) -> None:
    for each in others:  # held by a fork, a pipe would outlive its reader
        each.close()
    torch.set_num_threads(1)
    for item in items:
        try:
            answer = pickle.dumps((None, work(item)))
        except Exception:
            answer = pickle.dumps((traceback.format_exc(), None))
        try:
            answers.send_bytes(answer)
        except BrokenPipeError:  # whoever asked is gone
            return
