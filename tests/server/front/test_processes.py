"""Fronts as processes: swaps, deaths of either side, drains and the sum of the metrics."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.e2e.process import ServerProcess, serving
from tests.e2e.test_hot_swap import Client, publish_coded

FRONTS = ("--fronts", "2")
BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [2.0]}]}).encode()
ENDS_S = 20.0


class Mixed(Client):
    """A client whose every third request takes the long way, on the same connection."""

    def ask(self, connection: http.client.HTTPConnection) -> None:
        if self.answers % 3:
            super().ask(connection)
            return
        rows = [[2.0]] * 3
        connection.request("POST", "/v1/models/coded:predict", json.dumps({"instances": rows}),
                           {"Accept-Encoding": "gzip"})  # fmt: skip
        response = connection.getresponse()
        content = response.read()
        version = int(response.headers["Tutti-Version"])
        if (response.status, json.loads(content)["predictions"]) != (200, [2.0 * version + 1] * 3):
            self.faults.append(f"{response.status} {content!r}")
        if self.versions and version < self.versions[-1]:
            self.faults.append(f"version {version} after {self.versions[-1]} on one connection")
        if not self.versions or version != self.versions[-1]:
            self.versions.append(version)
        self.answers += 1


class Connections:
    """Connections that are closed when the test is over."""

    def __init__(self) -> None:
        self._opened: list[http.client.HTTPConnection] = []

    def new(self, server: ServerProcess) -> http.client.HTTPConnection:
        """A connection of which one request has been answered."""
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        self._opened.append(connection)
        assert asked(connection)[0] == 200
        return connection

    def on_each_front(self, server: ServerProcess) -> dict[int, http.client.HTTPConnection]:
        """One connection held by each of the two fronts, by process id."""
        found: dict[int, http.client.HTTPConnection] = {}
        while len(found) < 2:
            connection = self.new(server)
            found.setdefault(held_by(server, connection), connection)
        return found

    def close(self) -> None:
        for connection in self._opened:
            connection.close()


@pytest.fixture
def connections() -> Iterator[Connections]:
    opened = Connections()
    yield opened
    opened.close()


def asked(connection: http.client.HTTPConnection) -> tuple[int, bytes]:
    connection.request("POST", "/v2/models/coded/infer", BODY)
    response = connection.getresponse()
    return response.status, response.read()


def held_by(server: ServerProcess, connection: http.client.HTTPConnection) -> int:
    """The front that holds the other end of a connection: it has the socket's inode among its files."""
    port = connection.sock.getsockname()[1]
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{server.port:04X}") and fields[2].endswith(f":{port:04X}"):
            inode = fields[9]
    links = {
        os.readlink(file): pid
        for pid in server.children()
        for file in Path(f"/proc/{pid}/fd").iterdir()
        if file.is_symlink()
    }
    return links[f"socket:[{inode}]"]


def gone(pid: int) -> bool:
    """Whether the process ends in time; one that waits for its parent to look counts as ended."""
    deadline = time.monotonic() + ENDS_S
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        threading.Event().wait(0.02)
    return False


@pytest.mark.timeout(180)
def test_swaps_under_load_fail_no_request_and_no_connection_goes_back_a_version(tmp_path: Path) -> None:
    publish_coded(tmp_path, 1)
    with serving(tmp_path, *FRONTS) as server:
        stop = threading.Event()
        clients = [(Mixed if number % 2 else Client)(server.port, number, stop) for number in range(8)]
        for client in clients:
            client.start()
        try:
            for version in range(2, 21):
                publish_coded(tmp_path, version)
                server.wait_served("coded", version)
        finally:
            stop.set()
            for client in clients:
                client.join(30)
        assert [fault for client in clients for fault in client.faults] == []
        assert len({version for client in clients for version in client.versions}) > 10
        assert server.metric("tutti_swap_total", ensemble="coded", outcome="ok") == 20


def test_metrics_count_what_every_front_answered(tmp_path: Path, connections: Connections) -> None:
    publish_coded(tmp_path, 1)
    with serving(tmp_path, *FRONTS) as server:
        held = connections.on_each_front(server)
        before = settled(server, 0)
        for connection in held.values():
            for _ in range(10):
                assert asked(connection)[0] == 200
        assert settled(server, before + 20) == before + 20
        assert server.metric("tutti_fronts") == 2


def settled(server: ServerProcess, least: float) -> float:
    """The requests counted, once two looks agree: fronts tell what they counted within 0.25 s."""
    last = -1.0
    while (now := server.metric("tutti_requests_total", ensemble="coded", outcome="ok")) != last or now < least:
        last = now
        threading.Event().wait(0.6)
    return now


def test_a_front_that_is_killed_harms_its_own_connections_alone_and_comes_back(
    tmp_path: Path, connections: Connections
) -> None:
    publish_coded(tmp_path, 1)
    with serving(tmp_path, *FRONTS) as server:
        held = connections.on_each_front(server)
        victim, other = held
        os.kill(victim, signal.SIGKILL)
        for _ in range(50):
            assert asked(held[other])[0] == 200
        with pytest.raises((http.client.HTTPException, OSError)):
            asked(held[victim])
        server.wait_for_log(r"front \d ended with status -9; it is started again")
        for _ in range(20):  # some queue at the place of the dead, and are answered by its successor
            connections.new(server)
        successor = next(pid for pid in connections.on_each_front(server) if pid not in (victim, other))
        assert successor in server.children()
        assert server.metric("tutti_front_restarts_total") == 1


