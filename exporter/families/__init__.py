"""Member families: what a recipe may name, and how each is trained. torch is imported when a member trains."""

from collections.abc import Mapping

from exporter.families.base import Augmentation, Family, Setting, Tolerance, Trained, Training
from exporter.families.cnn import Cnn
from exporter.families.pca import Pca
from exporter.families.recurrent import Gru, Lstm
from exporter.families.retrieval import Retrieval
from exporter.families.tree import Tree
from exporter.families.vit import Vit
from exporter.families.wavelet import Wavelet

MemberSpec = Cnn | Gru | Lstm | Pca | Tree | Wavelet | Retrieval | Vit
"""Any member of a recipe; told apart by `family`."""

FAMILIES: Mapping[str, type[MemberSpec]] = {
    str(family.__struct_config__.tag): family for family in (Cnn, Gru, Lstm, Pca, Tree, Wavelet, Retrieval, Vit)
}
"""Family → its spec; each stands by its defaults alone."""

__all__ = [
    "FAMILIES",
    "Augmentation",
    "Cnn",
    "Family",
    "Gru",
    "Lstm",
    "MemberSpec",
    "Pca",
    "Retrieval",
    "Setting",
    "Tolerance",
    "Trained",
    "Training",
    "Tree",
    "Vit",
    "Wavelet",
]
