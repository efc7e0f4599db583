"""Members on places of categories, as members on the categories themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from exporter.conversion.strings import Vocabulary, strings_first
from exporter.data.dataset import Array, Rows
from exporter.members.base import Setting, Trained
from exporter.tables.source import CATEGORIES, WORDS
from model_repo.format.manifest import Kind


class OnWords:
    """A trained member whose categories are strings: `inner` takes their places in the vocabulary."""

    def __init__(self, inner: Trained, vocabulary: Vocabulary) -> None:
        self.kind: Kind = inner.kind
        self.tolerance = inner.tolerance
        self._inner, self._vocabulary = inner, vocabulary

    def predict(self, inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        """float32 [n, C]."""
        return self._inner.predict(_placed(inputs, self._vocabulary))

    def to_onnx(self) -> bytes:
        """The inner graph behind the vocabulary; raises ConversionError."""
        return strings_first(self._inner.to_onnx(), {CATEGORIES: self._vocabulary})


def train_on_words(train: Callable[[Rows, Setting], Trained], rows: Rows, setting: Setting) -> Trained:
    """The member that `train` makes of rows whose categories are places; a table without categories as it is."""
    if CATEGORIES not in rows.inputs:
        return train(rows, setting)
    vocabulary = Vocabulary(setting.context[WORDS].tolist())
    placed = tuple(
        msgspec.structs.replace(entry, datatype="INT64") if entry.name == CATEGORIES else entry
        for entry in setting.inputs
    )
    rows = replace(rows, inputs=_placed(rows.inputs, vocabulary))
    return OnWords(train(rows, replace(setting, inputs=placed)), vocabulary)


def _placed(inputs: Mapping[str, Array], vocabulary: Vocabulary) -> dict[str, Array]:
    return {**inputs, CATEGORIES: vocabulary(inputs[CATEGORIES])}
