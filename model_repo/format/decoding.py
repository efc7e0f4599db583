"""`ensemble.json` from bytes: limits first, then the format's number, then types, then sense."""

from __future__ import annotations

import msgspec

from model_repo.errors import ManifestError
from model_repo.format.manifest import FORMAT, Manifest
from model_repo.format.rules import problems
from model_repo.parsing import ParseError, parse

MAX_MANIFEST_BYTES = 16 * 2**20
"""A manifest with 100,000 classes of 40 characters is below 5 MiB; more than 16 is a mistake or an attack."""


class _Header(msgspec.Struct):
    """All of any format's manifest that this reader relies on before it knows the format."""

    format: int


def decode(data: bytes, subject: str) -> Manifest:
    """The manifest that `data` holds, well-typed and with `rules.problems` empty.

    Raises ManifestError, `subject` first (`ensemble.json of digits/3`). A type error is reported
    alone, since what comes after it is unknown; rules are reported all together.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise ManifestError(subject, [f"has {len(data)} bytes, the limit is {MAX_MANIFEST_BYTES}"])
    try:
        manifest = _typed(data)
    except ParseError as error:
        raise ManifestError(subject, [str(error)]) from error
    if found := problems(manifest):
        raise ManifestError(subject, found)
    return manifest


def _typed(data: bytes) -> Manifest:
    """A newer format is refused as such, before its new fields are called unknown."""
    given = parse(data, _Header).format
    if given != FORMAT:
        raise ParseError(f"format is {given}, this reader knows format {FORMAT}")
    return parse(data, Manifest)
