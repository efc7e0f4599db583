"""A member from elsewhere as the fusion needs it: its file, its manifest entry, its answers in the class order."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporter.bundle import NO_DIGEST, Part
from exporter.data.dataset import Array
from exporter.errors import BundleError
from exporter.foreign.answers import Given, given, renormalised
from exporter.foreign.fixed_batches import freed
from exporter.foreign.inputs.adapters import adapted
from exporter.foreign.inputs.inputs import fixed_rows
from exporter.foreign.meaning import decide
from exporter.foreign.model_file import ModelFile, ModelFileError
from exporter.foreign.naming import Naming
from exporter.foreign.objects.classes import agreed
from exporter.foreign.sent import Sent
from exporter.foreign.wishes import RULES, Wishes
from exporter.gate.inference import batches
from exporter.reporting.latency import latency_ms
from model_repo import Input, Member
from model_repo.format.manifest import Kind, Task
from server.runtime.datatypes import DATATYPES, ONNX_TYPES, TensorInfo
from server.runtime.sessions.session import Model, RunError, Session, SessionError, SessionKey

_BATCH_ROWS = 256
SUM_TOLERANCE = 1e-3
"""The server's own: how far a row of probabilities may be from 1."""


@dataclass(frozen=True)
class Wiring:
    """What a member is to fit: the ensemble's classes, and the tensors that members may take."""

    classes: tuple[str, ...]
    tensors: tuple[Input, ...]
    labels: bool = False
    """Whether the classes do not exclude each other."""
    value_shape: tuple[int, ...] = ()
    """Of a regression whose value is more than one number."""

    @property
    def columns(self) -> int:
        """C: the classes, or a value's numbers."""
        return len(self.classes) or prod(self.value_shape)


