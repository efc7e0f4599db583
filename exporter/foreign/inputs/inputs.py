"""What the members take, as inputs of one ensemble: names, types and shapes that all of them can live with."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from exporter.errors import BundleError
from exporter.foreign.inputs.adapters import adapted, datatype, told
from exporter.foreign.inputs.types import agreed, layout_of
from exporter.foreign.model_file import ModelFile, ModelFileError
from exporter.foreign.sent import Sent, arriving
from model_repo import Input
from server.runtime.datatypes import DATATYPES, TensorInfo

_LEGAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NOT_ONE = "the members do not make one ensemble"


@dataclass(frozen=True)
class Wired:
    """Files that take the ensemble's inputs, those, and what was done about them, one sentence each."""

    files: tuple[ModelFile, ...]
    inputs: tuple[Input, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Plug:
    """One input of one member, and what the user says is sent for it."""

    file: ModelFile
    own: TensorInfo
    sent: Sent

    @property
    def outer(self) -> TensorInfo:
        """As it arrives."""
        return arriving(self.own, self.sent)

    @property
    def told(self) -> str:
        """For people."""
        return f"member '{self.file.name}' takes {told(self.outer)}"


def fixed_rows(file: ModelFile) -> int | None:
    """The number of rows that the file takes and no other; None where it takes any.

    Raises ModelFileError where its inputs disagree: then one of them is no row of anything.
    """
    for entry in file.inputs:
        if not entry.shape:
            raise ModelFileError(
                f"its input '{entry.name}' is a scalar, or states no shape, expected [n, …]; an input that is no row "
                f"but a setting gets its value with --constant {file.name}:{entry.name}=VALUE"
            )
    sizes = {entry.name: entry.shape[0] for entry in file.inputs}
    fixed = {name: size for name, size in sizes.items() if isinstance(size, int)}
    if len(set(fixed.values())) == 1 and len(fixed) == len(sizes):
        return next(iter(fixed.values()))
    if not fixed:
        return None
    free = [name for name in sizes if name not in fixed]
    said = ", ".join(f"'{name}' to {size}" for name, size in fixed.items())
    beside = f", beside {', '.join(map(repr, free))} of any" if free else ""
    ask = next(reversed(fixed))
    raise ModelFileError(
        f"its inputs fix the first dimension, which is the rows, differently: {said}{beside}; "
        f"an input that is no row but a setting or a state gets its value with --constant {file.name}:{ask}=VALUE"
    )


def wired(
    files: Sequence[ModelFile],
    names: Mapping[str, Mapping[str, str]],
    sent: Mapping[str, Mapping[str, Sent]],
    derived: Collection[str] = (),
) -> Wired:
    """The members with one input of the ensemble for each name that they take, or that `names` says they take.

    `names` and `sent`: member → input of its graph → the ensemble's, and what arrives for it. Lone inputs of equal
    type and shape are one. What they take of `derived` a tokenizer makes. Raises BundleError with every disagreement.
    """
    plugs = [
        _Plug(file, own, sent.get(file.name, {}).get(own.name, Sent()))
        for file in files
        for own in file.inputs
        if file.source(own.name) not in derived
    ]
    wrong = [
        f"member '{plug.file.name}': its input '{plug.own.name}' is {plug.own.type}, which is not served"
        for plug in plugs
        if plug.own.type not in DATATYPES and plug.own.type != "tensor(bfloat16)"
    ]
    wrong += _unknown(files, names)
    if wrong:
        raise BundleError(_NOT_ONE, wrong)
    chosen, notes = _named(files, plugs, names)
    groups: dict[str, list[_Plug]] = {}
    for plug, name in zip(plugs, chosen, strict=True):
        groups.setdefault(name, []).append(plug)
    inputs: list[Input] = []
    made = {file.name: file for file in files}
    for name, group in groups.items():
        try:
            inputs.append(_joined(name, group, made, notes))
        except ModelFileError as error:
            wrong.append(str(error))
    if wrong:
        raise BundleError(_NOT_ONE, wrong)
    return Wired(tuple(made.values()), tuple(inputs), tuple(notes))


def is_picture(entry: Input) -> bool:
    """Whether rows look like pictures: three dimensions, of which the first or the last is 1, 3 or 4 channels."""
    return len(entry.shape) == 4 and (entry.shape[1] in (1, 3, 4) or entry.shape[3] in (1, 3, 4))


def legal(name: str, taken: Sequence[str]) -> str:
    """A name that URLs and manifests take, made from `name`, and none of `taken`."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", plain.strip()).lstrip("._-").rstrip("_")[:120] or "input"
    return next(found for k in range(len(taken) + 1) if (found := f"{plain}_{k}" if k else plain) not in taken)


def _unknown(files: Sequence[ModelFile], names: Mapping[str, Mapping[str, str]]) -> list[str]:
    wrong = []
    for file in files:
        own = [entry.name for entry in file.inputs]
        for tensor, name in names.get(file.name, {}).items():
            if tensor not in own:
                wrong.append(
                    f"member '{file.name}' has no input '{tensor}', its inputs are {', '.join(map(repr, own))}"
                )
            if not _LEGAL.fullmatch(name):
                wrong.append(f"--input {file.name}:{tensor}={name}: a name has letters, digits, '.', '_', '-'")
    return wrong


def _named(
    files: Sequence[ModelFile], plugs: Sequence[_Plug], names: Mapping[str, Mapping[str, str]]
) -> tuple[list[str], list[str]]:
    """The ensemble's name of each plug, and what there is to say of it."""
    notes: list[str] = []
    said = [names.get(plug.file.name, {}).get(plug.own.name) for plug in plugs]
    joined = _lone(files, plugs, said, notes)
    raw = [
        name or joined.get(place) or plug.own.name for place, (plug, name) in enumerate(zip(plugs, said, strict=True))
    ]
    known = {name: name for name in raw if _LEGAL.fullmatch(name)}
    for name in raw:
        if name not in known:
            known[name] = legal(name, list(known.values()))
            notes.append(f"input '{name}' is served as '{known[name]}': a name has letters, digits, '.', '_', '-'")
    return [known[name] for name in raw], notes


def _lone(
    files: Sequence[ModelFile], plugs: Sequence[_Plug], said: Sequence[str | None], notes: list[str]
) -> dict[int, str]:
    """Place of a plug → the name of the first lone input of its type and shape, where that is another."""
    alone = {file.name for file in files if len(file.inputs) == 1}
    places = [place for place, plug in enumerate(plugs) if plug.file.name in alone and said[place] is None]
    found: dict[int, str] = {}
    firsts: list[int] = []
    for place in places:
        first = next((each for each in firsts if _alike(plugs[each].outer, plugs[place].outer)), None)
        if first is None:
            firsts.append(place)
            continue
        mine, name = plugs[place], plugs[first].own.name
        if mine.own.name != name:
            found[place] = name
            notes.append(
                f"member '{mine.file.name}': its only input '{mine.own.name}' takes '{name}', as the only one of "
                f"member '{plugs[first].file.name}' does: both are {told(mine.outer)}; --input {mine.file.name}:"
                f"{mine.own.name}=NAME says otherwise"
            )
    apart = [first for first in firsts if plugs[first].own.name != plugs[firsts[0]].own.name]
    if apart:
        listed = "; ".join(f"'{plugs[k].own.name}' {told(plugs[k].outer)}" for k in (firsts[0], *apart))
        notes.append(f"clients send several inputs, as they are not alike: {listed}; --input joins what is one")
    return found


def _alike(one: TensorInfo, other: TensorInfo) -> bool:
    """Whether two inputs may well be the same table: floats of any width count as one type."""
    floats = ("tensor(float)", "tensor(double)", "tensor(float16)", "tensor(bfloat16)")
    types = one.type == other.type or (one.type in floats and other.type in floats)
    sizes = [[size if isinstance(size, int) else None for size in entry.shape[1:]] for entry in (one, other)]
    return types and sizes[0] == sizes[1]


def _joined(name: str, group: Sequence[_Plug], made: dict[str, ModelFile], notes: list[str]) -> Input:
    """The input that all of the group take, each adapted to it in `made`. Raises ModelFileError."""
    outers = [plug.outer for plug in group]
    onnx_type = agreed(name, outers, [plug.told for plug in group], [plug.file.name for plug in group])
    first = outers[0]
    sizes = [size if isinstance(size, int) else -1 for size in first.shape[1:]]
    perms: list[tuple[int, ...] | None] = []
    for plug, outer in zip(group, outers, strict=True):
        perm = layout_of(outer.shape[1:], sizes)
        if perm is None and not _narrowed(outer, sizes):
            raise ModelFileError(f"input '{name}': {group[0].told}, {plug.told}{_way_out(group[0], plug)}")
        perms.append(perm)
    if len({outer.type for outer in outers} | {onnx_type}) > 1:
        types = ", ".join(f"member '{plug.file.name}' {datatype(plug.outer.type)}" for plug in group)
        notes.append(f"input '{name}' is {datatype(onnx_type)}: {types}, each cast to its own")
    for plug, perm in zip(group, perms, strict=True):
        cast = onnx_type if onnx_type != plug.own.type else None
        file = made[plug.file.name]
        if plug.sent.perm is not None and perm is not None:
            raise ModelFileError(f"input '{name}': {group[0].told}, {plug.told}: layouts that do not fit each other")
        now = replace(plug.sent, type=cast, perm=plug.sent.perm or perm)
        if not now.plain:
            file = adapted(file, plug.own.name, now, "" if plug.sent.plain else ", as --adapt says")
        source = next(entry.name for entry in file.inputs if file.source(entry.name) == plug.own.name)
        if source != name:
            file = replace(file, wiring={**file.wiring, source: name})
        else:
            file = replace(file, wiring={key: value for key, value in file.wiring.items() if key != source})
        made[plug.file.name] = file
    return Input(name=name, datatype=DATATYPES[onnx_type], shape=(-1, *sizes))  # type: ignore[arg-type]  # the table's values are the Literal's


def _narrowed(entry: TensorInfo, sizes: list[int]) -> bool:
    """Whether the entry's sizes fit `sizes`, which then are as narrow as it."""
    own = [size if isinstance(size, int) else -1 for size in entry.shape[1:]]
    if len(own) != len(sizes) or any(-1 not in (a, b) and a != b for a, b in zip(own, sizes, strict=True)):
        return False
    sizes[:] = [max(a, b) for a, b in zip(own, sizes, strict=True)]
    return True


def _way_out(first: _Plug, other: _Plug) -> str:
    """What to type for pictures of two sizes."""
    one, two = first.outer.shape, other.outer.shape
    if len(one) != 4 or len(two) != 4:
        return ""
    place = 1 if one[3] in (1, 3, 4) and one[1] not in (1, 3, 4) else 2
    height, width = one[place], one[place + 1]
    if not isinstance(height, int) or not isinstance(width, int):
        return ""
    return f"; --adapt {other.file.name}:resize={height}x{width} gives it pictures of that size"
