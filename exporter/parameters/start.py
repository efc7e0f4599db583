"""What a member's networks begin with, or are made of: weights by their digest, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from exporter.errors import DataError
from exporter.optimisation.state import State
from exporter.parameters.file import Index, Parameters, packed, read, unpacked


@dataclass(frozen=True)
class Start:
    """Weights for a job. Equal where the weights, and what is done with them, are."""

    source: str
    """In words: `digits/3:cnn`, `base`."""
    digest: str
    """sha256 of the weights."""
    root: str
    parents: tuple[str, ...]
    trains: bool = True
    """False: they are the result; only the statistics of batch normalisation are computed anew."""
    data: bytes = field(default=b"", compare=False, repr=False)
    """The safetensors file."""

    def networks(self) -> Sequence[State]:
        """Each network's tensors."""
        return read(self.data, self.source).networks

    def seen(self) -> Mapping[str, str]:
        """Digest of data → packed rows that these weights were trained on."""
        facts = read(self.data, self.source).facts
        return {} if facts is None else facts.seen


def start_of(source: str, data: bytes) -> Start:
    """What begins with the file's weights. Raises ParametersError."""
    return begun_with(source, data, read(data, source))


def begun_with(source: str, data: bytes, parameters: Parameters) -> Start:
    """The same of a file that was read already."""
    return Start(source, parameters.digest, parameters.root, (f"{source} {parameters.digest}",), data=data)


def seen_after(start: Start | None, dataset: str, rows: Index) -> dict[str, str]:
    """Digest of data → packed rows, once these rows were trained on too."""
    found = {} if start is None else dict(start.seen())
    before = unpacked(found[dataset]) if dataset in found else rows[:0]
    found[dataset] = packed(np.union1d(before, rows))
    return found


def overlap(start: Start, dataset: str, rows: Index) -> int:
    """How many of the rows the weights were trained on already."""
    known = start.seen().get(dataset)
    return 0 if known is None else len(np.intersect1d(unpacked(known), rows))


def require_unseen(member: str, start: Start, dataset: str, rows: Index) -> None:
    """Raise DataError where validation or test rows were trained on."""
    if count := overlap(start, dataset, rows):
        raise DataError(
            f"member {member!r}: init_from {start.source} was trained on {count} of the {len(rows)} validation and "
            "test rows of this export, expected none: give both recipes the same seed and split, or other data"
        )
