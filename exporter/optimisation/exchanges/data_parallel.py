"""Distributed gradient descent: one step by all workers' gradients, equal to one worker's on the whole batch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import GradBucket
from torch.nn.parallel import DistributedDataParallel

from exporter.optimisation.exchanges.batch_norm import SharedBatchNorm
from exporter.optimisation.exchanges.company import Company
from exporter.optimisation.exchanges.gang import Gang
from exporter.optimisation.loop import Loop
from exporter.optimisation.problem import Batch


class DataParallelExchange(Company):
    """Each worker's gradient counts by its share of the batch's rows, and they are added up during the backward pass.

    A worker without a row of a batch takes one of another's at a weight of nothing: everybody takes part in every
    collective. Batches are made whole by each worker and then cut, so that order, distortion and padding are those
    of one worker alone; dropout is not.
    """

    def __init__(self, gang: Gang) -> None:
        super().__init__(gang)
        self._norms = SharedBatchNorm(gang, lambda: self._share > 0)

    def network(self, module: nn.Module) -> nn.Module:
        """The module behind torch's DistributedDataParallel; its batch normalisations see the whole batch."""
        self._norms.enter(module)
        device = next(module.parameters()).device
        # Experts and branches that no row of a worker's part goes through have no gradient there.
        with warnings.catch_warnings():
            # From 2.13 on `broadcast_buffers` has another name, which 2.9 does not know.
            warnings.simplefilter("ignore", FutureWarning)
            wrapped = DistributedDataParallel(
                module,
                device_ids=[device] if device.type == "cuda" else None,
                process_group=self.gang.group,
                broadcast_buffers=False,
                find_unused_parameters=True,
            )
        # Not the method itself: torch compares its annotations, which are strings here.
        wrapped.register_comm_hook(None, lambda state, bucket: self._added_up(bucket))
        return wrapped

    def batches(self, loop: Loop) -> Iterator[Batch]:
        """This worker's rows of every batch; a row of another's where it has none."""
        problem = loop.problem
        for index in problem.epoch(problem.generator):
            batch = problem.prepare(index, problem.generator)
            own = self.part(torch.arange(len(index)))
            taken = own if len(own) else torch.zeros(1, dtype=torch.int64)
            yield tuple(entry[taken.to(entry.device)] for entry in batch)

    def share(self, value: Tensor) -> Tensor:
        """The part of the batch's mean loss that is this worker's."""
        return value * self._share

    def step(self, loop: Loop) -> None:
        """Gradients are the same everywhere by now, and so is the step."""
        self.exchanged.synchronisations += 1
        loop.descend()

    def end(self, loop: Loop) -> None:
        """Buffers that are not of batch normalisation become the first worker's."""
        self._norms.leave()
        self.gang.spread(list(loop.problem.module.buffers()))
        super().end(loop)

    def _added_up(self, bucket: GradBucket) -> torch.futures.Future[Tensor]:
        buffer = bucket.buffer()
        self.exchanged.bytes += buffer.nbytes
        work = dist.all_reduce(buffer, group=self.gang.group, async_op=True)
        future: torch.futures.Future[Tensor] = work.get_future().then(lambda done: done.value()[0])
        return future
