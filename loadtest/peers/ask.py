"""One request at a time over HTTP/1.1: whether a server is up, and whether its answer is right."""

from __future__ import annotations

import http.client

import numpy as np

from loadtest.peers.errors import WrongAnswerError
from loadtest.peers.formats import Format, Request, Rows

TOLERANCE = 1e-4
"""Largest absolute difference of a probability from onnxruntime's own, member by member, then averaged."""
TIMEOUT_S = 30.0


def ask(port: int, request: Request, timeout_s: float = TIMEOUT_S) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers (lower-case names); raises OSError or http.client.HTTPException."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("POST", request.path, body=request.body, headers=dict(request.headers))
        reply = connection.getresponse()
        return reply.status, reply.read(), {name.lower(): value for name, value in reply.getheaders()}
    finally:
        connection.close()


def answers(port: int, request: Request) -> bool:
    """Whether the server gives status 200 to this request now."""
    try:
        return ask(port, request)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def check(name: str, port: int, speaks: Format, request: Request, expected: Rows) -> None:
    """Raises WrongAnswerError unless the answer is `expected` float32 [n, C] within TOLERANCE."""
    try:
        status, body, headers = ask(port, request)
    except (OSError, http.client.HTTPException) as error:
        raise WrongAnswerError(f"{name}: no answer: {error}") from error
    if status != 200:
        raise WrongAnswerError(f"{name}: status {status}: {body[:200].decode('utf-8', 'replace')}")
    found = speaks.answer(body, headers)
    if found.shape != expected.shape:
        raise WrongAnswerError(f"{name}: answers {list(found.shape)}, expected {list(expected.shape)}")
    worst = float(np.abs(found - expected).max())
    if not worst <= TOLERANCE:
        raise WrongAnswerError(f"{name}: probabilities differ by {worst:.2g} from onnxruntime's, allowed {TOLERANCE:g}")
