"""A small manager in memory for the HTTP layer's tests: real routing, real numpy answers, no onnxruntime."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_repo import FORMAT, Batching, Golden, ImageInput, Input, Manifest, Mean, Member, TextInput
from server.errors import LoadError, NotReady, ServerError, Superseded, UnknownEnsemble, UnknownVersion
from server.http.codec.limits import Limits
from server.http.codec.signature import Signature, signature_of
from server.metrics import Metrics as RealMetrics
from server.metrics import Slice

Array = NDArray[Any]
Model = Callable[[Mapping[str, Array], int], dict[str, Array]]

SHA = "0" * 64
DATATYPES = (
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES",
)  # fmt: skip


@dataclass(frozen=True)
class OutputSpec:
    datatype: str
    shape: tuple[int, ...]


@dataclass
class Ensemble:
    """What the HTTP layer reads of a loaded ensemble."""

    outputs: Mapping[str, OutputSpec]
    default_outputs: tuple[str, ...]
    plan: str = "merged"
    lanes: int = 2
    providers: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"linear": ("CPUExecutionProvider",)})
    fallbacks: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Spent:
    count: int = 0
    ns: int = 0


@dataclass
class Stats:
    last_inference_ms: int = 0
    inference_count: int = 0
    execution_count: int = 0
    success: Spent = field(default_factory=Spent)
    fail: Spent = field(default_factory=Spent)
    queue: Spent = field(default_factory=Spent)
    compute_input: Spent = field(default_factory=Spent)
    compute_infer: Spent = field(default_factory=Spent)
    compute_output: Spent = field(default_factory=Spent)
    batch_stats: dict[int, Spent] = field(default_factory=dict)


@dataclass
class Answer:
    outputs: dict[str, Array]
    missing: tuple[str, ...]
    version: int
    queue_s: float = 0.0
    compute_s: float = 0.0


@dataclass(eq=False)
class Entry:
    feeds: Mapping[str, Array]
    rows: int
    outputs: Collection[str]
    deadline: float
    reply: asyncio.Future[Answer]


@dataclass(eq=False)
class Servable:
    """One version whose answers are computed at once; `gate`, where set, holds them back until it is set."""

    manifest: Manifest
    ensemble: Ensemble
    model: Model
    stats: Stats = field(default_factory=Stats)
    missing: tuple[str, ...] = ()
    error: Exception | None = None
    superseded: int = 0
    gate: asyncio.Event | None = None
    entries: list[Entry] = field(default_factory=list)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    withdrawn: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def version(self) -> int:
        return self.manifest.version

    @property
    def digest(self) -> str:
        return f"{self.version:064x}"

    def entry(
        self,
        feeds: Mapping[str, Array],
        rows: int,
        outputs: Collection[str],
        deadline: float,
    ) -> Entry:
        return Entry(feeds, rows, outputs, deadline, asyncio.get_running_loop().create_future())

    def check_room(self) -> None:
        pass

    def ask(
        self, feeds: Mapping[str, Array], rows: int, outputs: Collection[str], deadline: float, exchange: Any
    ) -> None:
        entry = self.entry(feeds, rows, outputs, deadline)
        exchange.follow(entry.reply)
        self.submit_nowait(entry)

    def begin(self) -> None:
        pass

    def submit_nowait(self, entry: Entry) -> None:
        if self.superseded:
            self.superseded -= 1
            raise Superseded(f"'{self.name}' version {self.version} takes no new rows")
        self.entries.append(entry)
        if isinstance(self.error, ServerError):
            raise self.error
        task = asyncio.get_running_loop().create_task(self._run(entry))
        entry.reply.add_done_callback(lambda _: task.cancel() if entry.reply.cancelled() else None)

    async def submit(self, feeds: Mapping[str, Array], rows: int, outputs: Collection[str], deadline: float) -> Answer:
        entry = self.entry(feeds, rows, outputs, deadline)
        self.submit_nowait(entry)
        return await entry.reply

    async def _run(self, entry: Entry) -> None:
        try:
            if self.gate is not None:
                self.waiting.set()
                await self.gate.wait()
        except asyncio.CancelledError:
            self.withdrawn.set()
            raise
        if entry.reply.done():
            return
        if self.error is not None:
            entry.reply.set_exception(self.error)
            return
        with np.errstate(all="ignore"):  # hostile numbers may overflow; onnxruntime says nothing either
            computed = self.model(entry.feeds, self.version)
        self.stats.inference_count += entry.rows
        self.stats.execution_count += 1
        self.stats.batch_stats.setdefault(entry.rows, Spent()).count += 1
        entry.reply.set_result(Answer({name: computed[name] for name in entry.outputs}, self.missing, self.version))


@dataclass
class IndexEntry:
    name: str
    version: int | None
    state: str
    reason: str = ""
    digest: str = ""


class Manager:
    """Ensembles by name and version; the newest is stable."""

    def __init__(self, *servables: Servable) -> None:
        self.table: dict[str, dict[int, Servable]] = {}
        self.label_table: dict[str, dict[str, int]] = {}
        self.unloaded: set[str] = set()
        self.broken: dict[str, str] = {}
        self.is_ready = True
        for servable in servables:
            self.add(servable)

    def add(self, servable: Servable) -> None:
        self.table.setdefault(servable.name, {})[servable.version] = servable

    def route(self, name: str, version: int | None = None, label: str | None = None) -> Servable:
        versions = self._known(name)
        if name in self.unloaded:
            raise NotReady(f"ensemble '{name}' was unloaded")
        if label is not None:
            version = self.label_table.get(name, {}).get(label)
            if version is None:
                raise UnknownVersion(f"ensemble '{name}' has no label '{label}'")
        chosen = max(versions) if version is None else version
        if chosen not in versions:
            raise UnknownVersion(f"ensemble '{name}' does not serve version {chosen}; served are: {sorted(versions)}")
        return versions[chosen]

    def versions(self, name: str) -> list[int]:
        return [] if name in self.unloaded else sorted(self._known(name))

    def labels(self, name: str) -> Mapping[str, int]:
        self._known(name)
        return self.label_table.get(name, {})

    def index(self) -> list[IndexEntry]:
        entries = [
            IndexEntry(name, version, "UNAVAILABLE", "unloaded") if name in self.unloaded else
            IndexEntry(name, version, "READY")
            for name, versions in sorted(self.table.items())
            for version in sorted(versions)
        ]  # fmt: skip
        return [*entries, *(IndexEntry(name, 1, "UNAVAILABLE", why) for name, why in sorted(self.broken.items()))]

    def unready(self) -> str:
        return "" if self.is_ready else "ensemble 'digits' is loading"

    def ensemble_ready(self, name: str, version: int | None = None) -> bool:
        return (
            name not in self.unloaded and (version is None or version in self._known(name)) and bool(self._known(name))
        )

    async def load(self, name: str) -> None:
        if name in self.broken:
            raise LoadError("integrity", self.broken[name])
        self._known(name)
        self.unloaded.discard(name)

    async def unload(self, name: str) -> None:
        self._known(name)
        self.unloaded.add(name)

    def _known(self, name: str) -> dict[int, Servable]:
        if name not in self.table:
            raise UnknownEnsemble(f"unknown ensemble '{name}'; there are: {', '.join(sorted(self.table))}")
        return self.table[name]


class Metrics:
    """Counts what the HTTP layer reports."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str]] = []

    def request(self, ensemble: str, version: str, outcome: str, seconds: float) -> None:
        assert seconds >= 0
        self.requests.append((ensemble, version, outcome))

    def answered(self, ensemble: str, version: str, seconds: Sequence[float]) -> None:
        """Keep those that were answered in one turn of the loop."""
        for each in seconds:
            self.request(ensemble, version, "ok", each)

    def slices(self, samples: int) -> Iterator[Slice]:
        """What a server without requests has."""
        return RealMetrics().slices(samples)


