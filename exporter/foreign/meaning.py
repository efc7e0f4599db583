"""What the members' columns mean: probabilities, logits or values, from what was seen, what is said, and no more.

Nothing is guessed that would change answers without a word: values in [0, 1] that are no distributions, and columns
without bounds that nobody calls classes, are refused with the flags that decide. Guesses that remain are told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from exporter.foreign.naming import Naming
from model_repo.format.manifest import Kind, Task
from server.runtime.datatypes import Array

ROUNDING = 1e-4
"""Rows of float32 probabilities sum to 1 within this; the server's own tolerance is ten times wider."""
NEAR = 0.02
"""Rows that sum to 1 within this are probabilities in few bits: a softmax in 8 bits gives 0.98 to 1.02."""

Look = Literal["distribution", "near", "fraction", "log", "unbounded"]
"""distribution: rows ≥ 0 that sum to 1. near: to 1 ± 0.02. fraction: values in [0, 1]. log: logarithms of
distributions. unbounded: anything else."""


@dataclass(frozen=True)
class Seen:
    """What a member gave for the sample rows: columns, the range of its values, the range of its row sums."""

    columns: int
    low: float
    high: float
    least_sum: float
    most_sum: float
    log_sums: float
    """Largest distance of Σ exp(row) from 1; infinite where a value is above 0."""
    called_logits: bool = False
    """Whether the output says so by its name, as those of the usual text classifiers do."""

    @classmethod
    def of(cls, values: Array, called_logits: bool = False) -> Seen:
        """What is in `values` [n] or [n, C], all finite."""
        rows = np.asarray(values, np.float64).reshape(len(values), -1)
        sums = rows.sum(axis=1)
        logs = float(np.abs(np.exp(rows).sum(axis=1) - 1).max()) if rows.max() <= 0 else float("inf")
        return cls(
            rows.shape[1],
            float(rows.min()),
            float(rows.max()),
            float(sums.min()),
            float(sums.max()),
            logs,
            called_logits,
        )

    @property
    def off(self) -> float:
        """How far a row's sum is from 1 at most."""
        return max(abs(self.least_sum - 1), abs(self.most_sum - 1))

    @property
    def look(self) -> Look:
        """What the values look like."""
        within = self.low >= -1e-6 and self.high <= 1 + NEAR
        if within and self.columns > 1 and self.off <= NEAR:
            return "distribution" if self.off <= ROUNDING else "near"
        if within and self.high <= 1 + 1e-6:
            return "fraction"
        return "log" if self.columns > 1 and self.log_sums <= 1e-3 else "unbounded"

    def told(self) -> str:
        """For people: `values 0.02 to 0.98, rows sum to 1`."""
        span = f"values {_number(self.low)} to {_number(self.high)}"
        if self.columns == 1:
            return span
        if self.look == "distribution":
            return f"{span}, rows sum to 1"
        return f"{span}, rows sum to {_number(self.least_sum)} to {_number(self.most_sum)}"


@dataclass(frozen=True)
class Meaning:
    """The task, each member's kind, the members whose rows are divided by their sum, and what there is to tell."""

    task: Task
    kinds: Mapping[str, Kind]
    renormalised: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def decide(
    seen: Mapping[str, Seen],
    naming: Naming,
    task: Task | None = None,
    kinds: Mapping[str, Kind] | None = None,
    *,
    pictures: bool = False,
) -> Meaning:
    """What the columns of the members mean; `task` and `kinds` are what the user says. Doubts are in `problems`.

    `pictures`: what they are given. Columns without bounds are then logits, as a guess: hardly anything else is made
    of pictures in one row of columns. The same guess is made where every output is called so.
    """
    said = kinds or {}
    found = task or _task(seen, naming, said)
    logits = pictures or all(each.called_logits for each in seen.values())
    if found is None and logits and not any(each.look == "fraction" for each in seen.values()):
        found = "classification"
    if found is None:
        return Meaning("classification", {}, problems=_doubts(seen, said))
    if found == "multilabel":
        return _labelled(seen, said)
    if found == "dense":
        return _at_positions(_classified(seen, said))
    if found != "classification":
        notes = _taken_for_a_regression(seen) if task is None else ()
        return Meaning(found, {name: said.get(name, "value") for name in seen}, notes=notes)
    return _classified(seen, said)


def _task(seen: Mapping[str, Seen], naming: Naming, said: Mapping[str, Kind]) -> Task | None:
    """The task, or None where it would be a guess between several."""
    if said and all(kind == "value" for kind in said.values()):
        return "regression"
    if all(each.columns == 1 for each in seen.values()):
        return "regression" if naming.classes is None and not said else "classification"
    if any(each.look in ("distribution", "near", "log") or name in said for name, each in seen.items()):
        return "classification"
    return None if naming.classes is None else "classification"


