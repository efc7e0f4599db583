"""What members began with where it was not a fresh initialisation, for the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

_SHOWN = 12


class Beginning(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A member's."""

    member: str
    source: str
    """As the recipe names it, with the version that it led to."""
    sha256: str
    """Of the weights."""
    taken: tuple[str, ...]
    """Tensors that were taken over."""
    own: tuple[str, ...] = ()
    """Tensors that it initialised itself: nothing of their name and shape was there."""
    unused: tuple[str, ...] = ()
    """Tensors that were there and fit nowhere."""
    folds_anew: bool = False
    """Its folds began afresh, for the parameters had seen their rows."""

    def sentences(self) -> Iterator[str]:
        """In words."""
        several = len(self.taken) + len(self.own)
        yield (
            f"{self.member} began with {self.source} (sha256 {self.sha256[:12]}): {len(self.taken)} of its {several} "
            f"tensors{_names(', its own', self.own)}{_names(', not used', self.unused)}"
        )
        if self.folds_anew:
            yield f"the folds of {self.member} began afresh, for {self.source} was trained on their rows"


def _names(heading: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{heading}: {', '.join(names[:_SHOWN])}{more}"
