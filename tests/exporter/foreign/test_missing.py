"""Numbers that are missing: declared where every member says what becomes of NaN, and then taken as JSON has them."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from exporter.cli.publish import main
from exporter.foreign import missing as gaps
from exporter.foreign.answers import Given
from exporter.foreign.missing import has_a_way
from exporter.foreign.model_file import ModelFile
from model_repo import Input, Repository
from server.runtime.sessions.external_weights import parse
from tests import graphs
from tests.e2e.process import serving

W = np.random.default_rng(3).normal(size=(3, 2)).astype(np.float32)


def built(nodes: list[NodeProto], constants: dict[str, np.ndarray], name: str = "x") -> bytes:
    """float32 [n, 3] as `name` to the softmax of f W, f being what the nodes make of x."""
    graph = helper.make_graph(
        [*nodes, helper.make_node("MatMul", ["f", "W"], ["z"]), helper.make_node("Softmax", ["z"], ["y"], axis=-1)],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(array, name) for name, array in {"W": W, **constants}.items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    data: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    return data


def asking(name: str = "x") -> bytes:
    """Half for every number that is missing."""
    half = {"half": np.array(0.5, np.float32)}
    nodes = [helper.make_node("IsNaN", [name], ["m"]), helper.make_node("Where", ["m", "half", name], ["f"])]
    return built(nodes, half, name)


def imputing(columns: list[float]) -> bytes:
    node = helper.make_node(
        "Imputer", ["x"], ["f"], domain="ai.onnx.ml", imputed_value_floats=columns, replaced_value_float=float("nan")
    )
    return built([node], {})


def rectifying() -> bytes:
    """A comparison, which makes a number of NaN without being asked."""
    zero = {"zero": np.array(0, np.float32)}
    nodes = [helper.make_node("Greater", ["x", "zero"], ["m"]), helper.make_node("Where", ["m", "x", "zero"], ["f"])]
    return built(nodes, zero)


def partly() -> bytes:
    """Asks for NaN, and does nothing about it."""
    return built([helper.make_node("IsNaN", ["x"], ["m"]), helper.make_node("Identity", ["x"], ["f"])], {})


def tree(tracks: list[int]) -> bytes:
    """One split at x0 <= 0; NaN passes where `tracks` says so."""
    node = helper.make_node(
        "TreeEnsembleClassifier", ["x"], ["label", "y"], domain="ai.onnx.ml",
        nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[0, 0, 0], nodes_values=[0.0, 0.0, 0.0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"], nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0],
        nodes_missing_value_tracks_true=tracks, class_treeids=[0, 0, 0, 0], class_nodeids=[1, 1, 2, 2],
        class_ids=[0, 1, 0, 1], class_weights=[0.9, 0.1, 0.2, 0.8], classlabels_int64s=[0, 1], post_transform="NONE",
    )  # fmt: skip
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2]),
        ],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    data: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    return data


def publish(folder: Path, *words: str, **members: bytes) -> int:
    flags: list[str] = []
    for name, data in members.items():
        (folder / f"{name}.onnx").write_bytes(data)
        flags += ["--member", f"{name}={folder / name}.onnx"]
    return main(["own", *flags, "--repository", str(folder / "models"), *words])


def missing(folder: Path) -> str:
    return Repository(folder / "models").open("own", 1).manifest.inputs[0].missing


@pytest.mark.parametrize(
    ("data", "way"),
    [
        (asking(), True), (imputing([0.5, 1.0, 2.0]), True), (tree([1, 0, 0]), True), (tree([0, 0, 0]), False),
        (rectifying(), False), (graphs.softmax_linear(W), False),
    ],
)  # fmt: skip
def test_a_graph_has_a_way_where_it_says_what_becomes_of_nan(data: bytes, way: bool) -> None:
    assert has_a_way(parse(data)) is way


def test_an_input_says_so_where_every_member_has_a_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish(tmp_path, a=asking(), b=imputing([0.5, 1.0, 2.0])) == 0
    assert missing(tmp_path) == "nan"
    assert "note: input 'x': numbers may be missing, as null or NaN in JSON; every member has a way" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    "other", [rectifying(), graphs.softmax_linear(W), partly()], ids=["compares", "plain", "partly"]
)
def test_one_member_without_a_way_is_enough_to_refuse(tmp_path: Path, other: bytes) -> None:
    assert publish(tmp_path, a=asking(), b=other) == 0
    assert missing(tmp_path) == "refuse"


def test_the_user_may_refuse_and_may_allow_what_gives_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(tmp_path, "--missing", "nan", a=asking(), b=rectifying()) == 0
    assert missing(tmp_path) == "nan"
    assert publish(tmp_path, "--missing", "refuse", "--version", "2", a=asking(), b=asking()) == 0
    assert Repository(tmp_path / "models").open("own", 2).manifest.inputs[0].missing == "refuse"
    capsys.readouterr()
    assert publish(tmp_path, "--missing", "nan", a=asking(), b=graphs.softmax_linear(W)) == 2
    assert capsys.readouterr().err == (
        "tutti publish: --missing nan: member 'b' gives no finite answer where 'x' has NaN\n"
    )


def test_a_client_says_in_json_what_it_says_in_bytes(tmp_path: Path) -> None:
    assert publish(tmp_path, a=asking(), b=imputing([0.5, 0.5, 0.5])) == 0
    head = {"name": "x", "datatype": "FP32", "shape": [1, 3]}
    with serving(tmp_path / "models") as server:
        whole = ask(server.port, {**head, "data": [1, 0.5, 2]})
        for data in ([1, None, 2], [1, float("nan"), 2]):
            assert ask(server.port, {**head, "data": data}) == whole
        metadata = httpx.get(f"http://127.0.0.1:{server.port}/v2/models/own").json()
    assert metadata["ensemble"]["missing"] == ["x"]


def ask(port: int, tensor: dict[str, object]) -> object:
    response = httpx.post(
        f"http://127.0.0.1:{port}/v2/models/own/infer", content=json.dumps({"inputs": [tensor]}), timeout=20
    )
    assert response.status_code == 200, response.text
    return response.json()["outputs"]


def test_a_member_that_says_nothing_of_missing_numbers_is_not_run_for_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A picture has 150,000 columns: each in turn took ten times as long as all else that publish does."""
    tried: list[str] = []

    def survives(member: Given, name: str, feeds: object) -> bool:
        tried.append(name)
        return True

    monkeypatch.setattr(gaps, "_survives", survives)
    (tmp_path / "m.onnx").write_bytes(rectifying())
    file = ModelFile.read("m", tmp_path / "m.onnx")
    x = np.zeros((2, 3), np.float32)
    one = Given(file, file.session.outputs[0], file.run("y", {"x": x}))
    taken = Input(name="x", datatype="FP32", shape=(-1, 3))
    assert gaps.declared([taken], [one], {"x": x}, None) == ((taken,), ())
    assert not tried
    gaps.declared([taken], [one], {"x": x}, "nan")
    assert tried == ["x"]
