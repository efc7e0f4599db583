"""`tutti inspect`: what ONNX files take and give, and what `tutti publish` would make of them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from exporter.publishing.inspection import Inspected, as_data, inspect, outcome_data, outcome_told, told
from model_repo.cli.command_line import Parser


def main(argv: Sequence[str]) -> int:
    """Print what the files are; 0 where each is a model that could be published, and all of them together, else 1."""
    parser = Parser(
        prog="tutti inspect",
        description="Say of ONNX files what they take, what they give and by which names, what `tutti publish` would "
        "make of each and of all together, and what does not fit. Nothing is published.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="an ONNX file")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    arguments = parser.parse_args(list(argv))
    paths = _named(arguments.files)
    found, together = inspect(paths)
    if arguments.json:
        data = {"files": [as_data(each) for each in found]}
        print(json.dumps(data | ({"together": outcome_data(together)} if together else {}), ensure_ascii=False))
    else:
        blocks = [told(each) for each in found]
        if together is not None:
            blocks.append("\n".join(["together", *outcome_told(together)]))
        fitting = together.found if together is not None else found[0].alone.found
        if fitting is not None:
            blocks.append(_line_to_type(found))
        print("\n\n".join(blocks))
    outcomes = [each.alone for each in found] + ([together] if together is not None else [])
    return 0 if all(outcome.found is not None for outcome in outcomes) else 1


def _named(files: Sequence[Path]) -> dict[str, Path]:
    """Member names from file names, a number behind those that come again."""
    names: dict[str, Path] = {}
    for file in files:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).strip(".-_") or "model"
        name = next(each for k in range(len(files)) if (each := f"{plain}-{k + 1}" if k else plain) not in names)
        names[name] = file
    return names


def _line_to_type(found: Sequence[Inspected]) -> str:
    members = " ".join(f"--member {each.name}={shlex.quote(str(each.path))}" for each in found if each.file)
    return f"publish it:  tutti publish NAME {members}"
