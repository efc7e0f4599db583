"""Members against each other on validation rows: what each one adds, and which smaller ensembles pay."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.data.dataset import Array
from exporter.fusing.ledger import Ledger
from exporter.fusing.names import RuleName
from exporter.fusing.rules import calibrated_stack, fit_rule, fit_temperatures
from exporter.fusing.selection import Fusing, cross_fit
from exporter.objective import Objective
from exporter.reporting.diversity import Diversity, diversity
from exporter.reporting.pareto import Candidate, forward_selection, marked

Floats = NDArray[np.float64]

MOST_ROWS = 4000
"""Of the ledger that are looked at, drawn by seed: every rule is fitted some 5 · 2 · K times to them."""
_ENTROPY = 0xD1FF


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


def compare(
    ledger: Ledger,
    fusing: Fusing,
    rules: Sequence[RuleName],
    costs: Sequence[float],
    tested: Trial,
    seed: int,
    objective: Objective,
) -> Compared:
    """Diversity and Pareto list. Everything is chosen on rows of the ledger, cross-fitted; test figures are shown.

    Where a member alone is published, smaller ensembles use the first of `rules`.
    """
    small = drawn(ledger, seed)
    published = next((name for name in rules if name == fusing.chosen.name), None)
    rule = published or rules[0]
    parts = _Parts(small, rule, costs, seed, objective)
    pareto = _candidates(parts, ledger, tested)
    if len(ledger.members) < 2:
        return Compared(None, pareto)
    return Compared(_diversity(parts, published is not None), pareto)


def drawn(ledger: Ledger, seed: int, most: int = MOST_ROWS) -> Ledger:
    """At most that many rows of the ledger, in order."""
    n = len(ledger.rows)
    if n <= most:
        return ledger
    index = np.sort(np.random.default_rng([seed, _ENTROPY]).permutation(n)[:most])
    return dataclasses.replace(
        ledger,
        rows=ledger.rows[index],
        target=ledger.target[index],
        fold=ledger.fold[index],
        outputs=tuple(output[index] for output in ledger.outputs),
    )


def only(ledger: Ledger, members: Sequence[int]) -> Ledger:
    """The ledger of some of the members."""
    return dataclasses.replace(
        ledger,
        members=tuple(ledger.members[k] for k in members),
        kinds=tuple(ledger.kinds[k] for k in members),
        outputs=tuple(ledger.outputs[k] for k in members),
    )


class _Parts:
    """One rule over any of the members: its cross-fitted answers, each subset fitted once."""

    def __init__(self, ledger: Ledger, rule: RuleName, costs: Sequence[float], seed: int, objective: Objective) -> None:
        self.ledger, self.rule, self.costs, self.seed, self.objective = ledger, rule, costs, seed, objective
        self._known: dict[tuple[int, ...], Floats] = {}
        everyone = cross_fit(ledger, [rule], costs, seed, objective)
        self._known[tuple(range(len(ledger.members)))] = everyone.rules[rule]
        self.singles = everyone.members

    def answers(self, members: Sequence[int]) -> Floats:
        """float64 [n, C]; one member alone answers by itself."""
        subset = tuple(members)
        if len(subset) == 1:
            return self.singles[self.ledger.members[subset[0]]]
        if subset not in self._known:
            costs = [self.costs[k] for k in subset]
            fitted = cross_fit(only(self.ledger, subset), [self.rule], costs, self.seed, self.objective)
            self._known[subset] = fitted.rules[self.rule]
        return self._known[subset]

    def loss(self, members: Sequence[int]) -> float:
        """The metric of those answers."""
        return self.objective.of(self.answers(members), self.ledger.target)


def _diversity(parts: _Parts, fused: bool) -> Diversity:
    """Where no rule but the best member is published, it is compared with the best of the members that are left."""
    everyone = range(len(parts.ledger.members))

    def answers(members: Sequence[int]) -> Floats:
        return parts.answers(members) if fused else parts.answers([min(members, key=lambda k: parts.loss([k]))])

    without = {
        name: answers([other for other in everyone if other != k]) for k, name in enumerate(parts.ledger.members)
    }
    return diversity(parts.singles, answers(list(everyone)), without, parts.ledger.target, parts.objective, parts.seed)


def _candidates(parts: _Parts, ledger: Ledger, tested: Trial) -> tuple[Candidate, ...]:
    names, objective = parts.ledger.members, parts.objective
    temperatures = fit_temperatures(parts.ledger.outputs, parts.ledger.kinds, parts.ledger.target)
    P = calibrated_stack(parts.ledger.outputs, parts.ledger.kinds, temperatures)

    def quick(members: Sequence[int]) -> float:
        """The mean, with a temperature: enough to say which member helps most, at a hundredth of the time."""
        chosen = P[list(members)]
        fitted = fit_rule("mean", chosen, parts.ledger.target, [0.0] * len(chosen), objective)
        return objective.of(fitted(chosen), parts.ledger.target)

    subsets = {(k,) for k in range(len(names))} | set(forward_selection(names, quick))
    whole = calibrated_stack(
        ledger.outputs, ledger.kinds, fit_temperatures(ledger.outputs, ledger.kinds, ledger.target)
    )
    found = []
    for subset in sorted(subsets, key=lambda each: (len(each), each)):
        index = list(subset)
        answers = tested.P[index[0]]
        if len(index) > 1:
            rule = fit_rule(parts.rule, whole[index], ledger.target, [parts.costs[k] for k in index], objective)
            answers = rule(tested.P[index])
        found.append(
            Candidate(
                members=tuple(names[k] for k in index),
                rule="single" if len(index) == 1 else parts.rule,
                latency_ms=float(sum(tested.latencies_ms[k] for k in index)),
                validation=parts.loss(subset),
                test=objective.of(answers, tested.target),
            )
        )
    return marked(found)
