"""A linear classifier or a perceptron on principal components; the projection is part of the graph."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from exporter.data.dataset import Rows
from exporter.families.base import Augmentation, Count, Family, Setting, Share, Trained, Training


class Pca(Family, frozen=True, kw_only=True, tag="pca"):
    """Whitened principal components of the fit rows, then two hidden layers or none."""

    components: Count = 40
    hidden: Annotated[int, Meta(ge=0)] = 128
    """Of the first layer, the second has half; 0: a linear classifier."""
    dropout: Share = 0.2
    training: Training = Training(
        epochs=40,
        learning_rate=6e-3,
        augmentation=Augmentation(degrees=8.0, scale=0.08, shift_px=0.5, shear=0.1),
    )

    def train(self, rows: Rows, setting: Setting) -> Trained:
        """A member with logits. Raises TrainingError when there are fewer pixels or rows than components."""
        from exporter.networks.image.components import ComponentNetwork, principal_components
        from exporter.networks.image.pixels import frame_of
        from exporter.networks.torch_member import train_classifier

        frame = frame_of(setting)
        basis = principal_components(frame, rows, self.components)
        build = lambda: ComponentNetwork(frame, basis, setting.columns, self.hidden, self.dropout)  # noqa: E731
        return train_classifier(build, rows, setting, self.training)
