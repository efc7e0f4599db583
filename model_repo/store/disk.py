"""Durable writes: what these functions return from is on the disk, whatever stops next.

Every write goes through `os`, one call a step, so that a test can stop a publisher at each of them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

CHUNK_BYTES = 2**20
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_file(path: Path, chunks: Iterable[bytes]) -> tuple[str, int]:
    """Create `path` with the chunks' bytes, synced; gives their sha256 and number.

    The parent folder is not synced: `sync_folder` it when all its files are there.
    Raises FileExistsError rather than replace anything, and OSError as the system gives it.
    """
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(path, _CREATE, 0o666)
    try:
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            _write_all(descriptor, chunk)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return digest.hexdigest(), size


def _write_all(descriptor: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def chunks_of(source: Path) -> Iterator[bytes]:
    """The content of `source` in pieces of at most 1 MiB."""
    with source.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable: a synced file without its name is lost all the same."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Sync a folder and every folder below it, the deepest first."""
    for folder, _, _ in os.walk(path, topdown=False):
        sync_folder(Path(folder))


def replace_file(path: Path, temporary: Path, data: bytes) -> None:
    """Replace `path` by `data` in one step: a reader gets the old bytes or the new ones, never a mixture."""
    try:
        write_file(temporary, [data])
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
