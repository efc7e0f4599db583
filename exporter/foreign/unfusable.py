"""Models whose answers cannot be fused row by row: told by name, with the reason."""

from __future__ import annotations

import re

from exporter.foreign.model_file import ModelFile
from exporter.onnx_graphs.edits import operators

_BOXES = re.compile(r"(^|[^a-z])(b?box(es)?|det(ection)?s?_?(boxes|scores|classes)|num_dets|rois)([^a-z]|$)", re.I)
_STATE = re.compile(r"past_key_values|past_(key|value)|(^|[^a-z])(present|past)[._]\d|decoder_input_ids", re.I)
_SUPPRESSION = {"NonMaxSuppression", "EfficientNMS_TRT", "BatchedNMS_TRT", "MultiClassNMS", "RoiAlign"}
_SEARCH = {"BeamSearch", "GreedySearch", "Sampling"}


def reason(file: ModelFile) -> str | None:
    """Why the model's answers cannot be fused, None where nothing speaks against it."""
    present = set(operators(file.graph.graph))
    outputs = [entry.name for entry in file.session.outputs]
    if found := sorted(present & _SUPPRESSION):
        return _detector(f"it has the operator {found[0]}")
    if named := [name for name in outputs if _BOXES.search(name)]:
        return _detector(f"it has the output '{named[0]}'")
    if found := sorted(present & _SEARCH):
        return _generator(f"it has the operator {found[0]}")
    if named := [name for name in (*(entry.name for entry in file.inputs), *outputs) if _STATE.search(name)]:
        return _generator(f"it has the tensor '{named[0]}'")
    return None


def _detector(sign: str) -> str:
    return (
        f"is a detector of objects ({sign}): a row has as many boxes as are found, and those of several models must be "
        "matched before they can be averaged, which Tutti does not do; an output [n, C] or [n, C, …] of it can be "
        "named with --output"
    )


def _generator(sign: str) -> str:
    return (
        f"generates step by step ({sign}): each step takes what was chosen before, so members would have to be fused "
        "within the loop, which Tutti does not do; an output [n, C] of it can be named with --output"
    )
