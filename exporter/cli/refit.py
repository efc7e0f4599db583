"""`tutti refit`: add, drop or reweight members of a published ensemble without training."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from exporter.cli.arguments import UsageError, name_values
from exporter.errors import AcceptanceError, ExportError
from exporter.recipe.rule_names import RuleName
from model_repo import Repository, RepositoryError
from model_repo.cli.command_line import Parser
from model_repo.format.manifest import Kind

if TYPE_CHECKING:
    from exporter.refitting.newcomers import Newcomer
    from exporter.refitting.refit import Refitted, Wanted

RULES: tuple[str, ...] = get_args(RuleName)


def main(argv: Sequence[str]) -> int:
    """Exit status 0; 1 when the refitted ensemble is worse than its best member; 2 when the call cannot be done."""
    arguments = _parser().parse_args(list(argv))
    try:
        wanted = _wanted(arguments)
        # Only now: a wrong option must not wait for the libraries.
        from exporter.refitting.refit import refit

        report = None if arguments.report is None else Path(arguments.report)
        refitted = refit(Repository(arguments.repository), arguments.name, arguments.version, wanted, report)
    except AcceptanceError as error:
        print(f"tutti refit: {error}; --accept-worse publishes it all the same", file=sys.stderr)
        return 1
    except (UsageError, ExportError, RepositoryError) as error:
        print(f"tutti refit: {error}", file=sys.stderr)
        return 2
    _print(refitted, as_json=arguments.json)
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="tutti refit",
        description="Fit the fusion of a published ensemble anew, with members added, replaced or dropped, from the "
        "answers that its version keeps. Nothing is trained; members that stay are shared with the version before.",
        epilog="example: tutti refit digits --member forest=forest.onnx --drop gru --publish stacked",
    )
    parser.add_argument("name", metavar="NAME", help="the ensemble")
    parser.add_argument("--version", type=int, metavar="V", help="the version to start from [the newest]")
    parser.add_argument("--member", action="append", default=[], metavar="NAME=FILE",
                        help="a member to add, or to put in the place of one of that name; repeat it")  # fmt: skip
    parser.add_argument("--drop", action="append", default=[], metavar="NAME", help="a member to leave out; repeat it")
    parser.add_argument("--classes-of", action="append", default=[], metavar="NAME=A,B,…",
                        help="a new member's classes in the order of its columns [as its graph states]")  # fmt: skip
    parser.add_argument("--kind", action="append", default=[], metavar="NAME=KIND",
                        help=f"what a new member gives: {', '.join(get_args(Kind))} [found by running it]")  # fmt: skip
    parser.add_argument("--output", action="append", default=[], metavar="NAME=TENSOR",
                        help="the output of a new member that is fused [its only one of floats]")  # fmt: skip
    parser.add_argument("--rules", metavar="R,R,…", help=f"rules to fit, in order of trust: {', '.join(RULES)}")
    parser.add_argument("--publish", choices=("auto", *RULES), help="the rule to publish [as the recipe says]")
    parser.add_argument("--keep", choices=("useful", "all"),
                        help="publish the members that are enough, or all of them [as the recipe says]")  # fmt: skip
    parser.add_argument("--data", metavar="DIR", help="the recipe's data, where the version does not keep its rows")
    parser.add_argument("--ledger", metavar="FILE", help="a report's ledger.npz [the version's own]")
    parser.add_argument("--accept-worse", action="store_true", help="publish even if a member alone is better")
    parser.add_argument("--report", metavar="DIR", help="write leaderboard and pictures there")
    parser.add_argument("--repository", default=os.environ.get("TUTTI_REPOSITORY", "models"), metavar="DIR",
                        help="model repository [models, or TUTTI_REPOSITORY]")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")
    return parser


def _wanted(arguments: argparse.Namespace) -> Wanted:
    from exporter.refitting.refit import Wanted

    rules = None if arguments.rules is None else tuple(word.strip() for word in arguments.rules.split(","))
    if strange := [rule for rule in rules or () if rule not in RULES]:
        raise UsageError(f"--rules: {', '.join(strange)} given, expected some of {', '.join(RULES)}")
    return Wanted(
        add=_newcomers(arguments),
        drop=tuple(arguments.drop),
        rules=rules,
        publish=arguments.publish,
        keep=arguments.keep,
        data=None if arguments.data is None else Path(arguments.data),
        ledger=None if arguments.ledger is None else Path(arguments.ledger),
        accept_worse=arguments.accept_worse,
    )


def _newcomers(arguments: argparse.Namespace) -> Mapping[str, Newcomer]:
    from exporter.foreign.objects.member import Said
    from exporter.refitting.newcomers import Newcomer

    paths = name_values("--member", arguments.member)
    classes = name_values("--classes-of", arguments.classes_of)
    kinds, outputs = name_values("--kind", arguments.kind), name_values("--output", arguments.output)
    for flag, given in (("--classes-of", classes), ("--kind", kinds), ("--output", outputs)):
        if strange := [name for name in given if name not in paths]:
            raise UsageError(f"{flag}: {', '.join(strange)} is no new member; there are {', '.join(paths) or 'none'}")
    if strange := [kind for kind in kinds.values() if kind not in get_args(Kind)]:
        raise UsageError(f"--kind: {', '.join(strange)} given, expected one of {', '.join(get_args(Kind))}")
    return {
        name: Newcomer(
            Path(path),
            Said(
                kind=kinds.get(name),  # type: ignore[arg-type]  # checked above
                classes=tuple(word.strip() for word in classes[name].split(",")) if name in classes else None,
                output=outputs.get(name),
            ),
        )
        for name, path in paths.items()
    }


def _print(refitted: Refitted, *, as_json: bool) -> None:
    from exporter.reporting.leaderboard import as_text
    from exporter.scoring.objective import wording

    board, version = refitted.board, refitted.version
    loss = board.loss(board.row(board.published))
    if as_json:
        found = {"name": version.name, "version": version.version, "rule": board.published, "metric": board.metric,
                 "loss": loss, "before": refitted.before, "best_single": board.best_single,
                 "members": [row.name for row in board.kept]}  # fmt: skip
        print(json.dumps(found))
        return
    print(as_text(board))
    if refitted.before is not None:
        print(f"Before: {wording(board.metric)} {refitted.before:.4f}, now {loss:.4f}.")
    print(f"Published {version.name}/{version.version} in {version.root}")
