"""A server as a child process: started in a group of its own, asked until it answers, ended with all its children."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.peers.errors import PeerServerError

STOP_S = 15.0
"""From SIGTERM to SIGKILL."""
POLL_S = 0.05
LOG_TAIL = 400


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    start_s: float = 0.0
    """From starting the process to its first answer."""

    def require_alive(self) -> None:
        """Raises PeerServerError where it has ended."""
        status = self.process.poll()
        if status is not None:
            raise PeerServerError(f"{self.name} ended with status {status}: {self.last_words()}")

    def last_words(self) -> str:
        """The end of its log in one line."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return " ".join(text.split())[-LOG_TAIL:] or "its log is empty"

    def cpu_s(self) -> float:
        """Processor seconds that it and its living descendants have used."""
        pids = [self.process.pid, *(pid for pid, _ in _descendants(self.process.pid))]
        return sum(_ticks(pid) for pid in pids) / os.sysconf("SC_CLK_TCK")

    def rss_bytes(self) -> int:
        """Resident memory of it and its descendants; pages that they share are counted for each."""
        page = os.sysconf("SC_PAGE_SIZE")
        pids = [self.process.pid, *(pid for pid, _ in _descendants(self.process.pid))]
        return sum(_resident_pages(pid) for pid in pids) * page


@contextlib.contextmanager
def running(
    name: str,
    command: Sequence[str],
    port: int,
    log: Path,
    *,
    ready: Callable[[], bool],
    limit_s: float,
    folder: Path | None = None,
) -> Iterator[Server]:
    """The server while the block lasts, from when `ready()` first holds; raises PeerServerError.

    It starts in `folder`, unsaid in that of its log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 - the command is the catalogue's
            list(command), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            start_new_session=True, env=environment, cwd=folder or log.parent,
        )  # fmt: skip
    server = Server(name, port, process, log)
    try:
        yield _wait(server, ready, limit_s)
    finally:
        stop(process)


def _wait(server: Server, ready: Callable[[], bool], limit_s: float) -> Server:
    began = time.monotonic()
    while not ready():
        server.require_alive()
        if time.monotonic() > began + limit_s:
            raise PeerServerError(f"{server.name} did not answer within {limit_s:g} s: {server.last_words()}")
        time.sleep(POLL_S)
    return dataclasses.replace(server, start_s=time.monotonic() - began)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End it and what it started: SIGTERM to it, then SIGKILL to whoever of them is still there."""
    family = {process.pid: _started(process.pid), **dict(_descendants(process.pid))}
    if process.poll() is None:
        process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    for pid, started in family.items():
        # The start time tells our child from a stranger that got its number.
        if started is not None and _started(pid) == started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait()
    end = time.monotonic() + STOP_S  # a killed process takes a moment to go
    while any(started is not None and _started(pid) == started for pid, started in family.items()):
        if time.monotonic() > end:
            raise PeerServerError(f"a server's processes {sorted(family)} do not end")
        time.sleep(POLL_S)


def free_port() -> int:
    """A port that nobody has on the loopback at this moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _descendants(root: int) -> list[tuple[int, int | None]]:
    """Every process below `root` with its start time in clock ticks since boot."""
    parents: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal() and (fields := _stat(int(entry.name))):
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        for child in parents.get(waiting.pop(), ()):
            found.append((child, _started(child)))
            waiting.append(child)
    return found


def _started(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] != "Z" else None


def _ticks(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[11]) + int(fields[12]) if fields else 0


def _resident_pages(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):
        return 0


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on (proc(5), field 3); [] where the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
