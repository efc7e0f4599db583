"""Members of different make take one table, or one picture: wired, cast, moved, resized and scaled, and said so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from exporter.foreign.inputs.inputs import legal
from model_repo import Manifest, Repository
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from tests.exporter.foreign.samples import publish, softmax

W = np.random.default_rng(3).normal(size=(4, 3))
FLOAT, DOUBLE, HALF = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16
CLASSES = ("--classes", "a,b,c")


def made(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, tuple[int, Sequence[int | str]]],
    constants: Mapping[str, NDArray[Any]],
    kind: int = FLOAT,
    opset: int = 17,
) -> bytes:
    """A model of these inputs that gives `y` [n, 3]."""
    graph = helper.make_graph(
        list(nodes),
        "made",
        [helper.make_tensor_value_info(name, *entry) for name, entry in inputs.items()],
        [helper.make_tensor_value_info("y", kind, ["n", 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    data: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8
    ).SerializeToString()
    return data


def table(name: str = "x", kind: int = FLOAT, scale: float = 1.0) -> bytes:
    """softmax(x W · scale) in the input's type."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    nodes = [helper.make_node("MatMul", [name, "W"], ["z"]), helper.make_node("Softmax", ["z"], ["y"], axis=-1)]
    return made(nodes, {name: (kind, ["n", 4])}, {"W": (W * scale).astype(dtype)}, kind)


