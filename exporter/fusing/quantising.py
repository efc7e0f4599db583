"""Members with 8-bit weights where that is faster on this machine and costs next to nothing; decided by measuring."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import perf_counter

import msgspec
import numpy as np
from numpy.typing import NDArray

from exporter.conversion.int8 import int8
from exporter.data.dataset import Array, Dataset, Rows
from exporter.errors import ConversionError
from exporter.fusing.labels import calibrated_labels, label_temperature
from exporter.fusing.temperature import fit_temperature
from exporter.gate.inference import Graph, batches
from exporter.members.base import Family
from exporter.scoring.objective import Objective, wording
from exporter.training.jobs import FINAL, Job, Made
from server.runtime.answer.calibration import calibrate

MAX_LOSS_CHANGE = 0.002
"""Of the log-loss in nats, after each has the temperature that fits it."""
MAX_RELATIVE_CHANGE = 0.005
"""Of a regression's error."""
MAX_FLIPS = 0.001
"""Share of rows that change their class."""
LEAST_GAIN = 0.05
"""Of the median time, at one of the two batch sizes; at the other it may not be slower."""

TIMED_ROWS = (1, 32)
_ROUNDS, _LONGEST_S = 40, 1.5
_BATCH_ROWS = (1, 33, 256)
_MOST_SINGLE = 256
"""Rows that are answered one by one."""


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was measured of a member's 8-bit graph, and what came of it."""

    accepted: bool
    reason: str
    milliseconds: tuple[float, ...] = ()
    """Medians of one row and of 32, before; interleaved with the next."""
    milliseconds_int8: tuple[float, ...] = ()
    loss_change: float = 0.0
    """Of the ensemble's metric, on rows that the member was not trained on; the worst of three batch sizes."""
    flips: float = 0.0
    """Share of those rows that change their class."""
    batch_difference: float = 0.0
    """Largest difference of an answer between batch sizes: activations are scaled by what a batch holds."""
    bytes: int = 0
    bytes_int8: int = 0


def quantised(
    results: Mapping[Job, Made], members: Mapping[str, Family], dataset: Dataset, objective: Objective
) -> tuple[dict[Job, Made], dict[str, Decision]]:
    """The results with the graphs of accepted members in 8 bits, and the decision on each that asked for it.

    The graphs of an accepted member's folds become 8-bit too and answer again: temperatures and weights are fitted to
    what will be served. Raises ConversionError where `int8` is demanded of a graph that has nothing to quantise.
    """
    found, decisions = dict(results), {}
    for name, spec in members.items():
        if spec.quantize == "never":
            continue
        final = next(job for job in results if job.member == name and job.fold == FINAL)
        try:
            decision = decide(results[final], _held(results[final], dataset), objective)
        except ConversionError as error:
            raise ConversionError(f"member {name!r}: {error}") from error
        if spec.quantize == "int8" and not decision.accepted:
            if not decision.bytes_int8:
                raise ConversionError(f"member {name!r}: quantize is int8, but its graph {decision.reason}")
            decision = msgspec.structs.replace(
                decision, accepted=True, reason=f"is demanded by the recipe, although it {decision.reason}"
            )
        decisions[name] = decision
        if decision.accepted:
            for job, made in results.items():
                if job.member == name:
                    found[job] = _made(made, _held(made, dataset))
    return found, decisions


