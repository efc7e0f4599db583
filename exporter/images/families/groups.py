"""Groups of members on images: one trunk with several heads, one network with cheap factors, equal networks stacked."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from exporter.members.base import Augmentation, Family, Training
from exporter.optimisation.spec import Count, Share

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

    trainer: ClassVar[str] = "exporter.images.networks.groups.heads:train_multi_head"

    hidden: Count = 32
    """Of each head."""


class BatchEnsemble(_ImageGroup, frozen=True, kw_only=True, tag="batch_ensemble"):
    """One network whose weights each member multiplies by a matrix of rank 1 (Wen et al. 2020), trained together."""

    trainer: ClassVar[str] = "exporter.images.networks.groups.batch_ensemble:train_batch_ensemble"


class DeepEnsemble(_ImageGroup, frozen=True, kw_only=True, tag="deep_ensemble"):
    """Equal networks trained one by one from other beginnings (Lakshminarayanan et al. 2017), stacked by `torch.func`.

    The most different members of a group; one batched graph in place of several.
    """

    trainer: ClassVar[str] = "exporter.images.networks.groups.stacked:train_deep_ensemble"
