"""Models of several makers in one ensemble."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from tests.exporter.compatibility import boosted, fitted
from tests.exporter.compatibility.table import Brought, Expected


def makers(folder: Path) -> Expected:
    forest = fitted.forest()
    fitted.written(folder / "rf.onnx", forest)
    gbm = fitted.boosted(folder / "gbm.onnx", fitted.NAMES[fitted.PLACES], "input")
    cat = boosted.catboosted(folder / "cat.onnx", fitted.NAMES[fitted.PLACES])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # LightGBM misses the names that it gave to columns
        p = [model.predict_proba(fitted.TEST) for model in (forest, gbm, cat)]
    return Expected({"X": fitted.TEST}, {"probabilities": np.mean(p, axis=0)}, tuple(fitted.NAMES))


BROUGHT: dict[str, Brought] = {
    "scikit-learn (`X`), LightGBM (`input`) and CatBoost (`features`)": makers,
}
