"""Every image family on bytes in colour: it learns, and its ONNX graph computes what it does (run_job sweeps that)."""

from __future__ import annotations

import onnx
import pytest
from msgspec.structs import replace

from exporter.errors import TrainingError
from exporter.gate.inference import Graph
from exporter.images.families import Cnn, Linear, Pca, Retrieval, Tree, Vit, Wavelet
from exporter.images.families.wavelet import Boosting
from exporter.members.base import Augmentation, Family, Training
from exporter.recipe.sources import Dataset, Split, SplitSpec, split
from exporter.threads import one_thread
from exporter.training.jobs import FINAL, Job, Made, run_job
from tests.exporter.images.drawing import dataset

pytestmark = pytest.mark.timeout(300)

PHOTOGRAPH = Augmentation(degrees=0, scale=0, shift_px=0, shear=0, flip=True, crop_px=2)
QUICK = Training(epochs=5, batch_rows=16, learning_rate=5e-3, augmentation=PHOTOGRAPH)

MEMBERS: dict[str, Family] = {
    "two layers": Cnn(structure="two_layer", width=16, dropout=0.0, training=replace(QUICK, optimiser="adam")),
    "residual": Cnn(structure="residual", width=8, dropout=0.1, training=QUICK),
    "separable": Cnn(structure="separable", width=16, dropout=0.0, training=replace(QUICK, epochs=8)),
    "vit": Vit(stem="pooled", patch=8, width=16, attention_heads=2, layers=1, training=QUICK),
    "linear": Linear(patches=24),
    "pca": Pca(components=20, hidden=0, training=Training(epochs=20, batch_rows=16)),
    "trees": Tree(trees=6, copies=1, augmentation=PHOTOGRAPH),
    "wavelet": Wavelet(head="trees", boosting=Boosting(rounds=20, leaves=7, feature_share=1.0)),
    "retrieval": Retrieval(structure="deep", width=8, dimensions=8, keys=90, loss="proxies", training=QUICK),
}
CHANCE = 1 / 3


@pytest.fixture(scope="module")
def data() -> tuple[Dataset, Split]:
    found = dataset(150)
    return found, split(found.rows, SplitSpec(fusion=0.2, folds=0), 0, found.classes)


def made(spec: Family, data: tuple[Dataset, Split]) -> Made:
    with one_thread():
        return run_job(Job("member", spec, FINAL, 7), *data)


@pytest.mark.parametrize("name", list(MEMBERS))
def test_a_family_learns_and_its_graph_takes_the_bytes(name: str, data: tuple[Dataset, Split]) -> None:
    found = made(MEMBERS[name], data)
    rows = data[0].rows.take(data[1].test)
    graph = Graph(found.onnx)
    assert graph.inputs == ("image",)
    right = graph(rows.inputs).argmax(axis=1) == rows.target
    assert right.mean() > CHANCE + 0.15
    assert onnx.load_from_string(found.onnx).graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8


def test_a_structure_for_larger_images_refuses_small_ones() -> None:
    small = dataset(60, side=12)
    parts = split(small.rows, SplitSpec(fusion=0.2, folds=0), 0, small.classes)
    with pytest.raises(TrainingError, match=r"'member': structure 'deep' takes images from 16 × 16, these are 12 × 12"):
        made(Cnn(structure="deep", width=8), (small, parts))


def test_no_wavelet_where_the_image_cannot_be_halved() -> None:
    uneven = dataset(60, side=20)
    parts = split(uneven.rows, SplitSpec(fusion=0.2, folds=0), 0, uneven.classes)
    with pytest.raises(TrainingError, match="levels is 3, an image of 20 × 20 cannot be halved so often"):
        made(MEMBERS["wavelet"], (uneven, parts))
