"""Paths of Triton's extensions that this server does not have, answered with a sentence instead of a bare 404."""

from __future__ import annotations

from litestar import HttpMethod, route
from litestar.handlers import HTTPRouteHandler

from server.http.codec.errors import NoSuchPath

_PATHS: dict[str, list[str]] = {
    "shared memory is not offered; send tensors in the body": [
        f"/v2/{kind}sharedmemory/{tail}"
        for kind in ("system", "cuda")
        for tail in ("status", "unregister", "region/{name:str}/{action:str}")
    ],
    "trace settings are not offered": ["/v2/trace/setting", "/v2/models/{name:str}/trace/setting"],
    "log settings are not offered; the log level is a setting of the server": ["/v2/logging"],
}


def unsupported_routes() -> list[HTTPRouteHandler]:
    """One handler for each sentence, absent from the OpenAPI document."""
    return [_refusing(sentence, paths) for sentence, paths in _PATHS.items()]


def _refusing(sentence: str, paths: list[str]) -> HTTPRouteHandler:
    @route(
        paths,
        http_method=list(HttpMethod),
        include_in_schema=False,
        sync_to_thread=False,
    )
    def refuse() -> None:
        raise NoSuchPath(sentence)

    return refuse
