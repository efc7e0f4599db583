"""Answers of other forms through `tutti publish`: by position, vectors, values of several numbers, and what is none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from exporter.cli.publish import main
from model_repo import Concatenate, Manifest, Repository
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from tests import graphs

RNG = np.random.default_rng(77)
PIXELS = [RNG.normal(0, 1, (2, 3)).astype(np.float32) for _ in range(2)]
TOKENS = [RNG.normal(0, 1, (5, 4)).astype(np.float32) for _ in range(2)]
FLOAT = TensorProto.FLOAT


def built(nodes: Sequence[Any], x: Sequence[Any], y: Sequence[Any], constants: dict[str, NDArray[Any]]) -> bytes:
    graph = helper.make_graph(
        list(nodes), "g", [helper.make_tensor_value_info("x", FLOAT, list(x))],
        [helper.make_tensor_value_info("y", FLOAT, list(y))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    data: bytes = model.SerializeToString()
    return data


def segmenter(kernel: NDArray[np.float32], sizes: Sequence[Any] = ("h", "w"), *, soft: bool = True) -> bytes:
    """[n, 2, H, W] → [n, 3, H, W]."""
    nodes = [helper.make_node("Conv", ["x", "k"], ["z" if soft else "y"])]
    nodes += [helper.make_node("Softmax", ["z"], ["y"], axis=1)] if soft else []
    return built(nodes, ["n", 2, *sizes], ["n", 3, *sizes], {"k": np.ascontiguousarray(kernel.T[:, :, None, None])})


def tagger(weights: NDArray[np.float32], *, soft: bool = True) -> bytes:
    """[n, L, 5] → [n, L, 4]: as transformers give tokens' classes."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z" if soft else "y"])]
    nodes += [helper.make_node("Softmax", ["z"], ["y"], axis=-1)] if soft else []
    return built(nodes, ["n", "l", 5], ["n", "l", 4], {"w": weights})


def softmax(z: NDArray[Any], axis: int) -> NDArray[Any]:
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


def publish(folder: Path, files: dict[str, bytes], *words: str) -> int:
    flags: list[str] = []
    for name, data in files.items():
        (folder / f"{name}.onnx").write_bytes(data)
        flags += ["--member", f"{name}={folder / name}.onnx"]
    return main(["own", *flags, "--repository", str(folder / "models"), *words])


def answers(folder: Path, x: NDArray[np.float32], *names: str) -> tuple[Manifest, dict[str, NDArray[Any]]]:
    """The published manifest, and its outputs after a server's own checks and choice of a plan."""
    opened = Repository(folder / "models").open("own", 1)
    ensemble = LoadedEnsemble.open(opened, SessionPool(), RuntimeOptions(cores=1))
    ensemble.check_golden()
    ensemble.choose_plan()
    try:
        return ensemble.manifest, ensemble.predict({"x": x}, names or ensemble.default_outputs).outputs
    finally:
        ensemble.close()


def test_segmentations_are_fused_pixel_by_pixel(tmp_path: Path) -> None:
    files = {"a": segmenter(PIXELS[0]), "b": segmenter(PIXELS[1], soft=False)}
    assert publish(tmp_path, files, "--task", "dense", "--classes", "road,tree,sky") == 0
    x = RNG.normal(size=(3, 2, 6, 5)).astype(np.float32)
    manifest, found = answers(tmp_path, x)
    assert (manifest.task, manifest.positions) == ("dense", (-1, -1))
    assert [member.kind for member in manifest.members] == ["probabilities", "logits"]
    p = np.mean([softmax(np.einsum("nfhw,fc->nchw", x, k), 1) for k in PIXELS], axis=0)
    np.testing.assert_allclose(found["probabilities"], p, atol=1e-5)
    assert found["label"].shape == (3, 6, 5)
    assert set(found["label"].ravel()) <= {"road", "tree", "sky"}


def test_classes_that_come_last_are_brought_behind_the_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {"a": tagger(TOKENS[0]), "b": tagger(TOKENS[1])}
    assert publish(tmp_path, files, "--task", "dense", "--classes", "O,PER,LOC,ORG") == 0
    assert "its classes come last in 'y' and are brought behind the rows" in capsys.readouterr().out
    for length in (1, 4, 9):
        x = RNG.normal(size=(2, length, 5)).astype(np.float32)
        _, found = answers(tmp_path, x, "probabilities", "label", "index")
        p = np.mean([softmax(x @ w, -1) for w in TOKENS], axis=0)
        np.testing.assert_allclose(found["probabilities"], p.transpose(0, 2, 1), atol=1e-5)
        np.testing.assert_array_equal(found["index"], p.argmax(axis=-1))


def test_one_members_fixed_size_is_the_ensembles(tmp_path: Path) -> None:
    files = {"a": segmenter(PIXELS[0], (8, 6)), "b": segmenter(PIXELS[1])}
    assert publish(tmp_path, files, "--task", "dense") == 0
    manifest, _ = answers(tmp_path, np.zeros((1, 2, 8, 6), np.float32))
    assert (manifest.positions, manifest.classes) == ((8, 6), ("0", "1", "2"))


def test_large_pictures_have_fewer_golden_rows_and_smaller_batches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(tmp_path, {"a": segmenter(PIXELS[0], (640, 640))}, "--task", "dense") == 0
    manifest = Repository(tmp_path / "models").open("own", 1).manifest
    assert (manifest.golden.rows, manifest.batching.max_batch_rows) == (3, 13)
    told = capsys.readouterr().out
    assert "3 of 16 golden rows are kept" in told
    assert "batches have up to 13 rows" in told


