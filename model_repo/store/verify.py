"""The full check of one version: every named file, and nothing else in the folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from model_repo.errors import IntegrityError, UnsafePathError
from model_repo.format.manifest import MANIFEST_FILE
from model_repo.format.paths import kind_of, open_folder
from model_repo.format.rules import MAX_FILES
from model_repo.store.version import Version

MAX_ENTRIES = 4 * MAX_FILES
"""Entries looked at in one version folder: files and the folders they lie in, with room to spare."""


def verify(version: Version) -> None:
    """Raises IntegrityError naming every problem of the files (UnsafePathError where one is a link).

    Sizes, digests, regular files with one name, and no file or folder that the manifest does not account for.
    """
    damage = list(_damage(version))
    stray = list(_stray(version))
    found = [str(error) for error in damage] + stray
    if not found:
        return
    unsafe = any(isinstance(error, UnsafePathError) for error in damage)
    raise (UnsafePathError if unsafe else IntegrityError)("; ".join(dict.fromkeys(found)))


def _damage(version: Version) -> Iterator[IntegrityError]:
    for file in version.files():
        try:
            version.check(file.file)
        except IntegrityError as error:
            yield error


def _stray(version: Version) -> Iterator[str]:
    where = f"{version.name}/{version.version}"
    named = {MANIFEST_FILE, *(file.file for file in version.files())}
    folders = {parent for path in named for parent in _parents(path)}
    for path, status in walk(version.root, where):
        if path in named:
            continue  # checked as a file
        if not stat.S_ISDIR(status.st_mode):
            yield f"{where}/{path} is {kind_of(status.st_mode)} that the manifest does not name"
        elif path not in folders:
            yield f"{where}/{path} is a folder that the manifest does not name"


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def walk(root: Path, where: str) -> Iterator[tuple[str, os.stat_result]]:
    """Everything below the folder `where` with its own status, links not followed; parents before children.

    Raises IntegrityError beyond MAX_ENTRIES, and OSError as the system gives it.
    """
    pending, seen = [""], 0
    while pending:
        folder = pending.pop()
        for name, status in sorted(_entries(root, f"{where}/{folder}".rstrip("/"))):
            seen += 1
            if seen > MAX_ENTRIES:
                raise IntegrityError(f"{where} has more than {MAX_ENTRIES} entries")
            path = f"{folder}/{name}" if folder else name
            yield path, status
            if stat.S_ISDIR(status.st_mode):
                pending.append(path)


def _entries(root: Path, folder: str) -> list[tuple[str, os.stat_result]]:
    with open_folder(root, folder) as descriptor, os.scandir(descriptor) as entries:
        return [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
