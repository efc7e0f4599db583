"""Workers in turn on one shard of weights: staleness without the chance of real time.

    python -m tests.exporter.optimisation.staleness SEEDS

prints the figures of docs/training.md.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from exporter.optimisation.asynchronous.layout import Layout
from exporter.optimisation.asynchronous.shard import Floats, Shard
from exporter.optimisation.loop import Exchange, Loop
from exporter.optimisation.problem import Problem
from exporter.optimisation.spec import Optimisation

BATCH_ROWS = 32
TRAINED_ROWS = 1200
RATE = 0.2
MOMENTUM = 0.0
ANY = 10**9
"""A staleness that is never too much."""


@dataclass(frozen=True)
class Ended:
    """What came of it."""

    accuracy: float
    log_loss: float
    refused: int
    """Gradients that were too stale, computed in vain."""
    most: int
    """The staleness of the stalest that was taken."""


def simulated(workers: int, staleness: int, *, scale: bool, pushes: int = 800, seed: int = 0) -> Ended:
    """A perceptron on the digits by SGD at a rate of 0.2, until so many gradients were taken.

    In turn each worker pushes the gradient of the weights that it had got at its turn before: with nobody refused,
    `workers` - 1 others come between.
    """
    torch.manual_seed(seed)
    (x, y), (tx, ty) = _rows(seed)
    module = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    layout = Layout(Loop(_problem(module, pushes), Exchange(), lambda *_: None), 1)
    shard = Shard(layout.weights()[0], layout.pieces()[0], layout.plan, staleness, scale_by_staleness=scale)
    draw = torch.Generator().manual_seed(seed)
    held: list[tuple[Floats, int]] = [(shard.weights(), 0)] * workers
    refused = most = turn = 0
    while shard.version < pushes:
        index = torch.randint(0, len(x), (BATCH_ROWS,), generator=draw)
        weights, base = held[turn % workers]
        layout.put([weights])
        module.zero_grad()
        loss = nn.functional.cross_entropy(module(x[index]), y[index])
        loss.backward()  # type: ignore[no-untyped-call]
        found = shard.push((0, turn), layout.gradients()[0][0], [], base)
        refused += found.verdict == "stale"
        most = max(most, found.staleness if found.verdict == "taken" else 0)
        held[turn % workers] = (shard.weights(), shard.version)
        turn += 1
    layout.put([shard.weights()])
    with torch.no_grad():
        logits = torch.nan_to_num(module(tx))
    log_loss = float(nn.functional.cross_entropy(logits, ty))
    return Ended(float((logits.argmax(dim=1) == ty).float().mean()), log_loss, refused, most)


def _rows(seed: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    digits = load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.target))
    x = torch.from_numpy(digits.data[order].astype(np.float32) / 16)
    y = torch.from_numpy(digits.target[order].astype(np.int64))
    return (x[:TRAINED_ROWS], y[:TRAINED_ROWS]), (x[TRAINED_ROWS:], y[TRAINED_ROWS:])


def _problem(module: nn.Module, pushes: int) -> Problem:
    spec = Optimisation(
        optimiser="sgd", momentum=MOMENTUM, schedule="constant", learning_rate=RATE, weight_decay=0.0, epochs=1
    )
    return Problem(
        module=module, rows=TRAINED_ROWS, epoch=lambda _: iter(()), prepare=lambda *_: (), loss=lambda *_: Tensor(),
        steps=pushes, spec=spec, generator=torch.Generator(),
    )  # fmt: skip


def main() -> None:
    """A line for each number of workers and rule."""
    seeds = range(int(sys.argv[1]))
    torch.set_num_threads(1)
    rules = {"none": (ANY, False), "bound 4": (4, False), "scaled": (ANY, True), "both": (4, True)}
    for workers in (1, 2, 5, 17):
        for name, (staleness, scale) in rules.items():
            found = [simulated(workers, staleness, scale=scale, seed=seed) for seed in seeds]
            accuracy = [100 * one.accuracy for one in found]
            print(
                f"{workers:2d} workers, {name:8s}: accuracy {statistics.mean(accuracy):5.2f} ± "
                f"{statistics.stdev(accuracy):.2f} %, log-loss {statistics.mean(o.log_loss for o in found):.3f}, "
                f"refused {statistics.mean(o.refused for o in found):6.0f}, most {max(o.most for o in found)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
