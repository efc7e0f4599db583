"""How different the members are, and what each one adds: the reason to run more than one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from exporter.data.dataset import Array
from exporter.scoring.metrics import accuracy
from exporter.scoring.objective import MetricName, Objective, wording

Floats = NDArray[np.float64]

RESAMPLES = 2000
"""Of the bootstrap: the ends of a 95% interval then vary by about 3% of its width from seed to seed."""

COVERAGE = 0.95
_ENTROPY = 0xB007


class Contribution(msgspec.Struct, frozen=True, kw_only=True):
    """What the published rule loses when it is fitted without a member; above 0: the member helps."""

    member: str
    change: float
    """Loss without the member minus loss with it, on the same rows."""
    low: float
    high: float
    """Ends of the paired bootstrap interval (95%) of `change`."""

    @property
    def verdict(self) -> str:
        """`helps`, `adds nothing` (the interval does not exclude zero) or `harms`."""
        if self.low > 0:
            return "helps"
        return "harms" if self.high < 0 else "adds nothing"

    def sentence(self, metric: MetricName) -> str:
        """The verdict with its figures."""
        return (
            f"member {self.member!r} {self.verdict}: without it the {wording(metric)} changes by {self.change:+.4f} "
            f"({COVERAGE:.0%} interval {self.low:+.4f} to {self.high:+.4f})"
        )


class Diversity(msgspec.Struct, frozen=True, kw_only=True):
    """Figures on the validation rows: answers by members and rules that were fitted without the row."""

    rows: int
    metric: MetricName
    """What is lost or won."""
    members: tuple[str, ...]
    error_correlation: tuple[tuple[float | None, ...], ...]
    """[K][K]: of being wrong (0 or 1), for a regression of the residuals; None where errors do not vary."""
    disagreement: tuple[tuple[float, ...], ...] | None
    """[K][K]: share of rows with different labels; None for a regression."""
    oracle: float
    """With the best member of each row: the accuracy of a classification, the `metric` of a regression."""
    fused: float
    """The same figure of the published rule."""
    best_single: float
    """The same figure of the best single member."""
    contributions: tuple[Contribution, ...]

    @property
    def oracle_gap(self) -> float:
        """What a perfect choice among the members would win over the published rule, ≥ 0 where it would."""
        return self.oracle - self.fused if self.disagreement is not None else self.fused - self.oracle

    @property
    def closest(self) -> tuple[str, str, float] | None:
        """The two members whose errors are most alike, and their correlation; None where none is known."""
        pairs = [
            (correlation, -a, -b)
            for a, row in enumerate(self.error_correlation)
            for b, correlation in enumerate(row)
            if a < b and correlation is not None
        ]
        if not pairs:
            return None
        correlation, a, b = max(pairs)
        return self.members[-a], self.members[-b], correlation

    def sentences(self) -> list[str]:
        """A sentence for each member that does not help."""
        return [each.sentence(self.metric) for each in self.contributions if each.verdict != "helps"]

    def summary(self) -> dict[str, Any]:
        """The short form for a manifest's report."""
        return {
            "rows": self.rows,
            "oracle": round(self.oracle, 6),
            "oracle_gap": round(self.oracle_gap, 6),
            "without": {
                each.member: {"change": round(each.change, 6), "low": round(each.low, 6), "high": round(each.high, 6)}
                for each in self.contributions
            },
        }


def diversity(
    members: Mapping[str, Floats],
    fused: Floats,
    without: Mapping[str, Floats],
    target: Array,
    objective: Objective,
    seed: int,
) -> Diversity:
    """The report of answers [n, C] to rows with `target` [n].

    `without[name]` are the answers of the published rule fitted without that member.
    """
    errors = np.stack([_errors(answers, target, objective) for answers in members.values()])
    labels = np.stack([answers.argmax(axis=1) for answers in members.values()])
    singles = [_figure(answers, target, objective) for answers in members.values()]
    losses = {name: objective.losses(answers, target) for name, answers in without.items()}
    return Diversity(
        rows=len(target),
        metric=objective.metric,
        members=tuple(members),
        error_correlation=correlations(errors),
        disagreement=disagreements(labels) if objective.classifies else None,
        oracle=_oracle(members, errors, target, objective),
        fused=_figure(fused, target, objective),
        best_single=max(singles) if objective.classifies else min(singles),
        contributions=contributions(objective.losses(fused, target), losses, objective, seed),
    )


def correlations(errors: Floats) -> tuple[tuple[float | None, ...], ...]:
    """Pearson's correlation of each two rows of `errors` float64 [K, n]; None where one does not vary."""
    centred = errors - errors.mean(axis=1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=1))
    shared = centred @ centred.T / errors.shape[1]
    return tuple(
        tuple(
            None if min(spread[a], spread[b]) < 1e-12 else float(np.clip(shared[a, b] / (spread[a] * spread[b]), -1, 1))
            for b in range(len(errors))
        )
        for a in range(len(errors))
    )


def disagreements(labels: NDArray[np.int64]) -> tuple[tuple[float, ...], ...]:
    """The share of rows in which each two of `labels` int64 [K, n] differ."""
    return tuple(tuple(float((a != b).mean()) for b in labels) for a in labels)


def contributions(
    whole: Floats, without: Mapping[str, Floats], objective: Objective, seed: int, resamples: int = RESAMPLES
) -> tuple[Contribution, ...]:
    """Each member's contribution from per-row losses [n] with all members, and without that one.

    Paired: every resample draws the same rows for both, so what is hard about a row cancels. One seed, one interval.
    """
    rng = np.random.default_rng([seed, _ENTROPY])
    table = np.stack([whole, *without.values()])
    rows = table.shape[1]
    drawn = np.empty((resamples, len(table)))
    for place in range(resamples):
        counts = np.bincount(rng.integers(0, rows, rows), minlength=rows)
        drawn[place] = table @ counts / rows
    finish = np.sqrt if objective.metric == "rmse" else np.asarray
    changes = finish(drawn[:, 1:]) - finish(drawn[:, :1])
    means = finish(table.mean(axis=1))
    low, high = np.quantile(changes, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2], axis=0)
    return tuple(
        Contribution(member=name, change=float(means[k + 1] - means[0]), low=float(low[k]), high=float(high[k]))
        for k, name in enumerate(without)
    )


def _errors(answers: Floats, target: Array, objective: Objective) -> Floats:
    """1 where the label is wrong; for a regression the residual, for several labels the loss."""
    if objective.labels:
        return objective.losses(answers, target)
    if target.ndim > 1:  # values of several numbers: how far off, over all of them
        distances: Floats = np.linalg.norm(answers.astype(np.float64) - target, axis=1)
        return distances
    wrong: Floats = answers.argmax(axis=1) != target if objective.classifies else answers[:, 0] - target
    return wrong.astype(np.float64)


def _oracle(members: Mapping[str, Floats], errors: Floats, target: Array, objective: Objective) -> float:
    if objective.classifies:
        return float((errors.min(axis=0) == 0).mean())
    return objective.figure(np.stack([objective.losses(answers, target) for answers in members.values()]).min(axis=0))


def _figure(answers: Floats, target: Array, objective: Objective) -> float:
    return accuracy(answers, target) if objective.classifies else objective.of(answers, target)
