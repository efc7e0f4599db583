"""HEAD, OPTIONS and other origins, in front of every route: what routes say of themselves, completed.

HEAD is answered as GET is, without the body. OPTIONS and 405 name the methods that work on the path itself: routes of
`{name}` and of `{name}:predict` are one to the router. Pages of other origins may read answers where the setting
`cors_origins` lists their origin (the CORS protocol of the Fetch standard); credentials are never allowed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from server.errors import ServerError
from server.http.codec.call import without_verb
from server.http.codec.errors import error_reply
from server.http.codec.reply import Reply

PREFLIGHT_S = 600
"""How long a browser may keep the answer to a preflight; Chromium takes at most 7,200."""
EXPOSED = b"tutti-version, tutti-degraded, inference-header-content-length, retry-after, retry-after-ms"
"""Headers of answers that a page of another origin may read, beside those that it always may."""

_V1 = "/v1/models/"


def answering(app: ASGIApp, origins: tuple[str, ...]) -> ASGIApp:
    """The application with HEAD and OPTIONS on each of its paths, and with CORS for `origins` where there are any."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        asked = cast("HTTPScope", scope)
        origin = _header(asked, b"origin") if origins else None
        if origins:
            send = _marked(send, asked, origin, origins)
        method: str = asked["method"]
        if method == "HEAD":
            await app(cast("Scope", {**asked, "method": "GET"}), receive, _completed(_bodiless(send), asked["path"]))
        elif method == "OPTIONS":
            refusal = _refused_verb(asked["path"])
            if refusal is not None:
                await _send(refusal, send)
            else:  # a method that no route has is answered with those that it has
                none = cast("Scope", {**asked, "method": "TRACE"})
                await app(none, receive, _completed(_as_options(send), asked["path"]))
        else:
            await app(scope, receive, _completed(send, asked["path"]))

    return answer


def methods_of(allow: str, path: str) -> str:
    """The methods that work on `path` of those that the router lists for its pattern."""
    found = {method.strip() for method in allow.split(",")} | {"OPTIONS"}
    if path.startswith(_V1):
        found -= {"GET"} if ":" in path.rstrip("/").rpartition("/")[2] else {"POST"}
    if "GET" in found:
        found.add("HEAD")
    return ", ".join(sorted(found))


def _completed(send: Send, path: str) -> Send:
    """Passes on; `Allow` then says what works on this very path."""

    async def completing(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 405:
            headers = [
                (name, methods_of(value.decode("latin-1"), path).encode() if name.lower() == b"allow" else value)
                for name, value in message.get("headers", ())
            ]
            message = cast("Message", {**message, "headers": headers})
        await send(message)

    return completing


def _as_options(send: Send) -> Send:
    """Makes the refusal of a method the answer to OPTIONS."""
    refused = False

    async def sending(message: Message) -> None:
        nonlocal refused
        if message["type"] == "http.response.start" and message["status"] == 405:
            refused = True
            headers = [(name, value) for name, value in message["headers"] if name.lower() == b"allow"]
            message = cast("Message", {**message, "status": 204, "headers": headers})
        elif refused and message["type"] == "http.response.body":
            message = cast("Message", {**message, "body": b""})
        await send(message)

    return sending


def _bodiless(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = cast("Message", {**message, "body": b""})
        await send(message)

    return sending


def _refused_verb(path: str) -> Reply | None:
    """The reply to OPTIONS of a path of TensorFlow Serving with a verb that there is not; None for every other."""
    segment = path.rstrip("/").rpartition("/")[2]
    if not path.startswith(_V1) or ":" not in segment:
        return None
    try:
        without_verb(segment)
    except ServerError as error:
        return error_reply(error)
    return None


def _marked(send: Send, scope: HTTPScope, origin: bytes | None, origins: tuple[str, ...]) -> Send:
    """Adds what tells a browser that a page of this origin may read the answer, or may ask."""
    allowed = origin is not None and ("*" in origins or origin.decode("latin-1") in origins)
    marks: list[tuple[bytes, bytes]] = [] if "*" in origins else [(b"vary", b"origin")]
    if allowed:
        assert origin is not None
        marks += [
            (b"access-control-allow-origin", b"*" if "*" in origins else origin),
            (b"access-control-expose-headers", EXPOSED),
        ]
    preflight = allowed and scope["method"] == "OPTIONS" and _header(scope, b"access-control-request-method")

    async def marking(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), *marks]
            if preflight and message["status"] == 204:
                headers += _permissions(scope, headers)
            message = cast("Message", {**message, "headers": headers})
        await send(message)

    return marking


def _permissions(scope: HTTPScope, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The answer to a preflight: the path's methods, and the headers that the page wants to send."""
    allow = next((value for name, value in headers if name.lower() == b"allow"), b"")
    wanted = _header(scope, b"access-control-request-headers")
    found = [(b"access-control-allow-methods", allow), (b"access-control-max-age", b"%d" % PREFLIGHT_S)]
    return found if wanted is None else [*found, (b"access-control-allow-headers", wanted)]


def _header(scope: HTTPScope, name: bytes) -> bytes | None:
    return next((value for each, value in scope["headers"] if each == name), None)


async def _send(reply: Reply, send: Send) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.all_headers()})
    await send({"type": "http.response.body", "body": reply.body, "more_body": False})
