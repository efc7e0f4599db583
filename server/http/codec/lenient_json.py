"""JSON that people send though no standard has it: a byte order mark, and the literals NaN, Infinity and -Infinity.

Python's `json.dumps`, and tritonclient with it, write the three; .NET and PowerShell put the mark in front. Only where
a body cannot be read as JSON is it looked at again, so that whoever sends JSON pays nothing. The literals become
strings that mean nothing anywhere but among numbers.
"""

from __future__ import annotations

import re

import numpy as np

BOM = b"\xef\xbb\xbf"
MARK = "\ufdd0"
"""Begins each of those strings: a character that Unicode keeps for the inside of programs."""

WORDS = ("NaN", "Infinity", "-Infinity")
_MARKED = f'"{MARK}'.encode()
_ESCAPED = ascii(MARK)[1:-1]
_IN_MESSAGE = re.compile(rf"""['"](?:{MARK}|{re.escape(_ESCAPED)})(-?[A-Za-z]+)['"]""")
_HIDDEN = {ord("N"): 1, ord("I"): 2}
"""What stands for the letters of such words inside strings meanwhile; no string of JSON has these bytes."""
_SHOWN = bytes.maketrans(bytes(_HIDDEN.values()), bytes(_HIDDEN))


def as_json(raw: bytes) -> bytes | None:
    """The same without its mark and with its literals as strings; None where it has neither."""
    plain = raw.removeprefix(BOM)
    if b"NaN" in plain or b"Infinity" in plain:
        plain = _quoted(plain)
    return None if plain == raw else plain


def has_literals(raw: bytes) -> bool:
    """Whether `as_json` put strings for literals in here."""
    return _MARKED in raw


def as_words(raw: bytes) -> bytes:
    """The JSON of numbers with those strings as the words themselves."""
    return raw.replace(_MARKED, b'"')


def word_at(raw: bytes) -> str:
    """The word that the first string in an array of numbers is, '' where it is another text."""
    start = raw.find(b'"') + 1
    text = raw[start : raw.find(b'"', start)].decode("utf-8", "replace").removeprefix(MARK)
    return text if text in WORDS else ""


def as_written(text: str) -> str:
    """A message with such strings in it, each as whoever sent it wrote it: a literal without quotes or mark."""
    if MARK not in text and _ESCAPED not in text:
        return text
    return _IN_MESSAGE.sub(r"\1", text)


def _quoted(plain: bytes) -> bytes:
    """The literals outside strings as strings; without a loop, as whoever sends this is not to hold up others.

    Measured: 3 to 15 ms for 250 kB on a busy machine, whatever is in them; a regular expression took up to 650.
    """
    if any(bytes([byte]) in plain for byte in _HIDDEN.values()):
        return plain  # no JSON, whatever is done
    quotes = np.frombuffer(plain.replace(b"\\\\", b"__").replace(b'\\"', b"__"), np.uint8) == ord('"')
    inside = np.cumsum(quotes, dtype=np.uint8) & 1 == 1
    text = np.frombuffer(plain, np.uint8).copy()
    for letter, hidden in _HIDDEN.items():
        text[inside & (text == letter)] = hidden
    found = text.tobytes().replace(b"NaN", b'%bNaN"' % _MARKED).replace(b"Infinity", b'%bInfinity"' % _MARKED)
    return found.replace(b"-" + _MARKED + b"I", _MARKED + b"-I").translate(_SHOWN)