@dataclass(frozen=True)
class Brought:
    """A member with its session. `part.entry` is complete but for digest, weight and temperature."""

    part: Part
    session: Session
    classes: tuple[str, ...]
    """Of the ensemble."""
    columns: int
    """C: the ensemble's classes, or a value's numbers."""

    @property
    def name(self) -> str:
        """Its name in the ensemble."""
        return self.part.entry.name

    def raw(self, inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        """What the ONNX output holds for these rows, as one batch, float32 [n, …]. Raises BundleError."""
        entry = self.part.entry
        feeds = {own.name: inputs[entry.inputs.get(own.name, own.name)] for own in self.session.inputs}
        try:
            (found,) = self.session.run([entry.output], feeds)
        except RunError as error:
            raise BundleError(f"member {self.name!r}", [f"does not run: {error.detail}"]) from error
        return np.asarray(found, dtype=np.float32)

    def __call__(self, inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        """Raw answers float32 [n, C] in the ensemble's class order, one batch after the other."""
        found = np.concatenate([self.raw(part) for part in batches(inputs, _BATCH_ROWS)])
        return aligned(found, self.part.entry, self.classes, self.columns)

    def latency_ms(self, inputs: Mapping[str, Array]) -> float:
        """Median milliseconds of the first row alone, on one thread."""
        return latency_ms(functools.partial(self.raw, next(batches(inputs, 1))))


def aligned(raw: NDArray[np.float32], entry: Member, classes: Sequence[str], columns: int) -> NDArray[np.float32]:
    """Raw outputs [n, …] of C = `columns` numbers a row as [n, C] in the ensemble's class order, still logits where so.

    One column of two classes is the second class's. Raises BundleError for another width.
    """
    table = raw.reshape(len(raw), -1)
    if table.shape[1] == 1 and columns == 2 and classes:
        first = 1 - table if entry.kind == "probabilities" else np.zeros_like(table)
        table = np.hstack([first, table])
    if table.shape[1] != columns:
        told = f"the {len(classes)} classes" if classes else f"y has {columns} a row"
        problem = f"gives {table.shape[1]} columns, expected {columns}: {told}"
        raise BundleError(f"member {entry.name!r}", [problem])
    if entry.classes is None or entry.classes == tuple(classes):
        return table
    place = {name: column for column, name in enumerate(entry.classes)}
    return table[:, [place[name] for name in classes]]


def opened(entry: Member, data: bytes, external: Mapping[str, Path], classes: Sequence[str], columns: int) -> Brought:
    """A member of known entry, its session opened. Raises BundleError."""
    weights = {location: path.read_bytes() for location, path in external.items()}
    digests = {file.file: file.sha256 for file in entry.external}
    try:
        session = Session(SessionKey.of(entry.sha256, digests, (), 1), Model(data, weights))
    except SessionError as error:
        raise BundleError(f"member {entry.name!r}", [f"is no model that onnxruntime opens: {error}"]) from error
    return Brought(Part(entry, data, external), session, tuple(classes), columns)


@dataclass(frozen=True)
class Said:
    """What the user says of a member beyond its file; None leaves it to the file."""

    kind: Kind | None = None
    classes: tuple[str, ...] | None = None
    output: str | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    """ONNX input → tensor, where the names differ."""
    takes: tuple[str, ...] = ()
    """The tensors of an ONNX file's inputs, in their order."""
    family: str | None = None
    ordered: bool = False
    """Columns whose order nobody states are taken to be in the ensemble's."""


def from_file(name: str, path: Path, wiring: Wiring, said: Said, sample: Mapping[str, Array]) -> Brought:
    """A member from an ONNX file, checked against the ensemble and on sample rows.

    Raises BundleError: the file is no model, does not fit, or nobody says in which order its classes are.
    """
    try:
        file = ModelFile.read(name, path)
    except ModelFileError as error:
        raise BundleError(f"member {name!r}", [str(error)]) from error
    one, kind = _answers(_plugged(file, wiring, said, sample), wiring, said, sample)
    classes = _classes(one, wiring, said)
    entry = Member(
        name=name, file=f"members/{name}.onnx", sha256=NO_DIGEST, bytes=0, output=one.output.name, kind=kind,
        inputs=dict(one.file.wiring), adapters=one.file.adapters, family=said.family,
        classes=None if classes == wiring.classes else classes,
    )  # fmt: skip
    part = Part(entry, bytes(one.file.model.data), one.file.weights)
    found = Brought(part, one.file.session, wiring.classes, wiring.columns)
    _check(found, sample, wiring.labels)
    return found


def _answers(file: ModelFile, wiring: Wiring, said: Said, feeds: Mapping[str, Array]) -> tuple[Given, Kind]:
    """The member's output on sample rows and what it means, by the rules that `tutti publish` has."""
    task: Task = "multilabel" if wiring.labels else "classification" if wiring.classes else "regression"
    kinds = {} if said.kind is None else {file.name: said.kind}
    outputs = {} if said.output is None else {file.name: said.output}
    try:
        (one,), _ = given([file], Wishes(RULES["mean"], task=task, kinds=kinds, outputs=outputs), feeds)
    except BundleError as error:
        problems = [each.removeprefix(f"member '{file.name}': ") for each in error.problems]
        raise BundleError(f"member {file.name!r}", problems) from error
    meaning = decide({file.name: one.seen}, Naming(wiring.classes or None), task, kinds)
    if meaning.problems:
        raise BundleError(f"member {file.name!r}", meaning.problems)
    try:
        one = renormalised(one, feeds) if meaning.renormalised else one
    except ModelFileError as error:
        raise BundleError(f"member {file.name!r}", [str(error)]) from error
    return one, meaning.kinds[file.name]


def _plugged(file: ModelFile, wiring: Wiring, said: Said, sample: Mapping[str, Array]) -> ModelFile:
    """The file wired to the ensemble's tensors: by name, as the user says, a lone input to the lone tensor.

    Numbers of another type are cast in its graph, and a fixed batch is freed. Raises BundleError.
    """
    tensors = {entry.name: entry for entry in wiring.tensors}
    names, wrong = _names(file, tensors, said)
    if wrong:
        raise BundleError(f"member {file.name!r}", wrong)
    try:
        file = replace(file, wiring={own: name for own, name in names.items() if own != name}, rows=fixed_rows(file))
        for own in file.inputs:
            wanted = ONNX_TYPES[tensors[names[own.name]].datatype]
            if own.type != wanted:
                file = _cast(file, own, wanted)
        file = freed(file, sample)
    except ModelFileError as error:
        raise BundleError(f"member {file.name!r}", [str(error)]) from error
    if file.rows is not None:
        problem = f"its batch is fixed to {file.rows}: export it with a dynamic one, or publish it with tutti publish"
        raise BundleError(f"member {file.name!r}", [problem])
    return file


def _cast(file: ModelFile, own: TensorInfo, wanted: str) -> ModelFile:
    """The file, taking `wanted` in the place of its own type. Raises ModelFileError."""
    if "tensor(string)" in (own.type, wanted):
        told = f"{DATATYPES.get(own.type, own.type)}, {file.source(own.name)!r} is {DATATYPES[wanted]}"
        raise ModelFileError(f"its input {own.name!r} is {told}")
    return adapted(file, own.name, Sent(type=wanted), "")


def _names(file: ModelFile, tensors: Mapping[str, Input], said: Said) -> tuple[dict[str, str], list[str]]:
    """ONNX input → tensor, and what is wrong with it."""
    own = [entry.name for entry in file.inputs]
    if said.takes and len(said.takes) != len(own):
        listed = ", ".join(map(repr, own))
        return {}, [f"takes has {len(said.takes)} names, the file has {len(own)} inputs, in this order: {listed}"]
    wrong = [
        f"has no input {name!r}, its inputs are {', '.join(map(repr, own))}" for name in said.inputs if name not in own
    ]
    lone = len(own) == 1 and len(tensors) == 1
    names = {name: name if name in tensors or not lone else next(iter(tensors)) for name in own}
    names |= dict(zip(own, said.takes, strict=False)) | {k: v for k, v in said.inputs.items() if k in own}
    wrong += [
        f"takes {name!r}, the ensemble has {', '.join(map(repr, tensors))}; inputs={{{mine!r}: …}} says which it is"
        for mine, name in names.items()
        if name not in tensors
    ]
    return names, wrong


def _classes(one: Given, wiring: Wiring, said: Said) -> tuple[str, ...]:
    if not wiring.classes:
        return ()
    labels = None if one.stated is None else one.stated.names
    order = agreed(said.classes, labels, wiring.classes, one.file.name)
    if order is None and not said.ordered:
        problem = "its graph does not say which column is which class: say it, in the order of its columns"
        raise BundleError(f"member {one.file.name!r}", [problem])
    return order or wiring.classes


def _check(member: Brought, sample: Mapping[str, Array], labels: bool) -> None:
    """Finite, [n, C], and distributions where it says so. Raises BundleError."""
    found = member(sample)
    if not np.isfinite(found).all():
        raise BundleError(f"member {member.name!r}", ["gives NaN or infinite values on sample rows"])
    if labels:
        return
    if member.part.entry.kind == "probabilities" and np.abs(found.sum(axis=1) - 1).max() > SUM_TOLERANCE:
        raise BundleError(f"member {member.name!r}", ["is said to give probabilities, but its rows do not sum to 1"])