def _classified(seen: Mapping[str, Seen], said: Mapping[str, Kind]) -> Meaning:
    """Kinds of a classification's members."""
    kinds: dict[str, Kind] = {}
    doubtful: dict[str, Seen] = {}
    renormalised: set[str] = set()
    notes: list[str] = []
    for name, each in seen.items():
        if name in said:
            kinds[name] = said[name]
        elif each.columns > 1 and each.look == "fraction":
            doubtful[name] = each
        else:
            kinds[name] = "logits" if each.look in ("unbounded", "log") else "probabilities"
            notes += _guessed(name, each, kinds[name])
        if kinds.get(name) == "probabilities" and each.columns > 1 and each.off > ROUNDING:
            renormalised.add(name)
            sums = f"{_number(each.least_sum)} to {_number(each.most_sum)}"
            notes.append(f"member '{name}': its rows sum to {sums}; they are divided by their sum")
    return Meaning("classification", kinds, frozenset(renormalised), tuple(notes), _fraction_doubts(doubtful))


def _at_positions(found: Meaning) -> Meaning:
    """What holds of each position of a dense answer; nothing is divided by its sum there."""
    near = tuple(
        f"member '{name}': its classes do not sum to 1 at each position; --kind {name}=logits takes their softmax"
        for name in sorted(found.renormalised)
    )
    return Meaning("dense", found.kinds, notes=found.notes, problems=(*found.problems, *near))


def _labelled(seen: Mapping[str, Seen], said: Mapping[str, Kind]) -> Meaning:
    """Kinds of labels that do not exclude each other: values in [0, 1] are probabilities, others log-odds."""
    kinds: dict[str, Kind] = {}
    notes: list[str] = []
    for name, each in seen.items():
        kinds[name] = said.get(name) or ("logits" if each.look in ("unbounded", "log") else "probabilities")
        if kinds[name] == "logits" and name not in said:
            notes.append(f"guess: member '{name}' gives log-odds ({each.told()}); --kind {name}=… says otherwise")
        if each.look == "distribution" and each.columns > 1:
            notes.append(
                f"guess: member '{name}' gives rows that sum to 1, as classes do, taken as labels all the same"
            )
    return Meaning("multilabel", kinds, notes=tuple(notes))


def _guessed(name: str, each: Seen, kind: Kind) -> list[str]:
    if each.columns == 1:
        return [
            f"guess: member '{name}' gives the second class's {kind} ({each.told()}); --kind {name}=… says otherwise"
        ]
    if each.look == "unbounded":
        return [f"guess: member '{name}' gives logits ({each.told()}); --kind {name}=… or --task says otherwise"]
    return []


def _taken_for_a_regression(seen: Mapping[str, Seen]) -> tuple[str, ...]:
    if not all(each.look == "fraction" for each in seen.values()):
        return ()
    return (
        "guess: one column within [0, 1] and no classes: a regression; with --classes A,B it is the probability of B",
    )


def _doubts(seen: Mapping[str, Seen], said: Mapping[str, Kind]) -> tuple[str, ...]:
    """Why there is no task: the members that could mean several things, grouped by how they look."""
    open_ended = {name: each for name, each in seen.items() if each.look == "unbounded"}
    fractions = {name: each for name, each in seen.items() if each.look == "fraction" and name not in said}
    problems = list(_fraction_doubts(fractions))
    if open_ended:
        columns = max(each.columns for each in open_ended.values())
        problems.append(
            f"{_members(open_ended)} columns that are no probabilities ({_spans(open_ended)}): logits of classes or "
            f"values? --classes A,B,… ({columns} names) or --task classification says logits, --task regression "
            "values, --task multilabel logits of labels that do not exclude each other"
        )
    return tuple(problems)


def _fraction_doubts(doubtful: Mapping[str, Seen]) -> tuple[str, ...]:
    if not doubtful:
        return ()
    first = next(iter(doubtful))
    return (
        f"{_members(doubtful)} columns within [0, 1] whose rows do not sum to 1 ({_spans(doubtful)}): labels that do "
        f"not exclude each other? --task multilabel fuses them one by one; --kind {first}=probabilities divides rows "
        f"by their sum, --kind {first}=logits takes their softmax, --task regression takes values",
    )


def _members(seen: Mapping[str, Seen]) -> str:
    names = ", ".join(f"'{name}'" for name in seen)
    return f"member {names} gives" if len(seen) == 1 else f"members {names} give"


def _spans(seen: Mapping[str, Seen]) -> str:
    return "; ".join(each.told() for each in list(seen.values())[:3])


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) >= 1e-4 else "0"
