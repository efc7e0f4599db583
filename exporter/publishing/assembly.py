"""ONNX files to one ensemble: what they take and give, checked against each other. Every problem is listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from exporter.bundle import NO_DIGEST, draft
from exporter.errors import BundleError
from exporter.publishing.model_file import ModelFile, ModelFileError
from model_repo import Fusion, Input, Manifest, Member, problems
from model_repo.manifest import Batching, Kind, Task
from server.runtime.datatypes import DATATYPES, Array, TensorInfo
from server.runtime.signature import Signature
from server.runtime.signature import problems as signature_problems

SUM_TOLERANCE = 1e-3
"""The server's own: how far a row of probabilities may be from 1."""


@dataclass(frozen=True)
class Wishes:
    """What the user said beyond the files; None and {} leave it to what the files say."""

    fusion: Fusion
    task: Task | None = None
    classes: tuple[str, ...] | None = None
    weights: tuple[float, ...] | None = None
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    quorum: int | None = None
    description: str = ""
    batching: Batching = Batching()  # noqa: RUF009 - frozen


@dataclass(frozen=True)
class Given:
    """One member's fused output and what it gave for the sample rows, [n, ...]."""

    file: ModelFile
    output: TensorInfo
    values: Array

    @property
    def width(self) -> int:
        """Columns of the output; 1 where it has none."""
        return 1 if self.values.ndim == 1 else int(self.values.shape[-1])

    @property
    def looks_like_probabilities(self) -> bool:
        """Whether every row is a distribution; one column, whether every value is within [0, 1]."""
        values = np.asarray(self.values, np.float64)
        within = bool(((values >= -1e-6) & (values <= 1 + 1e-6)).all())
        return within and (self.width == 1 or bool((np.abs(values.sum(axis=-1) - 1) <= SUM_TOLERANCE).all()))


def inputs_of(files: Sequence[ModelFile]) -> tuple[Input, ...]:
    """The ensemble's inputs: one for each name that the members take, as narrow as the narrowest of them.

    Raises BundleError with every disagreement.
    """
    found: dict[str, tuple[ModelFile, TensorInfo, list[int]]] = {}
    wrong: list[str] = []
    for file in files:
        for entry in file.inputs:
            if entry.type not in DATATYPES:
                wrong.append(f"member '{file.name}': its input '{entry.name}' is {entry.type}, which is not served")
            elif entry.shape and isinstance(entry.shape[0], int):
                wrong.append(
                    f"member '{file.name}': the first dimension of its input '{entry.name}' is fixed to "
                    f"{entry.shape[0]}; export it with a dynamic batch"
                )
            elif not entry.shape:
                wrong.append(f"member '{file.name}': its input '{entry.name}' states no shape, expected [n, …]")
            elif entry.name in found:
                wrong += _narrowed(file, entry, *found[entry.name])
            else:
                sizes = [-1, *(size if isinstance(size, int) else -1 for size in entry.shape[1:])]
                found[entry.name] = (file, entry, sizes)
    if wrong:
        raise BundleError("the members do not make one ensemble", wrong)
    return tuple(
        Input(name=name, datatype=DATATYPES[entry.type], shape=tuple(sizes))  # type: ignore[arg-type]  # the table's values are the Literal's
        for name, (_, entry, sizes) in found.items()
    )


def _narrowed(file: ModelFile, entry: TensorInfo, other: ModelFile, first: TensorInfo, sizes: list[int]) -> list[str]:
    """Fit another member's view of an input into `sizes`; what does not fit as sentences."""
    both = f"input '{entry.name}': member '{other.name}' takes"
    if entry.type != first.type:
        return [f"{both} {DATATYPES[first.type]}, member '{file.name}' {DATATYPES[entry.type]}"]
    if len(entry.shape) != len(sizes):
        return [f"{both} {_shape(first)}, member '{file.name}' {_shape(entry)}"]
    for place, size in enumerate(entry.shape[1:], 1):
        if isinstance(size, int) and sizes[place] not in (-1, size):
            return [f"{both} {_shape(first)}, member '{file.name}' {_shape(entry)}"]
        if isinstance(size, int):
            sizes[place] = size
    return []


def given(files: Sequence[ModelFile], wishes: Wishes, feeds: Mapping[str, Array]) -> list[Given]:
    """Each member's output on the sample rows, together and one row alone. Raises BundleError."""
    found: list[Given] = []
    wrong: list[str] = []
    rows = len(next(iter(feeds.values())))
    for file in files:
        try:
            output = file.output(wishes.outputs.get(file.name))
            values = file.run(output.name, feeds)
            alone = file.run(output.name, {name: array[:1] for name, array in feeds.items()})
        except ModelFileError as error:
            wrong.append(f"member '{file.name}': {error}")
            continue
        if values.ndim not in (1, 2) or len(values) != rows or len(alone) != 1:
            wrong.append(
                f"member '{file.name}': its output '{output.name}' is {list(values.shape)} for {rows} rows and "
                f"{list(alone.shape)} for one, expected [n] or [n, C]"
            )
        elif not np.isfinite(values).all():
            wrong.append(f"member '{file.name}': its output '{output.name}' has NaN or infinite values on sample rows")
        else:
            found.append(Given(file, output, values))
    if wrong:
        raise BundleError("the members do not make one ensemble", wrong)
    return found


def manifest_of(name: str, inputs: Sequence[Input], members: Sequence[Given], wishes: Wishes) -> Manifest:
    """The manifest without digests, golden rows and number, valid in itself and for the files.

    Raises BundleError with every problem.
    """
    columns = max(member.width for member in members)
    binary = columns == 1 and wishes.classes is not None and len(wishes.classes) == 2
    task: Task = wishes.task or ("classification" if columns > 1 or binary else "regression")
    classes = () if task == "regression" else wishes.classes or tuple(map(str, range(max(columns, 2))))
    entries = [_member(place, one, task, wishes) for place, one in enumerate(members)]
    manifest = msgspec.structs.replace(
        draft(name, task, classes, inputs, entries, wishes.fusion),
        quorum=wishes.quorum or -(-len(members) // 2),
        description=wishes.description,
        batching=wishes.batching,
    )
    wrong = [
        f"member '{one.file.name}' gives {one.width} columns, there are {len(classes)} classes"
        for one in members
        if classes and one.width != len(classes) and not (one.width == 1 and len(classes) == 2)
    ]
    signatures = {one.file.name: Signature(one.file.inputs, one.file.session.outputs) for one in members}
    wrong = wrong or [*problems(manifest), *signature_problems(manifest, signatures, None)]
    if wrong:
        raise BundleError("the members do not make one ensemble", wrong)
    return manifest


def _member(place: int, one: Given, task: Task, wishes: Wishes) -> Member:
    detected: Kind = "probabilities" if one.looks_like_probabilities else "logits"
    name = one.file.name
    return Member(
        name=name,
        file=f"members/{name}.onnx",
        sha256=NO_DIGEST,
        bytes=len(one.file.model.data),
        output=one.output.name,
        kind=wishes.kinds.get(name) or (detected if task == "classification" else "value"),
        weight=1.0 if wishes.weights is None else wishes.weights[place],
    )


def _shape(entry: TensorInfo) -> str:
    return "[" + ", ".join(["n", *(str(s) if isinstance(s, int) else "?" for s in entry.shape[1:])]) + "]"
