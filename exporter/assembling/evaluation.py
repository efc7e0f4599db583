"""The published members and rules on rows that nothing has seen: figures, latencies, what the recipe accepts."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from exporter.assembling.useful import Published
from exporter.data.dataset import Array, Rows
from exporter.fusing.ledger import Ledger
from exporter.fusing.rules import calibrated_stack
from exporter.fusing.selection import Fusing
from exporter.gate.inference import Graph, batches
from exporter.recipe.recipe import BOUNDS, Acceptance
from exporter.reporting.latency import latency_ms
from exporter.reporting.leaderboard import Row
from exporter.scoring.metrics import HIGHER_IS_BETTER, Metrics
from exporter.scoring.objective import Objective, wording
from model_repo.format.manifest import Kind

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """The exported members in the ensemble's order."""

    names: tuple[str, ...]
    graphs: tuple[Graph, ...]
    kinds: tuple[Kind, ...]
    sharing: tuple[int, ...] = ()
    """How many members each one's file has; empty: none is shared."""

    def raw(self, inputs: Mapping[str, Array]) -> list[NDArray[np.float32]]:
        """Each member's raw output float32 [n, C]."""
        return [graph.in_batches(inputs) for graph in self.graphs]

    def latencies_ms(self, inputs: Mapping[str, Array]) -> list[float]:
        """Median milliseconds of the first row alone, per member; of a shared file each one's share."""
        row = next(batches(inputs, 1))
        shares = self.sharing or (1,) * len(self.graphs)
        return [
            latency_ms(functools.partial(graph, row)) / share for graph, share in zip(self.graphs, shares, strict=True)
        ]


def evaluate(
    ledger: Ledger,
    fusing: Fusing,
    published: Published,
    raw: Sequence[NDArray[np.float32]],
    test: Rows,
    families: Mapping[str, str],
    latencies_ms: Sequence[float],
    objective: Objective,
) -> list[Row]:
    """A row per member and per rule on the test rows, from the members' raw answers [m, C] to them.

    A rule is over all members, the published one over those that are published. Its latency is that of its members,
    one after the other, and of calibrating and fusing one row.
    """
    P = calibrated_stack(raw, ledger.kinds, fusing.temperatures, ledger.labels)
    y = ledger.target
    rows = []
    for name, p, latency in zip(ledger.members, P, latencies_ms, strict=True):
        metrics = msgspec.structs.replace(objective.measure(p, test), latency_ms=latency)
        validation = objective.of(fusing.validation.members[name], y)
        rows.append(
            Row(name=name, kind="member", family=families.get(name, ""), metrics=metrics, validation_loss=validation)
        )
    everyone = tuple(range(len(raw)))
    rules = {name: Published(everyone, rule, fusing.validation.rules[name]) for name, rule in fusing.rules.items()} | {
        published.rule.name: published
    }
    for rule in rules.values():
        fusion_ms = latency_ms(functools.partial(_fuse_row, rule, raw, ledger, fusing))
        members_ms = sum(latencies_ms[k] for k in rule.members)
        metrics = msgspec.structs.replace(objective.measure(rule(P), test), latency_ms=members_ms + fusion_ms)
        validation = objective.of(rule.validation, y)
        rows.append(Row(name=rule.rule.name, kind="rule", metrics=metrics, validation_loss=validation))
    return rows


def _fuse_row(rule: Published, raw: Sequence[NDArray[np.float32]], ledger: Ledger, fusing: Fusing) -> Floats:
    first = [raw[k][:1] for k in rule.members]
    kinds = [ledger.kinds[k] for k in rule.members]
    temperatures = [fusing.temperatures[k] for k in rule.members]
    return rule.rule(calibrated_stack(first, kinds, temperatures, ledger.labels))


def missed(
    acceptance: Acceptance, published: Metrics, members: Mapping[str, Metrics], objective: Objective
) -> Iterator[str]:
    """One sentence for each thing that was asked for and is not reached."""
    for name in BOUNDS:
        bound = getattr(acceptance, name)
        if bound is None:
            continue
        found = published.figure(name)
        higher = name in HIGHER_IS_BETTER
        if found < bound if higher else found > bound:
            yield f"{wording(name)} is {found:.4f}, {'at least' if higher else 'at most'} {bound:g} was asked for"
    metric = objective.metric
    best = min(members, key=lambda name: members[name].figure(metric))
    if acceptance.best_single and published.figure(metric) > members[best].figure(metric):
        alone = members[best].figure(metric)
        yield f"{wording(metric)} is {published.figure(metric):.4f}, member {best!r} alone has {alone:.4f}"
