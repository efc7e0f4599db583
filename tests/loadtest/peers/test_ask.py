"""An answer is checked before its server is measured."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from loadtest.peers.ask import answers, check
from loadtest.peers.errors import WrongAnswerError
from loadtest.peers.formats import keyed
from loadtest.peers.process import free_port

FORMAT = keyed("/predict")
REQUEST = FORMAT.request("tiny", np.zeros((1, 2), dtype=np.float32))


class _Scripted(http.server.BaseHTTPRequestHandler):
    """Answers what the path's server was told to."""

    status, body = 200, b'{"predictions":[[0.25,0.75]]}'

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: tests read the answers."""


@pytest.fixture
def handler() -> type[_Scripted]:
    return type("Handler", (_Scripted,), {})


@pytest.fixture
def port(handler: type[_Scripted]) -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_the_right_answer_passes(port: int) -> None:
    check("peer", port, FORMAT, REQUEST, np.array([[0.25004, 0.74996]], dtype=np.float32))
    assert answers(port, REQUEST)


def test_a_wrong_answer_is_refused_with_the_difference(port: int) -> None:
    with pytest.raises(WrongAnswerError, match=r"peer: probabilities differ by 0\.25 from onnxruntime's"):
        check("peer", port, FORMAT, REQUEST, np.array([[0.5, 0.5]], dtype=np.float32))


def test_an_answer_that_is_no_number_is_refused(port: int, handler: type[_Scripted]) -> None:
    handler.body = b'{"predictions":[[null,0.75]]}'
    with pytest.raises(WrongAnswerError):
        check("peer", port, FORMAT, REQUEST, np.array([[0.25, 0.75]], dtype=np.float32))


def test_an_answer_of_another_shape_is_refused(port: int) -> None:
    with pytest.raises(WrongAnswerError, match=r"peer: answers \[1, 2\], expected \[2, 2\]"):
        check("peer", port, FORMAT, REQUEST, np.zeros((2, 2), dtype=np.float32))


def test_a_refusal_is_told_in_the_servers_words(port: int, handler: type[_Scripted]) -> None:
    handler.status, handler.body = 503, b"overloaded"
    assert not answers(port, REQUEST)
    with pytest.raises(WrongAnswerError, match="peer: status 503: overloaded"):
        check("peer", port, FORMAT, REQUEST, np.zeros((1, 2), dtype=np.float32))


def test_a_server_that_is_not_there_is_no_crash() -> None:
    nobody = free_port()
    assert not answers(nobody, REQUEST)
    with pytest.raises(WrongAnswerError, match="peer: no answer"):
        check("peer", nobody, FORMAT, REQUEST, np.zeros((1, 2), dtype=np.float32))
