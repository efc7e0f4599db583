"""Who owns a temporary name, whether that process still lives, and the removal of what the dead left.

A name is `.<purpose>-<domain>-<pid>-<start>-<random>`. The domain stands for host, boot and process
namespace: only inside one of these does a process id mean anything. The start time tells a process
from a later one that got the same id.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import shutil
import socket
import time
from functools import cache
from pathlib import Path

logger = logging.getLogger(__name__)

STALE_AFTER_S = 24 * 3600.0
"""Age of the last write after which a folder from another host is taken to be abandoned.

A publisher writes all the time, so an hour would do; a day leaves room for clocks that disagree.
"""

_OWNED = re.compile(r"\.[a-z]+-(?P<domain>[0-9a-f]{12})-(?P<pid>[0-9]+)-(?P<start>[0-9]+)-[0-9a-f]{16}")


def owned_name(purpose: str) -> str:
    """A new name that says which process made it; hidden, so that no reader takes it for a version."""
    pid = os.getpid()
    return f".{purpose}-{_domain()}-{pid}-{_start_time(pid)}-{secrets.token_hex(8)}"


def is_abandoned(path: Path) -> bool:
    """Whether the maker of this owned name is gone; False for a name that `owned_name` did not make.

    On this host the process table decides; elsewhere the newest write, see STALE_AFTER_S.
    """
    owner = _OWNED.fullmatch(path.name)
    if owner is None:
        return False
    if owner["domain"] == _domain():
        return _start_time(int(owner["pid"])) != owner["start"]
    return time.time() - _last_write(path) > STALE_AFTER_S


def collect(ensemble: Path) -> list[str]:
    """Remove what dead publishers and pruners left in an ensemble's folder; gives the names removed.

    A live process's folders stay, see `is_abandoned`. What cannot be removed is logged and stays.
    """
    removed = []
    with os.scandir(ensemble) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(".")]
    for name in names:
        path = ensemble / name
        if is_abandoned(path) and _removed(path):
            removed.append(name)
    return removed


def _removed(path: Path) -> bool:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        return False  # another process was quicker
    except OSError as error:
        logger.warning("%s: left behind and cannot be removed: %s", path.name, error.strerror)
        return False
    return True


@cache
def _domain() -> str:
    parts = [socket.gethostname(), _first_line("/proc/sys/kernel/random/boot_id"), _namespace()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _namespace() -> str:
    """Containers may share a host's name and boot, and count processes from 1 each."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _start_time(pid: int) -> str:
    """Clock ticks from boot to the process's start; "0" for a live process without /proc; "" for none."""
    status = _first_line(f"/proc/{pid}/stat")
    if status:
        # The second field is the program's name and may hold anything, also ')'.
        state, *fields = status.rpartition(")")[2].split()
        return "" if state in "ZX" else fields[18]
    if Path("/proc/self/stat").exists():
        return ""
    return "0" if _answers(pid) else ""


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _last_write(path: Path) -> float:
    """Newest modification in the tree, epoch seconds; now, when it is changing under our eyes."""
    try:
        times = [path.lstat().st_mtime]
        for folder, folders, files in os.walk(path):
            times += [os.lstat(os.path.join(folder, name)).st_mtime for name in (*folders, *files)]
    except FileNotFoundError:
        return time.time()
    return max(times)
