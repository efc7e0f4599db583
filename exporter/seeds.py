"""Seeds: one of its own for whatever trains, drawn from the recipe's."""

from __future__ import annotations

import hashlib


def member_seed(seed: int, member: str, fold: int) -> int:
    """A seed of its own for each member and fold, the same in whatever order and process they train."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{member}/{fold}".encode()).digest()[:4], "little")
