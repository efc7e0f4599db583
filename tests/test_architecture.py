"""The map names files that are there, and every room is on it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ("ARCHITECTURE.md", "CONTRIBUTING.md", "docs/adding-a-family.md")
PACKAGES = ("model_repo", "server", "exporter", "loadtest")


def named(page: str) -> set[str]:
    """Paths and file names in backticks."""
    words = re.findall(r"`([^`\s]+)`", (ROOT / page).read_text(encoding="utf-8"))
    return {word for word in words if re.fullmatch(r"[\w./-]+(\.(py|md|toml|json)|/)", word) and "<" not in word}


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_is_there(page: str) -> None:
    written_at_run_time = {"ensemble.json", "routes.json"}
    tree = [f"/{path.relative_to(ROOT)}{'/' * path.is_dir()}" for top in PACKAGES for path in (ROOT / top).rglob("*")]
    for name in sorted(named(page) - written_at_run_time):
        if name.endswith("centroid.py"):  # the example that is to be written
            continue
        there = (ROOT / name).exists() or any(entry.endswith(f"/{name}") for entry in tree)
        assert there, f"{page} names {name}, which is not in the tree"


def test_every_room_is_on_the_map_and_says_what_it_is() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for top in PACKAGES:
        for init in sorted((ROOT / top).rglob("__init__.py")):
            room = init.parent
            if room.name == top:  # what its rooms are is said of each of them
                continue
            assert init.read_text(encoding="utf-8").startswith('"""'), f"{init} does not say what lives there"
            name = f"{room.relative_to(ROOT)}/"
            below_known = any(
                f"`{parent.relative_to(ROOT)}/`" in text for parent in room.parents if ROOT in parent.parents
            )
            assert f"`{name}`" in text or f"`{room.name}/`" in text or below_known, f"ARCHITECTURE.md lacks {name}"


def test_rooms_are_small_enough_to_look_through() -> None:
    for top in PACKAGES:
        for room in {path.parent for path in (ROOT / top).rglob("*.py")}:
            files = [path for path in room.glob("*.py") if path.name != "__init__.py"]
            assert len(files) <= 18, f"{room.relative_to(ROOT)} has {len(files)} files; rooms have about 15"
