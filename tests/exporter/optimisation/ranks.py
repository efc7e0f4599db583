"""What the processes of a gang do in tests: `python -m tests.exporter.optimisation.ranks FOLDER`."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from exporter.errors import TrainingError
from exporter.optimisation.checkpoints import Snapshot
from exporter.optimisation.exchanges.by_technique import exchange_for
from exporter.optimisation.run import Run, optimise, seeded, training_in
from exporter.optimisation.spec import DataParallel, Federated, LocalSgd
from tests.exporter.optimisation.problems import network, problem


class Kept(dict[int, Snapshot]):
    """Snapshots of every epoch."""

    def found(self) -> dict[int, Snapshot]:
        return dict(self)

    def due(self) -> bool:
        return True

    def keep(self, epoch: int, snapshot: Snapshot) -> None:
        self[epoch] = copy.deepcopy(snapshot)


def trained(
    technique: DataParallel | LocalSgd,
    *,
    double: bool = False,
    dropout: float = 0.0,
    kept: Kept | None = None,
    **asked: Any,
) -> dict[str, Any]:
    """Gradients before each step, weights, losses and what was exchanged."""
    module = network(dropout)
    if double:
        module = module.double()
    gradients: list[Tensor] = []
    losses: list[float] = []

    def seen(_: object) -> None:
        gradients.append(
            torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None]).float().clone()
        )

    exchange = exchange_for(technique)
    run = Run(
        exchange, observe=lambda done: losses.append(done.loss), checkpoints=lambda _: Kept() if kept is None else kept
    )
    with seeded(0), training_in(run):
        optimise(problem(module, seen, **asked))
        after = float(torch.rand(()))
    return {
        "gradients": torch.stack(gradients),
        "state": {name: entry.clone() for name, entry in module.state_dict().items()},
        "losses": losses,
        "bytes": exchange.exchanged.bytes,
        "synchronisations": exchange.exchanged.synchronisations,
        "after": after,
        "plain": all("forward" not in vars(layer) for layer in module.modules()),
    }


def continued(technique: DataParallel | LocalSgd) -> dict[str, Any]:
    """What was kept of two epochs, of which the second worker lost the second, and the third from there."""
    kept = Kept()
    whole = trained(technique, dropout=0.5, kept=kept)
    for epoch in range(2 - dist.get_rank(), 3):
        del kept[epoch + 1]
    return {"whole": whole, "continued": trained(technique, dropout=0.5, kept=kept)}


def training() -> dict[str, Any]:
    """Every technique once."""
    return {
        "data_parallel": trained(DataParallel(), double=True),
        "in float32": trained(DataParallel()),
        "with dropout": trained(DataParallel(), dropout=0.5),
        "period 1": trained(LocalSgd(period=1)),
        "period 5": trained(LocalSgd(period=5)),
        "diloco": trained(LocalSgd(period=5, outer_rate=0.7, outer_momentum=0.9)),
        "seldom": trained(LocalSgd(period=1000)),
        "federated": trained(Federated(period=5)),
        "federated by class": trained(Federated(period=5, shards="by_class")),
        "until a figure": trained(DataParallel(), epochs=40, stop_at=0.5),
        "until a figure, apart": trained(LocalSgd(period=5), epochs=40, stop_at=0.5),
        "data_parallel in two goes": continued(DataParallel()),
        "local_sgd in two goes": continued(LocalSgd(period=5, outer_rate=0.7, outer_momentum=0.9)),
    }


def spoilt(happens: Callable[[Tensor, int], Tensor], technique: DataParallel | LocalSgd) -> dict[str, Any]:
    """What a worker says when something happens to the second of them."""
    spoil = happens if dist.get_rank() == 1 else lambda loss, _: loss
    start = time.monotonic()
    try:
        with training_in(Run(exchange_for(technique))):
            optimise(problem(network(), spoil=spoil))
    except TrainingError as error:
        return {"said": str(error), "seconds": time.monotonic() - start}
    return {"said": "", "seconds": time.monotonic() - start}


def not_finite(loss: Tensor, step: int) -> Tensor:
    """In the last batch of the first epoch, and from there on."""
    return loss * torch.nan if step >= 8 else loss


def dying(loss: Tensor, step: int) -> Tensor:
    """In the middle of the first epoch."""
    if step == 4:
        os._exit(1)
    return loss


def stalling(loss: Tensor, step: int) -> Tensor:
    """For longer than the others wait."""
    if step == 4:
        time.sleep(5)
    return loss


SCENARIOS: dict[str, Callable[[], dict[str, Any]]] = {
    "training": training,
    "not finite": lambda: {
        "data_parallel": spoilt(not_finite, DataParallel()),
        "local_sgd": spoilt(not_finite, LocalSgd(period=100)),
    },
    "stalling": lambda: spoilt(stalling, DataParallel(stall_s=2)),
    "dying": lambda: spoilt(dying, DataParallel()),
}


def run(folder: Path, workers: int = 2, timeout_s: float = 300) -> dict[str, list[Any]]:
    """What each process of a real gang came to in each scenario; None of one that died."""
    environment = {**os.environ, "WORLD_SIZE": str(workers), "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.exporter.optimisation.ranks", str(folder)],
            env={**environment, "RANK": str(rank)}, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(workers)
    ]  # fmt: skip
    said = [rank.communicate(timeout=timeout_s)[1] for rank in ranks]
    files = {name: [folder / f"{name}-{rank}.pt" for rank in range(workers)] for name in SCENARIOS}
    assert all(found[0].exists() for found in files.values()), said
    return {
        name: [torch.load(file, weights_only=False) if file.exists() else None for file in found]
        for name, found in files.items()
    }


def main(folder: Path) -> None:
    """All scenarios, one after another; a gang that lost a worker is done with, its groups are not the next's."""
    torch.set_num_threads(1)
    rank, workers = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=workers, timeout=timedelta(seconds=60)
    )
    for name, scenario in SCENARIOS.items():
        torch.save(scenario(), folder / f"{name}-{rank}.pt")
    os._exit(0)  # what is left of the groups waits for the one that died


if __name__ == "__main__":
    main(Path(sys.argv[1]))
