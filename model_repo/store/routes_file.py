"""`routes.json` of one ensemble on the disk: read whole, replaced whole, one writer at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from model_repo.errors import RoutesError
from model_repo.format.paths import open_file, reported
from model_repo.store.disk import replace_file
from model_repo.store.owner import owned_name
from model_repo.store.routes import ROUTES_FILE, Routes, decode_routes, encode_routes, resolve

MAX_ROUTES_BYTES = 2**20

_LOCK_FILE = ".routes.lock"
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class RoutesFile:
    """The routes of the ensemble `name`, whose folder exists."""

    def __init__(self, root: Path, name: str) -> None:
        self.name = name
        self._root = root
        self._where = f"{name}/{ROUTES_FILE}"

    def read(self) -> Routes:
        """The routes; the defaults without a file. Raises RoutesError or UnsafePathError."""
        try:
            with open_file(self._root, self._where) as (file, status):
                if status.st_size > MAX_ROUTES_BYTES:
                    raise RoutesError(f"{self._where} has {status.st_size} bytes, the limit is {MAX_ROUTES_BYTES}")
                return decode_routes(file.read(MAX_ROUTES_BYTES), self._where)
        except FileNotFoundError:
            return Routes()
        except OSError as error:
            raise RoutesError(f"{self._where} cannot be read: {error.strerror}") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the writers' lock, over threads and processes; a dead process's lock is free.

        The lock file stays: removing it would let two writers lock two files of one name.
        """
        with reported(self._root, f"{self.name}/{_LOCK_FILE}"):
            descriptor = os.open(self._root / self.name / _LOCK_FILE, _LOCK_FLAGS, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def replace(self, routes: Routes, versions: Sequence[int], *, earlier: Routes) -> Routes:
        """Write `routes` one generation above `earlier` and give them back; the caller holds the lock.

        Raises RoutesError when they name a version that is not published or would not read back.
        """
        if problem := resolve(routes, versions).problem:
            raise RoutesError(f"{self.name}: {problem}")
        written = msgspec.structs.replace(routes, generation=earlier.generation + 1)
        data = encode_routes(written)
        decode_routes(data, f"new {ROUTES_FILE} of {self.name}")
        folder = self._root / self.name
        with reported(self._root, self._where):
            replace_file(folder / ROUTES_FILE, folder / owned_name("routes"), data)
        return written
