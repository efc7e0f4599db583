"""What an actor sees of the others: the same methods, by calls that end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ray
from numpy.typing import NDArray
from ray.exceptions import GetTimeoutError, RayActorError

from exporter.errors import TrainingError
from exporter.optimisation.asynchronous.batch_queue import Arrays
from exporter.optimisation.asynchronous.leases import Batch

LIVES = 3
"""A server is started anew so often at most, of itself or where it is silent."""
START_S = 60.0
"""A server that is started imports torch, and its first optimiser; it is not silent meanwhile."""


class RemoteTable:
    """A `LeaseTable` or a `BatchQueue` that is an actor. Raises TrainingError where it is gone."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def open(self, network: int, epoch: int, batches: int) -> None:
        """As there, and so are all that follow."""
        _found(self._actor.open.remote(network, epoch, batches))

    def take(self, network: int, holder: str, epoch: int, *, last: bool) -> Batch | None:
        found: Batch | None = _found(self._actor.take.remote(network, holder, epoch, last=last))
        return found

    def finish(self, network: int, batch: Batch, lives: Sequence[int] = ()) -> bool:
        return bool(_found(self._actor.finish.remote(network, batch, lives)))

    def left(self, network: int) -> int:
        return int(_found(self._actor.left.remote(network)))

    def started(self, place: int, life: int, applied: Mapping[int, Sequence[Batch]]) -> None:
        _found(self._actor.started.remote(place, life, applied))

    def close(self, network: int) -> None:
        _found(self._actor.close.remote(network))

    def put(self, network: int, producer: str, batch: Batch, arrays: Arrays) -> bool:
        return bool(_found(self._actor.put.remote(network, producer, batch, arrays)))

    def get(self, network: int, trainer: str, epoch: int, *, last: bool) -> tuple[Batch, Arrays] | None:
        found: tuple[Batch, Arrays] | None = _found(self._actor.get.remote(network, trainer, epoch, last=last))
        return found

    def publish(self, network: int, state: Mapping[str, NDArray[Any]]) -> None:
        _found(self._actor.publish.remote(network, state))

    def published(self, network: int) -> Mapping[str, NDArray[Any]]:
        found: Mapping[str, NDArray[Any]] = _found(self._actor.published.remote(network))
        return found


class RemoteServers:
    """Servers of weights that are actors; one that is silent for `stall_s` is killed and goes on from its last file."""

    elsewhere = True

    def __init__(self, actors: Sequence[Any], stall_s: float) -> None:
        self.count = len(actors)
        self._actors, self._stall_s = list(actors), stall_s

    def each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The method of each server with its arguments, at the same time. Raises TrainingError."""
        calls = [getattr(actor, method).remote(*given) for actor, given in zip(self._actors, arguments, strict=True)]
        limit = self._stall_s + (START_S if method == "open" else 0.0)
        for _ in range(LIVES + 1):
            _, silent = ray.wait(calls, num_returns=len(calls), timeout=limit)
            if not silent:
                return self._answers(calls)
            for call in silent:
                ray.kill(self._actors[calls.index(call)], no_restart=False)
            limit = self._stall_s + START_S
        raise TrainingError(f"servers of weights were silent for {self._stall_s:g} s, {LIVES + 1} times")

    def _answers(self, calls: list[Any]) -> list[Any]:
        try:
            found: list[Any] = ray.get(calls)
        except RayActorError as error:
            raise TrainingError(f"a server of weights died more than {LIVES} times") from error
        return found


def _found(call: Any) -> Any:
    try:
        return ray.get(call)
    except (RayActorError, GetTimeoutError) as error:
        raise TrainingError("the actor that hands out batches died") from error
