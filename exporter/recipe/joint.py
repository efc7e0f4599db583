"""Who of a recipe's members trains jointly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from exporter.members.base import Family
from exporter.optimisation.spec import Optimisation, Parallel, by_gradient
from exporter.recipe.lineage import base_of
from model_repo.format.manifest import Task
from model_repo.wording import listed

_OPTIONS = tuple(name for name in Parallel.__struct_fields__ if name != "joint")


def together(training: Any, members: Mapping[str, Family]) -> tuple[str, ...]:
    """The members that are one task under `[training] joint`, in the recipe's order: those named, or all that a network
    is trained for. Whether that gives logits of classes shows when it trains."""
    if not isinstance(training, Parallel) or training.joint is None:
        return ()
    return tuple(
        name for name in members if name in training.members or (not training.members and _able(name, members))
    )


def joint_problems(training: Any, members: Mapping[str, Family], task: Task) -> Iterator[str]:
    """What is wrong with `[training]`, a sentence each."""
    if not isinstance(training, Parallel):
        return
    if training.joint is None:
        usual = Parallel()
        if given := [name for name in _OPTIONS if getattr(training, name) != getattr(usual, name)]:
            yield f"training.{given[0]} is given without training.joint, expected synchronous or asynchronous there"
        return
    if task != "classification":
        yield f"training.joint is {training.joint!r}, a {task} has no answers that train jointly; leave it out"
        return
    if unknown := [name for name in training.members if name not in members]:
        yield f"training.members names {listed(unknown)}, the recipe has {listed(list(members))}"
        return
    for name in training.members:
        if not _able(name, members):
            why = f"a {members[name].family} trains no single network by gradients"
            if (base := base_of(name, members)) is not None:
                why = f"which begins with the parameters of {base!r} and waits for them"
            yield f"training.members names {name!r}, {why}; leave it out, it is then trained by itself"
    for name in together(training, members):
        own = getattr(members[name], "training", None)
        if isinstance(own, Optimisation) and own.stop_at is not None:
            yield f"members.{name}.training.stop_at ends one member's training, training.joint trains all: one of them"
    if len(found := together(training, members)) < 2:
        able = listed(found) or "none"
        yield f"training.joint is {training.joint!r}, which takes two members or more, {able} can take part"


def _able(name: str, members: Mapping[str, Family]) -> bool:
    """One network by gradients, that waits for no other member of the recipe (`init_from`)."""
    return by_gradient(members[name]) and members[name].heads == 1 and base_of(name, members) is None
