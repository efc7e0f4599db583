"""XGBoost's and CatBoost's own models: trained, written as each maker's way writes them, asked for their answers."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tests.exporter.compatibility.fitted import NAMES, PLACES, TEST, X
from tests.exporter.compatibility.table import Brought, Expected


def xgboost(folder: Path) -> Expected:
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType
    from xgboost import XGBClassifier

    model = XGBClassifier(n_estimators=4, max_depth=2, n_jobs=1).fit(X, PLACES)
    made = convert_xgboost(model, initial_types=[("input", FloatTensorType([None, 4]))])
    (folder / "xgb.onnx").write_bytes(made.SerializeToString())
    p = model.predict_proba(TEST)
    return Expected({"input": TEST}, {"probabilities": p, "label": NAMES[p.argmax(axis=1)]}, tuple(NAMES))


def catboosted(path: Path, target: NDArray[Any], kind: str = "CatBoostClassifier", **more: Any) -> Any:
    """A small model of CatBoost's, fitted to the target and written by its own `save_model`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it imports
        import catboost

    known = {"iterations": 4, "depth": 2, "verbose": 0, "thread_count": 1, "allow_writing_files": False}
    model = getattr(catboost, kind)(**known, **more).fit(X, target)
    model.save_model(str(path), format="onnx")
    return model


def catboost(folder: Path) -> Expected:
    p = catboosted(folder / "cat.onnx", NAMES[PLACES]).predict_proba(TEST)
    return Expected({"features": TEST}, {"probabilities": p, "label": NAMES[p.argmax(axis=1)]}, tuple(NAMES))


def catboost_value(folder: Path) -> Expected:
    model = catboosted(folder / "cat.onnx", 1e4 * X[:, 0], "CatBoostRegressor")
    return Expected({"features": TEST}, {"value": model.predict(TEST)}, atol=1e-2)


BROUGHT: dict[str, Brought] = {
    "XGBoost through onnxmltools": xgboost,
    "CatBoost's own export": catboost,
    "CatBoost's own export of a regressor": catboost_value,
}
