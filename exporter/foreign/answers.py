"""What each member answers to the sample rows: which output, by which names, as a matrix or a column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np

from exporter.errors import BundleError
from exporter.foreign.dense import classes_first
from exporter.foreign.meaning import Seen
from exporter.foreign.model_file import NOT_FINITE, ModelFile, ModelFileError
from exporter.foreign.naming import Naming, agree
from exporter.foreign.turned_answers import hint, needless, rows_first, stacked
from exporter.foreign.unfusable import reason as unfusable
from exporter.foreign.wishes import Wishes
from exporter.onnx_graphs.answer_columns import as_floats, declared_as, divided_by_sum, flattened
from exporter.onnx_graphs.labels import Stated, stated
from exporter.onnx_graphs.votes import LABEL_TYPES, one_hot
from exporter.onnx_graphs.zipmap import columns_of, join
from model_repo.format.rules import CLASSLESS
from server.runtime.datatypes import Array, TensorInfo


@dataclass(frozen=True)
class Given:
    """One member's fused output, what it gave for the sample rows, [n] or [n, C], and the names of its columns.

    Of a regression [n, …], of a dense answer [n, C, …].
    """

    file: ModelFile
    output: TensorInfo
    values: Array
    stated: Stated | None = None
    votes: bool = False
    """Whether it is a label, of which a vote is yet to be made."""

    @property
    def width(self) -> int:
        """Numbers in the answer to one row."""
        return int(self.values[0].size)

    @property
    def classwise(self) -> Given:
        """The same with each position a row of its own, [n · positions, C]: for looking at."""
        return replace(self, values=np.moveaxis(self.values, 1, -1).reshape(-1, self.values.shape[1]))

    @property
    def seen(self) -> Seen:
        """What the values look like."""
        return Seen.of(self.values, "logit" in self.output.name.lower())


def given(files: Sequence[ModelFile], wishes: Wishes, feeds: Mapping[str, Array]) -> tuple[list[Given], Naming]:
    """Each member's output on the sample rows, together and one row alone, and the classes that all agree on.

    Raises BundleError.
    """
    wrong: list[str] = []
    found: list[Given] = []
    for file in files:
        try:
            found.append(_given(file, wishes.outputs.get(file.name), feeds, wishes))
        except ModelFileError as error:
            wrong.append(f"member '{file.name}': {error}")
    named = wishes.task not in CLASSLESS
    naming = agree({one.file.name: one.stated if named else None for one in found}, wishes.classes)
    wrong += naming.problems
    if not wrong:
        for place, one in enumerate(found):
            try:
                found[place] = _voting(one, naming, feeds) if one.votes else one
            except ModelFileError as error:
                wrong.append(f"member '{one.file.name}': {error}")
    if wrong:
        raise BundleError("the members do not make one ensemble", wrong)
    return found, naming


def renormalised(one: Given, feeds: Mapping[str, Array]) -> Given:
    """The member with its rows divided by their sum, in its graph. Raises ModelFileError."""
    graph = deepcopy(one.file.graph)
    name = divided_by_sum(graph, one.output.name)
    return _answered(one, one.file.edited(graph, f"its rows are divided by their sum, as '{name}'"), name, feeds)


def _given(file: ModelFile, wanted: str | None, feeds: Mapping[str, Array], wishes: Wishes) -> Given:
    """One member. Raises ModelFileError."""
    if wanted is None and (why := unfusable(file)) is not None:
        raise ModelFileError(why)
    file = file if wanted is not None else _joined(file)
    if wanted is None and wishes.task == "multilabel":
        file = stacked(file)
    output = file.output(wanted)
    if output.type in LABEL_TYPES - {"tensor(string)"} and wishes.task in ("regression", "multilabel"):
        graph = deepcopy(file.graph)
        name = as_floats(graph, output.name)
        file = file.edited(graph, f"its output '{output.name}' becomes one of floats, as '{name}'")
        output = file.output(name)
    if output.type in LABEL_TYPES:
        return _labelled(file, output, feeds)
    file, output, values = _with_rows_first(file, output, feeds, wishes)
    if wishes.task == "dense":
        return _dense(file, output, values, None if wishes.classes is None else len(wishes.classes))
    if (where := needless(output, values, wishes.task)) is not None:
        graph = deepcopy(file.graph)
        name = flattened(graph, output.name)
        file = file.edited(
            graph, f"its output '{output.name}' {list(values.shape)} loses the ones {where}, as '{name}'"
        )
        output = file.output(name)
        values = values.reshape(len(values), -1)
    if values.ndim not in (1, 2) and wishes.task != "regression":
        raise ModelFileError(
            f"its output '{output.name}' is {list(values.shape)} for {len(values)} rows, expected [n] or [n, C]; with "
            "--task dense its classes are fused position by position (pixels, tokens), with --task regression as values"
        )
    file = _declared(file, output, values)
    if not np.isfinite(values).all():
        raise ModelFileError(f"its output '{output.name}' {NOT_FINITE}")
    columns = int(values[0].size)
    return Given(file, output, values, statement(file, output.name, max(2, columns)))


def _dense(file: ModelFile, output: TensorInfo, values: Array, classes: int | None) -> Given:
    """A member that answers position by position, its classes behind the rows."""
    if not np.isfinite(values).all():
        raise ModelFileError(f"its output '{output.name}' {NOT_FINITE}")
    file, turned, values = classes_first(file, output, values, classes)
    return Given(file, turned, values, statement(file, output.name, values.shape[1]))


def statement(file: ModelFile, output: str, columns: int | None) -> Stated | None:
    """The names of so many columns of the output (None: however many); None where the file does not state them."""
    return next(
        (
            each
            for each in _statements(file, output)
            if len(each.names) == (columns or len(each.names)) > 1 and len(set(each.names)) == len(each.names)
        ),
        None,
    )


def _declared(file: ModelFile, output: TensorInfo, values: Array) -> ModelFile:
    """The file with a declaration of its output that holds, where its own does not."""
    fits = zip(output.shape, values.shape, strict=False)
    if all(not isinstance(size, int) or size == gave for size, gave in fits):
        return file
    told = ", ".join(str(size) for size in values.shape[1:])
    graph = deepcopy(file.graph)
    if not declared_as(graph, output.name, values.shape[1:]):
        return file
    return file.edited(graph, f"its output '{output.name}' is declared as [n{', ' if told else ''}{told}], as it comes")


def _statements(file: ModelFile, output: str) -> Iterator[Stated]:
    if file.zipped.get(output):
        yield Stated(file.zipped[output], "ZipMap")
    yield from stated(file.graph, output)


def _joined(file: ModelFile) -> ModelFile:
    """The file with outputs of one class each made one, where its labels say that they are that."""
    for entry in file.session.outputs:
        for each in stated(file.graph, entry.name) if entry.type in LABEL_TYPES else ():
            columns = columns_of(file.graph, each.names)
            if columns is not None:
                graph = deepcopy(file.graph)
                name = join(graph, columns)
                joined = file.edited(graph, f"its {len(columns)} outputs of one class each are joined, as '{name}'")
                return replace(joined, zipped={**joined.zipped, name: each.names})
    return file


def _labelled(file: ModelFile, output: TensorInfo, feeds: Mapping[str, Array]) -> Given:
    """A member whose output is a label [n] or [n, 1]."""
    values = _ran(file, output, feeds)
    if values.shape not in ((len(values),), (len(values), 1)):
        raise ModelFileError(
            f"its output '{output.name}' is {list(values.shape)} of no floats, expected labels [n] or floats [n, C]"
            f"{', or --task multilabel for a label a column' if values.ndim == 2 else ''}"
        )
    return Given(file, output, values.ravel(), statement(file, output.name, None), votes=True)


def _voting(one: Given, naming: Naming, feeds: Mapping[str, Array]) -> Given:
    """The member with a row of votes in the place of its label. Raises ModelFileError."""
    name, own = one.file.name, one.output.name
    if naming.classes is None:
        raise ModelFileError(
            f"its output '{own}' is a label, which votes for a class: say which there are with --classes A,B,…"
        )
    raw = _raw_labels(one, naming)
    gave = sorted({str(_plain(value)) for value in one.values.tolist()} - set(raw))
    if gave:
        raise ModelFileError(
            f"its output '{own}' gave the label {gave[0]!r}, expected one of {', '.join(map(repr, raw[:6]))}"
        )
    graph = deepcopy(one.file.graph)
    votes = one_hot(graph, one.output, raw)
    file = one.file.edited(graph, f"its label '{own}' votes, as '{votes}'")
    order = naming.orders.get(name, naming.classes)
    return replace(_answered(one, file, votes, feeds), stated=Stated(order, f"its label '{own}'"))


def _raw_labels(one: Given, naming: Naming) -> tuple[str, ...]:
    """The labels as the graph gives them, in the order of the member's classes."""
    assert naming.classes is not None, "a vote is for classes; this is a bug"
    if one.stated is not None:
        return one.stated.names
    if one.output.type == "tensor(string)":
        return naming.classes
    numbers = {str(_plain(value)) for value in one.values.tolist()}
    by_name = all(each.lstrip("-").isdigit() for each in naming.classes) and numbers <= set(naming.classes)
    return naming.classes if by_name else tuple(map(str, range(len(naming.classes))))


