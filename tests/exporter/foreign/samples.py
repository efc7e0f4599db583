"""Models as other libraries' converters write them: class names in the graph, maps, labels, one output a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from exporter.cli.publish import main
from model_repo import Repository
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool

FEATURES = 4
W = np.random.default_rng(3).normal(size=(FEATURES, 3)).astype(np.float32)


def publish(folder: Path, members: Mapping[str, bytes], *words: str) -> int:
    """The exit status of `tutti publish own` with these members, into the folder's `models`."""
    flags: list[str] = []
    for name, data in members.items():
        (folder / f"{name}.onnx").write_bytes(data)
        flags += ["--member", f"{name}={folder / name}.onnx"]
    return main(["own", *flags, "--repository", str(folder / "models"), *words])


def answers(folder: Path, x: NDArray[Any], *outputs: str, tensor: str = "x") -> dict[str, NDArray[Any]]:
    """What the newest version answers, opened and held to its golden rows as a server does."""
    repository = Repository(folder / "models")
    version = repository.open("own", repository.versions("own")[-1])
    ensemble = LoadedEnsemble.open(version, SessionPool(), RuntimeOptions(cores=1))
    try:
        ensemble.check_golden()
        return dict(ensemble.predict({tensor: x}, outputs).outputs)
    finally:
        ensemble.close()


def rows(n: int = 9) -> NDArray[np.float32]:
    """Rows [n, FEATURES] of a seed."""
    return np.random.default_rng(8).normal(size=(n, FEATURES)).astype(np.float32)


def softmax(z: NDArray[Any]) -> NDArray[Any]:
    """Rows of z as probabilities."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def sigmoid(z: NDArray[Any]) -> NDArray[Any]:
    """Each value of z as a probability."""
    return np.asarray(1 / (1 + np.exp(-z)))


def linear_classifier(
    labels: Sequence[str] | Sequence[int],
    weights: ArrayLike = W,
    *,
    zipmap: Literal["off", "map", "columns"] = "off",
    keep_label: bool = True,
    ml: int = 3,
) -> bytes:
    """softmax(x W) by a LinearClassifier that names its classes: `label` and `probabilities`, as skl2onnx writes it."""
    coefficients = np.asarray(weights, np.float32)
    texts = isinstance(labels[0], str)
    key = "classlabels_strings" if texts else "classlabels_ints"
    kind = TensorProto.STRING if texts else TensorProto.INT64
    named: dict[str, Any] = {key: list(labels)}
    nodes = [
        helper.make_node(
            "LinearClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml", post_transform="SOFTMAX",
            coefficients=coefficients.T.ravel().tolist(), intercepts=[0.0] * len(labels), **named,
        )
    ]  # fmt: skip
    outputs = [_value("label", kind, ["n"])] if keep_label else []
    constants: dict[str, NDArray[Any]] = {}
    if zipmap == "map":
        attribute: dict[str, Any] = {"classlabels_strings" if texts else "classlabels_int64s": list(labels)}
        nodes.append(helper.make_node("ZipMap", ["scores"], ["probabilities"], domain="ai.onnx.ml", **attribute))
        entry = helper.make_map_type_proto(kind, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
        outputs.append(helper.make_value_info("probabilities", helper.make_sequence_type_proto(entry)))
    elif zipmap == "columns":
        constants["flat"] = np.array([-1], np.int64)
        for column, label in reversed(list(enumerate(labels))):
            constants[f"at{column}"] = np.array([column], np.int64)
            name = f"{'s' if texts else 'i'}{label}"
            nodes.append(helper.make_node("Gather", ["scores", f"at{column}"], [f"cut{column}"], axis=1))
            nodes.append(helper.make_node("Reshape", [f"cut{column}", "flat"], [name]))
            outputs.append(_value(name, TensorProto.FLOAT, ["n"]))
    else:
        nodes.append(helper.make_node("Identity", ["scores"], ["probabilities"]))
        outputs.append(_value("probabilities", TensorProto.FLOAT, ["n", len(labels)]))
    return built(nodes, outputs, constants, ml=ml)


def scored(
    weights: ArrayLike,
    tail: Sequence[NodeProto],
    outputs: Sequence[ValueInfoProto],
    constants: Mapping[str, NDArray[Any]] | None = None,
    metadata: Mapping[str, str] | None = None,
    opset: int = 17,
) -> bytes:
    """z = x W, then the nodes of `tail`, which make the outputs."""
    known = {"W": np.asarray(weights, np.float32), **(constants or {})}
    nodes = [helper.make_node("MatMul", ["x", "W"], ["z"]), *tail]
    return built(nodes, outputs, known, metadata=metadata, opset=opset)


def built(
    nodes: Sequence[NodeProto],
    outputs: Sequence[ValueInfoProto],
    constants: Mapping[str, NDArray[Any]],
    *,
    metadata: Mapping[str, str] | None = None,
    opset: int = 17,
    ml: int = 3,
) -> bytes:
    """A model of `x` float32 [n, FEATURES]."""
    initializers = [
        helper.make_tensor(name, TensorProto.STRING, value.shape, list(map(str, value.ravel())))  # type: ignore[arg-type]  # strings are let through
        if value.dtype.kind in "UO"
        else numpy_helper.from_array(value, name)
        for name, value in constants.items()
    ]
    graph = helper.make_graph(
        list(nodes), "foreign", [_value("x", TensorProto.FLOAT, ["n", FEATURES])], list(outputs), initializers
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", ml)]
    model: ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    helper.set_model_props(model, dict(metadata or {}))
    data: bytes = model.SerializeToString()
    return data


def floats(name: str, *sizes: int) -> ValueInfoProto:
    """An output float32 [n, sizes]."""
    return _value(name, TensorProto.FLOAT, ["n", *sizes])


def labels(name: str, kind: int = TensorProto.INT64) -> ValueInfoProto:
    """An output [n] of labels."""
    return _value(name, kind, ["n"])


def _value(name: str, kind: int, shape: Sequence[int | str]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))
