"""One ONNX file that the user brings: its bytes, its external weights, its session."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
from onnx import ModelProto

from exporter.foreign.not_onnx import LFS, hint
from exporter.onnx_graphs.votes import LABEL_TYPES
from exporter.onnx_graphs.zipmap import unzip
from server.runtime.datatypes import DATATYPES, FLOAT_TYPES, Array, TensorInfo
from server.runtime.sessions.batch_buckets import Bucketed, Buckets
from server.runtime.sessions.external_weights import ModelError, locations, parse
from server.runtime.sessions.session import Model, RunError, Session, SessionError, SessionKey

NOT_RUN = "does not run on the golden rows"
NOT_FINITE = "has NaN or infinite values on sample rows"

_NEWEST = re.compile(r"Unsupported model IR version: \d+, max supported IR version: (\d+)")
_WAYS = (
    ("protobuf parsing failed", " It is cut off, or no ONNX file: compare its size with where it comes from"),
    ("is not a registered function/op", "; operators of one's own need a library, which a server does not load: "
     "export the model with standard operators"),
)  # fmt: skip


class ModelFileError(Exception):
    """The file is no model that can be served; one sentence without the member's name."""


@dataclass(frozen=True)
class ModelFile:
    """A member in the making: its name, its bytes, its external weights and its session."""

    name: str
    model: Model
    weights: Mapping[str, Path]
    """External weights: the location that the model names → the file."""
    session: Session
    zipped: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Outputs that were a ZipMap's in the file → the class names that it stated."""
    notes: tuple[str, ...] = ()
    """What was changed in the graph, one sentence each, without the member's name."""
    wiring: Mapping[str, str] = field(default_factory=dict)
    """Input of the graph → input of the ensemble, where the names differ."""
    adapters: tuple[str, ...] = ()
    """What was put into the graph so that it takes the ensemble's inputs, in words."""
    original: tuple[ModelFile, Mapping[str, Callable[[Array], Array]]] | None = None
    """The file before there were adapters, and what each of them does, in numpy, by the input that it stands before."""
    rows: int | None = None
    """The file takes exactly so many rows, and is run in slices of them."""
    batch_rows: int = 64
    """Most rows that are run at once: as the server will, since some models answer otherwise in other batches."""

    @classmethod
    def read(cls, name: str, path: Path) -> ModelFile:
        """Read the file and the weight files that it names beside it. Raises ModelFileError."""
        try:
            data = path.read_bytes()
            _require_onnx(path, data)
            weights = {location: _beside(path, location) for location in sorted(locations(data))}
            external = {location: file.read_bytes() for location, file in weights.items()}
            for location, file in weights.items():
                _require_whole(file, external[location])
        except OSError as error:
            raise ModelFileError(f"'{error.filename or path}' cannot be read: {error.strerror}") from error
        except ModelError as error:
            raise ModelFileError(f"'{path}' {error}") from error
        zipped: dict[str, tuple[str, ...]] = {}
        if b"ZipMap" in data:
            data, zipped = _unzipped(data, path)
        notes = tuple(f"its output '{output}' was a ZipMap and is the tensor again" for output in zipped)
        try:
            data, session, older = _opened(data, external)
        except SessionError as error:
            raise ModelFileError(f"'{path}' is no model that onnxruntime opens: {error}{_way_out(error)}") from error
        notes += older
        return cls(name, Model(data, external), weights, session, zipped, notes)

    @cached_property
    def graph(self) -> ModelProto:
        """The model as protobuf, without the content of external weights. To be copied before it is edited."""
        return parse(bytes(self.model.data))

    def edited(self, graph: ModelProto, note: str) -> ModelFile:
        """The file with another graph, of the same external weights; `note` says what was changed.

        Raises ModelFileError where onnxruntime does not open it.
        """
        model = Model(graph.SerializeToString(deterministic=True), self.model.external)
        try:
            session = _session(model)
        except SessionError as error:
            raise ModelFileError(f"its graph cannot be changed ({note}): {error}") from error
        return replace(self, model=model, session=session, notes=(*self.notes, note))

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """What the model takes."""
        return self.session.inputs

    def output(self, wanted: str | None) -> TensorInfo:
        """The output called `wanted`, or the one that is fused when nobody says: the only one of floats.

        Of several, one whose name says probabilities; of none, the label. Raises ModelFileError.
        """
        outputs = {entry.name: entry for entry in self.session.outputs}
        if wanted is not None:
            if wanted not in outputs:
                raise ModelFileError(f"has no output '{wanted}', its outputs are {_listed(outputs)}")
            return outputs[wanted]
        floats = [entry for entry in outputs.values() if entry.type in FLOAT_TYPES]
        named = [entry for entry in floats if "prob" in entry.name.lower()]
        if len(floats) == 1 or len(named) == 1:
            return (named or floats)[0]
        labels = [entry for entry in outputs.values() if entry.type in LABEL_TYPES]
        named = [entry for entry in labels if "label" in entry.name.lower() or "class" in entry.name.lower()]
        if not floats and (len(labels) == 1 or len(named) == 1):
            return (named if len(labels) > 1 else labels)[0]
        if not floats:
            raise ModelFileError(f"has no output of floats, its outputs are {_told(outputs)}")
        raise ModelFileError(f"has several outputs of floats, {_listed(outputs)}: name one with --output {self.name}=…")

    def run(self, output: str, feeds: Mapping[str, Array]) -> Array:
        """The output for these rows, in batches as the server makes them. Raises ModelFileError."""
        mine = {entry.name: feeds[self.source(entry.name)] for entry in self.inputs}
        rows = len(next(iter(mine.values()))) if mine else 0
        batches = [_cut(mine, at, self.batch_rows) for at in range(0, rows, self.batch_rows)]
        try:
            parts = [self._sliced(output, batch) for batch in batches if rows > self.batch_rows]
            return np.concatenate(parts) if parts else self._sliced(output, mine)
        except RunError as error:
            raise ModelFileError(f"{NOT_RUN}: {error.detail}") from error

    def source(self, name: str) -> str:
        """The ensemble's input that the graph's input takes."""
        return self.wiring.get(name, name)

    def _sliced(self, output: str, feeds: Mapping[str, Array]) -> Array:
        """One batch; in slices where the file takes no other size. Raises RunError."""
        if self.rows is None:
            return self.session.run([output], feeds)[0]
        run = Bucketed(lambda outputs, part, _: self.session.run(outputs, part), Buckets((self.rows,)))
        return run([output], feeds, None)[0]