def manifest(
    name: str, inputs: tuple[Input, ...], classes: tuple[str, ...] = (), version: int = 1, task: Any = "classification"
) -> Manifest:
    """A manifest of one member, enough for what the HTTP layer reads of it."""
    kind: Any = "value" if task == "regression" else "probabilities"
    member = Member(
        name="linear", file="members/linear.onnx", sha256=SHA, bytes=1, output="y", kind=kind, family="linear"
    )
    return Manifest(
        format=FORMAT,
        name=name,
        version=version,
        task=task,
        inputs=inputs,
        members=(member,),
        fusion=Mean(),
        quorum=1,
        golden=Golden(file="golden.npz", sha256=SHA, bytes=1, rows=1),
        classes=classes,
        batching=Batching(timeout_s=5.0),
    )


DIGITS = tuple(f"digit {d}" for d in range(10))
WEIGHTS = np.random.default_rng(7).normal(size=(64, 10)).astype(np.float32)


def softmax_model(feeds: Mapping[str, Array], version: int) -> dict[str, Array]:
    """`softmax(x @ W · version)`, so that each version's answers are its own."""
    logits = feeds["image"].reshape(len(feeds["image"]), -1).astype(np.float32) @ WEIGHTS * np.float32(version)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)
    labels = np.array(DIGITS, object)[probabilities.argmax(axis=1)]
    members = probabilities[:, np.newaxis, :]
    return {
        "probabilities": probabilities,
        "label": labels,
        "confidence": probabilities.max(axis=1),
        "members": members,
    }


