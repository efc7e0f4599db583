"""One rule over any of the members, on rows that neither the members nor the rule saw: what smaller ensembles lose."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from exporter.fusing.ledger import Ledger
from exporter.fusing.pareto import forward_selection
from exporter.fusing.rules import calibrated_stack, fit_rule, fit_temperatures
from exporter.fusing.selection import cross_fit
from exporter.recipe.rule_names import RuleName
from exporter.scoring.objective import Objective

Floats = NDArray[np.float64]
Subset = tuple[int, ...]
"""Ascending places of members in the ledger."""

_ENTROPY = 0xD1FF


class Subsets:
    """Cross-fitted answers of one rule, each subset fitted once. Not thread-safe."""

    def __init__(self, ledger: Ledger, rule: RuleName, costs: Sequence[float], seed: int, objective: Objective) -> None:
        self.ledger, self.rule, self.costs, self.seed, self.objective = ledger, rule, costs, seed, objective
        self._known: dict[Subset, Floats] = {}
        self._tried: tuple[Subset, ...] | None = None
        whole = cross_fit(ledger, [rule], costs, seed, objective)
        self._known[self.everyone] = whole.rules[rule]
        self.singles = whole.members

    @property
    def everyone(self) -> Subset:
        """All members."""
        return tuple(range(len(self.ledger.members)))

    def answers(self, members: Sequence[int]) -> Floats:
        """float64 [n, C]; one member alone answers by itself."""
        return self.singles[self.ledger.members[members[0]]] if len(members) == 1 else self.ruled(members)

    def ruled(self, members: Sequence[int]) -> Floats:
        """The rule's answers over these, one member alone too: a rule that is fitted may mend even one."""
        subset = tuple(members)
        if subset not in self._known:
            costs = [self.costs[k] for k in subset]
            fitted = cross_fit(only(self.ledger, subset), [self.rule], costs, self.seed, self.objective)
            self._known[subset] = fitted.rules[self.rule]
        return self._known[subset]

    def losses(self, members: Sequence[int]) -> Floats:
        """Each row's loss under those answers, float64 [n]."""
        return self.objective.losses(self.answers(members), self.ledger.target)

    def best_losses(self, members: Sequence[int]) -> Floats:
        """The same, of one member alone with the rule over it where that has the lower mean."""
        found = self.losses(members)
        if len(members) > 1:
            return found
        ruled = self.objective.losses(self.ruled(members), self.ledger.target)
        return min(found, ruled, key=lambda losses: float(losses.mean()))

    def loss(self, members: Sequence[int]) -> float:
        """The metric of those answers."""
        return self.objective.figure(self.losses(members))

    def tried(self) -> tuple[Subset, ...]:
        """Every member alone, and the sets that grow from the best one to all; the smaller first."""
        if self._tried is None:
            grown = forward_selection(self.ledger.members, self._quick())
            self._tried = tuple(sorted({(k,) for k in self.everyone} | set(grown), key=lambda each: (len(each), each)))
        return self._tried

    def _quick(self) -> _Mean:
        temperatures = fit_temperatures(self.ledger.outputs, self.ledger.kinds, self.ledger.target)
        P = calibrated_stack(self.ledger.outputs, self.ledger.kinds, temperatures, self.ledger.labels)
        return _Mean(P, self)


@dataclasses.dataclass(frozen=True)
class _Mean:
    """The mean, with a temperature: enough to say which member helps most, at a hundredth of the time."""

    P: Floats
    subsets: Subsets

    def __call__(self, members: Sequence[int]) -> float:
        chosen, y, objective = self.P[list(members)], self.subsets.ledger.target, self.subsets.objective
        return objective.of(fit_rule("mean", chosen, y, [0.0] * len(chosen), objective)(chosen), y)


def drawn(ledger: Ledger, seed: int, most: int) -> Ledger:
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
