"""The ceiling of Tutti's loop: uvicorn's httptools protocol, each POST answered with the same bytes.

Run by the interpreter that runs Tutti. The request is parsed, its body gathered; nothing is decoded or computed.
"""

# mypy: disable-error-code="import-not-found"
# `fused` is the script beside this one.

from __future__ import annotations

import json
from typing import Any

import uvicorn
from fused import OUTPUT, arguments
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CLASSES = 10


def _answer(name: str) -> bytes:
    """As long as Tutti's own answer for one row."""
    numbers = [0.0987654321] * CLASSES
    outputs = [{"name": OUTPUT, "datatype": "FP32", "shape": [1, CLASSES], "data": numbers}]
    body = json.dumps({"model_name": name, "model_version": "1", "outputs": outputs}, separators=(",", ":")).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


class Constant(HttpToolsProtocol):
    """Parses as the original does, answers at once."""

    answer: bytes
    gathered = b""

    def on_message_begin(self) -> None:
        self.gathered = b""
        self.headers = []

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        pass

    def on_body(self, body: bytes) -> None:
        self.gathered = self.gathered + body if self.gathered else body

    def on_message_complete(self) -> None:
        self.transport.write(self.answer)


async def _unused(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("the protocol answers every request itself; this is a bug")


if __name__ == "__main__":
    given = arguments()
    Constant.answer = _answer(given.name)
    uvicorn.run(
        _unused, host="127.0.0.1", port=given.port, http=Constant, loop="uvloop", lifespan="off", log_level="warning"
    )
