"""Data sources, cleaning and splits. A recipe's `[data]` names its source."""

from collections.abc import Mapping

from exporter.data.audio import Speech
from exporter.data.cifar import Cifar10
from exporter.data.cleaning import Cleaning, clean
from exporter.data.dataset import Dataset, Rows
from exporter.data.digit_pairs import DigitPairs
from exporter.data.digits import Digits
from exporter.data.graph import Graph
from exporter.data.idx import Idx
from exporter.data.image_folder import ImageFolder
from exporter.data.movielens import Movielens
from exporter.data.series import Series
from exporter.data.spec import Domain, Source
from exporter.data.splits import Split, SplitSpec, split
from exporter.data.table import Table
from exporter.data.text import AgNews, Imdb, Sst2, Texts

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
