"""The prediction routes: listed and routed by Litestar, answered by `Endpoint` before its handlers run."""

from __future__ import annotations

from typing import Any

from litestar import Request, post
from litestar.handlers import HTTPRouteHandler

from server.http.inference.endpoint import Endpoint, v1_target, v2_target
from server.http.openapi import ERRORS, error_responses

RESPONSES = error_responses(*(status for status in ERRORS if status not in (403, 409)))


def prediction_routes(endpoint: Endpoint) -> list[HTTPRouteHandler]:
    """Infer and predict; what the handlers' own bodies say is never reached."""

    @post(
        ["/v2/models/{name:str}/infer", "/v2/models/{name:str}/versions/{version:str}/infer"],
        middleware=[endpoint.mounted("v2", v2_target)],
        status_code=200,
        tags=["Open Inference Protocol"],
        responses=RESPONSES,
    )
    async def infer(request: Request[Any, Any, Any]) -> dict[str, Any]:
        """One prediction request in the Open Inference Protocol, JSON or with binary tensors."""
        raise _bug(request)

    @post(
        [
            "/v1/models/{name:str}",
            "/v1/models/{name:str}/versions/{version:str}",
            "/v1/models/{name:str}/labels/{label:str}",
        ],
        middleware=[endpoint.mounted("v1", v1_target)],
        status_code=200,
        tags=["TensorFlow Serving"],
        responses=RESPONSES,
    )
    async def predict(request: Request[Any, Any, Any]) -> dict[str, Any]:
        """One prediction request as TensorFlow Serving takes it; also an image or text where the ensemble does."""
        raise _bug(request)

    return [infer, predict]


def _bug(request: Request[Any, Any, Any]) -> AssertionError:
    return AssertionError(f"{request.url.path} is answered before its handler: this is a bug")
