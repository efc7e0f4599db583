"""Stratified splits: fit, fusion, test and golden rows with equal class shares, and the folds of the fit rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from exporter.data.dataset import FREE, FUSION, TEST, Rows
from exporter.errors import DataError

Index = NDArray[np.int64]
Share = Annotated[float, Meta(gt=0, lt=1)]


class SplitSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shares of the rows; what is left over is what members are trained on."""

    test: Share = 0.3
    """Looked at once, for the report; nothing is fitted or chosen on it."""
    fusion: Share = 0.11
    """Rows that no member sees: temperatures, weights and the rule come from them and from the folds."""
    golden: Annotated[int, Meta(ge=1, le=4096)] = 20
    """Rows stored in the version with their answers; the server must reproduce them."""
    folds: Annotated[int, Meta(ge=0, le=20)] = 4
    """The fit rows are answered out-of-fold by members trained on the other folds; 0 leaves the fusion rows alone."""


@dataclass(frozen=True)
class Split:
    """Row numbers, ascending. `fold` int64 [len(fit)] is each fit row's fold.

    The parts are disjoint and together all rows, but for golden rows of a data set with a test part of its own:
    those are among the test rows, so that nothing is taken from what there is to fit.
    """

    fit: Index
    fusion: Index
    test: Index
    golden: Index
    fold: Index

    def parts(self) -> dict[str, Index]:
        """The four parts by name."""
        return {"fit": self.fit, "fusion": self.fusion, "test": self.test, "golden": self.golden}


def split(rows: Rows, spec: SplitSpec, seed: int, names: Sequence[str] = ()) -> Split:
    """The split of the rows; one seed gives one split. `names` are the classes, none for a regression.

    Rows that the data set itself gives to a part are in that part. Of the rest each part has the classes in their
    proportion, to within one row. Raises DataError naming the class that has too few rows: each needs one to test,
    one for the fusion, and one per fold (at least one) to fit; for a regression all rows are one class. Labels that do
    not exclude each other, int64 [n, C], are split by the rarest that holds in a row.
    """
    rng = np.random.default_rng([seed, 0x5EED])
    several = bool(names) and rows.target.ndim == 2
    strata = rarest(rows.target) if several else rows.target if names else np.zeros(len(rows), dtype=np.int64)
    given = {"test": np.flatnonzero(rows.part == TEST), "fusion": np.flatnonzero(rows.part == FUSION)}
    free = rows.part == FREE
    total = int(free.sum())
    labels = range(max(len(names) + several, 1))
    pools = [rng.permutation(np.flatnonzero(free & (strata == label))) for label in labels]
    wanted = {"test": round(total * spec.test), "fusion": round(total * spec.fusion), "golden": spec.golden}
    wanted = {part: 0 if len(given.get(part, ())) else count for part, count in wanted.items()}
    if len(given["test"]):
        wanted["golden"] = 0
    parts: dict[str, list[Index]] = {}
    for part, asked in wanted.items():
        counts = allocate([len(pool) for pool in pools], asked, part)
        parts[part] = [pool[:count] for pool, count in zip(pools, counts, strict=True)]
        pools = [pool[count:] for pool, count in zip(pools, counts, strict=True)]
    parts["fit"] = pools
    for part, index in given.items():
        if len(index):
            parts[part] = [index[strata[index] == label] for label in labels]
    if len(given["test"]):
        parts["golden"] = [rng.permutation(given["test"])[: spec.golden]]
    if several:
        _require_labels({part: rows.target[np.concatenate(found)] for part, found in parts.items()}, names)
    else:
        _require_enough(parts, max(1, spec.folds), names)
    joined = {part: np.sort(np.concatenate(found)).astype(np.int64) for part, found in parts.items()}
    fold = folds(strata[joined["fit"]], spec.folds, rng)
    if several and spec.folds:
        fit = rows.target[joined["fit"]]
        _require_labels({f"fit (without fold {k})": fit[fold != k] for k in range(spec.folds)}, names)
    return Split(**joined, fold=fold)


def allocate(available: Sequence[int], rows: int, part: str) -> list[int]:
    """How many of `rows` each class gives, in proportion to what it has: largest remainders, first class first."""
    total = sum(available)
    if not rows:
        return [0] * len(available)
    if rows >= total:
        raise DataError(f"the {part} split wants {rows} of {total} rows: nothing would be left to fit")
    exact = np.array(available) * (rows / total)
    counts = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - counts), kind="stable")
    counts[order[: rows - counts.sum()]] += 1
    return [int(count) for count in counts]


def folds(strata: Index, count: int, rng: np.random.Generator) -> Index:
    """Each row's fold, int64 [n] in 0 … count-1; every fold has each class to within one row. All 0 for count 0."""
    fold = np.zeros(len(strata), dtype=np.int64)
    if count < 2:
        return fold
    start = 0  # classes go on where the last one stopped: folds stay equally large
    for label in np.unique(strata):
        rows = rng.permutation(np.flatnonzero(strata == label))
        fold[rows] = (start + np.arange(len(rows))) % count
        start += len(rows)
    return fold


def rarest(target: Index) -> Index:
    """Of each row of labels int64 [n, C] the rarest that holds, C where none does: int64 [n]."""
    order = np.argsort(target.sum(axis=0), kind="stable")
    first = target[:, order].argmax(axis=1)
    found: Index = np.where(target.any(axis=1), order[first], target.shape[1]).astype(np.int64)
    return found


def _require_labels(parts: Mapping[str, Index], names: Sequence[str]) -> None:
    """Raise DataError where a label always or never holds in a part's targets int64 [n, C], golden rows aside."""
    for part, target in parts.items():
        holds = target.sum(axis=0)
        for name, rows in zip(names, holds, strict=True):
            if part != "golden" and rows in (0, len(target)):
                raise DataError(
                    f"label {name!r} holds in {rows} of the {len(target)} rows of the {part} split, expected some that "
                    "have it and some that have not: more rows, other shares in [split], or leave the label out"
                )


def _require_enough(parts: dict[str, list[Index]], fit_rows: int, names: Sequence[str]) -> None:
    needed = {"test": 1, "fusion": 1, "fit": fit_rows}
    for part, least in needed.items():
        for label, rows in enumerate(parts[part]):
            if len(rows) < least:
                subject = f"class {names[label]!r} has" if names else "there are"
                raise DataError(f"{subject} {len(rows)} rows in the {part} split, at least {least} are needed")
