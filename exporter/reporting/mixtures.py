"""How a member whose parameters are a mean was mixed, for the report."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec


class Mixture(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of one aggregate."""

    name: str
    rule: str
    weights: dict[str, float]
    """Of each member that was asked for; 0: it takes no part."""
    losses: dict[str, float]
    """Of each on the validation rows, after its own temperature."""
    loss: float
    """The aggregate's."""
    tried: int = 1
    """Mixtures that were measured on the validation rows."""

    @property
    def taken(self) -> tuple[str, ...]:
        """Those that take part."""
        return tuple(name for name, weight in self.weights.items() if weight)

    def sentences(self) -> Iterator[str]:
        """In words."""
        shares = ", ".join(f"{name} {weight:.3f}" for name, weight in self.weights.items() if weight)
        left = [name for name, weight in self.weights.items() if not weight]
        without = f", without {', '.join(left)}" if left else ""
        yield (
            f"{self.name} is the mean ({self.rule}) of the parameters of {shares}{without}; on validation rows its "
            f"loss is {self.loss:.4f}, theirs from {min(self.losses.values()):.4f} to {max(self.losses.values()):.4f}"
        )
