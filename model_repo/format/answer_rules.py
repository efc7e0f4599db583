"""What the shape of an answer must satisfy: thresholds of labels, values of several numbers, positions, embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from model_repo.format.manifest import Concatenate, Manifest
from model_repo.wording import count, listed

MAX_VALUES = 1_000_000
MAX_VALUE_DIMENSIONS = 7
MAX_POSITION_DIMENSIONS = 5


def answer_problems(manifest: Manifest) -> Iterator[str]:
    """One sentence per problem of what only some tasks have."""
    yield from _thresholds(manifest)
    yield from _value_shape(manifest)
    yield from _positions(manifest)
    yield from _widths(manifest)


def _thresholds(manifest: Manifest) -> Iterator[str]:
    thresholds, given = manifest.thresholds, count(len(manifest.thresholds), "number")
    if thresholds and manifest.task != "multilabel":
        yield f"thresholds has {given}, which only a multilabel has, the task is {manifest.task}"
    elif thresholds and len(thresholds) != len(manifest.classes):
        labels = count(len(manifest.classes), "label")
        yield f"thresholds has {given}, expected one for each of the {labels}, or none"


def _value_shape(manifest: Manifest) -> Iterator[str]:
    shape = manifest.value_shape
    if shape and manifest.task not in ("regression", "embedding"):
        yield f"value_shape is {list(shape)}, which only a regression or an embedding has, the task is {manifest.task}"
    elif manifest.task == "embedding" and len(shape) != 1:
        yield f"value_shape is {list(shape)}, an embedding has one dimension: the numbers of its vector"
    elif len(shape) > MAX_VALUE_DIMENSIONS or prod(shape) > MAX_VALUES:
        limits = f"at most {MAX_VALUE_DIMENSIONS} dimensions and {MAX_VALUES} numbers"
        yield f"value_shape is {list(shape[:MAX_VALUE_DIMENSIONS])}, {prod(shape)} numbers; expected {limits}"


def _positions(manifest: Manifest) -> Iterator[str]:
    positions, task = manifest.positions, manifest.task
    if task != "dense":
        if positions:
            yield f"positions is {list(positions)}, which only a dense answer has, the task is {task}"
        return
    if not 1 <= len(positions) <= MAX_POSITION_DIMENSIONS or 0 in positions:
        expected = f"1 to {MAX_POSITION_DIMENSIONS} lengths of at least 1, or -1 where they vary"
        yield f"positions is {list(positions[: MAX_POSITION_DIMENSIONS + 1])}, a dense answer has {expected}"
    if manifest.tokenizers:
        yield (
            "tokenizers give a batch the length of its longest text, so the positions of a dense answer would hang on "
            "other rows; clients send token ids instead"
        )


def _widths(manifest: Manifest) -> Iterator[str]:
    """Widths are for concatenation, and their sum is the answer's."""
    stated = [member.name for member in manifest.members if member.width is not None]
    if not isinstance(manifest.fusion, Concatenate):
        if stated:
            yield f"members {listed(stated)} state a width, which only embeddings that are concatenated have"
        return
    if silent := [member.name for member in manifest.members if member.width is None]:
        yield f"members {listed(silent)} state no width, which concatenation needs"
    total = sum(member.width or 0 for member in manifest.members)
    if not silent and manifest.value_shape and total != manifest.value_shape[0]:
        yield f"value_shape is {list(manifest.value_shape)}, the members' vectors have {total} numbers together"
    if manifest.members and manifest.quorum < len(manifest.members):
        yield f"quorum is {manifest.quorum}, concatenation needs every member: {len(manifest.members)}"
