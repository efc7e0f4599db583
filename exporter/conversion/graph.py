"""What every exported graph looks like, whichever library wrote it."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import ModelProto, TensorProto, helper

from exporter.errors import ConversionError
from model_repo import Input
from model_repo.format.manifest import Datatype

OPSET = 20
ML_OPSET = 1
"""Where the trees' converters meet: skl2onnx writes 1 unless 3 is asked for, onnxmltools 1 always."""
IR_VERSION = 10
"""Of onnx 1.16: what onnxruntime 1.18 and newer read."""

ROWS = "n"
ELEMENTS = {"FP32": TensorProto.FLOAT, "FP64": TensorProto.DOUBLE, "INT64": TensorProto.INT64,
             "INT32": TensorProto.INT32, "UINT8": TensorProto.UINT8, "BYTES": TensorProto.STRING}  # fmt: skip


def normalised(
    model: ModelProto, inputs: Sequence[Input], output: str | Sequence[str], columns: int, datatype: Datatype = "FP32"
) -> bytes:
    """The graph with `output` alone (or several, all [n, columns]), inputs as declared, one opset, no notes.

    The same bytes for the same graph.
    Notes (`metadata_props`, `doc_string`) hold stack traces with the paths of the machine that exported, so they
    go. Raises ConversionError where an opset is not ours, an input is missing, or onnx's checker objects.
    """
    graph = model.graph
    outputs = (output,) if isinstance(output, str) else tuple(output)
    _require_opsets(model)
    _keep_outputs(model, outputs)
    graph.name = "member"
    for entry in _all_notes(model):
        entry.ClearField("doc_string")
        entry.ClearField("metadata_props")
    del graph.value_info[:]  # shapes with the exporter's own symbols; onnxruntime infers them anew
    _declare(model, inputs, outputs, columns, datatype)
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "tutti", ""
    model.domain, model.model_version = "", 0
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConversionError(f"the graph is not valid ONNX: {' '.join(str(error).split())}") from error
    return bytes(model.SerializeToString(deterministic=True))


def _require_opsets(model: ModelProto) -> None:
    expected = {"": OPSET, "ai.onnx.ml": ML_OPSET}
    found = {"" if entry.domain == "ai.onnx" else entry.domain: entry.version for entry in model.opset_import}
    used = {node.domain for node in model.graph.node} | {""}
    for domain in sorted(used):
        if found.get(domain) != expected.get(domain):
            raise ConversionError(
                f"operator set {domain or 'ai.onnx'} is {found.get(domain)}, expected {expected.get(domain)}"
            )
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, expected[domain]) for domain in sorted(used))


def _keep_outputs(model: ModelProto, wanted: Sequence[str]) -> None:
    """Only these outputs, and only the nodes and constants that they need: no label beside the probabilities."""
    graph = model.graph
    found = {entry.name: entry for entry in graph.output}
    for output in wanted:
        if output not in found:
            raise ConversionError(f"output {output!r} is missing, there are {list(found)}")
    needed, nodes = set(wanted), []
    for node in reversed(graph.node):
        if needed & set(node.output):
            nodes.append(node)
            needed.update(node.input)
    nodes.reverse()
    constants = [entry for entry in graph.initializer if entry.name in needed]
    outputs = [found[output] for output in wanted]
    for field, kept in ((graph.node, nodes), (graph.initializer, constants), (graph.output, outputs)):
        copies = [type(entry).FromString(entry.SerializeToString()) for entry in kept]
        del field[:]
        field.extend(copies)


def _all_notes(model: ModelProto) -> list[onnx.ModelProto | onnx.GraphProto | onnx.NodeProto | onnx.TensorProto]:
    return [model, model.graph, *model.graph.node, *model.graph.initializer]


def _declare(
    model: ModelProto, inputs: Sequence[Input], outputs: Sequence[str], columns: int, datatype: Datatype
) -> None:
    graph = model.graph
    names, expected = [entry.name for entry in graph.input], [entry.name for entry in inputs]
    if sorted(names) != sorted(expected):
        raise ConversionError(f"inputs are {names}, expected {expected}")
    del graph.input[:]
    for entry in inputs:
        shape = [ROWS if size == -1 and not place else size for place, size in enumerate(entry.shape)]
        sizes = [None if size == -1 else size for size in shape]
        graph.input.append(helper.make_tensor_value_info(entry.name, ELEMENTS[entry.datatype], sizes))
    del graph.output[:]
    graph.output.extend(
        helper.make_tensor_value_info(output, ELEMENTS[datatype], [ROWS, columns]) for output in outputs
    )
