"""The model repository on a disk: what is published, what should be served, and how both change."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from model_repo.errors import (
    ConflictError,
    IntegrityError,
    ManifestError,
    NotFoundError,
    RepositoryError,
    RoutesError,
    UnsafePathError,
)
from model_repo.format.decoding import MAX_MANIFEST_BYTES, decode
from model_repo.format.manifest import MANIFEST_FILE, Manifest
from model_repo.format.paths import is_name, open_file, parse_version, reported
from model_repo.store.disk import sync_folder
from model_repo.store.misplaced import misnamed
from model_repo.store.owner import collect, owned_name
from model_repo.store.routes import ROUTES_FILE, Aspired, Routes, Stamp, protected, published, resolve
from model_repo.store.routes_file import RoutesFile
from model_repo.store.staging import Staging
from model_repo.store.verify import verify, walk
from model_repo.store.version import Version
from model_repo.wording import name_problem


@dataclass(frozen=True, slots=True)
class Listing:
    """What an ensemble's folder holds: published versions, ascending, with their manifests' stamps, and the rest."""

    stamps: Mapping[int, Stamp]
    has_routes: bool
    misnamed: tuple[str, ...]


class Repository:
    """A folder of ensembles; every call looks at the disk anew, so any thread and process may call.

    OSErrors come as RepositoryError: a repository that cannot be read is never taken for an empty one.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def ensembles(self) -> list[str]:
        """The ensembles' names, sorted; RepositoryError when the root cannot be read."""
        with reported(self.root, f"model repository {self.root}"), os.scandir(self.root) as entries:
            return sorted(entry.name for entry in entries if is_name(entry.name) and _is_folder(entry))

    def versions(self, name: str) -> list[int]:
        """The published versions, ascending: folders with a canonical number and a manifest."""
        return list(self._listing(name).stamps)

    def manifest(self, name: str, version: int) -> Manifest:
        """The valid manifest of a version; raises as `open` does."""
        return self.open(name, version).manifest

    def open(self, name: str, version: int) -> Version:
        """The version with its manifest decoded and checked; its other files are checked as they are read.

        Raises NotFoundError (listing what is published), ManifestError, UnsafePathError.
        """
        where = f"{name}/{version}"
        data = self._manifest_bytes(name, version)
        subject = f"{MANIFEST_FILE} of {where}"
        manifest = decode(data, subject)
        found = []
        if manifest.name != name:
            found.append(f"name is {manifest.name!r}, its folder says {name!r}")
        if manifest.version != version:
            found.append(f"version is {manifest.version}, its folder says {version}")
        if found:
            raise ManifestError(subject, found)
        return Version(name, version, manifest, hashlib.sha256(data).hexdigest(), self.root)

    def verify(self, name: str, version: int) -> None:
        """Check everything about a version; raises as `open`, and IntegrityError naming every problem."""
        opened = self.open(name, version)
        with reported(self.root, f"{name}/{version}"):
            verify(opened)

    def digest(self, name: str, version: int) -> str:
        """sha256 of the version's manifest as it is now, valid or not: names its content. Raises as `open` does."""
        return hashlib.sha256(self._manifest_bytes(name, version)).hexdigest()

    def signature(self, name: str, version: int) -> str:
        """Changes when a file of the version does, without reading any: paths, sizes, times and inodes.

        Cheap enough to tell an unchanged bad version from a repaired one each second; not a digest.
        """
        self._require_published(name, version)
        digest = hashlib.sha256()
        with reported(self.root, f"{name}/{version}"):
            try:
                for path, status in walk(self.root, f"{name}/{version}"):
                    digest.update(f"{path!r} {_stamp(status)}\n".encode())
            except IntegrityError as error:
                # A folder that may not be walked is a state like any other: it changes when it is mended.
                digest.update(str(error).encode())
        return digest.hexdigest()

    def routes(self, name: str) -> Routes:
        """The ensemble's routes, the defaults without a `routes.json`; raises RoutesError, NotFoundError."""
        return self._routes_file(name).read()

    def aspired(self) -> dict[str, Aspired]:
        """Everything that should be served, the full set each time.

        What is wrong with one ensemble is its `problem` and harms no other. Raises RepositoryError
        when the root cannot be read.
        """
        found = {}
        for name in self.ensembles():
            try:
                found[name] = self.aspired_of(name)
            except NotFoundError:
                continue  # removed since it was listed
            except RepositoryError as error:
                found[name] = Aspired(problem=str(error))
        return found

    def aspired_of(self, name: str) -> Aspired:
        """What should be served of one ensemble; raises RepositoryError when its folder cannot be read."""
        found = self._listing(name)
        versions = list(found.stamps)
        try:
            routes = RoutesFile(self.root, name).read() if found.has_routes else Routes()
        except RepositoryError as error:
            return Aspired(problem=str(error), available=tuple(versions), stamps=found.stamps, misnamed=found.misnamed)
        return replace(resolve(routes, versions), stamps=found.stamps, misnamed=found.misnamed)

    def write_routes(self, name: str, routes: Routes, *, expected: Routes) -> None:
        """Replace the routes that `expected` says are there, one generation up.

        Raises ConflictError when they changed meanwhile, RoutesError when `routes` name a version that
        is not published.
        """
        file = self._routes_file(name)
        with file.locked():
            if file.read() != expected:
                raise ConflictError(f"routes of {name} changed meanwhile: look at them and try again")
            file.replace(routes, self.versions(name), earlier=expected)

    def change_routes(self, name: str, change: Callable[[Routes, list[int]], Routes]) -> Routes:
        """Give `change` the routes and the published versions, write and return the routes it gives.

        One writer at a time, others wait. Raises what `change` raises, and RoutesError as `write_routes`.
        """
        file = self._routes_file(name)
        with file.locked():
            routes, versions = file.read(), self.versions(name)
            try:
                changed = change(routes, versions)
            except RoutesError as error:
                raise RoutesError(f"{name}: {error}") from error
            return file.replace(changed, versions, earlier=routes)

    def check_writable(self) -> None:
        """Raise RepositoryError where no version could be published into it. Makes nothing, nor need the root exist."""
        root = self.root.absolute()
        found = next(path for path in (root, *root.parents) if os.path.exists(path))
        if not found.is_dir():
            raise RepositoryError(f"model repository {self.root} cannot be made: {found} is no folder")
        if not os.access(found, os.W_OK | os.X_OK):
            raise RepositoryError(f"model repository {self.root} cannot be written: Permission denied")

    def stage(self, name: str) -> Staging:
        """A new version in the making: `with repository.stage("digits") as staging: …`.

        Removes what dead publishers of this ensemble left. Raises RepositoryError for a bad name.
        """
        if not is_name(name):
            raise RepositoryError(name_problem("ensemble", name))
        if (self.root / name).is_dir():
            self.collect(name)
        return Staging(self.root, name)

    def collect(self, name: str) -> list[str]:
        """Remove what dead publishers and pruners of this ensemble left; gives the folders' names."""
        self._listing(name)
        with reported(self.root, name):
            return collect(self.root / name)

    def prune(self, name: str, keep: int, *, dry_run: bool = False) -> list[int]:
        """Remove all but the newest `keep` versions; gives those removed (or that would be), ascending.

        Never the stable, a labelled, canary or shadow version, nor the one a rollback goes to by history.
        Raises RoutesError when the routes do not say which these are.
        """
        if keep < 0:
            raise RepositoryError(f"keep is {keep}, expected 0 or more")
        file = self._routes_file(name)
        with file.locked():
            versions = self.versions(name)
            kept = self._protected(name, file.read(), versions) | set(versions[max(len(versions) - keep, 0) :])
            doomed = [version for version in versions if version not in kept]
            for version in [] if dry_run else doomed:
                self._remove(name, version)
            return doomed

    def _listing(self, name: str) -> Listing:
        folder = self._folder(name)
        with reported(self.root, f"ensemble {name!r}"), os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
            numbers = sorted(number for number in map(parse_version, names) if number is not None)
            found = ((number, _manifest_stamp(f"{folder}/{number}")) for number in numbers)
            stamps = {number: stamp for number, stamp in found if stamp is not None}
            return Listing(stamps, ROUTES_FILE in names, misnamed(str(folder), names))

    def _folder(self, name: str) -> Path:
        if not is_name(name):
            raise NotFoundError(name_problem("ensemble", name))
        folder = self.root / name
        if folder.is_symlink():
            raise UnsafePathError(f"{name} is a symbolic link, expected a folder")
        return folder

    def _require_published(self, name: str, version: int) -> None:
        versions = self.versions(name)
        if version not in versions:
            raise NotFoundError(f"{name} has no version {version}; {published(versions)}")

    def _manifest_bytes(self, name: str, version: int) -> bytes:
        self._require_published(name, version)
        where = f"{name}/{version}"
        with reported(self.root, where), open_file(self.root, f"{where}/{MANIFEST_FILE}") as (file, status):
            if status.st_size > MAX_MANIFEST_BYTES:
                found = f"has {status.st_size} bytes, the limit is {MAX_MANIFEST_BYTES}"
                raise ManifestError(f"{MANIFEST_FILE} of {where}", [found])
            return file.read(MAX_MANIFEST_BYTES)

    def _routes_file(self, name: str) -> RoutesFile:
        self._listing(name)
        return RoutesFile(self.root, name)

    def _protected(self, name: str, routes: Routes, versions: list[int]) -> set[int]:
        try:
            return protected(routes, versions)
        except RoutesError as error:
            raise RoutesError(f"{name}: {error}") from error

    def _remove(self, name: str, version: int) -> None:
        """First out of sight in one step, then file by file: no reader meets half a version."""
        folder = self.root / name
        aside = folder / owned_name("removed")
        with reported(self.root, f"{name}/{version}"):
            os.rename(folder / str(version), aside)
            sync_folder(folder)
            shutil.rmtree(aside)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # A link counts, so that its refusal is seen: left out it would look like an ensemble that was removed.
    return entry.is_dir() or (entry.is_symlink() and not entry.is_file())


def _stamp(status: os.stat_result) -> Stamp:
    # ctime too: a copy may set back the mtime, nothing sets back the ctime.
    return (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _manifest_stamp(folder: str) -> Stamp | None:
    # Text rather than Path, and lstat rather than open: 1,000 versions are looked at each second.
    try:
        return _stamp(os.lstat(f"{folder}/{MANIFEST_FILE}"))
    except (FileNotFoundError, NotADirectoryError):
        return None
