"""Small data sets for tests of the exporter."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from exporter.data.dataset import Dataset, Rows
from exporter.members.base import Family, Setting, Trained
from model_repo import Input


def trained_alone(family: Family, rows: Rows, setting: Setting) -> Trained:
    """The family's one member: groups are not meant."""
    found = family.train(rows, setting)
    assert not hasattr(found, "predict_each")
    return found


def dataset(
    x: ArrayLike, y: ArrayLike, classes: int = 2, ranges: Mapping[str, tuple[float, float]] | None = None
) -> Dataset:
    """Rows `x` float32 [n, F] of classes `y`."""
    rows = np.asarray(x, dtype=np.float32)
    target = np.asarray(y, dtype=np.int64)
    return Dataset(
        rows=Rows.of({"x": rows}, target),
        classes=tuple(f"c{c}" for c in range(classes)),
        inputs=(Input(name="x", datatype="FP32", shape=(-1, rows.shape[1])),),
        ranges=ranges or {},
    )
