"""The OpenAPI document: what Litestar cannot read off the prediction routes is written here."""

from __future__ import annotations

import dataclasses

from litestar import Litestar
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import OpenAPIMediaType, Operation, PathItem, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from model_repo import distribution
from server.http.shapes import ErrorBody

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
    500: "A bug; the id is in the log.",
    503: "Not ready, overloaded, or too few members answered; see Retry-After.",
    504: "No answer by the request's deadline.",
}
"""What each error status means, for the document; `errors.TABLE` says which error has which."""

_V1 = "/v1/models/{name}"


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
        render_plugins=[JsonRenderPlugin(path="/openapi.json")],
    )


def describe(app: Litestar) -> None:
    """Complete the document: bodies of predictions, and predict's paths with their verb.

    Litestar's path parameters are whole segments, so `{name}:predict` is routed as `{name}` and split by hand.
    """
    paths = app.openapi_schema.paths
    assert paths is not None
    for path, item in list(paths.items()):
        if item.post is None:
            continue
        if path.endswith("/infer"):
            item.post.request_body = _body(_INFER, "application/json", "application/octet-stream")
        elif path.startswith(_V1):
            paths[f"{path}:predict"] = PathItem(post=_predict(item.post))
            item.post = None
            if item.get is None:
                del paths[path]


def _predict(operation: Operation) -> Operation:
    body = _body(_PREDICT, "application/json", "image/png", "image/jpeg", "text/plain")
    return dataclasses.replace(operation, request_body=body)


def _body(json: Schema, *media_types: str) -> RequestBody:
    binary = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
    content = {media: OpenAPIMediaType(json if media == "application/json" else binary) for media in media_types}
    return RequestBody(content=content, required=True)


def _object(properties: dict[str, Schema], required: list[str] | None = None) -> Schema:
    return Schema(type=OpenAPIType.OBJECT, properties=dict(properties), required=required)


def _list(items: Schema) -> Schema:
    return Schema(type=OpenAPIType.ARRAY, items=items)


_STRING = Schema(type=OpenAPIType.STRING)
_ANY = Schema()
_PARAMETERS = Schema(type=OpenAPIType.OBJECT)
_INFER = _object(
    {
        "id": _STRING,
        "parameters": _PARAMETERS,
        "inputs": _list(
            _object(
                {
                    "name": _STRING,
                    "datatype": _STRING,
                    "shape": _list(Schema(type=OpenAPIType.INTEGER)),
                    "data": _list(_ANY),
                    "parameters": _PARAMETERS,
                },
                ["name", "datatype", "shape"],
            )
        ),
        "outputs": _list(_object({"name": _STRING, "parameters": _PARAMETERS}, ["name"])),
    },
    ["inputs"],
)
_PREDICT = _object({"instances": _list(_ANY), "inputs": _ANY, "signature_name": _STRING})
