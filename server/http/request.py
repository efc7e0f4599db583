"""What every wire format is decoded to, and what it asks of the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from server.errors import InvalidTensor
from server.http.signature import Signature, WantedOutput
from server.http.tensors import Array

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


def in_order(given: dict[str, Array], signature: Signature) -> dict[str, Array]:
    """The feeds in the manifest's order; InvalidTensor names what is missing or differs in rows."""
    rows: int | None = None
    first = ""
    feeds: dict[str, Array] = {}
    for name in signature.inputs:
        array = given.get(name)
        if array is None:
            raise InvalidTensor(
                f"inputs: input '{name}' is missing; ensemble '{signature.ensemble}' takes "
                + ", ".join(signature.inputs)
            )
        if rows is not None and array.shape[0] != rows:
            raise InvalidTensor(f"inputs: '{name}' has {array.shape[0]} rows, '{first}' has {rows}")
        rows, first, feeds[name] = array.shape[0], first or name, array
    return feeds
