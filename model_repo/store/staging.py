"""Publishing: a version is written aside, made durable, and appears by one rename."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from model_repo.errors import ConflictError, IntegrityError, ManifestError, RepositoryError, UnsafePathError
from model_repo.format.decoding import decode
from model_repo.format.manifest import MANIFEST_FILE, File, Manifest, encode
from model_repo.format.paths import manifest_files, parse_version, path_problem
from model_repo.store.disk import chunks_of, sync_folder, sync_tree, write_file
from model_repo.store.owner import owned_name
from model_repo.wording import reason

if TYPE_CHECKING:
    from collections.abc import Iterable

logger = logging.getLogger(__name__)

# What `rename` answers when the version's name is taken: by a folder with content, a file, or a link.
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


class Staging:
    """A version in the making, one thread's; `with` removes what was not published.

    The folder lies in the ensemble's own, so that the rename never crosses a filesystem.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.name = name
        self._root = root
        self._ensemble = root / name
        self._folder: Path | None = None
        self._made_ensemble = False
        self._added: dict[str, File] = {}

    def __enter__(self) -> Self:
        try:
            self._make_folders()
        except OSError as error:
            where = f"{self.name} in model repository {self._root}"
            raise RepositoryError(f"cannot publish {where}: {_reason(error)}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        folder, self._folder = self._folder, None
        if folder is not None:
            # What cannot be removed now is removed by the next publisher, once this process is gone.
            shutil.rmtree(folder, ignore_errors=True)
        if self._made_ensemble:
            self._remove_if_empty()

    @property
    def next_version(self) -> int:
        """One more than the highest version there is, published or not: a name that is free now."""
        try:
            numbers = [parse_version(entry) for entry in os.listdir(self._ensemble)]
        except OSError as error:
            raise RepositoryError(f"{self.name} cannot be read: {_reason(error)}") from error
        return max((number for number in numbers if number is not None), default=0) + 1

    def add(self, file: str, data: bytes | Path) -> File:
        """Write one file of the version, synced; gives its path, sha256 and size for the manifest.

        `file` is the path inside the version folder, as `members/cnn.onnx`; of a Path the content is copied.
        Raises UnsafePathError, ConflictError when the file was added before, RepositoryError when it
        cannot be read or written.
        """
        target = self._target(file)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            digest, size = write_file(target, [data] if isinstance(data, bytes) else chunks_of(data))
        except OSError as error:
            raise RepositoryError(f"{self.name}: cannot write {file}: {_reason(error)}") from error
        self._added[file] = File(file=file, sha256=digest, bytes=size)
        return self._added[file]

    def publish(self, manifest: Manifest) -> int:
        """Make the version visible, whole and durable; gives its number.

        Raises ManifestError with every problem of the manifest, IntegrityError where it and the added
        files differ, ConflictError when the version exists. Nothing is visible after any of these.
        """
        folder = self._open_folder()
        data = self._checked(manifest)
        where = f"{self.name}/{manifest.version}"
        try:
            write_file(folder / MANIFEST_FILE, [data])
            sync_tree(folder)
            self._rename(folder, manifest.version)
        except OSError as error:
            raise RepositoryError(f"cannot publish {where}: {_reason(error)}") from error
        finally:
            # Still there only when nothing was renamed: another attempt writes its own.
            with suppress(OSError):
                (folder / MANIFEST_FILE).unlink(missing_ok=True)
        self._folder, self._made_ensemble = None, False
        self._sync_names(where)
        return manifest.version

    def _sync_names(self, where: str) -> None:
        try:
            sync_folder(self._ensemble)
            sync_folder(self._root)  # the ensemble's folder may be new as well
        except OSError as error:
            doubt = f"{where} is published, but a power cut may still undo it: {_reason(error)}"
            raise RepositoryError(doubt) from error

    def _make_folders(self) -> None:
        folder = self._ensemble / owned_name("staging")
        while self._folder is None:
            self._root.mkdir(parents=True, exist_ok=True)
            try:
                self._ensemble.mkdir()
                self._made_ensemble = True
            except FileExistsError:
                self._made_ensemble = False
                _refuse_link(self._ensemble)
            try:
                folder.mkdir()
            except FileNotFoundError:
                continue  # another publisher gave up and took its empty ensemble folder with it
            self._folder = folder

    def _remove_if_empty(self) -> None:
        try:
            self._ensemble.rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                logger.warning("%s: the empty folder stays: %s", self.name, _reason(error))

    def _open_folder(self) -> Path:
        if self._folder is None:
            raise RepositoryError(f"staging of {self.name!r} is not open: published or left already; this is a bug")
        return self._folder

    def _target(self, file: str) -> Path:
        folder = self._open_folder()
        if problem := path_problem(file):
            raise UnsafePathError(f"{self.name}: file {file!r} {problem}")
        if file.casefold() == MANIFEST_FILE:
            raise UnsafePathError(f"{self.name}: file {file!r} is the manifest, which publish() writes")
        if file in self._added:
            raise ConflictError(f"{self.name}: file {file!r} was added before")
        return folder / file

    def _checked(self, manifest: Manifest) -> bytes:
        """The bytes to write, after reading them back as a server would."""
        subject = f"{MANIFEST_FILE} of {self.name}/{manifest.version}"
        try:
            data = encode(manifest)
        except (TypeError, ValueError, RecursionError, OverflowError) as error:
            raise ManifestError(subject, [f"cannot be written as JSON: {error}"]) from error
        decode(data, subject)
        if manifest.name != self.name:
            raise ManifestError(subject, [f"name is {manifest.name!r}, expected {self.name!r}"])
        self._compare(subject, manifest_files(manifest))
        return data

    def _compare(self, subject: str, named: Iterable[File]) -> None:
        expected = {file.file: file for file in named}
        found = [f"file {path!r} is named but was not added" for path in expected.keys() - self._added]
        found += [f"file {path!r} was added but is not named" for path in self._added.keys() - expected]
        for path in expected.keys() & self._added:
            if expected[path] != self._added[path]:
                found.append(f"file {path!r} is not what was added: another sha256 or size")
        if found:
            raise IntegrityError(f"{subject}: " + "; ".join(sorted(found)))

    def _rename(self, folder: Path, version: int) -> None:
        try:
            os.rename(folder, self._ensemble / str(version))
        except OSError as error:
            if error.errno in _TAKEN:
                raise ConflictError(
                    f"{self.name}/{version} exists already; versions never change, "
                    f"the next free one is {self.next_version}"
                ) from error
            raise


def _refuse_link(ensemble: Path) -> None:
    if ensemble.is_symlink() or not ensemble.is_dir():
        raise UnsafePathError(f"{ensemble.name} is not a folder or is a symbolic link")


def _reason(error: OSError) -> str:
    return "it is no folder" if isinstance(error, FileExistsError | NotADirectoryError) else reason(error)
