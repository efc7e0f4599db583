"""`tutti export`: a recipe's members, trained, fused, converted, checked and published."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, get_args

import msgspec

from exporter.errors import AcceptanceError, ExportError
from exporter.optimisation.spec import Device, Precision
from exporter.recipe.catalogue import entries, find_recipe
from exporter.recipe.options import EngineName, Options
from exporter.recipe.recipe import DEFAULT_PRESET, PRESETS, read_recipe
from exporter.recipe.schema import recipe_schema
from exporter.scoring.objective import MetricName
from exporter.training.engines.environment import place
from model_repo import RepositoryError
from model_repo.cli.command_line import Parser
from model_repo.cli.distribution import install_extra

if TYPE_CHECKING:
    from exporter.pipeline import Exported


OURS = ("exporter", "server", "model_repo")


class Summary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `--json` prints: the published rule's figures on the test rows, and the best single member's metric."""

    name: str
    version: int
    rule: str
    metric: MetricName
    best_single: str
    report: str
    reused: int
    seconds: float
    training: str = ""
    accuracy: float | None = None
    log_loss: float | None = None
    ece: float | None = None
    rmse: float | None = None
    mae: float | None = None
    ndcg_at_10: float | None = None
    micro_f1: float | None = None
    macro_f1: float | None = None
    best_single_log_loss: float | None = None
    best_single_rmse: float | None = None
    best_single_mae: float | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 1 when the ensemble misses what its recipe accepts; 2 when the call cannot be carried out."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.recipe is None and not arguments.list and not arguments.schema:
        parser.error("a recipe is needed: its name (tutti export --list) or a TOML file")
    try:
        if arguments.schema:
            print(msgspec.json.format(msgspec.json.encode(recipe_schema()), indent=2).decode())
            return 0
        if arguments.list:
            _print_list(as_json=arguments.json)
            return 0
        with _terminated_like_interrupted():
            return _export(arguments)
    except KeyboardInterrupt as error:
        print("tutti export: interrupted, nothing is published; --resume goes on from here", file=sys.stderr)
        return 143 if isinstance(error, _Terminated) else 130
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in OURS:
            raise  # a bug, not a missing extra
        print(f"tutti export: needs the package '{package}': {install_extra('export')}", file=sys.stderr)
        return 2
    except AcceptanceError as error:
        print(f"tutti export: {error}", file=sys.stderr)
        return 1
    except (ExportError, RepositoryError) as error:
        print(f"tutti export: {error}", file=sys.stderr)
        return 2


class _Terminated(KeyboardInterrupt):
    """SIGTERM: what is running is ended as by Ctrl-C."""


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _export(arguments: argparse.Namespace) -> int:
    recipe = read_recipe(find_recipe(arguments.recipe), arguments.preset, arguments.set)
    options = Options(
        repository=Path(arguments.repository),
        data=None if arguments.data is None else Path(arguments.data),
        preset=arguments.preset,
        device=arguments.device,
        precision=arguments.precision,
        compile=arguments.compile,
        workers=arguments.workers,
        engine=arguments.engine,
        address=arguments.address,
        resume=arguments.resume,
        work=None if arguments.work is None else Path(arguments.work),
        report=None if arguments.report is None else Path(arguments.report),
    )
    if (own := place()) is not None and not own.drives:
        from exporter.pipeline import serve

        serve(recipe, options, own)
        return 0
    # Only now: a wrong option must not wait for torch.
    from exporter.pipeline import export
    from exporter.training.progress import progress

    with progress(recipe.name) as shown:
        exported = export(recipe, options, shown.report, shown.watch)
    _print_result(exported, as_json=arguments.json)
    return 0


def _print_list(*, as_json: bool) -> None:
    found = entries()
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        return
    for recipe in found:
        print(f"{recipe.name}  ({recipe.task}, {recipe.data})  {recipe.description}")
        for member in recipe.members:
            print(f"  {member.name:<14}{member.family}")


def _print_result(exported: Exported, *, as_json: bool) -> None:
    from exporter.reporting.leaderboard import as_text

    board, version = exported.board, exported.version
    if as_json:
        fused, best = board.row(board.published).metrics, board.row(board.best_single).metrics
        names = ("accuracy", "log_loss", "ece", "rmse", "mae", "ndcg_at_10", "micro_f1", "macro_f1")
        figures = {name: getattr(fused, name) for name in names}
        figures[f"best_single_{board.metric}"] = best.figure(board.metric)
        summary = Summary(
            name=version.name,
            version=version.version,
            rule=board.published,
            metric=board.metric,
            best_single=board.best_single,
            report=str(exported.report),
            reused=exported.reused,
            seconds=board.seconds,
            training="" if board.training is None else board.training.line(),
            **figures,
        )
        print(msgspec.json.encode(summary).decode())
        return
    print(as_text(board))
    print(f"Report: {exported.report}/leaderboard.png, .txt, .json")
    print(f"Published {version.name}/{version.version} in {version.root}")


def _parser() -> Parser:
    parser = Parser(
        prog="tutti export", description="Train the members of a recipe, fuse, convert, check and publish them."
    )
    parser.add_argument("recipe", nargs="?", metavar="NAME|RECIPE.toml", help="a shipped recipe (--list) or a file")
    parser.add_argument("--list", action="store_true", help="name every shipped recipe and its members")
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of recipes, for editors")
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")
    parser.add_argument("--repository", default="models", metavar="DIR", help="model repository [models]")
    parser.add_argument("--data", metavar="DIR", help="folder of the data, where the recipe needs one")
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        default=DEFAULT_PRESET,
        help="fast: fewer folds and epochs; best: more of both, and more members [balanced]",
    )
    parser.add_argument("--device", choices=get_args(Device), default="cpu", help="where torch members train [cpu]")
    parser.add_argument(
        "--precision", choices=get_args(Precision), default="float32",
        help="of products in networks while they train: bf16 and fp16 are for GPUs [float32]",
    )  # fmt: skip
    parser.add_argument("--compile", action="store_true", help="train networks through torch.compile")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override, as members.cnn.training.epochs=10"
    )
    parser.add_argument("--resume", action="store_true", help="take over finished members of an interrupted export")
    parser.add_argument("--work", metavar="DIR", help="keep finished members here, for --resume [in the repository]")
    training = parser.add_argument_group("training", "who trains the members; docs/training.md says when which")
    training.add_argument("--workers", type=_workers, default=0, metavar="N",
                          help="training processes, whoever starts them [one per core]")  # fmt: skip
    training.add_argument("--engine", choices=get_args(EngineName), default="local",
                          help="local: processes of this machine; torchrun: torch's elastic launcher, or the one that "
                          "this command already runs under; ray: tasks of a Ray cluster [local]")  # fmt: skip
    training.add_argument("--address", metavar="HOST:PORT|auto",
                          help="with --engine ray: a cluster that runs [one is started here and ended]")  # fmt: skip
    parser.add_argument("--report", metavar="DIR", help="folder of the leaderboard [reports/NAME-VERSION]")
    return parser


def _workers(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} given, expected a number of at least 1")
    return int(text)
