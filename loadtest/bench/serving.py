"""A `tutti serve` of its own for a measurement: ensembles published, server started, stopped behind it."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.bench.cores import on, split
from loadtest.peers.ask import answers
from loadtest.peers.ensembles import Ensemble
from loadtest.peers.formats import OPEN_INFERENCE, OPEN_INFERENCE_BINARY, Protocol, Request
from loadtest.peers.process import Server, free_port, running
from loadtest.peers.publishing import publish

START_LIMIT_S = 300.0
FORMATS = {"json": OPEN_INFERENCE, "binary": OPEN_INFERENCE_BINARY}


@dataclass(frozen=True, slots=True)
class Served:
    """A running Tutti with one or more ensembles."""

    server: Server
    repository: Path
    ensembles: tuple[Ensemble, ...]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def request(self, rows: int = 1, protocol: Protocol = "binary", ensemble: int = 0) -> Request:
        """One infer request for `rows` rows."""
        asked = self.ensembles[ensemble]
        return FORMATS[protocol].request(asked.name, asked.rows(rows))


@contextlib.contextmanager
def serving(
    ensembles: Sequence[Ensemble], folder: Path, arguments: Sequence[str] = (), *, apart: bool = False
) -> Iterator[Served]:
    """Publish the ensembles into a new repository in `folder` and serve them; raises PeerError."""
    repository = folder / "models"
    for ensemble in ensembles:
        publish(ensemble, repository)
    with serving_repository(repository, ensembles, folder, arguments, apart=apart) as served:
        yield served


@contextlib.contextmanager
def serving_repository(
    repository: Path,
    ensembles: Sequence[Ensemble],
    folder: Path,
    arguments: Sequence[str] = (),
    *,
    apart: bool = False,
    checkout: Path | None = None,
) -> Iterator[Served]:
    """Serve what `repository` holds, once its last ensemble answers; `ensembles` say what to ask.

    `apart`: the calling thread, and what it starts, gets the last core to itself, and the server the others.
    `checkout`: the folder of another checkout whose code serves, run by this interpreter.
    """
    port = free_port()
    last = OPEN_INFERENCE.request(ensembles[-1].name, ensembles[-1].rows(1))
    command = [sys.executable, "-m", "tutti", "serve", "--repository", str(repository), "--port", str(port)]
    cores = split() if apart else None
    with contextlib.ExitStack() as held:
        with on(cores.server) if cores else contextlib.nullcontext():
            server = held.enter_context(
                running(
                    "tutti",
                    [*command, *arguments],
                    port,
                    folder / "tutti.log",
                    ready=functools.partial(answers, port, last),
                    limit_s=START_LIMIT_S,
                    folder=checkout,
                )
            )
        if cores:
            held.enter_context(on(cores.generator))
        yield Served(server, repository, tuple(ensembles))
