"""What `tutti repo list` and `show` say: facts about the repository as structs, ready for `--json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from model_repo.errors import RepositoryError
from model_repo.format.manifest import MANIFEST_FILE, Manifest
from model_repo.format.paths import open_file, reported
from model_repo.format.rules import rule_of
from model_repo.store.repository import Repository
from model_repo.store.routes import Aspired, Canary, Routes


class EnsembleSummary(Struct, frozen=True):
    """One ensemble's routes as a server resolves them, and its versions."""

    name: str
    stable: int | None
    versions: tuple[int, ...]
    canary: Canary | None
    shadow: int | None
    labels: Mapping[str, int]
    problem: str | None


class VersionSummary(Struct, frozen=True):
    """One version; with a `problem` its manifest cannot be read and the rest is empty."""

    version: int
    roles: list[str]
    task: str = ""
    members: int = 0
    fusion: str = ""
    bytes: int = 0
    published: float | None = None
    """Epoch seconds at which the manifest was written."""
    metrics: Mapping[str, float] = {}
    """Figures of the fused answer on the test split."""
    problem: str | None = None


class EnsembleDetails(Struct, frozen=True):
    """One ensemble with each of its versions."""

    name: str
    routes: Routes | None
    """None when `routes.json` cannot be read."""
    problem: str | None
    versions: list[VersionSummary]


class VersionDetails(Struct, frozen=True):
    """One version with its whole manifest."""

    name: str
    version: int
    digest: str
    roles: list[str]
    bytes: int
    published: float
    manifest: Manifest


def list_ensembles(repository: Repository) -> list[EnsembleSummary]:
    """Every ensemble, sorted by name; raises RepositoryError when the root cannot be read."""
    return [_ensemble(name, aspired) for name, aspired in repository.aspired().items()]


def _ensemble(name: str, aspired: Aspired) -> EnsembleSummary:
    return EnsembleSummary(
        name,
        aspired.stable,
        aspired.available,
        aspired.canary,
        aspired.shadow,
        aspired.labels,
        aspired.problem,
    )


def show_ensemble(repository: Repository, name: str) -> EnsembleDetails:
    """The ensemble and its versions, also those that are damaged; raises NotFoundError."""
    aspired = repository.aspired_of(name)
    versions = [_version(repository, name, number, aspired.roles(number)) for number in aspired.available]
    return EnsembleDetails(name, _routes(repository, name), aspired.problem, versions)


def _routes(repository: Repository, name: str) -> Routes | None:
    try:
        return repository.routes(name)
    except RepositoryError:
        return None  # the problem says why


def _version(repository: Repository, name: str, number: int, roles: list[str]) -> VersionSummary:
    try:
        shown = show_version(repository, name, number)
    except RepositoryError as error:
        return VersionSummary(number, roles, problem=str(error))
    manifest = shown.manifest
    return VersionSummary(
        number,
        roles,
        manifest.task,
        len(manifest.members),
        rule_of(manifest.fusion),
        shown.bytes,
        shown.published,
        metrics_of(manifest.report.get("fused")),
    )


def show_version(repository: Repository, name: str, version: int) -> VersionDetails:
    """The version's manifest and roles; its files' sizes are the manifest's word, `verify` checks them."""
    opened = repository.open(name, version)
    where = f"{name}/{version}/{MANIFEST_FILE}"
    with reported(repository.root, where), open_file(repository.root, where) as (_, status):
        published = status.st_mtime
    total = status.st_size + sum(file.bytes for file in opened.files())
    roles = repository.aspired_of(name).roles(version)
    return VersionDetails(name, version, opened.digest, roles, total, published, opened.manifest)


def metrics_of(figures: Any) -> dict[str, float]:
    """The numbers of one entry of a report; empty for anything that is not an object: reports are free."""
    if not isinstance(figures, dict):
        return {}
    return {str(key): value for key, value in figures.items() if type(value) in (int, float)}
