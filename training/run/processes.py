"""The processes that train together: who this one is among those that torchrun started."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor


class Processes(NamedTuple):
    """This process and how many there are; without torchrun it is the only one."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process is the one that reports and saves."""
        return self.rank == 0

    def mean(self, values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The mean of each value over all processes; NaN where one of them has it."""
        if self.world_size == 1:
            return values
        dist.all_reduce(values)
        return values / self.world_size

    def gather(self, item: Any) -> list[Any]:
        """The items of all processes, by rank."""
        if self.world_size == 1:
            return [item]
        items: list[Any] = [None] * self.world_size
        dist.all_gather_object(items, item)
        return items


def this_process() -> Processes:
    """Who this process is, on the GPU that torchrun gave it or the only device there is."""
    number = int(os.environ.get("LOCAL_RANK", 0))
    device = torch.device("cuda", number) if torch.cuda.is_available() else torch.device("cpu")
    if not dist.is_initialized():
        return Processes(0, 1, device)
    return Processes(dist.get_rank(), dist.get_world_size(), device)


@contextmanager
def joined() -> Iterator[Processes]:
    """Meet the other processes where torchrun started this one, and part from them at the end."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield this_process()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield this_process()
    finally:
        # Gloo's threads need Python's lock to let go of the last collective's tensors, and its destructor
        # waits for them with the lock held, for ever (torch 2.13). So they get the lock now.
        time.sleep(0.5)
        dist.destroy_process_group()
