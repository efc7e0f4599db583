"""Which column is which class: by the names that a graph or an estimator states, never by how well it scores.

A member with two columns exchanged may be as accurate as before and still ruin every probability (measured on the
digits: accuracy 0.9870 → 0.9878, log-loss 0.131 → 0.235).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from exporter.errors import BundleError


def in_order(labels: Iterable[object], classes: Sequence[str], member: str) -> tuple[str, ...]:
    """A member's own labels as names of the ensemble's classes, in the member's order.

    Labels are matched by name; numbers that are no names count the classes from 0, truth values too. Raises BundleError
    unless they are the ensemble's classes, each once.
    """
    names = [label_name(label, classes) for label in labels]
    if set(names) != set(classes) and all(name in ("False", "True") for name in names):
        names = [str(int(name == "True")) for name in names]
    if set(names) != set(classes) and all(name.isdecimal() and int(name) < len(classes) for name in names):
        names = [classes[int(name)] for name in names]
    if sorted(names) == sorted(classes):
        return tuple(names)
    missing = [name for name in classes if name not in names]
    unknown = [name for name in names if name not in classes]
    problems = [f"lacks {_listed(missing)}"] * bool(missing) + [f"has {_listed(unknown)}, unknown here"] * bool(unknown)
    told = " and ".join(problems or ["names a class twice"])
    raise BundleError(f"member {member!r}", [f"{told}; the classes of the ensemble are {_listed(classes)}"])


def agreed(
    given: Sequence[str] | None, labels: Sequence[str] | None, classes: Sequence[str], member: str
) -> tuple[str, ...] | None:
    """The member's order from the `labels` that its graph states and what the user says; None where neither does.

    Raises BundleError where the two differ.
    """
    own = None if labels is None else in_order(labels, classes, member)
    said = None if given is None else in_order(given, classes, member)
    if own is not None and said is not None and own != said:
        raise BundleError(
            f"member {member!r}", [f"its graph says the columns are {_listed(own)}, not {_listed(said)} as given"]
        )
    return said if own is None else own


def label_name(label: object, classes: Sequence[str] = ()) -> str:
    """The label as a class is named: 1.0, as pandas holds whole numbers beside gaps, is "1" unless "1.0" is a class."""
    item = getattr(label, "item", None)
    value = item() if callable(item) else label
    if str(value) in classes:
        return str(value)
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _listed(names: Sequence[str], most: int = 8) -> str:
    more = f", … ({len(names)})" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more
