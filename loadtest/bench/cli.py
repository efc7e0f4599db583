"""`python -m loadtest.bench curves | overload | swap | rows | beside | checkouts | training`: Tutti alone."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import get_args

import msgspec

from loadtest.bench import beside, checkouts, curves, many_rows, overload, swap, training
from loadtest.bench.curves import Name
from loadtest.bench.plot import draw
from loadtest.bench.serving import serving
from loadtest.bench.text import (
    beside_text,
    checkouts_text,
    curves_text,
    overload_text,
    rows_text,
    swaps_text,
    training_text,
)
from loadtest.errors import LoadtestError
from loadtest.peers import wrk
from loadtest.peers.ensembles import CLASSES, Ensemble, build, write
from loadtest.peers.errors import PeerError
from loadtest.peers.machine import this_machine
from loadtest.peers.networks import convolutional, perceptron
from loadtest.reporting.picture import require_matplotlib
from model_repo.cli.command_line import Parser

CURVES: tuple[Name, ...] = get_args(Name)


def main(argv: Sequence[str]) -> int:
    """Run one benchmark; 0: it ran, 2: it could not. What is good is for the reader to judge."""
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _ended)
    try:
        with tempfile.TemporaryDirectory(prefix="tutti-bench-") as folder:
            _BENCHMARKS[arguments.benchmark](arguments, Path(folder))
    except LoadtestError as error:
        print(f"loadtest.bench {arguments.benchmark}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"loadtest.bench {arguments.benchmark}: interrupted; its server is stopped", file=sys.stderr)
        return 130
    return 0


def _ended(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt  # so that the server is stopped on the way out


def _parser() -> Parser:
    common = Parser(add_help=False)
    common.add_argument("--out", type=Path, metavar="DIR", help="write the result here, as Markdown and JSON")
    common.add_argument("--tutti", default="", metavar="ARGS", help="more for `tutti serve` or `export`")
    loaded = Parser(add_help=False)
    loaded.add_argument("--ensemble", choices=tuple(_ENSEMBLES), default="wide", help="tiny: µs, cnn: ms, wide: 10 ms")
    loaded.add_argument(
        "--apart", action="store_true", help="the last core for the generator, the others for the server"
    )
    parser = Parser(prog="python -m loadtest.bench", description="Benchmarks of Tutti alone.")
    benchmarks = parser.add_subparsers(dest="benchmark", required=True)
    one = benchmarks.add_parser("curves", parents=[common], help="cost over members, rows, connections, models")
    one.add_argument("--curves", default=",".join(CURVES), metavar="C,C", help="[%(default)s]")
    one.add_argument("--seconds", type=int, default=1, metavar="S", help="for each figure [1]")
    one.add_argument("--full", action="store_true", help="every size; without it every other")
    two = benchmarks.add_parser("overload", parents=[common, loaded], help="five times the capacity, open loop")
    two.add_argument("--duration", type=float, default=16.0, metavar="S", help="seconds, a quarter for capacity [16]")
    three = benchmarks.add_parser("swap", parents=[common, loaded], help="new versions at half of the capacity")
    three.add_argument("--duration", type=float, default=20.0, metavar="S", help="seconds for each kind [20]")
    three.add_argument("--swaps", type=int, default=4, metavar="N", help="in that time [4]")
    four = benchmarks.add_parser("rows", parents=[common], help="many rows a request, beside onnxruntime alone")
    four.add_argument("--rows", type=int, default=32, metavar="N", help="a request [32]")
    five = benchmarks.add_parser("beside", parents=[common], help="a second ensemble beside the first: latency")
    five.add_argument(
        "--busy", type=int, default=0, metavar="C", help="connections that keep the second busy [0: idle]"
    )
    five.add_argument("--second", choices=("cnn", "mid"), default="cnn", help="cnn: ms, mid: 18 ms a row [cnn]")
    six = benchmarks.add_parser("checkouts", parents=[common], help="this checkout beside another: requests/s, p99")
    six.add_argument("--before", type=Path, required=True, metavar="DIR", help="folder of the other checkout")
    six.add_argument("--ensemble", choices=("tiny", "cnn", "mid"), default="tiny", help="[tiny]")
    for short in (four, five, six):
        short.add_argument("--seconds", type=int, default=2, metavar="S", help="for each figure [2]")
        short.add_argument("--rounds", type=int, default=5, metavar="R", help="medians are given [5]")
    seven = benchmarks.add_parser("training", parents=[common], help="exports with one worker and several, by engine")
    seven.add_argument("--recipe", default="digits", metavar="NAME|FILE", help="[digits]")
    seven.add_argument("--preset", default="balanced", metavar="P", help="[balanced]")
    seven.add_argument("--engines", default="local,torchrun,ray", metavar="E,E", help="[%(default)s]")
    seven.add_argument("--workers", type=int, default=2, metavar="N", help="beside one [2]")
    seven.add_argument("--seeds", type=int, default=1, metavar="K", help="simulate the recipe with so many [1]")
    seven.add_argument("--rounds", type=int, default=3, metavar="R", help="medians are given [3]")
    return parser


def _curves(arguments: argparse.Namespace, folder: Path) -> None:
    names = [word for word in arguments.curves.split(",") if word]
    for name in names:
        if name not in CURVES:
            raise PeerError(f"--curves: unknown '{name}'; there are {', '.join(CURVES)}")
    if arguments.seconds < 1:
        raise PeerError(f"--seconds is {arguments.seconds}; expected at least 1")
    if arguments.out is not None:
        require_matplotlib()
    plan = curves.Plan(
        generator=wrk.find(folder / "wrk"),
        folder=folder,
        seconds=arguments.seconds,
        names=[name for name in CURVES if name in names],
        quick=not arguments.full,
        arguments=shlex.split(arguments.tutti),
        tell=_tell,
    )
    found = curves.measure(plan)
    _give(arguments.out, "curves", curves_text(found), found)
    if arguments.out is not None:
        draw(found, arguments.out / "curves.png")


def _overload(arguments: argparse.Namespace, folder: Path) -> None:
    ensemble = _ENSEMBLES[arguments.ensemble](1, folder / "files")
    machine = this_machine()  # before the generator gets a core of its own
    with serving([ensemble], folder, shlex.split(arguments.tutti), apart=arguments.apart) as served:
        found = overload.measure(served, machine, arguments.duration, _tell)
    _give(arguments.out, "overload", overload_text(found), found)


def _swap(arguments: argparse.Namespace, folder: Path) -> None:
    found = []
    for number, kind in enumerate(get_args(swap.Kind)):
        own = folder / str(number)

        def make(version: int, own: Path = own) -> Ensemble:
            return _ENSEMBLES[arguments.ensemble](version, own / "files" / str(version))

        more = shlex.split(arguments.tutti)
        found.append(
            swap.measure(
                make,
                kind,
                own,
                swaps=arguments.swaps,
                duration_s=arguments.duration,
                arguments=more,
                apart=arguments.apart,
                tell=_tell,
            )
        )
    _give(arguments.out, "swap", swaps_text(found), found)


def _rows(arguments: argparse.Namespace, folder: Path) -> None:
    found = many_rows.measure(
        build("tiny", folder / "files"),
        wrk.find(folder / "wrk"),
        folder,
        rows=arguments.rows,
        seconds=arguments.seconds,
        rounds=arguments.rounds,
        arguments=shlex.split(arguments.tutti),
        tell=_tell,
    )
    _give(arguments.out, "rows", rows_text(found), found)


def _beside(arguments: argparse.Namespace, folder: Path) -> None:
    found = beside.measure(
        (build("tiny", folder / "tiny"), build(arguments.second, folder / arguments.second)),
        wrk.find(folder / "wrk"),
        folder,
        seconds=arguments.seconds,
        rounds=arguments.rounds,
        busy=arguments.busy,
        arguments=shlex.split(arguments.tutti),
        tell=_tell,
    )
    _give(arguments.out, "beside", beside_text(found), found)


def _checkouts(arguments: argparse.Namespace, folder: Path) -> None:
    found = checkouts.measure(
        build(arguments.ensemble, folder / "files"),
        arguments.before.resolve(),
        wrk.find(folder / "wrk"),
        folder,
        seconds=arguments.seconds,
        rounds=arguments.rounds,
        arguments=shlex.split(arguments.tutti),
        tell=_tell,
    )
    _give(arguments.out, "checkouts", checkouts_text(found), found)


def _training(arguments: argparse.Namespace, folder: Path) -> None:
    for flag, given, least in (("workers", arguments.workers, 2), ("rounds", arguments.rounds, 1),
                               ("seeds", arguments.seeds, 1)):  # fmt: skip
        if given < least:
            raise PeerError(f"--{flag} is {given}; expected at least {least}")
    plan = training.Plan(
        recipe=arguments.recipe,
        preset=arguments.preset,
        engines=[word for word in arguments.engines.split(",") if word],
        workers=arguments.workers,
        rounds=arguments.rounds,
        seeds=arguments.seeds,
        arguments=shlex.split(arguments.tutti),
        folder=folder,
        tell=_tell,
    )
    found = training.measure(plan)
    _give(arguments.out, "training", training_text(found), found)


_BENCHMARKS: dict[str, Callable[[argparse.Namespace, Path], None]] = {
    "curves": _curves, "overload": _overload, "swap": _swap, "rows": _rows, "beside": _beside,
    "checkouts": _checkouts, "training": _training,
}  # fmt: skip


def _tiny(version: int, folder: Path) -> Ensemble:
    members = {f"m{number}": perceptron(64, (64,), CLASSES, version * 10 + number) for number in range(3)}
    return write("tiny", (64,), members, folder)


def _cnn(version: int, folder: Path) -> Ensemble:
    members = {f"m{n}": convolutional(32, (24, 24, 48), (1, 1, 2), CLASSES, version * 10 + n) for n in range(3)}
    return write("cnn", (3, 32, 32), members, folder)


def _wide(version: int, folder: Path) -> Ensemble:
    """Slow enough that a load generator in Python offers five times the capacity with processor time to spare."""
    widths, strides = (64, 64, 96, 128), (1, 1, 2, 2)
    members = {f"m{n}": convolutional(32, widths, strides, CLASSES, version * 10 + n) for n in range(3)}
    return write("wide", (3, 32, 32), members, folder)


_ENSEMBLES: dict[str, Callable[[int, Path], Ensemble]] = {"tiny": _tiny, "cnn": _cnn, "wide": _wide}


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _give(out: Path | None, name: str, text: str, found: object) -> None:
    print(text, end="")
    if out is None:
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{name}.md").write_text(text, encoding="utf-8")
        (out / f"{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    except OSError as error:
        raise PeerError(f"--out {out}: {error.strerror}") from error
