"""ONNX files to one ensemble: what they take and give, checked against each other. Every problem is listed."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from exporter.bundle import NO_DIGEST, draft
from exporter.errors import BundleError
from exporter.publishing.answers import Given
from exporter.publishing.meaning import Meaning
from exporter.publishing.naming import Naming
from exporter.publishing.wishes import Wishes
from model_repo import Input, Manifest, Member, problems
from server.runtime.signature import Signature
from server.runtime.signature import problems as signature_problems


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
        inputs=dict(one.file.wiring),
        rows=one.file.rows,
        adapters=one.file.adapters,
        kind=meaning.kinds[name],
        classes=order if classes and order is not None and order != classes else None,
        weight=1.0 if wishes.weights is None else wishes.weights[place],
    )