def picture(
    size: int, *, channels_last: bool = False, kind: int = FLOAT, name: str = "image", opset: int = 17
) -> bytes:
    """Logits of the mean of each channel and corner of a picture of that size, so that resizing shows."""
    shape: list[int | str] = ["n", size, size, 3] if channels_last else ["n", 3, size, size]
    nodes = []
    now = name
    if kind != FLOAT:
        nodes.append(helper.make_node("Cast", [now], ["float"], to=FLOAT))
        now = "float"
    if channels_last:
        nodes.append(helper.make_node("Transpose", [now], ["moved"], perm=[0, 3, 1, 2]))
        now = "moved"
    nodes += [
        helper.make_node("AveragePool", [now], ["p"], kernel_shape=[size // 2] * 2, strides=[size // 2] * 2),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "V"], ["y"]),
    ]
    V = np.random.default_rng(4).normal(size=(12, 3)).astype(np.float32)
    return made(nodes, {name: (kind, shape)}, {"V": V}, opset=opset)


def manifest(folder: Path) -> Manifest:
    repository = Repository(folder / "models")
    return repository.open("own", repository.versions("own")[-1]).manifest


def answer(folder: Path, feeds: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Probabilities of the newest version, through every gate and every plan's check."""
    repository = Repository(folder / "models")
    version = repository.open("own", repository.versions("own")[-1])
    ensemble = LoadedEnsemble.open(version, SessionPool(), RuntimeOptions(cores=2))
    try:
        ensemble.check_golden()
        ensemble.choose_plan()
        return np.asarray(ensemble.predict(dict(feeds), ("probabilities",)).outputs["probabilities"])
    finally:
        ensemble.close()


def run(data: bytes, feeds: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, dict(feeds))[0])


def rows(n: int = 6) -> NDArray[np.float32]:
    return np.random.default_rng(8).normal(size=(n, 4)).astype(np.float32)


def test_lone_inputs_of_other_names_are_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    members = {"a": table("keras_tensor"), "b": table("keras_tensor_5", scale=2), "c": table("X")}
    assert publish(tmp_path, members, *CLASSES) == 0
    told = capsys.readouterr().out
    assert (
        "member 'b': its only input 'keras_tensor_5' takes 'keras_tensor', as the only one of member 'a' does" in told
    )
    assert "--input b:keras_tensor_5=NAME says otherwise" in told
    assert [entry.name for entry in manifest(tmp_path).inputs] == ["keras_tensor"]
    x = rows()
    expected = (softmax(x @ W) * 2 + softmax(x @ W * 2)) / 3
    np.testing.assert_allclose(answer(tmp_path, {"keras_tensor": x}), expected, atol=1e-5)


def test_the_user_says_which_inputs_are_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    members = {"a": table("x"), "b": table("t", scale=2)}
    assert publish(tmp_path, members, *CLASSES, "--input", "a:x=left", "--input", "b:t=right") == 0
    assert [entry.name for entry in manifest(tmp_path).inputs] == ["left", "right"]
    assert "takes 'left'" not in capsys.readouterr().out
    x, z = rows(), rows()[::-1].copy()
    expected = (softmax(x @ W) + softmax(z @ W * 2)) / 2
    np.testing.assert_allclose(answer(tmp_path, {"left": x, "right": z}), expected, atol=1e-5)
    assert publish(tmp_path, members, *CLASSES, "--input", "a:x=table", "--input", "b:t=table") == 0
    assert [entry.name for entry in manifest(tmp_path).inputs] == ["table"]


@pytest.mark.parametrize("name", ["input_1:0", "onnx::MatMul_0", "input/x", "_x", "état", "my column", "ß", "入力"])
def test_names_with_odd_characters_are_served_under_legal_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert publish(tmp_path, {"a": table(name), "b": table(name, scale=2)}, *CLASSES) == 0
    (served,) = [entry.name for entry in manifest(tmp_path).inputs]
    assert f"input '{name}' is served as '{served}'" in capsys.readouterr().out
    assert manifest(tmp_path).members[0].inputs == {name: served}
    expected = (softmax(rows() @ W) + softmax(rows() @ W * 2)) / 2
    np.testing.assert_allclose(answer(tmp_path, {served: rows()}), expected, atol=1e-5)


def test_legal_names_stay_apart() -> None:
    assert legal("input/x", []) == "input_x"
    assert legal("input:x", ["input_x"]) == "input_x_1"
    assert legal("état", []) == "etat"
    assert legal("::", []) == "input"


@pytest.mark.parametrize(
    ("kinds", "served"),
    [((DOUBLE, FLOAT), "FP32"), ((HALF, FLOAT), "FP32"), ((DOUBLE, HALF), "FP32"), ((DOUBLE, DOUBLE), "FP64")],
)
def test_floats_of_several_widths_are_cast_for_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kinds: tuple[int, int], served: str
) -> None:
    assert publish(tmp_path, {"a": table("x", kinds[0]), "b": table("x", kinds[1], 2)}, *CLASSES) == 0
    told = capsys.readouterr().out
    assert manifest(tmp_path).inputs[0].datatype == served
    assert ("each cast to its own" in told) is (kinds[0] != kinds[1])
    x: NDArray[Any] = rows().astype(np.float64 if served == "FP64" else np.float32)
    x64 = x.astype(np.float64)
    expected = (softmax(x64 @ W) + softmax(x64 @ W * 2)) / 2
    np.testing.assert_allclose(answer(tmp_path, {"x": x}), expected, atol=5e-3 if HALF in kinds else 1e-5)


def integers(kind: int) -> bytes:
    """softmax(float(x) W) of integers."""
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=FLOAT),
        helper.make_node("MatMul", ["f", "W"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"], axis=-1),
    ]
    return made(nodes, {"x": (kind, ["n", 4])}, {"W": W.astype(np.float32)})


@pytest.mark.parametrize(
    ("kinds", "served"),
    [
        ((TensorProto.INT32, TensorProto.INT64), "INT64"),
        ((TensorProto.UINT8, TensorProto.UINT16), "UINT16"),
        ((TensorProto.UINT8, TensorProto.INT8), "INT64"),
        ((TensorProto.INT64, FLOAT), "FP32"),
    ],
)
def test_integers_are_cast_for_each_too(tmp_path: Path, kinds: tuple[int, int], served: str) -> None:
    members = {"a": integers(kinds[0]), "b": table("x") if kinds[1] == FLOAT else integers(kinds[1])}
    assert publish(tmp_path, members, *CLASSES) == 0
    assert manifest(tmp_path).inputs[0].datatype == served
    dtype: Any = {"INT64": np.int64, "UINT16": np.uint16, "FP32": np.float32}[served]
    x = np.random.default_rng(0).integers(0, 9, (5, 4))
    np.testing.assert_allclose(answer(tmp_path, {"x": x.astype(dtype)}), softmax(x @ W), atol=1e-5)


def test_bytes_beside_floats_of_pictures_are_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    members = {"u": picture(8, channels_last=True, kind=TensorProto.UINT8), "f": picture(8, channels_last=True)}
    assert publish(tmp_path, members) == 2
    told = capsys.readouterr().err
    assert "--adapt f:type=UINT8,scale=1/255" in told
    assert "--input f:image=NAME" in told
    assert publish(tmp_path, members, "--adapt", "f:type=UINT8,scale=1/255") == 0
    (entry,) = manifest(tmp_path).inputs
    assert (entry.datatype, entry.shape) == ("UINT8", (-1, 8, 8, 3))
    x = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    floats = x.astype(np.float32) / 255
    expected = softmax(run(members["u"], {"image": x})) + softmax(run(members["f"], {"image": floats}))
    np.testing.assert_allclose(answer(tmp_path, {"image": x}), expected / 2, atol=1e-4)


def test_channels_are_moved_where_one_order_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    members = {"a": picture(8), "b": picture(8, channels_last=True)}
    assert publish(tmp_path, members) == 0
    assert "dimensions moved [0, 2, 3, 1]" in capsys.readouterr().out
    assert manifest(tmp_path).members[1].adapters == ("image: dimensions moved [0, 2, 3, 1]",)
    x = np.random.default_rng(0).random((3, 3, 8, 8), np.float32)
    np.testing.assert_allclose(answer(tmp_path, {"image": x}), softmax(run(members["a"], {"image": x})), atol=1e-5)


@pytest.mark.parametrize("opset", [13, 17, 18])
def test_networks_of_two_sizes_are_one_ensemble(tmp_path: Path, capsys: pytest.CaptureFixture[str], opset: int) -> None:
    members = {"a": picture(8, opset=opset), "b": picture(12, opset=opset)}
    assert publish(tmp_path, members) == 2
    assert "--adapt b:resize=8x8 gives it pictures of that size" in capsys.readouterr().err
    assert publish(tmp_path, members, "--adapt", "b:resize=8x8") == 0
    assert "resized to 12x12 (linear), as --adapt says" in capsys.readouterr().out
    (entry,) = manifest(tmp_path).inputs
    assert entry.shape == (-1, 3, 8, 8)
    x = np.repeat(np.repeat(np.random.default_rng(0).random((3, 3, 2, 2), np.float32), 4, 2), 4, 3)
    one, two = (softmax(run(data, {"image": np.kron(x[:, :, ::4, ::4], np.ones((1, 1, n, n), np.float32))}))
                for data, n in ((members["a"], 4), (members["b"], 6)))  # fmt: skip
    np.testing.assert_allclose(answer(tmp_path, {"image": x}), (one + two) / 2, atol=0.05)


def test_mean_std_type_layout_and_size_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flag = "b:image:type=UINT8,layout=NHWC,resize=8x8,scale=1/255,mean=0.4,0.5,0.6,std=0.2,0.3,0.4"
    members = {"a": picture(8, channels_last=True, kind=TensorProto.UINT8), "b": picture(8)}
    assert publish(tmp_path, members, "--adapt", flag) == 0
    told = capsys.readouterr().out
    assert "less 0.4, 0.5, 0.6, divided by 0.2, 0.3, 0.4" in told
    x = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    given = (x.astype(np.float32) / 255 - [0.4, 0.5, 0.6]) / [0.2, 0.3, 0.4]
    own = given.transpose(0, 3, 1, 2).astype(np.float32)
    expected = softmax(run(members["a"], {"image": x})) + softmax(run(members["b"], {"image": own}))
    np.testing.assert_allclose(answer(tmp_path, {"image": x}), expected / 2, atol=1e-4)


def with_settings() -> bytes:
    """Logits of x + the rate's thousandths + the state's first number of each row, as voice detectors take them."""
    nodes = [
        helper.make_node("Cast", ["sr"], ["rate"], to=FLOAT),
        helper.make_node("Div", ["rate", "thousand"], ["kilo"]),
        helper.make_node("ReduceSum", ["state", "axes"], ["s"], keepdims=0),
        helper.make_node("Unsqueeze", ["s", "one"], ["column"]),
        helper.make_node("Add", ["x", "column"], ["moved"]),
        helper.make_node("Mul", ["moved", "kilo"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "W"], ["y"]),
    ]
    inputs: dict[str, tuple[int, list[int | str]]] = {
        "x": (FLOAT, ["n", 4]), "state": (FLOAT, [2, "n", 5]), "sr": (TensorProto.INT64, []),
    }  # fmt: skip
    constants = {"thousand": np.array(1000, np.float32), "axes": np.array([0, 2]), "one": np.array([1])}
    return made(nodes, inputs, {**constants, "W": W.astype(np.float32)})


def test_settings_and_states_are_constants(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    member = {"vad": with_settings()}
    assert publish(tmp_path, member, *CLASSES) == 2
    assert "its input 'sr' is a scalar" in capsys.readouterr().err
    assert publish(tmp_path, member, *CLASSES, "--constant", "vad:sr=2000") == 2
    assert "--constant vad:state=VALUE" in capsys.readouterr().err
    assert publish(tmp_path, member, *CLASSES, "--constant", "vad:sr=2000", "--constant", "vad:state=0.1") == 0
    told = capsys.readouterr().out
    assert "its input 'sr' is the constant 2000" in told
    assert [entry.name for entry in manifest(tmp_path).inputs] == ["x"]
    expected = softmax((rows() + 1.0) * 2 @ W)
    np.testing.assert_allclose(answer(tmp_path, {"x": rows()}), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--input", "x=y"], "--input: 'x=y' given, expected MEMBER:TENSOR=…"),
        (["--input", "q:x=y"], "--input: there is no member 'q'; there are a"),
        (["--input", "a:z=y"], "member 'a' has no input 'z', its inputs are 'x'"),
        (["--input", "a:x=é"], "--input a:x=é: a name has letters"),
        (["--constant", "a:z=1"], "has no input 'z' for --constant, its inputs are 'x'"),
        (["--constant", "a:x=1"], "'x' is its only input"),
        (["--constant", "a:x=@nowhere.npy"], "'nowhere.npy' cannot be read as .npy"),
        (["--adapt", "a:crop=1"], "expected MEMBER:KEY=…,KEY=…"),
        (["--adapt", "a:scale=0/0"], "scale is 0/0, expected numbers such as 1/255"),
        (["--adapt", "a:resize=big"], "resize is 'big', expected HxW"),
        (["--adapt", "a:layout=HW"], "layout 'HW' given, expected NHWC or NCHW"),
        (["--adapt", "a:type=float"], "type 'float' given, expected UINT8"),
        (["--adapt", "a:scale=1,std=0"], "divides by a std of 0"),
        (["--adapt", "a:scale=1"], "has scale=1, which changes nothing; leave it out"),
        (["--adapt", "a:scale=1/255,mean=0,0,0"], "has mean=0, which changes nothing; leave it out"),
        (["--adapt", "a:z:scale=1/255"], "has no input 'z'"),
    ],
)
def test_flags_that_fit_nothing_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert publish(tmp_path, {"a": table()}, *CLASSES, *words) == 2
    assert message in capsys.readouterr().err


def test_inputs_that_are_not_alike_stay_two_and_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish(tmp_path, {"a": table("x"), "b": picture(8)}, *CLASSES) == 0
    told = capsys.readouterr().out
    assert "clients send several inputs, as they are not alike: 'x' FP32 [n, 4]; 'image' FP32 [n, 3, 8, 8]" in told
