"""Parameters from where `init_from` finds them: a version of the repository, or a file."""

from __future__ import annotations

from pathlib import Path

from exporter.errors import ParametersError
from exporter.parameters.origin import OfFile, OfVersion
from exporter.parameters.start import Start, start_of
from model_repo import Repository, RepositoryError, Version
from model_repo.wording import did_you_mean, listed

MOST_BYTES = 8 * 2**30
"""Of a file that is read: it is held in memory."""


def found(origin: OfVersion | OfFile, repository: Path) -> Start:
    """What begins with the parameters. Raises ParametersError saying what there is."""
    if isinstance(origin, OfFile):
        return start_of(str(origin.path), _file(origin.path))
    try:
        versions = Repository(repository).versions(origin.ensemble)
        number = versions[-1] if origin.version is None and versions else origin.version
        version = Repository(repository).open(origin.ensemble, number or 0)
        return of_version(version, origin.member)
    except RepositoryError as error:
        where = "" if str(repository) in str(error) else f" (in the repository {repository})"
        raise ParametersError(f"init_from {_named(origin)}: {error}{where}") from error


def of_version(version: Version, member: str) -> Start:
    """What begins with the parameters that the version keeps of a member.

    Raises ParametersError, and IntegrityError where the file is not what it was.
    """
    where = f"{version.name}/{version.version}"
    entries = {entry.name: entry for entry in version.manifest.members}
    if member not in entries:
        raise ParametersError(
            f"{where} has no member {member!r}, there are {listed(list(entries))}{did_you_mean(member, list(entries))}"
        )
    file = entries[member].parameters
    if file is None:
        kind = entries[member].family or "a member from elsewhere"
        raise ParametersError(
            f"{where} keeps no parameters of {member!r} ({kind}): only members that a gradient trained have some, and "
            'only where keep_parameters is "version", or "auto" and they take little'
        )
    return start_of(f"{where}:{member}", version.read(file.file))


def _file(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ParametersError(f"{path} has {path.stat().st_size} bytes, expected at most {MOST_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise ParametersError(f"init_from {path}: {error.strerror}, expected a safetensors file") from error


def _named(origin: OfVersion) -> str:
    return f"{origin.ensemble}/{origin.version or 'latest'}:{origin.member}"
