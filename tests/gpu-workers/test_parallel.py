"""Forked work gives what the same work gives here, in order, and its failures arrive."""

from __future__ import annotations

import os

import pytest
import torch
from dico.parallel import map_forked, threads


def test_results_come_in_order_from_other_processes() -> None:
    weights = torch.randn(3, 3)

    def work(number: int) -> tuple[int, torch.Tensor]:
        return os.getpid(), weights * number

    results = list(map_forked(work, range(7), processes=2))
    assert len({pid for pid, _ in results} - {os.getpid()}) == 2
    for number, (_, found) in enumerate(results):
        assert torch.equal(found, weights * number)


def test_one_process_means_this_one_with_one_thread() -> None:
    with threads(2):
        found = list(map_forked(lambda _: (os.getpid(), torch.get_num_threads()), [0], 2))
        assert torch.get_num_threads() == 2
    assert found == [(os.getpid(), 1)]


def test_a_failure_there_is_raised_here() -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(map_forked(lambda number: 1 // number, [1, 0, 2], processes=2))


def test_the_end_of_a_process_is_noticed() -> None:
    with pytest.raises(RuntimeError, match="ended early"):
        list(map_forked(lambda number: os._exit(number), [1, 1], processes=2))


def test_a_forked_process_forks_no_further() -> None:
    def work(_: int) -> list[int]:
        return [os.getpid(), *map_forked(lambda _: os.getpid(), [0, 1], processes=2)]

    for found in map_forked(work, [0, 1], processes=2):
        assert len(set(found)) == 1
