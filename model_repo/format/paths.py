"""Paths inside the repository: which are safe, and how a file is opened so that nothing outside is.

Every component below the repository's root is opened relative to its parent's descriptor and without
following links, so a link that is swapped in between the look and the open is refused too. The root
itself may be a link: it belongs to the operator, everything below it to whoever publishes.

POSIX only (`openat`); not checked: mount points and permissions below the root.
"""

from __future__ import annotations

import errno
import os
import posixpath
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

import msgspec

from model_repo.errors import NotFoundError, RepositoryError, UnsafePathError
from model_repo.format.manifest import File, Golden, LedgerFile, Manifest, OnnxModel, Stacked, Tokenizer

MAX_PATH_BYTES = 1024
MAX_COMPONENT_BYTES = 255

# Manifest patterns end in `$`, which lets a trailing newline pass; folder names must be exact.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[1-9][0-9]{0,17}")

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
    stat.S_IFREG: "a file",
}


def is_name(text: str) -> bool:
    """Whether `text` may name an ensemble, a member, an input or a label."""
    return _NAME.fullmatch(text) is not None


def parse_version(text: str) -> int | None:
    """The version that a folder's name stands for; None unless it is canonical decimal, 1 or more."""
    return int(text) if _VERSION.fullmatch(text) else None


def path_problem(path: str) -> str | None:
    """Why a file path of a manifest is refused, or None when it is safe."""
    if not path:
        return "is empty"
    if path.startswith("/"):
        return "is absolute"
    if "\\" in path:
        return "contains a backslash"
    if not path.isprintable():
        return "contains a character that cannot be printed"
    if len(path.encode()) > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes"
    return _component_problem(path.split("/"))


def _component_problem(components: list[str]) -> str | None:
    for component in components:
        if component in ("", "."):
            return "contains an empty component or '.'"
        if component == "..":
            return "contains '..'"
        if component.startswith("."):
            return "contains a component that starts with '.'"
        if len(component.encode()) > MAX_COMPONENT_BYTES:
            return f"contains a component longer than {MAX_COMPONENT_BYTES} bytes"
    return None


def external_path(model: OnnxModel, external: File) -> str:
    """Path of an external weight file inside the version folder: it lies beside its ONNX file."""
    return posixpath.join(posixpath.dirname(model.file), external.file)


def member_files(model: OnnxModel) -> tuple[File, ...]:
    """The model's ONNX file and then its external files, with paths inside the version folder."""
    beside = (msgspec.structs.replace(file, file=external_path(model, file)) for file in model.external)
    return (_file(model), *beside)


def _file(named: OnnxModel | Tokenizer | Stacked | Golden | LedgerFile) -> File:
    return File(file=named.file, sha256=named.sha256, bytes=named.bytes)


def manifest_files(manifest: Manifest) -> tuple[File, ...]:
    """Every file that the manifest names, mention by mention.

    Models, externals, tokenizers, fusion, golden rows, ledger, parameters.
    """
    files = [file for model in manifest.models for file in member_files(model)]
    files += [_file(tokenizer) for tokenizer in manifest.tokenizers]
    if isinstance(manifest.fusion, Stacked):
        files.append(_file(manifest.fusion))
    files.append(_file(manifest.golden))
    if manifest.ledger is not None:
        files += [_file(manifest.ledger), *([manifest.ledger.inputs] if manifest.ledger.inputs else [])]
    files += [member.parameters for member in manifest.members if member.parameters is not None]
    return tuple(files)


def kind_of(mode: int) -> str:
    """What a file mode says the thing is, in words."""
    return _KINDS.get(stat.S_IFMT(mode), "a special file")


def _open_component(parent: int, name: str, where: str, *, folder: bool) -> int:
    # The look before the open gives the message, and keeps devices from being opened at all.
    mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    if not (stat.S_ISDIR(mode) if folder else stat.S_ISREG(mode)):
        expected = "a folder" if folder else "a file"
        raise UnsafePathError(f"{where} is {kind_of(mode)}, expected {expected}")
    try:
        return os.open(name, _FOLDER_FLAGS if folder else _FILE_FLAGS, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise UnsafePathError(f"{where} is a symbolic link") from error
        raise


@contextmanager
def open_folder(root: Path, path: str) -> Iterator[int]:
    """A descriptor of the folder `path` below `root`, reached without following a link.

    Raises FileNotFoundError, UnsafePathError, or another OSError as the system gives it.
    """
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        components = path.split("/") if path else []
        for depth, name in enumerate(components, start=1):
            where = "/".join(components[:depth])
            parent, descriptor = descriptor, _open_component(descriptor, name, where, folder=True)
            os.close(parent)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def open_file(root: Path, path: str) -> Iterator[tuple[BufferedReader, os.stat_result]]:
    """The regular file `path` below `root`, open for reading, and its status.

    Raises as `open_folder` does; UnsafePathError also for a file that has a second name (hard link),
    because it could then be changed through the other one.
    """
    folder, _, name = path.rpartition("/")
    with open_folder(root, folder) as parent:
        descriptor = _open_component(parent, name, path, folder=False)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnsafePathError(f"{path} is {kind_of(status.st_mode)}, expected a file")
        if status.st_nlink > 1:
            raise UnsafePathError(f"{path} has {status.st_nlink} names (hard links), expected one")
        yield file, status


@contextmanager
def reported(root: Path, subject: str) -> Iterator[None]:
    """Turn the system's errors into the repository's: NotFoundError for a missing `subject`, else RepositoryError.

    A missing root is no missing subject: whoever reads a repository that is away must not unload anything.
    """
    try:
        yield
    except FileNotFoundError as error:
        if not root.exists():
            raise RepositoryError(f"model repository {root} does not exist") from error
        raise NotFoundError(f"{subject} does not exist") from error
    except OSError as error:
        raise RepositoryError(f"{subject} cannot be read or written: {error.strerror}") from error
