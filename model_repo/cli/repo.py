"""`tutti repo`: look at a model repository, check it, and change which versions are served."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import TypeAlias

from model_repo.cli import commands
from model_repo.cli.command_line import Parser
from model_repo.errors import RepositoryError
from model_repo.format.paths import parse_version
from model_repo.store.repository import Repository
from model_repo.wording import printable, shortened

_Words: TypeAlias = "argparse._SubParsersAction[Parser]"
_Command: TypeAlias = Callable[[Repository, argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand. Exit status 0; 1 when `verify` found damage; 2 when the call cannot be carried out."""
    arguments = _parser().parse_args(argv)
    if getattr(arguments, "percent", 0) is None and not arguments.off:
        arguments.parser.error("--percent P is needed with a version")
    if (apart := getattr(arguments, "apart", None)) is not None:
        name, version = arguments.target
        if version is not None:
            arguments.parser.error(f"{name}/{version} names a version already, and {apart} is given too")
        arguments.target = name, apart
    try:
        run: _Command = arguments.run
        return run(Repository(arguments.repository), arguments)
    except RepositoryError as error:
        print(f"tutti repo: {printable(str(error))}", file=sys.stderr)
        return 2


def _parser() -> Parser:
    parser = Parser(
        prog="tutti repo",
        description="Look at a model repository, check it, and change which versions are served. "
        "Servers notice a change by themselves.",
        epilog="Exit status: 0; 1 when verify found damage; 2 when the command cannot be carried out.",
    )
    words = parser.add_subparsers(metavar="COMMAND", required=True)
    _add(words, "list", commands.list_all, "every ensemble with its versions and routes")
    show = _add(words, "show", commands.show, "one ensemble with its versions, or one version with its members")
    show.add_argument("target", type=_target, metavar="NAME[/V]", help="as digits, or digits/3")
    _add_apart(show)
    verify = _add(words, "verify", commands.verify, "read every file and compare it with its manifest")
    verify.add_argument("target", type=_target, nargs="?", metavar="NAME[/V]", help="default: every version of all")
    _add_apart(verify)
    _add_routes(words)
    prune = _add(words, "prune", commands.prune, "remove old versions that no route names")
    prune.add_argument("name", metavar="NAME")
    prune.add_argument("--keep", type=_whole, required=True, metavar="N", help="newest versions that stay in any case")
    prune.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    return parser


def _add_routes(words: _Words) -> None:
    chosen = _add(words, "promote", commands.promote_version, "make a version the stable one")
    chosen.add_argument("name", metavar="NAME")
    chosen.add_argument("version", type=_promoted, metavar="V", help="a version, or 'newest': follow new versions")
    back = _add(words, "rollback", commands.rollback_version, "go back to the version that was stable before")
    back.add_argument("name", metavar="NAME")
    canary = _add(words, "canary", commands.canary, "route a share of requests to a version (not served yet)")
    canary.add_argument("name", metavar="NAME")
    _add_version_or_off(canary)
    canary.add_argument("--percent", type=_percent, metavar="P", help="share of the requests, 0 to 100; needed with V")
    shadow = _add(words, "shadow", commands.shadow, "route copies of requests to a version (not served yet)")
    shadow.add_argument("name", metavar="NAME")
    _add_version_or_off(shadow)
    label = _add(words, "label", commands.label, "give a version a name that clients can ask for")
    label.add_argument("name", metavar="NAME")
    label.add_argument("label", metavar="LABEL")
    _add_version_or_off(label)


def _add_apart(parser: Parser) -> None:
    """The version as a word of its own: `verify digits 3` is `verify digits/3`."""
    parser.add_argument("apart", type=_number, nargs="?", metavar="V", help="the version, where NAME has none")


def _add_version_or_off(parser: Parser) -> None:
    either = parser.add_mutually_exclusive_group(required=True)
    either.add_argument("version", type=_number, nargs="?", metavar="V", help="a published version")
    either.add_argument("--off", action="store_true", help="end it")


def _add(words: _Words, word: str, run: _Command, text: str) -> Parser:
    parser = words.add_parser(word, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument(
        "--repository",
        metavar="DIR",
        default=os.environ.get("TUTTI_REPOSITORY", "models"),
        help="the model repository (TUTTI_REPOSITORY; now %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")
    return parser


def _number(text: str) -> int:
    if (version := parse_version(text)) is None:
        raise argparse.ArgumentTypeError(f"expected a version number such as 3, got {shortened(text)}")
    return version


def _promoted(text: str) -> int:
    if text == "newest":
        return commands.NEWEST
    if (version := parse_version(text)) is None:
        raise argparse.ArgumentTypeError(f"expected a version number such as 3, or newest, got {shortened(text)}")
    return version


def _target(text: str) -> tuple[str, int | None]:
    name, slash, version = text.partition("/")
    return name, _number(version) if slash else None


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected a whole number, 0 or more, got {shortened(text)}")
    return int(text)


def _percent(text: str) -> float:
    try:
        percent = float(text.removesuffix("%"))
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 100:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 100, got {shortened(text)}")
    return percent
