"""Who of a recipe begins with whose parameters, and which members are made of others: what must hold for it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Literal

from msgspec import Meta

from exporter.members.base import Family
from exporter.optimisation.spec import Share, Spec
from exporter.parameters.origin import OfMember, origin_of
from model_repo.format.manifest import Name
from model_repo.wording import did_you_mean, listed, repeated

AggregateRule = Literal["uniform", "weighted", "greedy_soup", "ema"]


class Aggregate(Spec, frozen=True, kw_only=True):
    """A member whose parameters are a mean of other members', which began with the same base (`init_from`).

    `uniform`: the plain mean. `weighted`: by the inverse of each one's loss on validation rows. `greedy_soup`: from the
    best on, each next one is added to the plain mean where the loss on validation rows does not grow (Wortsman et al.
    2022). `ema`: exponentially, the members in the order given, the last one weighs most.
    """

    members: Annotated[tuple[Name, ...], Meta(min_length=2)]
    rule: AggregateRule = "greedy_soup"
    decay: Share = 0.5
    """Of `ema`: what of the mean stays with each further member."""


def init_from(spec: object) -> str | None:
    """What the member of this spec begins with; None: with itself, or no gradient trains it."""
    found: str | None = getattr(getattr(spec, "training", None), "init_from", None)
    return found


def base_of(name: str, members: Mapping[str, Family]) -> str | None:
    """The member of the same recipe that this one begins with."""
    text = init_from(members.get(name))
    return text if text in members else None


def depth(name: str, members: Mapping[str, Family]) -> int:
    """How many members of the recipe are to be trained one after another before this one."""
    base = base_of(name, members)
    return 0 if base is None else 1 + depth(base, members)


def lineage_problems(
    members: Mapping[str, Family],
    detectors: Mapping[str, object],
    aggregates: Mapping[str, Aggregate],
    alike: bool,
    mode: str,
) -> Iterator[str]:
    """A sentence for each problem. `alike`: the workers of one training have the same weights after each step."""
    for where, specs in (("members", members), ("detectors", detectors)):
        for name, spec in specs.items():
            for problem in _training_problems(name, spec, members, alike, mode):
                yield f"{where}.{name}.training.{problem}"
    yield from _circles(members)
    for name, aggregate in aggregates.items():
        for problem in _aggregate_problems(aggregate, members):
            yield f"aggregates.{name}{problem}"
    if members and not aggregates and not any(spec.publish for spec in members.values()):
        yield "publish is false for every member, expected one at least that is published"


def _training_problems(name: str, spec: object, members: Mapping[str, Family], alike: bool, mode: str) -> Iterator[str]:
    training = getattr(spec, "training", None)
    average = getattr(training, "average", None)
    if average is not None and not alike:
        yield f"average is {average!r}, which training.mode {mode!r} has not: its workers differ between steps"
    if (text := init_from(spec)) is None:
        return
    try:
        origin = origin_of(text, members)
    except ValueError as error:
        yield f"init_from {error}" + did_you_mean(text, list(members))
        return
    if isinstance(origin, OfMember) and not hasattr(members[origin.member], "training"):
        yield f"init_from is {text!r}, a {members[origin.member].family}, which no gradient trains"


def _circles(members: Mapping[str, Family]) -> Iterator[str]:
    """One sentence for each circle, from its first member in the recipe."""
    told: set[str] = set()
    for name in members:
        way = [name]
        while (base := base_of(way[-1], members)) is not None and base not in way:
            way.append(base)
        if base == name and name not in told:
            told.update(way)
            yield f"init_from goes in a circle: {' → '.join([*way, name])}"


def _aggregate_problems(aggregate: Aggregate, members: Mapping[str, Family]) -> Iterator[str]:
    names = aggregate.members
    if twice := repeated(names):
        yield f".members names {listed(twice)} more than once"
    for name in dict.fromkeys(names):
        if name not in members:
            yield f".members names {name!r}, there are {listed(list(members))}" + did_you_mean(name, list(members))
        elif not hasattr(members[name], "training"):
            yield f".members names {name!r}, a {members[name].family}, which no gradient trains: fuse its answers"
        elif members[name].heads > 1:
            yield f".members names {name!r}, which makes {members[name].heads} members: fuse their answers"
    if not (set(names) - set(members)) and len(of := _roots(names, members)) > 1 and set(of) & set(members):
        yield (
            f" is made of {listed(list(names))}, which begin with different weights ({listed(of)}): the mean of "
            "networks that were not trained from one base is as good as none; give them one init_from, or fuse answers"
        )


def _roots(names: Collection[str], members: Mapping[str, Family]) -> list[str]:
    """What the members begin with at last: a member without `init_from`, or the text of what is not of the recipe."""
    found = []
    for name in names:
        seen = {name}
        while (base := base_of(name, members)) is not None and base not in seen:
            seen.add(base)
            name = base
        found.append(init_from(members[name]) or name)
    return list(dict.fromkeys(found))
