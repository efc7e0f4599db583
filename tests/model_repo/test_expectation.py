"""What a value should have been, in people's words: with the limits, the value given and the nearest name."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, Struct

from model_repo.expectation import explained


class Round(Struct, forbid_unknown_fields=True, tag_field="shape", tag="round"):
    radius: Annotated[float, Meta(gt=0)] = 1.0


class Flat(Struct, forbid_unknown_fields=True, tag_field="shape", tag="flat"):
    width: int = 1


class Piece(Struct, forbid_unknown_fields=True):
    size: Annotated[int, Meta(ge=1, le=9)] = 1
    count: Annotated[int, Meta(ge=0)] = 0
    share: Annotated[float, Meta(ge=0, lt=1)] | None = None
    name: Annotated[str, Meta(min_length=2, max_length=4)] = "ab"
    loud: bool = False
    mode: Literal["fast", "slow"] = "fast"
    form: Round | Flat | None = None
    parts: Annotated[list[Annotated[int, Meta(le=3)]], Meta(max_length=2)] = []
    named: dict[Annotated[str, Meta(pattern="^[a-z]+$")], int] = {}


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"size": 12}, ("size", "expected a whole number from 1 to 9, got 12")),
        ({"size": "big"}, ("size", 'expected a whole number from 1 to 9, got "big"')),
        ({"count": -1}, ("count", "expected a whole number of at least 0, got -1")),
        ({"share": 1.0}, ("share", "expected a number of at least 0 and below 1 or null, got 1.0")),
        ({"name": "abcdef"}, ("name", 'expected text of at least 2 characters and at most 4 characters, got "abcdef"')),
        ({"loud": "yes"}, ("loud", 'expected true or false, got "yes"')),
        ({"mode": "fsat"}, ("mode", 'expected one of fast, slow, got "fsat"; did you mean fast?')),
        ({"form": {"shape": "rond"}}, ("form.shape", 'expected one of round, flat, got "rond"; did you mean round?')),
        ({"form": {"shape": "round", "radius": 0}}, ("form.radius", "expected a number above 0, got 0")),
        ({"form": {"shape": "round", "width": 0}}, ("form", "unknown field 'width'; its keys are radius")),
        ({"parts": [1, 7]}, ("parts[1]", "expected a whole number of at most 3, got 7")),
        ({"parts": [1, 2, 3]}, ("parts", "expected a list of at most 2 entries, got [1,2,3]")),
        ({"named": {"a": "x"}}, ("named[...]", "expected a whole number")),
        ({"named": {"A": 1}}, ("named", "a key: expected 'str' matching regex '^[a-z]+$'")),
        ({"sise": 1}, ("", "unknown field 'sise'; did you mean 'size'? its keys are size, count, ")),
        (7, ("", "expected a table, got 7")),
        ({"size": [[0] * 99]}, ("size", "expected a whole number from 1 to 9, got [[0,0,")),
    ],
)  # fmt: skip
def test_a_refusal_is_told_in_words(document: Any, told: tuple[str, str]) -> None:
    with pytest.raises(msgspec.ValidationError) as refusal:
        msgspec.convert(document, Piece)
    path, text = explained(str(refusal.value), Piece, document)
    assert path == told[0]
    assert text == told[1] or (told[1].endswith((", ", "0,")) and text.startswith(told[1]))
    assert len(text) < 200
