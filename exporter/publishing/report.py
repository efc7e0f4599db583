"""What was published, for people and for programs."""

from __future__ import annotations

import json
import shlex
import tempfile

from exporter.foreign.wishes import RULES
from exporter.publishing.publish import Assembled, Published
from model_repo import Input, Manifest

LONGEST_BODY = 4000
"""Characters of a request that a terminal is still a place for."""


def as_json(published: Published) -> str:
    """One line: name, version, task, the members' kinds, the classes, and what there is to know."""
    manifest = published.manifest
    answer = {
        "name": manifest.name,
        "version": manifest.version,
        "task": manifest.task,
        "kinds": {member.name: member.kind for member in manifest.members},
        "classes": manifest.classes,
        "notes": published.assembled.notes,
    }
    return json.dumps(answer, ensure_ascii=False)


def as_text(published: Published, repository: str) -> str:
    """What was published, what was seen and guessed, how to serve it and a request to try."""
    manifest = published.manifest
    return "\n".join(
        [
            f"published {manifest.name} version {manifest.version} in {repository}: {headline(manifest)}",
            *members_told(published.assembled, manifest),
            f"inputs: {'; '.join(map(_input_told, manifest.inputs))}",
            "",
            f"serve it:  tutti serve --repository {repository}",
            f"try it:    curl -s localhost:8000/v2/models/{manifest.name}/infer -d {_posted(published)}",
        ]
    )


def headline(manifest: Manifest) -> str:
    """Task, classes, rule and quorum."""
    classes = f", {len(manifest.classes)} classes" if manifest.classes else ""
    rule = next(name for name, fusion in RULES.items() if type(fusion) is type(manifest.fusion))
    return f"{manifest.task}{classes}, {rule}, quorum {manifest.quorum} of {len(manifest.members)}"


def members_told(assembled: Assembled, manifest: Manifest) -> list[str]:
    """A line for each member with what it gave, then notes, guesses marked as such."""
    width = max(len(member.name) for member in manifest.members)
    lines = [
        f"  {each.name:{width}}  {each.kind}, weight {each.weight:g}, {each.bytes} bytes; "
        f"saw {assembled.seen[each.name].told()}"
        for each in manifest.members
    ]
    return lines + [note if note.startswith("guess: ") else f"note: {note}" for note in assembled.notes]


def _input_told(entry: Input) -> str:
    """`x FP32 [n, 4]`."""
    sizes = ["n", *("?" if size == -1 else str(size) for size in entry.shape[1:])]
    return f"{entry.name} {entry.datatype} [{', '.join(sizes)}]"


def _posted(published: Published) -> str:
    """What stands behind `curl -d`: the request itself, or a file that was written with it where it is long."""
    text = _body(published)
    if len(text) <= LONGEST_BODY:
        return shlex.quote(text)
    prefix = f"tutti-{published.manifest.name}-"
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix=prefix, suffix=".json", delete=False) as file:
        file.write(text)
    return shlex.quote(f"@{file.name}")


def _body(published: Published) -> str:
    """An infer request with one golden row."""
    tensors = []
    for entry in published.manifest.inputs:
        row = published.assembled.row[entry.name]
        data = [float(f"{value:.6g}") if isinstance(value, float) else value for value in row.ravel().tolist()]
        tensors.append({"name": entry.name, "datatype": entry.datatype, "shape": list(row.shape), "data": data})
    return json.dumps({"inputs": tensors}, ensure_ascii=False, separators=(",", ":"))