def test_when_the_engine_is_killed_the_fronts_leave(tmp_path: Path) -> None:
    publish_coded(tmp_path, 1)
    with ExitStack() as held:
        folder = Path(held.enter_context(TemporaryDirectory()))  # not below tmp_path: a socket's path must be short
        server = ServerProcess(tmp_path, *FRONTS, environ={"TMPDIR": str(folder)})
        held.callback(server.stop)
        server.wait_ready()
        fronts = server.children()
        assert list(folder.glob("tutti-*/engine.sock"))
        assert len(fronts) == 2
        server.process.kill()
        server.process.wait(ENDS_S)
        assert all(gone(pid) for pid in fronts)
        assert not list(folder.glob("tutti-*/engine.sock"))
        with pytest.raises(OSError, match=r"refused"):
            socket.create_connection(("127.0.0.1", server.port), timeout=5)


def test_a_request_that_waits_for_a_dead_engine_is_answered_503(tmp_path: Path, connections: Connections) -> None:
    publish_coded(tmp_path, 1)
    server = ServerProcess(tmp_path, *FRONTS)
    try:
        server.wait_ready()
        waiting, slow = connections.new(server), connections.new(server)
        server.process.send_signal(signal.SIGSTOP)
        waiting.request("POST", "/v2/models/coded/infer", BODY)
        slow.request("GET", "/v2")
        server.process.kill()
        for connection in (waiting, slow):
            response = connection.getresponse()
            assert (response.status, response.headers["Retry-After"]) == (503, "1")
    finally:
        server.stop()


@pytest.mark.parametrize("everyone", [False, True], ids=["the engine alone", "the whole group, twice for the fronts"])
def test_sigterm_finishes_what_is_in_flight_and_exits_with_zero(tmp_path: Path, everyone: bool) -> None:
    publish_coded(tmp_path, 1)
    server = ServerProcess(tmp_path, *FRONTS)
    try:
        server.wait_ready()
        asking = []
        for path in ("/v2/models/coded/infer", "/v2/repository/models/none/load"):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            connection.putrequest("POST", path)
            connection.putheader("Content-Length", str(len(BODY)))
            connection.endheaders(BODY[:10])
            asking.append(connection)
        if everyone:
            for pid in server.children():
                os.kill(pid, signal.SIGTERM)
                os.kill(pid, signal.SIGINT)
        server.process.terminate()
        server.wait_for_log("finishing what is in flight")
        for connection, status in zip(asking, (200, 403), strict=True):
            connection.send(BODY[10:])
            assert connection.getresponse().status == status
            connection.close()
    finally:
        assert server.stop() == 0
    assert any("stopped" in line for line in server.log)
    assert not [line for line in server.log if " error " in line or "Traceback" in line]


@pytest.mark.parametrize("path", ["/v2/models/coded/infer", "/v2/models/nobody/infer"])
def test_rates_are_counted_over_all_fronts_and_both_ways(tmp_path: Path, path: str) -> None:
    publish_coded(tmp_path, 1)
    with serving(tmp_path, *FRONTS, "--rate-limit-rps", "1") as server:
        started = time.monotonic()
        statuses = []
        for number in range(30):
            headers = {"Accept-Encoding": "gzip"} if number % 2 else {}
            statuses.append(server.request("POST", path, BODY, headers)[0])
        allowed = 1 + (time.monotonic() - started)
        assert 1 <= 30 - statuses.count(429) <= allowed
        assert set(statuses) <= {200, 404, 429}


def test_requests_are_logged_with_their_client(tmp_path: Path) -> None:
    publish_coded(tmp_path, 1)
    with serving(tmp_path, *FRONTS, "--access-log", "true") as server:
        assert server.request("POST", "/v2/models/coded/infer", BODY)[0] == 200
        server.wait_for_log(r"127\.0\.0\.1 POST '?/v2/models/coded/infer'? 200 ")


def test_control_paths_stay_on_a_port_of_their_own(tmp_path: Path) -> None:
    publish_coded(tmp_path, 1)
    with serving(tmp_path, *FRONTS, "--control-port", "0") as server:
        assert server.control("/v2/repository/models/coded/load")[0] == 404
        server.port = server.ports[1]
        assert server.control("/v2/repository/models/coded/load")[0] == 200
        assert server.request("POST", "/v2/models/coded/infer", BODY)[0] == 404


def test_a_port_that_another_server_has_is_refused(tmp_path: Path) -> None:
    publish_coded(tmp_path, 1)
    with serving(tmp_path, *FRONTS) as server:
        command = [sys.executable, "-m", "tutti", "serve", "--repository", str(tmp_path), *FRONTS]
        second = subprocess.run(
            [*command, "--port", str(server.port)], check=False, capture_output=True, text=True, timeout=60
        )
        assert (second.returncode, "cannot listen on" in second.stderr) == (2, True)


def test_a_socket_path_that_is_too_long_is_one_line(tmp_path: Path) -> None:
    long = tmp_path / ("long" * 30)
    long.mkdir()
    (tmp_path / "models").mkdir()
    command = [sys.executable, "-m", "tutti", "serve", "--repository", str(tmp_path / "models"), "--port", "0"]
    done = subprocess.run(
        [*command, "--fronts", "1"], env={**os.environ, "TMPDIR": str(long)}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("tutti serve: --fronts: the path of the fronts' socket")
    assert line.endswith("at most 107 are taken; TMPDIR names another folder")
    assert list(long.iterdir()) == []
