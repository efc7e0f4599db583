"""KMeans: strange is what lies far from every centre."""

from __future__ import annotations

from exporter.data.dataset import Rows
from exporter.detectors.spec import DetectorFamily, train_detector
from exporter.errors import TrainingError
from exporter.families.base import Count, Setting, Trained


class KMeans(DetectorFamily, frozen=True, kw_only=True, tag="kmeans"):
    """Centres of the features' strongest components; the score is the distance from the nearest."""

    clusters: Count = 20
    components: Count = 32
    """Fewer where the rows have fewer features."""

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A detector. Raises TrainingError where there are more clusters than rows."""
        import torch
        from sklearn.cluster import KMeans as Clustering

        from exporter.detectors.networks import Components, NearestCentre
        from exporter.networks.torch_member import TorchMember

        if self.clusters > len(rows):
            raise TrainingError(f"clusters is {self.clusters}, there are {len(rows)} rows to fit")

        def trained(placed: Rows, own: Setting) -> Trained:
            components = Components(placed, own, self.components)
            fitted = Clustering(self.clusters, n_init=4, random_state=own.seed).fit(components.of(placed))
            centres = torch.from_numpy(fitted.cluster_centers_).to(torch.float32)
            return TorchMember(NearestCentre(components, centres), own, "value", [entry.name for entry in own.inputs])

        return train_detector(trained, rows, setting)
