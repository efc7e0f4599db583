"""JSON bytes to a struct; every way that can fail becomes one sentence that names the field and the value."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from model_repo.wording import printable

_Struct = TypeVar("_Struct")

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_ENTRY = re.compile(r"(member|input)s\[(\d+)\]\.?(.*)")


class ParseError(ValueError):
    """The bytes are not what they should be; the message is a sentence without its subject."""


def parse(data: bytes, kind: type[_Struct]) -> _Struct:
    """`data` as a `kind`. Raises ParseError, with the first problem only: types are read in one pass."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise ParseError(_explain(str(error), data)) from error
    except msgspec.DecodeError as error:
        raise ParseError(f"is not JSON: {error}") from error
    except UnicodeDecodeError as error:
        raise ParseError("is not UTF-8") from error
    except RecursionError as error:
        raise ParseError("is nested too deeply") from error


def _explain(message: str, data: bytes) -> str:
    """msgspec's message with the field first, the member or input by name, and the value given."""
    text, _, path = printable(message).partition(" - at `$")
    path = path.removesuffix("`").removeprefix(".")
    text = text.replace("Object contains ", "").replace("Object missing ", "missing ").replace("`", "'")
    text = text[:1].lower() + text[1:]
    document = _document(data)
    value = _lookup(document, path)
    if text.startswith("expected") and ", got" not in text and value is not None:
        text += f", got {_shortened(value)}"
    where = _named(document, path)
    return f"{where}: {text}" if where else text


def _document(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _lookup(document: Any, path: str) -> Any:
    """The value at msgspec's path, or None where the path has a gap (`[...]`: some key or entry)."""
    if "[...]" in path:
        return None
    for key, index in _STEP.findall("." + path if path else ""):
        try:
            document = document[int(index)] if index else document[key]
        except (KeyError, IndexError, TypeError):
            return None
    return document


def _named(document: Any, path: str) -> str:
    entry = _ENTRY.fullmatch(path)
    if entry is None:
        return path
    name = _lookup(document, f"{entry[1]}s[{entry[2]}].name")
    if not isinstance(name, str):
        return path
    return ": ".join(part for part in (f"{entry[1]} {name[:128]!r}", entry[3]) if part)


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
