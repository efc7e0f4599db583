"""A server of weights: its shard of every network of a job, kept on the disk now and then."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from exporter.optimisation.asynchronous.leases import Batch
from exporter.optimisation.asynchronous.shard import Floats, Piece, Plan, Pushed, Shard


@dataclass
class Figures:
    """What came to a server, of all networks."""

    taken: int = 0
    refused: int = 0
    """Too stale."""
    staleness: dict[int, int] = field(default_factory=dict)
    """How many of the gradients that were taken had been overtaken by so many."""


@dataclass(frozen=True)
class Opened:
    """A network's shard as it was opened; what is kept on the disk besides the shard's state."""

    weights: Floats
    pieces: Sequence[Piece]
    plan: Plan


@dataclass(frozen=True)
class Keeping:
    """How a server treats gradients, and how often it keeps what they made; as a recipe says it."""

    staleness: int
    scale_by_staleness: bool
    every: int
    """Pushes between two files."""


class Started(Protocol):
    """Is told that the server of a place began a life, and of the batches in its weights, by network."""

    def __call__(self, place: int, life: int, applied: Mapping[int, Sequence[Batch]]) -> None: ...


class ParameterServer:
    """Called by many threads, or as an actor by many processes.

    One that is started where another of its folder was killed goes on from what that one kept last.
    """

    def __init__(self, place: int, folder: Path, keeping: Keeping, started: Started) -> None:
        """`place` among the servers; it keeps its shards in `folder`. `started` is told of the life that begins."""
        self._place, self._folder, self._keeping = place, folder, keeping
        self._life = uuid4().int >> 65
        self._lock = threading.Lock()
        self._opened: dict[int, Opened] = {}
        self._shards: dict[int, Shard] = {}
        self._closed: set[int] = set()
        self._figures = Figures()
        self._restore()
        started(place, self._life, self.applied())

    def open(self, network: int, weights: Floats, pieces: Sequence[Piece], plan: Plan) -> None:
        """Begin with a network's weights [n]; of several workers the first is believed."""
        with self._lock:
            if network not in self._shards:
                self._add(network, Opened(weights, pieces, plan))
                self._keep(network)

    def pull(self, network: int) -> tuple[Floats, int]:
        """The weights [n] and their version."""
        with self._lock:
            shard = self._shards[network]
            return shard.weights(), shard.version

    def push(
        self, network: int, batch: Batch, gradient: Floats, absent: Sequence[int], base: int
    ) -> tuple[Pushed, Floats, int, int]:
        """What became of a gradient, the weights [n] and version after it, and the life that this was in."""
        with self._lock:
            shard = self._shards[network]
            if network in self._closed:
                return Pushed("known", 0), shard.weights(), shard.version, self._life
            found = shard.push(batch, gradient, absent, base)
            self._count(found)
            if found.verdict == "taken" and shard.version % self._keeping.every == 0:
                self._keep(network)
            return found, shard.weights(), shard.version, self._life

    def close(self, network: int) -> None:
        """The network's weights stay as they are: all workers that end are to have the same."""
        with self._lock:
            self._closed.add(network)
            self._keep(network)

    def applied(self) -> Mapping[int, Sequence[Batch]]:
        """The batches that are in the weights, by network."""
        with self._lock:
            return {network: sorted(shard.applied) for network, shard in self._shards.items()}

    def figures(self) -> Figures:
        """What came since this server was started."""
        return self._figures

    def _count(self, found: Pushed) -> None:
        if found.verdict == "taken":
            self._figures.taken += 1
            seen = self._figures.staleness
            seen[found.staleness] = seen.get(found.staleness, 0) + 1
        elif found.verdict == "stale":
            self._figures.refused += 1

    def _add(self, network: int, opened: Opened) -> Shard:
        self._opened[network] = opened
        self._shards[network] = Shard(
            opened.weights, opened.pieces, opened.plan,
            self._keeping.staleness, scale_by_staleness=self._keeping.scale_by_staleness,
        )  # fmt: skip
        return self._shards[network]

    def _keep(self, network: int) -> None:
        """A file that appears whole. Raises OSError."""
        target = self._folder / f"{self._place}-{network}.pickle"
        partial = target.with_suffix(f".{os.getpid()}.part")
        self._folder.mkdir(parents=True, exist_ok=True)
        kept: dict[str, Any] = {
            "opened": self._opened[network],
            "state": self._shards[network].state(),
            "closed": network in self._closed,
        }
        partial.write_bytes(pickle.dumps(kept, pickle.HIGHEST_PROTOCOL))
        partial.replace(target)

    def _restore(self) -> None:
        for path in sorted(self._folder.glob(f"{self._place}-*.pickle")):
            kept = pickle.loads(path.read_bytes())  # noqa: S301 - a server of this job wrote it, into its own folder
            network = int(path.stem.partition("-")[2])
            self._add(network, kept["opened"]).restore(kept["state"])
            if kept["closed"]:
                self._closed.add(network)
