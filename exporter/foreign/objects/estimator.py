"""Fitted estimators of scikit-learn and of boosting libraries as members: converted, their classes aligned by name."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from exporter.conversion.boosted_graph import catboost_graph, xgboost_graph
from exporter.conversion.graph import IR_VERSION, ML_OPSET, OPSET
from exporter.conversion.histogram_boosting import mend_converters
from exporter.conversion.side_by_side import side_by_side
from exporter.conversion.tree_graph import VALUE, booster_graph
from exporter.data.dataset import Array
from exporter.errors import BundleError, ConversionError
from exporter.foreign.objects.columns import Columns
from exporter.foreign.objects.trained import TrainedElsewhere
from exporter.members.base import NETWORK, TREES, Tolerance
from exporter.onnx_graphs.answer_columns import declared_as
from model_repo import Input
from model_repo.format.manifest import Kind

_ML_OPSETS = (ML_OPSET, 3)
"""The first that the converter can write: graphs of one operator set can be merged into one."""

_BOOSTED = ("lightgbm", "xgboost", "catboost")

_TREES = ("tree", "forest", "boosting", *_BOOSTED)


@dataclass(frozen=True)
class _Estimator:
    """An estimator and how it is asked; `labels` are its own, in the order of its columns."""

    model: Any
    kind: Kind
    labels: tuple[object, ...] | None

    def __call__(self, x: Array) -> NDArray[np.float32]:
        with warnings.catch_warnings():
            # LightGBM names its own features and scikit-learn then misses the names in plain arrays.
            warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
            ask = self.model.predict_proba if hasattr(self.model, "predict_proba") else self.model.predict
            found = np.asarray(ask(self._rows(x)), dtype=np.float32)
        return found.reshape(len(x), -1)

    def _rows(self, x: Array) -> Any:
        """The rows as the model takes them: XGBoost's own Booster wants a matrix of its own."""
        if _library(self.model) == "xgboost" and _is_booster(self.model):
            from xgboost import DMatrix

            return DMatrix(x)
        return x


