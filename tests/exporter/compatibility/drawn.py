"""Heads of networks, drawn node by node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from tests.exporter.compatibility.table import Brought, Expected
from tests.exporter.foreign.samples import W, floats, rows, scored, sigmoid, softmax

NAMES = ("cat", "dog", "eel")
Z: NDArray[Any] = rows() @ W


def network(folder: Path, *nodes: NodeProto, metadata: dict[str, str] | None = None, **constants: Any) -> None:
    """net.onnx: y [n, 3, …] made of z = x W."""
    shape = constants.pop("dims", (3,))
    (folder / "net.onnx").write_bytes(scored(W, nodes, [floats("y", *shape)], constants, metadata))


def expected(p: NDArray[Any], atol: float = 1e-5) -> Expected:
    return Expected({"x": rows()}, {"probabilities": p}, NAMES, atol)


def with_metadata(folder: Path) -> Expected:
    network(folder, helper.make_node("Softmax", ["z"], ["y"], axis=1),
            metadata={"names": "{0: 'cat', 1: 'dog', 2: 'eel'}"})  # fmt: skip
    return expected(softmax(Z))


def logits(folder: Path) -> Expected:
    network(folder, helper.make_node("Identity", ["z"], ["y"]))
    return expected(softmax(Z))


def sigmoids(folder: Path) -> Expected:
    network(folder, helper.make_node("Sigmoid", ["z"], ["y"]))
    labels = {"probabilities": sigmoid(Z), "labels": sigmoid(Z) >= 0.5}
    return Expected({"x": rows()}, labels, ("news", "sport", "art"))


def eight_bits(folder: Path) -> Expected:
    nodes = [
        helper.make_node("Softmax", ["z"], ["p"], axis=1),
        helper.make_node("QuantizeLinear", ["p", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    network(folder, *nodes, scale=np.array(1 / 256, np.float32), zero=np.array(0, np.uint8))
    return expected(softmax(Z), atol=0.005)


def head(folder: Path) -> Expected:
    nodes = [
        helper.make_node("Softmax", ["z"], ["p"], axis=1),
        helper.make_node("Reshape", ["p", "shape"], ["y"]),
    ]
    network(folder, *nodes, dims=(3, 1, 1), shape=np.array([0, 3, 1, 1], np.int64))
    return expected(softmax(Z))


def too_many(folder: Path) -> Expected:
    for name, axis, sizes in (("before", 0, (1, "n", 3)), ("between", 1, ("n", 1, 3))):
        answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, sizes)
        node = helper.make_node("Unsqueeze", ["z", "axis"], ["y"])
        (folder / f"{name}.onnx").write_bytes(scored(W, [node], [answer], {"axis": np.array([axis], np.int64)}))
    return Expected({"x": rows()}, {"probabilities": softmax(Z)}, NAMES, told=("loses the one before", "ones between"))


BROUGHT: dict[str, Brought] = {
    "a network that ends in a softmax, class names in its metadata": with_metadata,
    "a network that ends in logits": logits,
    "a network that ends in sigmoids, a label each": sigmoids,
    "a softmax in 8 bits, rows that sum to 0.99": eight_bits,
    "a convolutional head `[n, C, 1, 1]`": head,
    "one dimension too many, `[1, n, C]` and `[n, 1, C]`": too_many,
}
