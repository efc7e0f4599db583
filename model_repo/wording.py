"""Words of the messages: lists, quotes and counts, the same everywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

SHOWN = 5
"""Names listed in a message before `and n more`."""


def name_problem(what: str, name: str) -> str:
    """Why `name` cannot name `what`."""
    return (
        f"{what} {shortened(name)} is not a name: expected 1 to 128 letters, digits, '.', '_' or '-', "
        "the first a letter or digit"
    )


def repeated(names: Iterable[str]) -> list[str]:
    """The names that occur more than once, each once."""
    return [name for name, count in Counter(names).items() if count > 1]


def listed(names: Sequence[str], separator: str = ", ", shown: int = SHOWN) -> str:
    """The names quoted, and how many more there are than `shown`."""
    text = separator.join(shortened(name) for name in names[:shown])
    return text if len(names) <= shown else f"{text} and {len(names) - shown} more"


def shortened(text: str) -> str:
    """`text` quoted, cut where it is long: a message stays one line."""
    return repr(text) if len(text) <= 64 else f"{text[:61]!r}..."


def reason(error: Exception) -> str:
    """What went wrong in one line: the system's words for an OSError, without its number and the file's name again."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 member`, `2 members`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def printable(text: str) -> str:
    """`text` on one line with control characters escaped: a manifest must not drive a terminal or a log."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """The names that `word` may have been meant for, best first: those that it begins, else one spelt much alike.

    Neither case nor the dashes of a flag count.
    """
    names = {name.lower().lstrip("-"): name for name in known}
    bare = word.lower().lstrip("-")
    if bare in names:
        return [names[bare]]
    begun = [name for plain, name in names.items() if len(bare) > 1 and plain.startswith(bare)]
    return begun[:3] or [names[found] for found in get_close_matches(bare, names, n=1, cutoff=0.6)]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean NAME?`, or nothing where no name is near."""
    found = nearest(word, known)
    return f"; did you mean {' or '.join(found)}?" if found else ""
