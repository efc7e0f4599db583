"""Everything of one version in memory, and its way into a repository: rehearsed in private, then published."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from exporter.data.dataset import TokenizerFile
from exporter.errors import BundleError
from model_repo import (
    FORMAT,
    Batching,
    Conformal,
    Detector,
    Execution,
    Extra,
    File,
    Fusion,
    Golden,
    Input,
    LedgerFile,
    Manifest,
    Member,
    Repository,
    Stacked,
    Staging,
    Tokenizer,
    Version,
)
from model_repo.format.manifest import Task
from server.errors import LoadError
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from server.runtime.answer.fusion import Stacker
from server.runtime.answer.task_steps import alignment_of, fuse_for
from server.runtime.datatypes import Array
from server.runtime.golden.closeness import largest, typical

GOLDEN_FILE = "golden.npz"
GOLDEN_ATOL = 1e-4
"""Of probabilities: other CPUs sum in another order, and a float32 network is within 1e-5 (measured: 4e-7)."""
GOLDEN_RTOL = 1e-5
"""What a large value may differ more, as a share of itself: 80 last digits of float32."""

NO_DIGEST = "0" * 64

LEDGER_FILE, INPUTS_FILE = "ledger.npz", "ledger-inputs.npz"


@dataclass(frozen=True)
class Part:
    """A member's content: `entry` as the manifest will have it but for file, digest and size.

    Parts of equal content without external weights become one file, which a server runs once for all of them.
    """

    entry: Member
    data: bytes
    external: Mapping[str, Path] = field(default_factory=dict)
    """External weights: the location that the ONNX file names → where it is now."""
    parameters: bytes = field(default=b"", repr=False)
    """What the version keeps of its training (`exporter.parameters`); empty: nothing."""


@dataclass(frozen=True)
class SidePart:
    """The same of a detector or an extra."""

    entry: Detector | Extra
    data: bytes


@dataclass(frozen=True)
class GoldenRows:
    """`feeds` by input [n, ...]; `members` float32 [n, K, C] calibrated and aligned; `fused` float32 [n, C]."""

    feeds: Mapping[str, Array]
    members: NDArray[np.float32]
    fused: NDArray[np.float32]

    def to_npz(self, beside: Mapping[str, Array]) -> bytes:
        """The golden file, `beside` with what detectors and extras gave, by the names there.

        Strings are fixed-width unicode, so that nothing is pickled.
        """
        given = {f"input:{name}": array for name, array in self.feeds.items()} | dict(beside)
        arrays: dict[str, Any] = {
            name: array.astype(np.str_) if array.dtype == np.object_ else array for name, array in given.items()
        }
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, members=self.members, fused=self.fused, **arrays)
        return buffer.getvalue()


@dataclass(frozen=True)
class LedgerFiles:
    """The two files of a ledger; `inputs` is None where the rows are too many bytes, or are not to be kept."""

    answers: bytes
    inputs: bytes | None = None


@dataclass(frozen=True)
class Bundle:
    """One version to be. `fusion` of a stacked rule names the digest of `stacker`, the bytes of its graph."""

    name: str
    task: Task
    classes: tuple[str, ...]
    inputs: tuple[Input, ...]
    parts: tuple[Part, ...]
    fusion: Fusion
    quorum: int
    golden: GoldenRows
    thresholds: tuple[float, ...] = ()
    value_shape: tuple[int, ...] = ()
    positions: tuple[int, ...] = ()
    stacker: bytes | None = None
    conformal: Conformal | None = None
    side: tuple[SidePart, ...] = ()
    ood_threshold: float | None = None
    beside: Mapping[str, Array] = field(default_factory=dict)
    """What they gave for the golden rows: `ood_score` float32 [n] where there are detectors, `extra:<name>`."""
    ledger: LedgerFiles | None = None
    tokenizers: tuple[TokenizerFile, ...] = ()
    batching: Batching = Batching()  # noqa: RUF009 - frozen
    execution: Execution = Execution()  # noqa: RUF009 - frozen
    golden_atol: float | None = None
    """None: what `usual_atol` says of the golden rows, and `golden_beyond`."""
    golden_beyond: float = 0.0
    """More for members in 8 bits, whose answers move with rounding on other CPUs."""
    golden_rtol: float = GOLDEN_RTOL
    description: str = ""
    report: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)


def draft(
    name: str,
    task: Task,
    classes: Sequence[str],
    inputs: Sequence[Input],
    members: Sequence[Member],
    fusion: Fusion,
    value_shape: Sequence[int] = (),
) -> Manifest:
    """A manifest without digests: enough to align, fuse and check members before there are files."""
    golden = Golden(file=GOLDEN_FILE, sha256=NO_DIGEST, bytes=0, rows=1, atol=GOLDEN_ATOL, rtol=GOLDEN_RTOL)
    return Manifest(
        format=FORMAT, name=name, version=1, task=task, inputs=tuple(inputs), members=tuple(members), fusion=fusion,
        quorum=1, golden=golden, classes=tuple(classes), value_shape=tuple(value_shape),
    )  # fmt: skip


def golden_rows(
    manifest: Manifest, raw: Sequence[Array], feeds: Mapping[str, Array], stacker: Stacker | None = None
) -> GoldenRows:
    """Golden rows from the members' raw outputs, aligned, calibrated and fused as the server does.

    Raises BundleError where a member gives what the server would mask: every row must be valid through all.
    """
    stack = alignment_of(manifest).stack(raw, len(next(iter(feeds.values()))))
    if stack.answered is not None:
        told = [f"member {failure.member!r} {failure.detail} ({failure.reason})" for failure in stack.failures]
        raise BundleError("golden rows", told or ["a member gives no valid answer"])
    fused = fuse_for(manifest, stack.P, stacker=stacker)
    members = np.ascontiguousarray(stack.P.swapaxes(0, 1), dtype=np.float32)
    return GoldenRows(feeds, members, fused.astype(np.float32))


def scale_of(task: Task, fused: Array) -> float:
    """The size at which answers [n, C] are measured: 1 for probabilities, for values that of a usual one.

    Not below the largest where all are less than 1, so that nothing small is held to less than its rounding.
    """
    if task not in ("regression", "ranking"):
        return 1.0
    return max(typical(fused), min(1.0, largest(fused))) or 1.0


def usual_atol(task: Task, fused: Array) -> float:
    """`GOLDEN_ATOL` at the scale of the answers: a million is rounded to 1/16, and 1e-6 is not right by being small."""
    return GOLDEN_ATOL * scale_of(task, fused)


def golden_atol(bundle: Bundle) -> float:
    """What its manifest says: the tolerance that was set, or the usual one."""
    if bundle.golden_atol is not None:
        return bundle.golden_atol
    return usual_atol(bundle.task, bundle.golden.fused) + bundle.golden_beyond


def publish(bundle: Bundle, repository: Repository, version: int | None = None) -> Version:
    """Publish the bundle as `version`, or as the next one. Raises RepositoryError; nothing is left then."""
    with repository.stage(bundle.name) as staging:
        number = staging.next_version if version is None else version
        staging.publish(_staged(bundle, staging, number))
    return repository.open(bundle.name, number)


@contextmanager
def rehearsed(bundle: Bundle) -> Iterator[LoadedEnsemble]:
    """The bundle published to a private folder and loaded as a server does it, golden rows included.

    Raises BundleError with what the server would refuse it for. The folder is gone afterwards.
    """
    with tempfile.TemporaryDirectory(prefix="tutti-rehearsal-") as folder:
        version = publish(bundle, Repository(folder), 1)
        try:
            ensemble = LoadedEnsemble.open(version, SessionPool(), RuntimeOptions(cores=1, plan="sequential"))
            try:
                ensemble.check_golden()
                yield ensemble
            finally:
                ensemble.close()
        except LoadError as error:
            raise BundleError(f"{bundle.name}: a server would refuse it ({error.reason})", [str(error)]) from error


def _staged(bundle: Bundle, staging: Staging, version: int) -> Manifest:
    known: dict[bytes, File] = {}
    members = tuple(_added(staging, part, known) for part in bundle.parts)
    side = [_side_added(staging, part, known) for part in bundle.side]
    if bundle.stacker is not None:
        if not isinstance(bundle.fusion, Stacked):
            raise AssertionError("only a stacked rule has a graph; this is a bug")
        staging.add(bundle.fusion.file, bundle.stacker)
    golden = staging.add(GOLDEN_FILE, bundle.golden.to_npz(bundle.beside))
    manifest = draft(bundle.name, bundle.task, bundle.classes, bundle.inputs, members, bundle.fusion)
    return msgspec.structs.replace(
        manifest,
        version=version,
        quorum=bundle.quorum,
        thresholds=bundle.thresholds,
        value_shape=bundle.value_shape,
        positions=bundle.positions,
        golden=Golden(
            file=golden.file,
            sha256=golden.sha256,
            bytes=golden.bytes,
            rows=len(bundle.golden.fused),
            atol=golden_atol(bundle),
            rtol=bundle.golden_rtol,
        ),
        conformal=bundle.conformal,
        detectors=tuple(entry for entry in side if isinstance(entry, Detector)),
        ood_threshold=bundle.ood_threshold,
        extras=tuple(entry for entry in side if isinstance(entry, Extra)),
        ledger=None if bundle.ledger is None else _ledger(staging, bundle.ledger),
        tokenizers=tuple(_tokenizer(staging, tokenizer) for tokenizer in bundle.tokenizers),
        batching=bundle.batching,
        execution=bundle.execution,
        description=bundle.description,
        report=dict(bundle.report),
        provenance=dict(bundle.provenance),
    )


def _tokenizer(staging: Staging, tokenizer: TokenizerFile) -> Tokenizer:
    entry = tokenizer.entry
    assert isinstance(entry, Tokenizer), "a tokenizer's entry is the manifest's; this is a bug"
    file = staging.add(entry.file, tokenizer.data)
    return msgspec.structs.replace(entry, sha256=file.sha256, bytes=file.bytes)


def _ledger(staging: Staging, files: LedgerFiles) -> LedgerFile:
    answers = staging.add(LEDGER_FILE, files.answers)
    inputs = None if files.inputs is None else staging.add(INPUTS_FILE, files.inputs)
    return LedgerFile(file=answers.file, sha256=answers.sha256, bytes=answers.bytes, inputs=inputs)


def _side_added(staging: Staging, part: SidePart, known: dict[bytes, File]) -> Detector | Extra:
    """A detector's or an extra's file, which may be a member's too."""
    folder = "detectors" if isinstance(part.entry, Detector) else "extras"
    file = known.get(part.data) or staging.add(f"{folder}/{part.entry.name}.onnx", part.data)
    known[part.data] = file
    return msgspec.structs.replace(part.entry, file=file.file, sha256=file.sha256, bytes=file.bytes)


def _added(staging: Staging, part: Part, known: dict[bytes, File]) -> Member:
    """The member's files, shared with members of the same content.

    One with external weights gets a folder of its own: their names are the member's choice.
    """
    name = part.entry.name
    path = f"members/{name}/model.onnx" if part.external else f"members/{name}.onnx"
    file = (None if part.external else known.get(part.data)) or staging.add(path, part.data)
    if not part.external:
        known[part.data] = file
    external = []
    for location, source in sorted(part.external.items()):
        added = staging.add(f"members/{name}/{location}", source)
        external.append(File(file=location, sha256=added.sha256, bytes=added.bytes))
    return msgspec.structs.replace(
        part.entry, file=file.file, sha256=file.sha256, bytes=file.bytes, external=tuple(external),
        parameters=_parameters(staging, part, known),
    )  # fmt: skip


def _parameters(staging: Staging, part: Part, known: dict[bytes, File]) -> File | None:
    """The file of its parameters, shared with members of the same training."""
    if not part.parameters:
        return None
    file = known.get(part.parameters) or staging.add(f"parameters/{part.entry.name}.safetensors", part.parameters)
    known[part.parameters] = file
    return file
