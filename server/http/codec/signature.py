"""What decoding and encoding need to know of one served version, prepared once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING

import msgspec

from model_repo import Input, Manifest
from server.errors import InvalidTensor
from server.http.codec.declared import Form, InputTensor, OutputTensor, WantedOutput
from server.http.codec.errors import shown
from server.http.codec.reply import JSON, Headers
from server.http.codec.request import Template
from server.http.codec.tensors import DATATYPES, Array, Datatype

if TYPE_CHECKING:
    from server.serving.servable import Servable

MANY = 1 << 20

KEPT = 1024
"""Signatures kept; beyond that all are made anew, which only costs their making."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs in the manifest's order, outputs, and the parts of an answer that never change."""

    ensemble: str
    version: int
    manifest: Manifest
    inputs: Mapping[str, InputTensor]
    outputs: Mapping[str, OutputTensor]
    default_outputs: tuple[str, ...]
    default_wanted: tuple[tuple[WantedOutput, ...], tuple[WantedOutput, ...]]
    """The default outputs as JSON, and as binary."""
    selections: dict[tuple[str, ...], tuple[str, ...]]
    """Requested names → one shared tuple, so that the batcher sees by identity that a batch wants the same."""
    model_head: bytes
    """`"model_name":"…","model_version":"…"`."""
    timeout_s: float
    """How long a request may wait that does not say."""
    version_text: str
    opening: bytes
    """The beginning of an answer without an id, up to its outputs."""
    json_headers: Headers
    """Of an answer in JSON with no member missing."""
    templates: dict[tuple[bytes, bytes], Template] = field(default_factory=dict)
    """Requests seen, by the bytes before their numbers and behind; each thread may add to it."""
    row_numbers: int = 0
    """Of all outputs that a request may ask for, the numbers of one row together."""
    forms: dict[int, Form] = field(default_factory=dict)
    """Of answers given, by the identity of what was wanted; each thread may add to it."""
    answered: list[float] = field(default_factory=list)
    """Seconds of the requests that were answered in this turn of the loop and are not counted yet."""

    @property
    def only_input(self) -> InputTensor | None:
        """The single input, where there is one."""
        return next(iter(self.inputs.values())) if len(self.inputs) == 1 else None

    def output(self, name: str, field: str) -> OutputTensor:
        """The output called `name`; InvalidTensor lists what there is."""
        found = self.outputs.get(name)
        if found is None:
            raise InvalidTensor(
                f"{field}: ensemble '{self.ensemble}' has no output {shown(name)}; it has {', '.join(self.outputs)}"
            )
        return found

    def input(self, name: str, field: str) -> InputTensor:
        """The input called `name`; InvalidTensor lists what there is."""
        found = self.inputs.get(name)
        if found is None:
            raise InvalidTensor(
                f"{field}: ensemble '{self.ensemble}' has no input {shown(name)}; it takes {', '.join(self.inputs)}"
            )
        return found

    def selection(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The same names as the one tuple that every request for them shares."""
        found = self.selections.get(names)
        if found is None:
            if len(self.selections) >= KEPT:
                self.selections.clear()
            found = self.selections[names] = names
        return found


def signature_of(servable: Servable) -> Signature:
    """The signature of a servable."""
    manifest, ensemble = servable.manifest, servable.ensemble
    inputs = {i.name: _input(i) for i in manifest.inputs}
    outputs = {name: _output(name, DATATYPES[spec.datatype], spec.shape) for name, spec in ensemble.outputs.items()}
    default = [outputs[name] for name in ensemble.default_outputs]
    head = msgspec.json.encode({"model_name": servable.name, "model_version": str(servable.version)})
    return Signature(
        ensemble=servable.name,
        version=servable.version,
        manifest=manifest,
        inputs=inputs,
        outputs=outputs,
        default_outputs=ensemble.default_outputs,
        default_wanted=(
            tuple(WantedOutput(tensor, binary=False) for tensor in default),
            tuple(WantedOutput(tensor, binary=True) for tensor in default),
        ),
        selections={},
        model_head=head[1:-1],
        timeout_s=manifest.batching.timeout_s,
        version_text=str(servable.version),
        opening=b'{%b,"outputs":[' % head[1:-1],
        json_headers=(JSON, (b"tutti-version", b"%d" % servable.version)),
        row_numbers=sum(_numbers(tensor.shape[1:]) for tensor in outputs.values()),
    )


class Signatures:
    """Signatures by ensemble and version, made on first use. Event-loop thread only."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, int], Signature] = {}

    def of(self, servable: Servable) -> Signature:
        """The servable's signature; made anew when another manifest took its name and version."""
        key = (servable.name, servable.version)
        found = self._made.get(key)
        if found is None or found.manifest is not servable.manifest:
            if len(self._made) >= KEPT:
                self._made.clear()
            found = self._made[key] = signature_of(servable)
        return found


def _numbers(row: tuple[int, ...]) -> int:
    """Of one row; many where a dimension may have any length."""
    return MANY if -1 in row else prod(row)


def _input(declared: Input) -> InputTensor:
    row = declared.shape[1:]
    return InputTensor(
        name=declared.name,
        kind=DATATYPES[declared.datatype],
        shape=declared.shape,
        image=declared.image,
        text=declared.text,
        row=None if -1 in row else list(row),
        row_elements=prod(row),
        missing=declared.missing == "nan",
    )


def _output(name: str, kind: Datatype, shape: tuple[int, ...]) -> OutputTensor:
    prefix = msgspec.json.encode({"name": name, "datatype": kind.name})[:-1] + b',"shape":['
    dimensions = "".join(f",{size}" for size in shape[1:]).encode()
    middle = dimensions + b'],"data":['
    sized = dimensions + b'],"parameters":{"binary_data_size":'
    return OutputTensor(name, kind, shape, prefix, middle, sized, b"%b1%b" % (prefix, middle), -1 in shape[1:])


def in_order(given: dict[str, Array], signature: Signature) -> dict[str, Array]:
    """The feeds in the manifest's order; InvalidTensor names what is missing or differs in rows."""
    rows: int | None = None
    first = ""
    feeds: dict[str, Array] = {}
    for name in signature.inputs:
        array = given.get(name)
        if array is None:
            raise InvalidTensor(
                f"inputs: input '{name}' is missing; ensemble '{signature.ensemble}' takes "
                + ", ".join(signature.inputs)
            )
        if rows is not None and array.shape[0] != rows:
            raise InvalidTensor(f"inputs: '{name}' has {array.shape[0]} rows, '{first}' has {rows}")
        rows, first, feeds[name] = array.shape[0], first or name, array
    return feeds
