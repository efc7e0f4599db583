"""Two fronts answer what one process answers, byte for byte, whatever is sent."""

from __future__ import annotations

import gzip
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.process import TOKEN, ServerProcess, serving
from tests.graphs import coded, keyword, linear, softmax_linear
from tests.repositories import publish

X = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 1], "data": [2.0, 0.1]}]}).encode()
HEAD = (
    b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"parameters":{"binary_data_size":4}}],'
    b'"outputs":[{"name":"value","parameters":{"binary_data":true}}]}'
)
BINARY = HEAD + np.array([1.5], "<f4").tobytes()
LONG = json.dumps({"instances": [[float(n % 97)] for n in range(60_000)]}).encode()
ORIGIN = "https://shop.example"
INFER = "/v2/models/coded/infer"


def sent(body: bytes, path: str = INFER, method: str = "POST", **headers: str) -> bytes:
    fields = {"host": "test", "connection": "close", "content-length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items() if value)
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def chunked(body: bytes, size: int = 7) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


REQUESTS: dict[str, bytes] = {
    "infer": sent(X),
    "infer by version": sent(X, "/v2/models/coded/versions/1/infer"),
    "infer an older version": sent(X, "/v2/models/coded/versions/7/infer"),
    "infer with id and outputs": sent(b'{"id":"7","outputs":[{"name":"members"},{"name":"std"}],' + X[1:]),
    "binary both ways": sent(BINARY, inference_header_content_length=str(len(HEAD))),
    "binary cut off": sent(BINARY[:-2], inference_header_content_length=str(len(HEAD))),
    "predict": sent(b'{"instances":[[1.0],[2.5]]}', "/v1/models/coded:predict"),
    "predict by label": sent(b'{"instances":[[1.0]]}', "/v1/models/coded/labels/none:predict"),
    "predict many rows": sent(LONG, "/v1/models/coded:predict"),
    "classes": sent(b'{"instances":[[1.0,2.0],[0.0,-3.0]]}', "/v1/models/classes:predict"),
    "classes best of": sent(
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}],'
        b'"outputs":[{"name":"probabilities","parameters":{"classification":2}}]}',
        "/v2/models/classes/infer",
    ),
    "strings": sent('{"instances":[["a good word"],["wörter ✓"]]}'.encode(), "/v1/models/words:predict"),
    "verb": sent(b"{}", "/v1/models/coded:explain"),
    "no such ensemble": sent(X, "/v2/models/nobody/infer"),
    "no name": sent(X, "/v2/models/%00/infer"),
    "no such path": sent(b"", "/v3", "GET"),
    "wrong method": sent(b"", INFER, "DELETE"),
    "no JSON": sent(b"{", INFER),
    "empty": sent(b"", INFER),
    "a missing number": sent(X.replace(b"0.1", b"null")),
    "NaN": sent(X.replace(b"0.1", b"NaN")),
    "a byte order mark": sent(b"\xef\xbb\xbf" + X),
    "a tensor alone": sent(BINARY[-4:], inference_header_content_length="0"),
    "nulls": sent(b'{"id":null,"parameters":null,"outputs":null,' + X[1:]),
    "wrong shape": sent(X.replace(b"[2, 1]", b"[1, 2]")),
    "wrong input": sent(X.replace(b'"x"', b'"y"')),
    "wrong media": sent(X, content_type="text/csv"),
    "too long a body": sent(b"", content_length=str(1 << 40)),
    "two lengths": sent(X, content_length=f"{len(X)}\r\ncontent-length: {len(X) + 1}"),
    "chunked": sent(b"", content_length="", transfer_encoding="chunked") + chunked(X),
    "gzip in": sent(gzip.compress(X, mtime=0), content_encoding="gzip"),
    "gzip damaged": sent(b"no gzip", content_encoding="gzip"),
    "gzip out": sent(LONG, "/v1/models/coded:predict", accept_encoding="gzip"),
    "expect": sent(X, expect="100-continue"),
    "expect too long": sent(b"", content_length=str(1 << 40), expect="100-continue"),
    "HTTP/1.0": sent(X).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    "too many fields": sent(X, **{f"x{n}": "y" for n in range(300)}),
    "too long a field": sent(X, x="y" * 70_000),
    "too long a path": sent(X, "/v2/models/" + "y" * 70_000 + "/infer"),
    "no HTTP": b"HELO there\r\n\r\n",
    "pipelined": sent(X, connection="keep-alive") + sent(b"", "/v2", "GET", connection="keep-alive") + sent(BINARY),
    "metadata": sent(b"", "/v2/models/coded", "GET"),
    "server": sent(b"", "/v2", "GET"),
    "ready": sent(b"", "/v2/health/ready", "GET"),
    "ensemble ready": sent(b"", "/v2/models/nobody/ready", "GET"),
    "config": sent(b"", "/v2/models/classes/config", "GET"),
    "index": sent(b"{}", "/v2/repository/index"),
    "schema": sent(b"", "/schema/openapi.json", "GET"),
    "head": sent(b"", "/v2", "HEAD"),
    "head of an ensemble": sent(b"", "/v2/models/coded", "HEAD"),
    "options": sent(b"", INFER, "OPTIONS"),
    "options of predict": sent(b"", "/v1/models/coded:predict", "OPTIONS"),
    "preflight": sent(b"", INFER, "OPTIONS", origin=ORIGIN, access_control_request_method="POST"),
    "from a listed origin": sent(X, origin=ORIGIN),
    "from another origin": sent(X, origin="https://evil.example"),
    "load without a token": sent(b"{}", "/v2/repository/models/coded/load"),
    "load": sent(b"{}", "/v2/repository/models/coded/load", authorization=f"Bearer {TOKEN}"),
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    root = tmp_path_factory.mktemp("models")
    publish(root, "coded", {"plain": coded(1), "shifted": linear([[1.0]], [2.0])})
    publish(root, "classes", {"one": softmax_linear([[1.0, 2.0, 0.5], [0.5, 1.0, 2.0]])})
    publish(root, "words", {"one": keyword(["good", "bad"], 2)})
    flags = ("--plan", "sequential", "--lanes", "1", "--cors-origins", ORIGIN)
    seed = {"PYTHONHASHSEED": "0"}  # Litestar's OpenAPI document lists some things in the order of a set
    with (
        serving(root, *flags, environ=seed) as alone,
        serving(root, *flags, "--fronts", "2", environ=seed) as fronts,
    ):
        yield alone, fronts


