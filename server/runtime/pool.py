"""Sessions shared between versions, by content, providers and threads."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TypeVar
from weakref import WeakSet

from server.runtime.measuring import Choice
from server.runtime.sessions import Model, Session, SessionKey
from server.runtime.workers import Workers

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
        self._foreground: ThreadPoolExecutor | None = None
        self.workers = Workers()
        self.choices = Choices()
        self.kin = Choices()
        self.proven: WeakSet[Session] = WeakSet()

    def load_in_background(self) -> None:
        """Say that loading threads have a lower priority; call it on a thread of the usual one.

        Threads inherit their maker's priority, for ever: from now on those that requests will run on are made by a
        thread that is started here.
        """
        self._foreground = ThreadPoolExecutor(1, "tutti-open")
        self._foreground.submit(int).result()

    def close(self) -> None:
        """End the thread that `load_in_background` started; every session must have been released."""
        if self._foreground is not None:
            self._foreground.shutdown()

    def in_foreground(self, work: Callable[[], T]) -> T:
        """What `work` gives, called where the threads that it makes get the usual priority."""
        return work() if self._foreground is None else self._foreground.submit(work).result()

    def spawn(self, executor: Executor, threads: int) -> None:
        """Let an executor start so many threads now, with the usual priority."""
        if self._foreground is None:
            return
        together = threading.Barrier(threads)

        def meet() -> None:
            with contextlib.suppress(threading.BrokenBarrierError):  # some are at work: those need not be started
                together.wait(SPAWN_S)

        self.in_foreground(lambda: [each.result() for each in [executor.submit(meet) for _ in range(threads)]])

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
                    slot.session = self._opened(key, read())
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

    def _opened(self, key: SessionKey, model: Model) -> Session:
        if key.threads == 1 and not key.providers:
            return Session(key, model)  # on the CPU with the caller's thread: it makes none
        return self.in_foreground(lambda: Session(key, model))

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
