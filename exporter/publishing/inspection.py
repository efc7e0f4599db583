"""What ONNX files take and give, what their labels are, what `tutti publish` would make of them, what does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.errors import BundleError
from exporter.foreign.answers import statement
from exporter.foreign.model_file import ModelFile, ModelFileError
from exporter.foreign.wishes import RULES, Wishes
from exporter.onnx_graphs.labels import Stated
from exporter.publishing.publish import Assembled, assembled
from server.runtime.datatypes import DATATYPES, TensorInfo


@dataclass(frozen=True)
class Outcome:
    """What publishing would make of one file, or of all together: an ensemble, or what does not fit."""

    found: Assembled | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inspected:
    """One file: `file` is None where it is no model, and `alone` says why."""

    name: str
    path: Path
    file: ModelFile | None
    alone: Outcome

    @property
    def stated(self) -> Mapping[str, Stated]:
        """Outputs whose columns or labels the file names → what it says."""
        outputs = self.file.session.outputs if self.file is not None else ()
        return {
            entry.name: each
            for entry in outputs
            if self.file is not None and (each := statement(self.file, entry.name, _columns(entry))) is not None
        }


def inspect(paths: Mapping[str, Path]) -> tuple[list[Inspected], Outcome | None]:
    """Each file (name → path) alone, and all that are models together where those are several."""
    found = [_inspected(name, path) for name, path in paths.items()]
    files = [each.file for each in found if each.file is not None]
    return found, _outcome(files) if len(files) > 1 else None


def _inspected(name: str, path: Path) -> Inspected:
    try:
        file = ModelFile.read(name, path)
    except ModelFileError as error:
        return Inspected(name, path, None, Outcome(problems=(str(error),)))
    return Inspected(name, path, file, _outcome([file]))


def _outcome(files: Sequence[ModelFile]) -> Outcome:
    try:
        return Outcome(assembled("inspected", files, Wishes(RULES["mean"])))
    except BundleError as error:
        return Outcome(problems=error.problems)


def _columns(entry: TensorInfo) -> int | None:
    """Columns of an output [n, C]; 2 for [n] of floats, which may be the second's share; None where nothing is said."""
    if entry.type not in ("tensor(float)", "tensor(double)", "tensor(float16)"):
        return None
    last = entry.shape[-1] if len(entry.shape) > 1 else 1
    return max(2, last) if isinstance(last, int) else None


def told(inspected: Inspected) -> str:
    """The file for people: size and make, inputs, outputs, labels, what publish would make of it."""
    file = inspected.file
    if file is None:
        return "\n".join([str(inspected.path), *(f"  no model  {problem}" for problem in inspected.alone.problems)])
    lines = [f"{inspected.path}  {_made(file)}"]
    lines += [f"  takes     '{entry.name}' {_tensor(entry)}" for entry in file.inputs]
    lines += [f"  gives     '{entry.name}' {_tensor(entry)}" for entry in file.session.outputs]
    lines += [f"  labels    {_names(each)} ({each.where})" for each in dict.fromkeys(inspected.stated.values())]
    return "\n".join([*lines, *outcome_told(inspected.alone)])


def outcome_told(outcome: Outcome) -> list[str]:
    """What publish would make of it, in lines."""
    if outcome.found is None:
        return [f"  problem   {problem}" for problem in outcome.problems]
    draft = outcome.found.draft
    classes = (
        f", classes {', '.join(draft.classes[:6])}{', …' if len(draft.classes) > 6 else ''}" if draft.classes else ""
    )
    lines = [f"  publish   {draft.task}{classes}"]
    for each in draft.members:
        saw = outcome.found.seen[each.name].told()
        lines.append(f"  member    {each.name}: '{each.output}' as {each.kind}; saw {saw}")
    return lines + [f"  {_headed(note)}" for note in outcome.found.notes]


def as_data(inspected: Inspected) -> dict[str, object]:
    """The same for programs, of JSON's types."""
    file = inspected.file
    data: dict[str, object] = {"file": str(inspected.path), **outcome_data(inspected.alone)}
    if file is None:
        return data
    data |= {
        "bytes": file.model.bytes,
        "opsets": _opsets(file),
        "producer": _producer(file),
        "inputs": [_tensor_data(entry) for entry in file.inputs],
        "outputs": [_tensor_data(entry) for entry in file.session.outputs],
        "labels": {output: list(each.names) for output, each in inspected.stated.items()},
    }
    return data


def outcome_data(outcome: Outcome) -> dict[str, object]:
    """An outcome for programs."""
    if outcome.found is None:
        return {"problems": list(outcome.problems)}
    draft = outcome.found.draft
    return {
        "task": draft.task,
        "classes": list(draft.classes),
        "members": {each.name: {"output": each.output, "kind": each.kind} for each in draft.members},
        "notes": list(outcome.found.notes),
        "problems": [],
    }


def _made(file: ModelFile) -> str:
    opsets = ", ".join(f"{domain} {version}" for domain, version in _opsets(file).items())
    weights = f", weights in {', '.join(file.weights)}" if file.weights else ""
    return f"{file.model.bytes} bytes{weights}; {opsets}{f'; made by {maker}' if (maker := _producer(file)) else ''}"


def _opsets(file: ModelFile) -> dict[str, int]:
    return {entry.domain or "ai.onnx": entry.version for entry in file.graph.opset_import}


def _producer(file: ModelFile) -> str:
    """Who wrote the file; of several lines, as CatBoost has them, none but the first."""
    version = file.graph.producer_version
    return f"{file.graph.producer_name} {version if len(version.splitlines()) == 1 else ''}".strip()


def _tensor(entry: TensorInfo) -> str:
    return f"{DATATYPES.get(entry.type, entry.type)} {_shape(entry)}"


def _shape(entry: TensorInfo) -> str:
    """A shape for people: `n` where the first dimension is free, `?` where another is."""
    sizes = [str(size) if isinstance(size, int) else "?" if place else "n" for place, size in enumerate(entry.shape)]
    return f"[{', '.join(sizes)}]" if entry.shape else "of a shape that is not stated"


def _tensor_data(entry: TensorInfo) -> dict[str, object]:
    sizes = [size if isinstance(size, int) else -1 for size in entry.shape]
    return {"name": entry.name, "datatype": DATATYPES.get(entry.type, entry.type), "shape": sizes}


def _names(each: Stated) -> str:
    few = ", ".join(f"'{name}'" for name in each.names[:6])
    return few if len(each.names) <= 6 else f"{few}, … ({len(each.names)})"


def _headed(note: str) -> str:
    return f"guess     {note.removeprefix('guess: ')}" if note.startswith("guess: ") else f"note      {note}"
