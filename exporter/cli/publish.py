"""`tutti publish`: any ONNX files that take the same inputs become an ensemble."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from exporter.cli import input_flags as joining
from exporter.cli import limit_flags as limits
from exporter.cli.arguments import UsageError, name_values
from exporter.cli.class_names import read_classes
from exporter.errors import BundleError
from exporter.foreign.wishes import RULES, Wishes
from exporter.publishing.publish import Published, publish
from exporter.publishing.report import as_json, as_text
from model_repo import Repository, RepositoryError
from model_repo.cli.command_line import Parser
from model_repo.format.manifest import Kind, Task
from model_repo.format.rules import CLASSLESS

UNWEIGHTED = ("mean", "median", "concatenate")
"""The rules that ask for no weights."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    arguments = _parser().parse_args(list(argv))
    try:
        published = _publish(arguments)
    except BundleError as error:
        if len(error.problems) == 1:
            print(f"tutti publish: {error}", file=sys.stderr)
        else:
            print(f"tutti publish: {error.subject}:", *(f"  - {p}" for p in error.problems), sep="\n", file=sys.stderr)
        return 2
    except (UsageError, RepositoryError) as error:
        print(f"tutti publish: {error}", file=sys.stderr)
        return 2
    print(as_json(published) if arguments.json else as_text(published, arguments.repository))
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="tutti publish",
        once=True,
        description="Publish ONNX files as one ensemble: inputs, outputs and classes are checked against each other, "
        "golden rows are computed, and the version appears by one rename or not at all.",
        epilog="example: tutti publish fraud --member cnn=cnn.onnx --member rf=rf.onnx --fusion weighted "
        "--weights 0.6,0.4 --classes ok,fraud",
    )
    parser.add_argument("name", metavar="NAME", help="the ensemble's name, by which clients call it")
    parser.add_argument("--member", action="append", required=True, metavar="NAME=FILE", help="a member; repeat it")
    parser.add_argument(
        "--fusion", choices=RULES, help="the rule that fuses the members [mean; weighted with --weights]"
    )
    parser.add_argument("--weights", metavar="W,W,…", help="one weight ≥ 0 for each member, in their order [1 each]")
    parser.add_argument("--thresholds", metavar="T|T,T,…",
                        help="multilabel: from which probability a label holds, for all or each [0.5]")  # fmt: skip
    parser.add_argument("--classes", metavar="FILE|A,B,C",
                        help="class names: one a line, JSON, or listed; OLD=NEW gives a graph's name another "
                        "[those that stand in the graphs, else 0, 1, …]")  # fmt: skip
    parser.add_argument("--golden", type=Path, metavar="FILE", help=".npz with rows for each input [seeded rows]")
    parser.add_argument("--task", choices=get_args(Task), help="[classification where there are several columns]")
    parser.add_argument("--kind", action="append", default=[], metavar="NAME=KIND",
                        help=f"what a member gives: {', '.join(get_args(Kind))} [found by running it]")  # fmt: skip
    parser.add_argument("--output", action="append", default=[], metavar="NAME=TENSOR",
                        help="the output of a member that is fused [its only one of floats]")  # fmt: skip
    parser.add_argument("--tokenizer", action="append", default=[], metavar="NAME=FILE",
                        help="a member's tokenizer.json: texts become its token ids and masks")  # fmt: skip
    parser.add_argument("--max-tokens", type=int, metavar="N",
                        help="tokens of a text that are looked at [the tokenizer's truncation, else 512]")  # fmt: skip
    parser.add_argument("--missing", choices=("nan", "refuse"),
                        help="whether JSON may have null or NaN [nan where every member has a way]")  # fmt: skip
    parser.add_argument("--quorum", type=int, metavar="N", help="fewest members that may answer [half, rounded up]")
    parser.add_argument("--version", type=int, metavar="N", help="the version's number [the next]")
    parser.add_argument("--description", default="", help="a line for people")
    parser.add_argument("--repository", default=os.environ.get("TUTTI_REPOSITORY", "models"), metavar="DIR",
                        help="model repository [models, or TUTTI_REPOSITORY]")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print what was published as JSON")
    joining.add_arguments(parser)
    limits.add_arguments(parser)
    return parser


