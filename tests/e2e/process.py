"""A real `tutti serve` in a process of its own, on a free port of 127.0.0.1, and a plain HTTP client for it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TOKEN = "a-token-for-the-tests"
START_S = 30.0


class ServerProcess:
    """One server process; `log` grows as it writes."""

    def __init__(self, repository: Path, *flags: str, environ: Mapping[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "tutti", "serve", "--repository", str(repository), "--port", "0", *flags]
        self.process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TUTTI_CONTROL_TOKEN": TOKEN, **(environ or {})},
        )
        self.log: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            line = self.wait_for_log(r"listening on http://[^ ]+")
        except AssertionError:
            self.stop()
            raise
        self.ports = [int(port) for port in re.findall(r"http://[^ ,]+?:(\d+)", line)]
        self.port = self.ports[0]
        self.address = f"127.0.0.1:{self.port}"

    def wait_for_log(self, pattern: str, timeout_s: float = START_S) -> str:
        """The first line that matches, seen already or to come."""
        deadline = time.monotonic() + timeout_s
        with self._news:
            while True:
                for line in self.log:
                    if re.search(pattern, line):
                        return line
                left = deadline - time.monotonic()
                if left <= 0 or self.process.poll() is not None:
                    raise AssertionError(f"no line matches {pattern!r} in:\n" + "".join(self.log))
                self._news.wait(min(left, 0.5))

    def wait_ready(self) -> None:
        self.wait_for_log(r"ready: ")

    def wait_served(self, name: str, version: int) -> None:
        """Return once the version answers."""
        self.wait_for_log(rf"'{name}' is served by version {version}\b")

    def request(
        self, method: str, path: str, body: bytes | str | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower-case names) and body of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            content = response.read()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, content
        finally:
            connection.close()

    def json(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON answer of a request that must succeed."""
        status, _, content = self.request(method, path, None if body is None else json.dumps(body), headers)
        assert status == 200, f"{method} {path}: {status} {content!r}"
        return json.loads(content)

    def control(self, path: str) -> tuple[int, bytes]:
        """A call of a control path with the token."""
        status, _, content = self.request("POST", path, "{}", {"Authorization": f"Bearer {TOKEN}"})
        return status, content

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry these labels."""
        _, _, content = self.request("GET", "/metrics")
        total = 0.0
        for line in content.decode().splitlines():
            if re.match(rf"{name}(\{{| )", line) and all(f'{key}="{value}"' in line for key, value in labels.items()):
                total += float(line.rsplit(" ", 1)[1])
        return total

    def status(self, field: str) -> int:
        """A number of /proc/PID/status: VmRSS in kB, Threads."""
        text = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        found = re.search(rf"^{field}:\s+(\d+)", text, re.MULTILINE)
        assert found is not None
        return int(found.group(1))

    def children(self) -> list[int]:
        """Process ids of the processes that the server started and that live."""
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return [int(pid) for pid in Path(path).read_text(encoding="ascii").split()]

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self._reader.join(5)
            if self.process.stderr is not None:
                self.process.stderr.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.log.append(line)
                self._news.notify_all()


@contextmanager
def serving(repository: Path, *flags: str, environ: Mapping[str, str] | None = None) -> Iterator[ServerProcess]:
    """A server that has loaded what the repository holds; stopped with exit status 0 at the end."""
    server = ServerProcess(repository, *flags, environ=environ)
    try:
        server.wait_ready()
        yield server
    except BaseException:
        print("".join(server.log[-60:]))
        raise
    finally:
        status = server.stop()
    assert status == 0, f"the server left with status {status}:\n" + "".join(server.log[-40:])
