"""An estimator over several columns: how it is asked, and one graph whose inputs are the columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from exporter.conversion.graph import ELEMENTS
from exporter.data.dataset import Array
from exporter.errors import BundleError
from exporter.foreign.objects.tables import legal_names
from model_repo import Input


@dataclass(frozen=True)
class Columns:
    """The ensemble's inputs that an estimator takes, in its order: [-1] or [-1, width] each."""

    tensors: tuple[Input, ...]
    names: tuple[str, ...]
    """The columns as the estimator calls them."""

    @classmethod
    def of(cls, member: str, model: Any, tensors: Sequence[Input]) -> Columns:
        """Raises BundleError for an input that is no column or several, and for columns that are not there."""
        for entry in tensors:
            if len(entry.shape) > 2 or entry.shape[1:] == (-1,) or entry.datatype not in ELEMENTS:
                problem = f"takes columns; {entry.name!r} is {entry.datatype} {list(entry.shape)}"
                raise BundleError(f"member {member!r}", [f"{problem}, expected numbers or texts [-1] or [-1, columns]"])
        known = [str(name) for name in getattr(model, "feature_names_in_", ())]
        by_name = {entry.name: entry for entry in tensors}
        legal = legal_names(known)
        if known and all(legal[name] in by_name for name in known):
            return cls(tuple(by_name[legal[name]] for name in known), tuple(known))
        if known and len(tensors) > 1:
            lacking = [name for name in known if legal[name] not in by_name]
            problem = f"was fitted to columns that are no inputs: {', '.join(lacking[:8])}"
            raise BundleError(f"member {member!r}", [problem])
        return cls(tuple(tensors), tuple(entry.name for entry in tensors))

    @property
    def widths(self) -> tuple[int, ...]:
        """How many columns each input has."""
        return tuple(entry.shape[1] if len(entry.shape) == 2 else 1 for entry in self.tensors)

    @property
    def numeric(self) -> bool:
        """Whether they are all numbers."""
        return all(entry.datatype != "BYTES" for entry in self.tensors)

    def rows(self, inputs: Mapping[str, Array], model: Any) -> Any:
        """The rows as the estimator knows them: a DataFrame where it was fitted to one, else one array."""
        parts = [inputs[entry.name].reshape(len(inputs[entry.name]), -1) for entry in self.tensors]
        if hasattr(model, "feature_names_in_") and set(self.widths) == {1} and (frame := _pandas()) is not None:
            return frame({name: part[:, 0] for name, part in zip(self.names, parts, strict=True)})
        if self.numeric:
            return np.hstack([part.astype(np.float32, copy=False) for part in parts])
        return np.hstack([part.astype(np.object_) for part in parts])

    def fed(self, model: ModelProto, *, flat: bool) -> ModelProto:
        """The graph, in place, fed by these inputs: joined to its only one as floats (`flat`), or one by one."""
        graph = model.graph
        front: list[NodeProto] = []
        parts = [f"column/{place}" for place in range(len(self.tensors))]
        for part, entry, width in zip(parts, self.tensors, self.widths, strict=True):
            shape = numpy_helper.from_array(np.array([-1, width], dtype=np.int64), f"{part}/shape")
            graph.initializer.append(shape)
            cast = flat and entry.datatype != "FP32"
            front.append(helper.make_node("Reshape", [entry.name, shape.name], [f"{part}/own" if cast else part]))
            if cast:
                front.append(helper.make_node("Cast", [f"{part}/own"], [part], to=TensorProto.FLOAT))
        if flat:
            front.append(helper.make_node("Concat", parts, ["columns"], axis=1))
        inner = ["columns"] if flat else parts
        renamed = dict(zip((entry.name for entry in graph.input), inner, strict=True))
        for node in graph.node:
            node.input[:] = [renamed.get(name, name) for name in node.input]
        nodes = [*front, *(NodeProto.FromString(node.SerializeToString()) for node in graph.node)]
        del graph.node[:]
        graph.node.extend(nodes)
        del graph.input[:]
        graph.input.extend(
            helper.make_tensor_value_info(entry.name, ELEMENTS[entry.datatype], [None, *entry.shape[1:]])
            for entry in self.tensors
        )
        return model


def _pandas() -> Any:
    try:
        from pandas import DataFrame
    except ImportError:
        return None
    return DataFrame
