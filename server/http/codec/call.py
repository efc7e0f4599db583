"""A prediction request before its body has been read: the path and the headers that matter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from server.errors import MalformedRequest, UnknownEnsemble, UnknownVersion
from server.http.codec.errors import NoSuchPath, shown

Protocol = Literal["v1", "v2"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_VERSION = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Target:
    """Which ensemble is to answer: by default its stable version, else a version or a label."""

    name: str
    version: int | None = None
    label: str | None = None


@dataclass(slots=True)
class Call:
    """The header values that decoding and encoding look at, as text; None where a header is absent."""

    protocol: Protocol
    target: Target
    content_type: str | None = None
    content_encoding: str | None = None
    accept_encoding: str | None = None
    header_length: str | None = None
    content_length: str | None = None
    plain: bool = False
    """A V2 body as it is, neither compressed nor of an odd media type."""
    header_bytes: int | None = None
    """Of a plain body with a binary part, the length of its JSON."""


JSON_MEDIA = frozenset({"", "application/json", "text/json", "application/x-www-form-urlencoded"})
"""Content types that may be JSON: `curl -d` says that it sends a form, older clients of Java text/json."""
V2_MEDIA = JSON_MEDIA | {None, "application/octet-stream"}
"""Content types of an infer body: tritonclient sends none or octet-stream."""

_FIELDS = {
    b"content-type": "content_type",
    b"content-encoding": "content_encoding",
    b"accept-encoding": "accept_encoding",
    b"inference-header-content-length": "header_length",
    b"content-length": "content_length",
}


def call_of(protocol: Protocol, target: Target, headers: Iterable[tuple[bytes, bytes]]) -> Call:
    """The call behind raw headers with names in lower case, as ASGI and httptools give them."""
    call = Call(protocol, target)
    for name, value in headers:
        field = _FIELDS.get(name)
        if field is None:
            continue
        text = value.decode("latin-1")
        given = getattr(call, field)
        # Two lengths or two encodings are how requests are smuggled past proxies.
        if given is not None and given != text and field != "accept_encoding":
            raise MalformedRequest(f"{name.decode()}: given twice, {shown(given)} and {shown(text)}")
        setattr(call, field, text if field != "accept_encoding" or given is None else f"{given},{text}")
    call.plain = protocol == "v2" and call.content_encoding is None and call.content_type in V2_MEDIA
    if (length := call.header_length) is not None:
        if length.isascii() and length.isdigit() and 0 < len(length) <= 18:
            call.header_bytes = int(length)
        else:
            call.plain = False  # to be refused
    return call


def target_of(name: str, version: str | None = None, label: str | None = None) -> Target:
    """The target that a path names; raises UnknownEnsemble or UnknownVersion for what can be no name or version."""
    if not _NAME.fullmatch(name):
        raise UnknownEnsemble(f"unknown ensemble {shown(name)}: that is no name of an ensemble")
    if version is not None and not _VERSION.fullmatch(version):
        raise UnknownVersion(f"unknown version {shown(version)}: versions are positive whole numbers")
    if label is not None and not _NAME.fullmatch(label):
        raise UnknownVersion(f"unknown label {shown(label)}: that is no name of a label")
    return Target(name, None if version is None else int(version), label)


def target_in(path_params: Mapping[str, str]) -> Target:
    """The target among a path's parameters `name` and, where the path has them, `version` or `label`."""
    return target_of(path_params["name"], path_params.get("version"), path_params.get("label"))


def without_verb(segment: str) -> str:
    """`digits:predict` as `digits`; NoSuchPath names the verb that this server has not."""
    name, colon, verb = segment.rpartition(":")
    if not colon:
        raise NoSuchPath(f"POST needs a verb: '…/{segment[:80]}:predict'")
    if verb != "predict":
        raise NoSuchPath(f"no verb {shown(verb)}, there is only ':predict'")
    return name
