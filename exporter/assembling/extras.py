"""Graphs that members bring beside their own: into the version as extras, their figures onto the leaderboard."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import msgspec
import numpy as np

from exporter.assembling.fused import Fused
from exporter.bundle import NO_DIGEST, SidePart
from exporter.data.dataset import Array
from exporter.gate.inference import batches
from exporter.members.base import ExtraGraph
from exporter.training.jobs import Made
from model_repo import Extra
from server.runtime.sessions.session import Model, Session, SessionKey

_BATCH_ROWS = 32


def run_extra(graph: ExtraGraph, inputs: Mapping[str, Array]) -> Array:
    """What the graph gives for rows [n, …], some at a time, in its own datatype."""
    session = Session(SessionKey(hashlib.sha256(graph.onnx).hexdigest()), Model(graph.onnx))
    taken = [entry.name for entry in session.inputs]
    parts = batches({name: inputs[name] for name in taken}, _BATCH_ROWS)
    return np.concatenate([np.asarray(session.run([graph.name], part)[0]) for part in parts])


def extra_parts(finals: Mapping[str, Made]) -> tuple[SidePart, ...]:
    """Every member's extras as the bundle takes them."""
    return tuple(
        SidePart(
            Extra(
                name=graph.name, file=f"extras/{graph.name}.onnx", sha256=NO_DIGEST, bytes=0, output=graph.name,
                datatype=graph.datatype, shape=graph.shape,
            ),
            graph.onnx,
        )
        for made in finals.values()
        for graph in made.extras
    )  # fmt: skip


def extra_answers(finals: Mapping[str, Made], inputs: Mapping[str, Array]) -> dict[str, Array]:
    """What they give for the golden rows, by its name in the golden file."""
    return {f"extra:{graph.name}": run_extra(graph, inputs) for made in finals.values() for graph in made.extras}


def with_figures(fused: Fused, finals: Mapping[str, Made]) -> Fused:
    """The members' rows with the figures that their extras reach."""
    rows = []
    for row in fused.rows:
        figures = finals[row.name].figures if row.kind == "member" and row.name in finals else {}
        rows.append(msgspec.structs.replace(row, metrics=msgspec.structs.replace(row.metrics, **figures)))
    return replace(fused, rows=tuple(rows))