def _plain(value: object) -> object:
    return int(value) if isinstance(value, bool) else value


def _answered(one: Given, file: ModelFile, name: str, feeds: Mapping[str, Array]) -> Given:
    """The member as its changed file answers."""
    return replace(one, file=file, output=file.output(name), values=file.run(name, feeds), votes=False)


def _with_rows_first(
    file: ModelFile, output: TensorInfo, feeds: Mapping[str, Array], wishes: Wishes
) -> tuple[ModelFile, TensorInfo, Array]:
    """The file, its output and that on the sample rows, turned where its rows are the second dimension."""
    values, alone = _both(file, output, feeds)
    file, name = rows_first(file, output.name, values, alone, wishes.task)
    if name == output.name:
        return file, output, _one_a_row(output, feeds, values, alone)
    output = file.output(name)
    return file, output, _ran(file, output, feeds)


def _both(file: ModelFile, output: TensorInfo, feeds: Mapping[str, Array]) -> tuple[Array, Array]:
    """The output on the sample rows, and on the first one alone. Raises ModelFileError."""
    values = file.run(output.name, feeds)
    alone = file.run(output.name, {name: array[:1] for name, array in feeds.items()})
    if not isinstance(values, np.ndarray):
        raise ModelFileError(f"its output '{output.name}' is no tensor: {output.type}")
    return values, alone


def _ran(file: ModelFile, output: TensorInfo, feeds: Mapping[str, Array]) -> Array:
    """The output on the sample rows. Raises ModelFileError where it is not one answer for each row."""
    return _one_a_row(output, feeds, *_both(file, output, feeds))


def _one_a_row(output: TensorInfo, feeds: Mapping[str, Array], values: Array, alone: Array) -> Array:
    rows = len(next(iter(feeds.values())))
    if values.ndim == 0 or len(values) != rows or alone.ndim == 0 or len(alone) != 1:
        raise ModelFileError(
            f"its output '{output.name}' is {list(values.shape)} for {rows} rows and {list(alone.shape)} for one, "
            f"expected [n] or [n, C]{hint(values, alone)}"
        )
    if not values.size:
        raise ModelFileError(f"its output '{output.name}' is {list(values.shape)}, which holds no number")
    return values
