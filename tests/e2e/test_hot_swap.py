"""Swaps under load: nobody fails, every row is exact for the version its answer names, nothing leaks."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from model_repo import Weighted
from tests.e2e.process import ServerProcess, serving
from tests.graphs import coded, linear
from tests.repositories import Spec, publish

CLIENTS = 8
SWAPS = 200


def publish_coded(root: Path, version: int) -> None:
    """Two members, `x · version` and `x · version + 2`: their mean is `x · version + 1`."""
    members = {"plain": coded(version), "shifted": linear([[float(version)]], [2.0])}
    publish(root, "coded", members, version=version)


@dataclass(eq=False)
class Client(threading.Thread):
    """One keep-alive connection that asks without pause and checks every answer."""

    port: int
    number: int
    stop: threading.Event
    answers: int = 0
    versions: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            while not self.stop.is_set() and not self.faults:
                self.ask(connection)
        except Exception as error:
            self.faults.append(repr(error))
        finally:
            connection.close()

    def ask(self, connection: http.client.HTTPConnection) -> None:
        rows = 1 + (self.answers * 7 + self.number) % 5
        data = [float(self.number * 1000 + self.answers % 100 + row) for row in range(rows)]
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [rows, 1], "data": data}]}
        connection.request("POST", "/v2/models/coded/infer", json.dumps(body))
        response = connection.getresponse()
        content = response.read()
        if response.status != 200:
            self.faults.append(f"{response.status} {content!r}")
            return
        answer = json.loads(content)
        version = int(answer["model_version"])
        got = next(output for output in answer["outputs"] if output["name"] == "value")["data"]
        if got != [x * version + 1 for x in data]:
            self.faults.append(f"version {version}: {data} gave {got}")
        if self.versions and version < self.versions[-1]:
            self.faults.append(f"version {version} after {self.versions[-1]} on one connection")
        if not self.versions or version != self.versions[-1]:
            self.versions.append(version)
        self.answers += 1


def swap_through(root: Path, server: ServerProcess, first: int, last: int) -> None:
    for version in range(first, last + 1):
        publish_coded(root, version)
        server.wait_served("coded", version)
        if version > 3:
            shutil.rmtree(root / "coded" / str(version - 3))


@pytest.mark.timeout(180)
def test_two_hundred_swaps_under_load_fail_no_request_and_leak_nothing(tmp_path: Path) -> None:
    publish_coded(tmp_path, 1)
    with serving(tmp_path) as server:
        stop = threading.Event()
        clients = [Client(server.port, number, stop) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            swap_through(tmp_path, server, 2, SWAPS // 4)
            before = server.status("VmRSS"), server.status("Threads")
            swap_through(tmp_path, server, SWAPS // 4 + 1, SWAPS + 1)
            after = server.status("VmRSS"), server.status("Threads")
        finally:
            stop.set()
            for client in clients:
                client.join(30)
        assert [fault for client in clients for fault in client.faults] == []
        assert all(client.versions[-1] >= SWAPS for client in clients)
        assert len({version for client in clients for version in client.versions}) > SWAPS // 2
        assert server.metric("tutti_swap_total", ensemble="coded", outcome="ok") == SWAPS + 1
        answered = server.metric("tutti_requests_total", ensemble="coded")
        assert 0 < answered <= sum(client.answers for client in clients)
        assert server.metric("tutti_sessions") <= 3, "two members and their merged graph"
        assert after[1] <= before[1] + 2, f"threads: {before[1]} after 50 swaps, {after[1]} after {SWAPS}"
        # 150 swaps × 2 sessions at ~1.5 MB each would be far above this; a plateau wobbles by a few MB.
        assert after[0] <= before[0] + 12_000, f"resident kB: {before[0]} after 50 swaps, {after[0]} after {SWAPS}"


def test_weights_only_swap_shares_the_sessions(tmp_path: Path) -> None:
    members = {"plain": coded(1), "shifted": linear([[1.0]], [2.0])}
    publish(tmp_path, "coded", members)
    with serving(tmp_path) as server:
        loaded = server.metric("tutti_sessions")
        heavier: dict[str, bytes | Spec] = {"plain": Spec(members["plain"], weight=3.0), "shifted": members["shifted"]}
        publish(tmp_path, "coded", heavier, Weighted())
        server.wait_served("coded", 2)
        server.wait_for_log("'coded' version 1 is freed")
        assert server.metric("tutti_sessions") == loaded


def test_sigterm_finishes_what_is_in_flight_and_exits_with_zero(tmp_path: Path) -> None:
    publish_coded(tmp_path, 1)
    server = ServerProcess(tmp_path)
    server.wait_ready()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [2.0]}]}).encode()
    connection.putrequest("POST", "/v2/models/coded/infer")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[:10])
    server.process.terminate()
    server.wait_for_log("finishing what is in flight")
    connection.send(body[10:])
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())["outputs"][0]["data"]) == (200, [3.0])
    connection.close()
    assert server.stop() == 0
    assert any("stopped" in line for line in server.log)
