"""`tutti loadtest URL`: load a server, swap under load, and report."""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from loadtest.errors import LoadtestError
from loadtest.load.runner import Progress as Tell
from loadtest.load.runner import run
from loadtest.load.scenarios import SCENARIOS, Options, Plan, plan
from loadtest.reporting.picture import draw, require_matplotlib
from loadtest.reporting.report import Report, build
from loadtest.reporting.text import as_text
from model_repo.cli.command_line import Parser

MAX_FILES = 65_536


def main(argv: Sequence[str]) -> int:
    """Run a load test; 0: all went well, 1: it ran and something failed, 2: it could not run."""
    arguments = _parser().parse_args(argv)
    try:
        chosen = plan(_options(arguments))
        if arguments.out is not None:
            require_matplotlib()
            _make(arguments.out)
        _raise_file_limit()
        with _progress(chosen) as progress:
            result = run(chosen, progress)
        report = build(result)
        if arguments.out is not None:
            _write(report, arguments.out)
            draw(report, result.sample, arguments.out / "latency.png")
    except LoadtestError as error:
        print(f"tutti loadtest: {error}", file=sys.stderr)
        return 2
    print(_json(report).decode() if arguments.json else as_text(report), end="")
    if arguments.out is not None and not arguments.json:
        print(f"written: {arguments.out}/report.txt, report.json, latency.png")
    return 0 if report.passed else 1


def _parser() -> Parser:
    parser = Parser(
        prog="tutti loadtest",
        description="Load a server over HTTP and report what its clients saw. Exit status 1 when requests failed.",
    )
    parser.add_argument("url", metavar="URL", help="the server, e.g. http://127.0.0.1:8000")
    parser.add_argument("--ensemble", metavar="NAME", help="needed only where the server has several")
    parser.add_argument("--scenario", default="steady", metavar="NAME", help=f"{', '.join(SCENARIOS)} [steady]")
    load = parser.add_argument_group("load")
    load.add_argument("--rate", type=float, metavar="R", help="requests/s, sent whatever the answers do [100]")
    load.add_argument(
        "--connections",
        type=int,
        metavar="C",
        help="without --rate: C clients that each wait for their answer; with it: open connections at most [256]",
    )
    load.add_argument("--duration", type=float, metavar="S", help="seconds [10; swap 30, ramp 40, soak 600]")
    load.add_argument("--warmup", type=float, default=1.0, metavar="S", help="seconds not reported [1]")
    load.add_argument("--arrivals", default="poisson", choices=("poisson", "constant"), help="[poisson]")
    load.add_argument("--rows", type=int, default=1, metavar="N", help="rows in a request [1]")
    load.add_argument("--protocol", default="json", choices=("json", "binary"), help="[json]")
    load.add_argument("--timeout", type=float, default=10.0, metavar="S", help="patience with a request [10]")
    load.add_argument("--seed", type=int, default=0, metavar="N", help="of inputs and arrivals [0]")
    swap = parser.add_argument_group("scenario swap")
    swap.add_argument(
        "--repository", type=Path, metavar="DIR", help="publish the current version again as the next one, in here"
    )
    swap.add_argument(
        "--swap-command", metavar="CMD", help="publish by this shell command; its last word may be the version"
    )
    swap.add_argument("--swaps", type=int, metavar="N", help="how many, evenly spaced [5]")
    swap.add_argument("--patience", type=float, default=60.0, metavar="S", help="until a version must answer [60]")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write report.txt, report.json and latency.png there")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


def _options(arguments: argparse.Namespace) -> Options:
    return Options(
        url=arguments.url,
        ensemble=arguments.ensemble,
        scenario=arguments.scenario,
        rate=arguments.rate,
        connections=arguments.connections,
        duration_s=arguments.duration,
        warmup_s=arguments.warmup,
        rows=arguments.rows,
        protocol=arguments.protocol,
        process=arguments.arrivals,
        seed=arguments.seed,
        timeout_s=arguments.timeout,
        repository=arguments.repository,
        swap_command=arguments.swap_command,
        swaps=arguments.swaps,
        patience_s=arguments.patience,
    )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LoadtestError(f"--out {folder}: cannot make the folder: {error.strerror}") from error


def _write(report: Report, folder: Path) -> None:
    (folder / "report.json").write_bytes(_json(report))
    (folder / "report.txt").write_text(as_text(report), encoding="utf-8")


def _json(report: Report) -> bytes:
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def _raise_file_limit() -> None:
    """A connection is an open file, and 1,024 is a common limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextmanager
def _progress(chosen: Plan) -> Iterator[Tell | None]:
    """A line on stderr that counts along, where somebody watches."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"{chosen.options.scenario}: connecting")

        def tell(elapsed: float, requests: int) -> None:
            done = f"{elapsed:.0f} of {chosen.duration_s:g} s, {requests:,} requests"
            progress.update(task, description=f"{chosen.options.scenario}: {done}")

        yield tell
