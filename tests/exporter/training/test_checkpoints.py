"""A training that is killed goes on from its last epoch, to the bits that it would have come to."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from exporter.data.dataset import Dataset
from exporter.data.splits import Split, SplitSpec, split
from exporter.images.families import Pca
from exporter.members.base import Augmentation, Family, Training
from exporter.members.torch_member import cross_entropy
from exporter.members.training_loop import fit
from exporter.optimisation.run import EpochDone, Run, seeded, training_in
from exporter.threads import one_thread
from exporter.training.checkpoints import CheckpointFiles
from exporter.training.jobs import FINAL, Job, Made, run_job

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def digits() -> tuple[Dataset, Split]:
    """Few rows of digits."""
    from exporter.recipe.sources import Digits, clean

    data = clean(Digits().load(None), "error")[0]
    return data, split(data.rows, SplitSpec(test=0.7), 0, data.classes)


def trained(family: Family, data: tuple[Dataset, Split], folder: Path, dies_after: int = 0) -> Made:
    """The member, with a snapshot of each epoch; a process that is to die does so by SIGKILL."""

    def observe(done: EpochDone) -> None:
        if done.epoch == dies_after:
            os.kill(os.getpid(), signal.SIGKILL)

    run = Run(observe=observe, checkpoints=lambda network: CheckpointFiles(folder, network, every_s=0, most=1))
    with one_thread():
        return run_job(Job("m", family, FINAL, 5), *data, run)


@pytest.mark.slow
def test_a_training_that_was_killed_after_an_epoch_comes_to_the_same_bits(
    digits: tuple[Dataset, Split], tmp_path: Path
) -> None:
    family = Pca(components=4, hidden=8, training=Training(epochs=4))
    whole = trained(family, digits, tmp_path / "whole")
    process = multiprocessing.get_context("spawn").Process(target=trained, args=(family, digits, tmp_path / "cut", 2))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert max(CheckpointFiles(tmp_path / "cut", 0).found()) == 2
    resumed = trained(family, digits, tmp_path / "cut")
    assert resumed.onnx == whole.onnx
    assert np.array_equal(resumed.outputs, whole.outputs)


class _Ended(Exception):
    """A training was ended."""


def images_fitted(folder: Path, ends_after: int = 0) -> tuple[list[int], torch.Tensor]:
    """Two networks in turn, the second drawn after the first was trained: epochs that were run, all weights."""
    ran: list[int] = []

    def observe(done: EpochDone) -> None:
        ran.append(done.network * 3 + done.epoch)
        if ran[-1] == ends_after:
            raise _Ended

    x = torch.rand(60, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    y = torch.arange(60) % 3
    run = Run(observe=observe, checkpoints=lambda network: CheckpointFiles(folder, network, every_s=0, most=1))
    with one_thread(), training_in(run), seeded(7):
        for _ in range(2):
            layers = (nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.3), nn.Flatten(), nn.Linear(64, 3))
            training = Training(epochs=3, batch_rows=20, augmentation=Augmentation())
            fit(nn.Sequential(*layers), [x], y, training, cross_entropy, seed=3)
    return ran, torch.cat([entry.float().flatten() for state in run.kept for entry in state.values()])


@pytest.mark.parametrize("ends_after", [1, 3, 5], ids=["first network", "between the networks", "second network"])
def test_dropout_distortion_and_the_next_networks_weights_go_on_as_they_would_have(
    tmp_path: Path, ends_after: int
) -> None:
    _, whole = images_fitted(tmp_path / "whole")
    with pytest.raises(_Ended):
        images_fitted(tmp_path / "cut", ends_after)
    ran, resumed = images_fitted(tmp_path / "cut")
    assert ran == list(range(ends_after + 1, 7))
    assert torch.equal(resumed, whole)


def test_two_generations_are_kept_and_a_damaged_one_does_not_count(tmp_path: Path) -> None:
    files = CheckpointFiles(tmp_path, 0, every_s=0)
    for epoch in (9, 10, 11):
        files.keep(epoch, {"epoch": epoch, "weights": torch.arange(3.0)})
    assert sorted(files.found()) == [10, 11]
    newest = tmp_path / "0-0-11.pt"
    newest.write_bytes(newest.read_bytes()[:50])
    assert sorted(files.found()) == [10]
    assert not CheckpointFiles(tmp_path, 1).found(), "another network's"
    assert not CheckpointFiles(tmp_path, 0, rank=1).found(), "another worker's"


def test_snapshots_are_rare_and_one_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    files = CheckpointFiles(tmp_path / "file" / "work", 0, every_s=0)
    assert files.due()
    files.keep(1, {"epoch": 1})
    assert not CheckpointFiles(tmp_path, 0).due(), "not before some seconds have gone by"
