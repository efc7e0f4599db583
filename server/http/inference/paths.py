"""Paths of predictions as the short way reads them: raw bytes, no router."""

from __future__ import annotations

from server.errors import ServerError
from server.http.codec.call import Protocol, Target, target_of, without_verb

Route = tuple[Protocol, Target]


def parse_route(url: bytes) -> Route | None:
    """The prediction that a path asks for; None for every other path, and for names that the long way must refuse."""
    parts = url.split(b"/")
    if b"%" in url or b"?" in url or len(parts) < 4 or parts[2] != b"models":
        return None
    try:
        texts = [part.decode("ascii") for part in parts[3:]]
        if parts[1] == b"v2" and texts[-1] == "infer":
            return ("v2", _target(texts[:-1]))
        if parts[1] == b"v1":
            return ("v1", _target([*texts[:-1], without_verb(texts[-1])]))
    except (ServerError, UnicodeDecodeError, ValueError):
        return None
    return None


def _target(texts: list[str]) -> Target:
    """`[name]`, `[name, "versions", v]` or `[name, "labels", l]`; ValueError for anything else."""
    if len(texts) == 1:
        return target_of(texts[0])
    name, kind, value = texts
    if kind == "versions":
        return target_of(name, value)
    if kind == "labels":
        return target_of(name, None, value)
    raise ValueError(kind)
