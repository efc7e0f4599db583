"""JSON that people send though no standard has it: a byte order mark, and the literals NaN, Infinity and -Infinity.

Python's `json.dumps`, and tritonclient with it, write the three; .NET and PowerShell put the mark in front. Only where
a body cannot be read as JSON is it looked at again, so that whoever sends JSON pays nothing. The literals become
strings that mean nothing anywhere but among numbers.
"""

from __future__ import annotations

import re

BOM = b"\xef\xbb\xbf"
MARK = "\ufdd0"
"""Begins each of those strings: a character that Unicode keeps for the inside of programs."""

WORDS = ("NaN", "Infinity", "-Infinity")
_MARKED = f'"{MARK}'.encode()
_STRING = re.compile(rb'("(?:[^"\\]|\\.)*")', re.DOTALL)


def as_json(raw: bytes) -> bytes | None:
    """The same without its mark and with its literals as strings; None where it has neither."""
    plain = raw.removeprefix(BOM)
    if b"NaN" in plain or b"Infinity" in plain:
        parts = _STRING.split(plain)  # every second one is a string
        parts[::2] = [_quoted(part) for part in parts[::2]]
        plain = b"".join(parts)
    return None if plain == raw else plain


def has_literals(raw: bytes) -> bool:
    """Whether `as_json` put strings for literals in here."""
    return _MARKED in raw


def as_words(raw: bytes) -> bytes:
    """The JSON of numbers with those strings as the words themselves."""
    return raw.replace(_MARKED, b'"')


def _quoted(part: bytes) -> bytes:
    part = part.replace(b"NaN", b'%bNaN"' % _MARKED).replace(b"Infinity", b'%bInfinity"' % _MARKED)
    return part.replace(b"-" + _MARKED + b"I", _MARKED + b"-I")
