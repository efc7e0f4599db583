"""Limits of the control groups that this process is in: version 1, version 2 and both side by side.

A limit may stand on any group from the process's own up to the root (a systemd unit's `MemoryMax=`, a slice's, a pod's,
a container's), and the smallest holds. Which group is its own says `/proc/self/cgroup`; where the hierarchies are,
`/proc/self/mountinfo` and, for what it does not show, the usual places below `/sys/fs/cgroup`. In a container the mount
often begins at the container's own group: its path is then taken off the front.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_UNIFIED = ""
"""The controllers of version 2's line in `/proc/self/cgroup`: none are named."""
_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A hierarchy in the file system: its controllers ("" alone: version 2), mount point, and the group at its top."""

    controllers: frozenset[str]
    point: Path
    top: str = "/"


def quota_cores(proc: Path = Path("/proc/self"), usual: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Cores of the smallest quota, a fraction perhaps; None where there is none."""
    told = [*map(_cores_of_v2, _groups("cpu", _UNIFIED, proc, usual)), *map(_cores_of_v1, _v1("cpu", proc, usual))]
    return min((cores for cores in told if cores is not None), default=None)


def memory_bytes(proc: Path = Path("/proc/self"), usual: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes of the smallest memory limit; None where there is none."""
    told = [_number(_text(group / "memory.max")) for group in _groups("memory", _UNIFIED, proc, usual)]
    for group in _v1("memory", proc, usual):
        told.append(_number(_text(group / "memory.limit_in_bytes")))
        # What groups above the mount allow, where the kernel counts them in.
        told += [_number(line.partition(" ")[2]) for line in _text(group / "memory.stat").splitlines()
                 if line.startswith("hierarchical_memory_limit ")]  # fmt: skip
    return min((limit for limit in told if limit is not None), default=None)


def _v1(controller: str, proc: Path, usual: Path) -> Iterator[Path]:
    return _groups(controller, controller, proc, usual)


def _groups(controller: str, hierarchy: str, proc: Path, usual: Path) -> Iterator[Path]:
    """Folders of the process's group in this hierarchy and of each one above it; those that exist, perhaps twice."""
    mounts = [mount for mount in (*_mounted(proc), *_usual(controller, usual)) if hierarchy in mount.controllers]
    for path in _own(proc, hierarchy):
        for mount in mounts:
            yield from _upwards(mount, path)


def _own(proc: Path, hierarchy: str) -> list[str]:
    """The process's path in the hierarchy; the root where nothing is said."""
    paths = []
    for line in _text(proc / "cgroup").splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if hierarchy in controllers.split(","):
            paths.append(path)
    return paths or ["/"]


def _upwards(mount: Mount, path: str) -> Iterator[Path]:
    parts = _below(mount.top, path)
    for depth in range(len(parts), -1, -1):
        folder = mount.point.joinpath(*parts[:depth])
        if folder.is_dir():
            yield folder


def _below(top: str, path: str) -> tuple[str, ...]:
    """The path's components under the group at the mount's top; none where it lies elsewhere (`/../other`)."""
    own, first = PurePosixPath(path).parts[1:], PurePosixPath(top).parts[1:]
    if own[: len(first)] == first:
        own = own[len(first) :]
    return () if ".." in own else own


def _mounted(proc: Path) -> Iterator[Mount]:
    for line in _text(proc / "mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        place, kind = before.split(" "), after.split(" ")
        if len(place) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        controllers = {_UNIFIED} if kind[0] == "cgroup2" else set(kind[2].split(","))
        yield Mount(frozenset(controllers), Path(_plain(place[4])), _plain(place[3]))


def _usual(controller: str, folder: Path) -> Iterable[Mount]:
    unified = frozenset({_UNIFIED})
    v1 = [*folder.glob(controller), *folder.glob(f"{controller},*"), *folder.glob(f"*,{controller}")]
    return (
        Mount(unified, folder),
        Mount(unified, folder / "unified"),
        *(Mount(frozenset({controller}), found) for found in v1),
    )


def _cores_of_v2(group: Path) -> float | None:
    quota, _, period = _text(group / "cpu.max").strip().partition(" ")
    return _ratio(quota, period)


def _cores_of_v1(group: Path) -> float | None:
    return _ratio(_text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    above, below = _number(quota), _number(period)
    return above / below if above and below else None


def _number(text: str) -> int | None:
    """A count; None for `max`, -1 and whatever else is no limit."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() else None


def _plain(path: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), path)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
