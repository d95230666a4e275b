"""One process per device, as torchrun starts them, and the sums that they share."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Devices:
    """This process among all of the training; alone without torchrun."""

    def __init__(self) -> None:
        """Joins the group that the environment names: nccl where there is CUDA, otherwise gloo."""
        self.rank = int(os.environ.get("RANK", "0"))
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        if torch.cuda.is_available():
            self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
            torch.cuda.set_device(self.device)
        else:
            self.device = torch.device("cpu")
        if self.world > 1:
            # Its functions have the group of the moment they are loaded as a default argument.
            # The first optimizer loads them: after this line nothing but `dist` holds the group,
            # and `close` ends gloo's threads, which at the interpreter's end would abort it.
            importlib.import_module("torch.distributed.nn.functional")
            dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo")

    @property
    def leads(self) -> bool:
        """Whether this process writes the files and the log."""
        return self.rank == 0

    def close(self) -> None:
        """Leaves the group; none of its threads is left."""
        if self.world > 1:
            dist.destroy_process_group()

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replaces each gradient by its sum over all devices, in one transfer."""
        if self.world == 1:
            return
        gradients: list[Tensor] = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def sum_numbers(self, numbers: dict[str, float]) -> dict[str, float]:
        """Sums of numbers of the same names over all devices, in double precision."""
        if self.world == 1:
            return numbers
        total = torch.tensor(list(numbers.values()), dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return dict(zip(numbers, total.tolist(), strict=True))

    def gather(self, value: Any) -> list[Any]:
        """The values of all devices in the order of their numbers, on each of them."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values
