"""The recipes that come with the package, and how a recipe is found by name or path."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from exporter.errors import RecipeError
from exporter.recipe.recipe import read_recipe
from model_repo.wording import did_you_mean

FOLDER = Path(__file__).parents[1] / "recipes"


class MemberEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A member or a detector of a recipe in `tutti export --list`."""

    name: str
    family: str
    role: Literal["member", "detector"] = "member"
    """Detectors never vote."""


class RecipeEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A recipe in `tutti export --list`."""

    name: str
    task: str
    data: str
    """What its rows are: image, text, table, pairs, graph, audio, series."""
    description: str
    members: tuple[MemberEntry, ...]


def shipped() -> dict[str, Path]:
    """Name → file of every recipe in the package."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


def find_recipe(word: str) -> Path:
    """The file of a shipped recipe's name, or of a path. Raises RecipeError naming what there is."""
    known = shipped()
    if word in known:
        return known[word]
    path = Path(word)
    if path.suffix == ".toml" or path.is_file():
        return path
    raise RecipeError(
        f"recipe {word!r}", [f"is no file, and the recipes are {', '.join(known)}{did_you_mean(word, known)}"]
    )


def entries() -> list[RecipeEntry]:
    """Every shipped recipe with its members and their families."""
    return [_entry(path) for path in shipped().values()]


def _entry(path: Path) -> RecipeEntry:
    recipe = read_recipe(path)
    members = [MemberEntry(name=name, family=spec.family) for name, spec in recipe.voters.items()]
    detectors = [MemberEntry(name=name, family=s.family, role="detector") for name, s in recipe.detectors.items()]
    return RecipeEntry(
        name=recipe.name,
        task=recipe.task,
        data=recipe.data.domain,
        description=recipe.description,
        members=(*members, *detectors),
    )
