"""The long runs: `make soak`."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.e2e.process import serving
from tests.e2e.test_hot_swap import CLIENTS, Client, publish_coded, swap_through

SWAPS = 2000


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_thousand_swaps_under_load_leave_memory_threads_and_files_flat(tmp_path: Path) -> None:
    publish_coded(tmp_path, 1)
    with serving(tmp_path) as server:
        stop = threading.Event()
        clients = [Client(server.port, number, stop) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        readings: list[tuple[int, int, int]] = []
        try:
            for first in range(2, SWAPS, 100):
                swap_through(tmp_path, server, first, first + 99)
                files = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
                readings.append((server.status("VmRSS"), server.status("Threads"), files))
                del server.log[:-1000]
        finally:
            stop.set()
            for client in clients:
                client.join(30)
        assert [fault for client in clients for fault in client.faults] == []
        early, late = readings[2], readings[-1]
        print("resident kB, threads, files:", *readings, sep="\n")
        swaps = 100 * (len(readings) - 3)
        # 5 kB a swap is what the catalogue of faults allows; a leaked session is about 1,500.
        assert late[0] - early[0] < 5 * swaps, f"resident kB: {early[0]} → {late[0]} in {swaps} swaps"
        assert late[1] <= early[1] + 2, f"threads: {early[1]} → {late[1]}"
        assert late[2] <= early[2] + 8, f"open files: {early[2]} → {late[2]}"
