"""The manager: watches the repository, keeps each ensemble's reconciler informed, and routes requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from model_repo import Aspired, NotFoundError, Repository, RepositoryError, naming
from server.errors import LoadError, NotReady, UnknownEnsemble
from server.metrics import Metrics
from server.serving.absences import Absences
from server.serving.loader import Loader
from server.serving.readiness import Readiness
from server.serving.reconciler import Reconciler
from server.serving.repository_index import IndexEntry, entries
from server.serving.repository_watch import Source
from server.serving.route_table import NOTHING
from server.serving.servable import Servable
from server.settings import Settings

log = logging.getLogger("tutti.manager")


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
        self.readiness = Readiness(settings, self._reconcilers, self._unloaded)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._present: set[str] = set()
        """Ensembles that the repository had at the last look."""
        self._absences = Absences(settings.poll_interval_s)
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
            raise NotReady(self.readiness.why_not(name))
        return table.route(version, label)

    def versions(self, name: str) -> list[int]:
        """Versions that serve, ascending; raises UnknownEnsemble."""
        return sorted(self._known(name).table.versions)

    def labels(self, name: str) -> Mapping[str, int]:
        """Labels that serve; raises UnknownEnsemble."""
        return self._known(name).table.labels

    def index(self) -> list[IndexEntry]:
        """Every version that is or was to be served, with its state."""
        return list(entries(self._reconcilers, self.readiness.why_not))

    def unready(self) -> str:
        """Why the server is not ready: an ensemble that counts does not serve, or it shuts down; "" where it is."""
        if self._closing:
            return "the server is shutting down"
        return self.readiness.problem() if self._first_look.is_set() else "the repository is being looked at"

    async def wait_settled(self) -> None:
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

        Raises UnknownEnsemble where the repository has none of this name, LoadError where its version is refused or,
        served already, has other files now than its manifest says.
        """
        self._unloaded.discard(name)
        aspired = await asyncio.to_thread(self._repository.aspired)
        if name not in aspired or not _is_something(aspired[name]):
            raise self._unknown(name)
        self._present.add(name)
        reconciler = self._reconciler(name)
        reconciler.forgive()
        self._absences.seen(name)
        before = reconciler.table.stable
        await reconciler.settled(reconciler.aspire(aspired[name]))
        if (error := reconciler.failure()) is not None:
            raise error
        if aspired[name].problem:
            raise LoadError("manifest", str(aspired[name].problem))
        if before is not None and reconciler.table.stable is before:
            await asyncio.to_thread(self._check_files, before)

    def _check_files(self, served: Servable) -> None:
        """Raise LoadError where files of what serves are not what its manifest says now: a restart would refuse it."""
        try:
            self._repository.verify(served.name, served.version)
        except NotFoundError:
            return  # gone from the repository, which is told elsewhere
        except RepositoryError as error:
            raise LoadError("integrity", f"{error}; what was loaded before goes on serving") from error

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
        self._present = {name for name, found in aspired.items() if _is_something(found)}
        for name in sorted(self._present | self._reconcilers.keys()):
            self._aspire(name, aspired.get(name, NOTHING))
            self._forget_if_gone(name)
        self._first_look.set()
        if not self._frozen and all(reconciler.settled_once for reconciler in self._reconcilers.values()):
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
            self._absences.seen(name) if name in self._present else self._absences.missed(name)
            return
        reconciler = self._reconciler(name)
        self._misnamed(reconciler, aspired)
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
        return replace(wanted, problem=aspired.problem, stamps=aspired.stamps, misnamed=aspired.misnamed)

    def _vanished(self, reconciler: Reconciler, aspired: Aspired) -> bool:
        """Whether the serving version is missing from the repository, but not for long enough to believe it."""
        stable = reconciler.table.stable
        if stable is None or stable.version in aspired.available:
            self._absences.seen(reconciler.name)
            return False
        if aspired.stable is not None and aspired.stable > stable.version:
            return False  # replaced by a newer one: nothing is lost
        if reconciler.name not in self._absences:
            log.warning(
                "'%s' version %d is no longer in the repository; it goes on serving", stable.name, stable.version
            )
        return not self._absences.missed(reconciler.name)

    def _misnamed(self, reconciler: Reconciler, aspired: Aspired) -> None:
        """Say once of each folder that it is not served for its name."""
        for folder in set(aspired.misnamed) - set(reconciler.aspired.misnamed):
            log.warning("'%s': %s", reconciler.name, naming(folder))

    def _reconciler(self, name: str) -> Reconciler:
        found = self._reconcilers.get(name)
        if found is None:
            assert self._owner is not None, "the manager is not running: this is a bug"
            found = Reconciler(
                name,
                self._loader,
                self._metrics,
                self._owner,
                keep_previous=self._settings.keep_previous,
                on_settled=self._settled,
            )
            self._reconcilers[name] = found
            self._tasks[name] = self._owner.create_task(found.run(), name=f"reconcile {name}")
        return found

    def _settled(self, name: str) -> None:
        """What was last asked of the ensemble has been brought about, or a version that it had is freed."""
        self.readiness.changed()
        if not self._closing:
            self._forget_if_gone(name)

    def _forget_if_gone(self, name: str) -> None:
        """Let go of an ensemble that the repository no longer has and that holds nothing any more: names may come
        and go without end. Whoever asks for it is told that it is unknown.
        """
        reconciler = self._reconcilers.get(name)
        if name in self._present or reconciler is None or not reconciler.idle:
            return
        if name in self._unloaded and not self._absences.believed(name):
            return  # were it back in a moment, it would be loaded
        del self._reconcilers[name]
        self._tasks.pop(name).cancel()
        self._unloaded.discard(name)
        self._absences.seen(name)
        self._metrics.forget(name)
        log.info("'%s' is gone from the repository", name)
        self.readiness.changed()

    def _known(self, name: str) -> Reconciler:
        found = self._reconcilers.get(name)
        if found is None:
            raise self._unknown(name)
        return found

    def _unknown(self, name: str) -> UnknownEnsemble:
        names = ", ".join(sorted(self._reconcilers)) or "none"
        return UnknownEnsemble(f"unknown ensemble '{name}'; there are: {names}")

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


def _is_something(aspired: Aspired) -> bool:
    """Whether the folder is an ensemble at all: it has versions, trouble, or a folder with another name than theirs."""
    return bool(aspired.available or aspired.problem or aspired.misnamed)
