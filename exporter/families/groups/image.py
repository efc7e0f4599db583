"""Groups of members on images: one trunk with several heads, one network with cheap factors, equal networks stacked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from exporter.data.dataset import Rows
from exporter.families.base import Augmentation, Count, Family, Group, Setting, Share, Training

if TYPE_CHECKING:
    from torch import nn

Several = Annotated[int, Meta(ge=2, le=32)]


class _ImageGroup(Family, frozen=True, kw_only=True, tag="image_group"):
    """`members` of them, each a convolutional network to itself as far as answers go."""

    members: Several = 3
    width: Count = 16
    """Channels of the first convolutions; the last have twice as many."""
    dropout: Share = 0.3
    """Before the last layer."""
    training: Training = Training(epochs=20, augmentation=Augmentation())

    @property
    def heads(self) -> int:
        """As many as `members`."""
        return self.members


class MultiHead(_ImageGroup, frozen=True, kw_only=True, tag="multi_head"):
    """One convolutional trunk and several heads of a hidden layer each, trained together.

    The cheapest group, and the most alike: heads differ by their beginning and by dropout of the shared features.
    """

    hidden: Count = 32
    """Of each head."""

    def train(self, rows: Rows, setting: Setting) -> Group:
        """The heads, with logits."""
        from exporter.families.groups.member import train_group
        from exporter.networks.groups.heads import TrunkWithHeads
        from exporter.networks.image.pixels import frame_of

        frame = frame_of(setting)
        return train_group(
            lambda: TrunkWithHeads(frame, setting.columns, self.members, self.width, self.hidden, self.dropout),
            rows, setting, self.training, self.members,
        )  # fmt: skip


class BatchEnsemble(_ImageGroup, frozen=True, kw_only=True, tag="batch_ensemble"):
    """One network whose weights each member multiplies by a matrix of rank 1 (Wen et al. 2020), trained together."""

    def train(self, rows: Rows, setting: Setting) -> Group:
        """The members, with logits."""
        from exporter.families.groups.member import train_group
        from exporter.networks.groups.batch_ensemble import BatchEnsembleNetwork
        from exporter.networks.image.pixels import frame_of

        frame = frame_of(setting)
        return train_group(
            lambda: BatchEnsembleNetwork(frame, setting.columns, self.members, self.width, self.dropout),
            rows, setting, self.training, self.members,
        )  # fmt: skip


class DeepEnsemble(_ImageGroup, frozen=True, kw_only=True, tag="deep_ensemble"):
    """Equal networks trained one by one from other beginnings (Lakshminarayanan et al. 2017), stacked by `torch.func`.

    The most different members of a group; one batched graph in place of several.
    """

    def train(self, rows: Rows, setting: Setting) -> Group:
        """The members, with logits."""
        from exporter.families.groups.member import GroupMember
        from exporter.networks.groups.stacked import stacked

        return GroupMember(stacked(self.networks(rows, setting)), setting, self.members, mapped=True)

    def networks(self, rows: Rows, setting: Setting) -> list[nn.Module]:
        """The networks apart, each trained under a seed of its own."""
        from dataclasses import replace

        from exporter.jobs import member_seed
        from exporter.networks.image.cnn import ConvolutionalNetwork
        from exporter.networks.image.pixels import frame_of
        from exporter.networks.torch_member import cross_entropy, train_module

        frame = frame_of(setting)
        return [
            train_module(
                lambda: ConvolutionalNetwork(frame, setting.columns, self.width, self.dropout),
                rows,
                replace(setting, seed=member_seed(setting.seed, "network", place)),
                self.training,
                cross_entropy,
            )
            for place in range(self.members)
        ]
