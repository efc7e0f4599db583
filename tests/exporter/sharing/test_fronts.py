"""A front that several heads share: fitted once, in the graph once, trained on where it may be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import onnx
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from exporter.data.dataset import Dataset, Rows
from exporter.errors import TrainingError
from exporter.images.families.fronts import SharedFront
from exporter.images.networks.components import principal_components
from exporter.images.networks.groups.member import GroupMember
from exporter.images.networks.pixels import frame_of
from exporter.members.base import Setting, Training
from exporter.threads import one_thread
from model_repo import Input

pytestmark = [pytest.mark.timeout(120)]

FRONTS: tuple[Literal["pca", "wavelet", "filters"], ...] = ("pca", "wavelet", "filters")


@pytest.fixture(scope="module")
def on_one_thread() -> Iterator[None]:
    """As trainings have it."""
    with one_thread():
        yield


@pytest.fixture(scope="module")
def images(on_one_thread: None) -> Dataset:
    found = load_digits()
    rows = Rows.of({"image": found.images[:320].astype(np.float32)}, found.target[:320].astype(np.int64))
    entry = Input(name="image", datatype="FP32", shape=(-1, 8, 8))
    return Dataset(rows, tuple("0123456789"), (entry,), {"image": (0.0, 16.0)})


def setting(images: Dataset) -> Setting:
    return Setting(images.inputs, images.ranges, 10, 0)


def trained(spec: SharedFront, images: Dataset) -> GroupMember:
    group = spec.train(images.rows, setting(images))
    assert isinstance(group, GroupMember)
    return group


def spec(front: Literal["pca", "wavelet", "filters"], *, frozen: bool = True, mutual: float = 0.0) -> SharedFront:
    quick = Training(epochs=6, batch_rows=32, learning_rate=0.02)
    return SharedFront(front=front, frozen=frozen, mutual=mutual, components=12, filters=8, hidden=8, training=quick)


def front_weights(module: nn.Module) -> dict[str, torch.Tensor]:
    """But for running statistics."""
    state = module.get_submodule("front").state_dict()
    return {name: value for name, value in state.items() if "scaled" not in name}


@pytest.mark.parametrize("front", FRONTS)
def test_a_frozen_front_stays_as_it_was_fitted_and_another_is_trained_on(
    front: Literal["pca", "wavelet", "filters"], images: Dataset
) -> None:
    fixed, learned = (front_weights(trained(spec(front, frozen=frozen), images).module) for frozen in (True, False))
    assert fixed.keys() == learned.keys()
    changed = [name for name in fixed if not torch.equal(fixed[name], learned[name])]
    expected = {"pca": ["mean", "projection"], "wavelet": ["haar.filters"],
                "filters": ["responses.weight", "responses.bias"]}  # fmt: skip
    assert sorted(changed) == sorted(expected[front])
    if front == "pca":
        basis = principal_components(frame_of(setting(images)), images.rows, 12)
        torch.testing.assert_close(fixed["projection"], basis.projection)


def test_the_graph_of_all_heads_has_the_front_once(images: Dataset) -> None:
    graph = onnx.load_from_string(trained(spec("pca"), images).to_onnx()).graph
    sizes = [tuple(tensor.dims) for tensor in graph.initializer]
    assert sizes.count((64, 12)) == 1
    assert len(graph.output) == 3


@pytest.mark.parametrize("front", FRONTS)
def test_every_head_learns_on_every_front(front: Literal["pca", "wavelet", "filters"], images: Dataset) -> None:
    answers = trained(spec(front), images).predict_each(images.rows.inputs)
    right = (answers.argmax(axis=2) == images.rows.target[:, None]).mean(axis=0)
    assert (right > 0.7).all(), right
    assert not np.allclose(answers[:, 0], answers[:, 1])


def test_heads_that_learn_from_each_other_answer_more_alike(images: Dataset) -> None:
    def spread(mutual: float) -> float:
        answers = torch.from_numpy(trained(spec("pca", mutual=mutual), images).predict_each(images.rows.inputs))
        return float(torch.softmax(answers, dim=2).std(dim=1).mean())

    assert spread(3.0) < 0.8 * spread(0.0)


def test_a_front_that_does_not_fit_the_images_is_one_line(images: Dataset) -> None:
    with pytest.raises(TrainingError, match=r"^components is 100, 320 rows of 64 pixels have no more than 64$"):
        SharedFront(components=100).train(images.rows, setting(images))
    with pytest.raises(TrainingError, match="cannot be halved so often"):
        SharedFront(front="wavelet", levels=4).train(images.rows, setting(images))
    with pytest.raises(TrainingError, match="patch is 9, images are 8 × 8"):
        SharedFront(front="filters", patch=9).train(images.rows, setting(images))
