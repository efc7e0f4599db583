"""Boosted trees of other libraries to ONNX: XGBoost by onnxmltools, CatBoost by its own export."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto, helper, version_converter

from exporter.conversion.graph import OPSET
from exporter.conversion.tree_graph import FLAT, attempted
from exporter.errors import ConversionError
from exporter.onnx_graphs.zipmap import unzip

_ONNXMLTOOLS_OPSET = 15


def xgboost_graph(model: Any, features: int) -> ModelProto:
    """`flat` float32 [n, features] → `probabilities` [n, C] of a classifier, or `variable` [n, 1].

    Takes XGBoost's scikit-learn estimators and a Booster of trees. Raises ConversionError, for linear boosters too.
    """
    return attempted(lambda: _xgboost(model, features))


def catboost_graph(model: Any) -> ModelProto:
    """One float input → `probabilities` [n, C] of a classifier, or `predictions` [n, 1].

    CatBoost writes the file itself, with its own opsets and a ZipMap that is taken out. Raises ConversionError: it
    exports no categorical features and no text.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            model.save_model(str(path), format="onnx")
            graph = onnx.load(path)
    except Exception as error:  # its own class, which is not to be imported for this
        reason = " ".join(str(error).split())[:200]
        raise ConversionError(f"CatBoost does not write the model as ONNX: {reason}") from error
    _with_default_opset(graph)
    unzip(graph)
    return graph


def _xgboost(model: Any, features: int) -> ModelProto:
    from onnxmltools.convert import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    types = [(FLAT, FloatTensorType([None, features]))]
    graph: ModelProto = convert_xgboost(model, initial_types=types, target_opset=_ONNXMLTOOLS_OPSET)
    return graph if _with_default_opset(graph) else version_converter.convert_version(graph, OPSET)


def _with_default_opset(graph: ModelProto) -> bool:
    """Whether the graph had to be given our operator set: trees alone use none of its operators and name none."""
    if any(entry.domain in ("", "ai.onnx") for entry in graph.opset_import):
        return False
    graph.opset_import.append(helper.make_opsetid("", OPSET))
    return True
