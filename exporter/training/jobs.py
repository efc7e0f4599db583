"""One unit of training: a member on the fit rows, or on all but one fold of them; trained, converted, answering."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version

import msgspec
import numpy as np
from numpy.typing import NDArray

from exporter.data.dataset import Dataset, Rows
from exporter.data.splits import Split
from exporter.detectors import DetectorFamily
from exporter.errors import ConversionError, ParametersError, ParityError, TrainingError
from exporter.gate.inference import Graph
from exporter.gate.parity import Answer, Parity, check_parity
from exporter.gate.sweep import Sweep
from exporter.members.base import Extended, ExtraGraph, Family, Group, Setting, Trained, names_of
from exporter.optimisation.arithmetic import Arithmetic
from exporter.optimisation.curve import Curve
from exporter.optimisation.loop import Exchanged
from exporter.optimisation.run import Run, training_in
from exporter.optimisation.spec import Device, Mode, Parallel, Precision
from exporter.optimisation.state import Begun
from exporter.parameters.file import written
from exporter.parameters.start import Start, seen_after
from model_repo.cli.distribution import NAME
from model_repo.format.manifest import Kind

FINAL = -1
"""The fold number of the member that is published: trained on all fit rows."""

SWEEP_ROWS = 33
"""Real rows of the parity sweep for a fold's member; the published member's takes all fusion rows."""

LIBRARIES = (NAME, "torch", "scikit-learn", "lightgbm", "onnx", "onnxruntime", "onnxruntime-gpu", "onnxscript",
             "skl2onnx", "onnxmltools", "tokenizers", "numpy")  # fmt: skip


@dataclass(frozen=True)
class Job:
    """Train `member` on the fit rows without `fold`, or on all of them for FINAL."""

    member: str
    spec: Family
    fold: int
    seed: int
    device: Device = "cpu"
    precision: Precision = "float32"
    compiled: bool = False
    technique: Mode = Parallel()  # noqa: RUF009 - frozen
    """How it is trained; members that no gradient trains are tasks to themselves in every mode."""
    start: Start | None = None
    """Weights that its networks begin with."""
    partners: tuple[str, ...] = ()
    """All members that it trains jointly with, itself too, in order; empty: it trains by itself."""

    @property
    def title(self) -> str:
        """As errors name it: `member 'cnn' (fold 1)`."""
        noun = "detector" if isinstance(self.spec, DetectorFamily) else "member"
        return f"{noun} {self.member!r}" + ("" if self.fold == FINAL else f" (fold {self.fold})")

    @property
    def label(self) -> str:
        """As progress names it, folds counted from 1: `cnn, fold 2`."""
        return self.member if self.fold == FINAL else f"{self.member}, fold {self.fold + 1}"

    def digest(self, dataset: Dataset, split: Split) -> str:
        """sha256 of everything that the result depends on: spec, rows, seed, device, versions of the libraries.

        Of one that trains jointly but for what is its partners' own: see `exporter.training.joint.digests_of`.
        """
        rows = hashlib.sha256(dataset.digest.encode())
        for part in (split.fit, split.fusion, split.test, split.golden, split.fold):
            rows.update(np.ascontiguousarray(part).tobytes())
        start = None if self.start is None else [self.start.digest, self.start.root, self.start.trains]
        spec = self.spec
        if isinstance(spec, Family):  # 8-bit weights are made of what was trained: they change no training
            spec = msgspec.structs.replace(spec, quantize="never")
        inputs = [
            spec, self.fold, self.seed, self.device, self.precision, self.compiled, self.technique, start,
            self.partners, rows.hexdigest(), libraries(),
        ]  # fmt: skip
        return hashlib.sha256(msgspec.json.encode(inputs, order="deterministic")).hexdigest()


@dataclass(frozen=True)
class Made:
    """A job's result. `held` are the ids of rows that the member was not trained on, `outputs` its raw answers
    to them by the ONNX graph, float32 [len(held), C]; of a group [len(held), members, C]."""

    onnx: bytes
    kind: Kind
    held: NDArray[np.int64]
    outputs: NDArray[np.float32]
    parity: Parity
    seconds: float
    heads: tuple[str, ...] = ()
    """Of a group: the graph's output of each member."""
    output: str = ""
    """The graph's output of this member; empty: it is named as the kind."""
    extras: tuple[ExtraGraph, ...] = ()
    """Graphs beside it; of the published member alone."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What these reach on the test rows, by the names in `Metrics`."""
    parameters: bytes = field(default=b"", repr=False)
    """Of each network that was trained for it, as a safetensors file (`exporter.parameters`); empty without any."""
    begun: tuple[Begun, ...] = ()
    """What the training of each began with."""
    curves: tuple[Curve, ...] = ()
    """Of each network that was trained, what was measured on the way."""
    processor_seconds: float = 0.0
    """Of the worker that trained it; of a gang the first one's."""
    exchanged: Exchanged = field(default_factory=Exchanged)
    """What that worker told the others while it trained."""
    worker: str = ""
    joint: tuple[str, ...] = ()
    """The members that its network was trained jointly with, itself too; empty: by itself."""

    @property
    def output_name(self) -> str:
        """The graph's output of this member."""
        return self.output or self.kind

    def each(self, member: str) -> dict[str, Made]:
        """This result by the member's name; of a group, one for each of its members."""
        if not self.heads:
            return {member: self}
        return {
            name: replace(self, outputs=np.ascontiguousarray(self.outputs[:, place]), output=head, heads=())
            for place, (name, head) in enumerate(zip(names_of(member, len(self.heads)), self.heads, strict=True))
        }


