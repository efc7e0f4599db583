"""Label propagation."""

from __future__ import annotations

from typing import ClassVar

from exporter.members.base import Family
from exporter.optimisation.spec import Count, Rate, Share


class Propagation(Family, frozen=True, kw_only=True, tag="propagation"):
    """The training rows' labels, spread over the edges."""

    trainer: ClassVar[str] = "exporter.graphs.networks.positions:train_propagation"

    steps: Count = 50
    share: Share = 0.9
    """What a node takes over from its neighbours in each step."""
    doubt: Rate = 1e-4
    """Mass of the classes' shares that every node has beside what reaches it."""
