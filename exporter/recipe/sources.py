"""Data sources, cleaning and splits. A recipe's `[data]` names its source."""

from collections.abc import Mapping

from exporter.data.cleaning import Cleaning, clean
from exporter.data.dataset import Dataset, Rows
from exporter.data.source import Domain, Source
from exporter.data.splits import Split, SplitSpec, split
from exporter.graphs.source import Graph
from exporter.images.cifar import Cifar10
from exporter.images.digits import Digits
from exporter.images.idx import Idx
from exporter.images.image_folder import ImageFolder
from exporter.ratings.source import Movielens
from exporter.series.source import Series
from exporter.speech.source import Speech
from exporter.tables.digit_pairs import DigitPairs
from exporter.tables.source import Table
from exporter.text.source import AgNews, Imdb, Sst2, Texts

SOURCES: Mapping[str, type[Source]] = {
    str(source.__struct_config__.tag): source
    for source in (
        AgNews,
        Cifar10,
        DigitPairs,
        Digits,
        Idx,
        ImageFolder,
        Imdb,
        Graph,
        Movielens,
        Sst2,
        Series,
        Speech,
        Table,
        Texts,
    )
}  # fmt: skip
"""The name in `[data] source` → the source."""

__all__ = [
    "SOURCES",
    "AgNews",
    "Cifar10",
    "Cleaning",
    "Dataset",
    "DigitPairs",
    "Digits",
    "Domain",
    "Graph",
    "Idx",
    "ImageFolder",
    "Imdb",
    "Movielens",
    "Rows",
    "Series",
    "Source",
    "Speech",
    "Split",
    "SplitSpec",
    "Sst2",
    "Table",
    "Texts",
    "clean",
    "split",
]
