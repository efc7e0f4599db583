"""What any library's model is, once it is to be a member: a graph, and the answers that the graph must give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.gate.parity import Answer
from exporter.members.base import Tolerance
from model_repo.format.manifest import Kind


@dataclass(frozen=True)
class TrainedElsewhere:
    """`predict` is the model itself, raw answers float32 [n, C] in its own class order; the graph gives `output`."""

    onnx: bytes
    output: str
    kind: Kind
    predict: Answer
    tolerance: Tolerance
    labels: Sequence[object] | None
    """Its classes as it calls them, in the order of its columns; None where it does not name them."""
    takes: tuple[str, ...]
    """The tensors that it is given."""
