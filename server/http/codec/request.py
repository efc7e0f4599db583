"""What every wire format is decoded to, and what it asks of the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from server.http.codec.declared import WantedOutput
from server.http.codec.numbers import Packed
from server.http.codec.tensors import Array, Datatype

Layout = Literal["rows", "columns"]


@dataclass(slots=True)  # not frozen: that takes four times as long to make, and there is one for each request
class InferRequest:
    """A decoded request: feeds `[rows, …]` in the manifest's order, checked against the ensemble's inputs."""

    feeds: dict[str, Array]
    rows: int
    outputs: tuple[str, ...]
    """Names asked of the servable."""
    wanted: tuple[WantedOutput, ...] = ()
    """V2: the outputs in the order of the answer."""
    id: str = ""
    timeout_s: float | None = None
    layout: Layout = "rows"
    """V1: answer in the layout of the question."""


@dataclass(frozen=True, slots=True)
class Template:
    """What is known of a request by the bytes around its numbers."""

    name: str
    kind: Datatype
    shape: tuple[int, ...]
    elements: int
    packed: Packed | None
    """Of few numbers, what decodes them and what packs them."""
    request: InferRequest
    """Without its feeds."""
