"""Members that take one image. Specs alone: torch is imported when a member trains."""

from exporter.families.base import Family
from exporter.families.image.cnn import Cnn
from exporter.families.image.linear import Linear
from exporter.families.image.pca import Pca
from exporter.families.image.recurrent import Gru, Lstm
from exporter.families.image.retrieval import Retrieval
from exporter.families.image.tree import Tree
from exporter.families.image.vit import Vit
from exporter.families.image.wavelet import Wavelet

IMAGE_FAMILIES: tuple[type[Family], ...] = (Cnn, Gru, Linear, Lstm, Pca, Tree, Wavelet, Retrieval, Vit)

__all__ = ["IMAGE_FAMILIES", "Cnn", "Gru", "Linear", "Lstm", "Pca", "Retrieval", "Tree", "Vit", "Wavelet"]
