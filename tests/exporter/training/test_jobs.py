"""One training: what it answers, what it is named by, and what becomes of a member that lies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.data.dataset import Dataset, Rows
from exporter.data.splits import Split, SplitSpec, split
from exporter.errors import ExportError, ParityError, TrainingError
from exporter.gate.parity import Parity
from exporter.images.families import Pca
from exporter.members.base import NETWORK, Family, Setting, Training
from exporter.seeds import member_seed
from exporter.training.finished_jobs import WorkFolder
from exporter.training.jobs import FINAL, Job, Made, run_job
from model_repo.format.manifest import Kind
from tests import graphs
from tests.exporter.samples import dataset

pytestmark = pytest.mark.timeout(300)

SPEC = Pca(components=2, hidden=4)


class Linear(Family, frozen=True, kw_only=True, tag="linear-for-tests"):
    """logits x W with the W of the class centres, and a graph whose columns may be exchanged."""

    honest: bool = True

    def train(self, rows: Rows, setting: Setting) -> LinearMember:
        """The centres of the rows' classes."""
        x, y = rows.inputs["x"], rows.target
        centres = np.stack([x[y == c].mean(axis=0) for c in range(setting.columns)], axis=1)
        return LinearMember(centres.astype(np.float32), self.honest)


class LinearMember:
    """Answers by `weights` [F, C]; converts to the same, or to the same with its classes in reverse."""

    kind: Kind = "logits"
    tolerance = NETWORK

    def __init__(self, weights: NDArray[np.float32], honest: bool) -> None:
        self.weights, self.honest = weights, honest

    def predict(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """float32 [n, C]."""
        found: NDArray[np.float32] = inputs["x"] @ self.weights
        return found

    def to_onnx(self) -> bytes:
        """`x` → `y`."""
        return graphs.linear(self.weights if self.honest else self.weights[:, ::-1])


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Three clouds of 40 rows."""
    rng = np.random.default_rng(8)
    y = np.arange(120) % 3
    return dataset(rng.normal(size=(120, 5)) + 3 * np.eye(3, 5)[y], y, classes=3)


@pytest.fixture(scope="module")
def parts(data: Dataset) -> Split:
    return split(data.rows, SplitSpec(golden=6, fusion=0.2, folds=2), 0, data.classes)


def job(spec: Family, fold: int = FINAL, seed: int = 1) -> Job:
    return Job("m", spec, fold, seed)


def test_a_members_answers_are_to_rows_that_it_was_not_trained_on(data: Dataset, parts: Split) -> None:
    final = run_job(job(Linear()), data, parts)
    first = run_job(job(Linear(), fold=0), data, parts)
    second = run_job(job(Linear(), fold=1), data, parts)
    assert np.array_equal(final.held, parts.fusion)
    assert np.array_equal(np.sort(np.concatenate([first.held, second.held])), parts.fit)
    # The graph's weights are the class centres of the rows that were left to train on.
    rest = data.rows.take(parts.fit[parts.fold != 0])
    expected = Linear().train(rest, Setting(data.inputs, {}, 3, 1)).predict(data.rows.take(first.held).inputs)
    assert first.outputs == pytest.approx(expected, abs=1e-5)


def test_a_member_whose_graph_lies_is_refused_by_name(data: Dataset, parts: Split) -> None:
    with pytest.raises(ParityError, match=r"^member 'm': in batches of 1 \d+ of \d+ rows differ, .* row \d+"):
        run_job(job(Linear(honest=False)), data, parts)
    with pytest.raises(ParityError, match=r"^member 'm' \(fold 1\): "):
        run_job(job(Linear(honest=False), fold=1), data, parts)


def test_training_that_diverges_is_refused_by_name() -> None:
    from exporter.recipe.sources import Digits, clean

    digits = clean(Digits().load(None), "error")[0]
    parts = split(digits.rows, SplitSpec(), 0, digits.classes)
    wild = Pca(training=Training(epochs=2, learning_rate=1e30))
    with pytest.raises(TrainingError, match=r"^member 'm': the loss is (nan|inf) after epoch \d of 2"):
        run_job(job(wild), digits, parts)


def test_every_member_and_fold_has_a_seed_of_its_own() -> None:
    seeds = {member_seed(s, m, f) for s in (0, 1) for m in ("a", "b") for f in (FINAL, 0, 1)}
    assert len(seeds) == 12
    assert member_seed(0, "a", 0) == member_seed(0, "a", 0)


def test_the_digest_changes_with_everything_that_the_result_depends_on(data: Dataset, parts: Split) -> None:
    base = Job("m", SPEC, 0, 1)
    other_rows = dataset(data.rows.inputs["x"] + 1, data.rows.target, classes=3)
    other_split = split(data.rows, SplitSpec(golden=6, fusion=0.2, folds=2), 1, data.classes)
    digests = {
        base.digest(data, parts),
        Job("m", msgspec.structs.replace(SPEC, hidden=5), 0, 1).digest(data, parts),
        Job("m", SPEC, 1, 1).digest(data, parts),
        Job("m", SPEC, 0, 2).digest(data, parts),
        Job("m", SPEC, 0, 1, "cuda").digest(data, parts),
        base.digest(other_rows, parts),
        base.digest(data, other_split),
    }
    assert len(digests) == 7
    assert Job("renamed", SPEC, 0, 1).digest(data, parts) == base.digest(data, parts)


def made() -> Made:
    return Made(b"onnx\0bytes", "logits", np.arange(3), np.ones((3, 2), np.float32),
                Parity(rows=3, largest_difference=0.5), 1.5)  # fmt: skip


def test_a_finished_job_comes_back_from_the_work_folder(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "work")
    assert work.load("a" * 64) is None
    work.save("a" * 64, made())
    found = work.load("a" * 64)
    assert found is not None
    assert (found.onnx, found.kind, found.parity, found.seconds) == (b"onnx\0bytes", "logits", made().parity, 1.5)
    assert np.array_equal(found.outputs, made().outputs)
    assert np.array_equal(found.held, made().held)
    work.remove()
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("keep", [0, 10, 200, -5])
def test_a_damaged_result_counts_as_none(tmp_path: Path, keep: int) -> None:
    work = WorkFolder(tmp_path)
    work.save("b" * 64, made())
    file = tmp_path / f"{'b' * 64}.npz"
    file.write_bytes(file.read_bytes()[:keep])
    assert work.load("b" * 64) is None


def test_a_work_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ExportError, match=r"work folder .*file/work: Not a directory"):
        WorkFolder(tmp_path / "file" / "work").save("c" * 64, made())
