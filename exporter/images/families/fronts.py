"""Members of one front: features fitted once, and several classifiers of unlike structure on them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from exporter.members.base import Augmentation, Family, Training
from exporter.optimisation.spec import Count, NotNegative, Share

HeadStructure = Literal["linear", "perceptron", "deep", "cosine"]


class SharedFront(Family, frozen=True, kw_only=True, tag="shared_front"):
    """One feature front, its parameters shared, and a member for each entry of `structures`; trained together.

    The front is computed once for all of them, in training and in the one graph that they become.
    """

    trainer: ClassVar[str] = "exporter.images.networks.groups.shared_front:train_shared_front"

    front: Literal["pca", "wavelet", "filters"] = "pca"
    """Whitened principal components; all coefficients of a Haar transform, signed and as magnitudes; rectified
    responses to whitened patches of the fit rows, averaged on a grid."""
    frozen: bool = True
    """The front stays as it was fitted. False: the heads' gradients train its directions, wavelets or filters on."""
    structures: Annotated[tuple[HeadStructure, ...], Meta(min_length=2, max_length=32)] = (
        "linear",
        "perceptron",
        "cosine",
    )
    """`linear`; `perceptron`: one hidden layer; `deep`: two; `cosine`: angles to one learned vector a class."""
    mutual: NotNegative = 0.0
    """Weight of mutual learning (Zhang et al. 2018): each head matches the others' averaged answer."""
    components: Count = 40
    """Of `pca`."""
    levels: Count = 2
    """Of `wavelet`: the sides must be multiples of 2 ** levels."""
    filters: Count = 64
    """Of `filters`, as the following two."""
    patch: Annotated[int, Meta(ge=2)] = 4
    """Side in pixels."""
    grid: Count = 2
    """Fields per side that responses are averaged in."""
    hidden: Count = 64
    """Of `perceptron` and `deep`."""
    dropout: Share = 0.2
    training: Training = Training(
        epochs=25,
        learning_rate=6e-3,
        augmentation=Augmentation(degrees=8.0, scale=0.08, shift_px=0.5, shear=0.1),
    )

    @property
    def heads(self) -> int:
        """One for each structure."""
        return len(self.structures)