def from_estimator(
    name: str, model: Any, tensors: Sequence[Input], columns: int, kind: Kind | None
) -> TrainedElsewhere:
    """The member: its graph, its answers, the order of its classes. Raises BundleError or ConversionError.

    It takes one table of numbers, FP32 [-1, features], or several inputs that are its columns, texts among them.
    """
    asked = _asked(name, model, kind)
    table = Columns.of(name, model, tensors)

    def predict(inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        return asked(table.rows(inputs, model))

    graph = _converted(name, model, table, asked.kind, columns)
    tolerance: Tolerance = TREES if any(word in _described(model) for word in _TREES) else NETWORK
    labels = None if asked.kind == "value" else asked.labels
    return TrainedElsewhere(*graph, asked.kind, predict, tolerance, labels, tuple(each.name for each in table.tensors))


def is_estimator(model: object) -> bool:
    """Whether it is asked by `predict`: an estimator, a pipeline, a booster."""
    return callable(getattr(model, "predict", None))


def _asked(name: str, model: Any, kind: Kind | None) -> _Estimator:
    if kind == "value":
        return _Estimator(model, "value", None)
    labels = getattr(model, "classes_", None)
    if _is_booster(model):
        return _Estimator(model, kind or "probabilities", None)
    if labels is None or not hasattr(model, "predict_proba"):
        problem = f"{type(model).__name__} is no fitted classifier with predict_proba and classes_"
        if labels is not None:  # it classifies, and says no more than the class
            problem += "; scikit-learn's CalibratedClassifierCV around it gives it probabilities"
        raise BundleError(f"member {name!r}", [problem])
    return _Estimator(model, "probabilities", tuple(labels))


def _converted(name: str, model: Any, table: Columns, kind: Kind, columns: int) -> tuple[bytes, str]:
    """The graph and its output [n, columns]. Labels and whatever else it gives are cut off."""
    features, library = sum(table.widths), _library(model)
    several = _booster_each(model)
    apart = library not in _BOOSTED and not several and (not table.numeric or "column_transformer" in _described(model))
    if not apart and not table.numeric:
        texts = ", ".join(repr(each.name) for each in table.tensors if each.datatype == "BYTES")
        raise BundleError(f"member {name!r}", [f"takes texts ({texts}), which its library does not export to ONNX"])
    if several:
        graph = _each_beside(several, features)
    elif library in _BOOSTED and (_is_booster(model) or library != "lightgbm" or hasattr(model, "booster_")):
        graph = _boosted(model, features)
    else:
        graph = _by_skl2onnx(name, model, table if apart else features)
    outputs = [entry.name for entry in graph.graph.output]
    output = next((each for each in outputs if "prob" in each), None) if kind != "value" else outputs[0]
    if output is None:
        raise ConversionError(f"member {name!r}: its graph gives {', '.join(outputs)}, expected probabilities")
    declared_as(graph, output, (columns,))
    if len(table.tensors) == 1 and not apart and table.tensors[0].datatype == "FP32" and table.tensors[0].shape[1:]:
        return _tidied(_renamed(graph, table.tensors[0].name), output), output
    return _tidied(table.fed(graph, flat=not apart), output), output


def _boosted(model: Any, features: int) -> onnx.ModelProto:
    """The graph of a booster of these libraries."""
    match _library(model):
        case "lightgbm":
            return booster_graph(getattr(model, "booster_", model), features)
        case "xgboost":
            return xgboost_graph(model, features)
        case _:
            return catboost_graph(model)


def _booster_each(model: Any) -> list[Any]:
    """The boosters of a `MultiOutputRegressor`, one for each number, which skl2onnx does not know; none of others."""
    each = list(getattr(model, "estimators_", ())) if type(model).__name__ == "MultiOutputRegressor" else []
    return each if each and all(_library(one) in _BOOSTED for one in each) else []


def _each_beside(boosters: Sequence[Any], features: int) -> onnx.ModelProto:
    """One graph, `variable` [n, d], of boosters of one number each."""
    parts = [_boosted(one, features) for one in boosters]
    return side_by_side(parts, [part.graph.output[0].name for part in parts], VALUE, column=0)


def _by_skl2onnx(name: str, model: Any, takes: Columns | int) -> onnx.ModelProto:
    """`takes` are columns that become an input each, or the width of the one table of floats."""
    from skl2onnx import to_onnx
    from sklearn.base import is_classifier

    if "hist_gradient_boosting" in _described(model):
        mend_converters()
    types = _column_types(takes) if isinstance(takes, Columns) else None
    example = np.zeros((1, takes), dtype=np.float32) if isinstance(takes, int) else None
    options = {id(model): {"zipmap": False}} if is_classifier(model) else None
    problem: Exception | None = None
    for opset in _ML_OPSETS:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                found: onnx.ModelProto = to_onnx(
                    model, example, initial_types=types, options=options, target_opset={"": OPSET, "ai.onnx.ml": opset}
                )
                return found
        except (RuntimeError, ValueError, KeyError, NotImplementedError, AttributeError, TypeError) as error:
            problem = error  # its converters raise whatever they meet
    reason = " ".join(str(problem).split())[:200]
    raise ConversionError(f"member {name!r}: skl2onnx cannot convert {type(model).__name__}: {reason}") from problem


def _column_types(table: Columns) -> list[tuple[str, Any]]:
    """Each column by the estimator's own name for it, as skl2onnx declares inputs."""
    from skl2onnx.common import data_types

    kinds = {"BYTES": data_types.StringTensorType, "INT64": data_types.Int64TensorType,
             "INT32": data_types.Int32TensorType, "FP64": data_types.DoubleTensorType,
             "UINT8": data_types.UInt8TensorType}  # fmt: skip
    return [
        (column, kinds.get(entry.datatype, data_types.FloatTensorType)([None, width]))
        for column, entry, width in zip(table.names, table.tensors, table.widths, strict=True)
    ]


def _renamed(model: onnx.ModelProto, tensor: str) -> onnx.ModelProto:
    """The graph, in place, whose only input has the ensemble's name."""
    (only,) = model.graph.input
    old, only.name = only.name, tensor
    for node in model.graph.node:
        node.input[:] = [tensor if each == old else each for each in node.input]
    return model


def _tidied(model: onnx.ModelProto, output: str) -> bytes:
    """One output, no notes of the machine, one entry for each operator set."""
    graph = model.graph
    kept = [entry for entry in graph.output if entry.name == output]
    del graph.output[:]
    graph.output.extend(kept)
    needed = {output}
    nodes: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            nodes.insert(0, onnx.NodeProto.FromString(node.SerializeToString()))
            needed.update(node.input)
    del graph.node[:]
    graph.node.extend(nodes)
    weights = [entry for entry in graph.initializer if entry.name in needed]
    copies = [onnx.TensorProto.FromString(entry.SerializeToString()) for entry in weights]
    del graph.initializer[:]
    graph.initializer.extend(copies)
    opsets = {"" if entry.domain == "ai.onnx" else entry.domain: entry.version for entry in model.opset_import}
    used = {node.domain for node in graph.node} | {""}
    opsets.setdefault("", OPSET)
    if opsets.get("ai.onnx.ml") == 2 and all(
        node.op_type.startswith("TreeEnsemble") for node in graph.node if node.domain
    ):
        opsets["ai.onnx.ml"] = ML_OPSET  # the same operators: of the second set only LabelEncoder is another
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(domain, opsets[domain]) for domain in sorted(used))
    model.ir_version = IR_VERSION
    model.doc_string = graph.doc_string = ""
    graph.name, model.producer_name, model.producer_version = "member", "tutti", ""
    return bytes(model.SerializeToString(deterministic=True))


def _is_booster(model: object) -> bool:
    return type(model).__name__ == "Booster" and _library(model) in ("lightgbm", "xgboost")


def _library(model: object) -> str:
    return type(model).__module__.partition(".")[0]


def _described(model: Any) -> str:
    """Where the classes of the model and of its steps come from, in one lower-case line."""
    steps = [step for _, step in getattr(model, "steps", [])]
    return " ".join(f"{type(each).__module__}.{type(each).__name__}" for each in (model, *steps)).lower()
