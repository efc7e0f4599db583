"""Folders of PNG and JPEG files: loaded as the server decodes them, trained on, served."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from exporter.cli.export import main
from exporter.errors import DataError
from exporter.images.rows import decoded
from exporter.recipe.sources import ImageFolder
from model_repo import ImageInput, Repository
from server.http.codec.images import row_of
from server.http.codec.tensors import DATATYPES
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from tests.exporter.images.drawing import CLASSES, drawn


def written(folder: Path, rows: int, side: int = 40, seed: int = 0) -> None:
    """Alternately PNG and JPEG, in a folder for each class."""
    images, labels = drawn(rows, side, seed=seed)
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / CLASSES[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{row:03}.{'png' if row % 2 else 'jpg'}")


def test_a_folder_per_class_becomes_rows_of_one_size(tmp_path: Path) -> None:
    written(tmp_path, 9)
    found = ImageFolder(size=32).load(tmp_path)
    assert found.classes == CLASSES
    assert found.rows.target.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert found.rows.inputs["image"].shape == (9, 32, 32, 3)
    assert not found.rows.part.any()
    grey = ImageFolder(size=16, mode="L", train_rows=6).load(tmp_path)
    assert grey.rows.inputs["image"].shape == (6, 16, 16)
    assert grey.rows.target.tolist() == [0, 0, 1, 1, 2, 2]


def test_train_and_test_folders_are_the_parts(tmp_path: Path) -> None:
    written(tmp_path / "train", 9)
    written(tmp_path / "test", 6, seed=1)
    found = ImageFolder().load(tmp_path)
    assert found.rows.part.tolist() == [0] * 9 + [1] * 6
    assert found.rows.target[9:].tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("kind", ["RGB", "RGBA", "L", "P", "I;16"])
def test_files_are_decoded_as_the_server_decodes_bodies(mode: str, kind: str) -> None:
    """Else the members would be asked about other pixels than they have learned."""
    random = np.random.default_rng(0)
    if kind == "I;16":
        image = Image.fromarray(random.integers(0, 2**16, (30, 50)).astype(np.uint16))
    else:
        image = Image.fromarray(random.integers(0, 256, (30, 50, 3), dtype=np.uint8)).convert(kind)
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    image.save(buffer, "PNG", exif=exif)
    layout = "HWC" if mode == "RGB" else "HW"
    spec = ImageInput(mode=mode, width=24, height=20, layout=layout)  # type: ignore[arg-type]  # of the parameters
    served = row_of(buffer.getvalue(), spec, DATATYPES["UINT8"], 10**6, "image")
    trained = decoded(buffer.getvalue(), mode, (24, 20), "file")  # type: ignore[arg-type]  # of the parameters
    assert trained.dtype == np.uint8
    assert np.array_equal(served[0], trained)


def test_a_broken_file_is_named_or_left_out(tmp_path: Path) -> None:
    written(tmp_path, 9)
    broken = tmp_path / "down" / "004.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(DataError, match=r"down/004\.jpg: the image is damaged"):
        ImageFolder().load(tmp_path)
    assert len(ImageFolder(on_bad_rows="drop").load(tmp_path).rows) == 8
    broken.write_bytes(b"GIF89a")
    with pytest.raises(DataError, match=r"down/004\.jpg: is no PNG or JPEG image"):
        ImageFolder().load(tmp_path)


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    written(tmp_path, 9)
    Image.new("1", (9000, 6000)).save(tmp_path / "down" / "bomb.png")
    with pytest.raises(DataError, match=r"bomb\.png: 9000 × 6000 pixels, at most 50000000"):
        ImageFolder().load(tmp_path)


def test_classes_that_are_empty_alone_or_unknown_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no folder, expected a folder for each of two or more classes"):
        ImageFolder().load(tmp_path)
    written(tmp_path / "train", 9)
    (tmp_path / "train" / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image, expected at least one of class 'empty'"):
        ImageFolder().load(tmp_path)
    (tmp_path / "train" / "empty").rmdir()
    (tmp_path / "test" / "strange").mkdir(parents=True)
    with pytest.raises(DataError, match="class 'strange' is not among the classes to train, across, down, square"):
        ImageFolder().load(tmp_path)
    with pytest.raises(DataError, match="has one class, 'strange'"):
        ImageFolder().load(tmp_path / "test")
    (tmp_path / "train" / "down" / "notes.txt").write_text("?")
    with pytest.raises(DataError, match=r"notes\.txt: is no \.png"):
        ImageFolder().load(tmp_path)


RECIPE = """
name = "shapes"
task = "classification"
[data]
source = "images"
size = 16
[split]
test = 0.25
fusion = 0.25
golden = 4
folds = 0
[acceptance]
enforce = false
[members.boosted]
family = "tree"
trees = 10
copies = 0
[members.forest]
family = "tree"
algorithm = "extra_trees"
trees = 30
copies = 0
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_ensemble_of_a_folder_answers_an_image_file(tmp_path: Path) -> None:
    written(tmp_path / "data", 150)
    (tmp_path / "shapes.toml").write_text(RECIPE)
    places = ["--repository", str(tmp_path / "models"), "--report", str(tmp_path / "report"), "--workers", "1"]
    assert main([str(tmp_path / "shapes.toml"), "--data", str(tmp_path / "data"), *places]) == 0
    version = Repository(tmp_path / "models").open("shapes", 1)
    (entry,) = version.manifest.inputs
    assert entry.datatype == "UINT8"
    assert entry.image is not None
    ensemble = LoadedEnsemble.open(version, SessionPool(), RuntimeOptions(cores=1))
    try:
        right = 0
        for image, label in zip(*drawn(30, 40, seed=9), strict=True):
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "PNG")
            row = row_of(buffer.getvalue(), entry.image, DATATYPES[entry.datatype], 10**6, "image")
            right += ensemble.predict({"image": row}, ["label"]).outputs["label"][0] == CLASSES[label]
    finally:
        ensemble.close()
    assert right >= 20, "a third is chance"
