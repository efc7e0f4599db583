"""The techniques beside one process on the digits: the figures of docs/training.md.

    python -m tests.exporter.optimisation.compared SEEDS [MEMBER] > figures.jsonl

starts two processes by itself. One line for each training: accuracy and log-loss on the test rows, seconds of training,
and what the first worker exchanged. The asynchronous ones: `tests.exporter.training.compared`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from exporter.data.dataset import Dataset
from exporter.data.splits import Split
from exporter.gate.inference import Graph
from exporter.members.base import Family
from exporter.optimisation.exchanges.by_technique import exchange_for
from exporter.optimisation.exchanges.gang import gang
from exporter.optimisation.exchanges.local_sgd import LocalSgdExchange
from exporter.optimisation.loop import Exchange
from exporter.optimisation.problem import Problem
from exporter.optimisation.run import Run
from exporter.optimisation.spec import DataParallel, LocalSgd, Mode, Parallel
from exporter.recipe.catalogue import find_recipe
from exporter.recipe.recipe import read_recipe
from exporter.recipe.sources import clean, split
from exporter.seeds import member_seed
from exporter.training.jobs import FINAL, Job, Made, run_job


@dataclass
class Timed(Run):
    """A run that says how long its networks took."""

    seconds: float = 0.0

    def solve(self, problem: Problem) -> None:
        """As any."""
        start = time.perf_counter()
        super().solve(problem)
        self.seconds += time.perf_counter() - start


@dataclass(frozen=True)
class Setting:
    """One seed's rows and member."""

    dataset: Dataset
    split: Split
    spec: Family
    member: str
    seed: int

    @classmethod
    def of(cls, member: str, seed: int) -> Setting:
        """Of the digits' recipe."""
        recipe = read_recipe(find_recipe("digits"), "balanced", [f"seed={seed}"])
        dataset, _ = clean(recipe.data.load(None), recipe.data.on_bad_rows)
        parts = split(dataset.rows, recipe.split, seed, dataset.classes)
        return cls(recipe.data.prepare(dataset, parts, seed), parts, recipe.members[member], member, seed)

    def job(self, technique: Mode) -> Job:
        """The published member."""
        return Job(self.member, self.spec, FINAL, member_seed(self.seed, self.member, FINAL), technique=technique)

    def figures(self, name: str, made: Made, seconds: float) -> dict[str, object]:
        """A line."""
        test = self.dataset.rows.take(self.split.test)
        logits = torch.from_numpy(np.array(Graph(made.onnx).in_batches(test.inputs)))
        target = torch.from_numpy(test.target)
        return {
            "technique": name,
            "member": self.member,
            "seed": self.seed,
            "accuracy": float((logits.argmax(dim=1) == target).float().mean()),
            "log_loss": float(torch.nn.functional.cross_entropy(logits, target)),
            "seconds": round(seconds, 2),
            "bytes": made.exchanged.bytes,
            "synchronisations": made.exchanged.synchronisations,
        }


class ByClass(LocalSgdExchange):
    """Each worker sees the rows of its own classes alone."""

    def __init__(self, technique: LocalSgd, classes: Tensor) -> None:
        super().__init__(gang(technique.stall_s), technique)
        self._classes = classes

    def part(self, index: Tensor) -> Tensor:
        """Even classes are the first's, odd ones the second's."""
        own = index[self._classes[index] % self.workers == self.rank]
        self._share = len(own) / len(index)
        return own


def exchanges(setting: Setting) -> dict[str, tuple[Mode, Callable[[], Exchange]]]:
    """By name."""
    found: dict[str, tuple[Mode, Callable[[], Exchange]]] = {}
    together = DataParallel()
    found["data_parallel"] = (together, lambda: exchange_for(together))
    classes = torch.from_numpy(setting.dataset.rows.take(setting.split.fit).target)
    for period in (1, 10, 100):
        plain = LocalSgd(period=period)
        diloco = LocalSgd(period=period, outer_rate=0.7, outer_momentum=0.9)
        found[f"local_sgd {period}"] = (plain, lambda plain=plain: exchange_for(plain))  # type: ignore[misc]
        found[f"local_sgd {period} diloco"] = (diloco, lambda diloco=diloco: exchange_for(diloco))  # type: ignore[misc]
        found[f"local_sgd {period} by class"] = (plain, lambda plain=plain: ByClass(plain, classes))  # type: ignore[misc]
    return found


def trained(name: str, setting: Setting, technique: Mode, exchange: Exchange) -> dict[str, object]:
    """One training, and its line."""
    run = Timed(exchange)
    made = run_job(setting.job(technique), setting.dataset, setting.split, run)
    return setting.figures(name, made, run.seconds)


def rank(store: str, seeds: int, member: str) -> None:
    """One of two processes; the first writes."""
    torch.set_num_threads(1)
    number = int(os.environ["RANK"])
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=number, world_size=2)
    for seed in range(seeds):
        setting = Setting.of(member, seed)
        if number == 0:
            print(json.dumps(trained("alone", setting, Parallel(), Exchange())), flush=True)
        dist.barrier()
        for name, (technique, exchange) in exchanges(setting).items():
            line = trained(name, setting, technique, exchange())
            if number == 0:
                print(json.dumps(line), flush=True)
    dist.destroy_process_group()


def main() -> None:
    """Starts two of itself, unless it is one of them."""
    seeds, member = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "cnn"
    if "RANK" in os.environ:
        rank(os.environ["STORE"], seeds, member)
        return
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "STORE": f"{folder}/store", "OMP_NUM_THREADS": "1"}
        ranks = [
            subprocess.Popen(
                [sys.executable, "-m", __spec__.name, *sys.argv[1:]], env={**environment, "RANK": str(place)}
            )
            for place in range(2)
        ]
        for process in ranks:
            process.wait()


if __name__ == "__main__":
    main()
