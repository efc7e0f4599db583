"""What each subcommand of `tutti repo` does: one function each, from parsed arguments to an exit status."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import msgspec

from model_repo.cli.display import ensemble_text, ensembles_text, version_text
from model_repo.cli.summary import list_ensembles, show_ensemble, show_version
from model_repo.cli.tables import table
from model_repo.errors import IntegrityError, ManifestError
from model_repo.store.repository import Repository
from model_repo.store.routes import (
    Aspired,
    Canary,
    Routes,
    promote,
    resolve,
    rollback,
    set_canary,
    set_label,
    set_shadow,
    unpin,
)

NEWEST = 0
"""What `promote NAME newest` is parsed to: no version has this number."""


def list_all(repository: Repository, arguments: argparse.Namespace) -> int:
    """Every ensemble, one line each."""
    ensembles = list_ensembles(repository)
    _print(arguments, ensembles, lambda: ensembles_text(arguments.repository, ensembles))
    return 0


def show(repository: Repository, arguments: argparse.Namespace) -> int:
    """One ensemble, or one version."""
    name, version = arguments.target
    if version is None:
        ensemble = show_ensemble(repository, name)
        _print(arguments, ensemble, lambda: ensemble_text(ensemble))
    else:
        details = show_version(repository, name, version)
        _print(arguments, details, lambda: version_text(details))
    return 0


def verify(repository: Repository, arguments: argparse.Namespace) -> int:
    """Read every file of the versions asked for; 1 when any is damaged."""
    checked = [_verified(repository, name, version) for name, version in _targets(repository, arguments)]
    rows = [(f"{entry['name']}/{entry['version']}", str(entry["problem"] or "ok")) for entry in checked]
    text = table(("VERSION", "FOUND"), rows) if rows else "nothing to verify: no version is published"
    _print(arguments, checked, lambda: text)
    return 1 if any(entry["problem"] for entry in checked) else 0


def _targets(repository: Repository, arguments: argparse.Namespace) -> list[tuple[str, int]]:
    target: tuple[str, int | None] | None = arguments.target
    name, version = target or (None, None)
    if name is not None and version is not None:
        return [(name, version)]
    names = repository.ensembles() if name is None else [name]
    return [(each, number) for each in names for number in repository.versions(each)]


def _verified(repository: Repository, name: str, version: int) -> dict[str, object]:
    try:
        repository.verify(name, version)
    except (ManifestError, IntegrityError) as error:
        return {"name": name, "version": version, "problem": str(error)}
    return {"name": name, "version": version, "problem": None}


def promote_version(repository: Repository, arguments: argparse.Namespace) -> int:
    """Make a version stable, or follow the newest again."""
    version: int = arguments.version
    if version == NEWEST:
        return _change(repository, arguments, lambda routes, versions: unpin(routes))
    return _change(repository, arguments, lambda routes, versions: promote(routes, version, versions))


def rollback_version(repository: Repository, arguments: argparse.Namespace) -> int:
    """Go back to the stable version before this one."""
    return _change(repository, arguments, rollback)


def canary(repository: Repository, arguments: argparse.Namespace) -> int:
    """Start, change or end a canary."""
    wanted = None if arguments.off else Canary(arguments.version, arguments.percent)
    return _change(repository, arguments, lambda routes, versions: set_canary(routes, wanted, versions))


def shadow(repository: Repository, arguments: argparse.Namespace) -> int:
    """Start, change or end a shadow."""
    version: int | None = arguments.version
    return _change(repository, arguments, lambda routes, versions: set_shadow(routes, version, versions))


def label(repository: Repository, arguments: argparse.Namespace) -> int:
    """Set or remove a label."""
    text, version = arguments.label, arguments.version
    return _change(repository, arguments, lambda routes, versions: set_label(routes, text, version, versions))


def prune(repository: Repository, arguments: argparse.Namespace) -> int:
    """Remove old versions, and what dead publishers left."""
    name, dry_run = arguments.name, arguments.dry_run
    removed = repository.prune(name, arguments.keep, dry_run=dry_run)
    kept = [version for version in repository.versions(name) if version not in removed]
    leftovers = [] if dry_run else repository.collect(name)
    answer = {"name": name, "removed": removed, "kept": kept, "dry_run": dry_run, "leftovers": len(leftovers)}
    verb = "would remove" if dry_run else "removed"
    _print(arguments, answer, lambda: f"{name}: {verb} {_numbers(removed)}; keeps {_numbers(kept)}")
    return 0


def _numbers(versions: Sequence[int]) -> str:
    return ", ".join(map(str, versions)) or "nothing"


def _change(
    repository: Repository, arguments: argparse.Namespace, change: Callable[[Routes, list[int]], Routes]
) -> int:
    """Change the routes, and say what is served now and what was before."""
    name = arguments.name
    if getattr(arguments, "version", None):
        repository.open(name, arguments.version)  # a version that no server could load gets no route
    before = repository.aspired_of(name)
    routes = repository.change_routes(name, change)
    after = resolve(routes, repository.versions(name))
    _print(arguments, {"name": name, "stable": after.stable, "routes": routes}, lambda: _said(name, before, after))
    return 0


def _said(name: str, before: Aspired, after: Aspired) -> str:
    """`digits: stable 4 (was 3), canary 5 at 10%, label edge on 2`."""
    parts = [f"{name}: stable {after.stable or 'none'}"]
    if after.stable != before.stable:
        parts[0] += f" (was {before.stable or 'none'})"
    if after.canary:
        parts.append(f"canary {after.canary.version} at {after.canary.percent:g}%")
    if after.shadow:
        parts.append(f"shadow {after.shadow}")
    parts += [f"label {label} on {version}" for label, version in sorted(after.labels.items())]
    return ", ".join(parts)


def _print(arguments: argparse.Namespace, answer: object, text: Callable[[], str]) -> None:
    if arguments.json:
        print(msgspec.json.format(msgspec.json.encode(answer), indent=2).decode())
    else:
        print(text())
