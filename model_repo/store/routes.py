"""Routes: the mutable part of an ensemble, `routes.json`, and the pure functions that change it.

A route names a version; nothing here touches the disk. What a change means is decided here, whether
it may be written in `Repository.write_routes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from model_repo.errors import RoutesError
from model_repo.format.paths import is_name
from model_repo.parsing import ParseError, parse
from model_repo.wording import name_problem

ROUTES_FILE = "routes.json"
MAX_HISTORY = 16

Published = Annotated[int, Meta(ge=1)]
Label = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")]


class Canary(Struct, frozen=True, forbid_unknown_fields=True):
    """A version that gets `percent` (0–100) of the requests that name no version."""

    version: Published
    percent: Annotated[float, Meta(ge=0, le=100)]


class Routes(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Which version answers what; without a file all defaults hold and the newest version is stable."""

    stable: Published | None = None
    """None: the newest published version, whatever it is."""
    canary: Canary | None = None
    shadow: Published | None = None
    labels: dict[Label, Published] = {}
    history: Annotated[tuple[Published, ...], Meta(max_length=MAX_HISTORY)] = ()
    """Earlier stable versions, the last one at the end."""
    generation: Annotated[int, Meta(ge=0)] = 0
    """Grows by one with each write, so that going back and forth is not mistaken for no change."""


Stamp = tuple[int, ...]
"""Kind, size, times and inode of a file: whoever writes it changes this, though not always its content."""


@dataclass(frozen=True)
class Aspired:
    """What should be served of one ensemble: its routes, resolved against the versions there are.

    With a `problem` the rest is what could be resolved: a server keeps what it serves.
    """

    stable: int | None = None
    """None: there is no version to serve."""
    labels: Mapping[str, int] = field(default_factory=dict)
    canary: Canary | None = None
    shadow: int | None = None
    problem: str | None = None
    available: tuple[int, ...] = ()
    """Every published version, ascending."""
    stamps: Mapping[int, Stamp] = field(default_factory=dict)
    """Version → its manifest's stamp: another one tells that the version may have come again with other content."""
    misnamed: tuple[str, ...] = ()
    """Folders with a manifest whose name is no version's number: not served, and worth a word."""

    @property
    def served(self) -> tuple[int, ...]:
        """The distinct versions wanted: stable first, then labelled, canary, shadow."""
        canary = self.canary.version if self.canary else None
        wanted = (self.stable, *self.labels.values(), canary, self.shadow)
        return tuple(dict.fromkeys(version for version in wanted if version is not None))

    def roles(self, version: int) -> list[str]:
        """What the version is used for, in words: `stable`, `canary 10%`, `shadow`, `label edge`."""
        roles = ["stable"] if version == self.stable else []
        if self.canary and self.canary.version == version:
            roles.append(f"canary {self.canary.percent:g}%")
        roles += ["shadow"] if version == self.shadow else []
        return roles + [f"label {label}" for label, number in self.labels.items() if number == version]


def resolve(routes: Routes, versions: Sequence[int]) -> Aspired:
    """What `routes` ask for where `versions` are published; a route to nowhere is the `problem`."""
    missing = missing_versions(routes, versions)
    gone = {version for _, version in missing}
    stable = routes.stable or max(versions, default=None)
    return Aspired(
        stable=None if stable in gone else stable,
        labels={label: version for label, version in routes.labels.items() if version not in gone},
        canary=None if routes.canary and routes.canary.version in gone else routes.canary,
        shadow=None if routes.shadow in gone else routes.shadow,
        problem=_unpublished(missing, versions) if missing else None,
        available=tuple(versions),
    )


def missing_versions(routes: Routes, versions: Sequence[int]) -> list[tuple[str, int]]:
    """The routes that name a version which is not published, as (route, version)."""
    named = {
        "stable": routes.stable,
        "canary": routes.canary.version if routes.canary else None,
        "shadow": routes.shadow,
        **{f"label {label}": version for label, version in routes.labels.items()},
    }
    return [(route, version) for route, version in named.items() if version and version not in versions]


def _unpublished(missing: Iterable[tuple[str, int]], versions: Sequence[int]) -> str:
    said = ", ".join(f"{route} is version {version}" for route, version in missing)
    return f"{said}, which is not published; {published(versions)}"


def published(versions: Sequence[int]) -> str:
    """`published: 1, 2, 3`, for messages."""
    return "published: " + (", ".join(map(str, versions)) or "none")


def require(version: int, versions: Sequence[int]) -> None:
    """Raises RoutesError listing what exists unless `version` is published."""
    if version not in versions:
        raise RoutesError(f"version {version} is not published; {published(versions)}")


