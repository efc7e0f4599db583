"""Where a version comes from: everything that one would need to make it again."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import msgspec

from exporter.recipe.options import Options
from exporter.recipe.recipe import Recipe
from exporter.recipe.sources import Cleaning, Dataset
from exporter.training.jobs import libraries
from exporter.training.records import TrainingRecords


def provenance(
    recipe: Recipe, options: Options, dataset: Dataset, cleaning: Cleaning, records: TrainingRecords
) -> dict[str, Any]:
    """The resolved recipe, the data, the seed, versions of the libraries, the commit (in a checkout) and the time."""
    found: dict[str, Any] = {
        "recipe": msgspec.to_builtins(recipe),
        "preset": options.preset,
        "seed": recipe.seed,
        "data": {"sha256": dataset.digest, "rows": cleaning.rows, "dropped": cleaning.dropped},
        "device": options.device,
        "precision": options.precision,
        "training": {"engine": records.engine, "technique": records.technique, "workers": records.workers},
        "libraries": libraries(),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    if (revision := commit()) is not None:
        found["commit"] = revision
    return found


def commit() -> str | None:
    """The commit of the checkout that this package runs from, `+` when files differ from it; None elsewhere."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        revision = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None  # no git here, or not allowed to look: the version of the package still says which code it is
    return revision + ("+" if changed else "")


def _git(root: Path, *words: str) -> str:
    command = ["git", "-C", str(root), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603
