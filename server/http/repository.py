"""Triton's repository extension: the index for everyone, load and unload for who holds the token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Request, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from server.errors import MalformedRequest
from server.http.codec.call import target_in
from server.http.codec.errors import without_paths
from server.http.codec.json_arrays import decode
from server.http.codec.limits import Limits
from server.http.control import check_token
from server.http.inference.body import read_body
from server.http.openapi import error_responses
from server.http.response_structs import IndexItem

if TYPE_CHECKING:
    from server.secret import Secret
    from server.serving.manager import Manager

CONTROL_LIMITS = Limits(max_body_bytes=1 << 20)
"""Bodies of these routes are a few bytes; a megabyte is more than any client sends by mistake."""


class IndexQuestion(Struct):
    """The body of the index route; may be empty."""

    ready: bool | None = False


class Instruction(Struct):
    """The body of load and unload; may be empty."""

    parameters: dict[str, Any] | None = {}

    @property
    def given(self) -> list[str]:
        """The parameters that are there; null is as if absent."""
        return sorted(name for name, value in (self.parameters or {}).items() if value is not None)


_REFUSALS = error_responses(400, 403, 404, 409)

_question = msgspec.json.Decoder(IndexQuestion)
_instruction = msgspec.json.Decoder(Instruction)


def repository_routes(manager: Manager, token: Secret | None, *, control: bool) -> list[HTTPRouteHandler]:
    """The handlers, bound to `manager`; load and unload only where this listener has the `control` paths."""

    @post("/v2/repository/index", status_code=200, tags=["Repository"])
    async def index(request: Request[Any, Any, Any]) -> list[IndexItem]:
        """Every version that is or was to be served, its state, and why where it is not."""
        body = await _body(request)
        only_ready = bool(body and decode(_question, body, "").ready)
        return [
            IndexItem(
                entry.name,
                "" if entry.version is None else str(entry.version),
                entry.state,
                without_paths(entry.reason),
                entry.digest,
            )
            for entry in manager.index()
            if entry.state == "READY" or not only_ready
        ]

    @post("/v2/repository/models/{name:str}/load", status_code=200, tags=["Control"], responses=_REFUSALS)
    async def load(request: Request[Any, Any, Any]) -> dict[str, str]:
        """Bring an ensemble to what the repository says now. Needs the control token."""
        check_token(request.headers.get("authorization"), token)
        target = target_in(request.path_params)
        instruction = await _instructed(request)
        if instruction.given:
            raise MalformedRequest(
                f"parameters: {', '.join(instruction.given)[:80]} given, but what is loaded is what is "
                "published; publish another version instead"
            )
        await manager.load(target.name)
        return {}

    @post("/v2/repository/models/{name:str}/unload", status_code=200, tags=["Control"], responses=_REFUSALS)
    async def unload(request: Request[Any, Any, Any]) -> dict[str, str]:
        """Stop serving an ensemble until it is loaded again. Needs the control token."""
        check_token(request.headers.get("authorization"), token)
        target = target_in(request.path_params)
        await _instructed(request)
        await manager.unload(target.name)
        return {}

    return [index, load, unload] if control else [index]


async def _instructed(request: Request[Any, Any, Any]) -> Instruction:
    body = await _body(request)
    if not body:
        return Instruction()
    found: Instruction = decode(_instruction, body, "")
    return found


async def _body(request: Request[Any, Any, Any]) -> bytes:
    return await read_body(request.receive, CONTROL_LIMITS, request.headers.get("content-length"))
