"""Tree ensembles to ONNX: skl2onnx for forests, onnxmltools for LightGBM; one flat float32 input."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from exporter.conversion.graph import ML_OPSET, OPSET, normalised
from exporter.errors import ConversionError
from model_repo import Input

FLAT = "flat"
"""The input of a graph of trees alone: float32 [n, features]."""
PROBABILITIES, VALUE = "probabilities", "variable"
"""What both converters call the output of a classifier and of a regressor."""

_ONNXMLTOOLS_OPSET = 15
_TARGET = {"": OPSET, "ai.onnx.ml": ML_OPSET}


@runtime_checkable
class WritesItself(Protocol):
    """An estimator of ours, such as trees of labels, that knows its own graph."""

    def as_tree_graph(self, features: int) -> ModelProto:
        """As `tree_graph`. Raises ConversionError."""
        ...


def tree_graph(estimator: Any, features: int) -> ModelProto:
    """The trees alone, not normalised: `flat` [n, features] → `probabilities` [n, C] or, of a regressor, `variable`.

    Takes LightGBM's scikit-learn estimators, trees of labels, and whatever else skl2onnx converts. Raises
    ConversionError.
    """
    if isinstance(estimator, WritesItself):
        return estimator.as_tree_graph(features)
    lightgbm = type(estimator).__module__.partition(".")[0] == "lightgbm"
    convert = _lightgbm if lightgbm else _sklearn
    return attempted(lambda: convert(estimator, features))


def booster_graph(booster: Any, features: int) -> ModelProto:
    """The same of a LightGBM booster. Raises ConversionError."""
    return attempted(lambda: _boosted(booster, features))


def forest_to_onnx(estimator: Any, features: int, entry: Input, columns: int) -> bytes:
    """A scikit-learn forest as a normalised graph with probabilities [n, C]. Raises ConversionError."""
    return _reshaped(attempted(lambda: _sklearn(estimator, features)), entry, columns)


def lightgbm_to_onnx(estimator: Any, features: int, entry: Input, columns: int) -> bytes:
    """A LightGBM classifier as a normalised graph with probabilities [n, C]. Raises ConversionError."""
    return _reshaped(attempted(lambda: _lightgbm(estimator, features)), entry, columns)


def float32_thresholds(booster: Any) -> Any:
    """The booster with each threshold lowered to the next float32: the same answers for every float32 row.

    LightGBM splits halfway between two values in float64. Between neighbouring float32 values the halfway point
    rounds up to the larger one, and `x <= threshold` then sends that value the other way (measured: 41 of 539
    rows moved, one by 0.05).
    """
    from lightgbm import Booster

    def lowered(line: str) -> str:
        if not line.startswith("threshold="):
            return line
        values = below(np.array(line.removeprefix("threshold=").split(), dtype=np.float64))
        return "threshold=" + " ".join(repr(float(value)) for value in values)

    # The header counts the characters of each tree; without it the reader looks for the trees itself.
    lines = [lowered(line) for line in booster.model_to_string().splitlines() if not line.startswith("tree_sizes=")]
    return Booster(model_str="\n".join(lines))


def below(thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest float32 that is not above each threshold, as float64."""
    nearest = thresholds.astype(np.float32)
    too_high = nearest.astype(np.float64) > thresholds
    nearest[too_high] = np.nextafter(nearest[too_high], np.float32(-np.inf))
    return nearest.astype(np.float64)


def _sklearn(estimator: Any, features: int) -> ModelProto:
    from skl2onnx import to_onnx
    from sklearn.base import is_classifier

    example = np.zeros((1, features), dtype=np.float32)
    options = {type(estimator): {"zipmap": False}} if is_classifier(estimator) else None
    model: ModelProto = to_onnx(estimator, example, options=options, target_opset=_TARGET)
    model.graph.input[0].name, old = FLAT, model.graph.input[0].name
    for node in model.graph.node:
        node.input[:] = [FLAT if name == old else name for name in node.input]
    return model


def _lightgbm(estimator: Any, features: int) -> ModelProto:
    return _boosted(estimator.booster_, features)


def _boosted(booster: Any, features: int) -> ModelProto:
    """onnxmltools writes no opset above 15, so the graph is lifted.

    A classifier's label output has a static shape of 1 row, of which onnxruntime warns at each call: whoever
    normalises the graph leaves it out.
    """
    from onnx import version_converter
    from onnxmltools.convert import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    booster = float32_thresholds(booster)
    types = [(FLAT, FloatTensorType([None, features]))]
    old = convert_lightgbm(booster, initial_types=types, zipmap=False, target_opset=_ONNXMLTOOLS_OPSET)
    model: ModelProto = version_converter.convert_version(old, OPSET)
    return model


def attempted(convert: Callable[[], ModelProto]) -> ModelProto:
    """What a converter gives, quietly. Raises ConversionError for whatever it raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return convert()
    except (RuntimeError, ValueError, KeyError, NotImplementedError) as error:
        raise ConversionError(f"the trees cannot be converted: {' '.join(str(error).split())}") from error


def _reshaped(model: ModelProto, entry: Input, columns: int) -> bytes:
    """The graph with a Reshape [n, …] → [n, features] in front, fed by an input of the ensemble's name.

    Trees take floats: whatever else the input is, is cast first.
    """
    graph = model.graph
    (only,) = graph.input
    flat, source = only.name, entry.name
    only.name = entry.name
    shape = numpy_helper.from_array(np.array([0, -1], dtype=np.int64), f"{flat}_shape")
    graph.initializer.append(shape)
    front = []
    if entry.datatype != "FP32":
        source = f"{flat}_numbers"
        front.append(helper.make_node("Cast", [entry.name], [source], to=TensorProto.FLOAT))
    front.append(helper.make_node("Reshape", [source, shape.name], [flat]))
    for place, node in enumerate(front):
        graph.node.insert(place, node)
    return normalised(model, (entry,), PROBABILITIES, columns)
