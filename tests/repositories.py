"""Publishes tiny ensembles into a real model repository: manifest, members and golden rows from ONNX bytes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from model_repo import File, Fusion, Golden, Input, Manifest, Mean, Member, Provider, Repository, Stacked, Staging
from model_repo.format.manifest import FORMAT, Kind, Task
from server.runtime.answer.task_steps import alignment_of, fuse_for
from server.runtime.datatypes import DATATYPES, NUMPY_TYPES, Array, TensorInfo
from server.runtime.sessions.session import Model, RunError, Session, SessionKey

DIGEST = "0" * 64


@dataclass(frozen=True)
class Spec:
    """A member where its ONNX bytes alone do not say enough; the fields are the manifest's."""

    data: bytes
    kind: Kind | None = None
    output: str | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    classes: Sequence[str] | None = None
    weight: float = 1.0
    temperature: float = 1.0
    required: bool = False
    providers: Sequence[Provider] | None = None
    external: Mapping[str, bytes] = field(default_factory=dict)
    file: str | None = None
    """The file's name where several members share it; else the member's."""
    width: int | None = None


def publish(
    root: Path,
    name: str,
    members: Mapping[str, bytes | Spec],
    fusion: Fusion = Mean(),  # noqa: B008  (frozen)
    version: int | None = None,
    *,
    stacker: bytes | None = None,
    feeds: Mapping[str, Array] | None = None,
    golden: Mapping[str, Array] | None = None,
    atol: float = 1e-4,
    rtol: float = 1e-5,
    files: Mapping[str, bytes] | None = None,
    more: Mapping[str, bytes] | None = None,
    **fields: Any,
) -> int:
    """Publish `members` (name → ONNX bytes or Spec) as the next version, or as `version`; gives its number.

    Inputs, task, classes and output are read off the ONNX files: one column is a regression, more are the
    classes c0, c1, …; `fields` are manifest fields that win over that (`task`, `classes`, `quorum`, …).
    Golden rows: `feeds` (input → array [n, ...]; four seeded rows by default) with the members' outputs fused
    in float64; arrays in `golden` replace the computed ones, to publish a version that must be refused; `atol` and
    `rtol` are their tolerance.
    `stacker` is `fusion.onnx` of a Stacked fusion, whose file fields are filled in here. `files` replaces the
    content of a file after its digest was taken (a path inside the version folder): a damaged version. `more` are
    files that `fields` name: of detectors and extras.
    """
    specs = {key: value if isinstance(value, Spec) else Spec(value) for key, value in members.items()}
    with Repository(root).stage(name) as staging:
        number = version or staging.next_version
        draft = _draft(name, number, specs, fusion, fields)
        draft = _with_fusion(draft, staging, stacker)
        for path, content in (more or {}).items():
            staging.add(path, content)
        known: dict[str, File] = {}
        entries = tuple(_added(staging, spec, draft.members[k], known) for k, spec in enumerate(specs.values()))
        draft = msgspec.structs.replace(draft, members=entries)
        arrays = golden_arrays(draft, specs, feeds or sample_feeds(draft), stacker) | dict(golden or {})
        draft = msgspec.structs.replace(draft, golden=_golden(staging, arrays, atol, rtol))
        staging.publish(draft)
    for path, content in (files or {}).items():
        (root / name / str(number) / path).write_bytes(content)
    return number


def sample_feeds(manifest: Manifest, rows: int = 4, seed: int = 0) -> dict[str, Array]:
    """Seeded values in [-1, 1] (numbers), 0 or 1 (integers) or short words, `rows` of them for every input."""
    random = np.random.default_rng(seed)
    feeds: dict[str, Array] = {}
    for entry in manifest.inputs:
        shape = [rows, *(3 if size == -1 else size for size in entry.shape[1:])]
        if entry.datatype == "BYTES":
            feeds[entry.name] = random.choice(["alpha", "beta", "gamma"], shape).astype(np.object_)
        elif entry.datatype.startswith("FP"):
            feeds[entry.name] = random.uniform(-1, 1, shape).astype(NUMPY_TYPES[entry.datatype])
        else:
            feeds[entry.name] = random.integers(0, 2, shape).astype(NUMPY_TYPES[entry.datatype])
    return feeds


def golden_arrays(
    manifest: Manifest, specs: Mapping[str, Spec], feeds: Mapping[str, Array], stacker: bytes | None = None
) -> dict[str, Array]:
    """`input:<name>`, `members` float32 [n, K, C] and `fused` float32 [n, C] as an exporter would store them."""
    rows = len(next(iter(feeds.values())))
    raw = [_ran(spec, member, feeds) for spec, member in zip(specs.values(), manifest.members, strict=True)]
    stack = alignment_of(manifest).stack(raw, rows)
    learned = None if stacker is None else _learned(stacker)
    fused = fuse_for(manifest, stack.P, stack.answered, learned)
    arrays: dict[str, Array] = {f"input:{key}": _storable(value) for key, value in feeds.items()}
    arrays["members"] = stack.P.swapaxes(0, 1).astype(np.float32)
    arrays["fused"] = fused.astype(np.float32)
    return arrays


