"""Data sources, cleaning and splits. A recipe's `[data]` names its source."""

from collections.abc import Mapping

from exporter.data.cifar import Cifar10
from exporter.data.cleaning import Cleaning, clean
from exporter.data.dataset import Dataset, Rows
from exporter.data.digits import Digits
from exporter.data.idx import Idx
from exporter.data.image_folder import ImageFolder
from exporter.data.movielens import Movielens
from exporter.data.spec import Domain, Source
from exporter.data.splits import Split, SplitSpec, split
from exporter.data.table import Table

SOURCES: Mapping[str, type[Source]] = {
    str(source.__struct_config__.tag): source
    for source in (
        Cifar10,
        Digits,
        Idx,
        ImageFolder,
        Movielens,
        Table,
    )
}  # fmt: skip
"""The name in `[data] source` → the source."""

__all__ = [
    "SOURCES",
    "Cifar10",
    "Cleaning",
    "Dataset",
    "Digits",
    "Domain",
    "Idx",
    "ImageFolder",
    "Movielens",
    "Rows",
    "Source",
    "Split",
    "SplitSpec",
    "Table",
    "clean",
    "split",
]
