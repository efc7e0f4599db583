"""IDX files of images and labels, gzipped or not."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from exporter.errors import DataError
from exporter.recipe.sources import Idx
from tests.exporter.images.files import idx

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 9, 7), dtype=np.uint8)
LABELS = np.arange(12, dtype=np.uint8) % 3


def written(folder: Path, prefix: str, images: bytes, labels: bytes) -> None:
    (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(labels)


def test_train_and_test_files_become_rows(tmp_path: Path) -> None:
    written(tmp_path, "train", idx(IMAGES), idx(LABELS))
    written(tmp_path, "t10k", idx(IMAGES[:6] // 2), idx(LABELS[:6]))
    found = Idx().load(tmp_path)
    assert np.array_equal(found.rows.inputs["image"], np.concatenate([IMAGES, IMAGES[:6] // 2]))
    assert found.rows.target.tolist() == [*LABELS.tolist(), *LABELS[:6].tolist()]
    assert found.classes == ("0", "1", "2")
    (entry,) = found.inputs
    assert entry.shape == (-1, 9, 7)
    assert entry.image is not None
    assert (entry.image.mode, entry.image.width, entry.image.height, entry.image.layout) == ("L", 7, 9, "HW")
    assert int((found.rows.part == 1).sum()) == 6


def test_without_test_files_all_rows_are_ours_to_split(tmp_path: Path) -> None:
    written(tmp_path, "train", idx(IMAGES), idx(LABELS))
    found = Idx(classes=("a", "b", "c"), train_rows=6).load(tmp_path)
    assert found.classes == ("a", "b", "c")
    assert found.rows.target.tolist() == [0, 1, 2, 0, 1, 2]
    assert not found.rows.part.any()


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (idx(IMAGES)[:-1], idx(LABELS), "images-idx3.* has 755 bytes of data, 12 × 9 × 7 are 756"),
        (b"\x89PNG", idx(LABELS), "images-idx3.*: is no IDX file"),
        (struct.pack(">HBBI", 0, 13, 1, 0), idx(LABELS), "images-idx3.*: has elements of type 13, expected 8"),
        (struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1), idx(LABELS), "has 0 bytes of data"),
        (idx(IMAGES), idx(LABELS[:-1]), "has 12 images, train-labels-idx1-ubyte 11 labels"),
        (idx(LABELS), idx(LABELS), "have 1 and 1 dimensions"),
        (idx(IMAGES), idx(LABELS * 9), "there is a label 18, 3 classes are named"),
    ],
)
def test_a_bad_file_is_named_with_its_fault(tmp_path: Path, images: bytes, labels: bytes, message: str) -> None:
    written(tmp_path, "train", images, labels)
    with pytest.raises(DataError, match=message):
        Idx(classes=("a", "b", "c")).load(tmp_path)


def test_a_cut_off_gzip_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no file for train-images"):
        Idx().load(tmp_path)
    written(tmp_path, "train", idx(IMAGES), idx(LABELS))
    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: cannot be read"):
        Idx().load(tmp_path)
