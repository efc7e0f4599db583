"""The manager: watches the repository, keeps each ensemble's reconciler informed, and routes requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from model_repo import Aspired, Repository, RepositoryError
from server.errors import LoadError, NotReady, UnknownEnsemble
from server.metrics import Metrics
from server.serving.loader import Loader
from server.serving.reconciler import Reconciler
from server.serving.servable import Servable
from server.serving.source import Source
from server.serving.table import NOTHING
from server.settings import Settings

ABSENT_LOOKS = 3
"""Looks in a row, each at least a poll interval after the last, that must miss a served version before it is
let go: a repository that is briefly empty or half-synchronised unloads nothing."""

log = logging.getLogger("tutti.manager")


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One line of the repository index; `state` as on the wire, `digest` the loaded manifest's sha256."""

    name: str
    version: int | None
    state: str
    reason: str = ""
    digest: str = ""


@dataclass(slots=True)
class Absence:
    """How often a served version was missed, and when last (loop's clock, seconds)."""

    looks: int
    last: float


class Manager:
    """Routes requests to servables and reconciles towards the repository. Event-loop thread only."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        root = Path(settings.repository)
        self._repository = Repository(root)
        self._settings = settings
        self._metrics = metrics
        self._loader = Loader(self._repository, settings, metrics)
        self._source = Source(root, settings.poll_interval_s)
        self._reconcilers: dict[str, Reconciler] = {}
        self._unloaded: set[str] = set()
        self._absences: dict[str, Absence] = {}
        self._first_look = asyncio.Event()
        self._closing = False
        self._frozen = False
        self._trouble = ""
        self._owner: asyncio.TaskGroup | None = None

    # ---- routing: synchronous, on every request

    def route(self, name: str, version: int | None = None, label: str | None = None) -> Servable:
        """The servable that answers; raises UnknownEnsemble, UnknownVersion or NotReady."""
        reconciler = self._reconcilers.get(name)
        if reconciler is None:
            raise self._unknown(name)
        table = reconciler.table
        if version is None and label is None and table.stable is not None:
            return table.stable
        if table.stable is None and not table.versions:
            raise NotReady(self._why_not(reconciler))
        return table.route(version, label)

    def versions(self, name: str) -> list[int]:
        """Versions that serve, ascending; raises UnknownEnsemble."""
        return sorted(self._known(name).table.versions)

    def labels(self, name: str) -> Mapping[str, int]:
        """Labels that serve; raises UnknownEnsemble."""
        return self._known(name).table.labels

    def servables(self) -> list[Servable]:
        """Everything that serves, by name and version."""
        return [
            servable
            for _, reconciler in sorted(self._reconcilers.items())
            for servable in reconciler.table.versions.values()
        ]

    def index(self) -> list[IndexEntry]:
        """Every version that is or was to be served, with its state."""
        entries = []
        for name, reconciler in sorted(self._reconcilers.items()):
            problem = reconciler.aspired.problem
            if problem or not reconciler.states:
                entries.append(IndexEntry(name, None, "UNAVAILABLE", problem or self._why_not(reconciler)))
            entries += [
                IndexEntry(name, version, state.state, state.reason, reconciler.digest(version))
                for version, state in sorted(reconciler.states.items())
            ]
        return entries

    def ready(self) -> bool:
        """Whether every ensemble has been loaded or refused once, and the server is not shutting down."""
        return (
            self._first_look.is_set() and not self._closing and all(r.settled_once for r in self._reconcilers.values())
        )

    async def wait_ready(self) -> None:
        """Return when every ensemble of the first look has been loaded or refused."""
        await self._first_look.wait()
        await asyncio.gather(*(reconciler.settled(1) for reconciler in self._reconcilers.values()))

    def ensemble_ready(self, name: str, version: int | None = None) -> bool:
        """Whether the ensemble (or this version of it) answers now; raises UnknownEnsemble."""
        table = self._known(name).table
        return table.stable is not None if version is None else version in table.versions

    # ---- control

    async def load(self, name: str) -> None:
        """Bring the ensemble to what the repository says now, refused versions included.

        Raises UnknownEnsemble where the repository has none of this name, LoadError where its version is refused.
        """
        self._unloaded.discard(name)
        aspired = await asyncio.to_thread(self._repository.aspired)
        if name not in aspired:
            raise self._unknown(name)
        reconciler = self._reconciler(name)
        reconciler.forgive()
        self._absences.pop(name, None)
        await reconciler.settled(reconciler.aspire(aspired[name]))
        if (error := reconciler.failure()) is not None:
            raise error
        if aspired[name].problem:
            raise LoadError("manifest", str(aspired[name].problem))

    async def unload(self, name: str) -> None:
        """Stop serving the ensemble until `load` is called; raises UnknownEnsemble."""
        reconciler = self._known(name)
        self._unloaded.add(name)
        await reconciler.settled(reconciler.aspire(NOTHING))

    # ---- life

    async def run(self) -> None:
        """Watch, look and reconcile until cancelled. A crash in any part of it ends it, visibly."""
        async with asyncio.TaskGroup() as owner:
            self._owner = owner
            owner.create_task(self._source.run(), name="repository events")
            while True:
                await self.look()
                await self._source.changed()

    async def look(self) -> None:
        """One look at the repository; what cannot be read changes nothing."""
        try:
            aspired = await asyncio.to_thread(self._repository.aspired)
        except (RepositoryError, OSError) as error:
            self._metrics.cell("tutti_repository_errors_total").value += 1
            self._report(str(error))
            return
        self._report("")
        for name in sorted(aspired.keys() | self._reconcilers.keys()):
            self._aspire(name, aspired.get(name, NOTHING))
        self._first_look.set()
        if not self._frozen and self.ready():
            self._frozen = True
            await self._loader.settle_memory()

    def start_closing(self) -> None:
        """Answer 'not ready' from now on, and go on serving."""
        self._closing = True

    async def close(self) -> None:
        """Drain and free everything; `run` must have been cancelled before."""
        async with asyncio.TaskGroup() as owner:
            for reconciler in self._reconcilers.values():
                owner.create_task(reconciler.close(owner))
        self._loader.close()

    def _aspire(self, name: str, aspired: Aspired) -> None:
        if name in self._unloaded:
            return
        reconciler = self._reconciler(name)
        if aspired.problem:
            aspired = self._despite(reconciler, aspired)
        elif self._vanished(reconciler, aspired):
            return
        if aspired != reconciler.aspired or reconciler.has_failures() or not reconciler.settled_once:
            reconciler.aspire(aspired)

    def _despite(self, reconciler: Reconciler, aspired: Aspired) -> Aspired:
        """What was wanted before, with the problem noted: unreadable routes change nothing.

        On first sight nothing was wanted before; then what still resolves is served.
        """
        before = reconciler.aspired
        if before.problem != aspired.problem:
            log.error("'%s': %s; what is served stays", reconciler.name, aspired.problem)
        wanted = aspired if before is NOTHING else before
        return replace(wanted, problem=aspired.problem, stamps=aspired.stamps)

    def _vanished(self, reconciler: Reconciler, aspired: Aspired) -> bool:
        """Whether the serving version is missing from the repository, but not for long enough to believe it."""
        stable = reconciler.table.stable
        if stable is None or stable.version in aspired.available:
            self._absences.pop(reconciler.name, None)
            return False
        if aspired.stable is not None and aspired.stable > stable.version:
            return False  # replaced by a newer one: nothing is lost
        now = monotonic()
        absence = self._absences.get(reconciler.name)
        if absence is None:
            absence = self._absences[reconciler.name] = Absence(0, now - self._settings.poll_interval_s)
            log.warning(
                "'%s' version %d is no longer in the repository; it goes on serving", stable.name, stable.version
            )
        if now - absence.last >= 0.9 * self._settings.poll_interval_s:
            absence.looks, absence.last = absence.looks + 1, now
        return absence.looks < ABSENT_LOOKS

    def _reconciler(self, name: str) -> Reconciler:
        found = self._reconcilers.get(name)
        if found is None:
            assert self._owner is not None, "the manager is not running: this is a bug"
            found = Reconciler(
                name, self._loader, self._metrics, self._owner, keep_previous=self._settings.keep_previous
            )
            self._reconcilers[name] = found
            self._owner.create_task(found.run(), name=f"reconcile {name}")
        return found

    def _known(self, name: str) -> Reconciler:
        found = self._reconcilers.get(name)
        if found is None:
            raise self._unknown(name)
        return found

    def _unknown(self, name: str) -> UnknownEnsemble:
        names = ", ".join(sorted(self._reconcilers)) or "none"
        return UnknownEnsemble(f"unknown ensemble '{name}'; there are: {names}")

    def _why_not(self, reconciler: Reconciler) -> str:
        if reconciler.name in self._unloaded:
            return f"ensemble '{reconciler.name}' was unloaded through the control API"
        if (error := reconciler.failure()) is not None:
            return f"ensemble '{reconciler.name}' has no version that serves: {error}"
        if not reconciler.settled_once:
            return f"ensemble '{reconciler.name}' is loading"
        return f"ensemble '{reconciler.name}' has no version that serves: none is published"

    def _report(self, trouble: str) -> None:
        """Say once when the repository cannot be read, and once when it can again."""
        self._metrics.cell("tutti_repository_stale").value = 1.0 if trouble else 0.0
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if trouble:
            log.error("the repository cannot be read, what is served stays: %s", trouble)
        else:
            log.info("the repository can be read again")
