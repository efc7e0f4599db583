"""ONNX files to one ensemble: what they take and give, checked against each other. Every problem is listed."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from exporter.bundle import NO_DIGEST, draft
from exporter.errors import BundleError
from exporter.publishing.answers import Given
from exporter.publishing.meaning import Meaning
from exporter.publishing.model_file import ModelFile
from exporter.publishing.naming import Naming
from exporter.publishing.wishes import Wishes
from model_repo import Input, Manifest, Member, problems
from server.runtime.datatypes import DATATYPES, TensorInfo
from server.runtime.signature import Signature
from server.runtime.signature import problems as signature_problems


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


def manifest_of(
    name: str, inputs: Sequence[Input], members: Sequence[Given], naming: Naming, meaning: Meaning, wishes: Wishes
) -> Manifest:
    """The manifest without digests, golden rows and number, valid in itself and for the files.

    Raises BundleError with every problem.
    """
    columns = max(member.width for member in members)
    task = meaning.task
    classes = () if task == "regression" else naming.classes or tuple(map(str, range(max(columns, 2))))
    entries = [_member(place, one, classes, naming, meaning, wishes) for place, one in enumerate(members)]
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


def _member(
    place: int, one: Given, classes: tuple[str, ...], naming: Naming, meaning: Meaning, wishes: Wishes
) -> Member:
    name = one.file.name
    order = naming.orders.get(name)
    return Member(
        name=name,
        file=f"members/{name}.onnx",
        sha256=NO_DIGEST,
        bytes=len(one.file.model.data),
        output=one.output.name,
        kind=meaning.kinds[name],
        classes=order if classes and order is not None and order != classes else None,
        weight=1.0 if wishes.weights is None else wishes.weights[place],
    )


def _shape(entry: TensorInfo) -> str:
    return "[" + ", ".join(["n", *(str(s) if isinstance(s, int) else "?" for s in entry.shape[1:])]) + "]"
