"""One sitting: every peer in turn, round after round, so that the machine's drift falls on all of them alike."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from loadtest.peers import environments
from loadtest.peers.ask import answers, check
from loadtest.peers.catalogue import Peer
from loadtest.peers.comparison import Bare, Comparison, Measurement, Skipped, bare_medians, results
from loadtest.peers.ensembles import Ensemble
from loadtest.peers.errors import PeerError, PeerServerError
from loadtest.peers.formats import Protocol, Rows
from loadtest.peers.machine import this_machine
from loadtest.peers.neighbours import Watch
from loadtest.peers.process import Server, free_port, running
from loadtest.peers.publishing import publish
from loadtest.peers.wrk import Generator

SERVERS = Path(__file__).parent / "servers"
CHECK_ROWS = 3
WARM_UP_CONNECTIONS = 16

Files = Literal["members", "merged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is measured. `seconds` for each figure, whole; `folder` holds files, logs and the model repository."""

    peers: Sequence[Peer]
    ensembles: Sequence[Ensemble]
    protocols: Sequence[Protocol] = ("json", "binary")
    connections: Sequence[int] = (1, 8, 64, 256)
    seconds: int = 3
    rounds: int = 3
    warm_up_s: int = 1
    files: Files = "members"
    bare: bool = True
    environments: Path
    folder: Path
    tell: Callable[[str], None] = lambda line: None


@dataclass(slots=True)
class _Rounds:
    options: Options
    generator: Generator
    pythons: Mapping[str, environments.Environment]
    measurements: list[Measurement] = field(default_factory=list)
    skipped: dict[tuple[str, str], str] = field(default_factory=dict)
    bare: list[Bare] = field(default_factory=list)


def measure_rounds(options: Options, generator: Generator) -> Comparison:
    """Measure everything; a peer that fails is skipped for that ensemble and named. Raises PeerError."""
    machine = this_machine()
    pythons = _prepare(options)
    rounds = _Rounds(options, generator, pythons)
    for ensemble in options.ensembles:
        expected = reference(ensemble, options.folder)
        if any(peer.kind == "tutti" for peer in options.peers):
            publish(ensemble, options.folder / "models" / ensemble.name)
        for number in range(1, options.rounds + 1):
            for peer in options.peers:
                _measure(rounds, number, peer, ensemble, expected[:CHECK_ROWS])
            if options.bare:
                rounds.bare += alone(ensemble, options.seconds)
    return Comparison(
        machine=machine,
        load_after=os.getloadavg()[0],
        seconds=options.seconds,
        rounds=options.rounds,
        files=options.files,
        versions={name: found.versions for name, found in pythons.items()},
        results=results(rounds.measurements),
        bare=bare_medians(rounds.bare),
        skipped=[Skipped(peer=peer, ensemble=name, reason=why) for (peer, name), why in rounds.skipped.items()],
        measurements=rounds.measurements,
    )


def _prepare(options: Options) -> dict[str, environments.Environment]:
    families = dict.fromkeys(peer.family for peer in options.peers if peer.kind == "peer")
    return {family: environments.prepare(family, options.environments, options.tell) for family in families}


def _measure(rounds: _Rounds, number: int, peer: Peer, ensemble: Ensemble, expected: Rows) -> None:
    """One peer in one round; what went wrong is kept, and the peer left out of the ensemble's further rounds."""
    options = rounds.options
    protocols = [protocol for protocol in options.protocols if protocol in peer.formats]
    if not protocols or (peer.name, ensemble.name) in rounds.skipped:
        return
    try:
        with served(peer, ensemble, protocols[0], options, rounds.pythons) as server:
            for protocol in protocols:
                for measured in _load(rounds, number, peer, ensemble, expected, protocol, server):
                    rounds.measurements.append(measured)
                    rate, p99 = measured.figures.rps, measured.figures.p99_us / 1e3
                    what = f"{ensemble.name} {protocol} {measured.connections}"
                    options.tell(f"round {number}: {peer.name}: {what}: {rate:,.0f}/s, p99 {p99:.1f} ms")
    except PeerError as error:
        rounds.skipped[peer.name, ensemble.name] = str(error)
        options.tell(f"round {number}: {peer.name}: {error}")


