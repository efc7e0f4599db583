"""A linear model on smoothed features."""

from __future__ import annotations

from exporter.data.dataset import Rows
from exporter.families.base import Count, Family, Rate, Setting, Trained


class Linear(Family, frozen=True, kw_only=True, tag="linear"):
    """Logistic regression on features smoothed over the neighbours."""

    steps: Count = 3
    """Neighbours of neighbours that are smoothed over."""
    inverse_penalty: Rate = 1000.0

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with logits."""
        from exporter.families.torch_member import TorchMember
        from exporter.networks.graph.smoothing import fit_linear
        from exporter.networks.graph.structure import TAKES

        return TorchMember(fit_linear(self, rows, setting), setting, "logits", TAKES)