def _publish(arguments: argparse.Namespace) -> Published:
    paths = {name: Path(file) for name, file in name_values("--member", arguments.member).items()}
    for what, name in (("NAME", arguments.name), *(("--member", member) for member in paths)):
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{what}: '{name}' is no name; letters, digits, '.', '_', '-', at most 128, no leading sign"
            )
    weights = _weights(arguments.weights, len(paths))
    _require_effect(arguments, len(paths))
    wishes = Wishes(
        fusion=RULES[arguments.fusion or ("mean" if weights is None else "weighted")],
        task=arguments.task,
        classes=None if arguments.classes is None else read_classes(arguments.classes),
        weights=weights,
        thresholds=_thresholds(arguments.thresholds),
        kinds=_kinds(arguments.kind, paths),
        outputs=_of_members("--output", arguments.output, paths),
        tokenizers={name: Path(file) for name, file in _of_members("--tokenizer", arguments.tokenizer, paths).items()},
        max_tokens=arguments.max_tokens,
        quorum=arguments.quorum,
        description=arguments.description,
        batching=limits.batching_of(arguments),
        tolerance=limits.tolerance_of(arguments),
        names=joining.names_of(arguments, paths),
        constants=joining.constants_of(arguments, paths),
        sent=joining.sent_of(arguments, paths),
        missing=arguments.missing,
    )
    return publish(
        Repository(arguments.repository),
        arguments.name,
        paths,
        wishes,
        golden=arguments.golden,
        version=arguments.version,
    )


def _require_effect(arguments: argparse.Namespace, members: int) -> None:
    """Raise UsageError for flags that would change nothing: whoever gives one expects something of it."""
    if arguments.weights is not None and arguments.fusion in UNWEIGHTED:
        raise UsageError(
            f"--weights: --fusion {arguments.fusion} has no weights; give one or the other, or --fusion weighted"
        )
    if arguments.weights is not None and members == 1:
        raise UsageError("--weights: there is one member, so a weight would change nothing")
    if arguments.fusion == "weighted" and arguments.weights is None:
        raise UsageError("--fusion weighted: without --weights W,W,… it is the plain mean")
    if arguments.max_tokens is not None and not arguments.tokenizer:
        raise UsageError("--max-tokens: without --tokenizer NAME=FILE no text is cut into tokens")
    if arguments.max_tokens is not None and not 1 <= arguments.max_tokens <= 65536:
        raise UsageError(f"--max-tokens: {arguments.max_tokens} given, expected 1 to 65536")
    if arguments.thresholds is not None and arguments.task != "multilabel":
        raise UsageError("--thresholds: only --task multilabel has labels that hold from a probability on")
    if arguments.classes is not None and arguments.task in CLASSLESS:
        raise UsageError(
            f"--classes: {'an' if arguments.task == 'embedding' else 'a'} {arguments.task} has no classes; give "
            f"--classes or --task {arguments.task}, not both"
        )
    if arguments.quorum is not None and arguments.quorum < 1:
        raise UsageError(f"--quorum: {arguments.quorum} given, expected 1 to {members}, the number of members")
    values = [word for word in arguments.kind if word.endswith("=value")]
    if arguments.classes is not None and values:
        raise UsageError(f"--classes: --kind {values[0]} makes it a regression, which has no classes; give one of them")
    if arguments.fusion == "concatenate" and arguments.task != "embedding":
        raise UsageError("--fusion concatenate: only the vectors of --task embedding are put one behind the other")


def _of_members(flag: str, words: Sequence[str], paths: Mapping[str, Path]) -> dict[str, str]:
    pairs = name_values(flag, words)
    for name in pairs:
        if name not in paths:
            raise UsageError(f"{flag}: there is no member '{name}'; there are {', '.join(paths)}")
    return pairs


def _kinds(words: Sequence[str], paths: Mapping[str, Path]) -> dict[str, Kind]:
    kinds: dict[str, Kind] = {}
    for name, value in _of_members("--kind", words, paths).items():
        kind = next((kind for kind in get_args(Kind) if kind == value), None)
        if kind is None:
            raise UsageError(f"--kind: '{value}' given for '{name}', expected one of {', '.join(get_args(Kind))}")
        kinds[name] = kind
    return kinds


def _thresholds(text: str | None) -> tuple[float, ...]:
    if text is None:
        return ()
    try:
        thresholds = tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise UsageError(f"--thresholds: '{text}' given, expected numbers such as 0.5,0.3") from error
    if not all(0 <= threshold <= 1 for threshold in thresholds):
        raise UsageError(f"--thresholds: '{text}' given, expected numbers from 0 to 1")
    return thresholds


def _weights(text: str | None, members: int) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        weights = tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise UsageError(f"--weights: '{text}' given, expected numbers such as 0.6,0.4") from error
    if len(weights) != members:
        raise UsageError(f"--weights: {len(weights)} given, there are {members} members")
    if not all(np.isfinite(w) and w >= 0 for w in weights) or sum(weights) == 0:
        raise UsageError(f"--weights: '{text}' given, expected numbers ≥ 0, not all 0")
    return weights