def opened(
    data: bytes | Model, external: Mapping[str, bytes] | None = None, providers: Sequence[Provider] = ()
) -> Session:
    """A session of these bytes, on the CPU unless told otherwise."""
    model = data if isinstance(data, Model) else Model(data, external or {})
    key = SessionKey.of(hashlib.sha256(model.data).hexdigest(), {}, providers, 1)
    return Session(key, model)


def _draft(name: str, version: int, specs: Mapping[str, Spec], fusion: Fusion, fields: Mapping[str, Any]) -> Manifest:
    """The manifest with everything but digests."""
    sessions = {key: opened(spec.data, spec.external) for key, spec in specs.items()}
    width = max(_width(_output(sessions[key], spec)) for key, spec in specs.items())
    task: Task = fields.get("task", "classification" if width > 1 else "regression")
    base: dict[str, Any] = {
        "format": FORMAT,
        "name": name,
        "version": version,
        "task": task,
        "inputs": _inputs(specs, sessions),
        "members": tuple(_member(key, spec, sessions[key], task) for key, spec in specs.items()),
        "fusion": fusion,
        "quorum": len(specs),
        "golden": Golden(file="golden.npz", sha256=DIGEST, bytes=0, rows=1),
        "classes": tuple(f"c{c}" for c in range(width)) if task != "regression" else (),
    }
    return Manifest(**{**base, **fields})


def _member(name: str, spec: Spec, session: Session, task: Task) -> Member:
    default: Kind = "probabilities" if task in ("classification", "multilabel", "dense") else "value"
    return Member(
        name=name,
        file=f"members/{spec.file or name}.onnx",
        sha256=DIGEST,
        bytes=0,
        output=_output(session, spec).name,
        kind=spec.kind or default,
        inputs=dict(spec.inputs),
        classes=None if spec.classes is None else tuple(spec.classes),
        weight=spec.weight,
        temperature=spec.temperature,
        required=spec.required,
        width=spec.width,
        providers=None if spec.providers is None else tuple(spec.providers),
    )


def _output(session: Session, spec: Spec) -> TensorInfo:
    return next(entry for entry in session.outputs if spec.output in (None, entry.name))


def _width(output: TensorInfo) -> int:
    last = output.shape[-1] if len(output.shape) > 1 else 1
    return last if isinstance(last, int) else 1


def _inputs(specs: Mapping[str, Spec], sessions: Mapping[str, Session]) -> tuple[Input, ...]:
    """Every ensemble input that a member takes, as the first member that takes it declares it."""
    found: dict[str, Input] = {}
    for key, spec in specs.items():
        for entry in sessions[key].inputs:
            name = spec.inputs.get(entry.name, entry.name)
            shape = (-1, *(size if isinstance(size, int) else -1 for size in entry.shape[1:]))
            found.setdefault(name, Input(name=name, datatype=DATATYPES[entry.type], shape=shape))  # type: ignore[arg-type]  # the table's values are the Literal's
    return tuple(found.values())


def _added(staging: Staging, spec: Spec, member: Member, known: dict[str, File]) -> Member:
    if member.file not in known:
        known[member.file] = staging.add(member.file, spec.data)
    file = known[member.file]
    external = []
    for location, content in spec.external.items():
        added = staging.add(f"members/{location}", content)
        external.append(File(file=location, sha256=added.sha256, bytes=added.bytes))
    return msgspec.structs.replace(member, sha256=file.sha256, bytes=file.bytes, external=tuple(external))


def _with_fusion(manifest: Manifest, staging: Staging, stacker: bytes | None) -> Manifest:
    if stacker is None:
        return manifest
    assert isinstance(manifest.fusion, Stacked), "a stacker goes with Stacked(...)"
    file = staging.add("fusion.onnx", stacker)
    fusion = msgspec.structs.replace(manifest.fusion, file=file.file, sha256=file.sha256, bytes=file.bytes)
    return msgspec.structs.replace(manifest, fusion=fusion)


def _golden(staging: Staging, arrays: Mapping[str, Array], atol: float, rtol: float) -> Golden:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(arrays))
    file = staging.add("golden.npz", buffer.getvalue())
    return Golden(file=file.file, sha256=file.sha256, bytes=file.bytes, rows=len(arrays["fused"]), atol=atol, rtol=rtol)


def _ran(spec: Spec, member: Member, feeds: Mapping[str, Array]) -> Array | None:
    session = opened(spec.data, spec.external)
    mine = {entry.name: feeds[spec.inputs.get(entry.name, entry.name)] for entry in session.inputs}
    try:
        return session.run([member.output], mine)[0]
    except RunError:
        return None


def _learned(stacker: bytes) -> Any:
    session = opened(stacker)

    def run(P: NDArray[np.float32]) -> NDArray[np.float32]:
        return session.run([session.outputs[0].name], {session.inputs[0].name: P})[0]

    return run


def _storable(array: Array) -> Array:
    """Strings as numpy's own, which need no pickle."""
    return array.astype(np.str_) if array.dtype == np.object_ else array
