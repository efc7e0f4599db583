"""Class names as people have them: listed at the command line, one a line in a file, or in JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from exporter.cli.arguments import UsageError
from exporter.foreign.not_onnx import LFS, hint
from exporter.onnx_graphs.labels import METADATA, listed
from model_repo.wording import reason


def read_classes(text: str) -> tuple[str, ...]:
    """The names that `--classes` gives: `A,B,C`, or a file of one a line, or of JSON.

    JSON is a list, a table index → name or name → index, or an object that has one of those under `classes`,
    `labels`, `names`, `id2label`, … (a model's `config.json`). Raises UsageError.
    """
    path = Path(text)
    if "," in text and not path.is_file():
        return tuple(word.strip() for word in text.split(","))
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--classes: '{text}' is no list A,B,C and no readable text file: {reason(error)}") from error
    if content.startswith(LFS.decode()):
        raise UsageError(f"--classes: '{text}' {hint(content.encode())}")
    if path.suffix.lower() == ".json" or content.lstrip()[:1] in ("[", "{"):
        return _from_json(text, content)
    return tuple(line.strip() for line in content.splitlines() if line.strip())


def _from_json(name: str, content: str) -> tuple[str, ...]:
    try:
        value: Any = json.loads(content)
    except ValueError as error:
        raise UsageError(f"--classes: '{name}' is no JSON: {error}") from error
    inner = [each for key, each in value.items() if key.lower() in METADATA] if isinstance(value, dict) else []
    for each in (value, *inner):
        if isinstance(each, list | dict) and (names := listed(json.dumps(each))):
            return names
    raise UsageError(f'--classes: \'{name}\' holds no list of names and no table of them, such as ["ok", "fraud"]')
