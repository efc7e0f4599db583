"""The workers of one training: collectives that are counted, and that nobody waits in for ever."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from exporter.errors import TrainingError, WorkerLost
from exporter.optimisation.loop import Exchanged

_LOST = ("gloo", "NCCL", "Connection", "Timed out", "timed out", "Socket")
"""Words of what torch says of a peer that is gone or silent; anything else is a fault of this worker's own."""


@dataclass(frozen=True)
class Gang:
    """This worker among the others. Collectives are called by all of them in the same order."""

    rank: int
    workers: int
    group: dist.ProcessGroup
    """Of gradients and weights."""
    statistics: dist.ProcessGroup
    """Of what is told inside a forward or backward pass: between buckets of gradients, in an order of its own."""
    stall_s: float
    exchanged: Exchanged

    def sum(self, tensor: Tensor, group: dist.ProcessGroup | None = None) -> None:
        """The tensor becomes the sum of all workers' in place."""
        self.exchanged.bytes += tensor.nbytes
        dist.all_reduce(tensor, group=group or self.group)

    def least(self, tensor: Tensor) -> None:
        """The tensor becomes the least of all workers' in place."""
        self.exchanged.bytes += tensor.nbytes
        dist.all_reduce(tensor, dist.ReduceOp.MIN, group=self.group)

    @property
    def device(self) -> torch.device:
        """Where tensors are that are told: nccl takes none of the CPU's."""
        return torch.device("cuda" if dist.get_backend(self.group) == "nccl" else "cpu")

    def gathered(self, tensor: Tensor) -> Tensor:
        """[W, …]: the tensors of all workers, by rank."""
        self.exchanged.bytes += tensor.nbytes
        found = [torch.empty_like(tensor) for _ in range(self.workers)]
        dist.all_gather(found, tensor.contiguous(), group=self.statistics)
        return torch.stack(found)

    def spread(self, tensors: Sequence[Tensor]) -> None:
        """Tensors of any dtypes become those of the first worker in place."""
        for tensor in tensors:
            self.exchanged.bytes += tensor.nbytes
            whole = tensor.contiguous()
            dist.broadcast(whole, group_src=0, group=self.group)
            if whole is not tensor:
                tensor.copy_(whole)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Raises TrainingError where another worker died or was silent for `stall_s` in a collective."""
        try:
            yield
        except RuntimeError as error:
            said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            if not isinstance(error, dist.DistError) and not any(word in said for word in _LOST):
                raise
            raise WorkerLost(
                f"worker {self.rank + 1} of {self.workers} lost another, which died or was silent for "
                f"{self.stall_s:g} s: {said}"
            ) from error


_groups: list[tuple[dist.ProcessGroup | None, float, tuple[dist.ProcessGroup, dist.ProcessGroup]]] = []
"""Made once for a world and a patience: a worker trains many members, and groups hold sockets."""


def gang(stall_s: float) -> Gang:
    """The workers of the process group that is initialised. Called by all of them. Raises TrainingError."""
    if not dist.is_initialized():
        raise TrainingError("no process group is initialised, expected torchrun, Ray or init_process_group; a bug")
    world = dist.group.WORLD
    groups = next((groups for known, patience, groups in _groups if known is world and patience == stall_s), None)
    if groups is None:
        limit = timedelta(seconds=stall_s)
        groups = (dist.new_group(timeout=limit), dist.new_group(timeout=limit))
        _groups[:] = [entry for entry in _groups if entry[0] is world] + [(world, stall_s, groups)]
    return Gang(dist.get_rank(), dist.get_world_size(), *groups, stall_s, Exchanged())
