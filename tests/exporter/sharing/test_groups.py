"""Groups: several members of one file, each with an output of its own, trained by one job and served from one run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import torch
from sklearn.datasets import load_digits

from exporter.data.dataset import Dataset, Rows
from exporter.data.splits import Split, SplitSpec, split
from exporter.errors import ConversionError
from exporter.gate.inference import Graph
from exporter.images.families.fronts import SharedFront
from exporter.images.families.groups import BatchEnsemble, DeepEnsemble, MultiHead
from exporter.images.networks.groups.stacked import networks_of
from exporter.members.base import Family, Group, Setting, Training, names_of
from exporter.training.finished_jobs import WorkFolder
from exporter.training.jobs import FINAL, Job, Made, run_job
from model_repo import Input

QUICK = Training(epochs=1, batch_rows=32)
GROUPS: dict[str, Family] = {
    "multi_head": MultiHead(members=2, width=4, hidden=8, training=QUICK),
    "batch_ensemble": BatchEnsemble(members=3, width=4, training=QUICK),
    "deep_ensemble": DeepEnsemble(members=2, width=4, training=QUICK),
    "wavelets": SharedFront(front="wavelet", structures=("linear", "deep"), hidden=8, frozen=False, training=QUICK),
    "filters": SharedFront(front="filters", structures=("cosine", "perceptron"), filters=6, hidden=8, training=QUICK),
}


@pytest.fixture(scope="module")
def images() -> Dataset:
    found = load_digits()
    rows = Rows.of({"image": found.images[:160].astype(np.float32)}, found.target[:160].astype(np.int64))
    entry = Input(name="image", datatype="FP32", shape=(-1, 8, 8))
    return Dataset(rows, tuple("0123456789"), (entry,), {"image": (0.0, 16.0)})


@pytest.fixture(scope="module")
def parts(images: Dataset) -> Split:
    return split(images.rows, SplitSpec(folds=0, golden=10, test=0.2, fusion=0.2), 0, images.classes)


@pytest.fixture(scope="module")
def made(images: Dataset, parts: Split) -> dict[str, Made]:
    """Each group through a whole job: trained, converted, swept at four batch sizes."""
    return {tag: run_job(Job(tag, spec, FINAL, 0), images, parts) for tag, spec in GROUPS.items()}


@pytest.mark.parametrize("tag", list(GROUPS))
def test_one_job_makes_members_of_one_file_with_an_output_each(
    tag: str, made: dict[str, Made], images: Dataset
) -> None:
    group, count = made[tag], GROUPS[tag].heads
    each = group.each(tag)
    assert list(each) == [f"{tag}-{place}" for place in range(1, count + 1)] == list(names_of(tag, count))
    assert len({one.onnx for one in each.values()}) == 1
    assert len({one.output_name for one in each.values()}) == count
    answers = [one.outputs for one in each.values()]
    assert not np.allclose(answers[0], answers[1])
    held = images.rows.take(group.held).inputs
    for one in each.values():
        np.testing.assert_allclose(Graph(one.onnx, one.output_name).in_batches(held), one.outputs, rtol=1e-5, atol=1e-5)


def test_stacked_networks_answer_as_each_does_alone_and_their_graph_is_no_longer(images: Dataset) -> None:
    spec = DeepEnsemble(members=3, width=4, training=QUICK)
    setting = Setting(images.inputs, images.ranges, 10, 0)
    networks = networks_of(spec, images.rows, setting)
    trained = spec.train(images.rows, setting)
    assert isinstance(trained, Group)
    image = torch.from_numpy(images.rows.inputs["image"][:9])
    with torch.no_grad():
        alone = np.stack([network(image).numpy() for network in networks], axis=1)
    np.testing.assert_allclose(trained.predict_each({"image": image.numpy()}), alone, rtol=1e-4, atol=1e-5)
    kinds = [node.op_type for node in onnx.load_from_string(trained.to_onnx()).graph.node]
    assert kinds.count("Conv") == 3  # of one network; there are three
    assert "BatchNormalization" not in kinds


def test_a_batch_ensemble_has_one_set_of_weights(made: dict[str, Made]) -> None:
    shapes = [list(tensor.dims) for tensor in onnx.load_from_string(made["batch_ensemble"].onnx).graph.initializer]
    assert shapes.count([4, 4, 3, 3]) == 1


def test_a_trunk_is_computed_once_for_its_heads(made: dict[str, Made]) -> None:
    kinds = [node.op_type for node in onnx.load_from_string(made["multi_head"].onnx).graph.node]
    assert (kinds.count("Conv"), kinds.count("Gemm")) == (3, 4)


def test_a_group_survives_the_work_folder(tmp_path: Path, made: dict[str, Made]) -> None:
    work = WorkFolder(tmp_path)
    work.save("digest", made["multi_head"])
    found = work.load("digest")
    assert found is not None
    assert found.heads == ("logits_1", "logits_2")
    np.testing.assert_array_equal(found.outputs, made["multi_head"].outputs)


def test_a_member_alone_keeps_its_name(made: dict[str, Made]) -> None:
    plain = replace(made["multi_head"], heads=(), outputs=made["multi_head"].outputs[:, 0])
    assert list(plain.each("cnn")) == ["cnn"]
    assert plain.output_name == "logits"


def test_rows_are_thawed_where_one_size_hangs_on_them_and_refused_where_two_do() -> None:
    from onnx import helper, numpy_helper

    from exporter.conversion.dynamic_rows import MARKED_ROWS, thaw

    def model(shape: list[int]) -> onnx.ModelProto:
        node = helper.make_node("Reshape", ["x", "shape"], ["y"])
        constant = numpy_helper.from_array(np.array(shape, np.int64), "shape")
        return helper.make_model(helper.make_graph([node], "g", [], [], [constant]))

    given = model([3, MARKED_ROWS * 2, 16])
    thaw(given)
    assert numpy_helper.to_array(given.graph.initializer[0]).tolist() == [3, -1, 16]
    with pytest.raises(ConversionError, match="more than one size hangs on the rows"):
        thaw(model([MARKED_ROWS, MARKED_ROWS]))


def test_every_group_stands_by_its_defaults_and_has_several_members() -> None:
    for family in (MultiHead, BatchEnsemble, DeepEnsemble):
        assert family().heads == 3
        with pytest.raises(msgspec.ValidationError, match="members"):
            msgspec.convert(msgspec.to_builtins(family()) | {"members": 1}, family)
