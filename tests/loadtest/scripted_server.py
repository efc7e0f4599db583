"""A small real HTTP server whose answers to infer are scripted: latency, status, version, framing."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, cast

import httptools

Framing = Literal["length", "chunked", "until_close"]


@dataclass(frozen=True)
class Answer:
    """One scripted answer. `reset` closes instead of answering, `silent` never answers."""

    status: int = 200
    body: bytes | None = None
    """None: an infer answer by `version`."""
    version: str = "1"
    degraded: bool = False
    delay_s: float = 0.0
    framing: Framing = "length"
    close: bool = False
    reset: bool = False
    silent: bool = False
    interim: bool = False
    """Send `100 Continue` before the answer."""
    headers: tuple[tuple[str, str], ...] = ()

    def content(self) -> bytes:
        if self.body is not None:
            return self.body
        parameters = {"degraded": True, "missing": ["rf"]} if self.degraded else {}
        output = {"name": "probabilities", "datatype": "FP32", "shape": [1, 2], "data": [0.25, 0.75]}
        answer = {"model_name": "digits", "model_version": self.version, "parameters": parameters, "outputs": [output]}
        return json.dumps(answer).encode()

    def encode(self) -> bytes:
        body = self.content()
        head = [f"HTTP/1.1 {self.status} Scripted", "Content-Type: application/json"]
        head += [f"{name}: {value}" for name, value in self.headers]
        if self.close or self.framing == "until_close":
            head.append("Connection: close")
        if self.framing == "chunked":
            head.append("Transfer-Encoding: chunked")
            half = len(body) // 2
            body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:]) if part)
            body += b"0\r\n\r\n"
        elif self.framing == "length":
            head.append(f"Content-Length: {len(body)}")
        interim = b"HTTP/1.1 100 Continue\r\n\r\n" if self.interim else b""
        return interim + "\r\n".join(head).encode() + b"\r\n\r\n" + body


@dataclass(frozen=True)
class Request:
    """One infer request as it arrived: its number from 0, the connection's, seconds since the server began."""

    number: int
    connection: int
    at: float
    headers: dict[bytes, bytes]
    body: bytes


Script = Callable[[Request], Answer]

INPUTS = [{"name": "pixels", "datatype": "FP32", "shape": [-1, 2, 3]}]


@dataclass
class ScriptedServer:
    """Serves in a thread of its own while the `with` block lasts; `requests` are the infer requests so far."""

    script: Script
    inputs: list[dict[str, Any]] = field(default_factory=lambda: INPUTS)
    names: tuple[str, ...] = ("digits",)
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    began: float = field(default_factory=time.monotonic)
    url: str = ""

    def __enter__(self) -> ScriptedServer:
        ready = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(ready),))
        self._thread.start()
        ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def answer(self, method: bytes, path: bytes, connection: int, headers: dict[bytes, bytes], body: bytes) -> Answer:
        """What the server says to one request."""
        if path == b"/v2":
            return Answer(body=json.dumps({"name": "tutti", "version": "1", "extensions": []}).encode())
        if path == b"/v2/repository/index":
            index = [{"name": name, "version": "1", "state": "READY", "reason": ""} for name in self.names]
            return Answer(body=json.dumps(index).encode())
        name = path.split(b"/")[3].decode()
        if name not in self.names:
            return Answer(404, json.dumps({"error": f"ensemble '{name}' is unknown"}).encode())
        if method == b"GET":
            metadata = {"name": name, "versions": ["1"], "platform": "tutti", "inputs": self.inputs, "outputs": []}
            return Answer(body=json.dumps(metadata).encode())
        request = Request(len(self.requests), connection, time.monotonic() - self.began, headers, body)
        self.requests.append(request)
        return self.script(request)

    def leave(self) -> None:
        """Stop listening and drop every connection, as a killed server does; for scripts."""
        self._listener.close()
        for transport in list(self._open):
            transport.abort()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._open: set[asyncio.Transport] = set()
        self._listener = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        port = self._listener.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        ready.set()
        await self._stop.wait()
        self._listener.close()
        accepting = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*accepting, return_exceptions=True)  # a connection being accepted has no transport yet
        self.leave()
        for _ in range(3):  # the sockets close a turn after the abort
            await asyncio.sleep(0)


class _Connection(asyncio.Protocol):
    def __init__(self, server: ScriptedServer) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._number = server.connections
        server.connections += 1
        self._begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server._open.add(self._transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._server._open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, part: bytes) -> None:
        self._body += part

    def on_message_complete(self) -> None:
        method = self._parser.get_method()
        answer = self._server.answer(method, self._path, self._number, self._headers, self._body)
        self._begin()
        if answer.reset:
            self._transport.abort()
        elif answer.silent:
            pass
        elif answer.delay_s:
            self._server._loop.call_later(answer.delay_s, self._write, answer)
        else:
            self._write(answer)

    def _write(self, answer: Answer) -> None:
        self._transport.write(answer.encode())
        if answer.close or answer.framing == "until_close":
            self._transport.close()

    def _begin(self) -> None:
        self._path = b""
        self._headers: dict[bytes, bytes] = {}
        self._body = b""
