"""The parameters of one member as a safetensors file, with what they are and where they come from."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import safetensors
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save

from exporter.errors import ParametersError
from exporter.optimisation.state import State, digest_of, structure_of

FORMAT = "tutti-parameters-1"
_SIZE_BYTES = 8
"""Of the header's length, which a safetensors file begins with."""
_MOST_ROWS = 2**31

Index = NDArray[np.int64]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the file's metadata says under `tutti`, as JSON."""

    format: str = FORMAT
    member: str
    family: str
    spec: dict[str, Any] = {}
    """The member's table of the recipe with all defaults."""
    seed: int = 0
    networks: int
    """How many there are; the tensors' names have the network's number in front: `0.head.weight`."""
    structure: str
    """sha256 over names, datatypes and shapes."""
    weights: str
    """sha256 over those and every byte."""
    start: str
    """sha256 of the weights that training began with."""
    root: str
    """The root of what they were initialised from, or `start`: networks of one root may be averaged."""
    parents: tuple[str, ...] = ()
    """What they were initialised from, or are the mean of: `digits/3:cnn sha256`."""
    data: str = ""
    """sha256 of the data's digest and the numbers of the rows that were trained on."""
    seen: dict[str, str] = {}
    """Digest of data → the rows of it that these weights, or what they come from, were trained on: `packed`."""


@dataclass(frozen=True)
class Parameters:
    """Networks' parameters and buffers, and what is known of them; None of a file that others wrote."""

    networks: tuple[State, ...]
    facts: Facts | None

    @property
    def digest(self) -> str:
        """sha256 of the weights."""
        return digest_of(self.networks) if self.facts is None else self.facts.weights

    @property
    def root(self) -> str:
        """What they all come from: themselves, where nothing is known of them."""
        return self.digest if self.facts is None else self.facts.root


def written(networks: Sequence[State], facts: Mapping[str, Any]) -> bytes:
    """The file; `facts` are the fields of Facts but for those that the weights themselves say."""
    whole = Facts(networks=len(networks), structure=structure_of(networks), weights=digest_of(networks), **facts)
    tensors = {f"{place}.{name}": tensor.contiguous() for place, state in enumerate(networks)
               for name, tensor in state.items()}  # fmt: skip
    return save(_apart(tensors), {"tutti": msgspec.json.encode(whole, order="deterministic").decode()})


def _apart(tensors: State) -> State:
    """Each with memory of its own: the format has no shared tensors."""
    seen: set[int] = set()
    found = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        found[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return found


def read(data: bytes, where: str) -> Parameters:
    """What `written` wrote, or another's safetensors file as one network. Raises ParametersError; runs nothing."""
    try:
        tensors = load(data)
        metadata = _metadata(data)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, msgspec.MsgspecError) as error:
        raise ParametersError(f"{where} is no safetensors file: {_plain(error)}; {_hint(data)}") from error
    if broken := [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]:
        raise ParametersError(f"{where}: {broken[0]!r} has NaN or infinite numbers, expected finite ones")
    if "tutti" not in metadata:
        return Parameters((tensors,), None)
    try:
        facts = msgspec.json.decode(metadata["tutti"], type=Facts)
    except msgspec.MsgspecError as error:
        raise ParametersError(f"{where}: its metadata is not ours: {error}") from error
    return Parameters(_networks(tensors, facts, where), facts)


def _networks(tensors: State, facts: Facts, where: str) -> tuple[State, ...]:
    """By number. Raises ParametersError where tensors are not those that the metadata was written for."""
    if facts.format != FORMAT:
        raise ParametersError(f"{where} is of format {facts.format!r}, this reader knows {FORMAT!r}")
    states: dict[int, State] = {}
    for name, tensor in tensors.items():
        place, _, own = name.partition(".")
        states.setdefault(int(place) if place.isdecimal() else -1, {})[own] = tensor
    if sorted(states) != list(range(facts.networks)):
        raise ParametersError(f"{where} has networks {sorted(states)}, its metadata says {facts.networks}")
    found = tuple(states[place] for place in range(facts.networks))
    if digest_of(found) != facts.weights or structure_of(found) != facts.structure:
        raise ParametersError(f"{where}: its tensors are not those that its metadata names: another digest")
    return found


def _metadata(data: bytes) -> dict[str, str]:
    """The header's own table of strings; the library has already found the header right."""
    size = int.from_bytes(data[:_SIZE_BYTES], "little")
    header = msgspec.json.decode(data[_SIZE_BYTES : _SIZE_BYTES + size], type=dict[str, Any])
    return msgspec.convert(header.get("__metadata__", {}), dict[str, str])


def _plain(error: Exception) -> str:
    return str(error).removeprefix("Error while deserializing: ") or type(error).__name__


def _hint(data: bytes) -> str:
    if data[:2] in (b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05"):
        return "it looks like a pickle, which is never opened: safetensors.torch.save_file writes its state_dict"
    return f"{len(data)} bytes given, expected a header and the tensors it names"


def packed(rows: Index) -> str:
    """Row numbers, ascending, as text: a bit for each number, compressed."""
    mask = np.zeros(int(rows.max()) + 1 if len(rows) else 0, dtype=bool)
    mask[rows] = True
    return base64.b64encode(zlib.compress(np.packbits(mask).tobytes())).decode()


def unpacked(text: str) -> Index:
    """The row numbers that `packed` wrote. Raises ParametersError."""
    try:
        reader = zlib.decompressobj()
        bits = reader.decompress(base64.b64decode(text, validate=True), _MOST_ROWS // 8)
    except (zlib.error, binascii.Error, ValueError) as error:
        raise ParametersError(f"the rows that parameters were trained on cannot be read: {error}") from error
    return np.flatnonzero(np.unpackbits(np.frombuffer(bits, dtype=np.uint8))).astype(np.int64)
