"""ONNX files by their wire format, where parsing would copy every weight with the interpreter's lock held.

Protobuf is read here field by field: what is large and of no interest is stepped over by its length. `split` takes the
weights of the outermost graph out, as external data in the file's own bytes; `bare` drops all weights, for whoever
wants to know the rest. Measured with a file of 300 MB: parsing stops all other threads for 260 ms, writing it again for
1.9 s, onnxruntime's own copy of `bytes` for 290 ms; split and given as buffers, nothing does for longer than 8 ms.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

Buffer: TypeAlias = bytes | memoryview
"""Bytes of a file: `bytes` where they are few, else a view of memory of its own, which is freed without a stop."""

SPLIT_FROM_BYTES = 1 << 20
"""Files below are handled whole: they take a millisecond."""
CUT_FROM_BYTES = 16 << 10
"""Of one tensor or field: smaller ones stay, shapes and other constants that onnxruntime reads early among them."""
OWN = "tutti:weights"
"""Location, among the external files, of the weights that were taken out: the file itself."""
DEEPEST = 100
"""Messages inside each other; protobuf's own limit."""
_RUN_BYTES = 64 << 10

Kind = Literal["model", "graph", "node", "attribute", "tensor", "sparse", "function", "training"]
_INSIDE: Mapping[Kind, Mapping[int, Kind]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "function": {7: "node", 11: "attribute"},
    "training": {1: "graph", 2: "graph"},
    "tensor": {},
}
"""Message → field → message in it, as far as tensors may be below."""
_BULK: Mapping[Kind, frozenset[int]] = {
    "tensor": frozenset({4, 5, 6, 7, 9, 10, 11}),  # every field that may hold its numbers
    "attribute": frozenset({4, 7, 8, 9}),  # s, floats, ints, strings: the tables of trees
}
_RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 9, 13, 14


Edit: TypeAlias = "Callable[[Field], bytes | None]"
"""A field's new content; None leaves it as it is."""


class WireError(ValueError):
    """The bytes are no protobuf."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field, or a run of the same one: it lies at `start` to `stop`, its content from `inside` on."""

    number: int
    wire: int
    start: int
    inside: int
    stop: int


def split(data: Buffer) -> bytes | None:
    """The model without the large weights of its outermost graph, which name their place in `data` under `OWN`.

    None where there are none. Raises WireError.
    """
    found: list[Field] = []

    def tensor(field: Field) -> bytes | None:
        made = _outside(data, field)
        if made is not None:
            found.append(field)
        return made

    def graph(field: Field) -> bytes:
        return _rewritten(data, field, {5: tensor})

    whole = Field(0, 2, 0, 0, len(data))
    made = _rewritten(data, whole, {7: graph})
    return made if found else None  # whole: what was cut lies in it


def bare(data: Buffer) -> bytes:
    """The model without weights and tables, wherever they are: names and external data stay. Raises WireError."""
    return _bare(data, "model", 0, len(data), 0)


def _bare(data: Buffer, kind: Kind, start: int, stop: int, depth: int) -> bytes:
    if depth > DEEPEST:
        raise WireError("nested too deeply")
    inside, bulk = _INSIDE[kind], _BULK.get(kind, frozenset())
    pieces: list[Buffer] = []
    kept = start
    for field in _fields(data, start, stop):
        child = inside.get(field.number) if field.wire == 2 else None
        large = field.stop - field.start > CUT_FROM_BYTES
        if not large or (child is None and field.number not in bulk):
            continue
        pieces.append(data[kept : field.start])
        kept = field.stop
        if child is not None:
            pieces.append(_delimited(field.number, _bare(data, child, field.inside, field.stop, depth + 1)))
    return b"".join([*pieces, data[kept:stop]])


def _rewritten(data: Buffer, message: Field, edits: Mapping[int, Edit]) -> bytes:
    """The message's content with its large fields of these numbers edited, where the edit gives something."""
    pieces: list[Buffer] = []
    kept = message.inside
    for field in _fields(data, message.inside, message.stop):
        edit = edits.get(field.number)
        if edit is None or field.wire != 2 or field.stop - field.start <= CUT_FROM_BYTES:
            continue
        made = edit(field)
        if made is not None:
            pieces += [data[kept : field.start], _delimited(field.number, made)]
            kept = field.stop
    return b"".join([*pieces, data[kept : message.stop]])


def _outside(data: Buffer, message: Field) -> bytes | None:
    """The tensor with its content named as external; None where it is not one large `raw_data` alone."""
    raw: list[Field] = []
    for field in _fields(data, message.inside, message.stop):
        if field.number in (_EXTERNAL_DATA, _DATA_LOCATION):
            return None
        if field.number == _RAW_DATA and field.wire == 2:
            raw.append(field)
    if len(raw) != 1 or raw[0].stop - raw[0].inside <= CUT_FROM_BYTES:
        return None
    (one,) = raw
    told = {"location": OWN, "offset": str(one.inside), "length": str(one.stop - one.inside)}
    entries = [
        _delimited(_EXTERNAL_DATA, _delimited(1, key.encode()) + _delimited(2, text.encode()))
        for key, text in told.items()
    ]
    location = bytes([_DATA_LOCATION << 3, 1])
    return b"".join([data[message.inside : one.start], data[one.stop : message.stop], *entries, location])


def _fields(data: Buffer, at: int, end: int) -> Iterator[Field]:
    """The fields of a message, runs of numbers as one. Raises WireError."""
    while at < end:
        start = at
        key, at = _varint(data, start, end)
        number, wire = key >> 3, key & 7
        inside = at
        if wire == 2:
            size, inside = _varint(data, at, end)
            stop = inside + size
        elif wire == 0:
            stop = _varint(data, at, end)[1]
        elif wire in (1, 5):
            stop = at + (8 if wire == 1 else 4)
        else:
            raise WireError(f"a field of wire type {wire}")
        if stop > end or number == 0:
            raise WireError("a field beyond its message")
        if wire != 2 and stop < end and data[stop] == data[start]:
            stop = _run(data, start, stop, end, wire)
        yield Field(number, wire, start, inside, stop)
        at = stop


def _run(data: Buffer, start: int, stop: int, end: int, wire: int) -> int:
    """Where the run of fields like the one at `start` ends; looked at in steps, between which other threads run."""
    pattern = _repeated(bytes(data[start : _varint(data, start, end)[1]]), wire)
    while found := pattern.match(data, stop, min(end, stop + _RUN_BYTES)):
        stop = found.end()
    return stop


@lru_cache(64)
def _repeated(key: bytes, wire: int) -> re.Pattern[bytes]:
    one = {0: rb"[\x80-\xff]{0,9}[\x00-\x7f]", 1: rb"[\x00-\xff]{8}", 5: rb"[\x00-\xff]{4}"}[wire]
    return re.compile(rb"(?:" + re.escape(key) + one + rb")++")


def _varint(data: Buffer, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise WireError("a number without end")


def _delimited(number: int, content: bytes) -> bytes:
    return _number(number << 3 | 2) + _number(len(content)) + content


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
