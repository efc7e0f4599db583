"""Command-line arguments of the form NAME=VALUE, one for each member."""

from __future__ import annotations

from collections.abc import Sequence


class UsageError(Exception):
    """An argument cannot be used; one line."""


def name_values(flag: str, words: Sequence[str]) -> dict[str, str]:
    """Name → value of every `NAME=VALUE` that `flag` was given. Raises UsageError for another form and for a repeat."""
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{flag}: '{word}' given, expected NAME=…")
        if name in pairs:
            raise UsageError(f"{flag}: '{name}' is given twice")
        pairs[name] = value
    return pairs