def decide(made: Made, rows: Rows, objective: Objective) -> Decision:
    """Whether the member's 8-bit graph is to be served, from its answers to rows that it was not trained on."""
    if made.output or made.heads:
        return Decision(accepted=False, reason="shares its file with other members")
    data = int8(made.onnx)
    if data is None:
        return Decision(accepted=False, reason="has no product with constant weights")
    plain, small = Graph(made.onnx), Graph(data)
    before = _answers(made, made.outputs, rows)
    answers = {size: _answers(made, _in_batches(small, rows.inputs, size), rows) for size in _BATCH_ROWS}
    change = max(
        objective.of(found, rows.target[: len(found)]) - objective.of(before[: len(found)], rows.target[: len(found)])
        for found in answers.values()
    )
    flips = 0.0
    if objective.classifies:
        flips = max(float((found.argmax(axis=1) != before[: len(found)].argmax(axis=1)).mean())
                    for found in answers.values())  # fmt: skip
    single, whole = answers[_BATCH_ROWS[0]], answers[_BATCH_ROWS[-1]]
    first, second = zip(*(interleaved_ms(plain, small, rows.inputs, size) for size in TIMED_ROWS), strict=True)
    decision = Decision(
        accepted=True,
        reason="",
        milliseconds=tuple(round(value, 4) for value in first),
        milliseconds_int8=tuple(round(value, 4) for value in second),
        loss_change=round(change, 6),
        flips=round(flips, 6),
        batch_difference=float(np.abs(single - whole[: len(single)]).max()),
        bytes=len(made.onnx),
        bytes_int8=len(data),
    )
    objections = list(_objections(decision, objective, objective.of(before, rows.target)))
    reason = " and ".join(objections) or "is faster and within the bounds"
    return msgspec.structs.replace(decision, accepted=not objections, reason=reason)


def interleaved_ms(
    first: Graph, second: Graph, inputs: Mapping[str, Array], rows: int, rounds: int = _ROUNDS
) -> tuple[float, float]:
    """Median milliseconds of both graphs for the same batch, measured turn by turn: what the machine does else hits
    both alike."""
    batch = next(batches(inputs, rows))
    asks: Sequence[Callable[[], object]] = [functools.partial(graph, batch) for graph in (first, second)]
    times: list[list[float]] = [[], []]
    for ask in asks:
        ask()
    end = perf_counter() + _LONGEST_S
    while len(times[0]) < rounds and (len(times[0]) < 5 or perf_counter() < end):
        for ask, taken in zip(asks, times, strict=True):
            started = perf_counter()
            ask()
            taken.append(perf_counter() - started)
    medians = [float(np.median(taken)) * 1e3 for taken in times]
    return medians[0], medians[1]


def _objections(decision: Decision, objective: Objective, loss: float) -> list[str]:
    """Why it is not taken, each as the rest of a sentence."""
    found = []
    ratios = [new / old for old, new in zip(decision.milliseconds, decision.milliseconds_int8, strict=True)]
    if max(ratios) > 1 or min(ratios) > 1 - LEAST_GAIN:
        told = ", ".join(f"{ratio:.2f} × at {rows}" for rows, ratio in zip(TIMED_ROWS, ratios, strict=True))
        found.append(f"is not faster here ({told} rows)")
    bound = MAX_LOSS_CHANGE if objective.metric == "log_loss" else MAX_RELATIVE_CHANGE * loss
    if decision.loss_change > bound:
        found.append(f"costs {decision.loss_change:+.4f} {wording(objective.metric)}, at most {bound:.4f} is allowed")
    if decision.flips > MAX_FLIPS:
        found.append(f"flips {decision.flips:.2%} of the classes, at most {MAX_FLIPS:.1%} are allowed")
    return found


def _made(made: Made, rows: Rows) -> Made:
    """The result with its 8-bit graph, and that graph's answers."""
    data = int8(made.onnx)
    if data is None:
        raise ConversionError("its fold has no product to quantise, but its published graph has; this is a bug")
    return replace(made, onnx=data, outputs=Graph(data).in_batches(rows.inputs))


def _held(made: Made, dataset: Dataset) -> Rows:
    return dataset.rows.take(np.searchsorted(dataset.rows.ids, made.held))


def _answers(made: Made, raw: NDArray[np.float32], rows: Rows) -> NDArray[np.float64]:
    """Calibrated by the temperature that fits them."""
    y = rows.target[: len(raw)]
    if y.ndim == 2 and made.kind != "value":  # labels that do not exclude each other
        return calibrated_labels(raw, made.kind, label_temperature(raw, made.kind, y))
    return calibrate(raw, made.kind, fit_temperature(raw, made.kind, y))


def _in_batches(graph: Graph, inputs: Mapping[str, Array], size: int) -> NDArray[np.float32]:
    if size > 1:
        return graph.in_batches(inputs, size)
    return graph.in_batches({name: array[:_MOST_SINGLE] for name, array in inputs.items()}, 1)
