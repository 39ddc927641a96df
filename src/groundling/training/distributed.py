"""The processes of one training, as torchrun starts them; without torchrun, a group of one."""

import gc
import importlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from groundling.device import checked


@dataclass(frozen=True)
class Group:
    """This process's place among `world` processes, and the device it computes on."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in some process; all must ask at the same step."""
        if self.world == 1:
            return flag
        told = torch.tensor(int(flag), device=self.device)
        dist.all_reduce(told, dist.ReduceOp.MAX)
        return bool(told)

    def range(self, number: int) -> tuple[int, int]:
        """The least and the greatest of the processes' numbers."""
        if self.world == 1:
            return number, number
        told = torch.tensor([-number, number], device=self.device)
        dist.all_reduce(told, dist.ReduceOp.MAX)
        low, high = told.tolist()
        return -low, high

    def differs(self, flags: Tensor) -> tuple[Tensor, bool]:
        """Where a flag is set in some process, and whether the processes' flags differ."""
        some, every = flags.to(self.device, torch.int32), flags.to(self.device, torch.int32)
        if self.world > 1:
            dist.all_reduce(some, dist.ReduceOp.MAX)
            dist.all_reduce(every, dist.ReduceOp.MIN)
        return some.bool().cpu(), bool((some != every).any())

    def sum(self, numbers: Mapping[str, Tensor]) -> dict[str, float]:
        """Each number summed over the processes, with one exchange and one wait for the device."""
        names = sorted(numbers)
        if not names:
            return {}
        values = torch.stack([numbers[name].detach().double().to(self.device) for name in names])
        if self.world > 1:
            dist.all_reduce(values)
        return dict(zip(names, values.tolist(), strict=True))

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            dist.barrier()


@contextmanager
def joined(device: str) -> Iterator[Group]:
    """The group that torchrun's environment describes, left again at the end; NCCL on GPUs, gloo on CPUs."""
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    place = torch.device(checked(device))
    if place.type == "cuda" and place.index is None:
        place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(place)
    opened = world > 1 and not dist.is_initialized()
    if opened:
        # DistributedDataParallel imports it, whose functions would keep the group of that moment as a default
        importlib.import_module("torch.distributed.nn.functional")
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Group(rank, world, place)
    finally:
        if opened:
            gc.collect()  # models that are done with would hold the group, whose threads would live on
            dist.destroy_process_group()
