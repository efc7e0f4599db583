"""Members, fusion and golden rows to a published version: all of it, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from exporter import bundle
from exporter.bundle import Bundle, Part
from exporter.errors import BundleError
from exporter.publishing import rows
from exporter.publishing.answers import Given, given, renormalised
from exporter.publishing.assembly import Wishes, inputs_of, manifest_of
from exporter.publishing.meaning import Seen, decide
from exporter.publishing.model_file import ModelFile, ModelFileError
from model_repo import Manifest, Repository
from server.runtime.datatypes import Array


@dataclass(frozen=True)
class Published:
    """What was published: its manifest and one golden row to try, input → array [1, ...]."""

    manifest: Manifest
    row: Mapping[str, Array]
    seen: Mapping[str, Seen]
    """What each member gave for the sample rows."""
    notes: tuple[str, ...]
    """What was done to the members and how they were understood; what begins with `guess: ` nobody said."""


def publish(
    repository: Repository,
    name: str,
    paths: Mapping[str, Path],
    wishes: Wishes,
    *,
    golden: Path | None = None,
    version: int | None = None,
) -> Published:
    """Publish the ONNX files in `paths` (member → file) as the next version of `name`, or as `version`.

    It is rehearsed first: published to a private folder, loaded as a server does it, held to its golden rows.
    Raises BundleError with every problem, and RepositoryError; then nothing is left behind.
    """
    files = _read(paths)
    inputs = inputs_of(files)
    feeds = rows.drawn(inputs) if golden is None else rows.read(golden, inputs)
    members, naming = given(files, wishes.outputs, wishes.classes, feeds)
    seen = {one.file.name: one.seen for one in members}
    meaning = decide(seen, naming, wishes.task, wishes.kinds)
    if meaning.problems:
        raise BundleError("what the members give can be read in several ways", meaning.problems)
    members = [_renormalised(one, feeds) if one.file.name in meaning.renormalised else one for one in members]
    draft = manifest_of(name, inputs, members, naming, meaning, wishes)
    made = Bundle(
        name=name,
        task=draft.task,
        classes=draft.classes,
        inputs=draft.inputs,
        parts=tuple(
            Part(entry, one.file.model.data, one.file.weights)
            for entry, one in zip(draft.members, members, strict=True)
        ),
        fusion=draft.fusion,
        quorum=draft.quorum,
        golden=bundle.golden_rows(draft, [one.values for one in members], feeds),
        description=draft.description,
        batching=draft.batching,
    )
    with bundle.rehearsed(made):
        pass  # a server would take it
    opened = bundle.publish(made, repository, version)
    changed = [f"member '{one.file.name}': {note}" for one in members for note in one.file.notes]
    told = naming.notes if opened.manifest.classes else ()
    row = {key: array[:1] for key, array in feeds.items()}
    return Published(opened.manifest, row, seen, (*changed, *told, *meaning.notes))


def _renormalised(one: Given, feeds: Mapping[str, Array]) -> Given:
    try:
        return renormalised(one, feeds)
    except ModelFileError as error:
        raise BundleError("the members do not make one ensemble", [f"member '{one.file.name}': {error}"]) from error


def _read(paths: Mapping[str, Path]) -> list[ModelFile]:
    files: list[ModelFile] = []
    wrong: list[str] = []
    for name, path in paths.items():
        try:
            files.append(ModelFile.read(name, path))
        except ModelFileError as error:
            wrong.append(f"member '{name}': {error}")
    if wrong:
        raise BundleError("the members cannot be read", wrong)
    return files
