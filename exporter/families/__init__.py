"""Member families: what a recipe may name, and how each is trained. torch is imported when a member trains."""

from collections.abc import Mapping, Sequence

from exporter.data.spec import Domain
from exporter.families.audio import AUDIO_FAMILIES
from exporter.families.base import Family
from exporter.families.graph import GRAPH_FAMILIES
from exporter.families.groups import IMAGE_GROUPS
from exporter.families.image import IMAGE_FAMILIES
from exporter.families.pairs import PAIR_FAMILIES
from exporter.families.series import SERIES_FAMILIES
from exporter.families.table import TABLE_FAMILIES
from exporter.families.text import TEXT_FAMILIES


def _by_tag(families: Sequence[type[Family]]) -> Mapping[str, type[Family]]:
    return {str(family.__struct_config__.tag): family for family in families}


FAMILIES: Mapping[Domain, Mapping[str, type[Family]]] = {
    "audio": _by_tag(AUDIO_FAMILIES),
    "image": _by_tag((*IMAGE_FAMILIES, *IMAGE_GROUPS)),
    "graph": _by_tag(GRAPH_FAMILIES),
    "pairs": _by_tag(PAIR_FAMILIES),
    "series": _by_tag(SERIES_FAMILIES),
    "table": _by_tag(TABLE_FAMILIES),
    "text": _by_tag(TEXT_FAMILIES),
}
"""What the rows are → `family` in a recipe → its spec; each stands by its defaults alone."""

__all__ = ["FAMILIES", "Family"]
