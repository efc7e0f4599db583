"""What every data source of a recipe has in common."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import msgspec

from exporter.data.dataset import Dataset
from exporter.data.splits import Split

Domain = Literal["image", "text", "table", "pairs", "graph", "audio", "series"]
"""What the rows are; it decides which member families a recipe may name."""


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="source"):
    """One data source, named by `source` in a recipe's `[data]`."""

    domain: ClassVar[Domain]

    on_bad_rows: Literal["error", "drop"] = "error"
    """Rows that are not finite, out of range or without a valid label: refuse the data, or leave them out."""

    def load(self, folder: Path | None) -> Dataset:
        """The data as it is, before cleaning. Raises DataError naming file and row."""
        raise NotImplementedError(f"{type(self).__name__}.load; this is a bug")

    def prepare(self, dataset: Dataset, split: Split, seed: int) -> Dataset:
        """The dataset with what is fitted to the rows `split.fit` alone: vocabularies, tokenizers, derived tensors.

        Rows, their order and their ids stay as they are.
        """
        return dataset
