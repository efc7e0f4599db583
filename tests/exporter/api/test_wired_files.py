"""ONNX files whose inputs have names and types of their own, in the Python API."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from exporter import Exporter
from exporter.errors import BundleError
from tests.exporter.api.samples import CLASSES, W, rows


def difference(folder: Path, name: str, left: str, right: str, kind: int = TensorProto.FLOAT) -> str:
    """A file that gives softmax((left - right) W) in its own type: swapped inputs show."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    nodes = [
        helper.make_node("Sub", [left, right], ["d"]),
        helper.make_node("MatMul", ["d", "W"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"], axis=1),
    ]
    taken = [helper.make_tensor_value_info(each, kind, ["n", 4]) for each in (left, right)]
    graph = helper.make_graph(nodes, name, taken, [helper.make_tensor_value_info("y", kind, ["n", 3])],
                              [numpy_helper.from_array((2 * W).astype(dtype), "W")])  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / f"{name}.onnx"
    path.write_bytes(model.SerializeToString())
    return str(path)


def test_inputs_of_other_names_and_types_are_wired_as_said(tmp_path: Path) -> None:
    x, y = rows()
    zeros = np.zeros_like(x)
    exporter = Exporter("own", classes=CLASSES, seed=1, publish="mean", keep="all")
    exporter.add("takes", difference(tmp_path, "one", "in:0", "in:1"), takes=["a", "b"])
    exporter.add("inputs", difference(tmp_path, "two", "p", "q"), inputs={"p": "b", "q": "a"})
    exporter.add("double", difference(tmp_path, "three", "a", "b", TensorProto.DOUBLE))
    exporter.fit_fusion({"a": x, "b": zeros}, [CLASSES[c] for c in y], golden=8)
    version = exporter.publish(tmp_path / "models", accept_worse=True)
    takes, inputs, double = version.manifest.members
    assert takes.inputs == {"in:0": "a", "in:1": "b"}
    assert inputs.inputs == {"p": "b", "q": "a"}
    assert double.adapters == ("a: cast to FP64", "b: cast to FP64")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"takes": ["a"]}, "takes has 1 names, the file has 2 inputs, in this order: 'p', 'q'"),
        ({"inputs": {"r": "a"}}, "has no input 'r', its inputs are 'p', 'q'"),
        ({}, "takes 'p', the ensemble has 'a', 'b'"),
    ],
)
def test_wiring_that_fits_nothing_is_told(tmp_path: Path, words: dict[str, object], message: str) -> None:
    x, y = rows(200)
    path = difference(tmp_path, "two", "p", "q")
    exporter = Exporter("own", classes=CLASSES).add("two", path, **words)  # type: ignore[arg-type]  # of the parameters
    with pytest.raises(BundleError) as caught:
        exporter.fit_fusion({"a": x, "b": x}, [CLASSES[c] for c in y])
    assert message in str(caught.value)
