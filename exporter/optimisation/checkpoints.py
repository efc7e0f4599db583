"""What is kept of a training while it runs, so that one that was ended goes on from its last epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

Snapshot = dict[str, Any]
"""A loop's state after an epoch: tensors, numbers and plain containers of them, as `torch.load` takes with
`weights_only`."""


class Checkpoints(Protocol):
    """Snapshots of one network's training by one worker."""

    def found(self) -> Mapping[int, Snapshot]:
        """The newest ones that were kept, by the number of epochs done; none is damaged."""
        ...

    def due(self) -> bool:
        """Whether it is time for another: what keeping costs is bounded."""
        ...

    def keep(self, epoch: int, snapshot: Snapshot) -> None:
        """Never raises: a training does not end for want of room to keep it."""
        ...
