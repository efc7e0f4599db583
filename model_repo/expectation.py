"""What a type takes, in people's words: msgspec's "Expected `int`, got `str`" with the limits and the value given."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import inspect

from model_repo.wording import did_you_mean, nearest, printable

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_PATTERNS = {
    r"^[0-9a-f]{64}\Z": "64 hexadecimal digits in lower case",
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z": "a name of letters, digits, '.', '_' and '-'",
}
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")


def explained(message: str, kind: Any, document: Any, more: Sequence[str] = ()) -> tuple[str, str]:
    """The path of msgspec's `message` without its `$`, and what is wrong there in one sentence.

    `kind` is the type that `document`, plain values, was to become; `more` are keys of its outermost table that the
    type does not have. What has no words here stays msgspec's.
    """
    text, _, path = printable(message).partition(" - at `")
    of_a_key = path.startswith("key`")
    path = path.removeprefix("key` in `").removesuffix("`").removeprefix("$").removeprefix(".")
    found = list(_at([inspect.type_info(kind)], _steps(path)))
    if unknown := _UNKNOWN.fullmatch(text):
        keys = [*_keys(found, lookup(document, path)), *(more if not path else ())]
        return path, f"unknown field '{unknown[1]}'" + (_meant(unknown[1], keys) if keys else "")
    if text.startswith(("Expected", "Invalid enum value", "Invalid value")) and found and not of_a_key:
        known = list(dict.fromkeys(word for info in found for word in _choices(info)))
        value = lookup(document, path)
        told = f"expected {described(found)}" + ("" if value is msgspec.UNSET else f", got {shown(value)}")
        return path, told + (did_you_mean(value, known) if isinstance(value, str) and known else "")
    text = text.removeprefix("Object ").removeprefix("contains ").replace("`", "'")
    return path, ("a key: " if of_a_key else "") + text[:1].lower() + text[1:]


def described(infos: Sequence[inspect.Type]) -> str:
    """The words for any of several types."""
    flat = list(_alternatives(infos))
    names = list(dict.fromkeys(word for info in flat for word in _choices(info)))
    parts = [_words(info) for info in flat if not isinstance(info, inspect.LiteralType)]
    choice = [] if not names else [names[0] if len(names) == 1 else f"one of {', '.join(names)}"]
    return " or ".join(dict.fromkeys([*choice, *parts]))


def lookup(document: Any, path: str) -> Any:
    """The value at msgspec's path; UNSET where there is none, or where the path has a gap (`[...]`: some key)."""
    for key, index in _steps(path):
        try:
            document = document[int(index)] if index else document[key]
        except (KeyError, IndexError, TypeError, ValueError):
            return msgspec.UNSET
    return document


def shown(value: Any) -> str:
    """A value as JSON writes it, cut at 80 characters."""
    try:
        text = msgspec.json.encode(value, enc_hook=str).decode()
    except (TypeError, ValueError, RecursionError):
        text = repr(value)
    text = printable(text)
    return text if len(text) <= 80 else text[:77] + "..."


def _steps(path: str) -> list[tuple[str, str]]:
    return _STEP.findall("." + path if path and not path.startswith("[") else path)


def _alternatives(infos: Sequence[inspect.Type]) -> Iterator[inspect.Type]:
    """The types without what only describes them, and unions taken apart."""
    for info in infos:
        if isinstance(info, inspect.Metadata):
            yield from _alternatives([info.type])
        elif isinstance(info, inspect.UnionType):
            yield from _alternatives(info.types)
        else:
            yield info


def _at(infos: Sequence[inspect.Type], steps: Sequence[tuple[str, str]]) -> Iterator[inspect.Type]:
    """Every type that may stand at the end of the steps."""
    if not steps:
        yield from _alternatives(infos)
        return
    key = steps[0][0]
    below: list[inspect.Type] = []
    for info in _alternatives(infos):
        if isinstance(info, inspect.StructType) and key:
            below += [field.type for field in info.fields if field.encode_name == key]
            if key == info.tag_field:
                below.append(inspect.LiteralType((info.tag,)))
        elif isinstance(info, inspect.DictType):
            below.append(info.value_type)
        elif isinstance(info, inspect.VarTupleType | inspect.ListType) and not key:
            below.append(info.item_type)
    yield from _at(below, steps[1:])


def _keys(found: Sequence[inspect.Type], table: Any) -> list[str]:
    """The keys that the table at hand may have: of kinds told apart by a tag, those of its own."""
    structs = [info for info in found if isinstance(info, inspect.StructType)]
    if isinstance(table, dict):
        tagged = [info for info in structs if info.tag_field and table.get(info.tag_field) == info.tag]
        structs = tagged or structs
    return list(dict.fromkeys(field.encode_name for info in structs for field in info.fields))


def _meant(given: str, keys: Sequence[str]) -> str:
    near = nearest(given, keys)[:1]
    return "; " + (f"did you mean '{near[0]}'? " if near else "") + f"its keys are {', '.join(keys)}"


def _choices(info: inspect.Type) -> list[str]:
    return [str(value) for value in info.values] if isinstance(info, inspect.LiteralType) else []


def _words(info: inspect.Type) -> str:
    if isinstance(info, inspect.IntType):
        return "a whole number" + _range(info)
    if isinstance(info, inspect.FloatType):
        return "a number" + _range(info)
    if isinstance(info, inspect.StrType):
        matching = f" that matches {info.pattern}" if info.pattern else ""
        return _PATTERNS.get(info.pattern or "") or f"text{_length(info, 'character')}{matching}"
    if isinstance(info, inspect.VarTupleType | inspect.ListType):
        return "a list" + _length(info, "entry", "entries")
    if isinstance(info, inspect.StructType | inspect.DictType):
        return "a table"
    return {inspect.BoolType: "true or false", inspect.NoneType: "null"}.get(type(info), "something else")


def _range(info: inspect.IntType | inspect.FloatType) -> str:
    if info.ge is not None and info.le is not None:
        return f" from {_number(info.ge)} to {_number(info.le)}"
    limits = [("of at least", info.ge), ("above", info.gt), ("of at most", info.le), ("below", info.lt)]
    told = " and ".join(f"{words} {_number(limit)}" for words, limit in limits if limit is not None)
    return f" {told}" if told else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"


def _length(info: inspect.StrType | inspect.VarTupleType | inspect.ListType, one: str, many: str = "") -> str:
    limits = [("at least", info.min_length), ("at most", info.max_length)]
    told = [f"{words} {limit} {one if limit == 1 else many or one + 's'}" for words, limit in limits if limit]
    return f" of {' and '.join(told)}" if told else ""
