"""Two handwritten digits side by side; the labels are the digits that are in the picture. Made without a download.

Of scikit-learn's 1,797 digits each is in one picture at most: no digit is learned in one split and asked in another.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from exporter.data.dataset import Dataset, Rows
from exporter.data.source import Domain, Source
from exporter.errors import DataError
from exporter.tables.source import NUMBERS
from model_repo import Input

SIDE = 8
"""Pixels."""
HIGHEST = 16.0
"""Ink of a pixel."""
_PAIRING = 0x9A1
"""Which digits meet is the same for every seed of a recipe: the data is one."""


class DigitPairs(Source, frozen=True, kw_only=True, tag="digit_pairs"):
    """898 pictures of 8 × 16 pixels as a table: `numbers` FP32 [n, 128], row by row, 0 to 16."""

    domain: ClassVar[Domain] = "table"

    def load(self, folder: Path | None) -> Dataset:
        """All rows. Raises DataError where a data folder is given."""
        if folder is not None:
            raise DataError(
                f"--data is {str(folder)!r}, but the digits come with scikit-learn; a table of your own is "
                '--set data.source=table with --set \'data.labels=["a", "b"]\' or --set data.separator="|"'
            )
        from sklearn.datasets import load_digits

        bunch = load_digits()
        order = np.random.default_rng(_PAIRING).permutation(len(bunch.target))
        left, right = order[: len(order) // 2], order[len(order) // 2 : len(order) // 2 * 2]
        pictures = np.concatenate([bunch.images[left], bunch.images[right]], axis=2).astype(np.float32)
        target = np.zeros((len(left), len(bunch.target_names)), dtype=np.int64)
        for side in (left, right):
            target[np.arange(len(side)), bunch.target[side]] = 1
        return Dataset(
            rows=Rows.of({NUMBERS: pictures.reshape(len(left), -1)}, target),
            classes=tuple(str(name) for name in bunch.target_names),
            inputs=(Input(name=NUMBERS, datatype="FP32", shape=(-1, 2 * SIDE * SIDE)),),
            ranges={NUMBERS: (0.0, HIGHEST)},
            task="multilabel",
        )
