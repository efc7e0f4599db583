"""`tutti aggregate`: the parameters of several members of a published ensemble averaged to those of one."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import msgspec

from exporter.cli.arguments import UsageError
from exporter.errors import AcceptanceError, ExportError
from exporter.recipe.lineage import Aggregate, AggregateRule
from model_repo import Repository, RepositoryError
from model_repo.cli.command_line import Parser
from model_repo.format.paths import is_name
from model_repo.wording import listed, name_problem, repeated

if TYPE_CHECKING:
    from exporter.aggregating.in_version import Aggregated, Asked

RULES: tuple[str, ...] = get_args(AggregateRule)


def main(argv: Sequence[str]) -> int:
    """Exit status 0; 1 when the new ensemble is worse than its best member; 2 when the call cannot be done."""
    arguments = _parser().parse_args(list(argv))
    try:
        asked = _asked(arguments)
        # Only now: a wrong option must not wait for the libraries.
        from exporter.aggregating.in_version import aggregate

        report = None if arguments.report is None else Path(arguments.report)
        found = aggregate(Repository(arguments.repository), arguments.name, arguments.version, asked, report)
    except AcceptanceError as error:
        hint = "--accept-worse publishes it all the same, --only the new member alone"
        print(f"tutti aggregate: {error}; {hint}", file=sys.stderr)
        return 1
    except (UsageError, ExportError, RepositoryError) as error:
        print(f"tutti aggregate: {error}", file=sys.stderr)
        return 2
    _print(found, as_json=arguments.json)
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="tutti aggregate",
        description="Average the parameters of several members of a published ensemble to those of one new member, and "
        "publish it beside them, or alone, as the next version. The members come from one base (init_from) and have "
        "one structure; anything else is refused. Nothing is trained; the statistics of batch normalisation are "
        "computed anew over the rows that the members were trained on.",
        epilog="rules: uniform, the plain mean; weighted, by the inverse of each one's loss on validation rows; "
        "greedy_soup, from the best on those that do not make that loss worse (Wortsman et al. 2022); ema, "
        "exponentially in their order. example: tutti aggregate digits --members a,b,c --rule greedy_soup --as soup",
    )
    parser.add_argument("name", metavar="NAME", help="the ensemble")
    parser.add_argument("--version", type=int, metavar="V", help="the version to start from [the newest]")
    parser.add_argument("--members", required=True, metavar="A,B,…", help="the members to average, two or more")
    parser.add_argument("--rule", choices=RULES, default="greedy_soup", help="how they are weighed [greedy_soup]")
    parser.add_argument("--decay", type=float, default=0.5, metavar="D",
                        help="of ema: what of the mean stays with each further member [0.5]")  # fmt: skip
    parser.add_argument("--as", dest="as_name", metavar="NAME", help="the new member's name [the rule's]")
    parser.add_argument("--only", action="store_true", help="publish the new member alone, without the others")
    parser.add_argument("--keep", choices=("useful", "all"), default="all",
                        help="publish all members, or those that are enough [all]")  # fmt: skip
    parser.add_argument("--data", metavar="DIR", help="the recipe's data, where it needs a folder")
    parser.add_argument("--accept-worse", action="store_true", help="publish even if a member alone is better")
    parser.add_argument("--report", metavar="DIR", help="write leaderboard and pictures there")
    parser.add_argument("--repository", default=os.environ.get("TUTTI_REPOSITORY", "models"), metavar="DIR",
                        help="model repository [models, or TUTTI_REPOSITORY]")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")
    return parser


def _asked(arguments: argparse.Namespace) -> Asked:
    """Raises UsageError."""
    from exporter.aggregating.in_version import Asked

    members = tuple(word.strip() for word in arguments.members.split(",") if word.strip())
    if twice := repeated(members):
        raise UsageError(f"--members: {listed(twice)} given more than once")
    if len(members) < 2:
        raise UsageError(f"--members: {listed(members) or 'none'} given, expected two or more, as in --members a,b,c")
    if not 0 <= arguments.decay < 1:
        raise UsageError(f"--decay: {arguments.decay:g} given, expected at least 0 and less than 1")
    name = arguments.as_name or arguments.rule
    if not is_name(name):
        raise UsageError(f"--as: {name_problem('member', name)}")
    return Asked(
        Aggregate(members=members, rule=arguments.rule, decay=arguments.decay),
        name,
        data=None if arguments.data is None else Path(arguments.data),
        only=arguments.only,
        keep=arguments.keep,
        accept_worse=arguments.accept_worse,
    )


def _print(found: Aggregated, *, as_json: bool) -> None:
    version = found.refitted.version
    if as_json:
        told = {"name": version.name, "version": version.version, "mixture": found.mixture, "costs": found.costs}
        print(msgspec.json.encode(told).decode())
        return
    for sentence in found.mixture.sentences():
        print(f"{sentence}.")
    print()
    print(table(found))
    print(f"Published {version.name}/{version.version} in {version.root}")


def table(found: Aggregated) -> str:
    """Who was averaged, the aggregate and the fused answers: figures on the test rows beside what each costs."""
    from exporter.scoring.objective import wording

    shown = found.refitted.board.shown
    width = max(len(cost.name) for cost in found.costs) + 2
    head = "".join(f"{wording(name):>10}" for name in shown)
    lines = [f"{'':<{width}}{'':<11}{head}{'ms/row':>9}{'KiB':>9}"]
    for cost in found.costs:
        figures = "".join(f"{cost.figures[name]:>10.4f}" if name in cost.figures else f"{'':>10}" for name in shown)
        size = f"{cost.bytes / 1024:>9.1f}"
        lines.append(f"{cost.name:<{width}}{cost.what:<11}{figures}{cost.latency_ms:>9.3f}{size}")
    return "\n".join(
        [*lines, "Figures on the test rows; ms/row: one row alone on one thread, fused: all members in turn.\n"]
    )
