"""Which keys a table of a recipe has, and which of them a mistyped one may have meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

from msgspec import inspect

_ENUM = re.compile(r"Invalid enum value '(?P<key>.*)'(?: - at `\$(?P<path>.*)`)?\Z")
_UNKNOWN = re.compile(r"unknown field `(?P<key>[^`]*)`(?: - at `\$(?P<path>.*)`)?\Z")
_STEP = re.compile(r"\.([^.\[]+)|\[[^\]]*\]")


def hint(kind: type[Any], message: str, more: Sequence[str] = ()) -> str:
    """What to add to msgspec's message of an unknown field or word in a `kind`: what was meant, and all there are.

    `more` are keys of the outermost table that `kind` does not have. Empty for other messages.
    """
    if found := _UNKNOWN.search(message):
        path = found["path"] or ""
        keys = [*_keys(_at(kind, path)), *(more if not path else ())]
        return f"; {did_you_mean(found['key'], keys)}its keys are {', '.join(keys)}" if keys else ""
    if found := _ENUM.search(message):
        words = _words(_at(kind, found["path"] or ""))
        return f"; {did_you_mean(found['key'], words)}expected one of {', '.join(words)}" if words else ""
    return ""


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """`did you mean 'epochs'? ` where one of the known words is near, else nothing."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}? " if near else ""


def _at(kind: type[Any], path: str) -> list[inspect.Type]:
    """What may stand at `path` (`.training`, `.windows[0]`) below `kind`."""
    kinds = _open([inspect.type_info(kind)])
    for step in _STEP.finditer(path):
        kinds = _open([below for each in kinds for below in _below(each, step[1])])
    return kinds


def _keys(kinds: Sequence[inspect.Type]) -> list[str]:
    names = [field.encode_name for each in kinds if isinstance(each, inspect.StructType) for field in each.fields]
    return list(dict.fromkeys(names))


def _words(kinds: Sequence[inspect.Type]) -> list[str]:
    return [str(value) for each in kinds if isinstance(each, inspect.LiteralType) for value in each.values]


def _open(kinds: Sequence[inspect.Type]) -> list[inspect.Type]:
    """The same with unions taken apart."""
    return [one for each in kinds for one in (each.types if isinstance(each, inspect.UnionType) else (each,))]


def _below(kind: inspect.Type, key: str | None) -> list[inspect.Type]:
    if isinstance(kind, inspect.StructType):
        return [field.type for field in kind.fields if field.encode_name == key]
    if isinstance(kind, inspect.DictType):
        return [kind.value_type]
    if isinstance(kind, inspect.ListType | inspect.VarTupleType):
        return [kind.item_type]
    return []
