"""Members, fusion and golden rows to a published version: all of it, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from exporter import bundle
from exporter.bundle import Bundle, Part
from exporter.data.dataset import TokenizerFile
from exporter.errors import BundleError
from exporter.foreign import missing
from exporter.foreign.answers import Given, given, renormalised
from exporter.foreign.constants import bound
from exporter.foreign.dense import batch_that_fits, rows_that_fit
from exporter.foreign.fixed_batches import freed
from exporter.foreign.inputs import rows
from exporter.foreign.inputs.adapters import checked
from exporter.foreign.inputs.inputs import fixed_rows, is_picture, wired
from exporter.foreign.inputs.texts import tokenized
from exporter.foreign.meaning import Seen, decide
from exporter.foreign.model_file import ModelFile, ModelFileError
from exporter.foreign.neighbours import independent
from exporter.foreign.sent import Sent
from exporter.foreign.tolerance import Tolerance
from exporter.foreign.wishes import Wishes
from exporter.publishing.assembly import manifest_of
from model_repo import Batching, Manifest, Repository
from server.runtime.datatypes import Array

_NOT_ONE = "the members do not make one ensemble"


@dataclass(frozen=True)
class Assembled:
    """Members that make one ensemble: what they gave for the sample rows, and the manifest but for its digests."""

    feeds: Mapping[str, Array]
    members: Sequence[Given]
    draft: Manifest
    seen: Mapping[str, Seen]
    """What each member's file gave, before its rows were divided by their sum."""
    tolerance: Tolerance
    beyond: float
    """By how much golden rows of members in 8 bits may differ more."""
    notes: tuple[str, ...]
    """What was done to the members and how they were understood; what begins with `guess: ` nobody said."""
    tokenizers: tuple[TokenizerFile, ...] = ()

    @property
    def row(self) -> dict[str, Array]:
        """One row to try, input → array [1, ...]."""
        return {key: array[:1] for key, array in self.feeds.items()}


@dataclass(frozen=True)
class Published:
    """What was published, and from what."""

    manifest: Manifest
    assembled: Assembled


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
    found = assembled(name, read(paths), wishes, golden)
    made = bundled(found)
    with bundle.rehearsed(made):
        pass  # a server would take it
    return Published(bundle.publish(made, repository, version).manifest, found)


def assembled(name: str, files: Sequence[ModelFile], wishes: Wishes, golden: Path | None = None) -> Assembled:
    """The files as members of one ensemble, run on golden rows from `golden` or drawn ones. Raises BundleError."""
    files = _each(files, lambda file: _prepared(file, wishes))
    files, texts = tokenized(files, wishes.tokenizers, wishes.max_tokens)
    plugged = wired(files, wishes.names, {file.name: _adapts(file, wishes) for file in files}, texts.tensors)
    inputs = texts.inputs(plugged.inputs)
    rows_of = rows.runnable(inputs, plugged.files, texts.drawn, texts) if golden is None else rows.read(golden, inputs)
    feeds = texts(rows_of)
    try:
        files = _each(plugged.files, lambda file: freed(checked(file, feeds), feeds))
        members, naming = given(files, wishes, feeds)
    except BundleError as error:
        raise (rows.with_hint(error, inputs) if golden is None else error) from error
    dense = wishes.task == "dense"
    seen = {one.file.name: (one.classwise if dense else one).seen for one in members}
    meaning = decide(seen, naming, wishes.task, wishes.kinds, pictures=any(map(is_picture, inputs)))
    if meaning.problems:
        raise BundleError("what the members give can be read in several ways", meaning.problems)
    members = [_renormalised(one, feeds) if one.file.name in meaning.renormalised else one for one in members]
    warned, beyond = independent(members, feeds, wishes.tolerance)
    texts.require_no_padding(members, rows_of, wishes.tolerance)
    inputs, gaps = missing.declared(inputs, members, feeds, wishes.missing)
    fewer: list[str] = []
    if dense:
        feeds, members, wishes, fewer = _fitting(feeds, members, wishes)
    draft = manifest_of(name, inputs, members, naming, meaning, wishes, texts.entries)
    changed = [f"member '{one.file.name}': {note}" for one in members for note in one.file.notes]
    told = naming.notes if draft.classes else ()
    notes = (*plugged.notes, *changed, *told, *meaning.notes, *gaps, *warned, *fewer)
    asked = {entry.name: feeds[entry.name] for entry in inputs}
    return Assembled(asked, members, draft, seen, wishes.tolerance, beyond, notes, texts.files)


