"""ONNX files to one ensemble: what they take and give, checked against each other. Every problem is listed."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import msgspec

from exporter.bundle import NO_DIGEST, draft
from exporter.errors import BundleError
from exporter.foreign.answers import Given
from exporter.foreign.dense import positions
from exporter.foreign.meaning import Meaning
from exporter.foreign.naming import Naming
from exporter.foreign.wishes import Wishes
from model_repo import Concatenate, Input, Manifest, Member, Tokenizer, problems
from model_repo.format.manifest import Task
from model_repo.format.rules import CLASSLESS
from server.runtime.sessions.signature import Signature
from server.runtime.sessions.signature import problems as signature_problems


def manifest_of(
    name: str,
    inputs: Sequence[Input],
    members: Sequence[Given],
    naming: Naming,
    meaning: Meaning,
    wishes: Wishes,
    tokenizers: tuple[Tokenizer, ...] = (),
) -> Manifest:
    """The manifest without digests, golden rows and number, valid in itself and for the files.

    Raises BundleError with every problem.
    """
    task = meaning.task
    widths = {one.file.name: one.values.shape[1] if task == "dense" else one.width for one in members}
    least = 1 if task == "multilabel" else 2
    classes = () if task in CLASSLESS else naming.classes or tuple(map(str, range(max(*widths.values(), least))))
    entries = [_member(place, one, classes, naming, meaning, wishes) for place, one in enumerate(members)]
    joined = isinstance(wishes.fusion, Concatenate)
    if task == "embedding":
        _require_vectors(members, joined)
    manifest = msgspec.structs.replace(
        draft(name, task, classes, inputs, entries, wishes.fusion),
        quorum=wishes.quorum or (len(members) if joined else -(-len(members) // 2)),
        description=wishes.description,
        tokenizers=tokenizers,
        batching=wishes.batching,
        thresholds=wishes.thresholds * len(classes) if len(wishes.thresholds) == 1 else wishes.thresholds,
        value_shape=_shape_of_values(task, members, joined),
        positions=_positions(members) if task == "dense" else (),
    )
    share = task not in ("multilabel", "dense") and len(classes) == 2
    wrong = [
        f"member '{one.file.name}' gives {widths[one.file.name]} columns, there are {len(classes)} "
        f"{'labels' if task == 'multilabel' else 'classes'}"
        for one in members
        if classes and widths[one.file.name] != len(classes) and not (one.width == 1 and share)
    ]
    signatures = {one.file.name: Signature(one.file.inputs, one.file.session.outputs) for one in members}
    wrong = wrong or [*problems(manifest), *signature_problems(manifest, signatures, None)]
    if wrong:
        raise BundleError("the members do not make one ensemble", wrong)
    return manifest


def _shape_of_values(task: Task, members: Sequence[Given], joined: bool) -> tuple[int, ...]:
    """The manifest's `value_shape`."""
    if task == "embedding":
        return (sum(one.width for one in members) if joined else members[0].width,)
    return _value_shape(members) if task == "regression" else ()


def _positions(members: Sequence[Given]) -> tuple[int, ...]:
    return positions({one.file.name: one.output for one in members}, {one.file.name: one.values for one in members})


def _require_vectors(members: Sequence[Given], joined: bool) -> None:
    """Raise BundleError unless the members' vectors can be averaged, or put together."""
    wrong = [
        f"member '{one.file.name}': its output '{one.output.name}' is {list(one.values.shape)}, an embedding is [n, d]"
        for one in members
        if one.values.ndim != 2
    ]
    first = members[0]
    if not joined:
        wrong += [
            f"member '{one.file.name}' gives vectors of {one.width} numbers, '{first.file.name}' of {first.width}: "
            "only vectors of one space can be averaged; --fusion concatenate puts them one behind the other"
            for one in members
            if one.width != first.width
        ]
    if wrong:
        raise BundleError("the members do not make one ensemble", wrong)


def _value_shape(members: Sequence[Given]) -> tuple[int, ...]:
    """The shape of one row's value, () for one number; the members' that has most, which the others are held to."""
    shapes = [tuple(one.values.shape[1:]) for one in members]
    most = max(shapes, key=lambda shape: (prod(shape), len(shape)))
    return most if prod(most) > 1 else ()


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
        inputs=dict(one.file.wiring),
        rows=one.file.rows,
        adapters=one.file.adapters,
        kind=meaning.kinds[name],
        classes=order if classes and order is not None and order != classes else None,
        width=one.width if isinstance(wishes.fusion, Concatenate) else None,
        weight=1.0 if wishes.weights is None else wishes.weights[place],
    )
