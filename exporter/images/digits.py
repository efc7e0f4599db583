"""scikit-learn's bundled handwritten digits: 1,797 grey images of 8 × 8, real data without a download.

E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI 1998. Pixels are counts from 0 to 16.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from exporter.data.dataset import Dataset, Rows
from exporter.data.source import Domain, Source
from exporter.errors import DataError
from model_repo import ImageInput, Input

SIDE = 8
HIGHEST = 16.0
INPUT = "image"


class Digits(Source, frozen=True, kw_only=True, tag="digits"):
    """The digits; they come with scikit-learn, so there is no folder to give."""

    domain: ClassVar[Domain] = "image"

    def load(self, folder: Path | None) -> Dataset:
        """All rows. Raises DataError where a data folder is given."""
        if folder is not None:
            raise DataError(f"--data is {str(folder)!r}, but the digits come with scikit-learn: leave it out")
        from sklearn.datasets import load_digits

        bunch = load_digits()
        images = bunch.images.astype(np.float32)
        target = bunch.target.astype(np.int64)
        return Dataset(
            rows=Rows.of({INPUT: images}, target),
            classes=tuple(str(name) for name in bunch.target_names),
            inputs=(_declared(),),
            ranges={INPUT: (0.0, HIGHEST)},
            edges={INPUT: _edges()},
        )


def _declared() -> Input:
    # A PNG has pixels from 0 to 255: one of 8 × 8 becomes a row of the data's own scale.
    image = ImageInput(mode="L", width=SIDE, height=SIDE, layout="HW", scale=HIGHEST / 255.0)
    return Input(name=INPUT, datatype="FP32", shape=(-1, SIDE, SIDE), image=image)


def _edges() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Blank, full, middle grey, a chessboard and one lit pixel: nothing like them is in the data."""
    board = np.indices((SIDE, SIDE)).sum(axis=0) % 2 * HIGHEST
    pixel = np.zeros((SIDE, SIDE))
    pixel[3, 4] = HIGHEST
    flat = [np.full((SIDE, SIDE), value) for value in (0.0, HIGHEST, HIGHEST / 2)]
    return np.stack([*flat, board, pixel]).astype(np.float32)
