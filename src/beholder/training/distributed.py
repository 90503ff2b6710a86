"""Several processes that train one network together, as ``torchrun`` starts them; usually there is just one.

Every process works on its part of each batch. Gradients and moving averages are averaged after every step, so all
processes hold the same weights. Keras' own ``distribution`` API does not serve the torch backend, and torch's
DistributedDataParallel wants to own the forward pass, which Keras' ``fit`` calls itself.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

T = TypeVar("T", Tensor, NDArray[Any])


@dataclass(frozen=True)
class Processes:
    """This process's number among ``world``."""

    rank: int = 0
    world: int = 1
    local: int = 0
    """Number on this machine: which GPU to use."""

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def rows(self, batch: T) -> T:
        """This process's part of a batch: every world-th row."""
        return batch[self.rank :: self.world]

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor, of any shape, by its mean over all processes."""
        if self.world > 1:
            self._reduce(tensors, dist.ReduceOp.SUM)
            torch._foreach_div_(list(tensors), self.world)

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor, of any shape, by its sum over all processes."""
        if self.world > 1:
            self._reduce(tensors, dist.ReduceOp.SUM)

    def most(self, value: int, device: torch.device) -> int:
        """The largest ``value`` of any process."""
        if self.world == 1:
            return value
        tensor = torch.tensor([value], device=device)
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return int(tensor)

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Give all processes what the first one holds, tensors of any shape."""
        if self.world > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def wait(self) -> None:
        """Until every process has come here."""
        if self.world > 1:
            dist.barrier()

    def _reduce(self, tensors: Sequence[Tensor], how: dist.ReduceOp.RedOpType) -> None:
        # One message for all tensors of a kind: there are hundreds, most of them small.
        kinds: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            kinds.setdefault(tensor.dtype, []).append(tensor)
        for group in kinds.values():
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in group])
            dist.all_reduce(flat, how)
            parts = torch.split(flat, [tensor.numel() for tensor in group])
            for tensor, part in zip(group, parts, strict=True):
                tensor.copy_(part.view_as(tensor))


def start(cuda: bool) -> Processes:
    """Join the processes that ``torchrun`` started; a single one without it.  See :func:`stop`."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Processes()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if cuda:
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if cuda else "gloo")
    return Processes(dist.get_rank(), world, local)


def stop(processes: Processes) -> None:
    """Leave the group."""
    if processes.world > 1 and dist.is_initialized():
        dist.destroy_process_group()
