"""`ensemble.json` as bytes: what is refused, in which order, and with which words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from model_repo import ManifestError, decode, encode
from model_repo.format.decoding import MAX_MANIFEST_BYTES
from tests.model_repo.samples import manifest

SUBJECT = "ensemble.json of digits/3"


def document() -> dict[str, Any]:
    """The sample manifest as plain JSON, to be spoilt."""
    loaded: dict[str, Any] = json.loads(encode(manifest()))
    return loaded


def refusal(data: bytes) -> str:
    with pytest.raises(ManifestError) as caught:
        decode(data, SUBJECT)
    message = str(caught.value)
    assert message.startswith(f"{SUBJECT}: ")
    assert "\n" not in message
    return message.removeprefix(f"{SUBJECT}: ")


def spoilt(*path: str | int, value: object) -> str:
    """The refusal when the field at `path` has this value."""
    whole = document()
    target: Any = whole
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return refusal(json.dumps(whole).encode())


def test_a_newer_format_is_refused_as_such_before_its_fields_are_called_unknown() -> None:
    newer = document() | {"format": 2, "cascade": {"stages": 2}}
    assert refusal(json.dumps(newer).encode()) == "format is 2, this reader knows format 1"


def test_a_manifest_without_a_format_is_refused() -> None:
    without = document()
    del without["format"]
    assert refusal(json.dumps(without).encode()) == "missing required field 'format'"


def test_an_unknown_field_is_named() -> None:
    assert spoilt("cascade", value={}).startswith("unknown field 'cascade'; its keys are format, name, version, ")


def test_an_unknown_field_of_a_member_names_the_member() -> None:
    assert spoilt("members", 1, "wieght", value=1).startswith(
        "member 'rf': unknown field 'wieght'; did you mean 'weight'? its keys are "
    )


def test_an_unknown_field_of_the_fusion_names_the_fusion() -> None:
    assert spoilt("fusion", "floor", value=1) == "fusion: unknown field 'floor'; its keys are temperature"


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("version",), 0, "version: expected a whole number of at least 1, got 0"),
        (("version",), True, "version: expected a whole number of at least 1, got true"),
        (("members", 1, "bytes"), "12", "member 'rf': bytes: expected a whole number of at least 0, got \"12\""),
        (("members", 1, "weight"), -1, "member 'rf': weight: expected a number of at least 0, got -1"),
        (
            ("members", 1, "kind"),
            "odds",
            "member 'rf': kind: expected one of logits, probabilities, value, got \"odds\"",
        ),
        (("members", 1), 7, "members[1]: expected a table, got 7"),
        (("members", 1, "name"), 7, "members[1].name: expected a name of letters, digits, '.', '_' and '-', got 7"),
        (("inputs", 0, "shape"), [-2], "input 'pixels': shape[0]: expected a whole number of at least -1, got -2"),
        (("fusion",), {"rule": "nope"}, "fusion.rule: expected one of mean, weighted, "),
        (("fusion",), {}, "fusion: missing required field 'rule'"),
        (("conformal",), {"alpha": 1, "quantile": 0}, "conformal.alpha: expected a number above 0 and below 1, got 1"),
        (("golden", "sha256"), "ABC", 'golden.sha256: expected 64 hexadecimal digits in lower case, got "ABC"'),
        (("x\x1b[31m",), 1, "unknown field 'x\\x1b[31m'; its keys are format, "),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(
    path: tuple[str | int, ...], value: object, expected: str
) -> None:
    found = spoilt(*path, value=value)
    assert found.startswith(expected) if expected.endswith(", ") else found == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "is not JSON: Input data was truncated"),
        (b"[]", "expected a table, got []"),
        (b"\xef\xbb\xbf{}", "is not JSON: JSON is malformed: invalid character (byte 0)"),
        (b'{"format":1,"name":"\xff"}', "is not UTF-8"),
        (b'{"format":1,"report":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "is nested too deeply"),
        (b'{"format":1,"report":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}", "is nested too deeply"),
        (b'{"format":1' + b" " * MAX_MANIFEST_BYTES + b"}",
         f"has {MAX_MANIFEST_BYTES + 12} bytes, the limit is 16777216"),
        (b'{"format":1e400}', "format: number out of range"),
    ],
    ids=["empty", "array", "byte order mark", "not UTF-8", "nested in place", "nested in a report", "too large",
         "infinite"],
)  # fmt: skip
def test_bytes_that_are_no_manifest_are_refused_in_one_line(data: bytes, expected: str) -> None:
    assert refusal(data) == expected
