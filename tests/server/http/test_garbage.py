"""What requests leave behind is freed by its reference counts: the collector, which stops all, has nothing to do."""

from __future__ import annotations

import gc
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from server.errors import Overloaded
from tests.server.http.inference.test_protocol import BODY, Reader, question
from tests.server.http.live import Live, live

ROUNDS = 10
OURS = frozenset({"Bound", "PredictionCycle", "Exchange", "InferRequest", "Answer", "Overloaded"})


@contextmanager
def garbage(running: Live, found: list[str]) -> Iterator[None]:
    """Fill `found` with the types of what only the collector could free of what the block has made."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
        left_by = time.monotonic() + 10
        while running.server.server_state.connections:
            assert time.monotonic() < left_by, "the server has not seen that its clients left"
            time.sleep(0.01)
        gc.collect()
        found += [type(one).__name__ for one in gc.garbage]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        gc.collect()


def one_a_connection(running: Live, status: int) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as connection:
        connection.sendall(question(BODY))
        reader = Reader(connection)
        assert reader.response()[0] == status
        reader.close()


def many_a_connection(running: Live, status: int) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as connection:
        reader = Reader(connection)
        for _ in range(3):
            connection.sendall(question(BODY))
            assert reader.response()[0] == status
        reader.close()


def refuse() -> None:
    raise Overloaded("full", 1.0)


@pytest.mark.parametrize("ask", [one_a_connection, many_a_connection])
@pytest.mark.parametrize(("room", "status"), [(None, 200), (refuse, 503)])
def test_requests_and_their_connections_make_no_cycles(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[[Live, int], None], room: Callable[[], None] | None, status: int
) -> None:
    with live("short") as running:
        if room is not None:
            monkeypatch.setattr(running.manager.route("digits"), "check_room", room)
        ask(running, status)  # what is made once
        found: list[str] = []
        with garbage(running, found):
            for _ in range(ROUNDS):
                ask(running, status)
    assert {name: found.count(name) for name in OURS & set(found)} == {}
