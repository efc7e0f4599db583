"""Servables as a front sees them: what the engine said of them, and batches that are computed there.

The names and methods are those of `server.serving` that `server.http.inference` uses, without its
imports: a front loads no runtime.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from numpy.typing import NDArray

from model_repo import Manifest
from server.front.messages import Output, Served

if TYPE_CHECKING:
    from server.serving.batching.reply import Asked

Arrays = Mapping[str, NDArray[Any]]
Route = tuple[str, int | None, str | None]
"""Name, version, label: what a request asks for."""

_manifests = msgspec.msgpack.Decoder(Manifest)


@dataclass(slots=True)
class RemoteAnswer:
    """One request's answer: arrays `[rows, …]`, the members left out, and where its time went (seconds)."""

    outputs: dict[str, NDArray[Any]]
    missing: tuple[str, ...]
    version: int
    queue_s: float
    compute_s: float


@dataclass(frozen=True, slots=True)
class RemoteEnsemble:
    """What decoding and encoding read of a loaded ensemble."""

    outputs: Mapping[str, Output]
    default_outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RemoteVersion:
    """A version that the engine serves, under the engine's id for it."""

    id: int
    manifest: Manifest
    ensemble: RemoteEnsemble


class Link(Protocol):
    """Where requests leave for the engine: server.front.link.EngineLink."""

    def submit(self, remote: RemoteVersion, route: Route, client: str, entry: RemoteEntry) -> None:
        """Send an entry that was decoded for `remote`; raises Overloaded or NotReady."""

    def withdraw(self, reply: Reply) -> None:
        """Nobody waits for this reply any more."""


class Reply(asyncio.Future[RemoteAnswer]):
    """The answer to come; cancelling it tells the engine."""

    def __init__(self, link: Link, bytes_: int) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self.id = 0
        self.bytes = bytes_
        self.version = 0
        self.route: Route = ("", None, None)
        self._link = link

    def cancel(self, msg: Any | None = None) -> bool:
        """Withdraw the request: rows that have not started are not computed."""
        cancelled = super().cancel(msg)
        if cancelled:
            self._link.withdraw(self)
        return cancelled


@dataclass(slots=True, eq=False)
class RemoteEntry:
    """One request on its way; `deadline` in seconds of the loop's clock."""

    feeds: Arrays
    rows: int
    outputs: Collection[str]
    deadline: float
    reply: Reply


class RemoteServable:
    """What answers for one name, version or label, as last heard from the engine."""

    __slots__ = ("_client", "_link", "_route", "ensemble", "manifest", "name", "remote", "version")

    def __init__(self, link: Link, remote: RemoteVersion, route: Route, client: str = "") -> None:
        self.name = remote.manifest.name
        self.version = remote.manifest.version
        self.manifest = remote.manifest
        self.ensemble = remote.ensemble
        self.remote = remote
        self._link = link
        self._route = route
        self._client = client

    def asked_by(self, client: str) -> RemoteServable:
        """The same for a request of the client with this address, whose rate is limited."""
        return RemoteServable(self._link, self.remote, self._route, client)

    def entry(
        self,
        feeds: Arrays,
        rows: int,
        outputs: Collection[str],
        deadline: float,
    ) -> RemoteEntry:
        """An entry for validated feeds."""
        return RemoteEntry(feeds, rows, outputs, deadline, Reply(self._link, sum(a.nbytes for a in feeds.values())))

    def check_room(self) -> None:
        """Nothing: only the engine knows how much waits there."""

    def ask(self, feeds: Arrays, rows: int, outputs: Collection[str], deadline: float, exchange: Asked) -> None:
        """Send a request of the short way, which is settled when its answer is here. Raises as `submit_nowait`."""
        entry = self.entry(feeds, rows, outputs, deadline)
        exchange.follow(entry.reply)
        self.submit_nowait(entry)

    def begin(self) -> None:
        """Nothing: what was asked is on its way."""

    def submit_nowait(self, entry: RemoteEntry) -> None:
        """Send the entry; its answer, Superseded included, arrives in its reply. Raises Overloaded or NotReady."""
        self._link.submit(self.remote, self._route, self._client, entry)

    async def submit(self, feeds: Arrays, rows: int, outputs: Collection[str], deadline: float) -> RemoteAnswer:
        """The answer to one request; raises what the engine raises, Superseded where another version serves now."""
        entry = self.entry(feeds, rows, outputs, deadline)
        self.submit_nowait(entry)
        return await entry.reply


def version_of(served: Served) -> RemoteVersion:
    """What the engine tells of a version, as what requests are decoded with."""
    manifest = _manifests.decode(served.manifest)
    return RemoteVersion(
        served.id, manifest, RemoteEnsemble({output.name: output for output in served.outputs}, served.default_outputs)
    )
