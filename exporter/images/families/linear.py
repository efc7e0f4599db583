"""A linear classifier on responses to patches of the images; nothing but its last layer is trained."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from exporter.members.base import Family
from exporter.optimisation.spec import Count, NotNegative


class Linear(Family, frozen=True, kw_only=True, tag="linear"):
    """Patches of the fit rows, whitened, as filters; rectified responses averaged on a grid; logistic regression.

    One pass over the rows and a convex fit: the cheapest member that knows shapes (Coates, Lee and Ng 2011).
    """

    trainer: ClassVar[str] = "exporter.images.networks.linear:train_linear"

    patches: Count = 320
    patch: Annotated[int, Meta(ge=2)] = 6
    """Side in pixels."""
    stride: Count = 2
    """Pixels between responses."""
    grid: Count = 2
    """Fields per side that responses are averaged in."""
    threshold: NotNegative = 0.5
    """Weaker responses count as none."""
    penalty: NotNegative = 3e-3
    """Times the sum of the squared weights, for standardised features."""
    steps: Count = 80
    """Most steps of L-BFGS."""