def digits(version: int = 1) -> Servable:
    """Classification of 8×8 greys, given as numbers or as an image."""
    image = ImageInput(mode="L", width=8, height=8, layout="HW", scale=1 / 16)
    inputs = (Input(name="image", datatype="FP32", shape=(-1, 8, 8), image=image),)
    outputs = {
        "probabilities": OutputSpec("FP32", (-1, 10)),
        "label": OutputSpec("BYTES", (-1,)),
        "confidence": OutputSpec("FP32", (-1,)),
        "members": OutputSpec("FP32", (-1, 1, 10)),
    }
    ensemble = Ensemble(outputs, ("probabilities", "label"))
    return Servable(manifest("digits", inputs, DIGITS, version), ensemble, softmax_model)


def sum_model(feeds: Mapping[str, Array], version: int) -> dict[str, Array]:
    value = (feeds["a"].sum(axis=1) + feeds["b"].astype(np.float32)) * np.float32(version)
    return {"value": value.astype(np.float32), "std": np.zeros(len(value), np.float32)}


def pair(version: int = 1) -> Servable:
    """A regression on two inputs of different datatypes."""
    inputs = (Input(name="a", datatype="FP32", shape=(-1, 3)), Input(name="b", datatype="INT64", shape=(-1,)))
    outputs = {"value": OutputSpec("FP32", (-1,)), "std": OutputSpec("FP32", (-1,))}
    return Servable(manifest("pair", inputs, (), version, "regression"), Ensemble(outputs, ("value",)), sum_model)


def words() -> Servable:
    """Text in, its length out."""
    inputs = (Input(name="text", datatype="BYTES", shape=(-1, 1), text=TextInput(max_chars=100)),)
    outputs = {"value": OutputSpec("FP32", (-1,)), "text": OutputSpec("BYTES", (-1, 1))}

    def model(feeds: Mapping[str, Array], version: int) -> dict[str, Array]:
        return {"value": np.array([len(t) for t in feeds["text"][:, 0]], np.float32), "text": feeds["text"]}

    return Servable(manifest("words", inputs, (), 1, "regression"), Ensemble(outputs, ("value",)), model)


def echo(datatype: Any, shape: tuple[int, ...] = (-1, -1)) -> Servable:
    """Gives back its input of one datatype, as `y`."""
    inputs = (Input(name="x", datatype=datatype, shape=shape),)
    ensemble = Ensemble({"y": OutputSpec(datatype, shape)}, ("y",))
    return Servable(
        manifest(f"echo-{datatype}", inputs, (), 1, "regression"), ensemble, lambda feeds, version: {"y": feeds["x"]}
    )


def gaps(datatype: Any = "FP32") -> Servable:
    """Gives back numbers that may be missing, as `y`; a plain number is a row."""
    inputs = (
        Input(name="x", datatype=datatype, shape=(-1, 3), missing="nan"),
        Input(name="one", datatype=datatype, shape=(-1, 1), missing="nan"),
    )
    ensemble = Ensemble({"y": OutputSpec(datatype, (-1, 3)), "z": OutputSpec(datatype, (-1, 1))}, ("y", "z"))
    return Servable(
        manifest(f"gaps-{datatype}", inputs, (), 1, "regression"),
        ensemble,
        lambda feeds, version: {"y": feeds["x"], "z": feeds["one"]},
    )


def all_servables() -> list[Servable]:
    echoes = [echo(datatype) for datatype in DATATYPES]
    return [digits(1), digits(2), pair(), words(), *echoes, *(gaps(each) for each in ("FP16", "FP32", "FP64"))]


def signature(servable: Servable) -> Signature:
    """The signature that the HTTP layer makes of a stand-in."""
    standin: Any = servable
    return signature_of(standin)


SMALL = Limits(max_body_bytes=1 << 20, max_rows=1000, max_elements=100_000, body_timeout_s=5.0)
