"""Folders that lie, or are named, a little beside what a repository expects; and what to take or name instead."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from model_repo.format.manifest import MANIFEST_FILE
from model_repo.format.paths import parse_version

LOOKED_AT = 100
_NUMBER = re.compile(r"(?:v|version)?[-_. ]?0*([1-9][0-9]{0,17})", re.IGNORECASE)


def misplaced(path: str) -> str | None:
    """Why the folder is no model repository although one is above it, with the folder to take; else None."""
    folder = Path(path)
    if (folder / MANIFEST_FILE).is_file():
        return _instead(path, "one version's folder: it holds ensemble.json", "../..")
    if not (held := _held(folder)):
        return None
    return _instead(path, f"one ensemble's folder: it holds version {held[-1]}", "..")


def nested(path: str) -> str | None:
    """The folder to take instead where this one holds no ensemble and one in it does; else None.

    Looks at the first LOOKED_AT names of each level, as this may be the root of a disk.
    """
    folder = Path(path)
    inner = [folder / name for name in sorted(_names(folder)) if not name.startswith(".")][:LOOKED_AT]
    if any(map(_held, inner)):
        return None
    for child in inner:
        if any(_held(child / name) for name in sorted(_names(child))[:LOOKED_AT]):
            return f"the model repository '{path}' holds no ensemble, but '{child}' does: did you mean that folder?"
    return None


def misnamed(folder: str, names: Iterable[str]) -> tuple[str, ...]:
    """Those entries of an ensemble's folder that hold a manifest but whose name is no version's number, sorted."""
    others = [name for name in names if parse_version(name) is None and not name.startswith(".")]
    return tuple(sorted(name for name in others if os.path.isfile(f"{folder}/{name}/{MANIFEST_FILE}")))


def naming(folder: str) -> str:
    """Why a folder of this name is not served, and what to call it."""
    number = _NUMBER.fullmatch(folder)
    way = f"rename it to {number[1]}" if number else "publish it under a number"
    return (
        f"folder {folder[:128]!r} is not served: a version's folder is a plain number, 1 or more, "
        f"without leading zeros or letters; {way} (its ensemble.json must say the same number)"
    )


def _instead(path: str, what: str, above: str) -> str:
    return (
        f"the model repository '{path}' is {what}; a repository holds ensembles, so take the folder above: "
        f"'{os.path.normpath(os.path.join(path, above))}'"
    )


def _held(folder: Path) -> list[int]:
    """The versions that an ensemble's folder holds, ascending; none where it is no such folder."""
    numbers = sorted(number for entry in _names(folder) if (number := parse_version(entry)) is not None)
    return [number for number in numbers if (folder / str(number) / MANIFEST_FILE).is_file()]


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
