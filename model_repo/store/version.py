"""One opened version: its manifest, and its files with every byte checked."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from io import BufferedReader
from pathlib import Path

from model_repo.errors import IntegrityError
from model_repo.format.manifest import File, Manifest
from model_repo.format.paths import manifest_files, open_file
from model_repo.store.disk import CHUNK_BYTES

BUFFER_FROM_BYTES = 1 << 20
"""Smaller files are read as `bytes`: that stops others for less than a millisecond."""


@dataclass(frozen=True)
class Version:
    """A version as its manifest describes it; files are opened anew for each call, so any thread may call."""

    name: str
    version: int
    manifest: Manifest = field(repr=False)
    digest: str
    """sha256 of the manifest's bytes: names this state of the ensemble as a whole."""
    root: Path = field(repr=False)
    """The repository's root."""

    def files(self) -> tuple[File, ...]:
        """Every file the manifest names, each once, with its path inside the version folder."""
        return tuple(self._named.values())

    def read(self, file: str) -> bytes:
        """The content of a file, after its size and sha256 were found right: the very bytes that were hashed.

        Raises IntegrityError naming the file when it is missing, unnamed, of another size or digest;
        UnsafePathError when it, or a folder on the way, is a link, or it is no regular file.
        """
        named = self._entry(file)
        with self._opened(named) as stream:
            data = stream.read(named.bytes + 1)
            self._agree(named, len(data), hashlib.sha256(data).hexdigest())
        return data

    def buffer(self, file: str) -> bytes | memoryview:
        """As `read`, for large files: in memory of their own, filled and freed without stopping other threads.

        `bytes` of this size are copied, and given back to the kernel, with the interpreter's lock held.
        """
        named = self._entry(file)
        if named.bytes < BUFFER_FROM_BYTES:
            return self.read(file)
        digest, size = hashlib.sha256(), 0
        with self._opened(named) as stream:
            memory = memoryview(mmap.mmap(-1, named.bytes))
            while size < named.bytes and (count := stream.readinto(memory[size : size + CHUNK_BYTES])):
                digest.update(memory[size : size + count])
                size += count
            size += len(stream.read(1))
        self._agree(named, size, digest.hexdigest())
        return memory.toreadonly()

    def check(self, file: str) -> None:
        """The same verification, a MiB at a time and nothing kept; raises as `read` does."""
        named = self._entry(file)
        digest, size = hashlib.sha256(), 0
        with self._opened(named) as stream:
            while size <= named.bytes and (chunk := stream.read(CHUNK_BYTES)):
                digest.update(chunk)
                size += len(chunk)
        self._agree(named, size, digest.hexdigest())

    @cached_property
    def _named(self) -> Mapping[str, File]:
        return {file.file: file for file in manifest_files(self.manifest)}

    def _where(self, file: str) -> str:
        return f"{self.name}/{self.version}/{file}"

    def _entry(self, file: str) -> File:
        if (named := self._named.get(file)) is None:
            raise IntegrityError(f"{self._where(file)} is not named in the manifest")
        return named

    @contextmanager
    def _opened(self, named: File) -> Iterator[BufferedReader]:
        where = self._where(named.file)
        try:
            with open_file(self.root, where) as (stream, status):
                # Before reading: a file that grew to a terabyte costs one system call.
                self._agree(named, status.st_size, named.sha256)
                yield stream
        except FileNotFoundError as error:
            raise IntegrityError(f"{where} is missing") from error
        except OSError as error:
            raise IntegrityError(f"{where} cannot be read: {os.strerror(error.errno or 0)}") from error

    def _agree(self, named: File, size: int, digest: str) -> None:
        where = self._where(named.file)
        if size != named.bytes:
            raise IntegrityError(f"{where} has {size} bytes, the manifest says {named.bytes}")
        if digest != named.sha256:
            raise IntegrityError(f"{where} has sha256 {digest[:16]}…, the manifest says {named.sha256[:16]}…")
