"""Which rule is published: compared on rows that neither the members nor the rule itself was fitted to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.data.splits import folds
from exporter.fusing.ledger import Ledger
from exporter.fusing.rules import FittedRule, calibrated_stack, fit_rule, fit_temperatures, single
from exporter.fusing.weights import LOG_LOSS
from exporter.recipe.rule_names import RuleName
from exporter.scoring.objective import Objective, wording

Floats = NDArray[np.float64]

CROSS_FITS = 5


@dataclass(frozen=True)
class CrossFit:
    """Answers float64 [n, C] to the ledger's rows, each by a rule (or member) fitted without the row."""

    rules: Mapping[str, Floats]
    members: Mapping[str, Floats]


@dataclass(frozen=True)
class Fusing:
    """All that was fitted, and what is published."""

    temperatures: tuple[float, ...]
    rules: dict[str, FittedRule]
    chosen: FittedRule
    reason: str
    """One sentence: why this rule."""
    validation: CrossFit
    best_single: str
    """The member with the least loss on validation."""


def fit_fusion(
    ledger: Ledger,
    names: Sequence[RuleName],
    publish: str,
    costs: Sequence[float],
    seed: int,
    objective: Objective = LOG_LOSS,
) -> Fusing:
    """Temperatures, every rule in `names`, and the choice; `publish` is a rule's name or `auto` (see `choose`)."""
    y = ledger.target
    temperatures = fit_temperatures(ledger.outputs, ledger.kinds, y)
    P = calibrated_stack(ledger.outputs, ledger.kinds, temperatures, ledger.labels)
    rules: dict[str, FittedRule] = {name: fit_rule(name, P, y, costs, objective) for name in names}
    validation = cross_fit(ledger, names, costs, seed, objective)
    losses = {name: objective.losses(fused, y) for name, fused in validation.rules.items()}
    singles = {name: objective.losses(answer, y) for name, answer in validation.members.items()}
    best = min(singles, key=lambda name: float(singles[name].mean()))
    chosen, reason = choose(losses, best, singles[best], publish, objective)
    rule = rules[chosen] if chosen in rules else single(ledger.members.index(best), len(ledger.members))
    return Fusing(tuple(temperatures), rules, rule, reason, validation, best)


def cross_fit(
    ledger: Ledger, names: Sequence[RuleName], costs: Sequence[float], seed: int, objective: Objective = LOG_LOSS
) -> CrossFit:
    """Everything fitted on four fifths of the ledger's rows answers the other fifth, five times over.

    A rule with many parameters looks best on the rows that it was fitted to; only so can it be compared.
    """
    y = ledger.target
    strata = y if objective.classifies else np.zeros(len(y), dtype=np.int64)
    fold = folds(strata, CROSS_FITS, np.random.default_rng([seed, 0xF01D]))
    shape = (len(y), ledger.outputs[0].shape[1])
    rules: dict[str, Floats] = {name: np.empty(shape) for name in names}
    members: dict[str, Floats] = {name: np.empty(shape) for name in ledger.members}
    for part in range(CROSS_FITS):
        fit, held = fold != part, fold == part
        known = [output[fit] for output in ledger.outputs]
        temperatures = fit_temperatures(known, ledger.kinds, y[fit])
        P = calibrated_stack(known, ledger.kinds, temperatures, ledger.labels)
        held_out = [output[held] for output in ledger.outputs]
        unknown = calibrated_stack(held_out, ledger.kinds, temperatures, ledger.labels)
        for name, p in zip(ledger.members, unknown, strict=True):
            members[name][held] = p
        for name in names:
            rules[name][held] = fit_rule(name, P, y[fit], costs, objective)(unknown)
    return CrossFit(rules, members)


def choose(
    losses: Mapping[str, Floats],
    best_single: str,
    single_losses: Floats,
    publish: str,
    objective: Objective = LOG_LOSS,
) -> tuple[str, str]:
    """The rule to publish, or `best single`, and why; from per-row losses [n] on validation.

    `auto` takes the first rule, in the given order, that is within one standard error of the best: differences
    below that are noise of the rows, and the order says which rule is to be trusted then. A rule that is worse than
    the best single member is never taken unless it is named.
    """
    means = {name: objective.figure(loss) for name, loss in losses.items()}
    alone, metric = objective.figure(single_losses), wording(objective.metric)
    if publish != "auto":
        return publish, f"{publish} was asked for (validation {metric} {means[publish]:.4f})"
    least = min(means, key=lambda name: means[name])
    if means[least] > alone:
        return "best single", f"no rule is better on validation than {best_single} alone ({alone:.4f})"
    for name, loss in losses.items():
        difference = loss - losses[least]
        error = float(difference.std(ddof=1)) / np.sqrt(len(loss))
        if means[name] <= alone and difference.mean() <= error:
            break
    if name == least:
        return name, f"{name} has the least validation {metric}, {means[name]:.4f}"
    return name, (
        f"{name} is within one standard error of the least validation {metric} "
        f"({means[name]:.4f}; {least} {means[least]:.4f}) and is named before it"
    )
