"""CIFAR-10 in each of its forms, and what is refused with file and row."""

from __future__ import annotations

import io
import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from exporter.data.dataset import FREE, TEST
from exporter.errors import DataError
from exporter.images.cifar_files import CLASSES
from exporter.recipe.sources import Cifar10, Dataset
from tests.exporter.images.files import binary_batch, photographs, python2_batch

ROWS = 20


def loaded(folder: Path, **settings: int) -> Dataset:
    return Cifar10(**settings).load(folder)  # type: ignore[arg-type]  # the row limits alone


def check(found: Dataset) -> None:
    """Two training batches and a test batch, in that order, pixel by pixel."""
    images = [photographs(ROWS, seed)[0] for seed in (1, 2, 3)]
    assert np.array_equal(found.rows.inputs["image"], np.concatenate(images))
    assert found.rows.target.tolist() == photographs(ROWS)[1] * 3
    assert found.rows.part.tolist() == [FREE] * 2 * ROWS + [TEST] * ROWS


def test_python_batches_of_python_2(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for seed, name in ((1, "data_batch_1"), (2, "data_batch_2"), (3, "test_batch")):
        (folder / name).write_bytes(python2_batch(*photographs(ROWS, seed)))
    names = [name.upper().encode() for name in CLASSES]
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}, protocol=2))
    found = loaded(tmp_path)
    check(found)
    assert found.classes == tuple(name.upper() for name in CLASSES)


def test_binary_batches(tmp_path: Path) -> None:
    for seed, name in ((1, "data_batch_1.bin"), (2, "data_batch_2.bin"), (3, "test_batch.bin")):
        (tmp_path / name).write_bytes(binary_batch(*photographs(ROWS, seed)))
    found = loaded(tmp_path)
    check(found)
    assert found.classes == CLASSES


def test_compact_files_with_pixels_and_with_jpeg(tmp_path: Path) -> None:
    first, labels = photographs(ROWS, 1)
    np.savez(
        tmp_path / "train_a.npz", images=first, labels=np.array(labels, dtype=np.uint8), class_names=np.array(CLASSES)
    )
    files = [jpeg(image) for image in photographs(ROWS, 2)[0]]
    offsets = np.cumsum([0, *map(len, files)])
    bytes_ = np.frombuffer(b"".join(files), dtype=np.uint8)
    np.savez(tmp_path / "train_b.npz", jpeg=bytes_, offsets=offsets, labels=np.array(labels, dtype=np.uint8))
    np.savez(tmp_path / "test.npz", images=photographs(ROWS, 3)[0], labels=np.array(labels, dtype=np.uint8))
    found = loaded(tmp_path)
    images = found.rows.inputs["image"]
    assert np.array_equal(images[:ROWS], first)
    assert np.array_equal(images[ROWS], np.asarray(Image.open(io.BytesIO(files[0]))))
    assert found.rows.target.tolist() == labels * 3


def test_a_limit_takes_the_first_of_each_class_and_decodes_no_more(tmp_path: Path) -> None:
    images, labels = photographs(ROWS, 1)
    files = [jpeg(image) if row < 10 else b"never decoded" for row, image in enumerate(images)]
    np.savez(
        tmp_path / "train.npz",
        jpeg=np.frombuffer(b"".join(files), dtype=np.uint8),
        offsets=np.cumsum([0, *map(len, files)]),
        labels=np.array(labels, dtype=np.uint8),
    )
    np.savez(tmp_path / "test.npz", images=images, labels=np.array(labels, dtype=np.uint8))
    found = loaded(tmp_path, train_rows=10, test_rows=10)
    assert found.rows.target.tolist() == [*range(10), *range(10)]
    with pytest.raises(DataError, match=r"train\.npz, row 10: is no PNG or JPEG image"):
        loaded(tmp_path)


def jpeg(image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG")
    return buffer.getvalue()


class Hostile:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, ...]:
        return subprocess.check_call, (["touch", str(self.proof)],)


def test_a_pickle_that_would_run_a_program_is_refused_by_the_name_it_calls(tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"data": Hostile(proof), b"labels": [0]}))
    (tmp_path / "test_batch").write_bytes(b"")
    with pytest.raises(DataError, match=r"data_batch_1: is a pickle that calls subprocess\.check_call"):
        loaded(tmp_path)
    assert not proof.exists()


IMAGES, LABELS = photographs(ROWS)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("data_batch_1", b"\x80\x02}(U\x04da", "is no pickle that can be read"),
        ("data_batch_1", b"cposix\nsystem\n(S'true'\ntR.", "calls posix.system, which is not run"),
        ("data_batch_1", pickle.dumps([1]), "holds list, expected a dictionary"),
        ("data_batch_1", pickle.dumps({"labels": [1]}), "expected 'data' .* and 'labels'"),
        (
            "data_batch_1",
            python2_batch(IMAGES, LABELS, b"O8"),
            "holds an array of 'O8', expected little-endian numbers",
        ),
        (
            "data_batch_1",
            python2_batch(IMAGES, LABELS, b"f8"),
            r"holds an array \[20, 3072\] of float64 in 61440 bytes",
        ),
        ("data_batch_1", python2_batch(IMAGES, LABELS[:-1]), "has 20 images and 19 labels"),
        ("data_batch_1", python2_batch(IMAGES, [*LABELS[:-1], 10]), "row 19: label 10, expected 0 to 9"),
        ("data_batch_1.bin", binary_batch(IMAGES, LABELS)[:-1], "has 61459 bytes, expected a multiple of 3073"),
        ("data_batch_1.bin", binary_batch(IMAGES, [*LABELS[:-1], 200]), "row 19: label 200, expected 0 to 9"),
        ("train.npz", b"PK", "cannot be read as .npz"),
    ],
)
def test_a_bad_file_is_named_with_its_fault(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    test = name.replace("data_batch_1", "test_batch").replace("train", "test")
    (tmp_path / test).write_bytes(data)
    with pytest.raises(DataError, match=f"{name}.*{message}"):
        loaded(tmp_path)


def test_a_folder_without_batches_and_one_without_a_test_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has none of data_batch"):
        loaded(tmp_path)
    (tmp_path / "data_batch_1.bin").write_bytes(binary_batch(IMAGES, LABELS))
    with pytest.raises(DataError, match=r"has data_batch_1\.bin but no test file"):
        loaded(tmp_path)
    with pytest.raises(DataError, match="--data is None"):
        Cifar10().load(None)
