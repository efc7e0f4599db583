"""Members for tests of engines: they train at once, fail, die or take their time. No ONNX converter is needed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from exporter.data.dataset import Dataset, Rows
from exporter.data.splits import Split, SplitSpec, split
from exporter.errors import TrainingError
from exporter.members.base import NETWORK, Family, Setting, Training
from exporter.members.torch_member import cross_entropy
from exporter.members.training_loop import fit
from exporter.optimisation.run import seeded
from exporter.optimisation.spec import Mode, Parallel
from exporter.training.engines.engine import Given, Task
from exporter.training.jobs import FINAL, Job, rows_of
from model_repo.format.manifest import Kind
from tests import graphs
from tests.exporter.samples import dataset

Deed = Literal["train", "fail", "break", "die", "die once", "run out of memory", "wait", "say where"]


class Scripted(Family, frozen=True, kw_only=True, tag="scripted-for-tests"):
    """One linear layer, trained by the loop that all networks are trained by; or what `does` says."""

    does: Deed = "train"
    note: str = ""
    """A file that it writes its process's number into."""
    training: Training = Training(epochs=3, batch_rows=16)

    def train(self, rows: Rows, setting: Setting) -> LinearMember:
        """Raises what it is told to."""
        if self.note:
            with Path(self.note).open("a", encoding="utf-8") as stream:
                stream.write(f"{os.getpid()}\n")
        self._deed()
        x, y = torch.from_numpy(rows.inputs["x"]), torch.from_numpy(rows.target)
        with seeded(setting.seed):
            layer = nn.Linear(x.shape[1], setting.columns, bias=False)
            fit(layer, [x], y, self.training, cross_entropy, setting.seed, answer="logits")
        return LinearMember(layer.weight.detach().numpy().T.copy())

    def _deed(self) -> None:
        if self.does == "fail":
            raise TrainingError("the loss is nan after epoch 1 of 3")
        if self.does == "break":
            raise LookupError("no such thing\nand more")
        if self.does == "run out of memory":
            raise MemoryError("what it asked for")
        if self.does == "die" or (self.does == "die once" and self._processes()[0] == str(os.getpid())):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.does == "wait":
            time.sleep(600)

    def _processes(self) -> list[str]:
        return Path(self.note).read_text(encoding="utf-8").split()


class LinearMember:
    """Answers by `weights` [F, C]."""

    kind: Kind = "logits"
    tolerance = NETWORK

    def __init__(self, weights: NDArray[np.float32]) -> None:
        self.weights = weights

    def predict(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """float32 [n, C]."""
        found: NDArray[np.float32] = inputs["x"] @ self.weights
        return found

    def to_onnx(self) -> bytes:
        """`x` → `y`."""
        return graphs.linear(self.weights)


def clouds() -> tuple[Dataset, Split]:
    """Three clouds of 40 rows, two folds."""
    rng = np.random.default_rng(8)
    y = np.arange(120) % 3
    data = dataset(rng.normal(size=(120, 5)) + 3 * np.eye(3, 5)[y], y, classes=3)
    return data, split(data.rows, SplitSpec(golden=6, fusion=0.2, folds=2), 0, data.classes)


def given(work: Path) -> Given:
    """The clouds, with snapshots in `work`."""
    return Given(*clouds(), work)


def task(name: str, family: Family, where: Given, fold: int = FINAL, technique: Mode | None = None) -> Task:
    """The training of one member."""
    job = Job(name, family, fold, 1, technique=technique or Parallel())
    return Task((job,), job.digest(where.dataset, where.split), rows_of(job, where.split))
