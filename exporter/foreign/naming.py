"""One list of classes for all members, each aligned by the names that its graph states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from exporter.onnx_graphs.labels import Stated


@dataclass(frozen=True)
class Naming:
    """The ensemble's classes, None where nobody says; each member's own order of them where its graph says one."""

    classes: tuple[str, ...] | None
    orders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def agree(stated: Mapping[str, Stated | None], wanted: Sequence[str] | None) -> Naming:
    """The classes that the members state (member → what its graph says) and the user lists, aligned by name.

    The order is the user's, else the first member's that states names. Labels 0 … C-1 are the places of the user's
    list. `wanted` of the form OLD=NEW for each name of the graphs gives them other names. What cannot be aligned is
    in `problems`.
    """
    if wanted is not None:
        return _held_to(stated, tuple(wanted))
    named = {member: each for member, each in stated.items() if each is not None and not each.places}
    placed = {member: each for member, each in stated.items() if each is not None and each.places}
    if not named and not placed:
        return Naming(None)
    first, by = next(iter(named.items()), None) or next(iter(placed.items()))
    classes = by.names if named else tuple(sorted(by.names, key=int))
    others = {member: each for member, each in (named | placed).items() if set(each.names) != set(classes)}
    problems = tuple(
        f"member '{member}' names its classes {_listed(each.names)} ({each.where}), member '{first}' "
        f"{_listed(by.names)} ({by.where}); {_way_out(each)}"
        for member, each in others.items()
    )
    orders = {member: each.names for member, each in (named | placed).items() if member not in others}
    silent = [member for member, each in stated.items() if each is None]
    told = [f"the classes are {_listed(classes)}, as member '{first}' states them ({by.where})"]
    told += [
        f"guess: member '{member}' states no classes; its columns are taken in that order (--classes A,B,… states one)"
        for member in silent
    ]
    return Naming(classes, orders, tuple(told), problems)


def _held_to(stated: Mapping[str, Stated | None], wanted: tuple[str, ...]) -> Naming:
    """Members aligned to the user's list."""
    renamed = _renaming(stated, wanted)
    classes = wanted if renamed is None else tuple(renamed.values())
    orders: dict[str, tuple[str, ...]] = {}
    notes: list[str] = []
    problems: list[str] = []
    for member, each in stated.items():
        if each is None or len(each.names) != len(classes):
            continue  # silent, or a difference in number, which the columns tell
        if renamed is not None and set(each.names) == set(renamed):
            orders[member] = tuple(renamed[name] for name in each.names)
        elif set(each.names) == set(classes):
            orders[member] = each.names
        elif each.places and not set(each.names) & set(classes):  # 1, 2, 3 listed for 0, 1, 2 is a mistake
            orders[member] = tuple(classes[int(name)] for name in each.names)
            notes.append(f"member '{member}' has labels 0 to {len(classes) - 1}: 0 is '{classes[0]}', 1 '{classes[1]}'")
        else:
            problems.append(
                f"member '{member}' names its classes {_listed(each.names)} ({each.where}), --classes says "
                f"{_listed(classes)}; list the names of the graph in any order, or give them others with --classes "
                + ",".join(f"{name}=…" for name in each.names[:3])
                + (",…" if len(each.names) > 3 else "")
            )
    return Naming(classes, orders, (*notes, *_turned(orders, classes)), tuple(problems))


def _renaming(stated: Mapping[str, Stated | None], wanted: Sequence[str]) -> dict[str, str] | None:
    """Graph's name → the user's, where each of `wanted` is `OLD=NEW` and a member states just the old ones."""
    pairs = [name.partition("=") for name in wanted]
    renamed = {old: new for old, equals, new in pairs if equals and new}
    known = [set(each.names) for each in stated.values() if each is not None]
    return renamed if set(wanted) not in known and set(renamed) in known and len(renamed) == len(wanted) else None


def _turned(orders: Mapping[str, tuple[str, ...]], classes: tuple[str, ...]) -> Iterator[str]:
    for member, order in orders.items():
        if order != classes:
            yield f"the columns of member '{member}' are {_listed(order)}: aligned by name"


def _way_out(each: Stated) -> str:
    if each.places:
        return "say with --classes A,B,… which is 0, 1, …"
    return "members of one ensemble have the same classes"


def _listed(names: Sequence[str]) -> str:
    few = ", ".join(f"'{name}'" for name in names[:6])
    return few if len(names) <= 6 else f"{few}, … ({len(names)})"