def bundled(found: Assembled) -> Bundle:
    """Everything of the version, golden rows included. Raises BundleError where a member's answer is none."""
    draft, members = found.draft, found.members
    return Bundle(
        name=draft.name,
        task=draft.task,
        classes=draft.classes,
        inputs=draft.inputs,
        parts=tuple(
            Part(entry, bytes(one.file.model.data), one.file.weights)
            for entry, one in zip(draft.members, members, strict=True)
        ),
        fusion=draft.fusion,
        quorum=draft.quorum,
        thresholds=draft.thresholds,
        value_shape=draft.value_shape,
        positions=draft.positions,
        tokenizers=found.tokenizers,
        golden=bundle.golden_rows(draft, [one.values for one in members], found.feeds),
        description=draft.description,
        batching=draft.batching,
        golden_atol=found.tolerance.atol,
        golden_beyond=found.beyond,
        golden_rtol=bundle.GOLDEN_RTOL if found.tolerance.rtol is None else found.tolerance.rtol,
    )


def _fitting(
    feeds: Mapping[str, Array], members: Sequence[Given], wishes: Wishes
) -> tuple[dict[str, Array], list[Given], Wishes, list[str]]:
    """Golden rows and batches of dense answers that stay within memory, and what was made smaller."""
    values = [one.values for one in members]
    notes: list[str] = []
    if len(values[0]) > (kept := rows_that_fit(values)):
        notes.append(f"{kept} of {len(values[0])} golden rows are kept: so many answers are within 32 MiB")
        feeds = {name: array[:kept] for name, array in feeds.items()}
        members = [replace(one, values=one.values[:kept]) for one in members]
    usual = Batching().max_batch_rows
    if wishes.batching.max_batch_rows == usual and (most := batch_that_fits(values)) < usual:
        notes.append(f"batches have up to {most} rows, of {usual}: so many answers are within 128 MiB while they fuse")
        wishes = replace(wishes, batching=msgspec.structs.replace(wishes.batching, max_batch_rows=most))
    return dict(feeds), list(members), wishes, notes


def _renormalised(one: Given, feeds: Mapping[str, Array]) -> Given:
    try:
        return renormalised(one, feeds)
    except ModelFileError as error:
        raise BundleError(_NOT_ONE, [f"member '{one.file.name}': {error}"]) from error


def _prepared(file: ModelFile, wishes: Wishes) -> ModelFile:
    """The file with its constants, in the batches of the ensemble, and in its own size where it has one."""
    for tensor, value in wishes.constants.get(file.name, {}).items():
        file = bound(file, tensor, value)
    return replace(file, batch_rows=wishes.batching.max_batch_rows, rows=fixed_rows(file))


def _adapts(file: ModelFile, wishes: Wishes) -> dict[str, Sent]:
    """Input → what is sent for it; the only input, or the only pictures, where nobody says which."""
    found: dict[str, Sent] = {}
    inputs = [entry.name for entry in file.inputs]
    pictures = [entry.name for entry in file.inputs if len(entry.shape) == 4]
    for tensor, sent in wishes.sent.get(file.name, {}).items():
        lone = inputs if len(inputs) == 1 else pictures
        name = tensor or (lone[0] if len(lone) == 1 else "")
        if name not in inputs:
            listed = ", ".join(map(repr, inputs))
            problem = f"has no input '{name}'" if name else f"--adapt {file.name}:TENSOR:… must say which input"
            raise BundleError(_NOT_ONE, [f"member '{file.name}': {problem}, its inputs are {listed}"])
        found[name] = sent
    return found


def _each(files: Sequence[ModelFile], work: Callable[[ModelFile], ModelFile]) -> list[ModelFile]:
    """What `work` makes of every file. Raises BundleError with all that it refuses."""
    made: list[ModelFile] = []
    wrong: list[str] = []
    for file in files:
        try:
            made.append(work(file))
        except ModelFileError as error:
            wrong.append(f"member '{file.name}': {error}")
    if wrong:
        raise BundleError(_NOT_ONE, wrong)
    return made


def read(paths: Mapping[str, Path]) -> list[ModelFile]:
    """The files (member → file). Raises BundleError with all that are no models."""
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
