"""Members that take one image. Specs alone: torch is imported when a member trains."""

from exporter.images.families.cnn import Cnn
from exporter.images.families.fronts import SharedFront
from exporter.images.families.groups import BatchEnsemble, DeepEnsemble, MultiHead
from exporter.images.families.linear import Linear
from exporter.images.families.pca import Pca
from exporter.images.families.recurrent import Gru, Lstm
from exporter.images.families.retrieval import Retrieval
from exporter.images.families.tree import Tree
from exporter.images.families.vit import Vit
from exporter.images.families.wavelet import Wavelet
from exporter.members.base import Family

IMAGE_FAMILIES: tuple[type[Family], ...] = (
    Cnn, Gru, Linear, Lstm, Pca, Tree, Wavelet, Retrieval, Vit, MultiHead, BatchEnsemble, DeepEnsemble,
    SharedFront,
)  # fmt: skip

__all__ = [
    "IMAGE_FAMILIES", "BatchEnsemble", "Cnn", "DeepEnsemble", "Gru", "Linear", "Lstm", "MultiHead", "Pca", "Retrieval",
    "SharedFront", "Tree", "Vit", "Wavelet",
]  # fmt: skip
