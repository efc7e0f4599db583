"""scikit-learn's histogram boosting through skl2onnx, whose attributes onnx refuses: booleans in place of integers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np


class _Plain:
    """skl2onnx's container, which onnx's newer versions understand: `nodes_missing_value_tracks_true` as integers."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def add_node(self, *arguments: Any, **attributes: Any) -> Any:
        """The container's own, lists of booleans as integers."""
        return self._container.add_node(*arguments, **{name: _integers(each) for name, each in attributes.items()})


def _integers(value: Any) -> Any:
    if isinstance(value, list | tuple | np.ndarray) and any(isinstance(each, bool | np.bool_) for each in value):
        return [int(each) for each in value]
    return value


@functools.cache
def mend_converters() -> None:
    """Once in a process: skl2onnx's converters of these estimators write integers, by its own registration."""
    from skl2onnx import update_registered_converter
    from skl2onnx.common._registration import get_converter, get_shape_calculator
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    flags = {name: [True, False] for name in ("raw_scores", "output_class_labels", "nocl")}
    options = {"zipmap": [True, False, "columns"], **flags}
    for kind, alias, known in (
        (HistGradientBoostingClassifier, "SklearnHistGradientBoostingClassifier", options),
        (HistGradientBoostingRegressor, "SklearnHistGradientBoostingRegressor", None),
    ):
        convert = _plainly(get_converter(alias))
        update_registered_converter(kind, alias, get_shape_calculator(alias), convert, overwrite=True, options=known)


def _plainly(convert: Callable[[Any, Any, Any], None]) -> Callable[[Any, Any, Any], None]:
    def converted(scope: Any, operator: Any, container: Any) -> None:
        convert(scope, operator, _Plain(container))

    return converted