def _cut(feeds: Mapping[str, Array], start: int, rows: int) -> dict[str, Array]:
    return {name: array[start : start + rows] for name, array in feeds.items()}


def _session(model: Model) -> Session:
    digests = {location: hashlib.sha256(content).hexdigest() for location, content in model.external.items()}
    return Session(SessionKey.of(hashlib.sha256(model.data).hexdigest(), digests, (), 1), model)


def _opened(data: bytes, external: dict[str, bytes]) -> tuple[bytes, Session, tuple[str, ...]]:
    """The bytes, their session, and a note where they say a newer format than onnxruntime knows and it opens them.

    The package `onnx` writes a newer one by itself before onnxruntime has it; what is new in it is seldom used.
    """
    try:
        return data, _session(Model(data, external)), ()
    except SessionError as error:
        newest = _NEWEST.search(str(error))
        if newest is None:
            raise
        graph = parse(data)
        told = f"its IR version {graph.ir_version} is written as {newest[1]}, the newest that onnxruntime opens"
        graph.ir_version = int(newest[1])
        older = graph.SerializeToString(deterministic=True)
        return older, _session(Model(older, external)), (told,)


def _way_out(error: SessionError) -> str:
    """What to do where onnxruntime's own words do not say it."""
    return next((way for sign, way in _WAYS if sign in str(error)), "")


def _unzipped(data: bytes, path: Path) -> tuple[bytes, dict[str, tuple[str, ...]]]:
    """The bytes without ZipMaps at outputs, and what those stated; the same bytes where there are none."""
    try:
        graph = parse(data)
    except ModelError as error:
        raise ModelFileError(f"'{path}' {error}") from error
    zipped = unzip(graph)
    return (graph.SerializeToString(deterministic=True) if zipped else data), zipped


def _require_onnx(path: Path, data: bytes) -> None:
    if said := hint(data):
        raise ModelFileError(f"'{path}' {said}")


def _require_whole(path: Path, data: bytes) -> None:
    """External weights may begin with anything but a pointer to them."""
    if data.startswith(LFS):
        raise ModelFileError(f"'{path}' {hint(data)}")


def _beside(path: Path, location: str) -> Path:
    parts = PurePosixPath(location)
    if parts.is_absolute() or ".." in parts.parts:
        raise ModelFileError(f"'{path}' names external weights outside its folder: '{location}'")
    return path.parent / location


def _told(outputs: Mapping[str, TensorInfo]) -> str:
    return ", ".join(f"'{name}' ({DATATYPES.get(entry.type, entry.type)})" for name, entry in outputs.items())


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(f"'{name}'" for name in names)
