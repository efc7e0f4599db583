"""Members whose files fix the number of rows: made free where that changes no answer, else run in slices."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace

import numpy as np

from exporter.foreign.model_file import ModelFile, ModelFileError
from exporter.foreign.neighbours import apart
from exporter.foreign.tolerance import Tolerance
from exporter.onnx_graphs.free_batch import unfix
from server.runtime.datatypes import Array
from server.runtime.golden.golden_rows import tiled

SIZES = (1, 2, 7, 33)
"""Batches in which a member must give what it gives in its own size before it is taken to any."""


def freed(file: ModelFile, feeds: Mapping[str, Array]) -> ModelFile:
    """The file, for any number of rows where its answers to `feeds` stay the same; else in slices, and a note."""
    if file.rows is None:
        return file
    graph = deepcopy(file.graph)
    unfix(graph, file.rows)
    sizes = ", ".join(map(str, SIZES[:-1]))
    note = (
        f"its batch was fixed to {file.rows} and is free now: in batches of {sizes} and {SIZES[-1]} rows "
        f"it gives what it gives {'one by one' if file.rows == 1 else f'by {file.rows}'}"
    )
    try:
        free = replace(file.edited(graph, note), rows=None)
        _require_same(file, free, feeds)
    except ModelFileError as error:
        told = f"its batch is fixed to {file.rows} and stays so: a server runs it in slices of {_rows(file.rows)}"
        return replace(file, notes=(*file.notes, f"{told} (free, it {error})"))
    return free


def _require_same(file: ModelFile, free: ModelFile, feeds: Mapping[str, Array]) -> None:
    """Raise ModelFileError unless all tensors that the file gives are the same in every size of batch."""
    once = feeds  # where rows are run one by one, those that come again give what they gave
    feeds = tiled(feeds, max(SIZES))
    for output in file.session.outputs:
        if not output.type.startswith("tensor("):
            continue
        known = file.run(output.name, once if file.rows == 1 else feeds)
        if len(known) == len(next(iter(once.values()))):
            known = tiled({"": known}, max(SIZES))[""]
        for rows in SIZES:
            found = replace(free, batch_rows=rows).run(output.name, {k: array[:rows] for k, array in feeds.items()})
            if found.shape != known[:rows].shape:
                raise ModelFileError(f"gives {list(found.shape)} for {_rows(rows)}")
            if _differ(found, known[:rows]):
                raise ModelFileError(f"gives other answers in batches of {_rows(rows)}")


def _differ(found: Array, known: Array) -> bool:
    if known.dtype.kind != "f":
        return not np.array_equal(found, known)
    return apart(found, known, Tolerance()).far


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"