def promote(routes: Routes, version: int, versions: Sequence[int]) -> Routes:
    """`version` becomes stable, the stable one until now the newest entry of the history.

    A canary or shadow that pointed to `version` ends: it has become what it was compared with.
    Raises RoutesError when `version` is not published.
    """
    require(version, versions)
    earlier = resolve(routes, versions).stable
    history = routes.history
    if earlier is not None and earlier != version:
        history = (*history, earlier)[-MAX_HISTORY:]
    return msgspec.structs.replace(_without_trial(routes, version), stable=version, history=history)


def unpin(routes: Routes) -> Routes:
    """The newest version is stable again, also each one that is published from now on."""
    return msgspec.structs.replace(routes, stable=None)


def rollback(routes: Routes, versions: Sequence[int]) -> Routes:
    """The last stable version that is still published becomes stable, and leaves the history.

    Without such an entry it is the version before the stable one by number, pinned.
    Raises RoutesError when there is nothing to go back to.
    """
    current = resolve(routes, versions).stable or routes.stable
    if current is None:
        raise RoutesError("nothing to roll back to: no version is published")
    history = list(routes.history)
    while history:
        earlier = history.pop()
        if earlier in versions and earlier != current:
            return _rolled_back(routes, earlier, tuple(history))
    older = [version for version in versions if version < current]
    if not older:
        raise RoutesError(
            f"nothing to roll back to: version {current} is stable and none is older; {published(versions)}"
        )
    return _rolled_back(routes, max(older), ())


def _rolled_back(routes: Routes, version: int, history: tuple[int, ...]) -> Routes:
    return msgspec.structs.replace(_without_trial(routes, version), stable=version, history=history)


def _without_trial(routes: Routes, version: int) -> Routes:
    canary = None if routes.canary and routes.canary.version == version else routes.canary
    return msgspec.structs.replace(routes, canary=canary, shadow=None if routes.shadow == version else routes.shadow)


def protected(routes: Routes, versions: Sequence[int]) -> set[int]:
    """The versions that may not be removed: all that are served, and the one a rollback goes to by history.

    Raises RoutesError when the routes name a version that is not published: then nobody knows.
    """
    aspired = resolve(routes, versions)
    if aspired.problem:
        raise RoutesError(f"{aspired.problem}; mend the routes first")
    earlier = [version for version in routes.history if version in versions and version != aspired.stable]
    return {*aspired.served, *earlier[-1:]}


def set_canary(routes: Routes, canary: Canary | None, versions: Sequence[int]) -> Routes:
    """`canary` gets its percentage of the requests; None ends it.

    Raises RoutesError when its version is not published or is the stable one, or the percentage is not 0 to 100.
    """
    if canary is not None:
        _require_other("canary", canary.version, routes, versions)
        if not 0 <= canary.percent <= 100:
            raise RoutesError(f"canary percent is {canary.percent:g}, expected 0 to 100")
    return msgspec.structs.replace(routes, canary=canary)


def set_shadow(routes: Routes, version: int | None, versions: Sequence[int]) -> Routes:
    """`version` gets a copy of the requests and its answers are only compared; None ends it.

    Raises RoutesError when it is not published or is the stable one.
    """
    if version is not None:
        _require_other("shadow", version, routes, versions)
    return msgspec.structs.replace(routes, shadow=version)


def _require_other(route: str, version: int, routes: Routes, versions: Sequence[int]) -> None:
    require(version, versions)
    if version == resolve(routes, versions).stable:
        pinned = "" if routes.stable else ", because it is the newest and none is promoted; promote another one first"
        raise RoutesError(f"a {route} is compared with the stable version, and {version} is the stable one{pinned}")


def set_label(routes: Routes, label: str, version: int | None, versions: Sequence[int]) -> Routes:
    """Clients that ask for `label` get `version`; None removes the label.

    Raises RoutesError when the version is not published, or there is no such label to remove.
    """
    if not is_name(label):
        raise RoutesError(name_problem("label", label))
    labels = dict(routes.labels)
    if version is not None:
        require(version, versions)
        labels[label] = version
    elif labels.pop(label, None) is None:
        raise RoutesError(f"no label {label!r}; labels: {', '.join(sorted(labels)) or 'none'}")
    return msgspec.structs.replace(routes, labels=labels)


def encode_routes(routes: Routes) -> bytes:
    """The routes as indented JSON ending in a newline."""
    return msgspec.json.format(msgspec.json.encode(routes), indent=2) + b"\n"


def decode_routes(data: bytes, subject: str) -> Routes:
    """The routes in `data`; RoutesError, `subject` first, when they are not valid."""
    try:
        return parse(data, Routes)
    except ParseError as error:
        raise RoutesError(f"{subject}: {error}") from error
