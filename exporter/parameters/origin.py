"""What a recipe's `init_from` names, in words alone: nothing is read here."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from model_repo.format.paths import is_name
from model_repo.wording import listed, shortened

LATEST = "latest"
SUFFIX = ".safetensors"
_OF_VERSION = re.compile(r"([^/:]+)/([1-9][0-9]{0,17}|latest):([^/:]+)")


@dataclass(frozen=True)
class OfVersion:
    """A member of a published version; the newest where `version` is None."""

    ensemble: str
    version: int | None
    member: str


@dataclass(frozen=True)
class OfMember:
    """Another member of the same recipe, trained on the same rows."""

    member: str


@dataclass(frozen=True)
class OfFile:
    """A safetensors file, ours or another's."""

    path: Path


Origin = OfVersion | OfMember | OfFile


def origin_of(text: str, members: Collection[str]) -> Origin:
    """What the text names, a member of the recipe first. Raises ValueError saying what was expected."""
    if text in members:
        return OfMember(text)
    if (found := _OF_VERSION.fullmatch(text)) and is_name(found[1]) and is_name(found[3]):
        return OfVersion(found[1], None if found[2] == LATEST else int(found[2]), found[3])
    if text.endswith(SUFFIX):
        return OfFile(Path(text))
    raise ValueError(
        f"is {shortened(text)}, expected a member of this recipe ({listed(list(members))}), NAME/VERSION:MEMBER or "
        f"NAME/{LATEST}:MEMBER of the repository, or a file whose name ends in {SUFFIX}"
    )
