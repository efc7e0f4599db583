"""Do the ONNX files agree with the manifest? Every disagreement is one sentence; all are listed. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from model_repo import Detector, Extra, Input, Manifest, Member, OnnxModel
from server.runtime.datatypes import DATATYPES, FLOAT_TYPES, ONNX_TYPES, TensorInfo

Shape = Sequence[int | str | None]


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs and outputs that an ONNX file declares."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


def problems(manifest: Manifest, members: Mapping[str, Signature], fusion: Signature | None) -> list[str]:
    """What is wrong between the manifest and the files' signatures, by model, inputs first; [] when nothing is.

    `members` maps the name of every member, detector and extra; `fusion` is the signature of `fusion.onnx` if there is
    one.
    """
    found: list[str] = []
    for member in manifest.members:
        told = member_problems(manifest, member, members[member.name])
        found += [f"member {member.name!r} {predicate}" for predicate in told]
    for detector in manifest.detectors:
        told = detector_problems(manifest, detector, members[detector.name])
        found += [f"detector {detector.name!r} {predicate}" for predicate in told]
    for extra in manifest.extras:
        told = extra_problems(manifest, extra, members[extra.name])
        found += [f"extra {extra.name!r} {predicate}" for predicate in told]
    if fusion is not None:
        found += [f"fusion.onnx {predicate}" for predicate in fusion_problems(manifest, fusion)]
    found += _unused(manifest, members)
    return found


def member_problems(manifest: Manifest, member: Member, signature: Signature) -> list[str]:
    """What is wrong with one member: predicates to its name, as `gives [n, 9], the manifest says [n, 10]`."""
    if member.rows is not None:
        signature = sliced(signature, member.rows)
    found = _wiring_problems(manifest, member, signature)
    return [*found, *_output_problems(manifest, member, signature.outputs)]


def sliced(signature: Signature, rows: int) -> Signature:
    """The signature as callers see it where the model is run in slices of `rows` rows: its first dimension is free."""
    return Signature(*(tuple(_freed(entry, rows) for entry in part) for part in (signature.inputs, signature.outputs)))


def _freed(entry: TensorInfo, rows: int) -> TensorInfo:
    fixed = bool(entry.shape) and entry.shape[0] == rows
    return TensorInfo(entry.name, entry.type, (None, *entry.shape[1:])) if fixed else entry


def detector_problems(manifest: Manifest, detector: Detector, signature: Signature) -> list[str]:
    """The same for a detector: its output is float [n] or [n, 1]."""
    found = _wiring_problems(manifest, detector, signature)
    entry = _found(signature.outputs, detector.output)
    if entry is None:
        return [*found, _no_output(detector.output, signature.outputs)]
    if entry.type not in FLOAT_TYPES:
        return [*found, f"gives {entry.name!r} as {_datatype(entry.type)}, expected FP16, FP32 or FP64"]
    if len(entry.shape) == 1:
        return [*found, *([_fixed_rows(entry)] if isinstance(entry.shape[0], int) else [])]
    return [*found, *_shape_problems(entry, "gives ", (-1, 1), "a detector gives [n] or [n, 1]")]


def extra_problems(manifest: Manifest, extra: Extra, signature: Signature) -> list[str]:
    """The same for an extra: its output is what it declares."""
    found = _wiring_problems(manifest, extra, signature)
    entry = _found(signature.outputs, extra.output)
    if entry is None:
        return [*found, _no_output(extra.output, signature.outputs)]
    if entry.type != ONNX_TYPES[extra.datatype]:
        found.append(f"gives {entry.name!r} as {_datatype(entry.type)}, the manifest says {extra.datatype}")
    return [*found, *_shape_problems(entry, "gives ", extra.shape, f"the manifest says {_told(extra.shape)}")]


def _wiring_problems(manifest: Manifest, member: OnnxModel, signature: Signature) -> list[str]:
    declared = sources(manifest)
    found: list[str] = []
    for entry in signature.inputs:
        source = member.inputs.get(entry.name, entry.name)
        if source in declared:
            found += _input_problems(entry, declared[source])
        else:
            found.append(f"takes {entry.name!r}, which is no input of the ensemble; those are {_listed(declared)}")
    known = [entry.name for entry in signature.inputs]
    found += [
        f"has no input {name!r}, which the manifest feeds; its inputs are {_listed(known)}"
        for name in member.inputs
        if name not in known
    ]
    return found


def sources(manifest: Manifest) -> dict[str, Input]:
    """What models may take: the ensemble's inputs, and the tensors of its tokenizers as if they were inputs."""
    derived = [
        Input(name=entry.name, datatype="INT64", shape=(-1, -1) if entry.stride is None else (-1, -1, -1))
        for entry in manifest.tokenizers
    ]
    return {entry.name: entry for entry in (*manifest.inputs, *derived)}


