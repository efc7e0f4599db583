"""Members in 8 bits, as onnxruntime's own tools make them, and files that a package on PyPI ships."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tests.exporter.compatibility.table import Brought, Expected

NAMES = ("cat", "dog", "eel")
RNG = np.random.default_rng(23)
X: NDArray[Any] = RNG.normal(size=(8, 12)).astype(np.float32)
LIGHT = ("inception_v1", "squeezenet", "shufflenet")
"""Those that compute least."""


def run(data: bytes, x: NDArray[Any]) -> NDArray[Any]:
    """What bare onnxruntime gives for its one input."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def perceptron(path: Path) -> None:
    """softmax(relu(x A) B), x [n, 12] in FP32."""
    made = {"A": RNG.normal(size=(12, 16)), "B": RNG.normal(size=(16, 3))}
    nodes = [
        helper.make_node("MatMul", ["x", "A"], ["h"]), helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "B"], ["z"]), helper.make_node("Softmax", ["z"], ["y"], axis=1),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in made.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def dynamic(folder: Path) -> Expected:
    from onnxruntime.quantization import quantize_dynamic

    perceptron(folder / "whole.onnx")
    quantize_dynamic(folder / "whole.onnx", folder / "net.onnx")
    told = ("warning: it computes in 8 bits with a scale of the whole batch",)
    return Expected({"x": X}, {"probabilities": run((folder / "net.onnx").read_bytes(), X)}, NAMES, told=told)


def static(folder: Path) -> Expected:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Rows(CalibrationDataReader):  # type: ignore[misc]  # of a package without types
        left: Iterator[dict[str, NDArray[Any]]] = iter([{"x": X}])

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return next(self.left, None)

    perceptron(folder / "whole.onnx")
    quantize_static(folder / "whole.onnx", folder / "net.onnx", Rows())
    p = run((folder / "net.onnx").read_bytes(), X)  # in steps of 1/255, so rows do not sum to 1
    return Expected({"x": X}, {"probabilities": p / p.sum(axis=1, keepdims=True)}, NAMES, atol=1 / 255)


def packaged(folder: Path) -> Expected:
    """Three of the networks for pictures that the package `onnx` ships for its own tests."""
    shipped = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    x = RNG.random((2, 3, 224, 224), np.float32)
    np.savez(folder / "rows.npz", data_0=x)
    found = []
    for name in LIGHT:
        data = (shipped / f"light_{name}.onnx").read_bytes()
        (folder / f"{name}.onnx").write_bytes(data)
        rows = [run(data, x[k : k + 1]).reshape(1, 1000) for k in range(len(x))]
        found.append(np.concatenate(rows))
    told = ("its batch was fixed to 1 and is free now", "loses the ones behind")
    classes = tuple(map(str, range(1000)))
    return Expected({"data_0": x}, {"probabilities": np.mean(found, axis=0)}, classes, told=told)


BROUGHT: dict[str, Brought] = {
    "8 bits by `onnxruntime.quantization.quantize_dynamic`": dynamic,
    "8 bits by `quantize_static`, QuantizeLinear and DequantizeLinear at every step": static,
    "three networks for pictures that the package `onnx` on PyPI ships": packaged,
}
