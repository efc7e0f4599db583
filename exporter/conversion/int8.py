"""A member's graph with 8-bit weights: matrix products in integers, scaled by what each batch holds."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
from onnx import ModelProto, helper

from exporter.conversion.graph import IR_VERSION, OPSET
from exporter.errors import ConversionError

_QUANTISED = ("MatMul", "Gather")
"""Products (Gemm is split into one and a sum) and embedding tables. Not convolutions: in integers they took ten times
as long (measured: 1.28 → 13.3 ms). Not recurrent nets: theirs is no standard operator."""

_INTEGER = {"MatMulInteger"}


def int8(data: bytes) -> bytes | None:
    """The graph with dynamic 8-bit quantisation, standard operators only; None where it has no product to quantise.

    Activations are scaled by the range of the whole batch, so a row's answer depends a little on the rows beside it.
    Weights use seven bits: eight overflow on processors with AVX2 but without VNNI, where answers would then differ
    (onnxruntime #6004, #14642). Raises ConversionError where onnxruntime cannot quantise the graph.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load_from_string(data)
    if not _products(model):
        return None
    with tempfile.TemporaryDirectory(prefix="tutti-int8-") as folder, _quiet():
        target = Path(folder) / "int8.onnx"
        try:
            quantize_dynamic(
                model, target, op_types_to_quantize=list(_QUANTISED), weight_type=QuantType.QInt8, reduce_range=True
            )
        except (ValueError, RuntimeError, NotImplementedError, AttributeError, TypeError, KeyError) as error:
            # Its own checks raise whatever they meet; none of it is worth more than a sentence here.
            raise ConversionError(f"onnxruntime cannot quantise the graph: {' '.join(str(error).split())}") from error
        quantised = onnx.load(target)
    if not any(node.op_type in _INTEGER for node in quantised.graph.node):
        return None
    return _tidied(quantised, model)


def _products(model: ModelProto) -> bool:
    """Whether there is a product with constant weights."""
    constants = {entry.name for entry in model.graph.initializer}
    constants |= {node.output[0] for node in model.graph.node if node.op_type == "Constant"}
    return any(node.op_type in ("MatMul", "Gemm") and node.input[1] in constants for node in model.graph.node)


def _tidied(quantised: ModelProto, original: ModelProto) -> bytes:
    """Declared inputs and outputs, opsets and version of the original; no notes. Raises ConversionError."""
    used = {node.domain for node in quantised.graph.node} | {""}
    known = {entry.domain: entry.version for entry in original.opset_import} | {"": OPSET}
    if foreign := sorted(used - known.keys()):
        raise ConversionError(f"the quantised graph uses the operators of {', '.join(foreign)}, expected standard ones")
    del quantised.opset_import[:]
    quantised.opset_import.extend(helper.make_opsetid(domain, known[domain]) for domain in sorted(used))
    quantised.ir_version = IR_VERSION
    quantised.producer_name, quantised.producer_version = "tutti", ""
    quantised.ClearField("metadata_props")
    del quantised.graph.value_info[:]
    for node in quantised.graph.node:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
    try:
        onnx.checker.check_model(quantised, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConversionError(f"the quantised graph is not valid ONNX: {' '.join(str(error).split())}") from error
    return bytes(quantised.SerializeToString(deterministic=True))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without onnxruntime's advice on the root logger to run a step before, which here changes nothing."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