def test_vectors_are_averaged_or_put_together(tmp_path: Path) -> None:
    weights = [RNG.normal(size=(3, width)).astype(np.float32) for width in (4, 4, 6)]
    x = RNG.normal(size=(5, 3)).astype(np.float32)
    units = [x @ w / np.linalg.norm(x @ w, axis=1, keepdims=True) for w in weights]
    same = {"a": graphs.linear(weights[0]), "b": graphs.linear(weights[1])}
    (tmp_path / "mean").mkdir()
    assert publish(tmp_path / "mean", same, "--task", "embedding") == 0
    manifest, found = answers(tmp_path / "mean", x)
    np.testing.assert_allclose(found["embedding"], (units[0] + units[1]) / 2, atol=1e-5)
    assert (manifest.value_shape, manifest.quorum) == ((4,), 1)
    (tmp_path / "joined").mkdir()
    other = {"a": graphs.linear(weights[0]), "c": graphs.linear(weights[2])}
    assert publish(tmp_path / "joined", other, "--task", "embedding", "--fusion", "concatenate") == 0
    manifest, found = answers(tmp_path / "joined", x)
    np.testing.assert_allclose(found["embedding"], np.concatenate([units[0], units[2]], axis=1), atol=1e-5)
    assert (manifest.fusion, manifest.value_shape, manifest.quorum) == (Concatenate(), (10,), 2)


def detector() -> bytes:
    proto = TensorProto
    nodes = [helper.make_node("NonMaxSuppression", ["b", "s"], ["picked"]),
             helper.make_node("Identity", ["x"], ["y"]),
             helper.make_node("Reshape", ["x", "four"], ["b"]), helper.make_node("Reshape", ["x", "one"], ["s"]),
             helper.make_node("Cast", ["picked"], ["boxes"], to=proto.FLOAT)]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("boxes", FLOAT, ["m", 3])],
        [numpy_helper.from_array(np.array([1, -1, 4]), "four"), numpy_helper.from_array(np.array([1, 1, -1]), "one")],
    )  # fmt: skip
    data: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    return data


def generator() -> bytes:
    model = graphs.linear(np.ones((4, 6)))
    from onnx import ModelProto

    proto = ModelProto.FromString(model)
    proto.graph.node.append(helper.make_node("Identity", ["y"], ["present.0.key"]))
    proto.graph.output.append(helper.make_tensor_value_info("present.0.key", FLOAT, ["n", 6]))
    data: bytes = proto.SerializeToString()
    return data


@pytest.mark.parametrize(
    ("files", "words", "messages"),
    [
        ({"d": detector()}, [], ["'d'", "is a detector of objects", "must be matched", "--output"]),
        ({"g": generator()}, [], ["'g'", "generates step by step", "present.0.key"]),
        ({"a": segmenter(PIXELS[0])}, [], ["--task dense", "[16, 3, 8, 8]"]),
        ({"a": tagger(RNG.normal(size=(5, 8)).astype(np.float32), soft=False)}, ["--task", "dense"],
         ["could be its second axis or its last", "--classes A,B"]),
        ({"a": segmenter(PIXELS[0])}, ["--task", "dense", "--classes", "a,b"], ["neither the second nor the last"]),
        ({"a": graphs.linear(np.ones((4, 3)))}, ["--task", "dense"], ["a dense answer is [n, C, …] or [n, …, C]"]),
        ({"a": graphs.linear(np.ones((3, 4))), "b": graphs.linear(np.ones((3, 6)))}, ["--task", "embedding"],
         ["'b' gives vectors of 6 numbers, 'a' of 4", "--fusion concatenate"]),
        ({"a": graphs.linear(np.ones((3, 4)))}, ["--task", "embedding", "--classes", "a,b"],
         ["--classes: an embedding has no classes"]),
        ({"a": graphs.linear(np.ones((3, 4)))}, ["--fusion", "concatenate"], ["--task embedding"]),
    ],
)  # fmt: skip
def test_what_cannot_be_fused_is_refused_by_name_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], files: dict[str, bytes], words: list[str], messages: list[str]
) -> None:
    assert publish(tmp_path, files, *words) == 2
    told = capsys.readouterr().err
    for message in messages:
        assert message in told
    assert not (tmp_path / "models" / "own").exists() or Repository(tmp_path / "models").versions("own") == []


@pytest.mark.parametrize(
    ("end", "sizes", "problem"),
    [
        ("empty", ["n", 0], "its output 'y' is [16, 0], which holds no number"),
        (
            "nothing",
            ["n", 3],
            "its output 'y' has NaN or infinite values on sample rows; the rows were drawn",
        ),
    ],
)
def test_answers_that_are_none_are_refused_with_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], end: str, sizes: list[Any], problem: str
) -> None:
    ends = {
        "empty": [helper.make_node("Slice", ["z", "zero", "zero", "one"], ["y"])],
        "nothing": [helper.make_node("Sub", ["z", "z"], ["a"]), helper.make_node("Div", ["a", "a"], ["y"])],
    }
    constants = {"W": RNG.normal(size=(4, 3)).astype(np.float32), "zero": np.array([0]), "one": np.array([1])}
    nodes = [helper.make_node("MatMul", ["x", "W"], ["z"]), *ends[end]]
    (tmp_path / "a.onnx").write_bytes(built(nodes, ["n", 4], sizes, constants))
    words = ["own", "--member", f"a={tmp_path / 'a.onnx'}", "--classes", "a,b,c", "--repository", str(tmp_path)]
    assert main(words) == 2
    assert problem in capsys.readouterr().err
