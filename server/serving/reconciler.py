"""Brings one ensemble to what the repository wants: load, switch by one assignment, drain, free."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from model_repo import Aspired, Stamp
from server.errors import LoadError
from server.metrics import Metrics
from server.runtime import Layout
from server.serving.loader import Loader
from server.serving.route_table import NOTHING, Table, build, candidates, kept_previous, wanted
from server.serving.servable import Servable

State = Literal["LOADING", "READY", "UNLOADING", "UNAVAILABLE"]
REMEMBERED_VERSIONS = 16
"""How many unavailable versions the index still explains."""
DIGEST_SHOWN = 12
"""Characters of a digest in logs and reasons; all of it is in the metadata."""
MAX_RETIRING = 2
"""Versions that may drain at once before the next load waits for them: bounds the memory of rapid swaps."""

log = logging.getLogger("tutti.swap")


@dataclass(frozen=True, slots=True)
class VersionState:
    """A version's state on the wire, with the reason where it is not READY."""

    state: State
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a version was refused, and what its files looked like then."""

    signature: str
    error: LoadError


class Reconciler:
    """One ensemble's versions. `run` is its only task; everything else is called on the same loop."""

    def __init__(
        self,
        name: str,
        loader: Loader,
        metrics: Metrics,
        owner: asyncio.TaskGroup,
        *,
        keep_previous: int,
        on_settled: Callable[[str], None],
    ) -> None:
        self.name = name
        self.table = Table(name)
        self.states: dict[int, VersionState] = {}
        self.settled_once = False
        self._loader = loader
        self._metrics = metrics
        self._owner = owner
        self._keep_previous = keep_previous
        self._on_settled = on_settled
        self._aspired = NOTHING
        self._ready: dict[int, Servable] = {}
        self._replaced: list[Servable] = []
        self._checked: dict[int, Stamp] = {}
        """Manifest's stamp of each loaded version when it was last found to have the content that is loaded."""
        self._failures: dict[int, Failure] = {}
        self._history: list[int] = []
        self._retiring: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._asked = 0
        self._settled = asyncio.Condition()
        self._done = 0

    @property
    def aspired(self) -> Aspired:
        """What was asked for last."""
        return self._aspired

    def aspire(self, aspired: Aspired) -> int:
        """Ask for this state; returns a ticket for `settled`. The full state each time, so repeating is harmless."""
        self._aspired = aspired
        self._asked += 1
        self._wake.set()
        return self._asked

    def forgive(self) -> None:
        """Forget failures and what was checked, so that the next look tries and reads all of it again."""
        self._failures.clear()
        self._checked.clear()

    def digest(self, version: int) -> str:
        """The content that is loaded under this number; "" where none is."""
        loaded = self._ready.get(version)
        return "" if loaded is None else loaded.digest

    def failure(self) -> LoadError | None:
        """Why the aspired stable version does not serve, where it was refused."""
        found = self._failures.get(self._aspired.stable or 0)
        return found.error if found else None

    async def settled(self, ticket: int) -> None:
        """Return when what was asked with `ticket` has been brought about or refused."""
        async with self._settled:
            await self._settled.wait_for(lambda: self._done >= ticket)

    async def run(self) -> None:
        """Reconcile whenever asked, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            asked = self._asked
            await self._reconcile()
            self.settled_once = True
            async with self._settled:
                self._done = asked
                self._settled.notify_all()
            self._on_settled(self.name)

    async def _reconcile(self) -> None:
        while (version := await self._next()) is not None:
            await self._load(version)
            self._switch()
        self._switch()

    async def _next(self) -> int | None:
        """The next version to load: the stable candidate first, then labelled and kept ones."""
        for version in candidates(self._aspired, self._serving()):
            if await self._due(version):
                return version
            if version in self._ready:
                break
        for version in wanted(self._aspired, self._kept()):
            if await self._due(version):
                return version
        return None

    async def _due(self, version: int) -> bool:
        """Whether to load the version: it is not loaded, or has come again with other content, and is not refused."""
        if version in self._ready and not await self._changed(version):
            return False
        return not await self._refused(version)

    async def _changed(self, version: int) -> bool:
        """Whether the version has other content now than what is loaded under its number."""
        stamp = self._aspired.stamps.get(version)
        if stamp is None or stamp == self._checked.get(version):
            return False
        digest = await self._loader.digest(self.name, version)
        if digest == self._ready[version].digest:
            self._checked[version] = stamp
            if self._failures.pop(version, None) is not None:
                self._put_back(version)
            return False
        return bool(digest)

    def _put_back(self, version: int) -> None:
        """What is loaded under this number is what is published again, after other content was refused or seen."""
        self.states[version] = VersionState("READY")
        log.info("'%s' version %d has the content again that serves", self.name, version)

    async def _refused(self, version: int) -> bool:
        """Whether this very content was refused before; changed files deserve another try."""
        failure = self._failures.get(version)
        if failure is None:
            return False
        if failure.signature == await self._loader.signature(self.name, version):
            return True
        self._failures.pop(version, None)
        return False

    async def _load(self, version: int) -> None:
        while len(self._retiring) >= MAX_RETIRING:
            await asyncio.wait(self._retiring, return_when=asyncio.FIRST_COMPLETED)
        earlier = self._ready.get(version)
        if earlier is None:
            self.states[version] = VersionState("LOADING")
        elif version not in self._failures:
            log.info(
                "'%s' version %d has come again with other content (it is digest %s that serves): loading it",
                self.name, version, earlier.digest[:DIGEST_SHOWN],
            )  # fmt: skip
        signature = await self._loader.signature(self.name, version)
        started = time.perf_counter()
        try:
            loaded = await self._loader.load(self.name, version)
        except LoadError as error:
            self._refuse(version, signature, error)
        except Exception as error:
            log.exception("'%s' version %d: loading failed unexpectedly", self.name, version)
            self._refuse(version, signature, LoadError("session", f"loading failed unexpectedly: {error!r}"))
        else:
            self._loaded(version, loaded, time.perf_counter() - started)

    def _loaded(self, version: int, servable: Servable, seconds: float) -> None:
        self._failures.pop(version, None)
        self._checked.pop(version, None)  # what came while it loaded is found at the next look
        if (earlier := self._ready.get(version)) is not None:
            same = earlier.digest == servable.digest
            self._replaced.append(servable if same else earlier)
            if same:
                self._put_back(version)
                return
        self._ready[version] = servable
        self.states[version] = VersionState("READY")
        ensemble = servable.ensemble
        log.info(
            "'%s' version %d is ready in %.0f ms: plan %s, %s, digest %s",
            self.name, version, 1e3 * seconds, ensemble.plan, Layout(ensemble.lanes, ensemble.threads),
            servable.digest[:DIGEST_SHOWN],
        )  # fmt: skip

    def _refuse(self, version: int, signature: str, error: LoadError) -> None:
        self._failures[version] = Failure(signature, error)
        loaded = self._ready.get(version)
        if loaded is None:
            self.states[version] = VersionState("UNAVAILABLE", str(error))
        else:
            reason = f"its new content is refused: {error}; digest {loaded.digest[:DIGEST_SHOWN]} goes on serving"
            self.states[version] = VersionState("READY", reason)
        self._metrics.cell("tutti_swap_total", self.name, error.reason).value += 1
        log.error(
            "'%s' version %d is refused (%s): %s; %s", self.name, version, error.reason, error, self._instead(version)
        )
        self._forget()

    def _instead(self, refused: int) -> str:
        """Who answers although a version was refused, in words."""
        serving = self.table.stable
        if serving is None:
            return "nothing serves"
        content = f" of digest {serving.digest[:DIGEST_SHOWN]}" if serving.version == refused else ""
        return f"version {serving.version}{content} goes on serving"

    def _serving(self) -> int | None:
        return None if self.table.stable is None else self.table.stable.version

    def _kept(self) -> tuple[int, ...]:
        loaded = [version for version in self._history if version in self._ready]
        return kept_previous(loaded, self._serving(), self._keep_previous)

    def _switch(self) -> None:
        """Make what is ready current by one assignment; then let go of what nobody wants."""
        started = time.perf_counter()
        before = self.table.stable
        stable = self._stable()
        if stable is not None and stable != self._serving():
            self._history = [*self._history[-REMEMBERED_VERSIONS:], stable]
        keep = kept_previous(self._history, stable, self._keep_previous) if stable is not None else ()
        table = build(self.table, self._aspired, self._ready, stable, keep)
        self.table = table
        self._metrics.cell("tutti_serving_version", self.name).value = stable or 0
        if table.stable is not None and table.stable is not before:
            self._loader.observe(self.name, "activate", time.perf_counter() - started)
            self._metrics.cell("tutti_swap_total", self.name, "ok").value += 1
            log.info("'%s' is served by version %d%s", self.name, table.stable.version, _told(before, table.stable))
        for version in self._ready.keys() - table.versions.keys():
            self._retire(version)
        while self._replaced:
            self._let_go(self._replaced.pop())

    def _stable(self) -> int | None:
        """The version that shall answer now: the best candidate that is ready, else the one that answers."""
        if self._aspired.stable is None:
            return None
        before = self._serving()
        for version in candidates(self._aspired, before):
            if version in self._ready:
                return version
        if before is None:
            return None
        # Newer than what serves, older than what is wanted: progress while publishes outrun the loads.
        between = [v for v in self._ready if before < v < self._aspired.stable and v in self._aspired.available]
        return max(between, default=before)

    def _retire(self, version: int) -> None:
        servable = self._ready.pop(version)
        self._checked.pop(version, None)
        self.states[version] = VersionState("UNLOADING")
        self._let_go(servable)

    def _let_go(self, servable: Servable) -> None:
        task = self._owner.create_task(self._free(servable), name=f"free {self.name}/{servable.version}")
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _free(self, servable: Servable) -> None:
        await self._loader.free(servable)
        log.info("'%s' version %d is freed (digest %s)", self.name, servable.version, servable.digest[:DIGEST_SHOWN])
        state = self.states.get(servable.version)
        if state is not None and state.state == "UNLOADING":  # it may be loading again already
            self.states[servable.version] = VersionState("UNAVAILABLE", "unloaded")
        self._forget()
        self._on_settled(self.name)

    def _forget(self) -> None:
        """Drop the oldest unavailable versions from the index."""
        gone = [version for version, state in sorted(self.states.items()) if state.state == "UNAVAILABLE"]
        for version in gone[:-REMEMBERED_VERSIONS]:
            self.states.pop(version)
            self._failures.pop(version, None)

    @property
    def idle(self) -> bool:
        """Whether all that was asked is done and no version is loaded or draining."""
        # A task that frees is among those that retire until it has ended: it may be the one that asks.
        busy = any(task is not asyncio.current_task() for task in self._retiring)
        return self._done >= self._asked and not self._ready and not busy

    def has_failures(self) -> bool:
        """Whether a version was refused: its files may have been mended since."""
        return bool(self._failures)

    async def close(self, owner: asyncio.TaskGroup) -> None:
        """Stop serving: drain and free every version, in tasks of `owner`; `run` must have ended."""
        self._owner = owner
        self._aspired = NOTHING
        self._switch()
        while self._retiring:
            await asyncio.wait(self._retiring)


def _told(before: Servable | None, now: Servable) -> str:
    """What answered before, in words."""
    if before is None:
        return ""
    if before.version != now.version:
        return f", before by {before.version}"
    return f" of digest {now.digest[:DIGEST_SHOWN]}, before by digest {before.digest[:DIGEST_SHOWN]}"
