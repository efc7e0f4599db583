"""What every data source of a recipe has in common."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from exporter.data.dataset import Dataset


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="source"):
    """One data source, named by `source` in a recipe's `[data]`."""

    on_bad_rows: Literal["error", "drop"] = "error"
    """Rows that are not finite, out of range or without a valid label: refuse the data, or leave them out."""

    def load(self, folder: Path | None) -> Dataset:
        """The data as it is, before cleaning. Raises DataError naming file and row."""
        raise NotImplementedError(f"{type(self).__name__}.load; this is a bug")
