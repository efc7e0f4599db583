"""What workers told each other is in the report of the trainings."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from exporter.gate.parity import Parity
from exporter.optimisation.loop import Exchanged
from exporter.training.finished_jobs import WorkFolder
from exporter.training.jobs import Made
from exporter.training.records import TrainingRecord, TrainingRecords


def records(exchanged: Exchanged) -> TrainingRecords:
    """Of one training."""
    one = TrainingRecord(
        member="a", seconds=2.0, processor_seconds=1.0, worker="1",
        exchanged_bytes=exchanged.bytes, synchronisations=exchanged.synchronisations,
    )  # fmt: skip
    return TrainingRecords(engine="local", technique="local_sgd", workers=2, seconds=2.0, trainings=(one,))


def test_bytes_and_synchronisations_stand_in_the_line_of_a_gang_and_in_no_other() -> None:
    assert "2.5 MB in 32 synchronisations" in records(Exchanged(2_500_000, 32)).line()
    assert "synchronisations" not in records(Exchanged()).line()


def test_what_a_job_exchanged_comes_back_from_the_work_folder(tmp_path: Path) -> None:
    exchanged = Exchanged(2_500_000, 32).since(Exchanged(500_000, 2))
    made = Made(b"onnx", "logits", np.arange(3), np.ones((3, 2), np.float32), Parity(rows=3, largest_difference=0.5),
                1.5, exchanged=exchanged)  # fmt: skip
    work = WorkFolder(tmp_path)
    work.save("a" * 64, made)
    found = work.load("a" * 64)
    assert found is not None
    assert found.exchanged == Exchanged(2_000_000, 30)
