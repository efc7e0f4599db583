"""How far transcripts are from what was said."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def token_error_rate(found: Sequence[Sequence[int]], said: Sequence[Sequence[int]]) -> float:
    """Insertions, deletions and substitutions in all of `found`, per token that was said."""
    errors = sum(edit_distance(left, right) for left, right in zip(found, said, strict=True))
    return errors / sum(len(tokens) for tokens in said)


def edit_distance(left: Sequence[int], right: Sequence[int]) -> int:
    """Fewest insertions, deletions and substitutions that make one of the other (Levenshtein)."""
    row = list(range(len(right) + 1))
    for i, token in enumerate(left, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(right, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (token != other))
    return row[-1]


def without_padding(transcripts: NDArray[np.int64]) -> list[list[int]]:
    """The tokens of each row [n, U] before the first that is negative."""
    found = []
    for row in transcripts.tolist():
        end = next((place for place, token in enumerate(row) if token < 0), len(row))
        found.append(row[:end])
    return found
