"""Brings one version from the repository to a servable, off the event loop, and frees it again.

The order is the swap's: verify → memory admission → sessions → golden rows → plan and warm-up. Any failure leaves
nothing behind and becomes a LoadError with its reason.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from model_repo import IntegrityError, NotFoundError, Repository, RepositoryError, Version
from server import resources
from server.errors import LoadError, LoadReason
from server.metrics import Metrics
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from server.serving.servable import Servable
from server.settings import Settings

UNREADABLE = "unreadable"
"""The digest of content that cannot be read: no loaded one has it."""
MEMORY_SHARE = 0.9
"""Share of the memory limit that loading may fill when no limit is set: the rest is for requests."""

Phases = dict[str, float]
log = logging.getLogger("tutti.loader")


class Loader:
    """Loads and frees versions; at most `load_workers` at a time."""

    def __init__(self, repository: Repository, settings: Settings, metrics: Metrics) -> None:
        self._repository = repository
        self._metrics = metrics
        self._pool = SessionPool()
        self._options = RuntimeOptions(
            cores=settings.cores or resources.cores(),
            plan=settings.plan,
            lanes=settings.lanes,
            providers=settings.providers,
            policy=settings.provider_policy,
        )
        self._memory_factor = settings.memory_factor
        self._memory_limit = settings.memory_limit_bytes or int(resources.memory_limit_bytes() * MEMORY_SHARE)
        self._pool.compute_in_background(settings.load_workers)
        self._load_threads = ThreadPoolExecutor(settings.load_workers, thread_name_prefix="tutti-load")
        self._free_threads = ThreadPoolExecutor(1, thread_name_prefix="tutti-free")
        # Threads are made only when batches need them and outlive every swap, so their number stays flat.
        self._lane_threads = ThreadPoolExecutor(max(32, 4 * self._options.cores), thread_name_prefix="tutti-lane")
        metrics.source("tutti_sessions", lambda: self._pool.count)
        metrics.source("tutti_session_bytes", lambda: self._pool.bytes)

    async def load(self, name: str, version: int) -> Servable:
        """The version, verified, warmed up and ready to answer; raises LoadError."""
        loop = asyncio.get_running_loop()
        phases: Phases = {}
        try:
            ensemble = await loop.run_in_executor(self._load_threads, self._load, name, version, phases)
        finally:
            for phase, seconds in phases.items():
                self.observe(name, phase, seconds)
        return Servable(ensemble, self._lane_threads, self._metrics)

    async def signature(self, name: str, version: int) -> str:
        """What the version's files look like now; "" where they cannot be looked at."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._load_threads, self._signature, name, version)

    async def digest(self, name: str, version: int) -> str:
        """Which content the version has now; "" where it is gone, UNREADABLE where it is there and cannot be read."""
        return await asyncio.get_running_loop().run_in_executor(self._load_threads, self._digest, name, version)

    async def free(self, servable: Servable) -> None:
        """Drain the servable, close its sessions and give the memory back."""
        started = time.perf_counter()
        await servable.drain()
        drained = time.perf_counter()
        await asyncio.get_running_loop().run_in_executor(self._free_threads, self._free, servable)
        servable.retire()
        self.observe(servable.name, "drain", drained - started)
        self.observe(servable.name, "free", time.perf_counter() - drained)

    async def settle_memory(self) -> None:
        """Collect and freeze what start-up left behind, off the loop."""
        await asyncio.get_running_loop().run_in_executor(self._free_threads, resources.give_back_memory)

    def observe(self, name: str, phase: str, seconds: float) -> None:
        """Account for one phase of a swap."""
        self._metrics.histogram("tutti_swap_seconds", name, phase).observe(seconds)

    def close(self) -> None:
        """Stop the threads; every servable must have been freed."""
        self._load_threads.shutdown()
        self._free_threads.shutdown()
        self._lane_threads.shutdown()
        self._pool.close()

    def _load(self, name: str, version: int, phases: Phases) -> LoadedEnsemble:
        try:
            with _timed(phases, "verify"):
                opened = self._repository.open(name, version)
                self._admit(opened)
            with _timed(phases, "load"):
                ensemble = LoadedEnsemble.open(opened, self._pool, self._options)
        except RepositoryError as error:
            reason: LoadReason = "integrity" if isinstance(error, IntegrityError) else "manifest"
            raise LoadError(reason, str(error)) from error
        except MemoryError as error:
            raise LoadError("memory", f"'{name}' version {version}: out of memory while loading") from error
        try:
            with _timed(phases, "golden"):
                ensemble.check_golden()
            with _timed(phases, "measure"):
                ensemble.choose_plan()
        except BaseException:
            ensemble.close()
            raise
        return ensemble

    def _admit(self, opened: Version) -> None:
        """Refuse a version whose estimated memory would pass the limit."""
        models = {model.sha256: model for model in opened.manifest.models}
        fresh = sum(
            model.bytes + sum(file.bytes for file in model.external)
            for sha256, model in models.items()
            if not self._pool.holds(sha256)
        )
        estimate = int(fresh * self._memory_factor)
        resident = resources.resident_bytes()
        if fresh and resident + estimate > self._memory_limit:
            raise LoadError(
                "memory",
                f"'{opened.name}' version {opened.version} needs about {estimate} bytes ({fresh} bytes of members × "
                f"{self._memory_factor:g}); {resident} are in use and the limit is {self._memory_limit}",
            )

    def _signature(self, name: str, version: int) -> str:
        try:
            return self._repository.signature(name, version)
        except (RepositoryError, OSError):
            return ""

    def _digest(self, name: str, version: int) -> str:
        try:
            return self._repository.digest(name, version)
        except NotFoundError:
            return ""
        except (RepositoryError, OSError):
            return UNREADABLE

    def _free(self, servable: Servable) -> None:
        servable.free()
        resources.give_back_memory()


@contextmanager
def _timed(phases: Phases, phase: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        phases[phase] = time.perf_counter() - started
