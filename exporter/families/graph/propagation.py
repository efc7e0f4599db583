"""Label propagation."""

from __future__ import annotations

from exporter.data.dataset import Rows
from exporter.families.base import Count, Family, Rate, Setting, Share, Trained


class Propagation(Family, frozen=True, kw_only=True, tag="propagation"):
    """The training rows' labels, spread over the edges."""

    steps: Count = 50
    share: Share = 0.9
    """What a node takes over from its neighbours in each step."""
    doubt: Rate = 1e-4
    """Mass of the classes' shares that every node has beside what reaches it."""

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with probabilities."""
        from exporter.families.torch_member import TorchMember
        from exporter.networks.graph.positions import fit_propagation
        from exporter.networks.graph.structure import TAKES

        return TorchMember(fit_propagation(self, rows, setting), setting, "probabilities", TAKES)
