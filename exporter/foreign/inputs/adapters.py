"""Adapters: what clients send is made into what a network takes, inside its graph, and checked against numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from functools import partial

import numpy as np
from onnx import ModelProto, NodeProto, helper
from onnx.helper import make_node

from exporter.foreign.model_file import ModelFile, ModelFileError
from exporter.foreign.neighbours import HALF_RTOL, apart, in_16_bits
from exporter.foreign.sent import Sent, along, applied, arriving, picture_axes, target
from exporter.foreign.tolerance import Tolerance
from exporter.onnx_graphs.edits import add_constant, fresh, opset
from server.runtime.datatypes import DATATYPES, Array, TensorInfo

ELEMENTS = {
    "tensor(float)": 1, "tensor(uint8)": 2, "tensor(int8)": 3, "tensor(uint16)": 4, "tensor(int16)": 5,
    "tensor(int32)": 6, "tensor(int64)": 7, "tensor(string)": 8, "tensor(bool)": 9, "tensor(float16)": 10,
    "tensor(double)": 11, "tensor(uint32)": 12, "tensor(uint64)": 13, "tensor(bfloat16)": 16,
}  # fmt: skip
"""onnxruntime's types → ONNX's numbers of them."""
_FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)", "tensor(bfloat16)")
_RANGES = {
    "tensor(uint8)": (0, 255), "tensor(int8)": (-128, 127), "tensor(uint16)": (0, 65535),
    "tensor(int16)": (-32768, 32767),
}  # fmt: skip
"""Small integers: what lies outside is cut off, since a cast would wrap around."""


def adapted(file: ModelFile, tensor: str, sent: Sent, why: str) -> ModelFile:
    """The file, taking what is sent in the place of its input `tensor`; `why` follows what was done, in its note.

    Raises ModelFileError where that cannot be.
    """
    own = next(entry for entry in file.inputs if entry.name == tensor)
    if sent.counts and own.shape and len(own.shape) != 4 and sent.size is not None:
        raise ModelFileError(f"its input '{tensor}' is {told(own)}, no pictures [n, C, H, W] to resize")
    outer = arriving(own, sent)
    graph = deepcopy(file.graph)
    name = _compose(graph, own, outer, sent)
    steps = steps_told(own, outer, sent)
    done = f"its input '{tensor}' {told(own)} is given {told(outer)}: {', '.join(steps)}"
    made = file.edited(graph, f"{done}{why}")
    before = file.original or (file, {})
    originals: dict[str, Callable[[Array], Array]] = {**before[1], tensor: partial(applied, own=own, sent=sent)}
    wiring = {**{key: value for key, value in file.wiring.items() if key != tensor}, name: file.source(tensor)}
    return replace(
        made, wiring=wiring, adapters=(*file.adapters, f"{tensor}: {', '.join(steps)}"), original=(before[0], originals)
    )


def checked(file: ModelFile, feeds: Mapping[str, Array]) -> ModelFile:
    """The file, whose adapters do to `feeds` what numpy does before the model as it came. Raises ModelFileError."""
    if file.original is None:
        return file
    came, makers = file.original
    sources = {name: name for name in (entry.name for entry in came.inputs)}
    given = {name: feeds[came.source(name)] for name in sources}
    rows = min(8, len(next(iter(given.values()))))
    own = {name: makers[name](array[:rows]) if name in makers else array[:rows] for name, array in given.items()}
    plain = replace(came, wiring={})
    rtol = HALF_RTOL if in_16_bits(file.graph.graph) else 1e-4
    for output in came.session.outputs:
        if not output.type.startswith("tensor("):
            continue
        expected = plain.run(output.name, own)
        found = file.run(output.name, {name: array[:rows] for name, array in feeds.items()})
        if expected.dtype.kind == "f" and (
            found.shape != expected.shape or apart(found, expected, Tolerance(), rtol).far
        ):
            difference = np.abs(np.asarray(found, np.float64) - expected).max() if found.shape == expected.shape else 0
            raise ModelFileError(
                f"its adapters ({'; '.join(file.adapters)}) do not give what they should: output '{output.name}' "
                f"differs by {difference:.3g}"
            )
    return file


def _compose(graph: ModelProto, own: TensorInfo, outer: TensorInfo, sent: Sent) -> str:
    """Nodes before the input `own`, which becomes an inner tensor; the name of the input in its place."""
    entry = next(entry for entry in graph.graph.input if entry.name == own.name)
    name = fresh(graph, f"{own.name}_sent")
    steps: list[tuple[str, list[str], dict[str, object]]] = []
    float_now = outer.type in _FLOATS
    work = "tensor(double)" if "tensor(double)" in (outer.type, own.type) else "tensor(float)"
    now = outer.type
    if sent.perm is not None:
        steps.append(("Transpose", [], {"perm": list(sent.perm)}))
    if sent.counts and now != work:
        steps.append(("Cast", [], {"to": ELEMENTS[work]}))
        now, float_now = work, True
    dtype = np.float64 if now == "tensor(double)" else np.float32
    if (size := target(own.shape, sent)) is not None:
        steps.append(_resize(graph, own, size))
    for op, values in (("Mul", None if sent.scale is None else (sent.scale,)), ("Sub", sent.mean), ("Div", sent.std)):
        if values is not None:
            steps.append(
                (op, [add_constant(graph, f"{name}_{op.lower()}", along(values, own.shape).astype(dtype))], {})
            )
    if own.type not in _FLOATS and own.type != "tensor(bool)" and float_now:
        steps.append(("Round", [], {}))
        if own.type in _RANGES:
            low, high = (add_constant(graph, f"{name}_{k}", np.array(v, dtype)) for k, v in
                         zip(("low", "high"), _RANGES[own.type], strict=True))  # fmt: skip
            steps.append(("Clip", [low, high], {}))
    if now != own.type:
        steps.append(("Cast", [], {"to": ELEMENTS[own.type]}))
    _append(graph, name, own.name, steps)
    _redeclare(graph, entry.name, name, outer, entry.type.tensor_type.shape.dim[0].dim_param)
    return name


def _resize(graph: ModelProto, own: TensorInfo, size: tuple[int, int]) -> tuple[str, list[str], dict[str, object]]:
    """A Resize to height and width; before opset 18 it takes all four sizes, so `_append` puts the first two before."""
    sizes = add_constant(graph, f"{own.name}_size", np.array(size, np.int64))
    attributes: dict[str, object] = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    if opset(graph) >= 18:
        return "Resize", ["", "", sizes], {**attributes, "axes": list(picture_axes(own.shape))}
    return "Resize", ["", "", sizes], attributes | {"_whole": picture_axes(own.shape)}


def _append(graph: ModelProto, first: str, last: str, steps: list[tuple[str, list[str], dict[str, object]]]) -> None:
    nodes = []
    now = first
    for place, (op, more, attributes) in enumerate(steps):
        result = last if place == len(steps) - 1 else fresh(graph, f"{first}_{place}_{op.lower()}")
        whole = attributes.pop("_whole", None)
        if whole is not None:
            nodes += (made := _all_sizes(graph, now, more[2], whole == (1, 2)))
            more = ["", "", made[-1].output[0]]
        nodes.append(make_node(op, [now, *more], [result], **attributes))  # type: ignore[arg-type]  # attributes are what onnx takes
        now = result
    rest = list(graph.graph.node)
    del graph.graph.node[:]
    graph.graph.node.extend([*nodes, *rest])


def _all_sizes(graph: ModelProto, tensor: str, sizes: str, last: bool) -> list[NodeProto]:
    """Nodes that give all four sizes of `tensor`, of which height and width are `sizes`; `last`: channels are."""
    shape, names = fresh(graph, f"{tensor}_shape"), [fresh(graph, f"{tensor}_{k}") for k in ("rows", "channels", "all")]
    first = add_constant(graph, f"{tensor}_first", np.array([0], np.int64))
    channel = add_constant(graph, f"{tensor}_channel", np.array([3 if last else 1], np.int64))
    parts = [names[0], sizes, names[1]] if last else [names[0], names[1], sizes]
    return [
        make_node("Shape", [tensor], [shape]),
        make_node("Gather", [shape, first], [names[0]]),
        make_node("Gather", [shape, channel], [names[1]]),
        make_node("Concat", parts, [names[2]], axis=0),
    ]


def _redeclare(graph: ModelProto, old: str, name: str, outer: TensorInfo, rows: str) -> None:
    """Declare what arrives in the place of the input `old`."""
    first = outer.shape[0] if isinstance(outer.shape[0], int) else rows or "n"
    dims = [first, *(size if isinstance(size, int) else f"{name}_{k}" for k, size in enumerate(outer.shape[1:], 1))]
    entry = next(entry for entry in graph.graph.input if entry.name == old)
    entry.CopyFrom(helper.make_tensor_value_info(name, ELEMENTS[outer.type], dims))


def steps_told(own: TensorInfo, outer: TensorInfo, sent: Sent) -> list[str]:
    """What is done, step by step."""
    steps = []
    if sent.perm is not None:
        steps.append(f"dimensions moved {list(sent.perm)}")
    if (size := target(own.shape, sent)) is not None:
        steps.append(f"resized to {size[0]}x{size[1]} (linear)")
    if sent.scale is not None:
        steps.append(f"times {sent.scale:.6g}")
    if sent.mean is not None:
        steps.append(f"less {_numbers(sent.mean)}")
    if sent.std is not None:
        steps.append(f"divided by {_numbers(sent.std)}")
    if outer.type != own.type:
        rounded = "rounded and " if own.type not in _FLOATS and (outer.type in _FLOATS or sent.counts) else ""
        steps.append(f"{rounded}cast to {datatype(own.type)}")
    return steps


def datatype(onnx_type: str) -> str:
    """The type as manifests call it."""
    return "BF16" if onnx_type == "tensor(bfloat16)" else DATATYPES.get(onnx_type, onnx_type)


def told(entry: TensorInfo) -> str:
    """`FP32 [n, 3, 224, 224]`."""
    sizes = ["n", *(str(size) if isinstance(size, int) else "?" for size in entry.shape[1:])]
    return f"{datatype(entry.type)} [{', '.join(sizes)}]"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
