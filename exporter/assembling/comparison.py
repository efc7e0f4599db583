"""Members against each other on validation rows: what each one adds, and which smaller ensembles pay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.data.dataset import Array
from exporter.fusing.ledger import Ledger
from exporter.fusing.pareto import Candidate, marked
from exporter.fusing.rules import calibrated_stack, fit_rule, fit_temperatures
from exporter.fusing.selection import Fusing
from exporter.fusing.subsets import Subsets, drawn
from exporter.recipe.rule_names import RuleName
from exporter.reporting.diversity import Diversity, diversity
from exporter.scoring.objective import Objective

Floats = NDArray[np.float64]

MOST_ROWS = 4000
"""Of the ledger that are looked at, drawn by seed: every rule is fitted some 5 · 2 · K times to them."""


@dataclass(frozen=True)
class Compared:
    """The report on the members; `pareto` is sorted by latency."""

    diversity: Diversity | None
    """None for one member alone: there is nothing to compare it with."""
    pareto: tuple[Candidate, ...]


@dataclass(frozen=True)
class Trial:
    """The members on the test rows: calibrated answers float64 [K, n, C], targets, and milliseconds of one row."""

    P: Floats
    target: Array
    latencies_ms: Sequence[float]


def subsets_of(
    ledger: Ledger,
    fusing: Fusing,
    rules: Sequence[RuleName],
    costs: Sequence[float],
    seed: int,
    objective: Objective,
) -> Subsets:
    """The chosen rule over any of the members, on some rows; where a member alone is chosen, the first of `rules`."""
    rule = next((name for name in rules if name == fusing.chosen.name), rules[0])
    return Subsets(drawn(ledger, seed, MOST_ROWS), rule, costs, seed, objective)


def compare(ledger: Ledger, fusing: Fusing, subsets: Subsets, tested: Trial) -> Compared:
    """Diversity and Pareto list. Everything is chosen on rows of the ledger, cross-fitted; test figures are shown."""
    pareto = _candidates(subsets, ledger, tested)
    if len(ledger.members) < 2:
        return Compared(None, pareto)
    return Compared(_diversity(subsets, subsets.rule == fusing.chosen.name), pareto)


def _diversity(subsets: Subsets, fused: bool) -> Diversity:
    """Where no rule but the best member is published, it is compared with the best of the members that are left."""
    everyone = range(len(subsets.ledger.members))

    def answers(members: Sequence[int]) -> Floats:
        return subsets.answers(members) if fused else subsets.answers([min(members, key=lambda k: subsets.loss([k]))])

    without = {
        name: answers([other for other in everyone if other != k]) for k, name in enumerate(subsets.ledger.members)
    }
    return diversity(
        subsets.singles, answers(list(everyone)), without, subsets.ledger.target, subsets.objective, subsets.seed
    )


def _candidates(subsets: Subsets, ledger: Ledger, tested: Trial) -> tuple[Candidate, ...]:
    names, objective = subsets.ledger.members, subsets.objective
    whole = calibrated_stack(
        ledger.outputs, ledger.kinds, fit_temperatures(ledger.outputs, ledger.kinds, ledger.target), ledger.labels
    )
    found = []
    for subset in subsets.tried():
        index = list(subset)
        answers = tested.P[index[0]]
        if len(index) > 1:
            rule = fit_rule(subsets.rule, whole[index], ledger.target, [subsets.costs[k] for k in index], objective)
            answers = rule(tested.P[index])
        found.append(
            Candidate(
                members=tuple(names[k] for k in index),
                rule="single" if len(index) == 1 else subsets.rule,
                latency_ms=float(sum(tested.latencies_ms[k] for k in index)),
                validation=subsets.loss(subset),
                test=objective.of(answers, tested.target),
            )
        )
    return marked(found)
