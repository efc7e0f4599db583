"""KMeans: how far components are from the nearest centre."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exporter.data.dataset import Rows
from exporter.detectors.kmeans import KMeans
from exporter.detectors.networks.components import Components
from exporter.detectors.networks.training import train_detector
from exporter.errors import TrainingError
from exporter.members.base import Setting, Trained
from exporter.members.torch_member import TorchMember


class NearestCentre(nn.Module):
    """Tensors → distance [n, 1] of the components from the nearest of the centres [k, width]."""

    centres: Tensor

    def __init__(self, components: Components, centres: Tensor) -> None:
        super().__init__()
        self.components = components
        self.register_buffer("centres", centres)

    def forward(self, *tensors: Tensor) -> Tensor:
        apart = self.components(*tensors)[:, None, :] - self.centres[None]
        nearest: Tensor = torch.sqrt((apart * apart).sum(dim=2).amin(dim=1, keepdim=True))
        return nearest


def train_kmeans(spec: KMeans, rows: Rows, setting: Setting) -> Trained:
    """A detector. Raises TrainingError where there are more clusters than rows."""
    from sklearn.cluster import KMeans as Clustering

    if spec.clusters > len(rows):
        raise TrainingError(f"clusters is {spec.clusters}, there are {len(rows)} rows to fit")

    def trained(placed: Rows, own: Setting) -> Trained:
        components = Components(placed, own, spec.components)
        fitted = Clustering(spec.clusters, n_init=4, random_state=own.seed).fit(components.of(placed))
        centres = torch.from_numpy(fitted.cluster_centers_).to(torch.float32)
        return TorchMember(NearestCentre(components, centres), own, "value", [entry.name for entry in own.inputs])

    return train_detector(trained, rows, setting)
