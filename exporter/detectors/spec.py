"""What all detectors have in common: one column, the larger the stranger, whatever the ensemble predicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from exporter.data.dataset import Rows
from exporter.data.table import CATEGORIES
from exporter.families.base import Family, Setting, Trained


class DetectorFamily(Family, frozen=True, kw_only=True, tag="detector"):
    """A detector of a recipe. Trained like a member on the fit rows, without looking at their targets."""


def train_detector(train: Callable[[Rows, Setting], Trained], rows: Rows, setting: Setting) -> Trained:
    """What `train` makes under a setting of one column; a table's categories are places in it, words outside."""
    own = replace(setting, columns=1, task="regression")
    if CATEGORIES not in rows.inputs:
        return train(rows, own)
    from exporter.networks.table.words import train_on_words

    return train_on_words(train, rows, own)
