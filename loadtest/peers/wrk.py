"""The load generator: Debian's wrk, one process a measurement, told to print its figures as JSON."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from loadtest.peers.errors import GeneratorError
from loadtest.peers.formats import Request

TIMEOUT_S = 30
"""Patience with one request; wrk's own 2 s would drop the slow ones of a slow server from its latency."""
MARK = "figures "

_SCRIPT = """\
wrk.method = "POST"
%(headers)s
local file = assert(io.open(%(body)s, "rb"))
wrk.body = file:read("*a")
file:close()
%(paths)s
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '%(mark)s{"requests":%%d,"microseconds":%%d,"p50_us":%%d,"p99_us":%%d,"max_us":%%d,' ..
    '"status":%%d,"connect":%%d,"read":%%d,"write":%%d,"timeout":%%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    e.status, e.connect, e.read, e.write, e.timeout))
end
"""
_ROTATE = """\
local paths = {%(paths)s}
local turn = 0
function request()
  turn = turn %% #paths + 1
  return wrk.format(nil, paths[turn])
end
"""


class Figures(msgspec.Struct, frozen=True):
    """What wrk counted in one measurement. `status`: answers above 399; the others are its socket errors."""

    requests: int
    microseconds: int
    p50_us: int
    p99_us: int
    max_us: int
    status: int
    connect: int
    read: int
    write: int
    timeout: int

    @property
    def rps(self) -> float:
        """Answers below 400 per second."""
        return (self.requests - self.status) / max(1, self.microseconds) * 1e6

    @property
    def errors(self) -> int:
        return self.status + self.connect + self.read + self.write + self.timeout


@dataclass(frozen=True, slots=True)
class Generator:
    """wrk at `path` with `threads`; `folder` is where its scripts are written."""

    path: str
    folder: Path
    threads: int = 1

    def load(
        self, port: int, request: Request, *, connections: int, seconds: float, paths: tuple[str, ...] = ()
    ) -> Figures:
        """`connections` clients that each wait for their answer, for about `seconds`; raises GeneratorError.

        With `paths`, requests go to them in turn instead of to the request's own.
        """
        script = self._write(request, paths)
        whole_seconds = max(1, round(seconds))  # wrk takes no fractions
        command = [
            self.path, f"-t{min(self.threads, connections)}", f"-c{connections}", f"-d{whole_seconds}s",
            "--timeout", f"{TIMEOUT_S}s", "--latency", "-s", str(script), f"http://127.0.0.1:{port}{request.path}",
        ]  # fmt: skip
        limit_s = whole_seconds + TIMEOUT_S + 10
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)  # noqa: S603
        except subprocess.TimeoutExpired as error:
            raise GeneratorError(f"wrk did not end within {limit_s} s: {' '.join(command)}") from error
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
            raise GeneratorError(f"wrk ended with status {done.returncode}: {said[-1]}")
        return parse(done.stdout)

    def _write(self, request: Request, paths: tuple[str, ...]) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        body = self.folder / "body"
        body.write_bytes(request.body)
        script = self.folder / "request.lua"
        script.write_text(script_of(body, request.headers, paths), encoding="utf-8")
        return script


def find(folder: Path, threads: int = 1) -> Generator:
    """wrk as installed; raises GeneratorError with the way to get it."""
    path = shutil.which("wrk")
    if path is None:
        raise GeneratorError("wrk is not installed; on Debian and Ubuntu: apt-get install wrk")
    return Generator(path, folder, threads)


def script_of(body: Path, headers: Mapping[str, str], paths: tuple[str, ...] = ()) -> str:
    """The Lua script that sends `body` and prints the figures."""
    lines = [f"wrk.headers[{_quoted(name)}] = {_quoted(value)}" for name, value in headers.items()]
    rotate = _ROTATE % {"paths": ", ".join(map(_quoted, paths))} if paths else ""
    return _SCRIPT % {
        "headers": "\n".join(lines), "body": _quoted(str(body)), "paths": rotate, "mark": MARK,
    }  # fmt: skip


def parse(output: str) -> Figures:
    """The figures in what wrk printed; raises GeneratorError where there are none."""
    line = next((line for line in output.splitlines() if line.startswith(MARK)), None)
    if line is None:
        raise GeneratorError(f"wrk printed no figures: {output.strip()[-200:]!r}")
    try:
        return msgspec.json.decode(line.removeprefix(MARK).encode(), type=Figures)
    except msgspec.DecodeError as error:
        raise GeneratorError(f"wrk's figures {line!r}: {error}") from error


def _quoted(text: str) -> str:
    """A Lua string literal; JSON's escapes of quotes and backslashes are Lua's too."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
