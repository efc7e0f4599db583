"""Which members are published: the smallest set that is as good as the best one, as far as validation can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from exporter.fusing.ledger import Ledger
from exporter.fusing.rules import FittedRule, calibrated_stack, fit_rule, single
from exporter.fusing.selection import Fusing, cross_fit
from exporter.fusing.subsets import Subset, Subsets, drawn, only
from exporter.recipe.recipe import Head
from exporter.recipe.rule_names import RuleName
from exporter.scoring.objective import wording

MOST_ROWS = 20_000
"""Of the ledger that the choice looks at: a rule is fitted some 5 · 2 · K times to them, seconds each beyond."""

MATERIAL = 1e-3
"""Of the loss: members of weight 0.000 move it by a millionth of itself, and every row by the same, so that a standard
error of the difference would call even that certain."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Published:
    """The members that are published, and the rule over them."""

    members: Subset
    rule: FittedRule
    """Its weights are float64 [len(members)]."""
    validation: Floats
    """Its answers [n, C] to the ledger's rows, fitted without each row."""
    reason: str = ""
    """Why some are left out; empty where none is."""

    def __call__(self, P: Floats) -> Floats:
        """The fused answer [n, C] of all members' calibrated answers [K, n, C]."""
        return self.rule(P[list(self.members)])


def published(ledger: Ledger, fusing: Fusing, costs: Sequence[float], head: Head, known: Subsets) -> Published:
    """The chosen rule over the members that `fusion.keep` asks for; `known` are subsets that were fitted already."""
    everyone = tuple(range(len(ledger.members)))
    members, reason = everyone, ""
    if head.fusion.keep == "useful" and len(everyone) > 1:
        members, reason = _useful(ledger, fusing, costs, head, known)
    if members == everyone:
        answers = fusing.validation.rules.get(fusing.chosen.name, fusing.validation.members[fusing.best_single])
        return Published(everyone, fusing.chosen, answers)
    return _refitted(ledger, fusing, members, costs, head, reason)


def _useful(ledger: Ledger, fusing: Fusing, costs: Sequence[float], head: Head, known: Subsets) -> tuple[Subset, str]:
    quorum, name = head.fusion.quorum, fusing.chosen.name
    if name not in fusing.rules:  # no rule is better than one member alone
        alone = (ledger.members.index(fusing.best_single),)
        everyone = tuple(range(len(ledger.members)))
        return (alone, f"no other member helps {fusing.best_single}") if quorum == 1 else (everyone, "")
    rows = drawn(ledger, head.seed, MOST_ROWS)
    same = known.rule == name and len(known.ledger.rows) == len(rows.rows)
    subsets = known if same else Subsets(rows, cast("RuleName", name), costs, head.seed, head.objective)
    members, least = smallest(subsets, quorum)
    names, metric = [ledger.members[k] for k in members], wording(head.objective.metric)
    figure = head.objective.figure
    return members, (
        f"{', '.join(names)} of {len(ledger.members)} members {'are' if len(names) > 1 else 'is'} enough: {metric} "
        f"{figure(subsets.best_losses(members)):.4f} on validation, within one standard error of the least of any "
        f"set, {figure(subsets.best_losses(least)):.4f}"
    )


def smallest(subsets: Subsets, fewest: int = 1) -> tuple[Subset, Subset]:
    """The smallest of the sets tried, with at least `fewest` members, that is as good as the best, and that best one.

    As good: its mean loss is within one standard error of the paired differences from the best set's, or within
    `MATERIAL` of it. Of equally small ones the best; all members where the only sets as good are too small.
    """
    losses = {each: subsets.best_losses(each) for each in subsets.tried()}
    least = min(losses, key=lambda each: float(losses[each].mean()))
    for each in sorted(losses, key=lambda each: (len(each), float(losses[each].mean()))):
        difference = losses[each] - losses[least]
        error = float(difference.std(ddof=1)) / np.sqrt(len(difference))
        if len(each) >= fewest and difference.mean() <= max(error, MATERIAL * float(losses[least].mean())):
            return each, least
    return subsets.everyone, least


def _refitted(
    ledger: Ledger, fusing: Fusing, members: Subset, costs: Sequence[float], head: Head, reason: str
) -> Published:
    """The rule fitted anew to these members alone; a single one answers as it is where no rule mends it."""
    some, rule, y = only(ledger, members), cast("RuleName", fusing.chosen.name), ledger.target
    theirs, objective = [costs[k] for k in members], head.objective
    if rule in fusing.rules:
        answers = cross_fit(some, [rule], theirs, head.seed, objective).rules[rule]
    if len(members) == 1 and head.fusion.publish == "auto":
        alone = fusing.validation.members[some.members[0]]
        if rule not in fusing.rules or objective.of(alone, y) <= objective.of(answers, y):
            return Published(members, single(0, 1), alone, reason)
    P = calibrated_stack(some.outputs, some.kinds, [fusing.temperatures[k] for k in members], some.labels)
    return Published(members, fit_rule(rule, P, y, theirs, objective), answers, reason)
