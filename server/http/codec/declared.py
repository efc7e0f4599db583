"""What a version declares of its inputs and outputs, prepared for decoding and encoding."""

from __future__ import annotations

from dataclasses import dataclass

from model_repo import ImageInput, TextInput
from server.http.codec.reply import Headers
from server.http.codec.tensors import Datatype


@dataclass(frozen=True, slots=True)
class InputTensor:
    """One declared input: `shape` with -1 for the rows and for any length."""

    name: str
    kind: Datatype
    shape: tuple[int, ...]
    image: ImageInput | None
    text: TextInput | None
    row: list[int] | None
    """A row's dimensions, where none of them may vary."""
    row_elements: int
    missing: bool = False
    """Floats may be missing: null, NaN and infinities in JSON are taken."""


@dataclass(frozen=True, slots=True)
class OutputTensor:
    """One output offered, with the parts of its JSON: `prefix` up to the numbers of its shape, `middle` from the rows
    to its data, `sized` from the rows to its size in bytes."""

    name: str
    kind: Datatype
    shape: tuple[int, ...]
    prefix: bytes
    middle: bytes
    sized: bytes
    one: bytes
    """Prefix and middle with one row between."""
    varies: bool
    """Whether a length of a row hangs on the request, so that `middle` and `sized` say nothing."""


@dataclass(frozen=True, slots=True)
class WantedOutput:
    """One output as the client wants it: binary or JSON; `classes` > 0 asks for the best so many as strings."""

    tensor: OutputTensor
    binary: bool
    classes: int = 0


@dataclass(frozen=True, slots=True)
class Form:
    """An answer of one row, without an id and with every member: `template` has a place for each output's numbers as
    JSON, and for the size of its strings in bytes; `headers` are right where all is JSON or all are binary numbers."""

    wanted: tuple[WantedOutput, ...]
    """Held, so that its identity stays its own."""
    template: bytes
    headers: Headers
