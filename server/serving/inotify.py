"""File events of a folder and what is below it, as Linux's inotify gives them: at once, and without a thread.

watchfiles has a thread for it that wakes a hundred times a second to look whether events have paused, and takes the
interpreter's lock each time (measured: 66 times a second while 12,000 requests a second were answered).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path

DEEPEST = 3
"""Folders below the root that are watched: ensembles, versions, their members."""
BUFFER_BYTES = 64 * 1024

_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x8, 0x40, 0x80, 0x100, 0x200
_DELETE_SELF, _MOVE_SELF, _OVERFLOW, _IGNORED = 0x400, 0x800, 0x4000, 0x8000
_ONLY_FOLDERS, _IS_FOLDER = 0x01000000, 0x40000000
_WANTED = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF | _ONLY_FOLDERS
_HEAD = struct.Struct("iIII")

_libc = ctypes.CDLL(None, use_errno=True)


class Watch:
    """Watches `root`, which must exist, down to `DEEPEST`; hidden folders are not looked into. Not thread-safe.

    `fileno` is readable when there are events; `close` ends it. Raises OSError, also where the kernel allows no more
    watches.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._fd: int = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), root)
        self._folders: dict[int, tuple[Path, int]] = {}
        try:
            self._add(root, 0)
        except OSError:
            self.close()
            raise

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._fd

    def close(self) -> None:
        """End the watch; again is no error."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self) -> bool:
        """Take the events there are; whether one concerns versions. Raises FileNotFoundError once the root has gone."""
        concerned = False
        for number, mask, name in self._events():
            if mask & _OVERFLOW:
                self._add(self._root, 0)  # some were lost: whatever is new is watched from now on
                concerned = True
                continue
            folder, depth = self._folders.get(number, (None, 0))
            if mask & _IGNORED:
                self._folders.pop(number, None)
            if folder is None:
                continue
            if depth == 0 and mask & (_DELETE_SELF | _MOVE_SELF | _IGNORED):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._root))
            if name.startswith("."):
                continue  # staging folders, which are somebody's work in progress, and lock files
            concerned = True
            if mask & _IS_FOLDER and mask & (_CREATE | _MOVED_TO):
                self._add_new(folder / name, depth + 1)
        return concerned

    def _events(self) -> Iterator[tuple[int, int, str]]:
        try:
            data = os.read(self._fd, BUFFER_BYTES)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            number, mask, _, length = _HEAD.unpack_from(data, at)
            at += _HEAD.size
            yield number, mask, os.fsdecode(data[at : at + length].rstrip(b"\0"))
            at += length

    def _add_new(self, folder: Path, depth: int) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # it has gone again
            self._add(folder, depth)

    def _add(self, folder: Path, depth: int) -> None:
        number = _checked(_libc.inotify_add_watch(self._fd, os.fsencode(folder), _WANTED), folder)
        self._folders[number] = folder, depth
        if depth == DEEPEST:
            return
        with os.scandir(folder) as entries:
            below = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
        for name in below:
            self._add_new(folder / name, depth + 1)


def _checked(result: int, path: Path) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))
    return result
