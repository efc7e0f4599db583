"""Member families: what a recipe may name, and how each is trained. torch is imported when a member trains."""

from collections.abc import Mapping, Sequence

from exporter.data.source import Domain
from exporter.graphs.families import GRAPH_FAMILIES
from exporter.images.families import IMAGE_FAMILIES
from exporter.members.base import Family
from exporter.ratings.families import PAIR_FAMILIES
from exporter.series.families import SERIES_FAMILIES
from exporter.speech.families import AUDIO_FAMILIES
from exporter.tables.families import TABLE_FAMILIES
from exporter.text.families import TEXT_FAMILIES


def _by_tag(families: Sequence[type[Family]]) -> Mapping[str, type[Family]]:
    return {str(family.__struct_config__.tag): family for family in families}


FAMILIES: Mapping[Domain, Mapping[str, type[Family]]] = {
    "audio": _by_tag(AUDIO_FAMILIES),
    "image": _by_tag(IMAGE_FAMILIES),
    "graph": _by_tag(GRAPH_FAMILIES),
    "pairs": _by_tag(PAIR_FAMILIES),
    "series": _by_tag(SERIES_FAMILIES),
    "table": _by_tag(TABLE_FAMILIES),
    "text": _by_tag(TEXT_FAMILIES),
}
"""What the rows are → `family` in a recipe → its spec; each stands by its defaults alone."""

__all__ = ["FAMILIES", "Family"]
