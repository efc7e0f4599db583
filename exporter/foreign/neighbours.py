"""Whether a row's answer hangs on the rows beside it: a server puts the rows of strangers into one batch.

Batch normalisation that was left in training mode, a softmax over the batch or a mean over it give one answer to a row
alone and another among others. Compared is by value, never by shape alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import GraphProto, TensorProto

from exporter.bundle import GOLDEN_ATOL, GOLDEN_RTOL
from exporter.errors import BundleError
from exporter.foreign.answers import Given
from exporter.foreign.model_file import ModelFile, ModelFileError
from exporter.foreign.tolerance import Tolerance
from exporter.onnx_graphs.edits import operators
from server.runtime.datatypes import Array
from server.runtime.golden.closeness import closeness, largest, typical

MOST_ALONE = 8
"""Rows that are run alone: a model that mixes rows mixes all of them."""
MOST_8BIT = 0.1
"""Share of a usual value by which 8-bit may move with their batch; measured: 0.001 to 0.02."""
MOST_ROUNDED = 0.02
"""Share of a usual value by which the size of a batch alone may move an answer: rounding that the member amplifies.
Measured: 0.007 by a network of bytes (its normalisation subtracts squares) where rows hold two values only."""
HALF_RTOL = 8 * 2.0**-10
"""Of members in 16 bits: eight of their last digits."""

_DYNAMIC = {
    "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "MatMulInteger", "ConvInteger",
    "MatMulIntegerToFloat", "QuantizeLinear", "QLinearMatMul", "QLinearConv", "QGemm",
}  # fmt: skip
"""Operators that compute in 8 bits; the dynamic ones take their scale from the whole batch."""

_RANDOM = {
    "Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
}  # fmt: skip


@dataclass(frozen=True)
class Apart:
    """How far a member's answers to rows alone are from those to the same rows among others."""

    difference: float
    """The largest one."""
    allowed: float
    """What was allowed there."""
    scale: float
    """A usual value."""

    @property
    def far(self) -> bool:
        """Whether it is beyond what is allowed."""
        return self.difference > self.allowed


def apart(alone: Array, among: Array, tolerance: Tolerance, rtol: float = GOLDEN_RTOL) -> Apart:
    """How far `alone` is from `among`, both [n, …]; `rtol` is the member's own where the user says none.

    The largest value of a row counts for all of it: a small one beside it has its rounding.
    """
    scale = max(typical(among), min(1.0, largest(among))) or 1.0
    atol = tolerance.atol if tolerance.atol is not None else GOLDEN_ATOL * scale
    found = closeness(alone, among, atol, rtol if tolerance.rtol is None else tolerance.rtol, by_row=True)
    return Apart(float(found.difference[found.worst]), float(found.allowed[found.worst]), scale)


def independent(members: Sequence[Given], feeds: Mapping[str, Array], tolerance: Tolerance) -> tuple[list[str], float]:
    """Warnings of members whose rows move a little with their neighbours, and by how much.

    Raises BundleError for members whose rows hang on them.
    """
    wrong: list[str] = []
    warned: list[str] = []
    beyond = 0.0
    for one in members:
        try:
            problem, note, by = problem_or_note(one.file, one.output.name, feeds, one.values, tolerance)
        except ModelFileError as error:
            problem, note, by = str(error), None, 0.0
        wrong += [f"member '{one.file.name}': {problem}"] if problem else []
        warned += [f"member '{one.file.name}': {note}"] if note else []
        beyond = max(beyond, by)
    if wrong:
        raise BundleError("rows that share a batch must not change each other's answers", wrong)
    return warned, beyond


def problem_or_note(
    file: ModelFile, output: str, feeds: Mapping[str, Array], among: Array, tolerance: Tolerance
) -> tuple[str | None, str | None, float]:
    """What refuses the member, what warns of it, and by how much more its golden rows may differ elsewhere.

    `among` is what it gave for `feeds` as one batch. Raises ModelFileError where it does not run.
    """
    places = np.unique(np.linspace(0, len(among) - 1, min(MOST_ALONE, len(among))).astype(int))
    alone = np.concatenate([file.run(output, {k: v[place : place + 1] for k, v in feeds.items()}) for place in places])
    eight, half = in_8_bits(file.graph.graph), in_16_bits(file.graph.graph)
    found = apart(alone, among[places], tolerance, HALF_RTOL if half else GOLDEN_RTOL)
    told = f"a row alone and the same row among {len(among)} differ by {found.difference:.3g}"
    if found.far and eight and tolerance.atol is None and found.difference <= MOST_8BIT * found.scale:
        note = (
            f"warning: it computes in 8 bits with a scale of the whole batch: {told}, so answers move a little with "
            f"what else is asked; golden rows may differ by that much more here, --atol says otherwise"
        )
        return None, note, found.difference
    if found.far and (other := _otherwise(file, output, feeds, among)):
        return other, None, 0.0
    rounded = found.far and tolerance.atol is None and found.difference <= MOST_ROUNDED * found.scale
    if rounded and not _moved_by_others(file, output, feeds, among, places):
        note = (
            f"warning: it amplifies rounding: {told}, whatever the others are; golden rows may differ by that much "
            "more here, rows of --golden FILE.npz may be steadier than drawn ones, --atol says otherwise"
        )
        return None, note, found.difference
    if found.far:
        why = (
            "batch normalisation in training mode, or a softmax, mean or sort over the batch, mixes the rows of "
            "strangers: export it in evaluation mode, or allow it with --atol"
        )
        return (
            f"its answers hang on the other rows of the batch: {told}, allowed is {found.allowed:.3g}; {why}",
            None,
            0.0,
        )
    usual = apart(alone, among[places], Tolerance(), HALF_RTOL if half else GOLDEN_RTOL)
    if usual.far:
        return None, f"warning: its answers hang on the other rows of the batch: {told}, within the --atol given", 0.0
    return None, None, 0.0


def _otherwise(file: ModelFile, output: str, feeds: Mapping[str, Array], among: Array) -> str | None:
    """What is wrong with a member that draws numbers: asked again, it answers the same batch otherwise."""
    drawing = sorted(_RANDOM & set(operators(file.graph.graph)))
    if not drawing:
        return None
    again = file.run(output, feeds)
    if again.shape == among.shape and np.array_equal(again, among, equal_nan=among.dtype.kind == "f"):
        return None
    by = float(np.abs(again.astype(np.float64) - among).max()) if again.shape == among.shape else float("inf")
    return (
        f"its answers change from call to call: the same rows asked twice differ by {by:.3g}, as its graph "
        f"has {drawing[0]}: export it in evaluation mode, where dropout does nothing"
    )


def _moved_by_others(file: ModelFile, output: str, feeds: Mapping[str, Array], among: Array, places: Array) -> bool:
    """Whether a row's answer changes where all other rows of a batch of the same size are other ones."""
    for place in places:
        alike = {name: np.repeat(array[place : place + 1], len(array), axis=0) for name, array in feeds.items()}
        if apart(file.run(output, alike)[place : place + 1], among[place : place + 1], Tolerance()).far:
            return True
    return False


def in_8_bits(graph: GraphProto) -> bool:
    """Whether activations are computed in 8 bits."""
    return any(op in _DYNAMIC for op in operators(graph))


def in_16_bits(graph: GraphProto) -> bool:
    """Whether weights are halves: then so is what is computed with them."""
    halves = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
    return any(tensor.data_type in halves for tensor in graph.initializer)
