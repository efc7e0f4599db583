"""The gate that every member passes on its way into an ensemble, whoever trained it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from exporter.data.dataset import Array, Dataset, Rows
from exporter.errors import BundleError, ConversionError, ParityError
from exporter.foreign.objects.classes import in_order
from exporter.foreign.objects.member import Brought, Said, Wiring, aligned, from_file, opened
from exporter.foreign.objects.trained import TrainedElsewhere
from exporter.gate.parity import Answer, Parity, check_parity
from exporter.gate.sweep import Sweep
from exporter.members.base import NETWORK
from model_repo import Member

_SAMPLES = 64


def pass_gate(
    name: str, model: object, said: Said, takes: tuple[str, ...], wiring: Wiring, dataset: Dataset, rows: Rows
) -> tuple[Brought, Parity]:
    """The member and what its sweep saw: converted, aligned by name, and computing what the model computes.

    Of an ONNX file nobody knows the model behind it: it must give the same answers in every batch size and length.
    Raises BundleError, ConversionError, ParityError, each naming the member.
    """
    sample = {key: array[:_SAMPLES] for key, array in rows.inputs.items()}
    trained: Answer
    if isinstance(model, str | Path):
        member = from_file(name, Path(model), wiring, replace(said, takes=takes), sample)
        trained, tolerance = member, NETWORK
    else:
        converted = _converted(name, model, said, takes, wiring, sample)
        member = _brought(name, model, converted, said, wiring)
        trained = _aligned(converted, member)
        tolerance = converted.tolerance
    names = [member.part.entry.inputs.get(entry.name, entry.name) for entry in member.session.inputs]
    sweep = Sweep.of(rows, dataset, names)

    def exported(inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        return aligned(member.raw(inputs), member.part.entry, wiring.classes, wiring.columns)

    try:
        return member, check_parity(trained, exported, sweep, member.part.entry.kind, tolerance)
    except ParityError as error:
        raise ParityError(f"member {name!r}: {error}") from error


def _converted(
    name: str, model: object, said: Said, takes: tuple[str, ...], wiring: Wiring, sample: Mapping[str, Array]
) -> TrainedElsewhere:
    from exporter.foreign.objects.estimator import from_estimator, is_estimator

    names = takes or tuple(entry.name for entry in wiring.tensors)
    columns, kind = wiring.columns, said.kind if wiring.classes else "value"
    try:
        if _is_module(model):
            from torch import nn

            from exporter.foreign.objects.module import from_module

            return from_module(name, cast("nn.Module", model), wiring.tensors, names, kind, sample)
        if is_estimator(model):
            known = {entry.name: entry for entry in wiring.tensors}
            if strange := [each for each in names if each not in known]:
                problem = f"takes {', '.join(map(repr, strange))}, which is no input; there are {', '.join(known)}"
                raise BundleError(f"member {name!r}", [problem])
            return from_estimator(name, model, [known[each] for each in names], columns, kind)
    except ConversionError as error:
        named = f"member {name!r}: "
        raise ConversionError(named + str(error).removeprefix(named)) from error
    word = f"{type(model).__module__}.{type(model).__qualname__}"
    expected = (
        "the path of an ONNX file, a torch module, or a fitted estimator of scikit-learn, LightGBM, XGBoost or CatBoost"
    )
    raise BundleError(f"member {name!r}", [f"is {word}, expected {expected}"])


def _brought(name: str, model: object, converted: TrainedElsewhere, said: Said, wiring: Wiring) -> Brought:
    own = None if converted.labels is None else in_order(converted.labels, wiring.classes, name)
    if own is not None and said.classes is not None and own != said.classes:
        problem = f"its columns are {', '.join(own)}, not {', '.join(said.classes)} as given"
        raise BundleError(f"member {name!r}", [problem])
    order = own or said.classes
    entry = Member(
        name=name,
        file=f"members/{name}.onnx",
        sha256=sha256(converted.onnx).hexdigest(),
        bytes=len(converted.onnx),
        output=converted.output,
        kind=converted.kind,
        classes=None if order is None or order == wiring.classes else order,
        family=said.family or type(model).__name__.lower(),
    )
    return opened(entry, converted.onnx, {}, wiring.classes, wiring.columns)


def _aligned(converted: TrainedElsewhere, member: Brought) -> Answer:
    def answer(inputs: Mapping[str, Array]) -> NDArray[np.float32]:
        found = converted.predict(inputs)
        return aligned(found, member.part.entry, member.classes, member.columns)

    return answer


def _is_module(model: object) -> bool:
    """Whether it is a torch module, without importing torch for those that are not."""
    return any(base.__module__.startswith("torch.nn") for base in type(model).__mro__)
