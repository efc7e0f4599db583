"""The OpenAPI document: valid, true of what is answered, and as strict as the server."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import httpx
import jsonschema
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.server.http.asking import tensor
from tests.server.http.from_schema import ANYTHING, values_of
from tests.server.http.running import TOKEN, Running

Document = dict[str, Any]
INFER, PREDICT, INDEX = "/v2/models/{name}/infer", "/v1/models/{name}:predict", "/v2/repository/index"
ROW = [[0.5] * 8] * 8
FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@cache
def document_of(url: str) -> Document:
    found: Document = httpx.get(f"{url}/schema/openapi.json").json()
    return found


@pytest.fixture
def document(served: Running) -> Document:
    return document_of(served.url)


def schema_of(document: Document, schema: Document) -> Document:
    """The schema with what it refers to."""
    return {**schema, "components": document["components"]}


def body_schema(document: Document, path: str) -> Document:
    content = document["paths"][path]["post"]["requestBody"]["content"]
    return schema_of(document, content["application/json"]["schema"])


def check(document: Document, operation: Document, response: httpx.Response) -> None:
    """The answer is listed, and its body is as its schema says."""
    told = operation["responses"].get(str(response.status_code)) or operation["responses"]["default"]
    media = response.headers["content-type"].partition(";")[0]
    assert media in told["content"], (media, response.status_code)
    if media == "application/json":
        jsonschema.Draft202012Validator(schema_of(document, told["content"][media]["schema"])).validate(response.json())
    for name in told.get("headers", {}):
        if name in response.headers:
            jsonschema.validate(response.headers[name], told["headers"][name]["schema"])


def accepts(schema: Document, body: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(schema).is_valid(body))


def test_the_document_is_valid(document: Document) -> None:
    assert [str(error.message)[:200] for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    assert document["openapi"].startswith("3.1")


def test_operations_are_told_apart_and_references_lead_somewhere(document: Document) -> None:
    ids = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(ids) == len(set(ids))
    text = json.dumps(document)
    for name in {part.partition('"')[0] for part in text.split('"#/components/schemas/')[1:]}:
        assert name in document["components"]["schemas"]


def test_every_path_that_is_read_answers_as_it_is_told(served: Running, document: Document) -> None:
    served.manager.label_table["digits"] = {"blue": 1}
    asked = 0
    for path, item in document["paths"].items():
        if "get" not in item:
            continue
        for name in ("digits", "nobody"):
            response = httpx.get(served.url + path.format(name=name, version="1", label="blue"))
            assert response.status_code == (200 if name == "digits" or "{name}" not in path else 404), path
            check(document, item["get"], response)
            asked += 1
    assert asked >= 40


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (INFER, {"inputs": [tensor()]}),
        (INFER, {"inputs": [tensor()], "id": "7", "outputs": [{"name": "members"}, {"name": "label"}]}),
        (INFER, {"inputs": []}),
        (PREDICT, {"instances": [ROW]}),
        (PREDICT, {"inputs": [ROW]}),
        (PREDICT, {"instances": []}),
        (INDEX, {"ready": True}),
        (INDEX, {}),
        (INDEX, {"ready": 1}),
        ("/v2/repository/models/{name}/load", {}),
        ("/v2/repository/models/{name}/load", {"parameters": {"config": "{}"}}),
        ("/v2/repository/models/{name}/unload", {"parameters": {"unload_dependents": False}}),
    ],
)
def test_what_is_posted_is_answered_as_it_is_told_and_refused_where_the_schema_refuses(
    served: Running, document: Document, path: str, body: Any
) -> None:
    response = httpx.post(
        served.url + path.format(name="digits"), json=body, headers={"Authorization": f"Bearer {TOKEN}"}
    )
    check(document, document["paths"][path]["post"], response)
    assert (response.status_code == 200) == accepts(body_schema(document, path), body), response.text
    if path.endswith("/unload"):
        served.manager.unloaded.clear()


@pytest.mark.parametrize("version", ["0", "01", "x", "-1", "9" * 19])
def test_a_path_that_the_schema_refuses_is_no_path(served: Running, document: Document, version: str) -> None:
    parameters = document["paths"]["/v2/models/{name}/versions/{version}"]["get"]["parameters"]
    schema = next(each["schema"] for each in parameters if each["name"] == "version")
    assert not accepts(schema, version)
    assert httpx.get(f"{served.url}/v2/models/digits/versions/{version}").status_code == 404


WRONG_INFER: list[Any] = [
    [], 3, {}, {"inputs": None}, {"inputs": {}}, {"inputs": [1]}, {"inputs": [{}]}, {"inputs": [tensor()] * 65},
    {"inputs": [tensor(shape=[])]}, {"inputs": [tensor(shape=[0, 8, 8])]}, {"inputs": [tensor(shape=[1] * 9)]},
    {"inputs": [tensor(shape=[1.5, 8, 8])]}, {"inputs": [tensor(datatype="FLOAT")]}, {"inputs": [tensor(data=None)]},
    {"inputs": [tensor(data=[])]}, {"inputs": [{**tensor(), "parameters": {"shared_memory_region": "r"}}]},
    {"inputs": [{**tensor(), "parameters": []}]}, {"inputs": [tensor()], "id": 3},
    {"inputs": [tensor()], "parameters": {"timeout": -1}}, {"inputs": [tensor()], "parameters": {"timeout": "1"}},
    {"inputs": [tensor()], "parameters": {"binary_data_output": 1}}, {"inputs": [tensor()], "outputs": ["label"]},
    {"inputs": [tensor()], "outputs": [{"name": "probabilities", "parameters": {"classification": -1}}]},
    {"inputs": [tensor()], "outputs": [{}]},
]  # fmt: skip
WRONG_PREDICT: list[Any] = [
    [], {}, {"instances": None}, {"instances": [], "inputs": []}, {"instances": []}, {"instances": 3},
    {"instances": {}}, {"inputs": []}, {"inputs": {}}, {"inputs": 3}, {"instances": [ROW], "inputs": [ROW]},
    {"instances": [ROW], "signature_name": "other"}, {"instances": [ROW], "signature_name": 3},
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "body"),
    [*((INFER, body) for body in WRONG_INFER), *((PREDICT, body) for body in WRONG_PREDICT)],
)
def test_the_schema_and_the_server_refuse_the_same(served: Running, document: Document, path: str, body: Any) -> None:
    response = httpx.post(served.url + path.format(name="digits"), json=body)
    assert not accepts(body_schema(document, path), body)
    assert response.status_code in (400, 422), response.text
    check(document, document["paths"][path]["post"], response)


@pytest.mark.parametrize("path", [INFER, PREDICT, INDEX])
def test_bodies_made_from_the_document_are_never_a_bug(served: Running, document: Document, path: str) -> None:
    operation = document["paths"][path]["post"]
    names = st.sampled_from(["digits", "pair", "words", "gaps-FP32", "echo-BOOL", "nobody"])

    with httpx.Client(base_url=served.url) as client:

        @FEW
        @given(values_of(body_schema(document, path), document), names)
        def post(body: Any, name: str) -> None:
            response = client.post(path.format(name=name), content=json.dumps(body))
            assert response.status_code < 500, response.text
            check(document, operation, response)
            if path == INDEX:
                assert response.status_code == 200

        post()


def test_whatever_breaks_the_schema_is_refused(served: Running, document: Document) -> None:
    schema = body_schema(document, INFER)
    values = ANYTHING | st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=5)
    good = {"inputs": [tensor()], "outputs": [{"name": "label"}], "id": "1", "parameters": {}}

    with httpx.Client(base_url=served.url) as client:

        @FEW
        @given(st.sampled_from([*good]), values, st.booleans())
        def post(field: str, value: Any, inside: bool) -> None:
            body: dict[str, Any] = {**good, field: value}
            if inside and field in ("inputs", "outputs"):
                body[field] = [{**good[field][0], **value}] if isinstance(value, dict) else [value]  # type: ignore[index]
            assume(not accepts(schema, body))
            response = client.post(INFER.format(name="digits"), json=body)
            assert response.status_code in (400, 413, 422), response.text

        post()


FIELDS = ["name", "datatype", "shape", "data", "parameters", "binary_data", "timeout", "classification", "id"]
