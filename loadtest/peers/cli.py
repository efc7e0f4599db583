"""`python -m loadtest.peers`: Tutti and other servers beside each other, in one sitting, as one table."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import get_args

import msgspec

from loadtest.errors import LoadtestError
from loadtest.peers import wrk
from loadtest.peers.catalogue import CATALOGUE, Peer, chosen, tutti
from loadtest.peers.comparison import Comparison
from loadtest.peers.ensembles import NAMES, build
from loadtest.peers.environments import default_folder
from loadtest.peers.errors import PeerError
from loadtest.peers.formats import Protocol
from loadtest.peers.rounds import Options, measure_rounds
from loadtest.peers.table import markdown
from model_repo.cli.command_line import Parser

BARE = "bare"
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)


def main(argv: Sequence[str]) -> int:
    """Run a sitting; 0: all measured, 1: a peer was skipped or a request failed, 2: it could not run."""
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _ended)
    try:
        with tempfile.TemporaryDirectory(prefix="tutti-peers-") as folder:
            comparison = _sit(arguments, Path(folder))
        _write(comparison, arguments.out)
    except LoadtestError as error:
        print(f"loadtest.peers: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("loadtest.peers: interrupted; its servers are stopped", file=sys.stderr)
        return 130
    print(_json(comparison).decode() if arguments.json else markdown(comparison), end="")
    return 1 if comparison.skipped or any(one.errors for one in comparison.results) else 0


def _ended(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt  # so that every server is stopped on the way out


def _parser() -> Parser:
    names = [peer.name for peer in CATALOGUE]
    parser = Parser(
        prog="python -m loadtest.peers",
        description="Serve the same ensembles with Tutti and other servers, load all with wrk, print one table. "
        "Exit status 1 when a server was skipped or a request failed.",
    )
    parser.add_argument("--peers", default="", metavar="P,P", help=f"{', '.join([*names, BARE])} [all]")
    parser.add_argument("--ensembles", default=",".join(NAMES), metavar="E,E", help="[%(default)s]")
    parser.add_argument("--protocols", default=",".join(PROTOCOLS), metavar="P,P", help="[%(default)s]")
    parser.add_argument("--connections", default="1,8,64,256", metavar="C,C", help="[%(default)s]")
    parser.add_argument("--seconds", type=int, default=3, metavar="S", help="for each figure [3]")
    parser.add_argument("--rounds", type=int, default=3, metavar="R", help="interleaved; medians are given [3]")
    parser.add_argument(
        "--tutti", action="append", default=[], metavar="NAME=ARGS",
        help="Tutti once more with other settings, e.g. 'one_lane=--lanes 1'; may be given again",
    )  # fmt: skip
    parser.add_argument(
        "--files", choices=("members", "merged"), default="members",
        help="what the peers serve: the members, or one graph made of them by hand [members]",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of wrk [1]")
    parser.add_argument(
        "--environments", type=Path, default=default_folder(), metavar="DIR",
        help="where the peers' virtual environments are, or are made on first use [%(default)s]",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR", help="write peers.md and peers.json here")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    return parser


def _sit(arguments: argparse.Namespace, folder: Path) -> Comparison:
    for name, value in (("--seconds", arguments.seconds), ("--rounds", arguments.rounds)):
        if value < 1:
            raise PeerError(f"{name} is {value}; expected at least 1")
    words = _words(arguments.peers)
    generator = wrk.find(folder / "wrk", arguments.threads)
    options = Options(
        peers=_peers([word for word in words if word != BARE], arguments.tutti) if words != [BARE] else [],
        ensembles=[build(name, folder / name) for name in _among("--ensembles", arguments.ensembles, NAMES)],
        protocols=[name for name in PROTOCOLS if name in _among("--protocols", arguments.protocols, PROTOCOLS)],
        connections=_counts(arguments.connections),
        seconds=arguments.seconds,
        rounds=arguments.rounds,
        files=arguments.files,
        bare=not words or BARE in words,
        environments=arguments.environments.expanduser().absolute(),
        folder=folder,
        tell=lambda line: print(line, file=sys.stderr, flush=True),
    )
    return measure_rounds(options, generator)


def _peers(words: Sequence[str], more: Sequence[str]) -> list[Peer]:
    variants = []
    for text in more:
        name, found, given = text.partition("=")
        if not found or not name.isidentifier():
            raise PeerError(f"--tutti '{text}': expected NAME=ARGS, e.g. one_lane='--lanes 1'")
        variants.append(tutti(f"tutti-{name}", shlex.split(given)))
    return (chosen(words) if words else list(CATALOGUE)) + variants


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _among(option: str, text: str, known: Sequence[str]) -> list[str]:
    words = _words(text)
    for word in words:
        if word not in known:
            raise PeerError(f"{option}: unknown '{word}'; there are {', '.join(known)}")
    return words


def _counts(text: str) -> list[int]:
    words = _words(text)
    if not words or not all(word.isdecimal() and 0 < int(word) <= 10_000 for word in words):
        raise PeerError(f"--connections is '{text}'; expected numbers from 1 to 10000 with commas between")
    return [int(word) for word in words]


def _write(comparison: Comparison, out: Path | None) -> None:
    if out is None:
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "peers.md").write_text(markdown(comparison), encoding="utf-8")
        (out / "peers.json").write_bytes(_json(comparison))
    except OSError as error:
        raise PeerError(f"--out {out}: {error.strerror}") from error


def _json(comparison: Comparison) -> bytes:
    return msgspec.json.format(msgspec.json.encode(comparison), indent=2) + b"\n"
