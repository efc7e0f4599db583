"""The training loop of text networks: batches of rows of about one length, cut to the longest of them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from exporter.optimisation.problem import Batch, Problem
from exporter.optimisation.run import optimise
from exporter.text.families.training import TextTraining
from exporter.text.networks.masked import PAD, UNKNOWN

_MOST_GRADIENT = 1.0
_POOL_BATCHES = 32
"""Batches whose rows are sorted by length together: little padding, and still another mixture in every epoch."""


def fit_texts(module: nn.Module, ids: Tensor, target: Tensor, training: TextTraining, seed: int) -> nn.Module:
    """`module` trained in place on ids [n, L] or [n, W, L] by cross-entropy, and set to evaluation.

    Raises TrainingError where the loss is not finite.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(target), generator=generator)[: training.most_rows or len(target)]
    counts = token_counts(ids[chosen]).cpu()  # rows are put into batches there, whatever the device

    def epoch(drawing: torch.Generator) -> Iterator[Tensor]:
        return (chosen[index] for index in batches(counts, training.batch_rows, drawing))

    def prepare(index: Tensor, generator: torch.Generator) -> Batch:
        return dropped(trimmed(ids[index]), training.word_dropout, generator), target[index]

    def logits(network: nn.Module, batch: Batch) -> Tensor:
        found: Tensor = network(batch[0])
        return found

    problem = Problem(
        module=module,
        rows=len(target),
        epoch=epoch,
        prepare=prepare,
        loss=lambda network, batch: nn.functional.cross_entropy(logits(network, batch), batch[1]),
        steps=training.epochs * len(list(batches(counts, training.batch_rows, generator))),
        spec=training,
        generator=generator,
        most_gradient=_MOST_GRADIENT,
        logits=logits,
        plain=lambda index: (trimmed(ids[index]), target[index]),
    )
    return optimise(problem)


def batches(counts: Tensor, batch_rows: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Row numbers of one epoch's batches, in random order, rows of about one length together."""
    order = torch.randperm(len(counts), generator=generator)
    pooled = [pool[torch.argsort(counts[pool], stable=True)] for pool in torch.split(order, _POOL_BATCHES * batch_rows)]
    found = [part for pool in pooled for part in torch.split(pool, batch_rows)]
    for place in torch.randperm(len(found), generator=generator).tolist():
        yield found[place]


def token_counts(ids: Tensor) -> Tensor:
    """int64 [n]: tokens of each row, in all windows."""
    return (ids != PAD).flatten(1).sum(dim=1)


def trimmed(ids: Tensor) -> Tensor:
    """Without the windows, and the end of them, that are padding in every row; one of each stays."""
    used = (ids != PAD).any(dim=0)
    for dim in range(used.dim()):
        kept = used.any(dim=1 - dim) if used.dim() == 2 else used
        ids = ids.narrow(dim + 1, 0, max(1, int(kept.sum())))
    return ids


def dropped(ids: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """With a share of the tokens unknown, drawn anew: no answer may hang on one word."""
    if not share:
        return ids
    hidden = torch.rand(ids.shape, generator=generator).to(ids.device) < share
    return torch.where(hidden & (ids != PAD), torch.full_like(ids, UNKNOWN), ids)