def answer(server: ServerProcess, request: bytes) -> bytes:
    """Everything that the server sends until it closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(request)
        parts = []
        while part := connection.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("name", REQUESTS)
def test_the_bytes_of_an_answer_are_those_of_one_process(
    servers: tuple[ServerProcess, ServerProcess], name: str
) -> None:
    alone, fronts = (answer(server, REQUESTS[name]) for server in servers)
    assert fronts == alone
    assert re.match(rb"HTTP/1\.1 \d{3} ", alone)


@pytest.mark.parametrize("place", [0, 1], ids=["alone", "fronts"])
def test_a_deadline_of_a_microsecond_is_told_as_such(servers: tuple[ServerProcess, ServerProcess], place: int) -> None:
    told = answer(servers[place], sent(b'{"parameters":{"timeout":1},' + X[1:]))
    assert told.startswith(b"HTTP/1.1 504 ")
    assert (
        b"had passed before it was queued; timeouts are in microseconds" in told or "deadline was 1 µs".encode() in told
    )
    assert b"0.000" not in told


def test_a_client_that_leaves_a_long_upload_harms_nobody(servers: tuple[ServerProcess, ServerProcess]) -> None:
    _, fronts = servers
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", fronts.port), timeout=20) as connection:
            connection.sendall(sent(LONG, "/v1/models/coded:predict", accept_encoding="gzip")[:300_000])
    assert answer(fronts, REQUESTS["gzip out"]).startswith(b"HTTP/1.1 200")


def test_fronts_import_no_runtime(servers: tuple[ServerProcess, ServerProcess]) -> None:
    _, fronts = servers
    for pid in fronts.children():
        assert "onnxruntime" not in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
