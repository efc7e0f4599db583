"""What the members take, as inputs of one ensemble: names, types and shapes that all of them can live with."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.errors import BundleError
from exporter.publishing.model_file import ModelFile, ModelFileError
from model_repo import Input
from server.runtime.datatypes import DATATYPES, TensorInfo


def fixed_rows(file: ModelFile) -> int | None:
    """The number of rows that the file takes and no other; None where it takes any.

    Raises ModelFileError where its inputs disagree: then one of them is no row of anything.
    """
    sizes = {entry.name: entry.shape[0] if entry.shape else None for entry in file.inputs}
    fixed = {name: size for name, size in sizes.items() if isinstance(size, int)}
    if len(set(fixed.values())) == 1 and len(fixed) == len(sizes):
        return next(iter(fixed.values()))
    if not fixed:
        return None
    free = [name for name in sizes if name not in fixed]
    told = ", ".join(f"'{name}' to {size}" for name, size in fixed.items())
    beside = f", beside {', '.join(map(repr, free))} of any" if free else ""
    ask = next(reversed(fixed))
    raise ModelFileError(
        f"its inputs fix the first dimension, which is the rows, differently: {told}{beside}; "
        f"an input that is no row but a setting or a state gets its value with --constant {file.name}:{ask}=VALUE"
    )


def inputs_of(files: Sequence[ModelFile]) -> tuple[Input, ...]:
    """The ensemble's inputs: one for each name that the members take, as narrow as the narrowest of them.

    Raises BundleError with every disagreement.
    """
    found: dict[str, tuple[ModelFile, TensorInfo, list[int]]] = {}
    wrong: list[str] = []
    for file in files:
        for entry in file.inputs:
            if entry.type not in DATATYPES:
                wrong.append(f"member '{file.name}': its input '{entry.name}' is {entry.type}, which is not served")
            elif not entry.shape:
                wrong.append(f"member '{file.name}': its input '{entry.name}' states no shape, expected [n, …]")
            elif entry.name in found:
                wrong += _narrowed(file, entry, *found[entry.name])
            else:
                sizes = [-1, *(size if isinstance(size, int) else -1 for size in entry.shape[1:])]
                found[entry.name] = (file, entry, sizes)
    if wrong:
        raise BundleError("the members do not make one ensemble", wrong)
    return tuple(
        Input(name=name, datatype=DATATYPES[entry.type], shape=tuple(sizes))  # type: ignore[arg-type]  # the table's values are the Literal's
        for name, (_, entry, sizes) in found.items()
    )


def is_picture(entry: Input) -> bool:
    """Whether rows look like pictures: three dimensions, of which the first or the last is 1, 3 or 4 channels."""
    return len(entry.shape) == 4 and (entry.shape[1] in (1, 3, 4) or entry.shape[3] in (1, 3, 4))


def _narrowed(file: ModelFile, entry: TensorInfo, other: ModelFile, first: TensorInfo, sizes: list[int]) -> list[str]:
    """Fit another member's view of an input into `sizes`; what does not fit as sentences."""
    both = f"input '{entry.name}': member '{other.name}' takes"
    if entry.type != first.type:
        return [f"{both} {DATATYPES[first.type]}, member '{file.name}' {DATATYPES[entry.type]}"]
    if len(entry.shape) != len(sizes):
        return [f"{both} {_shape(first)}, member '{file.name}' {_shape(entry)}"]
    for place, size in enumerate(entry.shape[1:], 1):
        if isinstance(size, int) and sizes[place] not in (-1, size):
            return [f"{both} {_shape(first)}, member '{file.name}' {_shape(entry)}"]
        if isinstance(size, int):
            sizes[place] = size
    return []


def _shape(entry: TensorInfo) -> str:
    return "[" + ", ".join(["n", *(str(s) if isinstance(s, int) else "?" for s in entry.shape[1:])]) + "]"
