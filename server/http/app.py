"""The Litestar application: every route, one error handler, the OpenAPI document."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, Literal

from litestar import Litestar, Request, Response, get
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from server.errors import ServerError
from server.http.codec.errors import error_reply, internal_error_reply, shown
from server.http.codec.limits import Limits
from server.http.codec.reply import Reply, json_reply
from server.http.exposition import exposition
from server.http.inference.access_log import logged
from server.http.inference.endpoint import Endpoint
from server.http.inference.inference import Inference
from server.http.inference.rate_limit import RateLimit
from server.http.metadata import server_metadata
from server.http.methods import answering
from server.http.openapi import openapi_config
from server.http.prediction_routes import prediction_routes
from server.http.repository import repository_routes
from server.http.response_structs import Front
from server.http.routes_v1 import v1_routes
from server.http.routes_v2 import v2_routes
from server.http.unsupported import unsupported_routes
from server.metrics import Metrics
from server.settings import Settings

if TYPE_CHECKING:
    from server.serving.manager import Manager

Surface = Literal["all", "data", "control"]


def create_app(
    manager: Manager,
    metrics: Metrics,
    settings: Settings,
    *,
    surface: Surface = "all",
    executor: Executor | None = None,
) -> Litestar:
    """The application over a manager.

    `surface` is what this listener offers: predictions ("data"), load and unload ("control"), or both ("all");
    health, metadata and metrics are on each. `app.state` holds `inference` and `rate` for a protocol class that answers
    predictions itself. Large bodies are decoded on `executor`, by default the loop's own.
    """
    inference = Inference(manager, metrics, limits_of(settings), executor)
    rate = RateLimit(settings.rate_limit_rps) if settings.rate_limit_rps else None
    endpoint = Endpoint(inference, rate)
    app = Litestar(
        route_handlers=[
            *_plain_routes(metrics),
            *v2_routes(manager),
            *v1_routes(manager),
            *repository_routes(manager, settings.control_token, control=surface != "data"),
            *(prediction_routes(endpoint) if surface != "control" else []),
            *unsupported_routes(),
        ],
        exception_handlers={Exception: on_error},
        openapi_config=openapi_config(),
        logging_config=None,
        state=State({"inference": inference, "rate": rate}),
        request_max_body_size=None,  # our own limit counts bytes as they arrive and is a setting
    )
    app.asgi_handler = answering(app.asgi_handler, settings.cors_origins)
    if settings.access_log:
        app.asgi_handler = logged(app.asgi_handler)
    return app


def limits_of(settings: Settings) -> Limits:
    """The limits that the settings name."""
    return Limits(
        max_body_bytes=settings.max_body_bytes,
        max_rows=settings.max_request_rows,
        max_elements=settings.max_request_elements,
        body_timeout_s=settings.body_timeout_s,
    )


def on_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Any exception as the reply that the table names; Litestar's own keep their status."""
    if isinstance(error, ServerError):
        return _response(error_reply(error))
    if isinstance(error, HTTPException) and error.status_code < 500:
        return _response(json_reply({"error": _sentence(request, error)}, error.status_code), error.headers)
    return _response(internal_error_reply(error))


def _sentence(request: Request[Any, Any, Any], error: HTTPException) -> str:
    path = shown(request.scope["path"])
    if error.status_code == 404:
        return f"no path {path}; GET /schema lists all of them"
    if error.status_code == 405:
        return f"{path} does not take {request.method}"
    return error.detail


def _response(reply: Reply, extra: dict[str, str] | None = None) -> Response[bytes]:
    headers = {name.decode(): value.decode() for name, value in reply.headers if name != b"content-type"}
    return Response(
        reply.body, status_code=reply.status, headers={**(extra or {}), **headers}, media_type="application/json"
    )


def _plain_routes(metrics: Metrics) -> list[HTTPRouteHandler]:
    @get("/", sync_to_thread=False, tags=["Server"])
    def front() -> Front:
        """Where to go from here."""
        server = server_metadata()
        return Front(server.name, server.version, "/v2", "/schema", "/metrics", "/v2/repository/index")

    @get("/metrics", tags=["Server"])
    async def scrape(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Everything Prometheus wants to know."""
        body, content_type = await exposition(metrics, request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    return [front, scrape]