def fusion_problems(manifest: Manifest, signature: Signature) -> list[str]:
    """What is wrong with `fusion.onnx`: float32 [n, K, C] → [n, C] is the only signature it may have."""
    if len(signature.inputs) != 1 or len(signature.outputs) != 1:
        counts = f"{len(signature.inputs)} inputs and {len(signature.outputs)} outputs"
        return [f"has {counts}, expected one of each"]
    K, C = len(manifest.members), manifest.columns
    found: list[str] = []
    for verb, entry, shape in (
        ("takes", signature.inputs[0], (-1, K, C)),
        ("gives", signature.outputs[0], (-1, C)),
    ):
        if entry.type != ONNX_TYPES["FP32"]:
            found.append(f"{verb} {entry.name!r} as {_datatype(entry.type)}, expected FP32")
        found += _shape_problems(entry, f"{verb} ", shape, f"expected {_told(shape)}")
    return found


def _unused(manifest: Manifest, members: Mapping[str, Signature]) -> Iterator[str]:
    used = {
        member.inputs.get(entry.name, entry.name) for member in manifest.models for entry in members[member.name].inputs
    }
    for tokenizer in manifest.tokenizers:
        if tokenizer.name not in used:
            yield f"tokenizer {tokenizer.name!r} is taken by no member"
    used |= {tokenizer.input for tokenizer in manifest.tokenizers}
    for entry in manifest.inputs:
        if entry.name not in used:
            yield f"input {entry.name!r} of the ensemble is taken by no member"


def _input_problems(entry: TensorInfo, declared: Input) -> Iterator[str]:
    subject, source = f"takes {entry.name!r} as ", f"the ensemble's {declared.name!r} is"
    if entry.type != ONNX_TYPES[declared.datatype]:
        yield f"{subject}{_datatype(entry.type)}, {source} {declared.datatype}"
    yield from _shape_problems(entry, subject, declared.shape, f"{source} {_told(declared.shape)}")


def _output_problems(manifest: Manifest, member: Member, outputs: Sequence[TensorInfo]) -> Iterator[str]:
    entry = _found(outputs, member.output)
    if entry is None:
        yield _no_output(member.output, outputs)
        return
    if entry.type not in FLOAT_TYPES:
        hint = " (export it with zipmap off)" if "map(" in entry.type else ""
        yield f"gives {entry.name!r} as {_datatype(entry.type)}, expected FP16, FP32 or FP64{hint}"
    elif not _one_column(manifest, member, entry.shape):
        expected = _expected(manifest, member)
        yield from _shape_problems(entry, "gives ", expected, f"the manifest says {_told(expected)}")
    elif isinstance(entry.shape[0], int):
        yield _fixed_rows(entry)


def _expected(manifest: Manifest, member: Member) -> tuple[int, ...]:
    """The shape of the member's output, -1 for rows and for lengths that vary."""
    if manifest.task == "regression" and manifest.value_shape:
        return (-1, *manifest.value_shape)
    return (-1, member.width or manifest.columns, *manifest.positions)


def _found(outputs: Sequence[TensorInfo], name: str) -> TensorInfo | None:
    return next((entry for entry in outputs if entry.name == name), None)


def _no_output(name: str, outputs: Sequence[TensorInfo]) -> str:
    return f"has no output {name!r}; its outputs are {_listed([entry.name for entry in outputs])}"


def _one_column(manifest: Manifest, member: Member, shape: Shape) -> bool:
    """[n] or [n, 1] where that is enough: a value, or the second class's share of two."""
    if manifest.task in ("dense", "embedding"):
        return False
    two = manifest.columns == 2 and member.kind != "value" and manifest.task != "multilabel"
    enough = (manifest.columns == 1 and len(manifest.value_shape) <= 1) or two
    return enough and (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1))


def _shape_problems(entry: TensorInfo, subject: str, expected: Sequence[int], said: str) -> Iterator[str]:
    """The file's shape against `expected`, with -1 for rows and for lengths that vary.

    A shape that the file does not state is left to the golden rows.
    """
    shape = entry.shape
    if not shape:
        return
    sizes = zip(shape[1:], expected[1:], strict=False)
    if len(shape) != len(expected) or any(isinstance(size, int) and size != wanted for size, wanted in sizes):
        yield f"{subject}{_told(shape)}, {said}"
    if isinstance(shape[0], int):
        yield _fixed_rows(entry)


def _fixed_rows(entry: TensorInfo) -> str:
    fixed = f"fixes the first dimension of {entry.name!r} to {entry.shape[0]}"
    return f"{fixed}; it is the batch and must be dynamic, or a member's `rows`"


def _told(shape: Shape) -> str:
    """A shape for people: n rows, ? where any size goes."""
    sizes = [str(size) if isinstance(size, int) and size != -1 else "?" for size in shape]
    return "[" + ", ".join(["n" if sizes[0] == "?" else sizes[0], *sizes[1:]]) + "]"


def _datatype(onnx: str) -> str:
    return DATATYPES.get(onnx, onnx)


def _listed(names: Sequence[str] | Mapping[str, object]) -> str:
    return ", ".join(map(repr, names)) or "none"
