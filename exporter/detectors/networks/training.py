"""What all detectors are trained under."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from exporter.data.dataset import Rows
from exporter.members.base import Setting, Trained
from exporter.tables.networks.words import train_on_words


def train_detector(train: Callable[[Rows, Setting], Trained], rows: Rows, setting: Setting) -> Trained:
    """What `train` makes under a setting of one column; a table's categories are places in it, words outside."""
    return train_on_words(train, rows, replace(setting, columns=1, task="regression"))
