"""Families that make several members at once, all of one ONNX file: a server runs it once for all of them."""

from exporter.families.base import Family
from exporter.families.groups.image import BatchEnsemble, DeepEnsemble, MultiHead

IMAGE_GROUPS: tuple[type[Family], ...] = (MultiHead, BatchEnsemble, DeepEnsemble)

__all__ = ["IMAGE_GROUPS", "BatchEnsemble", "DeepEnsemble", "MultiHead"]
