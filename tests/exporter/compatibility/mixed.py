"""Models of several makers in one ensemble."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from tests.exporter.compatibility import drawn, fitted
from tests.exporter.compatibility.table import Brought, Expected


def makers(folder: Path) -> Expected:
    forest = fitted.forest()
    fitted.written(folder / "rf.onnx", forest)
    boosted = fitted.boosted(folder / "gbm.onnx", fitted.NAMES[fitted.PLACES], "input")
    cat = drawn.catboost(folder)
    feeds = cat.feeds["features"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # LightGBM misses the names that it gave to columns
        p = [forest.predict_proba(feeds), boosted.predict_proba(feeds), cat.outputs["probabilities"]]
    return Expected({"X": feeds}, {"probabilities": np.mean(p, axis=0)}, drawn.NAMES)


BROUGHT: dict[str, Brought] = {
    "scikit-learn (`X`), LightGBM (`input`) and CatBoost (`features`)": makers,
}
