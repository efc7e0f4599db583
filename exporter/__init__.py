"""Data → members → training → fusion → conversion → parity → publication: makes ensembles that the server serves.

torch and scikit-learn are imported only where they work, so that `tutti publish` and `tutti export --list` start
without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter.api import Exporter

__all__ = ["Exporter"]


def __getattr__(name: str) -> object:
    """`from exporter import Exporter`, imported when it is asked for."""
    if name == "Exporter":
        from exporter.api import Exporter

        return Exporter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
