"""Sessions shared between versions, by content, providers and threads."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Executor
from typing import TypeVar
from weakref import WeakSet

from server.runtime.options import Choice
from server.runtime.sessions.background_threads import Background
from server.runtime.sessions.session import Model, Session, SessionKey
from server.runtime.sessions.workers import Workers

T = TypeVar("T")

SPAWN_S = 0.1
"""For which busy threads may keep others waiting while all of them are being started."""


class SessionPool:
    """Sessions shared by content, providers and threads; counted, freed with the last release. Thread-safe.

    Also owns what else versions share: the threads of the parallel plan, what measuring plans found, by the members'
    content (`choices`) and by their make (`kin`), and the merged sessions that give what their members give (`proven`).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots: dict[SessionKey, _Slot] = {}
        self._background: Background | None = None
        self.workers = Workers()
        self.choices = Choices()
        self.kin = Choices()
        self.proven: WeakSet[Session] = WeakSet()

    def compute_in_background(self, threads: int) -> None:
        """From now on let so many threads of low priority compute what loading takes."""
        self._background = Background(threads)

    def close(self) -> None:
        """End those threads; every session must have been released."""
        if self._background is not None:
            self._background.close()

    def in_background(self, work: Callable[[], T]) -> T:
        """What `work` gives, by one of those threads where there are any. It must start no threads: they inherit."""
        return work() if self._background is None else self._background(work)

    def spawn(self, executor: Executor, threads: int) -> None:
        """Let an executor start so many threads now, with the caller's priority: its first work may come from below."""
        together = threading.Barrier(threads)

        def meet() -> None:
            with contextlib.suppress(threading.BrokenBarrierError):  # some are at work: those need not be started
                together.wait(SPAWN_S)

        for each in [executor.submit(meet) for _ in range(threads)]:
            each.result()

    @property
    def count(self) -> int:
        """Sessions loaded now."""
        return len(self._loaded())

    @property
    def bytes(self) -> int:
        """Bytes of the model files behind the loaded sessions."""
        return sum(session.bytes for session in self._loaded())

    def holds(self, sha256: str) -> bool:
        """Whether a model or external file of this digest is part of a loaded session."""
        return any(
            sha256 == session.key.sha256 or sha256 in dict(session.key.external).values() for session in self._loaded()
        )

    def acquire(self, key: SessionKey, read: Callable[[], Model], shared: Callable[[], None]) -> Session:
        """The session of `key`; every acquire needs one release.

        Where it is not loaded yet, `read` gives the verified bytes; where it is, `shared` is called so that the
        caller's own copy is verified too. Two callers at once load it once. Raises SessionError and whatever
        the callables raise, and then nothing stays acquired.
        """
        slot = self._claim(key)
        try:
            with slot.loading:
                if slot.session is None:
                    slot.session = Session(key, read())
                    return slot.session
            shared()
        except BaseException:
            self._drop(key)
            raise
        return slot.session

    def release(self, session: Session) -> None:
        """Give back what one `acquire` gave; the last one frees it."""
        self._drop(session.key)

    def _claim(self, key: SessionKey) -> _Slot:
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            slot.references += 1
            return slot

    def _drop(self, key: SessionKey) -> None:
        with self._lock:
            slot = self._slots[key]
            slot.references -= 1
            if slot.references == 0:
                del self._slots[key]

    def _loaded(self) -> list[Session]:
        with self._lock:
            return [slot.session for slot in self._slots.values() if slot.session is not None]


class Choices:
    """What measuring found for sets of sessions, so that a version that changes only weights is not measured again.

    The newest few are kept: a choice costs a table of seconds. Thread-safe.
    """

    MOST = 64

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[Hashable, Choice] = {}

    def get(self, key: Hashable) -> Choice | None:
        """The choice made for `key`, if it is still known."""
        with self._lock:
            return self._known.get(key)

    def put(self, key: Hashable, choice: Choice) -> None:
        """Remember a choice; the oldest is forgotten."""
        with self._lock:
            self._known[key] = choice
            while len(self._known) > self.MOST:
                del self._known[next(iter(self._known))]


class _Slot:
    """A session or the place of one that is being loaded; `references` is guarded by the pool's lock."""

    def __init__(self) -> None:
        self.loading = threading.Lock()
        self.session: Session | None = None
        self.references = 0
