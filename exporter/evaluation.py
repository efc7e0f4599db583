"""The published members and rules on rows that nothing has seen: figures, latencies, what the recipe accepts."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from exporter.data.dataset import Array, Rows
from exporter.families import MemberSpec
from exporter.fusing.rules import calibrated_stack
from exporter.fusing.selection import Fusing
from exporter.inference import Graph, batches
from exporter.metrics import Metrics, log_loss, measure
from exporter.recipe import Acceptance
from exporter.reporting.latency import latency_ms
from exporter.reporting.leaderboard import Row
from model_repo.manifest import Kind

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """The exported members in the ensemble's order."""

    names: tuple[str, ...]
    graphs: tuple[Graph, ...]
    kinds: tuple[Kind, ...]

    def raw(self, inputs: Mapping[str, Array]) -> list[NDArray[np.float32]]:
        """Each member's raw output float32 [n, C]."""
        return [graph.in_batches(inputs) for graph in self.graphs]

    def calibrated(self, inputs: Mapping[str, Array], temperatures: Sequence[float]) -> Floats:
        """Calibrated probabilities float64 [K, n, C]."""
        return calibrated_stack(self.raw(inputs), self.kinds, temperatures)

    def latencies_ms(self, inputs: Mapping[str, Array]) -> list[float]:
        """Median milliseconds of the first row alone, per member."""
        row = next(batches(inputs, 1))
        return [latency_ms(functools.partial(graph, row)) for graph in self.graphs]


def evaluate(
    panel: Panel, fusing: Fusing, test: Rows, specs: Mapping[str, MemberSpec], latencies: Sequence[float], y: Array
) -> list[Row]:
    """A row per member and per rule on the test rows; `y` are the targets of the validation rows.

    A rule's latency is that of all members, one after the other, measured once, and that of the rule itself.
    """
    P = panel.calibrated(test.inputs, fusing.temperatures)
    rows = []
    for name, p, latency in zip(panel.names, P, latencies, strict=True):
        metrics = msgspec.structs.replace(measure(p, test.target), latency_ms=latency)
        validation = log_loss(fusing.validation.members[name], y)
        family = str(specs[name].__struct_config__.tag)
        rows.append(Row(name=name, kind="member", family=family, metrics=metrics, validation_log_loss=validation))
    first = next(batches(test.inputs, 1))
    members_ms = latency_ms(lambda: panel.calibrated(first, fusing.temperatures))
    for rule in {**fusing.rules, fusing.chosen.name: fusing.chosen}.values():
        fusion_ms = latency_ms(functools.partial(rule, P[:, :1]))
        metrics = msgspec.structs.replace(measure(rule(P), test.target), latency_ms=members_ms + fusion_ms)
        answers = fusing.validation.rules.get(rule.name, fusing.validation.members[fusing.best_single])
        rows.append(Row(name=rule.name, kind="rule", metrics=metrics, validation_log_loss=log_loss(answers, y)))
    return rows


def missed(acceptance: Acceptance, published: Metrics, members: Mapping[str, Metrics]) -> Iterator[str]:
    """One sentence for each thing that was asked for and is not reached."""
    if acceptance.accuracy is not None and published.accuracy < acceptance.accuracy:
        yield f"accuracy is {published.accuracy:.4f}, at least {acceptance.accuracy:g} was asked for"
    if acceptance.log_loss is not None and published.log_loss > acceptance.log_loss:
        yield f"log-loss is {published.log_loss:.4f}, at most {acceptance.log_loss:g} was asked for"
    if acceptance.ece is not None and published.ece > acceptance.ece:
        yield f"ece is {published.ece:.4f}, at most {acceptance.ece:g} was asked for"
    best = min(members, key=lambda name: members[name].log_loss)
    if acceptance.best_single and published.log_loss > members[best].log_loss:
        yield f"log-loss is {published.log_loss:.4f}, member {best!r} alone has {members[best].log_loss:.4f}"
