"""Which versions of an ensemble are wanted, and who answers: pure functions and immutable tables.

Nothing here loads, waits or touches the disk; the reconciler asks and acts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from model_repo import Aspired
from server.errors import NotReady, UnknownVersion
from server.serving.servable import Servable

FALLBACK_VERSIONS = 3
"""How many older versions a cold start tries when the newest is refused."""


NOTHING = Aspired(stable=None, labels={}, canary=None, shadow=None, problem=None, available=())
"""What is wanted of an ensemble that shall not be served."""


@dataclass(frozen=True, slots=True)
class Table:
    """Who answers for one ensemble; replaced as a whole by one assignment, never changed."""

    name: str
    stable: Servable | None = None
    versions: Mapping[int, Servable] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)

    def route(self, version: int | None, label: str | None) -> Servable:
        """The servable that answers; raises UnknownVersion or NotReady."""
        if version is None and label is None:
            if self.stable is None:
                raise NotReady(f"ensemble '{self.name}' has no version that serves")
            return self.stable
        if label is not None:
            version = self.labels.get(label)
            if version is None:
                raise UnknownVersion(
                    f"ensemble '{self.name}' has no label '{label}'; there are: {_listed(sorted(self.labels))}"
                )
        found = self.versions.get(version) if version is not None else None
        if found is None:
            raise UnknownVersion(
                f"ensemble '{self.name}' does not serve version {version}; served are: {_listed(sorted(self.versions))}"
            )
        return found


def wanted(aspired: Aspired, kept: Collection[int] = ()) -> tuple[int, ...]:
    """Versions to have loaded, the stable one first: stable, labelled, and those kept for a rollback."""
    stable = () if aspired.stable is None else (aspired.stable,)
    return tuple(dict.fromkeys((*stable, *sorted(aspired.labels.values()), *sorted(kept))))


def candidates(aspired: Aspired, serving: int | None) -> tuple[int, ...]:
    """Stable versions to try, best first.

    While something serves, only what is aspired: a refused version leaves the old one in place. On a cold start
    nothing is in place, so older versions follow: a server that restarts after a bad publish still answers.
    """
    if aspired.stable is None:
        return ()
    if serving is not None:
        return (aspired.stable,)
    older = [version for version in reversed(aspired.available) if version < aspired.stable]
    return (aspired.stable, *older[:FALLBACK_VERSIONS])


def build(
    before: Table, aspired: Aspired, ready: Mapping[int, Servable], stable: int | None, kept: Collection[int]
) -> Table:
    """The table after a look at the repository.

    `stable` is the version that shall answer: the aspired one if it is ready, else the one that did. A label moves
    only onto a version that is ready; until then it stays where it was.
    """
    targets = {
        label: version if version in ready else before.labels.get(label) for label, version in aspired.labels.items()
    }
    labels = {label: version for label, version in targets.items() if version in ready and version is not None}
    versions = {*labels.values(), *kept} & ready.keys()
    if stable is not None:
        versions.add(stable)
    return Table(
        before.name,
        None if stable is None else ready[stable],
        {version: ready[version] for version in sorted(versions)},
        labels,
    )


def kept_previous(history: Sequence[int], serving: int | None, keep: int) -> tuple[int, ...]:
    """The last `keep` stable versions other than the one that serves, newest first."""
    previous = dict.fromkeys(version for version in reversed(history) if version != serving)
    return tuple(previous)[:keep]


def _listed(items: Sequence[object]) -> str:
    return ", ".join(map(str, items)) or "none"
