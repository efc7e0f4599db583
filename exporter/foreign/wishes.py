"""What the user says about an ensemble of ONNX files, beyond the files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from exporter.foreign.sent import Sent
from exporter.foreign.tolerance import Tolerance
from model_repo import Batching, Concatenate, Fusion, Geometric, Mean, Median, ReciprocalRank, Vote, Weighted
from model_repo.format.manifest import Kind, Task

RULES: Mapping[str, Fusion] = {
    "mean": Mean(),
    "weighted": Weighted(),
    "vote": Vote(),
    "geometric": Geometric(),
    "median": Median(),
    "reciprocal_rank": ReciprocalRank(),
    "concatenate": Concatenate(),
}
"""The rules by the names that the command line and the manifest have for them."""


@dataclass(frozen=True)
class Wishes:
    """What the user said beyond the files; None and {} leave it to what the files say."""

    fusion: Fusion
    task: Task | None = None
    classes: tuple[str, ...] | None = None
    weights: tuple[float, ...] | None = None
    thresholds: tuple[float, ...] = ()
    """Multilabel: one for every label, or one for all."""
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    tokenizers: Mapping[str, Path] = field(default_factory=dict)
    """Member → the tokenizer.json that makes its token ids of texts."""
    max_tokens: int | None = None
    quorum: int | None = None
    description: str = ""
    batching: Batching = Batching()  # noqa: RUF009 - frozen
    tolerance: Tolerance = Tolerance()  # noqa: RUF009 - frozen
    names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Member → input of its graph → input of the ensemble."""
    constants: Mapping[str, Mapping[str, NDArray[Any]]] = field(default_factory=dict)
    """Member → input of its graph → the value that it has for all rows."""
    sent: Mapping[str, Mapping[str, Sent]] = field(default_factory=dict)
    """Member → input of its graph, "" for the only one → what clients send for it."""
    missing: Literal["nan", "refuse"] | None = None
