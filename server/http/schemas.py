"""JSON Schemas of prediction bodies and of paths' parameters: they refuse what the server refuses by form alone.

What depends on the ensemble (names, datatypes, shapes) is in its metadata, not here.
"""

from __future__ import annotations

from typing import Any

from server.http.codec.limits import MAX_DIMENSIONS, MAX_TENSORS, MAX_TIMEOUT_S
from server.http.codec.tensors import DATATYPES

Schema = dict[str, Any]

NAME = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"}
VERSION = {"type": "string", "pattern": "^[1-9][0-9]{0,17}$"}
PATH_PARAMETERS = {"name": NAME, "label": NAME, "version": VERSION}
BINARY: Schema = {"contentMediaType": "application/octet-stream"}
"""Raw bytes, as OpenAPI 3.1 has them."""


def _or_null(kind: str, **rest: Any) -> Schema:
    """An optional field: null is as if absent."""
    return {"type": [kind, "null"], **rest}


def _object(required: list[str], properties: dict[str, Any], **rest: Any) -> Schema:
    return {"type": "object", "required": required, "properties": properties, **rest}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_DATATYPE = {"type": "string", "enum": list(DATATYPES)}
_NOT_OFFERED = {"type": "null", "description": "Shared memory is not offered."}

_INPUT = _object(
    ["name", "datatype", "shape", "data"],
    {
        "name": {"type": "string"},
        "datatype": _DATATYPE,
        "shape": {
            "type": "array",
            "items": {"type": "integer", "minimum": 1},
            "minItems": 1,
            "maxItems": MAX_DIMENSIONS,
        },
        "data": {
            "type": "array",
            "items": {},
            "minItems": 1,
            "description": "Flat, or nested as the shape says. null is a missing number where the input allows.",
        },
        "parameters": _or_null(
            "object", properties={"shared_memory_region": _NOT_OFFERED, "binary_data_size": {"type": "null"}}
        ),
    },
    description="One input; with its numbers behind the JSON instead it has parameters.binary_data_size and no data.",
)
_OUTPUT = _object(
    ["name"],
    {
        "name": {"type": "string"},
        "parameters": _or_null(
            "object",
            properties={
                "binary_data": _or_null("boolean"),
                "classification": _or_null("integer", minimum=0),
                "shared_memory_region": _NOT_OFFERED,
            },
        ),
    },
)
_INFER_REQUEST = _object(
    ["inputs"],
    {
        "id": _or_null("string"),
        "parameters": _or_null(
            "object",
            properties={
                "timeout": _or_null(
                    "integer",
                    minimum=0,
                    description=f"Microseconds; 0 is the ensemble's own, {MAX_TIMEOUT_S:g} s the most.",
                ),
                "binary_data_output": _or_null("boolean"),
            },
        ),
        "inputs": {"type": "array", "items": _ref("InferInput"), "minItems": 1, "maxItems": MAX_TENSORS},
        "outputs": _or_null("array", items=_ref("InferOutput"), maxItems=MAX_TENSORS),
    },
)
_INFER_RESPONSE = _object(
    ["model_name", "model_version", "outputs"],
    {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "parameters": _object([], {"degraded": {"type": "boolean"}, "missing": {"type": "string"}}),
        "outputs": {"type": "array", "items": _ref("InferredTensor"), "minItems": 1},
    },
)
_INFERRED = _object(
    ["name", "datatype", "shape"],
    {
        "name": {"type": "string"},
        "datatype": _DATATYPE,
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "data": {"type": "array", "items": {"type": ["number", "string", "boolean", "null"]}},
        "parameters": _object([], {"binary_data_size": {"type": "integer", "minimum": 0}}),
    },
    anyOf=[{"required": ["data"]}, {"required": ["parameters"]}],
)
_PREDICT_REQUEST = _object(
    [],
    {
        "instances": _or_null("array", minItems=1, description="Rows: of the only input, or objects with all inputs."),
        "inputs": {
            "type": ["array", "object", "null"],
            "minItems": 1,
            "minProperties": 1,
            "description": "Columns: the only input's tensor, or an object of tensors.",
        },
        "signature_name": {"enum": ["serving_default", "", None]},
    },
    oneOf=[
        {"required": ["instances"], "properties": {"instances": {"type": "array"}}},
        {"required": ["inputs"], "properties": {"inputs": {"type": ["array", "object"]}}},
    ],
)
_PREDICT_RESPONSE: Schema = {
    "oneOf": [
        _object(["predictions"], {"predictions": {"type": "array", "minItems": 1}}),
        _object(["outputs"], {"outputs": {"type": ["array", "object"]}}),
    ]
}
INDEX_REQUEST: Schema = {
    "type": "object",
    "properties": {"ready": _or_null("boolean", description="Only what answers.")},
}
LOAD_REQUEST: Schema = {
    "type": "object",
    "properties": {"parameters": _or_null("object", additionalProperties={"type": "null"})},
}
UNLOAD_REQUEST: Schema = {"type": "object", "properties": {"parameters": _or_null("object")}}

COMPONENTS: dict[str, Schema] = {
    "InferRequest": _INFER_REQUEST,
    "InferInput": _INPUT,
    "InferOutput": _OUTPUT,
    "InferResponse": _INFER_RESPONSE,
    "InferredTensor": _INFERRED,
    "PredictRequest": _PREDICT_REQUEST,
    "PredictResponse": _PREDICT_RESPONSE,
}
