"""The OpenAPI 3.1 document: Litestar's, completed with what it cannot read off the handlers."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin

from model_repo.cli import distribution
from server.http import schemas
from server.http.response_structs import ErrorBody
from server.http.schemas import BINARY, Schema

ERRORS = {
    400: "The body or a header cannot be read.",
    403: "No control token, or a wrong one.",
    404: "No such ensemble, version or label is served.",
    408: "The body did not arrive in time.",
    409: "The version cannot be loaded; the sentence says why.",
    413: "Body, rows or elements above a limit.",
    415: "A content type or encoding that is not taken.",
    422: "A tensor's name, datatype or shape is not what the ensemble declares.",
    429: "This client is over its share; see Retry-After.",
    431: "Headers above a limit.",
    500: "A bug; the id is in the log.",
    503: "Not ready, overloaded, or too few members answered; see Retry-After.",
    504: "No answer by the request's deadline.",
}
"""What each error status means, for the document; `errors.TABLE` says which error has which."""

_V1 = "/v1/models/"
_TEXT: Schema = {"type": "string"}
_NUMBER_TEXT: Schema = {"type": "string", "pattern": "^[0-9]+$"}
_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": _NUMBER_TEXT}}
_VERSIONED = {
    "Tutti-Version": {"description": "The version that answered.", "schema": _NUMBER_TEXT},
    "Tutti-Degraded": {"description": "Members left out, commas between them.", "schema": _TEXT},
}
_HEADER_LENGTH = "Inference-Header-Content-Length"
_HEAD_IN: Schema = {
    "name": _HEADER_LENGTH,
    "in": "header",
    "required": False,
    "description": "Bytes of the JSON before the tensors in a binary body; 0: the body is the only input's tensor.",
    "schema": _NUMBER_TEXT,
}


def error_responses(*statuses: int) -> dict[int, ResponseSpec]:
    """The error answers of a route."""
    return {status: ResponseSpec(ErrorBody, description=ERRORS[status], generate_examples=False) for status in statuses}


def openapi_config() -> OpenAPIConfig:
    """The document at `/schema` and `/schema/openapi.json`; no page that would load scripts from elsewhere."""
    return OpenAPIConfig(
        title="Tutti",
        version=distribution.version(),
        description="Online inference with versioned, hot-swappable ensembles of ONNX models.",
        path="/schema",
        render_plugins=[_Completed(path="/openapi.json")],
    )


class _Completed(JsonRenderPlugin):
    """Renders the completed document; made once."""

    def __init__(self, *, path: str) -> None:
        super().__init__(path=path)
        self._made: bytes | None = None

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        if self._made is None:
            self._made = msgspec.json.encode(completed(msgspec.to_builtins(openapi_schema)))
        return self._made


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """Litestar's document with the bodies of predictions, predict's paths with their verb, what answers really are.

    Litestar's path parameters are whole segments, so `{name}:predict` is routed as `{name}` and split by hand.
    """
    paths: dict[str, Any] = document["paths"]
    for path, item in list(paths.items()):
        if path.startswith(_V1) and "post" in item:
            paths[f"{path}:predict"] = {"post": item.pop("post")}
            if not item:
                del paths[path]
    for path, item in paths.items():
        for operation in item.values():
            _tell(path, operation)
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(schemas.COMPONENTS)
    components["securitySchemes"] = {"controlToken": {"type": "http", "scheme": "bearer"}}
    return document


def _tell(path: str, operation: dict[str, Any]) -> None:
    """Complete one operation."""
    responses: dict[str, Any] = operation["responses"]
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = schemas.PATH_PARAMETERS[parameter["name"]]
    if "ErrorBody" not in str(responses.get("400", "ErrorBody")):
        del responses["400"]  # Litestar's own, for parameters that it would check
    responses["default"] = {"description": "Any other refusal.", "content": _json(_ref("ErrorBody"))}
    for status in ("429", "503"):
        if status in responses:
            responses[status]["headers"] = _RETRY
    good = responses["200"]
    if path.endswith("/infer"):
        operation.setdefault("parameters", []).append(_HEAD_IN)
        operation["requestBody"] = _body(
            {**_json(_ref("InferRequest")), "application/octet-stream": {"schema": BINARY}}
        )
        length = {_HEADER_LENGTH: {"description": "Of a binary answer, the bytes of its JSON.", "schema": _NUMBER_TEXT}}
        good["content"] = {**_json(_ref("InferResponse")), "application/octet-stream": {"schema": BINARY}}
        good["headers"] = {**_VERSIONED, **length}
    elif path.endswith(":predict"):
        images = {media: {"schema": {"contentMediaType": media}} for media in ("image/png", "image/jpeg")}
        operation["requestBody"] = _body({**_json(_ref("PredictRequest")), **images, "text/plain": {"schema": _TEXT}})
        good["content"], good["headers"] = _json(_ref("PredictResponse")), _VERSIONED
    elif path == "/metrics":
        good["content"] = {media: {"schema": _TEXT} for media in ("text/plain", "application/openmetrics-text")}
    elif path.endswith("/ready"):
        responses["503"] = {
            "description": "Not ready.", "content": good["content"], "headers": _RETRY,
        }  # fmt: skip
    elif path == "/v2/repository/index":
        operation["requestBody"] = _body(_json(schemas.INDEX_REQUEST), required=False)
    elif path.endswith(("/load", "/unload")):
        wanted = schemas.LOAD_REQUEST if path.endswith("/load") else schemas.UNLOAD_REQUEST
        operation["requestBody"] = _body(_json(wanted), required=False)
        operation["security"] = [{"controlToken": []}]


def _body(content: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    return {"content": content, "required": required}


def _json(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
