"""Nearest neighbours on tables: the fit rows in the graph, weighed by how near they are."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from exporter.members.base import Family
from exporter.optimisation.spec import Count


class Neighbours(Family, frozen=True, kw_only=True, tag="neighbours"):
    """The mean of the fit rows' targets, weighed by exp(-d² / h²); of classes, labels or a value.

    d is taken on scaled numbers and one-hot categories; h is the width with the least leave-one-out loss.
    """

    trainer: ClassVar[str] = "exporter.tables.networks.neighbours:train_neighbours"

    most_rows: Annotated[int, Meta(ge=2)] = 4096
    """Fit rows that are kept in the graph, drawn by the seed: each request is compared with all of them."""
    bins: Count = 1
    """Pieces of each number's range that are compared beside the number itself."""
