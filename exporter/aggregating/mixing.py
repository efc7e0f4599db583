"""How much of each member goes into the mean: the rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from exporter.aggregating.mean import by_inverse_loss, even, exponential
from exporter.recipe.lineage import Aggregate
from exporter.reporting.mixtures import Mixture

Measure = Callable[[Mapping[str, float]], float]
"""Weights → the loss on validation rows of the member that has the mean of the parameters."""


def mixed(name: str, aggregate: Aggregate, losses: Mapping[str, float], measure: Measure) -> Mixture:
    """The weights by the aggregate's rule. `losses`: each member's on the validation rows, in the order given."""
    names = tuple(losses)
    tried = 1
    match aggregate.rule:
        case "uniform":
            weights = even(names)
        case "weighted":
            weights = by_inverse_loss(losses)
        case "ema":
            weights = exponential(names, aggregate.decay)
        case "greedy_soup":
            weights, loss, tried = _greedy(losses, measure)
    if aggregate.rule != "greedy_soup":
        loss = measure(weights)
    return Mixture(
        name=name, rule=aggregate.rule, weights={each: weights.get(each, 0.0) for each in names},
        losses=dict(losses), loss=loss, tried=tried,
    )  # fmt: skip


def _greedy(losses: Mapping[str, float], measure: Measure) -> tuple[dict[str, float], float, int]:
    """The greedy soup (Wortsman et al. 2022): ties go to the name that comes first, so that no chance decides."""
    first, *others = sorted(losses, key=lambda name: (losses[name], name))
    taken, least = [first], losses[first]
    for name in others:
        loss = measure(even([*taken, name]))
        if loss <= least:
            taken, least = [*taken, name], loss
    return even(taken), least, len(others)
