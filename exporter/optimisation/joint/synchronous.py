"""Synchronous joint training: the same rows for all, one step of all for each batch."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from exporter.optimisation.joint.objective import coupling
from exporter.optimisation.joint.participant import Participant, require_finite
from exporter.optimisation.spec import Parallel


def solve_synchronously(members: Mapping[str, Participant], how: Parallel) -> None:
    """Train all in place. The rows of each batch, and how often there is one, are the first member's matter.

    Deterministic; in the thread that calls. Raises TrainingError naming the members whose loss is not finite.
    """
    leader = next(iter(members.values())).problem
    for epoch in range(leader.spec.epochs):
        losses: dict[str, float] = {}
        for index in leader.epoch(leader.generator):
            losses = _step(members, index, how, epoch)
        for name, member in members.items():
            member.epoch_done(losses[name])


def _step(members: Mapping[str, Participant], index: torch.Tensor, how: Parallel, epoch: int) -> dict[str, float]:
    """Each member's own loss before the step."""
    batches = [member.batch(index) for member in members.values()]
    answers = [member.answer(batch, alone=True) for member, batch in zip(members.values(), batches, strict=True)]
    own = torch.stack([loss for loss, _ in answers])
    losses = dict(zip(members, own.tolist(), strict=True))
    require_finite(losses, epoch)
    log_p = torch.stack([said for _, said in answers])
    shared = coupling(log_p, torch.ones(log_p.shape[:2], device=log_p.device), batches[0][-1], how)
    (how.independence * own.sum() + shared).backward()  # type: ignore[no-untyped-call]
    for member in members.values():
        member.descend()
    return losses