def libraries() -> dict[str, str]:
    """Installed versions of what takes part in training and conversion."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def run_job(job: Job, dataset: Dataset, split: Split, run: Run | None = None) -> Made:
    """Train in the run, convert, sweep, and answer the rows that were held out. One thread. Errors name the member."""
    try:
        return _run(job, dataset, split, run or Run())
    except (TrainingError, ConversionError, ParityError, ParametersError) as error:
        raise type(error)(f"{job.title}: {error}") from error


def _run(job: Job, dataset: Dataset, split: Split, run: Run) -> Made:
    start, processor, before = time.perf_counter(), time.process_time(), replace(run.exchange.exchanged)
    fit, held = _rows(job, split)
    setting = setting_of(job, dataset)
    if job.start is not None:
        run.start, run.trains = job.start.networks(), job.start.trains
    run.arithmetic = Arithmetic(job.precision, job.compiled)
    with training_in(run):
        trained = job.spec.train(dataset.rows.take(fit), setting)
    if job.start is not None and not run.kept:
        raise TrainingError(f"init_from {job.start.source}: no network is trained for it that could begin with these")
    data = trained.to_onnx()
    rows = dataset.rows.take(held)
    swept = rows if job.fold == FINAL else rows.take(np.arange(min(SWEEP_ROWS, len(rows))))
    heads = trained.outputs if isinstance(trained, Group) else ()
    graphs = [Graph(data, head) for head in heads or ("",)]
    sweep = Sweep.of(swept, dataset, graphs[0].inputs)
    parities = [
        check_parity(answer, graph, sweep, trained.kind, trained.tolerance)
        for answer, graph in zip(_answers(trained), graphs, strict=True)
    ]
    parity = max(parities, key=lambda found: found.largest_difference)
    outputs = np.stack([graph.in_batches(rows.inputs) for graph in graphs], axis=1)
    outputs = outputs if heads else outputs[:, 0]
    extras, figures = _extended(trained, dataset.rows.take(split.test)) if job.fold == FINAL else ((), {})
    seconds = time.perf_counter() - start
    return Made(
        data, trained.kind, rows.ids, outputs, parity, seconds, heads, extras=extras, figures=figures,
        parameters=_parameters(job, dataset, fit, run), begun=tuple(run.begun),
        curves=tuple(run.curves),
        processor_seconds=time.process_time() - processor, exchanged=run.exchange.exchanged.since(before),
    )  # fmt: skip


def setting_of(job: Job, dataset: Dataset) -> Setting:
    """What the job's member is trained for."""
    return Setting(
        dataset.tensors, dataset.ranges, dataset.columns, job.seed, job.device, dataset.context, dataset.task
    )


def _parameters(job: Job, dataset: Dataset, fit: NDArray[np.int64], run: Run) -> bytes:
    """What is kept of the networks that the run trained."""
    if not run.kept:
        return b""
    rows = dataset.rows.ids[fit]
    began = hashlib.sha256("".join(each.start for each in run.begun).encode()).hexdigest()
    facts = {
        "member": job.member,
        "family": job.spec.family,
        "spec": msgspec.to_builtins(job.spec),
        "seed": job.seed,
        "start": began,
        "root": began if job.start is None else job.start.root,
        "parents": () if job.start is None else job.start.parents,
        "data": hashlib.sha256(dataset.digest.encode() + rows.tobytes()).hexdigest(),
        "seen": seen_after(job.start, dataset.digest, rows),
    }
    return written(run.kept, facts)


def _extended(trained: Trained | Group, test: Rows) -> tuple[tuple[ExtraGraph, ...], Mapping[str, float]]:
    """What a member brings besides, and what that reaches on the test rows."""
    if not isinstance(trained, Extended):
        return (), {}
    extras = trained.extras()
    return extras, trained.figures(test, {graph.name: graph.onnx for graph in extras})


def _answers(trained: Trained | Group) -> list[Answer]:
    """What each member answers before it is converted."""
    if not isinstance(trained, Group):
        return [trained.predict]

    def head(place: int) -> Answer:
        return lambda inputs: np.ascontiguousarray(trained.predict_each(inputs)[:, place])

    return [head(place) for place in range(len(trained.outputs))]


def rows_of(job: Job, split: Split) -> int:
    """How many it is trained on."""
    return len(_rows(job, split)[0])


def _rows(job: Job, split: Split) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on, and rows to answer: the fold, or the fusion rows for the member that is published."""
    if job.fold == FINAL:
        return split.fit, split.fusion
    return split.fit[split.fold != job.fold], split.fit[split.fold == job.fold]
