"""Which processes there are: what a test started must be gone when it ends."""

from __future__ import annotations

import os
import time
from pathlib import Path


def children() -> set[int]:
    """Processes whose parent is this one, but for multiprocessing's own tracker, which stays."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == os.getpid() and b"resource_tracker" not in command:
            found.add(int(folder.name))
    return found


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
