"""`python -m loadtest.gpu`: the runtime on a GPU, beside the CPU's answers and onnxruntime alone on the same GPU."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from loadtest.accelerators.correctness import compare
from loadtest.accelerators.errors import DeviceError
from loadtest.accelerators.memory import DeviceMemory, HostMemory, Memory
from loadtest.accelerators.speed import measure
from loadtest.accelerators.swapping import swap
from loadtest.accelerators.text import Sitting, markdown
from loadtest.accelerators.versions import SHAPES, published
from loadtest.accelerators.ways import PROVIDERS, Way, require, ways
from loadtest.errors import LoadtestError
from loadtest.peers.machine import this_machine
from model_repo.cli.command_line import Parser
from server.errors import LoadError

SECONDS = 1.0
SWAPS = 200
MOST_ROWS = 64
"""The publisher's default for `max_batch_rows`."""


def main(argv: Sequence[str]) -> int:
    """Measure, print; 0: right and flat, 1: a wrong answer or growing memory, 2: it could not be measured."""
    arguments = _parser().parse_args(argv)
    try:
        chosen, sizes = _ways(arguments), _sizes(arguments.sizes)
        if arguments.swaps < 0:
            raise DeviceError(f"--swaps is {arguments.swaps}; expected at least 0")
        require(chosen[0])
        with tempfile.TemporaryDirectory(prefix="tutti-gpu-") as folder:
            sitting = _sitting(arguments, chosen, sizes, Path(folder))
        _give(arguments.out, sitting)
    except (LoadtestError, LoadError) as error:
        print(f"loadtest.gpu: {error}{_hint(arguments.provider, error)}", file=sys.stderr)
        return 2
    return 0 if sitting.good else 1


def _parser() -> Parser:
    parser = Parser(prog="python -m loadtest.gpu", description=main.__doc__)
    parser.add_argument("--provider", choices=tuple(PROVIDERS), default="cuda", help="[%(default)s]")
    parser.add_argument("--device", type=int, default=0, metavar="N", help="onnxruntime's device_id [0]")
    parser.add_argument("--ensemble", choices=tuple(SHAPES), default="cnn", help="µs, ms or 10 ms a row on a CPU [cnn]")
    parser.add_argument("--buckets", default="powers", metavar="N,N", help="as tutti_batch_buckets [powers]")
    parser.add_argument(
        "--sizes", default="1,2,4,8,16,32,64", metavar="N,N", help="rows of a batch, timed [%(default)s]"
    )
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, metavar="S", help="for each figure; 0 times nothing [1]"
    )
    parser.add_argument("--swaps", type=int, default=SWAPS, metavar="N", help="0: none [200]")
    parser.add_argument("--graphs", action="store_true", help="CUDA graphs as one more way")
    parser.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="of the provider; repeatable"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write gpu.md and gpu.json here")
    return parser


def _ways(arguments: argparse.Namespace) -> tuple[Way, ...]:
    options: dict[str, str] = {}
    for text in arguments.option:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise DeviceError(f"--option {text!r}; expected KEY=VALUE")
        options[key] = value
    if arguments.provider != "cpu":
        options.setdefault("device_id", str(arguments.device))
    return ways(arguments.provider, options, arguments.buckets, graphs=arguments.graphs)


def _sitting(arguments: argparse.Namespace, chosen: Sequence[Way], sizes: Sequence[int], folder: Path) -> Sitting:
    """Correctness first: figures of wrong answers are worth nothing, so a way that differs is not timed."""
    memory: Memory = HostMemory() if arguments.provider == "cpu" else DeviceMemory(arguments.device)
    machine = this_machine()
    versions = published(arguments.ensemble, folder)
    _tell("comparing with the CPU")
    agreements = compare(versions, chosen, MOST_ROWS)
    right = [way for way, one in zip(chosen, agreements, strict=True) if one.good]
    if right and arguments.seconds > 0:
        _tell(f"timing {', '.join(way.name for way in right)}")
        figures = measure(versions, right, sizes, arguments.seconds)
    else:
        figures = []
    swaps = None
    if right and arguments.swaps > 0:
        _tell(f"{arguments.swaps} swaps, {right[-1].name}")
        swaps = swap(versions, right[-1], arguments.swaps, memory, _tell)
    return Sitting(
        machine=machine,
        load_after=os.getloadavg()[0],
        provider=chosen[0].provider.name,
        device="no device" if arguments.provider == "cpu" else memory.name.removeprefix("memory in use on "),
        ensemble=arguments.ensemble,
        agreements=agreements,
        figures=figures,
        swaps=swaps,
    )


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(size) for size in text.split(","))
    except ValueError as error:
        raise DeviceError(f"--sizes {text!r}; expected numbers such as 1,8,64") from error
    if not all(1 <= size <= MOST_ROWS for size in sizes):
        raise DeviceError(f"--sizes {text!r}; expected 1 to {MOST_ROWS} rows")
    return sizes


def _hint(provider: str, error: Exception) -> str:
    return (
        "" if provider == "cpu" or not isinstance(error, DeviceError) else " (--provider cpu does the same on the CPU)"
    )


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _give(out: Path | None, sitting: Sitting) -> None:
    text = markdown(sitting)
    print(text, end="")
    if out is None:
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "gpu.md").write_text(text, encoding="utf-8")
        (out / "gpu.json").write_bytes(msgspec.json.format(msgspec.json.encode(sitting), indent=2) + b"\n")
    except OSError as error:
        raise DeviceError(f"--out {out}: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
