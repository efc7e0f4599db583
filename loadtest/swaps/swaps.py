"""Publishing new versions while the load runs, and waiting until each one answers."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from loadtest.errors import SwapError

EARLY_S = 0.002
"""A loop's timer may ring up to a millisecond early; a swap is never published before it is due."""


@dataclass(frozen=True, slots=True)
class Published:
    """A publish that is complete; times of `time.monotonic`.

    A server may see the version, and even answer with it, before the publisher has returned.
    """

    began: float
    returned: float
    version: int | None
    """None where nobody said which: it is then the first answer newer than `newer_than`."""
    newer_than: int
    """Newest version that had answered when the publish began."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a publisher says: when it was done, and the version or None where it does not know."""

    returned: float
    version: int | None


Publish = Callable[[], Awaitable[Receipt]]


class Republisher:
    """Publishes the current version of an ensemble again, in a process of its own (`loadtest.swaps.republish`)."""

    def __init__(self, repository: Path, ensemble: str) -> None:
        self._arguments = (str(repository), ensemble)
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Republisher:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "loadtest.swaps.republish",
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()

    async def publish(self) -> Receipt:
        """The next version; raises SwapError with the repository's own words."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise RuntimeError("publish() outside of `async with` is a bug")
        process.stdin.write(b"\n")
        line = await process.stdout.readline()
        try:
            answer = msgspec.json.decode(line)
        except msgspec.DecodeError:
            answer = {"error": "the publisher ended without an answer"}
        if "error" in answer:
            raise SwapError(f"cannot publish into {self._arguments[0]}: {answer['error']}")
        return Receipt(answer["at"], answer["version"])


class Command:
    """Publishes by a shell command; the last word of its output may be the new version's number."""

    def __init__(self, command: str) -> None:
        self._command = command

    async def publish(self) -> Receipt:
        """Run the command; raises SwapError unless it exits 0."""
        process = await asyncio.create_subprocess_shell(
            self._command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        try:
            output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        returned = time.monotonic()
        if process.returncode:
            last = (errors or output).decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise SwapError(f"swap command '{self._command}' ended with {process.returncode}: {last}")
        word = (output.split() or [b""])[-1]
        return Receipt(returned, int(word) if word.isdigit() else None)


class Swapper:
    """Publishes `swaps` versions at even spacing, each only when the one before it has answered."""

    def __init__(self, publish: Publish, *, swaps: int, over_s: float, patience_s: float) -> None:
        self.published: list[Published] = []
        self.swaps = swaps
        self._publish = publish
        self._due_times = [over_s * (number + 0.5) / swaps for number in range(swaps)]
        self._patience_s = patience_s
        self._finished_at: float | None = None
        self._newest = 0
        self._news = asyncio.Event()

    def saw(self, version: int) -> None:
        """Tell the swapper that `version`, newer than all before, has answered."""
        self._newest = version
        self._news.set()

    async def run(self, start: float) -> None:
        """Publish at `start` (`time.monotonic`) + each due time; raises SwapError.

        A version that does not answer within the patience ends the swapping: the report says so.
        """
        try:
            for due in self._due_times:
                await asyncio.sleep(max(0.0, start + due - time.monotonic()) + EARLY_S)
                began, newest = time.monotonic(), self._newest
                receipt = await self._publish()
                self.published.append(Published(began, receipt.returned, receipt.version, newest))
                if not await self._answers(receipt.version or newest + 1):
                    return
        finally:
            self._finished_at = time.monotonic()

    def settled(self, for_s: float) -> bool:
        """Whether the last swap is over, and has been for `for_s` seconds."""
        return self._finished_at is not None and time.monotonic() >= self._finished_at + for_s

    async def _answers(self, version: int) -> bool:
        try:
            async with asyncio.timeout(self._patience_s):
                while self._newest < version:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return True
