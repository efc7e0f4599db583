"""Which processes there are: what a test started must be gone when it ends."""

from __future__ import annotations

import os
import time
from pathlib import Path


def children() -> set[int]:
    """Processes whose parent is this one, but for multiprocessing's own tracker, which stays."""
    return {process for process in _below(os.getpid()) if b"resource_tracker" not in _command(process)}


def descendants(process: int) -> list[int]:
    """Its children, and theirs, but for trackers."""
    found = [one for one in _below(process) if b"resource_tracker" not in _command(one)]
    return found + [other for one in found for other in descendants(one)]


def ended(processes: set[int], within_s: float) -> bool:
    """Whether none of them runs after so long at most."""
    until = time.monotonic() + within_s
    while any(_command(process) for process in processes):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def _below(parent: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(folder.name))
    return found


def _command(process: int) -> bytes:
    """Empty of one that has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def naming(word: str) -> list[int]:
    """Processes of anybody whose command line has the word, but for this one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if word.encode() in command and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def gone(word: str, within_s: float) -> bool:
    """Whether no process names the word after so long at most."""
    until = time.monotonic() + within_s
    while naming(word):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True
