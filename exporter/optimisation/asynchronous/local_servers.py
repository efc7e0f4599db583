"""Servers of weights that are objects of this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exporter.optimisation.asynchronous.server import Keeping, ParameterServer, Started


class LocalServers:
    """Called one after another."""

    elsewhere = False

    def __init__(self, count: int, folder: Path, keeping: Keeping, started: Started) -> None:
        self.count = count
        self._folder, self._keeping, self._started = folder, keeping, started
        self.all = [self._server(place) for place in range(count)]

    def each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The method of each server with its arguments."""
        return [getattr(server, method)(*given) for server, given in zip(self.all, arguments, strict=True)]

    def restart(self, place: int) -> None:
        """The server goes on from what it kept, as one that died."""
        self.all[place] = self._server(place)

    def _server(self, place: int) -> ParameterServer:
        return ParameterServer(place, self._folder, self._keeping, self._started)
