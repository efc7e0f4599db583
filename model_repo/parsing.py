"""JSON bytes to a struct; every way that can fail becomes one sentence that names the field and the value."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from model_repo.expectation import explained, lookup

_Struct = TypeVar("_Struct")

_ENTRY = re.compile(r"(member|input)s\[(\d+)\]\.?(.*)")


class ParseError(ValueError):
    """The bytes are not what they should be; the message is a sentence without its subject."""


def parse(data: bytes, kind: type[_Struct]) -> _Struct:
    """`data` as a `kind`. Raises ParseError, with the first problem only: types are read in one pass."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise ParseError(_explain(str(error), data, kind)) from error
    except msgspec.DecodeError as error:
        raise ParseError(f"is not JSON: {error}") from error
    except UnicodeDecodeError as error:
        raise ParseError("is not UTF-8") from error
    except RecursionError as error:
        raise ParseError("is nested too deeply") from error


def _explain(message: str, data: bytes, kind: Any) -> str:
    """msgspec's message with the field first, the member or input by name, and the value given."""
    document = _document(data)
    path, text = explained(message, kind, document)
    where = _named(document, path)
    return f"{where}: {text}" if where else text


def _document(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.UNSET


def _named(document: Any, path: str) -> str:
    entry = _ENTRY.fullmatch(path)
    if entry is None:
        return path
    name = lookup(document, f"{entry[1]}s[{entry[2]}].name")
    if not isinstance(name, str):
        return path
    return ": ".join(part for part in (f"{entry[1]} {name[:128]!r}", entry[3]) if part)