def served(
    peer: Peer,
    ensemble: Ensemble,
    protocol: Protocol,
    options: Options,
    pythons: Mapping[str, environments.Environment],
) -> AbstractContextManager[Server]:
    """The peer with this ensemble, from its first answer on; raises PeerServerError."""
    port = free_port()
    request = peer.formats[protocol].request(ensemble.name, ensemble.rows(1))
    python = pythons[peer.family].python if peer.kind == "peer" else environments.own_python()
    return running(
        peer.name,
        command(peer, ensemble, port, python, options),
        port,
        options.folder / "logs" / f"{peer.name}-{ensemble.name}.log",
        ready=functools.partial(answers, port, request),
        limit_s=peer.start_limit_s,
    )


def command(peer: Peer, ensemble: Ensemble, port: int, python: Path, options: Options) -> list[str]:
    """The command line that starts the peer with this ensemble."""
    if peer.kind == "tutti":
        repository = options.folder / "models" / ensemble.name
        serve = [str(python), "-m", "tutti", "serve", "--repository", str(repository), "--port", str(port)]
        return [*serve, *peer.arguments]
    files = [ensemble.merged] if options.files == "merged" else list(ensemble.members.values())
    shape = ",".join(map(str, ensemble.shape))
    script = [str(python), str(SERVERS / peer.script), "--port", str(port), "--name", ensemble.name]
    return [*script, "--shape", shape, *peer.arguments, *map(str, files)]


def _load(
    rounds: _Rounds,
    number: int,
    peer: Peer,
    ensemble: Ensemble,
    expected: Rows,
    protocol: Protocol,
    server: Server,
) -> Iterator[Measurement]:
    options, speaks = rounds.options, peer.formats[protocol]
    if peer.kind != "ceiling":
        rows = ensemble.rows(len(expected))
        check(peer.name, server.port, speaks, speaks.request(ensemble.name, rows), expected)
    request = speaks.request(ensemble.name, ensemble.rows(1))
    if options.warm_up_s:
        rounds.generator.load(server.port, request, connections=WARM_UP_CONNECTIONS, seconds=options.warm_up_s)
    for connections in options.connections:
        watch = Watch(server)
        figures = rounds.generator.load(server.port, request, connections=connections, seconds=options.seconds)
        others, server_cpu_s = watch.others(), watch.server_cpu_s()
        yield Measurement(
            round=number, peer=peer.name, title=peer.title, kind=peer.kind, ensemble=ensemble.name,
            protocol=protocol, connections=connections, figures=figures, others=others,
            server_cpu_s=server_cpu_s,
        )  # fmt: skip
        server.require_alive()
        if not answers(server.port, request):  # it answers behind what wrk has left in its queue
            raise PeerServerError(f"{peer.name} stopped answering after {connections} connections")


def reference(ensemble: Ensemble, folder: Path) -> Rows:
    """The probabilities float32 [8, C] of the ensemble's first rows, by onnxruntime in a process of its own."""
    rows, found = folder / f"{ensemble.name}-rows.npy", folder / f"{ensemble.name}-answers.npy"
    np.save(rows, ensemble.rows(8))
    _script("reference.py", str(rows), str(found), *map(str, ensemble.members.values()))
    answered: Rows = np.load(found)
    return answered


def alone(ensemble: Ensemble, seconds: float) -> list[Bare]:
    """onnxruntime in a process of its own at every batch size, plan and number of lanes; `seconds` / 8 for each."""
    shape = ",".join(map(str, ensemble.shape))
    each = f"{seconds / 8:g}"
    members = map(str, ensemble.members.values())
    said = _script("bare.py", "--shape", shape, "--seconds", each, "--merged", str(ensemble.merged), *members)
    found = msgspec.json.decode(said, type=list[dict[str, str | float | int]])
    return [msgspec.convert({"ensemble": ensemble.name, **one}, Bare) for one in found]


def _script(name: str, *arguments: str) -> bytes:
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, str(SERVERS / name), *arguments], capture_output=True, check=False
    )
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise PeerError(f"{name} ended with status {done.returncode}: {words[-1]}")
    return done.stdout
