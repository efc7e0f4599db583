"""Where the parameters of what was trained are kept: in the version, in the report's folder, or nowhere."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

MOST_BYTES = 64 * 2**20
"""Of a version, unless the recipe wants them there whatever they take: everybody who copies the version copies them."""

Keep = Literal["auto", "version", "report", "none"]


def in_version(keep: Keep, trained: Mapping[str, bytes], published: Collection[str]) -> dict[str, bytes]:
    """Of the members by name those whose parameters the version keeps; members of one training share theirs."""
    found = {name: data for name, data in trained.items() if data and name in published}
    if keep == "auto":
        keep = "version" if sum(map(len, set(found.values()))) <= MOST_BYTES else "report"
    return found if keep == "version" else {}


def in_report(keep: Keep, trained: Mapping[str, bytes], kept: Mapping[str, bytes]) -> dict[str, bytes]:
    """File of the report's folder → content: what was trained and is not among what the version keeps."""
    known, found = set(kept.values()), {}
    for name, data in trained.items():
        if data and data not in known and keep != "none":
            found[f"parameters/{name}.safetensors"] = data
            known.add(data)
    return found
