"""The statistics of batch normalisation, computed anew: averaged weights do not have the averaged statistics."""

from __future__ import annotations

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from exporter.optimisation.problem import Problem


@torch.no_grad()
def renew_statistics(problem: Problem, seed: int) -> None:
    """Mean and variance of every batch-normalised channel of the problem's module, over one epoch of its batches.

    Batches are drawn and distorted as in training, by a generator of this seed; each counts the same. Everything else
    of the module evaluates (no dropout). Nothing is done where nothing is batch-normalised.
    """
    layers = [layer for layer in problem.module.modules() if isinstance(layer, _BatchNorm)]
    layers = [layer for layer in layers if layer.track_running_stats]
    if not layers:
        return
    problem.module.eval()
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over the batches
        layer.train()
    generator = torch.Generator().manual_seed(seed)
    for index in problem.epoch(generator):
        problem.loss(problem.module, problem.prepare(index, generator))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()
